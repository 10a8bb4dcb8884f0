//! Checks the type and length of the server's messages.
//!
//! If bytes were dropped from a stream or added to it, impossible messages appear. They are an error at once,
//! because waiting for their stated length, or allocating it, would have no bound.

use std::io;

/// The longest message that a server builds: PostgreSQL's limit for a text (`MaxAllocSize`).
const LONGEST: u32 = 0x3fff_ffff;

/// The limit for most messages, which are short. libpq has the same limit.
const SHORT: u32 = 30_000;

/// The limit for descriptions of 1,664 columns or of 65,535 parameters.
const DESCRIPTION: u32 = 300_000;

/// The limit for a row of a query, which the driver keeps in memory as a whole. Rows of COPY have no such
/// limit.
const ROW: u32 = 256 << 20;

/// Maximum number of bytes of an error or a notice; the rest is discarded.
pub(super) const TEXT: usize = 64 << 10;

/// Maximum number of bytes that a server may send before it is ready for the first query. PostgreSQL sends
/// less than a thousandth of it.
pub(super) const LOGIN: u64 = 1 << 20;

/// Maximum number of bytes of notices, settings, notifications and parts of answers other than rows that may
/// arrive before a row or the end of the answer.
pub(super) const ASIDE: u64 = 256 << 20;

/// The settings that PostgreSQL reports. Others are dropped, because the driver keeps every name for the life
/// of the connection.
const REPORTED: [&str; 15] = [
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "application_name",
    "client_encoding",
    "default_transaction_read_only",
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "scram_iterations",
    "search_path",
    "server_encoding",
    "server_version",
    "session_authorization",
    "standard_conforming_strings",
];

/// Returns the type and the length in a message's header. The length includes itself but not the type.
pub(super) fn length(input: &[u8]) -> Option<(u8, u32)> {
    let (tag, rest) = input.split_first()?;
    let field = rest.first_chunk::<4>()?;
    Some((*tag, u32::from_be_bytes(*field)))
}

/// Returns the length of a valid message. `is_copy`: rows of a COPY are expected.
pub(super) fn check(tag: u8, length: u32, is_copy: bool) -> io::Result<usize> {
    let longest = match tag {
        b'd' | b'E' | b'N' => LONGEST,
        b'D' => ROW,
        b'T' | b't' => DESCRIPTION,
        b'1' | b'2' | b'3' | b'A' | b'C' | b'G' | b'H' | b'I' | b'K' | b'R' | b'S' | b'Z' | b'c' | b'n'
        | b's' => SHORT,
        _ => 0,
    };
    let fits = !is_copy || matches!(tag, b'd' | b'c' | b'E' | b'N' | b'S' | b'A');
    match usize::try_from(length) {
        Ok(bytes) if fits && (4..=longest).contains(&length) => Ok(bytes),
        _ => Err(lost(tag, length)),
    }
}

/// Returns the error for an invalid stream, in libpq's words.
pub(super) fn lost(tag: u8, length: u32) -> io::Error {
    let tag = tag.escape_ascii();
    broken(format!("lost synchronization with server: got message type \"{tag}\", length {length}"))
}

/// Returns the same error as [`lost`] for a message with a valid length.
pub(super) fn lost_at(tag: u8, length: usize) -> io::Error {
    lost(tag, u32::try_from(length).unwrap_or(u32::MAX))
}

/// Returns an error for an invalid message of the server, or of a proxy in its place.
pub(super) fn broken(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Returns whether a message is asynchronous, which means not part of an answer.
pub(super) fn is_aside(tag: u8) -> bool {
    matches!(tag, b'N' | b'S' | b'A')
}

/// Returns whether a message is part of an answer but is neither a row nor the end of the answer.
pub(super) fn answers_without_row(tag: u8) -> bool {
    matches!(tag, b'1' | b'2' | b'3' | b'C' | b'I' | b'T' | b'n' | b's' | b't')
}

/// Returns whether a setting is passed to the driver. `body` is that of a `ParameterStatus`: a name and a
/// value.
pub(super) fn is_reported(body: &[u8]) -> bool {
    let name = body.split(|b| *b == 0).next().unwrap_or_default();
    REPORTED.iter().any(|known| known.as_bytes() == name)
}

/// Returns the number of rows in the `CommandComplete` tag that ends a COPY.
pub(super) fn copied_rows(body: &[u8]) -> Option<u64> {
    let tag = std::str::from_utf8(body.strip_suffix(b"\0")?).ok()?;
    tag.strip_prefix("COPY ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_cannot_be_are_refused() {
        let is_refused = |tag, length, is_copy| check(tag, length, is_copy).is_err();
        for (tag, length) in [
            (b'D', 0x7fff_ffff),
            (b'N', 0x7fff_ffff),
            (b'S', 30_001),
            (b'Z', 3),
            (b'x', 5),
            (0, 0),
            (b'H', 0x5454_502f),
        ] {
            assert!(is_refused(tag, length, false), "{} {length}", tag as char);
        }
        for (tag, length) in [(b'd', LONGEST), (b'E', 10 << 20), (b'T', 200_000), (b'Z', 5), (b'D', 1 << 20)]
        {
            assert!(!is_refused(tag, length, false), "{} {length}", tag as char);
        }
        for tag in [b'D', b'T', b'C', b'Z', b'H', b'1'] {
            assert!(is_refused(tag, 5, true), "{}", tag as char);
        }
        for tag in [b'd', b'c', b'E', b'N', b'S', b'A'] {
            assert!(!is_refused(tag, 5, true), "{}", tag as char);
        }
        assert_eq!(
            lost(0x1b, 7).to_string(),
            "lost synchronization with server: got message type \"\\x1b\", length 7"
        );
    }

    #[test]
    fn tags_and_settings_are_read() {
        assert_eq!(
            (copied_rows(b"COPY 10\0"), copied_rows(b"SELECT 1\0"), copied_rows(b"COPY")),
            (Some(10), None, None)
        );
        assert!(is_reported(b"TimeZone\0UTC\0") && !is_reported(b"x1\0y\0") && !is_reported(b""));
    }
}
