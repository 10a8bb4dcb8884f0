//! The layer between the transport and tokio-postgres. It adjusts PostgreSQL's messages in seven places.
//!
//! - Startup message: tokio-postgres always requests UTF-8; pg_dump uses the database's encoding unless an
//!   option says otherwise.
//! - Text of any encoding: SQL that contains escaped bytes ([`super::encoding`]) is sent with the original
//!   bytes, and text from the server that tokio-postgres would reject as invalid UTF-8 (error messages,
//!   settings, column names) is converted.
//! - COPY data: tokio-postgres returns one message per row. This layer extracts the rows of all COPYs of one
//!   query from their messages and collects them in large chunks for the waiting [`CopySink`]. tokio-postgres
//!   sees statements that completed without rows. A chunk contains whole rows of one COPY.
//! - Scripts: a text that the session passes to this layer directly replaces its marker ([`script`]).
//! - SCRAM: a login may use more iterations than the driver accepts.
//! - Errors and notices are truncated to a maximum length.
//! - End of a COPY into a table that the server has refused: tokio-postgres cancels such a COPY with one
//!   `Sync` more than it expects answers to. It would then assign each answer to the wrong request, so that
//!   `Sync` is dropped.
//!
//! An impossible message is an error at once. Messages outside of answers are limited ([`frame`]), and so are
//! the answers ([`answers`]). The time since the last transfer is recorded for the stall check
//! ([`activity`]).
//!
//! Memory: one read buffer of [`READ_BUFFER`] bytes, one chunk being filled, and the chunks that wait in the
//! sink. A row larger than a chunk makes its chunk as large as the row. The memory of chunks is reused, see
//! [`super::buffers`]. For sending, at most two buffers of [`WRITE_BUFFER`] bytes, and the text of a script,
//! which is not copied.

mod activity;
mod answers;
mod copy_demux;
mod frame;
mod incoming;
mod outgoing;
pub mod replay;
mod scram;
mod script;
mod text;

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_util::io::poll_read_buf;

use super::buffers::{Buffer, BufferPool};
use activity::Activity;
pub use answers::CATALOG_LIMIT;
pub(super) use answers::{AnswerKind, Answers};
use incoming::{Incoming, InputStep, SessionShared};
use outgoing::Outgoing;
use scram::Scram;
use script::Feeding;
pub(super) use script::{FedRows, MARKER, QueuedScript, Scripts};

/// Number of bytes per read.
pub const READ_BUFFER: usize = 128 * 1024;

/// Number of buffered outgoing bytes above which no more bytes are accepted until some have been sent.
const WRITE_BUFFER: usize = 256 * 1024;

/// Whole rows of a COPY.
#[derive(Debug, Default)]
pub struct CopyChunk {
    /// The rows, each with its newline, in text format. The last chunk of a COPY may be empty.
    pub data: Buffer,
    /// The number of rows.
    pub rows: u64,
    /// Whether this is the last chunk of the COPY.
    pub is_last: bool,
    /// Its permits of the sink's window, which are released when the chunk is dropped.
    pub share: Option<OwnedSemaphorePermit>,
}

/// The destination of the rows of a query's COPYs.
pub(super) struct CopySink {
    pub(super) sender: mpsc::Sender<CopyChunk>,
    /// A chunk is sent when it has reached this number of bytes.
    pub(super) chunk_size: usize,
    /// The pool of the chunks' buffers.
    pub(super) buffers: BufferPool,
    /// Limit on the bytes of the chunks in flight, in addition to the limit on their number.
    pub(super) window: Option<Window>,
    /// The permit for reading a row larger than the window. It becomes available when this query is next in
    /// order.
    pub(super) gate: Option<Arc<Semaphore>>,
}

/// A limit on the bytes of the chunks that have not been dropped. A larger chunk waits until all others have
/// been dropped.
#[derive(Clone, Debug)]
pub struct Window {
    free: Arc<Semaphore>,
    size: u32,
}

impl Window {
    /// Returns a window of `size` bytes, at most 1 GiB.
    pub fn new(size: usize) -> Self {
        let size = u32::try_from(size.clamp(1, 1 << 30)).unwrap_or(1 << 30);
        // Any `u32` is a valid number of permits.
        Window { free: Arc::new(Semaphore::new(size as usize)), size }
    }
}

/// The sink of the COPYs that were requested and have not begun. It is shared with the session, which starts
/// the next COPYs only after the previous ones have ended.
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

/// The state that a connection has received from its server outside of answers.
#[derive(Debug, Default)]
pub(super) struct ConnectionEvents {
    /// The error after which the server closed the connection. It is kept because the driver may assign it to
    /// a request whose answer is not awaited.
    pub(super) fatal_error: OnceLock<FatalError>,
    errors: AtomicU64,
    /// Whether a transaction is open or failed, by the last `ReadyForQuery`.
    in_transaction: AtomicBool,
    /// The transfers on the connection.
    pub(super) activity: Activity,
    /// The size of the answers.
    pub(super) answers: Answers,
    /// The server's process id; 0 if unknown.
    process: AtomicI32,
    /// The settings that affect how the server parses SQL, as reported last.
    sql_settings: Mutex<SqlSettings>,
}

/// The settings that affect how a server parses the text of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlSettings {
    /// `standard_conforming_strings`.
    pub standard_strings: bool,
    /// `client_encoding`, as PostgreSQL spells it.
    pub encoding: Arc<str>,
}

impl Default for SqlSettings {
    fn default() -> Self {
        SqlSettings { standard_strings: true, encoding: "".into() }
    }
}

/// The reason why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FatalError {
    pub(super) text: String,
    /// The SQLSTATE, if the server ended it.
    pub(super) code: Option<String>,
}

impl ConnectionEvents {
    /// Returns the number of errors so far. A sender of rows uses it to detect that the server no longer
    /// accepts them.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Returns whether a transaction was open at the last `ReadyForQuery`.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Relaxed)
    }

    /// Returns the server's process id; 0 if it is not known.
    pub(super) fn process(&self) -> i32 {
        self.process.load(Ordering::Relaxed)
    }

    /// Sets the process id that the server itself returned. The id in a connection pooler's greeting is the
    /// pooler's own.
    pub(super) fn set_process(&self, process: i32) {
        self.process.store(process, Ordering::Relaxed);
    }

    /// Returns the settings that affect how the server parses SQL. The server reports a change before it is
    /// ready for the next query.
    pub(super) fn sql_settings(&self) -> SqlSettings {
        self.sql_settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records the body of a `ParameterStatus`: a name and a value, each terminated by NUL.
    fn note_setting(&self, body: &[u8]) {
        let mut parts = body.split(|b| *b == 0);
        let (Some(name), Some(value)) = (parts.next(), parts.next()) else { return };
        let mut settings = self.sql_settings.lock().unwrap_or_else(PoisonError::into_inner);
        match name {
            b"standard_conforming_strings" => settings.standard_strings = value == b"on",
            b"client_encoding" => settings.encoding = String::from_utf8_lossy(value).into(),
            _ => {}
        }
    }

    fn note_process(&self, key_data: &[u8]) {
        if let Some(process) = key_data.first_chunk::<4>() {
            self.set_process(i32::from_be_bytes(*process));
        }
    }
}

/// The content of the startup message.
#[derive(Clone, Default)]
pub(super) struct Startup {
    /// `None` selects the database's encoding.
    pub(super) client_encoding: Option<String>,
    pub(super) settings: Vec<(&'static str, String)>,
    /// The password, for a SCRAM exchange that the driver would refuse.
    pub(super) password: Option<Vec<u8>>,
}

/// A stream of messages to one server.
pub(super) struct Wire<S> {
    inner: S,
    outgoing: Outgoing,
    incoming: Incoming,
    next_sink: NextSink,
    events: Arc<ConnectionEvents>,
    execution: Cell<Execution>,
    feeding: Cell<Feeding>,
    /// `None` after the login.
    scram: RefCell<Option<Scram>>,
    /// An error in the stream, returned after the driver has read what came before it.
    failed: Option<io::Error>,
}

/// The server's response to the statement that was executed last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Execution {
    /// No response yet.
    #[default]
    Unanswered,
    /// A COPY that accepts rows.
    TakesRows,
    /// The statement failed at once.
    Failed,
}

impl<S> Wire<S> {
    pub(super) fn new(
        inner: S,
        mut startup: Startup,
        next_sink: NextSink,
        scripts: Scripts,
        events: Arc<ConnectionEvents>,
    ) -> Self {
        let scram = RefCell::new(startup.password.take().map(Scram::new));
        Wire {
            scram,
            inner,
            outgoing: Outgoing {
                startup: Some(startup),
                partial: BytesMut::new(),
                ready: BytesMut::new(),
                passing: 0,
                drops_sync: false,
                scripts,
                query: None,
                rows: None,
            },
            incoming: Incoming::default(),
            next_sink,
            events,
            execution: Cell::default(),
            failed: None,
            feeding: Cell::default(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = out.filled().len();
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Err(error));
        }
        loop {
            match this.feeding.get() {
                // Dropping the receiver stops the sender of rows.
                Feeding::None => this.outgoing.rows = None,
                Feeding::Ready => {}
                Feeding::Wanted => this.poll_feed(cx)?,
            }
            let shared = SessionShared {
                next_sink: &this.next_sink,
                events: &this.events,
                execution: &this.execution,
                feeding: &this.feeding,
                scram: &this.scram,
            };
            let wants_more =
                if out.remaining() == 0 { Poll::Pending } else { this.incoming.step(cx, out, &shared) };
            let handed_on = out.filled().len() > before;
            match wants_more {
                Poll::Ready(Ok(InputStep::Done)) => {}
                Poll::Ready(Err(error)) => {
                    this.incoming.copy = None;
                    if !handed_on {
                        return Poll::Ready(Err(error));
                    }
                    // The driver does not read bytes that are returned together with an error, and these may
                    // contain the server's own error.
                    this.failed = Some(error);
                    return Poll::Ready(Ok(()));
                }
                _ if handed_on => return Poll::Ready(Ok(())),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(InputStep::Starved)) => {
                    let input = &mut this.incoming.input;
                    if input.capacity() - input.len() < READ_BUFFER / 4 {
                        input.reserve(READ_BUFFER);
                    }
                    let activity = &this.events.activity;
                    let Poll::Ready(read) = poll_read_buf(Pin::new(&mut this.inner), cx, input) else {
                        activity.awaits_bytes();
                        return Poll::Pending;
                    };
                    activity.received();
                    if read? == 0 {
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
        while let Some(bytes) = self.outgoing.next() {
            let Poll::Ready(written) = Pin::new(&mut self.inner).poll_write(cx, bytes) else {
                self.events.activity.awaits_room();
                return Poll::Pending;
            };
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.events.activity.sent();
            self.outgoing.sent(written);
            if self.outgoing.is_stopped() {
                self.outgoing.go_on(&self.execution, &self.feeding, &self.events.activity);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the available rows for a script's COPY. The task is woken when there are more rows or when there
    /// is room for more.
    fn poll_feed(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.feeding.get() == Feeding::Wanted {
            if self.outgoing.ready.len() > WRITE_BUFFER && self.poll_drain(cx)?.is_pending() {
                return Ok(());
            }
            let rows = match &mut self.outgoing.rows {
                Some(rows) => rows.poll_recv(cx),
                None => Poll::Ready(None),
            };
            let Poll::Ready(rows) = rows else { break };
            if !matches!(rows, Some(FedRows::Some(_))) {
                self.feeding.set(Feeding::Ready);
                self.events.activity.asked();
            }
            self.outgoing.put_rows(rows);
        }
        // Pending is not an error here: the rest is sent when there is room.
        let _ = self.poll_drain(cx)?;
        Ok(())
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.outgoing.ready.len() > WRITE_BUFFER || this.outgoing.query.is_some() {
            ready!(this.poll_drain(cx))?;
        }
        let scram = &mut this.scram.borrow_mut();
        Poll::Ready(Ok(this.outgoing.take(
            bytes,
            &this.execution,
            &this.feeding,
            &this.events.activity,
            scram,
        )))
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
mod tests;
