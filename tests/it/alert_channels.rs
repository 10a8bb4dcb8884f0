//! The channels of a sidecar: signed webhooks, HTTPS, mail, pings, and the webhooks before and after rounds,
//! with a real web server and a real mail server.

use std::process::Command;

use pg_backup::config::{Config, Purpose};
use pg_backup::sidecar::alert::{Tested, send_test};
use serde_json::Value;

use crate::alerts::{HOOK, assert_no_secret, small};
use crate::harness::mail::{MailServer, PASSWORD, USER};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::run;
use crate::harness::sidecar::Sidecar;
use crate::harness::sink::{Received, Sink};
use crate::harness::tls::Certificates;

/// A sidecar with two databases: the backups of `database` succeed, those of the other one fail.
fn failing(store: &tempfile::TempDir, database: &Database<'_>) -> Sidecar {
    good(store, database).database_at("bad", &database.url_without_password(), "not-the-password")
}

fn good(store: &tempfile::TempDir, database: &Database<'_>) -> Sidecar {
    Sidecar::with_directory(store.path()).database("main", database).set("BACKUP_ALERT_NAME", "tests")
}

fn with_mail(sidecar: Sidecar, server: &MailServer, tls: &str) -> Sidecar {
    let sidecar = sidecar
        .set("BACKUP_ALERT_SMTP_HOST", &server.host())
        .set("BACKUP_ALERT_SMTP_TLS", tls)
        .set("BACKUP_ALERT_CA_FILE", &server.authority())
        .set("BACKUP_ALERT_MAIL_FROM", "Backups <backups@example.com>")
        .set("BACKUP_ALERT_MAIL_TO", "ops@example.com, Jörg <joerg@example.com>");
    match tls {
        "off" => sidecar,
        _ => sidecar.set("BACKUP_ALERT_SMTP_USER", USER).set("BACKUP_ALERT_SMTP_PASSWORD", PASSWORD),
    }
}

/// Runs a failing round and returns its output.
#[track_caller]
fn failing_round(sidecar: &Sidecar) -> String {
    let output = sidecar.run(&["run"]).expect_code(7);
    let said = output.stdout_text() + &output.stderr;
    assert_no_secret(&said);
    said
}

#[test]
fn a_webhook_can_authenticate_the_sender() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    let sidecar = failing(&store, &database)
        .set("BACKUP_ALERT_WEBHOOK_URL", &sink.url(&format!("{HOOK}?key=s3cret")))
        .set("BACKUP_ALERT_WEBHOOK_TOKEN", "s3cret-token")
        .set("BACKUP_ALERT_WEBHOOK_SECRET", "s3cret-key");
    failing_round(&sidecar);
    let [received] = &sink.at(HOOK)[..] else { panic!("not one request") };
    assert_eq!((received.method.as_str(), received.query.as_deref()), ("POST", Some("key=s3cret")));
    assert_eq!(received.headers["authorization"], "Bearer s3cret-token");
    assert!(received.headers["user-agent"].starts_with("pg-backup/"), "{received:?}");
    // OpenSSL computes the same signature.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &received.body).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-r", "-hmac", "s3cret-key"]).arg(file.path());
    let signed = run(&mut openssl).expect_success().stdout_text();
    let signature = format!("sha256={}", signed.split(' ').next().unwrap());
    assert_eq!(received.headers["x-pg-backup-signature"], signature);
}

#[test]
fn a_webhook_over_https_has_to_prove_itself() {
    let (server, store, dir) = (Server::start(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let certificates = Certificates::make(dir.path());
    let (database, sink) = (small(&server), Sink::start_tls(&certificates));
    let sidecar = failing(&store, &database).set("BACKUP_ALERT_WEBHOOK_URL", &sink.url(HOOK));
    let authority = certificates.authority.display().to_string();
    failing_round(&sidecar.clone().set("BACKUP_ALERT_CA_FILE", &authority));
    failing_round(&sidecar.clone().set("SSL_CERT_FILE", &authority));
    assert_eq!(sink.kinds(HOOK), ["backup_failed", "backup_failed"]);
    // An authority that did not sign the certificate.
    let other = tempfile::tempdir().unwrap();
    let stranger = Certificates::make(other.path()).authority.display().to_string();
    let tested = test_messages(&sidecar.set("BACKUP_ALERT_CA_FILE", &stranger));
    let error = tested[0].outcome.as_ref().unwrap_err();
    assert!(pg_backup::report::chain(error).line.contains("certificate"), "{error:?}");
    assert_eq!(sink.at(HOOK).len(), 2);
}

#[test]
fn mail_goes_over_starttls_with_a_login() {
    let (server, store, mail) =
        (Server::start(), tempfile::tempdir().unwrap(), MailServer::start("starttls"));
    let database = small(&server);
    failing_round(&with_mail(failing(&store, &database), &mail, "starttls"));
    let [mail] = &mail.mails()[..] else { panic!("not one mail") };
    assert_eq!((mail.tls, mail.login.as_deref()), (true, Some(USER)));
    assert_eq!(mail.sender, "backups@example.com");
    assert_eq!(mail.recipients, ["ops@example.com", "joerg@example.com"]);
    assert_eq!(mail.header("From"), "Backups <backups@example.com>");
    assert!(mail.header("To").starts_with("ops@example.com, =?utf-8?b?"), "{mail:?}");
    assert_eq!(mail.header("Subject"), "[pg-backup tests] bad: the backup failed");
    assert_eq!(mail.header("Auto-Submitted"), "auto-generated");
    assert_eq!(mail.header("X-Pg-Backup-Event"), "backup_failed");
    assert!(mail.header("Message-ID").ends_with("@example.com>"), "{mail:?}");
    assert!(mail.header("Date").ends_with("+0000"), "{mail:?}");
    assert!(mail.header("Content-Type").starts_with("text/plain; charset=utf-8"), "{mail:?}");
    assert!(mail.body.starts_with("bad: the backup failed\n\nwrong password for user "), "{mail:?}");
    assert!(!mail.body.contains("not-the-password"), "{mail:?}");
}

#[test]
fn mail_goes_over_implicit_tls_and_plainly() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = small(&server);
    for (mode, tls) in [("implicit", "implicit"), ("plain", "off")] {
        let mail = MailServer::start(mode);
        failing_round(&with_mail(failing(&store, &database), &mail, tls));
        let [mail] = &mail.mails()[..] else { panic!("not one mail over {mode}") };
        assert_eq!((mail.tls, mail.login.is_some()), (mode == "implicit", mode == "implicit"));
        assert_eq!(mail.header("Subject"), "[pg-backup tests] bad: the backup failed");
    }
}

#[test]
fn a_login_that_a_mail_server_refuses_is_said_without_it() {
    let (server, store, mail) =
        (Server::start(), tempfile::tempdir().unwrap(), MailServer::start("starttls"));
    let database = small(&server);
    let sidecar = with_mail(failing(&store, &database), &mail, "starttls")
        .set("BACKUP_ALERT_SMTP_PASSWORD", "s3cret guess");
    let said = failing_round(&sidecar);
    let warning =
        format!("[alert] smtp: not delivered to {}: the mail server rejected the message: ", mail.host());
    assert!(said.contains(&warning) && said.contains("535"), "{said}");
    assert!(mail.mails().is_empty());
}

#[test]
fn pings_carry_the_round_and_the_end_of_its_log() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    let ping = |sidecar: Sidecar| sidecar.set("BACKUP_PING_URL", &sink.url("/ping/s3cret"));
    ping(good(&store, &database)).run(&["run"]).expect_success();
    let json = ping(failing(&store, &database)).set("BACKUP_LOG_FORMAT", "json");
    failing_round(&json);
    let pings = sink.at("/ping");
    let paths: Vec<&str> = pings.iter().map(|ping| ping.path.as_str()).collect();
    assert_eq!(paths, ["/ping/s3cret/start", "/ping/s3cret", "/ping/s3cret/start", "/ping/s3cret/fail"]);
    let rounds: Vec<&str> = pings.iter().map(|ping| ping.query.as_deref().unwrap()).collect();
    assert!(rounds[0] == rounds[1] && rounds[2] == rounds[3] && rounds[0] != rounds[2], "{rounds:?}");
    let id = rounds[0].strip_prefix("rid=").unwrap();
    assert_eq!(id.parse::<uuid::Uuid>().unwrap().get_version_num(), 4, "{id}");
    let [start, success, _, fail] = &pings[..] else { panic!("four pings") };
    assert_eq!(start.body, "");
    assert!(success.body.starts_with("[backup] === run started at "), "{}", success.body);
    assert!(success.body.contains("\n[backup] main: OK in "), "{}", success.body);
    // The body is text, whatever the log's format is.
    assert!(fail.body.starts_with("[backup] === run started at "), "{}", fail.body);
    assert!(fail.body.contains("\n[backup] bad: FAILED in "), "{}", fail.body);
    assert!(fail.body.trim_end().ends_with("1 of 2 failed: bad ==="), "{}", fail.body);
    for ping in &pings {
        assert!(!ping.body.contains("not-the-password"), "{}", ping.body);
        assert_no_secret(&ping.body);
    }
}

/// A sidecar that calls webhooks before and after its rounds.
fn with_hooks(sidecar: Sidecar, sink: &Sink) -> Sidecar {
    sidecar
        .set("BACKUP_PRE_ROUND_WEBHOOK", &sink.url("/round/before"))
        .set("BACKUP_POST_ROUND_WEBHOOK", &sink.url("/round/after"))
        .set("BACKUP_ROUND_WEBHOOK_TOKEN", "s3cret-token")
        .set("BACKUP_ROUND_WEBHOOK_SECRET", "s3cret-key")
}

#[track_caller]
fn around(sink: &Sink) -> (Value, Value) {
    let received = sink.at("/round");
    let last_two = received.len().checked_sub(2).map(|from| &received[from..]);
    let Some([before, after]) = last_two else { panic!("not two requests: {received:?}") };
    assert_eq!((before.path.as_str(), after.path.as_str()), ("/round/before", "/round/after"));
    for request in [before, after] {
        assert_eq!(request.headers["authorization"], "Bearer s3cret-token");
        assert!(request.headers["x-pg-backup-signature"].starts_with("sha256="), "{request:?}");
    }
    let (before, after) = (before.json(), after.json());
    assert_eq!((&before["kind"], &after["kind"]), (&"round_starting".into(), &"round_ended".into()));
    assert_eq!((&before["round"], &before["version"]), (&after["round"], &after["version"]));
    (before, after)
}

#[test]
fn webhooks_are_called_around_a_round() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    let ping = sink.url("/ping");
    failing_round(&with_hooks(failing(&store, &database), &sink).set("BACKUP_PING_URL", &ping));
    let (before, after) = around(&sink);
    assert_eq!(before["databases"], serde_json::json!(["main", "bad"]));
    assert_eq!((&after["ok"], &after["stopped"]), (&false.into(), &false.into()), "{after}");
    let [main, bad] = &after["databases"].as_array().unwrap()[..] else { panic!("not two: {after}") };
    assert_eq!(
        (&main["database"], &main["outcome"], &main["rows"]),
        (&"main".into(), &"ok".into(), &1000.into())
    );
    assert_eq!((&bad["outcome"], &bad["stage"]), (&"failed".into(), &"connect".into()), "{bad}");
    assert!(bad["cause"].as_str().unwrap().starts_with("wrong password for user"), "{bad}");
    let rid = format!("rid={}", before["round"].as_str().unwrap());
    assert!(sink.at("/ping").iter().all(|ping| ping.query.as_deref() == Some(&rid)));
}

#[test]
fn the_webhook_before_a_round_forbids_it_only_where_it_may() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    sink.answer("/round/before", 403);
    let sidecar = with_hooks(good(&store, &database), &sink).set("BACKUP_ALERT_WEBHOOK_URL", &sink.url(HOOK));
    let said = sidecar.run(&["run"]).expect_success().stdout_text();
    let place = sink.host();
    assert!(
        said.contains(&format!("[alert] pre_round: not delivered to {place}: answered 403 Forbidden\n")),
        "{said}"
    );
    assert_eq!(around(&sink).1["ok"], true);
    assert!(sink.at(HOOK).is_empty());
    let kept = crate::harness::sidecar::files(store.path());

    let strict = sidecar.set("BACKUP_PRE_ROUND_REQUIRED", "true").set("BACKUP_PING_URL", &sink.url("/ping"));
    let refused = strict.run(&["run"]).expect_code(1);
    let said = refused.stdout_text();
    let cause = "the webhook before the round (BACKUP_PRE_ROUND_WEBHOOK): answered 403 Forbidden";
    assert!(said.contains(&format!("[backup] main: FAILED in 0s: {cause}\n")), "{said}");
    assert_eq!(crate::harness::sidecar::files(store.path()), kept);
    let (_, after) = around(&sink);
    let main = &after["databases"][0];
    assert_eq!(
        (&main["outcome"], &main["stage"], &main["cause"]),
        (&"failed".into(), &"other".into(), &cause.into())
    );
    let failed = sink.event(HOOK, "backup_failed");
    assert_eq!((&failed["database"], &failed["details"]["cause"]), (&"main".into(), &cause.into()));
    assert_eq!(sink.at("/ping").last().unwrap().path, "/ping/fail");
    assert_no_secret(&said);
}

#[test]
fn the_webhook_after_a_round_reports_a_signal() {
    let (server, store, sink) = (Server::start(), tempfile::tempdir().unwrap(), Sink::start());
    let database = small(&server);
    let sidecar = with_hooks(good(&store, &database), &sink).set("BACKUP_PING_URL", &sink.url("/ping"));
    let _lock = database.lock("t");
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the dump", |log| log.contains("[backup] main: dumping "));
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    let (_, after) = around(&sink);
    assert_eq!((&after["ok"], &after["stopped"]), (&false.into(), &true.into()), "{after}");
    assert_eq!(after["databases"], serde_json::json!([{ "database": "main", "outcome": "not_saved" }]));
    let pings: Vec<String> = sink.at("/ping").into_iter().map(|ping| ping.path).collect();
    assert_eq!(pings, ["/ping/start"], "{log}");
}

fn test_messages(sidecar: &Sidecar) -> Vec<Tested> {
    let environment = sidecar.environment().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let config = Config::from_environment(Purpose::Backup, environment, None).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(send_test(&config.alerts)).unwrap()
}

#[test]
fn a_test_message_goes_over_every_channel() {
    let (server, sink, mail) = (Server::start(), Sink::start(), MailServer::start("starttls"));
    let (store, database) = (tempfile::tempdir().unwrap(), small(&server));
    let none = good(&store, &database);
    assert!(test_messages(&none).is_empty());
    sink.answer("/slack/s3cret", 410);
    let sidecar = with_hooks(with_mail(none, &mail, "starttls"), &sink)
        .set("BACKUP_ALERT_WEBHOOK_URL", &sink.url(HOOK))
        .set("BACKUP_ALERT_SLACK_URL", &sink.url("/slack/s3cret"))
        .set("BACKUP_PING_URL", &sink.url("/ping"));
    let tested = test_messages(&sidecar);
    let shown: Vec<String> = tested
        .iter()
        .map(|tested| {
            let outcome = tested.outcome.as_ref().map_or_else(ToString::to_string, |()| "ok".to_owned());
            format!("{} {}: {outcome}", tested.channel, tested.place)
        })
        .collect();
    let place = sink.host();
    assert_eq!(
        shown,
        [
            format!("webhook {place}: ok"),
            format!("slack {place}: answered 410 Gone"),
            format!("smtp {}: ok", mail.host()),
            format!("ping {place}: ok"),
        ]
    );
    assert_eq!(sink.kinds(HOOK), ["test"]);
    assert_eq!(mail.mails()[0].header("Subject"), "[pg-backup tests] a test message");
    let pings: Vec<Received> = sink.at("/ping");
    assert_eq!((pings.len(), pings[0].path.as_str()), (1, "/ping/log"));
    assert!(sink.at("/round").is_empty());
    // A mail server with an unexpected certificate gets no mail.
    let dir = tempfile::tempdir().unwrap();
    let stranger = Certificates::make(dir.path()).authority.display().to_string();
    let tested = test_messages(&sidecar.set("BACKUP_ALERT_CA_FILE", &stranger));
    let failed = tested.iter().find(|tested| tested.channel == "smtp").unwrap();
    let error = failed.outcome.as_ref().unwrap_err();
    assert!(pg_backup::report::chain(error).line.contains("certificate"), "{error:?}");
    assert_eq!(mail.mails().len(), 1);
}
