//! The text of a backup's entries, read without its rows, each entry's kept only as a digest.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use xxhash_rust::xxh3::xxh3_128;

use super::super::source::Backup;
use super::Exceptions;
use crate::archive::key::Packing;
use crate::archive::toc_file::{FileEntry, RawSpan};
use crate::pipeline::download::{DownloadError, DownloadOptions, TextStream};
use crate::protocol::encoding::to_bytes;

/// A digest of each entry's text by dump id: of its statements, or for rows of their COPY statement.
pub(super) type Texts = HashMap<u32, u128>;

/// Bytes of the object that are rather read and thrown away than left out, which costs a request.
const GAP: u64 = 1 << 20;

/// The encoding that the beginning of a dump sets.
pub(super) fn encoding_of(head: &[u8]) -> Option<String> {
    let line = head.split(|byte| *byte == b'\n').find_map(|l| l.strip_prefix(b"SET client_encoding = '"))?;
    Some(String::from_utf8_lossy(line.strip_suffix(b"';")?).into_owned())
}

/// What is compared of an entry's text: its statements without the settings and the banner before them, and
/// without the statement that names the owner where that may differ.
pub(super) fn statements(text: &[u8], exceptions: Exceptions) -> &[u8] {
    const BANNER: &[u8] = b"--\n-- ";
    const BANNER_END: &[u8] = b"\n--\n\n";
    let body = memchr::memmem::find(text, BANNER).and_then(|banner| {
        let after = banner + BANNER.len();
        let end = memchr::memmem::find(text.get(after..)?, BANNER_END)?;
        text.get(after + end + BANNER_END.len()..)
    });
    let body = body.unwrap_or(text);
    if exceptions.no_owner { without_owner(body) } else { body }
}

/// Cuts `ALTER … OWNER TO …;` off, which is the last statement of an object that has an owner.
fn without_owner(body: &[u8]) -> &[u8] {
    let last = match memchr::memmem::rfind(body, b"\n\nALTER ") {
        Some(before) => before + 2,
        None if body.starts_with(b"ALTER ") => 0,
        None => return body,
    };
    let (before, statement) = body.split_at(last);
    if memchr::memmem::find(statement, b" OWNER TO ").is_some() { before } else { body }
}

/// The digest of a text.
pub(super) fn digest(text: &[u8]) -> u128 {
    xxh3_128(text)
}

/// The stretches of an entry's text that are compared: all of it, but none of an entry with rows, of which the
/// table of contents has the COPY statement.
pub(super) fn spans(entry: &FileEntry) -> &[RawSpan] {
    if entry.data.is_some() { &[] } else { &entry.text }
}

/// A stretch of the object that is read at once, and what is looked for in it.
struct Run<'a> {
    object: std::ops::Range<u64>,
    /// Where its text begins.
    raw: u64,
    spans: Vec<(RawSpan, &'a FileEntry)>,
}

/// Reads the text of all entries. The members that hold nothing but rows are not fetched.
pub(super) async fn of_backup(original: &Backup, exceptions: Exceptions) -> Result<Texts, DownloadError> {
    let mut texts = Texts::with_capacity(original.toc.entries.len());
    for entry in &original.toc.entries {
        if let Some(statement) = entry.copy_statement.as_ref().filter(|_| entry.data.is_some()) {
            texts.insert(entry.id, digest(&to_bytes(statement)));
        }
    }
    let mut unfinished: HashMap<u32, (Vec<u8>, usize)> = HashMap::new();
    for run in runs(original)? {
        let mut text = Skipping::open(original, &run);
        for (span, entry) in &run.spans {
            let piece = text.take(*span).await?;
            let (whole, seen) = unfinished.remove(&entry.id).unwrap_or_default();
            let whole = if whole.is_empty() { piece } else { [whole, piece].concat() };
            if seen + 1 < spans(entry).len() {
                unfinished.insert(entry.id, (whole, seen + 1));
            } else {
                texts.insert(entry.id, digest(statements(&whole, exceptions)));
            }
        }
    }
    Ok(texts)
}

fn runs(original: &Backup) -> Result<Vec<Run<'_>>, DownloadError> {
    let toc = &original.toc;
    let misplaced = || DownloadError::Misplaced { object: original.store.url(&original.key) };
    let of_entry = |entry| spans(entry).iter().map(move |span| (*span, entry));
    let mut wanted: Vec<(RawSpan, &FileEntry)> = toc.entries.iter().flat_map(of_entry).collect();
    wanted.sort_by_key(|(span, _)| span.offset);
    let mut runs: Vec<Run<'_>> = Vec::new();
    for (span, entry) in wanted {
        let members = toc.members_of(span);
        let (Some(first), Some(last)) = (members.first(), members.last()) else { return Err(misplaced()) };
        let end = last.object_offset + last.object_length;
        match runs.last_mut() {
            Some(run) if first.object_offset <= run.object.end.saturating_add(GAP) => {
                run.object.end = run.object.end.max(end);
                run.spans.push((span, entry));
            }
            _ => runs.push(Run {
                object: first.object_offset..end,
                raw: first.raw_offset,
                spans: vec![(span, entry)],
            }),
        }
    }
    Ok(runs)
}

/// Text in order, of which stretches are taken.
struct Skipping {
    stream: TextStream,
    piece: Bytes,
    /// Where `piece` begins in the dump's text.
    at: u64,
    object: String,
}

impl Skipping {
    fn open(original: &Backup, run: &Run<'_>) -> Self {
        let Backup { store, key, toc, .. } = original;
        let packing = Packing::from(toc.compression);
        let options = DownloadOptions::default();
        let stream = TextStream::open(Arc::clone(store), key.clone(), packing, run.object.clone(), options);
        Skipping { stream, piece: Bytes::new(), at: run.raw, object: store.url(key) }
    }

    /// The next stretch, which must not begin before the end of the last.
    async fn take(&mut self, span: RawSpan) -> Result<Vec<u8>, DownloadError> {
        let mut text = Vec::with_capacity(usize::try_from(span.length).unwrap_or_default().min(1 << 20));
        while self.at < span.end() {
            if self.piece.is_empty() {
                let next = self.stream.next().await?;
                self.piece = next.ok_or_else(|| DownloadError::Misplaced { object: self.object.clone() })?;
            }
            let is_wanted = self.at >= span.offset;
            let until = if is_wanted { span.end() } else { span.offset };
            let length = usize::try_from(until - self.at).unwrap_or(usize::MAX).min(self.piece.len());
            if is_wanted {
                text.extend_from_slice(&self.piece[..length]);
            }
            self.piece.advance(length);
            self.at += length as u64;
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] =
        b"SET default_tablespace = fast;\n\n--\n-- Name: t; Type: TABLE; Schema: public; Owner: joe; \
                          Tablespace: fast\n--\n\nCREATE TABLE public.t (\n    a integer\n);\n\n\n\
                          ALTER TABLE public.t OWNER TO joe;\n\n";

    #[test]
    fn settings_banner_and_owner_are_not_compared() {
        let whole = statements(TEXT, Exceptions::default());
        assert!(whole.starts_with(b"CREATE TABLE") && whole.ends_with(b"OWNER TO joe;\n\n"));
        let exceptions = Exceptions { no_owner: true, ..Exceptions::default() };
        assert_eq!(statements(TEXT, exceptions), b"CREATE TABLE public.t (\n    a integer\n);\n\n\n");
        // Another ALTER at the end is a part of the definition.
        let index = b"CREATE INDEX i ON t (a);\n\nALTER TABLE t CLUSTER ON i;\n\n";
        assert_eq!(statements(index, exceptions), index);
    }

    #[test]
    fn the_encoding_is_what_the_head_sets() {
        let head = b"SET lock_timeout = 0;\nSET client_encoding = 'LATIN1';\nSET x = 1;\n";
        assert_eq!(encoding_of(head).as_deref(), Some("LATIN1"));
        assert_eq!(encoding_of(b"SELECT 1;\n"), None);
    }
}
