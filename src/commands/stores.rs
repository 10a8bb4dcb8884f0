//! The stores that the configuration names, and the databases whose backups are in them.

use std::sync::Arc;

use crate::archive::key::BackupId;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::pipeline::backups;
use crate::storage::Store;
use crate::storage::mirror::Replica;

/// Returns the replica, if there is one. As with the primary, only errors of the configuration are detected
/// here; an unreachable store is detected by the first write.
pub(super) async fn replica(config: &Config) -> Result<Option<Replica>> {
    let Some(replica) = &config.replica else { return Ok(None) };
    Ok(Some(replica.open().await?))
}

/// Returns all stores to which backups are written.
pub(super) fn stores(store: &Arc<dyn Store>, replica: Option<&Replica>) -> Vec<Arc<dyn Store>> {
    std::iter::once(store).chain(replica.map(|replica| &replica.store)).map(Arc::clone).collect()
}

/// Returns the databases whose backups a command reads: the named one, the configured ones, or all that
/// the store contains.
pub(super) async fn databases(
    config: &Config,
    store: &dyn Store,
    named: Option<&str>,
) -> Result<Vec<String>> {
    if let Some(name) = named {
        return Ok(vec![name.to_owned()]);
    }
    let configured = config.backup_names();
    if !configured.is_empty() {
        return Ok(configured);
    }
    let found = backups::list(store, &config.prefix, None).await?;
    let mut names: Vec<String> = found.into_iter().map(|backup| backup.id.database).collect();
    names.dedup();
    if names.is_empty() {
        let place = store.url(&BackupId::prefix(&config.prefix));
        return Err(Error::Difference(format!("there are no backups under {place}")));
    }
    Ok(names)
}
