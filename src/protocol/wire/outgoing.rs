//! Processes the driver's messages to the server.

use std::cell::Cell;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::sync::mpsc;

use super::super::encoding::unescape;
use super::{Activity, Execution, FedRows, Feeding, Scram, Scripts, Startup, WRITE_BUFFER};

pub(super) struct Outgoing {
    /// `None` after the startup message has been sent.
    pub(super) startup: Option<Startup>,
    /// Bytes of an incomplete message, or of messages that wait for a script.
    pub(super) partial: BytesMut,
    /// Bytes to be sent.
    pub(super) ready: BytesMut,
    /// Remaining bytes of a message that passes unchanged: rows or a long query.
    pub(super) passing: usize,
    /// Whether a `Sync` in the next message is the surplus one.
    pub(super) drops_sync: bool,
    pub(super) scripts: Scripts,
    /// The rest of a script's text, which is sent after `ready` and followed by a NUL.
    pub(super) query: Option<Bytes>,
    /// Rows for the COPYs of the last script.
    pub(super) rows: Option<mpsc::Receiver<FedRows>>,
}

impl Outgoing {
    /// Accepts bytes from the driver and returns their number. Rows and long queries are accepted only as far
    /// as there is room.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        execution: &Cell<Execution>,
        feeding: &Cell<Feeding>,
        activity: &Activity,
        scram: &mut Option<Scram>,
    ) -> usize {
        let all = bytes.len();
        // Most of the data sent consists of rows, which pass unchanged.
        while !bytes.is_empty() && self.partial.is_empty() && self.startup.is_none() {
            if self.passing == 0 && bytes.first() == Some(&b'd') {
                self.passing = length_at(bytes, 1).map_or(0, |length| length + 1);
                self.drops_sync = false;
            }
            if self.passing == 0 && is_long_query(bytes) {
                self.passing = length_at(bytes, 1).map_or(0, |length| length + 1);
                feeding.set(Feeding::None);
                if !std::mem::take(&mut self.drops_sync) {
                    activity.asked();
                }
            }
            if self.passing == 0 {
                break;
            }
            let room = (2 * WRITE_BUFFER).saturating_sub(self.ready.len());
            if room == 0 {
                return all - bytes.len();
            }
            let (now, rest) = bytes.split_at(self.passing.min(bytes.len()).min(room));
            self.ready.extend_from_slice(now);
            self.passing -= now.len();
            bytes = rest;
        }
        if bytes.is_empty() {
            return all;
        }
        self.partial.extend_from_slice(bytes);
        if self.startup.is_some() {
            let Some(length) = length_at(&self.partial, 0).filter(|l| *l <= self.partial.len()) else {
                return all;
            };
            let message = self.partial.split_to(length);
            if let Some(startup) = self.startup.take() {
                put_startup(&message, &startup, &mut self.ready);
            }
        }
        self.take_messages(execution, feeding, activity, scram);
        all
    }

    /// Returns whether messages wait although the script's text has been sent.
    pub(super) fn is_stopped(&self) -> bool {
        self.query.is_none() && !self.partial.is_empty() && self.startup.is_none()
    }

    /// Processes these messages.
    pub(super) fn go_on(
        &mut self,
        execution: &Cell<Execution>,
        feeding: &Cell<Feeding>,
        activity: &Activity,
    ) {
        self.take_messages(execution, feeding, activity, &mut None);
    }

    /// Processes the complete messages, up to a long script.
    fn take_messages(
        &mut self,
        execution: &Cell<Execution>,
        feeding: &Cell<Feeding>,
        activity: &Activity,
        scram: &mut Option<Scram>,
    ) {
        let mut taken = 0;
        while self.query.is_none()
            && let Some(rest) = self.partial.get(taken..)
            && let Some(length) = length_at(rest, 1)
            && let Some(message) = rest.get(..=length)
        {
            let drops_sync = std::mem::take(&mut self.drops_sync);
            if matches!(message.first(), Some(b'Q' | b'S')) && !drops_sync {
                activity.asked();
            }
            if matches!(message.first(), Some(b'Q' | b'P' | b'B')) {
                feeding.set(Feeding::None);
            }
            match message.first() {
                Some(b'f') if execution.get() == Execution::Failed => self.drops_sync = true,
                Some(b'S') if drops_sync => {}
                Some(b'B') => {
                    execution.set(Execution::Unanswered);
                    self.ready.extend_from_slice(message);
                }
                Some(b'p') => {
                    let replaced = scram.as_mut().and_then(|scram| scram.sends(message));
                    let body = replaced.as_deref().unwrap_or(message.get(5..).unwrap_or_default());
                    self.ready.put_u8(b'p');
                    put_length(4 + body.len(), &mut self.ready);
                    self.ready.extend_from_slice(body);
                }
                Some(b'Q') if let Some(script) = self.scripts.take(message.get(5..).unwrap_or_default()) => {
                    feeding.set(Feeding::Ready);
                    self.rows = script.rows;
                    self.ready.put_u8(b'Q');
                    put_length(4 + script.text.len() + 1, &mut self.ready);
                    if script.text.len() > WRITE_BUFFER {
                        self.query = Some(script.text);
                    } else {
                        self.ready.extend_from_slice(&script.text);
                        self.ready.put_u8(0);
                    }
                }
                Some(b'Q' | b'P') if message.contains(&0xF4) => put_unescaped(message, &mut self.ready),
                _ => self.ready.extend_from_slice(message),
            }
            taken += length + 1;
        }
        self.partial.advance(taken);
    }

    /// Returns the bytes to send next.
    pub(super) fn next(&self) -> Option<&[u8]> {
        match &self.query {
            _ if !self.ready.is_empty() => Some(&self.ready),
            Some(text) => Some(text),
            None => None,
        }
    }

    /// Removes the first `length` bytes of [`Self::next`], which have been sent.
    pub(super) fn sent(&mut self, length: usize) {
        match &mut self.query {
            Some(text) if self.ready.is_empty() => {
                text.advance(length.min(text.len()));
                if text.is_empty() {
                    self.query = None;
                    self.ready.put_u8(0);
                }
            }
            _ => self.ready.advance(length.min(self.ready.len())),
        }
    }

    /// Adds rows for a COPY or their end. `None` cancels the COPY.
    pub(super) fn put_rows(&mut self, rows: Option<FedRows>) {
        let (tag, body) = match &rows {
            Some(FedRows::Some(rows)) => (b'd', &rows[..]),
            Some(FedRows::End) => (b'c', &b""[..]),
            None => (b'f', &b"there are no rows for it\0"[..]),
        };
        self.ready.put_u8(tag);
        put_length(4 + body.len(), &mut self.ready);
        self.ready.extend_from_slice(body);
    }
}

/// Returns whether a complete query begins here that is too long to be copied and contains no escaped bytes,
/// so that it can pass unchanged.
fn is_long_query(bytes: &[u8]) -> bool {
    let message =
        length_at(bytes, 1).filter(|length| *length > WRITE_BUFFER).and_then(|length| bytes.get(..=length));
    bytes.first() == Some(&b'Q') && message.is_some_and(|message| memchr::memchr(0xF4, message).is_none())
}

/// Returns the length field at position `at`. The length includes the field itself.
fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field = bytes.get(at..at + 4)?;
    let length = u32::from_be_bytes(field.try_into().ok()?);
    usize::try_from(length).ok().map(|l| l.max(4))
}

pub(super) fn put_length(length: usize, out: &mut BytesMut) {
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
}

/// Writes the startup message: length, version, pairs of name and value, each terminated by NUL, and one more
/// NUL.
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

/// Writes a Query (`Q`, one text) or Parse (`P`, two texts, then numbers) with the original bytes restored.
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
