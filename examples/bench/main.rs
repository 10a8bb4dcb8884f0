//! `make bench`: the speed of pg-backup compared with the programs that it replaces, on one machine.
//!
//! The command line names the parts; without arguments all parts run except `profile`:
//! - `upload`: dumps to an S3 server on loopback ([`upload`]);
//! - `null`: dumps to /dev/null, and their lower bound ([`null`]);
//! - `growth`: dumps of databases of three sizes ([`growth`]);
//! - `restore`: restores into an empty database ([`restore`]);
//! - `script`: plain scripts, restored and parsed ([`script`]);
//! - `profile`: where pg-backup spends its time ([`profile`]; not part of the document).
//!
//! Each part prints its tables and writes them between its markers in docs/benchmarks.md. `BENCH_SCALE=0.05`
//! scales all data by that factor, to test the bench itself: then the document and the figure go to the
//! directory `bench` in the target directory, which also contains every single run as JSON.

#![allow(clippy::unwrap_used, clippy::panic)]

mod aim;
mod contest;
mod document;
mod figure;
mod fixture;
mod growth;
#[path = "../../tests/it/harness/mod.rs"]
mod harness;
mod machine;
mod markdown;
mod null;
mod profile;
mod restore;
mod script;
mod store;
mod upload;

use std::process::ExitCode;

use document::Section;
use fixture::Fixture;

/// A part of the bench: its name and its function.
type Part = (&'static str, fn(&Fixture) -> Option<Section>);

const PARTS: &[Part] = &[
    ("upload", |fixture| Some(upload::measure(fixture))),
    ("null", |fixture| Some(null::measure(fixture))),
    ("growth", |fixture| Some(growth::measure(fixture))),
    ("restore", |fixture| Some(restore::measure(fixture))),
    ("script", |fixture| Some(script::measure(fixture))),
    ("profile", |fixture| {
        profile::show(fixture);
        None
    }),
];

fn main() -> ExitCode {
    let mut asked: Vec<String> = std::env::args().skip(1).collect();
    if asked.is_empty() {
        asked = ["upload", "null", "growth", "restore", "script"].map(str::to_owned).into();
    }
    if let Some(unknown) = asked.iter().find(|name| PARTS.iter().all(|(part, _)| part != name)) {
        eprintln!(
            "the bench has no part \"{unknown}\"\nHINT: its parts are upload, null, growth, restore, script and profile"
        );
        return ExitCode::from(2);
    }
    let Some(scale) = scale() else {
        eprintln!("BENCH_SCALE is not a number above 0");
        return ExitCode::from(2);
    };
    let fixture = Fixture::new(scale);
    for (name, part) in PARTS {
        if !asked.iter().any(|asked| asked == name) {
            continue;
        }
        if let Some(section) = part(&fixture) {
            println!("{}", section.markdown);
            if let Err(problem) = section.keep(&fixture) {
                eprintln!("{problem}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// Returns the size of the data as a multiple of the document's.
fn scale() -> Option<f64> {
    match std::env::var("BENCH_SCALE") {
        Ok(text) if !text.is_empty() => {
            text.parse().ok().filter(|scale: &f64| scale.is_finite() && *scale > 0.0)
        }
        _ => Some(1.0),
    }
}
