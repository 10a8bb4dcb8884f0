//! docker/docker-compose.demo.yml as a new user runs it: the real Docker Compose, and the commands in the
//! file's header.
//!
//! There is no Docker daemon here. podman provides the same API. tests/containers/build makes stand-ins for
//! the third-party images; the image of pg-backup is the one that `make image` has built.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::container::{guarded, in_containers, podman};
use crate::harness::document::repository;
use crate::harness::guard::{Dir, Guard};
use crate::harness::http;
use crate::harness::program::{Output, installed, run, target_dir};

const FILE: &str = include_str!("../../docker/docker-compose.demo.yml");

/// Starts podman's service, and runs the containers' health checks, which systemd would run otherwise.
const SERVICE: &str = r#"
service=$$
while kill -0 "$service" 2>/dev/null; do
    # A container without a check refuses.
    for name in $(podman ps --quiet --filter label=com.docker.compose.project=pg-backup-demo); do
        podman healthcheck run "$name"
    done
    sleep 1
done >/dev/null 2>&1 &
exec "$@"
"#;

/// podman as a service.
struct Daemon {
    guard: Guard,
    socket: PathBuf,
}

impl Daemon {
    fn start() -> Daemon {
        let dir = Dir::new(None);
        let socket = dir.join("socket");
        let mut command = in_containers(&["bash", "-c", SERVICE, "bash"]);
        command.args(["podman", "system", "service", "--time=0"]);
        command.arg(format!("unix://{}", socket.display()));
        let daemon = Daemon { guard: guarded(dir, &command), socket };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !daemon.socket.exists() {
            assert!(Instant::now() < deadline && !daemon.guard.has_ended(), "{}", daemon.guard.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        daemon
    }

    /// Removes everything of the demonstration.
    fn remove(&self) {
        let all = "docker compose -f docker/docker-compose.demo.yml --profile '*'";
        let _ = self.compose(&format!("{all} down --volumes --timeout 1"));
    }

    /// Runs a command of the file's header, which starts with `docker compose`.
    fn compose(&self, line: &str) -> Output {
        let program = installed("docker-compose/bin/docker-compose");
        let arguments = line.strip_prefix("docker compose ").expect("it is one of compose's");
        let shell = format!("exec {} --ansi=never {arguments}", program.display());
        let mut command = Command::new("bash");
        command.args(["-c", &shell]).current_dir(repository());
        run(command
            .env("DOCKER_HOST", format!("unix://{}", self.socket.display()))
            .env("COMPOSE_MENU", "false"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Returns the commands in the file's header.
fn commands() -> Vec<String> {
    let header = FILE.lines().take_while(|line| line.starts_with('#'));
    header.filter_map(|line| line.strip_prefix("#   ")).map(str::to_owned).collect()
}

#[test]
fn its_own_commands_lead_to_a_first_success() {
    run(Command::new(repository().join("tests/containers/build")).env("CARGO_TARGET_DIR", target_dir()))
        .expect_success();
    let daemon = Daemon::start();
    // A killed run may have left containers.
    daemon.remove();

    let mut commands = commands();
    let last = commands.pop().expect("the last of them removes it");
    assert!(last.ends_with("down --volumes"), "{last}");
    let mut ran = 0;
    for command in &commands {
        if command.contains("monitoring") {
            // Prometheus and Grafana have no stand-ins.
            continue;
        }
        let output = match command.strip_suffix(" up") {
            Some(start) => {
                let output = daemon.compose(&format!("{start} up --detach --no-build --pull=never"));
                wait_until_saved(&daemon);
                output
            }
            None => daemon.compose(command),
        };
        let output = output.expect_success();
        let text = output.stdout_text();
        println!("$ {command}\n{text}");
        if command.ends_with("operator list") {
            assert!(text.matches("s3://backups/demo/").count() >= 3, "{text}");
        } else if command.ends_with("operator verify") {
            assert_eq!(text.matches("intact").count(), 3, "{text}");
        } else if command.ends_with("operator drill") {
            assert_eq!(text.matches("equal").count(), 3, "{text}");
        } else if command.contains("exec sandbox psql") {
            assert!(text.contains("347"), "{text}");
        }
        ran += 1;
    }
    assert!(ran >= 6, "{commands:?}");
    daemon.compose(&last).expect_success();
    let left = run(&mut podman(&[
        "ps",
        "--all",
        "--quiet",
        "--filter",
        "label=com.docker.compose.project=pg-backup-demo",
    ]));
    assert_eq!(left.expect_success().stdout_text(), "");
}

/// Waits until the sidecar reports a backup of every database. Its page, on the published port, must show the
/// same.
fn wait_until_saved(daemon: &Daemon) {
    let deadline = Instant::now() + Duration::from_secs(180);
    loop {
        let logs = daemon.compose("docker compose -f docker/docker-compose.demo.yml logs pg-backup");
        if logs.stdout_text().contains("backup ok; sleeping") {
            break;
        }
        assert!(Instant::now() < deadline, "nothing was saved\n{logs}\n{}", daemon.guard.log());
        std::thread::sleep(Duration::from_millis(500));
    }
    assert_eq!(http::get(9899, "/readyz").0, 200);
}
