//! Writes the results: between a part's markers in docs/benchmarks.md, and as JSON to the target directory.

use std::path::Path;

use serde_json::json;

use crate::contest::{Outcome, ROUNDS};
use crate::fixture::{DataSet, Fixture, results_dir};
use crate::machine::machine;
use crate::markdown::{count, megabytes, paragraph};

const DOCUMENT: &str = "benchmarks.md";

/// The results of a part.
pub struct Section {
    name: &'static str,
    pub markdown: String,
    json: serde_json::Value,
    /// The name of a file next to the document, and its text.
    figure: Option<(&'static str, String)>,
}

impl DataSet {
    /// Describes the data set in a sentence.
    pub fn describe(&self) -> String {
        let DataSet { events, pgbench, raw } = self;
        format!(
            "Data set: {} jsonb events and pgbench at scale {pgbench}, a plain dump of {}.\n",
            count(*events),
            megabytes(*raw as f64)
        )
    }
}

impl Section {
    pub fn new(name: &'static str, fixture: &Fixture, tables: String, outcomes: &[Outcome]) -> Section {
        let (machine, versions) = (machine(), &fixture.versions);
        let when =
            jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).strftime("%F %H:%M UTC").to_string();
        let scaled =
            if fixture.is_whole() { String::new() } else { format!(" BENCH_SCALE={}", fixture.scale) };
        let measured = paragraph(&format!(
            "Measured on {when} by `make bench PARTS={name}{scaled}`, medians of {ROUNDS} runs, on {machine}; \
             {versions}."
        ));
        let markdown = format!("{measured}\n{tables}");
        let json = json!({
            "part": name, "scale": fixture.scale, "when": when, "machine": machine, "versions": versions,
            "load_average_before": fixture.load_before, "programs": outcomes,
        });
        Section { name, markdown, json, figure: None }
    }

    /// Adds a figure that the document shows.
    pub fn with_figure(self, file: &'static str, text: String) -> Section {
        let markdown = format!("{}\n![Time over size]({file})\n", self.markdown);
        Section { markdown, figure: Some((file, text)), ..self }
    }

    /// Writes all results. Only results of the complete data set go to the repository.
    pub fn keep(&self, fixture: &Fixture) -> Result<(), String> {
        let results = results_dir();
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        write(&results.join(format!("{}.json", self.name)), &format!("{:#}\n", self.json))?;
        let home = if fixture.is_whole() { &docs } else { &results };
        let document = home.join(DOCUMENT);
        let template = if document.exists() { document.clone() } else { docs.join(DOCUMENT) };
        let text = std::fs::read_to_string(&template).map_err(|e| format!("{}: {e}", template.display()))?;
        let text = replaced(&text, self.name, &self.markdown)
            .ok_or_else(|| format!("{} has no marks of the part {}", template.display(), self.name))?;
        write(&document, &text)?;
        eprintln!("{} has the part {}", document.display(), self.name);
        match &self.figure {
            Some((file, text)) => write(&home.join(file), text),
            None => Ok(()),
        }
    }
}

/// Returns the document with another text between a part's markers.
fn replaced(document: &str, part: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- bench {part} -->\n"), format!("<!-- end of bench {part} -->\n"));
    let (before, rest) = document.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}\n{text}\n{end}{after}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
