//! The scripts of `tests/fixtures`, each of which makes every form of a kind of object.

use std::fs;
use std::path::{Path, PathBuf};

/// Where they lie.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All that can be dumped and restored, in the order of their names.
pub fn scripts() -> Vec<PathBuf> {
    let files = fs::read_dir(directory()).expect("the fixtures' directory is readable");
    let paths = files.map(|entry| entry.expect("the fixtures' directory is readable").path());
    let mut scripts: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|extension| extension == "sql")).collect();
    scripts.sort();
    scripts
}

/// The name of a script without its ending.
pub fn name(script: &Path) -> String {
    script.file_stem().expect("a file has a name").to_string_lossy().into_owned()
}
