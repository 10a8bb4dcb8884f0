//! `BACKUP_AGE_*`: to whom backups are encrypted, and who opens them.

use super::DrillConfig;
use super::error::ConfigError;
use super::vars::Vars;
use crate::archive::encryption::{Identities, KeyError, Recipients};

const RECIPIENTS: &str = "BACKUP_AGE_RECIPIENTS";
const IDENTITY: &str = "BACKUP_AGE_IDENTITY";

/// How backups are encrypted, and opened.
#[derive(Clone, Debug, Default)]
pub struct EncryptionConfig {
    /// To whom rounds encrypt; without them they do not.
    pub recipients: Option<Recipients>,
    /// Who opens backups that are read.
    pub identities: Option<Identities>,
}

impl EncryptionConfig {
    pub(super) fn read(vars: &Vars) -> Result<EncryptionConfig, ConfigError> {
        let (recipients, identities) = (vars.get_lines(RECIPIENTS), identities(vars));
        let recipients = recipients?.map(|text| Recipients::parse(&text)).transpose();
        Ok(EncryptionConfig {
            recipients: recipients.map_err(|error| refused(RECIPIENTS, error))?,
            identities: identities?,
        })
    }

    /// Refuses scheduled drills that could open none of the backups.
    pub(super) fn refuse_blind_drills(&self, drill: &DrillConfig) -> Result<(), ConfigError> {
        if self.recipients.is_some() && self.identities.is_none() && drill.schedule.is_some() {
            return Err(ConfigError::new(
                IDENTITY,
                format!("is not set, but BACKUP_DRILL_SCHEDULE and {RECIPIENTS} are"),
                "mount an identity and name it in BACKUP_AGE_IDENTITY_FILE, or drill elsewhere: `pg-backup drill` where the identity is at home",
            ));
        }
        Ok(())
    }
}

/// `BACKUP_AGE_IDENTITY`.
pub(super) fn identities(vars: &Vars) -> Result<Option<Identities>, ConfigError> {
    let text = vars.get_lines(IDENTITY)?;
    text.map(|text| Identities::parse(&text)).transpose().map_err(|error| refused(IDENTITY, error))
}

fn refused(name: &str, KeyError { problem, hint }: KeyError) -> ConfigError {
    ConfigError::new(name, problem, hint)
}
