//! A migration that waits for a dump's locks, and the sessions that wait behind it.

use std::process::Command;
use std::thread::ScopedJoinHandle;

use crate::harness::bulk;
use crate::harness::fidelity::{Dumps, compare_bytes};
use crate::harness::http;
use crate::harness::installation::{DEFAULT_MAJOR, MAJORS};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, run};
use crate::harness::proxy::BreakableProxy;
use crate::harness::seaweed::{ADMIN, Seaweed};
use crate::harness::sidecar::{Running, Sidecar, gunzip, listening};

/// Whether a worker holds a lock, in addition to the leader.
const READING: &str = "
    SELECT count(DISTINCT l.pid) >= 2 FROM pg_locks l JOIN pg_stat_activity a USING (pid)
     WHERE l.relation = 'noise'::regclass AND l.granted AND a.application_name = 'pg-backup'";

/// Whether the migration waits, and a reader behind it.
const QUEUED: &str = "SELECT count(*) = 2 FROM pg_locks WHERE relation = 'noise'::regclass AND NOT granted";

struct Stage {
    server: Server,
    seaweed: Seaweed,
}

impl Stage {
    fn set() -> Stage {
        Stage::on(DEFAULT_MAJOR)
    }

    fn on(major: u32) -> Stage {
        Stage { server: Server::start_major_with(major, &["log_statement=all"]), seaweed: Seaweed::start() }
    }

    fn database(&self) -> Database<'_> {
        let database = self.server.database();
        database.load_bytes(bulk::noise(60).as_bytes()).expect_success();
        database
    }

    /// A sidecar whose dump is blocked in the middle of the table.
    fn sidecar(&self, database: &Database<'_>, on_blocked: &str) -> (BreakableProxy, Sidecar) {
        let (proxy, environment) = self.seaweed.behind_proxy(ADMIN);
        // The claim of the key is forwarded, the dump is not.
        proxy.stall_at("?uploads");
        let sidecar = Sidecar::with_store(environment)
            .database("main", database)
            .set("BACKUP_JOBS", "3")
            .set("BACKUP_ON_BLOCKED", on_blocked)
            .set("BACKUP_ON_BLOCKED_AFTER", "1s")
            .set("BACKUP_RETRY_WAIT", "1s");
        (proxy, sidecar)
    }

    /// Returns the only dump in the bucket.
    fn dump(&self) -> Vec<u8> {
        let objects = self.seaweed.objects();
        assert_eq!(objects.len(), 3, "{objects:?}");
        let dump = objects.iter().find(|object| object.key.ends_with(".sql.gz")).expect("the dump is there");
        gunzip(&self.seaweed.get(&dump.key))
    }
}

fn psql(database: &Database<'_>, sql: &str) -> Command {
    let mut psql = database.client("psql");
    psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-c", sql]);
    psql
}

const MIGRATION: &str = "ALTER TABLE noise ADD COLUMN new integer";
const READER: &str = "SELECT count(*) FROM noise WHERE id < 0";

/// Runs a statement with psql in another thread.
fn start<'s>(
    scope: &'s std::thread::Scope<'s, '_>,
    database: &'s Database<'_>,
    sql: &'static str,
) -> ScopedJoinHandle<'s, Output> {
    scope.spawn(move || run(&mut psql(database, sql)))
}

/// Starts both sessions when the dump is blocked in the middle of the table. They succeed while it is still
/// blocked, because the store is stalled until they end.
fn set_free(running: &mut Running, database: &Database<'_>) {
    running.wait_for("the dump", |log| log.contains("main: dumping "));
    database.wait_for("reading", READING);
    std::thread::scope(|scope| {
        for waiting in [MIGRATION, READER].map(|sql| start(scope, database, sql)) {
            waiting.join().unwrap().expect_success();
        }
    });
}

/// Starts a migration and a reader that waits behind it, while the dump is blocked in the middle of the
/// table.
fn queue_up<'s>(
    scope: &'s std::thread::Scope<'s, '_>,
    running: &mut Running,
    database: &'s Database<'_>,
) -> [ScopedJoinHandle<'s, Output>; 2] {
    running.wait_for("the dump", |log| log.contains("main: dumping "));
    database.wait_for("reading", READING);
    let migration = start(scope, database, MIGRATION);
    database.wait_for("the migration", &QUEUED.replace("= 2", "= 1"));
    let reader = start(scope, database, READER);
    database.wait_for("the reader behind it", QUEUED);
    [migration, reader]
}

#[test]
fn a_blocked_migration_is_set_free_by_abort_and_the_dump_is_made_after_it() {
    let stage = Stage::set();
    let database = stage.database();
    let (proxy, sidecar) = stage.sidecar(&database, "abort");
    let (sidecar, port) = listening(sidecar);
    let mut serve = sidecar.start(&["serve"]);
    set_free(&mut serve, &database);
    serve.wait_for("the attempt's end", |log| log.contains("main: attempt 1 of 6 failed after "));
    let metrics = http::get(port, "/metrics").1;
    for line in [
        "pg_backup_blocked_sessions_total{database=\"main\"} 1",
        "pg_backup_retries_total{database=\"main\",stage=\"dump\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    proxy.open();
    serve.wait_for("the dump", |log| log.contains("main: OK in "));
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    let line = log.lines().find(|line| line.contains("attempt 1 of 6")).unwrap();
    assert!(line.contains(": aborted: process ") && line.contains(" (psql) has waited "), "{line}");
    assert!(line.contains(" s for AccessExclusiveLock on public.noise, which the dump has locked"), "{line}");
    assert!(!log.contains("ALTER TABLE") && !log.contains("FAILED"), "{log}");
    compare_bytes(&Dumps { theirs: database.pg_dump(&[]), ours: stage.dump() }, "after the migration");
    assert_eq!(database.query("SELECT count(new) FROM noise"), "0", "the migration has been made");
}

#[test]
fn without_another_attempt_the_failure_names_the_blocked_session_on_every_major() {
    for major in MAJORS {
        fails_for_a_blocked_session(&Stage::on(*major));
    }
}

fn fails_for_a_blocked_session(stage: &Stage) {
    let database = stage.database();
    let (_proxy, sidecar) = stage.sidecar(&database, "abort");
    let mut round = sidecar.set("BACKUP_RETRIES", "0").start(&["run"]);
    set_free(&mut round, &database);
    let (code, log) = round.finish();
    assert_eq!(code, Some(4), "{log}");
    let line = log.lines().find(|line| line.contains("main: FAILED in ")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains(": aborted: process "), "{line}");
    assert!(line.contains("AccessExclusiveLock on public.noise"), "{line}");
}

#[test]
fn waiting_sessions_are_reported_and_keep_waiting() {
    let stage = Stage::set();
    let database = stage.database();
    let theirs = database.pg_dump(&[]);
    let (proxy, sidecar) = stage.sidecar(&database, "warn");
    let mut round = sidecar.start(&["run"]);
    std::thread::scope(|scope| {
        let queued = queue_up(scope, &mut round, &database);
        // Once at the configured time, and again when the wait has doubled.
        let told = "AccessExclusiveLock on public.noise, which the dump has locked, and 1 more session waits behind it";
        round.wait_for("the second warning", |log| log.matches(told).count() >= 2);
        assert_eq!(database.query(QUEUED), "t", "{}", round.log());
        proxy.open();
        let (code, log) = round.finish();
        assert_eq!(code, Some(0), "{log}");
        for waiting in queued {
            waiting.join().unwrap().expect_success();
        }
    });
    compare_bytes(&Dumps { theirs, ours: stage.dump() }, "before the migration");
    assert!(stage.server.log().contains("pg_blocking_pids"));
}

/// A dump does not need the watch to succeed.
#[test]
fn a_terminated_watch_reconnects_and_the_dump_continues() {
    let stage = Stage::set();
    let database = stage.database();
    let (proxy, sidecar) = stage.sidecar(&database, "warn");
    let mut round = sidecar.start(&["run"]);
    let watch =
        "FROM pg_stat_activity WHERE application_name = 'pg-backup' AND query LIKE '%pg_blocking_pids%'";
    database.wait_for("the watch", &format!("SELECT count(*) = 1 {watch}"));
    database.execute(&format!("SELECT pg_terminate_backend(pid, 10000) {watch}"));
    let warning = "main: cannot read which sessions wait for the dump's locks, retrying: ";
    round.wait_for("the warning", |log| log.contains(warning));
    std::thread::scope(|scope| {
        let queued = queue_up(scope, &mut round, &database);
        round.wait_for("what the new watch sees", |log| log.contains("which the dump has locked"));
        proxy.open();
        let (code, log) = round.finish();
        assert!(code == Some(0) && !log.contains("attempt ") && log.matches(warning).count() == 1, "{log}");
        for waiting in queued {
            waiting.join().unwrap().expect_success();
        }
    });
}

#[test]
fn waits_are_not_queried_when_they_are_ignored() {
    let stage = Stage::set();
    let database = stage.database();
    let (proxy, sidecar) = stage.sidecar(&database, "ignore");
    let mut round = sidecar.start(&["run"]);
    std::thread::scope(|scope| {
        let queued = queue_up(scope, &mut round, &database);
        let second = "SELECT clock_timestamp() - waitstart > interval '2 s'
                        FROM pg_locks WHERE NOT granted ORDER BY waitstart LIMIT 1";
        database.wait_for("two seconds of waiting", second);
        proxy.open();
        let (code, log) = round.finish();
        assert!(code == Some(0) && !log.contains("has waited"), "{log}");
        for waiting in queued {
            waiting.join().unwrap().expect_success();
        }
    });
    assert!(!stage.server.log().contains("pg_blocking_pids"));
}
