//! Between the transport and tokio-postgres: PostgreSQL's messages, adjusted in seven places.
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
//! - Scripts: what the session hands over beside the driver takes the place of its marker ([`script`]).
//! - A login with more iterations of SCRAM than the driver accepts.
//! - Errors and notices are cut to a sane length.
//! - The end of a COPY into a table that the server has refused to begin: tokio-postgres takes it back with one
//!   `Sync` more than it waits for, after which it would take each answer for that to another request.
//!
//! Messages that cannot be are an error at once, and what a server may say beside answers has a limit ([`frame`]), and so have
//! answers ([`answers`]). How long
//! nothing has moved is kept for whoever watches the connection ([`activity`]).
//!
//! Memory: one read buffer of [`READ_BUFFER`] bytes, one chunk being filled, and what the sink lets
//! wait; a row larger than a chunk makes its chunk as large as itself. The chunks' memory is used
//! again, see [`super::buffers`]. Of what is sent two buffers of [`WRITE_BUFFER`] at most, and the text of a script, which
//! is not copied.

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
    pub(super) buffers: BufferPool,
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
pub(super) struct ConnectionEvents {
    /// What the server said before it hung up, since the driver may hand that to a request whose answer nobody
    /// waits for.
    pub(super) fatal_error: OnceLock<LastWords>,
    errors: AtomicU64,
    /// What the last `ReadyForQuery` said: a transaction is open, or has failed and is not ended.
    in_transaction: AtomicBool,
    /// What moves.
    pub(super) activity: Activity,
    /// How much is answered.
    pub(super) answers: Answers,
    /// The server's process, as far as it is known.
    process: AtomicI32,
    /// The settings that decide how it reads SQL, as it reported them last.
    sql_settings: Mutex<SqlSettings>,
}

/// The settings that decide how a server reads the text of SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlSettings {
    /// `standard_conforming_strings`.
    pub standard_strings: bool,
    /// `client_encoding`, by PostgreSQL's name for it.
    pub encoding: Arc<str>,
}

impl Default for SqlSettings {
    fn default() -> Self {
        SqlSettings { standard_strings: true, encoding: "".into() }
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastWords {
    pub(super) text: String,
    /// The SQLSTATE, where it was the server that ended it.
    pub(super) code: Option<String>,
}

impl ConnectionEvents {
    /// How many errors there were. Who sends rows sees by it that the server no longer takes them.
    pub(super) fn errors(&self) -> u64 {
        self.errors.load(Ordering::Relaxed)
    }

    /// Whether a transaction was open when the server was ready last.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.in_transaction.load(Ordering::Relaxed)
    }

    /// The server's process; 0 if it is not known.
    pub(super) fn process(&self) -> i32 {
        self.process.load(Ordering::Relaxed)
    }

    /// The server's process, as it says itself. A pooler's greeting names one of its own.
    pub(super) fn set_process(&self, process: i32) {
        self.process.store(process, Ordering::Relaxed);
    }

    /// The settings that decide how the server reads SQL. It reports a change before it is ready for the next query.
    pub(super) fn sql_settings(&self) -> SqlSettings {
        self.sql_settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the body of a `ParameterStatus`: a name and a value, each with a NUL behind it.
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

/// What the startup message shall say.
#[derive(Clone, Default)]
pub(super) struct Startup {
    /// `None`: the database's own encoding.
    pub(super) client_encoding: Option<String>,
    pub(super) settings: Vec<(&'static str, String)>,
    /// For a password that the driver would refuse.
    pub(super) password: Option<Vec<u8>>,
}

/// A stream of messages to one server.
pub(super) struct Wire<S> {
    inner: S,
    outgoing: Outgoing,
    incoming: Incoming,
    next_sink: NextSink,
    heard: Arc<ConnectionEvents>,
    execution: Cell<Execution>,
    feeding: Cell<Feeding>,
    /// Until the login is over.
    scram: RefCell<Option<Scram>>,
    /// Why what comes next makes no sense, while the driver takes what came before.
    failed: Option<io::Error>,
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

impl<S> Wire<S> {
    pub(super) fn new(
        inner: S,
        mut startup: Startup,
        next_sink: NextSink,
        scripts: Scripts,
        heard: Arc<ConnectionEvents>,
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
            heard,
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
                // Whoever has more rows sees that they are not wanted.
                Feeding::None => this.outgoing.rows = None,
                Feeding::Ready => {}
                Feeding::Wanted => this.poll_feed(cx)?,
            }
            let shared = SessionShared {
                next_sink: &this.next_sink,
                heard: &this.heard,
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
                    // What the driver is handed with an error, it does not read: the server's own words may be in it.
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
                    let activity = &this.heard.activity;
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
                self.heard.activity.awaits_room();
                return Poll::Pending;
            };
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.heard.activity.sent();
            self.outgoing.sent(written);
            if self.outgoing.is_stopped() {
                self.outgoing.go_on(&self.execution, &self.feeding, &self.heard.activity);
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends the rows that there are for a script's COPY. The task is woken when there are more, or room for more.
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
                self.heard.activity.asked();
            }
            self.outgoing.put_rows(rows);
        }
        // Pending or not: the rest leaves when there is room.
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
            &this.heard.activity,
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
