//! Errors of a restore. [`super::RestoreProgress`] has what was done before the error.

use super::script::{ScriptError, Statement};
use super::select::SelectError;
use crate::archive::encryption::SealError;
use crate::pipeline::backups::BackupError;
use crate::pipeline::download::DownloadError;
use crate::protocol::ProtocolError;
use crate::storage::StoreError;

/// Why a restore stopped.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The target cannot be reached.
    #[error(transparent)]
    Connect(ProtocolError),
    /// The target failed outside the dump's own statements.
    #[error(transparent)]
    Session(#[from] ProtocolError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup's manifest or table of contents is missing or damaged.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The dump cannot be read or is damaged.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// A file cannot be opened.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The dump's text cannot be parsed.
    #[error("{object}: {error}")]
    Script {
        /// The dump.
        object: String,
        /// The line and the cause.
        error: ScriptError,
    },
    /// The server refused a statement.
    #[error(transparent)]
    Statement(Box<StatementError>),
    /// The dump does not match its table of contents.
    #[error("{object} is damaged: {what}\nHINT: run `pg-backup verify` to list every problem")]
    Damaged {
        /// The dump.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// The backup is encrypted, and the given identities cannot decrypt it.
    #[error("{object} cannot be opened")]
    NoIdentity {
        /// The common prefix of its objects' names.
        object: String,
        /// The cause.
        source: SealError,
    },
    /// The selection names something that does not exist.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The target already has objects.
    #[error(transparent)]
    NotEmpty(#[from] NotEmpty),
    /// This dump does not support the request; the text gives the reason and an alternative.
    #[error("{0}")]
    Unsuited(String),
    /// Statements failed and were skipped because of `--keep-going`.
    #[error("{0} failed; everything else was restored")]
    SomeFailed(String),
    /// A signal interrupted the restore.
    #[error("interrupted")]
    Cancelled,
}

/// The target of a restore already has objects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "database \"{database}\" is not empty: it contains {}\nHINT: restore into an empty database (--create creates one), replace existing objects with --clean --if-exists or --recreate-schema, or add to them with --into-existing",
    list(.objects, *.number)
)]
pub struct NotEmpty {
    /// The database.
    pub database: String,
    /// Some of its objects: `table public.orders`.
    pub objects: Vec<String>,
    /// The total number of its objects.
    pub number: u64,
}

fn list(objects: &[String], number: u64) -> String {
    let more = number.saturating_sub(objects.len() as u64);
    let list = objects.join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

/// A statement that the server refused.
#[derive(Debug, thiserror::Error)]
#[error("{}", place(self))]
pub struct StatementError {
    /// The entry that the statement belongs to: `TABLE public.orders`.
    pub entry: Option<String>,
    /// The line of the dump where the server found the error, or where the statement begins; 0 if it is
    /// unknown.
    pub line: u64,
    /// The beginning of the statement.
    pub statement: String,
    /// The text at the position where the server found the error.
    pub near: Option<String>,
    /// The row and column of a COPY: `line 3, column price`.
    pub row: Option<String>,
    /// The server's error.
    pub source: ProtocolError,
}

/// The number of characters of a statement that a message shows.
const SHOWN: usize = 80;

fn place(error: &StatementError) -> String {
    let mut text = error.entry.clone().unwrap_or_else(|| "a statement".to_owned());
    text.push_str(" failed");
    if error.line > 0 {
        text.push_str(&format!(" in line {}", error.line));
    }
    text.push_str(&format!(", \"{}\"", error.statement));
    if let Some(near) = &error.near {
        text.push_str(&format!(" at \"{near}\""));
    }
    if let Some(row) = &error.row {
        text.push_str(&format!(", {row}"));
    }
    text
}

/// Returns the beginning of a text as one line.
fn beginning(text: &str) -> String {
    let mut words = String::new();
    for word in text.split_whitespace() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.extend(word.chars().take(SHOWN + 1));
        if words.chars().count() > SHOWN {
            return words.chars().take(SHOWN).chain(['…']).collect();
        }
    }
    words
}

impl StatementError {
    /// Creates the error for a statement that failed with `error`.
    pub(super) fn new(statement: &Statement, error: ProtocolError) -> Box<Self> {
        let text = statement.sql();
        let (position, context) = match &error {
            ProtocolError::Server(server) => (server.position, server.context.as_deref()),
            _ => (None, None),
        };
        let (before, from) = match position.and_then(|position| usize::try_from(position).ok()) {
            Some(position) if position > 1 => {
                let at = text.char_indices().nth(position - 1).map_or(text.len(), |(at, _)| at);
                text.split_at(at)
            }
            _ => ("", ""),
        };
        let newlines = before.bytes().filter(|byte| *byte == b'\n').count() as u64;
        let near = from.lines().next().map(beginning).filter(|near| !near.is_empty());
        Box::new(StatementError {
            entry: statement.banner.as_deref().map(entry_name),
            line: if statement.line > 0 { statement.line + newlines } else { 0 },
            statement: beginning(&text),
            near,
            row: context.filter(|_| statement.reads_rows()).and_then(row_of),
            source: error,
        })
    }
}

/// Returns `line 3, column price` for the context `COPY orders, line 3, column price: "x"`; the value is
/// omitted.
fn row_of(context: &str) -> Option<String> {
    let line = context.lines().find(|line| line.starts_with("COPY "))?;
    // Take the first match: only the table's name is before it; the value comes after it.
    line.match_indices(", line ").find_map(|(at, words)| {
        let row = &line[at + words.len()..];
        let digits = row.bytes().take_while(u8::is_ascii_digit).count();
        let (number, rest) = row.split_at(digits);
        let column = rest.split_once(": ").map_or(rest, |(column, _)| column);
        let is_row = !number.is_empty() && (column.is_empty() || column.starts_with(", column "));
        is_row.then(|| format!("line {number}{column}"))
    })
}

/// Returns `TABLE public.orders` for the banner `Name: orders; Type: TABLE; Schema: public; Owner: app`.
pub(super) fn entry_name(banner: &str) -> String {
    let parts = || {
        // Split from the end, because only the name can contain any text.
        let (rest, _) = banner.strip_prefix("Name: ")?.rsplit_once("; Owner: ")?;
        let (rest, namespace) = rest.rsplit_once("; Schema: ")?;
        let (name, kind) = rest.rsplit_once("; Type: ")?;
        Some((name, kind, namespace))
    };
    match parts() {
        Some((name, kind, "-")) => format!("{kind} {name}"),
        Some((name, kind, namespace)) => format!("{kind} {namespace}.{name}"),
        None => banner.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ServerError;
    use crate::report::chain;

    #[test]
    fn a_failed_statement_is_named_with_its_entry_and_the_place_of_the_fault() {
        let statement = Statement {
            line: 40,
            banner: Some("Name: t; Type: TABLE; Schema: public; Owner: app".into()),
            ..Statement::new("CREATE TABLE public.t (\n    a integre\n);")
        };
        let server = ServerError {
            severity: "ERROR".to_owned(),
            code: "42704".to_owned(),
            message: "type \"integre\" does not exist".to_owned(),
            detail: None,
            hint: None,
            position: Some(31),
            context: None,
        };
        let error = StatementError::new(&statement, ProtocolError::Server(Box::new(server)));
        assert_eq!(
            chain(&*error).line,
            "TABLE public.t failed in line 41, \"CREATE TABLE public.t ( a integre );\" at \"integre\": \
             ERROR: type \"integre\" does not exist (SQLSTATE 42704)"
        );
    }

    #[test]
    fn a_row_is_named_without_its_value() {
        let row = |context| row_of(context);
        assert_eq!(row("COPY t, line 3, column a: \"secret\"").unwrap(), "line 3, column a");
        assert_eq!(row("COPY a, line b, line 12").unwrap(), "line 12");
        assert_eq!(row("COPY t, line 2: \"1\t2, line 4\"").unwrap(), "line 2");
        assert_eq!(row("PL/pgSQL function f() line 3 at RAISE"), None);
    }

    #[test]
    fn an_entry_of_any_name_is_named_by_its_banner() {
        assert_eq!(entry_name("Name: a; Type: b; Type: ACL; Schema: -; Owner: x"), "ACL a; Type: b");
        assert_eq!(entry_name("no banner"), "no banner");
    }
}
