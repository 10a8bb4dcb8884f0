//! Reads COPY data as a stream of bytes, and rows as text.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, mpsc};
use tokio_postgres::SimpleQueryStream;

use super::buffers::{Buffer, BufferPool};
use super::connect::Link;
use super::encoding::Characters;
use super::error::ProtocolError;
use super::wire::NextSink;
pub use super::wire::{CopyChunk, READ_BUFFER, Window};

/// Minimum size of a chunk, except at the end of a COPY.
pub(super) const CHUNK_SIZE: usize = 256 * 1024;

/// How rows are delivered.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Minimum size of a chunk in bytes. The last chunk of a COPY may be smaller and, if there is a window,
    /// the one before a row that is larger than a chunk.
    pub chunk_size: usize,
    /// Maximum number of queued chunks.
    pub most: usize,
    /// Limit on the bytes of the queued chunks, if any.
    pub window: Option<Window>,
    /// A permit that is required before a row larger than the window is read.
    pub gate: Option<Arc<Semaphore>>,
    /// The pool of the chunks' buffers.
    pub buffers: BufferPool,
}

/// The responses to a query that consists of COPYs.
type Responses = Pin<Box<SimpleQueryStream>>;

/// Serializes a session's COPYs. Contains the responses of an abandoned query.
#[derive(Clone, Default)]
pub(super) struct CopyGate(Arc<Mutex<Option<Responses>>>);

impl CopyGate {
    /// Waits until no COPY is in progress.
    pub(super) async fn take(&self) -> OwnedMutexGuard<Option<Responses>> {
        let mut turn = Arc::clone(&self.0).lock_owned().await;
        if let Some(given_up) = &mut *turn {
            while let Some(Ok(_)) = given_up.next().await {}
        }
        *turn = None;
        turn
    }
}

/// The data of a query's `COPY … TO STDOUT`, in chunks of whole rows.
///
/// If it is dropped before its end, the remaining rows are read and discarded. The next statement of the
/// session waits for that.
pub struct CopyOut {
    chunks: mpsc::Receiver<CopyChunk>,
    end: CopyEnd,
    has_ended: bool,
}

/// The end of a query of COPYs: the result of its statements.
pub struct CopyEnd {
    responses: Option<Responses>,
    link: Arc<Link>,
    next_sink: NextSink,
    turn: OwnedMutexGuard<Option<Responses>>,
}

impl CopyEnd {
    /// Waits until all statements have ended or one has failed. All chunks have been sent by then. Must not
    /// be called again after it has returned.
    pub async fn wait(&mut self) -> Result<(), ProtocolError> {
        let mut end = Ok(());
        while let Some(responses) = &mut self.responses {
            match responses.next().await {
                Some(Ok(_)) => {}
                // The next message says that the query is over. Only the next statement waits for it. The
                // error is returned at once, because that message may never arrive.
                Some(Err(error)) => {
                    if error.is_closed() {
                        self.responses = None;
                    }
                    end = Err(self.link.error(error));
                    break;
                }
                None => self.responses = None,
            }
        }
        // Removes the sink of a query that failed before its first COPY.
        self.next_sink.take();
        end
    }
}

impl Drop for CopyEnd {
    fn drop(&mut self) {
        *self.turn = self.responses.take();
    }
}

impl CopyOut {
    pub(super) fn new(
        chunks: mpsc::Receiver<CopyChunk>,
        responses: SimpleQueryStream,
        link: Arc<Link>,
        next_sink: NextSink,
        turn: OwnedMutexGuard<Option<Responses>>,
    ) -> Self {
        let responses = Some(Box::pin(responses));
        let end = CopyEnd { responses, link, next_sink, turn };
        CopyOut { chunks, end, has_ended: false }
    }

    /// Returns the next chunk, or `None` after all statements have ended without error.
    pub async fn next_chunk(&mut self) -> Result<Option<CopyChunk>, ProtocolError> {
        while !self.has_ended {
            tokio::select! {
                biased;
                Some(chunk) = self.chunks.recv() => return Ok(Some(chunk)),
                end = self.end.wait() => {
                    self.has_ended = true;
                    end?;
                }
            }
        }
        Ok(self.chunks.recv().await)
    }

    /// Returns the next rows: one or more whole rows.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        loop {
            match self.next_chunk().await? {
                Some(chunk) if chunk.data.is_empty() => {}
                chunk => return Ok(chunk.map(|chunk| Bytes::from(chunk.data))),
            }
        }
    }

    /// Splits the chunks from the end, so that different tasks can wait for them. After an error no further
    /// chunk of the query follows.
    pub fn split(self) -> (mpsc::Receiver<CopyChunk>, CopyEnd) {
        (self.chunks, self.end)
    }
}

/// A query's rows as text in the session's encoding, returned as they arrive.
///
/// The rows are transferred as a COPY in text format, which contains exactly the text of the types' output
/// functions, in any encoding.
pub struct RowReader {
    copy: CopyOut,
    characters: Characters,
    chunk: Buffer,
    at: usize,
    row: TextRow,
}

/// One row. The bytes of its fields are contiguous.
#[derive(Debug, Default)]
pub struct TextRow {
    bytes: Vec<u8>,
    fields: Vec<Option<std::ops::Range<usize>>>,
}

impl TextRow {
    /// Returns the number of fields. A query without columns returns rows with one empty field.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Returns whether there are no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Returns a field's text; `None` for NULL or for a field that does not exist.
    pub fn get(&self, field: usize) -> Option<&[u8]> {
        self.bytes.get(self.fields.get(field)?.clone()?)
    }

    /// Iterates over all fields; `None` is NULL.
    pub fn iter(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.fields.iter().map(|f| self.bytes.get(f.clone()?))
    }

    /// Decodes one line in COPY's text format, without its newline.
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

/// The server uses only these escapes and never sends an unescaped tab or newline within a field.
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

    /// Returns the next row, or `None` after the last one.
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
