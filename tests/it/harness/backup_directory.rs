//! A backup in a directory, and damage to it.

use std::fs;
use std::path::{Path, PathBuf};

use super::postgres::Database;
use super::program::Output;
use super::sidecar::{Sidecar, files, gunzip_text};

/// A store in a directory, with one backup in it.
pub struct BackupDirectory {
    pub dir: tempfile::TempDir,
    pub sidecar: Sidecar,
}

impl BackupDirectory {
    pub fn of(database: &Database<'_>, compression: &str) -> BackupDirectory {
        let dir = tempfile::tempdir().unwrap();
        let sidecar = Sidecar::with_directory(dir.path())
            .database("main", database)
            .set("BACKUP_COMPRESSION", compression);
        sidecar.run(&["run"]).expect_success();
        BackupDirectory { dir, sidecar }
    }

    /// Restores the backup.
    pub fn restore(&self, target: &Database<'_>, options: &[&str]) -> Output {
        self.sidecar.run(&[&["restore", "latest", "--to", &target.url()], options].concat())
    }

    /// Returns the only file whose name ends with `end`.
    pub fn file(&self, end: &str) -> PathBuf {
        let mut found = files(self.dir.path());
        found.retain(|file| file.ends_with(end));
        assert_eq!(found.len(), 1, "{found:?} end in {end}");
        found.remove(0).into()
    }

    pub fn dump(&self) -> PathBuf {
        let manifest = self.file(".manifest.json");
        let stem = manifest.to_str().unwrap().strip_suffix(".manifest.json").unwrap().to_owned();
        let ends = [".sql", ".sql.gz", ".sql.zst", ".sql.age", ".sql.gz.age", ".sql.zst.age"];
        let dump = ends.map(|end| PathBuf::from(stem.clone() + end));
        dump.into_iter().find(|path| path.exists()).expect("the dump is there")
    }

    /// Applies `damage` to the backup, calls `look` on it, and restores the original files.
    pub fn damaged<T>(
        &self,
        damage: impl FnOnce(&BackupDirectory),
        look: impl FnOnce(&BackupDirectory) -> T,
    ) -> T {
        let kept = tempfile::tempdir().unwrap();
        copy(self.dir.path(), kept.path());
        damage(self);
        let seen = look(self);
        fs::remove_dir_all(self.dir.path()).unwrap();
        copy(kept.path(), self.dir.path());
        seen
    }

    /// Returns the members from the table of contents.
    pub fn members(&self) -> Vec<[usize; 5]> {
        let toc = gunzip_text(&fs::read(self.file(".toc.json.gz")).unwrap());
        let toc: serde_json::Value = serde_json::from_str(&toc).unwrap();
        serde_json::from_value(toc["members"].clone()).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Changes the content of a file.
pub fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Replaces the first occurrence of a text, which must exist.
pub fn edit(path: &Path, from: &str, to: &str) {
    change(path, |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        assert!(text.contains(from), "{text}");
        *bytes = text.replacen(from, to, 1).into_bytes();
    });
}

/// Overwrites the first byte of a text, which must exist.
pub fn overwrite(path: &Path, text: &[u8], byte: u8) {
    change(path, |bytes| {
        let at = memchr::memmem::find(bytes, text).expect("the text is there");
        bytes[at] = byte;
    });
}
