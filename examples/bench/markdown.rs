//! Tables, and the format of numbers in them.

use crate::contest::Outcome;

/// Returns a table. The first column is text, the others are numbers.
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

/// Returns a wrapped paragraph.
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

/// A column of measurements: its header, and a function from a program's outcome and the first program's
/// outcome to a cell.
pub type Column = (&'static str, fn(&Outcome, &Outcome) -> String);

/// The costs of a restore, with their ratios to the first program's.
pub const COSTS: &[Column] = &[
    ("wall", |outcome, _| wall(outcome)),
    ("ratio", |outcome, base| ratio(outcome.wall() / base.wall())),
    ("client CPU", |outcome, _| seconds(outcome.cpu())),
    ("ratio", |outcome, base| ratio(outcome.cpu() / base.cpu())),
    ("peak memory", |outcome, _| memory(outcome)),
    ("PostgreSQL CPU", |outcome, _| seconds(outcome.median(|run| run.postgres_cpu_seconds))),
];

/// Returns a table with a row for each program.
pub fn results(outcomes: &[Outcome], columns: &[Column]) -> String {
    let base = &outcomes[0];
    let row = |outcome: &Outcome| {
        let cells = columns.iter().map(|(_, cell)| cell(outcome, base));
        std::iter::once(outcome.name.clone()).chain(cells).collect()
    };
    let head: Vec<&str> = std::iter::once("program").chain(columns.iter().map(|(head, _)| *head)).collect();
    table(&head, &outcomes.iter().map(row).collect::<Vec<_>>())
}

/// Formats seconds. Times below one second have an additional digit.
pub fn seconds(value: f64) -> String {
    if value < 1.0 { format!("{value:.3} s") } else { format!("{value:.2} s") }
}

/// Formats the median of the time with the range of the runs.
pub fn wall(outcome: &Outcome) -> String {
    let (least, most) = outcome.range();
    format!("{} ({least:.2}–{most:.2})", seconds(outcome.wall()))
}

/// Formats a ratio.
pub fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// Formats bytes in millions.
pub fn megabytes(bytes: f64) -> String {
    format!("{:.1} MB", bytes / 1e6)
}

/// Formats the median of the memory.
pub fn memory(outcome: &Outcome) -> String {
    format!("{:.1} MiB", outcome.memory() / 1024.0)
}

/// Formats a number of rows or objects, with its digits in groups of three.
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
