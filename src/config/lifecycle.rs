//! `BACKUP_RETENTION_DAYS` and `BACKUP_LIFECYCLE_…`: how long the bucket keeps backups, and the credentials
//! to configure that.

use super::error::ConfigError;
use super::store::{Credentials, StoreVars};
use super::value;
use super::vars::Vars;
use crate::storage::s3::lifecycle::RetentionRule;

/// Maximum length of a rule's id.
const LONGEST_ID: usize = 255;

/// Settings of `lifecycle`. The sidecar itself deletes nothing.
#[derive(Clone, Debug)]
pub struct LifecycleConfig {
    /// Days after which the bucket removes a backup.
    pub days: u32,
    /// Id of the rule.
    pub id: String,
    /// Credentials that may change the bucket's rules; `None` for those of the store.
    pub credentials: Option<Credentials>,
}

impl LifecycleConfig {
    pub(super) fn read(vars: &Vars) -> Result<LifecycleConfig, ConfigError> {
        let days = value::number(vars, "BACKUP_RETENTION_DAYS")?.expect("the registry has a default");
        let days = u32::try_from(days).unwrap_or(u32::MAX);
        let id_name = "BACKUP_LIFECYCLE_RULE_ID";
        let id = vars.get(id_name)?.unwrap_or_else(|| RetentionRule::for_days(days));
        if id.chars().count() > LONGEST_ID || id.contains(char::is_control) {
            return Err(ConfigError::new(
                id_name,
                "is not a valid ID of a rule",
                "use up to 255 characters, or remove it for pg-backup-<days>d",
            ));
        }
        let credentials = Credentials::read(StoreVars { vars, stem: "BACKUP_LIFECYCLE_" })?;
        Ok(LifecycleConfig { days, id, credentials })
    }
}
