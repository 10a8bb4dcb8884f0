//! The requests that go through a proxy: recorded, limited, and refused by their text.

use std::sync::Mutex;

/// What happens to a request beyond the limit, and to all later ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its connection stalls without an error.
    Stall,
    /// Its connection is closed.
    Break,
}

/// What the proxy does with a client's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Forwards them.
    Forward,
    /// Forwards them, and closes the connection instead of forwarding the response.
    LoseResponse,
    /// Forwards nothing more on this connection.
    End(End),
}

/// The recorder and filter of requests.
pub(super) struct Requests {
    limits: Mutex<Limits>,
    seen: Mutex<Vec<String>>,
}

struct Limits {
    /// The number of bytes that may still go to the server.
    left: u64,
    end: End,
    /// A text that ends the proxy when a request contains it. The request is not forwarded.
    forbidden: Option<String>,
    /// A text in a request. The first request that contains it gets no response.
    lost: Option<String>,
}

impl Default for Requests {
    fn default() -> Self {
        let limits = Limits { left: u64::MAX, end: End::Break, forbidden: None, lost: None };
        Requests { limits: Mutex::new(limits), seen: Mutex::default() }
    }
}

impl Requests {
    fn set(&self, change: impl FnOnce(&mut Limits)) {
        change(&mut self.limits.lock().expect("no thread panics with it"));
    }

    pub(super) fn end_after(&self, bytes: u64, end: End) {
        self.set(|limits| (limits.left, limits.end) = (bytes, end));
    }

    pub(super) fn break_at(&self, text: &str) {
        self.set(|limits| limits.forbidden = Some(text.to_owned()));
    }

    pub(super) fn lose_response_to(&self, text: &str) {
        self.set(|limits| limits.lost = Some(text.to_owned()));
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().expect("no thread panics with it").clone()
    }

    /// Decides about bytes from a client, and records the requests in them. `unread` is the connection's.
    pub(super) fn admit(&self, unread: &mut Vec<u8>, bytes: &[u8]) -> Admission {
        let contains = |text: &String| memchr::memmem::find(bytes, text.as_bytes()).is_some();
        let mut limits = self.limits.lock().expect("no thread panics with it");
        let is_forbidden = limits.forbidden.as_ref().is_some_and(contains);
        match limits.left.checked_sub(bytes.len() as u64) {
            Some(left) if !is_forbidden => limits.left = left,
            _ => {
                limits.left = 0;
                return Admission::End(limits.end);
            }
        }
        self.record(unread, bytes);
        match limits.lost.take_if(|text| contains(text)) {
            Some(_) => Admission::LoseResponse,
            None => Admission::Forward,
        }
    }

    /// Records the request lines among the bytes. Bodies come between them, and a line can arrive in two
    /// pieces.
    fn record(&self, unread: &mut Vec<u8>, bytes: &[u8]) {
        const END: &[u8] = b" HTTP/1.1\r\n";
        const LONGEST: usize = 4096;
        unread.extend_from_slice(bytes);
        while let Some(end) = memchr::memmem::find(unread, END) {
            let before = &unread[end.saturating_sub(LONGEST)..end];
            let methods = ["GET /", "PUT /", "POST /", "HEAD /", "DELETE /"];
            let begin = methods.iter().filter_map(|m| memchr::memmem::rfind(before, m.as_bytes())).max();
            // Rows of a database may contain the text, too.
            if let Some(begin) = begin {
                let line = String::from_utf8_lossy(&before[begin..]).into_owned();
                self.seen.lock().expect("no thread panics with it").push(line);
            }
            unread.drain(..end + END.len());
        }
        let rest = unread.len().saturating_sub(LONGEST);
        unread.drain(..rest);
    }
}
