//! Which objects are dumped: patterns and their error messages, configuration tables of extensions, and
//! objects that are rejected because the program does not support them.

use std::path::Path;

use crate::harness::fidelity::{compare_dumps, equal_dumps, in_our_words, with_script};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{pg_backup, run};

#[test]
fn configuration_tables_of_extensions_are_dumped_as_pg_dump_does() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    equal_dumps(&fixtures.join("unrestorable/extension_configuration.sql"));
}

#[test]
fn security_labels_are_dumped_as_pg_dump_does() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    equal_dumps(&fixtures.join("unrestorable/security_label.sql"));
}

const NAMES: &str = r#"
CREATE SCHEMA s1;
CREATE SCHEMA "S.2";
CREATE SCHEMA "a$b";
CREATE TABLE public.t1 (a int);
CREATE TABLE public.t2 (a int);
CREATE TABLE public."T1" (a int);
CREATE TABLE public."t*" (a int);
CREATE TABLE public."t.1" (a int);
CREATE TABLE public."quo""te" (a int);
CREATE TABLE public."a$b" (a int);
CREATE TABLE public."x[]y" (a int);
CREATE TABLE public.été (a int);
CREATE TABLE s1.t1 (a int);
CREATE TABLE "S.2".t1 (a int);
CREATE TABLE "a$b".t1 (a int);
CREATE VIEW s1.v AS SELECT * FROM s1.t1;
CREATE SEQUENCE s1.seq;
CREATE MATERIALIZED VIEW s1.m AS SELECT 1 AS x;
CREATE TABLE s1.parent (a int) PARTITION BY LIST (a);
CREATE TABLE s1.child PARTITION OF s1.parent FOR VALUES IN (1);
CREATE TABLE s1.heir (b int) INHERITS (public.t2);
CREATE INDEX t1_index ON s1.t1 (a);
CREATE TYPE s1.composite AS (a int);
CREATE EXTENSION citext WITH SCHEMA s1;
CREATE EXTENSION hstore WITH SCHEMA s1;
"#;

fn with_names(check: impl FnOnce(&Server, &Database<'_>)) {
    with_script("names", NAMES.as_bytes(), |server, database, _| check(server, database));
}

#[test]
fn patterns_select_what_they_select_in_pg_dump() {
    const SWITCHES: &[&[&str]] = &[
        &["-t", "t1"],
        &["-t", "T1"],
        &["-t", "\"T1\""],
        &["-t", "t?"],
        &["-t", "t*"],
        &["-t", "\"t*\""],
        &["-t", "*.t1"],
        &["-t", "s1.*"],
        &["-t", "*.*"],
        &["-t", "*"],
        &["-t", "\"t.1\""],
        &["-t", "\"S.2\".t1"],
        &["-t", "\"quo\"\"te\""],
        &["-t", "a$b"],
        &["-t", "a$*.t1"],
        &["-t", "x[]y"],
        &["-t", "\"x[]y\""],
        &["-t", "[tx]1"],
        &["-t", "t1|t2"],
        &["-t", "(public|s1).t1"],
        &["-t", "été"],
        &["-t", "s1.(v|seq|m)"],
        &["-t", "t1", "-t", "s1.v"],
        &["-t", "*.t*", "-T", "s1.*"],
        &["-T", "t1", "-T", "s1.child"],
        &["-T", "*"],
        &["-T", "nothing"],
        &["-n", "s*"],
        &["-n", "\"S.2\""],
        &["-n", "a$b"],
        &["-n", "s1|public", "-T", "t*"],
        &["-n", "*", "-N", "public"],
        &["-N", "s1"],
        &["-N", "nothing", "--strict-names"],
        &["-e", "cit*"],
        &["-e", "*"],
        &["-n", "s1", "-e", "hstore"],
        &["-t", "s1.t1", "-n", "public"],
        &["--exclude-table-data", "s1.parent", "--exclude-table-data", "t?"],
    ];
    with_names(|_, database| {
        for switches in SWITCHES {
            compare_dumps(database, switches, "patterns");
        }
        let here = format!("{}.s1.t1", database.name());
        compare_dumps(database, &["-t", &here], "patterns");
    });
}

/// Objects in the system schemas are dumped only if a pattern matches them. In that case all built-in objects
/// have entries, whose numbers `--verbose` shows.
#[test]
fn the_systems_own_schemas_are_dumped_as_pg_dump_does() {
    const SWITCHES: &[&[&str]] = &[
        &["-n", "*"],
        &["-n", "pg_catalog"],
        &["-n", "information_schema"],
        &["-n", "pg_*", "-e", "*"],
        &["-n", "*", "-N", "pg_catalog"],
        &["-n", "*", "-T", "pg_catalog.pg_type", "-s"],
        &["-t", "pg_catalog.pg_*"],
        &["-t", "*.*", "-N", "information_schema"],
        &["-N", "public"],
    ];
    with_names(|_, database| {
        for switches in SWITCHES {
            compare_dumps(database, &[&["-v"], *switches].concat(), "system");
        }
    });
}

#[test]
fn a_pattern_that_selects_nothing_or_is_malformed_is_refused_in_pg_dumps_words() {
    const SWITCHES: &[&[&str]] = &[
        &["-n", "nothing"],
        &["-n", "nothing", "--strict-names"],
        &["-n", "a.b"],
        &["-N", "a.b"],
        &["-n", "a.b.c"],
        &["-t", "nothing"],
        &["-t", "nothing", "-t", "t1", "--strict-names"],
        &["-t", "nowhere.public.t1"],
        &["-T", "nowhere.public.t1"],
        &["-t", "a.b.c.d"],
        &["-e", "nothing"],
        &["-e", "nothing", "-e", "citext", "--strict-names"],
        &["-e", "a.b"],
        &["--include-foreign-data", "nothing"],
        &["--include-foreign-data", "a.b"],
    ];
    with_names(|_, database| {
        for switches in SWITCHES {
            let theirs = database.run_pg_dump(switches).expect_code(1);
            let ours = run(pg_backup().arg("dump").args(*switches).args(["-d", &database.url()]));
            let ours = ours.expect_code(1);
            assert_eq!(ours.stderr, in_our_words(&theirs.stderr), "{switches:?}");
            assert!(ours.stdout.is_empty(), "{switches:?} wrote something");
        }
    });
}

#[test]
fn an_object_of_an_unknown_kind_is_refused_by_name() {
    for (change, words) in [
        ("UPDATE pg_class SET relkind = 'Z' WHERE relname = 'seq'", "relation of an unknown kind s1.seq"),
        (
            "UPDATE pg_type SET typtype = 'Z' WHERE typname = 'composite'",
            "type of an unknown kind s1.composite",
        ),
    ] {
        with_names(|_, database| {
            database.execute(change);
            let output = run(pg_backup().args(["dump", "-d", &database.url()])).expect_code(1);
            assert!(output.stderr.contains(words), "{}", output.stderr);
            assert!(output.stdout.is_empty(), "something was written");
            // An unsupported object that the switches exclude is no error.
            run(pg_backup().args(["dump", "-n", "public", "-d", &database.url()])).expect_success();
        });
    }
}
