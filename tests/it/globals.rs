//! `BACKUP_GLOBALS`: a round stores roles and tablespaces as a separate backup.

use std::path::{Path, PathBuf};

use crate::harness::cluster::{compare_clusters, pg_dumpall};
use crate::harness::fidelity::Dumps;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::program::run;
use crate::harness::sidecar::{Sidecar, files, gunzip, gunzip_text};

fn server() -> Server {
    let server = Server::start();
    server.existing("postgres").execute(
        "CREATE ROLE boss LOGIN PASSWORD 'correct horse'; CREATE ROLE member IN ROLE boss; \
         ALTER ROLE boss SET work_mem = '1MB'",
    );
    server
}

fn small(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT 1 AS x");
    database
}

/// Returns the only file of a backup of `name` that ends with `ending`.
#[track_caller]
fn only_file(store: &Path, name: &str, ending: &str) -> PathBuf {
    let mut found = files(&store.join(name));
    found.retain(|file| file.ends_with(ending));
    assert_eq!(found.len(), 1, "{name} …{ending}: {found:?}");
    PathBuf::from(&found[0])
}

#[test]
fn a_round_saves_the_globals_too() {
    let (server, store) = (server(), tempfile::tempdir().unwrap());
    let (first, second) = (small(&server), small(&server));
    let sidecar = Sidecar::with_directory(store.path())
        .database("main", &first)
        .database("other", &second)
        .set("BACKUP_GLOBALS", "on");
    // Before the first round all three are missing.
    let missing = sidecar.run(&["status"]).expect_code(6);
    assert!(missing.stdout_text().contains("globals"), "{missing}");
    let round = sidecar.clone().set("BACKUP_LOG", "trace").run(&["run"]).expect_success();
    let log = round.stdout_text() + &round.stderr;
    let dumping = format!(
        "[backup] globals: dumping roles and tablespaces, read in postgres@127.0.0.1:{}/{} → file://",
        server.port(),
        first.name()
    );
    assert!(log.contains(&dumping) && log.contains("[backup] globals: OK in "), "{log}");
    assert!(!log.contains("SCRAM-SHA-256$"), "{log}");
    let theirs = run(pg_dumpall(&server).args(["-g", "-l", first.name()])).expect_success().stdout;
    let ours = gunzip(&std::fs::read(only_file(store.path(), "globals", ".sql.gz")).unwrap());
    compare_clusters(&Dumps { theirs, ours }, "BACKUP_GLOBALS=on");
    let toc = gunzip_text(&std::fs::read(only_file(store.path(), "globals", ".toc.json.gz")).unwrap());
    let toc: serde_json::Value = serde_json::from_str(&toc).expect("the TOC is JSON");
    assert_eq!(toc["entries"].as_array().map(Vec::len), Some(0), "{toc}");
    assert_eq!(toc["frame"][0][1], toc["raw_size"], "all of the text is frame: {toc}");
    let manifest = std::fs::read(only_file(store.path(), "globals", ".manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("the manifest is JSON");
    assert_eq!(manifest["database"], "globals");
    assert!(manifest["snapshot"]["lsn"].is_string(), "{manifest}");
    for verb in ["list", "status"] {
        let shown = sidecar.run(&[verb]).expect_success().stdout_text();
        assert_eq!(shown.matches("globals").count().min(1), 1, "{shown}");
    }
}

#[test]
fn each_server_has_its_own_globals() {
    let (one, two, store) = (server(), server(), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path())
        .database("main", &small(&one))
        .database("other", &small(&two))
        .set("BACKUP_GLOBALS", "on");
    sidecar.run(&["run"]).expect_success();
    for server in [&one, &two] {
        only_file(store.path(), &format!("globals-127.0.0.1-{}", server.port()), ".manifest.json");
    }
    sidecar.run(&["status"]).expect_success();
}

#[test]
fn passwords_that_may_not_be_read_fail_the_globals_alone() {
    let (server, store) = (server(), tempfile::tempdir().unwrap());
    let database = small(&server);
    database.execute("GRANT SELECT ON t TO boss");
    let url = database.url_without_password().replace("postgres@", "boss@");
    let sidecar = Sidecar::with_directory(store.path()).database_at("main", &url, PASSWORD);
    let round = sidecar.clone().set("BACKUP_GLOBALS", "on").run(&["run"]).expect_code(7);
    let log = round.stdout_text() + &round.stderr;
    assert!(log.contains("[backup] main: OK in "), "{log}");
    assert!(log.contains("[backup] globals: FAILED in ") && log.contains("1 of 2 failed: globals"), "{log}");
    assert!(
        log.contains("[backup] globals: HINT: ") && log.contains("BACKUP_GLOBALS=no-role-passwords"),
        "{log}"
    );
    assert_eq!(files(&store.path().join("globals")), [""; 0]);
    sidecar.clone().set("BACKUP_GLOBALS", "no-role-passwords").run(&["run"]).expect_success();
    let dump = gunzip_text(&std::fs::read(only_file(store.path(), "globals", ".sql.gz")).unwrap());
    assert!(dump.contains("CREATE ROLE boss;") && !dump.contains("PASSWORD"), "{dump}");
}

#[test]
fn a_database_called_globals_is_refused() {
    let (server, store) = (server(), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path()).database("globals", &small(&server));
    sidecar.run(&["run"]).expect_success();
    let refused = sidecar.set("BACKUP_GLOBALS", "on").run(&["run"]).expect_code(2);
    assert!(refused.stderr.contains("BACKUP_GLOBALS") && refused.stderr.contains("HINT: "), "{refused}");
}

#[test]
fn the_globals_are_restored_to_another_server() {
    let (there, here, store) = (server(), Server::start(), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path()).database("main", &small(&there));
    let sidecar = sidecar.set("BACKUP_GLOBALS", "on");
    sidecar.run(&["run"]).expect_success();
    // The target may contain objects.
    let into = small(&here);
    let url = into.url();
    let restore = |options: &[&str]| {
        sidecar.run(&[&["restore", "latest", "-d", "globals", "--to", &url], options].concat())
    };
    for options in [&["-t", "boss"][..], &["-C"], &["-c"], &["--recreate-schema"], &["-O"]] {
        let refused = restore(options).expect_code(1);
        assert!(refused.stderr.contains("HINT: omit these options"), "{options:?}: {refused}");
    }
    let boss = || here.existing("postgres").query("SELECT count(*) FROM pg_roles WHERE rolname = 'boss'");
    let exists = "\"CREATE ROLE postgres;\": ERROR: role \"postgres\" already exists";
    let undone = restore(&["-1"]).expect_code(1);
    assert!(
        undone.stderr.contains(exists) && undone.stderr.contains("everything was rolled back"),
        "{undone}"
    );
    assert_eq!(boss(), "0");
    let stopped = restore(&[]).expect_code(1);
    assert!(stopped.stderr.contains(exists), "{stopped}");
    here.existing("postgres").execute("DROP ROLE boss, member");
    let done = restore(&["--keep-going"]).expect_code(1);
    assert!(done.stderr.contains(exists), "{done}");
    assert!(done.stderr.contains("1 statement failed; everything else was restored"), "{done}");
    let globals = |server: &Server| run(pg_dumpall(server).arg("-g")).expect_success().stdout;
    compare_clusters(&Dumps { theirs: globals(&there), ours: globals(&here) }, "restored globals");
}
