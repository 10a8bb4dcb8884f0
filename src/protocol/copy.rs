//! COPY as a stream of bytes, and rows as text.

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

/// How much a chunk holds at least, unless the COPY ends before.
pub(super) const CHUNK_SIZE: usize = 256 * 1024;

/// How rows are handed over.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Bytes that a chunk holds at least, but for the last of a COPY and, with a window, the one before a
    /// row that is larger.
    pub chunk_size: usize,
    /// Chunks that may wait, at most.
    pub most: usize,
    /// Bytes of chunks that may wait, if that is limited too.
    pub window: Option<Window>,
    /// A row larger than the window is not read before there is a permit.
    pub turn: Option<Arc<Semaphore>>,
    /// Where the chunks' memory comes from.
    pub buffers: BufferPool,
}

/// The responses to a query of COPYs.
type Responses = Pin<Box<SimpleQueryStream>>;

/// Lets a session's COPYs wait for each other. Holds the responses of a query that was given up.
#[derive(Clone, Default)]
pub(super) struct CopyGate(Arc<Mutex<Option<Responses>>>);

impl CopyGate {
    /// Waits until no COPY is under way.
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
/// Dropping it before its end leaves the rest of the rows to be read and thrown away; a statement
/// that follows on the same session waits for that.
pub struct CopyOut {
    chunks: mpsc::Receiver<CopyChunk>,
    end: CopyEnd,
    has_ended: bool,
}

/// The end of a query of COPYs: whether its statements succeeded.
pub struct CopyEnd {
    responses: Option<Responses>,
    link: Arc<Link>,
    next_sink: NextSink,
    turn: OwnedMutexGuard<Option<Responses>>,
}

impl CopyEnd {
    /// Waits until all statements are through, or one has failed. All chunks are on their way then,
    /// and no more will come. Once it has returned it is not to be called again.
    pub async fn wait(&mut self) -> Result<(), ProtocolError> {
        let mut end = Ok(());
        while let Some(responses) = &mut self.responses {
            match responses.next().await {
                Some(Ok(_)) => {}
                // What follows is the message that the query is over. The next statement waits for it, but not
                // whoever is to hear of the failure: it may never come.
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
        // A query that failed before its first COPY left its sink behind.
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

    /// The next chunk, or `None` when all statements have ended without error.
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

    /// The next rows as bytes: one or more of them, all whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ProtocolError> {
        loop {
            match self.next_chunk().await? {
                Some(chunk) if chunk.data.is_empty() => {}
                chunk => return Ok(chunk.map(|chunk| Bytes::from(chunk.data))),
            }
        }
    }

    /// The chunks, and apart from them how it ends, for whoever waits for the one while another takes
    /// the others. No chunk is followed by another of the same query after a failure.
    pub fn split(self) -> (mpsc::Receiver<CopyChunk>, CopyEnd) {
        (self.chunks, self.end)
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
