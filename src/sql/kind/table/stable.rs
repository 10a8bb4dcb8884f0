//! Checks that the locked tables are the ones that the snapshot shows, with the rows that it shows.
//!
//! A dump takes its snapshot first and its locks later, and waits for both. In between, another session may
//! commit changes from which no snapshot protects:
//! - `TRUNCATE`, and every `ALTER TABLE` that rewrites the table, replace the heap. The rows of the new heap
//!   are younger than the snapshot, which therefore sees an empty table
//!   (<https://www.postgresql.org/docs/current/mvcc-caveats.html>).
//! - A table may be renamed and replaced by another table. The locked name, which COPY reads, is then the
//!   name of another table. The same applies to columns.
//! - A table may be dropped and created again.
//!
//! All of these changes write a new version of the table's row in `pg_class` or of a column's row in
//! `pg_attribute`. The version that the snapshot shows then has the writing transaction in its `xmax`
//! (<https://www.postgresql.org/docs/current/ddl-system-columns.html>). If its `xmax` is empty or older than
//! the snapshot, the version is still the newest one. In-place updates (VACUUM, ANALYZE, CREATE INDEX) write
//! no new version. The check also reports a writer that was rolled back and a command that keeps the rows
//! visible (VACUUM FULL, CLUSTER, `SET TABLESPACE`, GRANT), because it cannot distinguish them; this costs
//! another attempt.
//!
//! The check misses three changes, and none of them loses rows. The heap of a mapped relation is not in
//! `pg_class`, but mapped relations are catalogs, whose rows are not dumped. TRUNCATE empties a heap in place
//! only in the transaction that created the table, and the snapshot does not show that table. VACUUM FULL and
//! CLUSTER are the only commands that replace the heap of a TOAST table and not that of its table.
//!
//! A table that was locked before the snapshot needs no check of its catalog rows; only its name is checked.

use super::lock::{LockTarget, TableLocks};
use crate::protocol::Session;
use crate::protocol::version::PG13;
use crate::sql::error::{Result, SqlError};
use crate::sql::query::CatalogQuery;

/// Whether the role may read `xmax` of these catalogs. A dump must work without this privilege, because
/// pg_dump does not read the column. Without it, the tables must be locked before the snapshot.
const READABLE: CatalogQuery = CatalogQuery {
    what: "privileges on catalogs",
    since: PG13,
    text: "
SELECT pg_catalog.has_column_privilege('pg_catalog.pg_class'::pg_catalog.regclass, 'xmax', 'SELECT')
       AND pg_catalog.has_column_privilege('pg_catalog.pg_attribute'::pg_catalog.regclass, 'xmax', 'SELECT')
           AS readable",
    gates: &[],
};

/// The tables whose catalog rows have newer versions, or had one until its transaction was rolled back.
const SUPERSEDED: CatalogQuery = CatalogQuery {
    what: "tables that were altered",
    since: PG13,
    text: "
  WITH snapshot (age) AS (
SELECT pg_catalog.age(pg_catalog.xid(pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot()))))
SELECT c.oid
  FROM pg_catalog.pg_class c, snapshot s
 WHERE c.oid = ANY ($1::pg_catalog.oid[])
   AND pg_catalog.age(c.xmax) <= s.age
 UNION
SELECT a.attrelid
  FROM pg_catalog.pg_attribute a, snapshot s
 WHERE a.attrelid = ANY ($1::pg_catalog.oid[])
   AND pg_catalog.age(a.xmax) <= s.age
 ORDER BY oid",
    gates: &[],
};

/// The tables whose current name differs from the name in the snapshot. `regclassout` reads the newest
/// catalogs; for a dropped table it prints the OID. `search_path` is empty, so it qualifies every name except
/// those in `pg_catalog`.
const RENAMED: CatalogQuery = CatalogQuery {
    what: "tables that were renamed",
    since: PG13,
    text: "
SELECT c.oid
  FROM pg_catalog.pg_class c
       JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.oid = ANY ($1::pg_catalog.oid[])
   AND pg_catalog.textin(pg_catalog.regclassout(c.oid::pg_catalog.regclass))
       <> CASE WHEN n.nspname = 'pg_catalog' THEN '' ELSE pg_catalog.quote_ident(n.nspname) || '.' END
          || pg_catalog.quote_ident(c.relname)
 ORDER BY c.oid",
    gates: &[],
};

impl TableLocks {
    /// Fails if one of the tables may have other rows than the snapshot shows. The tables must be locked.
    pub(in crate::sql) async fn verify(&self, session: &Session) -> Result<()> {
        let all = Locked::of(self.targets.iter());
        if self.targets.iter().any(|target| self.is_older_than_snapshot(target)) {
            let unknown = self.targets.iter().filter(|target| !self.is_older_than_snapshot(target));
            Locked::of(unknown).verify_rows(session).await?;
        } else {
            all.verify_rows(session).await?;
        }
        all.verify_names(session).await
    }

    /// Fails if one of the tables has another name than the snapshot shows. Locks do not prevent that:
    /// `ALTER SCHEMA … RENAME` takes no lock on tables.
    pub(in crate::sql) async fn verify_names(&self, session: &Session) -> Result<()> {
        Locked::of(self.targets.iter()).verify_names(session).await
    }
}

/// The change to a table that the snapshot shows in its earlier state.
const CHANGED: &str = "altered, truncated or dropped after the snapshot was taken";

/// Locked tables, and their OIDs as a parameter for the queries.
struct Locked<'a> {
    targets: Vec<&'a LockTarget>,
    oids: Vec<u32>,
}

impl<'a> Locked<'a> {
    fn of(targets: impl Iterator<Item = &'a LockTarget>) -> Self {
        let targets: Vec<_> = targets.collect();
        let oids = targets.iter().map(|target| target.oid).collect();
        Locked { targets, oids }
    }

    /// Fails if one of the tables, which must not have been locked before the snapshot, may have changed.
    async fn verify_rows(&self, session: &Session) -> Result<()> {
        if self.targets.is_empty() {
            return Ok(());
        }
        let readable = READABLE.rows(session, &[]).await?;
        if !readable.first().map(|row| row.bool("readable")).transpose()?.unwrap_or_default() {
            return Err(changed(&self.targets, "not locked before the snapshot"));
        }
        self.fail_if_any(session, &SUPERSEDED, CHANGED).await
    }

    async fn verify_names(&self, session: &Session) -> Result<()> {
        self.fail_if_any(session, &RENAMED, "renamed or dropped after the snapshot was taken").await
    }

    async fn fail_if_any(
        &self,
        session: &Session,
        query: &'static CatalogQuery,
        what: &'static str,
    ) -> Result<()> {
        if self.targets.is_empty() {
            return Ok(());
        }
        let found = query.rows(session, &[&self.oids]).await?;
        let found = found.iter().map(|row| row.oid("oid")).collect::<Result<Vec<_>>>()?;
        if found.is_empty() {
            return Ok(());
        }
        let found: Vec<_> =
            self.targets.iter().copied().filter(|target| found.binary_search(&target.oid).is_ok()).collect();
        Err(changed(&found, what))
    }
}

/// Creates the error, with the names of the first tables and the number of the others.
fn changed(tables: &[&LockTarget], what: &'static str) -> SqlError {
    const NAMED: usize = 3;
    let names: Vec<_> = tables.iter().take(NAMED).map(|target| target.name.as_str()).collect();
    let more = tables.len() - names.len();
    let noun = if tables.len() == 1 { "table" } else { "tables" };
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let tables = format!("{noun} {}{more}", names.join(", "));
    SqlError::Changed { tables, what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_three_tables_and_counts_the_others() {
        let targets: Vec<_> = (1..=5).map(|oid| LockTarget { oid, name: format!("public.t{oid}") }).collect();
        let refs: Vec<_> = targets.iter().collect();
        let text = |tables: &[&LockTarget]| changed(tables, CHANGED).to_string();
        let first = text(&refs[..1]);
        assert!(first.starts_with("table public.t1: altered, truncated or dropped after"), "{first}");
        let all = text(&refs);
        assert!(all.starts_with("tables public.t1, public.t2, public.t3 and 2 more: altered"), "{all}");
    }
}
