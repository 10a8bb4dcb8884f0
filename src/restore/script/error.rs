//! Errors in a script.

/// Why a script cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The text ends in the middle of a statement, a comment or rows.
    #[error("the script ends within {within} that begins in line {line}: it is truncated")]
    CutOff {
        /// `a statement`, `a comment` or `the rows of a COPY`.
        within: &'static str,
        /// The line.
        line: u64,
    },
    /// A psql command that dumps do not contain.
    #[error(
        "line {line} has the psql command \\{command}, which is not supported\nHINT: only \\restrict, \\unrestrict, \\connect and \\encoding are supported; run this script with psql"
    )]
    UnknownCommand {
        /// Its name.
        command: String,
        /// The line.
        line: u64,
    },
    /// A command between `\restrict` and `\unrestrict`, or the wrong key: a sign that the data contains an
    /// injected command.
    #[error(
        "line {line}: \\{command} is not allowed here: the script is restricted, and only \\unrestrict with the same key ends that"
    )]
    Restricted {
        /// Its name.
        command: String,
        /// The line.
        line: u64,
    },
    /// `\restrict` or `\unrestrict` in the wrong place or without a key.
    #[error("line {line}: \\{command} {problem}")]
    BadRestriction {
        /// The command's name.
        command: String,
        /// The problem.
        problem: &'static str,
        /// The line.
        line: u64,
    },
    /// The comment at the end of every dump is missing.
    #[error(
        "the script ends in line {line} without the comment \"{comment}\": it is truncated\nHINT: --allow-incomplete restores what it contains"
    )]
    NotComplete {
        /// The comment.
        comment: String,
        /// The last line.
        line: u64,
    },
    /// A statement that exceeds PostgreSQL's size limit.
    #[error(
        "the statement that begins in line {line}{} is longer than 1 GB, the limit of PostgreSQL",
        .entry.as_ref().map(|entry| format!(" ({entry})")).unwrap_or_default()
    )]
    TooLong {
        /// The entry that the statement belongs to, if any.
        entry: Option<String>,
        /// The line.
        line: u64,
    },
    /// A psql command whose line exceeds the size limit.
    #[error("line {line} has a psql command that is longer than 64 KiB")]
    LongCommand {
        /// The line.
        line: u64,
    },
    /// Rows or a psql command in a part of a dump that contains only statements.
    #[error("line {line} has rows or a psql command where only statements are expected")]
    NotStatement {
        /// The line.
        line: u64,
    },
}
