//! A sidecar in production: one `serve` of three databases during the failures of production. After each
//! failure no partial backup is visible, alerts and metrics report the failure, and the next round succeeds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::alerts::{HOOK, assert_no_secret};
use crate::harness::bulk;
use crate::harness::http::get;
use crate::harness::mail::MailServer;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::proxy::BreakableProxy;
use crate::harness::seaweed::{ADMIN, Seaweed, WRITER};
use crate::harness::sidecar::{Running, Sidecar, files, listening};
use crate::harness::sink::Sink;
use crate::health::{assert_clean, value};

const NAMES: [&str; 3] = ["metadata", "website", "demo"];

/// The environment of the sidecar.
struct Fixture<'a> {
    server: &'a Server,
    seaweed: &'a Seaweed,
    /// The proxy to the store.
    proxy: BreakableProxy,
    sink: &'a Sink,
    mail: &'a MailServer,
    sidecar: Sidecar,
    port: u16,
}

impl<'a> Fixture<'a> {
    fn new(server: &'a Server, seaweed: &'a Seaweed, sink: &'a Sink, mail: &'a MailServer) -> Fixture<'a> {
        let (proxy, environment) = seaweed.behind_proxy(WRITER);
        // The website has a separate role, whose password changes.
        server
            .existing("postgres")
            .execute(&format!("CREATE ROLE web SUPERUSER LOGIN PASSWORD '{PASSWORD}'"));
        let mut sidecar = Sidecar::with_store(environment)
            .set("BACKUP_INTERVAL_SECONDS", "5")
            .set("BACKUP_RETRIES", "0")
            .set("BACKUP_ALERT_NAME", "tests")
            .set("BACKUP_ALERT_WEBHOOK_URL", &sink.url(HOOK))
            .set("BACKUP_ALERT_SMTP_HOST", &mail.host())
            .set("BACKUP_ALERT_SMTP_TLS", "off")
            .set("BACKUP_ALERT_MAIL_FROM", "backups@example.com")
            .set("BACKUP_ALERT_MAIL_TO", "ops@example.com");
        for name in NAMES {
            let database = server.database_named(name);
            database.execute("CREATE TABLE t AS SELECT generate_series(1, 1000) AS a");
            let url = database.url_without_password();
            let url = if name == "website" { url.replacen("postgres@", "web@", 1) } else { url };
            sidecar = sidecar.database_at(name, &url, PASSWORD);
        }
        let (sidecar, port) = listening(sidecar);
        Fixture { server, seaweed, proxy, sink, mail, sidecar, port }
    }

    fn database(&self, name: &str) -> Database<'_> {
        self.server.existing(name)
    }

    fn metrics(&self) -> String {
        get(self.port, "/metrics").1
    }

    fn failures(&self, database: &str, stage: &str) -> f64 {
        let name = format!("pg_backup_failures_total{{database=\"{database}\",stage=\"{stage}\"}}");
        value(&self.metrics(), &name)
    }

    /// Returns how often each database had an event of this kind.
    fn counts(&self, kind: &str) -> BTreeMap<String, usize> {
        let mut told = BTreeMap::new();
        for event in self.sink.at(HOOK).iter().map(|received| received.json()) {
            if event["kind"] == kind {
                *told.entry(event["database"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
        }
        told
    }

    /// Waits until a database has had this many events of a kind.
    fn wait_for(&self, kind: &str, database: &str, times: usize) {
        self.sink.wait_for(HOOK, |_| self.counts(kind).get(database).copied().unwrap_or_default() >= times);
    }

    /// Waits for a successful round, then checks that the sidecar is ready and all visible backups are
    /// complete.
    fn is_in_order(&self, serve: &mut Running, what: &str) {
        let rounds = |log: &str| log.matches("[entrypoint] backup ok; ").count();
        let before = rounds(&serve.log());
        serve.wait_for(&format!("a good round after {what}"), |log| rounds(log) > before);
        // A backup can be overdue for a moment when rounds take as long as the interval.
        let deadline = Instant::now() + Duration::from_secs(60);
        while get(self.port, "/readyz").0 != 200 {
            assert!(
                Instant::now() < deadline,
                "after {what}: {:?}\n{}",
                get(self.port, "/readyz"),
                serve.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        self.assert_whole(what);
        assert_clean(&self.metrics());
    }

    /// Checks that every backup in the store has its three objects, except one that is being written.
    fn assert_whole(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let keys: BTreeSet<String> =
                self.seaweed.objects().into_iter().map(|object| object.key).collect();
            let stems = keys.iter().filter_map(|key| key.strip_suffix(".sql.gz"));
            let partial: Vec<&str> = stems
                .filter(|stem| {
                    [".toc.json.gz", ".manifest.json"]
                        .iter()
                        .any(|end| !keys.contains(&format!("{stem}{end}")))
                })
                .collect();
            if partial.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "after {what}, of these something is missing: {partial:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Verifies the latest backup of each database completely.
    fn verify(&self) {
        let reader = Sidecar::with_store(self.seaweed.environment(ADMIN));
        reader.run(&["verify"]).expect_success();
    }
}

/// The store is unreachable for a round: all databases fail, and none of their objects is visible.
fn store_away(fixture: &Fixture<'_>, serve: &mut Running) {
    fixture.proxy.close();
    for name in NAMES {
        fixture.wait_for("backup_failed", name, 1);
        assert!(fixture.failures(name, "store") >= 1.0);
    }
    assert_eq!(get(fixture.port, "/readyz").0, 503);
    fixture.assert_whole("the store was away");
    fixture.proxy.open();
    for name in NAMES {
        fixture.wait_for("backup_recovered", name, 1);
    }
    fixture.is_in_order(serve, "the store was away");
}

/// One database's password is wrong: only that database fails.
fn wrong_password(fixture: &Fixture<'_>, serve: &mut Running) {
    let postgres = fixture.database("postgres");
    postgres.execute("ALTER ROLE web PASSWORD 'another'");
    fixture.wait_for("backup_failed", "website", 2);
    assert!(fixture.failures("website", "connect") >= 1.0);
    // The page reports only the first problem, and the backup of another database may be overdue for a
    // moment.
    serve.wait_for("the reason", |_| {
        let (code, reason) = get(fixture.port, "/readyz");
        code == 503 && reason.contains("website") && reason.contains("password")
    });
    let counts = fixture.counts("backup_failed");
    assert_eq!((counts["metadata"], counts["demo"]), (1, 1));
    postgres.execute(&format!("ALTER ROLE web PASSWORD '{PASSWORD}'"));
    fixture.wait_for("backup_recovered", "website", 2);
    fixture.is_in_order(serve, "a wrong password");
}

/// Stalls the proxy to the store between two rounds, and waits until the first database's dump is blocked.
fn stand_still(fixture: &Fixture<'_>, serve: &mut Running) {
    let ended = |log: &str| log.matches("[entrypoint] backup ").count();
    let before = ended(&serve.log());
    serve.wait_for("the end of a round", |log| ended(log) > before);
    // The claim of the key is forwarded, the dump is not.
    fixture.proxy.stall_at("?uploads");
    let reads = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'noise'::regclass AND granted";
    fixture.database("metadata").wait_for("the dump", reads);
}

/// PostgreSQL is restarted during a dump.
fn server_restarted(fixture: &Fixture<'_>, serve: &mut Running) {
    stand_still(fixture, serve);
    fixture.server.stop();
    fixture.server.start_again();
    fixture.proxy.open();
    fixture.wait_for("backup_failed", "metadata", 2);
    let failed = fixture.failures("metadata", "dump") + fixture.failures("metadata", "connect");
    assert!(failed >= 1.0, "{}", fixture.metrics());
    fixture.wait_for("backup_recovered", "metadata", 2);
    fixture.is_in_order(serve, "a restart of PostgreSQL");
}

/// A store that accepts no data for longer than an interval makes a round long, and no other round starts in
/// parallel.
fn slow_store(fixture: &Fixture<'_>, serve: &mut Running) {
    let failed = fixture.counts("backup_failed");
    stand_still(fixture, serve);
    std::thread::sleep(Duration::from_secs(7));
    let log = serve.log();
    let begun = log.matches("=== run started at ").count();
    assert_eq!(begun, log.matches("=== run completed in ").count() + 1, "{log}");
    fixture.proxy.open();
    fixture.is_in_order(serve, "a slow store");
    assert_eq!(fixture.counts("backup_failed"), failed, "slow is not failed");
}

#[test]
fn three_databases_through_all_that_goes_wrong() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let (sink, mail) = (Sink::start(), MailServer::start("plain"));
    let fixture = Fixture::new(&server, &seaweed, &sink, &mail);
    let mut serve = fixture.sidecar.start(&["serve"]);
    fixture.is_in_order(&mut serve, "the start");
    store_away(&fixture, &mut serve);
    wrong_password(&fixture, &mut serve);
    fixture.database("metadata").load_bytes(bulk::noise(60).as_bytes()).expect_success();
    fixture.is_in_order(&mut serve, "metadata has grown");
    server_restarted(&fixture, &mut serve);
    slow_store(&fixture, &mut serve);
    fixture.verify();
    // The mails report the same events.
    let subjects: Vec<String> =
        fixture.mail.mails().iter().map(|mail| mail.header("Subject").to_owned()).collect();
    for subject in
        ["[pg-backup tests] website: the backup failed", "[pg-backup tests] website: backed up again"]
    {
        assert!(subjects.iter().any(|told| told == subject), "{subject} in {subjects:?}");
    }
    // SIGTERM during an upload.
    let visible = seaweed.objects().len();
    stand_still(&fixture, &mut serve);
    let (code, took, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(15), "it took {took:?}\n{log}");
    fixture.proxy.open();
    assert!(seaweed.objects().len() >= visible);
    fixture.assert_whole("SIGTERM");
    assert_no_secret(&log);
    // The next container starts a round immediately.
    let mut serve = fixture.sidecar.start(&["serve"]);
    fixture.is_in_order(&mut serve, "SIGTERM");
    fixture.verify();
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert_no_secret(&log);
}

/// A round before midnight UTC, and one after it: each has the key of its own day.
#[test]
fn a_schedule_passes_midnight() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let mut sidecar = Sidecar::with_directory(store.path()).set("BACKUP_SCHEDULE", "@daily");
    for name in NAMES {
        let database = server.database_named(name);
        database.execute("CREATE TABLE t (id integer)");
        sidecar = sidecar.database(name, &database);
    }
    let (sidecar, port) = listening(sidecar);
    // Only the wall clock changes. The monotonic clock of the timers does not.
    let mut serve = sidecar
        .set("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1")
        .set("FAKETIME", "@2026-04-26 23:59:30")
        .set("TZ", "UTC")
        .set("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .start(&["serve"]);
    serve.wait_for("the first round", |log| log.contains("[entrypoint] backup ok; "));
    let next = value(&get(port, "/metrics").1, "pg_backup_next_run_timestamp_seconds");
    assert_eq!(next, 1_777_248_000.0, "2026-04-27T00:00:00Z");
    serve.wait_for("the second round", |log| log.matches("demo: OK in ").count() >= 2);
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    let files = files(store.path());
    for (day, name) in NAMES.iter().flat_map(|name| [("2026-04-26", name), ("2026-04-27", name)]) {
        let of_day = |file: &&String| file.contains(&format!("/{name}/{day}/{name}-{day}T"));
        assert_eq!(files.iter().filter(of_day).count(), 3, "{name} on {day}\n{log}");
    }
    // Ten seconds of tolerance, for a busy machine.
    assert!(log.contains("=== run started at 2026-04-27T00-00-0"), "{log}");
}
