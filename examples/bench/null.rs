//! Dumps to /dev/null, and their lower bound: the time that the server itself needs for COPY when two
//! sessions share the tables.

use std::process::Command;

use crate::aim::{Aim, aims};
use crate::contest::{Entrant, Servers, take_turns};
use crate::document::Section;
use crate::fixture::{Fixture, client, pg_dump};
use crate::harness::cost::{cost, side_by_side};
use crate::harness::postgres::Database;
use crate::harness::program::pg_backup;
use crate::markdown::{Column, memory, ratio, results, seconds, wall};

/// The tables with nearly all rows.
const TABLES: &[&str] = &["events", "pgbench_accounts"];

const COLUMNS: &[Column] = &[
    ("wall", |outcome, _| wall(outcome)),
    ("ratio", |outcome, base| ratio(outcome.wall() / base.wall())),
    ("client CPU", |outcome, _| seconds(outcome.cpu())),
    ("peak memory", |outcome, _| memory(outcome)),
    ("PostgreSQL CPU", |outcome, _| seconds(outcome.median(|run| run.postgres_cpu_seconds))),
];

pub fn measure(fixture: &Fixture) -> Section {
    let (database, data_set) = fixture.database();
    let halves = halves(&database);
    let entrants = [
        Entrant::new("`pg_dump > /dev/null`", || cost(&mut pg_dump(&database))),
        Entrant::new("`pg-backup dump -j 2 -f /dev/null`", || cost(&mut ours(&database))),
        Entrant::new("two `psql -c 'COPY … TO STDOUT' > /dev/null` in parallel: the lower bound", || {
            side_by_side(halves.iter().map(|copies| psql(&database, copies)).collect())
        }),
    ];
    let servers = Servers { postgres: fixture.server.process_id(), store: None };
    let outcomes = take_turns(&entrants, servers);
    let aim = Aim {
        what: "`pg-backup` to `pg_dump`: wall",
        at_most: 0.75,
        measured: outcomes[1].wall() / outcomes[0].wall(),
    };
    let markdown = format!("{}\n{}\n{}", data_set.describe(), results(&outcomes, COLUMNS), aims(&[aim]));
    Section::new("null", fixture, markdown, &outcomes)
}

/// pg-backup, uncompressed, to /dev/null.
pub fn ours(database: &Database<'_>) -> Command {
    let mut command = pg_backup();
    command.args(["dump", "-j", "2", "-f", "/dev/null", "-d", &database.url()]);
    command
}

/// Returns the COPY statements for the first and for the second half of each table's pages.
fn halves(database: &Database<'_>) -> [Vec<String>; 2] {
    ["<", ">="].map(|side| {
        let copy = |table: &&str| {
            let middle =
                database.query(&format!("SELECT relpages / 2 FROM pg_class WHERE relname = '{table}'"));
            format!("COPY (SELECT * FROM {table} WHERE ctid {side} '({middle},0)') TO STDOUT")
        };
        TABLES.iter().map(copy).collect()
    })
}

fn psql(database: &Database<'_>, statements: &[String]) -> Command {
    let mut command = client("psql", database);
    command.args(["-X", "-q"]);
    for statement in statements {
        command.args(["-c", statement]);
    }
    command
}
