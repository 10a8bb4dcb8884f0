//! The statement that creates an index. It is written from the columns if the index is plain, and otherwise
//! read from the server.
//!
//! Most indexes are plain. `pg_get_indexdef()` takes 0.1 ms for each index, more than the rest of the work
//! for it.

use std::collections::HashMap;
use std::sync::Arc;

use super::Index;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::table::RelationKind;
use crate::sql::object::{DumpObject, LAST_BUILTIN_OID, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};
use crate::sql::shared::SharedTexts;

/// `CREATE INDEX`, without its semicolon.
#[derive(Debug)]
pub enum Definition {
    /// The constraint of the index creates it.
    OfConstraint,
    /// `pg_get_indexdef()`; empty until it is read.
    Text(String),
    /// An index on columns only, with all defaults; the statement is written from the columns.
    Plain {
        /// `UNIQUE`.
        unique: bool,
        /// The access method's name, raw.
        method: Arc<str>,
        /// `indoption` of each key: 1 for `DESC`, 2 for `NULLS FIRST`.
        key_options: Vec<i16>,
    },
}

/// `indoption`: descending. Source: `INDOPTION_DESC`, `src/include/catalog/pg_index.h`.
const DESCENDING: i16 = 1;
/// `indoption`: nulls first. Source: `INDOPTION_NULLS_FIRST`.
const NULLS_FIRST: i16 = 2;

/// OID of `text`. Source: `src/include/catalog/pg_type.dat`.
const TEXT: u32 = 25;
/// OID of `varchar`.
const VARCHAR: u32 = 1043;

const DEFAULT_CLASSES: CatalogQuery = CatalogQuery {
    what: "default operator classes",
    since: PG13,
    text: "
SELECT o.oid,
       o.opcintype AS type,
       EXISTS (SELECT
                 FROM pg_catalog.pg_type t
                WHERE t.typispreferred
                  AND t.oid >= 16384) AS others_are_preferred
  FROM pg_catalog.pg_opclass o
 WHERE o.opcdefault
 ORDER BY o.oid",
    gates: &[],
};

/// The query calls no function that locks the table.
const QUERY: CatalogQuery = CatalogQuery {
    what: "index definitions",
    since: PG13,
    text: "
SELECT i.oid,
       pg_catalog.pg_get_indexdef(i.oid) AS definition
  FROM pg_catalog.unnest($1::pg_catalog.oid[]) AS i (oid)
 ORDER BY i.oid",
    gates: &[],
};

/// Finds the definitions that can be written from the columns, and reads the others.
pub(super) struct Definitions {
    /// The type of each default operator class.
    default_classes: HashMap<u32, u32>,
    /// Whether a user has created a preferred type, which the server may prefer to `text`.
    others_are_preferred: bool,
    methods: SharedTexts,
    to_ask: Vec<u32>,
}

impl Definitions {
    pub(super) async fn start(cx: &Collector<'_>) -> Result<Definitions> {
        let (mut default_classes, mut others_are_preferred) = (HashMap::new(), false);
        for row in cx.rows(&DEFAULT_CLASSES).await? {
            default_classes.insert(row.oid("oid")?, row.oid("type")?);
            others_are_preferred = row.bool("others_are_preferred")?;
        }
        let (methods, to_ask) = (SharedTexts::default(), Vec::new());
        Ok(Definitions { default_classes, others_are_preferred, methods, to_ask })
    }

    /// Returns the definition of an index that has no constraint.
    pub(super) fn find(&mut self, cx: &Collector<'_>, row: &CatalogRow, index: &Index) -> Result<Definition> {
        if self.is_plain(cx, row, index)? {
            return Ok(Definition::Plain {
                unique: row.bool("is_unique")?,
                method: self.methods.share(row.text("method")?),
                key_options: row.int2s("key_options")?,
            });
        }
        self.to_ask.push(row.oid("oid")?);
        Ok(Definition::Text(String::new()))
    }

    /// Returns whether the index is on columns only, has a built-in access method, the default operator class
    /// and the column's collation for each key, and has no parameters. The definitions of indexes on
    /// partitioned tables are always read from the server.
    fn is_plain(&self, cx: &Collector<'_>, row: &CatalogRow, index: &Index) -> Result<bool> {
        if row.code::<RelationKind>("kind")? != RelationKind::Index
            || row.oid("method_oid")? > LAST_BUILTIN_OID
            || row.bool("has_expressions")?
            || !index.options.is_empty()
        {
            return Ok(false);
        }
        let (classes, collations) = (row.oids("key_classes")?, row.oids("key_collations")?);
        let table = cx.catalog.table(index.table);
        let column = |number: i16| table.and_then(|table| table.column(number.into()));
        let mut keys = index.columns.iter().take(index.key_columns).zip(classes.iter().zip(&collations));
        Ok(classes.len() >= index.key_columns
            && keys.all(|(number, (class, collation))| {
                column(*number).is_some_and(|column| {
                    *collation == column.collation_in_use && self.is_default(*class, column.type_oid)
                })
            })
            && index.columns.iter().all(|number| column(*number).is_some()))
    }

    /// Returns whether the server chooses this operator class if the statement names none. That is the
    /// default class of the type itself. `varchar` has none and uses the one of `text`, the only preferred
    /// type to which it is binary-coercible (`GetDefaultOpClass()`, src/backend/commands/indexcmds.c).
    fn is_default(&self, class: u32, type_oid: u32) -> bool {
        match self.default_classes.get(&class) {
            Some(of_type) if *of_type == type_oid => true,
            Some(&TEXT) => type_oid == VARCHAR && class <= LAST_BUILTIN_OID && !self.others_are_preferred,
            _ => false,
        }
    }

    /// Reads the definitions that cannot be written from the columns.
    pub(super) async fn ask(self, cx: &mut Collector<'_>) -> Result<()> {
        if self.to_ask.is_empty() {
            return Ok(());
        }
        cx.each(&QUERY, &[&self.to_ask], |cx, row| {
            let index = cx.catalog.by_oid(class::PG_CLASS, row.oid("oid")?);
            if let Some(index) = index.and_then(|id| cx.catalog.index_mut(id)) {
                index.definition = Definition::Text(row.text("definition")?);
            }
            Ok(())
        })
        .await
    }
}

/// Returns `CREATE INDEX …`, without its semicolon.
pub(super) fn create(em: &Emitter<'_>, object: &DumpObject, index: &Index) -> Result<String> {
    let (unique, method, key_options) = match &index.definition {
        Definition::OfConstraint => return Ok(String::new()),
        Definition::Text(text) => return Ok(text.clone()),
        Definition::Plain { unique, method, key_options } => (*unique, method, key_options),
    };
    let create = if unique { "CREATE UNIQUE INDEX" } else { "CREATE INDEX" };
    let mut sql = format!("{create} {}", em.quoting.server_id(&object.name));
    let table = &em.catalog[index.table];
    let table = em.quoting.server_qualified(em.catalog.namespace_name(table), &table.name);
    put!(sql, " ON {table} USING {} (", em.quoting.server_id(method));
    put_columns(em, &mut sql, object, index, key_options)?;
    if index.nulls_not_distinct {
        sql.push_str(" NULLS NOT DISTINCT");
    }
    Ok(sql)
}

/// Writes the columns of a plain index with their sort order, and the `INCLUDE` columns, up to the closing
/// parenthesis.
fn put_columns(
    em: &Emitter<'_>,
    sql: &mut String,
    object: &DumpObject,
    index: &Index,
    key_options: &[i16],
) -> Result<()> {
    for (position, number) in index.columns.iter().enumerate() {
        let table = em.catalog.table(index.table);
        let Some(column) = table.and_then(|table| table.column((*number).into())) else {
            let name = em.catalog.qualified(object);
            return Err(SqlError::Inconsistent(format!("index {name} is on a column that does not exist")));
        };
        sql.push_str(match position {
            0 => "",
            _ if position == index.key_columns => ") INCLUDE (",
            _ => ", ",
        });
        put!(sql, "{}", em.quoting.server_id(&column.name));
        // Only key columns have options, and the options are nonzero only for ordered access methods.
        let option = key_options.get(position).copied().unwrap_or_default();
        sql.push_str(match (option & DESCENDING != 0, option & NULLS_FIRST != 0) {
            (false, false) => "",
            (false, true) => " NULLS FIRST",
            (true, false) => " DESC NULLS LAST",
            (true, true) => " DESC",
        });
    }
    sql.push(')');
    Ok(())
}
