//! The scripts of `tests/fixtures`. Each creates every form of a kind of object.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of the scripts.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Returns the scripts whose databases can be dumped and restored, sorted by name.
pub fn scripts() -> Vec<PathBuf> {
    let files = fs::read_dir(directory()).expect("the fixtures' directory is readable");
    let paths = files.map(|entry| entry.expect("the fixtures' directory is readable").path());
    let mut scripts: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql")).collect();
    scripts.sort();
    scripts
}

/// Returns the name of a script without its extension.
pub fn name(script: &Path) -> String {
    script.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}
