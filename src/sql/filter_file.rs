//! Filter files (`--filter`), as pg_dump 17 introduced them: one object pattern a line, included or
//! excluded. pg_dump's manual page, option `--filter`.

use super::error::{Result, SqlError};
use super::options::{DumpOptions, TablePattern};

/// What a line of a filter file selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterObject {
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
    /// The word in the file, which complaints use too, with blanks for underscores.
    fn name(self) -> String {
        let word = OBJECTS.iter().find(|(_, object)| *object == self).map_or("", |(word, _)| word);
        word.replace('_', " ")
    }
}

/// One line that selects something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterItem {
    /// `include` rather than `exclude`.
    pub include: bool,
    /// What kind of object.
    pub object: FilterObject,
    /// The pattern, with blanks as pg_dump normalizes them.
    pub pattern: String,
    /// The number of the line on which the pattern ended, from 1.
    pub line: usize,
}

/// A filter file's text, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterFile {
    /// The file's name as given; `-` is standard input.
    pub name: String,
    /// Its lines that select something.
    pub items: Vec<FilterItem>,
}

impl FilterFile {
    /// Reads the text of the filter file `name` (`-` for standard input).
    pub fn parse(name: &str, text: &str) -> Result<FilterFile> {
        let mut reader = Reader { name, lines: text.lines(), line: 0 };
        let mut items = Vec::new();
        while let Some(line) = reader.next_line() {
            if let Some(item) = reader.item(line)? {
                items.push(item);
            }
        }
        Ok(FilterFile { name: name.to_owned(), items })
    }

    /// A complaint about an item, in pg_dump's words.
    pub fn refuse(&self, item: &FilterItem) -> SqlError {
        let command = if item.include { "include" } else { "exclude" };
        let text = format!("{command} filter for \"{}\" is not allowed", item.object.name());
        malformed(&self.name, item.line, &text)
    }

    /// Adds the file's patterns to a dump's options, as though they had been given as switches.
    pub fn apply(&self, options: &mut DumpOptions) -> Result<()> {
        for item in &self.items {
            let pattern = item.pattern.clone();
            let table = |with_children| TablePattern { pattern: pattern.clone(), with_children };
            match (item.include, item.object) {
                (true, FilterObject::Extension) => options.extensions.push(pattern),
                (false, FilterObject::Extension) => options.exclude_extensions.push(pattern),
                (true, FilterObject::ForeignData) => options.include_foreign_data.push(pattern),
                (true, FilterObject::Schema) => options.schemas.push(pattern),
                (false, FilterObject::Schema) => options.exclude_schemas.push(pattern),
                (true, FilterObject::Table) => options.tables.push(table(false)),
                (false, FilterObject::Table) => options.exclude_tables.push(table(false)),
                (true, FilterObject::TableAndChildren) => options.tables.push(table(true)),
                (false, FilterObject::TableAndChildren) => options.exclude_tables.push(table(true)),
                (false, FilterObject::TableData) => options.exclude_table_data.push(table(false)),
                (false, FilterObject::TableDataAndChildren) => options.exclude_table_data.push(table(true)),
                (
                    true,
                    FilterObject::Database
                    | FilterObject::Function
                    | FilterObject::Index
                    | FilterObject::TableData
                    | FilterObject::TableDataAndChildren
                    | FilterObject::Trigger,
                )
                | (
                    false,
                    FilterObject::Database
                    | FilterObject::ForeignData
                    | FilterObject::Function
                    | FilterObject::Index
                    | FilterObject::Trigger,
                ) => return Err(self.refuse(item)),
            }
        }
        Ok(())
    }
}

fn malformed(name: &str, line: usize, text: &str) -> SqlError {
    let source = match name {
        "-" => "standard input".to_owned(),
        name => format!("file \"{name}\""),
    };
    SqlError::Selection(format!("invalid format in filter read from {source} on line {line}: {text}"))
}

struct Reader<'a> {
    name: &'a str,
    lines: std::str::Lines<'a>,
    line: usize,
}

impl<'a> Reader<'a> {
    fn next_line(&mut self) -> Option<&'a str> {
        let line = self.lines.next()?;
        self.line += 1;
        // What follows a NUL is not there for pg_dump.
        line.split('\0').next()
    }

    fn malformed(&self, text: &str) -> SqlError {
        malformed(self.name, self.line, text)
    }

    /// Reads `{include|exclude} KIND PATTERN`; nothing from an empty line or a comment.
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
        Ok(Some(FilterItem { include, object: *object, pattern, line: self.line }))
    }

    /// Reads a pattern up to a comment or the line's end. Runs of blanks become one, and those
    /// around punctuation go, so that functions' signatures compare equal to the catalog's.
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

    /// Reads up to the closing quote, over line ends if need be, and returns what follows it. `\n` and
    /// `\\` are a newline and a backslash.
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

/// What stands between blanks at the start, and what follows it.
fn keyword(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches(is_space);
    let end = text.find(is_space).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// What C's `isspace()` accepts in the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(line: &str) -> String {
        let file = FilterFile::parse("f", &format!("include table {line}")).unwrap();
        file.items[0].pattern.clone()
    }

    fn complaint(text: &str) -> String {
        let mut options = DumpOptions::default();
        let result = FilterFile::parse("f", text).and_then(|file| file.apply(&mut options));
        result.unwrap_err().to_string()
    }

    #[test]
    fn comments_and_empty_lines_select_nothing() {
        let file = FilterFile::parse("f", "# a\n\n  \t\n  INCLUDE Table a # b\n").unwrap();
        assert_eq!(file.items.len(), 1);
        assert_eq!((file.items[0].pattern.as_str(), file.items[0].line), ("a", 4));
    }

    #[test]
    fn blanks_are_normalized_and_quotes_kept() {
        assert_eq!(pattern("  a  .  b  "), "a.b");
        assert_eq!(pattern("f( int ,text )"), "f(int, text)");
        assert_eq!(pattern("a   b"), "a b");
        assert_eq!(pattern("\"A  #\"\"\\n\\\\\".x"), "\"A  #\"\"\n\\\".x");
        assert_eq!(pattern("\"two\nlines\"#c"), "\"two\nlines\"");
    }

    #[test]
    fn items_become_options() {
        let text =
            "include table_and_children a\nexclude table_data b\nexclude extension c\ninclude schema d";
        let mut options = DumpOptions::default();
        FilterFile::parse("f", text).unwrap().apply(&mut options).unwrap();
        assert!(options.tables[0].with_children && !options.exclude_table_data[0].with_children);
        assert_eq!((&options.exclude_extensions[0][..], &options.schemas[0][..]), ("c", "d"));
    }

    #[test]
    fn complaints_name_file_and_line() {
        let start = "invalid format in filter read from file \"f\" on line";
        for (text, want) in [
            ("1include table x", "1: invalid filter command (expected \"include\" or \"exclude\")"),
            ("include:table x", "1: invalid filter command (expected \"include\" or \"exclude\")"),
            ("include table1 x", "1: unsupported filter object type: \"table1\""),
            ("include \"table\" x", "1: unsupported filter object type: \"\"table\"\""),
            ("include # x", "1: unsupported filter object type: \"#\""),
            ("include table\0 x", "1: missing object name pattern"),
            ("\nadd table x", "2: invalid filter command (expected \"include\" or \"exclude\")"),
            ("include", "1: missing filter object type"),
            ("include view x", "1: unsupported filter object type: \"view\""),
            ("include table  ", "1: missing object name pattern"),
            ("include table \"x", "1: unexpected end of file"),
            ("include table_data x", "1: include filter for \"table data\" is not allowed"),
            ("exclude foreign_data x", "1: exclude filter for \"foreign data\" is not allowed"),
        ] {
            assert_eq!(complaint(text), format!("{start} {want}"));
        }
        assert!(FilterFile::parse("-", "x").unwrap_err().to_string().contains("from standard input on"));
    }
}
