//! Databases and stores that are unavailable for a while, and timeouts.

use crate::harness::bulk;
use crate::harness::fidelity::{Dumps, compare_bytes};
use crate::harness::postgres::{Database, Server};
use crate::harness::proxy::BreakableProxy;
use crate::harness::seaweed::{ADMIN, Seaweed};
use crate::harness::sidecar::{Running, Sidecar, files, gunzip};

fn small(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t (id integer); INSERT INTO t VALUES (1)");
    database
}

/// A sidecar that retries soon and often.
fn patient(sidecar: Sidecar) -> Sidecar {
    sidecar.set("BACKUP_RETRY_WAIT", "1s").set("BACKUP_RETRIES", "30")
}

/// A database whose dump is blocked in the middle, because the proxy to the store is stalled.
fn standing_still<'s>(server: &'s Server, seaweed: &Seaweed) -> (Database<'s>, BreakableProxy, Sidecar) {
    let database = server.database();
    // The rows after the incompressible ones compress well. They are more than the buffers between the
    // server's process and the store can hold, including sockets with tens of megabytes.
    let rest = "ALTER TABLE noise ADD b text; INSERT INTO noise (b) SELECT repeat('x', 4 << 20) FROM generate_series(1, 25)";
    database.load_bytes((bulk::noise(60) + rest).as_bytes()).expect_success();
    let (proxy, environment) = seaweed.behind_proxy(ADMIN);
    // The claim of the key is forwarded, the dump is not.
    proxy.stall_at("?uploads");
    let sidecar = patient(Sidecar::with_store(environment).database("main", &database));
    (database, proxy, sidecar)
}

fn failures(log: &str) -> usize {
    log.matches(": FAILED in ").count()
}

/// Waits until the server's process is blocked in the middle of the rows.
fn wait_for_reading(running: &mut Running, database: &Database<'_>) {
    running.wait_for("the dump", |log| log.contains("main: dumping "));
    database.wait_for(
        "the rows",
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%noise%' AND wait_event = 'ClientWrite'",
    );
}

#[test]
fn a_database_that_is_away_is_tried_again_in_the_same_round() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar = patient(Sidecar::with_directory(store.path()).database("main", &database));
    server.stop();
    let mut round = sidecar.start(&["run"]);
    round.wait_for("two attempts", |log| log.contains("main: attempt 2 of 31 failed after "));
    server.start_again();
    let (code, log) = round.finish();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("refused the connection"), "{log}");
    assert_eq!((failures(&log), log.matches("main: OK in ").count()), (0, 1), "{log}");
    assert_eq!(files(store.path()).len(), 3);
}

#[test]
fn a_server_that_is_restarted_in_the_middle_of_a_dump_is_dumped_after_that() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let (database, proxy, sidecar) = standing_still(&server, &seaweed);
    let mut round = sidecar.start(&["run"]);
    wait_for_reading(&mut round, &database);
    server.stop();
    proxy.open();
    round.wait_for("the failed attempt", |log| log.contains("main: attempt 1 of 31 failed after "));
    server.start_again();
    let (code, log) = round.finish();
    assert_eq!((code, failures(&log)), (Some(0), 0), "{log}");
    // The blocked process cannot send its reason, the dump's other session can. Either may be noticed first.
    assert!(log.contains("lost the connection to server 127.0.0.1"), "{log}");
    let objects = seaweed.objects();
    assert_eq!(objects.len(), 3, "{objects:?}");
    let dump = objects.iter().find(|object| object.key.ends_with(".sql.gz")).unwrap();
    let ours = gunzip(&seaweed.get(&dump.key));
    compare_bytes(&Dumps { theirs: database.pg_dump(&[]), ours }, "after the restart");
}

#[test]
fn a_server_that_is_restarted_while_a_dump_waits_says_why_and_is_dumped_after_that() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar = patient(Sidecar::with_directory(store.path()).database("main", &database));
    let lock = database.lock("t");
    let mut round = sidecar.start(&["run"]);
    database.wait_for("the wait", "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted");
    server.stop();
    drop(lock);
    round.wait_for("the failed attempt", |log| log.contains("main: attempt 1 of 31 failed after "));
    server.start_again();
    let (code, log) = round.finish();
    assert_eq!((code, failures(&log)), (Some(0), 0), "{log}");
    let said = "terminating connection due to administrator command (SQLSTATE 57P01)";
    assert!(log.contains(said), "{log}");
    assert_eq!(files(store.path()).len(), 3);
}

#[test]
fn a_store_that_is_away_is_tried_again_in_the_same_round() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = small(&server);
    let (proxy, environment) = seaweed.behind_proxy(ADMIN);
    let sidecar = patient(Sidecar::with_store(environment).database("main", &database));
    proxy.close();
    let mut round = sidecar.start(&["run"]);
    round.wait_for("an attempt", |log| log.contains("main: attempt 1 of 31 failed after "));
    proxy.open();
    let (code, log) = round.finish();
    assert_eq!((code, failures(&log)), (Some(0), 0), "{log}");
    assert!(log.contains(&format!("cannot reach http://127.0.0.1:{}", proxy.port())), "{log}");
    // The attempt that succeeded has its own key.
    let keys: Vec<&str> =
        log.lines().filter_map(|line| line.split_once(" → s3://")).map(|(_, key)| key).collect();
    let last = keys.last().unwrap().rsplit_once('/').unwrap().1;
    assert!(keys.len() >= 2 && keys.iter().filter(|key| key.ends_with(last)).count() == 1, "{keys:?}");
    let objects = seaweed.objects();
    assert!(
        objects.len() == 3 && objects.iter().any(|object| object.key.ends_with(last)),
        "{objects:?} {last}"
    );
}

#[test]
fn a_server_that_is_away_for_a_round_fails_it_once_and_the_next_is_good() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar = patient(Sidecar::with_directory(store.path()).database("main", &database))
        .set("BACKUP_INTERVAL_SECONDS", "3");
    server.stop();
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the first round", |log| log.contains("[entrypoint] backup failed for main; "));
    let log = serve.log();
    let (first, _) = log.split_once("[entrypoint] backup failed for main; ").unwrap();
    assert_eq!((failures(first), first.matches("=== run started").count()), (1, 1), "{log}");
    assert!(first.contains("main: attempt 1 of 31 failed after "), "{log}");
    server.start_again();
    serve.wait_for("a good round", |log| log.contains("[entrypoint] backup ok; "));
    assert_eq!(serve.terminate().0, Some(0));
}

#[test]
fn permanent_failures_are_not_retried() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let base = || patient(Sidecar::with_directory(store.path()));
    let url = database.url_without_password();
    let nowhere = server.existing("nowhere");
    database.execute("CREATE ROLE clerk LOGIN PASSWORD 'p'");
    let as_clerk = url.replace("postgres@", "clerk@");
    for (sidecar, code, why) in [
        (base().database_at("main", &url, "wrong"), 3, "wrong password"),
        (base().database("main", &nowhere), 3, "does not exist"),
        (base().database_at("main", &as_clerk, "p"), 4, "permission denied"),
    ] {
        let log = sidecar.run(&["run"]).expect_code(code).stdout_text();
        assert!(log.contains(why) && failures(&log) == 1 && !log.contains("attempt "), "{why}: {log}");
    }
}

#[test]
fn a_signal_ends_the_wait_for_the_next_attempt() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar =
        Sidecar::with_directory(store.path()).database("main", &database).set("BACKUP_RETRY_WAIT", "1h");
    server.stop();
    // `serve` continues with the next round, so it exits with 0. `run` reports that no backup was made.
    for (verb, expected) in [("serve", 0), ("run", 1)] {
        let mut running = sidecar.start(&[verb]);
        running.wait_for("an attempt", |log| log.contains("main: attempt 1 of 6 failed after "));
        let (code, _, log) = running.terminate();
        assert_eq!((code, failures(&log)), (Some(expected), 0), "{log}");
        assert!(log.contains("main: stopped after "), "{log}");
        let error = "pg-backup: error: a signal ended the round before every database was backed up";
        assert_eq!(log.contains(error), verb == "run", "{log}");
    }
}

/// Whether pg-backup has no session.
const NONE_LEFT: &str = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'pg-backup' AND datname = current_database()";

#[test]
fn a_dump_that_takes_too_long_is_given_up_and_says_where_it_was() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let (database, proxy, sidecar) = standing_still(&server, &seaweed);
    // The stall is the store's fault, so the stall timeout for the server does not apply.
    let sidecar = sidecar.set("BACKUP_STALL_TIMEOUT", "1s");
    let log = sidecar.set("BACKUP_TIMEOUT", "15s").run(&["run"]).expect_code(4).stdout_text();
    let why = "timed out after 15 s (BACKUP_TIMEOUT) while copying the contents of table public.noise";
    assert!(log.contains(why) && failures(&log) == 1 && !log.contains("attempt "), "{log}");
    proxy.open();
    assert!(seaweed.objects().is_empty());
    database.wait_for("the end of the sessions", NONE_LEFT);
}

#[test]
fn a_dump_that_waits_for_a_lock_names_it_and_its_holder() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar = patient(Sidecar::with_directory(store.path()).database("main", &database));
    let lock = database.lock("t");
    let process = lock.process();

    let limited = sidecar.clone().set("BACKUP_LOCK_TIMEOUT", "1s").set("BACKUP_RETRIES", "1");
    let log = limited.run(&["run"]).expect_code(4).stdout_text();
    let why = format!(
        "could not lock table public.t, which process {process} (psql) locks or waits to lock in access exclusive \
         mode (BACKUP_LOCK_TIMEOUT is 1 s): ERROR: canceling statement due to lock timeout (SQLSTATE 55P03)"
    );
    // The lock may be released before the second attempt.
    assert!(log.matches(&why).count() == 2 && log.contains("attempt 1 of 2 "), "{why}\n{log}");
    assert_eq!(failures(&log), 1, "{log}");

    let short = sidecar.set("BACKUP_TIMEOUT", "15s").set("BACKUP_ON_BLOCKED_AFTER", "1s");
    let log = short.run(&["run"]).expect_code(4).stdout_text();
    let wait = format!("table public.t, locked or awaited by process {process} (psql)");
    assert!(log.contains(&format!("main: the dump waits for {wait}\n")), "{log}");
    let why = format!("while reading the catalogs and locking the tables, waiting for {wait}");
    assert!(log.contains(&why), "{log}");
    assert_eq!(files(store.path()), Vec::<String>::new());
    database.wait_for("the end of the sessions", NONE_LEFT);
}
