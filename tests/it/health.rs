//! A sidecar's HTTP endpoints: `/healthz`, `/readyz`, `/metrics`, and `status --probe`.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::http::{ask, get};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{run, target_dir};
use crate::harness::sidecar::{Running, Sidecar, listening};

pub fn rounds(running: &mut Running, number: usize) {
    running.wait_for("the round's end", |log| log.matches("[entrypoint] backup").count() >= number);
}

/// Returns the value of a metric.
#[track_caller]
pub fn value(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in\n{metrics}"))
}

pub fn with_rows(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t (a int); INSERT INTO t SELECT generate_series(1, 1234);");
    database
}

#[test]
fn a_good_round_makes_the_sidecar_ready_and_shows_in_its_metrics() {
    let server = Server::start();
    let (database, store) = (with_rows(&server), tempfile::tempdir().unwrap());
    let (sidecar, port) = listening(Sidecar::with_directory(store.path()).database("main", &database));
    let mut serve = sidecar.start(&["serve"]);
    rounds(&mut serve, 1);
    assert_eq!(get(port, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(get(port, "/readyz"), (200, "ok\n".to_owned()));
    let head = ask(port, "HEAD /readyz");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(get(port, "/nowhere").0, 404);
    assert_eq!(ask(port, "DELETE /metrics").status, 405);
    let probe = sidecar.run(&["status", "--probe"]).expect_success();
    assert_eq!(probe.stdout_text(), "ok\n");

    let (status, metrics) = get(port, "/metrics");
    assert_eq!(status, 200);
    assert_eq!(value(&metrics, "pg_backup_rows{database=\"main\"}"), 1234.0);
    let size = value(&metrics, "pg_backup_last_size_bytes{database=\"main\"}");
    assert!(size > 0.0 && size < value(&metrics, "pg_backup_last_raw_bytes{database=\"main\"}"));
    assert_eq!(value(&metrics, "pg_backup_bytes_total{database=\"main\"}"), size);
    assert_eq!(value(&metrics, "pg_backup_in_progress{database=\"main\"}"), 0.0);
    assert_eq!(value(&metrics, "pg_backup_failing{database=\"main\"}"), 0.0);
    assert_eq!(value(&metrics, "pg_backup_overdue_after_seconds"), 32_400.0);
    assert_eq!(value(&metrics, "pg_backup_failures_total{database=\"main\",stage=\"connect\"}"), 0.0);
    let saved = value(&metrics, "pg_backup_last_success_timestamp_seconds{database=\"main\"}");
    let next = value(&metrics, "pg_backup_next_run_timestamp_seconds");
    assert!((21_590.0..21_610.0).contains(&(next - saved)), "{saved} {next}");
    assert_clean(&metrics);
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains(&format!("health and metrics on http://127.0.0.1:{port}")), "{log}");
}

#[test]
fn idle_connections_do_not_delay_answers() {
    let server = Server::start();
    let (database, store) = (with_rows(&server), tempfile::tempdir().unwrap());
    let (sidecar, port) = listening(Sidecar::with_directory(store.path()).database("main", &database));
    let mut serve = sidecar.start(&["serve"]);
    rounds(&mut serve, 1);
    let connect = move || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let answers = |what: &str| {
        let begun = Instant::now();
        assert_eq!(get(port, "/healthz"), (200, "ok\n".to_owned()), "{what}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{what}: {:?}", begun.elapsed());
    };
    // Connections that never finish their request.
    let mut half_open: Vec<TcpStream> = (0..128).map(|_| connect()).collect();
    for stream in &mut half_open {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").unwrap();
    }
    answers("beside 128 half-open connections");
    drop(half_open);
    // Connections that reopen as soon as they are closed.
    let stop = Arc::new(AtomicBool::new(false));
    let idle: Vec<_> = (0..96)
        .map(|_| {
            let stop = Arc::clone(&stop);
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return };
                    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    let _ = stream.read(&mut [0]);
                }
            })
        })
        .collect();
    (0..4).for_each(|_| answers("beside 96 connections that come back"));
    stop.store(true, Ordering::Relaxed);
    // Their connections end with the sidecar.
    let (code, _, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    drop(idle);
}

/// Fails the test if Prometheus's own tool finds a fault in the text.
#[track_caller]
pub fn assert_clean(metrics: &str) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), metrics).unwrap();
    let promtool = target_dir().join("promtool/usr/bin/promtool");
    let input = Stdio::from(std::fs::File::open(file.path()).unwrap());
    let checked = run(Command::new(promtool).args(["check", "metrics"]).stdin(input)).expect_success();
    assert_eq!(checked.stderr, "", "{metrics}");
}

#[test]
fn a_failed_round_makes_it_unready_with_the_reason_and_counts() {
    let server = Server::start();
    let (database, store) = (with_rows(&server), tempfile::tempdir().unwrap());
    let (sidecar, port) =
        listening(Sidecar::with_directory(store.path()).database("good", &database).database_at(
            "bad",
            &database.url_without_password(),
            "not-the-password",
        ));
    let mut serve = sidecar.start(&["serve"]);
    rounds(&mut serve, 1);
    let (status, reason) = get(port, "/readyz");
    assert_eq!(status, 503);
    assert!(reason.starts_with("bad: the last backup failed: wrong password for user"), "{reason}");
    assert!(!reason.contains("not-the-password"), "{reason}");
    assert_eq!(get(port, "/healthz").0, 200);
    let probe = sidecar.run(&["status", "--probe"]).expect_code(6);
    assert!(probe.stderr.contains("bad: the last backup failed"), "{}", probe.stderr);

    let (_, metrics) = get(port, "/metrics");
    assert_eq!(value(&metrics, "pg_backup_failures_total{database=\"bad\",stage=\"connect\"}"), 1.0);
    assert_eq!(value(&metrics, "pg_backup_failures_total{database=\"good\",stage=\"connect\"}"), 0.0);
    assert_eq!(value(&metrics, "pg_backup_failing{database=\"bad\"}"), 1.0);
    assert_eq!(value(&metrics, "pg_backup_failing{database=\"good\"}"), 0.0);
    assert!(!metrics.contains("last_success_timestamp_seconds{database=\"bad\"}"), "{metrics}");
    assert_clean(&metrics);
}

#[test]
fn a_backup_that_is_overdue_makes_it_unready() {
    let server = Server::start();
    let (database, store) = (with_rows(&server), tempfile::tempdir().unwrap());
    let (sidecar, port) = listening(
        Sidecar::with_directory(store.path()).database("main", &database).set("BACKUP_INTERVAL_SECONDS", "2"),
    );
    let mut serve = sidecar.start(&["serve"]);
    rounds(&mut serve, 1);
    // From now on each round waits for the lock, so no new backup is made.
    let _lock = database.lock("t");
    let reason = RefCell::new(String::new());
    serve.wait_for("being unready", |_| {
        let (status, said) = get(port, "/readyz");
        reason.replace(said);
        status == 503
    });
    let (reason, start, end) = (reason.take(), "main: the newest backup is ", "the limit is 3s\n");
    assert!(reason.starts_with(start) && reason.ends_with(end), "{reason}");
    // A round may have ended only now, and the next one waits.
    let in_progress = "pg_backup_in_progress{database=\"main\"}";
    serve.wait_for("the wait", |_| value(&get(port, "/metrics").1, in_progress) == 1.0);
}

#[test]
fn without_a_sidecar_the_probe_fails_and_a_taken_port_stops_the_start() {
    let server = Server::start();
    let (database, store) = (with_rows(&server), tempfile::tempdir().unwrap());
    let (sidecar, port) = listening(Sidecar::with_directory(store.path()).database("main", &database));
    let probe = sidecar.run(&["status", "--probe"]).expect_code(1);
    assert!(
        probe.stderr.contains(&format!("the sidecar on 127.0.0.1:{port} does not answer")),
        "{}",
        probe.stderr
    );
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let refused = sidecar.run(&["serve"]).expect_code(1);
    let said = refused.stdout_text() + &refused.stderr;
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port} (BACKUP_HTTP_LISTEN)")), "{said}");
    drop(taken);
    let off = sidecar.set("BACKUP_HTTP_LISTEN", "off").run(&["status", "--probe"]).expect_code(2);
    assert!(off.stderr.contains("BACKUP_HTTP_LISTEN is off"), "{}", off.stderr);
}
