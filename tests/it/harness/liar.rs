//! A web server in place of a store. It sends the bytes that a test gives it, and can forward requests to the
//! real store.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request as received.
pub struct Request {
    /// For example `PUT /bucket/key?partNumber=1`.
    pub line: String,
    head: String,
    body: Vec<u8>,
}

/// The response to a request.
pub enum Answer {
    /// Sends these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Sends the first bytes, then repeats the second ones at this interval.
    Endless(Vec<u8>, Vec<u8>, Duration),
    /// Sends nothing until the client disconnects.
    Silence,
    /// Closes the connection.
    Close,
}

/// Returns an HTTP response with these header lines.
pub fn http(status: &str, head: &[&str], body: &str) -> Answer {
    let lines: String = head.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    let answer =
        format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    Answer::Bytes(answer.into_bytes())
}

/// Returns an error in S3's format.
pub fn error(status: &str, code: &str) -> Answer {
    http(status, &["Content-Type: application/xml"], &format!("<Error><Code>{code}</Code></Error>"))
}

impl Request {
    /// Whether the request line starts with `method` and contains `part`.
    pub fn is(&self, method: &str, part: &str) -> bool {
        self.line.starts_with(method) && self.line.contains(part)
    }

    /// Sends the request to the real store and returns the store's response.
    pub fn forward(&self, server: &str) -> Answer {
        let mut stream =
            TcpStream::connect(server.trim_start_matches("http://")).expect("the server is there");
        let head = self.head.trim_end_matches("\r\n");
        stream
            .write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())
            .expect("it takes the head");
        // The store may reject the request before it has read the whole body.
        let _ = stream.write_all(&self.body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Answer::Bytes(answer)
    }
}

/// The server. It ends when this is dropped.
pub struct Liar {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    requests: Mutex<Vec<String>>,
}

impl Liar {
    /// Starts a server with these responses.
    pub fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Liar {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let (theirs, answer) = (Arc::clone(&shared), Arc::new(answer));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if theirs.ended.load(Ordering::SeqCst) {
                    return;
                }
                let (shared, answer) = (Arc::clone(&theirs), Arc::clone(&answer));
                thread::spawn(move || {
                    let mut client = client;
                    let Some(request) = read(&mut client) else { return };
                    shared.requests.lock().expect("no thread panics with it").push(request.line.clone());
                    give(client, answer(&request), &shared.ended);
                });
            }
        });
        Liar { port, shared }
    }

    /// The server's URL.
    pub fn http(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the variables of another store, changed to point pg-backup at this server.
    pub fn instead_of(&self, environment: Vec<(String, String)>) -> Vec<(String, String)> {
        let at = |(name, value): (String, String)| match name.as_str() {
            "BACKUP_S3_ENDPOINT" => (name, self.http()),
            _ => (name, value),
        };
        environment.into_iter().map(at).collect()
    }

    /// Returns the number of requests whose line starts with `method` and contains `part`.
    pub fn count(&self, method: &str, part: &str) -> usize {
        let requests = self.shared.requests.lock().expect("no thread panics with it");
        requests.iter().filter(|line| line.starts_with(method) && line.contains(part)).count()
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        // Wakes the listener.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn read(client: &mut TcpStream) -> Option<Request> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte).ok()?;
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    if header("expect:").is_some() {
        client.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length = header("content-length:").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    client.read_exact(&mut body).ok()?;
    let line = head.lines().next()?.trim_end_matches(" HTTP/1.1").to_owned();
    Some(Request { line, head, body })
}

fn give(mut client: TcpStream, answer: Answer, ended: &AtomicBool) {
    match answer {
        Answer::Bytes(bytes) => drop(client.write_all(&bytes)),
        Answer::Endless(first, again, distance) => {
            let mut more = client.write_all(&first).is_ok();
            while more && !ended.load(Ordering::SeqCst) {
                more = client.write_all(&again).is_ok();
                thread::sleep(distance);
            }
        }
        Answer::Silence => {
            // The client sends nothing more, so this read returns when the client disconnects.
            let _ = client.read(&mut [0]);
        }
        Answer::Close => {}
    }
}
