//! `make demo`: backs up three databases to S3, restores them, and compares the copies with the originals.
//!
//! All servers are private to this run and are removed at its end: a PostgreSQL 15 with the three sample
//! databases, and an S3 server with a write-only key for pg-backup.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::process::{ExitCode, Stdio};

use harness::postgres::{Database, PASSWORD, Server};
use harness::samples::{self, DATABASES};
use harness::seaweed::{ADMIN, BUCKET, PREFIX, Seaweed, WRITER};
use harness::sidecar::{Sidecar, gunzip};

/// Returns each table of a database with the number of its rows, one table per line.
const ROW_COUNTS: &str = "
    SELECT c.oid::regclass,
           (xpath('/row/n/text()', query_to_xml('SELECT count(*) AS n FROM ' || c.oid::regclass, false, true, '')))[1]
      FROM pg_catalog.pg_class c
     WHERE c.relkind IN ('r', 'm') AND c.relispopulated AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
     ORDER BY c.oid::regclass::text";

fn main() -> ExitCode {
    let server = Server::start();
    let databases = samples::load(&server);
    println!(
        "== PostgreSQL {} on port {}",
        server.existing("postgres").query("SHOW server_version"),
        server.port()
    );
    for (name, sample) in DATABASES {
        println!("   database {name} holds the sample {sample}");
    }
    let seaweed = Seaweed::start();
    println!("== S3 on {}, with a key that can only put objects under {BUCKET}/{PREFIX}/", seaweed.http());

    let with_databases = |keys| {
        let store = Sidecar::with_store(seaweed.environment(keys));
        databases.iter().fold(store, |sidecar, (name, database)| sidecar.database(name, database))
    };
    let reader = with_databases(ADMIN);
    // The drill's databases are on the same server as the originals here. In production, use another server.
    let sandbox = server.existing("postgres");
    let driller = reader
        .clone()
        .set("BACKUP_DRILL_URL", &sandbox.url_without_password())
        .set("BACKUP_DRILL_PASSWORD", PASSWORD);
    if !(show(&with_databases(WRITER), "run")
        && show(&reader, "list")
        && show(&reader, "verify")
        && show(&driller, "drill"))
    {
        return ExitCode::FAILURE;
    }

    println!("\n== Each dump from S3, through gunzip and psql, into an empty database");
    let differing =
        databases.iter().filter(|(name, original)| !comes_back(&server, &seaweed, name, original));
    match differing.count() {
        0 => {
            println!("== All {} databases match their originals.", databases.len());
            ExitCode::SUCCESS
        }
        count => {
            println!("== {count} of {} databases differ.", databases.len());
            ExitCode::FAILURE
        }
    }
}

/// Runs a subcommand of pg-backup with its output on the terminal.
fn show(sidecar: &Sidecar, verb: &str) -> bool {
    println!("\n== pg-backup {verb}");
    let status = sidecar.command(&[verb]).stdin(Stdio::null()).status().expect("pg-backup starts");
    if !status.success() {
        println!("== pg-backup {verb} failed: {status}");
    }
    status.success()
}

/// Restores one database from the store. Returns whether it is equal to the original.
fn comes_back(server: &Server, seaweed: &Seaweed, name: &str, original: &Database<'_>) -> bool {
    let start = format!("{PREFIX}/{name}/");
    let keys = seaweed.objects().into_iter().map(|object| object.key);
    let Some(key) = keys.into_iter().find(|key| key.starts_with(&start) && key.ends_with(".sql.gz")) else {
        println!("   {name}: no dump in the store");
        return false;
    };
    let copy = server.database();
    let restored = copy.load_bytes(&gunzip(&seaweed.get(&key)));
    if !restored.status.success() {
        println!("   {name}: psql stopped\n{restored}");
        return false;
    }
    let counts = original.query(ROW_COUNTS);
    let rows: u64 = counts.lines().filter_map(|line| line.rsplit('|').next()?.parse::<u64>().ok()).sum();
    let same_counts = counts == copy.query(ROW_COUNTS);
    // Both dumps get the same key, because only the key is random in pg_dump's output.
    let dump = |database: &Database<'_>| database.pg_dump(&["--restrict-key=demo"]);
    let same_dumps = dump(original) == dump(&copy);
    let say = |same| if same { "the same" } else { "DIFFERENT" };
    println!(
        "   {name}: {} tables, {rows} rows: row counts {}, pg_dump of both {}",
        counts.lines().count(),
        say(same_counts),
        say(same_dumps)
    );
    same_counts && same_dumps
}
