//! Writers during a dump: the dump is one snapshot and does not block them.

use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::NoTls;

use crate::harness::postgres::Server;
use crate::harness::program::pg_backup;

/// Three tables that a writer changes together. The rows of `middle` never change. They are so many that a
/// dump with a blocked output stops in them, after `accounts` and before `past`: tables are dumped in the
/// order of their names.
const SCRIPT: &[u8] = b"
    CREATE TABLE accounts (id integer PRIMARY KEY, balance bigint NOT NULL);
    INSERT INTO accounts SELECT n, 0 FROM generate_series(1, 100) n;
    CREATE TABLE middle (filler text);
    INSERT INTO middle SELECT repeat(md5(n::text), 30) FROM generate_series(1, 100000) n;
    CREATE TABLE past (id bigserial PRIMARY KEY, source integer, target integer, amount bigint);
    CREATE TABLE summary (transfers bigint NOT NULL, deleted bigint NOT NULL);
    INSERT INTO summary VALUES (0, 0);
";

/// The invariants of every snapshot: the sum of the money is constant, and each transfer either has its row
/// or is counted as deleted.
const INVARIANTS: &str = "
    SELECT (SELECT sum(balance) FROM accounts) = 0
       AND (SELECT count(*) FROM past) + (SELECT deleted FROM summary) = (SELECT transfers FROM summary)
       AND (SELECT sum(abs(balance)) FROM accounts) > 0";

#[test]
fn a_dump_is_one_snapshot_and_writers_go_on() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes(SCRIPT).expect_success();

    let writers = Writers::start(&database.url(), 3);
    writers.wait_for_commits(50);

    let mut dump = pg_backup()
        .args(["dump", "-d", &database.url()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("pg-backup starts");
    let mut stdout = dump.stdout.take().expect("standard output is a pipe");
    let mut text = vec![0; 1024 * 1024];
    stdout.read_exact(&mut text).expect("the dump has more than its first megabyte");
    // The dump is blocked in the middle and holds all its locks. Writers must be able to continue.
    let before = writers.commits();
    writers.wait_for_commits(before + 200);
    stdout.read_to_end(&mut text).expect("the dump can be read to its end");
    assert!(dump.wait().expect("pg-backup ends").success());
    let commits = writers.stop();
    assert!(commits > before + 200, "the writers stopped: {commits} commits");

    let copy = server.database();
    copy.load_bytes(&text).expect_success();
    assert_eq!(copy.query(INVARIANTS), "t", "the copy is not one snapshot");
    assert_eq!(database.query(INVARIANTS), "t", "the test's own writers break the invariants");
    let transfers = |query: &str| query.parse::<u64>().expect("a count");
    let (then, now) = (
        transfers(&copy.query("SELECT transfers FROM summary")),
        transfers(&database.query("SELECT transfers FROM summary")),
    );
    assert!(then >= 50 && then + 200 <= now, "dumped at {then} transfers, ended at {now}");
}

/// Connections that transfer money, book it, and delete old bookings, until they are stopped.
struct Writers {
    stop: Arc<AtomicBool>,
    commits: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Writers {
    fn start(url: &str, count: u64) -> Writers {
        let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..count)
            .map(|seed| {
                let (url, stop, commits) = (url.to_owned(), stop.clone(), commits.clone());
                std::thread::spawn(move || write(&url, seed, &stop, &commits))
            })
            .collect();
        Writers { stop, commits, threads }
    }

    fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// Waits until this many transactions have committed. A writer that waits for a lock of the dump never
    /// gets there.
    fn wait_for_commits(&self, target: u64) {
        for _ in 0..3000 {
            if self.commits() >= target {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the writers are blocked at {} commits", self.commits());
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a writer failed");
        }
        self.commits.load(Ordering::Relaxed)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn write(url: &str, seed: u64, stop: &AtomicBool, commits: &AtomicU64) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("the writer connects");
    tokio::spawn(connection);
    let mut number = seed;
    while !stop.load(Ordering::Relaxed) {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Always in the order of the ids, so that two writers cannot deadlock.
        let (low, high) = (1 + (number >> 33) % 50, 51 + (number >> 43) % 50);
        let amount = 1 + (number >> 53) % 1000;
        let transfer = format!(
            "BEGIN;
             UPDATE accounts SET balance = balance - {amount} WHERE id = {low};
             UPDATE accounts SET balance = balance + {amount} WHERE id = {high};
             INSERT INTO past (source, target, amount) VALUES ({low}, {high}, {amount});
             UPDATE summary SET transfers = transfers + 1;
             WITH gone AS (DELETE FROM past WHERE id % 7 = 0 AND id % 5 = {seed} RETURNING 1)
             UPDATE summary SET deleted = deleted + (SELECT count(*) FROM gone);
             COMMIT"
        );
        client.batch_execute(&transfer).await.expect("the transfer commits");
        commits.fetch_add(1, Ordering::Relaxed);
    }
}
