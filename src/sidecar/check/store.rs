//! Whether the store takes an object under the prefix, and whether backups there are dated in the future.

use super::{Finding, Findings};
use crate::archive::key::BackupId;
use crate::clock;
use crate::pipeline::backups::{self, NewestBackup};
use crate::storage::Store;

/// The name of the object that is put, under the prefix. It is no backup's, and each check writes it again, because a
/// sidecar's key may not delete.
const PROBE: &str = "pg-backup-check.txt";

pub(super) async fn check(
    subject: &str,
    store: &dyn Store,
    prefix: &str,
    databases: &[String],
) -> Vec<Finding> {
    let mut findings = Findings::about(subject);
    let key = BackupId::prefix(prefix) + PROBE;
    let text = format!("pg-backup check put this here at {}. It is no part of a backup.\n", clock::now());
    match store.put(&key, text.into(), "text/plain; charset=utf-8").await {
        Ok(()) => {
            findings.ok(format!("takes an object: {}", store.url(&key)));
            findings.dates(store, prefix, databases).await;
        }
        Err(error) => findings.failed(&error),
    }
    findings.found
}

impl Findings {
    /// Backups that are dated in the future. A sidecar's key may be one that cannot list; then nothing is known.
    async fn dates(&mut self, store: &dyn Store, prefix: &str, databases: &[String]) {
        for database in databases {
            let Ok(found) = backups::list(store, prefix, Some(database)).await else { return };
            if let Some(future) = NewestBackup::of(found, clock::now()).future_notice() {
                self.warn(
                    future,
                    "the clock of the machine that made it was ahead; correct the clock and remove what it dated wrongly, or restore it by its key",
                );
            }
        }
    }
}
