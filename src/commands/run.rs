//! `pg-backup run`: runs one round and returns its outcome as the exit code. Alerts and notifications are the
//! same as in `serve`, as far as they apply to a single round.

use super::round::run_round;
use super::signals::stop_on_signal;
use super::stores::{replica, stores};
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose};
use crate::error::Result;
use crate::log::Tail;
use crate::sidecar::alert::Alerts;
use crate::sidecar::round::{Round, RoundError};
use crate::sidecar::shutdown;
use crate::sidecar::state::SidecarState;
use crate::storage::settle;

/// Runs one round. A signal stops it as cleanly as in `serve`, but it is an error here: no other round
/// follows, and the caller must learn that not everything was saved.
pub(crate) async fn run(file: &ConfigFile, tail: Tail) -> Result<()> {
    let cancel = stop_on_signal()?;
    let cleanup_deadline = shutdown::cleanup_deadline(&cancel);
    let config = Config::load(Purpose::Backup, file.path.as_deref())?;
    let store = config.store.open().await?;
    let replica = replica(&config).await?;
    let state = SidecarState::default();
    let alerts = Alerts::start(&config.alerts, &state, tail, &cancel)?;
    let stores = stores(&store, replica.as_ref());
    let round = Round::new(&config, store, state).replicated_to(replica);
    let outcome = run_round(&round, &alerts.hooks, &cancel).await;
    tokio::join!(alerts.close(), settle(stores.iter().map(|store| &**store), &cleanup_deadline));
    match outcome {
        Some(outcome) => Ok(outcome.into_result()?),
        // The round did not end in time.
        None => Err(RoundError::Stopped.into()),
    }
}
