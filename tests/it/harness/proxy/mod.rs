//! A proxy to a server on the loopback address. It can refuse or stall connections for a while, as a network
//! does, or change the server's bytes after a given count.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::port;

/// The interval between two checks of the proxy's state.
const LOOK: Duration = Duration::from_millis(5);

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
pub struct Proxy {
    port: u16,
    way: Arc<Way>,
}

/// The proxy's state.
#[derive(Default)]
struct Way {
    /// The number of bytes from the server before a fault, and the fault.
    fault: Mutex<Option<(usize, Fault)>>,
    closed: AtomicBool,
    stalled: AtomicBool,
    /// The text in a client's request that stalls the proxy.
    stalls_at: Mutex<Option<String>>,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts a proxy to a port.
    pub fn to(target: u16) -> Proxy {
        let way = Arc::new(Way::default());
        let port = port::free();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is this test's");
        let theirs = Arc::clone(&way);
        std::thread::spawn(move || serve(listener, port, target, &theirs));
        Proxy { port, way }
    }

    /// The port of the proxy.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections, and refuses new ones until [`Proxy::open`].
    pub fn close(&self) {
        self.way.closed.store(true, Ordering::SeqCst);
        self.way.hang_up();
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::sleep(LOOK);
        }
        self.way.hang_up();
    }

    /// Stalls both directions until [`Proxy::open`].
    pub fn stall(&self) {
        self.way.stalled.store(true, Ordering::SeqCst);
    }

    /// Triggers a fault once, after this many bytes from the server.
    pub fn fail_after(&self, bytes: usize, fault: Fault) {
        *self.way.fault.lock().expect("no thread panics with it") = Some((bytes, fault));
    }

    /// Whether the fault is still pending.
    pub fn has_fault(&self) -> bool {
        self.way.fault.lock().expect("no thread panics with it").is_some()
    }

    /// Stalls both directions from the first request that contains this text.
    pub fn stall_at(&self, text: &str) {
        *self.way.stalls_at.lock().expect("no thread panics with it") = Some(text.to_owned());
    }

    /// Lets all bytes through again, and accepts connections again.
    pub fn open(&self) {
        *self.way.stalls_at.lock().expect("no thread panics with it") = None;
        self.way.closed.store(false, Ordering::SeqCst);
        self.way.stalled.store(false, Ordering::SeqCst);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.ended.store(true, Ordering::SeqCst);
        self.way.hang_up();
    }
}

impl Way {
    fn look(&self, bytes: &[u8]) {
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
fn serve(listener: TcpListener, port: u16, target: u16, way: &Arc<Way>) {
    let mut listener = Some(listener);
    while !way.has_ended() {
        match &listener {
            Some(_) if way.closed.load(Ordering::SeqCst) => listener = None,
            Some(open) => {
                open.set_nonblocking(true).expect("a listener can be told not to block");
                match open.accept() {
                    Ok((client, _)) => join(client, target, way),
                    Err(_) => std::thread::sleep(LOOK),
                }
            }
            None if way.closed.load(Ordering::SeqCst) => std::thread::sleep(LOOK),
            None => listener = TcpListener::bind(("127.0.0.1", port)).ok(),
        }
    }
}

fn join(client: TcpStream, target: u16, way: &Arc<Way>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", target)) else { return };
    client.set_nonblocking(false).expect("a stream can be told to block");
    let second = |stream: &TcpStream| stream.try_clone().expect("a socket has a second handle");
    way.streams.lock().expect("no thread panics with it").extend([second(&client), second(&server)]);
    let ways = [(second(&client), second(&server), false), (server, client, true)];
    for (from, to, is_answers) in ways {
        let way = Arc::clone(way);
        std::thread::spawn(move || pump(from, to, &way, is_answers));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, way: &Way, is_answers: bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        way.look(&buffer[..read]);
        let bytes = if is_answers { way.spoil(&buffer[..read]) } else { Some(buffer[..read].to_vec()) };
        let Some(bytes) = bytes else {
            while !way.has_ended() {
                std::thread::sleep(LOOK);
            }
            break;
        };
        while way.stalled.load(Ordering::SeqCst) && !way.has_ended() {
            std::thread::sleep(LOOK);
        }
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
