//! Why a script cannot be followed.

/// Why a script cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The text ends where no script does.
    #[error("the script ends within {within}, which begins in line {line}: it was cut")]
    CutOff {
        /// `a statement`, `a comment` or `the rows of a COPY`.
        within: &'static str,
        /// The line.
        line: u64,
    },
    /// A command of psql that no dump has.
    #[error(
        "line {line} has psql's command \\{command}, which is not supported\nHINT: only \\restrict, \\unrestrict, \\connect and \\encoding are; run this script with psql"
    )]
    UnknownCommand {
        /// Its name.
        command: String,
        /// The line.
        line: u64,
    },
    /// A command between `\restrict` and `\unrestrict`, or the wrong key: somebody has put it into the data.
    #[error(
        "line {line}: \\{command} is not allowed here: the script is restricted by a key that is not repeated"
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
        /// Its name.
        command: String,
        /// What is wrong.
        problem: &'static str,
        /// The line.
        line: u64,
    },
    /// The comment that ends every dump is missing.
    #[error(
        "the script ends in line {line} without the comment \"{comment}\": it was cut\nHINT: --allow-incomplete restores what is there"
    )]
    NotComplete {
        /// The comment.
        comment: String,
        /// The last line.
        line: u64,
    },
    /// A statement that no server takes.
    #[error(
        "the statement that begins in line {line}{} is longer than 1 GB, the limit of PostgreSQL",
        .entry.as_ref().map(|entry| format!(" ({entry})")).unwrap_or_default()
    )]
    TooLong {
        /// The entry that it belongs to, if there is one.
        entry: Option<String>,
        /// The line.
        line: u64,
    },
    /// A line with a command of psql that does not end.
    #[error("line {line} has a command of psql that is longer than 64 KiB")]
    LongCommand {
        /// The line.
        line: u64,
    },
    /// Rows, or a command of psql, in a part of a dump that has neither.
    #[error("line {line} has rows or a command of psql where only statements are expected")]
    NotStatement {
        /// The line.
        line: u64,
    },
}
