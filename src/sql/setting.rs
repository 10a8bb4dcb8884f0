//! Configuration settings: parses the catalogs' format, `name=value`, and writes SET clauses.
//!
//! Used for the settings of databases and roles (`ALTER DATABASE … SET`, `ALTER ROLE … SET`) and of functions
//! (`CREATE FUNCTION … SET`).

use super::dialect::Dialect;
use super::ident::{Literal, Quoting};
use super::put;

/// One stored setting, parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sql) struct Setting<'a> {
    /// The variable.
    pub name: &'a str,
    /// The value as stored.
    pub value: &'a str,
}

impl<'a> Setting<'a> {
    /// Parses `name=value`; returns `None` for an item without an equal sign, which sets nothing.
    pub(in crate::sql) fn parse(item: &'a str) -> Option<Self> {
        let (name, value) = item.split_once('=')?;
        Some(Setting { name, value })
    }

    /// Returns `SET name TO value` for `CREATE FUNCTION`.
    pub(in crate::sql) fn clause(&self, dialect: &Dialect, quoting: &Quoting) -> String {
        self.render(dialect, quoting, |text| quoting.literal(text))
    }

    /// Returns `SET name TO value` for `ALTER DATABASE …` and `ALTER ROLE …`.
    pub(in crate::sql) fn alter_clause(&self, dialect: &Dialect, quoting: &Quoting) -> String {
        self.render(dialect, quoting, |text| quoting.portable_literal(text))
    }

    /// Writes each element of a list as a separate string literal: with the quotes that the server stores,
    /// the elements would be read as identifiers, which may be neither empty nor longer than 63 bytes.
    fn render(&self, dialect: &Dialect, quoting: &Quoting, literal: impl Fn(&str) -> Literal<'_>) -> String {
        let mut clause = format!("SET {} TO ", quoting.id(self.name));
        if !dialect.list_settings.iter().any(|list| list.eq_ignore_ascii_case(self.name)) {
            put!(clause, "{}", literal(self.value));
            return clause;
        }
        // The server never stores a malformed list; like pg_dump, write no elements for one.
        let elements = split_list(self.value).unwrap_or_default();
        clause + &elements.iter().map(|e| literal(e).to_string()).collect::<Vec<_>>().join(", ")
    }
}

/// Splits a list at its commas; elements may be double-quoted. Returns `None` if the list is malformed.
fn split_list(list: &str) -> Option<Vec<String>> {
    let mut rest = list.trim_start_matches(is_space);
    let mut elements = Vec::new();
    if rest.is_empty() {
        return Some(elements);
    }
    loop {
        let (element, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_element(quoted)?,
            None => {
                let end = rest.find(|c| c == ',' || is_space(c)).unwrap_or(rest.len());
                let (element, after) = rest.split_at(end);
                if element.is_empty() {
                    return None;
                }
                (element.to_owned(), after)
            }
        };
        elements.push(element);
        let after = after.trim_start_matches(is_space);
        if after.is_empty() {
            return Some(elements);
        }
        rest = after.strip_prefix(',')?.trim_start_matches(is_space);
    }
}

/// Reads up to the closing quote; returns the element, with doubled quotes replaced by single ones, and the
/// rest.
fn quoted_element(text: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        element.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                element.push('"');
                rest = after;
            }
            None => return Some((element, after)),
        }
    }
}

/// Whether C's `isspace()` accepts the character in the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clause(item: &str) -> String {
        Setting::parse(item).unwrap().clause(<&Dialect>::default(), &Quoting::default())
    }

    #[test]
    fn plain_values_are_literals() {
        assert_eq!(clause("work_mem=64MB"), "SET work_mem TO '64MB'");
        assert_eq!(clause("my.Var=it's = a,b"), "SET \"my.Var\" TO 'it''s = a,b'");
        assert_eq!(Setting::parse("no equal sign"), None);
    }

    #[test]
    fn list_elements_are_literals_of_their_own() {
        assert_eq!(clause("search_path=\"$user\", public"), "SET search_path TO '$user', 'public'");
        assert_eq!(clause("Search_Path=\"\", \"a\"\"b,c\" ,d"), "SET \"Search_Path\" TO '', 'a\"b,c', 'd'");
        assert_eq!(clause("temp_tablespaces="), "SET temp_tablespaces TO ");
        assert_eq!(clause("search_path=\"\""), "SET search_path TO ''");
        assert_eq!(
            clause("output_plugin_libraries=pgoutput, wal2json"),
            "SET output_plugin_libraries TO 'pgoutput', 'wal2json'"
        );
    }

    #[test]
    fn databases_and_roles_get_portable_literals() {
        let setting = Setting::parse("search_path=\"a\\b\", c").unwrap();
        let quoting = Quoting::default();
        assert_eq!(
            setting.alter_clause(<&Dialect>::default(), &quoting),
            "SET search_path TO E'a\\\\b', 'c'"
        );
        assert_eq!(setting.clause(<&Dialect>::default(), &quoting), "SET search_path TO 'a\\b', 'c'");
    }

    #[test]
    fn malformed_lists_are_refused() {
        for list in ["\"open", "a,,b", "a b", "a,"] {
            assert_eq!(split_list(list), None, "{list}");
        }
    }
}
