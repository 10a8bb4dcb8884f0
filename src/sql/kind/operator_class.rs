//! Operator classes.

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::function::oids_to_describe;
use crate::sql::kind::operator_family::member::{self, Members, SEPARATOR};
use crate::sql::kind::operator_family::method_name;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, ObjectKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select::select_object;

const QUERY: CatalogQuery = CatalogQuery {
    what: "operator classes",
    since: PG13,
    text: "
SELECT c.oid, c.opcname::text AS name, c.opcnamespace AS namespace, c.opcowner AS owner, c.opcmethod AS method
  FROM pg_catalog.pg_opclass c",
    gates: &[],
};

const DETAILS: CatalogQuery = CatalogQuery {
    what: "operator class definitions",
    since: PG13,
    text: "
SELECT c.oid, pg_catalog.textin(pg_catalog.regtypeout(c.opcintype)) AS input_type,
       NULLIF(pg_catalog.textin(pg_catalog.regtypeout(c.opckeytype)), '-') AS key_type,
       c.opcdefault AS is_default, c.opcfamily AS family, f.opfname::text AS family_name,
       n.nspname::text AS family_namespace
  FROM pg_catalog.pg_opclass c
       LEFT JOIN pg_catalog.pg_opfamily f ON f.oid = c.opcfamily
       LEFT JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace
 WHERE c.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY c.oid",
    gates: &[],
};

/// An operator class.
#[derive(Debug, Default)]
pub struct OperatorClass {
    /// OID of the access method.
    pub method: u32,
    /// The fields that only its DDL needs; `None` unless the class is dumped.
    details: Option<Box<OperatorClassDetails>>,
}

/// The fields of an operator class that only its DDL needs.
#[derive(Debug, Default)]
struct OperatorClassDetails {
    /// The indexed type, formatted.
    input_type: String,
    /// The stored type, formatted, if it differs from the indexed type.
    key_type: Option<String>,
    /// Whether it is the `DEFAULT` for its type.
    is_default: bool,
    /// Namespace and name of the family.
    family: Option<(String, String)>,
    members: Members,
}

impl OperatorClass {
    /// Returns the list of its operators and functions, if its details were read.
    pub(super) fn members_mut(&mut self) -> Option<&mut Members> {
        self.details.as_mut().map(|details| &mut details.members)
    }
}

/// Identifies the operator classes.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let operator_class = OperatorClass { method: row.oid("method")?, details: None };
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let catalog_id = CatalogId::new(class::PG_OPCLASS, row.oid("oid")?);
        let owner = cx.role(row.oid("owner")?)?;
        let detail = Detail::OperatorClass(operator_class);
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        cx.catalog[id].owner = Some(owner);
        select_object(cx, id);
    }
    Ok(())
}

/// Reads the DDL details of the operator classes to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, ObjectKind::OperatorClass);
    if oids.is_empty() {
        return Ok(());
    }
    let (mut found, mut families) = (Vec::new(), Vec::new());
    for row in cx.rows_with(&DETAILS, &[&oids]).await? {
        let family = match (row.opt_text("family_namespace")?, row.opt_text("family_name")?) {
            (Some(namespace), Some(name)) => Some((namespace, name)),
            _ => None,
        };
        let details = OperatorClassDetails {
            input_type: row.text("input_type")?,
            key_type: row.opt_text("key_type")?,
            is_default: row.bool("is_default")?,
            family,
            members: Members::default(),
        };
        let oid = row.oid("oid")?;
        let Some(id) = cx.catalog.by_oid(class::PG_OPCLASS, oid) else { continue };
        if let Some(operator_class) = cx.catalog.operator_class_mut(id) {
            operator_class.details = Some(Box::new(details));
        }
        found.push(oid);
        families.push(row.oid("family")?);
    }
    member::describe(cx, class::PG_OPCLASS, &found, &families).await
}

/// Writes the DDL of one operator class.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, operator_class: &OperatorClass) {
    if em.options.data_only {
        return;
    }
    let method = method_name(em, operator_class.method);
    if object.dumps(Components::DEFINITION) {
        let qualified = em.catalog.qualified(object);
        let Some(details) = &operator_class.details else {
            let text = format!("operator class {qualified} could not be read from the catalogs");
            em.fail(SqlError::Inconsistent(text));
            return;
        };
        let entry = TocEntry {
            definition: definition(em, &qualified, &method, details),
            drop: format!("DROP OPERATOR CLASS {qualified} USING {method};\n"),
            ..em.entry_for(object, EntryKind::OperatorClass, Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = format!("{} USING {method}", em.quoting.id(&object.name));
        let namespace = em.catalog.namespace_name(object);
        let target = CommentTarget {
            object_type: "OPERATOR CLASS",
            name: &name,
            namespace,
            owner: object.owner_name(),
        };
        em.comment(object, &target);
    }
}

fn definition(em: &Emitter<'_>, qualified: &str, method: &str, details: &OperatorClassDetails) -> String {
    let default = if details.is_default { "DEFAULT " } else { "" };
    let mut sql = format!(
        "CREATE OPERATOR CLASS {qualified}\n    {default}FOR TYPE {} USING {method}",
        details.input_type
    );
    if let Some((namespace, name)) = &details.family {
        put!(sql, " FAMILY {}", em.quoting.qualified(namespace, name));
    }
    let mut clauses = details.members.clauses(em.quoting);
    if let Some(key_type) = &details.key_type {
        clauses.insert(0, format!("STORAGE {key_type}"));
    }
    // The statement needs at least one clause. `STORAGE` with the indexed type has no effect.
    if clauses.is_empty() {
        clauses.push(format!("STORAGE {}", details.input_type));
    }
    put!(sql, " AS\n    {};\n", clauses.join(SEPARATOR));
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{catalog, entries};
    use crate::sql::kind::operator_family::member::tests::members;
    use crate::sql::kind::operator_family::tests::add_method;

    #[test]
    fn a_class_says_something_even_if_it_has_no_members() {
        let (mut catalog, namespace) = catalog();
        add_method(&mut catalog);
        let empty =
            OperatorClassDetails { input_type: "integer".to_owned(), ..OperatorClassDetails::default() };
        let full = OperatorClassDetails {
            key_type: Some("bigint".to_owned()),
            is_default: true,
            family: Some(("s".to_owned(), "F".to_owned())),
            members: members(),
            ..OperatorClassDetails { input_type: "integer".to_owned(), ..OperatorClassDetails::default() }
        };
        for (oid, details) in [(1, empty), (2, full)] {
            let operator_class = OperatorClass { method: 403, details: Some(Box::new(details)) };
            let catalog_id = CatalogId::new(class::PG_OPCLASS, oid);
            catalog.add(catalog_id, "C".to_owned(), Some(namespace), Detail::OperatorClass(operator_class));
        }
        let entries = entries(&mut catalog);
        assert_eq!(
            entries[0].definition,
            "CREATE OPERATOR CLASS s.\"C\"\n    FOR TYPE integer USING btree AS\n    STORAGE integer;\n"
        );
        assert_eq!(
            entries[1].definition,
            "CREATE OPERATOR CLASS s.\"C\"\n    DEFAULT FOR TYPE integer USING btree FAMILY s.\"F\" AS\n    \
             STORAGE bigint ,\n    OPERATOR 1 s.<(integer,integer) ,\n    \
             OPERATOR 15 s.<(integer,integer) FOR ORDER BY s.\"F\" ,\n    \
             FUNCTION 1 (integer, bigint) btint4cmp(integer,integer);\n"
        );
        assert_eq!(entries[1].drop, "DROP OPERATOR CLASS s.\"C\" USING btree;\n");
    }
}
