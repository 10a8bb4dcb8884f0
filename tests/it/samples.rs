//! Real databases: pg-backup dumps them as the pg_dump of each major does, and psql restores them.

use crate::harness::fidelity::fidelity;
use crate::harness::installation::MAJORS;
use crate::harness::samples::sample;

fn on_every_major(name: &str) {
    for major in MAJORS {
        fidelity(*major, &sample(name));
    }
}

#[test]
fn pagila() {
    on_every_major("pagila");
}

#[test]
fn chinook() {
    on_every_major("chinook");
}

#[test]
fn northwind() {
    on_every_major("northwind");
}
