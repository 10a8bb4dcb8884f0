//! A role needs privileges on only the catalog columns that pg_dump reads.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs;

use crate::harness::fidelity::compare_dumps;
use crate::harness::fixtures::scripts;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::sidecar::Sidecar;

/// Lets `reader` read the users' objects.
const READER: &str = "
CREATE ROLE reader BYPASSRLS;
DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO reader', name);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO reader', name);
    EXECUTE format('GRANT SELECT ON ALL SEQUENCES IN SCHEMA %I TO reader', name);
  END LOOP;
END $$";

/// Returns the statements that the server logs during `work`.
fn statements(server: &Server, work: impl FnOnce()) -> Vec<String> {
    let before = server.log_bytes().len();
    work();
    let log = server.log_bytes();
    let log = String::from_utf8_lossy(&log[before..]).into_owned();
    let mut statements: Vec<String> = Vec::new();
    let mut is_in_one = false;
    for line in log.lines() {
        let begun = line.split_once(" LOG:  statement: ").map(|(_, begin)| begin);
        match (begun, line.strip_prefix('\t'), statements.last_mut()) {
            (Some(begin), _, _) => statements.push(begin.to_owned()),
            (None, Some(more), Some(statement)) if is_in_one => write!(statement, "\n{more}").unwrap(),
            _ => {
                is_in_one = false;
                continue;
            }
        }
        is_in_one = true;
    }
    statements
}

/// Returns the columns of the system catalogs and views, including the system columns of every table (`ctid`
/// etc.).
fn columns(database: &Database<'_>) -> BTreeMap<String, Vec<String>> {
    let listed = database.query(
        "SELECT c.relname || ' ' || a.attname
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
          WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v') AND NOT a.attisdropped",
    );
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in listed.lines() {
        let (catalog, column) = line.split_once(' ').unwrap();
        columns.entry(catalog.to_owned()).or_default().push(column.to_owned());
    }
    columns
}

#[test]
fn a_dump_reads_no_column_that_pg_dump_does_not_read() {
    let server = Server::start_with(&["log_statement=all", "lo_compat_privileges=on"]);
    let database = server.database();
    for script in scripts() {
        database.load_going_on(&fs::read(script).unwrap());
    }
    database.execute(READER);
    let options: [&[&str]; 4] = [
        &["--role=reader"],
        &["--role=reader", "-s", "-n", "public"],
        &["--role=reader", "-s", "-t", "public.*"],
        &["--role=reader", "-a", "--inserts"],
    ];
    let columns = columns(&database);
    // A column counts as read if a statement contains both its name and its catalog's.
    let mut read: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let statements = statements(&server, || {
        for options in options {
            database.pg_dump(options);
        }
    });
    assert!(statements.len() > 500, "{}", statements.len());
    for statement in &statements {
        let words: HashSet<&str> =
            statement.split(|char: char| !char.is_ascii_alphanumeric() && char != '_').collect();
        for (catalog, columns) in columns.iter().filter(|(catalog, _)| words.contains(catalog.as_str())) {
            let named = columns.iter().map(String::as_str).filter(|column| words.contains(column));
            read.entry(catalog).or_default().extend(named);
        }
    }
    // The server's own functions read these columns as the role that calls them.
    let of_tables = ["tableoid", "ctid", "xmin", "xmax", "cmin", "cmax"];
    let of_rules = columns["pg_rewrite"].iter().map(String::as_str);
    read.entry("pg_rewrite").or_default().extend(of_rules.filter(|column| !of_tables.contains(column)));
    assert!(read["pg_proc"].contains("proname") && !read["pg_proc"].contains("pronargdefaults"), "{read:?}");
    assert!(read.values().all(|columns| !columns.contains("ctid")), "{read:?}");

    let mut sql = String::new();
    for catalog in columns.keys() {
        write!(sql, "REVOKE SELECT ON pg_catalog.{catalog} FROM public;").unwrap();
        if let Some(granted) = read.get(catalog.as_str()).filter(|granted| !granted.is_empty()) {
            let granted = granted.iter().copied().collect::<Vec<_>>().join(", ");
            write!(sql, "GRANT SELECT ({granted}) ON pg_catalog.{catalog} TO public;").unwrap();
        }
    }
    database.execute(&sql);
    for options in options {
        compare_dumps(&database, options, "column privileges");
    }
}

/// In addition to what pg_dump reads without `--create`, a backup reads how to create the database. A role
/// without these privileges can back up everything else, and the grants are reported.
#[test]
fn a_backup_needs_no_column_that_a_dump_does_not_and_names_the_grants_for_more() {
    let server = Server::start();
    let database = server.database();
    database.execute(&format!(
        "CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}';
         CREATE TABLE t AS SELECT 7 AS a;
         GRANT SELECT ON t TO reader;
         COMMENT ON DATABASE {} IS 'what it is for';
         ALTER DATABASE {0} SET work_mem = '7MB';
         REVOKE SELECT ON pg_database, pg_tablespace, pg_db_role_setting, pg_shdescription, pg_shseclabel FROM public;
         GRANT SELECT (oid, datname) ON pg_database TO public;
         GRANT SELECT (oid, spcname) ON pg_tablespace TO public",
        database.name()
    ));
    let store = tempfile::tempdir().unwrap();
    let url = database.url_without_password().replace("postgres@", "reader@");
    let sidecar = Sidecar::with_directory(store.path()).database_at("shop", &url, PASSWORD);
    let restored = |name: &str| {
        let to = database.url().replace(&format!("/{}", database.name()), &format!("/{name}"));
        sidecar.run(&["restore", "latest", "--database", "shop", "--create", "--to", &to]).expect_success();
        let copy = server.existing(name);
        assert_eq!(copy.query("SELECT a FROM t"), "7");
        copy.query(
            "SELECT current_setting('work_mem') || ' ' || COALESCE(shobj_description(oid, 'pg_database'), 'none')
               FROM pg_database WHERE datname = current_database()",
        )
    };
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    assert!(log.contains("warning: the database's properties are not saved"), "{log}");
    let grants: Vec<&str> =
        log.lines().filter_map(|line| line.split_once(": detail: ")).map(|(_, sql)| sql).collect();
    assert_eq!(grants.len(), 4, "{log}");
    assert!(
        grants[0].starts_with("GRANT SELECT (datdba, encoding, ")
            && grants[0].ends_with(" ON pg_catalog.pg_database TO reader;"),
        "{log}"
    );
    assert_eq!(restored("first"), "4MB none");

    database.execute(&grants.concat());
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    assert!(!log.contains("warning: "), "{log}");
    assert_eq!(restored("second"), "7MB what it is for");
}
