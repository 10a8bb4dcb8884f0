//! Servers that stall during a dump, or whose messages are damaged in transit.

use crate::harness::fidelity::{Dumps, compare_bytes};
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::program::{pg_backup, run};
use crate::harness::proxy::{BreakableProxy, Fault};
use crate::harness::sidecar::{Sidecar, files, gunzip};

/// More bytes than the catalogs of an empty database have, and fewer than its rows.
const IN_THE_ROWS: usize = 6 << 20;

/// A database whose rows are about 12 MiB on the wire, too few for several connections.
fn database(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute(
        "CREATE TABLE big AS SELECT n, repeat(md5(n::text), 30) AS t FROM generate_series(1, 12000) n; ANALYZE big",
    );
    database
}

/// Returns the database's URL through a proxy.
fn over(proxy: &BreakableProxy, server: &Server, database: &Database<'_>) -> String {
    let (there, here) = (format!(":{}/", server.port()), format!(":{}/", proxy.port()));
    database.url_without_password().replace(&there, &here)
}

fn impatient(sidecar: Sidecar) -> Sidecar {
    sidecar.set("BACKUP_RETRY_WAIT", "1s").set("BACKUP_RETRIES", "1").set("BACKUP_STALL_TIMEOUT", "2s")
}

/// Returns the position of a text in a log.
#[track_caller]
fn place(log: &str, text: &str) -> usize {
    log.find(text).unwrap_or_else(|| panic!("no {text:?} in\n{log}"))
}

#[test]
fn one_silent_server_does_not_keep_the_other_databases_from_being_saved() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let (first, silent, last) = (server.database(), database(&server), server.database());
    let proxy = BreakableProxy::to(server.port());
    proxy.fail_after(IN_THE_ROWS, Fault::StallAll);
    let sidecar = impatient(Sidecar::with_directory(store.path()))
        .database("first", &first)
        .database_at("silent", &over(&proxy, &server, &silent), PASSWORD)
        .database("last", &last);
    let log = sidecar.run(&["run"]).expect_code(7).stdout_text();
    // The last database is backed up before the silent one is retried.
    let attempt = place(&log, "silent: attempt 1 of 2 failed after ");
    let ok = place(&log, "last: OK in ");
    let failed = place(&log, "silent: FAILED in ");
    assert!(place(&log, "first: OK in ") < attempt && attempt < ok && ok < failed, "{log}");
    let line = log[attempt..].lines().next().unwrap();
    for part in [
        ": dumping the contents of table public.big failed: lost the connection to server 127.0.0.1:",
        "it has sent nothing for ",
        " s (BACKUP_STALL_TIMEOUT is 2 s), and the state of its process cannot be queried: ",
        "no answer within 2 s over another connection",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let kept = files(store.path());
    assert!(kept.len() == 6 && kept.iter().all(|file| !file.contains("silent")), "{kept:?}");
}

#[test]
fn a_connection_that_lost_something_is_given_up_and_another_attempt_is_made() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = database(&server);
    let proxy = BreakableProxy::to(server.port());
    proxy.fail_after(IN_THE_ROWS, Fault::StallOne);
    let sidecar = impatient(Sidecar::with_directory(store.path())).database_at(
        "main",
        &over(&proxy, &server, &database),
        PASSWORD,
    );
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    let line = log[place(&log, "main: attempt 1 of 2 failed after ")..].lines().next().unwrap();
    // The server's bytes may be in transit, or may have filled all buffers in between.
    let found = ["ClientWrite", "ClientRead"]
        .map(|wait| format!(" is waiting for pg-backup ({wait}): the connection has lost data"));
    assert!(found.iter().any(|found| line.contains(found)), "{line}");
    let kept = files(store.path());
    let dump = kept.iter().find(|file| file.ends_with(".sql.gz")).unwrap();
    let ours = gunzip(&std::fs::read(store.path().join(dump)).unwrap());
    compare_bytes(&Dumps { theirs: database.pg_dump(&[]), ours }, "after the other attempt");
}

#[test]
fn a_server_that_is_at_work_is_waited_for() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.execute("CREATE TABLE t (id integer)");
    let lock = database.lock("t");
    let sidecar = impatient(Sidecar::with_directory(store.path()))
        .database("main", &database)
        .set("BACKUP_STALL_TIMEOUT", "1s")
        .set("BACKUP_ON_BLOCKED", "ignore");
    let mut round = sidecar.start(&["run"]);
    let at_work = "the server is sending nothing, but its process is active";
    round.wait_for("two questions", |log| log.matches(at_work).count() >= 2);
    drop(lock);
    let (code, log) = round.finish();
    assert!(code == Some(0) && !log.contains("attempt "), "{log}");
}

/// With the stall timeout off, so that only the damage itself can end the attempt.
#[test]
fn a_stream_that_was_damaged_on_the_way_is_an_error_at_once() {
    let server = Server::start();
    let database = database(&server);
    let error = b"E\0\0\0\x2aSERROR\0VERROR\0CXX000\0Mfrom elsewhere\0\0".to_vec();
    assert_eq!(error.len(), 0x2a + 1);
    for fault in
        [Fault::Drop(1), Fault::Drop(500), Fault::Repeat(3), Fault::Repeat(1000), Fault::Insert(error)]
    {
        let store = tempfile::tempdir().unwrap();
        let proxy = BreakableProxy::to(server.port());
        proxy.fail_after(IN_THE_ROWS, fault.clone());
        let sidecar = impatient(Sidecar::with_directory(store.path()))
            .set("BACKUP_STALL_TIMEOUT", "off")
            .database_at("main", &over(&proxy, &server, &database), PASSWORD);
        let log = sidecar.run(&["run"]).expect_success().stdout_text();
        assert!(!proxy.has_fault(), "{log}");
        let line = log[place(&log, "main: attempt 1 of 2 failed after ")..].lines().next().unwrap();
        assert!(line.contains("lost synchronization with server: got "), "{fault:?}: {line}");
        assert_eq!(files(store.path()).len(), 3, "{log}");
    }
}

#[test]
fn a_server_that_says_nothing_more_after_the_login_is_noticed_by_every_verb() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    let proxy = BreakableProxy::to(server.port());
    let url = over(&proxy, &server, &database);
    let nothing = " s (BACKUP_STALL_TIMEOUT is 1 s), and the state of its process cannot be queried: ";
    let options: [&[&str]; 2] = [&["dump", "-w", "-d"], &["dumpall", "-w", "-d"]];
    for verb in options {
        // PostgreSQL sends fewer bytes than this during the login, and more in response to later queries.
        proxy.open();
        proxy.fail_after(1200, Fault::StallAll);
        let mut command = pg_backup();
        command.args(verb).arg(format!("{url}?sslmode=disable")).env("PGPASSWORD", PASSWORD);
        let output = run(command.env("BACKUP_STALL_TIMEOUT", "1s")).expect_code(1);
        assert!(output.stderr.contains(nothing), "{verb:?}: {}", output.stderr);
    }
    proxy.open();
    proxy.fail_after(1200, Fault::StallAll);
    let sidecar = impatient(Sidecar::with_directory(store.path()))
        .set("BACKUP_STALL_TIMEOUT", "1s")
        .set("BACKUP_RETRIES", "0")
        .database_at("main", &format!("{url}?sslmode=disable"), PASSWORD);
    let log = sidecar.run(&["run"]).expect_code(4).stdout_text();
    assert!(log.contains("main: FAILED in ") && log.contains(nothing), "{log}");
}
