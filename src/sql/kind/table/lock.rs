//! `ACCESS SHARE` locks on the tables to be dumped. They prevent DROP and ALTER.
//!
//! Many tables are locked in one round trip. One round trip for each of 20,000 tables would widen the window
//! in which a table can be dropped after it was found and before it is locked.

use std::collections::HashMap;

use crate::protocol::Session;
use crate::protocol::setup::literal;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::error::{Result, SqlError};
use crate::sql::object::DumpId;
use crate::sql::options::DumpOptions;
use crate::sql::query::CatalogQuery;

/// Maximum length of the statements of one round trip. It limits the memory of the server's parser.
const BATCH_BYTES: usize = 64 * 1024;

/// Finds the sessions that block a lock, after the wait for it failed.
const BLOCKERS: CatalogQuery = CatalogQuery {
    what: "conflicting locks",
    since: PG13,
    text: "
SELECT l.relation, l.pid, a.application_name
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
 WHERE l.relation = ANY ($1::pg_catalog.oid[])
   AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d
                      WHERE d.datname = pg_catalog.current_database())
   AND l.mode = 'AccessExclusiveLock'
   AND l.pid <> pg_catalog.pg_backend_pid()
 ORDER BY l.relation, l.granted DESC, l.pid",
    gates: &[],
};

/// A table to lock.
#[derive(Clone, Debug)]
pub(super) struct LockTarget {
    pub(super) oid: u32,
    /// Qualified and quoted.
    pub(super) name: String,
}

/// The tables that a dump locks, kept between attempts.
///
/// Memory: about 100 bytes per table.
#[derive(Debug, Default)]
pub struct TableLocks {
    pub(super) targets: Vec<LockTarget>,
    /// OIDs by name of the tables that were locked before the present snapshot was taken.
    before_snapshot: HashMap<String, u32>,
}

impl TableLocks {
    /// Locks the tables that an earlier attempt found, in a transaction that has no snapshot yet. A table
    /// that is locked before the snapshot cannot change between the lock and the snapshot. Tables that no
    /// longer exist are skipped.
    pub async fn lock_before_snapshot(&mut self, session: &Session, options: &DumpOptions) -> Result<()> {
        self.before_snapshot.clear();
        if self.targets.is_empty() {
            return Ok(());
        }
        let targets = std::mem::take(&mut self.targets);
        set_timeout(session, options).await?;
        for batch in batches(&targets) {
            if try_lock(session, options, batch).await? {
                self.remember(batch);
                continue;
            }
            for target in batch.chunks(1) {
                if try_lock(session, options, target).await? {
                    self.remember(target);
                }
            }
        }
        reset_timeout(session, options).await
    }

    fn remember(&mut self, batch: &[LockTarget]) {
        self.before_snapshot.extend(batch.iter().map(|target| (target.name.clone(), target.oid)));
    }

    /// Returns whether the table was locked before the snapshot. The lock was taken by name. It is on this
    /// table if the name had the same OID in the earlier attempt and has it in the present snapshot.
    pub(super) fn is_older_than_snapshot(&self, target: &LockTarget) -> bool {
        self.before_snapshot.get(&target.name) == Some(&target.oid)
    }
}

/// Locks a batch. Returns false and takes no lock if one of its tables does not exist.
async fn try_lock(session: &Session, options: &DumpOptions, batch: &[LockTarget]) -> Result<bool> {
    execute(session, "SAVEPOINT before_batch", || "could not set a savepoint".to_owned()).await?;
    let (sql, locked) = match lock_batch(session, options, batch).await {
        Ok(()) => ("RELEASE SAVEPOINT before_batch", true),
        Err(error) if error.is_missing_object() => ("ROLLBACK TO SAVEPOINT before_batch", false),
        Err(error) => return Err(error),
    };
    execute(session, sql, || "could not end a savepoint".to_owned()).await?;
    Ok(locked)
}

/// Locks the tables in the given order and remembers them.
pub(in crate::sql) async fn lock(
    cx: &Collector<'_>,
    tables: &[DumpId],
    locks: &mut TableLocks,
) -> Result<()> {
    let targets = tables.iter().map(|id| {
        let object = &cx.catalog[*id];
        LockTarget { oid: object.catalog_id.oid, name: cx.catalog.qualified(object) }
    });
    locks.targets = targets.collect();
    set_timeout(cx.session, cx.options).await?;
    for batch in batches(&locks.targets) {
        lock_batch(cx.session, cx.options, batch).await?;
    }
    reset_timeout(cx.session, cx.options).await
}

/// Sets `statement_timeout`. The limit is per table, and the server restarts the timer for each statement.
async fn set_timeout(session: &Session, options: &DumpOptions) -> Result<()> {
    let Some(timeout) = &options.lock_wait_timeout else { return Ok(()) };
    let sql = format!("SET statement_timeout = {}", literal(timeout));
    execute(session, &sql, || format!("invalid --lock-wait-timeout {timeout}")).await
}

async fn reset_timeout(session: &Session, options: &DumpOptions) -> Result<()> {
    if options.lock_wait_timeout.is_none() {
        return Ok(());
    }
    execute(session, "SET statement_timeout = 0", || "could not reset statement_timeout".to_owned()).await
}

/// Splits the targets into batches whose statements fit [`BATCH_BYTES`].
fn batches(targets: &[LockTarget]) -> impl Iterator<Item = &[LockTarget]> {
    let mut bytes = 0;
    targets.chunk_by(move |_, next| {
        bytes += next.name.len();
        let fits = bytes <= BATCH_BYTES;
        if !fits {
            bytes = 0;
        }
        fits
    })
}

async fn lock_batch(session: &Session, options: &DumpOptions, batch: &[LockTarget]) -> Result<()> {
    let Some(LockTarget { name: first, .. }) = batch.first() else { return Ok(()) };
    let names: Vec<_> = batch.iter().map(|target| target.name.as_str()).collect();
    let timeout = options.lock_wait_timeout.as_deref();
    let limit = match (timeout, session.lock_timeout()) {
        (None, None) => {
            let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
            let context = || format!("could not lock the tables to be dumped ({first} and following)");
            return execute(session, &sql, context).await;
        }
        (Some(timeout), _) => format!("--lock-wait-timeout={timeout}"),
        (None, Some(limit)) => format!("BACKUP_LOCK_TIMEOUT is {} s", limit.as_secs()),
    };
    let mut sql = "SAVEPOINT before_locks".to_owned();
    match timeout {
        // The limit is per table, so each table gets its own statement: the server restarts the timer for
        // each.
        Some(_) => {
            names.iter().for_each(|name| crate::sql::put!(sql, "; LOCK TABLE {name} IN ACCESS SHARE MODE"))
        }
        // `lock_timeout` applies to each lock separately.
        None => crate::sql::put!(sql, "; LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")),
    }
    sql.push_str("; RELEASE SAVEPOINT before_locks");
    match session.execute(&sql).await {
        Ok(()) => Ok(()),
        Err(source) if source.is_missing_object() => {
            let context = format!("could not lock the tables to be dumped ({first} and following)");
            Err(SqlError::Statement { context, source })
        }
        Err(source) => {
            let blocked =
                blocked(session, batch).await.unwrap_or_else(|| "the tables to be dumped".to_owned());
            Err(SqlError::Statement { context: format!("could not lock {blocked} ({limit})"), source })
        }
    }
}

/// Describes the table of the batch that another session locks exclusively, and that session. Returns `None`
/// if the query fails or the lock no longer exists.
async fn blocked(session: &Session, batch: &[LockTarget]) -> Option<String> {
    session.execute("ROLLBACK TO SAVEPOINT before_locks; SET statement_timeout = 0").await.ok()?;
    let oids: Vec<u32> = batch.iter().map(|target| target.oid).collect();
    let rows = BLOCKERS.few_rows(session, &[&oids]).await.ok()?;
    let row = rows.first()?;
    let relation = row.oid("relation").ok()?;
    let LockTarget { name, .. } = batch.iter().find(|target| target.oid == relation)?;
    let application = row.opt_text("application_name").ok()?.filter(|name| !name.is_empty());
    let application = application.map(|name| format!(" ({name})")).unwrap_or_default();
    Some(format!(
        "table {name}, which process {}{application} locks or waits to lock in access exclusive mode",
        row.int4("pid").ok()?
    ))
}

async fn execute(session: &Session, sql: &str, context: impl FnOnce() -> String) -> Result<()> {
    session.execute(sql).await.map_err(|source| SqlError::Statement { context: context(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_every_target_once_and_stay_short() {
        let targets: Vec<_> = (0..5000)
            .map(|oid| LockTarget { oid, name: "x".repeat(1 + usize::try_from(oid).unwrap() % 90) })
            .collect();
        let batches: Vec<_> = batches(&targets).collect();
        let oids: Vec<_> = batches.iter().flat_map(|batch| batch.iter().map(|target| target.oid)).collect();
        assert_eq!(oids, (0..5000).collect::<Vec<_>>());
        let length = |batch: &&[LockTarget]| batch.iter().map(|target| target.name.len()).sum::<usize>();
        assert!((3..=5).contains(&batches.len()), "{}", batches.len());
        assert!(
            batches.iter().all(|batch| length(batch) <= BATCH_BYTES + 90),
            "{:?}",
            batches.iter().map(length)
        );
    }
}
