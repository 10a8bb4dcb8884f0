//! A TCP proxy on the loopback address that records requests and can break.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// What happens after the proxy has forwarded its bytes to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Stalls all connections without an error.
    Stall,
    /// Closes all connections, and every new one.
    Break,
}

/// The proxy. It forwards nothing after this is dropped.
pub struct Way {
    port: u16,
    state: Arc<State>,
}

struct State {
    server: String,
    /// The number of bytes that may still go to the server.
    left: AtomicU64,
    /// A text that ends the proxy when a request contains it. The request is not forwarded.
    forbidden: Option<String>,
    /// A text in a request. The first request that contains it gets no response: its connection is closed
    /// instead.
    lost: Mutex<Option<String>>,
    end: End,
    closed: AtomicBool,
    requests: Mutex<Vec<String>>,
}

impl Way {
    /// Starts a proxy to a server (`http://127.0.0.1:8333`) that does not break.
    pub fn to(server: &str) -> Way {
        Way::start(server, u64::MAX, None, End::Break)
    }

    /// Starts a proxy that forwards this many bytes to the server and then breaks or stalls.
    pub fn ending(server: &str, bytes: u64, end: End) -> Way {
        Way::start(server, bytes, None, end)
    }

    /// Starts a proxy that breaks at the first request that contains this text.
    pub fn breaking_at(server: &str, text: &str) -> Way {
        Way::start(server, u64::MAX, Some(text.to_owned()), End::Break)
    }

    /// Starts a proxy that drops the response to the first request that contains this text.
    pub fn losing_the_answer_to(server: &str, text: &str) -> Way {
        let way = Way::to(server);
        *way.state.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(text.to_owned());
        way
    }

    fn start(server: &str, bytes: u64, forbidden: Option<String>, end: End) -> Way {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::new(State {
            server: server.trim_start_matches("http://").to_owned(),
            left: AtomicU64::new(bytes),
            forbidden,
            lost: Mutex::default(),
            end,
            closed: AtomicBool::new(false),
            requests: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                State::carry(&shared, client);
            }
        });
        Way { port, state }
    }

    /// The proxy's URL.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the forwarded requests, each as its method and target.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Forwards responses until one is to be dropped. The server has sent that one; the client's connection is
/// closed instead.
fn carry_answers(mut from: TcpStream, mut to: TcpStream, loses: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if loses.load(Ordering::SeqCst) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

impl State {
    /// Forwards one connection.
    fn carry(state: &Arc<State>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(&state.server) else { return };
        let ends = |stream: &TcpStream| stream.try_clone().expect("a socket has a second handle");
        let (answers, back) = (ends(&server), ends(&client));
        let loses = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&loses);
        thread::spawn(move || carry_answers(answers, back, &lost));
        let state = Arc::clone(state);
        thread::spawn(move || {
            state.carry_requests(ends(&client), ends(&server), &loses);
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        });
    }

    fn carry_requests(&self, mut from: TcpStream, mut to: TcpStream, loses: &AtomicBool) {
        let mut buffer = vec![0; 64 << 10];
        let mut unread = Vec::new();
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = length as u64;
            let took =
                self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(bytes));
            let said = |text: &String| memchr::memmem::find(&buffer[..length], text.as_bytes()).is_some();
            if took.is_err() || self.forbidden.as_ref().is_some_and(said) {
                self.left.store(0, Ordering::SeqCst);
                while self.end == End::Stall && !self.closed.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(20));
                }
                return;
            }
            self.note(&mut unread, &buffer[..length]);
            let mut lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
            if lost.as_ref().is_some_and(said) {
                *lost = None;
                loses.store(true, Ordering::SeqCst);
            }
            drop(lost);
            if to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    }

    /// Records the request lines among the bytes. Bodies come between them, and a line can arrive in two
    /// pieces.
    fn note(&self, unread: &mut Vec<u8>, bytes: &[u8]) {
        const END: &[u8] = b" HTTP/1.1\r\n";
        const LONGEST: usize = 4096;
        unread.extend_from_slice(bytes);
        while let Some(end) = memchr::memmem::find(unread, END) {
            let before = &unread[end.saturating_sub(LONGEST)..end];
            let methods = ["GET /", "PUT /", "POST /", "HEAD /", "DELETE /"];
            let begin = methods.iter().filter_map(|m| memchr::memmem::rfind(before, m.as_bytes())).max();
            let line =
                String::from_utf8_lossy(&before[begin.expect("a request has a method")..]).into_owned();
            self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            unread.drain(..end + END.len());
        }
        let kept = unread.len().saturating_sub(LONGEST);
        unread.drain(..kept);
    }
}
