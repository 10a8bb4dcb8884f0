//! The harness itself: its servers end when they should, and leave no processes or files.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::guard::{Dir, User};
use crate::harness::postgres::Server;
use crate::harness::program::run;
use crate::harness::seaweed::{ADMIN, BUCKET, Seaweed, WRITER};

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "still waiting: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs in a process that will be killed: it holds the server or directory that the variable names, prints
/// its place, and waits.
#[test]
fn hold_something_until_killed() {
    let what = std::env::var(HOLD).unwrap_or_default();
    let server = (what == "server").then(Server::start);
    let dir = (what == "dir").then(|| Dir::new(User::unprivileged()));
    let path = server.as_ref().map(Server::socket).or(dir.as_deref());
    if let Some(path) = path {
        println!("\nheld in {}", path.display());
        std::thread::sleep(Duration::from_secs(60));
    }
}

const HOLD: &str = "PG_BACKUP_TEST_HOLD";

/// Starts a process that holds `what`, and reads its place.
fn hold(what: &str) -> (Child, PathBuf) {
    use std::io::{BufRead, BufReader};
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "servers::hold_something_until_killed", "--nocapture"])
        .env(HOLD, what)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(test.stdout.take().unwrap()).lines().map(Result::unwrap);
    let said = lines.map_while(Some).find_map(|line| line.strip_prefix("held in ").map(PathBuf::from));
    (test, said.expect("the test says where"))
}

#[test]
fn a_killed_test_leaves_no_directory() {
    let (mut test, dir) = hold("dir");
    std::fs::write(dir.join("file"), "left").unwrap();
    test.kill().unwrap();
    test.wait().unwrap();
    wait_for("the directory's removal", || !dir.exists());
}

#[test]
fn a_killed_test_leaves_no_server() {
    let (mut test, dir) = hold("server");
    let pid_file = std::fs::read_to_string(dir.join("data/postmaster.pid")).unwrap();
    let server = PathBuf::from("/proc").join(pid_file.lines().next().unwrap());
    assert!(server.exists());
    test.kill().unwrap();
    test.wait().unwrap();
    wait_for("the server's end", || !server.exists());
    wait_for("the directory's removal", || !dir.exists());
}

#[test]
fn a_dropped_server_is_gone_at_once() {
    let server = Server::start();
    assert_eq!(server.existing("postgres").query("SHOW max_locks_per_transaction"), "1024");
    let dir = server.socket().to_owned();
    drop(server);
    assert!(!dir.exists());
}

#[test]
fn a_server_over_tcp_wants_the_password() {
    let server = Server::start();
    let url = server.existing("postgres").url_without_password();
    let output = run(server.tool("psql").args(["-X", "-w", "-c", "SELECT 1", "-d", &url]));
    assert!(!output.status.success() && output.stderr.contains("no password supplied"), "{output}");
}

#[test]
fn the_writer_may_put_under_the_prefix_and_nothing_else() {
    let seaweed = Seaweed::start();
    assert_eq!(seaweed.try_put(WRITER, "prod/a", b"one"), Ok(()));
    assert!(seaweed.try_put(WRITER, "elsewhere/a", b"one").unwrap_err().contains("AccessDenied"));
    assert!(seaweed.try_get(WRITER, "prod/a").unwrap_err().contains("AccessDenied"));
    assert_eq!(seaweed.try_get(ADMIN, "prod/a"), Ok(b"one".to_vec()));
    let keys: Vec<String> = seaweed.objects().into_iter().map(|object| object.key).collect();
    assert_eq!(keys, ["prod/a"], "of bucket {BUCKET}");
}
