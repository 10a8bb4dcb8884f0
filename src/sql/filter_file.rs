//! Filter files (`--filter`), introduced by pg_dump 17: each line includes or excludes one object pattern.
//! pg_dump's manual page, option `--filter`.

use super::error::{Result, SqlError};
use super::options::{DumpOptions, TablePattern};
use super::query::from_bytes;

/// The object type of a line in a filter file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FilterObject {
    /// `database`, for pg_dumpall.
    Database,
    /// `extension`.
    Extension,
    /// `foreign_data`.
    ForeignData,
    /// `function`, for pg_restore.
    Function,
    /// `index`, for pg_restore.
    Index,
    /// `schema`.
    Schema,
    /// `table`.
    Table,
    /// `table_and_children`.
    TableAndChildren,
    /// `table_data`.
    TableData,
    /// `table_data_and_children`.
    TableDataAndChildren,
    /// `trigger`, for pg_restore.
    Trigger,
}

const OBJECTS: &[(&str, FilterObject)] = &[
    ("database", FilterObject::Database),
    ("extension", FilterObject::Extension),
    ("foreign_data", FilterObject::ForeignData),
    ("function", FilterObject::Function),
    ("index", FilterObject::Index),
    ("schema", FilterObject::Schema),
    ("table", FilterObject::Table),
    ("table_and_children", FilterObject::TableAndChildren),
    ("table_data", FilterObject::TableData),
    ("table_data_and_children", FilterObject::TableDataAndChildren),
    ("trigger", FilterObject::Trigger),
];

impl FilterObject {
    /// The word in the file, with spaces instead of underscores, as error messages use it.
    fn name(self) -> String {
        let word = OBJECTS.iter().find(|(_, object)| *object == self).map_or("", |(word, _)| word);
        word.replace('_', " ")
    }
}

/// Adds the patterns of the filter file `name` (`-` for standard input) to a dump's options, like the
/// corresponding switches. Fails at the first invalid line.
pub fn apply(name: &str, text: &[u8], options: &mut DumpOptions) -> Result<()> {
    // The patterns are sent to the server unchanged: only the server can check the encoding.
    let text = from_bytes(&without_nul(text));
    let mut reader = FilterFileReader { name, lines: text.lines(), line: 0 };
    while let Some(line) = reader.next_line() {
        if let Some(item) = reader.item(line)? {
            let refused = (item.include, item.object);
            item.select(options).ok_or_else(|| reader.not_allowed(refused))?;
        }
    }
    Ok(())
}

/// A line with a pattern.
struct FilterItem {
    /// Whether the line begins with `include` rather than `exclude`.
    include: bool,
    object: FilterObject,
    /// The pattern, with white space normalized as in pg_dump.
    pattern: String,
}

impl FilterItem {
    /// Adds the pattern to the options; returns `None` if a dump has no such switch.
    fn select(self, options: &mut DumpOptions) -> Option<()> {
        let FilterItem { include, object, pattern } = self;
        let plain = |patterns: &mut Vec<String>, pattern| patterns.push(pattern);
        let table = |patterns: &mut Vec<TablePattern>, pattern, with_children| {
            patterns.push(TablePattern { pattern, with_children });
        };
        match (include, object) {
            (true, FilterObject::Extension) => plain(&mut options.filtered_extensions, pattern),
            (false, FilterObject::Extension) => plain(&mut options.exclude_extensions, pattern),
            (true, FilterObject::ForeignData) => plain(&mut options.include_foreign_data, pattern),
            (true, FilterObject::Schema) => plain(&mut options.schemas, pattern),
            (false, FilterObject::Schema) => plain(&mut options.exclude_schemas, pattern),
            (true, FilterObject::Table) => table(&mut options.tables, pattern, false),
            (false, FilterObject::Table) => table(&mut options.exclude_tables, pattern, false),
            (true, FilterObject::TableAndChildren) => table(&mut options.tables, pattern, true),
            (false, FilterObject::TableAndChildren) => table(&mut options.exclude_tables, pattern, true),
            (false, FilterObject::TableData) => table(&mut options.exclude_table_data, pattern, false),
            (false, FilterObject::TableDataAndChildren) => {
                table(&mut options.exclude_table_data, pattern, true);
            }
            (true, FilterObject::TableData | FilterObject::TableDataAndChildren)
            | (false, FilterObject::ForeignData)
            | (
                _,
                FilterObject::Database | FilterObject::Function | FilterObject::Index | FilterObject::Trigger,
            ) => return None,
        }
        Some(())
    }
}

struct FilterFileReader<'a> {
    name: &'a str,
    lines: std::str::Lines<'a>,
    line: usize,
}

impl<'a> FilterFileReader<'a> {
    fn next_line(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.line += 1;
        Some(line)
    }

    fn malformed(&self, text: &str) -> SqlError {
        let source = match self.name {
            "-" => "standard input".to_owned(),
            name => format!("file \"{name}\""),
        };
        let line = self.line;
        SqlError::Selection(format!("invalid format in filter read from {source} on line {line}: {text}"))
    }

    /// The error for a filter that corresponds to no switch of a dump.
    fn not_allowed(&self, (include, object): (bool, FilterObject)) -> SqlError {
        let command = if include { "include" } else { "exclude" };
        self.malformed(&format!("{command} filter for \"{}\" is not allowed", object.name()))
    }

    /// Reads `{include|exclude} KIND PATTERN`; returns `None` for an empty line or a comment.
    fn item(&mut self, line: &'a str) -> Result<Option<FilterItem>> {
        let rest = line.trim_start_matches(is_space);
        if rest.is_empty() || rest.starts_with('#') {
            return Ok(None);
        }
        let Some((command, rest)) = keyword(rest) else { return Ok(None) };
        let include = command.eq_ignore_ascii_case("include");
        if !include && !command.eq_ignore_ascii_case("exclude") {
            return Err(self.malformed("invalid filter command (expected \"include\" or \"exclude\")"));
        }
        let (word, rest) = keyword(rest).ok_or_else(|| self.malformed("missing filter object type"))?;
        let known = OBJECTS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        let Some((_, object)) = known else {
            return Err(self.malformed(&format!("unsupported filter object type: \"{word}\"")));
        };
        let pattern = self.pattern(rest)?;
        Ok(Some(FilterItem { include, object: *object, pattern }))
    }

    /// Reads a pattern up to a comment or the end of the line. Runs of white space become one space, and
    /// white space around punctuation is removed, so that signatures of functions compare equal to the
    /// catalog's.
    fn pattern(&mut self, text: &'a str) -> Result<String> {
        let mut rest = text.trim_start_matches(is_space);
        if rest.is_empty() {
            return Err(self.malformed("missing object name pattern"));
        }
        let mut pattern = String::new();
        let mut swallow_blank = true;
        let mut blank = false;
        while !(rest.is_empty() || rest.starts_with('#')) {
            let plain = rest.find(|c| is_space(c) || "#,.()\"".contains(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(plain);
            if !word.is_empty() && blank && !swallow_blank {
                pattern.push(' ');
            }
            pattern.push_str(word);
            swallow_blank = false;
            rest = after;
            if let Some(after) = rest.strip_prefix('"') {
                if blank && word.is_empty() {
                    pattern.push(' ');
                }
                rest = self.quoted(after, &mut pattern)?;
            } else if let Some(after) = rest.strip_prefix(',') {
                pattern.push_str(", ");
                swallow_blank = true;
                rest = after;
            } else if let Some(c) = rest.chars().next().filter(|c| ".()".contains(*c)) {
                pattern.push(c);
                swallow_blank = true;
                rest = &rest[1..];
            }
            let after = rest.trim_start_matches(is_space);
            blank = after.len() < rest.len();
            rest = after;
        }
        Ok(pattern)
    }

    /// Reads up to the closing quote, across line breaks if necessary, and returns the rest. `\n` and `\\`
    /// are a newline and a backslash.
    fn quoted(&mut self, text: &'a str, pattern: &mut String) -> Result<&'a str> {
        pattern.push('"');
        let mut chars = text.chars();
        loop {
            match chars.next() {
                None => {
                    let line = self.next_line().ok_or_else(|| self.malformed("unexpected end of file"))?;
                    pattern.push('\n');
                    chars = line.chars();
                }
                Some('\r') => {}
                Some('"') => {
                    pattern.push('"');
                    let Some(after) = chars.as_str().strip_prefix('"') else { return Ok(chars.as_str()) };
                    pattern.push('"');
                    chars = after.chars();
                }
                Some('\\') => match chars.next() {
                    Some('n') => pattern.push('\n'),
                    Some('\\') => pattern.push('\\'),
                    _ => {}
                },
                Some(c) => pattern.push(c),
            }
        }
    }
}

/// Returns the bytes that pg_dump reads from a file: a NUL hides the rest of its line, including the line
/// break.
fn without_nul(text: &[u8]) -> Vec<u8> {
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| line.split(|byte| *byte == b'\0').next().unwrap_or_default()).copied().collect()
}

/// Splits off the first word; returns it and the rest.
fn keyword(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(is_space);
    let end = text.find(is_space).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Whether C's `isspace()` accepts the character in the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}
