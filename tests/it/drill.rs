//! `pg-backup drill` and `verify --deep`: backups are restored on a sandbox server and compared, and the
//! copies are dropped in every case.

use std::fs;
use std::path::Path;
use std::time::Duration;

use pg_backup::protocol::{ConnInfo, Environment};
use pg_backup::restore::backup::Backup;
use pg_backup::restore::drill::scratch::{PREFIX, Scratch};
use serde_json::Value;

use crate::harness::http::get;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::samples;
use crate::harness::seaweed::{ADMIN, READER, Seaweed};
use crate::harness::sidecar::{Sidecar, files, listening};
use crate::harness::stored::StoredBackup;
use crate::script::ROUTINES;

const SCRIPT: &str = "
    CREATE TABLE t (a integer PRIMARY KEY, b text[]);
    INSERT INTO t VALUES (1, '{one}'), (2, '{NULL}');
    CREATE VIEW v AS SELECT a FROM t;
    SELECT lo_from_bytea(4711, 'large object');";

/// Returns a sidecar that backs up `database` and drills on `sandbox`.
fn sidecar(store: &Path, database: &Database<'_>, sandbox: &Server) -> Sidecar {
    with_sandbox(Sidecar::with_directory(store).database("main", database), sandbox)
}

fn with_sandbox(sidecar: Sidecar, sandbox: &Server) -> Sidecar {
    sidecar
        .set("BACKUP_DRILL_URL", &sandbox.existing("postgres").url_without_password())
        .set("BACKUP_DRILL_PASSWORD", PASSWORD)
}

fn databases(server: &Server) -> Vec<String> {
    let names = server.existing("postgres").query("SELECT datname FROM pg_database ORDER BY 1");
    names.lines().map(str::to_owned).collect()
}

#[track_caller]
fn assert_nothing_stays(sandbox: &Server) {
    assert_eq!(databases(sandbox), ["postgres", "template0", "template1"]);
}

fn report(store: &Path, name: &str) -> Value {
    let mut found = files(&store.join(name));
    found.retain(|file| file.ends_with(".drill.json"));
    assert_eq!(found.len(), 1, "{found:?}");
    serde_json::from_slice(&fs::read(&found[0]).unwrap()).unwrap()
}

#[test]
fn three_databases_are_drilled() {
    let (server, sandbox, store) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    let sidecar = samples::load(&server).iter().fold(
        with_sandbox(Sidecar::with_directory(store.path()), &sandbox).set("BACKUP_GLOBALS", "on"),
        |sidecar, (name, database)| sidecar.database(name, database),
    );
    sidecar.run(&["run"]).expect_success();
    let drilled = sidecar.run(&["drill"]).expect_success();
    let said = drilled.stdout_text();
    assert!(said.contains("DESCRIBE  CREATE  ") && said.contains("  COMPARE  "), "{drilled}");
    for (name, rows) in [("metadata", " 46273 "), ("website", " 15607 "), ("demo", " 3362 ")] {
        let line = said.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        assert!(line.ends_with("equal") && line.contains(rows), "{drilled}");
        assert_eq!(said.lines().filter(|line| line.starts_with(name)).count(), 2, "{drilled}");
        let report = report(store.path(), name);
        assert_eq!((&report["ok"], &report["difference_count"]), (&true.into(), &0.into()), "{report}");
        let phases = report["phases"].as_array().unwrap();
        let sum: f64 = phases.iter().map(|phase| phase["seconds"].as_f64().unwrap()).sum();
        assert!((sum - report["total_seconds"].as_f64().unwrap()).abs() < 0.01, "{report}");
        assert!(report["restore_seconds"].as_f64() < report["total_seconds"].as_f64(), "{report}");
    }
    assert_nothing_stays(&sandbox);
    assert_eq!(
        sandbox.existing("postgres").query("SELECT count(*) FROM pg_roles WHERE rolname !~ '^pg_'"),
        "1"
    );
    // A drill of one database. Its report replaces the existing one.
    let one = sidecar.run(&["drill", "demo", "--json"]).expect_success();
    let one: Value = serde_json::from_slice(&one.stdout).unwrap();
    assert_eq!((&one["ok"], one["drills"].as_array().map(Vec::len)), (&true.into(), Some(1)), "{one}");
    assert_eq!(one["drills"][0]["drill"]["rows"], 3362);
    assert_eq!(report(store.path(), "demo")["drilled"], one["drills"][0]["drill"]["drilled"]);
    // Drill reports are stored with the backups, but are not part of them.
    let listed = sidecar.run(&["list"]).expect_success().stdout_text();
    assert!(!listed.contains("drill"), "{listed}");
    sidecar.run(&["verify"]).expect_success();
    let nobody = sidecar.run(&["drill", "nobody"]).expect_code(6);
    assert!(nobody.stdout_text().contains("there is no backup of nobody"), "{nobody}");
}

#[test]
fn routines_with_the_words_of_a_body_are_drilled() {
    let (server, sandbox, store) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.execute(ROUTINES);
    let sidecar = sidecar(store.path(), &database, &sandbox);
    sidecar.run(&["run"]).expect_success();
    let drilled = sidecar.run(&["drill"]).expect_success();
    let said = drilled.stdout_text();
    assert!(said.lines().any(|line| line.starts_with("main") && line.ends_with("equal")), "{drilled}");
    assert_eq!(report(store.path(), "main")["difference_count"], 0);
    sidecar.run(&["verify", "--deep"]).expect_success();
    assert_nothing_stays(&sandbox);
}

#[test]
fn timeouts_of_the_sandboxs_role_end_no_drill() {
    let (server, sandbox, store) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let sidecar = sidecar(store.path(), &database, &sandbox);
    sidecar.run(&["run"]).expect_success();
    let (maintenance, inside) = (sandbox.existing("postgres"), sandbox.existing("template1"));
    for timeout in ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"] {
        maintenance.execute(&format!("ALTER ROLE postgres IN DATABASE postgres SET {timeout} = '1s'"));
    }
    // CREATE DATABASE waits for this lock longer than the timeouts allow.
    let lock = inside.lock_in("pg_database", "SHARE", "ShareLock");
    let drill = sidecar.start(&["drill"]);
    let waits = "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'CREATE DATABASE%' AND wait_event_type = 'Lock' AND query_start < now() - interval '1.5s'";
    inside.wait_for("CREATE DATABASE", waits);
    drop(lock);
    let (code, said) = drill.finish();
    assert_eq!(code, Some(0), "{said}");
    assert_nothing_stays(&sandbox);
}

#[test]
fn a_copy_that_differs_is_found() {
    // A server that reads NULL in an array as a text restores without an error, but with wrong rows.
    let (server, sandbox) = (Server::start(), Server::start_with(&["array_nulls=off"]));
    let (database, store) = (server.database(), tempfile::tempdir().unwrap());
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let sidecar = sidecar(store.path(), &database, &sandbox);
    sidecar.run(&["run"]).expect_success();
    let differs = "main: table public.t has different rows: 2 with a digest that differs from the manifest";
    let drilled = sidecar.run(&["drill"]).expect_code(6);
    assert!(drilled.stdout_text().contains(differs), "{drilled}");
    assert!(drilled.stderr.contains("the restored copy of main differs from the backup"), "{drilled}");
    let report = report(store.path(), "main");
    assert_eq!((&report["ok"], &report["difference_count"]), (&false.into(), &1.into()), "{report}");

    sidecar.run(&["verify"]).expect_success();
    let deep = sidecar.run(&["verify", "--deep"]).expect_code(6);
    assert!(deep.stdout_text().contains(differs), "{deep}");
    let here = server.existing("postgres").url();
    let deep = sidecar.without("BACKUP_DRILL_URL").without("BACKUP_DRILL_PASSWORD");
    let deep = deep.run(&["verify", "--deep", "--to", &here]).expect_success();
    assert!(deep.stdout_text().contains("intact, copy equal"), "{deep}");
    assert_nothing_stays(&sandbox);
    assert_eq!(databases(&server), [database.name(), "postgres", "template0", "template1"]);
}

/// Rewrites an uncompressed backup with matching checksums: `from` becomes `to`, which has the same length.
fn rewrite(store: &Path, from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let manifest = files(store).into_iter().find(|file| file.ends_with(".manifest.json"));
    let mut backup = StoredBackup::read(Path::new(&manifest.expect("the backup is there")));
    let text = String::from_utf8(backup.dump.clone()).unwrap();
    assert!(text.contains(from), "{text}");
    backup.dump = text.replace(from, to).into_bytes();
    backup.toc = serde_json::from_str(&backup.toc.to_string().replace(from, to)).unwrap();
    backup.sum_members();
    backup.seal();
}

#[test]
fn what_the_sandbox_lacks_is_reported_as_such() {
    let (server, sandbox) = (Server::start(), Server::start());
    let (database, store) = (server.database(), tempfile::tempdir().unwrap());
    let space = server.socket().join("space");
    fs::create_dir(&space).unwrap();
    std::process::Command::new("chown")
        .args(["--reference"])
        .arg(server.socket())
        .arg(&space)
        .status()
        .unwrap();
    database.execute(&format!("CREATE TABLESPACE \"far away\" LOCATION '{}'", space.display()));
    database
        .load_bytes(
            b"CREATE ROLE boss; CREATE ROLE reader;
              CREATE TABLE owned (a integer); ALTER TABLE owned OWNER TO boss; INSERT INTO owned VALUES (1);
              GRANT SELECT ON owned TO reader;
              CREATE TABLE spaced (a integer) TABLESPACE \"far away\";
              CREATE EXTENSION hstore;
              CREATE TABLE stored (h hstore); INSERT INTO stored VALUES ('a=>1');
              CREATE VIEW seen AS SELECT h -> 'a' AS a FROM stored;",
        )
        .expect_success();
    let sidecar = sidecar(store.path(), &database, &sandbox).set("BACKUP_COMPRESSION", "none");
    sidecar.run(&["run"]).expect_success();
    let drilled = sidecar.run(&["drill"]).expect_code(6);
    let said = drilled.stdout_text();
    for lack in [
        "main: the sandbox lacks role boss: 1 object could not be restored unchanged",
        "main: the sandbox lacks role reader: ",
        "main: the sandbox lacks tablespace far away: 1 object could not be restored unchanged",
    ] {
        assert!(said.contains(lack), "{lack}\n{drilled}");
    }
    assert!(said.contains("3 things missing") && !said.contains("difference"), "{drilled}");
    // A drill can omit all of them.
    let without = sidecar
        .set("BACKUP_DRILL_NO_OWNER", "true")
        .set("BACKUP_DRILL_NO_PRIVILEGES", "true")
        .set("BACKUP_DRILL_NO_TABLESPACES", "true");
    without.run(&["drill"]).expect_success();

    // An extension that no server has.
    rewrite(store.path(), "hstore", "hstora");
    let drilled = without.run(&["drill"]).expect_code(6);
    let said = drilled.stdout_text();
    assert!(said.contains("main: the sandbox lacks extension hstora: "), "{drilled}");
    assert!(said.contains("1 thing missing") && !said.contains("statement failed"), "{drilled}");
    let report = report(store.path(), "main");
    assert_eq!(
        (&report["lacking"][0]["kind"], &report["lacking"][0]["name"]),
        (&"extension".into(), &"hstora".into())
    );
    assert_nothing_stays(&sandbox);
}

#[test]
fn rows_that_were_tampered_with_are_found_though_all_sums_agree() {
    let (server, sandbox) = (Server::start(), Server::start());
    let (database, store) = (server.database(), tempfile::tempdir().unwrap());
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let sidecar = sidecar(store.path(), &database, &sandbox).set("BACKUP_COMPRESSION", "none");
    sidecar.run(&["run"]).expect_success();
    rewrite(store.path(), "{one}", "{two}");
    let drilled = sidecar.run(&["drill"]).expect_code(6);
    assert!((drilled.stdout_text() + &drilled.stderr).contains("public.t"), "{drilled}");
    assert_nothing_stays(&sandbox);
}

#[test]
fn a_drill_that_is_interrupted_drops_its_database() {
    let (server, sandbox) = (Server::start(), Server::start());
    let (database, store) = (server.database(), tempfile::tempdir().unwrap());
    // The index takes long, but only on the sandbox.
    database
        .load_bytes(
            br"CREATE FUNCTION slow(a integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS $$
               BEGIN
                   IF current_database() LIKE 'pg\_backup\_drill\_%' THEN PERFORM pg_sleep(60); END IF;
                   RETURN a;
               END $$;
               CREATE TABLE t AS SELECT 1 AS a;
               CREATE INDEX ON t (slow(a));",
        )
        .expect_success();
    let sidecar = sidecar(store.path(), &database, &sandbox);
    sidecar.run(&["run"]).expect_success();
    let postgres = sandbox.existing("postgres");
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    let mut drill = sidecar.start(&["drill"]);
    drill.wait_for("the index", |_| postgres.query(sleeping) == "1");
    assert_eq!(databases(&sandbox).iter().filter(|name| name.starts_with(PREFIX)).count(), 1);
    let (code, took, log) = drill.terminate();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("interrupted") && took < Duration::from_secs(15), "{took:?}\n{log}");
    assert_nothing_stays(&sandbox);
    assert!(!files(store.path()).iter().any(|file| file.ends_with(".drill.json")));
}

#[test]
fn a_database_that_no_drill_created_is_never_dropped() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let sidecar = sidecar(store.path(), &database, &server);
    sidecar.run(&["run"]).expect_success();
    let precious = server.database_named(&format!("{PREFIX}0123456789abcdef"));
    precious.execute("CREATE TABLE precious AS SELECT 1");
    let postgres = server.existing("postgres");
    let work = async {
        let kept: std::sync::Arc<dyn pg_backup::storage::Store> =
            std::sync::Arc::new(pg_backup::storage::local::LocalStore::open(store.path()).unwrap());
        let id = pg_backup::pipeline::backups::list(&*kept, "", None).await.unwrap().remove(0).id;
        let backup = Backup::open(&kept, "", &id, None).await.unwrap();
        let at = ConnInfo::parse(&postgres.url()).unwrap().resolve(&Environment::of_variables([])).unwrap();
        // The name is already in use.
        let taken = Scratch::create(&at, precious.name(), backup.toc(), None).await.unwrap_err();
        assert!(taken.to_string().starts_with("cannot create database"), "{taken}");
        // Another database has replaced the scratch database.
        let replaced = Scratch::create(&at, "pg_backup_drill_x", backup.toc(), None).await.unwrap();
        postgres.execute("DROP DATABASE pg_backup_drill_x");
        postgres.execute("CREATE DATABASE pg_backup_drill_x");
        let refused = replaced.drop().await.unwrap_err();
        assert!(refused.to_string().starts_with("cannot drop database"), "{refused}");
    };
    tokio::runtime::Runtime::new().unwrap().block_on(work);
    assert_eq!(precious.query("SELECT count(*) FROM precious"), "1");
    assert!(databases(&server).iter().any(|name| name == "pg_backup_drill_x"));
    // A drill does not drop them, and reports that they exist.
    let drilled = sidecar.run(&["drill"]).expect_success();
    let told = format!("drop them manually: {}, pg_backup_drill_x", precious.name());
    assert!(drilled.stdout_text().contains(&told), "{drilled}");
    assert_eq!(precious.query("SELECT count(*) FROM precious"), "1");
}

#[test]
fn a_database_with_a_subscription_is_dropped_without_a_word_to_the_publisher() {
    let (server, sandbox, store) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.execute(
        "CREATE SUBSCRIPTION news CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false, slot_name = 'kept')",
    );
    let sidecar = sidecar(store.path(), &database, &sandbox);
    sidecar.run(&["run"]).expect_success();
    sidecar.run(&["drill"]).expect_success();
    assert_nothing_stays(&sandbox);
}

#[test]
fn a_key_that_may_not_write_the_report_is_no_failure() {
    let (server, sandbox, seaweed) = (Server::start(), Server::start(), Seaweed::start());
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let admin = Sidecar::with_store(seaweed.environment(ADMIN)).database("main", &database);
    admin.run(&["run"]).expect_success();
    let reader = with_sandbox(Sidecar::with_store(seaweed.environment(READER)), &sandbox);
    let drilled = reader.run(&["drill"]).expect_success();
    assert!(
        drilled.stdout_text().contains("main: the report could not be written next to the backup: "),
        "{drilled}"
    );
    assert_eq!(seaweed.objects().len(), 3);
    with_sandbox(admin, &sandbox).run(&["drill"]).expect_success();
    assert_eq!(seaweed.objects().len(), 4);
}

#[test]
fn a_sandbox_that_is_away_or_not_configured_is_said() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    let sidecar = Sidecar::with_directory(store.path()).database("main", &database);
    sidecar.run(&["run"]).expect_success();
    let missing = sidecar.run(&["drill"]).expect_code(2);
    assert!(missing.stderr.contains("BACKUP_DRILL_URL is not set"), "{missing}");
    let away = sidecar.set("BACKUP_DRILL_URL", "postgres://postgres@127.0.0.1:1/postgres");
    let away = away.run(&["drill"]).expect_code(3);
    assert!(away.stderr.contains("cannot reach the sandbox"), "{away}");
}

#[test]
fn serve_drills_between_rounds() {
    let (server, sandbox, store) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let sidecar = sidecar(store.path(), &database, &sandbox)
        .set("BACKUP_INTERVAL_SECONDS", "3")
        .set("BACKUP_DRILL_SCHEDULE", "@every 2s");
    let (sidecar, port) = listening(sidecar);
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("two drills and two rounds", |log| {
        log.matches("[drill] main: OK in").count() >= 2 && log.matches("[backup] main: OK in").count() >= 2
    });
    let (_, page) = get(port, "/");
    for text in ["<h3>Last drill</h3>", "the copy matches its backup", "restored in <strong>", "<li>compare "]
    {
        assert!(page.contains(text), "no {text:?} in\n{page}");
    }
    assert!(!page.contains("none scheduled"), "{page}");
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("[entrypoint] drills will run every 2s"), "{log}");
    // No drill runs during a round, and no round during a drill.
    let mut inside = None;
    for line in log.lines() {
        let begins = [("=== run started", "round"), ("main: restoring ", "drill")];
        let ends = [("=== run ", "round"), ("[drill] main: OK", "drill"), ("[drill] main: stopped", "drill")];
        if let Some((_, what)) = begins.iter().find(|(words, _)| line.contains(words)) {
            assert_eq!(inside.replace(*what), None, "{log}");
        } else if let Some((_, what)) = ends.iter().find(|(words, _)| line.contains(words)) {
            assert_eq!(inside.take(), Some(*what), "{log}");
        }
    }
    assert_nothing_stays(&sandbox);
}
