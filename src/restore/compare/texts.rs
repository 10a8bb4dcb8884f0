//! Reads the text of a backup's entries without the rows, and keeps only a digest of each entry's text.

use std::collections::HashMap;

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::super::backup::Backup;
use super::super::progress::RestoreProgress;
use super::Exceptions;
use crate::archive::toc_file::{FileEntry, RawSpan};
use crate::pipeline::download::DownloadError;
use crate::protocol::encoding::to_bytes;

/// A digest of each entry's text by dump id: of its statements; for rows, of their COPY statement.
pub(super) type Texts = HashMap<u32, u128>;

/// Returns the encoding that the beginning of a dump sets.
pub(super) fn encoding_of(head: &[u8]) -> Option<String> {
    let line = head.split(|byte| *byte == b'\n').find_map(|l| l.strip_prefix(b"SET client_encoding = '"))?;
    Some(String::from_utf8_lossy(line.strip_suffix(b"';")?).into_owned())
}

/// Returns the part of an entry's text that is compared: its statements, without the settings and the banner
/// before them, and without the statement that sets the owner where that may differ.
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

/// Removes `ALTER … OWNER TO …;`, the last statement of an object that has an owner. A group of large objects has
/// several; a partitioned table's `SET ACCESS METHOD`, which follows it, is removed with it.
fn without_owner(body: &[u8]) -> &[u8] {
    let last = match memchr::memmem::rfind(body, b"\n\nALTER ") {
        Some(before) => before + 2,
        None if body.starts_with(b"ALTER ") => 0,
        None => return body,
    };
    let (before, statement) = body.split_at(last);
    if statement.starts_with(b"ALTER TABLE ")
        && memchr::memmem::find(statement, b" SET ACCESS METHOD ").is_some()
    {
        return without_owner(before);
    }
    if memchr::memmem::find(statement, b" OWNER TO ").is_some() { before } else { body }
}

/// Returns the digest of a text.
pub(super) fn digest(text: &[u8]) -> u128 {
    xxh3_128(text)
}

/// Reads the text of all entries. Members that contain only rows are not fetched.
pub(super) async fn of_backup(original: &Backup, exceptions: Exceptions) -> Result<Texts, DownloadError> {
    let mut texts = Texts::with_capacity(original.toc.entries.len());
    for entry in &original.toc.entries {
        if let Some(statement) = entry.copy_statement.as_ref().filter(|_| entry.data.is_some()) {
            texts.insert(entry.id, digest(&to_bytes(statement)));
        }
    }
    let spans_of = |entry| FileEntry::statement_spans(entry).iter().map(move |span| (*span, entry));
    let mut wanted: Vec<(RawSpan, &FileEntry)> = original.toc.entries.iter().flat_map(spans_of).collect();
    wanted.sort_by_key(|(span, _)| span.offset);
    let spans: Vec<RawSpan> = wanted.iter().map(|(span, _)| *span).collect();
    let mut unfinished: HashMap<u32, (Vec<u8>, usize)> = HashMap::new();
    let keep = |at: usize, piece: Bytes| {
        let (_, entry) = wanted[at];
        let (mut whole, seen) = unfinished.remove(&entry.id).unwrap_or_default();
        whole.extend_from_slice(&piece);
        if seen + 1 < entry.statement_spans().len() {
            unfinished.insert(entry.id, (whole, seen + 1));
        } else {
            texts.insert(entry.id, digest(statements(&whole, exceptions)));
        }
    };
    super::super::statement_text::read(original, &spans, &RestoreProgress::default(), keep).await?;
    Ok(texts)
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
        // Another ALTER at the end belongs to the definition.
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
