//! Dumps to an S3 server on loopback: pg-backup, and pipelines of pg_dump, a compressor and the AWS command
//! line.

use std::path::Path;
use std::process::Command;

use crate::aim::{Aim, aims};
use crate::contest::{Entrant, Outcome, Servers, take_turns};
use crate::document::Section;
use crate::fixture::{Fixture, filter, pg_dump, shell};
use crate::harness::cost::pipeline;
use crate::harness::installation::BIN;
use crate::harness::postgres::Database;
use crate::harness::program::pg_backup;
use crate::markdown::{Column, megabytes, memory, ratio, results, seconds, wall};
use crate::store::Store;

const KEY: &str = "dump";

/// Removes the lines that differ between two dumps of the same data.
const TEXT_SUM: &str =
    r#""$@" | LC_ALL=C grep -av -e '^-- Dumped by ' -e '^\\restrict ' -e '^\\unrestrict ' | sha256sum"#;

/// The programs of a contender. The last one writes [`KEY`]; `pg_dump -Fd` writes a directory.
type Programs = fn(&Stage<'_>) -> Vec<Command>;

/// A contender: its name, its programs, and the command that reads its output as text.
struct Contender(&'static str, Programs, &'static str);

/// The baseline of the comparison. It runs first.
const BASE: &str = "`pg_dump | gzip | aws s3 cp -`";
const GZIP: &str = "`pg-backup dump -Z gzip -f s3://…`";
const ZSTD: &str = "`pg-backup dump -Z zstd -f s3://…`";
const DIRECTORY: &str = "`pg_dump -Fd -j2 -f DIRECTORY`";

const CONTENDERS: &[Contender] = &[
    Contender(BASE, |stage| stage.packed_by("gzip"), "gzip -dc"),
    Contender(
        "`pg_dump -Fc | aws s3 cp -`",
        |stage| stage.uploaded(vec![stage.dump(&["-Fc"])]),
        "pg_restore -f -",
    ),
    Contender("`pg_dump | pigz | aws s3 cp -`", |stage| stage.packed_by("pigz"), "gzip -dc"),
    Contender("`pg_dump | zstd -T0 | aws s3 cp -`", |stage| stage.packed_by("zstd -q -T0"), "zstd -dc"),
    Contender(DIRECTORY, |stage| vec![stage.dump_directory()], "pg_restore -f -"),
    Contender(GZIP, |stage| vec![stage.ours("gzip")], "gzip -dc"),
    Contender(ZSTD, |stage| vec![stage.ours("zstd")], "zstd -dc"),
];

const COLUMNS: &[Column] = &[
    ("wall", |outcome, _| wall(outcome)),
    ("ratio", |outcome, base| ratio(outcome.wall() / base.wall())),
    ("client CPU", |outcome, _| seconds(outcome.cpu())),
    ("ratio", |outcome, base| ratio(outcome.cpu() / base.cpu())),
    ("peak memory", |outcome, _| memory(outcome)),
    ("ratio", |outcome, base| ratio(outcome.memory() / base.memory())),
    ("object", |outcome, _| megabytes(outcome.written())),
    ("ratio", |outcome, base| ratio(outcome.written() / base.written())),
    ("PostgreSQL CPU", |outcome, _| seconds(outcome.median(|run| run.postgres_cpu_seconds))),
    ("S3 server CPU", |outcome, _| seconds(outcome.median(|run| run.store_cpu_seconds))),
];

/// The source and the destination of the contenders.
pub struct Stage<'a> {
    pub database: Database<'a>,
    pub store: Store,
    directory: tempfile::TempDir,
}

impl<'a> Stage<'a> {
    pub fn new(database: Database<'a>) -> Stage<'a> {
        let directory = tempfile::tempdir().expect("the temporary directory is writable");
        Stage { database, store: Store::start(), directory }
    }

    fn dump(&self, options: &[&str]) -> Command {
        let mut command = pg_dump(&self.database);
        command.args(options);
        command
    }

    fn dump_directory(&self) -> Command {
        let mut command = self.dump(&["-Fd", "-j2", "-f"]);
        command.arg(self.directory.path().join(KEY));
        command
    }

    fn packed_by(&self, packer: &str) -> Vec<Command> {
        self.uploaded(vec![self.dump(&[]), filter(packer)])
    }

    fn uploaded(&self, mut commands: Vec<Command>) -> Vec<Command> {
        commands.push(self.store.aws_cp(KEY));
        commands
    }

    /// pg-backup to the store.
    pub fn ours(&self, compression: &str) -> Command {
        let mut command = pg_backup();
        command.args(["dump", "-Z", compression, "-f", &self.store.url(KEY), "-d", &self.database.url()]);
        self.store.configure(&mut command);
        command
    }
}

pub fn measure(fixture: &Fixture) -> Section {
    let (database, data_set) = fixture.database();
    let stage = Stage::new(database);
    let servers = Servers { postgres: fixture.server.process_id(), store: Some(stage.store.process_id()) };
    let text = shell(TEXT_SUM, &pg_dump(&stage.database));
    let entrants: Vec<Entrant<'_>> =
        CONTENDERS.iter().map(|contender| entrant(contender, &stage, &text)).collect();
    let outcomes = take_turns(&entrants, servers);
    let markdown =
        format!("{}\n{}\n{}", data_set.describe(), results(&outcomes, COLUMNS), aims(&aimed(&outcomes)));
    Section::new("upload", fixture, markdown, &outcomes)
}

fn entrant<'a>(contender: &'a Contender, stage: &'a Stage<'_>, text: &'a str) -> Entrant<'a> {
    let Contender(name, programs, reader) = *contender;
    let output = if name == DIRECTORY { stage.directory.path().join(KEY) } else { stage.store.file(KEY) };
    Entrant {
        name: name.to_owned(),
        run: Box::new(move || pipeline(programs(stage))),
        after: Box::new(move |round| {
            if round == 0 {
                assert_eq!(text_sum(reader, &output), text, "{name} wrote another text than pg_dump");
            }
            take_away(&output)
        }),
    }
}

/// Returns the checksum of a dump's text.
fn text_sum(reader: &str, output: &Path) -> String {
    let mut command = match reader.strip_prefix("pg_restore ") {
        Some(options) => filter(&format!("{BIN}/pg_restore {options}")),
        None => filter(reader),
    };
    shell(TEXT_SUM, command.arg(output))
}

/// Removes a dump and returns its size.
fn take_away(output: &Path) -> u64 {
    let size = |path: &Path| path.metadata().expect("the program wrote it").len();
    if !output.is_dir() {
        let bytes = size(output);
        std::fs::remove_file(output).expect("it is ours");
        return bytes;
    }
    let files = std::fs::read_dir(output).expect("it is a directory");
    let bytes = files.map(|file| size(&file.expect("it can be read").path())).sum();
    std::fs::remove_dir_all(output).expect("it is ours");
    bytes
}

fn aimed(outcomes: &[Outcome]) -> Vec<Aim> {
    let [base, gzip, zstd] = [BASE, GZIP, ZSTD].map(|name| Outcome::find(outcomes, name));
    let aim = |what, at_most, of: &Outcome, column: fn(&Outcome) -> f64| Aim {
        what,
        at_most,
        measured: column(of) / column(base),
    };
    vec![
        aim("gzip: wall", 0.30, gzip, Outcome::wall),
        aim("gzip: client CPU", 0.45, gzip, Outcome::cpu),
        aim("gzip: object", 1.00, gzip, Outcome::written),
        aim("zstd: wall", 0.22, zstd, Outcome::wall),
        aim("zstd: client CPU", 0.25, zstd, Outcome::cpu),
        aim("zstd: object", 0.85, zstd, Outcome::written),
    ]
}
