//! Reading a plain dump: the statements are those that psql makes of it.

use std::fs;

use pg_backup::restore::script::{ScriptReader, Step};

use crate::harness::fixtures::{name, scripts};
use crate::harness::postgres::{Database, Server};

/// The statements of a script, and how many rows stand between them, read in pieces of `size` bytes.
fn statements(script: &[u8], size: usize) -> (Vec<Vec<u8>>, usize) {
    let mut reader = ScriptReader::default();
    let mut pieces = script.chunks(size);
    let (mut statements, mut rows, mut has_ended) = (Vec::new(), 0, false);
    loop {
        match reader.next_step().expect("it is a dump") {
            Some(Step::Statement(statement)) => statements.push(statement.text.to_vec()),
            Some(Step::Rows(text)) => rows += text.iter().filter(|b| **b == b'\n').count(),
            Some(Step::EndOfRows | Step::Connect { .. }) => {}
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

/// The statements that a server's log shows since it was `from` bytes long.
fn logged(server: &Server, from: usize) -> Vec<Vec<u8>> {
    let log = server.log_bytes().split_off(from);
    let mut statements: Vec<Vec<u8>> = Vec::new();
    let mut is_inside = false;
    for line in log.split_inclusive(|b| *b == b'\n') {
        // Further lines of a statement begin with a tab of the log's own.
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

/// Compares with psql.
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
    // Some of what the scripts need is there once in a cluster; what fails is logged all the same.
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
