//! A malicious server, or another program in its place: invalid lengths, and endless messages and greetings.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::harness::cost::cost_of_failure;
use crate::harness::postgres::Server;
use crate::harness::program::pg_backup;

/// The memory limit of a run in MiB, whatever the server sends. A test build uses about 60 MiB without any
/// data.
const MEMORY: f64 = 150.0;

/// Starts a server on the loopback address that sends the same bytes to every client, and repeats `forever`
/// without end. It runs until this process ends.
fn server(says: Vec<u8>, forever: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (says, forever) = (Arc::new(says), Arc::new(forever));
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (says, forever) = (Arc::clone(&says), Arc::clone(&forever));
            std::thread::spawn(move || talk(client, &says, &forever));
        }
    });
    port
}

fn talk(mut client: TcpStream, says: &[u8], forever: &[u8]) {
    let mut startup = [0; 1024];
    let Ok(1..) = client.read(&mut startup) else { return };
    if client.write_all(says).is_err() {
        return;
    }
    while !forever.is_empty() && client.write_all(forever).is_ok() {}
    // Sends nothing more until the client disconnects.
    while let Ok(1..) = client.read(&mut startup) {}
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

fn status(name: &str, value: &str) -> Vec<u8> {
    message(b'S', format!("{name}\0{value}\0").as_bytes())
}

/// The messages up to the end of the login, with this version.
fn greeting(version: &str) -> Vec<u8> {
    let ready = [message(b'K', &[0; 8]), message(b'Z', b"I")].concat();
    let version = if version.is_empty() { Vec::new() } else { status("server_version", version) };
    [message(b'R', &[0; 4]), version, ready].concat()
}

fn notice(tag: u8, text: &str) -> Vec<u8> {
    message(tag, format!("SFATAL\0VFATAL\0CXX000\0M{text}\0\0").as_bytes())
}

/// Runs `dump` with such a server and returns its messages. The dump must end soon and use little memory.
#[track_caller]
fn dump(says: Vec<u8>, forever: Vec<u8>) -> String {
    let port = server(says, forever);
    let mut command = pg_backup();
    command.args(["dump", "-w", "-d", &format!("postgres://u:p@127.0.0.1:{port}/d?sslmode=disable")]);
    command.env("BACKUP_STALL_TIMEOUT", "2s");
    let begun = Instant::now();
    let (output, cost) = cost_of_failure(&mut command);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(cost < MEMORY, "{cost} MiB: {output}");
    assert!(output.len() < 20_000, "{} bytes", output.len());
    output
}

#[test]
fn lengths_that_cannot_be_are_refused_at_once() {
    let endless = 0x7fff_ffffu32.to_be_bytes();
    for tag in *b"NESRDTdZ" {
        let lie = [&[tag][..], &endless].concat();
        let lost = "lost synchronization with server: got message type";
        for (when, says) in [("at login", lie.clone()), ("later", [greeting("15.18"), lie].concat())] {
            let text = dump(says, vec![b'x'; 64 << 10]);
            assert!(text.contains(lost), "{} {when}: {text}", tag as char);
        }
    }
}

#[test]
fn greetings_and_notices_without_end_end() {
    let greets = "the server sends an endless greeting";
    let begun = message(b'R', &[0; 4]);
    let notices = notice(b'N', &"n".repeat(1000)).repeat(50);
    let settings: Vec<u8> = (0..1000).flat_map(|n| status(&format!("s{n}"), "v")).collect();
    let keys = message(b'K', &[0; 8]).repeat(1000);
    for forever in [notices.clone(), settings.clone(), keys] {
        let text = dump(begun.clone(), forever);
        assert!(text.contains(greets), "{text}");
    }
    for forever in [notice(b'N', &"n".repeat(1 << 20)), status("TimeZone", &"v".repeat(20_000)).repeat(100)] {
        let text = dump(greeting("15.18"), forever);
        assert!(text.contains("the server sends endless notices"), "{text}");
    }
}

#[test]
fn a_version_that_is_none_is_refused() {
    for version in ["", "x", "15\n; DROP TABLE t", &"1".repeat(20_000)] {
        let text = dump(greeting(version), Vec::new());
        assert!(text.contains("it did not report its version"), "{text}");
    }
    // Silence after a valid greeting.
    let text = dump(greeting("15.18"), Vec::new());
    assert!(text.contains("BACKUP_STALL_TIMEOUT is 2 s"), "{text}");
    // Silence from the start.
    let text = dump(Vec::new(), Vec::new());
    assert!(text.contains("failed: timeout expired"), "{text}");
}

#[test]
fn a_long_text_is_cut_and_a_strange_one_is_made_readable() {
    let text = dump(notice(b'E', &"x".repeat(10 << 20)), Vec::new());
    assert!(text.contains("xxxxx") && text.contains("more bytes)"), "{} bytes", text.len());
    let text = dump(notice(b'E', "a\u{202e}b\u{1b}[2J\u{2066}"), Vec::new());
    assert!(text.contains("a\u{fffd}b\u{fffd}[2J\u{fffd}"), "{text}");
}

/// Forwards to a server, but repeats the first row of the response to the first query that contains `text`
/// without end.
fn endless_rows(server: &Server, text: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, target) = (listener.local_addr().unwrap().port(), server.port());
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", target)).unwrap();
            let lies = Arc::new(AtomicBool::new(false));
            let (seen, from, to) =
                (Arc::clone(&lies), client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || carry_questions(from, to, text, &seen));
            std::thread::spawn(move || carry_answers(server, client, &lies));
        }
    });
    port
}

fn carry_questions(mut from: TcpStream, mut to: TcpStream, text: &str, lies: &AtomicBool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if memchr::memmem::find(&buffer[..length], text.as_bytes()).is_some() {
            lies.store(true, Ordering::SeqCst);
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

/// Forwards complete messages. Only the response to the TLS request is not a message.
fn carry_answers(mut from: TcpStream, mut to: TcpStream, lies: &AtomicBool) {
    let mut head = [0; 5];
    while from.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
        let mut message = [&head[..], &vec![0; length - 4]].concat();
        if from.read_exact(&mut message[5..]).is_err() || to.write_all(&message).is_err() {
            break;
        }
        if head[0] == b'D' && lies.load(Ordering::SeqCst) {
            let rows = message.repeat((64 << 10) / message.len() + 1);
            while to.write_all(&rows).is_ok() {}
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

#[test]
fn an_answer_without_end_is_refused_at_its_limit() {
    let server = Server::start();
    let database = server.database();
    database.execute("CREATE TABLE t (a int PRIMARY KEY)");
    let url = |text| {
        let (there, here) = (format!(":{}/", server.port()), format!(":{}/", endless_rows(&server, text)));
        format!("{}?sslmode=disable", database.url().replace(&there, &here))
    };
    let refused = |command: &mut std::process::Command, what: &str, limit: &str| {
        command.env("BACKUP_CATALOG_LIMIT", "16MiB");
        let (text, cost) = cost_of_failure(command);
        assert!(cost < MEMORY, "{cost} MiB: {text}");
        assert!(text.contains(what) && text.contains(limit), "{text}");
    };
    let catalogs = " sent more than 16 MiB in answer to catalog queries (BACKUP_CATALOG_LIMIT)";
    let question = " sent more than 16 MiB in answer to a short query";
    for (text, what, limit) in [
        // Rows that are collected, and rows that are processed one by one.
        ("pg_catalog.pg_roles r", "catalog query for roles failed: server 127.0.0.1:", catalogs),
        ("pg_catalog.pg_amproc p\n", "catalog query for dependencies failed: server 127.0.0.1:", catalogs),
        (
            "pg_catalog.pg_is_in_recovery()",
            "reading the session's settings failed: server 127.0.0.1:",
            question,
        ),
    ] {
        refused(pg_backup().args(["dump", "-w", "-d", &url(text)]), what, limit);
    }
    // A query of another subcommand.
    let script = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&script, database.pg_dump(&[])).unwrap();
    let target = url("pg_catalog.count(*) OVER ()");
    refused(
        pg_backup().args(["restore", "--to", &target]).arg(script.path()),
        "looking for objects in the target",
        question,
    );
}
