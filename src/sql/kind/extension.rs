//! Extensions: the query, the row, their members and configuration tables, the DDL. An extension's script
//! recreates its members, so a dump contains only their changed privileges and the rows of configuration
//! tables.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::table_data;
use crate::sql::object::{
    CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, LAST_BUILTIN_OID, ObjectKind, Section,
    class,
};
use crate::sql::query::CatalogQuery;
use crate::sql::select;

const QUERY: CatalogQuery = CatalogQuery {
    what: "extensions",
    since: PG13,
    text: "
SELECT x.oid, x.extname::text AS name, n.nspname::text AS namespace, x.extrelocatable AS relocatable,
       x.extversion AS version, x.extconfig AS config, x.extcondition AS condition
  FROM (SELECT x.oid, x.extname, x.extnamespace, x.extrelocatable, x.extversion, x.extconfig,
               x.extcondition,
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_extension x) x
  JOIN pg_catalog.pg_namespace n ON n.oid = x.extnamespace
 ORDER BY x.place",
    gates: &[],
};

const MEMBERS: CatalogQuery = CatalogQuery {
    what: "extension members",
    since: PG13,
    text: "
SELECT d.classid, d.objid, d.refobjid
  FROM pg_catalog.pg_depend d
 WHERE d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
   AND d.deptype = 'e'
 ORDER BY d.refobjid, d.classid, d.objid",
    gates: &[],
};

/// Foreign keys that reference tables of extensions. The extensions' scripts create them, so they exist when
/// the rows are loaded.
const FOREIGN_KEYS: CatalogQuery = CatalogQuery {
    what: "foreign keys of configuration tables",
    since: PG13,
    text: "
SELECT c.conrelid AS referencing, c.confrelid AS referenced
  FROM pg_catalog.pg_constraint c
  JOIN pg_catalog.pg_depend d ON d.objid = c.confrelid
 WHERE c.contype = 'f'
   AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
   AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
 ORDER BY c.oid",
    gates: &[],
};

/// An extension.
#[derive(Debug, Default)]
pub struct Extension {
    /// Name of the namespace that contains its objects.
    pub namespace: String,
    /// Whether its objects can be moved to another namespace.
    pub relocatable: bool,
    /// Installed version.
    pub version: String,
    /// OIDs of its configuration tables.
    pub config: Vec<u32>,
    /// The `WHERE` clause for each table in `config`; may be empty.
    pub condition: Vec<String>,
}

/// Identifies the extensions and their members.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let oid = row.oid("oid")?;
        let extension = Extension {
            namespace: row.text("namespace")?,
            relocatable: row.bool("relocatable")?,
            version: row.text("version")?,
            config: row.oids("config")?,
            condition: row.texts("condition")?,
        };
        let detail = Detail::Extension(Box::new(extension));
        let id = cx.catalog.add(CatalogId::new(class::PG_EXTENSION, oid), row.text("name")?, None, detail);
        let wanted = wanted(cx, oid);
        cx.catalog[id].dump = wanted;
        cx.catalog[id].dump_contains = wanted;
    }
    cx.begin("identifying extension members");
    for row in cx.rows(&MEMBERS).await? {
        let oid = row.oid("refobjid")?;
        let Some(extension) = cx.catalog.by_oid(class::PG_EXTENSION, oid) else {
            cx.catalog.warn(format!("could not find referenced extension {oid}"));
            continue;
        };
        let member = CatalogId::new(row.oid("classid")?, row.oid("objid")?);
        cx.catalog.set_owning_extension(member, extension);
    }
    Ok(())
}

/// Returns the components of an extension to be dumped: all if it was selected or if no option selects
/// objects. For the extensions that initdb creates, only changed privileges of members are dumped.
fn wanted(cx: &Collector<'_>, oid: u32) -> Components {
    let selection = &cx.selection;
    if oid <= LAST_BUILTIN_OID {
        return Components::ACL;
    }
    if selection.excluded_extensions.contains(&oid) {
        return Components::empty();
    }
    if selection.extensions.is_empty() {
        return select::everything_or_nothing(cx);
    }
    if selection.extensions.contains(&oid) { Components::all() } else { Components::empty() }
}

/// Adds the rows of the extensions' configuration tables to the dump, even to a schema-only dump: they
/// replace the rows that the extension's script would otherwise create.
pub(in crate::sql) async fn collect_configuration_tables(cx: &mut Collector<'_>) -> Result<()> {
    let mut found = Vec::new();
    for id in cx.catalog.ids_of(ObjectKind::Extension) {
        let object = &cx.catalog[id];
        let Some(extension) = cx.catalog.extension(id) else { continue };
        if extension.config.len() != extension.condition.len() {
            return Err(SqlError::Inconsistent(format!(
                "mismatched number of configurations and conditions for extension {}",
                object.name
            )));
        }
        let oid = object.catalog_id.oid;
        let selection = &cx.selection;
        if selection.excluded_extensions.contains(&oid)
            || !(selection.extensions.is_empty() || selection.extensions.contains(&oid))
        {
            continue;
        }
        for (table, condition) in extension.config.iter().zip(&extension.condition) {
            let Some(table) = cx.catalog.table_by_oid(*table) else { continue };
            if wants_configuration(cx, object, table) {
                found.push((table, Some(condition.clone()).filter(|c| !c.is_empty())));
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    for (table, condition) in found {
        table_data::make(cx, table, condition);
    }
    order_by_foreign_keys(cx).await
}

/// Returns whether the rows of an extension's configuration table are dumped: if the extension, the table or
/// its namespace is dumped, unless the table or its namespace is excluded.
fn wants_configuration(cx: &Collector<'_>, extension: &DumpObject, table: DumpId) -> bool {
    let selection = &cx.selection;
    let table = &cx.catalog[table];
    let namespace = table.namespace.map(|id| &cx.catalog[id]);
    let chosen = extension.dumps(Components::DEFINITION)
        || selection.tables.contains(&table.catalog_id.oid)
        || namespace.is_some_and(|n| n.dumps(Components::DATA));
    chosen
        && !selection.excluded_tables.contains(&table.catalog_id.oid)
        && !namespace.is_some_and(|n| selection.excluded_namespaces.contains(&n.catalog_id.oid))
}

/// Makes the rows of configuration tables depend on the rows that their foreign keys reference.
async fn order_by_foreign_keys(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&FOREIGN_KEYS).await? {
        let data = |oid| cx.catalog.table(cx.catalog.table_by_oid(oid)?)?.data;
        let referenced = data(row.oid("referenced")?);
        let referencing = data(row.oid("referencing")?);
        if let (Some(referencing), Some(referenced)) = (referencing, referenced) {
            cx.catalog[referencing].depend_on(referenced);
        }
    }
    Ok(())
}

/// Writes the DDL of one extension. The target server chooses the version. `IF NOT EXISTS` permits the
/// extension to be installed before the restore.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, extension: &Extension) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::Extension, Section::PreData);
        let namespace = em.quoting.id(&extension.namespace);
        entry.definition = format!("CREATE EXTENSION IF NOT EXISTS {name} WITH SCHEMA {namespace};\n");
        entry.drop = format!("DROP EXTENSION {name};\n");
        em.push(entry);
    }
    let target = CommentTarget { object_type: "EXTENSION", name: &name, namespace: None, owner: "" };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
}
