//! The events of a sidecar and their times: failures and recoveries, overdue and shrunken backups, failed
//! drills, and the log lines and metrics of channels that do not accept them. `alert_channels` tests the
//! channels.

use std::time::Duration;

use serde_json::Value;

use crate::harness::http::get;
use crate::harness::port;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::sidecar::{Sidecar, listening};
use crate::harness::sink::{Received, Sink};
use crate::health::value;

/// Part of every URL, token and key of these tests. It must not be in any output.
pub const SECRET: &str = "s3cret";

/// The path of the webhook in these tests.
pub const HOOK: &str = "/hook/s3cret";

/// Fails the test if a sidecar's output or message contains a secret.
#[track_caller]
pub fn assert_no_secret(text: &str) {
    for secret in [SECRET, PASSWORD, crate::harness::mail::PASSWORD] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}

pub fn small(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a");
    database
}

/// A sidecar that backs up `database` as `main` at this interval, and sends alerts to the sink's webhook.
fn sidecar(store: &tempfile::TempDir, database: &Database<'_>, sink: &Sink, seconds: u32) -> Sidecar {
    Sidecar::with_directory(store.path())
        .database("main", database)
        .set("BACKUP_INTERVAL_SECONDS", &seconds.to_string())
        .set("BACKUP_ALERT_NAME", "tests")
        .set("BACKUP_ALERT_WEBHOOK_URL", &sink.url(HOOK))
}

fn rounds(number: usize) -> impl Fn(&str) -> bool {
    move |log: &str| log.matches("=== run completed in ").count() >= number
}

#[test]
fn a_failure_and_its_end_are_each_reported_once() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let (database, admin) = (small(&server), server.existing("postgres"));
    // A backup could be overdue for a moment if rounds took as long as the interval.
    let sidecar = sidecar(&store, &database, &sink, 3)
        .set("BACKUP_ALERT_SLACK_URL", &sink.url("/slack/s3cret"))
        .set("BACKUP_PING_URL", &sink.url("/ping"));
    let (sidecar, port) = listening(sidecar);
    let rename =
        |from: &str, to: &str| admin.execute(&format!("ALTER DATABASE \"{from}\" RENAME TO \"{to}\""));
    let name = database.name().to_owned();
    rename(&name, "elsewhere");
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the third round", rounds(3));
    let failed = sink.event(HOOK, "backup_failed");
    assert_eq!(sink.count(HOOK, "backup_failed"), 1);
    rename("elsewhere", &name);
    let recovered = sink.event(HOOK, "backup_recovered");
    for (event, status) in [(&failed, "firing"), (&recovered, "resolved")] {
        assert_eq!((&event["version"], &event["status"]), (&1.into(), &status.into()), "{event}");
        assert_eq!((&event["database"], &event["key"]), (&"main".into(), &"backup/main".into()), "{event}");
        assert_eq!((&event["source"], &event["reminder"]), (&"tests".into(), &false.into()), "{event}");
        event["moment"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    }
    assert_eq!((&failed["details"]["stage"], &failed["details"]["failures"]), (&"connect".into(), &1.into()));
    let cause = failed["details"]["cause"].as_str().unwrap();
    assert!(cause.contains(&format!("database \"{name}\" does not exist")), "{failed}");
    assert!(failed["text"].as_str().unwrap().contains(cause), "{failed}");
    assert!(recovered["details"]["failures"].as_u64().unwrap() >= 3, "{recovered}");
    assert_eq!(recovered["details"]["since"], failed["details"]["since"]);

    let text = |received: &Received| received.json()["text"].as_str().unwrap().to_owned();
    let recovery = ":large_green_circle: *[pg-backup tests] main: backed up again*\n";
    let slack = sink.wait_for("/slack/s3cret", |received| {
        received.iter().any(|received| text(received).starts_with(recovery))
    });
    let failure = ":red_circle: *[pg-backup tests] main: the backup failed*\n";
    assert!(text(&slack[0]).starts_with(failure), "{slack:?}");
    // Each ping contains only the lines of its own round.
    let ends: Vec<Received> =
        sink.at("/ping").into_iter().filter(|ping| ping.path != "/ping/start").collect();
    assert!(ends.len() >= 3, "{ends:?}");
    for end in &ends {
        assert_eq!(end.body.matches("=== run started").count(), 1, "{}", end.body);
        assert_eq!(end.path == "/ping/fail", end.body.contains("FAILED"), "{}", end.body);
    }
    // A message is counted when its response has arrived, which is after the sink has the message.
    let told = "pg_backup_alerts_total{channel=\"slack\"}";
    serve.wait_for("the count", |_| value(&get(port, "/metrics").1, told) >= 2.0);
    let (_, metrics) = get(port, "/metrics");
    assert_eq!(value(&metrics, "pg_backup_alert_failures_total{channel=\"slack\"}"), 0.0);
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(sink.count(HOOK, "backup_failed"), 1);
    assert_no_secret(&log);
    assert_no_secret(&format!("{failed} {recovered} {}", text(&slack[0])));
}

#[test]
fn an_overdue_backup_is_reported_while_a_round_hangs() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    let mut serve = sidecar(&store, &database, &sink, 6).start(&["serve"]);
    serve.wait_for("a round", rounds(1));
    // From now on each round waits for the lock.
    let lock = database.lock("t");
    let overdue = sink.event(HOOK, "backup_overdue");
    let log = serve.log();
    let ended = log.matches("=== run completed in ").count();
    assert_eq!(log.matches("=== run started").count(), ended + 1, "{log}");
    assert_eq!(overdue["details"]["allowed_seconds"], 9, "{overdue}");
    assert!(overdue["details"]["age_seconds"].as_u64().unwrap() >= 9, "{overdue}");
    assert!(overdue["details"]["newest"].is_string(), "{overdue}");
    assert_eq!((&overdue["status"], &overdue["key"]), (&"firing".into(), &"backup/main".into()));
    drop(lock);
    let recovered = sink.event(HOOK, "backup_recovered");
    assert_eq!(
        (&recovered["details"]["overdue"], &recovered["details"]["failures"]),
        (&true.into(), &0.into())
    );
    let kinds = sink.kinds(HOOK);
    assert_eq!(kinds[..2], ["backup_overdue", "backup_recovered"], "{kinds:?}");
    assert!(serve.log().contains("[alert] main: the newest backup is "), "{}", serve.log());
}

#[test]
fn a_shrunken_backup_is_reported_once() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    let sidecar = sidecar(&store, &database, &sink, 1).set("BACKUP_ALERT_SHRINK", "60%");
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("what the median is of", rounds(3));
    database.execute("DELETE FROM t WHERE a > 399");
    let shrunk = sink.event(HOOK, "backup_shrunk");
    let details =
        serde_json::json!({ "measure": "rows", "now": 399, "median": 1000, "threshold_percent": 60 });
    assert_eq!((&shrunk["details"], &shrunk["key"]), (&details, &"rows/main".into()), "{shrunk}");
    let so_far = serve.log().matches("=== run completed in ").count();
    serve.wait_for("two more rounds", rounds(so_far + 2));
    assert_eq!(sink.count(HOOK, "backup_shrunk"), 1);
    assert!(serve.log().contains("[alert] main: the backup's rows fell by 60%"), "{}", serve.log());
}

#[test]
fn a_failed_drill_and_its_end_are_reported() {
    let (server, sandbox) = (Server::start(), Server::start());
    let (store, sink) = (tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    // The sandbox's database does not exist yet.
    let maintenance = sandbox.existing("maintenance");
    let sidecar = sidecar(&store, &database, &sink, 3)
        .set("BACKUP_DRILL_URL", &maintenance.url_without_password())
        .set("BACKUP_DRILL_PASSWORD", PASSWORD)
        .set("BACKUP_DRILL_SCHEDULE", "@every 1s");
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("two drills", |log| log.matches("[drill] main: FAILED").count() >= 2);
    assert_eq!(sink.count(HOOK, "drill_failed"), 1);
    sandbox.existing("postgres").execute("CREATE DATABASE maintenance");
    let recovered = sink.event(HOOK, "drill_recovered");
    let failed = sink.event(HOOK, "drill_failed");
    assert_eq!((&failed["key"], &recovered["key"]), (&"drill/main".into(), &"drill/main".into()));
    let cause = failed["details"]["cause"].as_str().unwrap();
    assert!(cause.contains("database \"maintenance\" does not exist"), "{failed}");
    assert_eq!((sink.count(HOOK, "drill_failed"), sink.count(HOOK, "drill_recovered")), (1, 1));
    assert_no_secret(&serve.log());
}

#[test]
fn channels_that_are_dead_disturb_no_round_and_no_end() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    // One channel rejects messages, one never responds, one is unreachable.
    sink.answer(HOOK, 404);
    sink.answer("/slack/s3cret", 0);
    let sidecar = sidecar(&store, &database, &sink, 1)
        .database_at("bad", &database.url_without_password(), "not-the-password")
        .set("BACKUP_ALERT_SLACK_URL", &sink.url("/slack/s3cret"))
        .set("BACKUP_ALERT_SMTP_HOST", &format!("127.0.0.1:{}", port::free()))
        .set("BACKUP_ALERT_SMTP_TLS", "off")
        .set("BACKUP_ALERT_MAIL_FROM", "backups@example.com")
        .set("BACKUP_ALERT_MAIL_TO", "ops@example.com");
    let (sidecar, port) = listening(sidecar);
    let mut serve = sidecar.start(&["serve"]);
    let warning = format!("[alert] webhook: not delivered to {}: answered 404 Not Found\n", sink.host());
    serve.wait_for("the warning", |log| log.contains(&warning));
    serve.wait_for("more rounds", |log| log.matches("[backup] main: OK in").count() >= 4);
    let (_, metrics) = get(port, "/metrics");
    let failures = value(&metrics, "pg_backup_alert_failures_total{channel=\"webhook\"}");
    assert!(failures >= 1.0, "{metrics}");
    assert_eq!(value(&metrics, "pg_backup_alerts_total{channel=\"webhook\"}"), 0.0);
    let (code, took, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    // Queued messages are dropped before a container would be killed.
    assert!(took < Duration::from_secs(20), "it took {took:?}\n{log}");
    assert!(log.contains("[alert] exiting before every message was delivered"), "{log}");
    let warnings = log.matches("[alert] webhook: not delivered").count();
    assert_eq!(warnings, sink.at(HOOK).len(), "{log}");
    assert_no_secret(&log);
    assert!(!log.contains("not-the-password"), "{log}");
}

#[test]
fn one_round_reports_its_failure_before_it_ends() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    let sidecar = sidecar(&store, &database, &sink, 21_600);
    sidecar.run(&["run"]).expect_success();
    assert_eq!(sink.kinds(HOOK), [""; 0]);
    let bad = sidecar.database_at("bad", &database.url_without_password(), "not-the-password");
    let output = bad.run(&["run"]).expect_code(7);
    assert_eq!(sink.kinds(HOOK), ["backup_failed"]);
    let failed: Value = sink.event(HOOK, "backup_failed");
    assert_eq!(failed["database"], "bad");
    assert!(failed["details"]["cause"].as_str().unwrap().starts_with("wrong password for user"), "{failed}");
    assert!(!failed.to_string().contains("not-the-password"), "{failed}");
    assert_no_secret(&(output.stdout_text() + &output.stderr));
}
