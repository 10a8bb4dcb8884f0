//! Tables for people and JSON for programs, for the commands that read the store.

use std::io::Write as _;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::protocol::encoding::to_bytes;
use crate::report::{escape_json, printable};

/// Creates a table with these headings. A heading that ends with `>` marks a column of numbers, which is
/// right-aligned.
pub(super) fn table(headings: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(headings.iter().map(|heading| heading.trim_end_matches('>')));
    for (index, heading) in headings.iter().enumerate() {
        let Some(column) = table.column_mut(index) else { continue };
        column.set_padding((0, 2));
        if heading.ends_with('>') {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints a table without trailing spaces, and without the control characters that names from a store may
/// contain.
pub(super) fn print_table(table: &Table) -> Result<()> {
    print_lines(&lines_of(table))
}

fn lines_of(table: &Table) -> String {
    let text = table.trim_fmt();
    let lines: Vec<String> = text.split('\n').map(printable).collect();
    lines.join("\n")
}

/// Prints a value as indented JSON.
pub(super) fn print_json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::Io { context: "cannot write JSON".to_owned(), source: error.into() })?;
    print_lines(&escape_json(&text))
}

/// Prints lines to standard output.
pub(super) fn print_lines(text: &str) -> Result<()> {
    let text = [&to_bytes(text)[..], b"\n"].concat();
    match std::io::stdout().write_all(&text) {
        // The reader closed the pipe (`pg-backup list | head`).
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        result => result
            .map_err(|source| Error::Io { context: "cannot write to standard output".to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_control_character_of_a_name_is_printed() {
        let mut table = table(&["NAME"]);
        table.add_row(["a\u{1b}[31mb\u{9b}\u{10ff1b}"]);
        table.add_row(["c"]);
        let text = lines_of(&table);
        assert!(!text.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{10ff1b}')), "{text:?}");
        assert_eq!(text.lines().count(), 3);
    }

    #[test]
    fn numbers_align_to_the_right_and_lines_end_bare() {
        let mut table = table(&["NAME", "SIZE>"]);
        table.add_row(["a", "1.0 KiB"]);
        table.add_row(["longer", "5 B"]);
        assert_eq!(table.trim_fmt(), "NAME       SIZE\na       1.0 KiB\nlonger      5 B");
    }
}
