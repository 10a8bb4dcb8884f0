//! What the user should know about a dump that succeeds, in pg_dump's words.

use crate::report::printable;

/// Something that the user should know about, as pg_dump puts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// What is the matter.
    pub message: String,
    /// The objects that it is about, one each.
    pub details: Vec<String>,
    /// What to do about it.
    pub hints: Vec<&'static str>,
}

impl Warning {
    /// A warning that is said in one sentence.
    pub(in crate::sql) fn new(message: impl Into<String>) -> Self {
        Warning { message: message.into(), details: Vec::new(), hints: Vec::new() }
    }

    /// The lines that pg_dump writes after its own name: `warning: …`, `detail: …`, `hint: …`. Names
    /// in them are as [`from_bytes`](super::query::from_bytes) holds them, without control characters.
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
