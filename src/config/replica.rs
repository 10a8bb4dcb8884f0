//! `BACKUP_REPLICA_…`: the bucket that stores a copy of every backup. Its variables are those of the primary
//! with another stem, and [`StoreVars`] reads both.

use std::time::Duration;

use super::error::ConfigError;
use super::store::{S3Access, StoreLocation, StoreVars, bucket_name, prefix};
use super::value;
use super::vars::Vars;
use crate::storage::StoreError;
use crate::storage::mirror::Replica;

const STEM: &str = "BACKUP_REPLICA_";

/// Default of [`ReplicaConfig::stall_timeout`].
const PATIENCE: Duration = Duration::from_secs(300);

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
        let (access, bucket, prefix) = (S3Access::read(names), names.get("S3_BUCKET"), prefix(names));
        let own_prefix = super::store::prefix(StoreVars::primary(vars));
        let stall_timeout = stall_timeout(names);
        let Some(bucket) = bucket? else {
            return match vars.first_with(STEM, &["_URL", "_PASSWORD"]) {
                None => Ok(None),
                Some(name) => Err(ConfigError::new(
                    &names.name("S3_BUCKET"),
                    format!("is not set, but {name} is"),
                    "set it to the replica's bucket, or remove what else is said of a replica",
                )),
            };
        };
        Ok(Some(ReplicaConfig {
            bucket: bucket_name(names, bucket)?,
            access: access?,
            // Defaults to the primary's prefix; `/` means no prefix.
            prefix: prefix?.map_or(own_prefix, |prefix| Ok(Some(prefix)))?.unwrap_or_default(),
            stall_timeout: stall_timeout?,
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
            "name another bucket, best in another region",
        ))
    }

    /// Creates the store. Sends no request.
    pub async fn open(&self) -> Result<Replica, StoreError> {
        let store = self.access.open(&self.bucket).await?;
        Ok(Replica { store, prefix: self.prefix.clone(), stall_timeout: self.stall_timeout })
    }
}

fn stall_timeout(names: StoreVars<'_>) -> Result<Duration, ConfigError> {
    let name = names.name("TIMEOUT");
    let Some(text) = names.vars.get(&name)? else { return Ok(PATIENCE) };
    match value::parse_duration(text.trim()).filter(|time| !time.is_zero()) {
        Some(time) => Ok(time),
        None => Err(ConfigError::new(
            &name,
            format!("is not a length of time: \"{text}\""),
            "write a number with s, m or h behind it, e.g. 5m, the default",
        )),
    }
}
