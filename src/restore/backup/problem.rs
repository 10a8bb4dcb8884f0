//! The problems of a stored backup.

use crate::archive::ArchiveError;
use crate::archive::encryption::SealError;
use crate::restore::findings::CappedList;

/// The problems of a backup.
pub type Problems = CappedList<Problem>;

/// A problem of a backup.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The manifest is missing: the dump was never completed, or the manifest was removed.
    #[error("the manifest {object} is missing, so this is not a backup")]
    ManifestMissing {
        /// The manifest's URL.
        object: String,
    },
    /// An object cannot be parsed.
    #[error("{object} cannot be read")]
    Unreadable {
        /// Its URL.
        object: String,
        /// The cause.
        source: ArchiveError,
    },
    /// The manifest belongs to another backup.
    #[error("the manifest belongs to another backup: it has {said} instead of {expected}")]
    ForeignManifest {
        /// The value in the manifest.
        said: String,
        /// The expected value.
        expected: String,
    },
    /// The table of contents is missing.
    #[error("the table of contents {object} is missing")]
    TocMissing {
        /// Its URL.
        object: String,
    },
    /// The table of contents is not the one that the manifest describes.
    #[error("{object} does not match its manifest: {difference}")]
    TocDiffers {
        /// Its URL.
        object: String,
        /// The difference.
        difference: String,
    },
    /// The manifest and the table of contents contradict each other, or the table of contents contradicts
    /// itself.
    #[error("the table of contents contradicts {with}: {what}")]
    Contradiction {
        /// `the manifest` or `itself`.
        with: &'static str,
        /// The contradiction.
        what: String,
    },
    /// The dump object is missing.
    #[error("the dump {object} is missing")]
    DumpMissing {
        /// Its URL.
        object: String,
    },
    /// The dump object is shorter or longer than the manifest says.
    #[error("the dump {object} {}", sizes(*.found, *.expected))]
    DumpSize {
        /// Its URL.
        object: String,
        /// Its size in bytes.
        found: u64,
        /// The size in the manifest.
        expected: u64,
    },
    /// The dump object is encrypted and cannot be decrypted.
    #[error("the dump {object} cannot be opened")]
    DumpSealed {
        /// Its URL.
        object: String,
        /// The cause.
        source: SealError,
    },
    /// The dump object has different bytes than were written.
    #[error("the dump's {sum} is {found} instead of {expected}")]
    Checksum {
        /// `SHA-256` or `CRC-64/NVME`.
        sum: &'static str,
        /// The checksum found, in hexadecimal.
        found: String,
        /// The checksum in the manifest.
        expected: String,
    },
    /// A member of the dump does not decompress to its text.
    #[error("member {index} (bytes {from} to {to} of the dump, {holding}) {what}")]
    Member {
        /// Its index in the table of contents, from 0.
        index: usize,
        /// The first byte.
        from: u64,
        /// The byte after the last.
        to: u64,
        /// The content of the member.
        holding: String,
        /// `does not unpack: …` or `unpacks to … bytes instead of …`.
        what: String,
    },
    /// The bytes after the members are not the seek table.
    #[error("the seek table (bytes {from} to {to} of the dump) does not list the members")]
    SeekTable {
        /// The first byte.
        from: u64,
        /// The byte after the last.
        to: u64,
    },
    /// The text at an offset of the table of contents is not the expected one.
    #[error("{what}")]
    Text {
        /// The problem.
        what: String,
    },
    /// A table has a different number of rows.
    #[error("{table} has {found} rows instead of {expected}")]
    Rows {
        /// The table, or a description of the entry.
        table: String,
        /// The number found.
        found: u64,
        /// The expected number.
        expected: u64,
    },
    /// A table has different rows.
    #[error("the digest of the rows of {table} differs from the table of contents")]
    Digest {
        /// The table.
        table: String,
    },
}

fn sizes(found: u64, expected: u64) -> String {
    match found {
        0 => format!("is empty instead of {expected} bytes long"),
        found => format!("has {found} bytes instead of {expected}"),
    }
}
