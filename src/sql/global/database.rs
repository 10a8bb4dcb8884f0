//! The list of databases, and `DROP DATABASE`. Each database's contents are dumped separately.

use super::{GlobalOptions, GlobalReader, too_many_dots};
use crate::protocol::version::PG13;
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::pattern::Pattern;
use crate::sql::put;
use crate::sql::query::CatalogQuery;

/// Excludes databases that do not allow connections, and databases whose creation or removal was interrupted
/// (a connection limit of -2). `template1` comes first: in alphabetical order, a script with `--clean` could
/// drop `postgres` while still connected to it.
const QUERY: CatalogQuery = CatalogQuery {
    what: "databases",
    since: PG13,
    text: "
SELECT d.datname::text AS name,
       EXISTS (SELECT
                 FROM pg_catalog.unnest($1::pg_catalog.text[]) AS p (pattern)
                WHERE d.datname OPERATOR(pg_catalog.~) p.pattern COLLATE pg_catalog.\"default\") AS is_excluded
  FROM pg_catalog.pg_database d
 WHERE d.datallowconn
   AND d.datconnlimit <> -2
 ORDER BY d.datname <> 'template1', d.datname",
    gates: &[],
};

/// A database that allows connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseName {
    /// The name.
    pub name: String,
    /// Whether a pattern of `--exclude-database` matches it.
    pub is_excluded: bool,
}

impl DatabaseName {
    /// Whether every new cluster has this database, so that it is dropped and created only with `--clean`.
    pub fn is_in_every_cluster(&self) -> bool {
        matches!(self.name.as_str(), "template1" | "postgres")
    }

    /// Whether this is `template0`, which is never written: a restore creates all databases from it.
    pub fn is_template0(&self) -> bool {
        self.name == "template0"
    }
}

pub(super) async fn read(reader: &GlobalReader<'_>) -> Result<Vec<DatabaseName>> {
    if !reader.options.wants_databases() {
        return Ok(Vec::new());
    }
    let mut patterns = Vec::new();
    for text in &reader.options.exclude_databases {
        let pattern = Pattern::of_name(text);
        if pattern.dots > 0 {
            return Err(too_many_dots(text));
        }
        patterns.push(pattern.name);
    }
    let mut databases = Vec::new();
    for row in reader.rows_with(&QUERY, &[&patterns]).await? {
        databases.push(DatabaseName { name: row.text("name")?, is_excluded: row.bool("is_excluded")? });
    }
    Ok(databases)
}

/// Returns `DROP DATABASE` for each database that is not in every cluster, in order of the names.
pub(super) fn drops(databases: &[DatabaseName], quoting: &Quoting, options: &GlobalOptions) -> String {
    let mut sql = String::new();
    for database in databases.iter().filter(|d| !d.is_in_every_cluster() && !d.is_template0()) {
        put!(sql, "DROP DATABASE {}{};\n", super::script::if_exists(options), quoting.id(&database.name));
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_cluster_has_is_not_dropped_here() {
        let all = ["template1", "a-b", "postgres", "template0", "template2"];
        let all = all.map(|name| DatabaseName { name: name.to_owned(), is_excluded: true });
        let sql = drops(&all, &Quoting::default(), &GlobalOptions::default());
        assert_eq!(sql, "DROP DATABASE \"a-b\";\nDROP DATABASE template2;\n");
    }
}
