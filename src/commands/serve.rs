//! `pg-backup serve`: runs a round immediately and then on schedule, until SIGTERM, SIGINT or SIGHUP.
//!
//! Drills run between rounds if they are configured, never during a round.
//!
//! A failed round does not end the program, because the next one may succeed. Only an invalid configuration
//! or a store that cannot be created ends it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::round::run_round;
use super::signals::stop_on_signal;
use super::stores::{replica, stores};
use crate::clock;
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose, Schedule};
use crate::error::{Error, Result};
use crate::log::{ENTRYPOINT, Log};
use crate::quantity::Seconds;
use crate::report::chain;
use crate::sidecar::alert::Alerts;
use crate::sidecar::drill::{DrillResult, Drills};
use crate::sidecar::http;
use crate::sidecar::round::{Round, RoundOutcome};
use crate::sidecar::shutdown;
use crate::sidecar::state::{Drill, SidecarState};
use crate::sidecar::waiting::{Clock as _, NextRun, SystemClock, until};
use crate::storage::{Store, settle};

/// Runs rounds until it is stopped.
pub(crate) async fn serve(file: &ConfigFile, log: &Log) -> Result<()> {
    let cancel = stop_on_signal()?;
    let cleanup_deadline = shutdown::cleanup_deadline(&cancel);
    let config = Config::load(Purpose::Backup, file.path.as_deref())?;
    let store = config.store.open().await?;
    let schedule = &config.schedule;
    let state = SidecarState::of(config.backup_names(), schedule.longest_gap(clock::now()));
    config.globals.iter().for_each(|globals| state.holds_globals(&globals.name));
    state.counts_lost_lines(log.lost_lines());
    let _pages = pages(&config, &state).await?;
    let replica = replica(&config).await?;
    let stores = stores(&store, replica.as_ref());
    let round = Round::new(&config, Arc::clone(&store), state.clone()).replicated_to(replica);
    let mut drilling = Drilling::new(&config, store, &state)?;
    let alerts = Alerts::start(&config.alerts, &state, log.tail(), &cancel)?;
    tracing::info!(
        target: ENTRYPOINT,
        interval_seconds = schedule.interval().map(|interval| interval.as_secs()),
        "starting; backup will run immediately, then {schedule}"
    );
    let clock = SystemClock;
    loop {
        let mut next = NextRun::after(schedule, clock.now());
        let Some(outcome) = run_round(&round, &alerts.hooks, &cancel).await else { break };
        if outcome.cancelled {
            break;
        }
        let now = clock.now();
        state.plan(next.due().max(now));
        announce_sleep(&outcome, schedule, until(next.due(), now));
        while let Some(drilling) = &mut drilling
            && drilling.next.due() < next.due()
        {
            drilling.wait_and_run(&cancel).await;
            if cancel.is_cancelled() {
                break;
            }
        }
        tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            () = next.end(&clock) => {}
        }
    }
    tokio::join!(alerts.close(), settle(stores.iter().map(|store| &**store), &cleanup_deadline));
    tracing::info!(target: ENTRYPOINT, "stopped");
    Ok(())
}

/// Serves the status, health and metrics pages until the returned value is dropped.
async fn pages(config: &Config, state: &SidecarState) -> Result<Option<JoinSet<Infallible>>> {
    let Some(address) = config.http_listen else { return Ok(None) };
    let listener = http::listen(address).await.map_err(|source| Error::Io {
        context: format!("cannot listen on {address} (BACKUP_HTTP_LISTEN)"),
        source,
    })?;
    tracing::info!(target: ENTRYPOINT, "health and metrics on http://{address}");
    let mut pages = JoinSet::new();
    pages.spawn(http::serve(listener, state.clone()));
    Ok(Some(pages))
}

/// The scheduled drills.
struct Drilling<'a> {
    drills: Drills,
    databases: Vec<String>,
    schedule: &'a Schedule,
    state: SidecarState,
    next: NextRun<'a>,
}

impl<'a> Drilling<'a> {
    /// Creates the scheduled drills; returns `None` without a schedule. The first drill is at the first
    /// scheduled time after the start.
    fn new(config: &'a Config, store: Arc<dyn Store>, state: &SidecarState) -> Result<Option<Drilling<'a>>> {
        let Some(schedule) = &config.drill.schedule else { return Ok(None) };
        let drills = Drills::new(config, store)?;
        let databases = config.databases.iter().map(|database| database.name.clone()).collect();
        tracing::info!(target: ENTRYPOINT, "drills will run {schedule}");
        let now = SystemClock.now();
        let next = NextRun::after(schedule, now);
        state.schedule_drills(schedule.longest_gap(now));
        state.plan_drill(next.due());
        Ok(Some(Drilling { drills, databases, schedule, state: state.clone(), next }))
    }

    /// Waits until the drills are due, runs them and schedules the next ones. Their result is logged.
    async fn wait_and_run(&mut self, cancel: &CancellationToken) {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return,
            () = self.next.end(&SystemClock) => {}
        }
        self.next = NextRun::after(self.schedule, SystemClock.now());
        let drilled = shutdown::within_grace(cancel, self.drills.run(&self.databases, cancel)).await;
        for drilled in drilled.flatten().unwrap_or_default() {
            self.keep(drilled);
        }
        self.state.plan_drill(self.next.due());
    }
}

impl Drilling<'_> {
    /// Records the result of a drill.
    fn keep(&self, drilled: DrillResult) {
        let ended = clock::now();
        let drill = match drilled.outcome {
            Ok(None) => return,
            Ok(Some(report)) => {
                let verdict = (!report.ok).then(|| report.verdict());
                let phases = report.phases.into_iter().map(|phase| (phase.name, phase.seconds)).collect();
                let restored_in = Duration::try_from_secs_f64(report.restore_seconds).ok();
                Drill { ended, restored_in, phases, verdict }
            }
            Err(error) => {
                let verdict = Some(chain(&error).line);
                Drill { ended, restored_in: None, phases: Vec::new(), verdict }
            }
        };
        self.state.drilled(&drilled.database, drill);
    }
}

/// Logs the result of the round and the next start. The line names the interval, which counts from the start
/// of the round; the field has the remaining time.
fn announce_sleep(outcome: &RoundOutcome, schedule: &Schedule, wait: Duration) {
    let next = if wait.is_zero() {
        "the next run is already due and starts immediately".to_owned()
    } else {
        format!("sleeping {}", Seconds(schedule.interval().unwrap_or(wait)))
    };
    let seconds = wait.as_secs_f64();
    if outcome.is_good() {
        tracing::info!(target: ENTRYPOINT, sleep_seconds = seconds, "backup ok; {next}");
    } else {
        let names = outcome.failed_names();
        tracing::error!(target: ENTRYPOINT, sleep_seconds = seconds, failed = %names, "backup failed for {names}; {next}");
    }
}
