//! `make bench-catalog`: the time and memory to dump 20,000 empty tables with defaults, indexes and foreign
//! keys, compared with pg_dump.
//!
//! The programs run alternately, three times each, and the result is the median, so other load on the machine
//! affects both.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::process::{Command, ExitCode};

use harness::bulk;
use harness::cost::{Cost, cost};
use harness::postgres::Server;
use harness::program::pg_backup;

/// The memory limit of the dump, in KiB.
const LIMIT: u64 = 100 * 1024;

const RUNS: usize = 3;

fn main() -> ExitCode {
    let server = Server::start_with(&["max_wal_size=4GB", "checkpoint_timeout=1h"]);
    let database = server.database_named("bench");
    database.load_bytes(bulk::tables(20_000).as_bytes()).expect_success();
    let ours = |options: &[&str]| {
        let mut command = pg_backup();
        command.args(["dump", "-d", &database.url()]).args(options);
        command
    };
    let theirs = |options: &[&str]| {
        let mut command = database.client("pg_dump");
        command.args(options);
        command
    };
    let mut within = true;
    for (what, options) in [("schema", &["-s"][..]), ("schema and the empty tables' data", &[])] {
        let (ours, theirs) = compare(ours(options), theirs(options));
        within &= ours.kib <= LIMIT;
        println!("{what}:");
        for (program, run) in [("pg-backup", ours), ("pg_dump", theirs)] {
            println!("  {program:<10} {:5.1} s  {:4.0} MiB resident", run.took.as_secs_f64(), run.mib());
        }
        println!(
            "  ratio      {:5.2}    {:4.2}",
            ours.took.as_secs_f64() / theirs.took.as_secs_f64(),
            ours.mib() / theirs.mib()
        );
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs both programs alternately. Returns the median times and the largest sizes.
fn compare(mut ours: Command, mut theirs: Command) -> (Cost, Cost) {
    let (mut of_ours, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        of_ours.push(cost(&mut ours));
        of_theirs.push(cost(&mut theirs));
    }
    (median(of_ours), median(of_theirs))
}

fn median(mut runs: Vec<Cost>) -> Cost {
    runs.sort_by_key(|run| run.took);
    let kib = runs.iter().map(|run| run.kib).max().unwrap_or_default();
    Cost { kib, ..runs[runs.len() / 2] }
}
