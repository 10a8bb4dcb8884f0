//! The servers and clients of each major of PostgreSQL.
//!
//! The distribution installs 15, the default of all tests. `make prepare` unpacks the other majors into the target
//! directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::guard::{self, User};
use super::program::{installed, kept_dir, run, without_settings};

/// The major of a server that is started without naming one.
pub const DEFAULT_MAJOR: u32 = 15;

/// The directory of the programs of the default major.
pub const BIN: &str = "/usr/lib/postgresql/15/bin";

/// The majors that can be started.
pub const MAJORS: &[u32] = &[15, 16, 17];

/// The programs of one major.
#[derive(Clone, Debug)]
pub struct Installation {
    major: u32,
    bin: PathBuf,
    /// The directory of the shared libraries, if the programs do not find it themselves.
    lib: Option<PathBuf>,
}

impl Installation {
    /// Returns the programs of a major.
    pub fn of(major: u32) -> Installation {
        if major == DEFAULT_MAJOR {
            return Installation { major, bin: PathBuf::from(BIN), lib: None };
        }
        let home = reachable(major);
        Installation { major, bin: home.join("bin"), lib: Some(home.join("lib")) }
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The directory of the programs.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// Whether the server was built with ICU.
    pub fn has_icu(&self) -> bool {
        self.major == DEFAULT_MAJOR
    }

    /// Returns a command without the settings of the caller's environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        without_settings(&mut command);
        if let Some(lib) = &self.lib {
            command.env("LD_LIBRARY_PATH", lib);
        }
        command
    }

    /// Returns major and minor as `postgres --version` prints them: `15.18`.
    pub fn version(&self) -> String {
        let version = run(self.command("postgres").arg("--version")).expect_success().stdout_text();
        version.split_whitespace().nth(2).expect("postgres --version names a version").to_owned()
    }
}

/// Returns a directory with the programs of a major that the user of the servers can read. The target directory
/// may be closed to this user; the programs are then copied once to the directory for temporary files.
fn reachable(major: u32) -> PathBuf {
    static HOMES: OnceLock<[OnceLock<PathBuf>; 32]> = OnceLock::new();
    let homes = HOMES.get_or_init(Default::default);
    let home = homes.get(major as usize).expect("a major is a small number");
    home.get_or_init(|| {
        let programs = installed(&format!("postgresql-{major}/bin/postgres"));
        let home = programs.ancestors().nth(2).expect("the program lies in a directory").to_owned();
        let user = User::unprivileged();
        let reads = guard::run_as(Command::new("test").arg("-x").arg(&programs), user).status();
        if reads.is_ok_and(|status| status.success()) { home } else { copied(&home) }
    })
    .clone()
}

fn copied(home: &Path) -> PathBuf {
    let stamp = fs::read_to_string(home.join("installed")).expect("`make prepare` leaves a stamp");
    let name = format!("pg-backup-{}", stamp.trim().replace("==", "-"));
    let copy = std::env::temp_dir().join(&name);
    let lock = File::create(kept_dir().join("installation.lock")).expect("the target directory is writable");
    lock.lock().expect("the lock file can be locked");
    if !copy.exists() {
        let unfinished = copy.with_extension("new");
        let _ = fs::remove_dir_all(&unfinished);
        run(Command::new("cp").arg("-a").arg(home).arg(&unfinished)).expect_success();
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(&unfinished)).expect_success();
        fs::rename(&unfinished, &copy).expect("the copy can be renamed");
    }
    copy
}
