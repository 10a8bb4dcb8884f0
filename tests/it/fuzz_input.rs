//! Generated input for the parsers of untrusted bytes: a minute for each parser. `make fuzz-script` and its
//! siblings do the same until they are stopped.

use std::time::Duration;

use pg_backup::archive::manifest::Manifest;
use pg_backup::protocol::replay::replay;

use crate::harness::generate::first_seed;
use crate::harness::input::conninfo::ConnInfos;
use crate::harness::input::manifest::{Manifests, sample};
use crate::harness::input::script::Scripts;
use crate::harness::input::toc::Tocs;
use crate::harness::input::wire::Wires;
use crate::harness::input::{Target, measured, run};

const TIME: Duration = Duration::from_secs(60);

/// The minimum number of cases in a minute, on a machine with other work.
const CASES: u64 = 1000;

fn minute<T: Target>(mut target: T) {
    let base = first_seed();
    let tally = run(&mut target, base.., Some(TIME), |tally| println!("{tally}"));
    let tally = tally.unwrap_or_else(|failure| panic!("{failure}"));
    println!("{tally}");
    // The generator must stay useful: it produces valid and invalid input.
    assert!(tally.cases >= CASES, "{tally}");
    assert!(tally.accepted * 20 > tally.cases && tally.accepted * 20 < tally.cases * 19, "{tally}");
}

#[test]
fn generated_scripts_are_read_alike_in_any_pieces() {
    minute(Scripts);
}

#[test]
fn generated_tables_of_contents_read_back_as_written() {
    minute(Tocs);
}

#[test]
fn generated_manifests_read_back_as_written() {
    minute(Manifests::default());
}

#[test]
fn generated_answers_of_a_server_are_read_alike_in_any_pieces() {
    minute(Wires);
}

#[test]
fn generated_connection_strings_mean_what_they_mean_to_libpq() {
    minute(ConnInfos::default());
}

#[test]
fn what_a_manifest_need_not_have_takes_no_memory() {
    let json = String::from_utf8(sample().to_json()).unwrap();
    let (more, encryption) =
        (format!("[{}0]", "0,".repeat(1 << 20)), r#""header_size":1,"tables":0,"rows":0,"sealed":"""#);
    for more in [format!(r#"{{"more":{more},"#), format!(r#"{{"encryption":{{"more":{more},{encryption}}},"#)]
    {
        let json = json.replacen('{', &more, 1);
        let (read, peak) = measured(|| Manifest::from_json(json.as_bytes()));
        assert_eq!(read.unwrap().names, sample().names);
        assert!(peak < 256 << 10, "{peak} bytes");
    }
}

#[test]
fn a_row_takes_no_memory_before_it_comes() {
    let stream = [&b"H\0\0\0\x07\0\0\0d\x3f\xff\xff\xff"[..], &[b'x'; 5000]].concat();
    let (replayed, peak) = measured(|| replay(std::iter::once(&stream[..]), 1000, 1000));
    assert_eq!((replayed.error, replayed.is_stuck), (None, false));
    assert!(peak < 4 << 20, "{peak} bytes");
}
