//! A proxy to a server on the loopback address. It can refuse or stall connections for a while, as a network
//! does, change the server's bytes after a given count, and break at a request. It records HTTP requests.

mod requests;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::port;
pub use requests::End;
use requests::{Admission, Requests};

/// The interval between two checks of the proxy's state.
const POLL: Duration = Duration::from_millis(5);

/// A fault that happens once, after a given count of bytes from the server.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Stalls all connections.
    StallAll,
    /// Stalls the server's bytes on this connection.
    StallOne,
    /// Drops this many bytes.
    Drop(usize),
    /// Sends this many bytes twice.
    Repeat(usize),
    /// Inserts these bytes.
    Insert(Vec<u8>),
}

/// A TCP port that forwards to another port.
pub struct BreakableProxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The number of bytes from the server before a fault, and the fault.
    fault: Mutex<Option<(usize, Fault)>>,
    closed: AtomicBool,
    stalled: AtomicBool,
    /// The text in a client's request that stalls the proxy.
    stalls_at: Mutex<Option<String>>,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
    requests: Requests,
}

impl BreakableProxy {
    /// Starts a proxy to a port.
    pub fn to(target: u16) -> BreakableProxy {
        let state = Arc::new(State::default());
        let port = port::free();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is this test's");
        let theirs = Arc::clone(&state);
        std::thread::spawn(move || serve(listener, port, target, &theirs));
        BreakableProxy { port, state }
    }

    /// Starts a proxy to a server's URL, `http://127.0.0.1:8333`.
    pub fn to_http(url: &str) -> BreakableProxy {
        let port = url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        BreakableProxy::to(port.expect("the URL ends with a port"))
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The proxy's URL.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends at the request with which more than this many bytes would have gone to the server.
    pub fn ending_after(self, bytes: u64, end: End) -> BreakableProxy {
        self.state.requests.end_after(bytes, end);
        self
    }

    /// Breaks at the first request that contains this text.
    pub fn breaking_at(self, text: &str) -> BreakableProxy {
        self.state.requests.break_at(text);
        self
    }

    /// Closes the connection of the first request that contains this text instead of forwarding the response.
    pub fn losing_the_response_to(self, text: &str) -> BreakableProxy {
        self.state.requests.lose_response_to(text);
        self
    }

    /// Returns the forwarded requests, each as its method and target.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.seen()
    }

    /// Closes all connections, and refuses new ones until [`BreakableProxy::open`].
    pub fn close(&self) {
        self.state.closed.store(true, Ordering::SeqCst);
        self.state.hang_up();
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::sleep(POLL);
        }
        self.state.hang_up();
    }

    /// Stalls both directions until [`BreakableProxy::open`].
    pub fn stall(&self) {
        self.state.stalled.store(true, Ordering::SeqCst);
    }

    /// Triggers a fault once, after this many bytes from the server.
    pub fn fail_after(&self, bytes: usize, fault: Fault) {
        *self.state.fault.lock().expect("no thread panics with it") = Some((bytes, fault));
    }

    /// Whether the fault is still pending.
    pub fn has_fault(&self) -> bool {
        self.state.fault.lock().expect("no thread panics with it").is_some()
    }

    /// Stalls both directions from the first request that contains this text.
    pub fn stall_at(&self, text: &str) {
        *self.state.stalls_at.lock().expect("no thread panics with it") = Some(text.to_owned());
    }

    /// Lets all bytes through again, and accepts connections again.
    pub fn open(&self) {
        *self.state.stalls_at.lock().expect("no thread panics with it") = None;
        self.state.closed.store(false, Ordering::SeqCst);
        self.state.stalled.store(false, Ordering::SeqCst);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            std::thread::sleep(POLL);
        }
    }
}

impl Drop for BreakableProxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::SeqCst);
        self.state.hang_up();
    }
}

impl State {
    /// Forwards one direction of a connection. `change` returns the bytes to forward, or `None` at the end.
    fn pump(
        &self,
        (mut from, mut to): (TcpStream, TcpStream),
        change: impl Fn(&State, &mut Vec<u8>, &[u8]) -> Option<Vec<u8>>,
    ) {
        let (mut buffer, mut unread) = (vec![0; 64 << 10], Vec::new());
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            self.stall_if_due(&buffer[..read]);
            let Some(bytes) = change(self, &mut unread, &buffer[..read]) else { break };
            self.wait_while(|| self.stalled.load(Ordering::SeqCst));
            if to.write_all(&bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
        let _ = from.shutdown(Shutdown::Both);
    }

    fn request(&self, unread: &mut Vec<u8>, bytes: &[u8], loses: &AtomicBool) -> Option<Vec<u8>> {
        match self.requests.admit(unread, bytes) {
            Admission::Forward => {}
            Admission::LoseResponse => loses.store(true, Ordering::SeqCst),
            Admission::End(End::Break) => return None,
            Admission::End(End::Stall) => {
                self.wait_while(|| true);
                return None;
            }
        }
        Some(bytes.to_vec())
    }

    fn response(&self, bytes: &[u8], loses: &AtomicBool) -> Option<Vec<u8>> {
        // The server has received the request, and its response is lost.
        if loses.load(Ordering::SeqCst) {
            return None;
        }
        let spoilt = self.spoil(bytes);
        if spoilt.is_none() {
            self.wait_while(|| true);
        }
        spoilt
    }

    /// Waits while the condition holds, until the end of the proxy.
    fn wait_while(&self, holds: impl Fn() -> bool) {
        while holds() && !self.has_ended() {
            std::thread::sleep(POLL);
        }
    }

    fn stall_if_due(&self, bytes: &[u8]) {
        let stalls_at = self.stalls_at.lock().expect("no thread panics with it");
        if stalls_at.as_ref().is_some_and(|text| memchr::memmem::find(bytes, text.as_bytes()).is_some()) {
            self.stalled.store(true, Ordering::SeqCst);
        }
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// Takes the fault if it is due within the next `read` bytes, with its position in them.
    fn take_fault(&self, read: usize) -> Option<(usize, Fault)> {
        let mut fault = self.fault.lock().expect("no thread panics with it");
        match fault.as_mut() {
            Some((left, _)) if *left >= read => {
                *left -= read;
                None
            }
            _ => fault.take(),
        }
    }

    /// Applies the fault to bytes from the server. Returns `None` if this connection gets no more bytes.
    fn spoil(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let Some((at, fault)) = self.take_fault(bytes.len()) else { return Some(bytes.to_vec()) };
        let (before, after) = bytes.split_at(at);
        Some(match fault {
            Fault::StallAll => {
                self.stalled.store(true, Ordering::SeqCst);
                bytes.to_vec()
            }
            Fault::StallOne => return None,
            Fault::Drop(count) => [before, &after[count.min(after.len())..]].concat(),
            Fault::Repeat(count) => [before, &after[..count.min(after.len())], after].concat(),
            Fault::Insert(new) => [before, &new, after].concat(),
        })
    }

    fn hang_up(&self) {
        for stream in self.streams.lock().expect("no thread panics with it").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Accepts connections while the proxy is open. While it is closed there is no listener, so the port refuses
/// connections.
fn serve(listener: TcpListener, port: u16, target: u16, state: &Arc<State>) {
    let mut listener = Some(listener);
    while !state.has_ended() {
        match &listener {
            Some(_) if state.closed.load(Ordering::SeqCst) => listener = None,
            Some(open) => {
                open.set_nonblocking(true).expect("a listener can be told not to block");
                match open.accept() {
                    Ok((client, _)) => join(client, target, state),
                    Err(_) => std::thread::sleep(POLL),
                }
            }
            None if state.closed.load(Ordering::SeqCst) => std::thread::sleep(POLL),
            None => listener = TcpListener::bind(("127.0.0.1", port)).ok(),
        }
    }
}

fn join(client: TcpStream, target: u16, state: &Arc<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    client.set_nonblocking(false).expect("a stream can be told to block");
    let second = |stream: &TcpStream| stream.try_clone().expect("a socket has a second handle");
    state.streams.lock().expect("no thread panics with it").extend([second(&client), second(&server)]);
    let (up, down) = ((second(&client), second(&server)), (server, client));
    let loses = Arc::new(AtomicBool::new(false));
    let (theirs, lost) = (Arc::clone(state), Arc::clone(&loses));
    std::thread::spawn(move || theirs.pump(up, |state, unread, bytes| state.request(unread, bytes, &lost)));
    let theirs = Arc::clone(state);
    std::thread::spawn(move || theirs.pump(down, |state, _, bytes| state.response(bytes, &loses)));
}
