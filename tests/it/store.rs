//! The stores: one set of checks for memory, a directory and S3; then the features of S3: a write-only key,
//! checksums that the server verifies, TLS, and specific error messages.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use pg_backup::pipeline::digest::ObjectDigest;
use pg_backup::pipeline::{DumpWriter, PipelineError, PipelineOptions, Sink, UploadOptions};
use pg_backup::storage::local::LocalStore;
use pg_backup::storage::memory::MemoryStore;
use pg_backup::storage::s3::{Checksums, S3Config, S3Store, StaticCredentials};
use pg_backup::storage::{IfExists, ObjectInfo, Store, StoreError, UploadPart};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::harness::seaweed::{ADMIN, BUCKET, Keys, PREFIX, Seaweed, WRITER};

const MIB: usize = 1 << 20;

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime can be built")
}

fn config(seaweed: &Seaweed, keys: Keys) -> S3Config {
    S3Config {
        endpoint: Some(seaweed.http()),
        path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: keys.id.to_owned(),
            secret_access_key: keys.secret.to_owned(),
            session_token: None,
        }),
        ..S3Config::new(BUCKET, "us-east-1")
    }
}

async fn connect(config: &S3Config) -> S3Store {
    S3Store::connect(config).await.unwrap()
}

/// Bytes that do not compress. Each word depends on its position.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// Returns an error with its causes, as in a log line.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    store.list(prefix).await.unwrap().into_iter().map(|object| object.key).collect()
}

/// The guarantees of every store.
async fn conformance(store: &dyn Store) {
    objects_are_written_whole_and_read_back(store).await;
    listings_keep_to_prefix_order_and_pages(store).await;
    parts_become_an_object_only_at_completion(store).await;
    nothing_is_replaced_that_is_to_stay(store).await;
}

async fn objects_are_written_whole_and_read_back(store: &dyn Store) {
    for (key, body) in
        [("a/small", noise(10)), ("a/odd name, ü+%20.json", noise(100)), ("a/empty", Bytes::new())]
    {
        store.put(key, body.clone(), "application/json").await.unwrap();
        assert_eq!(store.get(key, 100).await.unwrap(), body, "{key}");
        let listed = store.list(key).await.unwrap();
        assert_eq!(listed.len(), 1, "{key}");
        assert_eq!((listed[0].key.as_str(), listed[0].size), (key, body.len() as u64));
    }
    let body = noise(10);
    assert_eq!(store.get_range("a/small", 0..10).await.unwrap(), body);
    assert_eq!(store.get_range("a/small", 3..7).await.unwrap(), body.slice(3..7));
    store.get_range("a/small", 5..11).await.unwrap_err();
    // The store reads no more than the caller's limit.
    let error = store.get("a/small", 9).await.unwrap_err();
    assert!(matches!(error, StoreError::TooLong { limit: 9, .. }), "{error:?}");
    assert!(error.to_string().ends_with("a/small is longer than 9 bytes"), "{error}");
    // A second object under the same key replaces the first.
    store.put("a/small", noise(20), "application/json").await.unwrap();
    assert_eq!(store.get("a/small", 100).await.unwrap().len(), 20);
    let error = store.get("a/none", 100).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error:?}");
    assert!(error.to_string().ends_with("a/none does not exist"), "{error}");
}

async fn listings_keep_to_prefix_order_and_pages(store: &dyn Store) {
    let numbers: Vec<String> = (0..1007).map(|number| format!("many/{number:04}")).collect();
    for chunk in numbers.chunks(32) {
        let puts = chunk.iter().map(|key| store.put(key, Bytes::from_static(b"x"), "text/plain"));
        futures_util::future::try_join_all(puts).await.unwrap();
    }
    store.put("many-more", Bytes::new(), "text/plain").await.unwrap();
    assert_eq!(keys(store, "many/").await, numbers);
    assert_eq!(keys(store, "many/000").await, numbers[..10]);
    assert_eq!(keys(store, "nothing/").await, [""; 0]);
    let page = store.list_page("many/", None).await.unwrap();
    assert_eq!(page.objects.len(), 1000);
    let rest = store.list_page("many/", page.next).await.unwrap();
    assert_eq!((rest.objects.len(), rest.next), (7, None));
}

async fn parts_become_an_object_only_at_completion(store: &dyn Store) {
    let body = noise(13 * MIB);
    let sums = ObjectDigest::of(&body);
    let upload = store.begin_upload("parts/object", "application/gzip").await.unwrap();
    // Out of order, as parallel uploads send their parts.
    for number in [3, 1, 2] {
        let start = (number as usize - 1) * 5 * MIB;
        let part = body.slice(start..body.len().min(start + 5 * MIB));
        upload.put_part(UploadPart { number, offset: start as u64, body: part }).await.unwrap();
    }
    assert_eq!(keys(store, "parts/").await, [""; 0]);
    upload.complete(&sums, IfExists::Fail).await.unwrap();
    assert_eq!(store.get("parts/object", u64::MAX).await.unwrap(), body);
    let range = 5 * MIB as u64 - 3..5 * MIB as u64 + 3;
    assert_eq!(store.get_range("parts/object", range).await.unwrap(), body.slice(5 * MIB - 3..5 * MIB + 3));

    let upload = store.begin_upload("parts/given-up", "application/gzip").await.unwrap();
    upload.put_part(UploadPart { number: 1, offset: 0, body: noise(100) }).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(keys(store, "parts/").await, ["parts/object"]);
}

async fn nothing_is_replaced_that_is_to_stay(store: &dyn Store) {
    let exists = |result: Result<(), StoreError>| {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Exists { .. }) && error.is_transient(), "{error:?}");
    };
    let (first, second) = (noise(10), noise(20));
    store.put_object("stay/small", first.clone(), "text/plain", IfExists::Fail).await.unwrap();
    for if_exists in [IfExists::Fail, IfExists::FailUnlessOwn] {
        exists(store.put_object("stay/small", second.clone(), "text/plain", if_exists).await);
        let upload = store.begin_upload("stay/small", "text/plain").await.unwrap();
        upload.put_part(UploadPart { number: 1, offset: 0, body: second.clone() }).await.unwrap();
        exists(upload.complete(&ObjectDigest::of(&second), if_exists).await);
        upload.abort().await.unwrap();
        assert_eq!(store.get("stay/small", u64::MAX).await.unwrap(), first, "{if_exists:?}");
    }
    store.put("stay/small", second.clone(), "text/plain").await.unwrap();
    assert_eq!(store.get("stay/small", u64::MAX).await.unwrap(), second);
    assert_eq!(keys(store, "stay/").await, ["stay/small"]);
}

/// Writes a dump through the pipeline to a store.
async fn pipeline(store: Arc<dyn Store>, key: &str, rows: usize) -> Result<Vec<u8>, PipelineError> {
    let options = PipelineOptions { compression: "none".parse().unwrap(), ..PipelineOptions::default() };
    let sink = Sink::store(store, key, "application/sql", UploadOptions::default());
    let mut writer = DumpWriter::start(sink, options)?;
    let text = noise(rows * 1024);
    for piece in text.chunks(100_000) {
        writer.text(None, piece).await?;
    }
    writer.finish().await?.pending.complete().await?;
    Ok(text.to_vec())
}

#[test]
fn memory() {
    runtime().block_on(conformance(&MemoryStore::default()));
}

#[test]
fn directory() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = LocalStore::open(directory.path()).unwrap();
        conformance(&store).await;
        for key in ["", "/etc/passwd", "a//b", "../a", "a/..", ".pg-backup-x"] {
            let error = store.put(key, Bytes::new(), "text/plain").await.unwrap_err();
            assert!(matches!(error, StoreError::BadKey { .. }), "{key}");
        }
        // An unfinished object is not visible, and is removed with its upload.
        let upload = store.begin_upload("u/dropped", "text/plain").await.unwrap();
        upload.put_part(UploadPart { number: 1, offset: 0, body: noise(10) }).await.unwrap();
        assert_eq!(std::fs::read_dir(directory.path().join("u")).unwrap().count(), 1);
        assert_eq!(keys(&store, "u/").await, [""; 0]);
        drop(upload);
        assert_eq!(std::fs::read_dir(directory.path().join("u")).unwrap().count(), 0);
    });
    let error = LocalStore::open(directory.path().join("none")).unwrap_err();
    assert!(matches!(error, StoreError::NoSuchBucket { .. }), "{error:?}");
}

#[test]
fn s3() {
    let seaweed = Seaweed::start();
    runtime().block_on(async {
        conformance(&connect(&config(&seaweed, ADMIN)).await).await;
        // Without checksums, for stores that do not support them.
        let plain = S3Config { checksums: Checksums::WhenRequired, ..config(&seaweed, ADMIN) };
        let plain = connect(&plain).await;
        plain.put("plain/small", noise(10), "text/plain").await.unwrap();
        let body = noise(6 * MIB);
        let upload = plain.begin_upload("plain/large", "text/plain").await.unwrap();
        upload.put_part(UploadPart { number: 1, offset: 0, body: body.clone() }).await.unwrap();
        upload.complete(&ObjectDigest::of(&body), IfExists::Replace).await.unwrap();
        assert_eq!(plain.get("plain/large", u64::MAX).await.unwrap(), body);
    });
    assert_eq!(seaweed.unfinished_uploads(), [""; 0]);
}

#[test]
fn s3_over_tls_trusts_the_named_authority_only() {
    let seaweed = Seaweed::start();
    runtime().block_on(async {
        let trusting = S3Config {
            endpoint: Some(seaweed.https()),
            ca_file: Some(seaweed.authority().to_owned()),
            ..config(&seaweed, ADMIN)
        };
        let store = connect(&trusting).await;
        store.put("tls", noise(10), "text/plain").await.unwrap();
        assert_eq!(store.get("tls", 100).await.unwrap(), noise(10));

        // An authority that has not signed the server's certificate.
        let stranger = tempfile::tempdir().unwrap();
        let other = crate::harness::tls::Certificates::make(stranger.path());
        let store = connect(&S3Config { ca_file: Some(other.authority.clone()), ..trusting.clone() }).await;
        let error = store.get("tls", 100).await.unwrap_err();
        assert!(matches!(error, StoreError::Tls { .. }) && !error.is_transient(), "{error:?}");
        assert!(chain(&error).contains("certificate"), "{}", chain(&error));

        let error = S3Store::connect(&S3Config { ca_file: Some(other.key), ..trusting }).await.unwrap_err();
        assert!(error.to_string().starts_with("no certificates in "), "{error}");
    });
}

#[test]
fn a_write_only_key_suffices_for_a_backup_of_any_size() {
    let seaweed = Seaweed::start();
    let (small, large) = (format!("{PREFIX}/small"), format!("{PREFIX}/large"));
    let written = runtime().block_on(async {
        let store: Arc<dyn Store> = Arc::new(connect(&config(&seaweed, WRITER)).await);
        let small = pipeline(Arc::clone(&store), &small, 100).await.unwrap();
        let large = pipeline(Arc::clone(&store), &large, 20 * 1024).await.unwrap();
        let error = store.get("prod/small", u64::MAX).await.unwrap_err();
        assert!(matches!(error, StoreError::AccessDenied { .. }), "{error:?}");
        let error = store.list("prod/").await.unwrap_err();
        assert!(matches!(error, StoreError::AccessDenied { .. }), "{error:?}");
        [small, large]
    });
    assert!(seaweed.get(&small) == written[0]);
    assert!(seaweed.get(&large) == written[1]);
    assert_eq!(seaweed.unfinished_uploads(), [""; 0]);
}

#[test]
fn the_server_verifies_the_checksum_of_the_whole_object() {
    let seaweed = Seaweed::start();
    runtime().block_on(async {
        let store = connect(&config(&seaweed, ADMIN)).await;
        let body = noise(6 * MIB);
        let upload = store.begin_upload("k", "text/plain").await.unwrap();
        upload.put_part(UploadPart { number: 1, offset: 0, body: body.clone() }).await.unwrap();
        let mut sums = ObjectDigest::of(&body);
        sums.crc64nvme ^= 1;
        upload.complete(&sums, IfExists::Replace).await.unwrap_err();
        upload.abort().await.unwrap();
        assert!(matches!(store.get("k", u64::MAX).await, Err(StoreError::NotFound { .. })));
    });
}

#[test]
fn each_failure_says_which_it_is_and_leaves_nothing() {
    let seaweed = Seaweed::start();
    let good = config(&seaweed, WRITER);
    let with_keys = |id: &str, secret: &str| S3Config {
        credentials: Some(StaticCredentials {
            access_key_id: id.to_owned(),
            secret_access_key: secret.to_owned(),
            session_token: None,
        }),
        ..good.clone()
    };
    let impatient = |config: S3Config| S3Config { attempts: 1, ..config };
    let endpoint = |url: &str| impatient(S3Config { endpoint: Some(url.to_owned()), ..good.clone() });
    let cases: [(&str, S3Config, &str); 6] = [
        (
            "prod/k",
            S3Config { bucket: "nowhere".into(), ..config(&seaweed, ADMIN) },
            "bucket nowhere does not exist",
        ),
        ("elsewhere/k", good.clone(), "access denied: write s3://backups/elsewhere/k"),
        (
            "prod/k",
            with_keys("nobody", "x"),
            "the store refused the access key (InvalidAccessKeyId): s3://backups/prod/k",
        ),
        (
            "prod/k",
            with_keys(WRITER.id, "x"),
            "the store refused the access key (SignatureDoesNotMatch): s3://backups/prod/k",
        ),
        ("prod/k", endpoint("http://127.0.0.1:9"), "cannot reach http://127.0.0.1:9: Connection refused"),
        (
            "prod/k",
            endpoint("http://no.such.host.invalid"),
            "cannot reach http://no.such.host.invalid: failed to lookup address",
        ),
    ];
    runtime().block_on(async {
        for (key, config, expected) in cases {
            // A small dump is put in one request, a large one in parts. Both must report the error.
            for rows in [10, 12 * 1024] {
                let store = Arc::new(connect(&config).await);
                let error = pipeline(store, key, rows).await.unwrap_err();
                let told = chain(&error);
                assert!(told.starts_with(expected), "{told}");
                assert!(!told.contains('\n'), "{told}");
            }
        }
    });
    assert_eq!(seaweed.objects(), []);
    assert_eq!(seaweed.unfinished_uploads(), [""; 0]);
}

/// Starts a dump of this many bytes, and waits until the server has started the upload. The requests go
/// through `way`, if given.
fn begun(seaweed: &Seaweed, runtime: &Runtime, length: usize, way: Option<String>) -> DumpWriter {
    let writer = runtime.block_on(async {
        let config = config(seaweed, ADMIN);
        let store = Arc::new(connect(&S3Config { endpoint: way.or(config.endpoint), ..config }).await);
        let options = PipelineOptions { compression: "none".parse().unwrap(), ..PipelineOptions::default() };
        let sink = Sink::store(store, "prod/k", "application/sql", UploadOptions::default());
        let mut writer = DumpWriter::start(sink, options).unwrap();
        writer.text(None, &noise(length)).await.unwrap();
        writer
    });
    let deadline = Instant::now() + Duration::from_secs(60);
    while seaweed.unfinished_uploads().is_empty() {
        assert!(Instant::now() < deadline, "no upload begins");
        std::thread::sleep(Duration::from_millis(10));
    }
    writer
}

#[test]
fn an_aborted_dump_leaves_no_upload_where_the_key_may_abort() {
    let (seaweed, runtime) = (Seaweed::start(), runtime());
    let writer = begun(&seaweed, &runtime, 12 * MIB, None);
    runtime.block_on(writer.abort());
    assert_eq!(seaweed.objects(), []);
    assert_eq!(seaweed.unfinished_uploads(), [""; 0]);
}

#[test]
fn an_upload_that_starts_after_the_abort_is_aborted_too() {
    let (seaweed, runtime) = (Seaweed::start(), runtime());
    let (answers, held) = watch::channel(false);
    let way = runtime.block_on(late_way(&seaweed, held));
    // One part, which the writer can keep while the store does not respond.
    let writer = begun(&seaweed, &runtime, 6 * MIB, Some(way));
    runtime.block_on(async {
        // The abort has started before the responses arrive.
        tokio::join!(biased; writer.abort(), async { answers.send(true).unwrap() });
    });
    assert_eq!(seaweed.objects(), []);
    assert_eq!(seaweed.unfinished_uploads(), [""; 0]);
}

/// Starts a proxy that holds the responses until `answered` is true.
async fn late_way(seaweed: &Seaweed, answered: watch::Receiver<bool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = format!("http://{}", listener.local_addr().unwrap());
    let server = seaweed.http().trim_start_matches("http://").to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (server, mut answered) = (server.clone(), answered.clone());
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let ((mut from, mut back), (mut answers, mut to)) = (client.split(), server.split());
                let late = async {
                    answered.wait_for(|answered| *answered).await.unwrap();
                    tokio::io::copy(&mut answers, &mut back).await
                };
                let _ = tokio::try_join!(tokio::io::copy(&mut from, &mut to), late);
            });
        }
    });
    way
}

/// Starts a proxy that breaks: it forwards `budget` bytes of each of the first `broken` connections and then
/// resets them.
async fn unreliable_way(seaweed: &Seaweed, broken: usize, budget: usize) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = format!("http://{}", listener.local_addr().unwrap());
    let server = seaweed.http().trim_start_matches("http://").to_owned();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let number = counter.fetch_add(1, Ordering::SeqCst);
            let server = server.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                if number < broken {
                    let ((from, mut back), (mut answers, mut to)) = (client.split(), server.split());
                    let mut requests = from.take(budget as u64);
                    tokio::select! {
                        _ = tokio::io::copy(&mut requests, &mut to) => {}
                        _ = tokio::io::copy(&mut answers, &mut back) => {}
                    }
                } else {
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (way, connections)
}

#[test]
fn a_broken_connection_costs_one_part_and_not_the_dump() {
    let seaweed = Seaweed::start();
    let written = runtime().block_on(async {
        // Enough for the start of the upload, but not for a part.
        let (way, connections) = unreliable_way(&seaweed, 3, 2 * MIB).await;
        let config = S3Config { endpoint: Some(way), ..config(&seaweed, WRITER) };
        let written = pipeline(Arc::new(connect(&config).await), "prod/k", 30 * 1024).await.unwrap();
        assert!(connections.load(Ordering::SeqCst) > 3, "no connection broke");
        written
    });
    assert!(seaweed.get("prod/k") == written);
    assert_eq!(seaweed.unfinished_uploads(), [""; 0]);
}

#[test]
fn a_store_that_does_not_answer_does_not_delay_the_shutdown() {
    let seaweed = Seaweed::start();
    runtime().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = format!("http://{}", listener.local_addr().unwrap());
        let config = S3Config { endpoint: Some(silent), ..config(&seaweed, ADMIN) };
        let cancel = CancellationToken::new();
        let options = PipelineOptions {
            compression: "none".parse().unwrap(),
            cancel: cancel.clone(),
            ..PipelineOptions::default()
        };
        let store = Arc::new(connect(&config).await);
        let sink = Sink::store(store, "prod/k", "application/sql", UploadOptions::default());
        let mut writer = DumpWriter::start(sink, options).unwrap();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            cancel.cancel();
        });
        let began = Instant::now();
        let error = loop {
            if let Err(error) = writer.text(None, &noise(MIB)).await {
                break error;
            }
        };
        assert!(matches!(error, PipelineError::Cancelled), "{error:?}");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
        drop(listener);
    });
}

/// A listing contains the time of each object.
#[test]
fn listings_have_times() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = LocalStore::open(directory.path()).unwrap();
        store.put("k", Bytes::new(), "text/plain").await.unwrap();
        let listed: Vec<ObjectInfo> = store.list("").await.unwrap();
        let age = jiff::Timestamp::now().duration_since(listed[0].modified.unwrap());
        assert!(age.abs() < jiff::SignedDuration::from_mins(1), "{age:?}");
    });
}
