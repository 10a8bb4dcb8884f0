//! Plain scripts: dumps of INSERTs restored beside psql, and how fast their text is read.

use std::path::PathBuf;
use std::process::Command;

use crate::aim::{Aim, aims};
use crate::contest::{Entrant, Outcome, ROUNDS, Run, Servers, take_turns};
use crate::document::Section;
use crate::fixture::{Fixture, client, pg_dump, shell};
use crate::harness::bulk;
use crate::harness::cost::{Cost, cost};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{binary, pg_backup, run};
use crate::markdown::{COSTS, count, megabytes, results, table};

/// Rows of which a dump of INSERTs has 500 MB.
const ROWS: f64 = 1.5e6;

/// The database that everything is restored into, made anew for each run.
const COPY: &str = "copy";

/// The forms of dumps, by name and pg_dump's option.
const FORMS: [(&str, &str); 2] =
    [("a row in each INSERT", "--inserts"), ("100 rows in each INSERT", "--rows-per-insert=100")];

/// The kinds of text that are nothing but the shortest of statements: each has to be handed over.
const STATEMENTS: &str = "statements, ";

/// What of each kind of text is read, and how fast it is to be: bytes, and bytes a second.
const TEXT: f64 = 100e6;
const SPEED: f64 = 200e6;

pub fn measure(fixture: &Fixture) -> Section {
    let original = fixture.server.database_named("inserts");
    original.load_bytes(bulk::events("events", fixture.scaled(ROWS)).as_bytes()).expect_success();
    fixture.settle(&original);
    let directory = tempfile::tempdir().expect("the temporary directory is writable");
    let (mut markdown, mut aimed, mut all) = (String::new(), Vec::new(), Vec::new());
    for (form, option) in FORMS {
        let file = directory.path().join("dump.sql").display().to_string();
        let bytes = shell(&format!("\"$@\" > '{file}'; wc -c < '{file}'"), pg_dump(&original).arg(option));
        let bytes: f64 = bytes.parse().expect("wc counts bytes");
        let outcomes = restores(&fixture.server, &original, &file);
        aimed.push(Aim {
            what: if option == "--inserts" {
                "a row in each INSERT, to psql: wall"
            } else {
                "100 rows in each INSERT, to psql: wall"
            },
            at_most: 1.00,
            measured: outcomes[1].wall() / outcomes[0].wall(),
        });
        markdown += &format!(
            "`pg_dump {option}` of {} jsonb events, {form}: {}.\n\n{}\n",
            count(fixture.scaled(ROWS)),
            megabytes(bytes),
            results(&outcomes, COSTS)
        );
        all.extend(outcomes);
    }
    for name in ["inserts", COPY] {
        fixture.server.existing("postgres").execute(&format!("DROP DATABASE {name}"));
    }
    let kinds = read(fixture);
    let text = kinds.iter().filter(|kind| !kind.name.starts_with(STATEMENTS));
    let slowest = text.map(speed).fold(f64::INFINITY, f64::min);
    aimed.push(Aim {
        what: "200 MB/s to the slowest kind of text",
        at_most: 1.00,
        measured: SPEED / slowest,
    });
    let rows: Vec<Vec<String>> =
        kinds.iter().map(|kind| vec![kind.name.clone(), format!("{:.0}", speed(kind) / 1e6)]).collect();
    markdown += &format!(
        "The text of scripts alone, read without a server, {} of each kind:\n\n{}\n{}",
        megabytes(kinds.first().map_or(0.0, Outcome::written)),
        table(&["text", "MB/s"], &rows),
        aims(&aimed)
    );
    all.extend(kinds);
    Section::new("script", fixture, markdown, &all)
}

fn restores(server: &Server, original: &Database<'_>, file: &str) -> Vec<Outcome> {
    let copy = || server.existing(COPY);
    let fresh = |command: &mut Command| -> Cost {
        let postgres = server.existing("postgres");
        postgres.execute(&format!("DROP DATABASE IF EXISTS {COPY}"));
        postgres.execute("CHECKPOINT");
        server.database_named(COPY);
        cost(command)
    };
    let entrant = |name: &str, command: fn(&Database<'_>, &str) -> Command| Entrant {
        name: name.to_owned(),
        run: Box::new(move || fresh(&mut command(&copy(), file))),
        after: Box::new(move |round| {
            if round == 0 {
                let sum = "SELECT count(*), sum(hashtextextended(e::text, 0)::numeric) FROM events e";
                assert_eq!(copy().query(sum), original.query(sum), "another table was restored");
            }
            0
        }),
    };
    let entrants = [entrant("`psql -f`", psql), entrant("`pg-backup restore`", ours)];
    take_turns(&entrants, Servers { postgres: server.process_id(), store: None })
}

fn psql(database: &Database<'_>, file: &str) -> Command {
    let mut command = client("psql", database);
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-f", file]);
    command
}

fn ours(database: &Database<'_>, file: &str) -> Command {
    let mut command = pg_backup();
    command.args(["restore", file, "--to", &database.url()]);
    command
}

/// Reads all kinds of text, each as often as programs run.
fn read(fixture: &Fixture) -> Vec<Outcome> {
    // Built as the binary is, and beside it.
    let program: PathBuf = binary().with_file_name("examples").join("bench_script");
    let megabytes = fixture.scaled(TEXT / 1e6).to_string();
    let mut kinds: Vec<Outcome> = Vec::new();
    for round in 1..=ROUNDS {
        eprintln!("reading scripts: round {round} of {ROUNDS}");
        let said = run(Command::new(&program).arg(&megabytes)).expect_success().stdout_text();
        for line in said.lines() {
            let mut words = line.splitn(3, ' ');
            let mut next = || words.next().expect("a line has three parts");
            let (bytes, seconds, name) = (next(), next(), next());
            let run = Run {
                wall_seconds: seconds.parse().expect("it prints numbers"),
                client_cpu_seconds: 0.0,
                peak_kib: 0,
                postgres_cpu_seconds: 0.0,
                store_cpu_seconds: 0.0,
                written: bytes.parse().expect("it prints numbers"),
            };
            match kinds.iter_mut().find(|kind| kind.name == name) {
                Some(kind) => kind.runs.push(run),
                None => kinds.push(Outcome { name: name.to_owned(), runs: vec![run] }),
            }
        }
    }
    kinds
}

/// Bytes a second.
fn speed(kind: &Outcome) -> f64 {
    kind.written() / kind.wall()
}
