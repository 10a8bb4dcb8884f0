//! Reads a table of contents. It is decompressed and parsed as a stream, so that only its entries use memory,
//! and only up to a limit that the manifest gives.

use std::io::{self, BufReader, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::encryption::{self, Identities};
use super::entry_kind::EntryKind;
use super::manifest::Manifest;
use super::toc_file::{MOST_BYTES, TocFile};
use super::{ArchiveError, ENCRYPTED_FORMAT_VERSION, Version};
use crate::report::printable;

/// The name used in messages.
const WHAT: &str = "table of contents";

/// If the manifest has no size, the limit for the table of contents' own fields.
const OWN_FIELDS: u64 = 16 << 20;

/// If the manifest has no size, the limit per entry. The entry of a table of 1,600 columns has 100 KiB; most
/// others have less than 1 KiB.
const ENTRY: u64 = 16 << 10;

/// The limit on a table of contents, in bytes of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TocLimit {
    bytes: u64,
    reason: &'static str,
}

impl Default for TocLimit {
    /// Returns the limit of any table of contents.
    fn default() -> Self {
        TocLimit { bytes: MOST_BYTES, reason: "the maximum for a table of contents" }
    }
}

impl TocLimit {
    /// Returns the limit from the manifest: the exact size or, in backups of versions that did not write it,
    /// the maximum size for that number of entries.
    pub fn of(manifest: &Manifest) -> Self {
        let limit = match manifest.toc.raw_size {
            Some(bytes) => TocLimit { bytes, reason: "its size according to the manifest" },
            None => TocLimit {
                bytes: manifest.entries.saturating_mul(ENTRY).saturating_add(OWN_FIELDS),
                reason: "the maximum for the number of entries in the manifest",
            },
        };
        if limit.bytes > MOST_BYTES { TocLimit::default() } else { limit }
    }
}

impl TocFile {
    /// Reads an encrypted table of contents.
    pub fn from_sealed(
        sealed: &[u8],
        identities: Option<&Identities>,
        limit: TocLimit,
    ) -> Result<Self, ArchiveError> {
        let packed = encryption::open(sealed, identities);
        let closed = |source| ArchiveError::Sealed { what: WHAT, source };
        Self::from_gzip(&packed.map_err(closed)?, limit)
    }

    /// Reads a table of contents. Decompresses at most as much as `limit` allows.
    pub fn from_gzip(packed: &[u8], limit: TocLimit) -> Result<Self, ArchiveError> {
        read(packed, limit)
    }
}

fn read(packed: &[u8], limit: TocLimit) -> Result<TocFile, ArchiveError> {
    let newer = |found| Err(ArchiveError::Newer { what: WHAT, found });
    match parse::<TocFile>(packed, limit) {
        Ok(toc) if toc.format_version > ENCRYPTED_FORMAT_VERSION => newer(toc.format_version),
        // What a newer program wrote is reported as such, and not as an error in the first field that has
        // changed.
        Err(error @ ArchiveError::Malformed { .. }) => match parse::<Version>(packed, limit) {
            Ok(version) if version.format_version > ENCRYPTED_FORMAT_VERSION => newer(version.format_version),
            _ => Err(unknown_kind(packed, limit).unwrap_or(error)),
        },
        read => read,
    }
}

/// Returns the error for the first entry of an unknown kind, if there is one.
fn unknown_kind(packed: &[u8], limit: TocLimit) -> Option<ArchiveError> {
    #[derive(Deserialize)]
    struct Named {
        desc: String,
        tag: String,
    }
    #[derive(Deserialize)]
    struct Names {
        entries: Vec<Named>,
    }
    let names: Names = parse(packed, limit).ok()?;
    let unknown = names.entries.iter().find(|entry| entry.desc.parse::<EntryKind>().is_err())?;
    let (kind, name) = (printable(&unknown.desc), printable(&unknown.tag));
    Some(ArchiveError::UnknownKind { what: WHAT, kind, name })
}

fn parse<T: DeserializeOwned>(packed: &[u8], limit: TocLimit) -> Result<T, ArchiveError> {
    let mut json =
        Limited { inner: flate2::read::MultiGzDecoder::new(packed), left: limit.bytes, is_over: false };
    let parsed = serde_json::from_reader(BufReader::with_capacity(64 << 10, &mut json));
    parsed.map_err(|source| match source.is_io() {
        _ if json.is_over => ArchiveError::TooLong { what: WHAT, limit: limit.bytes, reason: limit.reason },
        true => ArchiveError::Gzip(source.into()),
        false => ArchiveError::Malformed { what: WHAT, source },
    })
}

/// A reader that fails at the first byte beyond a limit.
struct Limited<R> {
    inner: R,
    left: u64,
    is_over: bool,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        match self.left.checked_sub(length as u64) {
            Some(left) => self.left = left,
            None => {
                self.is_over = true;
                return Err(io::ErrorKind::FileTooLarge.into());
            }
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::archive::manifest::tests::sample as manifest;

    /// Returns the JSON of a table of contents with that number of entries, followed by `blanks` spaces.
    fn packed(entries: usize, blanks: u64) -> (Vec<u8>, u64) {
        let entry = r#"{"id":1,"catalog_id":[0,0],"desc":"TABLE","tag":"","section":"none"}"#;
        let json = format!(
            r#"{{"format_version":1,"file":"","compression":"none","size":0,"raw_size":0,"members":[],"frame":[],"entries":[{}]}}"#,
            vec![entry; entries].join(",")
        );
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(json.as_bytes()).unwrap();
        io::copy(&mut io::repeat(b' ').take(blanks), &mut gzip).unwrap();
        (gzip.finish().unwrap(), json.len() as u64 + blanks)
    }

    #[test]
    fn no_more_is_unpacked_than_the_manifest_says() {
        let mut manifest = manifest();
        let (toc, size) = packed(3, 100);
        for (said, is_read) in [(size, true), (size - 1, false), (u64::MAX, true)] {
            manifest.toc.raw_size = Some(said);
            let read = TocFile::from_gzip(&toc, TocLimit::of(&manifest));
            assert_eq!(read.is_ok(), is_read, "{said}");
        }
        manifest.toc.raw_size = Some(size - 1);
        let error = TocFile::from_gzip(&toc, TocLimit::of(&manifest)).unwrap_err();
        let expected = format!(
            "table of contents is longer than {} bytes, its size according to the manifest",
            size - 1
        );
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_kind_of_a_newer_program_is_refused_by_name() {
        let read = |desc: &str, tag: &str| {
            let entries = [("TABLE", "t"), (desc, tag), ("WORSE", "x")].map(|(desc, tag)| {
                format!(r#"{{"id":1,"catalog_id":[0,0],"desc":"{desc}","tag":"{tag}","section":"none"}}"#)
            });
            let json = format!(
                r#"{{"format_version":1,"file":"","compression":"none","size":0,"raw_size":0,"members":[],"frame":[],"entries":[{}]}}"#,
                entries.join(",")
            );
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(json.as_bytes()).unwrap();
            TocFile::from_gzip(&gzip.finish().unwrap(), TocLimit::default()).unwrap_err().to_string()
        };
        assert_eq!(
            read("GRAPH", "g"),
            "table of contents has the entry GRAPH g, whose kind only a newer pg-backup knows\n\
             HINT: use a newer pg-backup"
        );
        // No name can add a hint.
        assert_eq!(read("A\\nHINT: a", "b\\nHINT: b").lines().count(), 2);
        // What is not a newer program's is damage.
        assert_eq!(read("TABLE", "t\"},{\"id\":\"x"), "table of contents is damaged");
    }

    #[test]
    fn what_an_older_manifest_allows_follows_from_its_entries() {
        let mut manifest = manifest();
        (manifest.toc.raw_size, manifest.entries) = (None, 3);
        TocFile::from_gzip(&packed(3, 1 << 20).0, TocLimit::of(&manifest)).unwrap();
        for (toc, _) in [packed(3, 20 << 20), packed(300_000, 0)] {
            let error = TocFile::from_gzip(&toc, TocLimit::of(&manifest)).unwrap_err();
            let expected = "table of contents is longer than 16826368 bytes, the maximum for the number of entries in the manifest";
            assert_eq!(error.to_string(), expected);
        }
        manifest.entries = 300_000;
        TocFile::from_gzip(&packed(300_000, 0).0, TocLimit::of(&manifest)).unwrap();
        manifest.entries = u64::MAX;
        assert_eq!(TocLimit::of(&manifest), TocLimit::default());
    }
}
