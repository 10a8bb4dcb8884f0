//! The crate's error, and the exit code that each error means.
//!
//! Each top-level module has an error enum of its own; [`Error`] wraps them and adds only what a verb decides (a usage
//! mistake, an overdue backup, some of several databases failing). Only `commands` and `cli` use this module. An error
//! is printed or logged once, where it is handled; for the verbs that is [`Error::report`]. How errors print is in
//! [`report`](crate::report).

use std::borrow::Cow;
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

/// What ends the program with an exit code other than 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The command line contradicts itself.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// The way out.
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
    /// What was found is not what should be there: an overdue backup, a copy that differs.
    #[error("{0}")]
    Difference(String),
    /// A restore failed.
    #[error("{0}")]
    Restore(#[source] Cause),
    /// A backup is damaged.
    #[error("{0}")]
    Damaged(#[source] Cause),
    /// A backup is encrypted, and what was given does not open it.
    #[error("{0}")]
    NoIdentity(#[source] Cause),
    /// A round did not save every database.
    #[error(transparent)]
    Round(#[from] RoundError),
    /// A file or stream of this machine.
    #[error("{context}")]
    Io {
        /// What was tried, with the path.
        context: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// A cause of any module; the [`Error`] variant around it says which exit code it means.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// Short form for the verbs' results.
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
    /// What it means for a verb that there is no backup to work on.
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
            // Nothing else than damage, for the manifest has opened.
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
    /// A usage mistake without further advice.
    pub fn usage(message: impl Into<String>) -> Error {
        Error::Usage { message: message.into(), hint: None }
    }

    /// The exit code that the error means.
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
            // A backup only writes, so that this was a verb that reads, started with its key.
            Error::Store(cause) => match cause.downcast_ref() {
                Some(StoreError::AccessDenied { operation: "list" | "read", .. }) => {
                    Some("this verb reads the store: give it an operator's key, the sidecar's may only write")
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// The text for standard error: one line with the chain of causes, then the advice.
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

/// An error and its causes as one line, and the advice that they contained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `a: b: c`, without a line break.
    pub line: String,
    /// The text of each `HINT:` line, in order.
    pub hints: Vec<String>,
}

/// Walks an error's causes. A cause that its effect already ends with is not repeated: libraries
/// differ in whether they print their cause themselves.
pub fn chain(error: &dyn StdError) -> Chain {
    let mut line = String::new();
    let mut hints: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = one_line(&error.to_string(), &mut hints);
        if !text.is_empty() && !line.ends_with(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        next = error.source();
    }
    Chain { line, hints }
}

/// Joins a message's lines with `; ` and takes its `HINT:` lines out.
fn one_line(message: &str, hints: &mut Vec<String>) -> String {
    let mut text = String::new();
    for line in message.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(hint) = line.strip_prefix("HINT:") {
            let hint = printable(hint.trim());
            if !hints.contains(&hint) {
                hints.push(hint);
            }
            continue;
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(line);
    }
    printable(&text)
}

/// The most of one text that is shown, in bytes: a server, a store or an object's name may be of any length.
const SHOWN: usize = 8 << 10;

/// The text without what must not reach a terminal or a log: control characters (an escape sequence in an object's
/// name, say), those that end a line or turn the direction of writing, and what is more than anybody reads.
pub(crate) fn printable(text: &str) -> String {
    let (shown, rest) = text.split_at(text.floor_char_boundary(SHOWN));
    let mut shown: String = shown.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect();
    if !rest.is_empty() {
        let _ = write!(shown, "… ({} more bytes)", rest.len());
    }
    shown
}

/// JSON without what must not reach a terminal or a log: such a character stands in a string, and is written as JSON
/// escapes it (`\u202e`). C0 never stands in JSON but as an escape or as the white space between values.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| c > '\u{1f}' && is_unprintable(c);
    if !json.contains(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if !is_escaped(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character commands a terminal, ends a line or turns the direction of writing.
pub(crate) fn is_unprintable(c: char) -> bool {
    // Characters that stand for single bytes of the dump's encoding would become control characters.
    let stands_for_control = matches!(c, '\u{10FF00}'..='\u{10FF1F}' | '\u{10FF7F}');
    c.is_control()
        || stands_for_control
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(chain(&links(&["table \u{1b}[2J"])).line, "table \u{fffd}[2J");
        // Neither do those that turn the direction of writing, or end a line in some viewers.
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{2028}d\u{85}e"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(printable("שלום, naïve €"), "שלום, naïve €");
    }

    #[test]
    fn json_keeps_its_values_and_shows_no_control_character() {
        let value = serde_json::json!({ "a\u{2066}": "b\u{202e}c\u{9b}d\u{7f}e\u{10ff1b}f\nü€😀" });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let escaped = escape_json(&json);
            assert!(!escaped.contains(|c| c != '\n' && is_unprintable(c)), "{escaped:?}");
            assert!(escaped.contains(r"b\u202ec\u009bd\u007fe\udbff\udf1bf\nü€😀"), "{escaped}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
        assert!(matches!(escape_json(r#"{"a":"ü"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_text_of_any_length_is_shown_to_a_limit() {
        let long = "ä".repeat(10 << 20);
        let error = chain(&std::io::Error::other(long));
        assert!(error.line.len() < SHOWN + 100, "{}", error.line.len());
        assert!(
            error.line.ends_with(&format!("… ({} more bytes)", (20 << 20) - SHOWN)),
            "{}",
            &error.line[SHOWN..]
        );
        let hint = chain(&std::io::Error::other(format!("x\nHINT: a\u{202e}{}", "y".repeat(1 << 20)))).hints;
        assert!(hint[0].starts_with("a\u{fffd}y") && hint[0].len() < SHOWN + 100);
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
