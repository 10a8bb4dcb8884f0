//! `make fuzz-script`, `fuzz-toc`, `fuzz-manifest`, `fuzz-wire` and `fuzz-conninfo`: generated input for the
//! target in the first argument, until stopped, until a case fails, or for the number of minutes in
//! `MINUTES`. With a seed as the second argument it runs only that case, or with `MINUTES` the cases from it
//! on.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::process::ExitCode;
use std::time::Duration;

use peak_alloc::PeakAlloc;

use harness::input::conninfo::ConnInfos;
use harness::input::manifest::Manifests;
use harness::input::script::Scripts;
use harness::input::toc::Tocs;
use harness::input::wire::Wires;
use harness::input::{Target, run};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let seed = arguments.next().map(|text| text.parse().map_err(|_| "the seed is not a number"));
    let minutes = std::env::var("MINUTES").ok().filter(|text| !text.is_empty());
    let minutes = minutes.map(|text| text.parse::<f64>().map_err(|_| "MINUTES is not a number"));
    let (seed, minutes) = match (seed.transpose(), minutes.transpose()) {
        (Ok(seed), Ok(minutes)) => (seed, minutes),
        (Err(problem), _) | (_, Err(problem)) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let ended = match name.as_str() {
        Scripts::NAME => fuzz(&mut Scripts, seed, minutes),
        Tocs::NAME => fuzz(&mut Tocs, seed, minutes),
        Manifests::NAME => fuzz(&mut Manifests::default(), seed, minutes),
        Wires::NAME => fuzz(&mut Wires, seed, minutes),
        ConnInfos::NAME => fuzz(&mut ConnInfos::default(), seed, minutes),
        _ => {
            eprintln!("name what is to read: script, toc, manifest, wire or conninfo");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz<T: Target>(target: &mut T, seed: Option<u64>, minutes: Option<f64>) -> Result<(), String> {
    // Short enough to type.
    let first = seed.unwrap_or_else(|| fastrand::u64(..1_000_000_000));
    let last = if seed.is_some() && minutes.is_none() { first } else { u64::MAX };
    println!("seeds from {first}");
    let time = minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let tally = run(target, first..=last, time, |tally| println!("{tally}"))?;
    println!("{tally}");
    Ok(())
}
