//! `make bench-image`: the image's size, its start time and its memory.
//!
//! Memory is the kernel's value for the program in its container (`VmRSS`, `VmHWM` in `/proc/PID/status`),
//! after the first round of `serve` with the three sample databases and before the next round.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::container::{Container, IMAGE, container, described, podman};
use harness::http;
use harness::postgres::Server;
use harness::program::{run, static_binary, without_settings};
use harness::samples;
use harness::seaweed::{Seaweed, WRITER};
use harness::sidecar::{Sidecar, listening};

/// An odd number, so that one run is the median.
const RUNS: usize = 11;

fn main() {
    let server = Server::start();
    let databases = samples::load(&server);
    let seaweed = Seaweed::start();
    let store = Sidecar::with_store(seaweed.environment(WRITER));
    let sidecar = databases.iter().fold(store, |sidecar, (name, database)| sidecar.database(name, database));

    let size: f64 = described("{{.Size}}").parse().expect("a number of bytes");
    println!("image: {:.1} MB, {:.1} MB packed, as a registry sends it", size / 1e6, packed() as f64 / 1e6);

    let version = || {
        let mut command = Command::new(static_binary());
        without_settings(command.arg("version"));
        command
    };
    println!("start: pg-backup version {:.0} ms", 1e3 * median(|| took(&mut version())));
    println!(
        "start: podman run --rm pg-backup version {:.0} ms",
        1e3 * median(|| took(container(&sidecar, &[], &[]).arg("version")))
    );
    println!("start: serve until /healthz answers {:.0} ms", 1e3 * median(|| until_healthy(&sidecar)));

    let (sidecar, _port) = listening(sidecar);
    let serve = Container::serve(&sidecar, &[]);
    serve.wait_for("backup ok; sleeping");
    let pid = serve.podman(&["inspect", "--format", "{{.State.Pid}}"]).expect_success().stdout_text();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).expect("the container runs");
    let mib = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
        line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<f64>().expect("a number of KiB") / 1024.0
    };
    println!("memory: {:.1} MiB resident while it waits, {:.1} MiB at most", mib("VmRSS"), mib("VmHWM"));
    serve.stop();
}

/// Returns the size of the image after gzip, in bytes.
fn packed() -> usize {
    let mut save =
        podman(&["save", "--quiet"]).arg(IMAGE).stdout(Stdio::piped()).spawn().expect("podman starts");
    let archive = save.stdout.take().expect("it was asked for");
    let packed = run(Command::new("gzip").arg("-c").stdin(archive)).expect_success().stdout.len();
    assert!(save.wait().expect("podman ends").success());
    packed
}

fn took(command: &mut Command) -> f64 {
    let start = Instant::now();
    run(command).expect_success();
    start.elapsed().as_secs_f64()
}

/// Returns the time from the start of the process to its first response, without a container.
fn until_healthy(sidecar: &Sidecar) -> f64 {
    let (sidecar, port) = listening(sidecar.clone());
    let mut command = Command::new(static_binary());
    without_settings(&mut command).envs(sidecar.environment()).stdout(Stdio::null());
    let start = Instant::now();
    let mut serve = command.spawn().expect("the program starts");
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(10), "it does not answer");
        std::thread::sleep(Duration::from_micros(200));
    }
    let (status, _) = http::get(port, "/healthz");
    let took = start.elapsed().as_secs_f64();
    assert_eq!(status, 200);
    serve.kill().expect("it runs");
    serve.wait().expect("it ends");
    took
}

fn median(measure: impl Fn() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..RUNS).map(|_| measure()).collect();
    all.sort_by(f64::total_cmp);
    all[RUNS / 2]
}
