//! No output contains a secret: after any failure, at every log level, in both log formats, on every page.
//!
//! Every secret that is configured here contains a unique word, and the tests search the output for these
//! words.

use crate::harness::http::get;
use crate::harness::mail::MailServer;
use crate::harness::postgres::{PASSWORD, Server};
use crate::harness::program::Output;
use crate::harness::seaweed::{Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, listening};
use crate::harness::sink::Sink;

/// The words. `correct horse` is the correct password.
const SECRETS: [&str; 15] = [
    PASSWORD,
    "Guessed",
    "WrittenIntoUrl",
    "StoreSecret",
    "ReplicaSecret",
    "LifecycleSecret",
    "HookPath",
    "HookToken",
    "HookSignature",
    "SlackPath",
    "MailSecret",
    "PingPath",
    "RoundToken",
    "DrillSecret",
    "QQQQ",
];

#[track_caller]
fn assert_none(text: &str, what: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} shows {secret}:\n{text}");
    }
}

#[track_caller]
fn assert_nothing_told(output: &Output, what: &str) {
    let text = output.stdout_text() + &output.stderr;
    assert!(!text.is_empty(), "{what} says nothing");
    assert_none(&text, what);
}

/// A sidecar with every setting configured, most of them wrong.
fn failing(server: &Server, seaweed: &Seaweed, sink: &Sink, mail: &MailServer) -> Sidecar {
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT 1 AS a");
    for path in ["/HookPath", "/SlackPath", "/PingPath", "/PingPath/start", "/PingPath/fail"] {
        sink.answer(path, 403);
    }
    let in_url = database.url_without_password().replacen("postgres@", "postgres:WrittenIntoUrl@", 1);
    Sidecar::with_store(seaweed.environment(WRITER))
        .database("good", &database)
        .database_at("guessed", &database.url_without_password(), "Guessed")
        .database_at("written", &in_url, "")
        .set("BACKUP_RETRIES", "0")
        .set("BACKUP_REPLICA_S3_BUCKET", "backups")
        .set("BACKUP_REPLICA_S3_PREFIX", "elsewhere")
        .set("BACKUP_REPLICA_S3_ENDPOINT", &seaweed.http())
        .set("BACKUP_REPLICA_AWS_ACCESS_KEY_ID", "stranger")
        .set("BACKUP_REPLICA_AWS_SECRET_ACCESS_KEY", "ReplicaSecret")
        .set("BACKUP_LIFECYCLE_AWS_ACCESS_KEY_ID", "stranger")
        .set("BACKUP_LIFECYCLE_AWS_SECRET_ACCESS_KEY", "LifecycleSecret")
        .set("BACKUP_ALERT_WEBHOOK_URL", &sink.url("/HookPath"))
        .set("BACKUP_ALERT_WEBHOOK_TOKEN", "HookToken")
        .set("BACKUP_ALERT_WEBHOOK_SECRET", "HookSignature")
        .set("BACKUP_ALERT_SLACK_URL", &sink.url("/SlackPath"))
        .set("BACKUP_ALERT_CA_FILE", &mail.authority())
        .set("BACKUP_ALERT_SMTP_HOST", &mail.host())
        .set("BACKUP_ALERT_SMTP_USER", "backups")
        .set("BACKUP_ALERT_SMTP_PASSWORD", "MailSecret")
        .set("BACKUP_ALERT_MAIL_FROM", "backups@example.com")
        .set("BACKUP_ALERT_MAIL_TO", "ops@example.com")
        .set("BACKUP_PING_URL", &sink.url("/PingPath"))
        .set("BACKUP_POST_ROUND_WEBHOOK", &sink.url("/HookPath"))
        .set("BACKUP_ROUND_WEBHOOK_TOKEN", "RoundToken")
        .set("BACKUP_DRILL_URL", &database.url_without_password())
        .set("BACKUP_DRILL_PASSWORD", "DrillSecret")
        .set("BACKUP_LOG", "trace")
}

#[test]
fn failing_rounds_and_verbs_show_no_secret() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let (sink, mail) = (Sink::start(), MailServer::start("starttls"));
    let sidecar = failing(&server, &seaweed, &sink, &mail);
    for format in ["text", "json"] {
        let sidecar = sidecar.clone().set("BACKUP_LOG_FORMAT", format);
        let output = sidecar.run(&["run"]).expect_code(7);
        let log = output.stdout_text();
        assert!(log.contains("guessed: FAILED in ") && log.contains("written: FAILED in "), "{output}");
        assert!(log.contains("good: not replicated → "), "{output}");
        assert_nothing_told(&output, "run");
    }
    let key = sidecar.clone().set("BACKUP_AWS_SECRET_ACCESS_KEY", "StoreSecret");
    for (verb, code) in [
        (&["check", "--send-test"][..], 2),
        (&["list"], 5),
        (&["status"], 5),
        (&["verify"], 5),
        (&["drill"], 5),
        (&["lifecycle", "check"], 5),
        (&["restore", "latest", "-d", "good", "--to", "postgres://u:WrittenIntoUrl@127.0.0.1:1/x"], 5),
    ] {
        let output = key.run(verb);
        assert_ne!(output.status.code(), Some(0), "{verb:?}\n{output}");
        assert_nothing_told(&output.expect_code(code), &verb.join(" "));
    }
    for arguments in [&["config"][..], &["config", "--json"], &["config", "--list"]] {
        let sidecar = sidecar.clone().set("HTTPS_PROXY", "http://u:WrittenIntoUrl@127.0.0.1:1");
        assert_nothing_told(&sidecar.run(arguments).expect_success(), &arguments.join(" "));
    }
    // The local dump is valid, so the restore fails at the target, whose login is wrong.
    let dump = tempfile::Builder::new().suffix(".sql").tempfile().unwrap();
    let target =
        server.database().url_without_password().replacen("postgres@", "postgres:WrittenIntoUrl@", 1);
    let path = dump.path().to_str().unwrap();
    assert_nothing_told(&sidecar.run(&["restore", path, "--to", &target]).expect_code(3), "restore");
    assert_nothing_told(&sidecar.run(&["dump", "-d", &target]).expect_code(1), "dump");
}

#[test]
fn a_failing_sidecar_shows_no_secret_on_its_pages() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let (sink, mail) = (Sink::start(), MailServer::start("starttls"));
    let (sidecar, port) = listening(failing(&server, &seaweed, &sink, &mail));
    let mut serve = sidecar.set("BACKUP_DRILL_SCHEDULE", "@every 1s").start(&["serve"]);
    serve.wait_for("a drill that fails", |log| log.contains("[drill] good: FAILED"));
    for path in ["/", "/?attempts=guessed", "/readyz", "/healthz", "/metrics"] {
        let (_, page) = get(port, path);
        assert!(!page.is_empty());
        assert_none(&page, path);
    }
    let (_, _, log) = serve.terminate();
    assert_none(&log, "serve");
}

/// The error names the rejected setting and does not show its value.
#[test]
fn refused_settings_show_no_secret() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let (sink, mail) = (Sink::start(), MailServer::start("starttls"));
    let sidecar = failing(&server, &seaweed, &sink, &mail);
    for (name, value) in [
        ("BACKUP_GOOD_URL", "postgres://u:WrittenIntoUrl@host:notaport/d"),
        ("BACKUP_GOOD_URL", "mysql://u:WrittenIntoUrl@host/d"),
        ("BACKUP_DRILL_URL", "postgres://u:WrittenIntoUrl@"),
        ("BACKUP_ALERT_WEBHOOK_URL", "https://u:HookPath@hooks.example.com/HookPath"),
        ("BACKUP_ALERT_SLACK_URL", "ftp://hooks.example.com/SlackPath"),
        ("BACKUP_PING_URL", "hc-ping.com/PingPath"),
        ("BACKUP_POST_ROUND_WEBHOOK", "http://[/HookPath"),
        ("BACKUP_ALERT_WEBHOOK_TOKEN", "HookToken\nX: y"),
        ("BACKUP_S3_ENDPOINT", "https://u:StoreSecret@s3.example.com"),
        ("BACKUP_AGE_RECIPIENTS", "AGE-SECRET-KEY-1QQQQ"),
        ("BACKUP_AGE_IDENTITY", "AGE-SECRET-KEY-1QQQQ"),
    ] {
        let output = sidecar.clone().set(name, value).run(&["check"]).expect_code(2);
        assert!(output.stderr.contains(name), "{name}\n{output}");
        assert_nothing_told(&output, name);
    }
}
