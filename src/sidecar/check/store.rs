//! Checks whether the store accepts an object under the prefix, and whether backups have a timestamp in the
//! future.

use super::{Finding, Findings};
use crate::archive::key::BackupId;
use crate::clock;
use crate::pipeline::backups::{self, NewestBackup};
use crate::storage::Store;

/// Name of the test object under the prefix. It cannot be the name of a backup, and each check overwrites it,
/// because a sidecar's key may lack permission to delete.
const PROBE: &str = "pg-backup-check.txt";

pub(super) async fn check(
    subject: &str,
    store: &dyn Store,
    prefix: &str,
    databases: &[String],
) -> Vec<Finding> {
    let mut findings = Findings::about(subject);
    let key = BackupId::prefix(prefix) + PROBE;
    let text = format!("pg-backup check wrote this at {}. It is not part of a backup.\n", clock::now());
    match store.put(&key, text.into(), "text/plain; charset=utf-8").await {
        Ok(()) => {
            findings.ok(format!("an object could be written: {}", store.url(&key)));
            findings.dates(store, prefix, databases).await;
        }
        Err(error) => findings.failed(&error),
    }
    findings.found
}

impl Findings {
    /// Reports backups with a timestamp in the future. Nothing is reported if the sidecar's key may not list
    /// objects.
    async fn dates(&mut self, store: &dyn Store, prefix: &str, databases: &[String]) {
        for database in databases {
            let Ok(found) = backups::list(store, prefix, Some(database)).await else { return };
            if let Some(future) = NewestBackup::of(found, clock::now()).future_notice() {
                self.warn(
                    future,
                    "the clock of the machine that created it was ahead; correct the clock and remove the misdated backups, or restore them by key",
                );
            }
        }
    }
}
