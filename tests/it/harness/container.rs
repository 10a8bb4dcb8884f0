//! The image in podman, under what a careful operator allows it: a root that cannot be written to, an unprivileged user, no
//! capabilities, 64 MiB.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::guard::{Dir, Guard};
use super::program::{Output, run, target_dir};
use super::sidecar::Sidecar;

/// What `make image` has built.
pub const IMAGE: &str = "localhost/pg-backup";

/// All of the memory that a container of the tests gets, in bytes.
pub const MEMORY: u64 = 64 << 20;

/// podman among the project's own images and containers.
pub fn podman(arguments: &[&str]) -> Command {
    let mut command = in_containers(&["podman"]);
    command.args(arguments);
    command
}

/// A part of the image's description, through a template of podman's.
pub fn described(template: &str) -> String {
    let inspect = run(podman(&["image", "inspect", "--format", template]).arg(IMAGE));
    inspect.expect_success().stdout_text().trim().to_owned()
}

/// A command for which podman's images and containers are the project's own.
pub fn in_containers(command: &[&str]) -> Command {
    let mut shell = Command::new("bash");
    shell.args(["-c", ". scripts/containers && exec \"$@\"", "bash"]).args(command);
    shell.current_dir(env!("CARGO_MANIFEST_DIR")).env("CARGO_TARGET_DIR", target_dir());
    shell
}

/// `podman run` of the image with a sidecar's environment, its verb and its options still to come. The network is the
/// host's, so that it reaches the tests' servers at `localhost`.
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

/// Starts one of [`podman`]'s commands that goes on until the guard ends it; what it prints is in the guard's log.
pub fn guarded(dir: Dir, podman: &Command) -> Guard {
    let mut command = Command::new("sh");
    // A guard starts what it watches in a directory of its own.
    command.args(["-c", "cd \"$1\" && shift && exec \"$@\"", "sh", env!("CARGO_MANIFEST_DIR")]);
    command.arg(podman.get_program()).args(podman.get_args()).env("CARGO_TARGET_DIR", target_dir());
    Guard::start(dir, None, "TERM", &command).expect("sh starts")
}

/// A container that goes on until it is stopped; it ends with the test, however that ends.
pub struct Container {
    name: String,
    guard: Guard,
}

impl Container {
    /// Starts the image's own entry point: `serve`.
    pub fn serve(sidecar: &Sidecar, files: &[(&Path, &str)]) -> Container {
        let dir = Dir::new(None);
        let name = dir.file_name().expect("a directory has a name").to_string_lossy().into_owned();
        let guard = guarded(dir, &container(sidecar, files, &["--name", &name]));
        Container { name, guard }
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.guard.log()
    }

    /// Waits until the log shows something.
    #[track_caller]
    pub fn wait_for(&self, what: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.log().contains(what) {
            assert!(!self.guard.has_ended(), "it ended before {what:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "still waiting for {what:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Runs podman's `verb` on it.
    pub fn podman(&self, verb: &[&str]) -> Output {
        run(podman(verb).arg(&self.name))
    }

    /// Stops it as `docker stop` does; how long that took, and what it has said.
    pub fn stop(self) -> (Duration, String) {
        let start = Instant::now();
        self.podman(&["stop", "--time=15"]).expect_success();
        (start.elapsed(), self.log())
    }
}
