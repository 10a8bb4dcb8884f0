//! `pg-backup dump` complains about a command line as pg_dump does, word for word.
//!
//! Nothing here needs a server: each command line is refused before a connection is made.

use std::process::Command;

use crate::harness::postgres::BIN;
use crate::harness::program::{pg_backup, run, without_settings};

/// Command lines that pg_dump refuses. Left out are abbreviations that also fit options of later
/// releases, and archive formats, which pg-backup refuses in words of its own.
const REFUSED: &[&[&str]] = &[
    &["-a", "-s"],
    &["-s", "--include-foreign-data=x"],
    &["-j", "2", "--include-foreign-data=x"],
    &["-a", "-c"],
    &["--if-exists"],
    &["--on-conflict-do-nothing"],
    &["-a", "--on-conflict-do-nothing", "-s"],
    &["-F", "x"],
    &["-F", ""],
    &["-j", "0"],
    &["-j", "abc"],
    &["-j", " 1x"],
    &["-j", "99999999999"],
    &["-Z", "10"],
    &["-Z", "x"],
    &["-Z", "-1"],
    &["--extra-float-digits", "4"],
    &["--extra-float-digits=-99"],
    &["--rows-per-insert", "0"],
    &["--rows-per-insert", "9999999999"],
    &["--section", "foo"],
    &["--section="],
    &["a", "b"],
    &["-d", "a", "b", "c"],
    &["--", "a", "b"],
    &["--foo"],
    &["--foo=bar"],
    &["-q"],
    &["-aq"],
    &["-f"],
    &["--file"],
    &["-ax", "-n"],
    &["--role"],
    &["--lock-wait"],
    &["--data-only=1"],
    &["--verb=3"],
    &["--inserts="],
    &["--no"],
    &["--no-t"],
    &["--s"],
    &["--in"],
    &["--schem"],
    &["--restrict-key=a-b"],
    &["--restrict-key="],
];

/// pg_dump's complaint as pg-backup has to give it: getopt's own lines have another form.
fn expected(stderr: &str, program: &str) -> String {
    let line = |line: &str| {
        let line = line.replacen(&format!("{program}: "), "pg_dump: error: ", 1);
        if let Some(hint) = line.strip_prefix("pg_dump: hint: ") {
            return format!("HINT: {}\n", hint.replace("pg_dump", "pg-backup dump"));
        }
        format!("{}\n", line.replacen("pg_dump: ", "pg-backup: ", 1))
    };
    stderr.lines().map(line).collect()
}

#[test]
fn complaints_are_those_of_pg_dump() {
    let pg_dump = format!("{BIN}/pg_dump");
    let mut differences = String::new();
    for arguments in REFUSED {
        let theirs = run(without_settings(&mut Command::new(&pg_dump)).args(*arguments)).expect_code(1);
        let ours = run(pg_backup().arg("dump").args(*arguments)).expect_code(1);
        let expected = expected(&theirs.stderr, &pg_dump);
        if ours.stderr != expected || !ours.stdout.is_empty() {
            differences += &format!("{arguments:?}\n  pg_dump:   {expected}  pg-backup: {ours}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}
