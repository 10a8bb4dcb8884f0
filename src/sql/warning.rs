//! Warnings about a dump that succeeds, in pg_dump's words.

use crate::report::printable;

/// A warning for the user, in pg_dump's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The warning.
    pub message: String,
    /// The affected objects, one for each line.
    pub details: Vec<String>,
    /// Advice.
    pub hints: Vec<&'static str>,
}

impl Warning {
    /// Creates a warning that is only a message.
    pub(in crate::sql) fn new(message: impl Into<String>) -> Self {
        Warning { message: message.into(), details: Vec::new(), hints: Vec::new() }
    }

    /// Returns the lines that pg_dump writes after its program name: `warning: …`, `detail: …`, `hint: …`.
    /// Names in them are encoded as in [`from_bytes`](super::query::from_bytes), without control characters.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let warning = std::iter::once(format!("warning: {}", printable(&self.message)));
        let details = self.details.iter().map(|detail| format!("detail: {}", printable(detail)));
        let hints = self.hints.iter().map(|hint| format!("hint: {hint}"));
        warning.chain(details).chain(hints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_reads_as_pg_dumps_and_leaves_the_terminal_alone() {
        let warning = Warning {
            message: "these tables:".to_owned(),
            details: vec!["a".to_owned(), "b\u{1b}[2J\n".to_owned()],
            hints: vec!["Do not."],
        };
        let lines: Vec<String> = warning.lines().collect();
        assert_eq!(
            lines,
            ["warning: these tables:", "detail: a", "detail: b\u{fffd}[2J\u{fffd}", "hint: Do not."]
        );
    }
}
