//! The byte comparison of pg-backup's dumps with pg_dump's.

use std::fs;
use std::path::{Path, PathBuf};

use super::postgres::{Database, Server};
use super::program::{kept_dir, pg_backup, run};

/// Loads a script into an empty database of a server of this major and checks two things: both dumps are equal,
/// and the databases that psql restores from them are equal.
///
/// A line `-- since N` in the script says that older majors have no such objects; then the script must fail to
/// load there. Shorter parts stand between `\if :since_N` and `\endif`.
///
/// Each line `-- dump options: …` in the script adds a comparison with these options; separate the options by
/// spaces. A line `-- copies differ in rows: WHY` excludes the rows when the copies are compared.
pub fn fidelity(major: u32, script: &Path) {
    let name = script.file_stem().expect("a script has a name").to_string_lossy().into_owned();
    let text = fs::read(script).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    let server = Server::start_major(major);
    if since(&text) > major {
        let loaded = server.database().load_bytes(&text);
        assert!(!loaded.status.success(), "{name}: loads although it says that {major} cannot");
        return;
    }
    check_script(&server, &name, &text, |server, database, name| {
        let dumps = compare_dumps(database, &[], name);
        compare_copies(server, &dumps, options_for_copies(&text), name);
        compare_listed(database, &text, name);
    });
}

/// Returns the first major that has the objects of a fixture.
fn since(script: &[u8]) -> u32 {
    let text = String::from_utf8_lossy(script);
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("-- since "));
    lines.next().map_or(0, |major| major.parse().expect("a major follows `-- since`"))
}

/// Returns the options with which pg_dump writes the same dump for all copies of a fixture.
pub fn options_for_copies(script: &[u8]) -> &'static [&'static str] {
    let without_rows = String::from_utf8_lossy(script).contains("\n-- copies differ in rows: ");
    if without_rows { &["--schema-only"] } else { &[] }
}

/// Checks only that both dumps are equal, for a database whose dump cannot be restored.
pub fn equal_dumps(script: &Path) {
    let name = script.file_stem().expect("a script has a name").to_string_lossy().into_owned();
    let text = fs::read(script).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
    with_script(&name, &text, |_, database, name| {
        compare_dumps(database, &[], name);
        compare_listed(database, &text, name);
    });
}

/// Compares the dumps with the options of each `-- dump options: …` line of the script.
fn compare_listed(database: &Database<'_>, script: &[u8], name: &str) {
    let text = String::from_utf8_lossy(script);
    for line in text.lines().filter_map(|line| line.strip_prefix("-- dump options:")) {
        let options: Vec<&str> = line.split_whitespace().collect();
        compare_dumps(database, &options, name);
    }
}

/// Starts a server, loads a script into an empty database and passes both to `check`.
pub fn with_script(name: &str, script: &[u8], check: impl FnOnce(&Server, &Database<'_>, &str)) {
    check_script(&Server::start(), name, script, check);
}

fn check_script(
    server: &Server,
    name: &str,
    script: &[u8],
    check: impl FnOnce(&Server, &Database<'_>, &str),
) {
    let database = server.database();
    let loaded = database.load_bytes(script);
    assert!(loaded.status.success(), "{name}: the script does not load\n{loaded}");
    check(server, &database, name);
}

/// Compares the dumps of a loaded database, then restores both and compares the copies.
pub fn compare_round_trip(server: &Server, database: &Database<'_>, name: &str) {
    let dumps = compare_dumps(database, &[], name);
    compare_copies(server, &dumps, &[], name);
}

/// Both dumps of one database, unchanged.
pub struct Dumps {
    pub theirs: Vec<u8>,
    pub ours: Vec<u8>,
}

/// Compares the output of pg_dump and pg-backup for these options, including their messages.
pub fn compare_dumps(database: &Database<'_>, options: &[&str], name: &str) -> Dumps {
    let name = format!("{name} {}", options.join(" "));
    let theirs = database.run_pg_dump(options).expect_success();
    let ours = run(pg_backup().arg("dump").args(options).args(["-d", &database.url()])).expect_success();
    assert_eq!(ours.stderr, in_our_words(&theirs.stderr), "{name}: standard error, pg-backup's first");
    let dumps = Dumps { theirs: theirs.stdout, ours: ours.stdout };
    compare_bytes(&dumps, &name);
    dumps
}

/// Converts the standard error of pg_dump or pg_dumpall to what pg-backup has to write: with its own program
/// name, and, except in errors, without control characters in names (newlines included).
pub fn in_our_words(stderr: &str) -> String {
    let mut messages: Vec<String> = Vec::new();
    for line in stderr.split_inclusive('\n') {
        let said = line.strip_prefix("pg_dump: ").or(line.strip_prefix("pg_dumpall: "));
        match (said, messages.last_mut()) {
            (Some(rest), _) => messages.push(format!("pg-backup: {rest}")),
            (None, Some(message)) => message.push_str(line),
            (None, None) => messages.push(line.to_owned()),
        }
    }
    for message in &mut messages {
        let is_error = message.starts_with("pg-backup: error: ");
        if let (Some(text), false) = (message.strip_suffix('\n'), is_error) {
            *message = text.replace(char::is_control, "\u{fffd}") + "\n";
        }
    }
    messages.concat()
}

/// Compares a dump that pg-backup wrote elsewhere (for example to a store) with pg_dump's, then restores both
/// and compares the copies.
pub fn compare_stored(server: &Server, database: &Database<'_>, ours: Vec<u8>, name: &str) {
    let dumps = Dumps { theirs: database.pg_dump(&[]), ours };
    compare_bytes(&dumps, name);
    compare_copies(server, &dumps, &[], name);
}

pub fn compare_bytes(dumps: &Dumps, name: &str) {
    if let Err(difference) = same_bytes(dumps, name) {
        panic!("{difference}");
    }
}

/// Compares two dumps after `normal` has removed the parts that may differ. `normal` gets the name of the
/// program that the dump names as its author.
pub fn compare_normal(dumps: &Dumps, normal: impl Fn(&[u8], &str) -> Result<Vec<u8>, String>, name: &str) {
    if let Err(difference) = same_normal(dumps, normal, name) {
        panic!("{difference}");
    }
}

/// Describes the difference between two dumps, if they differ, and keeps both.
pub fn same_bytes(dumps: &Dumps, name: &str) -> Result<(), String> {
    same_normal(dumps, |dump, program| Normal::of(dump, program).map(|normal| normal.0), name)
}

fn same_normal(
    dumps: &Dumps,
    normal: impl Fn(&[u8], &str) -> Result<Vec<u8>, String>,
    name: &str,
) -> Result<(), String> {
    let normal = |dump: &[u8], program: &str| {
        normal(dump, program).map(Normal).map_err(|e| {
            let dir = keep(name, &dumps.theirs, &dumps.ours);
            format!("{name}: {program}'s dump {e}, both are in {}", dir.display())
        })
    };
    same(name, &normal(&dumps.theirs, "pg_dump")?, &normal(&dumps.ours, "pg-backup")?)
}

/// Restores both dumps with psql into empty databases, and compares pg_dump's output for both with these
/// options.
fn compare_copies(server: &Server, dumps: &Dumps, options: &[&str], name: &str) {
    let [theirs, ours] = [("pg_dump", &dumps.theirs), ("pg-backup", &dumps.ours)].map(|(whose, dump)| {
        let copy = server.database();
        let output = copy.load_bytes(dump);
        assert!(output.status.success(), "{name}: restoring {whose}'s dump failed\n{output}");
        copy
    });
    compare_databases(&theirs, &ours, options, name);
}

/// Compares pg_dump's output for two databases with these options.
pub fn compare_databases(theirs: &Database<'_>, ours: &Database<'_>, options: &[&str], name: &str) {
    let [theirs, ours] = [theirs, ours].map(|database| {
        Normal::of(&database.pg_dump(options), "pg_dump")
            .unwrap_or_else(|e| panic!("{name}: pg_dump's dump of the copy {e}"))
    });
    if let Err(difference) = same(&format!("{name} restored"), &theirs, &ours) {
        panic!("{difference}");
    }
}

/// A dump with fixed words in place of the two parts that may differ, after a check of their format.
struct Normal(Vec<u8>);

impl Normal {
    /// `program` is the name in the dump's `Dumped by` line.
    fn of(dump: &[u8], program: &str) -> Result<Normal, String> {
        let lines: Vec<&[u8]> = dump.split_inclusive(|byte| *byte == b'\n').collect();
        let header = &lines[..lines.len().min(10)];
        let dumped_by = format!("-- Dumped by {program} version ");
        let mut authors = header.iter().filter(|line| line.starts_with(dumped_by.as_bytes()));
        let author = *authors.next().ok_or_else(|| format!("has no line {dumped_by:?} in its header"))?;
        let version = author.get(dumped_by.len()).copied().unwrap_or_default();
        if authors.next().is_some() || !version.is_ascii_digit() {
            return Err(format!("says who wrote it twice or without a version: {author:?}"));
        }
        let restrict = header.iter().find_map(|line| line.strip_prefix(b"\\restrict "));
        let key = restrict.ok_or("has no \\restrict line in its header")?.trim_ascii_end();
        if key.is_empty() || !key.iter().all(u8::is_ascii_alphanumeric) {
            return Err(format!("has a \\restrict key of other than letters and digits: {key:?}"));
        }
        let with_key = |word: &str| [word.as_bytes(), key, b"\n"].concat();
        let (open, close) = (with_key("\\restrict "), with_key("\\unrestrict "));
        if !lines.iter().rev().take(3).any(|line| **line == *close) {
            return Err("does not end with \\unrestrict and its own key".to_owned());
        }
        let mut normal = Vec::with_capacity(dump.len());
        for line in &lines {
            match *line {
                line if std::ptr::eq(line, author) => normal.extend_from_slice(b"-- Dumped by WHOM\n"),
                line if line == open => normal.extend_from_slice(b"\\restrict KEY\n"),
                line if line == close => normal.extend_from_slice(b"\\unrestrict KEY\n"),
                line => normal.extend_from_slice(without_moment(line)),
            }
        }
        Ok(Normal(normal))
    }
}

/// Removes the time from a line of a verbose dump.
pub fn without_moment(line: &[u8]) -> &[u8] {
    let heads: [&[u8]; 2] = [b"-- Started on 20", b"-- Completed on 20"];
    heads.into_iter().find(|head| line.starts_with(head)).unwrap_or(line)
}

/// Describes the first difference, with the lines around it.
fn same(name: &str, theirs: &Normal, ours: &Normal) -> Result<(), String> {
    if theirs.0 == ours.0 {
        return Ok(());
    }
    let dir = keep(name, &theirs.0, &ours.0);
    let difference = first_difference(&theirs.0, &ours.0);
    Err(format!("{}: the dumps differ, {difference}both are in {}", name.trim(), dir.display()))
}

/// Keeps two dumps that differ, for inspection.
fn keep(name: &str, theirs: &[u8], ours: &[u8]) -> PathBuf {
    let dir = kept_dir().join("differences").join(name.trim().replace(['/', ' '], "_"));
    fs::create_dir_all(&dir).expect("the target directory is writable");
    fs::write(dir.join("pg_dump.sql"), theirs).expect("the target directory is writable");
    fs::write(dir.join("pg-backup.sql"), ours).expect("the target directory is writable");
    dir
}

/// Describes the first difference of two texts: the lines before it, then some lines of each.
pub fn first_difference(theirs: &[u8], ours: &[u8]) -> String {
    const BEFORE: usize = 6;
    const AFTER: usize = 12;
    let lines = |text: &[u8]| -> Vec<String> {
        text.split(|b| *b == b'\n')
            .map(|line| String::from_utf8_lossy(line).chars().take(300).collect())
            .collect()
    };
    let whole = |text: &[u8]| text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let at = whole(theirs).iter().zip(&whole(ours)).take_while(|(a, b)| a == b).count();
    let (theirs, ours) = (lines(theirs), lines(ours));
    let mut text = format!("first difference at line {} (- pg_dump, + pg-backup):\n", at + 1);
    for line in &theirs[at.saturating_sub(BEFORE)..at] {
        text += &format!("  {line}\n");
    }
    for (mark, side) in [("-", &theirs), ("+", &ours)] {
        for line in side.iter().skip(at).take(AFTER) {
            text += &format!("{mark} {line}\n");
        }
    }
    text
}

#[test]
fn a_difference_is_reported_with_its_line() {
    let report = first_difference(b"one\ntwo\nthree\n", b"one\ntoo\nthree\n");
    assert!(report.starts_with("first difference at line 2"), "{report}");
    assert!(report.contains("  one\n- two\n- three\n"), "{report}");
    assert!(report.contains("+ too\n+ three\n"), "{report}");
}

#[test]
fn only_the_author_and_the_key_are_normalised() {
    let dump = |author: &str, key: &str| {
        format!(
            "--\n-- PostgreSQL database dump\n--\n\n\\restrict {key}\n\n-- Dumped from database version 15.20\n\
             -- Dumped by {author} version 1.0\n\ncopied\n-- Dumped by {author} version 1.0\n\n\\unrestrict {key}\n\n"
        )
    };
    let theirs = Normal::of(dump("pg_dump", "abc1").as_bytes(), "pg_dump").unwrap();
    let ours = Normal::of(dump("pg_dump", "xyz2").as_bytes(), "pg_dump").unwrap();
    assert_eq!(theirs.0, ours.0);
    let other = Normal::of(dump("pg-backup", "abc1").as_bytes(), "pg-backup").unwrap();
    assert_ne!(theirs.0, other.0, "a line below the header is data and stays as it is");
    assert!(Normal::of(dump("pg_dump", "a-b").as_bytes(), "pg_dump").is_err());
    let torn = dump("pg_dump", "abc1").replace("\\unrestrict abc1", "\\unrestrict other");
    assert!(Normal::of(torn.as_bytes(), "pg_dump").is_err());
}
