//! `make bench-memory`: the peak resident memory of a dump of 1.5 GB.
//!
//! The rows are jsonb events in one table of 1 GB and short rows in another. The result is VmHWM of
//! `/proc/PID/status`, polled until the process exits.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::process::ExitCode;

use harness::bulk;
use harness::cost::cost;
use harness::postgres::Server;
use harness::program::pg_backup;
use harness::seaweed::{Seaweed, WRITER};
use harness::sidecar::Sidecar;

/// The memory limit of a dump, in KiB.
const LIMIT: u64 = 64 * 1024;

const ACCOUNTS: &str = "
    CREATE TABLE accounts (id integer PRIMARY KEY, branch integer, balance integer, filler char(84));
    INSERT INTO accounts SELECT n, n % 50, n % 1000 - 500, '' FROM generate_series(1, 5000000) n;
";

fn main() -> ExitCode {
    let server = Server::start_with(&["max_wal_size=4GB", "checkpoint_timeout=1h"]);
    let database = server.database_named("bench");
    let script = bulk::events("events", 3_450_000) + ACCOUNTS;
    database.load_bytes(script.as_bytes()).expect_success();
    let dir = tempfile::tempdir().unwrap();
    let seaweed = Seaweed::start();
    let plain = dir.path().join("bench.sql");
    let run = Sidecar::with_store(seaweed.environment(WRITER)).database("bench", &database).command(&["run"]);
    let mut dump = pg_backup();
    dump.args(["dump", "-d", &database.url(), "-f"]).arg(&plain);
    let mut all_within = true;
    for (what, mut command) in
        [("pg-backup run (gzip, to S3)", run), ("pg-backup dump -f (plain, to a file)", dump)]
    {
        let cost = cost(&mut command);
        all_within &= cost.kib <= LIMIT;
        println!("{what}: peak {:.1} MiB resident, {:.1} s", cost.mib(), cost.took.as_secs_f64());
    }
    println!("the plain dump has {:.2} GB", std::fs::metadata(&plain).unwrap().len() as f64 / 1e9);
    if all_within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
