//! The image in podman, with the restrictions of a hardened deployment: a read-only root, an unprivileged
//! user, no capabilities, 64 MiB of memory.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::guard::{Dir, Guard};
use super::program::{Output, run, target_dir};
use super::sidecar::Sidecar;

/// The image that `make image` builds.
pub const IMAGE: &str = "localhost/pg-backup";

/// The memory limit of a container in the tests, in bytes.
pub const MEMORY: u64 = 64 << 20;

/// Returns a podman command that sees only the project's images and containers.
pub fn podman(arguments: &[&str]) -> Command {
    let mut command = in_containers(&["podman"]);
    command.args(arguments);
    command
}

/// Returns a field of the image's description, by a podman template.
pub fn described(template: &str) -> String {
    let inspect = run(podman(&["image", "inspect", "--format", template]).arg(IMAGE));
    inspect.expect_success().stdout_text().trim().to_owned()
}

/// Returns a command for which podman sees only the project's images and containers.
pub fn in_containers(command: &[&str]) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", ". scripts/containers && exec \"$@\"", "bash"]).args(command);
    shell.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target_dir());
    shell
}

/// Returns `podman run` of the image with a sidecar's environment. The caller adds the subcommand and its
/// options. The container uses the host's network, to reach the tests' servers at `localhost`.
pub fn container(sidecar: &Sidecar, files: &[(&Path, &str)], options: &[&str]) -> Command {
    let mut command = podman(&["run", "--rm", "--network=host", "--read-only", "--read-only-tmpfs=false"]);
    command.args([
        "--user=65532:65532",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--memory=64m",
    ]);
    for (file, place) in files {
        command.arg(format!("--volume={}:{place}:ro", file.display()));
    }
    for (name, value) in sidecar.environment() {
        command.arg(format!("--env={}={}", name.display(), value.display()));
    }
    command.args(options).arg(IMAGE);
    command
}

/// Starts a [`podman`] command that runs until the guard ends it. Its output is in the guard's log.
pub fn guarded(dir: Dir, podman: &Command) -> Guard {
    let mut command = Command::new("sh");
    // A guard starts its process in another directory.
    command.args(["-c", "cd \"$1\" && shift && exec \"$@\"", "sh", env!("CARGO_MANIFEST_DIR")]);
    command.arg(podman.get_program()).args(podman.get_args()).env("CARGO_TARGET_DIR", target_dir());
    Guard::start(dir, None, "TERM", &command).expect("sh starts")
}

/// A container that runs until it is stopped. It ends with the test, however the test ends.
pub struct Container {
    name: String,
    guard: Guard,
}

impl Container {
    /// Starts the image's entry point, `serve`.
    pub fn serve(sidecar: &Sidecar, files: &[(&Path, &str)]) -> Container {
        let dir = Dir::new(None);
        let name = dir.file_name().expect("a directory has a name").to_string_lossy().into_owned();
        let guard = guarded(dir, &container(sidecar, files, &["--name", &name]));
        Container { name, guard }
    }

    /// Returns the output so far.
    pub fn log(&self) -> String {
        self.guard.log()
    }

    /// Waits until the log contains a text.
    #[track_caller]
    pub fn wait_for(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.log().contains(what) {
            assert!(!self.guard.has_ended(), "it ended before {what:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "still waiting for {what:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs a podman subcommand on the container.
    pub fn podman(&self, verb: &[&str]) -> Output {
        run(podman(verb).arg(&self.name))
    }

    /// Stops the container as `docker stop` does. Returns the time that it took, and the log.
    pub fn stop(self) -> (Duration, String) {
        let start = Instant::now();
        self.podman(&["stop", "--time=15"]).expect_success();
        (start.elapsed(), self.log())
    }
}
