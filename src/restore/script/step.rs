//! The steps of a script.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::encoding::as_text;

/// What a script asks for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptStep {
    /// A statement to be run.
    Statement(Statement),
    /// `\connect`: another database, or the same one as another user. The argument is as in the script.
    Connect {
        /// What stands after the command.
        argument: Bytes,
        /// The line of the script, counted from 1.
        line: u64,
    },
    /// Rows for the COPY that came last, each with its newline; a piece may begin and end within a row.
    Rows(Bytes),
    /// The rows of one COPY are complete.
    EndOfRows,
}

/// A statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text with the semicolon, in the script's encoding. Statements that `\\;` joins are one.
    pub text: Bytes,
    /// The line of the script that it begins in, counted from 1.
    pub line: u64,
    /// The banner above it, which names the entry that it belongs to: `Name: t; Type: TABLE; …`.
    pub banner: Option<Arc<str>>,
    /// How many blocks of rows follow: one for a `COPY … FROM STDIN`, more where several are joined.
    pub copies: u32,
    /// Whether it is several statements for one query.
    pub is_joined: bool,
}

impl Statement {
    /// A statement of this program, without rows and in no line of a script.
    pub(in crate::restore) fn new(text: impl Into<Bytes>) -> Statement {
        Statement { text: text.into(), line: 0, banner: None, copies: 0, is_joined: false }
    }

    /// The text for the server, whatever its encoding. What is UTF-8 is not copied.
    pub fn sql(&self) -> Cow<'_, str> {
        as_text(&self.text)
    }

    /// Whether rows follow.
    pub fn reads_rows(&self) -> bool {
        self.copies > 0
    }

    /// Whether it begins or ends the transaction that dumps put around large objects.
    pub fn is_transaction(&self) -> bool {
        matches!(&self.text[..], b"BEGIN;" | b"COMMIT;")
    }

    /// The kind of the entry that it belongs to, as the banner shows it: `TABLE`.
    pub fn kind(&self) -> Option<&str> {
        let banner = self.banner.as_deref()?;
        // From the end: a name may hold anything.
        let (rest, _) = banner.rsplit_once("; Schema: ")?;
        rest.rsplit_once("; Type: ").map(|(_, kind)| kind)
    }
}
