//! One round: backs up every configured database in turn, then the globals of the servers if they are
//! configured. It writes the log lines that operators' saved searches match.
//!
//! A database that waits for a retry does not block the others. The failure of one database is logged with
//! its causes and does not stop the others. The word FAILED appears in the log exactly once per failed
//! database, so that it can be counted.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::lock_watch::LockWatch;
use super::panic::caught;
use super::retry::{DumpPermit, Retry};
use super::state::{BackupStats, Failure, SidecarState};
use super::waiting::{Clock as _, SystemClock};
use crate::archive::key::BackupId;
use crate::clock;
use crate::config::{Config, RoundPolicy, Schedule};
use crate::dump::ReadOptions;
use crate::dump::backup::{BackupDestination, CompletedBackup, back_up};
use crate::dump::claim::ClaimedKey;
use crate::dump::cluster::ClusterRequest;
use crate::dump::progress::{DumpPhase, DumpProgress};
use crate::dump::{DumpError, DumpRequest, globals};
use crate::exit_code::ExitCode;
use crate::log::BACKUP;
use crate::pipeline::{PipelineOptions, UploadOptions};
use crate::protocol::{ConnectOptions, Isolation, SessionSetup};
use crate::quantity::Seconds;
use crate::report::{Chain, chain};
use crate::sql::DumpOptions;
use crate::sql::global::{ClusterScope, GlobalOptions};
use crate::storage::Store;
use crate::storage::mirror::Replica;

/// One database of a round, or the globals of one server.
#[derive(Clone, Debug)]
pub struct DatabaseTarget {
    /// Name used in keys and log lines.
    pub name: String,
    /// Options of the connection.
    pub connection: ConnectOptions,
    /// Content of the backup.
    pub content: BackupContent,
}

/// What a backup contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupContent {
    /// A database.
    Database,
    /// The globals of a server: roles and tablespaces.
    Globals {
        /// Whether to omit the passwords of roles.
        no_role_passwords: bool,
    },
}

impl fmt::Display for BackupContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupContent::Database => Ok(()),
            BackupContent::Globals { .. } => f.write_str("roles and tablespaces, read in "),
        }
    }
}

/// The configuration of a round.
#[derive(Debug)]
pub struct Round {
    targets: Vec<DatabaseTarget>,
    destination: BackupDestination,
    reading: ReadOptions,
    schedule: Schedule,
    running: RoundPolicy,
    state: SidecarState,
}

/// The result of a round.
#[derive(Debug, Default)]
pub struct RoundOutcome {
    /// Number of databases to back up.
    pub total: usize,
    /// Failed databases, each with the exit code of its failure.
    pub failed: Vec<(String, ExitCode)>,
    /// Whether the round was cancelled before its end.
    pub cancelled: bool,
}

impl Round {
    /// Creates a round that writes to `store` and reports its progress in `state`.
    pub fn new(config: &Config, store: Arc<dyn Store>, state: SidecarState) -> Round {
        let target = |database: &crate::config::DatabaseConfig| {
            let connection = database.connection.clone()?.unattended();
            Some(DatabaseTarget { name: database.name.clone(), connection, content: BackupContent::Database })
        };
        let globals = |globals: &crate::config::GlobalsConfig| DatabaseTarget {
            name: globals.name.clone(),
            connection: globals.connection.clone().unattended(),
            content: BackupContent::Globals { no_role_passwords: globals.no_role_passwords },
        };
        // The globals come last, so that they include every role that a database's dump refers to.
        let globals = config.globals.iter().map(globals);
        Round {
            targets: config.databases.iter().filter_map(target).chain(globals).collect(),
            reading: ReadOptions::within(config.memory, config.jobs),
            schedule: config.schedule.clone(),
            running: config.round_policy,
            state,
            destination: BackupDestination {
                store,
                prefix: config.prefix.clone(),
                replica: None,
                upload: UploadOptions::within(config.memory),
                pipeline: PipelineOptions {
                    compression: config.compression,
                    recipients: config.encryption.recipients.clone(),
                    ..PipelineOptions::within(config.memory)
                },
            },
        }
    }

    /// Also copies every backup to a replica.
    pub fn replicated_to(mut self, replica: Option<Replica>) -> Round {
        self.destination.replica = replica;
        self
    }

    /// Returns the names of the backups, in order.
    pub fn names(&self) -> Vec<String> {
        self.targets.iter().map(|target| target.name.clone()).collect()
    }

    /// Backs up every database in turn. Transient failures are retried until the next round is due.
    pub async fn run(&self, cancel: &CancellationToken) -> RoundOutcome {
        let (clock, state) = (&SystemClock, &self.state);
        let (running, until) = (self.running, self.schedule.next_after(clock.now()));
        run_with(
            &self.targets,
            state,
            cancel,
            async |target: &DatabaseTarget, id: BackupId, permit: &mut DumpPermit<'_>| {
                let watch = LockWatch { name: &target.name, connection: &target.connection, running, state };
                let attempts = Retry { running, until, clock, state, cancel };
                let save = async |id, stop: &CancellationToken, progress: &DumpProgress| {
                    // Boxed because the compiler limits the nesting depth of futures.
                    Box::pin(self.save(target, id, stop, progress)).await
                };
                let blocked = async |progress: &DumpProgress| watch.watch(progress).await;
                Box::pin(attempts.save(id, permit, save, blocked)).await
            },
        )
        .await
    }

    /// Fails every database without running the round. `took` is the time until `cause` was known.
    pub fn refuse(&self, cause: &dyn std::error::Error, took: Duration) -> RoundOutcome {
        let (chain, code) = (chain(cause), ExitCode::Other);
        let failed = self.names().into_iter().map(|name| {
            log_failure(&name, &chain, Seconds(took));
            self.state.begin(&name, clock::now());
            let (cause, hints) = (chain.line.clone(), chain.hints.clone());
            self.state.end(&name, took, Err(Failure { stage: code.into(), cause, hints }));
            (name, code)
        });
        RoundOutcome { total: self.targets.len(), failed: failed.collect(), cancelled: false }
    }

    /// Runs one attempt.
    async fn save(
        &self,
        target: &DatabaseTarget,
        id: BackupId,
        cancel: &CancellationToken,
        progress: &DumpProgress,
    ) -> Result<BackupStats, DumpError> {
        tracing::info!(
            target: BACKUP,
            database = %target.name,
            "{}: dumping {}{} → {}",
            target.name,
            target.content,
            target.connection,
            self.destination.url(&id)
        );
        progress.enter(DumpPhase::Claiming);
        let claimed = self.destination.claim(&id, cancel).await?;
        self.log_claim(&id, &claimed);
        progress.enter(DumpPhase::Connecting);
        let restrict_key = DumpOptions::new_restrict_key()?;
        let (connection, cancel) = (target.connection.clone(), cancel.clone());
        let setup = SessionSetup { lock_timeout: self.running.lock_timeout, ..SessionSetup::default() };
        let reading = self.reading.clone();
        let backup = match target.content {
            BackupContent::Database => {
                let options = DumpOptions { restrict_key, ..DumpOptions::default() };
                let isolation = Isolation::default();
                let (snapshot, progress) = (None, progress.clone());
                let request = DumpRequest {
                    connection,
                    setup,
                    isolation,
                    snapshot,
                    options,
                    reading,
                    progress,
                    cancel,
                };
                back_up(claimed, request, &self.destination).await?
            }
            BackupContent::Globals { no_role_passwords } => {
                progress.enter(DumpPhase::Globals);
                let scope = ClusterScope::Globals;
                let globals =
                    GlobalOptions { scope, no_role_passwords, restrict_key, ..GlobalOptions::default() };
                let databases = DumpOptions::default();
                let request = ClusterRequest { connection, setup, globals, databases, reading, cancel };
                globals::back_up(claimed, request, &self.destination).await?
            }
        };
        self.log_replication(&target.name, &backup);
        let manifest = backup.manifest;
        Ok(BackupStats {
            size: manifest.dump.size,
            raw_size: manifest.dump.raw_size,
            rows: manifest.totals().rows,
        })
    }

    /// Logs the claimed key if it differs from the key that was logged before.
    fn log_claim(&self, wanted: &BackupId, claimed: &ClaimedKey) {
        let (id, name) = (claimed.id(), &wanted.database);
        if id == wanted {
            return;
        }
        self.state.begin(name, id.started);
        let url = self.destination.url(id);
        if claimed.store_refuses_to_overwrite() {
            tracing::info!(target: BACKUP, database = %name, "{name}: that key already exists, dumping → {url}");
        } else {
            tracing::info!(
                target: BACKUP,
                database = %name,
                "{name}: the store does not support conditional writes, dumping under a unique key → {url}"
            );
        }
    }

    /// Logs and records the result of copying a backup to the replica.
    fn log_replication(&self, name: &str, backup: &CompletedBackup) {
        let Some(copied) = &backup.copied else { return };
        let url = copied.url(&backup.id.key(&self.destination.prefix, backup.dump_part()));
        let Some(failure) = copied.failure() else {
            self.state.replicated(name, backup.id.started, Ok(()));
            tracing::info!(target: BACKUP, database = name, "{name}: replicated → {url}");
            return;
        };
        let Chain { line, hints } = chain(&*failure);
        tracing::error!(target: BACKUP, database = name, error = %line, "{name}: not replicated → {url}: {line}");
        for hint in hints {
            tracing::error!(target: BACKUP, database = name, "{name}: HINT: {hint}");
        }
        self.state.replicated(name, backup.id.started, Err(line));
    }
}

/// A target of [`run_with`]; tests implement it without a server.
pub(crate) trait RoundTarget {
    fn name(&self) -> &str;

    /// Whether the target waits until all others are done.
    fn is_last(&self) -> bool {
        false
    }
}

impl RoundTarget for DatabaseTarget {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_last(&self) -> bool {
        matches!(self.content, BackupContent::Globals { .. })
    }
}

/// The result of one target.
enum End {
    Saved,
    Failed(ExitCode),
    Stopped,
}

/// Runs a round with `save` as the backup: handles the order, the log lines and the failures.
async fn run_with<T: RoundTarget>(
    targets: &[T],
    state: &SidecarState,
    cancel: &CancellationToken,
    save: impl AsyncFn(&T, BackupId, &mut DumpPermit<'_>) -> Result<BackupStats, DumpError>,
) -> RoundOutcome {
    let begun = Instant::now();
    let mut outcome = RoundOutcome { total: targets.len(), ..RoundOutcome::default() };
    let started = BackupId::new("", clock::now()).stamp();
    tracing::info!(target: BACKUP, %started, databases = targets.len(), "=== run started at {started} ===");
    // Semaphores are fair: each target gets its first attempt before the first retry.
    let permits = Semaphore::new(1);
    for is_last in [false, true] {
        let group: Vec<&T> = targets.iter().filter(|target| target.is_last() == is_last).collect();
        let ends =
            join_all(group.iter().map(|target| run_one(*target, &permits, state, cancel, &save))).await;
        for (target, end) in group.iter().zip(ends) {
            match end {
                End::Saved => {}
                End::Failed(code) => outcome.failed.push((target.name().to_owned(), code)),
                End::Stopped => outcome.cancelled = true,
            }
        }
    }
    let took = Seconds(begun.elapsed());
    if outcome.cancelled {
        tracing::warn!(target: BACKUP, "=== run stopped after {took} ===");
    } else if outcome.failed.is_empty() {
        tracing::info!(target: BACKUP, seconds = took.exact(), "=== run completed in {took} ===");
    } else {
        let names = outcome.failed_names();
        tracing::error!(
            target: BACKUP,
            seconds = took.exact(),
            failed = %names,
            "=== run completed in {took}; {} of {} failed: {names} ===",
            outcome.failed.len(),
            outcome.total
        );
    }
    outcome
}

/// Backs up one target when it gets its permit.
async fn run_one<T: RoundTarget>(
    target: &T,
    permits: &Semaphore,
    state: &SidecarState,
    cancel: &CancellationToken,
    save: impl AsyncFn(&T, BackupId, &mut DumpPermit<'_>) -> Result<BackupStats, DumpError>,
) -> End {
    let Some(mut permit) = DumpPermit::wait(permits, cancel).await else { return End::Stopped };
    let name = target.name();
    let since = Instant::now();
    let id = BackupId::new(name, clock::now());
    state.begin(name, id.started);
    // A panic fails this database only.
    let result = caught(save(target, id, &mut permit)).await;
    let took = Seconds(since.elapsed());
    let (chain, code) = match result {
        Ok(Ok(saved)) => {
            let BackupStats { size, raw_size, .. } = saved;
            state.end(name, took.0, Ok(saved));
            tracing::info!(target: BACKUP, database = name, size, raw_size, seconds = took.exact(), "{name}: OK in {took}");
            return End::Saved;
        }
        Ok(Err(error)) if error.is_cancellation() => {
            state.stop(name);
            tracing::warn!(target: BACKUP, database = name, "{name}: stopped after {took}; not saved");
            // No other target may start after a cancellation.
            permits.close();
            return End::Stopped;
        }
        Ok(Err(error)) => (chain(&error), ExitCode::from(&error)),
        Err(panicked) => (chain(&panicked), ExitCode::Other),
    };
    log_failure(name, &chain, took);
    let Chain { line: cause, hints } = chain;
    state.end(name, took.0, Err(Failure { stage: code.into(), cause, hints }));
    End::Failed(code)
}

fn log_failure(name: &str, chain: &Chain, took: Seconds) {
    tracing::error!(
        target: BACKUP,
        database = name,
        seconds = took.exact(),
        error = %chain.line,
        "{name}: FAILED in {took}: {}",
        chain.line
    );
    for hint in &chain.hints {
        tracing::error!(target: BACKUP, database = name, "{name}: HINT: {hint}");
    }
}

/// Why a round did not save every database.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// Databases failed; each failure was logged where it happened.
    #[error("{} of {total} databases failed: {}", names.len(), names.join(", "))]
    Failed {
        /// Names of the failed databases.
        names: Vec<String>,
        /// Number of databases to back up.
        total: usize,
        /// The exit code that all failures have in common, or [`ExitCode::SomeFailed`].
        code: ExitCode,
    },
    /// A signal stopped the round before its end.
    #[error("a signal ended the round before every database was backed up")]
    Stopped,
}

impl RoundError {
    /// Returns the exit code of the error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            RoundError::Failed { code, .. } => *code,
            RoundError::Stopped => ExitCode::Other,
        }
    }
}

impl RoundOutcome {
    /// Returns whether every database was saved.
    pub fn is_good(&self) -> bool {
        self.failed.is_empty() && !self.cancelled
    }

    /// Returns the names of the failed databases, as a list.
    pub fn failed_names(&self) -> String {
        let names: Vec<&str> = self.failed.iter().map(|(name, _)| name.as_str()).collect();
        names.join(", ")
    }

    /// Converts the outcome to the result of a command. If all databases failed with the same exit code, that
    /// code is returned; otherwise [`ExitCode::SomeFailed`]. A cancelled round is an error even if no
    /// database failed.
    pub fn into_result(self) -> Result<(), RoundError> {
        let Some((_, first)) = self.failed.first() else {
            return if self.cancelled { Err(RoundError::Stopped) } else { Ok(()) };
        };
        let same = self.failed.len() == self.total && self.failed.iter().all(|(_, code)| code == first);
        let code = if same { *first } else { ExitCode::SomeFailed };
        let names = self.failed.iter().map(|(name, _)| name.clone()).collect();
        Err(RoundError::Failed { names, total: self.total, code })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::log::capture;
    use crate::protocol::ProtocolError;
    use crate::sidecar::waiting::tests::FakeClock;

    impl RoundTarget for &str {
        fn name(&self) -> &str {
            self
        }
    }

    async fn round(
        names: &[&str],
        save: impl AsyncFn(&str) -> Result<BackupStats, DumpError>,
    ) -> (RoundOutcome, Vec<String>) {
        let cancel = CancellationToken::new();
        let (lines, guard) = capture();
        let outcome =
            run_with(names, &SidecarState::default(), &cancel, async |name: &&str, _, _| save(name).await)
                .await;
        drop(guard);
        // The time differs in each run.
        let mut lines = lines.take();
        lines[0].replace_range(28..48, "2026-04-26T16-29-58Z");
        (outcome, lines)
    }

    fn refused() -> DumpError {
        DumpError::Connect(ProtocolError::Argument("db refused the connection\nHINT: start it".to_owned()))
    }

    #[tokio::test]
    async fn a_good_round_prints_the_lines_of_the_design() {
        let (outcome, lines) =
            round(&["metadata", "website"], async |_| Ok(BackupStats { size: 1, raw_size: 2, rows: 3 }))
                .await;
        assert_eq!(
            lines,
            [
                "[backup] === run started at 2026-04-26T16-29-58Z ===",
                "[backup] metadata: OK in 0s",
                "[backup] website: OK in 0s",
                "[backup] === run completed in 0s ===",
            ]
        );
        assert!(outcome.is_good() && outcome.into_result().is_ok());
    }

    #[tokio::test]
    async fn one_failure_does_not_stop_the_others() {
        let (outcome, lines) = round(&["metadata", "website"], async |name| match name {
            "metadata" => Err(refused()),
            _ => Ok(BackupStats { size: 1, raw_size: 2, rows: 3 }),
        })
        .await;
        assert_eq!(
            lines[1..],
            [
                "[backup] metadata: FAILED in 0s: db refused the connection",
                "[backup] metadata: HINT: start it",
                "[backup] website: OK in 0s",
                "[backup] === run completed in 0s; 1 of 2 failed: metadata ===",
            ]
        );
        let error = outcome.into_result().unwrap_err();
        assert_eq!(error.to_string(), "1 of 2 databases failed: metadata");
        assert_eq!(error.exit_code(), ExitCode::SomeFailed);
    }

    #[tokio::test]
    async fn a_panic_fails_its_database_alone() {
        let (outcome, lines) = round(&["metadata", "website"], async |name| match name {
            "metadata" => panic!("no such {}", "thing"),
            _ => Ok(BackupStats { size: 1, raw_size: 2, rows: 3 }),
        })
        .await;
        // Writing the backtrace of a panic takes a while, so the duration is not fixed.
        assert!(lines[1].starts_with("[backup] metadata: FAILED in "), "{lines:?}");
        assert!(lines[1].ends_with("s: the program panicked: no such thing"), "{lines:?}");
        assert!(lines[2].starts_with("[backup] metadata: HINT: this is a bug"), "{lines:?}");
        assert_eq!(lines[3], "[backup] website: OK in 0s");
        assert!(lines[4].ends_with("; 1 of 2 failed: metadata ==="), "{lines:?}");
        assert_eq!(lines.len(), 5);
        assert_eq!(outcome.into_result().unwrap_err().exit_code(), ExitCode::SomeFailed);
    }

    #[tokio::test]
    async fn the_exit_code_names_what_all_failures_share() {
        let (outcome, _) = round(&["a", "b"], async |_| Err(refused())).await;
        assert_eq!(outcome.into_result().unwrap_err().exit_code(), ExitCode::Connect);
        let (outcome, _) = round(&["a", "b"], async |name| match name {
            "a" => Err(refused()),
            _ => Err(DumpError::Session(ProtocolError::Argument("x".to_owned()))),
        })
        .await;
        assert_eq!(outcome.into_result().unwrap_err().exit_code(), ExitCode::SomeFailed);
    }

    /// The first database is retried only after each of the others has had its first attempt, and the globals
    /// wait for all databases.
    #[tokio::test]
    async fn a_retried_database_waits_for_the_others() {
        struct Entry(&'static str);
        impl RoundTarget for Entry {
            fn name(&self) -> &str {
                self.0
            }
            fn is_last(&self) -> bool {
                self.0 == "globals"
            }
        }
        let (state, cancel) = (SidecarState::default(), CancellationToken::new());
        let (tried, running) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let lost = || {
            let server = crate::protocol::Server::Tcp {
                host: "db".to_owned(),
                port: 5432,
                address: None,
                is_given: false,
            };
            DumpError::Session(ProtocolError::Lost {
                server,
                reason: "it stands still".to_owned(),
                code: None,
            })
        };
        let clock = FakeClock::at(jiff::Timestamp::UNIX_EPOCH);
        let attempts = Retry {
            running: RoundPolicy { retries: 2, ..RoundPolicy::default() },
            until: clock.now() + Duration::from_secs(86_400),
            clock: &clock,
            state: &state,
            cancel: &cancel,
        };
        let save = async |id: BackupId, _: &CancellationToken, _: &DumpProgress| {
            assert!(!running.swap(true, Ordering::SeqCst), "one dump runs at a time");
            tokio::task::yield_now().await;
            running.store(false, Ordering::SeqCst);
            tried.lock().unwrap().push(id.database.clone());
            match id.database.as_str() {
                "silent" => Err(lost()),
                _ => Ok(BackupStats { size: 1, raw_size: 2, rows: 3 }),
            }
        };
        let names = ["globals", "silent", "b", "c"].map(Entry);
        let outcome =
            run_with(&names, &state, &cancel, async |_: &Entry, id, permit: &mut DumpPermit<'_>| {
                attempts.save(id, permit, save, async |_: &DumpProgress| std::future::pending().await).await
            })
            .await;
        assert_eq!(tried.into_inner().unwrap(), ["silent", "b", "c", "silent", "silent", "globals"]);
        assert_eq!(outcome.failed, [("silent".to_owned(), ExitCode::Dump)]);
    }

    #[tokio::test]
    async fn a_signal_ends_the_round_without_a_failure_and_without_success() {
        let (outcome, lines) = round(&["a", "b"], async |_| Err(DumpError::Cancelled)).await;
        assert_eq!(
            lines[1..],
            ["[backup] a: stopped after 0s; not saved", "[backup] === run stopped after 0s ==="]
        );
        assert!(outcome.cancelled && outcome.failed.is_empty());
        let error = outcome.into_result().unwrap_err();
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (ExitCode::Other, "a signal ended the round before every database was backed up")
        );
        // A database that failed before the signal is named.
        let (outcome, _) = round(&["a", "b", "c"], async |name| match name {
            "a" => Err(refused()),
            _ => Err(DumpError::Cancelled),
        })
        .await;
        let error = outcome.into_result().unwrap_err();
        assert_eq!(error.to_string(), "1 of 3 databases failed: a");
        assert_eq!(error.exit_code(), ExitCode::SomeFailed);
    }
}
