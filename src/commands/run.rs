//! `pg-backup run`: one round, whose outcome is the exit code.

use crate::cli::ConfigFile;
use crate::config::{Config, Purpose};
use crate::error::Result;
use crate::sidecar::record::Record;
use crate::sidecar::round::Round;
use crate::sidecar::shutdown;

use super::serve::{replica, stop_on_signal};

/// Makes one round. A signal ends it without a failure, as it does with `serve`.
pub async fn run(file: &ConfigFile) -> Result<()> {
    let cancel = stop_on_signal()?;
    let config = Config::load(Purpose::Backup, file.path.as_deref())?;
    let store = config.store.open().await?;
    let replica = replica(&config).await?;
    let round = Round::new(&config, store, Record::default()).replicated_to(replica);
    match shutdown::within_grace(&cancel, round.run(&cancel)).await {
        Some(outcome) => outcome.into_result(),
        None => Ok(()),
    }
}
