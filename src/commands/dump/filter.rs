//! `--filter FILE` (pg_dump 17): patterns from a file, one `include|exclude KIND PATTERN` in a line.
//!
//! `#` begins a comment. A quoted name may go on over lines; outside quotes, white space inside a
//! pattern shrinks to one space, and is dropped around punctuation. Complaints are pg_dump's.

use std::io::Read as _;

use crate::error::Error;
use crate::sql::options::{DumpOptions, TablePattern};

/// The most that a filter file may hold; a file without end must not fill the memory.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Adds the patterns of a filter file to the options; `-` is standard input.
pub(super) fn read_filter(path: &str, options: &mut DumpOptions) -> Result<(), Error> {
    let mut text = String::new();
    let outcome = if path == "-" {
        std::io::stdin().lock().take(MAX_BYTES).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_string(&mut text))
    };
    outcome
        .map_err(|source| Error::Io { context: format!("could not open filter file \"{path}\""), source })?;
    parse_filter(path, &text, options)
}

fn parse_filter(path: &str, text: &str, options: &mut DumpOptions) -> Result<(), Error> {
    let mut lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    while let Some((start, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut at = start;
        let outcome = parse_item(line, &mut || {
            let (number, line) = lines.next()?;
            at = number;
            Some(line)
        })
        .and_then(|item| apply(item, options));
        outcome.map_err(|complaint| {
            let place = if path == "-" { "standard input".to_owned() } else { format!("file \"{path}\"") };
            Error::usage(format!("invalid format in filter read from {place} on line {at}: {complaint}"))
        })?;
    }
    Ok(())
}

/// One line's meaning.
struct Item {
    include: bool,
    kind: Kind,
    pattern: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    TableData,
    TableDataAndChildren,
    Database,
    Extension,
    ForeignData,
    Function,
    Index,
    Schema,
    Table,
    TableAndChildren,
    Trigger,
}

/// The keyword of each kind; a complaint shows it with spaces.
const KINDS: &[(&str, Kind)] = &[
    ("table_data", Kind::TableData),
    ("table_data_and_children", Kind::TableDataAndChildren),
    ("database", Kind::Database),
    ("extension", Kind::Extension),
    ("foreign_data", Kind::ForeignData),
    ("function", Kind::Function),
    ("index", Kind::Index),
    ("schema", Kind::Schema),
    ("table", Kind::Table),
    ("table_and_children", Kind::TableAndChildren),
    ("trigger", Kind::Trigger),
];

fn parse_item<'a>(line: &'a str, more: &mut dyn FnMut() -> Option<&'a str>) -> Result<Item, String> {
    let (command, rest) = keyword(line);
    let include = if command.eq_ignore_ascii_case("include") {
        true
    } else if command.eq_ignore_ascii_case("exclude") {
        false
    } else {
        return Err("invalid filter command (expected \"include\" or \"exclude\")".to_owned());
    };
    let (word, rest) = keyword(rest);
    if word.is_empty() {
        return Err("missing filter object type".to_owned());
    }
    let Some((_, kind)) = KINDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) else {
        return Err(format!("unsupported filter object type: \"{word}\""));
    };
    Ok(Item { include, kind: *kind, pattern: pattern(rest, more)? })
}

fn keyword(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()))
}

fn pattern<'a>(text: &'a str, more: &mut dyn FnMut() -> Option<&'a str>) -> Result<String, String> {
    let mut rest = text.trim_start();
    if rest.is_empty() {
        return Err("missing object name pattern".to_owned());
    }
    let mut pattern = String::new();
    // Whether white space was seen since the last word, and whether it may count here.
    let (mut pending, mut glued) = (false, true);
    while let Some(c) = rest.chars().next().filter(|c| *c != '#') {
        let tail = &rest[c.len_utf8()..];
        match c {
            c if c.is_whitespace() => {
                pending = true;
                rest = tail;
                continue;
            }
            '"' => {
                if pending && !glued {
                    pattern.push(' ');
                }
                rest = quoted(tail, &mut pattern, more)?;
                glued = false;
            }
            ',' => {
                pattern.push_str(", ");
                (rest, glued) = (tail, true);
            }
            '.' | '(' | ')' => {
                pattern.push(c);
                (rest, glued) = (tail, true);
            }
            _ => {
                if pending && !glued {
                    pattern.push(' ');
                }
                let end =
                    rest.find(|c: char| c.is_whitespace() || "#,.()\"".contains(c)).unwrap_or(rest.len());
                let (word, after) = rest.split_at(end);
                pattern.push_str(word);
                (rest, glued) = (after, false);
            }
        }
        pending = false;
    }
    Ok(pattern)
}

/// Reads a quoted name after its opening quote, over as many lines as it takes; returns what
/// follows it.
fn quoted<'a>(
    mut rest: &'a str,
    pattern: &mut String,
    more: &mut dyn FnMut() -> Option<&'a str>,
) -> Result<&'a str, String> {
    pattern.push('"');
    loop {
        let Some(c) = rest.chars().next() else {
            rest = more().ok_or_else(|| "unexpected end of file".to_owned())?;
            pattern.push('\n');
            continue;
        };
        rest = &rest[c.len_utf8()..];
        match c {
            '"' => {
                pattern.push('"');
                match rest.strip_prefix('"') {
                    Some(tail) => {
                        pattern.push('"');
                        rest = tail;
                    }
                    None => return Ok(rest),
                }
            }
            '\\' => {
                let escaped = rest.chars().next();
                match escaped {
                    Some('n') => pattern.push('\n'),
                    Some('\\') => pattern.push('\\'),
                    _ => {}
                }
                rest = escaped.map_or(rest, |c| &rest[c.len_utf8()..]);
            }
            '\r' => {}
            c => pattern.push(c),
        }
    }
}

fn apply(item: Item, options: &mut DumpOptions) -> Result<(), String> {
    let Item { include, kind, pattern } = item;
    let table = |with_children| TablePattern { pattern: pattern.clone(), with_children };
    match (include, kind) {
        (true, Kind::Extension) => options.extensions.push(pattern),
        (false, Kind::Extension) => options.exclude_extensions.push(pattern),
        (true, Kind::ForeignData) => options.include_foreign_data.push(pattern),
        (true, Kind::Schema) => options.schemas.push(pattern),
        (false, Kind::Schema) => options.exclude_schemas.push(pattern),
        (true, Kind::Table) => options.tables.push(table(false)),
        (true, Kind::TableAndChildren) => options.tables.push(table(true)),
        (false, Kind::Table) => options.exclude_tables.push(table(false)),
        (false, Kind::TableAndChildren) => options.exclude_tables.push(table(true)),
        (false, Kind::TableData) => options.exclude_table_data.push(table(false)),
        (false, Kind::TableDataAndChildren) => options.exclude_table_data.push(table(true)),
        (true, Kind::TableData | Kind::TableDataAndChildren)
        | (false, Kind::ForeignData)
        | (_, Kind::Database | Kind::Function | Kind::Index | Kind::Trigger) => {
            let command = if include { "include" } else { "exclude" };
            let name = KINDS.iter().find(|(_, known)| *known == kind).map_or("", |(name, _)| name);
            return Err(format!("{command} filter for \"{}\" is not allowed", name.replace('_', " ")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DumpOptions, String> {
        let mut options = DumpOptions::default();
        parse_filter("f", text, &mut options).map_err(|error| error.to_string())?;
        Ok(options)
    }

    #[test]
    fn every_kind_lands_in_its_list() {
        let options = parse(
            "# comment\n\n  include table public.a # why\nINCLUDE table_and_children b\nexclude table c\r\n\
             exclude table_and_children d\nexclude table_data e\nexclude table_data_and_children f\n\
             include schema g*\nexclude schema h\ninclude extension i\nexclude extension j\ninclude foreign_data k\n",
        )
        .unwrap();
        let names = |patterns: &[TablePattern]| -> Vec<String> {
            patterns
                .iter()
                .map(|p| format!("{}{}", p.pattern, if p.with_children { "+" } else { "" }))
                .collect()
        };
        assert_eq!(names(&options.tables), ["public.a", "b+"]);
        assert_eq!(names(&options.exclude_tables), ["c", "d+"]);
        assert_eq!(names(&options.exclude_table_data), ["e", "f+"]);
        assert_eq!((options.schemas, options.exclude_schemas), (vec!["g*".into()], vec!["h".into()]));
        assert_eq!((options.extensions, options.exclude_extensions), (vec!["i".into()], vec!["j".into()]));
        assert_eq!(options.include_foreign_data, ["k"]);
    }

    #[test]
    fn names_keep_their_quotes_and_lose_stray_spaces() {
        let only = |text: &str| parse(text).unwrap().tables.remove(0).pattern;
        assert_eq!(only("include table  \"a b\" . \"c\"\"d\"  "), "\"a b\".\"c\"\"d\"");
        assert_eq!(only("include table a   b"), "a b");
        assert_eq!(only("include table \"two\nlines\""), "\"two\nlines\"");
        assert_eq!(only(r#"include table "two\nlines\\""#), "\"two\nlines\\\"");
    }

    #[test]
    fn complaints_are_those_of_pg_dump() {
        for (text, complaint) in [
            ("\nk table a", "2: invalid filter command (expected \"include\" or \"exclude\")"),
            ("include", "1: missing filter object type"),
            ("include tablespace a", "1: unsupported filter object type: \"tablespace\""),
            ("include table  ", "1: missing object name pattern"),
            ("include table \"a\n", "1: unexpected end of file"),
            ("include table_data a", "1: include filter for \"table data\" is not allowed"),
            ("exclude foreign_data a", "1: exclude filter for \"foreign data\" is not allowed"),
            ("exclude trigger a", "1: exclude filter for \"trigger\" is not allowed"),
        ] {
            assert_eq!(
                parse(text).unwrap_err(),
                format!("invalid format in filter read from file \"f\" on line {complaint}")
            );
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = read_filter("/nonexistent/f", &mut DumpOptions::default()).unwrap_err();
        assert_eq!(error.to_string(), "could not open filter file \"/nonexistent/f\"");
    }
}
