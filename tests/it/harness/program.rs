//! Runs programs and captures their output.

use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

/// The result of a program.
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    command: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Output {
    /// Fails the test unless the program exited with 0.
    #[track_caller]
    pub fn expect_success(self) -> Output {
        self.expect_code(0)
    }

    /// Fails the test unless the program exited with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Output {
        if self.status.code() != Some(code) {
            panic!("expected exit code {code}, got {}\n{self}", self.status);
        }
        self
    }

    /// Standard output as text.
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = &self.stdout[..self.stdout.len().min(4000)];
        let stdout = String::from_utf8_lossy(shown);
        write!(f, "$ {}\n{stdout}\n--- standard error\n{}", self.command, self.stderr)
    }
}

/// Runs a program until it exits.
pub fn run(command: &mut Command) -> Output {
    let line = format!("{command:?}");
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap_or_else(|e| panic!("{line}: {e}\nHINT: `make prepare` installs what the tests need"));
    Output {
        command: line,
        status: output.status,
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Removes variables of the caller's environment that configure libpq, the AWS SDK or pg-backup.
pub fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let prefixes = ["PG", "AWS_", "BACKUP_", "SSL_CERT_"];
        if prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env_remove("HOME").env("LC_ALL", "C.UTF-8")
}

/// Returns a command for pg-backup without the settings of the caller's environment.
pub fn pg_backup() -> Command {
    let mut command = Command::new(binary());
    without_settings(&mut command);
    command
}

/// Returns the program under test: the one that `PG_BACKUP_TEST_BINARY` names, or the one that cargo built
/// with this test or next to this example.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PG_BACKUP_TEST_BINARY") {
        return path.into();
    }
    match option_env!("CARGO_BIN_EXE_pg-backup") {
        Some(path) => path.into(),
        None => profile_dir().join("pg-backup"),
    }
}

/// Returns the target directory. This program is in `target/PROFILE/deps` or `target/PROFILE/examples`.
pub fn target_dir() -> PathBuf {
    profile_dir().parent().expect("a profile's directory lies in the target directory").to_owned()
}

/// Returns a program that `make prepare` installs into the target directory.
pub fn installed(path: &str) -> PathBuf {
    let program = target_dir().join(path);
    assert!(program.exists(), "{} is missing\nHINT: `make prepare` installs it", program.display());
    program
}

/// Returns the static binary that the image contains.
pub fn static_binary() -> PathBuf {
    let binary = target_dir().join("x86_64-unknown-linux-musl/release/pg-backup");
    assert!(binary.exists(), "{} is missing\nHINT: `make static` builds it", binary.display());
    binary
}

/// Returns a directory in the target directory for files that tests keep between runs.
pub fn kept_dir() -> PathBuf {
    let dir = target_dir().join("tmp");
    std::fs::create_dir_all(&dir).expect("the target directory is writable");
    dir
}

/// Keeps the input of a failed generated case, and returns its path.
pub fn keep_case(name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let dir = kept_dir().join("fuzz");
    std::fs::create_dir_all(&dir).expect("the target directory is writable");
    let path = dir.join(name);
    std::fs::write(&path, bytes).expect("the target directory is writable");
    path
}

fn profile_dir() -> PathBuf {
    let program = std::env::current_exe().expect("the running program has a path");
    program.ancestors().nth(2).expect("the running program lies in the target directory").to_owned()
}
