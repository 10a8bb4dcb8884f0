//! The environment of the measurements: a server, the data set, and the programs' command lines.
//!
//! Every program connects to the server in the same way: over TCP on the loopback address, with a password,
//! as a sidecar does.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::bulk;
use crate::harness::installation::BIN;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{run, target_dir, without_settings};
use crate::machine::{load, versions};

/// The number of events, and pgbench's scale, at scale 1.
const EVENTS: f64 = 3e6;
const PGBENCH: f64 = 50.0;

/// Settings in addition to those of the tests' servers. `shared_buffers` is PostgreSQL's default, which the
/// tests lower. A checkpoint must not run during a measurement.
pub const SETTINGS: &[&str] = &["shared_buffers=128MB", "max_wal_size=8GB", "checkpoint_timeout=1h"];

/// The server, and the data set once it has been created.
pub struct Fixture {
    pub server: Server,
    pub scale: f64,
    /// The load average of the last minute before the start.
    pub load_before: f64,
    /// The versions of all programs, read before the results change the repository that pg-backup's version
    /// comes from.
    pub versions: String,
    data_set: OnceCell<DataSet>,
}

/// The contents of the data set.
#[derive(Clone, Copy, Debug)]
pub struct DataSet {
    pub events: u64,
    pub pgbench: u64,
    /// The size of the plain dump in bytes.
    pub raw: u64,
}

impl Fixture {
    pub fn new(scale: f64) -> Fixture {
        let load_before = load();
        if load_before > 0.5 {
            eprintln!("the machine is busy (load average {load_before}): these times will be too long");
        }
        let server = Server::start_with(SETTINGS);
        Fixture { server, scale, load_before, versions: versions(), data_set: OnceCell::new() }
    }

    /// Whether the results have the scale of the document.
    pub fn is_whole(&self) -> bool {
        self.scale == 1.0
    }

    /// Returns a number of rows or objects at this run's scale.
    pub fn scaled(&self, number: f64) -> u64 {
        ((number * self.scale).round() as u64).max(1)
    }

    /// Returns the database with the data set, which the first call creates.
    pub fn database(&self) -> (Database<'_>, DataSet) {
        let data_set = *self.data_set.get_or_init(|| self.make_data_set());
        (self.server.existing("bench"), data_set)
    }

    fn make_data_set(&self) -> DataSet {
        let (events, pgbench) = (self.scaled(EVENTS), self.scaled(PGBENCH));
        eprintln!("making the data set: {events} events, pgbench at scale {pgbench}");
        let database = self.server.database_named("bench");
        database.load_bytes(bulk::events("events", events).as_bytes()).expect_success();
        let mut tool = self.server.tool("pgbench");
        run(tool.args(["-i", "-q", "-s", &pgbench.to_string(), "bench"])).expect_success();
        self.settle(&database);
        let counted = shell("\"$@\" | wc -c", &pg_dump(&database));
        DataSet { events, pgbench, raw: counted.parse().expect("wc counts bytes") }
    }

    /// Finishes the server's pending work: sets hint bits, collects statistics, writes buffers.
    pub fn settle(&self, database: &Database<'_>) {
        database.load_bytes(b"VACUUM ANALYZE;\nCHECKPOINT;\n").expect_success();
    }
}

/// Returns a command for a client program of the distribution, on a database.
pub fn client(name: &str, database: &Database<'_>) -> Command {
    let mut command = Command::new(format!("{BIN}/{name}"));
    without_settings(&mut command).args(["-d", &database.url()]);
    command
}

pub fn pg_dump(database: &Database<'_>) -> Command {
    client("pg_dump", database)
}

/// Returns a command for a program of the distribution that reads its input. Options are separated by spaces.
pub fn filter(line: &str) -> Command {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a line has a word"));
    command.args(words);
    command
}

/// Returns the output of a line of shell, in which `"$@"` is a program with its arguments. Each program of a
/// pipeline must succeed.
pub fn shell(line: &str, program: &Command) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-o", "pipefail", "-c", line, "bash"]).arg(program.get_program()).args(program.get_args());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    run(&mut shell).expect_success().stdout_text().trim().to_owned()
}

/// Returns the directory of the results.
pub fn results_dir() -> PathBuf {
    let dir = target_dir().join("bench");
    std::fs::create_dir_all(&dir).expect("the target directory is writable");
    dir
}
