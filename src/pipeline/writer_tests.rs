use std::cell::Cell;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::archive::toc_file::{Member, RawSpan};
use crate::pipeline::UploadOptions;
use crate::pipeline::digest::RowSums;
use crate::storage::memory::{Behavior, MemoryStore};
use crate::storage::{PartLimits, Store};

thread_local! {
    static SHUFFLE: Cell<bool> = const { Cell::new(false) };
}

/// Delays each chunk by a random time, in the tests that request it.
pub(super) fn delay() -> Option<fn() -> Duration> {
    fn random() -> Duration {
        Duration::from_micros(u64::from(getrandom::u32().unwrap()) % 3000)
    }
    SHUFFLE.get().then_some(random as fn() -> Duration)
}

/// A writer whose bytes the test can inspect.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(compression: &str, chunk_size: usize) -> PipelineOptions {
    PipelineOptions {
        compression: compression.parse().unwrap(),
        chunk_size,
        workers: 3,
        window: 16 * chunk_size,
        ..PipelineOptions::default()
    }
}

fn unpack(compression: &str, packed: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    match compression.split(':').next().unwrap() {
        "gzip" => drop(flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut raw).unwrap()),
        "zstd" => raw = zstd::stream::decode_all(packed).unwrap(),
        _ => raw = packed.to_vec(),
    }
    raw
}

/// Decompresses with the operator's tools.
fn unpack_by_tool(tool: &str, packed: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new(tool).arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let packed = packed.to_vec();
    let feeder = std::thread::spawn(move || input.write_all(&packed).unwrap());
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// Writes a dump of two tables with rows, an empty table and text around them, and returns the expected SQL.
async fn write_sample(writer: &mut DumpWriter, rows: u32) -> Result<Vec<u8>, PipelineError> {
    let mut sql = Vec::new();
    let text = async |writer: &mut DumpWriter, sql: &mut Vec<u8>, entry: Option<u32>, text: &str| {
        sql.extend_from_slice(text.as_bytes());
        writer.text(entry.map(DumpId), text.as_bytes()).await
    };
    text(writer, &mut sql, None, "--\n-- dump\n--\n").await?;
    for table in [1, 2, 3] {
        text(writer, &mut sql, Some(table), &format!("CREATE TABLE t{table} ();\n")).await?;
    }
    for table in [1, 2, 3] {
        let copy = format!("COPY t{table} FROM stdin;\n");
        sql.extend_from_slice(copy.as_bytes());
        writer.text_as(TextRole::Copy, Some(DumpId(table)), copy.as_bytes()).await?;
        writer.begin_data(DumpId(table), RowFormat::Copy).await?;
        for row in 0..if table == 2 { 0 } else { rows } {
            let row = format!("{table}\t{row}\t{}\n", "x".repeat(row as usize % 60));
            sql.extend_from_slice(row.as_bytes());
            writer.row(Bytes::from(row)).await?;
        }
        writer.end_data().await?;
        text(writer, &mut sql, Some(table), "\\.\n\n").await?;
    }
    text(writer, &mut sql, None, "--\n-- complete\n--\n").await?;
    Ok(sql)
}

fn slice(bytes: &[u8], offset: u64, length: u64) -> &[u8] {
    &bytes[offset as usize..(offset + length) as usize]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_members_together_and_each_alone_unpack_to_the_text() {
    for compression in ["gzip:4", "zstd:3", "none"] {
        SHUFFLE.set(true);
        let out = Shared::default();
        let mut writer =
            DumpWriter::start(Sink::writer("test", out.clone()), options(compression, 4096)).unwrap();
        SHUFFLE.set(false);
        let sql = write_sample(&mut writer, 3000).await.unwrap();
        let done = writer.finish().await.unwrap();
        let packed = out.0.lock().unwrap().clone();

        assert_eq!(unpack(compression, &packed), sql, "{compression}");
        assert_eq!((done.raw_size, done.size), (sql.len() as u64, packed.len() as u64));
        assert_eq!(done.sums, Some(crate::pipeline::digest::ObjectDigest::of(&packed)));
        assert!(done.layout.members.len() > 50);
        for member in &done.layout.members {
            let Member { object_offset, object_length, raw_offset, raw_length, .. } = *member;
            let alone = unpack(compression, slice(&packed, object_offset, object_length));
            assert_eq!(alone, slice(&sql, raw_offset, raw_length));
        }
        for place in &done.layout.data {
            let RawSpan { offset, length } = place.data.raw;
            let rows = slice(&sql, offset, length);
            let sums = RowSums::of_copy(rows);
            assert_eq!((place.data.rows, place.data.digest), (sums.rows, Some(sums.digest.into())));
            let (first, count) = place.data.members;
            let members = &done.layout.members[first as usize..(first + count) as usize];
            assert_eq!(members.iter().map(|m| m.rows).sum::<u64>(), sums.rows);
            if place.entry == DumpId(2) {
                assert_eq!((length, count), (0, 0));
                continue;
            }
            assert_eq!(members[0].raw_offset, offset, "rows begin a member");
            for member in &members[1..] {
                assert_eq!(sql[member.raw_offset as usize - 1], b'\n', "a member ends at a row's end");
            }
        }
        for place in &done.layout.text {
            let text = slice(&sql, place.raw.offset, place.raw.length);
            match place.role {
                TextRole::Copy => assert!(text.starts_with(b"COPY ")),
                _ => assert!(!text.starts_with(b"COPY ")),
            }
        }
        done.pending.complete().await.unwrap();
    }
}

#[tokio::test]
async fn gunzip_reads_the_object() {
    let out = Shared::default();
    let mut writer = DumpWriter::start(Sink::writer("test", out.clone()), options("gzip:4", 4096)).unwrap();
    let sql = write_sample(&mut writer, 500).await.unwrap();
    writer.finish().await.unwrap().pending.complete().await.unwrap();
    assert_eq!(unpack_by_tool("gzip", &out.0.lock().unwrap()), sql);
}

#[tokio::test]
async fn the_seek_table_lists_every_frame() {
    let out = Shared::default();
    let mut writer = DumpWriter::start(Sink::writer("test", out.clone()), options("zstd:1", 4096)).unwrap();
    let sql = write_sample(&mut writer, 1000).await.unwrap();
    let done = writer.finish().await.unwrap();
    let packed = out.0.lock().unwrap().clone();
    let number = |at: usize| u32::from_le_bytes(packed[at..at + 4].try_into().unwrap());
    let frames = number(packed.len() - 9) as usize;
    assert_eq!(number(packed.len() - 4), 0x8f92_eab1);
    assert_eq!(packed[packed.len() - 5], 0);
    let table = packed.len() - 9 - 8 * frames;
    assert_eq!((number(table - 8), number(table - 4)), (0x184d_2a5e, 8 * frames as u32 + 9));
    let listed: Vec<(u64, u64)> = (0..frames)
        .map(|frame| (number(table + 8 * frame).into(), number(table + 8 * frame + 4).into()))
        .collect();
    let noted: Vec<(u64, u64)> =
        done.layout.members.iter().map(|m| (m.object_length, m.raw_length)).collect();
    assert_eq!(listed, noted);
    assert_eq!(listed.iter().map(|frame| frame.1).sum::<u64>(), sql.len() as u64);
}

#[tokio::test]
async fn an_empty_dump_is_an_empty_object_of_its_kind() {
    for compression in ["gzip:4", "zstd:3", "none"] {
        let out = Shared::default();
        let writer =
            DumpWriter::start(Sink::writer("test", out.clone()), options(compression, 4096)).unwrap();
        let done = writer.finish().await.unwrap();
        assert_eq!(done.raw_size, 0);
        let packed = out.0.lock().unwrap().clone();
        assert_eq!(packed.is_empty(), compression == "none");
        assert_eq!(unpack(compression, &packed), b"");
    }
}

#[tokio::test]
async fn rows_larger_than_a_chunk_and_than_the_window_pass_whole() {
    let out = Shared::default();
    let mut writer = DumpWriter::start(Sink::writer("test", out.clone()), options("gzip:1", 4096)).unwrap();
    let mut sql = Vec::new();
    writer.begin_data(DumpId(1), RowFormat::Copy).await.unwrap();
    for size in [10, 5000, 3_000_000, 20, 4_000_000, 2048, 4096, 4095] {
        let mut row = vec![b'y'; size];
        row.push(b'\n');
        sql.extend_from_slice(&row);
        writer.row(row.into()).await.unwrap();
    }
    writer.end_data().await.unwrap();
    let done = writer.finish().await.unwrap();
    assert_eq!(unpack("gzip", &out.0.lock().unwrap()), sql);
    assert_eq!(done.layout.data[0].data.rows, 8);
    let ends = done.layout.members.iter().map(|m| m.raw_offset + m.raw_length);
    assert!(ends.clone().all(|end| sql[end as usize - 1] == b'\n'));
}

#[tokio::test]
async fn statements_are_counted_and_not_digested() {
    let out = Shared::default();
    let mut writer = DumpWriter::start(Sink::writer("test", out.clone()), options("none", 4096)).unwrap();
    writer.begin_data(DumpId(1), RowFormat::Statements).await.unwrap();
    for _ in 0..300 {
        writer.row(Bytes::from_static(b"INSERT INTO t VALUES ('a\nb');\n")).await.unwrap();
    }
    writer.end_data().await.unwrap();
    let done = writer.finish().await.unwrap();
    assert_eq!((done.layout.data[0].data.rows, done.layout.data[0].data.digest), (300, None));
}

fn store_sink(store: &MemoryStore) -> Sink {
    let options = UploadOptions { budget: 400 << 10, parallel: 4, expected_size: None };
    Sink::store(Arc::new(store.clone()), "k", "text/plain", options)
}

#[tokio::test]
async fn an_upload_is_visible_only_when_completed() {
    let store = MemoryStore::default();
    let mut writer = DumpWriter::start(store_sink(&store), options("none", 4096)).unwrap();
    let sql = write_sample(&mut writer, 20_000).await.unwrap();
    let done = writer.finish().await.unwrap();
    assert!(store.get("k", u64::MAX).await.is_err());
    assert_eq!(store.uploads(), (1, 0));
    done.pending.complete().await.unwrap();
    assert_eq!(store.get("k", u64::MAX).await.unwrap(), sql);
    assert_eq!(store.uploads(), (1, 0));
}

#[tokio::test]
async fn a_small_object_is_put_in_one_request() {
    let store = MemoryStore::default();
    let mut writer = DumpWriter::start(store_sink(&store), options("gzip:4", 4096)).unwrap();
    let sql = write_sample(&mut writer, 100).await.unwrap();
    let done = writer.finish().await.unwrap();
    assert!(store.get("k", u64::MAX).await.is_err());
    done.pending.complete().await.unwrap();
    assert_eq!(store.uploads(), (0, 0));
    assert_eq!(unpack("gzip", &store.get("k", u64::MAX).await.unwrap()), sql);
}

#[tokio::test]
async fn a_failed_part_surfaces_with_its_cause_and_aborts() {
    let behavior = Behavior { fail_part: Some(3), refuse_abort: true, ..Behavior::default() };
    let store = MemoryStore::behaving(behavior);
    let mut writer = DumpWriter::start(store_sink(&store), options("none", 4096)).unwrap();
    let error = loop {
        if let Err(error) = write_sample(&mut writer, 20_000).await {
            break error;
        }
    };
    assert_eq!(error.to_string(), "the store failed: write memory://k");
    assert!(matches!(writer.text(None, b"x").await, Err(PipelineError::Stopped)));
    assert!(matches!(writer.finish().await, Err(PipelineError::Stopped)));
    assert_eq!(store.uploads(), (1, 1));
    assert!(store.get("k", u64::MAX).await.is_err());
}

#[tokio::test]
async fn a_failure_of_the_last_parts_surfaces_at_finish() {
    let behavior =
        Behavior { fail_part: Some(2), part_delay: Duration::from_millis(100), ..Behavior::default() };
    let store = MemoryStore::behaving(behavior);
    let mut writer = DumpWriter::start(store_sink(&store), options("none", 4096)).unwrap();
    write_sample(&mut writer, 1600).await.unwrap();
    let error = writer.finish().await.unwrap_err();
    assert!(matches!(error, PipelineError::Store(_)), "{error:?}");
    assert_eq!(store.uploads(), (1, 1));
}

#[tokio::test]
async fn a_refused_completion_leaves_nothing() {
    let store = MemoryStore::behaving(Behavior { fail_complete: true, ..Behavior::default() });
    let mut writer = DumpWriter::start(store_sink(&store), options("none", 4096)).unwrap();
    write_sample(&mut writer, 20_000).await.unwrap();
    let done = writer.finish().await.unwrap();
    done.pending.complete().await.unwrap_err();
    assert_eq!(store.uploads(), (1, 1));
    assert!(store.get("k", u64::MAX).await.is_err());
}

/// Waits until `begun` uploads have begun and `aborted` were aborted.
async fn reached(store: &MemoryStore, uploads: (usize, usize)) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while store.uploads() != uploads {
        assert!(Instant::now() < deadline, "{:?} and not {uploads:?}", store.uploads());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn cancelling_and_dropping_abort_the_upload() {
    // The upload of parts is so slow that the writer is waiting for the window when it is cancelled.
    let slow =
        || MemoryStore::behaving(Behavior { part_delay: Duration::from_secs(3600), ..Behavior::default() });
    let store = slow();
    let cancel = CancellationToken::new();
    let options_cancelled = PipelineOptions { cancel: cancel.clone(), ..options("none", 4096) };
    let mut writer = DumpWriter::start(store_sink(&store), options_cancelled).unwrap();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    });
    let error = loop {
        if let Err(error) = write_sample(&mut writer, 20_000).await {
            break error;
        }
    };
    assert!(matches!(error, PipelineError::Cancelled), "{error:?}");
    assert_eq!(store.uploads(), (1, 1));

    let store = slow();
    let mut writer = DumpWriter::start(store_sink(&store), options("none", 4096)).unwrap();
    write_sample(&mut writer, 1600).await.unwrap();
    reached(&store, (1, 0)).await;
    drop(writer);
    reached(&store, (1, 1)).await;

    let store = MemoryStore::default();
    let mut writer = DumpWriter::start(store_sink(&store), options("none", 4096)).unwrap();
    write_sample(&mut writer, 20_000).await.unwrap();
    reached(&store, (1, 0)).await;
    writer.abort().await;
    assert_eq!(store.uploads(), (1, 1));

    let store = MemoryStore::default();
    let mut writer = DumpWriter::start(store_sink(&store), options("none", 4096)).unwrap();
    write_sample(&mut writer, 20_000).await.unwrap();
    drop(writer.finish().await.unwrap());
    reached(&store, (1, 1)).await;
}

#[tokio::test]
async fn an_upload_that_starts_too_late_is_aborted() {
    let late = Behavior { begin_delay: Duration::from_millis(200), ..Behavior::default() };
    let start = async |cancel: &CancellationToken| {
        let store = MemoryStore::behaving(late.clone());
        let options = PipelineOptions { cancel: cancel.clone(), ..options("none", 4096) };
        let mut writer = DumpWriter::start(store_sink(&store), options).unwrap();
        write_sample(&mut writer, 1600).await.unwrap();
        reached(&store, (1, 0)).await;
        (store, writer)
    };
    let cancel = CancellationToken::new();
    let (store, writer) = start(&cancel).await;
    writer.abort().await;
    assert_eq!(store.uploads(), (1, 1));

    let (store, writer) = start(&cancel).await;
    cancel.cancel();
    writer.finish().await.unwrap_err();
    assert_eq!(store.uploads(), (1, 1));

    let (store, writer) = start(&CancellationToken::new()).await;
    drop(writer);
    reached(&store, (1, 1)).await;
}

#[tokio::test]
async fn a_writer_that_fails_is_named() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut writer = DumpWriter::start(Sink::writer("the tape", Full), options("gzip:1", 4096)).unwrap();
    let error = match write_sample(&mut writer, 2000).await {
        Err(error) => error,
        Ok(_) => writer.finish().await.unwrap_err(),
    };
    assert_eq!(error.to_string(), "cannot write to the tape");
}

/// The window bounds the uncompressed and compressed chunks, and the budget bounds the parts. A slow store
/// must not increase either of them.
#[tokio::test]
async fn a_slow_store_slows_the_writer_and_memory_stays_bounded() {
    let limits =
        PartLimits { min_size: 64 << 10, max_size: 64 << 10, max_parts: 10_000, max_object: 1 << 29 };
    let behavior =
        Behavior { part_delay: Duration::from_millis(5), limits: Some(limits), ..Behavior::default() };
    let store = MemoryStore::behaving(behavior);
    let options = options("none", 4096);
    let window = options.window as u64;
    let mut writer = DumpWriter::start(store_sink(&store), options).unwrap();
    let window_units = writer.channels.as_ref().unwrap().window.available_permits() as u64;
    assert_eq!(window_units * UNIT as u64, window);
    let began = std::time::Instant::now();
    let sql = write_sample(&mut writer, 50_000).await.unwrap();
    writer.finish().await.unwrap().pending.complete().await.unwrap();
    let parts = sql.len() as u64 / limits.min_size;
    assert!(began.elapsed() >= Duration::from_millis(5) * (parts / 4) as u32);
    assert!(store.peak_in_flight() <= 4 * limits.min_size, "{}", store.peak_in_flight());
    assert!(store.peak_in_flight() > limits.min_size, "parts go side by side");
}

#[tokio::test]
async fn a_file_appears_whole_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dump.sql");
    let names = || -> Vec<String> {
        let entries = std::fs::read_dir(directory.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    std::fs::write(&path, "the last one").unwrap();

    let mut writer = DumpWriter::start(Sink::file(&path, true).unwrap(), options("none", 4096)).unwrap();
    write_sample(&mut writer, 1000).await.unwrap();
    assert_eq!(names().len(), 2);
    writer.abort().await;
    assert_eq!((names().len(), std::fs::read(&path).unwrap()), (1, b"the last one".to_vec()));

    let mut writer = DumpWriter::start(Sink::file(&path, true).unwrap(), options("none", 4096)).unwrap();
    let sql = write_sample(&mut writer, 1000).await.unwrap();
    let done = writer.finish().await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"the last one");
    done.pending.complete().await.unwrap();
    assert_eq!((names(), std::fs::read(&path).unwrap()), (vec!["dump.sql".to_owned()], sql));

    // A device is written in place.
    let writer =
        DumpWriter::start(Sink::file("/dev/null".as_ref(), true).unwrap(), options("none", 4096)).unwrap();
    writer.finish().await.unwrap().pending.complete().await.unwrap();
    let error = Sink::file(directory.path(), false).unwrap_err();
    assert!(error.to_string().starts_with("cannot write to /"), "{error}");
}
