//! The switches of pg_dump 17 (`--filter`, `--exclude-extension`, the `…-and-children` family) select the
//! same objects in pg-backup, with the same error messages.
//!
//! For a PostgreSQL 15 server, pg_dump 17 writes the same objects as pg_dump 15, but some with another text.
//! So the tests compare only which objects and rows are in the dump.

use std::fs::File;
use std::path::Path;

use crate::harness::fidelity::{in_our_words, with_script};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, pg_backup, run};

const SCRIPT: &str = r#"
CREATE SCHEMA s1;
CREATE SCHEMA "S.2";
CREATE TABLE public.t1 (a int PRIMARY KEY);
CREATE TABLE public.t2 (a int);
CREATE TABLE public."T1" (a int);
CREATE TABLE public."two
lines" (a int);
CREATE TABLE public."back\slash" (a int);
CREATE TABLE public."qu""ote#" (a int);
CREATE TABLE public."a b" (a int);
CREATE TABLE public."a, b" (a int);
CREATE TABLE public."f(int, text)" (a int);
CREATE TABLE s1.t1 (a int);
CREATE TABLE "S.2".t1 (a int);
CREATE VIEW s1.v AS SELECT * FROM s1.t1;
CREATE SEQUENCE s1.seq;
CREATE MATERIALIZED VIEW s1.m AS SELECT 1 AS x;
CREATE TABLE s1.parent (a int) PARTITION BY LIST (a);
CREATE TABLE s1.child PARTITION OF s1.parent FOR VALUES IN (1) PARTITION BY LIST (a);
CREATE TABLE public.grandchild PARTITION OF s1.child FOR VALUES IN (1);
CREATE TABLE s1.heir (b int) INHERITS (public.t2);
CREATE INDEX t1_index ON s1.t1 (a);
CREATE FUNCTION s1.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE EXTENSION citext WITH SCHEMA s1;
CREATE EXTENSION hstore WITH SCHEMA s1;
CREATE EXTENSION file_fdw;
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE SERVER other FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE public.ft (a text) SERVER files OPTIONS (filename '/dev/null');
CREATE FOREIGN TABLE public.fo (a text) SERVER other OPTIONS (filename '/dev/null');
"#;

/// The output of each program for the same switches. pg_dump 17 has no name for plain output.
struct Both {
    theirs: Output,
    ours: Output,
}

/// Runs both programs, with `input` on standard input.
fn run_both(database: &Database<'_>, switches: &[&str], input: &Path) -> Both {
    let stdin = || File::open(input).expect("the input is readable");
    let theirs = run(database.pg_dump_17().args(switches).stdin(stdin()));
    let mut ours = pg_backup();
    ours.args(["dump", "-d", &database.url()]).args(switches);
    Both { theirs, ours: run(ours.stdin(stdin())) }
}

/// Returns the objects and rows in a dump, from the comments before them.
fn announced(dump: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(dump);
    let heads = ["-- Name: ", "-- Data for Name: "];
    let is_head = |line: &&str| heads.iter().any(|head| line.starts_with(head));
    let mut lines: Vec<String> = text.lines().filter(is_head).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Compares the selected objects, or the error message. Describes the difference, if any.
fn difference(both: &Both, what: &str) -> Option<String> {
    let Both { theirs, ours } = both;
    let selected = (announced(&theirs.stdout), announced(&ours.stdout));
    let same = theirs.status.code() == ours.status.code()
        && ours.stderr == in_our_words(&theirs.stderr)
        && selected.0 == selected.1;
    let only = |these: &[String], those: &[String]| {
        these
            .iter()
            .filter(|line| !those.contains(line))
            .map(|line| format!("  {line}\n"))
            .collect::<String>()
    };
    (!same).then(|| {
        format!(
            "{what}\npg_dump 17 alone: {}\n{}pg-backup alone: {}\n{}pg_dump 17: {}pg-backup: {}\n",
            theirs.status,
            only(&selected.0, &selected.1),
            ours.status,
            only(&selected.1, &selected.0),
            theirs.stderr,
            ours.stderr
        )
    })
}

/// Compares a dump with each filter file, given by name or on standard input. Invalid files are given both
/// ways, because the error message names the file.
fn compare_filters(database: &Database<'_>, filters: &[(&[u8], &[&str])], expected_code: i32) {
    let mut differences = String::new();
    for (number, (filter, switches)) in filters.iter().enumerate() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(file.path(), filter).expect("a temporary file can be written");
        let path = file.path().to_str().expect("a temporary path is text");
        let names = [path, "-"];
        let names = if expected_code == 0 { &names[number % 2..][..1] } else { &names[..] };
        for name in names {
            let both = run_both(database, &[switches, &["--filter", name][..]].concat(), file.path());
            let what = format!("{} {switches:?} {name}", String::from_utf8_lossy(filter));
            assert_eq!(both.theirs.status.code(), Some(expected_code), "{what}: {}", both.theirs);
            differences.extend(difference(&both, &what));
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// Compares dumps with each set of switches, with `input` on standard input.
fn compare_switches(database: &Database<'_>, cases: &[&[&str]], input: &Path) {
    let differences = cases
        .iter()
        .filter_map(|switches| difference(&run_both(database, switches, input), &format!("{switches:?}")));
    let differences: String = differences.collect();
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn filter_files_select_what_they_select_in_pg_dump_17() {
    const FILTERS: &[(&[u8], &[&str])] = &[
        (b"", &[]),
        (b"\n# include table t1\n  \t\n\r\n   # nothing\n", &[]),
        (b"include table t1", &[]),
        (b"include table t1 # a comment\n\n#another\n\x0b\x0cINCLUDE\tTaBlE\tpublic . \"T1\"#close\n", &[]),
        (b"include table s1.t1\r\ninclude table t2\r\n", &[]),
        (b"include table s1.*\nexclude table s1.(v|seq)\n", &[]),
        (b"include table t?\n", &["-T", "t2"]),
        (b"exclude table *.t1\nexclude table s1.m", &[]),
        (b"include table \"two\nlines\"\n# after", &[]),
        (b"include table \"two\r\nlines\" # after", &[]),
        (b"include table \"two\\nlines\" . # a name with a dot after it\ninclude table t1", &["-t", "t2"]),
        (b"include table public.\"two\nlines\"\ninclude table t1", &[]),
        (b"include table \"two\\\nlines\"", &[]),
        (b"include table \"back\\\\slash\"\ninclude table \"qu\"\"ote#\"", &[]),
        (b"include table \"t\\q2\"\ninclude table t1", &[]),
        (b"include table \"a b\"\ninclude table  a   b  ", &[]),
        (b"include table a,b\ninclude table f( int ,text )", &["-t", "t1"]),
        (b"include table \"f(int, text)\"\ninclude table \"a, b\"", &[]),
        (b"include table t1\0 t2\n.*\ninclude table t2", &[]),
        (b"include table_and_children s1.parent", &[]),
        (b"include table_and_children t2\nexclude table s1.heir", &[]),
        (b"include table s1.*\nexclude table_and_children s1.child", &[]),
        (b"exclude table_and_children t2\nexclude table_and_children s1.parent", &[]),
        (b"exclude table_data s1.parent\nexclude table_data t2\nexclude table_data s1.m", &[]),
        (b"exclude table_data_and_children s1.parent\nexclude table_data_and_children t2", &[]),
        (b"exclude table_data *", &["-a"]),
        (b"include schema s1\nexclude table s1.v", &[]),
        (b"include schema \"S.2\"\ninclude schema pub*", &[]),
        (b"exclude schema s*\nexclude schema nothing", &[]),
        (b"include schema *\nexclude schema s1\nexclude schema pg_*\nexclude schema inf*", &["-s"]),
        (b"include extension hstore", &[]),
        (b"include extension *\nexclude extension cit*", &[]),
        (b"exclude extension *", &[]),
        (b"include foreign_data files", &[]),
        (b"include foreign_data *\nexclude table fo", &["-a"]),
        (b"include table ft\ninclude foreign_data files", &[]),
        (b"include table nothing\ninclude table t1", &[]),
        (b"exclude table nothing\nexclude schema nothing\nexclude extension nothing", &["--strict-names"]),
        (b"include table t1\ninclude schema s1\ninclude extension citext", &["--strict-names"]),
    ];
    with_script("filters", SCRIPT.as_bytes(), |_, database, _| compare_filters(database, FILTERS, 0));
}

#[test]
fn filter_files_are_refused_in_the_words_of_pg_dump_17() {
    let not_allowed = [
        "include database x",
        "include function x",
        "include index x",
        "include trigger x",
        "include table_data x",
        "include table_data_and_children x",
        "exclude database x",
        "exclude foreign_data x",
        "exclude function x",
        "exclude index x",
        "exclude trigger x",
    ];
    const MALFORMED: &[(&[u8], &[&str])] = &[
        (b"include", &[]),
        (b"include # x", &[]),
        (b"add table x", &[]),
        (b"\n\nadd table x", &[]),
        (b"includes table x", &[]),
        (b"include:table x", &[]),
        (b"1include table x", &[]),
        (b"include view x", &[]),
        (b"include table1 x", &[]),
        (b"include \"table\" x", &[]),
        (b"include table-data x", &[]),
        (b"include table", &[]),
        (b"include table \t ", &[]),
        (b"include table # x", &[]),
        (b"include table\0 x", &[]),
        (b"include table \"x", &[]),
        (b"include table \"x\ninclude table y\n\n", &[]),
        (b"include table t1\nexclude database x\nadd table x", &[]),
        (b"include table nothing", &[]),
        (b"include table nothing\ninclude table t1", &["--strict-names"]),
        (b"include table_and_children nothing\ninclude table nothing_else", &["--strict-names"]),
        (b"include table_and_children nothing", &[]),
        (b"include schema nothing\ninclude schema s1", &["--strict-names"]),
        (b"include schema nothing", &[]),
        (b"include schema a.b", &[]),
        (b"include table a.b.c.d", &[]),
        (b"include table a.b.c", &[]),
        (b"exclude table_and_children a.b.c", &[]),
        (b"include extension nothing", &[]),
        (b"include extension nothing\ninclude extension citext", &["--strict-names"]),
        (b"exclude extension a.b", &[]),
        (b"include foreign_data nothing", &[]),
        (b"include foreign_data files", &["-s"]),
        (b"\xe9include table x", &[]),
        (b"include \xe9 x", &[]),
        (b"exclude table caf\xc3\xa9\ninclude schema caf\xc3\xa9", &[]),
    ];
    let not_allowed = not_allowed.iter().map(|line| (line.as_bytes(), &[][..]));
    let filters: Vec<_> = not_allowed.chain(MALFORMED.iter().copied()).collect();
    with_script("filters", SCRIPT.as_bytes(), |_, database, _| compare_filters(database, &filters, 1));
}

#[test]
fn several_filter_files_add_up() {
    with_script("filters", SCRIPT.as_bytes(), |_, database, _| {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a temporary file can be written");
            path.to_str().expect("a temporary path is text").to_owned()
        };
        let some = file("some", "include table t*\ninclude extension *");
        let fewer = file("fewer", "exclude table t2\nexclude extension cit*");
        let bad = file("bad", "include");
        let (missing, dir) = (format!("{some}.missing"), dir.path().to_str().expect("it is text"));
        let cases: &[&[&str]] = &[
            &["--filter", &some, "--filter", &fewer],
            &["--filter", &fewer, "--filter", &some, "--strict-names"],
            &["--filter", &some, "--filter", "-", "-T", "s1.*"],
            &["--filter", &missing],
            &["--filter", &bad, "--filter", &missing],
            &["--filter", &missing, "--filter", &bad],
            &["--filter", ""],
            &["--filter", dir],
        ];
        compare_switches(database, cases, Path::new(&fewer));
    });
}

#[test]
fn patterns_of_the_newer_switches_select_what_they_select_in_pg_dump_17() {
    const SWITCHES: &[&[&str]] = &[
        &["--table-and-children", "s1.parent"],
        &["--table-and-children", "s1.ch*", "-t", "t1"],
        &["--table-and-children", "t2", "--exclude-table", "s1.heir"],
        &["--table-and-children=s1.*", "--exclude-table-and-children=s1.child"],
        &["--table-and-children", "t1", "--strict-names"],
        &["--table-and-children", "nothing"],
        &["--table-and-children", "nothing", "-t", "no", "--strict-names"],
        &["--table-and-children", "a.b.c.d"],
        &["--exclude-table-and-children", "t2"],
        &["--exclude-table-and-children", "s1.parent", "-n", "s1"],
        &["--exclude-table-and-children", "a.b.c"],
        &["--exclude-table-data-and-children", "t2"],
        &["--exclude-table-data-and-children", "s1.p*", "--exclude-table-data", "t1"],
        &["--exclude-table-data-and-children", "*"],
        &["--exclude-extension", "cit*"],
        &["-e", "*", "--exclude-extension", "cit*"],
        &["-e", "citext", "--exclude-extension", "citext"],
        &["--exclude-extension", "*", "-n", "s1"],
        &["--exclude-extension", "nothing", "--strict-names"],
        &["--exclude-extension", "a.b"],
    ];
    with_script("filters", SCRIPT.as_bytes(), |_, database, _| {
        compare_switches(database, SWITCHES, Path::new("/dev/null"));
    });
}

#[test]
fn a_filter_file_is_in_the_encoding_of_the_database() {
    let server = Server::start();
    let database = server.database_with("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    database.execute(r#"CREATE TABLE U&"t\00e9" (); CREATE TABLE t (); CREATE TABLE U&"t\00e8" ()"#);
    compare_filters(&database, &[(b"include table \"t\xe9\"", &[]), (b"include table t\xe8*", &[])], 0);
    compare_filters(&database, &[(b"include table t\ninclude table t\xea", &["--strict-names"])], 1);
}
