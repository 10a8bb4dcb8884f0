//! Between the transport and tokio-postgres: PostgreSQL's messages, adjusted in four places.
//!
//! - The startup message: tokio-postgres always asks for UTF-8; pg_dump takes the database's own
//!   encoding unless told otherwise.
//! - Text of any encoding: SQL that holds escaped bytes ([`super::encoding`]) is sent as those
//!   bytes, and text from the server that tokio-postgres would refuse as not UTF-8 (error messages,
//!   settings, column names) is made readable.
//! - COPY data: tokio-postgres hands over one message for each row. The rows of all COPYs of one
//!   query are lifted out of their messages into large chunks here, for the [`CopySink`] that waits,
//!   and tokio-postgres sees statements that completed without rows. A chunk holds whole rows of
//!   one COPY.
//! - The end of a COPY into a table that the server has refused to begin: tokio-postgres takes it back with one
//!   `Sync` more than it waits for, after which it would take each answer for that to another request.
//!
//! Memory: one read buffer of [`READ_BUFFER`] bytes, one chunk being filled, and what the sink lets
//! wait; a row larger than a chunk makes its chunk as large as itself. The chunks' memory is used
//! again, see [`super::buffers`].

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::{PollSemaphore, PollSender};

use super::buffers::{Buffer, Buffers};
use super::encoding::unescape;

/// How much is read at once.
pub const READ_BUFFER: usize = 128 * 1024;

/// Outgoing bytes beyond which nothing more is taken until some have left.
const WRITE_BUFFER: usize = 256 * 1024;

/// Whole rows of a COPY.
#[derive(Debug, Default)]
pub struct CopyChunk {
    /// The rows, each with its newline in text format. The last chunk of a COPY may be empty.
    pub data: Buffer,
    /// How many there are.
    pub rows: u64,
    /// Whether the COPY ends with it.
    pub is_last: bool,
    /// Its share of the sink's window, which becomes free when the chunk is dropped.
    pub share: Option<OwnedSemaphorePermit>,
}

/// Where the rows of a query's COPYs go.
pub(super) struct CopySink {
    pub(super) sender: mpsc::Sender<CopyChunk>,
    /// A chunk is sent when it holds that many bytes.
    pub(super) chunk_size: usize,
    /// Where the chunks' memory comes from.
    pub(super) buffers: Buffers,
    /// Bytes of chunks that may be on their way, if not only their number is limited.
    pub(super) window: Option<Window>,
    /// A row larger than the window is read when there is a permit: when it is the query's turn.
    pub(super) turn: Option<Arc<Semaphore>>,
}

/// A limit on the bytes of chunks that have not been dropped. A chunk that is larger waits until
/// all others are gone.
#[derive(Clone, Debug)]
pub struct Window {
    free: Arc<Semaphore>,
    size: u32,
}

impl Window {
    /// A window of that many bytes; 1 GiB at most.
    pub fn new(size: usize) -> Self {
        let size = u32::try_from(size.clamp(1, 1 << 30)).unwrap_or(1 << 30);
        // A semaphore counts what any u32 can.
        Window { free: Arc::new(Semaphore::new(size as usize)), size }
    }
}

/// The sink of the COPYs that were asked for and have not begun; shared with the session, which asks
/// for the next ones only when the last ones are through.
#[derive(Clone, Default)]
pub(super) struct NextSink(Arc<Mutex<Option<CopySink>>>);

impl NextSink {
    pub(super) fn set(&self, sink: CopySink) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(sink);
    }

    pub(super) fn take(&self) -> Option<CopySink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What a connection has heard from its server beside answers.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// What the server said before it hung up, since the driver may hand that to a request whose answer nobody
    /// waits for.
    pub(super) last_words: OnceLock<LastWords>,
    errors: AtomicU64,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastWords {
    pub(super) text: String,
    /// The SQLSTATE, where it was the server that ended it.
    pub(super) code: Option<String>,
}

impl Heard {
    /// How many errors there were. Who sends rows sees by it that the server no longer takes them.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }
}

/// What the startup message shall say.
#[derive(Clone, Debug, Default)]
pub(super) struct Startup {
    /// `None`: the database's own encoding.
    pub(super) client_encoding: Option<String>,
    pub(super) settings: Vec<(&'static str, String)>,
}

/// A stream of messages to one server.
pub(super) struct Wire<S> {
    inner: S,
    outgoing: Outgoing,
    incoming: Incoming,
    next_sink: NextSink,
    heard: Arc<Heard>,
    execution: Cell<Execution>,
}

/// What the server has made of the statement that was executed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Execution {
    /// It has not said.
    #[default]
    Unanswered,
    /// A COPY, whose rows it takes.
    TakesRows,
    /// It failed before anything else.
    Failed,
}

struct Outgoing {
    /// Until the first message has passed.
    startup: Option<Startup>,
    /// What does not make a whole message yet.
    partial: BytesMut,
    /// Messages to be sent.
    ready: BytesMut,
    /// Bytes of a message with rows that are still to come and pass as they are.
    passing: usize,
    /// Whether the next message is a `Sync` that is one too many.
    drops_sync: bool,
}

struct Incoming {
    /// What was read and not looked at.
    input: BytesMut,
    /// A rewritten message on its way to tokio-postgres.
    rewritten: BytesMut,
    /// Bytes of the present message that pass unchanged.
    passing: usize,
    copy: Option<Copying>,
}

/// A query's COPYs, whose rows are lifted out.
struct Copying {
    sender: PollSender<CopyChunk>,
    window: Option<(PollSemaphore, u32)>,
    turn: Option<PollSemaphore>,
    chunk_size: usize,
    buffers: Buffers,
    chunk: CopyChunk,
    /// Bytes of the present row that have not arrived.
    missing: usize,
    /// Whether a COPY has begun and not ended.
    is_inside: bool,
    /// Nobody takes the rows any more; they are read and dropped.
    abandoned: bool,
}

impl<S> Wire<S> {
    pub(super) fn new(inner: S, startup: Startup, next_sink: NextSink, heard: Arc<Heard>) -> Self {
        Wire {
            inner,
            outgoing: Outgoing {
                startup: Some(startup),
                partial: BytesMut::new(),
                ready: BytesMut::new(),
                passing: 0,
                drops_sync: false,
            },
            incoming: Incoming { input: BytesMut::new(), rewritten: BytesMut::new(), passing: 0, copy: None },
            next_sink,
            heard,
            execution: Cell::default(),
        }
    }
}

impl Outgoing {
    fn take(&mut self, mut bytes: &[u8], execution: &Cell<Execution>) {
        // Rows are most of what is ever sent, and nothing in them is changed.
        while !bytes.is_empty() && self.partial.is_empty() && self.startup.is_none() {
            if self.passing == 0 && bytes.first() == Some(&b'd') {
                self.passing = length_at(bytes, 1).map_or(0, |length| length + 1);
                self.drops_sync = false;
            }
            if self.passing == 0 {
                break;
            }
            let (now, rest) = bytes.split_at(self.passing.min(bytes.len()));
            self.ready.extend_from_slice(now);
            self.passing -= now.len();
            bytes = rest;
        }
        if bytes.is_empty() {
            return;
        }
        self.partial.extend_from_slice(bytes);
        if self.startup.is_some() {
            let Some(length) = length_at(&self.partial, 0).filter(|l| *l <= self.partial.len()) else {
                return;
            };
            let message = self.partial.split_to(length);
            if let Some(startup) = self.startup.take() {
                put_startup(&message, &startup, &mut self.ready);
            }
        }
        let mut taken = 0;
        while let Some(rest) = self.partial.get(taken..)
            && let Some(length) = length_at(rest, 1)
            && let Some(message) = rest.get(..=length)
        {
            let drops_sync = std::mem::take(&mut self.drops_sync);
            match message.first() {
                Some(b'f') if execution.get() == Execution::Failed => self.drops_sync = true,
                Some(b'S') if drops_sync => {}
                Some(b'B') => {
                    execution.set(Execution::Unanswered);
                    self.ready.extend_from_slice(message);
                }
                Some(b'Q' | b'P') if message.contains(&0xF4) => put_unescaped(message, &mut self.ready),
                _ => self.ready.extend_from_slice(message),
            }
            taken += length + 1;
        }
        self.partial.advance(taken);
    }
}

/// The length that stands at this place, which counts itself.
fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at + 4)?;
    let length = u32::from_be_bytes(field.try_into().ok()?);
    usize::try_from(length).ok().map(|l| l.max(4))
}

fn put_length(length: usize, out: &mut BytesMut) {
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// Length, version, then name and value pairs, each with a NUL behind it, and one more NUL.
fn put_startup(message: &[u8], startup: &Startup, out: &mut BytesMut) {
    let (head, body) = message.split_at(message.len().min(8));
    let mut pairs = Vec::with_capacity(message.len() + 64);
    let mut parts = body.split(|b| *b == 0);
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        if name.is_empty() {
            break;
        }
        if name != b"client_encoding" {
            put_pair(name, value, &mut pairs);
        }
    }
    if let Some(encoding) = &startup.client_encoding {
        put_pair(b"client_encoding", encoding.as_bytes(), &mut pairs);
    }
    for (name, value) in &startup.settings {
        put_pair(name.as_bytes(), value.as_bytes(), &mut pairs);
    }
    pairs.push(0);
    put_length(8 + pairs.len(), out);
    out.extend_from_slice(head.get(4..).unwrap_or_default());
    out.extend_from_slice(&pairs);
}

fn put_pair(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.push(0);
    out.extend_from_slice(value);
    out.push(0);
}

/// A Query (`Q`, one text) or Parse (`P`, two texts, then numbers) with its bytes put back.
fn put_unescaped(message: &[u8], out: &mut BytesMut) {
    let (head, body) = message.split_at(5);
    let texts = if head.first() == Some(&b'P') { 2 } else { 1 };
    let ends = body.iter().enumerate().filter(|(_, b)| **b == 0).map(|(at, _)| at + 1);
    let end = ends.take(texts).last().unwrap_or(body.len());
    let (text, numbers) = body.split_at(end);
    let text = unescape(text);
    out.extend_from_slice(&head[..1]);
    put_length(4 + text.len() + numbers.len(), out);
    out.extend_from_slice(&text);
    out.extend_from_slice(numbers);
}

/// Whether tokio-postgres reads text in messages of this kind.
fn holds_text(tag: u8) -> bool {
    matches!(tag, b'E' | b'N' | b'S' | b'T')
}

/// The same message with its texts in UTF-8; `None` when it is so already.
fn readable(message: &[u8]) -> Option<Vec<u8>> {
    let (tag, body) = (*message.first()?, message.get(5..)?);
    let mut out = Vec::with_capacity(message.len() + 16);
    let mut changed = false;
    let mut rest = body;
    let mut put_text = |rest: &mut &[u8], out: &mut Vec<u8>| {
        let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        let (text, after) = rest.split_at(end);
        let text = String::from_utf8_lossy(text);
        changed |= matches!(text, std::borrow::Cow::Owned(_));
        out.extend_from_slice(text.as_bytes());
        if let Some(after) = after.get(1..) {
            out.push(0);
            *rest = after;
        } else {
            *rest = &[];
        }
    };
    match tag {
        // Fields of a type byte and a text, and a NUL.
        b'E' | b'N' => {
            while let Some((kind, after)) = rest.split_first() {
                out.push(*kind);
                rest = after;
                if *kind == 0 {
                    break;
                }
                put_text(&mut rest, &mut out);
            }
        }
        // A count, then for each column its name and 18 bytes.
        b'T' => {
            let (count, after) = rest.split_at_checked(2)?;
            out.extend_from_slice(count);
            rest = after;
            while !rest.is_empty() {
                put_text(&mut rest, &mut out);
                let (numbers, after) = rest.split_at(rest.len().min(18));
                out.extend_from_slice(numbers);
                rest = after;
            }
        }
        // A name and a value.
        _ => {
            while !rest.is_empty() {
                put_text(&mut rest, &mut out);
            }
        }
    }
    changed.then_some(out)
}

/// Keeps an error after which the server hangs up.
fn note_last_words(message: &[u8], last_words: &OnceLock<LastWords>) {
    let mut fields = message.get(5..).unwrap_or_default().split(|b| *b == 0);
    let (mut severity, mut code, mut text) = (String::new(), String::new(), String::new());
    for field in &mut fields {
        let Some((kind, value)) = field.split_first() else { break };
        let value = String::from_utf8_lossy(value);
        match kind {
            b'V' => severity = value.into_owned(),
            b'C' => code = value.into_owned(),
            b'M' => text = value.replace('\n', " "),
            _ => {}
        }
    }
    if matches!(severity.as_str(), "FATAL" | "PANIC") {
        let text = format!("{severity}: {text} (SQLSTATE {code})");
        let _ = last_words.set(LastWords { text, code: Some(code) });
    }
}

/// What the session shares with its connection.
struct Shared<'a> {
    next_sink: &'a NextSink,
    heard: &'a Heard,
    execution: &'a Cell<Execution>,
}

/// What became of a step through the input.
enum Step {
    /// Something was done; go on.
    Done,
    /// More input is needed.
    Starved,
}

impl Incoming {
    /// Hands on what there is until the target is full or the input is used up.
    fn step(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>, shared: &Shared<'_>) -> Poll<Step> {
        if !self.rewritten.is_empty() {
            let length = self.rewritten.len().min(out.remaining());
            out.put_slice(&self.rewritten.split_to(length));
            return Poll::Ready(Step::Done);
        }
        if self.passing > 0 {
            let length = self.passing.min(self.input.len()).min(out.remaining());
            if length == 0 {
                return Poll::Ready(Step::Starved);
            }
            out.put_slice(&self.input[..length]);
            self.input.advance(length);
            self.passing -= length;
            return Poll::Ready(Step::Done);
        }
        if let Some(copy) = &mut self.copy {
            ready!(copy.lift(cx, &mut self.input));
            if copy.missing > 0 {
                return Poll::Ready(Step::Starved);
            }
        }
        let (Some(tag), Some(length)) = (self.input.first().copied(), length_at(&self.input, 1)) else {
            return Poll::Ready(Step::Starved);
        };
        self.begin(cx, tag, length, shared)
    }

    /// Decides about the message at the front of the input.
    fn begin(&mut self, cx: &mut Context<'_>, tag: u8, length: usize, shared: &Shared<'_>) -> Poll<Step> {
        match (tag, shared.execution.get()) {
            (b'G', _) => shared.execution.set(Execution::TakesRows),
            (b'E', Execution::Unanswered) => shared.execution.set(Execution::Failed),
            _ => {}
        }
        match (tag, &mut self.copy) {
            (b'H' | b'c', _) => return self.begin_or_end_copy(cx, tag, length, shared),
            // Failed: the rows that came leave before tokio-postgres hears of it. The statements that
            // were to follow will not run.
            (b'E', Some(copy)) if copy.is_inside => {
                ready!(copy.finish(cx, false));
                copy.is_inside = false;
            }
            // The query is over.
            (b'Z', _) => self.copy = None,
            _ => {}
        }
        if holds_text(tag) {
            if self.input.len() < length + 1 {
                self.input.reserve(length + 1 - self.input.len());
                return Poll::Ready(Step::Starved);
            }
            if tag == b'E' {
                shared.heard.errors.fetch_add(1, Ordering::Relaxed);
                note_last_words(&self.input[..=length], &shared.heard.last_words);
            }
            if let Some(body) = readable(&self.input[..=length]) {
                self.input.advance(length + 1);
                self.rewritten.put_u8(tag);
                put_length(4 + body.len(), &mut self.rewritten);
                self.rewritten.extend_from_slice(&body);
                return Poll::Ready(Step::Done);
            }
        }
        self.passing = length + 1;
        Poll::Ready(Step::Done)
    }
}

impl Incoming {
    /// A COPY's first and last message, neither of which tokio-postgres gets to see.
    fn begin_or_end_copy(
        &mut self,
        cx: &mut Context<'_>,
        tag: u8,
        length: usize,
        shared: &Shared<'_>,
    ) -> Poll<Step> {
        if self.copy.is_none() {
            self.copy = shared.next_sink.take().map(Copying::new);
        }
        let Some(copy) = &mut self.copy else {
            // Not asked for by us; tokio-postgres refuses it.
            self.passing = length + 1;
            return Poll::Ready(Step::Done);
        };
        if self.input.len() < length + 1 {
            self.input.reserve(length + 1 - self.input.len());
            return Poll::Ready(Step::Starved);
        }
        if tag == b'c' {
            ready!(copy.finish(cx, true));
        }
        copy.is_inside = tag == b'H';
        self.input.advance(length + 1);
        Poll::Ready(Step::Done)
    }
}

impl Copying {
    fn new(sink: CopySink) -> Self {
        Copying {
            sender: PollSender::new(sink.sender),
            window: sink.window.map(|window| (PollSemaphore::new(window.free), window.size)),
            turn: sink.turn.map(PollSemaphore::new),
            chunk_size: sink.chunk_size,
            chunk: CopyChunk::default(),
            buffers: sink.buffers,
            missing: 0,
            is_inside: false,
            abandoned: false,
        }
    }

    /// Takes the rows at the front of the input.
    fn lift(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<()> {
        loop {
            if self.missing == 0 {
                if self.chunk.data.len() >= self.chunk_size {
                    ready!(self.send(cx, false));
                }
                match (input.first(), length_at(input, 1)) {
                    (Some(b'd'), Some(length)) => {
                        if length - 4 > self.chunk_size && self.window.is_some() && !self.abandoned {
                            ready!(self.poll_large(cx, length - 4));
                        }
                        input.advance(5);
                        self.missing = length - 4;
                        self.chunk.rows += 1;
                        self.make_room();
                    }
                    _ => return Poll::Ready(()),
                }
            }
            let length = self.missing.min(input.len());
            if !self.abandoned {
                self.chunk.data.extend_from_slice(&input[..length]);
            }
            input.advance(length);
            self.missing -= length;
            if self.missing > 0 {
                return Poll::Ready(());
            }
        }
    }

    /// Room for the row that begins. Small rows grow the chunk to its full size at once; a large
    /// one gets exactly what it needs, since doubling would cost twice its size.
    fn make_room(&mut self) {
        if self.abandoned {
            return;
        }
        if self.chunk.data.capacity() == 0 {
            self.chunk.data = self.buffers.take();
        }
        let free = self.chunk.data.capacity() - self.chunk.data.len();
        if free < self.missing {
            let full = (self.chunk_size + self.chunk_size / 8).saturating_sub(self.chunk.data.len());
            self.chunk.data.reserve_exact(self.missing.max(full));
        }
    }

    /// Sends the chunk when there is room for it on the way; what comes next begins a new one.
    fn send(&mut self, cx: &mut Context<'_>, is_last: bool) -> Poll<()> {
        if self.abandoned || !ready!(self.poll_room(cx)) {
            self.abandoned = true;
            self.chunk = CopyChunk::default();
            return Poll::Ready(());
        }
        let CopyChunk { data, rows, share, .. } = std::mem::take(&mut self.chunk);
        let data = match data.len() < data.capacity() / 2 {
            // A large buffer is not to wait with a small table's rows in it.
            true => {
                let small = Buffer::from(data.to_vec());
                self.chunk.data = data;
                self.chunk.data.clear();
                small
            }
            false => data,
        };
        self.abandoned = self.sender.send_item(CopyChunk { data, rows, is_last, share }).is_err();
        Poll::Ready(())
    }

    /// Prepares for a row that makes a chunk of its own: there must be room for it before it takes its
    /// memory, and one that is larger than the window must have come to its turn, so that of such rows
    /// there is but one.
    fn poll_large(&mut self, cx: &mut Context<'_>, length: usize) -> Poll<()> {
        if !self.chunk.data.is_empty() {
            ready!(self.send(cx, false));
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some((_, size)) = &self.window
            && length > *size
            && let Some(turn) = &mut self.turn
        {
            // A permit is back when it is dropped; without any semaphore nobody would take the rows.
            drop(ready!(turn.poll_acquire(cx)));
        }
        self.poll_share(cx, length)
    }

    /// Waits for a chunk's share of the window.
    fn poll_share(&mut self, cx: &mut Context<'_>, length: u32) -> Poll<()> {
        if let Some((free, size)) = &mut self.window
            && self.chunk.share.is_none()
        {
            self.chunk.share = ready!(free.poll_acquire_many(cx, length.min(*size)));
        }
        Poll::Ready(())
    }

    /// Waits for room in the window and in the channel; false if nobody takes chunks any more.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let length = u32::try_from(self.chunk.data.len()).unwrap_or(u32::MAX);
        ready!(self.poll_share(cx, length));
        self.sender.poll_reserve(cx).map(|room| room.is_ok())
    }

    /// Sends what is left when a COPY ends, by itself or by an error.
    fn finish(&mut self, cx: &mut Context<'_>, is_last: bool) -> Poll<()> {
        if is_last || self.chunk.rows > 0 { self.send(cx, is_last) } else { Poll::Ready(()) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        loop {
            let shared =
                Shared { next_sink: &this.next_sink, heard: &this.heard, execution: &this.execution };
            let wants_more =
                if out.remaining() == 0 { Poll::Pending } else { this.incoming.step(cx, out, &shared) };
            let handed_on = out.filled().len() > before;
            match wants_more {
                Poll::Ready(Step::Done) => {}
                _ if handed_on => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Step::Starved) => {
                    let input = &mut this.incoming.input;
                    if input.capacity() - input.len() < READ_BUFFER / 4 {
                        input.reserve(READ_BUFFER);
                    }
                    if ready!(poll_read_buf(Pin::new(&mut this.inner), cx, input))? == 0 {
                        this.incoming.copy = None;
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outgoing.ready.is_empty() {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, &self.outgoing.ready))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outgoing.ready.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing.ready.len() > WRITE_BUFFER {
            ready!(this.poll_drain(cx))?;
        }
        this.outgoing.take(bytes, &this.execution);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.inner).poll_shutdown(cx)
    }
}

impl<S: TlsStream + Unpin> TlsStream for Wire<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.inner.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        bytes.extend_from_slice(body);
        bytes
    }

    fn wire(startup: Startup) -> (Wire<DuplexStream>, DuplexStream, NextSink, Arc<Heard>) {
        let (near, far) = duplex(1 << 20);
        let (next_sink, words) = (NextSink::default(), Arc::new(Heard::default()));
        (Wire::new(near, startup, next_sink.clone(), Arc::clone(&words)), far, next_sink, words)
    }

    fn started() -> (Wire<DuplexStream>, DuplexStream, NextSink, Arc<Heard>) {
        let (mut wire, far, next_sink, words) = wire(Startup::default());
        wire.outgoing.startup = None;
        (wire, far, next_sink, words)
    }

    #[tokio::test]
    async fn the_startup_message_asks_for_the_wanted_encoding() {
        let settings = vec![("timezone", "UTC".to_owned())];
        for (encoding, expected) in [
            (None, &b"user\0me\0timezone\0UTC\0\0"[..]),
            (Some("LATIN1".to_owned()), &b"user\0me\0client_encoding\0LATIN1\0timezone\0UTC\0\0"[..]),
        ] {
            let startup = Startup { client_encoding: encoding, settings: settings.clone() };
            let (mut wire, mut far, ..) = wire(startup);
            let body = [&[0, 3, 0, 0], &b"client_encoding\0UTF8\0user\0me\0\0"[..]].concat();
            let whole = [&u32::try_from(body.len() + 4).unwrap().to_be_bytes(), &body[..]].concat();
            // In two parts, as a full socket would take it.
            wire.write_all(&whole[..7]).await.unwrap();
            wire.write_all(&whole[7..]).await.unwrap();
            wire.flush().await.unwrap();
            let mut got = vec![0; 8 + expected.len()];
            far.read_exact(&mut got).await.unwrap();
            assert_eq!(&got[8..], expected);
            assert_eq!(got[..8], [0, 0, 0, u8::try_from(got.len()).unwrap(), 0, 3, 0, 0]);
        }
    }

    #[tokio::test]
    async fn rows_leave_as_they_are_in_whatever_pieces_they_come() {
        let text = super::super::encoding::from_bytes(b"caf\xE9");
        let query = message(b'Q', &[text.as_bytes(), b"\0"].concat());
        // What looks like a message, and like an escaped byte, is a row's.
        let rows = [query.clone(), text.into_bytes(), vec![b'd'; 300]].concat();
        let sent = [message(b'd', &rows), message(b'd', b""), message(b'c', b""), query].concat();
        let expected = [&sent[..rows.len() + 15], &message(b'Q', b"caf\xE9\0")].concat();
        for piece in [1, 2, 4, 5, 6, 7, 300, sent.len()] {
            let (mut wire, mut far, ..) = started();
            for bytes in sent.chunks(piece) {
                wire.write_all(bytes).await.unwrap();
            }
            wire.flush().await.unwrap();
            let mut got = vec![0; expected.len()];
            far.read_exact(&mut got).await.unwrap();
            assert_eq!(got, expected, "in pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn escaped_bytes_leave_as_bytes() {
        let (mut wire, mut far, ..) = started();
        let text = super::super::encoding::from_bytes(b"caf\xE9");
        let numbers = [0, 1, 0xF4, 0x8F, 0xBC, 0x80];
        let parse = message(b'P', &[b"\0", text.as_bytes(), b"\0", &numbers[..]].concat());
        let query = message(b'Q', &[text.as_bytes(), b"\0"].concat());
        let bind = message(b'B', text.as_bytes());
        wire.write_all(&[parse, query, bind.clone()].concat()).await.unwrap();
        wire.flush().await.unwrap();
        let expected =
            [message(b'P', &[&b"\0caf\xE9\0"[..], &numbers[..]].concat()), message(b'Q', b"caf\xE9\0"), bind]
                .concat();
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
    }

    #[tokio::test]
    async fn a_copy_that_has_not_begun_is_not_taken_back() {
        let (bind, fail, sync) = (message(b'B', b"\0\0"), message(b'f', b"\0"), message(b'S', b""));
        let (error, begun) = (message(b'E', b"SERROR\0\0"), message(b'G', b"\0\0\0"));
        for (answers, is_sent) in [(vec![error.clone()], false), (vec![begun, error], true), (vec![], true)] {
            let (mut wire, mut far, ..) = started();
            wire.write_all(&[&bind[..], &sync].concat()).await.unwrap();
            let answers = answers.concat();
            far.write_all(&answers).await.unwrap();
            wire.read_exact(&mut vec![0; answers.len()]).await.unwrap();
            wire.write_all(&[&fail[..], &sync, &bind, &sync].concat()).await.unwrap();
            wire.flush().await.unwrap();
            let end = if is_sent { [&fail[..], &sync].concat() } else { Vec::new() };
            let expected = [&bind[..], &sync, &end, &bind, &sync].concat();
            let mut got = vec![0; expected.len()];
            far.read_exact(&mut got).await.unwrap();
            assert_eq!(got, expected, "after {answers:?}");
        }
    }

    #[tokio::test]
    async fn text_that_is_not_utf8_is_made_readable() {
        let (mut wire, mut far, _, words) = started();
        let column = [b"caf\xE9\0", &[0xFF; 18][..]].concat();
        far.write_all(&message(b'T', &[&[0, 1], &column[..]].concat())).await.unwrap();
        far.write_all(&message(b'E', b"VFATAL\0C57P01\0Mcaf\xE9\0\0")).await.unwrap();
        far.write_all(&message(b'D', b"\xE9")).await.unwrap();
        let readable = [&[0, 1], "caf\u{FFFD}\0".as_bytes(), &[0xFF; 18]].concat();
        let expected = [
            message(b'T', &readable),
            message(b'E', "VFATAL\0C57P01\0Mcaf\u{FFFD}\0\0".as_bytes()),
            message(b'D', b"\xE9"),
        ]
        .concat();
        let mut got = vec![0; expected.len()];
        wire.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected);
        let (text, code) = ("FATAL: caf\u{FFFD} (SQLSTATE 57P01)".to_owned(), Some("57P01".to_owned()));
        assert_eq!(words.last_words.get(), Some(&LastWords { text, code }));
    }

    fn sink(sender: mpsc::Sender<CopyChunk>, chunk_size: usize) -> CopySink {
        CopySink { sender, chunk_size, buffers: Buffers::new(3, 4096), window: None, turn: None }
    }

    /// Rows of many sizes, cut at every place, arrive whole and in order, in chunks of whole rows of
    /// one COPY.
    #[tokio::test]
    async fn rows_are_lifted_out_of_the_copies_of_a_query() {
        let rows: Vec<Vec<u8>> = [0, 1, 5, 300, 7, 2000, 1, 0, 90].iter().map(|n| vec![b'x'; *n]).collect();
        let mut stream = message(b'H', &[0, 0, 0]);
        for row in &rows {
            stream.extend(message(b'd', row));
        }
        let notice = message(b'N', b"SNOTICE\0\0");
        stream.extend(&notice);
        stream.extend(message(b'd', b"last"));
        let between = message(b'C', b"COPY 10\0");
        stream.extend([message(b'c', b""), between.clone(), message(b'H', &[0, 0, 0])].concat());
        let tail = [message(b'C', b"COPY 0\0"), message(b'Z', b"I")].concat();
        stream.extend([message(b'c', b""), tail.clone()].concat());
        let expected = [rows.concat(), b"last".to_vec()].concat();
        for step in [1, 2, 3, 7, 64, 4096] {
            let (mut wire, mut far, next_sink, _) = started();
            let (sender, mut receiver) = mpsc::channel(1);
            next_sink.set(sink(sender, 256));
            let stream = stream.clone();
            tokio::spawn(async move {
                for part in stream.chunks(step) {
                    far.write_all(part).await.unwrap();
                    far.flush().await.unwrap();
                    tokio::task::yield_now().await;
                }
                std::future::pending::<()>().await;
            });
            let length = notice.len() + between.len() + tail.len();
            let reading = tokio::spawn(async move {
                let mut rest = vec![0; length];
                wire.read_exact(&mut rest).await.unwrap();
                rest
            });
            let (mut data, mut count, mut ends) = (Vec::new(), 0, Vec::new());
            while let Some(chunk) = receiver.recv().await {
                assert!(chunk.data.len() >= 256 || chunk.is_last);
                count += chunk.rows;
                data.extend_from_slice(&chunk.data);
                if chunk.is_last {
                    ends.push(count);
                }
            }
            assert_eq!((data, ends), (expected.clone(), vec![10, 10]), "in steps of {step}");
            let rest = reading.await.unwrap();
            assert_eq!(rest, [notice.clone(), between.clone(), tail.clone()].concat());
        }
    }

    #[tokio::test]
    async fn no_more_than_the_window_is_on_its_way() {
        let (mut wire, mut far, next_sink, _) = started();
        let (sender, mut receiver) = mpsc::channel(100);
        let turn = Arc::new(Semaphore::new(0));
        let window = Some(Window::new(100));
        next_sink.set(CopySink { window, turn: Some(Arc::clone(&turn)), ..sink(sender, 40) });
        // The last row alone is larger than the window.
        let rows = [message(b'd', &[b'x'; 40]).repeat(6), message(b'd', &[b'y'; 500])].concat();
        let stream = [message(b'H', &[0, 0, 0]), rows, message(b'c', b""), message(b'Z', b"I")].concat();
        far.write_all(&stream).await.unwrap();
        let reading = tokio::spawn(async move { wire.read_exact(&mut [0; 6]).await.unwrap() });
        let mut waiting = Vec::new();
        let mut lengths = Vec::new();
        loop {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            while let Ok(chunk) = receiver.try_recv() {
                lengths.push(chunk.data.len());
                waiting.push(chunk);
            }
            match (waiting.is_empty(), lengths.len()) {
                // The large row is not even read before its turn.
                (true, 6) => turn.add_permits(1),
                (true, _) => break,
                (false, _) => {}
            }
            waiting.retain(|chunk| !chunk.data.is_empty());
            let bytes: usize = waiting.iter().map(|chunk| chunk.data.len()).sum();
            assert!(bytes <= 100 || waiting.len() == 1, "{bytes} bytes in {} chunks", waiting.len());
            if !waiting.is_empty() {
                waiting.remove(0);
            }
        }
        assert_eq!(lengths, [40, 40, 40, 40, 40, 40, 500, 0]);
        reading.await.unwrap();
    }

    #[tokio::test]
    async fn an_abandoned_copy_is_read_to_its_end() {
        let (mut wire, mut far, next_sink, _) = started();
        let (sender, receiver) = mpsc::channel(1);
        drop(receiver);
        next_sink.set(sink(sender, 4));
        let rows = message(b'd', b"0123456789").repeat(1000);
        let end = [message(b'C', b"COPY 1000\0"), message(b'Z', b"I")].concat();
        let stream = [message(b'H', &[0, 0, 0]), rows, message(b'c', b""), end.clone()].concat();
        far.write_all(&stream).await.unwrap();
        let mut rest = vec![0; end.len()];
        wire.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest, end);
    }
}
