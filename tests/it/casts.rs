//! Users may create a cast between two system types for which PostgreSQL has none. No query of pg-backup uses
//! such a cast.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use regex_lite::Regex;

use crate::harness::fidelity::{compare_dumps, first_difference};
use crate::harness::fixtures::scripts;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::program::{Output, pg_backup, run};
use crate::harness::restore::DumpForm;
use crate::harness::samples::sample;
use crate::harness::sidecar::Sidecar;

/// Creates a cast for each pair of types without one. Its function raises an error and only superusers may
/// execute it, which the server checks before a query returns its first row. The casts are members of an
/// extension, so no dump contains them. Array types are paired only if a query may use them.
const TRAPS: &str = r"
DO $do$
DECLARE
  pair record;
BEGIN
  IF pg_catalog.to_regnamespace('traps') IS NULL THEN
    CREATE SCHEMA traps;
    ALTER EXTENSION plpgsql ADD SCHEMA traps;
  END IF;
  FOR pair IN
    WITH t AS (SELECT oid, typname, typcategory, format_type(oid, NULL) AS name
                 FROM pg_type
                WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm')),
         a AS (SELECT oid FROM t WHERE typname IN ('_text', '_oid', '_int2', '_int4'))
    SELECT s.name AS source, t.name AS target, format('f%s_%s', s.oid, t.oid) AS function
      FROM t AS s, t AS t
     WHERE s.oid <> t.oid AND {which}
       AND (s.typcategory <> 'A' OR s.oid IN (SELECT oid FROM a) OR t.typname = '_text')
       AND (t.typcategory <> 'A' OR t.oid IN (SELECT oid FROM a) OR s.typname = '_text')
       AND NOT EXISTS (SELECT FROM pg_cast c WHERE c.castsource = s.oid AND c.casttarget = t.oid)
  LOOP
    EXECUTE format('CREATE FUNCTION traps.%s(%s) RETURNS %s LANGUAGE plpgsql AS %L',
                   pair.function, pair.source, pair.target,
                   format('BEGIN RAISE ''the cast from %s to %s was used''; END', pair.source, pair.target));
    EXECUTE format('REVOKE ALL ON FUNCTION traps.%s FROM public', pair.function);
    EXECUTE format('ALTER EXTENSION plpgsql ADD FUNCTION traps.%s', pair.function);
    EXECUTE format('CREATE CAST (%s AS %s) WITH FUNCTION traps.%s AS ASSIGNMENT',
                   pair.source, pair.target, pair.function);
    EXECUTE format('ALTER EXTENSION plpgsql ADD CAST (%s AS %s)', pair.source, pair.target);
  END LOOP;
END $do$;
";

/// A role that may read everything, but is not a superuser.
const READER: &str =
    "CREATE ROLE reader LOGIN BYPASSRLS PASSWORD '{password}'; GRANT pg_read_all_data TO reader;";

/// Creates the casts. `which` selects the source types.
fn set_traps(database: &Database<'_>, which: &str) {
    let traps = || database.query("SELECT count(*) FROM pg_cast WHERE oid >= 16384").parse::<u32>().unwrap();
    let before = traps();
    database.load_bytes(TRAPS.replace("{which}", which).as_bytes()).expect_success();
    assert!(traps() > before + 50, "{}", traps());
}

fn reader() -> String {
    READER.replace("{password}", PASSWORD)
}

fn dump(database: &Database<'_>, options: &[&str]) -> Output {
    run(pg_backup().arg("dump").args(["-d", &database.url()]).args(options)).expect_success()
}

/// Loads all fixtures and a sample into one database.
fn load_all(database: &Database<'_>) {
    for script in scripts().iter().chain(&[sample("pagila")]) {
        database.load_going_on(&fs::read(script).unwrap());
    }
    let size = "SELECT count(*) > 200 FROM pg_class WHERE oid >= 16384 AND relkind = 'r'";
    assert_eq!(database.query(size), "t");
}

#[test]
fn a_dump_uses_no_cast_that_users_made() {
    let server = Server::start_with(&["lo_compat_privileges=on"]);
    let database = server.database();
    load_all(&database);
    database.execute(&reader());
    let globals = |role: &[&str]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        let url = database.url();
        run(pg_backup().args(["dumpall", "-g", "-d", &url]).args(role).arg("-f").arg(file.path()))
            .expect_success();
        fs::read(file.path()).unwrap()
    };
    let roles: [&[&str]; 2] = [&[], &["--role=reader", "--no-role-passwords"]];
    let before = roles.map(globals);
    set_traps(&database, "s.typname NOT LIKE '%vector'");
    let options: [&[&str]; 4] = [
        &["--inserts"],
        &["--role=reader", "-a"],
        &["--role=reader", "-s", "--clean", "--if-exists", "--create", "--quote-all-identifiers"],
        &["--role=reader", "-s", "-t", "*.a*"],
    ];
    let dumps = options.map(|options| compare_dumps(&database, options, "casts").ours);
    // pg_dump itself fails with these.
    set_traps(&database, "s.typname LIKE '%vector'");
    for (options, before) in options.iter().zip(dumps) {
        let after = dump(&database, &[*options, &["-j", "3"]].concat());
        compare_same(&before, &after.stdout, &format!("casts {}", options.join(" ")));
    }
    for (before, after) in before.iter().zip(roles.map(globals)) {
        compare_same(before, &after, "casts globals");
    }
}

/// Compares the bytes, except the random key.
fn compare_same(before: &[u8], after: &[u8], name: &str) {
    let normal = |dump: &[u8]| {
        let lines = dump.split_inclusive(|byte| *byte == b'\n');
        let is_key = |line: &&[u8]| line.starts_with(b"\\restrict ") || line.starts_with(b"\\unrestrict ");
        lines.filter(|line| !is_key(line)).flatten().copied().collect::<Vec<u8>>()
    };
    assert!(before.len() > 100, "{name}");
    let (before, after) = (normal(before), normal(after));
    assert!(before == after, "{name}: {}", first_difference(&before, &after));
}

/// The lock watch, `check`, `drill` and `restore` send queries of their own.
#[test]
fn rounds_checks_drills_and_restores_use_no_cast_that_users_made() {
    let (server, sandbox, store) = (Server::start(), Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.execute(
        "CREATE TABLE t (a integer PRIMARY KEY, b text[]);
         INSERT INTO t VALUES (1, '{one}'), (2, '{NULL}');
         CREATE UNLOGGED TABLE u (a integer);
         CREATE FUNCTION f(integer) RETURNS integer LANGUAGE sql AS 'SELECT $1';
         CREATE TYPE color AS ENUM ('red');
         SELECT lo_from_bytea(4711, 'large object');
         GRANT SELECT ON LARGE OBJECT 4711 TO public;",
    );
    database.execute(&reader());
    set_traps(&database, "true");
    // The database of a drill is a copy of this one.
    let connections = |allowed| {
        let set = format!("UPDATE pg_database SET datallowconn = {allowed} WHERE datname = 'template0'");
        sandbox.existing("postgres").execute(&set);
    };
    connections(true);
    set_traps(&sandbox.existing("template0"), "true");
    connections(false);
    set_traps(&sandbox.existing("postgres"), "true");

    let url = database.url_without_password().replacen("postgres@", "reader@", 1);
    let sidecar = Sidecar::with_directory(store.path())
        .database_at("main", &url, PASSWORD)
        .set("BACKUP_JOBS", "2")
        .set("BACKUP_ON_BLOCKED", "warn")
        .set("BACKUP_ON_BLOCKED_AFTER", "1s")
        .set("BACKUP_GLOBALS", "on")
        .set("BACKUP_DRILL_URL", &sandbox.existing("postgres").url());
    let checked = sidecar.run(&["check"]).expect_success();
    assert!(!checked.stdout_text().contains("error"), "{checked}");

    // The dump waits for a lock, and the watch reports it.
    let lock = database.lock("u");
    let mut round = sidecar.start(&["run"]);
    round.wait_for("what the watch sees", |log| log.contains("main: the dump waits for table public.u"));
    drop(lock);
    let (code, log) = round.finish();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("cannot read which sessions wait"), "{log}");

    let drilled = sidecar.run(&["drill"]).expect_success();
    assert!(drilled.stdout_text().contains("equal"), "{drilled}");

    // The target is checked before anything is restored into it.
    let empty = sandbox.database();
    let restored = dump(&database, &[]).stdout;
    DumpForm::Pipe.restore(&restored, &empty, &[]).expect_success();
    for (target, object) in [(&database, "table public.t"), (&empty, "large object 4711")] {
        let refused = DumpForm::Pipe.restore(&restored, target, &[]).expect_code(1);
        assert!(
            refused.stderr.contains("is not empty: it contains ") && refused.stderr.contains(object),
            "{refused}"
        );
    }
    for server in [&server, &sandbox] {
        let log = server.log();
        assert!(!log.contains("was used") && !log.contains("permission denied for function"), "{log}");
    }
}

/// Every cast in a query is between two types that the system catalog has a cast for.
#[test]
fn queries_name_no_cast_that_users_may_make() {
    let server = Server::start();
    let database = server.existing("postgres");
    let lines = |sql: &str| database.query(sql).lines().map(str::to_owned).collect::<BTreeSet<String>>();
    let known = lines(
        "SELECT s.typname || '>' || t.typname FROM pg_cast c, pg_type s, pg_type t WHERE s.oid = castsource AND t.oid = casttarget",
    );
    let types = lines("SELECT typname FROM pg_type");
    let mut sources: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, of) in [
        (
            "a.attname",
            "FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_class c ON c.oid = a.attrelid
              WHERE c.relnamespace = 'pg_catalog'::regnamespace AND c.relkind IN ('r', 'v')",
        ),
        ("p.proname || '()'", "FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype"),
    ] {
        for line in lines(&format!("SELECT DISTINCT {name} || ' ' || t.typname {of}")) {
            let (name, of) = line.split_once(' ').unwrap();
            sources.entry(name.to_owned()).or_default().insert(of.to_owned());
        }
    }
    // Expressions of other forms, and a column whose name another catalog also has.
    for (name, of) in [("coalesce()", "int4"), ("extract()", "numeric"), ("number", "int4")] {
        sources.insert(name.to_owned(), BTreeSet::from([of.to_owned()]));
    }
    let cast =
        Regex::new(r#"(?i)(\w+\.\w+|[)'}\]]|\$\d|\bNULL|\b\d+)::(?:pg_catalog\.)?\\?"?(\w+)\\?"?(\[\])?(?:::(?:pg_catalog\.)?(\w+))?"#)
            .unwrap();
    let (mut seen, mut bad) = (0, Vec::new());
    for file in source_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for found in cast.captures_iter(text) {
            let (expression, target) = (&found[1], &found[2]);
            let line = text[..found.get(0).unwrap().start()].lines().last().unwrap_or_default();
            if line.trim_start().starts_with("//") || !types.contains(target) {
                continue;
            }
            seen += 1;
            if let Some(then) = found.get(4).map(|then| then.as_str())
                && !known.contains(&format!("{target}>{then}"))
            {
                bad.push(format!("{}: {}", file.display(), &found[0]));
            }
            let of: BTreeSet<String> = match expression {
                // Untyped literals and parameters take the type of the cast.
                "'" | "]" | "}" => continue,
                constant if constant.starts_with('$') || constant.eq_ignore_ascii_case("null") => continue,
                number if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                    BTreeSet::from(["int4".to_owned()])
                }
                ")" => {
                    let function = called(&text[..found.get(1).unwrap().end()]);
                    sources.get(&function).cloned().unwrap_or_default()
                }
                column => {
                    let name = column.rsplit('.').next().unwrap_or_default();
                    sources.get(name).cloned().unwrap_or_default()
                }
            };
            let is_known = |of: &String| of == target || known.contains(&format!("{of}>{target}"));
            if found.get(3).is_some() || of.is_empty() || !of.iter().all(is_known) {
                bad.push(format!("{}: {} of {of:?}", file.display(), &found[0]));
            }
        }
    }
    assert!(seen > 100, "{seen}");
    assert!(bad.is_empty(), "{bad:#?}");
}

/// Returns the function whose call ends the text.
fn called(text: &str) -> String {
    let mut depth = 0;
    for (at, byte) in text.bytes().enumerate().rev() {
        depth += match byte {
            b')' => 1,
            b'(' => -1,
            _ => 0,
        };
        if depth == 0 {
            let name = text[..at].rsplit(|char: char| !char.is_ascii_alphanumeric() && char != '_').next();
            return format!("{}()", name.unwrap_or_default().to_ascii_lowercase());
        }
    }
    String::new()
}

fn source_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(source_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
