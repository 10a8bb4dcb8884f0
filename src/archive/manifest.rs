//! The manifest: a small JSON object that is written last. Without it there is no backup.
//!
//! docs/archive-format.md specifies it. A change of a field's meaning raises `FORMAT_VERSION`.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::compression::Compression;
use super::encryption::chunks::Chunks;
use super::encryption::{self, Identities, Recipients, SealError};
use super::key::Cipher;
use super::{ArchiveError, ENCRYPTED_FORMAT_VERSION, FORMAT_VERSION, hex};

/// The description of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Read")]
pub struct Manifest {
    /// Version of the format of the three objects.
    pub format_version: u32,
    /// The program that wrote it.
    pub tool: Tool,
    /// The server that was dumped.
    pub server: DumpedServer,
    /// The database's configured name, as in the key.
    pub database: String,
    /// The snapshot that the dump shows.
    pub snapshot: DumpSnapshot,
    /// Start of the dump, as in the key.
    pub started: Timestamp,
    /// Time at which the dump object and the table of contents were complete.
    pub finished: Timestamp,
    /// The dump object.
    pub dump: DumpFile,
    /// The table of contents.
    pub toc: TocObject,
    /// Number of entries in the table of contents.
    pub entries: u64,
    /// The parts that contain names; absent in an encrypted backup until it is [opened](Manifest::open).
    #[serde(flatten)]
    pub names: Option<ManifestNames>,
    /// The encryption of the backup; absent if it is not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Duration of each phase in seconds, by its name.
    pub durations: BTreeMap<String, f64>,
}

/// The parts of a manifest that contain names, which an encrypted backup seals.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ManifestNames {
    /// The database's name on the server.
    pub source_database: String,
    /// The rows of each dumped table, in the order of the dump.
    pub tables: Vec<TableSum>,
    /// The server's settings that affect the text and rows of the dump, by name.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
}

/// The replacement for [`ManifestNames`] in the manifest of an encrypted backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "ReadEncryption")]
pub struct Encryption {
    /// Number of bytes of the dump object before its first chunk.
    pub header_size: u64,
    /// Numbers of tables and rows.
    #[serde(flatten)]
    pub totals: Totals,
    /// [`ManifestNames`] as JSON in an age file in Base64.
    pub sealed: String,
}

/// A manifest as it is deserialized. It has no flattened field, because serde would keep all unknown fields for it,
/// which takes some thirty times their bytes.
#[derive(Deserialize)]
struct Read {
    format_version: u32,
    tool: Tool,
    server: DumpedServer,
    database: String,
    snapshot: DumpSnapshot,
    started: Timestamp,
    finished: Timestamp,
    dump: DumpFile,
    toc: TocObject,
    entries: u64,
    source_database: Option<String>,
    tables: Option<Vec<TableSum>>,
    #[serde(default)]
    settings: BTreeMap<String, String>,
    encryption: Option<Encryption>,
    #[serde(default)]
    durations: BTreeMap<String, f64>,
}

impl TryFrom<Read> for Manifest {
    type Error = &'static str;

    fn try_from(read: Read) -> Result<Self, Self::Error> {
        let names = match (read.source_database, read.tables, &read.encryption) {
            (Some(source_database), Some(tables), _) => {
                Some(ManifestNames { source_database, tables, settings: read.settings })
            }
            (None, None, Some(_)) => None,
            _ => return Err("it lacks source_database or tables"),
        };
        Ok(Manifest {
            format_version: read.format_version,
            tool: read.tool,
            server: read.server,
            database: read.database,
            snapshot: read.snapshot,
            started: read.started,
            finished: read.finished,
            dump: read.dump,
            toc: read.toc,
            entries: read.entries,
            names,
            encryption: read.encryption,
            durations: read.durations,
        })
    }
}

/// [`Encryption`] as it is deserialized.
#[derive(Deserialize)]
struct ReadEncryption {
    header_size: u64,
    tables: u64,
    rows: u64,
    sealed: String,
}

impl From<ReadEncryption> for Encryption {
    fn from(ReadEncryption { header_size, tables, rows, sealed }: ReadEncryption) -> Self {
        Encryption { header_size, totals: Totals { tables, rows }, sealed }
    }
}

/// Numbers of tables and rows of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Number of tables, including empty ones.
    pub tables: u64,
    /// Number of rows of all tables.
    pub rows: u64,
}

/// The program that wrote the backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `pg-backup`.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Tool {
    /// Returns this program.
    pub fn this() -> Self {
        Tool { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
    }
}

/// The server that was dumped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpedServer {
    /// `server_version`, as the server reports it.
    pub version: String,
    /// `server_version_num`: 150020.
    pub version_num: u32,
}

/// The snapshot that the dump shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpSnapshot {
    /// `pg_current_wal_lsn()`, or the replay position on a standby, at the start of the transaction; absent
    /// if the role is not permitted to read it.
    pub lsn: Option<String>,
    /// Start of the transaction, by the server's clock.
    pub time: Timestamp,
}

/// The dump object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DumpFile {
    /// Its file name, beside the manifest.
    pub file: String,
    /// Its compression.
    pub compression: Compression,
    /// Its size in bytes.
    pub size: u64,
    /// The size of the SQL in bytes.
    pub raw_size: u64,
    /// SHA-256 of the object.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
    /// CRC-64/NVME of the object as 16 hexadecimal digits. S3 stores it as the checksum of the object, in
    /// Base64.
    #[serde(with = "hex")]
    pub crc64nvme: [u8; 8],
}

/// The table of contents as an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TocObject {
    /// Its file name, beside the manifest.
    pub file: String,
    /// Its compressed size in bytes.
    pub size: u64,
    /// The size of its JSON in bytes; absent in backups of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw_size: Option<u64>,
    /// SHA-256 of the object.
    #[serde(with = "hex")]
    pub sha256: [u8; 32],
}

/// The rows of a table, with which a restored copy is compared.
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
    /// The order-independent digest of its rows in COPY's text format, as 32 hexadecimal digits; absent if
    /// the rows were written as INSERT statements.
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
    /// Returns the bytes of the manifest: indented JSON with a trailing newline.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("a manifest has only string keys");
        json.push(b'\n');
        json
    }

    /// Maximum size of a manifest in bytes. A table takes about 200, so a million tables fit.
    pub const MOST_BYTES: u64 = 256 << 20;

    /// Parses a manifest. The names of an encrypted backup stay sealed.
    pub fn from_json(json: &[u8]) -> Result<Self, ArchiveError> {
        if json.len() as u64 > Self::MOST_BYTES {
            let reason = "the maximum for a manifest";
            return Err(ArchiveError::TooLong { what: WHAT, limit: Self::MOST_BYTES, reason });
        }
        super::from_versioned_json(WHAT, json)
    }

    /// Returns the tables; none while the names are sealed.
    pub fn tables(&self) -> &[TableSum] {
        self.names.as_ref().map(|names| names.tables.as_slice()).unwrap_or_default()
    }

    /// Returns the name of the database on the server; empty while the names are sealed.
    pub fn source_database(&self) -> &str {
        self.names.as_ref().map(|names| names.source_database.as_str()).unwrap_or_default()
    }

    /// Returns the settings of the server; none while the names are sealed.
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.names.as_ref().map(|names| names.settings.clone()).unwrap_or_default()
    }

    /// Returns the numbers of tables and rows, which are known even while the names are sealed.
    pub fn totals(&self) -> Totals {
        match (&self.names, &self.encryption) {
            (None, Some(encryption)) => encryption.totals,
            _ => Totals {
                tables: self.tables().len() as u64,
                rows: self.tables().iter().fold(0, |sum: u64, table| sum.saturating_add(table.rows)),
            },
        }
    }

    /// Returns whether the objects of the backup are encrypted.
    pub fn cipher(&self) -> Cipher {
        if self.encryption.is_some() { Cipher::Age } else { Cipher::None }
    }

    /// Returns the size of the compressed text: that of the dump object, or of the content that is encrypted in
    /// it. Returns `None` if no age file can have the size of the object.
    pub fn packed_size(&self) -> Option<u64> {
        match &self.encryption {
            None => Some(self.dump.size),
            Some(encryption) => Some(Chunks::of_object(encryption.header_size, self.dump.size)?.inner_size()),
        }
    }

    /// Seals the names for an encrypted backup. `header_size` is that of the dump object, in bytes.
    pub fn sealed(&self, recipients: &Recipients, header_size: u64) -> io::Result<Manifest> {
        let names = serde_json::to_vec(&self.names)?;
        let sealed = BASE64_STANDARD.encode(recipients.seal(&names)?);
        Ok(Manifest {
            format_version: ENCRYPTED_FORMAT_VERSION,
            names: None,
            encryption: Some(Encryption { header_size, totals: self.totals(), sealed }),
            ..self.clone()
        })
    }

    /// The version of new manifests before they are sealed.
    pub const fn format_version() -> u32 {
        FORMAT_VERSION
    }

    /// Opens the sealed names.
    pub fn open(&mut self, identities: Option<&Identities>) -> Result<(), ArchiveError> {
        let (None, Some(Encryption { totals, sealed, .. })) = (&self.names, &self.encryption) else {
            return Ok(());
        };
        let closed = |source| ArchiveError::Sealed { what: WHAT, source };
        let sealed = BASE64_STANDARD.decode(sealed).map_err(|_| closed(SealError::Header))?;
        let names = encryption::open(&sealed, identities).map_err(closed)?;
        let malformed = |source| ArchiveError::Malformed { what: WHAT, source };
        let (totals, names) = (*totals, serde_json::from_slice(&names).map_err(malformed)?);
        self.names = Some(names);
        if self.totals() != totals {
            return Err(malformed(serde::de::Error::custom(
                "its totals of tables and rows do not match its list of tables",
            )));
        }
        Ok(())
    }
}

/// Its name in messages.
const WHAT: &str = "manifest";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest with a value in each field.
    pub(crate) fn sample() -> Manifest {
        let time: Timestamp = "2026-04-26T16:29:58Z".parse().unwrap();
        Manifest {
            format_version: FORMAT_VERSION,
            tool: Tool::this(),
            server: DumpedServer { version: "15.20 (Debian 15.20-1)".into(), version_num: 150020 },
            database: "metadata".into(),
            snapshot: DumpSnapshot { lsn: Some("0/1A2B3C4D".into()), time },
            started: time,
            finished: time,
            dump: DumpFile {
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
                raw_size: Some(50),
                sha256: [2; 32],
            },
            entries: 3,
            names: Some(ManifestNames {
                source_database: "schemastack".into(),
                tables: vec![TableSum {
                    dump_id: 7,
                    namespace: "public".into(),
                    name: "odd \"name\"\n".into(),
                    rows: 42,
                    digest: Some(RowsDigest::from(1)),
                }],
                settings: [("TimeZone".to_owned(), "UTC".to_owned())].into(),
            }),
            encryption: None,
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
    fn an_encrypted_manifest_names_nothing_until_it_is_opened() {
        let (recipients, identities) = crate::archive::encryption::tests::key();
        let mut whole = sample();
        whole.dump.size = 300 + 16 + 10;
        let json = whole.sealed(&recipients, 300).unwrap().to_json();
        let text = String::from_utf8(json.clone()).unwrap();
        for name in ["schemastack", "odd", "public", "TimeZone", "UTC", "dump_id"] {
            assert!(!text.contains(name), "{name} in {text}");
        }
        let mut read = Manifest::from_json(&json).unwrap();
        assert_eq!((read.format_version, read.cipher(), read.packed_size()), (2, Cipher::Age, Some(10)));
        assert_eq!((read.totals(), read.tables().len()), (Totals { tables: 1, rows: 42 }, 0));
        let closed = read.clone().open(None).unwrap_err();
        assert!(matches!(closed, ArchiveError::Sealed { source: SealError::NoIdentity, .. }), "{closed}");
        let other = crate::archive::encryption::tests::key().1;
        let closed = read.clone().open(Some(&other)).unwrap_err();
        assert!(matches!(closed, ArchiveError::Sealed { source: SealError::WrongIdentity, .. }), "{closed}");
        read.open(Some(&identities)).unwrap();
        assert_eq!(read.names, whole.names);
        assert_eq!(read.totals(), whole.totals());
        // The open totals must agree with the sealed ones.
        let forged = text.replace("\"rows\": 42", "\"rows\": 43");
        let error = Manifest::from_json(forged.as_bytes()).unwrap().open(Some(&identities)).unwrap_err();
        assert!(matches!(error, ArchiveError::Malformed { .. }), "{error}");
    }

    #[test]
    fn a_newer_manifest_is_refused_in_words() {
        let error = Manifest::from_json(br#"{"format_version": 3, "anything": []}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "manifest has format version 3, but this program supports only versions up to 2\nHINT: use a newer pg-backup"
        );
        let error = Manifest::from_json(br#"{"format_version": 1}"#).unwrap_err();
        assert_eq!(error.to_string(), "manifest is damaged");
        let without_tables =
            String::from_utf8(sample().to_json()).unwrap().replace("\"tables\"", "\"others\"");
        let error = Manifest::from_json(without_tables.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "manifest is damaged");
    }
}
