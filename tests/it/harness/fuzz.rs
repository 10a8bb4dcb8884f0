//! The comparison of one generated database: its dumps (with options too), its copy, and the dumps of the
//! copy.

use std::collections::BTreeSet;
use std::fmt;

use super::fidelity::{Dumps, in_our_words, same_bytes};
use super::generate::{CLUSTER, Script};
use super::postgres::{Database, Server};
use super::program::{Output, keep_case, pg_backup, run};

/// The warnings of pg_dump about dumps that may not restore completely.
const WARNINGS: &[&str] = &["could not resolve dependency loop", "not in correct section order"];

/// Starts a server of a major with the roles and tablespaces that generated databases use.
pub fn server(major: u32) -> Server {
    let server = Server::start_major(major);
    let loaded = server.existing("postgres").load_bytes(CLUSTER.as_bytes());
    assert!(loaded.status.success(), "{loaded}");
    server
}

/// The results for one generated database.
pub struct Seen {
    pub seed: u64,
    pub statements: usize,
    /// The number of statements that the server rejected.
    pub refused: usize,
    /// The number of lines of the dump.
    pub lines: usize,
    pub options: String,
    /// The error at which psql stopped when it restored the dump.
    pub broken: Option<String>,
    /// Whether that error is expected: pg_dump warned about it, or the script changed catalogs by hand.
    pub is_excused: bool,
    /// The kinds of the dump's entries.
    pub kinds: BTreeSet<String>,
    /// The first errors of the server, for work on the generator.
    pub complaints: String,
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Seen { seed, statements, refused, lines, options, .. } = self;
        let restored = if self.broken.is_none() { "" } else { ", restored as far as pg_dump's" };
        write!(
            f,
            "seed {seed}: {statements} statements ({refused} refused), {lines} lines, options {options}{restored}"
        )
    }
}

/// Loads the script into a new database of the server and compares everything. An error contains the seed,
/// and the script is kept.
pub fn compare(server: &Server, script: &Script) -> Result<Seen, String> {
    compare_all(server, script).map_err(|difference| {
        let path = keep_case(&format!("seed-{}.sql", script.seed), script.text());
        format!(
            "seed {0}: {difference}\nThe script is {1}; `make fuzz-schema SEED={0}` runs it again.",
            script.seed,
            path.display()
        )
    })
}

fn compare_all(server: &Server, script: &Script) -> Result<Seen, String> {
    let name = format!("fuzz-{}", script.seed);
    // A server without ICU gets the default locale instead.
    let clauses = if server.has_icu() || !script.database.contains("icu") { script.database } else { "" };
    let database = server.database_with(clauses);
    let loaded = database.load_going_on(script.text().as_bytes());
    let complaints = errors(&loaded.stderr);
    let (dump, said) = same_dumps(&database, &[], &name)?;
    let dump = dump.ok_or("pg_dump dumps nothing of it")?;
    let options: Vec<&str> = script.options.iter().map(String::as_str).collect();
    same_dumps(&database, &options, &name)?;
    let broken = same_copies(server, clauses, &dump, &name)?;
    let text = String::from_utf8_lossy(&dump.theirs);
    Ok(Seen {
        seed: script.seed,
        statements: script.statements.len(),
        refused: complaints.len(),
        lines: text.lines().count(),
        options: format!("{:?}", script.options),
        broken,
        is_excused: script.by_hand || WARNINGS.iter().any(|words| said.contains(words)),
        kinds: kinds(&text),
        complaints: complaints.join("\n"),
    })
}

/// Returns the lines that report an error.
fn errors(stderr: &str) -> Vec<&str> {
    stderr.lines().filter(|line| line.starts_with("ERROR:  ")).collect()
}

/// Compares the output, the messages and the exit codes of both programs. Returns the dumps, unless both
/// programs fail, and pg_dump's messages.
fn same_dumps(
    database: &Database<'_>,
    options: &[&str],
    name: &str,
) -> Result<(Option<Dumps>, String), String> {
    let name = format!("{name} {}", options.join(" "));
    let theirs = database.run_pg_dump(options);
    let ours = run(pg_backup().arg("dump").args(options).args(["-d", &database.url()]));
    if ours.status.code() != theirs.status.code() || ours.stderr != in_our_words(&theirs.stderr) {
        let end = |output: &Output| format!("{}\n{}", output.status, output.stderr);
        return Err(format!("{name}: they do not say or end the same\n- {}\n+ {}", end(&theirs), end(&ours)));
    }
    if !theirs.status.success() {
        return Ok((None, theirs.stderr));
    }
    let dumps = Dumps { theirs: theirs.stdout, ours: ours.stdout };
    same_bytes(&dumps, &name)?;
    Ok((Some(dumps), theirs.stderr))
}

/// Restores the dump and compares the dumps of the copy. If psql cannot restore all of it, psql must stop at
/// the same statement of pg_dump's dump, and the restored parts are compared. Returns the error at which psql
/// stopped.
fn same_copies(server: &Server, clauses: &str, dumps: &Dumps, name: &str) -> Result<Option<String>, String> {
    let copy = server.database_with(clauses);
    let output = copy.load_bytes(&dumps.ours);
    let whole = output.status.success();
    if !whole {
        let other = server.database_with(clauses).load_bytes(&dumps.theirs);
        if other.stderr != output.stderr {
            return Err(format!("{name}: psql restores the dumps differently\n{other}\n{output}"));
        }
    }
    let name = format!("{name}-copy");
    if whole {
        same_dumps(&copy, &[], &name)?;
    } else {
        let rest = server.database_with(clauses);
        rest.load_going_on(&dumps.ours);
        same_dumps(&rest, &[], &name)?;
    }
    Ok(if whole { None } else { Some(output.stderr) })
}

/// Returns the kinds in the comments of a dump.
fn kinds(dump: &str) -> BTreeSet<String> {
    let entries =
        dump.lines().filter(|line| line.starts_with("-- Name: ") || line.starts_with("-- Data for Name: "));
    entries
        .filter_map(|line| line.rsplit_once("; Type: ")?.1.split_once("; Schema: "))
        .map(|(kind, _)| kind.to_owned())
        .collect()
}
