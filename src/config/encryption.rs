//! `BACKUP_AGE_*`: the recipients to which backups are encrypted, and the identities that decrypt them.

use super::DrillConfig;
use super::error::ConfigError;
use super::vars::Vars;
use crate::archive::encryption::{Identities, KeyError, Recipients};

const RECIPIENTS: &str = "BACKUP_AGE_RECIPIENTS";
const IDENTITY: &str = "BACKUP_AGE_IDENTITY";

/// Keys for encryption and decryption of backups.
#[derive(Clone, Debug, Default)]
pub struct EncryptionConfig {
    /// Recipients of the backups of rounds; without them, backups are not encrypted.
    pub recipients: Option<Recipients>,
    /// Identities that decrypt backups.
    pub identities: Option<Identities>,
}

impl EncryptionConfig {
    pub(super) fn read(vars: &Vars) -> Result<EncryptionConfig, ConfigError> {
        let recipients = vars.get_lines(RECIPIENTS)?.map(|text| Recipients::parse(&text)).transpose();
        Ok(EncryptionConfig {
            recipients: recipients.map_err(|error| refused(RECIPIENTS, error))?,
            identities: identities(vars)?,
        })
    }

    /// Refuses scheduled drills that could not decrypt the backups.
    pub(super) fn refuse_blind_drills(&self, drill: &DrillConfig) -> Result<(), ConfigError> {
        if self.recipients.is_some() && self.identities.is_none() && drill.schedule.is_some() {
            return Err(ConfigError::new(
                IDENTITY,
                format!("is not set, but BACKUP_DRILL_SCHEDULE and {RECIPIENTS} are"),
                "set BACKUP_AGE_IDENTITY_FILE to the file of an identity, or run `pg-backup drill` on the machine that has it",
            ));
        }
        Ok(())
    }
}

/// Reads `BACKUP_AGE_IDENTITY`.
pub(super) fn identities(vars: &Vars) -> Result<Option<Identities>, ConfigError> {
    let text = vars.get_lines(IDENTITY)?;
    text.map(|text| Identities::parse(&text)).transpose().map_err(|error| refused(IDENTITY, error))
}

fn refused(name: &str, KeyError { problem, hint }: KeyError) -> ConfigError {
    ConfigError::new(name, problem, hint)
}
