//! How the time grows with rows and with objects: databases of three sizes each, uncompressed to /dev/null,
//! compared with pg_dump.

use crate::aim::{Aim, aims};
use crate::contest::{Entrant, Outcome, Servers, take_turns};
use crate::document::Section;
use crate::figure::{Figure, Panel, Series};
use crate::fixture::{Fixture, pg_dump};
use crate::harness::bulk;
use crate::harness::cost::cost;
use crate::harness::postgres::Database;
use crate::harness::program::pg_backup;
use crate::markdown::{count, ratio, seconds, table, wall};

/// Rows at scale 1.
const ROWS: [f64; 3] = [0.5e6, 1e6, 2e6];
/// Tables at scale 1.
const TABLES: [f64; 3] = [5e3, 1e4, 2e4];

/// The property that grows.
struct Dimension {
    /// Used in the databases' names and in the JSON.
    name: &'static str,
    sizes: [u64; 3],
    script: fn(u64) -> String,
    /// pg-backup's options, then pg_dump's.
    options: [&'static [&'static str]; 2],
    title: &'static str,
    /// The time that size `n` may take, in any unit.
    allowed: fn(f64) -> f64,
    aim: &'static str,
    law: &'static str,
}

/// The outcomes of pg-backup and of pg_dump for each size.
type Pairs<'a> = Vec<(&'a Outcome, &'a Outcome)>;

fn dimensions(fixture: &Fixture) -> [Dimension; 2] {
    [
        Dimension {
            name: "rows",
            sizes: ROWS.map(|rows| fixture.scaled(rows)),
            script: |rows| bulk::events("events", rows),
            options: [&["-j", "2"], &[]],
            title: "rows of jsonb events",
            allowed: |n| n,
            aim: "rows: growth from the smallest to the largest, by linear growth",
            law: "linear",
        },
        Dimension {
            name: "tables",
            sizes: TABLES.map(|tables| fixture.scaled(tables)),
            script: bulk::tables,
            options: [&["-s"], &["-s"]],
            title: "tables, schema only",
            allowed: |n| n * n.ln(),
            aim: "tables: growth from the smallest to the largest, by n·log n growth",
            law: "n·log n",
        },
    ]
}

pub fn measure(fixture: &Fixture) -> Section {
    let dimensions = dimensions(fixture);
    let databases: Vec<_> = dimensions.iter().flat_map(|dimension| load(fixture, dimension)).collect();
    let entrants: Vec<Entrant<'_>> = databases
        .iter()
        .flat_map(|(dimension, database)| {
            let [our_options, their_options] = dimension.options;
            let ours = move || {
                let mut command = pg_backup();
                cost(command.args(["dump", "-f", "/dev/null", "-d", &database.url()]).args(our_options))
            };
            let theirs = move || cost(pg_dump(database).args(their_options));
            let name = |program| format!("{program}, {}", database.name());
            [Entrant::new(name("pg-backup"), ours), Entrant::new(name("pg_dump"), theirs)]
        })
        .collect();
    let servers = Servers { postgres: fixture.server.process_id(), store: None };
    let outcomes = take_turns(&entrants, servers);

    let mut pairs: Pairs<'_> = outcomes.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect();
    let of_tables = pairs.split_off(3);
    let of_rows = pairs;
    let [rows, tables] = &dimensions;
    let markdown = format!(
        "{}\n{}\n{}",
        results(rows, &of_rows),
        results(tables, &of_tables),
        aims(&[aim(rows, &of_rows), aim(tables, &of_tables)])
    );
    let figure = Figure { panels: [panel(rows, &of_rows), panel(tables, &of_tables)] };
    Section::new("growth", fixture, markdown, &outcomes).with_figure("growth.svg", figure.svg())
}

/// Creates the databases of a dimension.
fn load<'a>(fixture: &'a Fixture, dimension: &'a Dimension) -> Vec<(&'a Dimension, Database<'a>)> {
    let load = |size: &u64| {
        eprintln!("making a database of {} {}", count(*size), dimension.title);
        let database = fixture.server.database_named(&format!("{}_{size}", dimension.name));
        database.load_bytes((dimension.script)(*size).as_bytes()).expect_success();
        fixture.settle(&database);
        (dimension, database)
    };
    dimension.sizes.iter().map(load).collect()
}

fn results(dimension: &Dimension, pairs: &Pairs<'_>) -> String {
    let first = pairs[0].0.wall();
    let allowed =
        |size: u64| (dimension.allowed)(size as f64) / (dimension.allowed)(dimension.sizes[0] as f64);
    let row = |(size, (ours, theirs)): (&u64, &(&Outcome, &Outcome))| {
        vec![
            count(*size),
            wall(ours),
            ratio(ours.wall() / first),
            ratio(allowed(*size)),
            seconds(theirs.wall()),
            ratio(ours.wall() / theirs.wall()),
        ]
    };
    let rows: Vec<_> = dimension.sizes.iter().zip(pairs).map(row).collect();
    let law = format!("{} would be", dimension.law);
    let head = [dimension.title, "`pg-backup`", "growth", &law, "`pg_dump`", "ratio"];
    table(&head, &rows)
}

fn aim(dimension: &Dimension, pairs: &Pairs<'_>) -> Aim {
    let [least, _, most] = dimension.sizes.map(|size| (dimension.allowed)(size as f64));
    let measured = (pairs[2].0.wall() / pairs[0].0.wall()) / (most / least);
    // Two medians of a few runs may differ by this much on a quiet machine.
    Aim { what: dimension.aim, at_most: 1.05, measured }
}

fn panel(dimension: &Dimension, pairs: &Pairs<'_>) -> Panel {
    let sizes = dimension.sizes.map(|size| size as f64);
    let first = pairs[0].0.wall();
    let law = sizes.map(|size| first * (dimension.allowed)(size) / (dimension.allowed)(sizes[0]));
    let walls = |side: fn(&(&Outcome, &Outcome)) -> f64| pairs.iter().map(side).collect();
    Panel {
        title: dimension.title.to_owned(),
        sizes: sizes.into(),
        series: vec![
            Series { name: "pg_dump".to_owned(), class: "theirs", values: walls(|pair| pair.1.wall()) },
            Series { name: dimension.law.to_owned(), class: "law", values: law.into() },
            Series { name: "pg-backup".to_owned(), class: "ours", values: walls(|pair| pair.0.wall()) },
        ],
    }
}
