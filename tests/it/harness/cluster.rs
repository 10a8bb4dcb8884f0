//! Comparison of whole clusters: pg-backup writes the same bytes as pg_dumpall, and psql restores the same
//! cluster from them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::fidelity::{Dumps, compare_normal, in_our_words, without_moment};
use super::guard::{User, give};
use super::installation::DEFAULT_MAJOR;
use super::postgres::{PASSWORD, Server};
use super::program::{Output, pg_backup, run};

/// Returns the path of a fixture of `tests/fixtures/global`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/global").join(name)
}

/// Creates empty directories for the tablespaces of a fixture, inside the server's directory.
pub fn make_spaces(server: &Server) -> PathBuf {
    let spaces = server.socket().join("spaces");
    for dir in [spaces.clone(), spaces.join("a"), spaces.join("b"), spaces.join("c")] {
        fs::create_dir(&dir).expect("the server's directory is writable");
        give(&dir, User::unprivileged());
    }
    spaces
}

/// Loads a script with psql. psql connects to the database `postgres` first, and to others where the script
/// says so.
pub fn load_cluster(server: &Server, script: &Path, options: &[&str]) -> Output {
    let mut psql = server.tool("psql");
    psql.args(["-X", "-q", "-d", "postgres", "-o", "/dev/null"]).args(server.psql_variables());
    psql.args(options).arg("-f").arg(script);
    run(psql.env("PGOPTIONS", "-c client_min_messages=warning"))
}

/// Starts a server and loads the cluster of a fixture.
pub fn cluster(name: &str) -> Server {
    cluster_of_major(DEFAULT_MAJOR, name)
}

/// Starts a server of a major and loads the cluster of a fixture.
pub fn cluster_of_major(major: u32, name: &str) -> Server {
    let server = Server::start_major(major);
    let spaces = make_spaces(&server);
    let variables = ["a", "b", "c"].map(|space| format!("space_{space}={}/{space}", spaces.display()));
    let options: Vec<&str> = variables.iter().flat_map(|variable| ["-v", variable]).collect();
    let options = [&["-v", "ON_ERROR_STOP=1"], options.as_slice()].concat();
    load_cluster(&server, &fixture(name), &options).expect_success();
    server
}

/// Returns a command for the real pg_dumpall over TCP, with the superuser's password.
pub fn pg_dumpall(server: &Server) -> Command {
    let mut command = server.program("pg_dumpall");
    with_server(&mut command, server);
    command
}

/// Returns a command for `pg-backup dumpall` over TCP, with the superuser's password.
pub fn dumpall(server: &Server) -> Command {
    let mut command = pg_backup();
    with_server(command.arg("dumpall"), server);
    command
}

fn with_server(command: &mut Command, server: &Server) {
    command.args(["-h", "127.0.0.1", "-p", &server.port().to_string(), "-U", "postgres"]);
    command.env("PGPASSWORD", PASSWORD);
}

/// Compares the output of both programs for these options. Returns both outputs unchanged.
pub fn compare_dumpalls(server: &Server, options: &[&str], name: &str) -> Dumps {
    compare_outputs(
        pg_dumpall(server).args(options),
        dumpall(server).args(options),
        &format!("{name} {}", options.join(" ")),
    )
}

/// Compares the output of two commands, including standard error. Both must succeed.
pub fn compare_outputs(theirs: &mut Command, ours: &mut Command, name: &str) -> Dumps {
    let (theirs, ours) = (run(theirs).expect_success(), run(ours).expect_success());
    let said = [in_our_words(&theirs.stderr), ours.stderr];
    let [theirs_said, ours_said] = said.each_ref().map(|said| Said::of(said));
    assert_eq!(ours_said.told, theirs_said.told, "{name}: standard error, pg-backup's first");
    assert_eq!(ours_said.read, theirs_said.read, "{name}: what is read, pg-backup's first");
    for setting in theirs_said.set {
        let is_set = ours_said.set.iter().any(|set| set.contains(&setting));
        assert!(is_set, "{name}: {setting:?} is not executed, but {:?}", ours_said.set);
    }
    let dumps = Dumps { theirs: theirs.stdout, ours: ours.stdout };
    compare_clusters(&dumps, name);
    dumps
}

/// The messages of pg_dumpall or pg-backup. Each program sends its own queries in its own order, so only the
/// sources that they read can be compared.
struct Said {
    /// All lines except the statements and the programs that pg_dumpall runs.
    told: String,
    /// The members of [`READ`] that the queries contain.
    read: BTreeSet<&'static str>,
    /// The other statements.
    set: Vec<String>,
}

impl Said {
    fn of(stderr: &str) -> Said {
        let mut said = Said { told: String::new(), read: BTreeSet::new(), set: Vec::new() };
        for line in stderr.split_inclusive('\n') {
            if let Some(statement) = line.strip_prefix("pg-backup: executing ") {
                said.read.extend(READ.iter().filter(|words| statement.contains(**words)));
                said.set.extend(statement.starts_with("SET ").then(|| statement.trim_end().to_owned()));
            } else if !line.starts_with("pg-backup: running \"") {
                said.told.push_str(line);
            }
        }
        said
    }
}

/// Fragments that identify the query for each kind of object, in either program.
const READ: &[&str] = &[
    "rolname !~ '^pg_'",
    "pg_auth_members",
    "pg_database d ",
    "pg_db_role_setting",
    "pg_parameter_acl",
    "pg_shseclabel",
    "spcname !~ '^pg_'",
    "set_config('search_path', '', false)",
];

/// Compares two dumps of a cluster.
pub fn compare_clusters(dumps: &Dumps, name: &str) {
    compare_normal(dumps, normal, name);
}

/// Returns the dump with fixed words in place of its `\restrict` keys and program versions, after a check of
/// their format.
fn normal(dump: &[u8], program: &str) -> Result<Vec<u8>, String> {
    let dumped_by = format!("-- Dumped by {program} version ");
    let mut open: Option<&[u8]> = None;
    // All keys so far. Those of the current database are at the end, from `earlier` on.
    let (mut seen, mut earlier): (Vec<&[u8]>, usize) = (Vec::new(), 0);
    let mut before: &[u8] = b"";
    let mut normal = Vec::with_capacity(dump.len());
    for line in dump.split_inclusive(|byte| *byte == b'\n') {
        let word = line.trim_ascii_end();
        let (begins, ends) = (word.strip_prefix(b"\\restrict "), word.strip_prefix(b"\\unrestrict "));
        match (begins, ends, open) {
            (Some(key), _, None) if key.len() == 63 && key.iter().all(u8::is_ascii_alphanumeric) => {
                if seen[..earlier].contains(&key) {
                    return Err("uses one \\restrict key for two databases".to_owned());
                }
                seen.push(key);
                open = Some(key);
                normal.extend_from_slice(b"\\restrict KEY\n");
            }
            (_, Some(key), Some(known)) if key == known => {
                open = None;
                normal.extend_from_slice(b"\\unrestrict KEY\n");
            }
            _ if before.starts_with(b"-- Dumped from database version ")
                && line.starts_with(dumped_by.as_bytes()) =>
            {
                normal.extend_from_slice(b"-- Dumped by WHOM\n");
            }
            _ => {
                if open.is_none() && line.starts_with(b"-- Database \"") {
                    earlier = seen.len();
                }
                normal.extend_from_slice(without_moment(line));
            }
        }
        before = line;
    }
    match (open, seen.is_empty()) {
        (None, false) => Ok(normal),
        (None, true) => Err("has no \\restrict line".to_owned()),
        (Some(_), _) => Err("does not end with the \\unrestrict of its last key".to_owned()),
    }
}

/// Restores a dump of `source` with psql into a new cluster, as the manual describes. psql may report only
/// the `expected` errors.
pub fn restored(source: &Server, dump: &[u8], expected: &[&str], name: &str) -> Server {
    restored_by(source, dump, |copy, script| {
        let said = load_cluster(copy, script, &[]).stderr;
        let errors: Vec<&str> =
            said.lines().filter_map(|line| line.split_once("ERROR:  ")).map(|e| e.1).collect();
        assert_eq!(errors, expected, "{name}: psql says\n{said}");
    })
}

/// Restores a dump of `source` into a new cluster with `load`.
fn restored_by(source: &Server, dump: &[u8], load: impl FnOnce(&Server, &Path)) -> Server {
    let copy = Server::start();
    make_spaces(&copy);
    // The tablespaces of the source are on the same machine, so those of the copy need other directories.
    let script = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(script.path(), replaced(dump, &spaces(source), &spaces(&copy))).expect("it is writable");
    load(&copy, script.path());
    copy
}

/// Restores a dump of `source` with psql and compares the output of pg_dumpall for both clusters.
pub fn compare_restored(source: &Server, dump: &[u8], expected: &[&str], name: &str) {
    compare_copy(source, &restored(source, dump, expected, name), name);
}

/// Restores a dump of `source` with `load` and compares the output of pg_dumpall for both clusters.
pub fn compare_restored_by(source: &Server, dump: &[u8], name: &str, load: impl FnOnce(&Server, &Path)) {
    compare_copy(source, &restored_by(source, dump, load), name);
}

fn compare_copy(source: &Server, copy: &Server, name: &str) {
    let [theirs, ours] = [source, copy].map(|server| run(&mut pg_dumpall(server)).expect_success().stdout);
    let ours = replaced(&ours, &spaces(copy), &spaces(source));
    compare_normal(&Dumps { theirs, ours }, |dump, _| normal(dump, "pg_dump"), &format!("{name} restored"));
}

fn spaces(server: &Server) -> String {
    server.socket().join("spaces").display().to_string()
}

fn replaced(text: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from.as_bytes()) {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(to.as_bytes());
        rest = after.get(from.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}
