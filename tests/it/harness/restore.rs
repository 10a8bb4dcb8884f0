//! Restores with pg-backup: its command line, and the forms in which a dump can reach it.

use std::fs::{self, File};
use std::io::{Seek as _, Write as _};
use std::process::Command;

use super::postgres::Database;
use super::program::{Output, pg_backup, run};

/// Returns a `pg-backup restore` command into a database.
pub fn restore(source: &str, target: &Database<'_>, options: &[&str]) -> Command {
    let mut command = pg_backup();
    command.args(["restore", source, "--to", &target.url()]).args(options);
    command
}

/// The compression and the source of a dump.
#[derive(Clone, Copy, Debug)]
pub enum DumpForm {
    /// Uncompressed, on standard input.
    Pipe,
    /// Uncompressed, in a file.
    File,
    /// Compressed by GNU gzip, in a file.
    Gzip,
    /// Compressed by GNU gzip, on standard input.
    GzipPipe,
    /// Compressed by zstd, in a file.
    Zstd,
}

impl DumpForm {
    pub const ALL: [DumpForm; 5] =
        [DumpForm::Pipe, DumpForm::File, DumpForm::Gzip, DumpForm::GzipPipe, DumpForm::Zstd];

    /// Restores a dump in this form.
    pub fn restore(self, dump: &[u8], target: &Database<'_>, options: &[&str]) -> Output {
        let (packed, end) = match self {
            DumpForm::Pipe | DumpForm::File => (dump.to_vec(), ".sql"),
            DumpForm::Gzip | DumpForm::GzipPipe => (gzip(dump), ".sql.gz"),
            DumpForm::Zstd => (zstd::encode_all(dump, 3).expect("memory does not fail"), ".sql.zst"),
        };
        if let DumpForm::Pipe | DumpForm::GzipPipe = self {
            return run(restore("-", target, options).stdin(input(&packed)));
        }
        let file = tempfile::Builder::new().suffix(end).tempfile().expect("a temporary file");
        fs::write(file.path(), packed).expect("the temporary file is writable");
        let path = file.path().to_str().expect("a temporary file's name is text");
        run(&mut restore(path, target, options))
    }
}

/// Compresses a dump with GNU gzip.
pub fn gzip(dump: &[u8]) -> Vec<u8> {
    run(Command::new("gzip").arg("-c").stdin(input(dump))).expect_success().stdout
}

/// Returns bytes as a file for standard input.
pub fn input(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("the temporary file is writable");
    file
}
