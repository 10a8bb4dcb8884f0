//! What a verbose dump tells while it works, line by line, in pg_dump's words and order.

use std::fmt::Arguments;

use super::warning::Warning;
use crate::report::printable;

/// Where the lines go; nowhere unless a dump is verbose.
#[derive(Clone, Copy, Debug, Default)]
pub struct VerboseLog(Option<fn(&str)>);

impl VerboseLog {
    /// Hands each line to `tell`, without a line break and as [`from_bytes`](super::query::from_bytes)
    /// holds names.
    pub fn to(tell: fn(&str)) -> Self {
        VerboseLog(Some(tell))
    }

    pub(in crate::sql) fn say(self, line: Arguments<'_>) {
        if let Some(tell) = self.0 {
            let line = line.to_string();
            // A line break at the end is lost in pg_dump, too.
            tell(&printable(line.strip_suffix('\n').unwrap_or(&line)));
        }
    }

    /// Tells a statement that is about to be executed, as pg_dumpall does, on one line.
    pub fn executing(self, statement: &str) {
        if self.0.is_some() {
            let words: Vec<&str> = statement.split_whitespace().collect();
            self.say(format_args!("executing {}", words.join(" ")));
        }
    }

    /// Tells warnings in their place among the lines. Without lines they have no place and are kept for
    /// whoever reads the plan.
    pub(in crate::sql) fn warn(self, warnings: &mut Vec<Warning>) {
        if let Some(tell) = self.0 {
            warnings
                .drain(..)
                .flat_map(|warning| warning.lines().collect::<Vec<_>>())
                .for_each(|line| tell(&line));
        }
    }
}
