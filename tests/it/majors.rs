//! Servers of every major: rounds, globals, restores and drills, also on a server of a later major.

use std::path::Path;

use crate::harness::cluster::{cluster_of_major, compare_dumpalls};
use crate::harness::fidelity::{compare_databases, compare_stored};
use crate::harness::installation::MAJORS;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::program::run;
use crate::harness::restore::restore;
use crate::harness::sidecar::{Sidecar, files, gunzip};

/// Objects that every major has, and that every later major writes in the same words. The server itself writes the
/// query of a view, and other majors write another one for a view of a table.
const SCRIPT: &str = "
    CREATE TYPE color AS ENUM ('red', 'green');
    CREATE TABLE t (a integer PRIMARY KEY, b text[], c color DEFAULT 'red');
    INSERT INTO t VALUES (1, '{one}', 'green'), (2, '{NULL}', NULL);
    CREATE INDEX ON t (b);
    CREATE VIEW v AS SELECT 1 AS a;
    CREATE SEQUENCE s START 7;
    CREATE FUNCTION f(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
    COMMENT ON TABLE t IS 'a table';
    CREATE ROLE reader;
    GRANT SELECT ON t TO reader;
    SELECT lo_from_bytea(4711, 'large object');
    SELECT lo_from_bytea(4712, ''), lo_from_bytea(815, '\\x00ff');";

fn loaded(server: &Server) -> Database<'_> {
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    database
}

/// Returns the only dump in a directory.
fn dump_in(store: &Path) -> String {
    let mut found = files(store);
    found.retain(|file| file.ends_with(".sql.gz"));
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Returns each major with each later one.
fn upgrades() -> impl Iterator<Item = (u32, u32)> {
    MAJORS.iter().flat_map(|from| MAJORS.iter().filter(move |to| *to > from).map(|to| (*from, *to)))
}

#[test]
fn a_round_saves_what_pg_dump_of_the_major_writes_and_a_drill_finds_it_equal() {
    for major in MAJORS {
        let (server, store) = (Server::start_major(*major), tempfile::tempdir().unwrap());
        let database = loaded(&server);
        let sidecar = Sidecar::with_directory(store.path())
            .database("main", &database)
            .set("BACKUP_GLOBALS", "on")
            .set("BACKUP_DRILL_URL", &server.existing("postgres").url_without_password())
            .set("BACKUP_DRILL_PASSWORD", PASSWORD);
        sidecar.run(&["run"]).expect_success();
        sidecar.run(&["verify", "--deep"]).expect_success();
        let drilled = sidecar.run(&["drill", "main"]).expect_success();
        assert!(drilled.stdout_text().contains("equal"), "{major}: {drilled}");
        let ours = gunzip(&std::fs::read(dump_in(&store.path().join("main"))).unwrap());
        compare_stored(&server, &database, ours, &format!("a round on {major}"));
    }
}

#[test]
fn a_cluster_of_each_major_is_dumped_as_its_pg_dumpall_does() {
    for major in MAJORS {
        let server = cluster_of_major(*major, "cluster.sql");
        for options in [&[][..], &["-g", "-c", "--if-exists"]] {
            compare_dumpalls(&server, options, &format!("cluster of {major}"));
        }
    }
}

#[test]
fn a_backup_is_restored_and_drilled_on_each_later_major() {
    let servers: Vec<Server> = MAJORS.iter().map(|major| Server::start_major(*major)).collect();
    let server = |major: u32| servers.iter().find(|server| server.major() == major).unwrap();
    for (from, to) in upgrades() {
        let name = format!("{from} to {to}");
        let store = tempfile::tempdir().unwrap();
        let original = server(from).database();
        let script = SCRIPT.replace("CREATE ROLE reader;", "");
        for major in [from, to] {
            let role = "DO 'BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object THEN END'";
            server(major).existing("postgres").execute(role);
        }
        original.load_bytes(script.as_bytes()).expect_success();
        let sidecar = Sidecar::with_directory(store.path())
            .database("main", &original)
            .set("BACKUP_DRILL_URL", &server(to).existing("postgres").url_without_password())
            .set("BACKUP_DRILL_PASSWORD", PASSWORD);
        sidecar.run(&["run"]).expect_success();
        let drilled = sidecar.run(&["drill"]).expect_success();
        assert!(drilled.stdout_text().contains("equal"), "{name}: {drilled}");
        // Restored by pg-backup and by psql, the copies are the same.
        let dump = dump_in(&store.path().join("main"));
        let (ours, theirs) = (server(to).database(), server(to).database());
        run(&mut restore(&dump, &ours, &[])).expect_success();
        theirs.load_bytes(&gunzip(&std::fs::read(&dump).unwrap())).expect_success();
        compare_databases(&theirs, &ours, &[], &name);
    }
}

/// Since 17 several statements set the owners of a group of large objects, and a partitioned table's access method
/// follows its owner.
#[test]
fn owners_and_access_methods_of_17_are_restored_on_their_own() {
    let (server, store) = (Server::start_major(17), tempfile::tempdir().unwrap());
    let database = server.database();
    database.execute(
        "CREATE ROLE keeper;
         CREATE ACCESS METHOD other TYPE TABLE HANDLER heap_tableam_handler;
         SELECT lo_from_bytea(n, 'large') FROM generate_series(5001, 5020) n;
         DO 'BEGIN FOR n IN 5001..5020 LOOP EXECUTE format(''ALTER LARGE OBJECT %s OWNER TO keeper'', n); END LOOP; END';
         CREATE TABLE parted (a integer) PARTITION BY LIST (a) USING other;
         ALTER TABLE parted OWNER TO keeper",
    );
    Sidecar::with_directory(store.path()).database("main", &database).run(&["run"]).expect_success();
    let dump = dump_in(&store.path().join("main"));
    let state = "SELECT (SELECT string_agg(DISTINCT lomowner::regrole::text || ' ' || n, ',')
                           FROM (SELECT lomowner, count(*) n FROM pg_largeobject_metadata GROUP BY 1) l),
                        (SELECT relowner::regrole || ' ' || coalesce(amname, '-')
                           FROM pg_class c LEFT JOIN pg_am m ON m.oid = relam WHERE relname = 'parted')";
    for (options, expected) in [
        (&[][..], "keeper 20|keeper other"),
        (&["--no-owner"], "postgres 20|postgres other"),
        (&["--no-owner", "--no-table-access-method"], "postgres 20|postgres -"),
        (&["--no-table-access-method"], "keeper 20|keeper -"),
    ] {
        let copy = server.database();
        run(&mut restore(&dump, &copy, options)).expect_success();
        assert_eq!(copy.query(state), expected, "{options:?}");
    }
    // Without the role only the owners are missing.
    server.existing("postgres").execute("ALTER ROLE keeper RENAME TO another");
    let copy = server.database();
    let restored = run(&mut restore(&dump, &copy, &["--keep-going"]));
    assert!(restored.stderr.contains("role \"keeper\" does not exist"), "{restored}");
    assert_eq!(copy.query(state), "postgres 20|postgres other");
}
