//! Whether the store takes an object under the prefix.

use jiff::Timestamp;

use super::{Finding, Findings};
use crate::archive::key::BackupId;
use crate::storage::Store;

/// The name of the object that is put, under the prefix. It is no backup's, and each check writes it again, because a
/// sidecar's key may not delete.
const PROBE: &str = "pg-backup-check.txt";

pub(super) async fn check(subject: &str, store: &dyn Store, prefix: &str) -> Vec<Finding> {
    let mut findings = Findings::about(subject);
    let key = BackupId::prefix(prefix) + PROBE;
    let text = format!("pg-backup check put this here at {}. It is no part of a backup.\n", Timestamp::now());
    match store.put(&key, text.into(), "text/plain; charset=utf-8").await {
        Ok(()) => findings.ok(format!("takes an object: {}", store.url(&key))),
        Err(error) => findings.failed(&error),
    }
    findings.found
}
