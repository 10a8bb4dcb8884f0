//! The dumps of the three real databases are the same as pg_dump's.

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
