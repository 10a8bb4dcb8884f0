//! `BACKUP_REPLICA_…`: every backup is also in a second bucket, and no failure there affects the first.

use std::time::{Duration, Instant};

use crate::harness::bucket::{Bucket, environment};
use crate::harness::fidelity::compare_databases;
use crate::harness::http::get;
use crate::harness::postgres::{Database, Server};
use crate::harness::proxy::{BreakableProxy, End};
use crate::harness::seaweed::{ADMIN, FAR_BUCKET, FAR_PREFIX, FAR_WRITER, Keys, Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, listening};
use crate::health::{assert_clean, rounds, value};

const MIB: u64 = 1 << 20;

/// A database with a few MiB that do not compress, so its dump is uploaded in parts.
fn noise(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute(
        "CREATE TABLE noise AS SELECT n, sha512(n::text::bytea) AS a, sha512((-n)::text::bytea) AS b
           FROM generate_series(1, 90000) n",
    );
    database
}

fn small(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT 1 AS x");
    database
}

/// Adds the variables of a replica in the far bucket.
fn replica(sidecar: Sidecar, endpoint: &str, keys: Keys) -> Sidecar {
    environment("BACKUP_REPLICA_", endpoint, (FAR_BUCKET, FAR_PREFIX), (keys.id, keys.secret))
        .iter()
        .fold(sidecar, |sidecar, (name, value)| sidecar.set(name, value))
}

/// A sidecar with a write-only key for each of two buckets of one server.
fn mirrored(seaweed: &Seaweed) -> Sidecar {
    replica(Sidecar::with_store(seaweed.environment(WRITER)), &seaweed.http(), FAR_WRITER)
}

fn far(seaweed: &Seaweed) -> Bucket {
    seaweed.bucket(FAR_BUCKET).create(false)
}

fn keys(seaweed: &Seaweed) -> Vec<String> {
    seaweed.objects().into_iter().map(|object| object.key).collect()
}

#[test]
fn every_backup_lies_in_both_buckets_and_is_restored_from_either() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let far = far(&seaweed);
    let (large, little) = (noise(&server), small(&server));
    let sidecar =
        mirrored(&seaweed).database("large", &large).database("little", &little).set("BACKUP_GLOBALS", "on");
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    for name in ["large", "little", "globals"] {
        let told = format!("[backup] {name}: replicated → s3://{FAR_BUCKET}/{FAR_PREFIX}/{name}/");
        assert!(log.contains(&told), "{told}\n{log}");
    }
    let near = keys(&seaweed);
    assert_eq!(near.len(), 9, "{near:?}");
    let dump = near.iter().find(|key| key.contains("/large/") && key.ends_with(".sql.gz")).unwrap();
    assert!(seaweed.part_count(dump) > 1, "the dump went up in one piece");
    let expected: Vec<String> = near.iter().map(|key| key.replacen("prod/", "copies/", 1)).collect();
    assert_eq!(far.keys(), expected);
    for (near, there) in near.iter().zip(&expected) {
        assert!(seaweed.get(near) == far.get(there), "{near} differs at the replica");
    }
    assert_eq!((seaweed.unfinished_uploads().len(), far.unfinished_uploads().len()), (0, 0));

    // With the store's variables set to the replica, an operator can use all of its backups.
    let place = (FAR_BUCKET, FAR_PREFIX);
    let operator = environment("BACKUP_", &seaweed.http(), place, (ADMIN.id, ADMIN.secret));
    let operator = Sidecar::with_store(operator).database("large", &large).database("little", &little);
    operator.run(&["status"]).expect_success();
    operator.run(&["verify"]).expect_success();
    let listed = operator.run(&["list"]).expect_success().stdout_text();
    assert_eq!(listed.matches(".sql.gz").count(), 3, "{listed}");
    let copy = server.database();
    let to = copy.url();
    operator.run(&["restore", "latest", "--database", "large", "--to", &to]).expect_success();
    compare_databases(&large, &copy, &[], "the replica");
}

/// A round with a replica that cannot be written succeeds, reports that once, and leaves no object there.
#[track_caller]
fn costs_nothing(seaweed: &Seaweed, far: Option<&Bucket>, sidecar: &Sidecar, told: &str) {
    let before = keys(seaweed).len();
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    assert!(log.contains("[backup] main: OK in ") && !log.contains("FAILED"), "{log}");
    let line = log.lines().find(|line| line.contains("[backup] main: not replicated → s3://"));
    let line = line.unwrap_or_else(|| panic!("no word of the replica\n{log}"));
    assert!(line.contains(told), "{told}\n{line}");
    assert!(!log.contains("secret"), "{log}");
    assert_eq!(keys(seaweed).len(), before + 3, "the primary lacks something\n{log}");
    assert_eq!(seaweed.unfinished_uploads(), Vec::<String>::new());
    if let Some(far) = far {
        assert_eq!((far.keys(), far.unfinished_uploads()), (vec![], vec![]), "{log}");
    }
    // The names of backups have a resolution of one second.
    std::thread::sleep(Duration::from_millis(1100));
}

#[test]
fn a_replica_that_cannot_be_written_costs_the_primary_nothing() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let sidecar = |sidecar: Sidecar| sidecar.database("main", &noise(&server));
    let wrong_bucket = replica(Sidecar::with_store(seaweed.environment(WRITER)), &seaweed.http(), ADMIN);
    costs_nothing(&seaweed, None, &sidecar(wrong_bucket), "bucket far-away does not exist");
    let far = far(&seaweed);
    let denied = mirrored(&seaweed).set("BACKUP_REPLICA_S3_PREFIX", "elsewhere");
    costs_nothing(&seaweed, Some(&far), &sidecar(denied), "which needs s3:PutObject");
    let wrong_key = mirrored(&seaweed).set("BACKUP_REPLICA_AWS_SECRET_ACCESS_KEY", "x");
    costs_nothing(&seaweed, Some(&far), &sidecar(wrong_key), "SignatureDoesNotMatch");
    let nobody = mirrored(&seaweed).set("BACKUP_REPLICA_S3_ENDPOINT", "http://127.0.0.1:9");
    costs_nothing(&seaweed, Some(&far), &sidecar(nobody), "cannot reach http://127.0.0.1:9");
}

#[test]
fn a_replica_that_breaks_off_in_the_middle_is_given_up() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let far = far(&seaweed);
    let proxy = BreakableProxy::to_http(&seaweed.http()).ending_after(7 * MIB, End::Break);
    let sidecar = replica(Sidecar::with_store(seaweed.environment(WRITER)), &proxy.http(), ADMIN);
    let sidecar = sidecar.database("main", &noise(&server));
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    assert!(log.contains("[backup] main: not replicated → s3://far-away/copies/main/"), "{log}");
    assert_eq!((keys(&seaweed).len(), far.keys()), (3, vec![]), "{log}");
    // An unreachable store cannot receive an abort, so the bucket's lifecycle rule must remove the parts.
    assert!(log.contains("a lifecycle rule for incomplete uploads removes it"), "{log}");
}

#[test]
fn a_replica_that_stalls_is_given_up_when_its_time_is_over() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let far = far(&seaweed);
    let database = noise(&server);
    // At the first byte, and in the middle of the parts.
    for bytes in [0, 7 * MIB] {
        let proxy = BreakableProxy::to_http(&seaweed.http()).ending_after(bytes, End::Stall);
        let sidecar = replica(Sidecar::with_store(seaweed.environment(WRITER)), &proxy.http(), ADMIN);
        let sidecar = sidecar.database("main", &database).set("BACKUP_REPLICA_TIMEOUT", "1s");
        let begun = Instant::now();
        costs_nothing(&seaweed, None, &sidecar, "there was no progress for 1s");
        // Without BACKUP_REPLICA_TIMEOUT, the client's timeout of minutes would apply.
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
        assert_eq!(far.keys(), Vec::<String>::new());
    }
}

#[test]
fn a_replica_without_its_manifest_has_no_backup() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let far = far(&seaweed);
    let database = small(&server);
    let proxy = BreakableProxy::to_http(&seaweed.http()).breaking_at(".manifest.json");
    let sidecar = replica(Sidecar::with_store(seaweed.environment(WRITER)), &proxy.http(), FAR_WRITER);
    let log = sidecar.database("main", &database).run(&["run"]).expect_success().stdout_text();
    assert!(log.contains("[backup] main: not replicated → "), "{log}");
    assert_eq!((keys(&seaweed).len(), far.keys().len()), (3, 2), "{log}");
    let place = (FAR_BUCKET, FAR_PREFIX);
    let operator = environment("BACKUP_", &seaweed.http(), place, (ADMIN.id, ADMIN.secret));
    let operator = Sidecar::with_store(operator).database("main", &database);
    operator.run(&["status"]).expect_code(6);
}

#[test]
fn the_metrics_report_the_replica_separately() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = small(&server);
    // The bucket is created later.
    let sidecar = mirrored(&seaweed).database("main", &database).set("BACKUP_INTERVAL_SECONDS", "2");
    let (sidecar, port) = listening(sidecar);
    let mut serve = sidecar.start(&["serve"]);
    rounds(&mut serve, 1);
    // The sidecar is ready, although the copy is missing.
    assert_eq!(get(port, "/readyz"), (200, "ok\n".to_owned()));
    let (_, metrics) = get(port, "/metrics");
    assert!(value(&metrics, "pg_backup_replica_failures_total{database=\"main\"}") >= 1.0, "{metrics}");
    assert!(!metrics.contains("pg_backup_replica_last_success_timestamp_seconds{"), "{metrics}");
    assert_clean(&metrics);
    far(&seaweed);
    serve.wait_for("the replica", |log| log.contains("[backup] main: replicated → "));
    rounds(&mut serve, 3);
    let (_, metrics) = get(port, "/metrics");
    assert!(value(&metrics, "pg_backup_replica_last_success_timestamp_seconds{database=\"main\"}") > 0.0);
    assert!(value(&metrics, "pg_backup_failures_total{database=\"main\",stage=\"store\"}") == 0.0);
    assert_clean(&metrics);
}

#[test]
fn a_stalled_replica_does_not_delay_the_shutdown() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let far = far(&seaweed);
    let proxy = BreakableProxy::to_http(&seaweed.http()).ending_after(7 * MIB, End::Stall);
    let sidecar = replica(Sidecar::with_store(seaweed.environment(ADMIN)), &proxy.http(), ADMIN);
    let mut serve = sidecar.database("main", &noise(&server)).start(&["serve"]);
    serve.wait_for("both uploads", |_| !far.unfinished_uploads().is_empty());
    let (code, took, log) = serve.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(took < Duration::from_secs(15), "it took {took:?}\n{log}");
    assert!(!log.contains("main: OK"), "the replica did not stall\n{log}");
    assert_eq!((keys(&seaweed), far.keys()), (vec![], vec![]), "{log}");
    assert_eq!(seaweed.unfinished_uploads(), Vec::<String>::new(), "{log}");
}
