//! `pg-backup serve`: a round at once and then at every interval, until SIGTERM or SIGINT.
//!
//! A failed round does not end it: the next one may succeed. Only a refused configuration or a
//! store that cannot be set up at all does.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::cli::ConfigFile;
use crate::config::{Config, Purpose, Schedule};
use crate::error::{Error, Result};
use crate::log::ENTRYPOINT;
use crate::sidecar::round::{Outcome, Round, Seconds};
use crate::sidecar::shutdown;

/// Serves until told to stop.
pub async fn serve(file: &ConfigFile) -> Result<()> {
    let cancel = stop_on_signal()?;
    let config = Config::load(Purpose::Backup, file.path.as_deref())?;
    let store = config.store.open().await?;
    let round = Round::new(&config, store);
    let schedule = &config.schedule;
    tracing::info!(
        target: ENTRYPOINT,
        interval_seconds = schedule.interval().map(|interval| interval.as_secs()),
        "starting; backup will run immediately, then {schedule}"
    );
    loop {
        let (begun, started) = (Instant::now(), Timestamp::now());
        let Some(outcome) = shutdown::within_grace(&cancel, round.run(&cancel)).await else { break };
        if outcome.cancelled {
            break;
        }
        let wait = schedule.wait_after(started, begun.elapsed());
        announce_sleep(&outcome, schedule, wait);
        tokio::select! {
            () = cancel.cancelled() => break,
            () = tokio::time::sleep(wait) => {}
        }
    }
    tracing::info!(target: ENTRYPOINT, "stopped");
    Ok(())
}

/// Says how the round went and what follows. The line names the interval, which counts from the
/// round's start; what is left of it is in the fields.
fn announce_sleep(outcome: &Outcome, schedule: &Schedule, wait: Duration) {
    let next = if wait.is_zero() {
        "the next run is due already and starts at once".to_owned()
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

/// Installs the signal handlers and says so in the log when one comes.
pub(super) fn stop_on_signal() -> Result<CancellationToken> {
    let announce = |signal| tracing::info!(target: ENTRYPOINT, "{signal} received; stopping");
    shutdown::on_signal(announce)
        .map_err(|source| Error::Io { context: "cannot install signal handlers".to_owned(), source })
}
