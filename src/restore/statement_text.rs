//! Reads the statements of a backup's entries without the rows. A restore reads all of them before it runs
//! any, so damage is found before the target is changed. A comparison digests them.
//!
//! Memory: the pieces that are being read ([`open_ranges`]), and the text of one span. The caller keeps or
//! drops that text.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use super::backup::Backup;
use super::progress::RestoreProgress;
use crate::archive::toc_file::{Member, RawSpan, TocFile};
use crate::pipeline::download::{DownloadError, TextStream, pieces};

/// Reads spans of the text, which must be in order, and passes the text of each on with its index.
pub(super) async fn read(
    backup: &Backup,
    spans: &[RawSpan],
    progress: &RestoreProgress,
    mut see: impl FnMut(usize, Bytes),
) -> Result<(), DownloadError> {
    let mut done = 0;
    while let Some(rest) = spans.get(done..).filter(|rest| !rest.is_empty()) {
        let (members, together) = run(&backup.toc, rest);
        let (spans, _) = rest.split_at(together);
        read_run(backup, members, spans, progress, |at, text| see(done + at, text)).await?;
        done += together;
    }
    Ok(())
}

/// Returns the members that contain the first spans, and the number of these spans. A run includes spans that
/// are in the same or the next member, so nothing is fetched unnecessarily.
fn run<'a>(toc: &'a TocFile, spans: &[RawSpan]) -> (&'a [Member], usize) {
    let first = toc.members.partition_point(|m| m.raw_offset + m.raw_length <= spans[0].offset);
    let mut end = first;
    let mut together = 0;
    for span in spans {
        let from = toc.members.partition_point(|m| m.raw_offset + m.raw_length <= span.offset);
        if together > 0 && from > end {
            break;
        }
        end = end.max(toc.members.partition_point(|m| m.raw_offset < span.end()));
        together += 1;
    }
    (toc.members.get(first..end).unwrap_or_default(), together)
}

async fn read_run(
    backup: &Backup,
    members: &[Member],
    spans: &[RawSpan],
    progress: &RestoreProgress,
    mut see: impl FnMut(usize, Bytes),
) -> Result<(), DownloadError> {
    let Some(range) = object_range(members) else { return Err(backup.misplaced()) };
    let mut stream = open(backup, range, progress);
    let mut at = members.first().map_or(0, |member| member.raw_offset);
    let mut text = BytesMut::new();
    for (number, span) in spans.iter().enumerate() {
        while at + (text.len() as u64) < span.end() {
            let Some(piece) = stream.next().await? else { return Err(backup.misplaced()) };
            text.extend_from_slice(&piece);
            // The text before the span is not needed.
            let skipped = span.offset.saturating_sub(at).min(text.len() as u64);
            text.advance(usize::try_from(skipped).unwrap_or(usize::MAX));
            at += skipped;
        }
        let from = usize::try_from(span.offset.saturating_sub(at)).unwrap_or(usize::MAX);
        let to = usize::try_from(span.end().saturating_sub(at)).unwrap_or(usize::MAX);
        let found = text.get(from..to).ok_or_else(|| backup.misplaced())?;
        see(number, Bytes::copy_from_slice(found));
    }
    // Read to the end, where the checksum of a large member is compared.
    while stream.next().await?.is_some() {}
    Ok(())
}

/// Returns the byte range of members in the object; `None` if there are none.
pub(super) fn object_range(members: &[Member]) -> Option<Range<u64>> {
    let (first, last) = (members.first()?, members.last()?);
    Some(first.object_offset..last.object_end())
}

/// The size of a request in bytes. A connection buffers [`AHEAD`] plus two requests and some text, see
/// [`pipeline::download`](crate::pipeline::download).
pub(super) const PIECE: u64 = 1 << 20;

/// The number of concurrent requests of each connection.
const AHEAD: usize = 3;

fn open(backup: &Backup, range: Range<u64>, progress: &RestoreProgress) -> TextStream {
    open_ranges(backup, pieces(range, PIECE), progress)
}

/// Reads byte ranges of the dump that together are whole members; see [`TextStream::of_members`].
pub(super) fn open_ranges(
    backup: &Backup,
    ranges: impl Iterator<Item = Range<u64>> + Send + 'static,
    progress: &RestoreProgress,
) -> TextStream {
    let progress = progress.clone();
    let counted = ranges.inspect(move |range| progress.add_bytes(range.end - range.start));
    TextStream::of_members(&backup.object, Arc::clone(&backup.toc), counted, AHEAD)
}
