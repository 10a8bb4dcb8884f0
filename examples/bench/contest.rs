//! Runs programs alternately and measures them.

use std::time::Duration;

use serde::Serialize;

use crate::harness::cost::{Cost, server_cpu};

/// The number of runs of each program, in addition to a first run for warm-up.
pub const ROUNDS: usize = 5;

/// The pause after a run, in which the servers finish their work before their processor time is read.
const PAUSE: Duration = Duration::from_millis(300);

/// The measurements of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Run {
    pub wall_seconds: f64,
    /// The sum for all processes on the client's side.
    pub client_cpu_seconds: f64,
    /// The sum of these processes' largest resident sizes.
    pub peak_kib: u64,
    pub postgres_cpu_seconds: f64,
    /// 0 without an S3 server.
    pub store_cpu_seconds: f64,
    /// The size of the output in bytes.
    pub written: u64,
}

/// The process ids of the servers whose processor time is also read.
#[derive(Clone, Copy, Debug)]
pub struct Servers {
    pub postgres: u32,
    pub store: Option<u32>,
}

/// A program to measure.
pub struct Entrant<'a> {
    /// The name in the tables.
    pub name: String,
    pub run: Box<dyn Fn() -> Cost + 'a>,
    /// Called after each run with its number, 0 for the warm-up. Returns the number of bytes written, and
    /// removes the output.
    pub after: Box<dyn Fn(usize) -> u64 + 'a>,
}

impl<'a> Entrant<'a> {
    /// An entrant without output to measure.
    pub fn new(name: impl Into<String>, run: impl Fn() -> Cost + 'a) -> Entrant<'a> {
        Entrant { name: name.into(), run: Box::new(run), after: Box::new(|_| 0) }
    }
}

/// The measurements of a program in all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    pub name: String,
    pub runs: Vec<Run>,
}

impl Outcome {
    /// Finds the outcome of a program.
    pub fn find<'a>(outcomes: &'a [Outcome], name: &str) -> &'a Outcome {
        outcomes.iter().find(|outcome| outcome.name == name).expect("it took part")
    }

    /// Returns the median of one column.
    pub fn median(&self, column: impl Fn(&Run) -> f64) -> f64 {
        let values = self.sorted(column);
        values[values.len() / 2]
    }

    /// Returns the median of the time, in seconds.
    pub fn wall(&self) -> f64 {
        self.median(|run| run.wall_seconds)
    }

    /// Returns the median of the client's processor time, in seconds.
    pub fn cpu(&self) -> f64 {
        self.median(|run| run.client_cpu_seconds)
    }

    /// Returns the median of the memory, in KiB.
    pub fn memory(&self) -> f64 {
        self.median(|run| run.peak_kib as f64)
    }

    /// Returns the median of the bytes written.
    pub fn written(&self) -> f64 {
        self.median(|run| run.written as f64)
    }

    /// Returns the shortest and the longest time, in seconds.
    pub fn range(&self) -> (f64, f64) {
        let values = self.sorted(|run| run.wall_seconds);
        (values[0], values[values.len() - 1])
    }

    fn sorted(&self, column: impl Fn(&Run) -> f64) -> Vec<f64> {
        let mut values: Vec<f64> = self.runs.iter().map(column).collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

/// Runs the programs alternately: in each round, each runs once.
pub fn take_turns(entrants: &[Entrant<'_>], servers: Servers) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> =
        entrants.iter().map(|entrant| Outcome { name: entrant.name.clone(), runs: Vec::new() }).collect();
    for round in 0..=ROUNDS {
        for (entrant, outcome) in entrants.iter().zip(&mut outcomes) {
            let run = run(entrant, round, servers);
            let what =
                if round == 0 { "warming up".to_owned() } else { format!("round {round} of {ROUNDS}") };
            eprintln!("{what}: {:6.2} s  {}", run.wall_seconds, entrant.name);
            if round > 0 {
                outcome.runs.push(run);
            }
        }
    }
    outcomes
}

fn run(entrant: &Entrant<'_>, round: usize, servers: Servers) -> Run {
    let used = || (server_cpu(servers.postgres), servers.store.map(server_cpu).unwrap_or_default());
    let (postgres, store) = used();
    let cost = (entrant.run)();
    std::thread::sleep(PAUSE);
    let (postgres_after, store_after) = used();
    Run {
        wall_seconds: cost.took.as_secs_f64(),
        client_cpu_seconds: cost.cpu.as_secs_f64(),
        peak_kib: cost.kib,
        postgres_cpu_seconds: postgres_after.saturating_sub(postgres).as_secs_f64(),
        store_cpu_seconds: store_after.saturating_sub(store).as_secs_f64(),
        written: (entrant.after)(round),
    }
}
