//! Opens the output file of `-f`.
//!
//! A file that is renamed into place on completion appears either whole or not at all. However, it is a
//! different file from the existing one: the mode, owner, access control list and hard links are lost, a
//! symbolic link is replaced, and a file that is a mount point cannot be replaced. Therefore an existing file
//! is replaced only if none of these differences is visible. Otherwise it is truncated and overwritten, as
//! pg_dump does. A failed dump then leaves an incomplete file, which the operator can detect by the missing
//! last line.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags};

use crate::storage::local::TemporaryFile;

/// An open output file.
pub(super) enum OutputFile {
    /// A temporary file that is renamed to the path when it is published.
    Beside(TemporaryFile),
    /// The existing file, a device or a pipe.
    InPlace(File),
}

/// Opens `path` for writing a dump.
pub(super) fn open(path: &Path) -> io::Result<OutputFile> {
    let existing = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(OutputFile::Beside(TemporaryFile::beside(path).map_err(cause)?));
        }
        Err(error) => return Err(error),
    };
    if existing.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if let Some(unfinished) = replacement(path, &existing) {
        return Ok(OutputFile::Beside(unfinished));
    }
    // `create` is for a symbolic link to a file that does not exist yet.
    Ok(OutputFile::InPlace(File::options().write(true).create(true).truncate(true).open(path)?))
}

/// Returns a temporary file that can replace the existing file without a visible difference.
fn replacement(path: &Path, existing: &Metadata) -> Option<TemporaryFile> {
    let is_plain = existing.is_file() && existing.nlink() == 1 && !has_attributes(path) && !is_mounted(path);
    // The permissions of the file decide whether it may be written, not those of the directory.
    if !is_plain || File::options().write(true).open(path).is_err() {
        return None;
    }
    let unfinished = TemporaryFile::beside(path).ok()?;
    let new = unfinished.file().metadata().ok()?;
    let has_same_owner = (new.uid(), new.gid()) == (existing.uid(), existing.gid());
    let has_same_mode = unfinished.file().set_permissions(existing.permissions()).is_ok();
    (has_same_owner && has_same_mode).then_some(unfinished)
}

/// Returns whether the file has an access control list or other extended attributes.
fn has_attributes(path: &Path) -> bool {
    // A file system without extended attributes returns an error.
    rustix::fs::listxattr_query(path).is_ok_and(|size| size > 0)
}

/// Returns whether the file is a mount point, as a single file mounted into a container is. Always false on
/// kernels before 5.8, which do not report it.
fn is_mounted(path: &Path) -> bool {
    rustix::fs::statx(CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)
        .is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

fn cause(error: crate::storage::StoreError) -> io::Error {
    match error {
        crate::storage::StoreError::File { source, .. } => source,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn write(path: &Path, text: &str) -> bool {
        match open(path).unwrap() {
            OutputFile::InPlace(mut file) => {
                file.write_all(text.as_bytes()).unwrap();
                true
            }
            OutputFile::Beside(unfinished) => {
                unfinished.file().write_all(text.as_bytes()).unwrap();
                unfinished.publish(crate::storage::IfExists::Replace).unwrap();
                false
            }
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn mode_links_and_symbolic_links_stay() {
        let dir = tempfile::tempdir().unwrap();
        let [file, hard, soft, dangling, target] =
            ["file", "hard", "soft", "dangling", "target"].map(|name| dir.path().join(name));
        assert!(!write(&file, "new"));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(!write(&file, "again"));
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode(&file)), ("again", 0o600));

        fs::hard_link(&file, &hard).unwrap();
        assert!(write(&file, "linked"));
        let mut text = String::new();
        File::open(&hard).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((text.as_str(), mode(&hard)), ("linked", 0o600));

        std::os::unix::fs::symlink(&file, &soft).unwrap();
        assert!(write(&soft, "x"));
        assert!(fs::symlink_metadata(&soft).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&file).unwrap(), "x");
        std::os::unix::fs::symlink(&target, &dangling).unwrap();
        assert!(write(&dangling, "y"));
        assert_eq!(fs::read_to_string(&target).unwrap(), "y");

        assert!(open(dir.path()).is_err());
        assert!(write(Path::new("/dev/null"), "z"));
    }
}
