//! Wrong answers of a store: any program on a port can answer 200, send nothing, or send without end.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use pg_backup::pipeline::digest::ObjectDigest;
use pg_backup::storage::s3::{S3Config, S3Store, StaticCredentials, Timeouts};
use pg_backup::storage::{IfExists, Store, StoreError, Upload, UploadPart};
use tokio::runtime::Runtime;

use crate::harness::bulk;
use crate::harness::liar::{self, Answer, Liar, Request};
use crate::harness::postgres::{Database, Server};
use crate::harness::seaweed::{ADMIN, Seaweed};
use crate::harness::sidecar::Sidecar;

const BODY: &[u8] = b"what is stored";

/// Timeouts that are short enough for a test.
const SHORT: Timeouts = Timeouts {
    connect: Duration::from_secs(5),
    stall: Duration::from_millis(500),
    answer: Duration::from_millis(500),
    complete: Duration::from_millis(500),
    least_rate: 100 << 10,
};

fn runtime() -> Runtime {
    Runtime::new().expect("a runtime can be built")
}

async fn connect(endpoint: &str, attempts: u32, timeouts: Timeouts) -> S3Store {
    let config = S3Config {
        endpoint: Some(endpoint.to_owned()),
        path_style: true,
        credentials: Some(StaticCredentials {
            access_key_id: "id".to_owned(),
            secret_access_key: "secret".to_owned(),
            session_token: None,
        }),
        attempts,
        timeouts,
        ..S3Config::new("b", "us-east-1")
    };
    S3Store::connect(&config).await.unwrap()
}

/// Returns an error with its causes.
fn chain(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", chain(cause)),
        None => error.to_string(),
    }
}

fn created() -> Answer {
    let xml = "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
    liar::http("200 OK", &[], xml)
}

fn part() -> UploadPart {
    UploadPart { number: 1, offset: 0, body: Bytes::from_static(BODY) }
}

async fn upload(store: &S3Store) -> Box<dyn Upload> {
    store.begin_upload("k", "text/plain").await.unwrap()
}

/// The requests that write, and the one that lists. The requests before them succeed.
const REQUESTS: [&str; 5] = ["put", "create", "part", "complete", "list"];

/// Starts a store that gives this answer to one of [`REQUESTS`].
fn answering(request: &'static str, answer: impl Fn() -> Answer + Send + Sync + 'static) -> Liar {
    Liar::start(move |asked: &Request| {
        let is_meant = match request {
            "create" => asked.is("POST", "uploads"),
            "part" => asked.is("PUT", "partNumber"),
            "complete" => asked.is("POST", "uploadId"),
            _ => true,
        };
        if is_meant { answer() } else { created() }
    })
}

/// Sends the request and returns its error.
async fn fail(store: &S3Store, request: &str) -> StoreError {
    let result = match request {
        "put" => store.put("k", Bytes::from_static(BODY), "text/plain").await,
        "create" => store.begin_upload("k", "text/plain").await.map(drop),
        "part" => upload(store).await.put_part(part()).await,
        "complete" => upload(store).await.complete(&ObjectDigest::of(BODY), IfExists::Replace).await,
        "list" => store.list("p/").await.map(drop),
        "abort" => upload(store).await.abort().await,
        "get" => store.get("k", 1000).await.map(drop),
        "range" => store.get_range("k", 10..20).await.map(drop),
        other => panic!("no request is called {other}"),
    };
    result.expect_err(request)
}

#[test]
fn a_200_that_is_not_s3s_is_no_success() {
    let html = "<html><body>Please log in</body></html>";
    runtime().block_on(async {
        for request in REQUESTS {
            for (body, head) in [
                (html, "Content-Type: text/html"),
                ("", "X-Empty: yes"),
                ("\u{1}\u{2}garbage", "X-Garbage: yes"),
                ("<Nothing/>", "Content-Type: application/xml"),
                // Web servers send such an ETag with any page.
                (html, "ETag: W/\"2-nOO9QiTIwXgNtWtBJezz8kv3SLc\""),
            ] {
                let liar = answering(request, move || liar::http("200 OK", &[head], body));
                let error = fail(&connect(&liar.http(), 1, Timeouts::default()).await, request).await;
                assert!(
                    matches!(error, StoreError::NotS3 { .. }) && !error.is_transient(),
                    "{request} {body}: {error:?}"
                );
                let told = format!("the response of {} is not an S3 response: ", liar.http());
                assert!(error.to_string().starts_with(&told), "{error}");
            }
            // A truncated response is retried and may then succeed.
            let cut = b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 900\r\n\r\n<Compl".to_vec();
            let liar = answering(request, move || Answer::Bytes(cut.clone()));
            let error = fail(&connect(&liar.http(), 1, Timeouts::default()).await, request).await;
            assert!(error.is_transient(), "{request}: {error:?}");
        }
    });
}

#[test]
fn an_answer_about_other_bytes_is_no_success() {
    // The MD5 of an empty body, and the CRC-64 of another body.
    let other = "ETag: \"d41d8cd98f00b204e9800998ecf8427e\"";
    let checksum = "x-amz-checksum-crc64nvme: AAAAAAAAAAA=";
    let complete = "<CompleteMultipartUploadResult><ETag>\"x-1\"</ETag><ChecksumCRC64NVME>AAAAAAAAAAA=\
                    </ChecksumCRC64NVME></CompleteMultipartUploadResult>";
    runtime().block_on(async {
        for (request, head, body) in [
            ("put", vec![other], ""),
            ("put", vec!["ETag: \"x\"", checksum], ""),
            ("part", vec![other], ""),
            ("part", vec!["ETag: \"x\"", checksum], ""),
            ("complete", vec![], complete),
        ] {
            let liar = answering(request, move || liar::http("200 OK", &head, body));
            let error = fail(&connect(&liar.http(), 1, Timeouts::default()).await, request).await;
            assert!(
                matches!(error, StoreError::Corrupted { .. }) && error.is_transient(),
                "{request}: {error:?}"
            );
        }
        // The ETag of an object that the store encrypts with a KMS key is not its MD5.
        let liar = answering("put", move || {
            liar::http("200 OK", &[other, "x-amz-server-side-encryption: aws:kms"], "")
        });
        let store = connect(&liar.http(), 1, Timeouts::default()).await;
        store.put("k", Bytes::from_static(BODY), "text/plain").await.unwrap();
    });
}

/// Neither `run` nor `check` accepts a web server as a store.
#[test]
fn a_web_server_in_the_stores_place_holds_no_backup() {
    let (server, liar) =
        (Server::start(), Liar::start(|_| liar::http("200 OK", &[], "<html>It works!</html>")));
    let database = server.database();
    database.execute("CREATE TABLE t (id integer)");
    let seaweed = crate::harness::bucket::environment("BACKUP_", &liar.http(), ("b", "p"), ("id", "secret"));
    let sidecar = Sidecar::with_store(seaweed).database("main", &database);
    let log = sidecar.run(&["run"]).expect_code(5).stdout_text();
    assert!(
        log.contains("main: FAILED in ") && log.contains(" is not an S3 response: write s3://b/p/main/"),
        "{log}"
    );
    let found = sidecar.run(&["check"]).expect_code(2).stdout_text();
    assert!(
        found.contains("is not an S3 response: write s3://b/p/pg-backup-check.txt: it has no ETag"),
        "{found}"
    );
}

#[test]
fn a_request_that_stands_still_is_given_up_in_its_time() {
    let begun = Instant::now();
    runtime().block_on(async {
        for request in REQUESTS.into_iter().chain(["abort", "get", "range"]) {
            let liar = match request {
                "abort" => {
                    Liar::start(|asked| if asked.is("POST", "uploads") { created() } else { Answer::Silence })
                }
                request => answering(request, || Answer::Silence),
            };
            let begun = Instant::now();
            let error = fail(&connect(&liar.http(), 2, SHORT).await, request).await;
            assert!(
                matches!(error, StoreError::Timeout { .. }) && error.is_transient(),
                "{request}: {error:?}"
            );
            assert!(chain(&error).contains("no answer for 0.5s"), "{}", chain(&error));
            assert!(begun.elapsed() < Duration::from_secs(10), "{request}: {:?}", begun.elapsed());
        }
        // The server reads nothing of a large body, which has minutes by its size.
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = format!("http://{}", listener.local_addr().unwrap());
        let store = connect(&silent, 1, SHORT).await;
        let error = store.put("k", vec![0; 64 << 20].into(), "text/plain").await.unwrap_err();
        assert!(
            chain(&error).contains("the store accepted none of the request for 0.5s"),
            "{}",
            chain(&error)
        );
        // Bodies that stop arriving, and bodies that arrive too slowly.
        let head = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 10\r\n\r\n0123";
        for (more, distance, least_rate, expected) in [
            (&b""[..], Duration::from_millis(20), 1, "no data arrived; 4 bytes were read"),
            (&b"4"[..], Duration::from_millis(250), 1 << 20, "data arrived too slowly"),
        ] {
            let liar = Liar::start(move |_| Answer::Endless(head.to_vec(), more.to_vec(), distance));
            let times = Timeouts { least_rate, ..SHORT };
            let error = fail(&connect(&liar.http(), 1, times).await, "range").await;
            assert!(chain(&error).contains(expected), "{}", chain(&error));
        }
    });
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[test]
fn an_endless_answer_is_an_error_at_the_first_byte_too_many() {
    let endless = |head: &'static str| {
        move |_: &Request| {
            let head = format!("HTTP/1.1 {head}\r\n\r\n").into_bytes();
            Answer::Endless(head, vec![b'x'; 64 << 10], Duration::ZERO)
        }
    };
    runtime().block_on(async {
        // Small responses, and errors.
        for (request, head) in
            [("create", "200 OK"), ("put", "403 Forbidden"), ("get", "404 Not Found"), ("list", "200 OK")]
        {
            let liar = Liar::start(endless(head));
            let error = fail(&connect(&liar.http(), 1, Timeouts::default()).await, request).await;
            assert!(
                chain(&error).contains("it is longer than any response to this request"),
                "{request}: {error:?}"
            );
        }
        let liar = Liar::start(endless("200 OK"));
        let store = connect(&liar.http(), 1, Timeouts::default()).await;
        let error = store.get("k", 100_000).await.unwrap_err();
        assert_eq!(error.to_string(), "s3://b/k is longer than 100000 bytes");
        let error = store.get_range("k", 10..20).await.unwrap_err();
        assert_eq!(error.to_string(), "the range from byte 10 of s3://b/k is longer than 10 bytes");
    });
}

fn listing(more: &str) -> Answer {
    let object = "<Contents><Key>p/a</Key><Size>1</Size></Contents>";
    liar::http("200 OK", &[], &format!("<ListBucketResult><Name>b</Name>{object}{more}</ListBucketResult>"))
}

#[test]
fn a_listing_that_repeats_its_token_or_has_none_is_an_error() {
    runtime().block_on(async {
        let more = "<IsTruncated>true</IsTruncated>";
        let again = format!("{more}<NextContinuationToken>t1</NextContinuationToken>");
        let liar = Liar::start(move |_| listing(&again));
        let error = fail(&connect(&liar.http(), 1, Timeouts::default()).await, "list").await;
        assert_eq!(
            error.to_string(),
            "the store's listing does not end: it repeats the continuation token \"t1\""
        );
        assert_eq!(liar.count("GET", "list-type"), 2);
        let backups = pg_backup::pipeline::backups::list(
            &connect(&liar.http(), 1, Timeouts::default()).await,
            "p",
            None,
        )
        .await;
        assert!(matches!(backups, Err(StoreError::EndlessListing { .. })), "{backups:?}");
        let liar = Liar::start(move |_| listing(more));
        let error = fail(&connect(&liar.http(), 1, Timeouts::default()).await, "list").await;
        assert!(chain(&error).contains("no continuation token"), "{}", chain(&error));
    });
}

/// A database whose dump is uploaded in parts.
fn in_parts(server: &Server) -> Database<'_> {
    let database = server.database();
    database.load_bytes(bulk::noise(12).as_bytes()).expect_success();
    database
}

/// Runs a round through a server that changes the response to the first request of a kind. Returns the log
/// and the number of such requests.
#[track_caller]
fn round(
    method: &'static str,
    target: &'static str,
    spoil: impl Fn(&Request, &str, usize) -> Option<Answer> + Send + Sync + 'static,
) -> (String, usize) {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = in_parts(&server);
    let (store, number) = (seaweed.http(), AtomicUsize::new(0));
    let liar = Liar::start(move |request| {
        let spoilt =
            request.is(method, target).then(|| spoil(request, &store, number.fetch_add(1, Ordering::SeqCst)));
        spoilt.flatten().unwrap_or_else(|| request.forward(&store))
    });
    let sidecar = Sidecar::with_store(liar.instead_of(seaweed.environment(ADMIN)))
        .database("main", &database)
        .set("BACKUP_RETRY_WAIT", "1s");
    let log = sidecar.run(&["run"]).expect_success().stdout_text();
    assert!(log.contains("main: OK in ") && !log.contains("FAILED"), "{log}");
    Sidecar::with_store(seaweed.environment(ADMIN)).run(&["verify"]).expect_success();
    (log, liar.count(method, target))
}

#[test]
fn a_lost_answer_to_the_completion_costs_an_attempt_and_not_the_round() {
    let (log, _) = round("POST", "uploadId", |request, store, number| match number {
        // The upload is completed and the response is lost. For the retry, S3 no longer knows the upload.
        0 => {
            request.forward(store);
            Some(Answer::Close)
        }
        1 => Some(liar::error("404 Not Found", "NoSuchUpload")),
        _ => None,
    });
    let told = "main: attempt 1 of 6 failed after ";
    assert!(
        log.contains(told) && log.contains("the store no longer knows the upload: complete s3://"),
        "{log}"
    );
}

#[test]
fn errors_of_s3_itself_are_retried() {
    let (log, asked) = round("POST", "uploadId", |_, _, number| {
        (number == 0).then(|| liar::error("200 OK", "InternalError"))
    });
    assert!(!log.contains("attempt "), "{log}");
    assert_eq!(asked, 2);
    let (log, _) = round("PUT", "partNumber", |_, _, number| match number {
        0 => Some(liar::error("400 Bad Request", "BadDigest")),
        1 => Some(liar::error("429 Too Many Requests", "")),
        _ => None,
    });
    assert!(!log.contains("attempt "), "{log}");
    let (log, _) = round("POST", "uploadId", |_, _, number| {
        // More attempts than the SDK makes: a conditional write has retries of its own.
        (number < 4).then(|| liar::error("409 Conflict", "OperationAborted"))
    });
    assert!(log.contains("main: OK in ") && !log.contains("attempt "), "{log}");
}

#[test]
fn an_upload_that_starts_late_is_aborted_before_the_end() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = in_parts(&server);
    let store = seaweed.http();
    let (go, gone) = mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let liar = Liar::start(move |request| {
        let answer = request.forward(&store);
        if request.is("POST", "uploads") {
            // After the five seconds that an abort may take.
            gone.lock().unwrap().recv().unwrap();
            std::thread::sleep(Duration::from_millis(6_500));
        }
        answer
    });
    let sidecar =
        Sidecar::with_store(liar.instead_of(seaweed.environment(ADMIN))).database("main", &database);
    let running = sidecar.start(&["run"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while seaweed.unfinished_uploads().is_empty() {
        assert!(Instant::now() < deadline, "no upload begins\n{}", running.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    go.send(()).unwrap();
    let (code, took, log) = running.terminate();
    assert_eq!(code, Some(1), "{log}");
    assert!(took < Duration::from_secs(10), "{took:?}\n{log}");
    assert_eq!(seaweed.unfinished_uploads(), [""; 0], "{log}");
    assert!(!log.contains("could not be aborted"), "{log}");
}

#[test]
fn an_upload_of_which_the_store_does_not_tell_is_named_at_the_end() {
    // Every key is taken, so the backup gets a key with the writer's name. All other requests get no
    // response.
    let liar = Liar::start(|request| match request.is("PUT", ".claim") {
        true => liar::error("412 Precondition Failed", "PreconditionFailed"),
        false => Answer::Silence,
    });
    let server = Server::start();
    let database = in_parts(&server);
    let environment =
        crate::harness::bucket::environment("BACKUP_", &liar.http(), ("b", "p"), ("id", "secret"));
    let running = Sidecar::with_store(environment).database("main", &database).start(&["run"]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while liar.count("POST", "uploads") == 0 {
        assert!(Instant::now() < deadline, "no upload begins\n{}", running.log());
        std::thread::sleep(Duration::from_millis(10));
    }
    let (_, took, log) = running.terminate();
    assert!(took < Duration::from_secs(11), "{took:?}\n{log}");
    assert!(log.contains("an unfinished upload could not be aborted"), "{log}");
    assert!(log.contains("s3://b/p/main/"), "{log}");
}

/// Signals while the store processes a request. The response arrives before or after the process has stopped
/// waiting.
#[test]
fn a_signal_at_any_moment_leaves_no_upload_behind() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = in_parts(&server);
    let mut moments = 0;
    for number in 0.. {
        let mut reached = false;
        for store_first in [true, false] {
            reached |= signal_at(&seaweed, &database, number, store_first);
        }
        if !reached {
            break;
        }
        moments += 2;
    }
    // The upload's creation, its parts and its completion.
    assert!(moments >= 10, "{moments}");
}

/// Sends SIGTERM at the request with this number, before or after the store receives it. Returns `false` if
/// there are fewer requests.
fn signal_at(seaweed: &Seaweed, database: &Database<'_>, number: usize, store_first: bool) -> bool {
    let (store, asked) = (seaweed.http(), AtomicUsize::new(0));
    let (reach, reached) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    let (reach, gone) = (std::sync::Mutex::new(reach), std::sync::Mutex::new(gone));
    let liar = Liar::start(move |request| {
        if request.is("DELETE", "") || asked.fetch_add(1, Ordering::SeqCst) != number {
            return request.forward(&store);
        }
        let early = store_first.then(|| request.forward(&store));
        let _ = reach.lock().unwrap().send(());
        // Waits until the signal has been sent, or the program has exited.
        let _ = gone.lock().unwrap().recv();
        early.unwrap_or_else(|| request.forward(&store))
    });
    let sidecar = Sidecar::with_store(liar.instead_of(seaweed.environment(ADMIN))).database("main", database);
    let mut running = sidecar.start(&["run"]);
    loop {
        if reached.recv_timeout(Duration::from_millis(50)).is_ok() {
            break;
        }
        if running.has_ended() {
            return false;
        }
    }
    let begun = Instant::now();
    running.send("TERM");
    drop(go);
    let (_, log) = running.finish();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}\n{log}");
    assert_eq!(seaweed.unfinished_uploads(), [""; 0], "request {number}, {store_first}\n{log}");
    true
}

#[test]
fn a_refusal_of_a_proxy_names_the_proxy() {
    let seaweed = Seaweed::start();
    let proxied = |variable: &str, url: &str| {
        Sidecar::with_store(seaweed.environment(ADMIN)).set("NO_PROXY", "").set(variable, url).run(&["list"])
    };
    let refused = proxied("http_proxy", "http://user:secret@127.0.0.1:9").expect_code(5).stderr;
    let told = format!("cannot reach {} through proxy http://127.0.0.1:9 (http_proxy): ", seaweed.http());
    assert!(refused.contains(&told) && !refused.contains("secret"), "{refused}");

    let proxy = Liar::start(|_| liar::http("407 Proxy Authentication Required", &[], "<html/>"));
    let refused = proxied("http_proxy", &proxy.http()).expect_code(5).stderr;
    assert!(
        refused.contains(&format!("proxy {} (http_proxy) refused the request: list s3://", proxy.http())),
        "{refused}"
    );

    // Over TLS the client asks the proxy for a tunnel.
    let tunnel = Liar::start(|_| liar::http("403 Forbidden", &[], "no"));
    let refused = Sidecar::with_store(seaweed.environment(ADMIN))
        .set("BACKUP_S3_ENDPOINT", &seaweed.https())
        .set("BACKUP_S3_CA_FILE", &seaweed.authority().display().to_string())
        .set("NO_PROXY", "")
        .set("HTTPS_PROXY", &tunnel.http())
        .run(&["list"])
        .expect_code(5)
        .stderr;
    let told = format!("cannot reach {} through proxy {} (HTTPS_PROXY): ", seaweed.https(), tunnel.http());
    assert!(refused.contains(&told), "{refused}");

    // AWS's own clients ignore such a proxy, or report that they cannot use it.
    let socks = proxied("ALL_PROXY", "socks5://127.0.0.1:9").expect_success().stderr;
    assert!(!socks.contains("error"), "{socks}");
    let socks = proxied("HTTP_PROXY", "socks5h://127.0.0.1:9").expect_code(5).stderr;
    assert!(
        socks.contains("HTTP_PROXY names a socks5h proxy, which cannot forward requests to the store"),
        "{socks}"
    );
}
