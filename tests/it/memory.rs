//! The memory limit: a round uses less, whatever the rows are.

use std::process::Command;

use crate::harness::age::Key;
use crate::harness::bucket::environment;
use crate::harness::bulk;
use crate::harness::cost::{Cost, cost};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{static_binary, without_settings};
use crate::harness::seaweed::{FAR_BUCKET, FAR_PREFIX, FAR_WRITER, Seaweed, WRITER};
use crate::harness::sidecar::Sidecar;

/// Returns the cost of a round of the static binary, which is the one that is released.
fn round(seaweed: &Seaweed, database: &Database<'_>, settings: &[(&str, &str)]) -> Cost {
    let mut sidecar = Sidecar::with_store(seaweed.environment(WRITER)).database("main", database);
    for (name, value) in settings {
        sidecar = sidecar.set(name, value);
    }
    let mut command = Command::new(static_binary());
    without_settings(&mut command);
    cost(command.arg("run").envs(sidecar.environment()))
}

#[test]
fn a_round_stays_under_its_limit() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    // Short rows, long rows, rows about as long as a chunk, and empty tables.
    let script = bulk::events("events", 250_000)
        + "CREATE TABLE short AS SELECT n AS a FROM generate_series(1, 2000000) n;
           CREATE TABLE long (a text);
           ALTER TABLE long ALTER a SET STORAGE EXTERNAL;
           INSERT INTO long SELECT repeat(md5(n::text), 40000 * (1 + n % 3)) FROM generate_series(1, 100) n;
           DO $$ BEGIN
               FOR i IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s (a integer)', i); END LOOP;
           END $$;";
    database.load_bytes(script.as_bytes()).expect_success();
    let key = Key::of_age();
    for (limit, jobs) in [("64MiB", "1"), ("64MiB", "2"), ("64MiB", "6"), ("56MiB", "2"), ("56MiB", "6")] {
        for compression in ["gzip", "zstd"] {
            // The limit has no separate share for encryption. An empty value means none.
            let recipients = if jobs == "6" { key.recipient.as_str() } else { "" };
            let settings = [
                ("BACKUP_MEMORY_LIMIT", limit),
                ("BACKUP_JOBS", jobs),
                ("BACKUP_COMPRESSION", compression),
                ("BACKUP_AGE_RECIPIENTS", recipients),
            ];
            let taken = round(&seaweed, &database, &settings);
            let bound: f64 = limit.trim_end_matches("MiB").parse().expect("a number");
            println!("{limit}, {jobs} jobs, {compression}: {:.1} MiB", taken.mib());
            assert!(taken.mib() < bound, "{:.1} MiB with {settings:?}", taken.mib());
        }
    }
}

#[test]
fn a_replica_takes_no_parts_of_its_own() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    seaweed.bucket(FAR_BUCKET).create(false);
    let database = server.database();
    // Random rows, so that the upload has many parts.
    database.execute(
        "CREATE TABLE noise AS SELECT sha512(n::text::bytea) AS a, sha512((-n)::text::bytea) AS b
           FROM generate_series(1, 600000) n",
    );
    let keys = (FAR_WRITER.id, FAR_WRITER.secret);
    let replica = environment("BACKUP_REPLICA_", &seaweed.http(), (FAR_BUCKET, FAR_PREFIX), keys);
    let replica: Vec<(&str, &str)> = replica.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let (alone, both) = (round(&seaweed, &database, &[]), round(&seaweed, &database, &replica));
    println!("alone: {:.1} MiB, with a replica: {:.1} MiB", alone.mib(), both.mib());
    // Separate parts would take 15 MiB, in addition to a second client and its connections.
    assert!(both.mib() < alone.mib() + 12.0, "{:.1} MiB, and {:.1} MiB without it", both.mib(), alone.mib());
    assert!(both.mib() < 64.0, "{:.1} MiB", both.mib());
    assert_eq!(seaweed.bucket(FAR_BUCKET).keys().len(), 3);
}

#[test]
fn a_huge_row_takes_twice_its_size_and_is_not_joined_by_another() {
    const ROW: f64 = 96.0;
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    // Random bytes, which double in size as text and then compress only to about their original size.
    let script = "
        CREATE TABLE huge (a bytea);
        ALTER TABLE huge ALTER a SET STORAGE EXTERNAL;
        INSERT INTO huge
            SELECT (SELECT string_agg(sha512((n * 1000000 + m)::text::bytea), '') FROM generate_series(1, 786432) m)
              FROM generate_series(1, 3) n;
        CREATE TABLE huge_too AS SELECT * FROM huge;";
    database.load_bytes(script.as_bytes()).expect_success();
    let length = database.query("SELECT max(length(a)) * 2 / 1024.0 / 1024 = 96 FROM huge");
    assert_eq!(length, "t", "the rows have another size than meant");
    for jobs in ["1", "2"] {
        let taken = round(&seaweed, &database, &[("BACKUP_JOBS", jobs)]);
        println!("{jobs} jobs: {:.1} MiB", taken.mib());
        assert!(taken.mib() < 64.0 + 2.0 * ROW, "{:.1} MiB with {jobs} jobs", taken.mib());
    }
}
