//! The differences between a backup and its copy, and their messages.

use crate::archive::entry_kind::EntryKind;
use crate::archive::toc_file::FileEntry;
use crate::protocol::ProtocolError;

/// A difference between a backup and its restored copy. Objects are named by kind, namespace and name.
#[derive(Debug, thiserror::Error)]
pub enum Difference {
    /// The copy lacks an object.
    #[error("{object} is missing")]
    Missing {
        /// The object.
        object: String,
    },
    /// The copy has an object that the backup does not have.
    #[error("{object} exists, but is not in the backup")]
    Extra {
        /// The object.
        object: String,
    },
    /// An object has another owner, tablespace or table access method.
    #[error("{object} has the {property} {found} instead of {expected}")]
    Property {
        /// The object.
        object: String,
        /// `owner`, `tablespace`, `table access method`.
        property: &'static str,
        /// The copy's.
        found: String,
        /// The backup's.
        expected: String,
    },
    /// An object has a different definition.
    #[error("{object} differs: it has \"{found}\" instead of \"{expected}\"")]
    Definition {
        /// The object.
        object: String,
        /// The first line of the copy's definition that is not the backup's.
        found: String,
        /// The same line of the backup's definition.
        expected: String,
    },
    /// A table has a different number of rows.
    #[error("{table} has {found} rows instead of {expected}")]
    Rows {
        /// The table.
        table: String,
        /// The number in the copy.
        found: u64,
        /// The number in the manifest.
        expected: u64,
    },
    /// A table has the same number of rows, but different ones.
    #[error("{table} has different rows: {rows} with a digest that differs from the manifest")]
    Digest {
        /// The table.
        table: String,
        /// The number of rows.
        rows: u64,
    },
    /// A table's rows cannot be read with the backup's columns.
    #[error("the rows of {table} cannot be read")]
    Unreadable {
        /// The table.
        table: String,
        /// The server's error.
        source: ProtocolError,
    },
    /// The contents of the large objects differ.
    #[error("the large objects have different contents")]
    LargeObjects,
}

/// Returns an object's name for messages: `table public.orders`, `comment on TABLE orders (public)`.
pub(super) fn object(entry: &FileEntry) -> String {
    let attached = match entry.desc {
        EntryKind::Comment => Some("comment on"),
        EntryKind::SecurityLabel => Some("security label on"),
        EntryKind::Acl => Some("privileges on"),
        _ => None,
    };
    let namespace = entry.namespace.as_deref();
    match (attached, namespace) {
        (Some(words), Some(namespace)) => format!("{words} {} ({namespace})", entry.tag),
        (Some(words), None) => format!("{words} {}", entry.tag),
        (None, Some(namespace)) => {
            format!("{} {namespace}.{}", entry.desc.as_str().to_lowercase(), entry.tag)
        }
        (None, None) => format!("{} {}", entry.desc.as_str().to_lowercase(), entry.tag),
    }
}

/// The maximum number of characters of a line that are shown.
const SHOWN: usize = 160;

/// Returns the first lines in which two definitions differ, that of the first definition first.
pub(super) fn first_difference(one: &[u8], other: &[u8]) -> (String, String) {
    let (mut one, mut other) = (one.split(|byte| *byte == b'\n'), other.split(|byte| *byte == b'\n'));
    loop {
        match (one.next(), other.next()) {
            (None, None) => return (String::new(), String::new()),
            (a, b) if a == b => {}
            (a, b) => return (shown(a), shown(b)),
        }
    }
}

fn shown(line: Option<&[u8]>) -> String {
    let text = String::from_utf8_lossy(line.unwrap_or_default());
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_shown() {
        let (one, other) = first_difference(b"CREATE\n  a\n  b\n", b"CREATE\n  a\n  c\n");
        assert_eq!((one.as_str(), other.as_str()), ("  b", "  c"));
        let (one, other) = first_difference(b"a", b"a\nb");
        assert_eq!((one.as_str(), other.as_str()), ("", "b"));
        let (one, _) = first_difference("ä".repeat(300).as_bytes(), b"");
        assert_eq!(one.chars().count(), SHOWN + 1);
    }
}
