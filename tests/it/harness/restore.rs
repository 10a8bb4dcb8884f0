//! Restoring with pg-backup: its command line, and the ways in which a dump can come to it.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::process::Command;

use super::postgres::Database;
use super::program::{Output, pg_backup, run};

/// `pg-backup restore` into a database.
pub fn restore(source: &str, target: &Database<'_>, options: &[&str]) -> Command {
    let mut command = pg_backup();
    command.args(["restore", source, "--to", &target.url()]).args(options);
    command
}

/// How a dump is packed and from where it is read.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Bare, on standard input.
    Pipe,
    /// Bare, in a file.
    File,
    /// Packed by GNU gzip, in a file.
    Gzip,
    /// Packed by GNU gzip, on standard input.
    GzipPipe,
    /// Packed by zstd, in a file.
    Zstd,
}

impl Way {
    pub const ALL: [Way; 5] = [Way::Pipe, Way::File, Way::Gzip, Way::GzipPipe, Way::Zstd];

    /// Restores a dump that comes in this way.
    pub fn restore(self, dump: &[u8], target: &Database<'_>, options: &[&str]) -> Output {
        let (packed, end) = match self {
            Way::Pipe | Way::File => (dump.to_vec(), ".sql"),
            Way::Gzip | Way::GzipPipe => (gzip(dump), ".sql.gz"),
            Way::Zstd => (zstd::encode_all(dump, 3).expect("memory does not fail"), ".sql.zst"),
        };
        if let Way::Pipe | Way::GzipPipe = self {
            return run(restore("-", target, options).stdin(input(&packed)));
        }
        let file = tempfile::Builder::new().suffix(end).tempfile().expect("a temporary file");
        fs::write(file.path(), packed).expect("the temporary file is writable");
        let path = file.path().to_str().expect("a temporary file's name is text");
        run(&mut restore(path, target, options))
    }
}

/// What GNU gzip makes of a dump.
pub fn gzip(dump: &[u8]) -> Vec<u8> {
    run(Command::new("gzip").arg("-c").stdin(input(dump))).expect_success().stdout
}

/// Bytes to be read from standard input.
pub fn input(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("the temporary file is writable");
    file
}
