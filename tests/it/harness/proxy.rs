//! A way to a server on the loopback address that can be closed or stopped up for a while, as a network does, or that
//! does something to what the server sends when so many bytes have passed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::port;

/// How long nobody looks at what the way is like.
const LOOK: Duration = Duration::from_millis(5);

/// What happens once when the bytes that the server may send have passed.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Nothing goes on, on this connection or any other.
    StallAll,
    /// Nothing more comes from the server on this connection.
    StallOne,
    /// These bytes are dropped.
    Drop(usize),
    /// These bytes come once more.
    Repeat(usize),
    /// This is put in.
    Insert(Vec<u8>),
}

/// A TCP port that leads to another one.
pub struct Proxy {
    port: u16,
    way: Arc<Way>,
}

/// What the way is like.
#[derive(Default)]
struct Way {
    /// Bytes from the server until a fault, and which.
    fault: Mutex<Option<(usize, Fault)>>,
    closed: AtomicBool,
    stalled: AtomicBool,
    /// What stalls it when a client says so.
    stalls_at: Mutex<Option<String>>,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Opens a way to a port.
    pub fn to(target: u16) -> Proxy {
        let way = Arc::new(Way::default());
        let port = port::free();
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is this test's");
        let theirs = Arc::clone(&way);
        std::thread::spawn(move || serve(listener, port, target, &theirs));
        Proxy { port, way }
    }

    /// Where it begins.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends all connections, and refuses new ones until it is opened again.
    pub fn close(&self) {
        self.way.closed.store(true, Ordering::SeqCst);
        self.way.hang_up();
        while TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
            std::thread::sleep(LOOK);
        }
        self.way.hang_up();
    }

    /// Lets nothing more through, in neither direction, until it is opened again.
    pub fn stall(&self) {
        self.way.stalled.store(true, Ordering::SeqCst);
    }

    /// Has something happen to what the server sends, once, after so many bytes of it.
    pub fn fail_after(&self, bytes: usize, fault: Fault) {
        *self.way.fault.lock().expect("no thread panics with it") = Some((bytes, fault));
    }

    /// Whether that is still to come.
    pub fn has_fault(&self) -> bool {
        self.way.fault.lock().expect("no thread panics with it").is_some()
    }

    /// The same, from the first request on that says this.
    pub fn stall_at(&self, text: &str) {
        *self.way.stalls_at.lock().expect("no thread panics with it") = Some(text.to_owned());
    }

    /// Lets everything through.
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

    /// Takes the fault out if it comes within the next bytes, and says where.
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

    /// What becomes of bytes from the server; `None` if nothing more comes on this connection.
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

/// Listens while the way is open; a port on which nobody listens refuses connections.
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
