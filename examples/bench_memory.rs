//! `make bench-memory`: the peak resident memory of dumping 1.5 GB.
//!
//! The rows are jsonb events in one table of 1 GB and short rows in another; what counts is what
//! `/proc/PID/status` calls VmHWM, read until the process is gone.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use harness::postgres::Server;
use harness::program::pg_backup;
use harness::seaweed::{Seaweed, WRITER};
use harness::sidecar::Sidecar;

/// What a dump may take, in KiB.
const LIMIT: u64 = 64 * 1024;

const SCRIPT: &str = "
    CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz NOT NULL, payload jsonb NOT NULL);
    INSERT INTO events
    SELECT n, timestamptz '2026-01-01' + n * interval '1 second',
           jsonb_build_object('user', n % 10007, 'session', md5(n::text), 'kind', (ARRAY['view','click','buy'])[1 + n % 3],
                              'path', '/shop/' || n % 997 || '/item/' || n, 'agent', repeat(md5((n % 100)::text), 4))
      FROM generate_series(1, 3450000) n;
    CREATE TABLE accounts (id integer PRIMARY KEY, branch integer, balance integer, filler char(84));
    INSERT INTO accounts SELECT n, n % 50, n % 1000 - 500, '' FROM generate_series(1, 5000000) n;
";

fn main() -> ExitCode {
    let server = Server::start_with(&["max_wal_size=4GB", "checkpoint_timeout=1h"]);
    let database = server.database_named("bench");
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let dir = tempfile::tempdir().unwrap();
    let seaweed = Seaweed::start();
    let plain = dir.path().join("bench.sql");
    let run = Sidecar::with_store(seaweed.environment(WRITER)).database("bench", &database).command(&["run"]);
    let mut dump = pg_backup();
    dump.args(["dump", "-d", &database.url(), "-f"]).arg(&plain);
    let mut all_within = true;
    for (what, command) in
        [("pg-backup run (gzip, to S3)", run), ("pg-backup dump -f (plain, to a file)", dump)]
    {
        let Peak { kib, took } = peak(command);
        all_within &= kib <= LIMIT;
        println!("{what}: peak {:.1} MiB resident, {:.1} s", kib as f64 / 1024.0, took.as_secs_f64());
    }
    println!("the plain dump has {:.2} GB", std::fs::metadata(&plain).unwrap().len() as f64 / 1e9);
    if all_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Peak {
    kib: u64,
    took: Duration,
}

/// Runs a program to its end and returns its largest resident size.
fn peak(mut command: Command) -> Peak {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut kib = 0;
    let ended = loop {
        // The high-water mark only grows, so a read that comes late has missed nothing before it.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        kib = mark.and_then(|mark| mark.parse().ok()).unwrap_or(kib);
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "{command:?}: {ended}");
    Peak { kib, took: start.elapsed() }
}
