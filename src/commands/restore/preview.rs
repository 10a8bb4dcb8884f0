//! Shows what a restore would do: `--list` and `--dry-run`.

use serde::Serialize;

use crate::commands::table::{print_json, print_lines, print_table, table};
use crate::error::{Error, Result};
use crate::quantity::size;
use crate::report::printable;
use crate::restore::select::{RestoreSelection, list};
use crate::restore::{Backup, DumpSource, PlannedEntry, RestoreError, RestoreOptions, planned};

/// Returns the backup; a plain dump is an error, because it has no table of contents.
fn backup(source: &DumpSource) -> Result<&Backup> {
    match source {
        DumpSource::Backup(backup) => Ok(backup),
        DumpSource::Plain(_) => {
            Err(Error::usage("a plain dump has no table of contents; it is always restored as a whole"))
        }
    }
}

/// Prints the table of contents as pg_restore does.
pub(super) fn list(source: &DumpSource, selection: &RestoreSelection) -> Result<()> {
    let backup = backup(source)?;
    let text = list::render(backup.toc(), backup.manifest(), selection).map_err(RestoreError::from)?;
    print_lines(text.trim_end())
}

/// Output of `--dry-run --json`.
#[derive(Serialize)]
struct DryRunOutput<'a> {
    jobs: usize,
    entries: &'a [PlannedEntry],
}

/// Prints the plan.
pub(super) fn plan(source: &DumpSource, options: &RestoreOptions, json: bool) -> Result<()> {
    let entries = planned(backup(source)?, &options.selection)?;
    if json {
        return print_json(&DryRunOutput { jobs: options.jobs, entries: &entries });
    }
    let mut shown = table(&["PHASE", "KIND", "NAME", "ROWS>", "SIZE>"]);
    for entry in &entries {
        shown.add_row([
            entry.phase.to_owned(),
            entry.kind.to_string(),
            printable(&entry.name),
            entry.rows.map_or_else(String::new, |rows| rows.to_string()),
            entry.packed_size.map_or_else(String::new, size),
        ]);
    }
    print_table(&shown)?;
    let rows: u64 = entries.iter().filter_map(|entry| entry.rows).sum();
    let packed: u64 = entries.iter().filter_map(|entry| entry.packed_size).sum();
    print_lines(&format!(
        "{} entries, {rows} rows, {} to download; connections: {}",
        entries.len(),
        size(packed),
        options.jobs
    ))
}
