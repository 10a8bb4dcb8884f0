//! `pg-backup check`: it finds the problems that would make a backup or a drill fail, and reports them with a
//! remedy.

use serde_json::Value;

use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::seaweed::{ADMIN, PREFIX, Seaweed, WRITER};
use crate::harness::sidecar::Sidecar;
use crate::harness::sink::Sink;

/// Returns the findings as `subject level what`, and the hints.
fn findings(sidecar: &Sidecar, code: i32) -> (Vec<String>, Vec<String>) {
    let output = sidecar.run(&["check", "--json"]).expect_code(code);
    let json: Value = serde_json::from_str(&output.stdout_text()).expect("check --json is JSON");
    assert_eq!(json["ok"], code == 0, "{json}");
    let found = json["findings"].as_array().expect("findings are a list").iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found
        .map(|f| {
            (format!("{} {} {}", text(&f["subject"]), text(&f["level"]), text(&f["what"])), text(&f["hint"]))
        })
        .unzip()
}

#[track_caller]
fn assert_found(found: &(Vec<String>, Vec<String>), what: &str) {
    assert!(found.0.iter().any(|line| line.contains(what)), "{what}\n{found:#?}");
}

fn errors(found: &(Vec<String>, Vec<String>)) -> Vec<&String> {
    found.0.iter().filter(|line| line.contains(" error ")).collect()
}

/// Returns the database's URL with another role.
fn url_of(database: &Database<'_>, role: &str) -> String {
    database.url_without_password().replacen("postgres@", &format!("{role}@"), 1)
}

#[test]
fn a_sound_configuration_is_found_sound() {
    let (server, sandbox, seaweed) = (Server::start(), Server::start(), Seaweed::start());
    let database = server.database();
    database.execute("CREATE TABLE t (id integer); CREATE VIEW v AS SELECT * FROM t");
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER))
        .database("main", &database)
        .set("BACKUP_GLOBALS", "on")
        .set("BACKUP_DRILL_URL", &sandbox.existing("postgres").url())
        .set("BACKUP_DRILL_SCHEDULE", "@every 7d");
    let found = findings(&sidecar, 0);
    assert_eq!(errors(&found), Vec::<&String>::new());
    for what in [
        "schedule ok rounds every 21600s: immediately, then ",
        "schedule ok drills every 604800s: ",
        "store ok an object could be written: s3://",
        "main ok postgres@127.0.0.1:",
        "superuser postgres, without TLS",
        "main ok a dump takes 1 locks; the server has room for ",
        "1 tables with rows: all are supported and could be locked",
        "globals ok roles and tablespaces can be read in ",
        "drill ok postgres@127.0.0.1:",
    ] {
        assert_found(&found, what);
    }
    let table = sidecar.run(&["check"]).expect_success().stdout_text();
    assert!(table.starts_with("SUBJECT   RESULT"), "{table}");
    // The object that `check` puts is not a backup, and repeated checks leave only one.
    let keys: Vec<String> = seaweed.objects().into_iter().map(|object| object.key).collect();
    assert_eq!(keys, [format!("{PREFIX}/pg-backup-check.txt")]);
    let reader = Sidecar::with_store(seaweed.environment(ADMIN));
    let list = reader.run(&["list", "--json"]).expect_success().stdout_text();
    assert!(!list.contains("check"), "{list}");
}

/// The role gets its missing privileges one by one, as the hints say.
#[test]
fn missing_privileges_are_reported_with_their_remedy() {
    let server = Server::start();
    let (database, store) = (server.database(), tempfile::tempdir().unwrap());
    database.execute(&format!(
        "CREATE ROLE saver LOGIN PASSWORD '{PASSWORD}';
         CREATE SCHEMA \"Shop\";
         CREATE TABLE \"Shop\".orders (id serial, customer text);
         CREATE TABLE notes (owner text);
         ALTER TABLE notes ENABLE ROW LEVEL SECURITY;
         SELECT lo_from_bytea(4711, 'x');"
    ));
    let sidecar =
        Sidecar::with_directory(store.path()).database_at("main", &url_of(&database, "saver"), PASSWORD);
    let found = findings(&sidecar, 2);
    assert_found(
        &found,
        "main error role saver cannot read 3 tables or sequences: \"Shop\".orders, \"Shop\".orders_id_seq, public.notes",
    );
    assert!(found.1.contains(&"GRANT pg_read_all_data TO saver".to_owned()), "{found:?}");
    let globals = findings(&sidecar.clone().set("BACKUP_GLOBALS", "on"), 2);
    assert_found(&globals, "globals error role saver cannot read the roles' passwords");
    // The text output has each hint below its row.
    let text = sidecar.run(&["check"]).expect_code(2);
    assert!(text.stdout_text().contains("HINT: GRANT pg_read_all_data TO saver\n"), "{text}");
    assert!(text.stderr.contains("would make backups or drills fail"), "{text}");
    database.execute("GRANT pg_read_all_data TO saver");
    let found = findings(&sidecar, 2);
    assert_found(
        &found,
        "error row security would hide rows of 1 tables from role saver, so a dump would fail: public.notes",
    );
    assert!(found.1.contains(&"ALTER ROLE saver BYPASSRLS".to_owned()), "{found:?}");
    database.execute("ALTER ROLE saver BYPASSRLS");
    let found = findings(&sidecar, 2);
    assert_eq!(errors(&found), ["main error role saver cannot read 1 large objects: 4711"]);
    // The dump fails without this privilege.
    let log = sidecar.run(&["run"]).expect_code(4).stdout_text();
    assert!(log.contains("main: FAILED in ") && log.contains("large object"), "{log}");
    database.execute("GRANT SELECT ON LARGE OBJECT 4711 TO saver");
    assert_eq!(errors(&findings(&sidecar, 0)), Vec::<&String>::new());
    // This role may also read the passwords.
    let sidecar = sidecar.set("BACKUP_GLOBALS", "on");
    assert_eq!(errors(&findings(&sidecar, 0)), Vec::<&String>::new());
    sidecar.run(&["run"]).expect_success();
}

#[test]
fn what_cannot_be_reached_is_an_error_of_its_own() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER))
        .set("BACKUP_S3_PREFIX", "elsewhere")
        .database("good", &database)
        .database_at("wrong", &database.url_without_password(), "guess")
        .database_at("away", "postgres://postgres@127.0.0.1:1/x", "guess");
    let found = findings(&sidecar, 2);
    assert_found(&found, "store error ");
    assert_found(&found, "wrong error ");
    assert_found(&found, "away error ");
    assert_found(&found, "good ok ");
    assert_eq!(errors(&found).len(), 3, "{found:#?}");
    let all = format!("{found:?}");
    assert!(all.contains("AccessDenied") && all.contains("password authentication failed"), "{all}");
    assert!(!all.contains("guess"), "{all}");
}

#[test]
fn locks_that_the_server_has_no_room_for_are_counted() {
    let server =
        Server::start_with(&["max_locks_per_transaction=10", "max_connections=10", "max_wal_senders=0"]);
    let (database, store) = (server.database(), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path()).database("main", &database);
    let tables = |range: std::ops::Range<u32>| {
        let tables: String = range.map(|n| format!("CREATE TABLE t{n} ();\n")).collect();
        database.load_bytes(tables.as_bytes()).expect_success();
    };
    tables(0..60);
    assert_found(&findings(&sidecar, 0), "main warning a dump takes 60 locks; the server has room for 100");
    tables(60..101);
    assert_found(&findings(&sidecar, 2), "main error a dump takes 101 locks; the server has room for 100");
}

#[test]
fn a_sandbox_must_let_databases_be_created() {
    let server = Server::start();
    let (database, store) = (server.database(), tempfile::tempdir().unwrap());
    database.execute(&format!("CREATE ROLE driller LOGIN PASSWORD '{PASSWORD}'"));
    let sidecar = Sidecar::with_directory(store.path())
        .database("main", &database)
        .set("BACKUP_DRILL_URL", &url_of(&server.existing("postgres"), "driller"))
        .set("BACKUP_DRILL_PASSWORD", PASSWORD);
    let found = findings(&sidecar, 2);
    assert_eq!(errors(&found), ["drill error role driller cannot create databases on the sandbox"]);
    database.execute("ALTER ROLE driller CREATEDB");
    let found = findings(&sidecar, 0);
    assert_found(&found, "drill warning role driller is not a superuser of the sandbox");
    assert_found(&found, "drill warning the sandbox is the server of ");
    assert_found(&found, "schedule warning no drills are scheduled");
}

#[test]
fn every_channel_is_tried_with_a_message() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = server.database();
    let sidecar = Sidecar::with_directory(store.path()).database("main", &database);
    assert_found(
        &findings(&sidecar, 0),
        "alerts warning no alert channel is configured, so failures are only logged",
    );
    let sidecar = sidecar
        .set("BACKUP_ALERT_WEBHOOK_URL", &sink.url("/hook/s3cret"))
        .set("BACKUP_ALERT_SLACK_URL", &sink.url("/slack/s3cret"));
    assert_found(
        &findings(&sidecar, 0),
        "alerts ok webhook, slack: configured, not tested (--send-test tests them)",
    );
    assert_eq!(sink.at("/").len(), 0);
    let table = sidecar.run(&["check", "--send-test"]).expect_success().stdout_text();
    let took = format!("webhook: {} accepted a test message", sink.host());
    assert!(table.contains(&took) && !table.contains("s3cret"), "{table}");
    assert_eq!((sink.kinds("/hook"), sink.at("/slack").len()), (vec!["test".to_owned()], 1));
    sink.answer("/slack/s3cret", 404);
    let output = sidecar.run(&["check", "--send-test"]).expect_code(2);
    let text = output.stdout_text();
    let refused = format!("alerts    ERROR    slack: {}: answered 404 Not Found", sink.host());
    assert!(text.contains(&refused) && !text.contains("s3cret"), "{output}");
}

#[test]
fn a_replica_must_take_objects_too() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER))
        .database("main", &database)
        .set("BACKUP_REPLICA_S3_BUCKET", "nowhere")
        .set("BACKUP_REPLICA_S3_ENDPOINT", &seaweed.http())
        .set("BACKUP_REPLICA_AWS_ACCESS_KEY_ID", "stranger")
        .set("BACKUP_REPLICA_AWS_SECRET_ACCESS_KEY", "guess");
    let found = findings(&sidecar, 2);
    assert_found(&found, "store ok an object could be written");
    assert_found(&found, "replica error ");
    assert_eq!(errors(&found).len(), 1, "{found:#?}");
}

#[test]
fn objects_that_a_standby_lacks_are_reported() {
    let server = Server::start();
    let (database, store) = (server.database(), tempfile::tempdir().unwrap());
    database.execute("CREATE UNLOGGED TABLE cache (a integer); CREATE TABLE t (a integer)");
    let standby = server.standby(&[]);
    server.wait_for(&standby);
    let copy = standby.existing(database.name());
    let sidecar = Sidecar::with_directory(store.path()).database("main", &copy);
    let found = findings(&sidecar, 0);
    for what in [
        ", a standby, superuser postgres",
        "main warning the rows of 1 unlogged tables are not on a standby, so no backup contains them: public.cache",
        "main warning the standby cancels a dump that conflicts with the primary's changes for more than 30s",
    ] {
        assert_found(&found, what);
    }
}
