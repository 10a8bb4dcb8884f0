//! The progress messages of a verbose dump, line by line, in pg_dump's words and order.

use std::fmt::Arguments;

use super::warning::Warning;
use crate::report::printable;

/// The receiver of the lines; by default none, which means that the dump is not verbose.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerboseLog(Option<fn(&str)>);

impl VerboseLog {
    /// Passes each line to `tell`, without a line break and with names encoded as in
    /// [`from_bytes`](super::query::from_bytes).
    pub fn to(tell: fn(&str)) -> Self {
        VerboseLog(Some(tell))
    }

    pub(in crate::sql) fn say(self, line: Arguments<'_>) {
        if let Some(tell) = self.0 {
            let line = line.to_string();
            // pg_dump also drops a line break at the end.
            tell(&printable(line.strip_suffix('\n').unwrap_or(&line)));
        }
    }

    /// Logs a statement before it is executed, on one line, as pg_dumpall does.
    pub fn executing(self, statement: &str) {
        if self.0.is_some() {
            let words: Vec<&str> = statement.split_whitespace().collect();
            self.say(format_args!("executing {}", words.join(" ")));
        }
    }

    /// Moves warnings to the log, in order with its lines. Without a log they stay in `warnings`, for the
    /// reader of the plan.
    pub(in crate::sql) fn warn(self, warnings: &mut Vec<Warning>) {
        if let Some(tell) = self.0 {
            warnings
                .drain(..)
                .flat_map(|warning| warning.lines().collect::<Vec<_>>())
                .for_each(|line| tell(&line));
        }
    }
}
