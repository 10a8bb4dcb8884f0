//! Watches for sessions that wait for the locks of a dump: for example the `ALTER TABLE` of a migration, and
//! everything queued behind it.
//!
//! While a dump holds its `ACCESS SHARE` locks, a separate connection outside of the dump's transaction reads
//! the server's locks every few seconds. A session that has waited longer than the limit is logged once, and
//! again whenever its wait has doubled. The dump is aborted for it if that is configured. The lock that the
//! dump itself waits for is stored in its progress, so that a failure can name it.
//!
//! The statements of other sessions are never read or logged, because they may contain values.
//!
//! Memory: a few hundred bytes for each waiting session.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::state::SidecarState;
use crate::config::{OnBlocked, RoundPolicy};
use crate::dump::progress::DumpProgress;
use crate::log::BACKUP;
use crate::protocol::version::{PG13, PG14};
use crate::protocol::{ConnectOptions, ProtocolError, Session};
use crate::report::{chain, printable};
use crate::sql::SqlError;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};

/// Shortest and longest time between two reads of the locks.
const OFTEN: Duration = Duration::from_millis(250);
const SELDOM: Duration = Duration::from_secs(5);

/// Pause after the locks could not be read, because connections may be scarce.
const PAUSE: Duration = Duration::from_secs(30);

/// Maximum time for the server to answer. It covers network failures, to which the statement timeout does not
/// apply.
const ANSWER: Duration = Duration::from_secs(30);

/// The statements of the watch must not block other sessions for long.
const SETTINGS: &str = "SELECT pg_catalog.set_config('search_path', '', false); \
                        SET statement_timeout = '10s'; SET lock_timeout = '1s'; SET jit = off";

/// All sessions that wait for a lock, longest wait first. The locks are read only once, because they change
/// during the query.
const WAITS: CatalogQuery = CatalogQuery {
    what: "waiting sessions",
    since: PG13,
    text: "
WITH locks AS MATERIALIZED (SELECT * FROM pg_catalog.pg_locks),
     here AS (SELECT d.oid FROM pg_catalog.pg_database d
               WHERE d.datname = pg_catalog.current_database()),
     waits AS (SELECT l.pid, l.mode, {waitstart} AS waitstart,
                      CASE WHEN l.locktype = 'relation' AND l.database IN (SELECT oid FROM here)
                           THEN l.relation
                      END AS relation,
                      pg_catalog.pg_blocking_pids(l.pid) AS blockers
                 FROM locks l
                WHERE NOT l.granted)
SELECT w.pid, w.mode, w.blockers,
       pg_catalog.textin(pg_catalog.regclassout(w.relation)) AS table,
       pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() - w.waitstart) AS seconds,
       a.application_name,
       EXISTS (SELECT FROM locks h
                WHERE h.granted AND h.pid = $1 AND h.locktype = 'relation'
                  AND h.relation = w.relation AND h.database IN (SELECT oid FROM here)) AS is_held,
       ARRAY(SELECT pg_catalog.textin(pg_catalog.int4out(b.pid))
                    || COALESCE(' (' || NULLIF(b.application_name, '') || ')', '')
               FROM pg_catalog.pg_stat_activity b
              WHERE b.pid = ANY (w.blockers)
              ORDER BY b.pid) AS holders
  FROM waits w
  LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = w.pid
 ORDER BY seconds DESC NULLS LAST, w.pid",
    gates: &[Gate {
        column: "waitstart",
        before: "NULL::pg_catalog.timestamptz",
        steps: &[(PG14, "l.waitstart")],
    }],
};

/// A session that waits for a lock.
#[derive(Clone, Debug, Default, PartialEq)]
struct Waiting {
    process: i32,
    mode: String,
    /// The relation that it waits for, if the lock is on a relation of the database.
    table: Option<String>,
    application: Option<String>,
    /// Duration of the wait in seconds, as reported by the server.
    seconds: Option<f64>,
    /// The processes that block it.
    blockers: Vec<i32>,
    /// Whether the dump holds a lock on that relation.
    is_held: bool,
    /// The processes that block it, with their application names.
    holders: Vec<String>,
}

impl Waiting {
    fn from_row(row: &CatalogRow) -> Result<Waiting, SqlError> {
        Ok(Waiting {
            process: row.int4("pid")?,
            mode: row.text("mode")?,
            table: row.opt_text("table")?,
            application: row.opt_text("application_name")?.filter(|name| !name.is_empty()),
            seconds: row.opt_float8("seconds")?,
            blockers: row.int4s("blockers")?,
            is_held: row.bool("is_held")?,
            holders: row.texts("holders")?,
        })
    }

    /// Describes what the dump waits for, if the waiting session is the dump's own.
    fn as_of_the_dump(&self) -> String {
        let holders = match self.holders.as_slice() {
            [] => "locked by a prepared transaction".to_owned(),
            [one] => format!("locked or awaited by process {one}"),
            several => format!("locked or awaited by processes {}", several.join(", ")),
        };
        printable(&format!("table {}, {holders}", self.table.as_deref().unwrap_or("(unknown)")))
    }
}

/// A session that the dump blocks.
#[derive(Clone, Debug, PartialEq)]
struct LockWaiter<'a> {
    waiting: &'a Waiting,
    waited: Duration,
    /// Number of sessions that wait for this session.
    behind: usize,
}

impl fmt::Display for LockWaiter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Waiting { process, mode, table, application, .. } = self.waiting;
        let application = application.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        let table = table.as_deref().unwrap_or("(unknown)");
        let text = format!(
            "process {process}{application} has waited {} s for {mode} on {table}, which the dump has locked",
            self.waited.as_secs()
        );
        f.write_str(&printable(&text))?;
        match self.behind {
            0 => Ok(()),
            1 => f.write_str(", and 1 more session waits behind it"),
            behind => write!(f, ", and {behind} more sessions wait behind it"),
        }
    }
}

/// Watches the locks of one database's dumps.
pub(super) struct LockWatch<'a> {
    pub(super) name: &'a str,
    pub(super) connection: &'a ConnectOptions,
    pub(super) running: RoundPolicy,
    pub(super) state: &'a SidecarState,
}

impl LockWatch<'_> {
    /// Watches one dump. Returns the reason when the dump must be aborted because a session waits for its
    /// locks.
    pub(super) async fn watch(&self, progress: &DumpProgress) -> String {
        if self.running.on_blocked == OnBlocked::Ignore {
            return std::future::pending().await;
        }
        let every = (self.running.blocked_after / 4).clamp(OFTEN, SELDOM);
        let (mut session, mut known, mut is_logged) = (None, Known::default(), false);
        loop {
            tokio::time::sleep(every).await;
            let Some(process) = progress.process() else {
                session = None;
                continue;
            };
            let was_open = session.is_some();
            match self.query_waits(&mut session, process).await {
                Ok(waiting) => {
                    is_logged = false;
                    if let Some(reason) = self.log_waits(process, &waiting, &mut known, progress) {
                        return reason;
                    }
                }
                Err(error) => {
                    if !is_logged {
                        self.warn(&error);
                    }
                    (session, is_logged) = (None, true);
                    // Reconnect immediately after an open connection was lost.
                    if !was_open {
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Logs that the locks cannot be read. The dump continues: it does not depend on the watch.
    fn warn(&self, error: &SqlError) {
        let error = chain(error).line;
        tracing::warn!(
            target: BACKUP,
            database = self.name,
            error,
            "{}: cannot read which sessions wait for the dump's locks, retrying: {error}",
            self.name
        );
    }

    async fn query_waits(
        &self,
        session: &mut Option<Session>,
        process: i32,
    ) -> Result<Vec<Waiting>, SqlError> {
        let open = async || -> Result<Session, ProtocolError> {
            let session = Session::open(self.connection).await?;
            session.execute(SETTINGS).await?;
            Ok(session)
        };
        let asked = async {
            let session = match session {
                Some(session) => session,
                None => session.insert(open().await.map_err(|source| WAITS.failed(source))?),
            };
            let rows = WAITS.few_rows(session, &[&process]).await?;
            rows.iter().map(Waiting::from_row).collect()
        };
        match tokio::time::timeout(ANSWER, asked).await {
            Ok(waiting) => waiting,
            Err(_) => {
                let text = format!("no answer within {} s", ANSWER.as_secs());
                Err(WAITS.failed(ProtocolError::Unexpected(text)))
            }
        }
    }

    /// Logs the waits that are due to be logged. Returns the reason if the dump must be aborted.
    fn log_waits(
        &self,
        process: i32,
        waiting: &[Waiting],
        known: &mut Known,
        progress: &DumpProgress,
    ) -> Option<String> {
        let after = self.running.blocked_after;
        let own = waiting.iter().find(|one| one.process == process);
        let wait = own.map(Waiting::as_of_the_dump);
        progress.waits_for(wait.clone());
        let now = Instant::now();
        if let (Some(own), Some(wait)) = (own, wait)
            && known.is_news(own, now, after).is_some()
        {
            tracing::warn!(target: BACKUP, database = self.name, "{}: the dump waits for {wait}", self.name);
        }
        let aborts = self.running.on_blocked == OnBlocked::Abort;
        let mut reason = None;
        for blocked in blocked(process, waiting, |one| known.waited(one, now)) {
            let Some(is_first) = known.is_news(blocked.waiting, now, after) else { continue };
            if is_first {
                self.state.blocked(self.name, blocked.to_string(), aborts);
            }
            tracing::warn!(
                target: BACKUP,
                database = self.name,
                process = blocked.waiting.process,
                table = blocked.waiting.table,
                mode = blocked.waiting.mode,
                waited_seconds = blocked.waited.as_secs_f64(),
                behind = blocked.behind,
                "{}: {blocked}",
                self.name
            );
            reason = reason.or(Some(blocked.to_string()));
        }
        known.forget(waiting);
        reason.filter(|_| aborts)
    }
}

/// Returns the sessions that wait for a relation which the dump has locked and that are blocked by the dump
/// itself.
fn blocked<'a>(
    process: i32,
    waiting: &'a [Waiting],
    mut waited: impl FnMut(&Waiting) -> Duration,
) -> Vec<LockWaiter<'a>> {
    let by_dump = waiting.iter().filter(|one| one.is_held && one.blockers.contains(&process));
    by_dump
        .map(|one| LockWaiter { waiting: one, waited: waited(one), behind: behind(one.process, waiting) })
        .collect()
}

/// Returns the number of sessions that wait for a process, directly or indirectly.
fn behind(process: i32, waiting: &[Waiting]) -> usize {
    let mut queue = vec![process];
    let mut at = 0;
    while let Some(process) = queue.get(at).copied() {
        for one in waiting.iter().filter(|one| one.blockers.contains(&process)) {
            if !queue.contains(&one.process) {
                queue.push(one.process);
            }
        }
        at += 1;
    }
    queue.len() - 1
}

/// The known waits: when each was first seen, and at which duration it is logged next.
#[derive(Debug, Default)]
struct Known(HashMap<(i32, Option<String>), (Instant, Option<Duration>)>);

impl Known {
    /// Returns how long a session has waited: the server's value, or the time since it was first seen if that
    /// is longer.
    fn waited(&mut self, waiting: &Waiting, now: Instant) -> Duration {
        let key = (waiting.process, waiting.table.clone());
        let (seen, _) = self.0.entry(key).or_insert((now, None));
        let told = waiting.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        told.unwrap_or_default().max(now.duration_since(*seen))
    }

    /// Returns whether a wait must be logged now (`Some`), and whether it is logged for the first time.
    fn is_news(&mut self, waiting: &Waiting, now: Instant, after: Duration) -> Option<bool> {
        let waited = self.waited(waiting, now);
        let (_, next) = self.0.get_mut(&(waiting.process, waiting.table.clone()))?;
        let is_first = next.is_none();
        if waited < next.unwrap_or(after) {
            return None;
        }
        *next = Some(2 * waited);
        Some(is_first)
    }

    /// Removes the sessions that no longer wait.
    fn forget(&mut self, waiting: &[Waiting]) {
        self.0.retain(|(process, table), _| {
            waiting.iter().any(|one| one.process == *process && one.table == *table)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(process: i32, blockers: &[i32], is_held: bool) -> Waiting {
        Waiting {
            process,
            mode: "AccessExclusiveLock".to_owned(),
            table: Some("public.t".to_owned()),
            blockers: blockers.to_vec(),
            is_held,
            ..Waiting::default()
        }
    }

    const DUMP: i32 = 1;

    #[test]
    fn sessions_that_wait_for_the_dump_are_distinguished_from_others() {
        let all = [
            waiting(2, &[DUMP], true),
            waiting(3, &[2], true),
            waiting(4, &[2, 3], false),
            waiting(5, &[4], false),
            // It waits for another process, on a table that the dump has locked too.
            waiting(6, &[9], true),
            // The dump is ahead of it in a queue and has not got the lock either.
            waiting(7, &[DUMP, 9], false),
        ];
        let found = blocked(DUMP, &all, |_| Duration::from_secs(31));
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((only.waiting.process, only.behind), (2, 3));
        assert_eq!(
            only.to_string(),
            "process 2 has waited 31 s for AccessExclusiveLock on public.t, which the dump has locked, and 3 more \
             sessions wait behind it"
        );
        // A deadlock, which the server will resolve, does not cause an endless loop.
        assert_eq!(behind(2, &[waiting(2, &[3], true), waiting(3, &[2], true)]), 1);
    }

    #[test]
    fn an_application_cannot_write_to_the_log_what_it_likes() {
        let one = Waiting { application: Some("a\u{1b}[2J".to_owned()), ..waiting(2, &[DUMP], true) };
        let blocked = LockWaiter { waiting: &one, waited: Duration::from_secs(1), behind: 0 };
        assert!(blocked.to_string().starts_with("process 2 (a\u{fffd}[2J) has waited 1 s for "), "{blocked}");
        let dump = Waiting { holders: vec!["7 (psql)".to_owned()], ..waiting(DUMP, &[7], false) };
        assert_eq!(dump.as_of_the_dump(), "table public.t, locked or awaited by process 7 (psql)");
    }

    #[test]
    fn a_wait_is_reported_after_its_time_and_whenever_it_has_doubled() {
        let mut known = Known::default();
        let (now, after) = (Instant::now(), Duration::from_secs(30));
        let mut news = |seconds: u64| {
            let one = Waiting { seconds: Some(seconds as f64), ..waiting(2, &[DUMP], true) };
            known.is_news(&one, now, after)
        };
        assert_eq!((news(29), news(31), news(32), news(61)), (None, Some(true), None, None));
        assert_eq!((news(62), news(123), news(124)), (Some(false), None, Some(false)));
        // An older server does not report the duration: then it counts from the first time the wait was seen.
        let one = waiting(3, &[DUMP], true);
        assert_eq!(known.is_news(&one, now, after), None);
        assert_eq!(known.is_news(&one, now + after, after), Some(true));
        known.forget(std::slice::from_ref(&one));
        assert_eq!(known.0.len(), 1);
    }
}
