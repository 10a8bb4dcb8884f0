//! `--list` and `--use-list`: prints a table of contents as lines that you can reorder and delete, in
//! pg_restore's form, and reads such a file.

use jiff::tz::TimeZone;

use super::{RestoreSelection, SelectError};
use crate::archive::manifest::Manifest;
use crate::archive::toc_file::{FileEntry, TocFile};
use crate::report::printable;
use crate::sql::script::one_line;

/// The file of `--use-list`: the entries to restore, in their order in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UseList {
    text: Vec<u8>,
}

/// An entry's position when a list is applied.
pub(super) struct ListPosition {
    /// Its index in the table of contents.
    pub(super) index: usize,
    /// Whether the list names it.
    pub(super) is_listed: bool,
}

/// The content of a line of a list.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    /// Only blanks or a comment.
    Blank,
    /// A number at the beginning; the rest of the line is ignored.
    Id(u32),
    /// Any other text.
    Other,
}

impl UseList {
    /// Creates a list from a file's text.
    pub fn new(text: Vec<u8>) -> Self {
        UseList { text }
    }

    /// Returns the entries that the list does not name, then those that it names, in its order. Lines that
    /// name no entry, or an entry for the second time, are reported and ignored.
    pub(super) fn arrange(&self, toc: &TocFile) -> Result<Vec<ListPosition>, SelectError> {
        let largest = toc.entries.iter().map(|entry| entry.id).max().unwrap_or_default();
        let indexes: std::collections::HashMap<u32, usize> =
            toc.entries.iter().enumerate().map(|(index, entry)| (entry.id, index)).collect();
        let mut is_listed = vec![false; toc.entries.len()];
        let mut listed = Vec::new();
        for line in self.text.split_inclusive(|byte| *byte == b'\n') {
            let line = without_comment(line);
            let id = match parse(line) {
                Line::Blank => continue,
                Line::Id(id) if id <= largest => id,
                Line::Id(_) | Line::Other => {
                    ignore(line);
                    continue;
                }
            };
            let index = indexes.get(&id).copied().ok_or(SelectError::NoSuchEntry { id })?;
            match is_listed.get_mut(index) {
                Some(seen) if !*seen => {
                    *seen = true;
                    listed.push(ListPosition { index, is_listed: true });
                }
                _ => ignore(line),
            }
        }
        let others = is_listed.iter().enumerate().filter(|(_, is_listed)| !**is_listed);
        let mut places: Vec<ListPosition> =
            others.map(|(index, _)| ListPosition { index, is_listed: false }).collect();
        places.append(&mut listed);
        Ok(places)
    }
}

fn without_comment(line: &[u8]) -> &[u8] {
    let end = memchr::memchr(b';', line).unwrap_or(line.len());
    line.get(..end).unwrap_or_default()
}

/// Parses a line as C's `strtol` does: blanks, a sign, digits, and any other text.
fn parse(line: &[u8]) -> Line {
    if line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        return Line::Blank;
    }
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
    let start = line.iter().take_while(|byte| is_blank(byte)).count();
    let number = line.get(start..).unwrap_or_default();
    let number = number.strip_prefix(b"+").unwrap_or(number);
    let digits: String =
        number.iter().take_while(|byte| byte.is_ascii_digit()).map(|byte| char::from(*byte)).collect();
    match digits.parse() {
        Ok(id) if id > 0 => Line::Id(id),
        _ => Line::Other,
    }
}

fn ignore(line: &[u8]) {
    let line = String::from_utf8_lossy(line);
    tracing::warn!("line ignored: {}", printable(line.strip_suffix('\n').unwrap_or(&line)));
}

/// Returns the output of `--list`: lines about the backup, and a line for each selected entry. Names are
/// printed as in the table of contents, without control characters.
pub fn render(
    toc: &TocFile,
    manifest: &Manifest,
    selection: &RestoreSelection,
) -> Result<String, SelectError> {
    let mut text = head(toc, manifest);
    for (_, entry, _) in selection.wanted(toc)? {
        put_line(&mut text, entry);
    }
    Ok(text)
}

fn head(toc: &TocFile, manifest: &Manifest) -> String {
    let name = |text: &str| printable(&one_line(text));
    let created = manifest.started.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z");
    format!(
        ";\n; Archive created at {created}\n;     dbname: {}\n;     TOC Entries: {}\n;     Compression: {}\n\
         ;     Format version: {}\n;     Dumped from database version: {}\n;     Dumped by {} version: {}\n\
         ;\n;\n; Selected TOC Entries:\n;\n",
        name(manifest.source_database()),
        toc.entries.len(),
        toc.compression,
        toc.format_version,
        name(&manifest.server.version),
        name(&manifest.tool.name),
        name(&manifest.tool.version),
    )
}

fn put_line(text: &mut String, entry: &FileEntry) {
    let (class, oid) = entry.catalog_id;
    let line = format!(
        "{}; {class} {oid} {} {} {} {}",
        entry.id,
        entry.desc,
        one_line(entry.namespace.as_deref().unwrap_or("-")),
        one_line(&entry.tag),
        one_line(entry.owner.as_deref().unwrap_or_default()),
    );
    text.push_str(&printable(&line));
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_reaches_the_terminal_with_control_characters() {
        let manifest = crate::archive::manifest::tests::sample();
        let mut toc = super::super::tests::toc();
        for entry in &mut toc.entries {
            entry.tag = "a\n\u{1b}[31m\u{9b}b\u{7f}".to_owned();
            entry.owner = Some("o\u{7}".to_owned());
        }
        let text = render(&toc, &manifest, &RestoreSelection::default()).unwrap();
        assert!(text.contains(" a \u{fffd}[31m\u{fffd}b\u{fffd} o\u{fffd}\n"), "{text}");
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text}");
    }

    #[test]
    fn a_line_without_an_id_is_reported() {
        let read = |line: &str| parse(without_comment(line.as_bytes()));
        for line in ["", " \t\r\n", "; 12", "  ;x\n"] {
            assert_eq!(read(line), Line::Blank, "{line:?}");
        }
        for line in ["12; 1259 16384 TABLE public t o\n", " \x0b12", "+12\r\n", "12abc", "0012 ;"] {
            assert_eq!(read(line), Line::Id(12), "{line:?}");
        }
        for line in ["0", "-12", "x", "99999999999999999999", "\x0b", "+-1"] {
            assert_eq!(read(line), Line::Other, "{line:?}");
        }
    }
}
