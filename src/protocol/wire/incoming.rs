//! Processes the messages from the server.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, BytesMut};
use tokio::io::ReadBuf;

use super::copy_demux::CopyDemux;
use super::outgoing::put_length;
use super::{ConnectionEvents, Execution, Feeding, NextSink, Scram, frame, text};

#[derive(Default)]
pub(super) struct Incoming {
    /// Bytes that were read and not processed.
    pub(super) input: BytesMut,
    /// A rewritten message, to be passed to tokio-postgres.
    rewritten: BytesMut,
    /// Bytes of the current message to pass unchanged.
    passing: usize,
    /// Bytes of the current message to drop.
    dropping: usize,
    pub(super) copy: Option<CopyDemux>,
    /// Whether the server has been ready for a query at least once.
    has_begun: bool,
    /// Bytes received before that, or since the last message that reset the count.
    aside: u64,
}

/// The state that the session shares with its connection.
pub(super) struct SessionShared<'a> {
    pub(super) next_sink: &'a NextSink,
    pub(super) events: &'a ConnectionEvents,
    pub(super) execution: &'a Cell<Execution>,
    pub(super) feeding: &'a Cell<Feeding>,
    pub(super) scram: &'a RefCell<Option<Scram>>,
}

/// The result of one step through the input.
pub(super) enum InputStep {
    /// Progress was made; call again.
    Done,
    /// More input is needed.
    Starved,
}

impl Incoming {
    /// Passes on available input until the target is full or the input is used up.
    pub(super) fn step(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
        shared: &SessionShared<'_>,
    ) -> Poll<io::Result<InputStep>> {
        if !self.rewritten.is_empty() {
            let length = self.rewritten.len().min(out.remaining());
            out.put_slice(&self.rewritten.split_to(length));
            return Poll::Ready(Ok(InputStep::Done));
        }
        if self.passing > 0 {
            let length = self.passing.min(self.input.len()).min(out.remaining());
            if length == 0 {
                return Poll::Ready(Ok(InputStep::Starved));
            }
            out.put_slice(&self.input[..length]);
            self.input.advance(length);
            self.passing -= length;
            return Poll::Ready(Ok(InputStep::Done));
        }
        if self.dropping > 0 {
            let length = self.dropping.min(self.input.len());
            if length == 0 {
                return Poll::Ready(Ok(InputStep::Starved));
            }
            self.input.advance(length);
            self.dropping -= length;
            return Poll::Ready(Ok(InputStep::Done));
        }
        if let Some(copy) = &mut self.copy {
            ready!(copy.extract_rows(cx, &mut self.input))?;
            if copy.is_in_row() {
                return Poll::Ready(Ok(InputStep::Starved));
            }
        }
        let Some((tag, length)) = frame::length(&self.input) else {
            return Poll::Ready(Ok(InputStep::Starved));
        };
        let is_copy = self.copy.as_ref().is_some_and(CopyDemux::is_inside);
        let length = frame::check(tag, length, is_copy)?;
        self.begin(cx, tag, length, shared)
    }

    /// Decides how to process the message at the front of the input.
    fn begin(
        &mut self,
        cx: &mut Context<'_>,
        tag: u8,
        length: usize,
        shared: &SessionShared<'_>,
    ) -> Poll<io::Result<InputStep>> {
        if let Some(copy) = &mut self.copy {
            match tag {
                b'c' | b'd' if !copy.is_inside() => return Poll::Ready(Err(frame::lost_at(tag, length))),
                // The COPY failed. Its rows are sent before tokio-postgres receives the error. The statements
                // that follow will not run.
                b'E' if copy.is_inside() => ready!(copy.fail(cx)),
                _ => {}
            }
        }
        if matches!(tag, b'H' | b'c') {
            return self.begin_or_end_copy(cx, tag, length, shared);
        }
        let wanted = if matches!(tag, b'E' | b'N') { frame::TEXT.min(length + 1) } else { length + 1 };
        let is_looked_at = text::holds_text(tag) || matches!(tag, b'C' | b'K' | b'R' | b'Z');
        if is_looked_at && self.input.len() < wanted {
            self.input.reserve(wanted - self.input.len());
            return Poll::Ready(Ok(InputStep::Starved));
        }
        // An error of any length ends the login, so only its kept part counts.
        self.count(tag, if tag == b'E' { wanted } else { length })?;
        match (tag, shared.feeding.get()) {
            (b'G', Feeding::Ready) => {
                shared.feeding.set(Feeding::Wanted);
                // Now this side must act.
                shared.events.activity.answered();
                self.dropping = length + 1;
                return Poll::Ready(Ok(InputStep::Done));
            }
            // The rest of the script is not run.
            (b'E', feeding) => {
                if feeding == Feeding::Wanted {
                    shared.events.activity.asked();
                }
                shared.feeding.set(Feeding::None);
            }
            _ => {}
        }
        match (tag, shared.execution.get()) {
            (b'G', _) => {
                shared.execution.set(Execution::TakesRows);
                // The `Sync` after the statement gets no answer of its own, because the server receives it
                // among the rows.
                shared.events.activity.answered();
            }
            (b'E', Execution::Unanswered) => shared.execution.set(Execution::Failed),
            _ => {}
        }
        let message = self.input.get(..wanted).unwrap_or_default();
        let body = message.get(5..).unwrap_or_default();
        match tag {
            // The query has ended.
            b'Z' => {
                (self.copy, self.has_begun) = (None, true);
                shared.events.in_transaction.store(body != b"I", Ordering::Relaxed);
                shared.events.answers.end(body != b"I");
                shared.events.activity.answered();
                shared.scram.take();
            }
            b'R' => {
                let shown = match shared.scram.borrow_mut().as_mut() {
                    Some(scram) => scram.receives(body)?,
                    None => None,
                };
                if let Some(shown) = shown {
                    self.put(tag, &shown, length);
                    return Poll::Ready(Ok(InputStep::Done));
                }
            }
            b'K' => shared.events.note_process(body),
            b'D' if !shared.events.answers.add_row(length) => {
                return Poll::Ready(Err(frame::broken("the server's answer is too large".to_owned())));
            }
            b'C' => {
                if let Some(copy) = &mut self.copy {
                    copy.check_end(body)?;
                }
            }
            b'S' if !frame::is_reported(body) => {
                self.dropping = length + 1;
                return Poll::Ready(Ok(InputStep::Done));
            }
            b'S' => shared.events.note_setting(body),
            b'E' => {
                shared.events.errors.fetch_add(1, Ordering::Relaxed);
                text::note_fatal_error(message, &shared.events.fatal_error);
            }
            _ => {}
        }
        if text::holds_text(tag) && self.rewrite(tag, length, wanted) {
            return Poll::Ready(Ok(InputStep::Done));
        }
        self.passing = length + 1;
        Poll::Ready(Ok(InputStep::Done))
    }

    /// Converts a message's texts to UTF-8, and truncates an error or a notice. Returns false if the message
    /// can pass unchanged.
    fn rewrite(&mut self, tag: u8, length: usize, wanted: usize) -> bool {
        let message = self.input.get(..wanted).unwrap_or_default();
        let is_cut = wanted < length + 1;
        let cut = is_cut.then(|| text::cut(message));
        let message = cut.as_deref().unwrap_or(message);
        let body = match text::readable(message) {
            Some(body) => body,
            None if is_cut => message.get(5..).unwrap_or_default().to_vec(),
            None => return false,
        };
        self.put(tag, &body, length);
        true
    }

    /// Replaces the message at the front of the input, whose length is `length`.
    fn put(&mut self, tag: u8, body: &[u8], length: usize) {
        self.rewritten.put_u8(tag);
        put_length(4 + body.len(), &mut self.rewritten);
        self.rewritten.extend_from_slice(body);
        self.dropping = length + 1;
    }

    /// Counts the bytes that are not rows, and fails if they exceed their limit.
    fn count(&mut self, tag: u8, length: usize) -> io::Result<()> {
        let bytes = length as u64 + 1;
        let (limit, what) = match self.has_begun {
            false => (frame::LOGIN, "sends an endless greeting"),
            true if frame::is_aside(tag) => (frame::ASIDE, "sends endless notices"),
            true if frame::answers_without_row(tag) => (frame::ASIDE, "sends an endless answer"),
            true => {
                self.aside = 0;
                return Ok(());
            }
        };
        self.aside = self.aside.saturating_add(bytes);
        if self.aside > limit { Err(frame::broken(format!("the server {what}"))) } else { Ok(()) }
    }

    /// Processes the first and last message of a COPY, which are not passed to tokio-postgres.
    fn begin_or_end_copy(
        &mut self,
        cx: &mut Context<'_>,
        tag: u8,
        length: usize,
        shared: &SessionShared<'_>,
    ) -> Poll<io::Result<InputStep>> {
        if self.copy.is_none() && tag == b'H' {
            self.copy = shared.next_sink.take().map(CopyDemux::new);
        }
        let Some(copy) = &mut self.copy else {
            // An unrequested COPY, or the end of a COPY that has not begun; tokio-postgres rejects it.
            self.passing = length + 1;
            return Poll::Ready(Ok(InputStep::Done));
        };
        if self.input.len() < length + 1 {
            self.input.reserve(length + 1 - self.input.len());
            return Poll::Ready(Ok(InputStep::Starved));
        }
        match tag {
            b'c' => ready!(copy.end(cx)),
            _ => copy.begin(),
        }
        self.input.advance(length + 1);
        self.aside = 0;
        Poll::Ready(Ok(InputStep::Done))
    }
}
