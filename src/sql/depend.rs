//! Dependencies between objects, from `pg_depend`.

use super::collect::Collector;
use super::dialect::LargeObjectLayout;
use super::error::Result;
use super::object::{Catalog, CatalogId, Detail, DumpId, ObjectKind, class};
use super::pending_query;
use super::query::{CatalogQuery, CatalogRow};
use crate::protocol::version::PG13;
use crate::sql::code::codes;

/// The members of operator families are not objects of a dump: their dependencies count as those of their
/// family. Their internal dependencies point to their own class or family and are skipped.
const QUERY: CatalogQuery = CatalogQuery {
    what: "dependencies",
    since: PG13,
    text: "
SELECT d.classid, d.objid, d.refclassid, d.refobjid, d.deptype
  FROM pg_catalog.pg_depend d
 WHERE d.deptype <> 'p'
   AND d.deptype <> 'e'
 UNION ALL
SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, o.amopfamily, d.refclassid, d.refobjid, d.deptype
  FROM pg_catalog.pg_depend d, pg_catalog.pg_amop o
 WHERE d.deptype NOT IN ('p', 'e', 'i')
   AND d.classid = 'pg_catalog.pg_amop'::pg_catalog.regclass
   AND d.objid = o.oid
   AND NOT (d.refclassid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass AND o.amopfamily = d.refobjid)
 UNION ALL
SELECT 'pg_catalog.pg_opfamily'::pg_catalog.regclass, p.amprocfamily, d.refclassid, d.refobjid, d.deptype
  FROM pg_catalog.pg_depend d, pg_catalog.pg_amproc p
 WHERE d.deptype NOT IN ('p', 'e', 'i')
   AND d.classid = 'pg_catalog.pg_amproc'::pg_catalog.regclass
   AND d.objid = p.oid
   AND NOT (d.refclassid = 'pg_catalog.pg_opfamily'::pg_catalog.regclass AND p.amprocfamily = d.refobjid)
 ORDER BY 1, 2",
    gates: &[],
};

/// `DEPENDS ON EXTENSION`, in the order of the catalog's rows, which pg_dump's query for one object returns, too.
/// The CASE prevents the use of an index, which would give another order.
const EXPLICIT: CatalogQuery = CatalogQuery {
    what: "dependencies on extensions",
    since: PG13,
    text: "
SELECT d.classid AS class, d.objid AS object, d.refobjid AS extension
  FROM pg_catalog.pg_depend d
 WHERE CASE WHEN d.deptype = 'x'
            THEN d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
       END",
    gates: &[],
};

codes! {
    /// The kind of a dependency.
    DependencyKind("deptype") {
        Normal = 'n',
        Auto = 'a',
        Internal = 'i',
        /// Of a partition on its parent.
        PartitionPrimary = 'P',
        /// Of a partition on its table.
        PartitionSecondary = 'S',
        /// Of a member on its extension.
        Extension = 'e',
        /// `DEPENDS ON EXTENSION`.
        AutoExtension = 'x',
        /// Of the server on a built-in object, until version 13.
        Pin = 'p',
    }
}

/// A row of `pg_depend`, which may be irrelevant to the dump.
pub(super) struct Dependency {
    object: CatalogId,
    referenced: CatalogId,
    kind: DependencyKind,
}

impl Dependency {
    fn from_row(row: &CatalogRow) -> Result<Dependency> {
        Ok(Dependency {
            object: CatalogId::new(row.oid("classid")?, row.oid("objid")?),
            referenced: CatalogId::new(row.oid("refclassid")?, row.oid("refobjid")?),
            kind: row.code("deptype")?,
        })
    }
}

/// The dependencies, if a worker session is reading them: 20 bytes for each row of `pg_depend`.
pub(super) type PendingDependencies = Option<pending_query::AbortOnDrop<Result<Vec<Dependency>>>>;

/// Starts to read the dependencies on a worker session while the objects are collected.
pub(super) fn start_query(cx: &Collector<'_>) -> PendingDependencies {
    pending_query::spawn_query(cx, &QUERY, |row| Dependency::from_row(&row))
}

/// Records all dependencies between collected objects. Dependencies of columns count as those of their
/// tables.
pub(super) async fn collect(cx: &mut Collector<'_>, coming: PendingDependencies) -> Result<()> {
    match coming {
        None => {
            let record = |cx: &mut Collector<'_>, row| {
                record(cx, &Dependency::from_row(&row)?);
                Ok(())
            };
            cx.each(&QUERY, &[], record).await?;
        }
        Some(task) => task.end().await?.iter().for_each(|dependency| record(cx, dependency)),
    }
    for row in cx.rows(&EXPLICIT).await? {
        let object = cx.catalog.find(CatalogId::new(row.oid("class")?, row.oid("object")?));
        let extension = cx.catalog.by_oid(class::PG_EXTENSION, row.oid("extension")?);
        if let (Some(object), Some(extension)) = (object, extension) {
            cx.catalog.add_explicit_extension(object, extension);
        }
    }
    Ok(())
}

fn record(cx: &mut Collector<'_>, dependency: &Dependency) {
    let Dependency { object, referenced, kind } = *dependency;
    // Some catalog rows, such as those of TOAST tables, are not objects of a dump.
    let Some(object) = cx.catalog.find(object) else { return };
    let Some(referenced) = cx.catalog.find(referenced) else { return };
    // The relation of a composite type depends on the type, which is right for DROP. For the order of
    // creation the type depends on its relation, like a table's row type.
    let of_composite = kind == DependencyKind::Internal
        && cx.catalog[object].kind() == ObjectKind::Table
        && cx.catalog[referenced].kind() == ObjectKind::Type;
    let (from, to): (DumpId, DumpId) = if of_composite { (referenced, object) } else { (object, referenced) };
    cx.catalog[from].depend_on(to);
}

/// Where an object is placed relative to the data section. This is only for the order: the code that writes
/// the entry sets the entry's section.
enum Side {
    Before,
    Between,
    After,
    Anywhere,
}

fn side(detail: &Detail, large_objects: LargeObjectLayout) -> Side {
    match detail.kind() {
        ObjectKind::Namespace
        | ObjectKind::Extension
        | ObjectKind::Type
        | ObjectKind::ShellType
        | ObjectKind::Function
        | ObjectKind::Aggregate
        | ObjectKind::Operator
        | ObjectKind::AccessMethod
        | ObjectKind::OperatorClass
        | ObjectKind::OperatorFamily
        | ObjectKind::Collation
        | ObjectKind::Conversion
        | ObjectKind::Table
        | ObjectKind::TableAttach
        | ObjectKind::AttributeDefault
        | ObjectKind::Language
        | ObjectKind::Cast
        | ObjectKind::DummyType
        | ObjectKind::TsParser
        | ObjectKind::TsDictionary
        | ObjectKind::TsTemplate
        | ObjectKind::TsConfiguration
        | ObjectKind::ForeignDataWrapper
        | ObjectKind::ForeignServer
        | ObjectKind::Transform => Side::Before,
        ObjectKind::LargeObject => match large_objects {
            LargeObjectLayout::Single => Side::Before,
            LargeObjectLayout::Groups(_) => Side::Between,
        },
        ObjectKind::TableData | ObjectKind::SequenceSet | ObjectKind::LargeObjectData => Side::Between,
        ObjectKind::Index
        | ObjectKind::IndexAttach
        | ObjectKind::Statistics
        | ObjectKind::MatviewRefresh
        | ObjectKind::Trigger
        | ObjectKind::EventTrigger
        | ObjectKind::DefaultAcl
        | ObjectKind::Policy
        | ObjectKind::Publication
        | ObjectKind::PublicationTable
        | ObjectKind::PublicationNamespace
        | ObjectKind::Subscription => Side::After,
        ObjectKind::Rule | ObjectKind::Constraint | ObjectKind::ForeignKey => match detail {
            Detail::Rule(rule) if rule.separate => Side::After,
            Detail::Constraint(constraint) | Detail::ForeignKey(constraint) if constraint.separate => {
                Side::After
            }
            _ => Side::Anywhere,
        },
        ObjectKind::PreDataBoundary | ObjectKind::PostDataBoundary => Side::Anywhere,
    }
}

/// Adds the two objects for the boundaries of the data section, with dependencies that keep the sections
/// separate.
pub(super) fn add_boundaries(catalog: &mut Catalog) {
    let pre =
        catalog.add(CatalogId::default(), "PRE-DATA BOUNDARY".to_owned(), None, Detail::PreDataBoundary(()));
    let post = catalog.add(
        CatalogId::default(),
        "POST-DATA BOUNDARY".to_owned(),
        None,
        Detail::PostDataBoundary(()),
    );
    let large_objects = catalog.dialect.large_objects;
    let (mut before_pre, mut before_post) = (Vec::new(), Vec::new());
    for object in catalog.iter_mut() {
        match side(&object.detail, large_objects) {
            Side::Before => before_pre.push(object.id),
            Side::Between => {
                object.depend_on(pre);
                before_post.push(object.id);
            }
            Side::After => object.depend_on(post),
            Side::Anywhere => {}
        }
    }
    catalog[pre].dependencies = before_pre;
    catalog[post].dependencies = before_post;
    catalog[post].depend_on(pre);
}
