//! Three real databases: pagila, chinook and northwind.

use std::path::{Path, PathBuf};

use crate::harness::fidelity;

/// Where a sample's script lies.
pub fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sample").join(format!("{name}.sql"))
}

#[test]
fn pagila() {
    fidelity(&sample("pagila"));
}

#[test]
fn chinook() {
    fidelity(&sample("chinook"));
}

#[test]
fn northwind() {
    fidelity(&sample("northwind"));
}
