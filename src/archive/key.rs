//! The names of a backup's three objects, and of the claim and a drill's report beside them, built and parsed. No other place
//! knows them.
//!
//! ```text
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.sql.gz
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.toc.json.gz
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.manifest.json
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.drill.json
//! ```
//! Dump and table of contents end with `.age` when they are encrypted. Before the dump begins its writer claims the key with
//! `….claim`. Where the store cannot tell two writers of one second apart, eight hexadecimal digits of the writer's own follow
//! the moment: `<db>-<YYYY-MM-DDTHH-MM-SSZ>-<8 digits>.sql.gz`.
//!
//! A database's name stands in a key as it is when it is made of letters, digits, `_`, `-`, `.` and
//! `~` of ASCII (without a leading `.`); every other byte of its UTF-8 form becomes `%XX`, so that any
//! database name gives a key that every store accepts and that parses back.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::compression::Compression;

/// Which backup: the database and when the dump began, to the second. They are ordered by database and time; two of one
/// second by their writers, so that each choice among them is always the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId {
    /// The database's configured name.
    pub database: String,
    /// When the dump began; whole seconds.
    pub started: Timestamp,
    /// Who wrote it, where the second alone does not tell it from the backup of another writer.
    pub writer: Option<WriterId>,
}

/// A writer of backups, by a random number of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(u32);

impl WriterId {
    /// Draws a number.
    pub fn random() -> Result<WriterId, getrandom::Error> {
        Ok(WriterId(getrandom::u32()?))
    }
}

/// Eight hexadecimal digits in lower case.
impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Which of the objects of a backup, or beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The SQL, by the way it is packed.
    Dump(Packing, Cipher),
    /// Where each entry lies in it.
    Toc(Cipher),
    /// Written last; makes it a backup.
    Manifest,
    /// What the last drill of it came to. No part of the backup itself.
    Drill,
    /// The claim of its key, written before the dump begins. No part of the backup itself.
    Claim,
}

/// How a dump object is packed, as far as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// `.sql`
    Plain,
    /// `.sql.gz`
    Gzip,
    /// `.sql.zst`
    Zstd,
}

/// Whether an object is encrypted, as far as its name tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cipher {
    /// It is not.
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
    /// The dump by all its names.
    pub const DUMPS: [Part; 6] = [
        Part::Dump(Packing::Plain, Cipher::None),
        Part::Dump(Packing::Gzip, Cipher::None),
        Part::Dump(Packing::Zstd, Cipher::None),
        Part::Dump(Packing::Plain, Cipher::Age),
        Part::Dump(Packing::Gzip, Cipher::Age),
        Part::Dump(Packing::Zstd, Cipher::Age),
    ];
    /// The table of contents by all its names.
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

    /// The media type that the object is stored with.
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
    /// Names a backup of `database` begun at `started`; what is finer than a second is dropped.
    pub fn new(database: impl Into<String>, started: Timestamp) -> Self {
        let started = Timestamp::from_second(started.as_second()).unwrap_or(started);
        BackupId { database: database.into(), started, writer: None }
    }

    /// The same backup under a key that no other writer has.
    pub fn of_writer(&self, writer: WriterId) -> Self {
        BackupId { writer: Some(writer), ..self.clone() }
    }

    /// The backup that begins so many seconds later; `None` beyond the end of time.
    pub fn later_by(&self, seconds: i64) -> Option<Self> {
        let started = self.started.checked_add(SignedDuration::from_secs(seconds)).ok()?;
        Some(BackupId { started, ..self.clone() })
    }

    /// The key of one of the backup's objects under `prefix`; slashes around the prefix do not
    /// matter, and it may be empty.
    pub fn key(&self, prefix: &str, part: Part) -> String {
        self.stem(prefix) + part.extension()
    }

    /// What the keys of all of the backup's objects begin with.
    pub fn stem(&self, prefix: &str) -> String {
        let day = self.started.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string();
        let database = KeySegment(&self.database);
        format!("{}{database}/{day}/{self}", directory(prefix))
    }

    /// The last segment of [`BackupId::key`], by which the manifest refers to the other two.
    pub fn file_name(&self, part: Part) -> String {
        format!("{}{}", self, part.extension())
    }

    /// What all keys of one database's backups begin with.
    pub fn database_prefix(prefix: &str, database: &str) -> String {
        format!("{}{}/", directory(prefix), KeySegment(database))
    }

    /// What all keys of all backups begin with: the prefix with exactly one slash behind it, or
    /// nothing.
    pub fn prefix(prefix: &str) -> String {
        directory(prefix)
    }

    /// Reads a key; `None` when it is not one that [`BackupId::key`] gives for this prefix.
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
        // What is not byte for byte our own name is somebody else's object.
        (id.key(prefix, part) == key).then_some((id, part))
    }

    /// The moment as it stands in keys and log lines: `2026-04-26T16-29-58Z`.
    pub fn stamp(&self) -> String {
        self.started.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
    }
}

/// `<db>-<YYYY-MM-DDTHH-MM-SSZ>`, the stem of the file names, and behind it the writer if it is told apart by that.
impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", KeySegment(&self.database), self.stamp())?;
        match self.writer {
            Some(writer) => write!(f, "-{writer}"),
            None => Ok(()),
        }
    }
}

/// A writer's digits back to its number; that they are eight and in lower case the whole key shows.
fn parse_writer(digits: &str) -> Option<WriterId> {
    u32::from_str_radix(digits, 16).ok().map(WriterId)
}

/// A stamp back to its moment.
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

/// A database's name as one segment of a key.
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
