use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn wire(startup: Startup) -> (Wire<DuplexStream>, DuplexStream, NextSink, Arc<ConnectionEvents>) {
    let (near, far) = duplex(1 << 20);
    let (next_sink, words) = (NextSink::default(), Arc::new(ConnectionEvents::default()));
    let wire = Wire::new(near, startup, next_sink.clone(), Scripts::default(), Arc::clone(&words));
    (wire, far, next_sink, words)
}

fn started() -> (Wire<DuplexStream>, DuplexStream, NextSink, Arc<ConnectionEvents>) {
    let (mut wire, far, next_sink, words) = wire(Startup::default());
    wire.outgoing.startup = None;
    (wire, far, next_sink, words)
}

#[tokio::test]
async fn the_startup_message_asks_for_the_wanted_encoding() {
    let settings = vec![("timezone", "UTC".to_owned())];
    for (encoding, expected) in [
        (None, &b"user\0me\0timezone\0UTC\0\0"[..]),
        (Some("LATIN1".to_owned()), &b"user\0me\0client_encoding\0LATIN1\0timezone\0UTC\0\0"[..]),
    ] {
        let startup = Startup { client_encoding: encoding, settings: settings.clone(), password: None };
        let (mut wire, mut far, ..) = wire(startup);
        let body = [&[0, 3, 0, 0], &b"client_encoding\0UTF8\0user\0me\0\0"[..]].concat();
        let whole = [&u32::try_from(body.len() + 4).unwrap().to_be_bytes(), &body[..]].concat();
        // In two parts, as when a socket's buffer is full.
        wire.write_all(&whole[..7]).await.unwrap();
        wire.write_all(&whole[7..]).await.unwrap();
        wire.flush().await.unwrap();
        let mut got = vec![0; 8 + expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(&got[8..], expected);
        assert_eq!(got[..8], [0, 0, 0, u8::try_from(got.len()).unwrap(), 0, 3, 0, 0]);
    }
}

#[tokio::test]
async fn rows_leave_as_they_are_in_whatever_pieces_they_come() {
    let text = super::super::encoding::from_bytes(b"caf\xE9");
    let query = message(b'Q', &[text.as_bytes(), b"\0"].concat());
    // Bytes of a row that look like a message and like an escape.
    let rows = [query.clone(), text.into_bytes(), vec![b'd'; 300]].concat();
    let sent = [message(b'd', &rows), message(b'd', b""), message(b'c', b""), query].concat();
    let expected = [&sent[..rows.len() + 15], &message(b'Q', b"caf\xE9\0")].concat();
    for piece in [1, 2, 4, 5, 6, 7, 300, sent.len()] {
        let (mut wire, mut far, ..) = started();
        for bytes in sent.chunks(piece) {
            wire.write_all(bytes).await.unwrap();
        }
        wire.flush().await.unwrap();
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected, "in pieces of {piece}");
    }
}

#[tokio::test]
async fn a_long_query_leaves_without_a_copy_of_it() {
    let (mut wire, mut far, ..) = started();
    let query = message(b'Q', &[&vec![b'x'; 3 << 20][..], b"\0"].concat());
    let sent = [&query[..], &message(b'Q', b"SELECT 1\0")].concat();
    let length = sent.len();
    let reading = tokio::spawn(async move {
        let mut got = vec![0; length];
        far.read_exact(&mut got).await.map(|_| got)
    });
    let mut rest = &sent[..];
    while !rest.is_empty() {
        let taken = wire.write(rest).await.unwrap();
        rest = &rest[taken..];
        assert!(wire.outgoing.partial.is_empty() && wire.outgoing.ready.len() <= 2 * WRITE_BUFFER);
    }
    wire.flush().await.unwrap();
    assert_eq!(reading.await.unwrap().unwrap(), sent);
}

#[tokio::test]
async fn escaped_bytes_leave_as_bytes() {
    let (mut wire, mut far, ..) = started();
    let text = super::super::encoding::from_bytes(b"caf\xE9");
    let numbers = [0, 1, 0xF4, 0x8F, 0xBC, 0x80];
    let parse = message(b'P', &[b"\0", text.as_bytes(), b"\0", &numbers[..]].concat());
    let query = message(b'Q', &[text.as_bytes(), b"\0"].concat());
    let bind = message(b'B', text.as_bytes());
    wire.write_all(&[parse, query, bind.clone()].concat()).await.unwrap();
    wire.flush().await.unwrap();
    let expected =
        [message(b'P', &[&b"\0caf\xE9\0"[..], &numbers[..]].concat()), message(b'Q', b"caf\xE9\0"), bind]
            .concat();
    let mut got = vec![0; expected.len()];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn a_copy_that_has_not_begun_is_not_taken_back() {
    let (bind, fail, sync) = (message(b'B', b"\0\0"), message(b'f', b"\0"), message(b'S', b""));
    let (error, begun) = (message(b'E', b"SERROR\0\0"), message(b'G', b"\0\0\0"));
    for (answers, is_sent) in [(vec![error.clone()], false), (vec![begun, error], true), (vec![], true)] {
        let (mut wire, mut far, ..) = started();
        wire.write_all(&[&bind[..], &sync].concat()).await.unwrap();
        let answers = answers.concat();
        far.write_all(&answers).await.unwrap();
        wire.read_exact(&mut vec![0; answers.len()]).await.unwrap();
        wire.write_all(&[&fail[..], &sync, &bind, &sync].concat()).await.unwrap();
        wire.flush().await.unwrap();
        let end = if is_sent { [&fail[..], &sync].concat() } else { Vec::new() };
        let expected = [&bind[..], &sync, &end, &bind, &sync].concat();
        let mut got = vec![0; expected.len()];
        far.read_exact(&mut got).await.unwrap();
        assert_eq!(got, expected, "after {answers:?}");
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_is_made_readable() {
    let (mut wire, mut far, _, words) = started();
    let column = [b"caf\xE9\0", &[0xFF; 18][..]].concat();
    far.write_all(&message(b'T', &[&[0, 1], &column[..]].concat())).await.unwrap();
    far.write_all(&message(b'E', b"VFATAL\0C57P01\0Mcaf\xE9\0\0")).await.unwrap();
    far.write_all(&message(b'D', b"\xE9")).await.unwrap();
    let readable = [&[0, 1], "caf\u{FFFD}\0".as_bytes(), &[0xFF; 18]].concat();
    let expected = [
        message(b'T', &readable),
        message(b'E', "VFATAL\0C57P01\0Mcaf\u{FFFD}\0\0".as_bytes()),
        message(b'D', b"\xE9"),
    ]
    .concat();
    let mut got = vec![0; expected.len()];
    wire.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
    let (text, code) = ("FATAL: caf\u{FFFD} (SQLSTATE 57P01)".to_owned(), Some("57P01".to_owned()));
    assert_eq!(words.fatal_error.get(), Some(&FatalError { text, code }));
}

/// Returns a row of `bytes` bytes and its newline.
fn row(bytes: usize) -> Vec<u8> {
    [&vec![b'x'; bytes][..], b"\n"].concat()
}

fn sink(sender: mpsc::Sender<CopyChunk>, chunk_size: usize) -> CopySink {
    CopySink { sender, chunk_size, buffers: BufferPool::new(3, 4096), window: None, gate: None }
}

/// Rows of many sizes, split at every position, arrive complete and in order, in chunks of whole rows of one
/// COPY.
#[tokio::test]
async fn rows_are_lifted_out_of_the_copies_of_a_query() {
    let rows: Vec<Vec<u8>> = [0, 1, 5, 300, 7, 2000, 1, 0, 90].iter().map(|n| row(*n)).collect();
    let mut stream = message(b'H', &[0, 0, 0]);
    for row in &rows {
        stream.extend(message(b'd', row));
    }
    let notice = message(b'N', b"SNOTICE\0\0");
    stream.extend(&notice);
    stream.extend(message(b'd', b"last\n"));
    let between = message(b'C', b"COPY 10\0");
    stream.extend([message(b'c', b""), between.clone(), message(b'H', &[0, 0, 0])].concat());
    let tail = [message(b'C', b"COPY 0\0"), message(b'Z', b"I")].concat();
    stream.extend([message(b'c', b""), tail.clone()].concat());
    let expected = [rows.concat(), b"last\n".to_vec()].concat();
    for step in [1, 2, 3, 7, 64, 4096] {
        let (mut wire, mut far, next_sink, _) = started();
        let (sender, mut receiver) = mpsc::channel(1);
        next_sink.set(sink(sender, 256));
        let stream = stream.clone();
        tokio::spawn(async move {
            for part in stream.chunks(step) {
                far.write_all(part).await.unwrap();
                far.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
            std::future::pending::<()>().await;
        });
        let length = notice.len() + between.len() + tail.len();
        let reading = tokio::spawn(async move {
            let mut rest = vec![0; length];
            wire.read_exact(&mut rest).await.unwrap();
            rest
        });
        let (mut data, mut count, mut ends) = (Vec::new(), 0, Vec::new());
        while let Some(chunk) = receiver.recv().await {
            assert!(chunk.data.len() >= 256 || chunk.is_last);
            count += chunk.rows;
            data.extend_from_slice(&chunk.data);
            if chunk.is_last {
                ends.push(count);
            }
        }
        assert_eq!((data, ends), (expected.clone(), vec![10, 10]), "in steps of {step}");
        let rest = reading.await.unwrap();
        assert_eq!(rest, [notice.clone(), between.clone(), tail.clone()].concat());
    }
}

#[tokio::test]
async fn no_more_than_the_window_is_on_its_way() {
    let (mut wire, mut far, next_sink, _) = started();
    let (sender, mut receiver) = mpsc::channel(100);
    let gate = Arc::new(Semaphore::new(0));
    let window = Some(Window::new(100));
    next_sink.set(CopySink { window, gate: Some(Arc::clone(&gate)), ..sink(sender, 40) });
    // Only the last row is larger than the window.
    let rows = [message(b'd', &row(39)).repeat(6), message(b'd', &row(499))].concat();
    let stream = [message(b'H', &[0, 0, 0]), rows, message(b'c', b""), message(b'Z', b"I")].concat();
    far.write_all(&stream).await.unwrap();
    let reading = tokio::spawn(async move { wire.read_exact(&mut [0; 6]).await.unwrap() });
    let mut waiting = Vec::new();
    let mut lengths = Vec::new();
    loop {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        while let Ok(chunk) = receiver.try_recv() {
            lengths.push(chunk.data.len());
            waiting.push(chunk);
        }
        match (waiting.is_empty(), lengths.len()) {
            // The large row is not read before its permit is available.
            (true, 6) => gate.add_permits(1),
            (true, _) => break,
            (false, _) => {}
        }
        waiting.retain(|chunk| !chunk.data.is_empty());
        let bytes: usize = waiting.iter().map(|chunk| chunk.data.len()).sum();
        assert!(bytes <= 100 || waiting.len() == 1, "{bytes} bytes in {} chunks", waiting.len());
        if !waiting.is_empty() {
            waiting.remove(0);
        }
    }
    assert_eq!(lengths, [40, 40, 40, 40, 40, 40, 500, 0]);
    reading.await.unwrap();
}

#[tokio::test]
async fn an_abandoned_copy_is_read_to_its_end() {
    let (mut wire, mut far, next_sink, _) = started();
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    next_sink.set(sink(sender, 4));
    let rows = message(b'd', b"0123456789\n").repeat(1000);
    let end = [message(b'C', b"COPY 1000\0"), message(b'Z', b"I")].concat();
    let stream = [message(b'H', &[0, 0, 0]), rows, message(b'c', b""), end.clone()].concat();
    far.write_all(&stream).await.unwrap();
    let mut rest = vec![0; end.len()];
    wire.read_exact(&mut rest).await.unwrap();
    assert_eq!(rest, end);
}

/// Reads a COPY from a stream, after which the connection ends. Returns the rows and whether the query
/// succeeded.
async fn copied(stream: Vec<u8>) -> (Vec<u8>, io::Result<()>) {
    let (mut wire, mut far, next_sink, _) = started();
    let (sender, mut receiver) = mpsc::channel(1000);
    next_sink.set(sink(sender, 64));
    far.write_all(&stream).await.unwrap();
    drop(far);
    let mut rest = vec![0; END.len()];
    let end = wire.read_exact(&mut rest).await.and_then(|_| match rest == *END {
        true => Ok(()),
        false => Err(io::Error::other("another message")),
    });
    // A COPY that did not begin has left its sink.
    drop((wire, next_sink));
    let mut rows = Vec::new();
    while let Some(chunk) = receiver.recv().await {
        rows.extend_from_slice(&chunk.data);
    }
    (rows, end)
}

/// The messages after the rows: `COPY 12`, and ready for query.
const END: &[u8] = b"C\0\0\0\x0cCOPY 12\0Z\0\0\0\x05T";

/// Returns rows whose bytes often look like messages.
fn rows() -> Vec<Vec<u8>> {
    (0..12)
        .map(|n: u8| [b"d\0\0\0\tabcd\\tC12", &vec![b'0' + n % 10; usize::from(n)][..], b"\n"].concat())
        .collect()
}

fn stream() -> Vec<u8> {
    let rows = rows().iter().flat_map(|row| message(b'd', row)).collect();
    [message(b'H', &[0, 0, 0]), rows, message(b'c', b""), END.to_vec()].concat()
}

/// For any loss or addition in transit, the query fails or its rows are those that were sent.
#[tokio::test]
async fn a_damaged_copy_never_looks_whole() {
    let (whole, expected) = (stream(), rows().concat());
    let (rows, end) = copied(whole.clone()).await;
    assert!(end.is_ok() && rows == expected);
    let mut failed = 0;
    for at in 0..whole.len() {
        for length in [1, 5, 19] {
            let to = (at + length).min(whole.len());
            let dropped = [&whole[..at], &whole[to..]].concat();
            let doubled = [&whole[..to], &whole[at..]].concat();
            for damaged in [dropped, doubled] {
                let (rows, end) = copied(damaged).await;
                failed += usize::from(end.is_err());
                assert!(end.is_err() || rows == expected, "{length} bytes at {at}");
            }
        }
    }
    assert!(failed > whole.len() * 5, "{failed} of {}", whole.len() * 6);
}

#[tokio::test]
async fn what_cannot_come_among_rows_is_an_error_at_once() {
    let begin = [message(b'H', &[0, 0, 0]), message(b'd', b"a\n")].concat();
    let error = message(b'E', b"SERROR\0\0");
    for (then, expected) in [
        (message(b'Z', b"I"), "got message type \"Z\", length 5"),
        (message(b'C', b"COPY 1\0"), "got message type \"C\", length 11"),
        (message(b'd', b""), "got message type \"d\", length 4"),
        (message(b'd', b"b"), "got a row of COPY that does not end with its newline"),
        ([message(b'c', b""), message(b'd', b"b\n")].concat(), "got message type \"d\", length 6"),
        ([error.clone(), message(b'd', b"b\n")].concat(), "got message type \"d\", length 6"),
        ([message(b'c', b""), message(b'C', b"COPY 2\0")].concat(), "the server sent 2 rows, but 1 arrived"),
    ] {
        let (_, end) = copied([begin.clone(), then].concat()).await;
        let text = end.unwrap_err().to_string();
        assert!(text.ends_with(expected), "{text}, not {expected}");
    }
}

#[tokio::test]
async fn the_end_of_a_copy_that_has_not_begun_is_the_driver_s() {
    let end = message(b'c', b"");
    for piece in [1, 2, end.len()] {
        let (mut wire, mut far, next_sink, _) = started();
        next_sink.set(sink(mpsc::channel(1).0, 64));
        let mut got = vec![0; end.len()];
        let (end, read) = (&end, wire.read_exact(&mut got));
        let sent = async move {
            for bytes in end.chunks(piece) {
                far.write_all(bytes).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(sent, async { read.await.unwrap() });
        assert_eq!(got, *end, "in pieces of {piece}");
    }
}

#[tokio::test]
async fn an_error_before_a_senseless_message_is_reported() {
    let error = message(b'E', b"SFATAL\0C57P01\0Mbye\0\0");
    let (mut wire, mut far, ..) = started();
    far.write_all(&[&error[..], b"HTTP/1.1 400"].concat()).await.unwrap();
    let mut got = vec![0; 1000];
    assert_eq!(wire.read(&mut got).await.unwrap(), error.len());
    assert_eq!(got[..error.len()], error);
    let text = wire.read(&mut got).await.unwrap_err().to_string();
    assert!(text.starts_with("lost synchronization with server: "), "{text}");
}

#[tokio::test]
async fn a_long_error_is_cut_and_what_follows_it_is_not() {
    let text = "x".repeat(3 * frame::TEXT);
    let long = message(b'E', format!("VFATAL\0C57P01\0M{text}\0Dmore\0\0").as_bytes());
    let (mut wire, mut far, _, events) = started();
    tokio::spawn(async move { far.write_all(&[long, message(b'Z', b"I")].concat()).await.unwrap() });
    let mut head = [0; 5];
    wire.read_exact(&mut head).await.unwrap();
    let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
    assert!(head[0] == b'E' && length < frame::TEXT + 10, "{length}");
    let mut body = vec![0; length - 4];
    wire.read_exact(&mut body).await.unwrap();
    assert!(body.starts_with(b"VFATAL\0C57P01\0Mxxx") && body.ends_with(b"x\0\0"));
    let mut ready = [0; 6];
    wire.read_exact(&mut ready).await.unwrap();
    assert_eq!(ready, *message(b'Z', b"I"));
    assert_eq!(events.fatal_error.get().and_then(|words| words.code.clone()).as_deref(), Some("57P01"));
}

#[tokio::test]
async fn the_server_owes_an_answer_to_each_query_until_it_is_ready() {
    let (mut wire, mut far, _, events) = started();
    let owes = || events.activity.silent_since().is_some();
    // Reads until no more bytes are available.
    async fn read(wire: &mut Wire<DuplexStream>) {
        let mut buffer = [0; 64];
        let reading = tokio::time::timeout(std::time::Duration::from_millis(1), async {
            while wire.read(&mut buffer).await.is_ok() {}
        });
        assert!(reading.await.is_err());
    }
    read(&mut wire).await;
    assert!(!owes(), "nothing was asked");
    let (sync, bind) = (message(b'S', b""), message(b'B', b"\0\0"));
    wire.write_all(&[&bind[..], &sync].concat()).await.unwrap();
    assert!(owes());
    far.write_all(&message(b'Z', b"I")).await.unwrap();
    read(&mut wire).await;
    assert!(!owes(), "it has answered");
    // A COPY into a table: the `Sync` after the statement gets no answer, the one after the rows does.
    wire.write_all(&[&bind[..], &sync].concat()).await.unwrap();
    far.write_all(&message(b'G', &[0, 0, 0])).await.unwrap();
    read(&mut wire).await;
    assert!(!owes(), "it waits for rows");
    wire.write_all(&[message(b'd', b"1\n"), message(b'c', b""), sync].concat()).await.unwrap();
    assert!(owes());
    far.write_all(&message(b'Z', b"I")).await.unwrap();
    read(&mut wire).await;
    assert!(!owes());
}

#[tokio::test]
async fn a_script_takes_the_place_of_its_marker_and_feeds_its_copies() {
    let long = Bytes::from(vec![b'x'; 3 << 20]);
    let (mut wire, mut far, ..) = started();
    let scripts = wire.outgoing.scripts.clone();
    let (rows, receiver) = mpsc::channel(8);
    scripts.push(QueuedScript { text: long.clone(), rows: None });
    scripts.push(QueuedScript { text: Bytes::from_static(b"COPY \xE9"), rows: Some(receiver) });
    let marker = message(b'Q', &[MARKER.as_bytes(), b"\0"].concat());
    let sent = [&marker[..], &message(b'Q', b"SELECT 1\0"), &marker, &marker].concat();
    let expected = [
        message(b'Q', &[&long[..], b"\0"].concat()),
        message(b'Q', b"SELECT 1\0"),
        message(b'Q', b"COPY \xE9\0"),
        // No script is left for the marker.
        marker.clone(),
    ]
    .concat();
    let length = expected.len();
    let reading = tokio::spawn(async move {
        let mut got = vec![0; length];
        far.read_exact(&mut got).await.map(|_| (got, far))
    });
    wire.write_all(&sent).await.unwrap();
    wire.flush().await.unwrap();
    let (got, mut far) = reading.await.unwrap().unwrap();
    assert!(got == expected);

    // The last query was not a script.
    scripts.push(QueuedScript { text: Bytes::from_static(b"COPY"), rows: wire.outgoing.rows.take() });
    wire.write_all(&marker).await.unwrap();
    wire.flush().await.unwrap();
    far.read_exact(&mut [0; 10]).await.unwrap();
    let begun = message(b'G', b"\0\0\0");
    far.write_all(&[&begun[..], &begun, &message(b'C', b"COPY 1\0")].concat()).await.unwrap();
    for part in [FedRows::Some(Bytes::from_static(b"1\n")), FedRows::End, FedRows::End] {
        rows.try_send(part).ok().unwrap();
    }
    let mut received = vec![0; 12];
    wire.read_exact(&mut received).await.unwrap();
    assert_eq!(received, message(b'C', b"COPY 1\0"), "the driver sees no COPY");
    let expected = [message(b'd', b"1\n"), message(b'c', b""), message(b'c', b"")].concat();
    let mut got = vec![0; expected.len()];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
    // After an error no rows are accepted, and a COPY without rows is canceled.
    far.write_all(&message(b'E', b"SERROR\0\0")).await.unwrap();
    wire.read_exact(&mut [0; 13]).await.unwrap();
    let _ = std::future::poll_fn(|cx| {
        let mut out = [0; 1];
        let _ = Pin::new(&mut wire).poll_read(cx, &mut ReadBuf::new(&mut out));
        Poll::Ready(())
    })
    .await;
    assert!(rows.is_closed());
    scripts.push(QueuedScript { text: Bytes::from_static(b"COPY"), rows: None });
    wire.write_all(&marker).await.unwrap();
    wire.flush().await.unwrap();
    far.read_exact(&mut [0; 10]).await.unwrap();
    far.write_all(&[&begun[..], &message(b'Z', b"I")].concat()).await.unwrap();
    wire.read_exact(&mut [0; 6]).await.unwrap();
    let mut got = [0; 5];
    far.read_exact(&mut got).await.unwrap();
    assert_eq!(got[0], b'f');
}
