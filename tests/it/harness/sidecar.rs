//! pg-backup with a sidecar's environment: databases, a store, and the files of a round.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::port;
use super::postgres::{Database, PASSWORD};
use super::program::{Output, pg_backup, run};

/// The environment of a sidecar, as a container gets it.
#[derive(Clone, Debug, Default)]
pub struct Sidecar {
    environment: Vec<(String, String)>,
    databases: Vec<String>,
}

impl Sidecar {
    /// Returns a sidecar that has the settings of its store and no others.
    pub fn with_store(environment: Vec<(String, String)>) -> Sidecar {
        Sidecar { environment, databases: Vec::new() }.set("BACKUP_HTTP_LISTEN", "off")
    }

    /// Returns a sidecar whose store is a directory.
    pub fn with_directory(dir: &Path) -> Sidecar {
        Sidecar::with_store(vec![("BACKUP_STORE".to_owned(), format!("file://{}", dir.display()))])
    }

    /// Adds a database under `name`, with the correct password.
    pub fn database(self, name: &str, database: &Database<'_>) -> Sidecar {
        self.database_at(name, &database.url_without_password(), PASSWORD)
    }

    /// Adds a database by its URL and password.
    pub fn database_at(mut self, name: &str, url: &str, password: &str) -> Sidecar {
        self.databases.push(name.to_owned());
        let stem = name.to_ascii_uppercase();
        let all = self.databases.join(",");
        self.set(&format!("BACKUP_{stem}_URL"), url)
            .set(&format!("BACKUP_{stem}_PASSWORD"), password)
            .set("BACKUP_DATABASES", &all)
    }

    /// Sets or replaces a variable.
    pub fn set(self, name: &str, value: &str) -> Sidecar {
        let mut sidecar = self.without(name);
        sidecar.environment.push((name.to_owned(), value.to_owned()));
        sidecar
    }

    /// Removes a variable.
    pub fn without(mut self, name: &str) -> Sidecar {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// Returns a command for pg-backup with this environment and these arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = pg_backup();
        command.args(arguments).envs(self.environment());
        command
    }

    /// Returns the variables.
    pub fn environment(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.environment.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value)))
    }

    /// Runs a subcommand until it exits.
    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments))
    }

    /// Starts a subcommand that runs until it is stopped.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        let file = log.reopen().expect("the temporary file can be opened");
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file has a second handle"))
            .stderr(file);
        Running { child: command.spawn().expect("pg-backup starts"), log }
    }
}

/// Adds an HTTP listener to a sidecar. Returns the sidecar and its port.
pub fn listening(sidecar: Sidecar) -> (Sidecar, u16) {
    let port = port::free();
    (sidecar.set("BACKUP_HTTP_LISTEN", &format!("127.0.0.1:{port}")), port)
}

/// A running sidecar. It is killed when this is dropped.
pub struct Running {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Running {
    /// Returns the output so far, of both streams.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log is text")
    }

    /// Whether the process has exited.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_some()
    }

    /// Waits until the log matches.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, shown: impl Fn(&str) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !shown(&self.log()) {
            let ended = self.child.try_wait().expect("the child can be asked");
            assert!(ended.is_none(), "it ended before {what}: {ended:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "still waiting for {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the process exits. Returns the exit code and the log.
    #[track_caller]
    pub fn finish(mut self) -> (Option<i32>, String) {
        let deadline = Instant::now() + Duration::from_secs(120);
        loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                return (status.code(), self.log());
            }
            assert!(Instant::now() < deadline, "it does not end\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM. Returns the exit code, the time until the exit, and the log.
    #[track_caller]
    pub fn terminate(self) -> (Option<i32>, Duration, String) {
        self.signal("TERM")
    }

    #[track_caller]
    pub fn send(&self, name: &str) {
        run(Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())])).expect_success();
    }

    /// Sends a signal and waits for the exit. Returns the exit code, the time until the exit, and the log.
    #[track_caller]
    pub fn signal(mut self, name: &str) -> (Option<i32>, Duration, String) {
        let start = Instant::now();
        self.send(name);
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the child can be asked") {
                break status;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "SIG{name} does not end it\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        (status.code(), start.elapsed(), self.log())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lists the files in and below a store's directory, without the claims of keys.
pub fn files(dir: &Path) -> Vec<String> {
    all_files(dir).into_iter().filter(|file| !file.ends_with(CLAIM)).collect()
}

/// Lists the claims of keys in a store's directory.
pub fn claims(dir: &Path) -> Vec<String> {
    all_files(dir).into_iter().filter(|file| file.ends_with(CLAIM)).collect()
}

/// The suffix of objects that claim a key. They are not part of a backup, and those of failed attempts are
/// kept.
pub const CLAIM: &str = ".claim";

fn all_files(dir: &Path) -> Vec<String> {
    let find = run(Command::new("find").arg(dir).args(["-type", "f"]));
    let mut files: Vec<String> = find.expect_success().stdout_text().lines().map(str::to_owned).collect();
    files.sort();
    files
}

/// Decompresses a dump with GNU gunzip.
pub fn gunzip(compressed: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), compressed).expect("the temporary file is writable");
    let input = std::fs::File::open(file.path()).expect("the temporary file is readable");
    run(Command::new("gzip").arg("-dc").stdin(input)).expect_success().stdout
}

/// Decompresses a small text with GNU gunzip.
pub fn gunzip_text(compressed: &[u8]) -> String {
    let mut text = String::new();
    gunzip(compressed).as_slice().read_to_string(&mut text).expect("it is text");
    text
}
