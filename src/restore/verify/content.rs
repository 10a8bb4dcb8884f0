//! Verifies every byte of a dump: its checksums, its members, and its tables' rows.

use std::io::{self, Read};
use std::sync::Arc;

use super::super::backup::{Problem, Problems};
use super::places::DumpRegions;
use super::reading::Reading;
use super::seek_table;
use crate::archive::encryption::chunks::Opened;
use crate::archive::hex;
use crate::archive::key::Packing;
use crate::archive::manifest::Manifest;
use crate::archive::toc_check::entry_name;
use crate::archive::toc_file::{DataFormat, FileData, Member, TocFile};
use crate::pipeline::digest::{RowSummer, TextDigest};
use crate::pipeline::download::{DownloadOptions, FetchedRange, decoder};
use crate::pipeline::object::Object;
use crate::storage::{ObjectSums, StoreError};

/// The size in bytes of a block of uncompressed text.
const BLOCK: usize = 256 << 10;

/// Reads the stored dump once, from the first byte to the last; `size` is its length. If that differs from
/// the size in the manifest, only the first damaged member is reported, and nothing beyond the manifest's
/// size is read. Fails only if the store fails.
pub(super) async fn check(
    dump: &Object,
    opened: Option<Arc<Opened>>,
    size: u64,
    manifest: &Manifest,
    toc: TocFile,
) -> Result<Problems, StoreError> {
    let end = size.min(manifest.dump.size);
    let packed = FetchedRange::open(&dump.as_stored(), 0..end, DownloadOptions::default());
    let has_right_size = size == manifest.dump.size;
    let work = tokio::task::spawn_blocking(move || {
        let mut reading = Reading::new(packed, opened);
        let mut problems = Problems::default();
        check_members(&toc, has_right_size, &mut reading, &mut problems)?;
        Ok((problems, reading.finish()?))
    });
    let done: io::Result<_> = work.await.unwrap_or_else(|error| Err(io::Error::other(error)));
    let (mut problems, sums) = done.map_err(store_error)?;
    if has_right_size {
        compare_sums(manifest, &sums, &mut problems);
    }
    Ok(problems)
}

/// Converts a read error. Only the store can make a read fail.
fn store_error(error: io::Error) -> StoreError {
    error.downcast::<StoreError>().unwrap_or_else(|error| StoreError::Other {
        operation: "read",
        object: "the dump".to_owned(),
        source: Box::new(error),
    })
}

fn compare_sums(manifest: &Manifest, sums: &ObjectSums, problems: &mut Problems) {
    let crc = sums.crc64nvme.to_be_bytes();
    let pairs: [(&'static str, &[u8], &[u8]); 2] =
        [("SHA-256", &sums.sha256, &manifest.dump.sha256), ("CRC-64/NVME", &crc, &manifest.dump.crc64nvme)];
    for (sum, found, expected) in pairs {
        if found != expected {
            let [found, expected] = [found, expected].map(hex::encode);
            problems.push(Problem::Checksum { sum, found, expected });
        }
    }
}

fn check_members(
    toc: &TocFile,
    goes_on: bool,
    reading: &mut Reading,
    problems: &mut Problems,
) -> io::Result<()> {
    let (mut tables, mut places) = (Tables::of(toc), DumpRegions::of(toc));
    for (index, member) in toc.members.iter().enumerate() {
        let mut packed = reading.take(member.object_length);
        let checksum = toc.checksums.get(index).copied();
        let unpacked = check_member(toc, member, checksum, &mut packed, |offset, text| {
            tables.feed(offset, text);
            places.feed(offset, text, problems);
        });
        // The next member begins at the end of this one, whatever the result.
        reading.skip_to(member.object_end())?;
        let what = match unpacked? {
            Unpacked::Whole => continue,
            Unpacked::Other { found, expected } => {
                // The member has text of the right length, so its contents are still compared.
                let what = format!("has the CRC-32 {found:08x} instead of {expected:08x}");
                problems.push(member_problem(index, member, tables.held_by(member), what));
                continue;
            }
            Unpacked::Not(why) => format!("cannot be decompressed: {why}"),
            Unpacked::To(bytes) => format!("decompresses to {bytes} bytes instead of {}", member.raw_length),
        };
        tables.damage(member);
        problems.push(member_problem(index, member, tables.held_by(member), what));
        if !goes_on {
            return Ok(());
        }
    }
    tables.finish(problems);
    if goes_on && Packing::from(toc.compression) == Packing::Zstd && !toc.members.is_empty() {
        check_seek_table(toc, reading, problems)?;
    }
    Ok(())
}

fn member_problem(index: usize, member: &Member, holding: String, what: String) -> Problem {
    Problem::Member { index, from: member.object_offset, to: member.object_end(), holding, what }
}

/// Checks that everything after the last member is the seek table.
fn check_seek_table(toc: &TocFile, reading: &mut Reading, problems: &mut Problems) -> io::Result<()> {
    let (from, to) = (toc.members.last().map_or(0, Member::object_end), toc.size);
    let length = to.saturating_sub(from);
    match seek_table::is_sound(reading.take(length), length, from, toc.raw_size) {
        Ok(true) => {}
        Err(error) if is_of_store(&error) => return Err(error),
        Ok(false) | Err(_) => problems.push(Problem::SeekTable { from, to }),
    }
    Ok(())
}

/// Returns whether the store failed, as opposed to damaged bytes.
fn is_of_store(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|cause| cause.is::<StoreError>())
}

enum Unpacked {
    Whole,
    /// The decompressor failed with this error.
    Not(io::Error),
    /// The text has this many bytes, too few or too many.
    To(u64),
    /// The text has the right length, but different bytes.
    Other {
        found: u32,
        expected: u32,
    },
}

/// Decompresses a member and passes on its text with the offsets. Fails only if the store fails.
fn check_member(
    toc: &TocFile,
    member: &Member,
    checksum: Option<u32>,
    packed: &mut impl Read,
    mut see: impl FnMut(u64, &[u8]),
) -> io::Result<Unpacked> {
    let mut text = match decoder(Packing::from(toc.compression), packed) {
        Ok(text) => text,
        Err(error) => return Ok(Unpacked::Not(error)),
    };
    let mut block = vec![0; BLOCK];
    let mut length = 0;
    let mut digest = TextDigest::default();
    loop {
        match text.read(&mut block) {
            Ok(0) if length == member.raw_length => {
                let differing =
                    checksum.map(|sum| (digest.finish(), sum)).filter(|(found, sum)| found != sum);
                return Ok(match differing {
                    Some((found, expected)) => Unpacked::Other { found, expected },
                    None => Unpacked::Whole,
                });
            }
            Ok(0) => return Ok(Unpacked::To(length)),
            Ok(read) => {
                let (begin, block) = (member.raw_offset + length, &block[..read]);
                length += read as u64;
                // Surplus text has no offset in the dump.
                if length > member.raw_length {
                    return Ok(Unpacked::To(length));
                }
                see(begin, block);
                if checksum.is_some() {
                    digest.update(block);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if is_of_store(&error) => return Err(error),
            Err(error) => return Ok(Unpacked::Not(error)),
        }
    }
}

/// The tables' rows, in the order of the dump.
struct Tables {
    tables: Vec<TableContent>,
    /// The first table whose end has not been reached.
    current: usize,
}

struct TableContent {
    name: String,
    data: FileData,
    sums: RowSummer,
    is_damaged: bool,
}

impl TableContent {
    fn is_in(&self, member: &Member) -> bool {
        let (rows, text) = (self.data.raw, member.raw());
        rows.length > 0 && rows.offset < text.end() && rows.end() > text.offset
    }
}

impl Tables {
    fn of(toc: &TocFile) -> Self {
        let table = |entry: &crate::archive::toc_file::FileEntry| {
            let name = entry_name(entry);
            Some(TableContent { name, data: entry.data?, sums: RowSummer::default(), is_damaged: false })
        };
        let mut tables: Vec<TableContent> = toc.entries.iter().filter_map(table).collect();
        tables.sort_by_key(|table| table.data.raw.offset);
        Tables { tables, current: 0 }
    }

    /// Takes the text at this offset; offsets must increase.
    fn feed(&mut self, offset: u64, text: &[u8]) {
        let end = offset + text.len() as u64;
        while let Some(table) = self.tables.get_mut(self.current) {
            let raw = table.data.raw;
            let (from, to) = (raw.offset.max(offset), raw.end().min(end));
            // Both are within the text.
            if from < to
                && let Some(rows) = text.get((from - offset) as usize..(to - offset) as usize)
            {
                table.sums.feed(rows);
            }
            if raw.end() > end {
                return;
            }
            self.current += 1;
        }
    }

    /// Records that a member's text is missing.
    fn damage(&mut self, member: &Member) {
        self.tables.iter_mut().filter(|table| table.is_in(member)).for_each(|table| table.is_damaged = true);
    }

    /// Describes the content of a member.
    fn held_by(&self, member: &Member) -> String {
        let table = self.tables.iter().rfind(|table| table.is_in(member));
        table.map_or_else(|| "text".to_owned(), |table| format!("rows of {}", table.name))
    }

    /// Compares the rows of all tables that were read completely.
    fn finish(self, problems: &mut Problems) {
        for TableContent { name, data, sums, is_damaged } in self.tables {
            if is_damaged || data.format == DataFormat::Statements {
                continue;
            }
            let sums = sums.finish();
            if sums.rows != data.rows {
                problems.push(Problem::Rows { table: name, found: sums.rows, expected: data.rows });
            } else if data.digest.is_some_and(|digest| digest != sums.digest.into()) {
                problems.push(Problem::Digest { table: name });
            }
        }
    }
}
