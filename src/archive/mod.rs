//! What is written beside a dump and how its parts are named: the table of contents, the
//! manifest, the object keys, and how they are encrypted. Knows neither SQL nor storage.

pub mod compression;
pub mod drop_statement;
pub mod encryption;
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

/// The `format_version` of table of contents and manifest, and of the reports of drills.
pub const FORMAT_VERSION: u32 = 1;
/// That of an encrypted backup: a reader that knows [`FORMAT_VERSION`] alone would miss what is sealed. It is the
/// newest that this program reads.
pub const ENCRYPTED_FORMAT_VERSION: u32 = 2;
/// Those that this program writes.
pub const WRITTEN_FORMAT_VERSIONS: &[u32] = &[FORMAT_VERSION, ENCRYPTED_FORMAT_VERSION];
/// Those that it reads.
pub const READ_FORMAT_VERSIONS: &[u32] = WRITTEN_FORMAT_VERSIONS;

/// Why a table of contents or a manifest could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It was written by a newer program.
    #[error(
        "{what} has format version {found}, and this program reads up to {ENCRYPTED_FORMAT_VERSION}\nHINT: use a newer pg-backup"
    )]
    Newer {
        /// `table of contents` or `manifest`.
        what: &'static str,
        /// What the file says.
        found: u32,
    },
    /// It is not JSON of the expected shape.
    #[error("{what} is damaged")]
    Malformed {
        /// `table of contents` or `manifest`.
        what: &'static str,
        /// Where the reader stumbled.
        source: serde_json::Error,
    },
    /// It is longer than it may be.
    #[error("{what} is longer than {limit} bytes, {reason}")]
    TooLong {
        /// `table of contents` or `manifest`.
        what: &'static str,
        /// The most bytes that are read.
        limit: u64,
        /// Where the limit comes from: `the size that the manifest says`.
        reason: &'static str,
    },
    /// The gzip layer of the table of contents does not unpack.
    #[error("table of contents does not unpack")]
    Gzip(#[from] std::io::Error),
    /// It is encrypted and does not open.
    #[error("{what} does not open")]
    Sealed {
        /// `table of contents` or `manifest`.
        what: &'static str,
        /// Why not.
        source: SealError,
    },
}

/// All that is read of a file to see whether it is a newer one.
#[derive(serde::Deserialize)]
struct Version {
    format_version: u32,
}

/// Reads JSON after looking at its `format_version` alone, so that a newer file is refused in
/// words and not for the first field that changed.
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

/// Serde for a SHA-256 as 64 lower-case hexadecimal digits, and for a table's digest as 32.
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
