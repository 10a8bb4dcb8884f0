//! Data types: base, composite, domain, enum and range types, and shell types. Also the dummy types of
//! tables, arrays and multiranges, which are never written but are dependencies of other objects.
//!
//! This file holds the parts that all types share. The fields and DDL of each form are in the form's file.

mod base;
mod composite;
mod domain;
mod enumeration;
mod range;

use std::borrow::Cow;

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::table::RelationKind;
use crate::sql::object::{
    Catalog, CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, ObjectKind, Section, class,
};
use crate::sql::pending_query;
use crate::sql::query::{CatalogQuery, CatalogRow};
use crate::sql::select::select_object;

/// Reads no formatted names for row types and automatic arrays: each table has one of both, and their names
/// are derived from the relation or the element type.
const QUERY: CatalogQuery = CatalogQuery {
    what: "types",
    since: PG13,
    text: "
SELECT t.oid, t.typname::text AS name, t.typnamespace AS namespace, t.typowner AS owner,
       pg_catalog.textin(pg_catalog.array_out(t.typacl)) AS acl,
       CASE WHEN t.typacl IS NOT NULL
            THEN pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('T', t.typowner))) END AS acl_default,
       t.typelem AS element, t.typrelid AS relation, c.relkind AS relation_kind, t.typtype AS kind,
       t.typisdefined AS is_defined, e.oid IS NOT NULL AS is_array,
       CASE WHEN e.oid IS NULL AND (t.typrelid = 0 OR c.relkind = 'c')
            THEN pg_catalog.format_type(t.oid, NULL)
       END AS formatted
  FROM (SELECT t.oid, t.typname, t.typnamespace, t.typowner, t.typacl, t.typelem, t.typrelid,
               t.typtype, t.typisdefined,
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_type t) t
       LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
       LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND e.typarray = t.oid
 ORDER BY t.place",
    gates: &[],
};

codes! {
    /// The kind of a type.
    TypeKind("typtype") {
        Base = 'b',
        Composite = 'c',
        Domain = 'd',
        Enum = 'e',
        Multirange = 'm',
        Pseudo = 'p',
        Range = 'r',
    }
}

/// A data type that is dumped as an object of its own.
#[derive(Debug, Default)]
pub struct DataType {
    /// `format_type()`: quoted and qualified where needed.
    pub formatted: Box<str>,
    /// OID of the element type, 0 if the type is not subscriptable.
    pub element: u32,
    /// OID of the relation of a composite type, 0 for other types.
    pub relation: u32,
    /// Its kind; `None` for an unknown code. `sql::refuse` rejects such a type if it is to be dumped.
    pub kind: Option<TypeKind>,
    /// False for a shell type.
    pub is_defined: bool,
    /// The shell type that is created before the type's functions.
    pub shell: Option<DumpId>,
    /// Check constraints of a domain, ordered by name.
    pub domain_checks: Vec<DumpId>,
    /// The NOT NULL constraint of a domain, on servers where it has a name.
    pub domain_not_null: Option<DumpId>,
    /// The fields that only its DDL needs; undescribed unless the type is dumped.
    pub(super) form: TypeForm,
}

/// A type that is created with another object: the row type of a table, view or similar relation, an
/// automatic array or a multirange type. Each table has two, so the struct is small.
#[derive(Debug)]
pub enum DummyType {
    /// The row type of the relation with this OID.
    Row(u32),
    /// An array of the type with this OID.
    Array(u32),
    /// A multirange, with its `format_type()`.
    Multirange(Box<str>),
}

/// The fields that are specific to a form of type.
#[derive(Debug, Default)]
pub(super) enum TypeForm {
    /// Not read: the definition is not dumped, or the form has no rows to read.
    #[default]
    Undescribed,
    Base(Box<base::Base>),
    Composite(Vec<composite::CompositeAttribute>),
    Domain(Box<domain::Domain>),
    /// The labels, in order.
    Enum(Vec<String>),
    Range(Box<range::Range>),
}

impl DataType {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        Ok(DataType {
            formatted: row.opt_text("formatted")?.unwrap_or_default().into(),
            element: row.oid("element")?,
            relation: row.oid("relation")?,
            kind: row.try_code("kind")?.ok(),
            is_defined: row.bool("is_defined")?,
            ..DataType::default()
        })
    }
}

fn detail(row: &CatalogRow) -> Result<Detail> {
    let relation = row.oid("relation")?;
    Ok(if relation != 0 && row.opt_code("relation_kind")? != Some(RelationKind::CompositeType) {
        Detail::DummyType(DummyType::Row(relation))
    } else if row.bool("is_array")? {
        Detail::DummyType(DummyType::Array(row.oid("element")?))
    } else if row.try_code("kind")? == Ok(TypeKind::Multirange) {
        Detail::DummyType(DummyType::Multirange(row.text("formatted")?.into()))
    } else {
        Detail::Type(Box::new(DataType::from_row(row)?))
    })
}

/// The shell of a base or range type.
#[derive(Debug)]
pub struct ShellType {
    /// The complete type.
    pub base: DumpId,
}

/// The types, if a worker session reads them.
pub(in crate::sql) type PendingTypes = Option<pending_query::AbortOnDrop<Result<Vec<CatalogRow>>>>;

/// Starts to read the types in a worker session while tables are locked.
pub(in crate::sql) fn start_query(cx: &Collector<'_>) -> PendingTypes {
    pending_query::spawn_query(cx, &QUERY, Ok)
}

/// Identifies the types. Built-in types are included, because other types are defined from them.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>, coming: PendingTypes) -> Result<()> {
    let constraints = domain::read_constraints(cx).await?;
    match coming {
        None => cx.each(&QUERY, &[], |cx, row| add(cx, &row, &constraints)).await,
        Some(task) => task.end().await?.iter().try_for_each(|row| add(cx, row, &constraints)),
    }
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow, constraints: &domain::Constraints) -> Result<()> {
    let namespace = cx.namespace(row.oid("namespace")?)?;
    let catalog_id = CatalogId::new(class::PG_TYPE, row.oid("oid")?);
    let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail(row)?);
    select_type(cx, id);
    cx.set_owner_and_acl(id, row)?;
    let object = &cx.catalog[id];
    let is_domain =
        matches!(&object.detail, Detail::Type(data_type) if data_type.kind == Some(TypeKind::Domain));
    if let (true, Some(rows)) = (is_domain, constraints.get(&object.catalog_id.oid))
        && object.dumps(Components::DEFINITION)
    {
        domain::add_constraints(&mut cx.catalog, id, rows)?;
    }
    add_shell(&mut cx.catalog, id, row.try_code("kind")?.ok(), cx.options.verbose);
    Ok(())
}

/// Selects a row type with its table. The general rule is assumed to select an automatic array or multirange
/// type together with its element type.
fn select_type(cx: &mut Collector<'_>, id: DumpId) {
    match cx.catalog.dummy_type(id) {
        Some(DummyType::Row(relation)) => {
            let table = cx.catalog.table_by_oid(*relation);
            cx.catalog[id].dump = table.map_or(Components::empty(), |table| cx.catalog[table].dump);
        }
        _ => select_object(cx, id),
    }
}

/// Adds a shell to a base or range type. The shell is written only if the dump's order needs it before the
/// type's functions. It has no catalog id, because otherwise it would receive the type's dependencies.
///
/// pg_dump also adds a shell to automatic array types, because they are base types, except to the array of
/// `record`, which is a pseudo-type. That shell is never written but takes an id. Here the id is only
/// counted, to save an object's memory, and only if the banners show ids.
fn add_shell(catalog: &mut Catalog, id: DumpId, kind: Option<TypeKind>, ids_are_shown: bool) {
    let object = &catalog[id];
    let is_made_by_functions = matches!(kind, Some(TypeKind::Base | TypeKind::Range));
    let has_shell = is_made_by_functions && matches!(object.detail, Detail::Type(_));
    let takes_id = is_made_by_functions && matches!(object.detail, Detail::DummyType(DummyType::Array(_)));
    if !(has_shell || takes_id) || !object.dumps(Components::DEFINITION) {
        return;
    }
    if takes_id && !ids_are_shown {
        return catalog.leave_one_out();
    }
    let (name, namespace, owner) = (object.name.clone(), object.namespace, object.owner.clone());
    let detail = Detail::ShellType(ShellType { base: id });
    let shell = catalog.add(CatalogId::default(), name, namespace, detail);
    catalog[shell].dump = Components::empty();
    catalog[shell].owner = owner;
    if let Some(data_type) = catalog.data_type_mut(id) {
        data_type.shell = Some(shell);
    }
}

/// Reads the DDL details of the types to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.data_only {
        return Ok(());
    }
    base::describe(cx).await?;
    composite::describe(cx).await?;
    domain::describe(cx).await?;
    enumeration::describe(cx).await?;
    range::describe(cx).await
}

/// Returns the OIDs of the types of this kind of which any of `components` is dumped.
fn oids_to_describe(cx: &Collector<'_>, kind: TypeKind, components: Components) -> Vec<u32> {
    let types = cx.catalog.iter().filter(|object| match &object.detail {
        Detail::Type(data_type) => data_type.kind == Some(kind) && cx.dumps(object.id, components),
        _ => false,
    });
    types.map(|object| object.catalog_id.oid).collect()
}

/// Returns the type with this OID, to add its details.
fn described<'c>(cx: &'c mut Collector<'_>, oid: u32) -> Result<&'c mut DataType> {
    let id = cx.catalog.by_oid(class::PG_TYPE, oid);
    id.and_then(|id| cx.catalog.data_type_mut(id))
        .ok_or_else(|| SqlError::Inconsistent(format!("type with OID {oid} does not exist")))
}

/// Returns `format_type()` of the type with this OID, and `zero` for OID 0.
pub(in crate::sql) fn formatted<'a>(em: &mut Emitter<'a>, oid: u32, zero: &'a str) -> Cow<'a, str> {
    if oid == 0 {
        return zero.into();
    }
    let object = em.catalog.by_oid(class::PG_TYPE, oid).map(|id| &em.catalog[id]);
    match object.map(|object| (object, &object.detail)) {
        Some((_, Detail::Type(data_type))) => (&*data_type.formatted).into(),
        Some((_, Detail::DummyType(DummyType::Multirange(name)))) => (&**name).into(),
        Some((_, Detail::DummyType(DummyType::Array(element)))) => {
            format!("{}[]", formatted(em, *element, zero)).into()
        }
        Some((row, _)) => {
            // The server qualifies types outside the search path, and the search path of a dump contains only
            // `pg_catalog`.
            let namespace = em.catalog.namespace_name(row).filter(|namespace| *namespace != "pg_catalog");
            em.quoting.server_qualified(namespace, &row.name).to_string().into()
        }
        None => {
            em.fail(SqlError::Inconsistent(format!("type with OID {oid} does not exist")));
            zero.into()
        }
    }
}

/// Returns the qualified name of a collation, or `None` if the OID is 0 or unknown.
fn collation(em: &Emitter<'_>, oid: u32) -> Option<String> {
    let id = em.catalog.by_oid(class::PG_COLLATION, oid)?;
    (em.catalog[id].kind() == ObjectKind::Collation).then(|| em.catalog.qualified(&em.catalog[id]))
}

/// Writes the DDL of one type.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, data_type: &DataType) {
    if em.options.data_only {
        return;
    }
    let desc = if data_type.kind == Some(TypeKind::Domain) { EntryKind::Domain } else { EntryKind::Type };
    if data_type.kind == Some(TypeKind::Pseudo) && data_type.is_defined {
        // Only a manual change of a catalog or of a built-in pseudo-type's privileges leads here.
        em.warn(format!("typtype of data type \"{}\" appears to be invalid", object.name));
        return;
    }
    if object.dumps(Components::DEFINITION) {
        emit_definition(em, object, data_type, desc);
    }
    let name = em.quoting.id(&object.name).to_string();
    let namespace = em.catalog.namespace_name(object);
    let target =
        CommentTarget { object_type: desc.as_str(), name: &name, namespace, owner: object.owner_name() };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
    if object.dumps(Components::ACL) {
        em.acl(object, &CommentTarget { object_type: "TYPE", ..target });
    }
    match &data_type.form {
        TypeForm::Composite(attributes) if object.dumps(Components::COMMENT) => {
            composite::emit_comments(em, object, data_type, attributes);
        }
        TypeForm::Domain(_) => domain::emit_comments(em, object, data_type),
        _ => {}
    }
}

fn emit_definition(em: &mut Emitter<'_>, object: &DumpObject, data_type: &DataType, desc: EntryKind) {
    let name = em.catalog.qualified(object);
    let definition = match &data_type.form {
        TypeForm::Base(base) => base.definition(em, &name, data_type.element),
        TypeForm::Composite(attributes) => composite::definition(em, &name, attributes),
        TypeForm::Domain(domain) => domain.definition(em, object, data_type, &name),
        TypeForm::Enum(labels) => enumeration::definition(em.quoting, &name, labels),
        TypeForm::Range(range) => range.definition(em, &name),
        TypeForm::Undescribed if data_type.kind == Some(TypeKind::Pseudo) => format!("CREATE TYPE {name};\n"),
        // No rows describe a composite type without attributes or an enum without labels.
        TypeForm::Undescribed if data_type.kind == Some(TypeKind::Composite) => {
            composite::definition(em, &name, &[])
        }
        TypeForm::Undescribed if data_type.kind == Some(TypeKind::Enum) => {
            enumeration::definition(em.quoting, &name, &[])
        }
        TypeForm::Undescribed => {
            em.fail(SqlError::Inconsistent(format!("type {name} could not be read from the catalogs")));
            return;
        }
    };
    // A base type and its functions depend on each other, so only CASCADE drops them.
    let drop = match data_type.kind {
        Some(TypeKind::Base) => format!("DROP TYPE {name} CASCADE;\n"),
        _ => format!("DROP {desc} {name};\n"),
    };
    let entry = em.entry_for(object, desc, Section::PreData);
    em.push(TocEntry { definition, drop, ..entry });
}

/// Writes the shell of a type. It has no drop statement, because dropping the type drops its shell. Its owner
/// is set with the complete type.
pub(in crate::sql) fn emit_shell(em: &mut Emitter<'_>, object: &DumpObject, _shell: &ShellType) {
    if em.options.data_only || !object.dumps(Components::DEFINITION) {
        return;
    }
    let definition = format!("CREATE TYPE {};\n", em.catalog.qualified(object));
    let entry = em.entry_for(object, EntryKind::ShellType, Section::PreData);
    em.push(TocEntry { definition, ..entry });
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sql::ident::Quoting;
    use crate::sql::options::DumpOptions;

    /// Creates a catalog with one namespace, `s`.
    pub(in crate::sql::kind) fn catalog() -> (Catalog, DumpId) {
        let mut catalog = Catalog::default();
        catalog.quoting = Quoting::new(["select", "table"].map(String::from).into(), false, true);
        let namespace = catalog.add(
            CatalogId::new(class::PG_NAMESPACE, 1),
            "s".to_owned(),
            None,
            Detail::Namespace(crate::sql::kind::namespace::Namespace::default()),
        );
        catalog[namespace].dump = Components::empty();
        (catalog, namespace)
    }

    /// Adds a type with this OID and this `format_type()`.
    pub(in crate::sql::kind) fn add_type(catalog: &mut Catalog, oid: u32, formatted: &str) -> DumpId {
        let data_type =
            DataType { formatted: formatted.into(), kind: Some(TypeKind::Base), ..DataType::default() };
        let id = catalog.add(
            CatalogId::new(class::PG_TYPE, oid),
            formatted.to_owned(),
            None,
            Detail::Type(Box::new(data_type)),
        );
        catalog[id].dump = Components::empty();
        id
    }

    /// Returns the entries of all objects to be dumped, ordered by id.
    pub(in crate::sql::kind) fn entries(catalog: &mut Catalog) -> Vec<TocEntry> {
        for object in catalog.iter_mut() {
            object.dump &= object.components;
        }
        let order: Vec<DumpId> = catalog.iter().map(|o| o.id).collect();
        let options = DumpOptions::default();
        let entries = || crate::sql::entries::Entries::new(catalog, &options, &order);
        entries().survey(|_| ()).unwrap();
        entries().filter(|e| !e.key().is_database()).collect()
    }

    fn entry_of(name: &str, data_type: DataType) -> TocEntry {
        let (mut catalog, namespace) = catalog();
        catalog.add(
            CatalogId::new(class::PG_TYPE, 100),
            name.to_owned(),
            Some(namespace),
            Detail::Type(Box::new(data_type)),
        );
        entries(&mut catalog).into_iter().find(|e| e.tag == name).unwrap()
    }

    #[test]
    fn an_enum_without_labels_keeps_its_empty_list() {
        let entry =
            entry_of("E", DataType { kind: Some(TypeKind::Enum), is_defined: true, ..DataType::default() });
        assert_eq!(entry.definition, "CREATE TYPE s.\"E\" AS ENUM (\n);\n");
        assert_eq!(entry.drop, "DROP TYPE s.\"E\";\n");
    }

    #[test]
    fn a_composite_without_attributes_keeps_its_empty_list() {
        let entry = entry_of(
            "c",
            DataType { kind: Some(TypeKind::Composite), is_defined: true, ..DataType::default() },
        );
        assert_eq!(entry.definition, "CREATE TYPE s.c AS (\n);\n");
    }

    #[test]
    fn a_type_that_was_never_defined_stays_a_shell() {
        let entry = entry_of("later", DataType { kind: Some(TypeKind::Pseudo), ..DataType::default() });
        assert_eq!((entry.desc, entry.definition.as_str()), (EntryKind::Type, "CREATE TYPE s.later;\n"));
    }

    #[test]
    fn shells_belong_to_types_with_functions_and_are_not_dumped_at_first() {
        let (mut catalog, namespace) = catalog();
        for (oid, kind) in [(100, TypeKind::Base), (101, TypeKind::Range), (102, TypeKind::Enum)] {
            let id = catalog.add(
                CatalogId::new(class::PG_TYPE, oid),
                format!("t{oid}"),
                Some(namespace),
                Detail::Type(Box::new(DataType { kind: Some(kind), ..DataType::default() })),
            );
            add_shell(&mut catalog, id, Some(kind), false);
            let shell = catalog.data_type(id).unwrap().shell;
            assert_eq!(shell.is_some(), kind != TypeKind::Enum);
            assert!(shell.is_none_or(|shell| catalog[shell].dump.is_empty()));
        }
    }
}
