//! Generated input for the readers of untrusted bytes: nearly valid input, and damaged valid input. Each case
//! has a seed; the same seed gives the same case.
//!
//! A case fails if the reader panics, takes longer than [`LONGEST`], exceeds its documented memory limit, or
//! breaks one of its guarantees, which [`Target::check`] checks. Each failure names its seed.
//!
//! The allocator of the program must be [`PeakAlloc`].

pub mod conninfo;
pub mod libpq;
pub mod manifest;
pub mod mutate;
pub mod script;
pub mod toc;
pub mod wire;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, Once, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use peak_alloc::PeakAlloc;

use super::program::keep_case;

/// Maximum processor time of a case, independent of the load of the machine. The slowest case takes a third of it.
const LONGEST: Duration = Duration::from_secs(6);

/// Maximum elapsed time of a case, for those that wait forever.
const LATEST: Duration = Duration::from_secs(120);

/// Maximum memory of a case in bytes, which the watchdog enforces: a reader whose memory grows forever would not end.
const MOST_MEMORY: usize = 1 << 30;

/// Stack size of tokio's threads, on which the readers run.
const STACK: usize = 2 << 20;

/// Name of the thread that runs the cases.
const THREAD: &str = "fuzz";

/// A reader under test.
pub trait Target: Send {
    /// Its name in `make fuzz-NAME`.
    const NAME: &'static str;

    /// The input of a case.
    type Input;

    /// Generates a case.
    fn generate(random: &mut Rng) -> Self::Input;

    /// Runs the reader, and returns the error if a guarantee is broken.
    fn check(&mut self, input: &Self::Input) -> Result<Verdict, String>;

    /// Returns the bytes of the input, which are saved if the case fails.
    fn bytes(input: &Self::Input) -> Vec<u8>;
}

/// The result of a case without an error.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// Whether the input was accepted.
    pub is_accepted: bool,
    /// Peak memory of the reader in bytes.
    pub peak: usize,
    /// Processor time of the reader.
    took: Duration,
}

impl Verdict {
    pub fn new(is_accepted: bool, peak: usize) -> Self {
        Verdict { is_accepted, peak, took: Duration::ZERO }
    }
}

/// Statistics of a run.
#[derive(Clone, Debug)]
pub struct Tally {
    name: &'static str,
    began: Instant,
    first: u64,
    pub cases: u64,
    pub accepted: u64,
    /// Largest peak memory of a case, and its seed.
    peak: (usize, u64),
    /// Longest processor time of a case, and its seed.
    slowest: (Duration, u64),
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { name, began, first, cases, accepted, peak, slowest } = self;
        let seconds = began.elapsed().as_secs_f64();
        write!(
            f,
            "{name}: {cases} cases from seed {first} in {seconds:.0} s, {:.0} a second; {accepted} were accepted; \
             the most memory was {:.2} MiB (seed {}), the longest took {:.2} s (seed {})",
            *cases as f64 / seconds.max(0.001),
            peak.0 as f64 / 1024.0 / 1024.0,
            peak.1,
            slowest.0.as_secs_f64(),
            slowest.1,
        )
    }
}

/// Runs `work`. Returns its result and its peak memory in bytes.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    PeakAlloc.reset_peak_usage();
    let before = PeakAlloc.current_usage();
    let result = work();
    (result, PeakAlloc.peak_usage().saturating_sub(before))
}

/// Returns an error if memory exceeds a limit.
pub fn within(peak: usize, limit: usize, what: &str) -> Result<(), String> {
    if peak <= limit { Ok(()) } else { Err(format!("{what} took {peak} bytes, and its limit is {limit}")) }
}

/// The running case.
#[derive(Default)]
struct Present {
    seed: AtomicU64,
    /// Thread that runs it.
    thread: OnceLock<PathBuf>,
    is_over: AtomicBool,
}

/// Returns the processor time of a thread.
fn time_of(thread: &Path) -> Duration {
    let text = std::fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let time = text.split_whitespace().next().and_then(|nanoseconds| nanoseconds.parse().ok());
    Duration::from_nanos(time.expect("Linux says what a thread has taken"))
}

/// Runs the cases of these seeds until one fails or the time is over. Calls `progress` every ten seconds.
pub fn run<T: Target>(
    target: &mut T,
    seeds: impl Iterator<Item = u64> + Send,
    time: Option<Duration>,
    progress: impl FnMut(&Tally) + Send,
) -> Result<Tally, String> {
    assert!(PeakAlloc.current_usage() > 0, "PeakAlloc is not this program's allocator");
    note_panics();
    let (present, began) = (Present::default(), Instant::now());
    std::thread::scope(|scope| {
        scope.spawn(|| watch(&present, T::NAME));
        let cases = std::thread::Builder::new().name(THREAD.to_owned()).stack_size(STACK);
        let cases = cases.spawn_scoped(scope, || run_cases(target, seeds, time, progress, &present, began));
        let end = cases.expect("a thread starts").join().expect("the panics of a case are caught");
        present.is_over.store(true, Ordering::Relaxed);
        end
    })
}

fn run_cases<T: Target>(
    target: &mut T,
    seeds: impl Iterator<Item = u64>,
    time: Option<Duration>,
    mut progress: impl FnMut(&Tally),
    present: &Present,
    began: Instant,
) -> Result<Tally, String> {
    let mut seeds = seeds.peekable();
    let first = seeds.peek().copied().unwrap_or_default();
    let (name, none) = (T::NAME, (Duration::ZERO, 0));
    let mut tally = Tally { name, began, first, cases: 0, accepted: 0, peak: (0, 0), slowest: none };
    let mut reported = began;
    let thread = std::fs::read_link("/proc/thread-self").expect("Linux names the thread");
    let thread = present.thread.get_or_init(|| Path::new("/proc").join(thread));
    for seed in seeds {
        present.seed.store(seed, Ordering::Relaxed);
        let verdict = run_case(target, seed, thread)?;
        tally.cases += 1;
        tally.accepted += u64::from(verdict.is_accepted);
        tally.peak = tally.peak.max((verdict.peak, seed));
        tally.slowest = tally.slowest.max((verdict.took, seed));
        if reported.elapsed() > Duration::from_secs(10) {
            reported = Instant::now();
            progress(&tally);
        }
        if time.is_some_and(|time| began.elapsed() > time) {
            break;
        }
    }
    Ok(tally)
}

/// Runs one case. An error names its seed; the input is saved.
fn run_case<T: Target>(target: &mut T, seed: u64, thread: &Path) -> Result<Verdict, String> {
    let input = T::generate(&mut Rng::with_seed(seed));
    let before = time_of(thread);
    let checked = catch_unwind(AssertUnwindSafe(|| target.check(&input)));
    let took = time_of(thread).saturating_sub(before);
    let failure = match checked {
        Ok(Ok(_)) if took > LONGEST => format!("it took {:.1} s", took.as_secs_f64()),
        Ok(Ok(verdict)) => return Ok(Verdict { took, ..verdict }),
        Ok(Err(failure)) => failure,
        Err(_) => std::mem::take(&mut *PANIC.lock().unwrap_or_else(PoisonError::into_inner)),
    };
    let path = keep_case(&format!("{}-{seed}", T::NAME), T::bytes(&input));
    Err(format!("{}: {failure}\nThe input is {}; {}", T::NAME, path.display(), repeat(T::NAME, seed)))
}

fn repeat(name: &str, seed: u64) -> String {
    format!("`make fuzz-{name} SEED={seed}` runs it again.")
}

/// Aborts the program if a case does not end.
fn watch(present: &Present, name: &str) {
    let (mut seed, mut since, mut before) = (0, Instant::now(), Duration::ZERO);
    while !present.is_over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let Some(thread) = present.thread.get().filter(|thread| thread.exists()) else { continue };
        let now = present.seed.load(Ordering::Relaxed);
        if now != seed {
            (seed, since, before) = (now, Instant::now(), time_of(thread));
        }
        let took = time_of(thread).saturating_sub(before);
        let memory = PeakAlloc.current_usage();
        if took > 2 * LONGEST || since.elapsed() > LATEST || memory > MOST_MEMORY {
            let took = took.as_secs_f64();
            eprintln!(
                "{name}: seed {seed} does not end: {took:.1} s, {memory} bytes\n{}",
                repeat(name, seed)
            );
            std::process::exit(1);
        }
    }
}

/// Location and message of the last panic.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// Stores the message of a panic in a case instead of printing it.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match std::thread::current().name() {
            Some(THREAD) => *PANIC.lock().unwrap_or_else(PoisonError::into_inner) = info.to_string(),
            _ => before(info),
        }));
    });
}
