//! COPY as a stream of bytes, and rows as text.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_postgres::CopyOutStream;

use super::buffers::Buffer;
use super::connect::Link;
use super::encoding::Characters;
use super::error::ProtocolError;
pub use super::wire::CopyChunk;

/// How much a chunk holds at least, unless the COPY ends before.
pub(super) const CHUNK_SIZE: usize = 256 * 1024;

/// The data of a `COPY … TO STDOUT`, in chunks of whole rows.
///
/// Dropping it before its end leaves the rest of the rows to be read and thrown away; a statement
/// that follows on the same session waits for that.
pub struct CopyOut {
    chunks: mpsc::Receiver<CopyChunk>,
    end: Pin<Box<CopyOutStream>>,
    link: Arc<Link>,
    ended: bool,
}

impl CopyOut {
    pub(super) fn new(chunks: mpsc::Receiver<CopyChunk>, end: CopyOutStream, link: Arc<Link>) -> Self {
        CopyOut { chunks, end: Box::pin(end), link, ended: false }
    }

    /// The next chunk, or `None` when the server has ended the COPY without error.
    pub async fn next_chunk(&mut self) -> Result<Option<CopyChunk>, ProtocolError> {
        if self.ended {
            return Ok(None);
        }
        if let Some(chunk) = self.chunks.recv().await {
            return Ok(Some(chunk));
        }
        // The rows are through; whether the COPY succeeded comes in a message of its own.
        match self.end.next().await {
            None => {
                self.ended = true;
                Ok(None)
            }
            Some(Err(error)) => Err(self.link.error(error)),
            Some(Ok(_)) => {
                Err(ProtocolError::Unexpected("rows of a COPY arrived outside of its stream".to_owned()))
            }
        }
    }

    /// The next rows as bytes: one or more of them, all whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        Ok(self.next_chunk().await?.map(|chunk| Bytes::from(chunk.data)))
    }
}

/// A query's rows as text, in the session's encoding, as they arrive.
///
/// They travel as a COPY in text format, which gives exactly the text that the types' output
/// functions give, in any encoding.
pub struct RowReader {
    copy: CopyOut,
    characters: Characters,
    chunk: Buffer,
    at: usize,
    row: TextRow,
}

/// One row; the fields' bytes lie side by side.
#[derive(Debug, Default)]
pub struct TextRow {
    bytes: Vec<u8>,
    fields: Vec<Option<std::ops::Range<usize>>>,
}

impl TextRow {
    /// How many fields it has. A query without columns gives rows of one empty field.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// A field's text; `None` is NULL, or a field that does not exist.
    pub fn get(&self, field: usize) -> Option<&[u8]> {
        self.bytes.get(self.fields.get(field)?.clone()?)
    }

    /// All fields; `None` is NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.fields.iter().map(|f| self.bytes.get(f.clone()?))
    }

    /// Reads one line of COPY's text format, without its newline.
    fn decode(&mut self, line: &[u8], characters: Characters) {
        self.bytes.clear();
        self.fields.clear();
        for field in line.split(|b| *b == b'\t') {
            if field == b"\\N" {
                self.fields.push(None);
                continue;
            }
            let start = self.bytes.len();
            decode_field(field, characters, &mut self.bytes);
            self.fields.push(Some(start..self.bytes.len()));
        }
    }
}

/// The server escapes these and nothing else; tabs and newlines never stand for themselves.
fn decode_field(field: &[u8], characters: Characters, out: &mut Vec<u8>) {
    let mut rest = field;
    while let Some(at) = characters.find_backslash(rest) {
        out.extend_from_slice(&rest[..at]);
        let Some(escaped) = rest.get(at + 1) else { return };
        out.push(match escaped {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            other => *other,
        });
        rest = &rest[at + 2..];
    }
    out.extend_from_slice(rest);
}

impl RowReader {
    pub(super) fn new(copy: CopyOut, encoding: &str) -> Self {
        RowReader {
            copy,
            characters: Characters::of(encoding),
            chunk: Buffer::default(),
            at: 0,
            row: TextRow::default(),
        }
    }

    /// The next row, or `None` after the last one.
    pub async fn next(&mut self) -> Result<Option<&TextRow>, ProtocolError> {
        while self.at >= self.chunk.len() {
            let Some(chunk) = self.copy.next_chunk().await? else { return Ok(None) };
            self.chunk = chunk.data;
            self.at = 0;
        }
        let rest = &self.chunk[self.at..];
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        self.row.decode(&rest[..end], self.characters);
        self.at += end + 1;
        Ok(Some(&self.row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_format_is_decoded() {
        let mut row = TextRow::default();
        row.decode(b"a\\tb\t\\N\t\t\\\\N\tx\\n\\r\\b\\f\\v\\\\\xe9", Characters::Safe);
        let fields: Vec<_> = row.iter().map(|f| f.map(<[u8]>::to_vec)).collect();
        assert_eq!(
            fields,
            [
                Some(b"a\tb".to_vec()),
                None,
                Some(Vec::new()),
                Some(b"\\N".to_vec()),
                Some(b"x\n\r\x08\x0c\x0b\\\xe9".to_vec())
            ]
        );
        assert_eq!((row.len(), row.get(3), row.get(9)), (5, Some(&b"\\N"[..]), None));
    }

    #[test]
    fn a_backslash_inside_of_a_character_is_none() {
        let read = |encoding: &str, line: &[u8]| {
            let mut row = TextRow::default();
            row.decode(line, Characters::of(encoding));
            row.get(0).map(<[u8]>::to_vec)
        };
        assert_eq!(read("SJIS", b"\x83\x5c\\\\\xb1\\n").as_deref(), Some(&b"\x83\x5c\\\xb1\n"[..]));
        assert_eq!(read("BIG5", b"\xb3\x5c\\\\").as_deref(), Some(&b"\xb3\x5c\\"[..]));
        assert_eq!(
            read("GB18030", b"\x81\x30\x81\x30\\t\x95\x5c").as_deref(),
            Some(&b"\x81\x30\x81\x30\t\x95\x5c"[..])
        );
        assert_eq!(read("UTF8", b"\\\\").as_deref(), Some(&b"\\"[..]));
    }
}
