//! A sidecar in a broken environment: a standard output without a reader, too few open files, a hangup,
//! values with control characters, and wrong clocks.

use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::http::get;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{binary, run};
use crate::harness::sidecar::{Sidecar, files, listening};

fn small(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t (id integer); INSERT INTO t VALUES (1)");
    database
}

/// Returns an output whose buffer is full, and its read end.
fn blocked() -> (OwnedFd, UnixStream) {
    let (reader, mut output) = UnixStream::pair().unwrap();
    output.set_nonblocking(true).unwrap();
    let full = (0..).find_map(|_| output.write(&[b'x'; 4096]).err()).unwrap();
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    output.set_nonblocking(false).unwrap();
    (output.into(), reader)
}

/// Waits until a condition is true.
#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "still waiting for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A program that is killed when this is dropped.
struct Serving(Child);

impl Serving {
    #[track_caller]
    fn signal(&self, name: &str) {
        run(Command::new("sh").args(["-c", &format!("kill -{name} {}", self.0.id())])).expect_success();
    }

    /// Waits for the exit. Returns the exit code.
    #[track_caller]
    fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM and waits for the exit.
    #[track_caller]
    fn terminate(mut self) -> Option<i32> {
        self.signal("TERM");
        self.end()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn manifests(store: &tempfile::TempDir) -> usize {
    files(store.path()).iter().filter(|file| file.ends_with(".manifest.json")).count()
}

#[test]
fn a_log_without_a_reader_stops_nothing() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = small(&server);
    let (sidecar, port) = listening(Sidecar::with_directory(store.path()).database("main", &database));
    let sidecar = sidecar.set("BACKUP_INTERVAL_SECONDS", "1");
    let serve = |output: OwnedFd| {
        let errors = output.try_clone().unwrap();
        let mut serve = sidecar.command(&["serve"]);
        Serving(serve.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap())
    };
    let (output, _reader) = blocked();
    let child = serve(output);
    wait_until("two rounds", || manifests(&store) >= 2);
    assert_eq!(get(port, "/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(child.terminate(), Some(0));

    // All pending lines are written when the output is read again.
    let (output, mut reader) = blocked();
    let (child, rounds) = (serve(output), manifests(&store) + 2);
    wait_until("two more rounds", || manifests(&store) >= rounds);
    let taken = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).map(|_| text)
    });
    assert_eq!(child.terminate(), Some(0));
    let text = taken.join().unwrap().unwrap();
    let log = text.trim_start_matches('x');
    assert!(log.starts_with("[entrypoint] ") && log.ends_with("[entrypoint] stopped\n"), "{log}");
    assert!(log.matches("[backup] main: OK in ").count() >= 2, "{log}");

    // A single round ends, too, and so does one whose errors cannot be written.
    let (output, _reader) = blocked();
    let errors = output.try_clone().unwrap();
    let refused = sidecar.clone().set("BACKUP_MAIN_PASSWORD", "not-the-password").set("BACKUP_RETRIES", "0");
    let mut single = refused.command(&["run"]);
    let single = single.stdin(Stdio::null()).stdout(output).stderr(errors).spawn().unwrap();
    assert_eq!(Serving(single).end(), Some(3));
}

#[test]
fn too_few_open_files_are_said() {
    for verb in ["serve", "version"] {
        let script = format!("ulimit -n 6; exec {} {verb}", binary().display());
        let refused = run(Command::new("sh").args(["-c", &script])).expect_code(1);
        let said = "pg-backup: error: cannot start: the limit of open files is too low: Too many open files";
        assert!(refused.stderr.starts_with(said) && refused.stderr.contains("\nHINT: raise it"), "{refused}");
    }
}

#[test]
fn a_hangup_ends_it_unless_it_is_ignored() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = small(&server);
    let (sidecar, port) = listening(Sidecar::with_directory(store.path()).database("main", &database));
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the round", |log| log.contains("[entrypoint] backup ok"));
    let (code, _, log) = serve.signal("HUP");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("[entrypoint] SIGHUP received; stopping\n"), "{log}");

    let script = format!("trap '' HUP; exec {} serve", binary().display());
    let mut ignoring = Command::new("sh");
    ignoring.args(["-c", &script]).envs(sidecar.environment()).stdin(Stdio::null()).stdout(Stdio::null());
    let child = Serving(ignoring.spawn().unwrap());
    wait_until("the page", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    child.signal("HUP");
    assert_eq!(get(port, "/healthz").0, 200);
    assert_eq!(child.terminate(), Some(0));
}

#[test]
fn a_value_with_a_carriage_return_is_refused_by_its_name() {
    let environment = [
        ("BACKUP_S3_BUCKET", "bucket"),
        ("BACKUP_S3_ENDPOINT", "http://127.0.0.1:1"),
        ("BACKUP_AWS_REGION", "us-east-1"),
        ("BACKUP_AWS_ACCESS_KEY_ID", "ADMIN\r"),
        ("BACKUP_AWS_SECRET_ACCESS_KEY", "s3cret"),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let sidecar =
        Sidecar::with_store(environment).database_at("main", "postgres://u@127.0.0.1:1/d", "password");
    let refused = sidecar.run(&["run"]).expect_code(2);
    let said = "pg-backup: error: BACKUP_AWS_ACCESS_KEY_ID contains a carriage return (U+000D)\nHINT: ";
    assert!(refused.stderr.starts_with(said), "{refused}");
}

/// Returns the same sidecar with another time on its clock.
fn at(sidecar: &Sidecar, time: &str) -> Sidecar {
    sidecar
        .clone()
        .set("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1")
        .set("FAKETIME", time)
        .set("TZ", "UTC")
        .set("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

#[test]
fn a_backup_from_the_future_hides_no_later_one() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let (database, target) = (small(&server), server.database());
    let sidecar = Sidecar::with_directory(store.path()).database("main", &database);
    at(&sidecar, "+400d").run(&["run"]).expect_success();
    let [future] =
        &files(store.path()).into_iter().filter(|f| f.ends_with(".manifest.json")).collect::<Vec<_>>()[..]
    else {
        panic!("not one backup")
    };
    let key = future.strip_prefix(&format!("{}/", store.path().display())).unwrap();
    let notice = "pg-backup: warn: a backup of main is dated in the future (";

    // `status` and `latest` ignore a backup with a date in the future, so there is none yet.
    let status = sidecar.run(&["status"]).expect_code(6);
    assert!(status.stderr.contains("main has only 1 dated in the future"), "{status}");
    let none = sidecar.run(&["restore", "latest", "--to", &target.url()]).expect_code(6);
    assert!(none.stderr.contains(", but 1 dated in the future\nHINT: "), "{none}");

    database.execute("INSERT INTO t VALUES (2)");
    sidecar.run(&["run"]).expect_success();
    let status = sidecar.run(&["status"]).expect_success();
    assert!(
        status.stdout_text().contains("main      ok     ") && status.stderr.starts_with(notice),
        "{status}"
    );
    let status = sidecar.run(&["status", "--json"]).expect_success();
    let json: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(json["databases"][0]["future"].as_array().map(Vec::len), Some(1), "{json}");
    assert_eq!(json["databases"][0]["newest"]["rows"], 2, "{json}");
    let listed = sidecar.run(&["list"]).expect_success().stdout_text();
    assert_eq!(listed.matches("Z (in the future)  ").count(), 1, "{listed}");
    let check = sidecar.run(&["check"]).expect_success().stdout_text();
    assert!(check.contains("a backup of main is dated in the future ("), "{check}");
    // The later backup is restored, and the other one by its key.
    let restored = sidecar.run(&["restore", "latest", "--to", &target.url()]).expect_success();
    assert!(restored.stderr.contains(notice), "{restored}");
    assert_eq!(target.query("SELECT count(*) FROM t"), "2");
    let other = server.database();
    sidecar.run(&["restore", key, "--to", &other.url()]).expect_success();
    assert_eq!(other.query("SELECT count(*) FROM t"), "1");
}

#[test]
fn no_clock_makes_it_panic() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = small(&server);
    let sidecar = Sidecar::with_directory(store.path()).database("main", &database);
    for time in ["@9999-06-01 00:00:00", "@9999-12-30 23:00:00", "@9999-12-31 23:59:50"] {
        for schedule in ["@every 6h", "30 3 * * *"] {
            let sidecar = at(&sidecar, time).set("BACKUP_SCHEDULE", schedule);
            for verb in ["run", "check", "status"] {
                let output = sidecar.run(&[verb]);
                let said = format!("{output}");
                assert!(output.status.code().is_some_and(|code| code < 8), "{time} {schedule} {said}");
                assert!(!said.contains("panicked"), "{time} {schedule} {said}");
            }
        }
    }
}
