//! Restores into an empty database, from local files: pg-backup, `gunzip | psql` and pg_restore; and one
//! small table out of the complete dump.

use std::process::Command;

use crate::aim::{Aim, aims};
use crate::contest::{Entrant, Outcome, Servers, take_turns};
use crate::document::Section;
use crate::fixture::{Fixture, client, filter, pg_dump, shell};
use crate::harness::cost::{Cost, pipeline};
use crate::harness::postgres::{Database, Server};
use crate::harness::sidecar::Sidecar;
use crate::markdown::{COSTS, results};

/// The table that is restored separately.
const SMALL: &str = "pgbench_tellers";

/// The target database, recreated for each run.
const COPY: &str = "copy";

/// A contender: its name, its programs, and whether it restores everything.
struct Contender(&'static str, fn(&Stage<'_>) -> Vec<Command>, bool);

/// The baseline of the comparison. It runs first.
const BASE: &str = "`gunzip | psql`";
const PG_RESTORE: &str = "`pg_restore -j2`, from `pg_dump -Fc`";
const OURS: &str = "`pg-backup restore -j2`";
const OURS_SMALL: &str = "`pg-backup restore -t`: one small table";

const CONTENDERS: &[Contender] = &[
    Contender(BASE, |stage| vec![stage.gunzip(), stage.psql()], true),
    Contender(PG_RESTORE, |stage| vec![stage.pg_restore(&["-j2"])], true),
    Contender("`pg-backup restore -j1`", |stage| vec![stage.ours(&["-j1"])], true),
    Contender(OURS, |stage| vec![stage.ours(&["-j2"])], true),
    Contender("`pg_restore -t`: one small table", |stage| vec![stage.pg_restore(&["-t", SMALL])], false),
    Contender(OURS_SMALL, |stage| vec![stage.ours(&["-t", SMALL])], false),
];

/// The memory limit, in KiB.
const MEMORY: f64 = 128.0 * 1024.0;

/// The dumps, and the server that they are restored into.
struct Stage<'a> {
    server: &'a Server,
    original: Database<'a>,
    directory: tempfile::TempDir,
    sidecar: Sidecar,
}

impl<'a> Stage<'a> {
    /// Dumps the data set in three ways.
    fn new(server: &'a Server, original: Database<'a>) -> Stage<'a> {
        eprintln!("dumping what is to be restored");
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        let store = directory.path().join("store");
        std::fs::create_dir(&store).expect("the temporary directory is writable");
        let sidecar = Sidecar::with_directory(&store).database("bench", &original);
        sidecar.run(&["run"]).expect_success();
        let stage = Stage { server, original, directory, sidecar };
        shell(&format!("\"$@\" | gzip > '{}'", stage.path("dump.sql.gz")), &pg_dump(&stage.original));
        let mut archive = pg_dump(&stage.original);
        shell("\"$@\"", archive.args(["-Fc", "-f", &stage.path("dump.custom")]));
        stage
    }

    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn copy(&self) -> Database<'_> {
        self.server.existing(COPY)
    }

    /// Creates an empty database, and runs a checkpoint so that none follows for a while.
    fn make_room(&self) {
        let postgres = self.server.existing("postgres");
        postgres.execute(&format!("DROP DATABASE IF EXISTS {COPY}"));
        postgres.execute("CHECKPOINT");
        self.server.database_named(COPY);
    }

    fn gunzip(&self) -> Command {
        filter(&format!("gunzip -c {}", self.path("dump.sql.gz")))
    }

    fn psql(&self) -> Command {
        let mut command = client("psql", &self.copy());
        command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null"]);
        command
    }

    fn pg_restore(&self, options: &[&str]) -> Command {
        let mut command = client("pg_restore", &self.copy());
        command.args(options).arg(self.path("dump.custom"));
        command
    }

    fn ours(&self, options: &[&str]) -> Command {
        self.sidecar.command(&[&["restore", "latest", "--to", &self.copy().url()], options].concat())
    }

    fn run(&self, programs: fn(&Stage<'_>) -> Vec<Command>) -> Cost {
        self.make_room();
        pipeline(programs(self))
    }

    /// Fails the bench unless the copy is equal to the original: the same objects, and the same rows in any
    /// order.
    fn check(&self, name: &str, is_whole: bool) {
        let seen = |database: &Database<'_>| {
            let tables = if is_whole { database.query(TABLES) } else { SMALL.to_owned() };
            let rows: Vec<String> = tables.lines().map(|table| database.query(&sum_of(table))).collect();
            let objects = is_whole.then(|| database.pg_dump(&["-s", "--restrict-key=x"]));
            (rows, objects)
        };
        assert!(seen(&self.original) == seen(&self.copy()), "{name} restored something else");
    }
}

const TABLES: &str = "SELECT relname FROM pg_class WHERE relkind = 'r' AND oid >= 16384 ORDER BY relname";

fn sum_of(table: &str) -> String {
    format!("SELECT '{table}', count(*), sum(hashtextextended(t::text, 0)::numeric) FROM {table} t")
}

pub fn measure(fixture: &Fixture) -> Section {
    let (database, data_set) = fixture.database();
    let stage = Stage::new(&fixture.server, database);
    let servers = Servers { postgres: fixture.server.process_id(), store: None };
    let entrants: Vec<Entrant<'_>> = CONTENDERS.iter().map(|contender| entrant(contender, &stage)).collect();
    let outcomes = take_turns(&entrants, servers);
    fixture.server.existing("postgres").execute(&format!("DROP DATABASE {COPY}"));
    let markdown =
        format!("{}\n{}\n{}", data_set.describe(), results(&outcomes, COSTS), aims(&aimed(&outcomes)));
    Section::new("restore", fixture, markdown, &outcomes)
}

fn entrant<'a>(contender: &Contender, stage: &'a Stage<'_>) -> Entrant<'a> {
    let Contender(name, programs, is_whole) = *contender;
    Entrant {
        name: name.to_owned(),
        run: Box::new(move || stage.run(programs)),
        after: Box::new(move |round| {
            if round == 0 {
                stage.check(name, is_whole);
            }
            0
        }),
    }
}

fn aimed(outcomes: &[Outcome]) -> Vec<Aim> {
    let wall = |name| Outcome::find(outcomes, name).wall();
    let most = outcomes.iter().filter(|outcome| outcome.name.contains("pg-backup"));
    let most = most.map(Outcome::memory).fold(0.0, f64::max);
    let aim = |what, at_most, measured| Aim { what, at_most, measured };
    vec![
        aim("2 jobs to `gunzip | psql`: wall", 0.60, wall(OURS) / wall(BASE)),
        aim("2 jobs to `pg_restore -j2`: wall", 1.00, wall(OURS) / wall(PG_RESTORE)),
        aim("one small table to everything: wall", 0.05, wall(OURS_SMALL) / wall(OURS)),
        aim("largest memory to 128 MiB", 1.00, most / MEMORY),
    ]
}
