//! The crate's error, and the exit code of each error.
//!
//! Each top-level module has its own error enum. [`Error`] wraps them and adds the errors that only a command
//! detects (a usage error, an overdue backup, failure of some of several databases). Only `commands` and
//! `cli` use this module. An error is printed or logged once, where it is handled; commands use
//! [`Error::report`]. [`report`](crate::report) defines how errors are printed.

use std::error::Error as StdError;
use std::fmt::Write as _;

use crate::config::ConfigError;
use crate::dump::DumpError;
use crate::exit_code::ExitCode;
use crate::pipeline::backups::BackupError;
use crate::pipeline::download::DownloadError;
use crate::report::{Chain, chain};
use crate::restore::RestoreError;
use crate::restore::choose::ChooseError;
use crate::restore::compare::CompareError;
use crate::restore::drill::DrillError;
use crate::sidecar::drill::DrillFailure;
use crate::sidecar::round::RoundError;
use crate::storage::StoreError;

/// An error that ends the program with an exit code other than 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line is invalid.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// Advice for the operator.
        hint: Option<String>,
    },
    /// The configuration was refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A database cannot be reached or refuses the login.
    #[error("{0}")]
    Connect(#[source] Cause),
    /// A dump failed.
    #[error("{0}")]
    Dump(#[source] Cause),
    /// The store failed.
    #[error("{0}")]
    Store(#[source] Cause),
    /// A check found a difference: an overdue backup, a copy that differs.
    #[error("{0}")]
    Difference(String),
    /// A restore failed.
    #[error("{0}")]
    Restore(#[source] Cause),
    /// A backup is damaged.
    #[error("{0}")]
    Damaged(#[source] Cause),
    /// A backup is encrypted, and the given identity does not decrypt it.
    #[error("{0}")]
    NoIdentity(#[source] Cause),
    /// A round did not save every database.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// I/O on a local file or stream failed.
    #[error("{context}")]
    Io {
        /// The operation, with the path.
        context: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// A cause from any module; the [`Error`] variant around it determines the exit code.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Short form for the results of commands.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Error::Store(Box::new(error))
    }
}

impl From<DumpError> for Error {
    fn from(error: DumpError) -> Self {
        match ExitCode::from(&error) {
            ExitCode::Connect => Error::Connect(Box::new(error)),
            ExitCode::Store => Error::Store(Box::new(error)),
            _ => Error::Dump(Box::new(error)),
        }
    }
}

impl From<RestoreError> for Error {
    fn from(error: RestoreError) -> Self {
        match &error {
            RestoreError::Connect(_) => Error::Connect(Box::new(error)),
            RestoreError::Store(_)
            | RestoreError::Backup(BackupError::Store(_))
            | RestoreError::Download(DownloadError::Store(_)) => Error::Store(Box::new(error)),
            RestoreError::NoIdentity { .. } => Error::NoIdentity(Box::new(error)),
            RestoreError::Download(DownloadError::Sealed { source, .. }) if source.is_about_identity() => {
                Error::NoIdentity(Box::new(error))
            }
            RestoreError::Backup(_)
            | RestoreError::Download(_)
            | RestoreError::Script { .. }
            | RestoreError::Damaged { .. } => Error::Damaged(Box::new(error)),
            RestoreError::Session(_)
            | RestoreError::Open { .. }
            | RestoreError::Statement(_)
            | RestoreError::NotEmpty(_)
            | RestoreError::Select(_)
            | RestoreError::Unsuited(_)
            | RestoreError::SomeFailed(_)
            | RestoreError::Cancelled => Error::Restore(Box::new(error)),
        }
    }
}

impl From<ChooseError> for Error {
    /// Maps a missing backup to the error of the command that needs it.
    fn from(error: ChooseError) -> Self {
        match error {
            ChooseError::Store(error) => error.into(),
            error @ ChooseError::NotAKey { .. } => {
                let Chain { line, hints } = chain(&error);
                Error::Usage { message: line, hint: hints.into_iter().next() }
            }
            error @ ChooseError::None { .. } => Error::Difference(error.to_string()),
        }
    }
}

impl From<DrillError> for Error {
    fn from(error: DrillError) -> Self {
        match error {
            DrillError::Restore(error) => error.into(),
            DrillError::Connect(_) => Error::Connect(Box::new(error)),
            DrillError::Backup(DownloadError::Store(_))
            | DrillError::Compare(CompareError::Backup(DownloadError::Store(_))) => {
                Error::Store(Box::new(error))
            }
            // The manifest has already been opened, so the identity is right and only damage is left.
            DrillError::Backup(_) | DrillError::Compare(CompareError::Backup(_)) => {
                Error::Damaged(Box::new(error))
            }
            DrillError::Sandbox(_)
            | DrillError::Scratch(_)
            | DrillError::Compare(_)
            | DrillError::NoDatabase
            | DrillError::Cancelled => Error::Restore(Box::new(error)),
        }
    }
}

impl From<DrillFailure> for Error {
    fn from(error: DrillFailure) -> Self {
        match error {
            DrillFailure::NoBackup(error) => error.into(),
            DrillFailure::Drill(error) => error.into(),
            DrillFailure::Panicked(error) => Error::Restore(Box::new(error)),
        }
    }
}

impl Error {
    /// A usage error without a hint.
    pub fn usage(message: impl Into<String>) -> Error {
        Error::Usage { message: message.into(), hint: None }
    }

    /// The exit code of the error.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Error::Usage { .. } | Error::Config(_) | Error::NoIdentity(_) => ExitCode::Usage,
            Error::Connect(_) => ExitCode::Connect,
            Error::Dump(_) => ExitCode::Dump,
            Error::Store(_) => ExitCode::Store,
            Error::Difference(_) | Error::Damaged(_) => ExitCode::Difference,
            Error::Round(error) => error.exit_code(),
            Error::Restore(_) | Error::Io { .. } => ExitCode::Other,
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Error::Usage { hint, .. } => hint.as_deref(),
            Error::Config(error) => Some(&error.hint),
            // A backup only writes, so this command reads and was started with the sidecar's key.
            Error::Store(cause) => match cause.downcast_ref() {
                Some(StoreError::AccessDenied { operation: "list" | "read", .. }) => Some(
                    "this command reads the store: use an operator's key; the sidecar's key can only write",
                ),
                _ => None,
            },
            _ => None,
        }
    }

    /// The text for standard error: the chain of causes on one line, then the hints.
    pub fn report(&self) -> String {
        let Chain { line, mut hints } = chain(self);
        if let Some(hint) = self.hint() {
            hints.insert(0, hint.to_owned());
        }
        let mut text = format!("pg-backup: error: {line}\n");
        for hint in hints {
            let _ = writeln!(text, "HINT: {hint}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::links;

    #[test]
    fn causes_follow_in_one_line() {
        let error =
            Error::Dump(Box::new(links(&["copy of table a failed", "connection lost", "broken pipe"])));
        assert_eq!(
            error.report(),
            "pg-backup: error: copy of table a failed: connection lost: broken pipe\n"
        );
    }

    #[test]
    fn lines_are_folded_and_hints_follow() {
        let server = "FATAL: no such role\nDETAIL: It was dropped.\nHINT: Create it.";
        let error = Error::Connect(Box::new(links(&["cannot connect", server])));
        assert_eq!(
            error.report(),
            "pg-backup: error: cannot connect: FATAL: no such role; DETAIL: It was dropped.\nHINT: Create it.\n"
        );
    }

    #[test]
    fn a_refused_configuration_says_the_way_out() {
        let error = Error::Config(ConfigError {
            variable: "BACKUP_X_FILE".to_owned(),
            problem: "names a file that cannot be read: /x".to_owned(),
            hint: "mount it".to_owned(),
            source: Some(std::io::Error::other("gone")),
        });
        assert_eq!(
            error.report(),
            "pg-backup: error: BACKUP_X_FILE names a file that cannot be read: /x: gone\nHINT: mount it\n"
        );
        assert_eq!(error.exit_code(), ExitCode::Usage);
    }

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let cause = || -> Cause { "x".into() };
        let names = vec!["a".into(), "b".into()];
        let some = Error::from(RoundError::Failed { names, total: 3, code: ExitCode::SomeFailed });
        assert_eq!(some.to_string(), "2 of 3 databases failed: a, b");
        let codes = [
            (Error::Io { context: String::new(), source: std::io::Error::other("x") }, 1),
            (Error::usage("x"), 2),
            (Error::Connect(cause()), 3),
            (Error::Dump(cause()), 4),
            (Error::Store(cause()), 5),
            (Error::Restore(cause()), 1),
            (RoundError::Stopped.into(), 1),
            (Error::Difference(String::new()), 6),
            (Error::Damaged(cause()), 6),
            (Error::NoIdentity(cause()), 2),
            (some, 7),
        ];
        for (error, code) in codes {
            assert_eq!(error.exit_code() as u8, code, "{error:?}");
        }
    }
}
