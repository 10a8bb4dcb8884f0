//! pg-backup with a sidecar's environment: databases, a store, and what a round left.

use std::ffi::OsStr;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::port;
use super::postgres::{Database, PASSWORD};
use super::program::{Output, pg_backup, run};

/// The environment of a sidecar, as a container would get it.
#[derive(Clone, Debug, Default)]
pub struct Sidecar {
    environment: Vec<(String, String)>,
    databases: Vec<String>,
}

impl Sidecar {
    /// A sidecar that is told where its store is, and nothing else.
    pub fn with_store(environment: Vec<(String, String)>) -> Sidecar {
        Sidecar { environment, databases: Vec::new() }.set("BACKUP_HTTP_LISTEN", "off")
    }

    /// A sidecar whose store is a directory.
    pub fn with_directory(dir: &Path) -> Sidecar {
        Sidecar::with_store(vec![("BACKUP_STORE".to_owned(), format!("file://{}", dir.display()))])
    }

    /// Adds a database under `name`, with the right password.
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

    /// Sets a variable, or changes it.
    pub fn set(self, name: &str, value: &str) -> Sidecar {
        let mut sidecar = self.without(name);
        sidecar.environment.push((name.to_owned(), value.to_owned()));
        sidecar
    }

    /// Leaves a variable out.
    pub fn without(mut self, name: &str) -> Sidecar {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// The program with this environment and arguments.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = pg_backup();
        command.args(arguments).envs(self.environment());
        command
    }

    /// The variables themselves.
    pub fn environment(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.environment.iter().map(|(name, value)| (OsStr::new(name), OsStr::new(value)))
    }

    /// Runs a verb to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments))
    }

    /// Starts a verb that does not end by itself.
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

/// A sidecar that tells of itself over HTTP, and the port on which it does.
pub fn listening(sidecar: Sidecar) -> (Sidecar, u16) {
    let port = port::free();
    (sidecar.set("BACKUP_HTTP_LISTEN", &format!("127.0.0.1:{port}")), port)
}

/// A running sidecar; it is killed when this is dropped.
pub struct Running {
    child: Child,
    log: tempfile::NamedTempFile,
}

impl Running {
    /// What it has said so far, on both outputs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("the log is text")
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("the child can be asked").is_some()
    }

    /// Waits until the log shows something.
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

    /// Waits until it ends by itself; returns the exit code and what it has said.
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

    /// Sends SIGTERM; returns the exit code and how long the end took.
    #[track_caller]
    pub fn terminate(self) -> (Option<i32>, Duration, String) {
        self.signal("TERM")
    }

    /// Sends a signal.
    #[track_caller]
    pub fn send(&self, name: &str) {
        run(Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())])).expect_success();
    }

    /// Sends a signal that ends it; returns the exit code and how long the end took.
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

/// The files in a store's directory and below it, without the claims of keys.
pub fn files(dir: &Path) -> Vec<String> {
    all_files(dir).into_iter().filter(|file| !file.ends_with(CLAIM)).collect()
}

/// The claims of keys in a store's directory.
pub fn claims(dir: &Path) -> Vec<String> {
    all_files(dir).into_iter().filter(|file| file.ends_with(CLAIM)).collect()
}

/// How the names of objects end that claim a key. They are no part of a backup, and stay of attempts that failed.
pub const CLAIM: &str = ".claim";

fn all_files(dir: &Path) -> Vec<String> {
    let find = run(Command::new("find").arg(dir).args(["-type", "f"]));
    let mut files: Vec<String> = find.expect_success().stdout_text().lines().map(str::to_owned).collect();
    files.sort();
    files
}

/// What GNU gunzip makes of a dump.
pub fn gunzip(compressed: &[u8]) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(file.path(), compressed).expect("the temporary file is writable");
    let input = std::fs::File::open(file.path()).expect("the temporary file is readable");
    run(Command::new("gzip").arg("-dc").stdin(input)).expect_success().stdout
}

/// What GNU gunzip makes of a small text.
pub fn gunzip_text(compressed: &[u8]) -> String {
    let mut text = String::new();
    gunzip(compressed).as_slice().read_to_string(&mut text).expect("it is text");
    text
}
