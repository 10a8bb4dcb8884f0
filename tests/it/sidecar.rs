//! Rounds of the sidecar, end to end: three databases to S3 and back, failures, signals, intervals.

use std::path::Path;
use std::time::Duration;

use crate::harness::fidelity::compare_stored;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::run;
use crate::harness::samples;
use crate::harness::seaweed::{ADMIN, PREFIX, Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, files, gunzip, gunzip_text};

fn small(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t (id integer); INSERT INTO t VALUES (1)");
    database
}

/// Returns the only key that starts with `prod/<name>/` and ends with `ending`.
fn only_key(keys: &[String], name: &str, ending: &str) -> String {
    let own = |key: &&String| key.starts_with(&format!("{PREFIX}/{name}/")) && key.ends_with(ending);
    let found: Vec<&String> = keys.iter().filter(own).collect();
    assert_eq!(found.len(), 1, "{name} …{ending} in {keys:?}");
    found[0].clone()
}

fn keys(seaweed: &Seaweed) -> Vec<String> {
    seaweed.objects().into_iter().map(|object| object.key).collect()
}

fn assert_nothing_stays(seaweed: &Seaweed) {
    assert_eq!(keys(seaweed), Vec::<String>::new());
    assert_eq!(seaweed.unfinished_uploads(), Vec::<String>::new());
}

/// Returns the lines of a log that report why a database failed.
fn failures(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains(": FAILED in ")).collect()
}

#[test]
fn three_databases_to_s3_with_a_write_only_key_and_back() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let databases = samples::load(&server);
    let sidecar = databases
        .iter()
        .fold(Sidecar::with_store(seaweed.environment(WRITER)), |sidecar, (name, database)| {
            sidecar.database(name, database)
        });
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    assert!(log.contains("[backup] === run started at "), "{log}");
    assert!(log.contains("[backup] === run completed in "), "{log}");
    let keys = keys(&seaweed);
    assert_eq!(keys.len(), 9, "{keys:?}");
    for (name, database) in &databases {
        let dumping = format!("[backup] {name}: dumping postgres@127.0.0.1:{}/{name} → s3://", server.port());
        assert!(log.contains(&dumping), "{dumping}\n{log}");
        assert!(log.contains(&format!("[backup] {name}: OK in ")), "{log}");
        let dump = gunzip(&seaweed.get(&only_key(&keys, name, ".sql.gz")));
        compare_stored(&server, database, dump, name);
        let toc = gunzip_text(&seaweed.get(&only_key(&keys, name, ".toc.json.gz")));
        serde_json::from_str::<serde_json::Value>(&toc).expect("the TOC is JSON");
        let manifest = seaweed.get(&only_key(&keys, name, ".manifest.json"));
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("the manifest is JSON");
        assert!(manifest["format_version"].is_number(), "{manifest}");
    }
    assert_eq!(seaweed.unfinished_uploads(), Vec::<String>::new());
}

#[test]
fn a_round_over_https_with_an_authority_of_its_own() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = small(&server);
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER))
        .database("main", &database)
        .set("BACKUP_S3_ENDPOINT", &seaweed.https());
    let mut refused = sidecar.command(&["run"]);
    let refused = run(&mut refused).expect_code(5);
    let said = refused.stdout_text() + &refused.stderr;
    assert!(failures(&said).len() == 1 && said.contains("certificate"), "{said}");
    assert_nothing_stays(&seaweed);
    sidecar.set("SSL_CERT_FILE", &seaweed.authority().display().to_string()).run(&["run"]).expect_success();
    assert_eq!(keys(&seaweed).len(), 3);
}

#[test]
fn a_database_that_fails_does_not_stop_the_others() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = small(&server);
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER))
        .database("first", &database)
        .database_at("second", &database.url_without_password(), "wrong")
        .database("third", &database);
    let output = sidecar.run(&["run"]).expect_code(7);
    let log = output.stdout_text();
    assert!(log.contains("[backup] first: OK in ") && log.contains("[backup] third: OK in "), "{log}");
    assert_eq!(failures(&log).len(), 1, "{log}");
    assert!(log.contains("[backup] second: FAILED in ") && log.contains("password"), "{log}");
    let keys = keys(&seaweed);
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert!(!keys.iter().any(|key| key.contains("second")), "{keys:?}");
}

/// Runs a round of one database that must fail with this code. Returns the line of the failure.
fn failing_round(sidecar: &Sidecar, code: i32) -> String {
    let output = sidecar.run(&["run"]).expect_code(code);
    let log = output.stdout_text() + &output.stderr;
    let failures = failures(&log);
    assert_eq!(failures.len(), 1, "{log}");
    failures[0].to_owned()
}

#[test]
fn a_wrong_password_is_said_in_one_line() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let url = small(&server).url_without_password();
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER)).database_at("main", &url, "guess");
    let line = failing_round(&sidecar, 3);
    assert!(line.contains("password authentication failed"), "{line}");
    assert!(!line.contains("guess"), "{line}");
    assert_nothing_stays(&seaweed);
}

#[test]
fn an_unknown_host_is_said_in_one_line() {
    let seaweed = Seaweed::start();
    let url = "postgres://postgres@no-such-host.invalid:5432/main";
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER)).database_at("main", url, "x");
    let line = failing_round(&sidecar.set("BACKUP_RETRIES", "0"), 3);
    assert!(line.contains("no-such-host.invalid"), "{line}");
    assert_nothing_stays(&seaweed);
}

#[test]
fn a_missing_database_is_said_in_one_line() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let url = server.existing("nowhere").url_without_password();
    let password = crate::harness::postgres::PASSWORD;
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER)).database_at("main", &url, password);
    let line = failing_round(&sidecar, 3);
    assert!(line.contains("\"nowhere\" does not exist"), "{line}");
    assert_nothing_stays(&seaweed);
}

#[test]
fn a_missing_bucket_is_said_in_one_line() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = small(&server);
    let sidecar = Sidecar::with_store(seaweed.environment(ADMIN))
        .database("main", &database)
        .set("BACKUP_S3_BUCKET", "no-such-bucket");
    let line = failing_round(&sidecar, 5);
    assert!(line.contains("no-such-bucket") && line.contains("NoSuchBucket"), "{line}");
    assert_nothing_stays(&seaweed);
}

#[test]
fn a_refused_key_is_said_in_one_line() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = small(&server);
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER)).database("main", &database);
    let line = failing_round(&sidecar.clone().set("BACKUP_S3_PREFIX", "elsewhere"), 5);
    assert!(line.contains("AccessDenied") && line.contains("elsewhere/main/"), "{line}");
    let line = failing_round(&sidecar.clone().set("BACKUP_AWS_ACCESS_KEY_ID", "stranger"), 5);
    assert!(line.contains("InvalidAccessKeyId"), "{line}");
    let line = failing_round(&sidecar.set("BACKUP_AWS_SECRET_ACCESS_KEY", "guess"), 5);
    assert!(line.contains("SignatureDoesNotMatch") && !line.contains("guess"), "{line}");
    assert_nothing_stays(&seaweed);
}

#[test]
fn sigterm_in_the_middle_of_an_upload_leaves_nothing() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    // The rows do not compress, so the upload sends parts long before the dump ends.
    database.execute(
        "CREATE TABLE noise AS SELECT sha512(n::text::bytea) AS a, sha512((-n)::text::bytea) AS b
           FROM generate_series(1, 1000000) n",
    );
    let sidecar = Sidecar::with_store(seaweed.environment(ADMIN)).database("noise", &database);
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the upload", |_| !seaweed.unfinished_uploads().is_empty());
    let (code, took, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(15), "it took {took:?}\n{log}");
    assert!(!log.contains("noise: OK"), "the dump was over too early for this test\n{log}");
    assert_nothing_stays(&seaweed);
}

#[test]
fn sigterm_between_rounds_ends_at_once() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let mut serve = Sidecar::with_directory(store.path()).database("main", &database).start(&[]);
    serve.wait_for("the sleep", |log| log.contains("[entrypoint] backup ok; sleeping "));
    let (code, took, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(15), "it took {took:?}\n{log}");
    let first = log.lines().next().unwrap_or_default();
    assert_eq!(first, "[entrypoint] starting; backup will run immediately, then every 21600s");
}

#[test]
fn serve_makes_a_round_at_every_interval() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar =
        Sidecar::with_directory(store.path()).database("main", &database).set("BACKUP_INTERVAL_SECONDS", "2");
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the third round", |log| log.matches("[backup] main: OK in").count() >= 3);
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("every 2s"), "{log}");
}

#[test]
fn a_schedule_has_its_time_zone_without_the_systems_files() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path())
        .database("main", &database)
        .set("BACKUP_SCHEDULE", "30 3 * * *")
        .set("TZ", "Europe/Berlin")
        // The image does not have such a directory.
        .set("TZDIR", "/nonexistent");
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the sleep", |log| log.contains("[entrypoint] backup ok; sleeping "));
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    let first = log.lines().next().unwrap_or_default();
    let expected =
        "[entrypoint] starting; backup will run immediately, then at \"30 3 * * *\" (Europe/Berlin)";
    assert_eq!(first, expected);
}

#[test]
fn a_failed_round_is_followed_by_the_next() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path())
        .database_at("main", &database.url_without_password(), "wrong")
        .set("BACKUP_INTERVAL_SECONDS", "1");
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the second failure", |log| failures(log).len() >= 2);
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn list_and_status_say_what_is_in_the_store() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = small(&server);
    let writer = Sidecar::with_store(seaweed.environment(WRITER)).database("main", &database);
    let reader = Sidecar::with_store(seaweed.environment(ADMIN)).database("main", &database);
    // Before the first backup the list is empty, and `status` fails.
    assert_ne!(reader.run(&["status"]).status.code(), Some(0));
    writer.run(&["run"]).expect_success();
    let list = reader.run(&["list"]).expect_success().stdout_text();
    assert!(list.contains("main"), "{list}");
    let json = reader.run(&["list", "--json"]).expect_success().stdout_text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("list --json is JSON");
    assert!(json.to_string().contains(".sql.gz"), "{json}");
    reader.run(&["status"]).expect_success();
    let json = reader.run(&["status", "--json"]).expect_success().stdout_text();
    let json: serde_json::Value = serde_json::from_str(&json).expect("status --json is JSON");
    assert!(json.to_string().contains("main"), "{json}");
    // `status` fails for a configured database without a backup, and names it.
    let more = reader.clone().database("other", &database).run(&["status"]).expect_code(6);
    assert!((more.stdout_text() + &more.stderr).contains("other"), "{more}");
    // The write-only key may not list, and the error shows it.
    let refused = writer.run(&["list"]).expect_code(5);
    assert!(refused.stderr.contains("AccessDenied"), "{refused}");
}

#[test]
fn status_fails_when_the_newest_backup_is_too_old() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path()).database("main", &database);
    sidecar.run(&["run"]).expect_success();
    sidecar.run(&["status"]).expect_success();
    // Rewrites the backup as one from the first day of 2020.
    for path in files(store.path()) {
        let text = std::fs::read(&path).unwrap();
        let today = &path[path.find("/main/").unwrap() + 6..][..10];
        let old = path.replace(today, "2020-01-01");
        std::fs::create_dir_all(Path::new(&old).parent().unwrap()).unwrap();
        let text = match String::from_utf8(text) {
            Ok(manifest) => manifest.replace(today, "2020-01-01").into_bytes(),
            Err(compressed) => compressed.into_bytes(),
        };
        std::fs::write(&old, text).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
    let stale = sidecar.run(&["status"]).expect_code(6);
    assert!(stale.stdout_text().contains("main") && stale.stdout_text().contains("overdue"), "{stale}");
    let json = sidecar.run(&["status", "--json"]).expect_code(6).stdout_text();
    serde_json::from_str::<serde_json::Value>(&json).expect("status --json is JSON");
    // With a larger maximum age, `status` succeeds.
    sidecar.run(&["status", "--max-age", "1000000h"]).expect_success();
}

#[test]
fn a_directory_is_a_store_too_and_holds_no_half_written_file() {
    let server = Server::start();
    let (database, store) = (small(&server), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path()).database("main", &database);
    sidecar.run(&["run"]).expect_success();
    let written = files(store.path());
    assert_eq!(written.len(), 3, "{written:?}");
    let dump = written.iter().find(|file| file.ends_with(".sql.gz")).expect("a dump is among them");
    compare_stored(&server, &database, gunzip(&std::fs::read(dump).unwrap()), "directory");
    // A failed round keeps the existing files and leaves none of its own.
    let failing = sidecar.database_at("main", &database.url_without_password(), "wrong");
    failing.set("BACKUP_DATABASES", "main").run(&["run"]).expect_code(3);
    assert_eq!(files(store.path()), written);
}
