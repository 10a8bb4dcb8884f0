//! The shape of a command's output: its words, by line and in order, without the parts that differ in every
//! run.
//!
//! All numbers, times, sizes, durations, moments, hosts with ports, and hashes compare as equal, and so do
//! column widths. A line `…` in a document matches any number of lines, including none. `…` in a line matches
//! any text.

use std::sync::LazyLock;

use regex_lite::Regex;

/// The patterns that compare as equal, in search order. A pattern that also matches part of a longer one
/// comes after the longer one.
static ALIKE: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let patterns = [
        (r"\b\d{4}-\d{2}-\d{2}([T ]\d{2}[:-]\d{2}[:-]\d{2}(\.\d+)?(Z|[+-]\d{2}(:?\d{2})?)?)?", "<moment>"),
        (r"\b\d{2}:\d{2}:\d{2}(\.\d+)?\b", "<moment>"),
        (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "<hash>"),
        (r"\b[0-9a-f]{16,}\b", "<hash>"),
        (r"\bage1[0-9a-z]{20,}", "<hash>"),
        (r"\bAKIA[0-9A-Z]{8,}", "<hash>"),
        (r"\b[A-Za-z0-9][A-Za-z0-9.-]*:\d{2,5}\b", "<host>"),
        (r"\b\d+(\.\d+)? ?(B|bytes|KiB|MiB|GiB|kB|MB|GB)\b", "<size>"),
        (r"\b\d+(\.\d+)?(ms|s|m|h|d)( \d{1,2}(s|m|h))?\b", "<time>"),
        (r"\b\d+(\.\d+)*\b", "<n>"),
        (r"-{3,}", "---"),
        (r"\s+", " "),
    ];
    let compiled =
        patterns.map(|(pattern, alike)| (Regex::new(pattern).expect("a pattern of this file"), alike));
    compiled.into()
});

fn shape(line: &str) -> String {
    let start = line.trim_end().to_owned();
    ALIKE.iter().fold(start, |line, (pattern, alike)| pattern.replace_all(&line, *alike).into_owned())
}

/// Compares the output that a document shows with the actual output, and describes the difference.
pub fn compare(shown: &[String], printed: &str) -> Result<(), String> {
    let trimmed = |lines: Vec<String>| {
        let end = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        lines[..end].to_vec()
    };
    let expected = trimmed(shown.iter().map(|line| shape(line)).collect());
    let found = trimmed(printed.lines().map(shape).collect());
    if lines_match(&expected, &found) {
        return Ok(());
    }
    let lines = expected
        .iter()
        .zip(&found)
        .take_while(|(expected, found)| expected.trim() != "…" && line_matches(expected, found));
    let same = lines.count();
    let at = |lines: &[String]| lines.get(same).cloned().unwrap_or_else(|| "(nothing)".to_owned());
    Err(format!(
        "the document shows in line {} of it: {}\nprinted was:                       {}\n--- all that was printed\n{printed}",
        same + 1,
        at(&expected),
        at(&found)
    ))
}

fn lines_match(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first.trim() == "…" => {
            (0..=found.len()).any(|skipped| lines_match(rest, &found[skipped..]))
        }
        Some((first, rest)) => found
            .split_first()
            .is_some_and(|(line, others)| line_matches(first, line) && lines_match(rest, others)),
    }
}

fn line_matches(expected: &str, found: &str) -> bool {
    let mut pieces = expected.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = found.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}
