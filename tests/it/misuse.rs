//! `pg-backup dump` and `dumpall` report errors in a command line with the same text as pg_dump and
//! pg_dumpall.
//!
//! The tests need no server, because each command line is rejected before a connection is made.

use std::process::Command;

use crate::harness::installation::BIN;
use crate::harness::program::{pg_backup, run, without_settings};

/// Command lines that pg_dump rejects. The list excludes abbreviations that also match options of later
/// releases, and archive formats, for which pg-backup has other messages.
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

/// The same for pg_dumpall.
const REFUSED_BY_DUMPALL: &[&[&str]] = &[
    &["a"],
    &["-g", "a", "b"],
    &["--", "-g"],
    &["-g", "-r"],
    &["-g", "-t"],
    &["-r", "-t"],
    &["-g", "-r", "-t"],
    &["-r", "-t", "--if-exists"],
    &["-g", "-t", "--if-exists"],
    &["--if-exists"],
    &["-a", "--if-exists"],
    &["--exclude-database=x", "-g"],
    &["--exclude-database", "x", "-r", "-g"],
    &["--exclude-database=x", "-t", "--if-exists"],
    &["--foo"],
    &["--foo=bar"],
    &["-q"],
    &["-gq"],
    &["-n", "x"],
    &["-f"],
    &["--file"],
    &["-gl"],
    &["--role"],
    &["--exclude-database"],
    &["--lock-wait"],
    &["--globals-only=1"],
    &["--inserts="],
    &["--no"],
    &["--no-r=1"],
    &["--no-t"],
    &["--no-p"],
    &["--s"],
    &["--r"],
    &["--d"],
    &["--data"],
    &["--c"],
    &["--in=1"],
    &["--restrict-key=a-b"],
    &["--restrict-key="],
];

/// Converts a tool's error to the form that pg-backup must write: getopt's own lines have another format.
fn expected(stderr: &str, path: &str, tool: &str, verb: &str) -> String {
    let line = |line: &str| {
        let line = line.replacen(&format!("{path}: "), &format!("{tool}: error: "), 1);
        if let Some(hint) = line.strip_prefix(&format!("{tool}: hint: ")) {
            return format!("HINT: {}\n", hint.replace(tool, &format!("pg-backup {verb}")));
        }
        format!("{}\n", line.replacen(&format!("{tool}: "), "pg-backup: ", 1))
    };
    stderr.lines().map(line).collect()
}

fn compare_complaints(tool: &str, verb: &str, refused: &[&[&str]]) {
    let path = format!("{BIN}/{tool}");
    let mut differences = String::new();
    for arguments in refused {
        let theirs = run(without_settings(&mut Command::new(&path)).args(*arguments)).expect_code(1);
        let ours = run(pg_backup().arg(verb).args(*arguments)).expect_code(1);
        let expected = expected(&theirs.stderr, &path, tool, verb);
        if ours.stderr != expected || !ours.stdout.is_empty() {
            differences += &format!("{arguments:?}\n  {tool}:   {expected}  pg-backup: {ours}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

#[test]
fn complaints_are_those_of_pg_dump() {
    compare_complaints("pg_dump", "dump", REFUSED);
}

#[test]
fn complaints_are_those_of_pg_dumpall() {
    compare_complaints("pg_dumpall", "dumpall", REFUSED_BY_DUMPALL);
}

#[test]
fn the_mode_for_pg_upgrade_is_refused_in_words() {
    for verb in ["dump", "dumpall"] {
        let refused = run(pg_backup().args([verb, "--binary-upgrade"])).expect_code(1);
        assert!(refused.stderr.contains("--binary-upgrade is not supported"), "{refused}");
    }
}
