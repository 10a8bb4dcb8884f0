//! Tables, and numbers in them.

use crate::contest::Outcome;

/// A table; the first column is text, the others are numbers.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let rules = (0..head.len()).map(|column| if column == 0 { "---" } else { "---:" }.to_owned());
    let escaped = |cells: &[String]| cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    let mut text = line(head.iter().map(|cell| (*cell).to_owned()).collect());
    text += &line(rules.collect());
    for row in rows {
        text += &line(escaped(row));
    }
    text
}

/// The maximum length of a line in the documents.
const COLUMNS: usize = 100;

/// A paragraph, wrapped.
pub fn paragraph(text: &str) -> String {
    let (mut wrapped, mut column) = (String::new(), 0);
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > COLUMNS {
            wrapped.push('\n');
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += width;
    }
    wrapped + "\n"
}

/// A column of what programs took: its head, and its cell for a program beside the first program.
pub type Column = (&'static str, fn(&Outcome, &Outcome) -> String);

/// A line for each program.
pub fn results(outcomes: &[Outcome], columns: &[Column]) -> String {
    let base = &outcomes[0];
    let row = |outcome: &Outcome| {
        let cells = columns.iter().map(|(_, cell)| cell(outcome, base));
        std::iter::once(outcome.name.clone()).chain(cells).collect()
    };
    let head: Vec<&str> = std::iter::once("program").chain(columns.iter().map(|(head, _)| *head)).collect();
    table(&head, &outcomes.iter().map(row).collect::<Vec<_>>())
}

/// Seconds; short times with one digit more.
pub fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{value:.3} s") } else { format!("{value:.2} s") }
}

/// The median of the time, and between what the runs were.
pub fn wall(outcome: &Outcome) -> String {
    let (least, most) = outcome.range();
    format!("{} ({least:.2}–{most:.2})", seconds(outcome.wall()))
}

/// A quotient.
pub fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// Bytes in millions.
pub fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

/// The median of the memory.
pub fn memory(outcome: &Outcome) -> String {
    format!("{:.1} MiB", outcome.memory() / 1024.0)
}

/// A number of rows or objects, its digits in groups of three.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}
