//! `pg-backup restore`: every output of pg_dump and pg_dumpall, and every backup, is restored as psql
//! restores it, and pg_dump's output is the same for both copies.

use std::fs;
use std::path::Path;

use crate::harness::backup_directory::BackupDirectory;
use crate::harness::bulk;
use crate::harness::cluster::{cluster, compare_restored_by};
use crate::harness::fidelity::{compare_databases, options_for_copies};
use crate::harness::fixtures::{directory, name, scripts};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, pg_backup, run};
use crate::harness::restore::{DumpForm, gzip, restore};
use crate::harness::samples::sample;
use crate::harness::seaweed::{ADMIN, Seaweed};
use crate::harness::sidecar::Sidecar;

/// Options of pg_dump that change the text of a complete dump, except those whose restore needs more than an
/// empty target.
const OPTIONS: &[&[&str]] = &[
    &[],
    &["--inserts"],
    &["--rows-per-insert=7", "--column-inserts"],
    &["-c", "--if-exists"],
    &["--disable-triggers"],
    &["--quote-all-identifiers", "--disable-dollar-quoting"],
    &["-v", "--load-via-partition-root", "--serializable-deferrable"],
];

/// Restores pg_dump's output for a sample with all options, and compares the copies with the sample.
fn sample_comes_back(name: &str) {
    let server = Server::start();
    let database = server.database();
    database.load(&sample(name)).expect_success();
    for (index, options) in OPTIONS.iter().enumerate() {
        let form = DumpForm::ALL[index % DumpForm::ALL.len()];
        let copy = server.database();
        let said = form.restore(&database.pg_dump(options), &copy, &[]).expect_success();
        assert!(said.stdout_text().starts_with("restored ") && !said.stderr.contains("error"), "{said}");
        compare_databases(&database, &copy, &[], &format!("{name} {options:?} {form:?}"));
    }
    let saved = BackupDirectory::of(&database, "zstd");
    for switch in ["--jobs=1", "--jobs=2", "--jobs=4", "--single-transaction"] {
        let copy = server.database();
        let said = saved.restore(&copy, &[switch]).expect_success();
        assert!(said.stdout_text().starts_with("restored "), "{said}");
        compare_databases(&database, &copy, &[], &format!("{name} {switch}"));
    }
    replaces_what_is_there(&server, &database, name);
    makes_the_database(&server, &database, name);
}

/// The objects that `pg_dump --clean` drops must exist. It cannot drop partitions' constraints, so this
/// restore must ignore the same errors as psql.
fn replaces_what_is_there(server: &Server, database: &Database<'_>, name: &str) {
    let (schema, dump) = (database.pg_dump(&["--schema-only"]), database.pg_dump(&["--clean"]));
    let [theirs, ours] = [server.database(), server.database()].map(|copy| {
        copy.load_bytes(&schema).expect_success();
        copy
    });
    let failures = theirs.load_going_on(&dump).stderr.matches("ERROR:  ").count();
    let said = DumpForm::Gzip.restore(&dump, &ours, &["--into-existing", "--keep-going"]);
    if failures == 0 {
        let once = DumpForm::Gzip.restore(&dump, &ours, &["--into-existing", "--single-transaction"]);
        once.expect_success();
    }
    let said = said.expect_code(i32::from(failures > 0));
    assert_eq!(said.stderr.matches(": ERROR: ").count(), failures, "{said}");
    compare_databases(&theirs, &ours, &[], &format!("{name} --clean"));
}

/// `pg_dump --create` continues in the database that it creates, whichever database the restore started in.
fn makes_the_database(server: &Server, database: &Database<'_>, name: &str) {
    let postgres = server.existing("postgres");
    let rename = |from: &str, to: &str| {
        postgres.execute(&format!("ALTER DATABASE \"{from}\" RENAME TO \"{to}\""));
    };
    // A name with special characters needs another form of `\\connect`.
    for (options, called) in
        [(&["--create"][..], "shop"), (&["--create", "--clean", "--if-exists"], "the 'new' shöp \\ 2")]
    {
        rename(database.name(), called);
        let dump = server.existing(called).pg_dump(options);
        rename(called, database.name());
        DumpForm::Pipe.restore(&dump, &postgres, &[]).expect_success();
        compare_databases(database, &server.existing(called), &[], &format!("{name} {options:?}"));
    }
}

#[test]
fn pagila_comes_back() {
    sample_comes_back("pagila");
}

#[test]
fn chinook_comes_back() {
    sample_comes_back("chinook");
}

#[test]
fn northwind_comes_back() {
    sample_comes_back("northwind");
}

/// Restores a dump with psql and with pg-backup and compares the copies, because a restore changes some
/// objects of a fixture.
fn compare_with_psql(server: &Server, dump: &[u8], form: DumpForm, name: &str) {
    let (theirs, ours) = (server.database(), server.database());
    theirs.load_bytes(dump).expect_success();
    form.restore(dump, &ours, &[]).expect_success();
    compare_databases(&theirs, &ours, &[], &format!("{name} {form:?}"));
}

/// Restores a fixture's dump and a backup of it, and compares both copies with psql's restore of the dump.
fn fixture_comes_back(server: &Server, script: &Path, turn: usize) {
    let text = fs::read(script).unwrap();
    let database = server.database();
    // From the second fixture on, objects of the cluster already exist.
    database.load_going_on(&text);
    let (dump, name) = (database.pg_dump(&[]), name(script));
    let [theirs, ours, backup] = [server.database(), server.database(), server.database()];
    theirs.load_bytes(&dump).expect_success();
    let form = DumpForm::ALL[turn % DumpForm::ALL.len()];
    form.restore(&dump, &ours, &[]).expect_success();
    compare_databases(&theirs, &ours, options_for_copies(&text), &format!("{name} {form:?}"));
    let switch = ["-j1", "-j2", "-j4", "-1"][turn % 4];
    BackupDirectory::of(&database, ["gzip", "zstd", "none"][turn % 3])
        .restore(&backup, &[switch])
        .expect_success();
    compare_databases(&theirs, &backup, options_for_copies(&text), &format!("{name} {switch}"));
}

fn fixtures_come_back(turn: usize) {
    let server = Server::start();
    for (index, script) in scripts().iter().enumerate().filter(|(index, _)| index % 2 == turn) {
        fixture_comes_back(&server, script, index / 2);
    }
}

#[test]
fn one_half_of_the_fixtures_is_restored_as_by_psql() {
    fixtures_come_back(0);
}

#[test]
fn the_other_half_of_the_fixtures_is_restored_as_by_psql() {
    fixtures_come_back(1);
}

#[test]
fn large_objects_and_odd_values_are_restored_under_all_options() {
    let server = Server::start();
    for name in ["large_object", "data_edge_values", "awkward_names"] {
        let database = server.database();
        database.load(&directory().join(name).with_extension("sql")).expect_success();
        for (index, options) in OPTIONS.iter().enumerate() {
            let form = DumpForm::ALL[(index + 2) % DumpForm::ALL.len()];
            compare_with_psql(&server, &database.pg_dump(options), form, &format!("{name} {options:?}"));
        }
        let once = server.database();
        DumpForm::File.restore(&database.pg_dump(&[]), &once, &["-1"]).expect_success();
        compare_databases(&database, &once, &[], &format!("{name} in one transaction"));
    }
}

#[test]
fn text_is_restored_in_any_encoding_of_the_dump() {
    let server = Server::start();
    for (clauses, text, encodings) in [
        ("ENCODING 'LATIN1' LOCALE 'C'", "U&'caf\\00e9 \\00a7'", &["LATIN1", "UTF8"][..]),
        ("ENCODING 'EUC_JP' LOCALE 'C'", "U&'\\8868\\80fd \\30bd'", &["EUC_JP", "SJIS", "UTF8"]),
        ("ENCODING 'UTF8' LOCALE 'C'", "U&'\\8868 \\+01f600'", &["UTF8"]),
        ("ENCODING 'SQL_ASCII' LOCALE 'C'", "E'\\xe9\\xf4\\x80'", &["SQL_ASCII"]),
    ] {
        let database = server.database_with(clauses);
        let script = format!(
            "DO $$ BEGIN EXECUTE 'CREATE TABLE ' || quote_ident({text}) || ' (a text)'; \
             EXECUTE 'INSERT INTO ' || quote_ident({text}) || ' VALUES ($1)' USING {text}; \
             EXECUTE 'COMMENT ON TABLE ' || quote_ident({text}) || ' IS ' || quote_literal({text}); END $$"
        );
        database.execute(&script);
        for encoding in encodings {
            for form in ["-v", "--inserts"] {
                let dump = database.pg_dump(&["-E", encoding, form]);
                let copy = server.database_with(clauses);
                DumpForm::Zstd.restore(&dump, &copy, &[]).expect_success();
                compare_databases(&database, &copy, &[], &format!("{clauses} {encoding} {form}"));
            }
        }
    }
}

#[test]
fn a_cluster_is_restored_except_for_the_existing_role() {
    let server = cluster("cluster.sql");
    let dump = run(&mut crate::harness::cluster::pg_dumpall(&server)).expect_success().stdout;
    compare_restored_by(&server, &dump, "cluster", |copy, script| {
        let target = copy.existing("postgres");
        let path = script.to_str().unwrap();
        let counted = run(&mut restore(path, &target, &["--keep-going"])).expect_code(1);
        assert!(counted.stderr.contains("1 statement failed; everything else was restored"), "{counted}");
        assert!(counted.stderr.contains("role \"postgres\" already exists"), "{counted}");
        assert_eq!(counted.stderr.matches("already exists").count(), 1, "{counted}");
        let stopped = run(&mut restore(path, &target, &[])).expect_code(1);
        assert_eq!(stopped.stderr.matches("already exists").count(), 1, "{stopped}");
    });
}

#[test]
fn a_large_table_is_loaded_over_several_connections() {
    const ROWS: &str = "SELECT count(*), sum(hashtextextended(t::text, 0)::numeric) FROM events t";
    let server = Server::start_with(&["log_statement=all"]);
    let database = server.database();
    database.load_bytes(bulk::events("events", 200_000).as_bytes()).expect_success();
    database.execute("CREATE INDEX ON events (at)");
    let loads = || server.log().matches("COPY public.events (").count();
    for compression in ["gzip", "zstd"] {
        let saved = BackupDirectory::of(&database, compression);
        for (jobs, several) in [("-j1", false), ("-j2", true), ("-j4", true)] {
            let (copy, before) = (server.database(), loads());
            saved.restore(&copy, &[jobs]).expect_success();
            assert_eq!(loads() - before > 1, several, "{compression} {jobs}: {} loads", loads() - before);
            // The order of the rows depends on the order in which they are loaded.
            assert_eq!(copy.query(ROWS), database.query(ROWS), "{compression} {jobs}");
            let options: &[&str] = if several { &["--schema-only"] } else { &[] };
            compare_databases(&database, &copy, options, &format!("{compression} {jobs}"));
        }
    }
}

/// An object of `pg_dump | gzip | aws s3 cp -`, and any other object of the bucket.
#[test]
fn an_old_sidecars_object_is_restored_from_the_store() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    database.load(&sample("chinook")).expect_success();
    let dump = database.pg_dump(&[]);
    let key = "prod/metadata/2026-04-26/metadata-2026-04-26T16-29-58Z.sql.gz";
    let odd = "elsewhere/by hand.dump";
    for (key, object) in [(key, gzip(&dump)), (odd, zstd::encode_all(&dump[..], 1).unwrap())] {
        seaweed.try_put(ADMIN, key, &object).unwrap();
    }
    let reader = Sidecar::with_store(seaweed.environment(ADMIN));
    for source in [key.to_owned(), format!("s3://backups/{key}"), format!("s3://backups/{odd}")] {
        let copy = server.database();
        reader.run(&["restore", &source, "--to", &copy.url()]).expect_success();
        compare_databases(&database, &copy, &[], &source);
    }
    let copy = server.database();
    let missing = key.replace("16-29", "16-30");
    let failed = |output: Output, code, words: &str| {
        let output = output.expect_code(code);
        assert!(output.stderr.contains(words), "{output}");
        assert_eq!(copy.query("SELECT count(*) FROM pg_class WHERE oid >= 16384"), "0");
    };
    failed(reader.run(&["restore", &missing, "--to", &copy.url()]), 5, "does not exist");
    let unreachable = copy.url().replace("127.0.0.1", "no-such-host.invalid");
    failed(reader.run(&["restore", key, "--to", &unreachable]), 3, "no-such-host.invalid");
    failed(run(pg_backup().args(["restore", "latest", "--to", &copy.url()])), 2, "BACKUP_S3_BUCKET");
}
