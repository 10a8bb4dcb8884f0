//! The names of a backup's three objects and of a drill's report beside them, built and parsed. No other place knows them.
//!
//! ```text
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.sql.gz
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.toc.json.gz
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.manifest.json
//! <prefix>/<db>/<YYYY-MM-DD>/<db>-<YYYY-MM-DDTHH-MM-SSZ>.drill.json
//! ```
//! Dump and table of contents end with `.age` when they are encrypted.
//!
//! A database's name stands in a key as it is when it is made of letters, digits, `_`, `-`, `.` and
//! `~` of ASCII (without a leading `.`); every other byte of its UTF-8 form becomes `%XX`, so that any
//! database name gives a key that every store accepts and that parses back.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::compression::Compression;

/// Which backup: the database and when the dump began, to the second.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId {
    /// The database's configured name.
    pub database: String,
    /// When the dump began; whole seconds.
    pub started: Timestamp,
}

/// Which of a backup's three objects.
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
        Part::DUMPS.into_iter().chain(Part::TOCS).chain([Part::Manifest, Part::Drill])
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
        }
    }

    /// The media type that the object is stored with.
    pub fn content_type(self) -> &'static str {
        match self {
            Part::Dump(_, Cipher::Age) | Part::Toc(Cipher::Age) => "application/octet-stream",
            Part::Dump(Packing::Plain, Cipher::None) => "application/sql",
            Part::Dump(Packing::Gzip, Cipher::None) | Part::Toc(Cipher::None) => "application/gzip",
            Part::Dump(Packing::Zstd, Cipher::None) => "application/zstd",
            Part::Manifest | Part::Drill => "application/json",
        }
    }
}

impl BackupId {
    /// Names a backup of `database` begun at `started`; what is finer than a second is dropped.
    pub fn new(database: impl Into<String>, started: Timestamp) -> Self {
        let started = Timestamp::from_second(started.as_second()).unwrap_or(started);
        BackupId { database: database.into(), started }
    }

    /// The key of one of the backup's objects under `prefix`; slashes around the prefix do not
    /// matter, and it may be empty.
    pub fn key(&self, prefix: &str, part: Part) -> String {
        self.stem(prefix) + part.extension()
    }

    /// What the keys of all of the backup's objects begin with.
    pub fn stem(&self, prefix: &str) -> String {
        let day = self.started.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d").to_string();
        let database = Segment(&self.database);
        format!("{}{database}/{day}/{self}", directory(prefix))
    }

    /// The last segment of [`BackupId::key`], by which the manifest refers to the other two.
    pub fn file_name(&self, part: Part) -> String {
        format!("{}{}", self, part.extension())
    }

    /// What all keys of one database's backups begin with.
    pub fn database_prefix(prefix: &str, database: &str) -> String {
        format!("{}{}/", directory(prefix), Segment(database))
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
        let id = BackupId { database: decode(database)?, started: parse_stamp(stamp)? };
        // What is not byte for byte our own name is somebody else's object.
        (id.key(prefix, part) == key).then_some((id, part))
    }

    /// The moment as it stands in keys and log lines: `2026-04-26T16-29-58Z`.
    pub fn stamp(&self) -> String {
        self.started.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
    }
}

/// `<db>-<YYYY-MM-DDTHH-MM-SSZ>`, the stem of the file names.
impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", Segment(&self.database), self.stamp())
    }
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
struct Segment<'a>(&'a str);

impl fmt::Display for Segment<'_> {
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
        ] {
            assert_eq!(
                id.key("hetzner-prod", part),
                format!("hetzner-prod/metadata/2026-04-26/metadata-2026-04-26T16-29-58Z.{extension}")
            );
        }
        assert_eq!(
            id.key("", Part::TOCS[0]),
            "metadata/2026-04-26/metadata-2026-04-26T16-29-58Z.toc.json.gz"
        );
        assert_eq!(id.key("/a/b/", Part::Manifest), id.key("a/b", Part::Manifest));
    }

    #[test]
    fn every_name_parses_back() {
        for database in
            ["metadata", "a-b", "../x", ".", "with space", "ü", "a%b", "a/b", "x-2026-04-26T16-29-58Z"]
        {
            for prefix in ["", "p", "p/q"] {
                for part in Part::all() {
                    let key = id(database).key(prefix, part);
                    assert_eq!(BackupId::parse(prefix, &key), Some((id(database), part)), "{key}");
                    assert!(key.is_ascii() && !key.contains(".."), "{key}");
                }
            }
        }
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
            &good.replacen("p/", "q/", 1),
            &format!("{good}.tmp"),
        ] {
            assert_eq!(BackupId::parse("p", key), None, "{key}");
        }
        assert!(BackupId::parse("p", &good).is_some());
    }
}
