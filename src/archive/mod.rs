//! The objects that describe a dump: the table of contents, the manifest, the object keys, and their
//! encryption. Depends neither on SQL nor on storage.

pub mod compression;
pub mod drop_statement;
pub mod encryption;
pub mod entry_kind;
pub mod key;
pub mod manifest;
pub mod required;
pub mod section;
pub mod toc;
pub mod toc_check;
pub mod toc_file;
pub mod toc_layout;
pub mod toc_reader;

use encryption::SealError;

/// The `format_version` of the table of contents, the manifest and the drill reports.
pub const FORMAT_VERSION: u32 = 1;
/// The `format_version` of an encrypted backup. A reader that supports only [`FORMAT_VERSION`] cannot read
/// it. It is the newest version that this program reads.
pub const ENCRYPTED_FORMAT_VERSION: u32 = 2;
/// The versions that this program writes.
pub const WRITTEN_FORMAT_VERSIONS: &[u32] = &[FORMAT_VERSION, ENCRYPTED_FORMAT_VERSION];
/// The versions that this program reads.
pub const READ_FORMAT_VERSIONS: &[u32] = WRITTEN_FORMAT_VERSIONS;

/// An error in reading a table of contents or a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file was written by a newer program.
    #[error(
        "{what} has format version {found}, but this program supports only versions up to {ENCRYPTED_FORMAT_VERSION}\nHINT: use a newer pg-backup"
    )]
    Newer {
        /// `table of contents` or `manifest`.
        what: &'static str,
        /// The version in the file.
        found: u32,
    },
    /// An entry has a kind that only a newer program knows. How to restore such an entry is unknown.
    #[error(
        "{what} has the entry {kind} {name}, whose kind only a newer pg-backup knows\nHINT: use a newer pg-backup"
    )]
    UnknownKind {
        /// `table of contents`.
        what: &'static str,
        /// The kind.
        kind: String,
        /// The name of the entry.
        name: String,
    },
    /// The file is not JSON of the expected structure.
    #[error("{what} is damaged")]
    Malformed {
        /// `table of contents` or `manifest`.
        what: &'static str,
        /// The parser's error.
        source: serde_json::Error,
    },
    /// The file is longer than its limit.
    #[error("{what} is longer than {limit} bytes, {reason}")]
    TooLong {
        /// `table of contents` or `manifest`.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
        /// The reason for the limit: `the size that the manifest says`.
        reason: &'static str,
    },
    /// The table of contents cannot be decompressed.
    #[error("table of contents cannot be decompressed")]
    Gzip(#[from] std::io::Error),
    /// The file is encrypted and cannot be decrypted.
    #[error("{what} cannot be decrypted")]
    Sealed {
        /// `table of contents` or `manifest`.
        what: &'static str,
        /// The cause.
        source: SealError,
    },
}

/// The only field that is read to detect a newer version.
#[derive(serde::Deserialize)]
struct Version {
    format_version: u32,
}

/// Reads JSON after checking its `format_version`, so that the error for a newer file states that, and not
/// the first field that has changed.
fn from_versioned_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    json: &[u8],
) -> Result<T, ArchiveError> {
    let malformed = |source| ArchiveError::Malformed { what, source };
    let version: Version = serde_json::from_slice(json).map_err(malformed)?;
    if version.format_version > ENCRYPTED_FORMAT_VERSION {
        return Err(ArchiveError::Newer { what, found: version.format_version });
    }
    serde_json::from_slice(json).map_err(malformed)
}

/// Serde functions for a SHA-256 as 64 lower-case hexadecimal digits, and for a table's digest as 32.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn encode(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub(crate) fn serialize<const N: usize, S: Serializer>(
        bytes: &[u8; N],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&encode(bytes))
    }

    pub(crate) fn deserialize<'de, const N: usize, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<[u8; N], D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        decode(&text).ok_or_else(|| D::Error::custom(format!("expected {} hexadecimal digits", N * 2)))
    }

    pub(crate) fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
        let digits = text.as_bytes();
        if digits.len() != N * 2 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut bytes = [0; N];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(bytes)
    }
}
