//! The manifest: small, readable, written last. A backup without one does not exist.
//! docs/archive-format.md specifies it; changing a field's meaning raises `FORMAT_VERSION`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::compression::Compression;
use super::{ArchiveError, FORMAT_VERSION, hex};

/// What a backup is, in one small object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format of the three objects.
    pub format_version: u32,
    /// What wrote it.
    pub tool: Tool,
    /// The server that was dumped.
    pub server: Server,
    /// The database's configured name, as in the key.
    pub database: String,
    /// The database's name on the server.
    pub source_database: String,
    /// The moment that the dump shows.
    pub snapshot: Snapshot,
    /// When the dump began; the moment in the key.
    pub started: Timestamp,
    /// When the dump object and the table of contents were complete.
    pub finished: Timestamp,
    /// The dump object.
    pub dump: DumpObject,
    /// The table of contents.
    pub toc: TocObject,
    /// Entries in the table of contents.
    pub entries: u64,
    /// Each dumped table's rows, in the order of the dump.
    pub tables: Vec<TableSum>,
    /// How the server printed values: its settings that show in the dump's text and rows, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// Seconds that each phase took, by its name.
    #[serde(default)]
    pub durations: BTreeMap<String, f64>,
}

/// What wrote the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `pg-backup`.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Tool {
    /// This program.
    pub fn this() -> Self {
        Tool { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// The server that was dumped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `server_version`, as the server says it.
    pub version: String,
    /// `server_version_num`: 150020.
    pub version_num: u32,
}

/// The moment that the dump shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// `pg_current_wal_lsn()`, or the replay position on a standby, read at the start of the
    /// transaction; absent where the role may not ask.
    pub lsn: Option<String>,
    /// The transaction's start by the server's clock.
    pub time: Timestamp,
}

/// The dump object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpObject {
    /// Its file name, beside the manifest.
    pub file: String,
    /// How it is packed.
    pub compression: Compression,
    /// Its size in bytes.
    pub size: u64,
    /// The size of the SQL in bytes.
    pub raw_size: u64,
    /// SHA-256 of the object.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// CRC-64/NVME of the object as 16 hexadecimal digits, which S3 keeps as the object's own
    /// checksum (there in Base64).
    #[serde(with = "hex")]
    pub crc64nvme: [u8; 8],
}

/// The table of contents as an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TocObject {
    /// Its file name, beside the manifest.
    pub file: String,
    /// Its size in bytes, packed.
    pub size: u64,
    /// SHA-256 of the object.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
}

/// A table's rows, so that a restored copy can be proved equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSum {
    /// The table's `TABLE DATA` entry in the table of contents.
    pub dump_id: u32,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// The order-independent digest of its rows in COPY's text format, as 32 hexadecimal digits;
    /// absent where rows were written as INSERT statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<RowsDigest>,
}

/// An order-independent digest of a table's rows: the sum modulo 2^128 of the XXH3-128 of each row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RowsDigest(#[serde(with = "hex")] pub [u8; 16]);

impl From<u128> for RowsDigest {
    fn from(sum: u128) -> Self {
        RowsDigest(sum.to_be_bytes())
    }
}

impl Manifest {
    /// The manifest's bytes: indented JSON with a newline at its end.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a manifest has only string keys");
        json.push(b'\n');
        json
    }

    /// Reads a manifest.
    pub fn from_json(json: &[u8]) -> Result<Self, ArchiveError> {
        super::from_versioned_json("manifest", json)
    }

    /// The version that new manifests carry.
    pub const fn format_version() -> u32 {
        FORMAT_VERSION
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest with something in each field.
    pub(crate) fn sample() -> Manifest {
        let time: Timestamp = "2026-04-26T16:29:58Z".parse().unwrap();
        Manifest {
            format_version: FORMAT_VERSION,
            tool: Tool::this(),
            server: Server { version: "15.20 (Debian 15.20-1)".into(), version_num: 150020 },
            database: "metadata".into(),
            source_database: "schemastack".into(),
            snapshot: Snapshot { lsn: Some("0/1A2B3C4D".into()), time },
            started: time,
            finished: time,
            dump: DumpObject {
                file: "metadata-2026-04-26T16-29-58Z.sql.gz".into(),
                compression: Compression::DEFAULT_GZIP,
                size: 10,
                raw_size: 100,
                sha256: [0xab; 32],
                crc64nvme: [1; 8],
            },
            toc: TocObject {
                file: "metadata-2026-04-26T16-29-58Z.toc.json.gz".into(),
                size: 5,
                sha256: [2; 32],
            },
            entries: 3,
            tables: vec![TableSum {
                dump_id: 7,
                namespace: "public".into(),
                name: "odd \"name\"\n".into(),
                rows: 42,
                digest: Some(RowsDigest::from(1)),
            }],
            settings: [("TimeZone".to_owned(), "UTC".to_owned())].into(),
            durations: [("data".to_owned(), 1.5)].into(),
        }
    }

    #[test]
    fn a_manifest_reads_back_as_written() {
        let json = sample().to_json();
        assert_eq!(Manifest::from_json(&json).unwrap(), sample());
        let text = String::from_utf8(json).unwrap();
        assert!(text.contains(r#""digest": "00000000000000000000000000000001""#), "{text}");
        assert!(text.contains(r#""compression": "gzip:5""#), "{text}");
    }

    #[test]
    fn a_newer_manifest_is_refused_in_words() {
        let error = Manifest::from_json(br#"{"format_version": 2, "anything": []}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "manifest has format version 2, and this program reads up to 1\nHINT: use a newer pg-backup"
        );
        let error = Manifest::from_json(br#"{"format_version": 1}"#).unwrap_err();
        assert_eq!(error.to_string(), "manifest is damaged");
    }
}
