//! Backs up one database with retries, within the time of the round.
//!
//! Transient failures (an unreachable server, a store that does not answer) are retried after a wait.
//! Failures that the operator must fix are not. Each attempt is a separate dump with its own key. An attempt
//! is aborted on a signal, after `BACKUP_TIMEOUT`, or when a session has waited for its locks longer than the
//! limit; an aborted attempt leaves no visible object.
//!
//! Only one dump runs at a time, because each dump uses the whole memory limit. A database that waits for a
//! retry releases its permit, so that one unreachable database does not block the others.

use std::pin::pin;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use jiff::Timestamp;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::shutdown;
use super::state::{BackupStats, SidecarState};
use super::waiting::{Clock, until};
use crate::archive::key::BackupId;
use crate::config::RoundPolicy;
use crate::dump::DumpError;
use crate::dump::progress::DumpProgress;
use crate::exit_code::ExitCode;
use crate::log::BACKUP;
use crate::quantity::Seconds;
use crate::report::chain;

/// Maximum wait between two attempts, without jitter. A longer configured first wait raises it.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The permit to dump; only one exists. Dropping it passes it to the next task.
pub(super) struct DumpPermit<'a> {
    permits: &'a Semaphore,
    permit: Option<SemaphorePermit<'a>>,
}

impl<'a> DumpPermit<'a> {
    /// Waits for the permit, in order of the requests. Returns `None` if the round ends first.
    pub(super) async fn wait(permits: &'a Semaphore, cancel: &CancellationToken) -> Option<Self> {
        let mut permit = DumpPermit { permits, permit: None };
        permit.take(cancel).await.then_some(permit)
    }

    async fn take(&mut self, cancel: &CancellationToken) -> bool {
        self.permit = tokio::select! {
            biased;
            () = cancel.cancelled() => None,
            permit = self.permits.acquire() => permit.ok(),
        };
        self.permit.is_some()
    }

    /// Releases the permit, so that the other targets can run.
    fn pass(&mut self) {
        self.permit = None;
    }
}

/// Limits and dependencies of the attempts to back up one database.
pub(super) struct Retry<'a, C> {
    pub(super) running: RoundPolicy,
    /// Start of the next round. No attempt starts after it.
    pub(super) until: Timestamp,
    pub(super) clock: &'a C,
    pub(super) state: &'a SidecarState,
    pub(super) cancel: &'a CancellationToken,
}

impl<C: Clock> Retry<'_, C> {
    /// Runs attempts until one succeeds or a failure is final. `save` runs one attempt and returns early when
    /// its token is cancelled. `blocked` returns a sentence when the attempt must be aborted because a
    /// session waits for its locks.
    pub(super) async fn save(
        &self,
        first: BackupId,
        permit: &mut DumpPermit<'_>,
        save: impl AsyncFn(BackupId, &CancellationToken, &DumpProgress) -> Result<BackupStats, DumpError>,
        blocked: impl AsyncFn(&DumpProgress) -> String,
    ) -> Result<BackupStats, DumpError> {
        // The time that other targets take does not count towards `BACKUP_TIMEOUT`.
        let (begun, mut others) = (Instant::now(), Duration::ZERO);
        let mut waits = waits(&self.running);
        let (mut id, mut number) = (first, 0);
        loop {
            number += 1;
            let name = id.database.clone();
            let since = Instant::now();
            let left = |spent: Duration| self.running.timeout.map(|after| after.saturating_sub(spent));
            let error = match self.one(left(begun.elapsed() - others), id, &save, &blocked).await {
                Ok(saved) => return Ok(saved),
                Err(error) if !error.is_transient() => return Err(error),
                Err(error) => error,
            };
            let has_time = |wait: &Duration| {
                self.is_in_round(*wait) && left(begun.elapsed() - others).is_none_or(|left| *wait < left)
            };
            let Some(wait) = waits.next().filter(has_time) else { return Err(error) };
            self.log_retry(&name, &error, number, Seconds(since.elapsed()), wait);
            permit.pass();
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return Err(DumpError::Cancelled),
                () = self.clock.sleep(wait) => {}
            }
            let asked = Instant::now();
            if !permit.take(self.cancel).await {
                return Err(DumpError::Cancelled);
            }
            others += asked.elapsed();
            if !self.is_in_round(Duration::ZERO) {
                return Err(error);
            }
            id = BackupId::new(&name, self.clock.now());
            self.state.begin(&name, id.started);
        }
    }

    /// Runs one attempt. It is aborted when the remaining time is over or when a session waits too long for
    /// its locks.
    async fn one(
        &self,
        left: Option<Duration>,
        id: BackupId,
        save: impl AsyncFn(BackupId, &CancellationToken, &DumpProgress) -> Result<BackupStats, DumpError>,
        blocked: impl AsyncFn(&DumpProgress) -> String,
    ) -> Result<BackupStats, DumpError> {
        let stop = self.cancel.child_token();
        let progress = DumpProgress::default();
        let mut work = pin!(save(id, &stop, &progress));
        let overdue = async {
            let (Some(left), Some(after)) = (left, self.running.timeout) else {
                return std::future::pending().await;
            };
            self.clock.sleep(left).await;
            DumpError::Overdue { after, progress: progress.to_string() }
        };
        let error = tokio::select! {
            biased;
            result = &mut work => return result,
            error = overdue => error,
            waiter = blocked(&progress) => DumpError::Blocked { waiter },
        };
        stop.cancel();
        match tokio::time::timeout(shutdown::GRACE, work).await {
            // The attempt succeeded just before it was cancelled.
            Ok(Ok(saved)) => Ok(saved),
            _ if self.cancel.is_cancelled() => Err(DumpError::Cancelled),
            // The attempt ended, or was dropped with its pending operation: a store shows nothing of an
            // unfinished upload.
            Ok(Err(_)) | Err(_) => Err(error),
        }
    }

    /// Returns whether an attempt after that wait starts before the next round is due.
    fn is_in_round(&self, wait: Duration) -> bool {
        until(self.until, self.clock.now()) > wait
    }

    fn log_retry(&self, name: &str, error: &DumpError, number: u32, took: Seconds, wait: Duration) {
        let chain = chain(error);
        self.state.retried(name, ExitCode::from(error).into());
        let attempts = self.running.retries.saturating_add(1);
        let seconds = wait.as_secs_f64();
        tracing::warn!(
            target: BACKUP,
            database = name,
            attempt = number,
            seconds = took.exact(),
            wait_seconds = seconds,
            error = %chain.line,
            "{name}: attempt {number} of {attempts} failed after {took}, retrying in {}: {}",
            Seconds(wait),
            chain.line
        );
        for hint in chain.hints {
            tracing::warn!(target: BACKUP, database = name, "{name}: HINT: {hint}");
        }
    }
}

/// Returns the waits between attempts: each about twice as long as the one before, with jitter, so that
/// several sidecars do not retry at the same time.
fn waits(running: &RoundPolicy) -> impl Iterator<Item = Duration> + Send + use<> {
    ExponentialBuilder::new()
        .with_min_delay(running.retry_wait)
        .with_max_delay(LONGEST_WAIT.max(running.retry_wait))
        .with_factor(2.0)
        .with_jitter()
        .with_max_times(usize::try_from(running.retries).unwrap_or(usize::MAX))
        .build()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::log::capture;
    use crate::protocol::{ProtocolError, Server};
    use crate::sidecar::state::FailureStage;
    use crate::sidecar::waiting::tests::FakeClock;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_777_000_000 + seconds).unwrap()
    }

    fn lost() -> DumpError {
        let server = Server::Tcp { host: "db".to_owned(), port: 5432, address: None, is_given: false };
        DumpError::Session(ProtocolError::Lost { server, reason: "it stops".to_owned(), code: None })
    }

    fn denied() -> DumpError {
        DumpError::Session(ProtocolError::Argument("permission denied".to_owned()))
    }

    const GOOD: BackupStats = BackupStats { size: 1, raw_size: 2, rows: 3 };

    struct Tried {
        result: Result<BackupStats, DumpError>,
        keys: Vec<i64>,
        slept: Vec<f64>,
        log: Vec<String>,
        retried: u64,
    }

    /// Runs attempts with the given results and repeats the last result. The next round is due after `due`
    /// seconds.
    async fn tried(running: RoundPolicy, due: i64, ends: &[fn() -> Result<BackupStats, DumpError>]) -> Tried {
        let (clock, state, cancel) =
            (FakeClock::at(at(0)), SidecarState::default(), CancellationToken::new());
        let number = AtomicUsize::new(0);
        let keys = std::sync::Mutex::new(Vec::new());
        let attempts = Retry { running, until: at(due), clock: &clock, state: &state, cancel: &cancel };
        let (log, guard) = capture();
        let save = async |id: BackupId, _: &CancellationToken, _: &DumpProgress| {
            keys.lock().unwrap().push(id.started.as_second() - at(0).as_second());
            let end = number.fetch_add(1, Ordering::Relaxed).min(ends.len() - 1);
            ends[end]()
        };
        state.begin("a", at(0));
        let permits = Semaphore::new(1);
        let mut permit = DumpPermit::wait(&permits, &cancel).await.unwrap();
        let never = async |_: &DumpProgress| std::future::pending().await;
        let result = attempts.save(BackupId::new("a", at(0)), &mut permit, save, never).await;
        drop(guard);
        Tried {
            result,
            keys: keys.into_inner().unwrap(),
            slept: clock.slept().iter().map(Duration::as_secs_f64).collect(),
            log: log.take(),
            retried: state.read().databases["a"]
                .retries
                .get(&FailureStage::Dump)
                .copied()
                .unwrap_or_default(),
        }
    }

    #[tokio::test]
    async fn a_transient_failure_is_retried_with_another_key() {
        let running = RoundPolicy::default();
        let tried = tried(running, 21_600, &[|| Err(lost()), || Err(lost()), || Ok(GOOD)]).await;
        assert_eq!(tried.result.unwrap(), GOOD);
        assert_eq!((tried.keys.len(), tried.slept.len(), tried.retried), (3, 2, 2));
        assert!(tried.keys.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", tried.keys);
        assert!((5.0..=10.0).contains(&tried.slept[0]) && (10.0..=20.0).contains(&tried.slept[1]));
        let [first, second] = tried.log.as_slice() else { panic!("{:?}", tried.log) };
        assert!(first.starts_with("[backup] a: attempt 1 of 6 failed after 0s, retrying in "), "{first}");
        assert!(second.ends_with("s: lost the connection to server db:5432: it stops"), "{second}");
    }

    #[tokio::test]
    async fn permanent_failures_are_not_retried() {
        let tried = tried(RoundPolicy::default(), 21_600, &[|| Err(denied())]).await;
        assert!(tried.result.is_err());
        assert_eq!((tried.keys.len(), tried.slept.len(), tried.log.len()), (1, 0, 0));
    }

    #[tokio::test]
    async fn it_is_given_up_after_as_many_attempts_as_are_allowed() {
        let running = RoundPolicy { retries: 9, ..RoundPolicy::default() };
        let given_up = tried(running, 21_600, &[|| Err(lost())]).await;
        assert!(given_up.result.unwrap_err().is_transient());
        assert_eq!((given_up.keys.len(), given_up.retried), (10, 9));
        // The waits are capped, except for the jitter.
        assert!(given_up.slept.iter().all(|wait| *wait <= 600.0) && given_up.slept[8] >= 300.0);
        let none = tried(RoundPolicy { retries: 0, ..running }, 21_600, &[|| Err(lost())]).await;
        assert_eq!((none.keys.len(), none.slept.len()), (1, 0));
    }

    #[tokio::test]
    async fn no_attempt_is_waited_for_when_the_next_round_is_due() {
        let tried = tried(RoundPolicy::default(), 60, &[|| Err(lost())]).await;
        // 5 to 10 s, then 10 to 20 s; a third wait of 20 s or more may just fit.
        assert!((3..=4).contains(&tried.keys.len()), "{:?}", tried.slept);
        assert!(tried.slept.iter().sum::<f64>() < 60.0);
    }

    async fn ended_early(
        timeout: Option<Duration>,
        blocked: bool,
        end: Result<BackupStats, DumpError>,
    ) -> DumpError {
        let (clock, state, cancel) =
            (FakeClock::at(at(0)), SidecarState::default(), CancellationToken::new());
        let running = RoundPolicy { timeout, retries: 0, ..RoundPolicy::default() };
        let attempts = Retry { running, until: at(3600), clock: &clock, state: &state, cancel: &cancel };
        let end = std::sync::Mutex::new(Some(end));
        let save = async |_: BackupId, stop: &CancellationToken, _: &DumpProgress| {
            stop.cancelled().await;
            end.lock().unwrap().take().unwrap()
        };
        let wait = async |_: &DumpProgress| match blocked {
            true => "process 7 waits".to_owned(),
            false => std::future::pending().await,
        };
        let permits = Semaphore::new(1);
        let mut permit = DumpPermit::wait(&permits, &cancel).await.unwrap();
        attempts.save(BackupId::new("a", at(0)), &mut permit, save, wait).await.unwrap_err()
    }

    #[tokio::test]
    async fn an_end_before_its_time_names_its_reason() {
        let minute = Some(Duration::from_secs(60));
        let error = ended_early(minute, false, Err(DumpError::Cancelled)).await;
        assert_eq!(error.to_string(), "timed out after 60 s (BACKUP_TIMEOUT) while connecting");
        let error = ended_early(None, true, Err(lost())).await;
        assert_eq!(error.to_string(), "aborted: process 7 waits");
    }

    #[tokio::test]
    async fn a_signal_ends_the_wait() {
        let (state, cancel) = (SidecarState::default(), CancellationToken::new());
        let clock = super::super::waiting::SystemClock;
        let running = RoundPolicy { retry_wait: Duration::from_secs(3600), ..RoundPolicy::default() };
        let until = clock.now() + Duration::from_secs(86_400);
        let attempts = Retry { running, until, clock: &clock, state: &state, cancel: &cancel };
        let save = async |_: BackupId, _: &CancellationToken, _: &DumpProgress| {
            cancel.cancel();
            Err(lost())
        };
        let id = BackupId::new("a", clock.now());
        let permits = Semaphore::new(1);
        let mut permit = DumpPermit::wait(&permits, &cancel).await.unwrap();
        let result = attempts.save(id, &mut permit, save, async |_| std::future::pending().await).await;
        assert!(matches!(result, Err(DumpError::Cancelled)));
    }
}
