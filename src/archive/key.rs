//! Builds and parses the keys of a backup's three objects, of its claim and of its drill report. Only this
//! file contains their format.
//!
//! ```text
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.sql.gz
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.toc.json.gz
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.manifest.json
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.drill.json
//! ```
//! The dump and the table of contents end with `.age` if they are encrypted. The writer claims the key with
//! `….claim` before the dump begins. If the store cannot distinguish two writers in the same second, the
//! timestamp is followed by eight hexadecimal digits that identify the writer:
//! `<db>-<YYYY-MM-DDTHH-MM-SSZ>-<8 digits>.sql.gz`.
//!
//! A database's name is unchanged in a key if it consists of ASCII letters, digits, `_`, `-`, `.` and `~`
//! (without a leading `.`). Every other byte of its UTF-8 form becomes `%XX`. Therefore any database name
//! yields a key that every store accepts and that can be parsed back.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::compression::Compression;

/// Identifies a backup by the database and the second in which the dump began. Backups are ordered by
/// database and time, and within one second by their writers, so that their order is always the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId {
    /// The database's configured name.
    pub database: String,
    /// The start time of the dump, in whole seconds.
    pub started: Timestamp,
    /// The writer, if the second does not distinguish the backup from that of another writer.
    pub writer: Option<WriterId>,
}

/// Identifies a writer of backups by a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(u32);

impl WriterId {
    /// Generates a random id.
    pub fn random() -> Result<WriterId, getrandom::Error> {
        Ok(WriterId(getrandom::u32()?))
    }
}

/// Formats the id as eight lower-case hexadecimal digits.
impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// One of the objects of a backup or related to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The SQL, by its compression and encryption.
    Dump(Packing, Cipher),
    /// The table of contents.
    Toc(Cipher),
    /// The manifest. It is written last and makes the backup visible.
    Manifest,
    /// The result of the backup's last drill. Not part of the backup.
    Drill,
    /// The claim of its key, written before the dump begins. Not part of the backup.
    Claim,
}

/// The compression of a dump object, as shown by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// `.sql`
    Plain,
    /// `.sql.gz`
    Gzip,
    /// `.sql.zst`
    Zstd,
}

/// The encryption of an object, as shown by its name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// Not encrypted.
    #[default]
    None,
    /// `.age`
    Age,
}

impl From<Compression> for Packing {
    fn from(compression: Compression) -> Self {
        match compression {
            Compression::None => Packing::Plain,
            Compression::Gzip { .. } => Packing::Gzip,
            Compression::Zstd { .. } => Packing::Zstd,
        }
    }
}

impl Part {
    /// All possible parts for the dump.
    pub const DUMPS: [Part; 6] = [
        Part::Dump(Packing::Plain, Cipher::None),
        Part::Dump(Packing::Gzip, Cipher::None),
        Part::Dump(Packing::Zstd, Cipher::None),
        Part::Dump(Packing::Plain, Cipher::Age),
        Part::Dump(Packing::Gzip, Cipher::Age),
        Part::Dump(Packing::Zstd, Cipher::Age),
    ];
    /// All possible parts for the table of contents.
    pub const TOCS: [Part; 2] = [Part::Toc(Cipher::None), Part::Toc(Cipher::Age)];

    fn all() -> impl Iterator<Item = Part> {
        Part::DUMPS.into_iter().chain(Part::TOCS).chain([Part::Manifest, Part::Drill, Part::Claim])
    }

    fn extension(self) -> &'static str {
        match self {
            Part::Dump(Packing::Plain, Cipher::None) => ".sql",
            Part::Dump(Packing::Gzip, Cipher::None) => ".sql.gz",
            Part::Dump(Packing::Zstd, Cipher::None) => ".sql.zst",
            Part::Dump(Packing::Plain, Cipher::Age) => ".sql.age",
            Part::Dump(Packing::Gzip, Cipher::Age) => ".sql.gz.age",
            Part::Dump(Packing::Zstd, Cipher::Age) => ".sql.zst.age",
            Part::Toc(Cipher::None) => ".toc.json.gz",
            Part::Toc(Cipher::Age) => ".toc.json.gz.age",
            Part::Manifest => ".manifest.json",
            Part::Drill => ".drill.json",
            Part::Claim => ".claim",
        }
    }

    /// Returns the media type with which the object is stored.
    pub fn content_type(self) -> &'static str {
        match self {
            Part::Dump(_, Cipher::Age) | Part::Toc(Cipher::Age) => "application/octet-stream",
            Part::Dump(Packing::Plain, Cipher::None) => "application/sql",
            Part::Dump(Packing::Gzip, Cipher::None) | Part::Toc(Cipher::None) => "application/gzip",
            Part::Dump(Packing::Zstd, Cipher::None) => "application/zstd",
            Part::Manifest | Part::Drill | Part::Claim => "application/json",
        }
    }
}

impl BackupId {
    /// Returns the id of a backup of `database` that began at `started`, truncated to seconds.
    pub fn new(database: impl Into<String>, started: Timestamp) -> Self {
        let started = Timestamp::from_second(started.as_second()).unwrap_or(started);
        BackupId { database: database.into(), started, writer: None }
    }

    /// Returns the same backup with a key that is unique to the writer.
    pub fn of_writer(&self, writer: WriterId) -> Self {
        BackupId { writer: Some(writer), ..self.clone() }
    }

    /// Returns the backup that begins `seconds` later; `None` if the time is out of range.
    pub fn later_by(&self, seconds: i64) -> Option<Self> {
        let started = self.started.checked_add(SignedDuration::from_secs(seconds)).ok()?;
        Some(BackupId { started, ..self.clone() })
    }

    /// Returns the key of one of the backup's objects under `prefix`. Leading and trailing slashes of the
    /// prefix are ignored, and it may be empty.
    pub fn key(&self, prefix: &str, part: Part) -> String {
        self.stem(prefix) + part.extension()
    }

    /// Returns the common prefix of the keys of the backup's objects.
    pub fn stem(&self, prefix: &str) -> String {
        let day = self.started.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string();
        let database = KeySegment(&self.database);
        format!("{}{database}/{day}/{self}", directory(prefix))
    }

    /// Returns the last segment of [`BackupId::key`], which the manifest uses to refer to the other two
    /// objects.
    pub fn file_name(&self, part: Part) -> String {
        format!("{}{}", self, part.extension())
    }

    /// Returns the common prefix of all keys of one database's backups.
    pub fn database_prefix(prefix: &str, database: &str) -> String {
        format!("{}{}/", directory(prefix), KeySegment(database))
    }

    /// Returns the common prefix of all keys: the prefix followed by exactly one slash, or nothing.
    pub fn prefix(prefix: &str) -> String {
        directory(prefix)
    }

    /// Parses a key. Returns `None` if [`BackupId::key`] does not generate it for this prefix.
    pub fn parse(prefix: &str, key: &str) -> Option<(BackupId, Part)> {
        let rest = key.strip_prefix(&directory(prefix))?;
        let (database, rest) = rest.split_once('/')?;
        let (_day, file) = rest.split_once('/')?;
        let (stem, part) = Part::all().find_map(|part| Some((file.strip_suffix(part.extension())?, part)))?;
        let stamp = stem.strip_prefix(database)?.strip_prefix('-')?;
        let (stamp, writer) = match stamp.split_once("Z-") {
            Some((_, writer)) => {
                (stamp.strip_suffix(writer)?.strip_suffix('-')?, Some(parse_writer(writer)?))
            }
            None => (stamp, None),
        };
        let id = BackupId { database: decode(database)?, started: parse_stamp(stamp)?, writer };
        // A key that differs in any byte from the generated one belongs to another program.
        (id.key(prefix, part) == key).then_some((id, part))
    }

    /// Returns the start time as it appears in keys and log lines: `2026-04-26T16-29-58Z`.
    pub fn stamp(&self) -> String {
        self.started.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
    }
}

/// Formats the stem of the file names: `<db>-<YYYY-MM-DDTHH-MM-SSZ>`, followed by the writer if there is one.
impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", KeySegment(&self.database), self.stamp())?;
        match self.writer {
            Some(writer) => write!(f, "-{writer}"),
            None => Ok(()),
        }
    }
}

/// Parses a writer's id. The comparison of the whole key checks that it has eight lower-case digits.
fn parse_writer(digits: &str) -> Option<WriterId> {
    u32::from_str_radix(digits, 16).ok().map(WriterId)
}

/// Parses a timestamp.
fn parse_stamp(stamp: &str) -> Option<Timestamp> {
    let civil = jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%SZ", stamp).ok()?;
    Some(civil.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

fn directory(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

/// Formats a database's name as one segment of a key.
struct KeySegment<'a>(&'a str);

impl fmt::Display for KeySegment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.bytes().enumerate() {
            match byte {
                b'.' if index == 0 => f.write_str("%2E")?,
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'~' => {
                    fmt::Write::write_char(f, byte.into())?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(database: &str) -> BackupId {
        BackupId::new(database, "2026-04-26T16:29:58.9Z".parse().unwrap())
    }

    #[test]
    fn keys_are_those_of_the_design() {
        let id = id("metadata");
        for (part, extension) in [
            (Part::Dump(Packing::Plain, Cipher::None), "sql"),
            (Part::Dump(Packing::Gzip, Cipher::None), "sql.gz"),
            (Part::Dump(Packing::Zstd, Cipher::None), "sql.zst"),
            (Part::Dump(Packing::Gzip, Cipher::Age), "sql.gz.age"),
            (Part::Toc(Cipher::None), "toc.json.gz"),
            (Part::Toc(Cipher::Age), "toc.json.gz.age"),
            (Part::Manifest, "manifest.json"),
            (Part::Claim, "claim"),
        ] {
            assert_eq!(
                id.key("hetzner-prod", part),
                format!("hetzner-prod/metadata/2026-04-26/metadata-2026-04-26T16-29-58Z.{extension}")
            );
        }
        assert_eq!(
            id.of_writer(WriterId(0x1a2b)).key("p", Part::Manifest),
            "p/metadata/2026-04-26/metadata-2026-04-26T16-29-58Z-00001a2b.manifest.json"
        );
        assert_eq!(
            id.key("", Part::TOCS[0]),
            "metadata/2026-04-26/metadata-2026-04-26T16-29-58Z.toc.json.gz"
        );
        assert_eq!(id.key("/a/b/", Part::Manifest), id.key("a/b", Part::Manifest));
    }

    #[test]
    fn every_name_parses_back() {
        for database in [
            "metadata",
            "a-b",
            "../x",
            ".",
            "with space",
            "ü",
            "a%b",
            "a/b",
            "x-2026-04-26T16-29-58Z-1a2b3c4d",
        ] {
            let ids = [
                id(database),
                id(database).of_writer(WriterId(0)),
                id(database).of_writer(WriterId(u32::MAX)),
            ];
            for (prefix, id) in
                ["", "p", "p/q"].into_iter().flat_map(|prefix| ids.iter().map(move |id| (prefix, id)))
            {
                for part in Part::all() {
                    let key = id.key(prefix, part);
                    assert_eq!(BackupId::parse(prefix, &key), Some((id.clone(), part)), "{key}");
                    assert!(key.is_ascii() && !key.contains(".."), "{key}");
                }
            }
        }
    }

    #[test]
    fn backups_of_one_second_are_ordered_by_their_writers() {
        let first = id("db");
        let ids = [
            first.clone(),
            first.of_writer(WriterId(1)),
            first.of_writer(WriterId(2)),
            first.later_by(1).unwrap(),
        ];
        assert!(ids.is_sorted(), "{ids:?}");
        assert_eq!(BackupId::new("db", Timestamp::MAX).later_by(1), None);
    }

    #[test]
    fn foreign_keys_are_not_backups() {
        let good = id("db").key("p", Part::Manifest);
        for key in [
            "p/db/2026-04-26/readme.txt",
            "p/db/2026-04-25/db-2026-04-26T16-29-58Z.manifest.json",
            "p/other/2026-04-26/db-2026-04-26T16-29-58Z.manifest.json",
            "p/db/2026-04-26/db-2026-13-26T16-29-58Z.manifest.json",
            "p/db/2026-04-26/x/db-2026-04-26T16-29-58Z.manifest.json",
            "p/db/2026-04-26/db-2026-04-26T16-29-58Z-1A2B3C4D.manifest.json",
            "p/db/2026-04-26/db-2026-04-26T16-29-58Z-1a2b3c4.manifest.json",
            "p/db/2026-04-26/db-2026-04-26T16-29-58Z-+a2b3c4d.manifest.json",
            "p/db/2026-04-26/db-2026-04-26T16-29-58Z-.manifest.json",
            &good.replacen("p/", "q/", 1),
            &format!("{good}.tmp"),
        ] {
            assert_eq!(BackupId::parse("p", key), None, "{key}");
        }
        assert!(BackupId::parse("p", &good).is_some());
    }
}
