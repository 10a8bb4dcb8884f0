//! A small S3 server on loopback: s3s-fs, which stores an object as a file. `scripts/prepare-bench` builds
//! it.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::harness::guard::{Dir, Guard};
use crate::harness::port;
use crate::harness::program::{target_dir, without_settings};

const BUCKET: &str = "bench";
const KEY_ID: &str = "bench";
const SECRET: &str = "bench-secret";

/// A running server with one bucket.
pub struct Store {
    guard: Guard,
    port: u16,
}

impl Store {
    pub fn start() -> Store {
        for _ in 0..5 {
            match Store::try_start() {
                Ok(store) => return store,
                Err(log) => eprintln!("s3s-fs did not start, trying another port:\n{log}"),
            }
        }
        panic!("s3s-fs did not start");
    }

    fn try_start() -> Result<Store, String> {
        let binary = target_dir().join("s3s-fs/bin/s3s-fs");
        assert!(binary.exists(), "{} is missing\nHINT: `make bench` installs it", binary.display());
        let dir = Dir::new(None);
        let root = dir.join("root");
        std::fs::create_dir_all(root.join(BUCKET)).expect("the temporary directory is writable");
        let port = port::free();
        let mut command = Command::new(binary);
        without_settings(&mut command).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--access-key", KEY_ID, "--secret-key", SECRET]).arg(root);
        let guard = Guard::start(dir, None, "KILL", &command).expect("sh starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        while Instant::now() < deadline && !guard.has_ended() {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Ok(Store { guard, port });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err(guard.log())
    }

    pub fn process_id(&self) -> u32 {
        self.guard.process_id()
    }

    /// Returns the URL of an object in the bucket.
    pub fn url(&self, key: &str) -> String {
        format!("s3://{BUCKET}/{key}")
    }

    /// Returns the file of an object.
    pub fn file(&self, key: &str) -> PathBuf {
        self.guard.dir().join("root").join(BUCKET).join(key)
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sets the variables that make a pg-backup command write to this server.
    pub fn configure(&self, command: &mut Command) {
        command
            .env("BACKUP_S3_ENDPOINT", self.endpoint())
            .env("BACKUP_S3_PATH_STYLE", "true")
            .env("BACKUP_AWS_REGION", "us-east-1")
            .env("BACKUP_AWS_ACCESS_KEY_ID", KEY_ID)
            .env("BACKUP_AWS_SECRET_ACCESS_KEY", SECRET);
    }

    /// Returns a command for `aws s3 cp - URL`.
    pub fn aws_cp(&self, key: &str) -> Command {
        let mut command = aws();
        command
            .args(["s3", "cp", "--only-show-errors", "--endpoint-url", &self.endpoint(), "-", &self.url(key)])
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
        command
    }
}

/// Returns the AWS command line that `scripts/prepare-bench` installs.
pub fn aws() -> Command {
    let mut command = Command::new(target_dir().join("awscli/bin/aws"));
    without_settings(&mut command);
    command
}
