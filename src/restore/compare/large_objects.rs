//! Compares the contents of large objects, which have no checksums in the manifest: the statements that write
//! them, object by object. The order of the objects and their grouping into entries do not matter: they differ
//! between majors, and a group depends on the owners, which a copy may not have.

use std::io;
use std::sync::{Arc, Mutex};

use xxhash_rust::xxh3::Xxh3;

use super::super::backup::Backup;
use super::difference::Difference;
use super::objects::Copy;
use super::{CompareError, CompareRequest, Compared};
use crate::archive::entry_kind::EntryKind;
use crate::archive::toc_file::FileEntry;
use crate::dump;
use crate::pipeline::Sink;
use crate::pipeline::digest::RowSums;
use crate::pipeline::download::{DownloadError, DownloadOptions, TextStream, pieces};
use crate::protocol::SessionSetup;

/// Compares the large objects, unless some are known not to have been restored.
pub(super) async fn compare(
    original: &Backup,
    copy: &Copy<'_>,
    request: &CompareRequest,
    setup: &SessionSetup,
    compared: &mut Compared,
) -> Result<(), CompareError> {
    let expected: Vec<&FileEntry> =
        original.toc.entries.iter().filter(|e| e.desc == EntryKind::Blobs).collect();
    if expected.iter().any(|entry| request.failed.contains(&entry.id)) {
        return Ok(());
    }
    let found = copy.entries.iter().filter(|found| found.entry.desc == EntryKind::Blobs);
    let rows = |entry: &FileEntry| entry.data.map_or(0, |data| data.rows);
    let number_expected: u64 = expected.iter().map(|entry| rows(entry)).sum();
    let number_found: u64 = found.map(|found| rows(&found.entry)).sum();
    let is_same = number_expected == number_found
        && (number_expected == 0 || of_backup(original, &expected).await? == of_copy(request, setup).await?);
    if !is_same {
        compared.differences.push(Difference::LargeObjects);
    }
    Ok(())
}

async fn of_backup(original: &Backup, entries: &[&FileEntry]) -> Result<RowSums, DownloadError> {
    let toc = &original.toc;
    let misplaced = || original.misplaced();
    let mut sums = ObjectSummer::default();
    for data in entries.iter().filter_map(|entry| entry.data) {
        let members = toc.members_of(data.raw);
        let (Some(first), Some(last)) = (members.first(), members.last()) else { continue };
        let DownloadOptions { piece, ahead } = DownloadOptions::default();
        let ranges = pieces(first.object_offset..last.object_end(), piece);
        let mut stream = TextStream::of_members(&original.object, Arc::clone(toc), ranges, ahead);
        // Rows begin at the start of a member.
        let mut missing = data.raw.length;
        while missing > 0 {
            let piece = stream.next().await?.ok_or_else(misplaced)?;
            let length = usize::try_from(missing).unwrap_or(usize::MAX).min(piece.len());
            sums.feed(&piece[..length]);
            missing -= length as u64;
        }
        // Read to the end of the last member, so that its checksum is compared.
        while stream.next().await?.is_some() {}
    }
    Ok(sums.finish())
}

async fn of_copy(request: &CompareRequest, setup: &SessionSetup) -> Result<RowSums, CompareError> {
    let sums = Arc::new(Mutex::new(ObjectSummer::default()));
    let sink = Sink::writer("nowhere", SummingWriter(Arc::clone(&sums)));
    let writer = super::writer(request, sink).map_err(dump::DumpError::from)?;
    dump::write_large_objects(&request.copy, setup, writer, &request.cancel).await?;
    let sums = std::mem::take(&mut *sums.lock().expect("no thread panics while it holds the sums"));
    Ok(sums.finish())
}

struct SummingWriter(Arc<Mutex<ObjectSummer>>);

impl io::Write for SummingWriter {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no thread panics while it holds the sums").feed(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The beginning of the line with which a large object's statements begin.
const FIRST_LINE: &[u8] = b"SELECT pg_catalog.lo_open('";

/// Counts large objects and adds the digests of their statements, from pieces that may end anywhere.
#[derive(Default)]
struct ObjectSummer {
    sums: RowSums,
    /// The hash of the current object.
    current: Option<Box<Xxh3>>,
    /// The beginning of the current line, while it is too short to tell.
    line: Vec<u8>,
    /// Whether the beginning of the current line has been seen.
    is_in_line: bool,
}

impl ObjectSummer {
    fn feed(&mut self, text: &[u8]) {
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            let ends = part.ends_with(b"\n");
            if self.is_in_line {
                self.update(part);
            } else {
                self.line.extend_from_slice(part);
                if self.line.len() < FIRST_LINE.len() && !ends {
                    continue;
                }
                let line = std::mem::take(&mut self.line);
                if line.starts_with(FIRST_LINE) {
                    self.end_object();
                    self.current = Some(Box::default());
                }
                self.update(&line);
            }
            self.is_in_line = !ends;
        }
    }

    fn update(&mut self, text: &[u8]) {
        self.current.get_or_insert_default().update(text);
    }

    fn end_object(&mut self) {
        if let Some(object) = self.current.take() {
            self.sums.add(RowSums { rows: 1, digest: object.digest128() });
        }
    }

    fn finish(mut self) -> RowSums {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.update(&line);
        }
        self.end_object();
        self.sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(text: &str, piece: usize) -> RowSums {
        let mut sums = ObjectSummer::default();
        text.as_bytes().chunks(piece).for_each(|piece| sums.feed(piece));
        sums.finish()
    }

    #[test]
    fn objects_are_told_apart_in_pieces_of_any_size_and_in_any_order() {
        let one = "SELECT pg_catalog.lo_open('7', 131072);\nSELECT pg_catalog.lowrite(0, '\\x00');\n\
                   SELECT pg_catalog.lo_close(0);\n\n";
        let two = one.replace('7', "8");
        let expected = sums(&format!("{one}{two}"), 4096);
        assert_eq!(expected.rows, 2);
        for piece in [1, 2, 7, 26, 27, 28, 64] {
            assert_eq!(sums(&format!("{two}{one}"), piece), expected, "{piece}");
        }
        let other = one.replace("x00", "x01");
        assert_ne!(sums(&format!("{other}{two}"), 4096), expected);
        assert_ne!(sums(&format!("{one}{one}"), 4096), expected);
        assert_eq!(sums("", 1), RowSums::default());
    }
}
