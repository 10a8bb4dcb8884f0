//! The three real databases are dumped as pg_dump dumps them.

use crate::harness::fidelity::fidelity;
use crate::harness::samples::sample;

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
