//! `BACKUP_REPLICA_…`: the bucket that stores a copy of every backup. Its variables are those of the primary
//! with another stem, and [`StoreVars`] reads both.

use std::time::Duration;

use super::error::ConfigError;
use super::store::{S3Access, StoreLocation, StoreVars, bucket_name, prefix};
use super::value;
use super::variables::VARIABLES;
use super::vars::Vars;
use crate::storage::StoreError;
use crate::storage::mirror::Replica;

const STEM: &str = "BACKUP_REPLICA_";

/// The second destination of backups.
#[derive(Clone, Debug)]
pub struct ReplicaConfig {
    /// Name of the bucket.
    pub bucket: String,
    /// Access to the bucket.
    pub access: S3Access,
    /// Prefix of every key in the replica; without leading and trailing slashes, may be empty.
    pub prefix: String,
    /// Maximum time without a completed operation, after which the replica is abandoned for the current
    /// backup.
    pub stall_timeout: Duration,
}

impl ReplicaConfig {
    /// Reads the replica's variables; returns `None` if no bucket is set.
    pub(super) fn read(vars: &Vars) -> Result<Option<ReplicaConfig>, ConfigError> {
        let names = StoreVars { vars, stem: STEM };
        let Some(bucket) = names.get("S3_BUCKET")? else {
            return refuse_without_bucket(names).map(|()| None);
        };
        // Defaults to the primary's prefix; `/` means no prefix.
        let prefix = match prefix(names)? {
            Some(prefix) => prefix,
            None => super::store::prefix(StoreVars::primary(vars))?.unwrap_or_default(),
        };
        Ok(Some(ReplicaConfig {
            bucket: bucket_name(names, bucket)?,
            access: S3Access::read(names)?,
            prefix,
            stall_timeout: stall_timeout(names)?,
        }))
    }

    /// Refuses a replica with the same location as the primary.
    pub(super) fn refuse_same_place(&self, primary: &StoreLocation, prefix: &str) -> Result<(), ConfigError> {
        let StoreLocation::S3 { bucket, access } = primary else { return Ok(()) };
        if *bucket != self.bucket || access.endpoint != self.access.endpoint || prefix != self.prefix {
            return Ok(());
        }
        Err(ConfigError::new(
            &format!("{STEM}S3_BUCKET"),
            "is the bucket of BACKUP_S3_BUCKET, with the same prefix",
            "use another bucket, preferably in another region",
        ))
    }

    /// Creates the store. Sends no request.
    pub async fn open(&self) -> Result<Replica, StoreError> {
        let store = self.access.open(&self.bucket).await?;
        Ok(Replica { store, prefix: self.prefix.clone(), stall_timeout: self.stall_timeout })
    }
}

/// Refuses other variables of a replica if its bucket is not set.
fn refuse_without_bucket(names: StoreVars<'_>) -> Result<(), ConfigError> {
    let mut others = VARIABLES.iter().filter(|variable| variable.name.starts_with(STEM));
    match others.find_map(|variable| names.vars.spelling(variable.name)) {
        None => Ok(()),
        Some(name) => Err(ConfigError::new(
            &names.name("S3_BUCKET"),
            format!("is not set, but {name} is"),
            "set it to the replica's bucket, or remove the other variables of the replica",
        )),
    }
}

fn stall_timeout(names: StoreVars<'_>) -> Result<Duration, ConfigError> {
    let name = names.name("TIMEOUT");
    let text = names.vars.get_or_default(&name)?.unwrap_or_default();
    match value::parse_duration(text.trim()).filter(|time| !time.is_zero()) {
        Some(time) => Ok(time),
        None => Err(ConfigError::new(
            &name,
            format!("is not a duration: \"{text}\""),
            "use a number followed by s, m or h, e.g. 5m, the default",
        )),
    }
}
