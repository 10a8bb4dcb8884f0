//! `--identity`: identities that decrypt backups, instead of those of `BACKUP_AGE_IDENTITY`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::archive::encryption::Identities;
use crate::config;
use crate::error::{Error, Result};

/// Options of the commands that read the contents of backups.
#[derive(Args, Clone, Debug)]
pub struct IdentityArgs {
    /// File with an age identity (from age-keygen, or an OpenSSH private key without a passphrase) that decrypts
    /// backups, instead of BACKUP_AGE_IDENTITY; can be given several times.
    #[arg(long = "identity", value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl IdentityArgs {
    /// Returns the identities of the files; without files, the configured ones.
    pub(super) fn or(&self, configured: Option<Identities>) -> Result<Option<Identities>> {
        let files = self.files.iter().map(|path| read(path));
        Ok(Identities::joined(files.collect::<Result<Vec<_>>>()?).or(configured))
    }

    /// The same for a restore without other configuration.
    pub(super) fn or_of_environment(&self, config: Option<&Path>) -> Result<Option<Identities>> {
        match self.files.is_empty() {
            true => Ok(config::identities(config)?),
            false => self.or(None),
        }
    }
}

fn read(path: &Path) -> Result<Identities> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|source| Error::Io { context: format!("cannot read the identity file {shown}"), source })?;
    Identities::parse(&text).map_err(|error| Error::Usage {
        message: format!("the identity file {shown} {}", error.problem),
        hint: Some(error.hint.to_owned()),
    })
}
