//! Selects the objects to dump: switches, patterns, and extension members. Rules specific to a kind are in
//! the kind's file and are based on [`select_object`].

use std::collections::HashSet;

use tokio_postgres::types::ToSql;

use super::collect::Collector;
use super::error::{Result, SqlError};
use super::object::{Components, DumpId};
use super::options::TablePattern;
use super::pattern::Pattern;
use super::query::{CatalogQuery, CatalogText};
use crate::protocol::version::PG13;

/// The OIDs that match the patterns of the selection switches. An empty set of an inclusion switch means that
/// the switch was not given.
#[derive(Debug, Default)]
pub struct SelectedOids {
    /// `--schema`.
    pub namespaces: HashSet<u32>,
    /// `--exclude-schema`.
    pub excluded_namespaces: HashSet<u32>,
    /// `--table`.
    pub tables: HashSet<u32>,
    /// `--exclude-table`.
    pub excluded_tables: HashSet<u32>,
    /// `--exclude-table-data`.
    pub excluded_table_data: HashSet<u32>,
    /// `--extension`.
    pub extensions: HashSet<u32>,
    /// `--exclude-extension`.
    pub excluded_extensions: HashSet<u32>,
    /// `--include-foreign-data`.
    pub foreign_servers: HashSet<u32>,
}

/// A catalog of objects outside namespaces, whose patterns are unqualified names.
struct BareNames {
    /// The plural that pg_dump uses in the message for no match.
    plural: &'static str,
    /// Whether a dot in a pattern is read as a reference to another database.
    in_database: bool,
    query: CatalogQuery,
}

/// Defines the query for the objects of a catalog whose name in `$column` matches the pattern `$1`.
macro_rules! named {
    ($plural:literal, $catalog:literal, $column:literal, $in_database:literal) => {
        BareNames {
            plural: $plural,
            in_database: $in_database,
            query: CatalogQuery {
                what: concat!($plural, " that match a pattern"),
                since: PG13,
                text: concat!(
                    "\nSELECT o.oid\n  FROM pg_catalog.",
                    $catalog,
                    " o\n WHERE o.",
                    $column,
                    " OPERATOR(pg_catalog.~) $1::pg_catalog.text COLLATE pg_catalog.\"default\"\n ORDER BY o.oid"
                ),
                gates: &[],
            },
        }
    };
}

const NAMESPACES: BareNames = named!("schemas", "pg_namespace", "nspname", true);
const EXTENSIONS: BareNames = named!("extensions", "pg_extension", "extname", false);
const FOREIGN_SERVERS: BareNames = named!("foreign servers", "pg_foreign_server", "srvname", false);

/// Relations by name and, if the pattern has a namespace, by namespace; otherwise only relations visible in
/// the role's own search path. That path may contain hostile schemas, so every operator is qualified.
const TABLES: CatalogQuery = CatalogQuery {
    what: "tables that match a pattern",
    since: PG13,
    text: "
  WITH RECURSIVE matching (oid) AS (
SELECT c.oid
  FROM pg_catalog.pg_class c
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace
 WHERE c.relkind OPERATOR(pg_catalog.=) ANY ('{r,S,v,m,f,p}'::pg_catalog.\"char\"[])
   AND c.relname OPERATOR(pg_catalog.~) $1::pg_catalog.text COLLATE pg_catalog.\"default\"
   AND CASE WHEN $2::pg_catalog.text IS NULL
            THEN pg_catalog.pg_table_is_visible(c.oid)
            ELSE n.nspname OPERATOR(pg_catalog.~) $2::pg_catalog.text COLLATE pg_catalog.\"default\" END
 UNION
SELECT i.inhrelid
  FROM matching p
  JOIN pg_catalog.pg_inherits i ON i.inhparent OPERATOR(pg_catalog.=) p.oid
 WHERE $3::pg_catalog.bool)
SELECT m.oid
  FROM matching m
 ORDER BY m.oid",
    gates: &[],
};

impl SelectedOids {
    /// Looks up the matches of the options' patterns. The messages are pg_dump's.
    pub(super) async fn expand(cx: &Collector<'_>) -> Result<SelectedOids> {
        let options = cx.options;
        let strict = options.strict_names;
        let namespaces = named(cx, &NAMESPACES, &options.schemas, strict).await?;
        refuse_empty(&options.schemas, &namespaces, "schemas")?;
        let excluded_namespaces = named(cx, &NAMESPACES, &options.exclude_schemas, false).await?;
        let (mut tables, mut excluded_tables, mut excluded_table_data) = Default::default();
        if !(options.tables.is_empty()
            && options.exclude_tables.is_empty()
            && options.exclude_table_data.is_empty())
        {
            execute(cx, "RESET search_path").await?;
            tables = self::tables(cx, &options.tables, strict).await?;
            refuse_empty(&options.tables, &tables, "tables")?;
            excluded_tables = self::tables(cx, &options.exclude_tables, false).await?;
            excluded_table_data = self::tables(cx, &options.exclude_table_data, false).await?;
            execute(cx, "SELECT pg_catalog.set_config('search_path', '', false)").await?;
        }
        // A server's pattern must always match, even without `--strict-names`.
        let foreign_servers = named(cx, &FOREIGN_SERVERS, &options.include_foreign_data, true).await?;
        let extension_patterns = [&options.extensions[..], &options.filtered_extensions].concat();
        let extensions = named(cx, &EXTENSIONS, &extension_patterns, strict).await?;
        refuse_empty(&extension_patterns, &extensions, "extensions")?;
        let excluded_extensions = named(cx, &EXTENSIONS, &options.exclude_extensions, false).await?;
        Ok(SelectedOids {
            namespaces,
            excluded_namespaces,
            tables,
            excluded_tables,
            excluded_table_data,
            extensions,
            excluded_extensions,
            foreign_servers,
        })
    }
}

/// Fails if the patterns of an inclusion switch match nothing: the dump would contain everything, or nothing.
fn refuse_empty<P>(patterns: &[P], found: &HashSet<u32>, what: &str) -> Result<()> {
    if !patterns.is_empty() && found.is_empty() {
        return Err(SqlError::Selection(format!("no matching {what} were found")));
    }
    Ok(())
}

async fn execute(cx: &Collector<'_>, sql: &str) -> Result<()> {
    let context = || "could not change the search path to look for tables".to_owned();
    cx.session.execute(sql).await.map_err(|source| SqlError::Statement { context: context(), source })
}

async fn look_up(
    cx: &Collector<'_>,
    query: &CatalogQuery,
    params: &[&(dyn ToSql + Sync)],
    found: &mut HashSet<u32>,
) -> Result<usize> {
    let rows = cx.rows_with(query, params).await?;
    for row in &rows {
        found.insert(row.oid("oid")?);
    }
    Ok(rows.len())
}

fn no_match(what: &str, pattern: &str) -> SqlError {
    SqlError::Selection(format!("no matching {what} were found for pattern \"{pattern}\""))
}

/// The error for a pattern with too many parts.
fn too_many_dots(what: &str, pattern: &str) -> SqlError {
    SqlError::Selection(format!("improper {what} (too many dotted names): {pattern}"))
}

fn other_database(pattern: &str) -> SqlError {
    SqlError::Selection(format!("cross-database references are not implemented: {pattern}"))
}

async fn named(
    cx: &Collector<'_>,
    kind: &BareNames,
    patterns: &[String],
    must_match: bool,
) -> Result<HashSet<u32>> {
    let mut found = HashSet::new();
    for text in patterns {
        let pattern = Pattern::of_name(text);
        match pattern.dots {
            0 => {}
            // pg_dump rejects every name before the dot, even the name of this database.
            1 if kind.in_database => return Err(other_database(text)),
            _ => return Err(too_many_dots("qualified name", text)),
        }
        let count = look_up(cx, &kind.query, &[&CatalogText(pattern.name)], &mut found).await?;
        if must_match && count == 0 {
            return Err(no_match(kind.plural, text));
        }
    }
    Ok(found)
}

async fn tables(cx: &Collector<'_>, patterns: &[TablePattern], strict: bool) -> Result<HashSet<u32>> {
    let mut found = HashSet::new();
    // pg_dump looks up patterns without children first, which determines the pattern in the error message.
    let (with, without): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| pattern.with_children);
    for TablePattern { pattern: text, with_children } in without.into_iter().chain(with) {
        let pattern = Pattern::of_qualified_name(text);
        if pattern.dots > 2 {
            return Err(too_many_dots("relation name", text));
        }
        if pattern.database.is_some_and(|name| name != cx.catalog.database.name) {
            return Err(other_database(text));
        }
        let (name, namespace) = (CatalogText(pattern.name), pattern.namespace.map(CatalogText));
        let params: [&(dyn ToSql + Sync); 3] = [&name, &namespace, with_children];
        let count = look_up(cx, &TABLES, &params, &mut found).await?;
        if strict && count == 0 {
            return Err(no_match("tables", text));
        }
    }
    Ok(found)
}

/// If an extension owns the object, marks it as a member, makes it depend on the extension, and selects only
/// its privileges, because the extension's script creates the rest. Returns whether the object is a member.
///
/// This is checked for every object that can be a member, before all other rules.
pub(super) fn select_by_extension(cx: &mut Collector<'_>, id: DumpId) -> bool {
    let Some(extension) = cx.catalog.owning_extension(cx.catalog[id].catalog_id) else { return false };
    let wanted = cx.catalog[extension].dump_contains & Components::ACL;
    let object = &mut cx.catalog[id];
    object.ext_member = true;
    object.depend_on(extension);
    object.dump = wanted;
    true
}

/// Applies the rule for most kinds: an object is dumped if its namespace's contents are dumped; an object
/// outside namespaces is dumped if the dump includes everything.
pub(super) fn select_object(cx: &mut Collector<'_>, id: DumpId) {
    if select_by_extension(cx, id) {
        return;
    }
    cx.catalog[id].dump = match cx.catalog[id].namespace {
        Some(namespace) => cx.catalog[namespace].dump_contains,
        None => everything_or_nothing(cx),
    };
}

/// All components if the dump includes everything, none if switches select what to include.
pub(super) fn everything_or_nothing(cx: &Collector<'_>) -> Components {
    if cx.options.include_everything() { Components::all() } else { Components::empty() }
}
