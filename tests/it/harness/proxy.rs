//! A way to a server on the loopback address that can be closed or stopped up for a while, as a network does.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::port;

/// How long nobody looks at what the way is like.
const LOOK: Duration = Duration::from_millis(5);

/// A TCP port that leads to another one.
pub struct Proxy {
    port: u16,
    way: Arc<Way>,
}

/// What the way is like.
#[derive(Default)]
struct Way {
    closed: AtomicBool,
    stalled: AtomicBool,
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

    /// Lets everything through.
    pub fn open(&self) {
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
    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
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
    for (from, to) in [(second(&client), second(&server)), (server, client)] {
        let way = Arc::clone(way);
        std::thread::spawn(move || pump(from, to, &way));
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, way: &Way) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        while way.stalled.load(Ordering::SeqCst) && !way.has_ended() {
            std::thread::sleep(LOOK);
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
