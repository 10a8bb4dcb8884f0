//! Sidecar states for the status page: a typical one from production, and one with every possible state.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pg_backup::sidecar::state::{BackupStats, Drill, Failure, FailureStage, MAX_ATTEMPTS, SidecarState};

/// The interval between two rounds.
const INTERVAL: Duration = Duration::from_secs(6 * 3_600);

/// A name with markup and control characters, which no real database should have.
pub const HOSTILE: &str = "<script>alert('x')</script>\u{202e}esrever\nline & \"quote\"";

/// The cause of a failure, with a word that is too long for one line.
pub const LONG: &str = "cannot put s3://backups/hetzner-prod/inventory/2026-04-26/\
    inventory-2026-04-26T16-29-58Z.sql.gz: the store answered 503 Slow Down: please reduce your request rate";

/// Adds past rounds and drills to a sidecar state. Their times are relative to `now`.
struct History<'a> {
    state: &'a SidecarState,
    now: Timestamp,
    random: fastrand::Rng,
}

impl History<'_> {
    fn at(&self, minutes_ago: i64) -> Timestamp {
        self.now - SignedDuration::from_mins(minutes_ago)
    }

    /// Adds `number` rounds. The last one began `minutes_ago`. The database grows from `from` bytes by the
    /// factor `growth` each round.
    fn rounds(&mut self, name: &str, number: usize, minutes_ago: i64, from: u64, growth: f64) {
        let mut size = from as f64;
        for round in (0..number).rev() {
            size *= growth + (self.random.f64() - 0.5) * 0.006;
            let began = self.at(minutes_ago + 360 * round as i64);
            let seconds = 0.7 + size / 9e6 * (0.92 + self.random.f64() * 0.2);
            let saved =
                BackupStats { size: size as u64, raw_size: (size * 4.3) as u64, rows: (size / 71.0) as u64 };
            self.state.begin(name, began);
            self.state.end(name, Duration::from_secs_f64(seconds), Ok(saved));
        }
    }

    fn fails(&self, name: &str, minutes_ago: i64, seconds: f64, stage: FailureStage, cause: &str) {
        self.state.begin(name, self.at(minutes_ago));
        let failure = Failure { stage, cause: cause.to_owned(), hints: Vec::new() };
        self.state.end(name, Duration::from_secs_f64(seconds), Err(failure));
    }

    fn drill(&self, name: &str, minutes_ago: i64, phases: &[(&str, f64)], verdict: Option<&str>) {
        let restored: f64 =
            phases.iter().take_while(|(name, _)| *name != "compare").map(|(_, time)| time).sum();
        self.state.drilled(
            name,
            Drill {
                ended: self.at(minutes_ago),
                restored_in: Some(Duration::from_secs_f64(restored)),
                phases: phases.iter().map(|(name, seconds)| ((*name).to_owned(), *seconds)).collect(),
                verdict: verdict.map(str::to_owned),
            },
        );
    }
}

fn begin(names: &[&str]) -> SidecarState {
    SidecarState::of(names.iter().map(|name| (*name).to_owned()), INTERVAL)
}

const PHASES: &[(&str, f64)] = &[
    ("describe", 0.214),
    ("create", 0.377),
    ("definitions", 1.92),
    ("rows", 148.3),
    ("indexes", 71.6),
    ("compare", 52.8),
    ("drop", 0.419),
];

/// Returns the state of two databases after a fortnight of rounds. One of them was unreachable for a while.
pub fn production(now: Timestamp) -> SidecarState {
    let state = begin(&["analytics", "metadata"]);
    let mut history = History { state: &state, now, random: fastrand::Rng::with_seed(6) };
    history.rounds("analytics", MAX_ATTEMPTS, 104, 1_060_000_000, 1.004);
    history.rounds("metadata", MAX_ATTEMPTS - 18, 101 + 360 * 18, 402_000_000, 1.001);
    let refused = "server metadata-postgres:5432 refused the connection: Connection refused (os error 111)";
    history.fails("metadata", 101 + 360 * 17, 0.031, FailureStage::Connect, refused);
    history.fails("metadata", 101 + 360 * 16, 0.029, FailureStage::Connect, refused);
    history.rounds("metadata", 16, 101, 418_000_000, 1.001);
    history.drill("analytics", 2 * 1_440 + 37, PHASES, None);
    let small: Vec<(&str, f64)> = PHASES.iter().map(|(name, time)| (*name, time / 3.1)).collect();
    history.drill("metadata", 2 * 1_440 + 31, &small, None);
    state.plan(now + SignedDuration::from_mins(256));
    state.plan_drill(now + SignedDuration::from_hours(113));
    state
}

/// Returns one database in each state, with hostile names and causes.
pub fn everything(now: Timestamp) -> SidecarState {
    let long = format!("a-{}", "very-".repeat(30));
    let names =
        ["first", "globals", "inventory", "late", "metadata", "never", "only-failures", HOSTILE, &long];
    let state = begin(&names);
    state.holds_globals("globals");
    let mut history = History { state: &state, now, random: fastrand::Rng::with_seed(7) };
    history.rounds("metadata", MAX_ATTEMPTS, 61, 1_060_000_000, 1.004);
    history.drill("metadata", 4_000, PHASES, None);
    history.drill("metadata", 600, &PHASES[..6], Some("1 thing missing, 3 differences"));
    history.rounds("globals", 5, 60, 2_210, 1.0);
    history.rounds("inventory", 12, 400, 310_000_000, 0.99);
    history.fails("inventory", 40, 61.4, FailureStage::Store, LONG);
    history.rounds("late", 30, 700, 88_000, 1.0);
    for round in 0..4 {
        history.fails(
            "only-failures",
            1_500 - 360 * round,
            0.02,
            FailureStage::Connect,
            "wrong password for user postgres",
        );
    }
    history.fails("only-failures", 60, 0.4, FailureStage::Dump, "permission denied for table payments");
    history.rounds(HOSTILE, 1, 60, 500_000, 1.0);
    history.fails(
        HOSTILE,
        59,
        2.0,
        FailureStage::Other,
        "</p><img src=x onerror=\"document.title='owned'\">\u{202e}\nHINT",
    );
    history.rounds(&long, 3, 58, 5 << 40, 1.0);
    state.begin("first", history.at(3));
    state.begin("metadata", history.at(1));
    state
}
