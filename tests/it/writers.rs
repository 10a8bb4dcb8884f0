//! Several writers of backups in one store: they start in the same second, or the clock repeats a second, and
//! every backup stays complete.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use jiff::Timestamp;
use pg_backup::archive::key::{BackupId, Part};
use pg_backup::dump::backup::{BackupDestination, back_up};
use pg_backup::dump::cluster::ClusterRequest;
use pg_backup::dump::progress::DumpProgress;
use pg_backup::dump::{DumpError, DumpRequest, ReadOptions, globals};
use pg_backup::pipeline::{PipelineOptions, UploadOptions, backups};
use pg_backup::protocol::{ConnInfo, ConnectOptions, Environment, Isolation, SessionSetup};
use pg_backup::restore::verify::verify;
use pg_backup::sql::DumpOptions;
use pg_backup::sql::global::{ClusterScope, GlobalOptions};
use pg_backup::storage::local::LocalStore;
use pg_backup::storage::memory::{Behavior, MemoryStore};
use pg_backup::storage::s3::{S3Config, S3Store, StaticCredentials};
use pg_backup::storage::{ContentType, IfExists, Page, PageToken, PartLimits, Store, StoreError, Upload};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::harness::moto::{Conditions, Moto};
use crate::harness::postgres::{Database, Server};
use crate::harness::proxy::BreakableProxy;
use crate::harness::seaweed::{ADMIN, BUCKET, PREFIX, Seaweed, WRITER};
use crate::harness::sidecar::{CLAIM, Sidecar, claims, files};

const PAIRS: usize = 100;

/// The second in which all writers start.
const SECOND: &str = "2026-04-26T16:29:58Z";

fn second() -> Timestamp {
    SECOND.parse().unwrap()
}

/// The source of a dump.
struct Source {
    connection: ConnectOptions,
    is_globals: bool,
}

fn at(database: &Database<'_>) -> Source {
    let connection =
        ConnInfo::parse(&database.url()).unwrap().resolve(&Environment::of_variables([])).unwrap();
    Source { connection, is_globals: false }
}

/// The server's roles and tablespaces.
fn globals_at(database: &Database<'_>) -> Source {
    Source { is_globals: true, ..at(database) }
}

async fn s3(endpoint: &str, id: &str, secret: &str) -> Arc<dyn Store> {
    let credentials = StaticCredentials {
        access_key_id: id.to_owned(),
        secret_access_key: secret.to_owned(),
        session_token: None,
    };
    let config = S3Config {
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        credentials: Some(credentials),
        ..S3Config::new(BUCKET, "us-east-1")
    };
    Arc::new(S3Store::connect(&config).await.unwrap())
}

/// Runs one writer: it claims a key, dumps and publishes. Roles and tablespaces need fewer queries than a
/// database.
async fn write(store: Arc<dyn Store>, name: &str, source: &Source) -> Result<BackupId, DumpError> {
    let cancel = CancellationToken::new();
    let destination = BackupDestination {
        store,
        prefix: PREFIX.to_owned(),
        upload: UploadOptions::default(),
        pipeline: PipelineOptions { compression: "none".parse().unwrap(), ..PipelineOptions::default() },
        replica: None,
    };
    let claimed = destination.claim(&BackupId::new(name, second()), &cancel).await?;
    let restrict_key = DumpOptions::new_restrict_key()?;
    let (connection, setup) = (source.connection.clone(), SessionSetup::default());
    let reading = ReadOptions::within(64 << 20, std::num::NonZeroUsize::MIN);
    let backup = if source.is_globals {
        let globals =
            GlobalOptions { scope: ClusterScope::Globals, restrict_key, ..GlobalOptions::default() };
        let databases = DumpOptions::default();
        let request = ClusterRequest { connection, setup, globals, databases, reading, cancel };
        Box::pin(globals::back_up(claimed, request, &destination)).await?
    } else {
        let options = DumpOptions { restrict_key, ..DumpOptions::default() };
        let (isolation, snapshot, progress) = (Isolation::default(), None, DumpProgress::default());
        let request =
            DumpRequest { connection, setup, isolation, snapshot, options, reading, progress, cancel };
        Box::pin(back_up(claimed, request, &destination)).await?
    };
    Ok(backup.id)
}

/// A store that delays the table of contents of one writer until another writer has put its own, and delays
/// that one until the dump of the first is in the store.
#[derive(Debug)]
struct HeldBack {
    store: Arc<dyn Store>,
    is_late: bool,
    order: Arc<Order>,
}

#[derive(Debug)]
struct Order {
    late_dump: Semaphore,
    early_toc: Semaphore,
}

fn held_back(store: &Arc<dyn Store>) -> [Arc<dyn Store>; 2] {
    let order = Arc::new(Order { late_dump: Semaphore::new(0), early_toc: Semaphore::new(0) });
    let one = |is_late| -> Arc<dyn Store> {
        Arc::new(HeldBack { store: Arc::clone(store), is_late, order: Arc::clone(&order) })
    };
    [one(false), one(true)]
}

#[async_trait]
impl Store for HeldBack {
    fn url(&self, key: &str) -> String {
        self.store.url(key)
    }

    fn part_limits(&self) -> PartLimits {
        self.store.part_limits()
    }

    async fn put_object(
        &self,
        key: &str,
        body: Bytes,
        content_type: ContentType,
        if_exists: IfExists,
    ) -> Result<(), StoreError> {
        let Order { late_dump, early_toc } = &*self.order;
        let is_toc = key.ends_with(".toc.json.gz");
        if is_toc && self.is_late {
            late_dump.add_permits(1);
            early_toc.acquire().await.unwrap().forget();
        } else if is_toc {
            late_dump.acquire().await.unwrap().forget();
        }
        let put = self.store.put_object(key, body, content_type, if_exists).await;
        if is_toc && !self.is_late {
            early_toc.add_permits(1);
        }
        put
    }

    async fn begin_upload(
        &self,
        key: &str,
        content_type: ContentType,
    ) -> Result<Box<dyn Upload>, StoreError> {
        self.store.begin_upload(key, content_type).await
    }

    async fn list_page(&self, prefix: &str, after: Option<PageToken>) -> Result<Page, StoreError> {
        self.store.list_page(prefix, after).await
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Bytes, StoreError> {
        self.store.get(key, limit).await
    }

    async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.store.get_range(key, range).await
    }
}

/// Runs two writers of one database in one second. Both succeed, and both backups are complete.
async fn pair(
    writers: [Arc<dyn Store>; 2],
    reader: &Arc<dyn Store>,
    name: &str,
    source: &Source,
) -> [BackupId; 2] {
    let [one, other] = writers;
    let (one, other) = tokio::join!(write(one, name, source), write(other, name, source));
    let mut ids = [one, other].map(|written| written.unwrap_or_else(|error| panic!("{name}: {error:?}")));
    ids.sort();
    let listed = backups::list(&**reader, PREFIX, Some(name)).await.unwrap();
    assert_eq!(listed.into_iter().map(|backup| backup.id).collect::<Vec<_>>(), ids, "{name}");
    for id in &ids {
        is_whole(reader, id).await;
    }
    ids
}

async fn is_whole(reader: &Arc<dyn Store>, id: &BackupId) {
    let verified = verify(reader, PREFIX, id, None).await.unwrap();
    assert!(verified.problems.is_empty(), "{id}: {:?}", verified.problems);
}

/// Runs many pairs. In every second pair, one writer's table of contents is written between the dump and the
/// table of contents of the other.
async fn pairs(writer: &Arc<dyn Store>, reader: &Arc<dyn Store>, source: &Source) -> Vec<[BackupId; 2]> {
    let pairs = (0..PAIRS).map(|number| async move {
        let writers = match number % 2 {
            0 => [Arc::clone(writer), Arc::clone(writer)],
            _ => held_back(writer),
        };
        pair(writers, reader, &format!("globals{number}"), source).await
    });
    futures_util::stream::iter(pairs).buffer_unordered(4).collect().await
}

/// If a store refuses to overwrite, the keys have one second and the next.
fn are_of_two_seconds(ids: &[BackupId; 2]) {
    let next = BackupId::new(&ids[0].database, second()).later_by(1).unwrap();
    assert_eq!(ids, &[BackupId::new(&ids[0].database, second()), next]);
}

/// If it does not, they have the same second and differ in the writer.
fn are_of_two_writers(ids: &[BackupId; 2]) {
    assert!(ids.iter().all(|id| id.started == second() && id.writer.is_some()), "{ids:?}");
    assert_ne!(ids[0], ids[1]);
}

fn small(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 10) n");
    database
}

/// A database whose dump is uploaded in parts.
fn large(server: &Server) -> Database<'_> {
    let database = server.database();
    database
        .execute("CREATE TABLE noise AS SELECT n, repeat('x', 1000) AS x FROM generate_series(1, 7000) n");
    database
}

#[test]
fn a_hundred_pairs_at_a_store_that_refuses_to_overwrite() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let (small, large) = (small(&server), large(&server));
    Runtime::new().unwrap().block_on(async {
        // The permissions of the sidecar's key are sufficient.
        let writer = s3(&seaweed.http(), WRITER.id, WRITER.secret).await;
        let reader = s3(&seaweed.http(), ADMIN.id, ADMIN.secret).await;
        let written = pairs(&writer, &reader, &globals_at(&small)).await;
        assert_eq!(written.len(), PAIRS);
        written.iter().for_each(are_of_two_seconds);
        for name in ["large", "larger"] {
            are_of_two_seconds(&pair(held_back(&writer), &reader, name, &at(&large)).await);
        }
    });
    let dump = BackupId::new("large", second()).key(PREFIX, Part::DUMPS[0]);
    assert!(seaweed.part_count(&dump) > 1, "the dump went up in one piece");
    assert_eq!(seaweed.unfinished_uploads(), [""; 0]);
}

#[test]
fn a_hundred_pairs_at_a_store_that_ignores_the_condition() {
    let (server, moto) = (Server::start(), Moto::with_conditions(Conditions::Ignored));
    let (small, large) = (small(&server), large(&server));
    Runtime::new().unwrap().block_on(async {
        let (id, secret) = moto.keys("admin");
        let store = s3(&moto.http(), id, secret).await;
        let written = pairs(&store, &store, &globals_at(&small)).await;
        assert_eq!(written.len(), PAIRS);
        written.iter().for_each(are_of_two_writers);
        are_of_two_writers(&pair(held_back(&store), &store, "large", &at(&large)).await);
    });
}

#[test]
fn a_hundred_pairs_in_a_directory() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let small = small(&server);
    Runtime::new().unwrap().block_on(async {
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(directory.path()).unwrap());
        let written = pairs(&store, &store, &globals_at(&small)).await;
        assert_eq!(written.len(), PAIRS);
        written.iter().for_each(are_of_two_seconds);
    });
}

/// A store that rejects the condition itself can hold backups: they are listed, verified, drilled, and
/// restored by time and by key.
#[test]
fn a_store_that_refuses_the_condition_has_whole_backups_under_keys_of_their_writers() {
    let (server, moto) = (Server::start(), Moto::with_conditions(Conditions::Refused));
    let database = large(&server);
    let sidecar = Sidecar::with_store(moto.environment("admin", BUCKET)).database("main", &database);
    let sidecar = sidecar.set("BACKUP_COMPRESSION", "none").set("BACKUP_DRILL_URL", &database.url());
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    assert!(
        log.contains("main: the store does not support conditional writes, dumping under a unique key"),
        "{log}"
    );
    let listed = sidecar.run(&["list", "--json"]).expect_success().stdout_text();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let key = listed[0]["dump"].as_str().unwrap().to_owned();
    let (_, writer) = key.rsplit_once("Z-").expect("the key tells the writer");
    assert_eq!(writer.len(), "1a2b3c4d.sql".len(), "{key}");
    sidecar.run(&["status"]).expect_success();
    sidecar.run(&["verify"]).expect_success();
    sidecar.run(&["verify", "--deep", &key]).expect_success();
    sidecar.run(&["drill"]).expect_success();
    for choice in ["latest", &Timestamp::now().to_string(), &key] {
        let target = server.database();
        sidecar.run(&["restore", choice, "--database", "main", "--to", &target.url()]).expect_success();
        target.wait_for("the rows", "SELECT count(*) = 7000 FROM noise");
    }
    let keys = moto.bucket(BUCKET).keys();
    assert_eq!(keys.len(), 4, "a backup and a drill's report: {keys:?}");
    assert!(keys.iter().all(|key| key.contains("Z-")), "{keys:?}");
}

/// Returns all objects of backups.
async fn contents(store: &MemoryStore) -> Vec<(String, Bytes)> {
    let mut contents = Vec::new();
    for object in store.list("").await.unwrap() {
        if !object.key.ends_with(CLAIM) {
            contents.push((object.key.clone(), store.get(&object.key, u64::MAX).await.unwrap()));
        }
    }
    contents
}

/// The second run fails when its dump is visible and its table of contents is not.
#[test]
fn a_second_that_repeats_itself_leaves_the_first_backup_as_it_is() {
    let server = Server::start();
    let small = small(&server);
    Runtime::new().unwrap().block_on(async {
        for ignore_existing in [false, true] {
            let behavior = Behavior { ignore_existing, ..Behavior::default() };
            let store = MemoryStore::behaving(behavior.clone());
            let reader: Arc<dyn Store> = Arc::new(store.clone());
            let first = write(Arc::clone(&reader), "main", &at(&small)).await.unwrap();
            let before = contents(&store).await;
            store.behave(Behavior { fail_put: Some(".toc.json.gz"), ..behavior.clone() });
            write(Arc::clone(&reader), "main", &at(&small)).await.unwrap_err();
            let after = contents(&store).await;
            assert!(after.len() > before.len(), "{after:?}");
            assert!(before.iter().all(|object| after.contains(object)), "{after:?}");
            is_whole(&reader, &first).await;
            // The next run is a backup again, and so the latest.
            store.behave(behavior);
            let third = write(Arc::clone(&reader), "main", &at(&small)).await.unwrap();
            is_whole(&reader, &third).await;
            let listed = backups::list(&store, PREFIX, None).await.unwrap();
            assert_eq!(listed.len(), 2, "{listed:?}");
        }
    });
}

#[test]
fn a_program_whose_clock_repeats_a_second_takes_the_next_one() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let sidecar = Sidecar::with_directory(store.path())
        .database("main", &small(&server))
        .set("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1")
        .set("FAKETIME", "@2026-04-26 23:59:30")
        .set("TZ", "UTC")
        .set("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let read = || files(store.path()).into_iter().map(|file| (std::fs::read(&file).unwrap(), file));
    sidecar.run(&["run"]).expect_success();
    let first: Vec<_> = read().collect();
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    // The second of the claim is that of the preceding log line, or the next one if the machine was slow.
    assert!(log.contains("main: that key already exists, dumping → file://"), "{log}");
    let both: Vec<_> = read().collect();
    assert!(first.len() == 3 && both.len() == 6 && first.iter().all(|file| both.contains(file)), "{both:?}");
    assert_eq!(claims(store.path()).len(), 2);
    for manifest in both.iter().map(|(_, file)| file).filter(|file| file.ends_with(".manifest.json")) {
        let key = manifest.strip_prefix(store.path().to_str().unwrap()).unwrap();
        sidecar.run(&["verify", key]).expect_success();
    }
}

/// The request arrives and its response is lost. The claim is abandoned, and later objects belong to this
/// writer, whether or not its access key may read them.
#[test]
fn what_an_earlier_sending_has_written_is_ones_own() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = large(&server);
    Runtime::new().unwrap().block_on(async {
        let reader = s3(&seaweed.http(), ADMIN.id, ADMIN.secret).await;
        for (name, keys) in [("writer", WRITER), ("admin", ADMIN)] {
            for (part, lost) in [
                ("claim", ".claim?x-id=PutObject"),
                ("dump", ".sql?uploadId="),
                ("toc", ".toc.json.gz?x-id=PutObject"),
                ("manifest", ".manifest.json?x-id=PutObject"),
            ] {
                let proxy = BreakableProxy::to_http(&seaweed.http()).losing_the_response_to(lost);
                let store = s3(&proxy.http(), keys.id, keys.secret).await;
                let name = format!("{name}-{part}");
                let id = write(store, &name, &at(&database)).await.unwrap();
                assert_eq!(id.later_by(0), BackupId::new(&name, second()).later_by((part == "claim").into()));
                is_whole(&reader, &id).await;
                let sent = proxy.requests().iter().filter(|request| request.contains(lost)).count();
                assert!(sent > 1, "{name}: the answer was not lost: {:?}", proxy.requests());
            }
        }
    });
}

/// An object that exists under a claimed key before the first request is another writer's, even if its owner
/// is unknown.
#[test]
fn objects_of_another_writer_under_a_claimed_key_stay() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let (small, large) = (small(&server), large(&server));
    let runtime = Runtime::new().unwrap();
    for (keys, database) in [(WRITER, &small), (ADMIN, &small), (WRITER, &large), (ADMIN, &large)] {
        let name = format!("{}-{}", keys.id, database.name());
        let key = BackupId::new(&name, second()).key(PREFIX, Part::DUMPS[0]);
        seaweed.try_put(ADMIN, &key, b"another's").unwrap();
        let written = runtime.block_on(async {
            write(s3(&seaweed.http(), keys.id, keys.secret).await, &name, &at(database)).await
        });
        let error = written.unwrap_err();
        let expected = format!("s3://{BUCKET}/{key} already exists and is not overwritten");
        assert_eq!(error.to_string(), expected);
        assert!(error.is_transient(), "the next attempt has another key");
        assert_eq!(seaweed.get(&key), b"another's");
    }
    assert_eq!(seaweed.unfinished_uploads(), [""; 0]);
}
