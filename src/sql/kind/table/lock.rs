//! `ACCESS SHARE` locks on the tables to be dumped, which keep them from being dropped or altered.
//!
//! Many tables go into one round trip: one for each of 20,000 tables would widen the window in which
//! a table can vanish between being found and being locked.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::error::{Result, SqlError};
use crate::sql::object::DumpId;
use crate::sql::query::CatalogQuery;

/// The statements of one round trip are kept under this length, so that the server's parser stays small.
const BATCH_BYTES: usize = 64 * 1024;

/// Who is in the way of a lock, asked after waiting for it was given up.
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

/// Locks the tables, in their order.
pub(in crate::sql) async fn lock(cx: &Collector<'_>, tables: &[DumpId]) -> Result<()> {
    let timeout = cx.options.lock_wait_timeout.as_deref();
    if let Some(timeout) = timeout {
        let sql = format!("SET statement_timeout = {}", cx.catalog.quoting.literal(timeout));
        execute(cx, &sql, || format!("invalid --lock-wait-timeout {timeout}")).await?;
    }
    let mut batch = Vec::new();
    let mut bytes = 0;
    for id in tables {
        let name = cx.catalog.qualified(&cx.catalog[*id]);
        if bytes + name.len() > BATCH_BYTES {
            lock_batch(cx, &std::mem::take(&mut batch), timeout).await?;
            bytes = 0;
        }
        bytes += name.len();
        batch.push((*id, name));
    }
    lock_batch(cx, &batch, timeout).await?;
    if timeout.is_some() {
        let context = || "could not reset statement_timeout".to_owned();
        execute(cx, "SET statement_timeout = 0", context).await?;
    }
    Ok(())
}

async fn lock_batch(cx: &Collector<'_>, batch: &[(DumpId, String)], timeout: Option<&str>) -> Result<()> {
    let Some((_, first)) = batch.first() else { return Ok(()) };
    let names: Vec<_> = batch.iter().map(|(_, name)| name.as_str()).collect();
    let limit = match (timeout, cx.session.lock_timeout()) {
        (None, None) => {
            let sql = format!("LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", "));
            let context = || format!("could not lock the tables to be dumped ({first} and following)");
            return execute(cx, &sql, context).await;
        }
        (Some(timeout), _) => format!("--lock-wait-timeout={timeout}"),
        (None, Some(limit)) => format!("BACKUP_LOCK_TIMEOUT is {} s", limit.as_secs()),
    };
    let mut sql = "SAVEPOINT before_locks".to_owned();
    match timeout {
        // The time is meant for each table, so each gets a statement, and the server counts anew for each.
        Some(_) => {
            names.iter().for_each(|name| crate::sql::put!(sql, "; LOCK TABLE {name} IN ACCESS SHARE MODE"))
        }
        // lock_timeout counts anew for each by itself.
        None => crate::sql::put!(sql, "; LOCK TABLE {} IN ACCESS SHARE MODE", names.join(", ")),
    }
    sql.push_str("; RELEASE SAVEPOINT before_locks");
    match cx.session.execute(&sql).await {
        Ok(()) => Ok(()),
        Err(source) => {
            let blocked = blocked(cx, batch).await.unwrap_or_else(|| "the tables to be dumped".to_owned());
            Err(SqlError::Statement { context: format!("could not lock {blocked} ({limit})"), source })
        }
    }
}

/// Which table of the batch is locked exclusively, and by whom. Nothing is known of it if even this
/// cannot be asked, or if it is over by now.
async fn blocked(cx: &Collector<'_>, batch: &[(DumpId, String)]) -> Option<String> {
    cx.session.execute("ROLLBACK TO SAVEPOINT before_locks; SET statement_timeout = 0").await.ok()?;
    let oids: Vec<u32> = batch.iter().map(|(id, _)| cx.catalog[*id].catalog_id.oid).collect();
    let rows = cx.rows_with(&BLOCKERS, &[&oids]).await.ok()?;
    let row = rows.first()?;
    let relation = row.oid("relation").ok()?;
    let (_, name) = batch.iter().find(|(id, _)| cx.catalog[*id].catalog_id.oid == relation)?;
    let application = row.opt_text("application_name").ok()?.filter(|name| !name.is_empty());
    let application = application.map(|name| format!(" ({name})")).unwrap_or_default();
    Some(format!(
        "table {name}, which process {}{application} locks or waits to lock in access exclusive mode",
        row.int4("pid").ok()?
    ))
}

async fn execute(cx: &Collector<'_>, sql: &str, context: impl FnOnce() -> String) -> Result<()> {
    match cx.session.execute(sql).await {
        Ok(()) => Ok(()),
        Err(source) => Err(SqlError::Statement { context: context(), source }),
    }
}
