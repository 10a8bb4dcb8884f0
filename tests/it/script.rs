//! Parsing a plain dump: its statements are those that psql sends.

use std::fs;
use std::path::Path;

use pg_backup::restore::script::{ScriptReader, ScriptStep};

use crate::harness::backup_directory::BackupDirectory;
use crate::harness::cost::cost;
use crate::harness::fidelity::compare_databases;
use crate::harness::fixtures::{name, scripts};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{pg_backup, run};
use crate::harness::restore::{DumpForm, gzip, restore};

/// Parses a script in pieces of `size` bytes. Returns its statements and the number of rows between them.
fn statements(script: &[u8], size: usize) -> (Vec<Vec<u8>>, usize) {
    let mut reader = ScriptReader::default();
    let mut pieces = script.chunks(size);
    let (mut statements, mut rows, mut has_ended) = (Vec::new(), 0, false);
    loop {
        match reader.next_step().expect("it is a dump") {
            Some(ScriptStep::Statement(statement)) => statements.push(statement.text.to_vec()),
            Some(ScriptStep::Rows(text)) => rows += text.iter().filter(|b| **b == b'\n').count(),
            Some(ScriptStep::EndOfRows | ScriptStep::Connect { .. }) => {}
            None if has_ended => return (statements, rows),
            None => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => {
                    has_ended = true;
                    reader.finish();
                }
            },
        }
    }
}

/// Returns the statements that a server has logged since its log was `from` bytes long.
fn logged(server: &Server, from: usize) -> Vec<Vec<u8>> {
    let log = server.log_bytes().split_off(from);
    let mut statements: Vec<Vec<u8>> = Vec::new();
    let mut is_inside = false;
    for line in log.split_inclusive(|b| *b == b'\n') {
        // Continuation lines of a statement start with a tab that the log adds.
        if let Some(more) = line.strip_prefix(b"\t").filter(|_| is_inside) {
            statements.last_mut().expect("there is one").extend_from_slice(more);
            continue;
        }
        let marker = b" LOG:  statement: ";
        let at = memchr::memmem::find(line, marker).map(|at| at + marker.len());
        is_inside = at.is_some();
        statements.extend(at.map(|at| line[at..].to_vec()));
    }
    for statement in &mut statements {
        assert_eq!(statement.pop(), Some(b'\n'), "a line of the log has an end");
    }
    statements
}

/// Compares the statements with psql's.
fn compare(server: &Server, database: &Database<'_>, options: &[&str], name: &str) {
    let script = database.pg_dump(options);
    let name = format!("{name} {options:?}");
    let (ours, rows) = statements(&script, 64 << 10);
    for size in [1, 7, 1000] {
        if size * 20_000 > script.len() {
            assert_eq!(
                (&ours, rows),
                (&statements(&script, size).0, statements(&script, size).1),
                "{name} in pieces of {size}"
            );
        }
    }
    let copy = server.database();
    let before = server.log_bytes().len();
    // Some objects of the scripts exist once per cluster. Failed statements are logged, too.
    copy.load_going_on(&script);
    let theirs = logged(server, before);
    for (index, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
        let [ours, theirs] = [ours, theirs].map(|text| String::from_utf8_lossy(text).into_owned());
        assert_eq!(ours, theirs, "{name}: statement {index}, ours first");
    }
    assert_eq!(ours.len(), theirs.len(), "{name}: the number of statements");
}

#[test]
fn statements_are_those_that_psql_sends() {
    let server = Server::start_with(&["log_statement=all"]);
    let scripts = scripts();
    assert!(scripts.len() > 30, "{} fixtures", scripts.len());
    for script in scripts {
        let name = name(&script);
        let database = server.database();
        database.load_going_on(&fs::read(&script).unwrap());
        compare(&server, &database, &[], &name);
        compare(&server, &database, &["--rows-per-insert=3", "-c", "--disable-dollar-quoting"], &name);
    }
}

/// Scripts that change how literals are parsed, and then contain one that ends elsewhere if the parser missed
/// the change.
const TRAPS: [(&str, &[u8]); 13] = [
    ("SET TO", b"SET standard_conforming_strings TO off;\nINSERT INTO t VALUES ('it\\'); DROP TABLE victim; --');"),
    ("set", b"set\nStandard_Conforming_Strings='off';\nINSERT INTO t VALUES ('it\\'); DROP TABLE victim; --');"),
    (
        "set_config",
        b"SELECT set_config('standard_conforming_strings', 'off', false);\n\
          INSERT INTO t VALUES ('it\\'); DROP TABLE victim; --');",
    ),
    (
        "DO",
        b"DO $$BEGIN SET standard_conforming_strings = off; END$$;\n\
          INSERT INTO t VALUES ('it\\'); DROP TABLE victim; --');",
    ),
    (
        "SET LOCAL",
        b"BEGIN;\nSET LOCAL standard_conforming_strings = off;\nINSERT INTO t VALUES ('a\\'); DROP TABLE victim; --');\n\
          COMMIT;\nINSERT INTO t VALUES ('b\\'); INSERT INTO t VALUES ('c;--');",
    ),
    (
        "RESET",
        b"SET standard_conforming_strings = off;\nRESET standard_conforming_strings;\n\
          INSERT INTO t VALUES ('a\\'); INSERT INTO t VALUES ('; DROP TABLE victim; --');",
    ),
    (
        "ROLLBACK",
        b"BEGIN;\nSET standard_conforming_strings = off;\nROLLBACK;\n\
          INSERT INTO t VALUES ('a\\'); INSERT INTO t VALUES ('; DROP TABLE victim; --');",
    ),
    (
        "an error in a transaction",
        b"SET standard_conforming_strings = off;\nBEGIN;\nSET standard_conforming_strings = on;\nSELECT 1/0;\n\
          SELECT 'it\\'; DROP TABLE victim; --';\nROLLBACK;\nINSERT INTO t VALUES ('it\\'); DROP TABLE victim; --');",
    ),
    (
        "a row of COPY in a transaction",
        b"CREATE TABLE n (a integer);\nSET standard_conforming_strings = off;\nBEGIN;\n\
          SET standard_conforming_strings = on;\nCOPY n FROM stdin;\nx\n\\.\n\
          SELECT 'it\\'; DROP TABLE victim; --';\nROLLBACK;\nINSERT INTO t VALUES ('it\\'); DROP TABLE victim; --');",
    ),
    (
        "SJIS",
        b"SET client_encoding TO SJIS;\n\
          INSERT INTO t VALUES (E'\x95\x5c'); INSERT INTO t VALUES ('; DROP TABLE victim; --');",
    ),
    (
        "NAMES",
        b"SET NAMES 'SJIS';\nINSERT INTO t VALUES (E'\x95\x5c'); INSERT INTO t VALUES ('; DROP TABLE victim; --');",
    ),
    (
        "\\encoding",
        b"\\encoding GBK\nINSERT INTO t VALUES (E'\x95\x5c'); INSERT INTO t VALUES ('; DROP TABLE victim; --');",
    ),
    (
        "a quote that belongs to a character that is none",
        b"SET client_encoding = 'sjis';\nINSERT INTO t VALUES ('\x95'); DROP TABLE victim; --');",
    ),
];

#[test]
fn literals_end_where_the_server_ends_them() {
    let server = Server::start();
    let check = |name: &str, script: &[u8], prepare: &dyn Fn(&Database<'_>)| {
        let [theirs, ours] = [server.database(), server.database()].map(|database| {
            database.execute("CREATE TABLE victim (); CREATE TABLE t (a text)");
            prepare(&database);
            database
        });
        let failures = theirs.load_going_on(script).stderr.matches("ERROR:  ").count();
        let said = DumpForm::File.restore(script, &ours, &["--keep-going"]);
        assert_eq!(said.stderr.matches(": ERROR: ").count(), failures, "{name}: {said}");
        assert_eq!(ours.query("SELECT to_regclass('victim')"), "victim", "{name}");
        compare_databases(&theirs, &ours, &[], name);
    };
    for (name, script) in TRAPS {
        check(name, script, &|_| {});
    }
    let off = |database: &Database<'_>| {
        let name = database.name();
        database.execute(&format!("ALTER DATABASE {name} SET standard_conforming_strings = off"));
    };
    check("ALTER DATABASE", b"INSERT INTO t VALUES ('it\\'); DROP TABLE victim; --');", &off);

    // psql parses a whole line with the settings at its start. The server, and so a restore, does not.
    let ours = server.database();
    ours.execute("CREATE TABLE victim (); CREATE TABLE t (a text)");
    let line =
        b"SET standard_conforming_strings TO off; INSERT INTO t VALUES ('it\\'); DROP TABLE victim; --');";
    DumpForm::Pipe.restore(line, &ours, &["--keep-going"]).expect_success();
    assert_eq!(ours.query("SELECT to_regclass('victim'), a FROM t"), "victim|it'); DROP TABLE victim; --");
}

#[test]
fn a_dump_of_a_later_major_is_restored() {
    let server = Server::start();
    let database = server.database();
    database.execute("CREATE TABLE t (a integer PRIMARY KEY); INSERT INTO t VALUES (1)");
    let dump = run(&mut database.pg_dump_17()).expect_success().stdout;
    assert!(memchr::memmem::find(&dump, b"SET transaction_timeout = 0;").is_some());
    for switch in ["--into-existing", "--single-transaction"] {
        let copy = server.database();
        let said = DumpForm::Gzip.restore(&dump, &copy, &[switch]).expect_success();
        assert!(
            said.stderr.contains("unrecognized configuration parameter \"transaction_timeout\""),
            "{said}"
        );
        compare_databases(&database, &copy, &[], switch);
    }
    // The server has no entry for statistics, so the error names the entry of the dump.
    let statistics = b"\n-- PostgreSQL database dump\n\n--\n-- Name: t; Type: TABLE; Schema: public; Owner: o\n--\n\n\
        CREATE TABLE t ();\n--\n-- Statistics for Name: t; Type: STATISTICS DATA; Schema: public; Owner: -\n--\n\n\
        SELECT * FROM pg_catalog.pg_restore_relation_stats('version', '180000'::integer);\nSET no_such_setting = 0;\n\n\
        -- PostgreSQL database dump complete\n";
    let said = DumpForm::Pipe.restore(statistics, &server.database(), &["--keep-going"]).expect_code(1);
    assert!(said.stderr.contains("STATISTICS DATA public.t failed"), "{said}");
    assert!(said.stderr.contains("2 statements failed"), "{said}");
}

#[test]
fn scripts_that_psql_runs_are_run() {
    let server = Server::start();
    let dump = b"-- PostgreSQL database dump\n\n-- Name: t; Type: TABLE; Schema: public; Owner: o\nCREATE TABLE t (a text);\n";
    let end = b"-- PostgreSQL database dump complete\n";
    let scripts: [&[u8]; 5] = [
        b"\xef\xbb\xbfCREATE TABLE t (a text);\n",
        b"CREATE TABLE t (a text);\n/* end; */",
        b"CREATE TABLE t (a text);\nCOPY t FROM stdin; -- note\n1\n\\.\n;;\nCOPY t TO STDOUT;\nCOPY (SELECT 2) TO stdout;\n\
          COPY t FROM stdin;\n2\n\\.\n",
        // Objects that the script itself creates exist before the first entry.
        &[b"CREATE TABLE made (a integer);\n", &dump[..], end].concat(),
        &[&dump[..], end].concat(),
    ];
    for script in scripts {
        let shown = String::from_utf8_lossy(script);
        let [theirs, ours] = [server.database(), server.database()];
        theirs.load_bytes(script).expect_success();
        let said = DumpForm::File.restore(script, &ours, &[]).expect_success();
        assert!(said.stdout_text().starts_with("restored "), "{said}");
        compare_databases(&theirs, &ours, &[], &shown);
        let padded = [gzip(script), vec![0; 10_000]].concat();
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), padded).unwrap();
        let ours = server.database();
        run(&mut restore(path(file.path()), &ours, &[])).expect_success();
        compare_databases(&theirs, &ours, &[], &shown);
    }

    let said = DumpForm::File.restore(dump, &server.database(), &[]).expect_code(6);
    assert!(said.stderr.contains("it is truncated") && said.stderr.contains("--allow-incomplete"), "{said}");
    let ours = server.database();
    DumpForm::File.restore(dump, &ours, &["--allow-incomplete"]).expect_success();
    assert_eq!(ours.query("SELECT to_regclass('t')"), "t");
}

/// Lines with several statements, and joined statements. The rows follow the line.
const LINES: [&[u8]; 8] = [
    b"COPY t FROM stdin; INSERT INTO t VALUES ('2'); INSERT\n1\n\\.\nINTO t VALUES\n('3');\nINSERT INTO t VALUES ('4');\n",
    b"COPY t FROM stdin; COPY u FROM stdin; TRUNCATE u; COPY u FROM stdin; -- note\n1\n\\.\na\n\\.\nb\n\\.\nCOPY t FROM stdin;\n2\n\\.\n",
    b"COPY t FROM stdin; /* goes\n1\n\\.\non */ SET standard_conforming_strings TO off;\nINSERT INTO t VALUES ('it\\'); --');",
    b"INSERT INTO t VALUES ('1') \\; COPY t FROM stdin;\n2\n\\.\nINSERT INTO t VALUES ('3');\n",
    b"COPY t FROM stdin \\; INSERT INTO t VALUES ('2')\\;COPY u FROM stdin; INSERT INTO t VALUES ('3'); COPY t FROM stdin;\n\
      1\n\\.\nx\ny\n\\.\n4\n\\.\nINSERT INTO t VALUES ('5');\n",
    b"\\;INSERT INTO t VALUES ('a'\\:\\:text) \\; SELECT a FROM t \\; COPY t TO STDOUT \\; COPY t FROM stdin \\; COPY t TO STDOUT;\nb\n\\.\n",
    // All of it is rolled back, including the statements before it.
    b"INSERT INTO t VALUES ('1');\nINSERT INTO t VALUES ('2') \\; COPY t FROM stdin \\; COPY n FROM stdin \\; INSERT INTO t VALUES ('4');\n\
      3\n\\.\nx\n1\n\\.\nINSERT INTO t VALUES ('5');\nCOPY n FROM stdin; INSERT INTO t VALUES ('6');\n7\n\\.\n",
    b"INSERT INTO t VALUES ('1') \\; COMMIT \\; INSERT INTO t VALUES ('2') \\; INSERT INTO n VALUES ('x');\n\
      BEGIN \\; COPY n FROM stdin;\n1\n\\.\nROLLBACK;\nCOPY n FROM stdin;\n2\n\\.\n",
];

#[test]
fn lines_of_several_statements_are_run_as_psql_runs_them() {
    let server = Server::start_with(&["log_statement=all"]);
    for script in LINES {
        let shown = String::from_utf8_lossy(script);
        let [theirs, ours] = [server.database(), server.database()].map(|database| {
            database.execute("CREATE TABLE t (a text); CREATE TABLE u (a text); CREATE TABLE n (a integer)");
            database
        });
        let before = server.log_bytes().len();
        let failures = theirs.load_going_on(script).stderr.matches("ERROR:  ").count();
        let sent = logged(&server, before);
        let before = server.log_bytes().len();
        let said = DumpForm::File.restore(script, &ours, &["--keep-going", "--into-existing"]);
        assert_eq!(said.stderr.matches(": ERROR: ").count(), failures, "{shown}: {said}");
        let received = logged(&server, before);
        compare_databases(&theirs, &ours, &[], &shown);
        for statement in sent.iter().filter(|statement| statement.contains(&b';')) {
            let statement = String::from_utf8_lossy(statement);
            // A single COPY is sent as a prepared statement, and comments before a statement are not sent.
            let is_there = |received: &Vec<u8>| statement.as_bytes().ends_with(received);
            assert!(
                statement.starts_with("COPY") && !statement.trim_end_matches(';').contains(';')
                    || received.iter().any(is_there),
                "{shown}: {statement} is not among {}",
                String::from_utf8_lossy(&received.join(&b'|'))
            );
        }
        if failures == 0 {
            let copy = server.database();
            copy.execute("CREATE TABLE t (a text); CREATE TABLE u (a text); CREATE TABLE n (a integer)");
            DumpForm::Pipe.restore(script, &copy, &["-1", "--into-existing"]).expect_success();
            compare_databases(&theirs, &copy, &[], &shown);
        }
    }
    // The first failure ends the statement, and the reported line is the statement's.
    let database = server.database();
    database.execute("CREATE TABLE n (a integer)");
    let script = b"\nCOPY n FROM stdin; SELECT 1 \\; COPY n FROM stdin \\; COPY n FROM stdin; SELECT 2;\n1\n\\.\n2\n\\.\nx\n3\n\\.\n";
    let said = DumpForm::File.restore(script, &database, &["--into-existing"]).expect_code(1);
    assert!(said.stderr.contains("line 2") && said.stderr.contains("invalid input syntax"), "{said}");
    assert_eq!(database.query("SELECT a FROM n"), "1");
}

#[test]
fn a_long_statement_is_held_once() {
    let server = Server::start();
    let database = server.database();
    let file = tempfile::NamedTempFile::new().unwrap();
    let measure = |length: usize| {
        let text = [b"SELECT octet_length('", &vec![b'x'; length][..], b"');\n"].concat();
        fs::write(file.path(), text).unwrap();
        cost(&mut restore(path(file.path()), &database, &["--into-existing"])).mib()
    };
    let (short, long) = (measure(1), measure(64 << 20));
    assert!(long < short + 64.0 * 1.5, "{short} MiB, and {long} MiB with a statement of 64 MiB");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a temporary file's name is text")
}

#[test]
fn what_cannot_be_read_is_named() {
    let server = Server::start();
    let database = server.database();
    for (magic, program) in
        [(&b"BZh91AY"[..], "bzip2"), (b"\x04\x22\x4d\x18", "lz4"), (b"\xfd7zXZ\0\0", "xz")]
    {
        let packed = [magic, &b"\x01rest"[..]].concat();
        let said = DumpForm::Pipe.restore(&packed, &database, &[]).expect_code(1);
        assert!(said.stderr.contains(&format!("is compressed with {program}; only gzip and zstd")), "{said}");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut command = pg_backup();
    command.current_dir(directory.path()).args(["restore", "nofile.sql", "--to", &database.url()]);
    let said = run(&mut command).expect_code(2);
    assert!(said.stderr.contains("file nofile.sql does not exist"), "{said}");
}

/// psql takes these words for those of a body and finds no end of the statement.
pub const ROUTINES: &str = "
CREATE FUNCTION begin(x integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE SCHEMA begin;
CREATE FUNCTION begin.f() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE begin.begin(\"case\" integer, \"end\" integer) LANGUAGE sql AS 'SELECT 1';
CREATE TABLE w (begin integer);
CREATE FUNCTION g() RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT w.begin FROM w; SELECT 1; END;
CREATE FUNCTION \"q
--

ALTER FUNCTION\"() RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END;
ALTER FUNCTION begin.f() OWNER TO pg_database_owner;
ALTER FUNCTION g() DEPENDS ON EXTENSION plpgsql;
COMMENT ON FUNCTION begin.f() IS 'begin';
REVOKE ALL ON FUNCTION begin.f() FROM public;";

#[test]
fn routines_with_the_words_of_a_body_are_restored_from_a_backup() {
    let server = Server::start();
    let database = server.database();
    database.execute(ROUTINES);
    let failed = server.database().load_bytes(&database.pg_dump(&[]));
    assert!(!failed.status.success(), "psql reads it, and docs/restore.md says that it does not: {failed}");
    let saved = BackupDirectory::of(&database, "gzip");
    for switches in [&["-j1"][..], &["-j4"], &["-1"], &["--keep-going"]] {
        let copy = server.database();
        saved.restore(&copy, switches).expect_success();
        compare_databases(&database, &copy, &[], &format!("{switches:?}"));
    }
    let copy = server.database();
    saved.restore(&copy, &["--no-owner"]).expect_success();
    compare_databases(&database, &copy, &["--no-owner"], "--no-owner");
}
