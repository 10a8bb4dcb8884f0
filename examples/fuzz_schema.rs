//! `make fuzz-schema`: generated databases, compared with pg_dump and restored, until stopped or until one
//! differs. With a seed as its argument it runs only that database, or from it on the number of databases in
//! the second argument. With `--script SEED` it prints the script of one database and runs nothing.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/it/harness/mod.rs"]
mod harness;

use std::process::ExitCode;

use harness::fuzz::{compare, server};
use harness::generate::script;
use harness::installation::DEFAULT_MAJOR;

/// After this many databases a new server starts, so that the disk does not fill up.
const DATABASES: u64 = 25;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let only_script = arguments.next_if(|argument| argument == "--script").is_some();
    let (first, count) = match arguments.next().map(|text| text.parse()) {
        Some(Ok(seed)) => {
            let count = arguments.next().and_then(|text| text.parse().ok());
            (seed, count.unwrap_or(1))
        }
        Some(Err(_)) => {
            eprintln!("the seed is not a number");
            return ExitCode::from(2);
        }
        // Short enough to type.
        None => (fastrand::u64(..1_000_000_000), u64::MAX),
    };
    if only_script {
        print!("{}", script(first).text());
        return ExitCode::SUCCESS;
    }
    println!("seeds from {first}");
    let mut seed = first;
    let mut left = count;
    while left > 0 {
        let server = server(major());
        for _ in 0..DATABASES.min(left) {
            match compare(&server, &script(seed)) {
                Ok(seen) => {
                    println!("{seen}");
                    if count < u64::MAX {
                        println!("{}\n{}", seen.complaints, seen.broken.unwrap_or_default());
                    }
                }
                Err(difference) => {
                    eprintln!("{difference}");
                    return ExitCode::FAILURE;
                }
            }
            seed += 1;
            left -= 1;
        }
    }
    ExitCode::SUCCESS
}

/// The major of the server: that of the variable `MAJOR`, or the default.
fn major() -> u32 {
    let chosen = std::env::var("MAJOR").ok();
    chosen.map_or(DEFAULT_MAJOR, |major| major.parse().expect("MAJOR is the number of a major version"))
}
