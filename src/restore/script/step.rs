//! The steps of a script.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::encoding::as_text;

/// A step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptStep {
    /// A statement to run.
    Statement(Statement),
    /// `\connect`: another database, or the same one as another user. The argument is as in the script.
    Connect {
        /// The text after the command.
        argument: Bytes,
        /// The line of the script, counted from 1.
        line: u64,
    },
    /// Rows for the last COPY, each with its newline. A piece may begin and end within a row.
    Rows(Bytes),
    /// The rows of one COPY are complete.
    EndOfRows,
}

/// A statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text with the semicolon, in the script's encoding. Statements joined by `\\;` are one statement.
    pub text: Bytes,
    /// The line of the script in which it begins, counted from 1.
    pub line: u64,
    /// The banner above it, which names its entry: `Name: t; Type: TABLE; …`.
    pub banner: Option<Arc<str>>,
    /// Number of blocks of rows that follow: one for each `COPY … FROM STDIN` in it.
    pub copies: u32,
    /// Whether it consists of several statements that are sent as one query.
    pub is_joined: bool,
}

impl Statement {
    /// A statement of this program, without rows and in no line of a script.
    pub(in crate::restore) fn new(text: impl Into<Bytes>) -> Statement {
        Statement { text: text.into(), line: 0, banner: None, copies: 0, is_joined: false }
    }

    /// Returns the text for the server, in any encoding. UTF-8 is not copied.
    pub fn sql(&self) -> Cow<'_, str> {
        as_text(&self.text)
    }

    /// Returns whether rows follow.
    pub fn reads_rows(&self) -> bool {
        self.copies > 0
    }

    /// Returns whether it begins or ends the transaction that dumps put around large objects.
    pub fn is_transaction(&self) -> bool {
        matches!(&self.text[..], b"BEGIN;" | b"COMMIT;")
    }

    /// Returns the kind of its entry, as in the banner: `TABLE`.
    pub fn kind(&self) -> Option<&str> {
        let banner = self.banner.as_deref()?;
        // From the end, because a name may contain anything.
        let (rest, _) = banner.rsplit_once("; Schema: ")?;
        rest.rsplit_once("; Type: ").map(|(_, kind)| kind)
    }
}
