//! Indexes: the query, the row, the DDL. The query also finds the constraints of indexes (primary key,
//! unique, exclusion); `kind::constraint` writes their DDL. PostgreSQL manual: CREATE INDEX, catalog
//! `pg_index`.

mod definition;

pub use definition::Definition;
use definition::Definitions;

use super::constraint::Constraint;
use crate::protocol::version::{PG13, PG15};
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, Section, class};
use crate::sql::pending_query::PendingQuery;
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};

/// The query, with the columns that show whether an index is plain.
macro_rules! query {
    ($plain:literal) => {
        CatalogQuery {
            what: "indexes",
            since: PG13,
            text: concat!(
                "
SELECT t.oid,
       i.indrelid,
       t.relname::pg_catalog.text AS name,
       h.inhparent AS parent,
       t.relkind AS kind,
       t.relam AS method_oid,
       m.amname::pg_catalog.text AS method,
",
                $plain,
                "       i.indkey AS columns,
       i.indnkeyatts AS key_columns,
       i.indisclustered AS clustered,
       i.indisreplident AS replica_identity,
       {nulls_not_distinct} AS nulls_not_distinct,
       t.reloptions AS options,
       p.spcname::pg_catalog.text AS tablespace,
       s.columns AS statistics_columns,
       s.targets AS statistics_targets,
       c.oid AS constraint_oid,
       c.contype AS constraint_kind,
       c.conname::pg_catalog.text AS constraint_name,
       c.condeferrable AS deferrable,
       c.condeferred AS deferred,
       CASE WHEN c.contype = 'x' THEN pg_catalog.pg_get_constraintdef(c.oid, false) END AS constraint_definition
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS wanted (oid)
  JOIN pg_catalog.pg_index i ON i.indrelid = wanted.oid
  JOIN pg_catalog.pg_class t ON t.oid = i.indexrelid
  JOIN pg_catalog.pg_class r ON r.oid = i.indrelid
  JOIN pg_catalog.pg_am m ON m.oid = t.relam
  LEFT JOIN pg_catalog.pg_tablespace p ON p.oid = t.reltablespace
  LEFT JOIN pg_catalog.pg_inherits h ON h.inhrelid = i.indexrelid
  LEFT JOIN pg_catalog.pg_constraint c
         ON c.conrelid = i.indrelid AND c.conindid = i.indexrelid AND c.contype IN ('p', 'u', 'x')
  LEFT JOIN (SELECT a.attrelid,
                    pg_catalog.array_agg(a.attnum ORDER BY a.attnum)
                        FILTER (WHERE a.attstattarget >= 0) AS columns,
                    pg_catalog.array_agg(a.attstattarget::pg_catalog.int2 ORDER BY a.attnum)
                        FILTER (WHERE a.attstattarget >= 0) AS targets,
                    pg_catalog.bool_or(a.attoptions IS NOT NULL) AS has_options
               FROM pg_catalog.pg_class x
               JOIN pg_catalog.pg_attribute a ON a.attrelid = x.oid
              WHERE x.relkind IN ('i', 'I')
                AND a.attnum > 0
                AND (a.attstattarget >= 0 OR a.attoptions IS NOT NULL)
              GROUP BY a.attrelid) s ON s.attrelid = i.indexrelid
 WHERE (i.indisvalid OR r.relkind = 'p')
   AND i.indisready
 ORDER BY i.indrelid, t.relname",
            ),
            gates: &[Gate {
                column: "nulls_not_distinct",
                before: "false",
                steps: &[(PG15, "i.indnullsnotdistinct")],
            }],
        }
    };
}

/// Omits invalid indexes, except on partitioned tables, where an index is invalid while a partition has no
/// such index. Does not read the definition of an index with a constraint, which is never written, or of a
/// plain index ([`Definition::Plain`]).
const QUERY: CatalogQuery = query!(
    "       i.indisunique AS is_unique,
       i.indexprs IS NOT NULL OR i.indpred IS NOT NULL OR s.has_options IS TRUE AS has_expressions,
       i.indoption AS key_options,
       i.indclass AS key_classes,
       i.indcollation AS key_collations,
"
);

/// For a role that may read only the columns that pg_dump reads: all definitions are read from the server.
const QUERY_WITHOUT_KEYS: CatalogQuery = query!("       true AS has_expressions,\n");

/// An index.
#[derive(Debug)]
pub struct Index {
    /// The table or materialized view.
    pub table: DumpId,
    /// OID of the parent index if it is an index of a partition, else 0.
    pub parent: u32,
    /// `ATTACH PARTITION` objects that attach other indexes to this one.
    pub partition_attaches: Vec<DumpId>,
    /// The constraint that the index implements.
    pub constraint: Option<DumpId>,
    /// The statement that creates it.
    pub definition: Definition,
    /// Numbers of the indexed columns, followed by those of `INCLUDE`; 0 for an expression.
    pub columns: Vec<i16>,
    /// The number of `columns` that are keys.
    pub key_columns: usize,
    /// Whether the table is clustered on it.
    pub clustered: bool,
    /// Whether it is the table's replica identity.
    pub replica_identity: bool,
    /// `NULLS NOT DISTINCT`.
    pub nulls_not_distinct: bool,
    /// Storage parameters, each as `name=value`.
    pub options: Vec<String>,
    /// Tablespace; empty for the database's default.
    pub tablespace: String,
    /// Index columns with their own statistics target, as pairs of number and target.
    pub statistics: Vec<(i16, i16)>,
}

impl Index {
    fn from_row(row: &CatalogRow, table: DumpId) -> Result<Index> {
        let statistics_columns = row.int2s("statistics_columns")?;
        Ok(Index {
            table,
            parent: row.oid("parent")?,
            partition_attaches: Vec::new(),
            constraint: None,
            definition: Definition::OfConstraint,
            columns: row.int2s("columns")?,
            key_columns: usize::from(row.int2("key_columns")?.unsigned_abs()),
            clustered: row.bool("clustered")?,
            replica_identity: row.bool("replica_identity")?,
            nulls_not_distinct: row.bool("nulls_not_distinct")?,
            options: row.texts("options")?,
            tablespace: row.opt_text("tablespace")?.unwrap_or_default(),
            statistics: statistics_columns.into_iter().zip(row.int2s("statistics_targets")?).collect(),
        })
    }
}

/// Starts the query for the indexes of the tables that are dumped or are parents of dumped tables. The query
/// locks no table.
pub(in crate::sql) fn start_query(cx: &Collector<'_>) -> Option<PendingQuery> {
    let tables = cx.catalog.table_oids(|_, table| table.has_indexes && table.interesting);
    let query = if cx.catalog.database.keys_are_readable { &QUERY } else { &QUERY_WITHOUT_KEYS };
    (!tables.is_empty()).then(|| cx.start_query(query, vec![Box::new(tables)]))
}

/// Identifies the indexes from the pending query, and the constraints that they implement.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>, indexes: Option<PendingQuery>) -> Result<()> {
    let Some(coming) = indexes else { return Ok(()) };
    let mut definitions = Definitions::start(cx).await?;
    cx.each_pending(coming, |cx, row| add(cx, &row, &mut definitions)).await?;
    definitions.ask(cx).await
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow, definitions: &mut Definitions) -> Result<()> {
    let relation = row.oid("indrelid")?;
    let Some(table) = cx.catalog.table_by_oid(relation) else {
        return Err(SqlError::Inconsistent(format!("unrecognized table OID {relation}")));
    };
    let (dump, namespace) = (cx.catalog[table].dump, cx.catalog[table].namespace);
    let mut detail = Index::from_row(row, table)?;
    if row.oid("constraint_oid")? == 0 {
        detail.definition = definitions.find(cx, row, &detail)?;
    }
    let catalog_id = CatalogId::new(class::PG_CLASS, row.oid("oid")?);
    let index = cx.catalog.add(catalog_id, row.text("name")?, namespace, Detail::Index(Box::new(detail)));
    cx.catalog[index].dump = dump;
    if let Some(table) = cx.catalog.table_mut(table) {
        table.indexes.push(index);
    }

    let Some(name) = row.opt_text("constraint_name")? else { return Ok(()) };
    let detail = Detail::Constraint(Constraint {
        table: Some(table),
        domain: None,
        kind: row.code("constraint_kind")?,
        definition: row.opt_text("constraint_definition")?.unwrap_or_default(),
        referenced_table: 0,
        index: Some(index),
        deferrable: row.bool("deferrable")?,
        deferred: row.bool("deferred")?,
        local: true,
        separate: true,
    });
    let catalog_id = CatalogId::new(class::PG_CONSTRAINT, row.oid("constraint_oid")?);
    let constraint = cx.catalog.add(catalog_id, name, namespace, detail);
    cx.catalog[constraint].dump = dump;
    if let Some(index) = cx.catalog.index_mut(index) {
        index.constraint = Some(constraint);
    }
    Ok(())
}

/// Writes the DDL of one index, unless its constraint creates it, and its comment.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, index: &Index) {
    if em.options.data_only {
        return;
    }
    let table = &em.catalog[index.table];
    if index.constraint.is_none() && object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::Index, Section::PostData);
        entry.owner = table.owner.as_deref().map(str::to_owned);
        entry.tablespace = Some(index.tablespace.clone());
        entry.definition = match create(em, object, index) {
            Ok(definition) => definition,
            Err(error) => return em.fail(error),
        };
        // The server does not drop an index of a partition separately. The index is dropped with its table or
        // with the partitioned index.
        if index.parent == 0 {
            entry.drop = format!("DROP INDEX {};\n", em.catalog.qualified(object));
        }
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = em.quoting.id(&object.name).to_string();
        let target = CommentTarget {
            object_type: "INDEX",
            name: &name,
            namespace: em.catalog.namespace_name(table),
            owner: table.owner_name(),
        };
        em.comment_on(object.catalog_id, 0, index.constraint.unwrap_or(object.id), &target);
    }
}

fn create(em: &Emitter<'_>, object: &DumpObject, index: &Index) -> Result<String> {
    let name = em.catalog.qualified(object);
    let mut sql = definition::create(em, object, index)?;
    sql.push_str(";\n");
    sql += &clustered(em, object, index);
    for (column, target) in &index.statistics {
        put!(sql, "ALTER INDEX {name} ALTER COLUMN {column} SET STATISTICS {target};\n");
    }
    sql += &em.depends_on_extension(object, "INDEX", &name);
    sql += &replica_identity(em, object, index);
    Ok(sql)
}

/// Returns `ALTER TABLE … CLUSTER ON` if the table is clustered on the index.
pub(super) fn clustered(em: &Emitter<'_>, object: &DumpObject, index: &Index) -> String {
    if !index.clustered {
        return String::new();
    }
    let table = em.catalog.qualified(&em.catalog[index.table]);
    format!("\nALTER TABLE {table} CLUSTER ON {};\n", em.quoting.id(&object.name))
}

/// Returns `ALTER TABLE … REPLICA IDENTITY USING INDEX` if the index is the table's replica identity.
pub(super) fn replica_identity(em: &Emitter<'_>, object: &DumpObject, index: &Index) -> String {
    if !index.replica_identity {
        return String::new();
    }
    let table = em.catalog.qualified(&em.catalog[index.table]);
    let name = em.quoting.id(&object.name);
    format!("\nALTER TABLE ONLY {table} REPLICA IDENTITY USING INDEX {name};\n")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{catalog, entries};
    use crate::sql::kind::table::{Attribute, RelationKind, Table};
    use crate::sql::object::Catalog;

    /// Creates a catalog with one namespace and a relation of this kind, `s."T"`, owned by `own`. The
    /// relation itself is not dumped. Its columns are `a`, `B` and `c`.
    pub(in crate::sql::kind) fn catalog_with(kind: RelationKind) -> (Catalog, DumpId) {
        let (mut catalog, namespace) = catalog();
        let attributes =
            ["a", "B", "c"].map(|name| Attribute { name: name.to_owned(), ..Attribute::default() });
        let table = Table { kind, attributes: attributes.into(), ..Table::default() };
        let catalog_id = CatalogId::new(class::PG_CLASS, 10);
        let id = catalog.add(catalog_id, "T".to_owned(), Some(namespace), Detail::Table(Box::new(table)));
        catalog[id].dump = Components::empty();
        catalog[id].owner = Some("own".into());
        (catalog, id)
    }

    /// Returns a plain index on column `a`.
    pub(in crate::sql::kind) fn plain(table: DumpId) -> Index {
        Index {
            table,
            parent: 0,
            partition_attaches: Vec::new(),
            constraint: None,
            definition: Definition::Plain { unique: false, method: "btree".into(), key_options: vec![0] },
            columns: vec![1],
            key_columns: 1,
            clustered: false,
            replica_identity: false,
            nulls_not_distinct: false,
            options: Vec::new(),
            tablespace: String::new(),
            statistics: Vec::new(),
        }
    }

    /// Adds an index with this name.
    pub(in crate::sql::kind) fn add_index(catalog: &mut Catalog, name: &str, index: Index) -> DumpId {
        let namespace = catalog[index.table].namespace;
        let oid = 100 + u32::try_from(catalog.len()).unwrap();
        let catalog_id = CatalogId::new(class::PG_CLASS, oid);
        catalog.add(catalog_id, name.to_owned(), namespace, Detail::Index(Box::new(index)))
    }

    #[test]
    fn what_only_alter_can_set_follows_in_its_order() {
        let (mut catalog, table) = catalog_with(RelationKind::Table);
        let index = Index {
            clustered: true,
            replica_identity: true,
            statistics: vec![(1, 100), (3, 0)],
            tablespace: "fast".to_owned(),
            ..plain(table)
        };
        add_index(&mut catalog, "I", index);
        let entry = entries(&mut catalog).remove(0);
        assert_eq!(
            entry.definition,
            "CREATE INDEX \"I\" ON s.\"T\" USING btree (a);\n\
             \nALTER TABLE s.\"T\" CLUSTER ON \"I\";\n\
             ALTER INDEX s.\"I\" ALTER COLUMN 1 SET STATISTICS 100;\n\
             ALTER INDEX s.\"I\" ALTER COLUMN 3 SET STATISTICS 0;\n\
             \nALTER TABLE ONLY s.\"T\" REPLICA IDENTITY USING INDEX \"I\";\n"
        );
        assert_eq!((entry.tag.as_str(), entry.owner.as_deref()), ("I", Some("own")));
        assert_eq!(entry.drop, "DROP INDEX s.\"I\";\n");
        assert_eq!(entry.tablespace.as_deref(), Some("fast"));
    }

    #[test]
    fn a_plain_index_is_written_from_its_columns() {
        let (mut catalog, table) = catalog_with(RelationKind::Table);
        let of = |unique, options: [i16; 2]| Index {
            definition: Definition::Plain { unique, method: "btree".into(), key_options: options.into() },
            columns: vec![2, 1, 3],
            key_columns: 2,
            nulls_not_distinct: unique,
            ..plain(table)
        };
        add_index(&mut catalog, "i", of(true, [0, 3]));
        add_index(&mut catalog, "j", of(false, [1, 2]));
        let written: Vec<_> = entries(&mut catalog).into_iter().map(|entry| entry.definition).collect();
        assert_eq!(
            written,
            [
                "CREATE UNIQUE INDEX i ON s.\"T\" USING btree (\"B\", a DESC) INCLUDE (c) NULLS NOT DISTINCT;\n",
                "CREATE INDEX j ON s.\"T\" USING btree (\"B\" DESC NULLS LAST, a NULLS FIRST) INCLUDE (c);\n",
            ]
        );
    }

    #[test]
    fn an_index_of_a_partition_is_not_dropped_by_itself() {
        let (mut catalog, table) = catalog_with(RelationKind::Table);
        add_index(&mut catalog, "i", Index { parent: 9, ..plain(table) });
        assert_eq!(entries(&mut catalog).remove(0).drop, "");
    }

    #[test]
    fn the_comment_on_a_constraints_index_hangs_on_the_constraint() {
        let (mut catalog, table) = catalog_with(RelationKind::Table);
        let index = add_index(&mut catalog, "i", Index { constraint: Some(table), ..plain(table) });
        let catalog_id = catalog[index].catalog_id;
        catalog.comments.insert(catalog_id, vec![(0, "it's".to_owned())]);
        catalog[index].components |= Components::COMMENT;
        let [comment] = &entries(&mut catalog)[..] else { panic!("the index itself is not written") };
        assert_eq!(comment.definition, "COMMENT ON INDEX s.i IS 'it''s';\n");
        assert_eq!(comment.dependencies, [table]);
    }
}
