//! Quoting: the only place where identifiers, qualified names and literals are quoted, in `Display`.
//!
//! All structs hold raw names; [`Quoting`] has the server's keywords and formats the names. PostgreSQL
//! manual, chapter 4.1 (Lexical Structure).

use std::collections::HashSet;
use std::fmt;

use super::error::Result;
use super::query::{CatalogQuery, from_bytes, to_bytes};
use crate::protocol::Session;
use crate::protocol::encoding::Characters;
use crate::protocol::version::PG13;

const KEYWORDS: CatalogQuery = CatalogQuery {
    what: "keywords",
    since: PG13,
    text: "
SELECT k.word,
       pg_catalog.current_setting('standard_conforming_strings') = 'on' AS standard_strings,
       pg_catalog.current_setting('quote_all_identifiers') = 'on' AS quotes_all,
       pg_catalog.current_setting('client_encoding') AS client_encoding
  FROM pg_catalog.pg_get_keywords() k
 WHERE k.catcode <> 'U'
 ORDER BY k.word",
    gates: &[],
};

/// The rules for quoting names and strings on one server.
#[derive(Clone, Debug, Default)]
pub struct Quoting {
    /// Keywords of the server that must be quoted as identifiers: `pg_get_keywords()` without category `U`.
    keywords: HashSet<String>,
    /// `--quote-all-identifiers`.
    all: bool,
    /// Whether the server's own functions quote all identifiers (`quote_all_identifiers`), which can be set
    /// for a database or a role.
    server_all: bool,
    /// Whether `standard_conforming_strings` is off, so that backslashes are doubled.
    escape_backslashes: bool,
    /// Where a backslash byte is part of a multibyte character and must not be doubled.
    characters: Characters,
}

impl Quoting {
    /// Creates the rules from the server's reserved keywords and settings.
    pub fn new(keywords: HashSet<String>, all: bool, standard_strings: bool) -> Self {
        let characters = Characters::default();
        Quoting { keywords, all, server_all: all, escape_backslashes: !standard_strings, characters }
    }

    /// Returns the rules for text in this encoding. Only encodings that no database can have contain a
    /// backslash byte inside a multibyte character.
    pub fn in_encoding(self, encoding: &str) -> Self {
        Quoting { characters: Characters::of(encoding), ..self }
    }

    /// Reads the keywords and settings from the server.
    pub(super) async fn of_server(session: &Session, all: bool) -> Result<Self> {
        let mut keywords = HashSet::new();
        let (mut standard_strings, mut server_all, mut encoding) = (true, all, String::new());
        for row in KEYWORDS.rows(session, &[]).await? {
            keywords.insert(row.text("word")?);
            standard_strings = row.bool("standard_strings")?;
            server_all = row.bool("quotes_all")?;
            encoding = row.text("client_encoding")?;
        }
        Ok(Quoting { server_all, ..Quoting::new(keywords, all, standard_strings).in_encoding(&encoding) })
    }

    /// Whether backslashes in literals are ordinary characters (`standard_conforming_strings = on`).
    pub fn standard_strings(&self) -> bool {
        !self.escape_backslashes
    }

    /// Appends text, in the bytes that the server sent, as a string literal.
    pub fn put_literal(&self, text: &[u8], out: &mut Vec<u8>) {
        out.reserve(text.len() + 2);
        out.push(b'\'');
        if self.escape_backslashes {
            let mut rest = text;
            while let Some(at) = self.characters.find_backslash(rest) {
                let (plain, tail) = rest.split_at(at);
                put_doubling_quotes(plain, out);
                out.extend_from_slice(b"\\\\");
                rest = tail.get(1..).unwrap_or_default();
            }
            put_doubling_quotes(rest, out);
        } else {
            put_doubling_quotes(text, out);
        }
        out.push(b'\'');
    }

    /// An identifier, quoted if necessary.
    pub fn id<'a>(&self, name: &'a str) -> Ident<'a> {
        Ident { name, quoted: self.all || self.needs_quotes(name) }
    }

    /// An identifier as the server's own functions write it.
    pub fn server_id<'a>(&self, name: &'a str) -> Ident<'a> {
        Ident { name, quoted: self.server_all || self.needs_quotes(name) }
    }

    /// `namespace.name`, or the unqualified name without a namespace, as the server's own functions write it.
    pub fn server_qualified<'a>(&self, namespace: Option<&'a str>, name: &'a str) -> QualifiedName<'a> {
        QualifiedName { namespace: namespace.map(|n| self.server_id(n)), name: self.server_id(name) }
    }

    /// `namespace.name`, each part quoted if necessary.
    pub fn qualified<'a>(&self, namespace: &'a str, name: &'a str) -> QualifiedName<'a> {
        QualifiedName { namespace: Some(self.id(namespace)), name: self.id(name) }
    }

    /// `namespace.name`, or the unqualified name without a namespace.
    pub fn maybe_qualified<'a>(&self, namespace: Option<&'a str>, name: &'a str) -> QualifiedName<'a> {
        QualifiedName { namespace: namespace.map(|n| self.id(n)), name: self.id(name) }
    }

    /// A string literal.
    pub fn literal<'a>(&self, text: &'a str) -> Literal<'a> {
        Literal { text, escape_backslashes: self.escape_backslashes, characters: self.characters, prefix: "" }
    }

    /// A string literal that has the same value with any setting of `standard_conforming_strings`: `E'…'` if
    /// the text contains backslashes. pg_dump uses it in statements that may run before its own settings are
    /// made: the settings and labels of databases and roles.
    pub fn portable_literal<'a>(&self, text: &'a str) -> Literal<'a> {
        match text.contains('\\') {
            true => Literal { escape_backslashes: true, prefix: "E", ..self.literal(text) },
            false => self.literal(text),
        }
    }

    /// Formats storage parameters, each `name=value`, for the parentheses of `WITH (…)`. `prefix` precedes
    /// each name: empty, or `toast.`. Values that look like plain identifiers are not quoted.
    pub fn storage_options(&self, options: &[String], prefix: &str) -> String {
        let render = |option: &String| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let name = self.id(name);
            if self.id(value).quoted {
                format!("{prefix}{name}={}", self.literal(value))
            } else {
                format!("{prefix}{name}={value}")
            }
        };
        options.iter().map(render).collect::<Vec<_>>().join(", ")
    }

    fn needs_quotes(&self, name: &str) -> bool {
        let mut bytes = name.bytes();
        let plain = matches!(bytes.next(), Some(b'a'..=b'z' | b'_'))
            && bytes.all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        !plain || self.keywords.contains(name)
    }
}

/// See [`Quoting::id`].
#[derive(Clone, Copy, Debug)]
pub struct Ident<'a> {
    name: &'a str,
    quoted: bool,
}

impl fmt::Display for Ident<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.quoted { write!(f, "\"{}\"", self.name.replace('"', "\"\"")) } else { f.write_str(self.name) }
    }
}

/// See [`Quoting::qualified`].
#[derive(Clone, Copy, Debug)]
pub struct QualifiedName<'a> {
    namespace: Option<Ident<'a>>,
    name: Ident<'a>,
}

impl fmt::Display for QualifiedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = self.namespace {
            write!(f, "{namespace}.")?;
        }
        self.name.fmt(f)
    }
}

/// See [`Quoting::literal`].
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a> {
    text: &'a str,
    escape_backslashes: bool,
    characters: Characters,
    prefix: &'static str,
}

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix)?;
        if self.escape_backslashes && self.characters != Characters::Safe {
            let quoting =
                Quoting { characters: self.characters, escape_backslashes: true, ..Quoting::default() };
            let mut literal = Vec::new();
            quoting.put_literal(&to_bytes(self.text), &mut literal);
            return f.write_str(&from_bytes(&literal));
        }
        let doubled = self.text.replace('\'', "''");
        if self.escape_backslashes {
            write!(f, "'{}'", doubled.replace('\\', "\\\\"))
        } else {
            write!(f, "'{doubled}'")
        }
    }
}

/// Doubles single quotes. In no encoding is a quote's byte part of a multibyte character.
fn put_doubling_quotes(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\'', rest) {
        let (plain, tail) = rest.split_at(at + 1);
        out.extend_from_slice(plain);
        out.push(b'\'');
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// Returns a dollar-quoted string whose tag does not occur in the text: `$$…$$`, else `$_$…$_$`, `$_X$…$_X$`
/// and so on, as pg_dump chooses the tag. `prefix` is the start of the tag's name.
pub fn dollar_quoted(text: &str, prefix: Option<&str>) -> String {
    // The tag grows by these characters, cyclically, until it does not occur in the text. The search omits
    // the closing `$`, because the end of the text could form a tag together with the closing delimiter.
    const SUFFIXES: &[u8] = b"_XXXXXXX";
    let mut tag = format!("${}", prefix.unwrap_or(""));
    let mut next = 0;
    while text.contains(&tag) {
        tag.push(char::from(SUFFIXES[next]));
        next = (next + 1) % SUFFIXES.len();
    }
    tag.push('$');
    format!("{tag}{text}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoting() -> Quoting {
        Quoting::new(["select", "table"].map(String::from).into(), false, true)
    }

    #[test]
    fn identifiers_are_quoted_only_where_they_must_be() {
        let q = quoting();
        assert_eq!(q.id("abc_1").to_string(), "abc_1");
        assert_eq!(q.id("Abc").to_string(), "\"Abc\"");
        assert_eq!(q.id("1a").to_string(), "\"1a\"");
        assert_eq!(q.id("a\"b").to_string(), "\"a\"\"b\"");
        assert_eq!(q.id("select").to_string(), "\"select\"");
        assert_eq!(q.id("").to_string(), "\"\"");
        assert_eq!(q.id("é").to_string(), "\"é\"");
        assert_eq!(q.qualified("public", "Table").to_string(), "public.\"Table\"");
    }

    #[test]
    fn literals_double_quotes_and_only_old_strings_double_backslashes() {
        assert_eq!(quoting().literal("a'b\\").to_string(), "'a''b\\'");
        let old = Quoting::new(HashSet::new(), false, false);
        assert_eq!(old.literal("a'b\\").to_string(), "'a''b\\\\'");
        assert_eq!(quoting().portable_literal("a'b\\").to_string(), "E'a''b\\\\'");
        assert_eq!(quoting().portable_literal("a'b").to_string(), "'a''b'");
    }

    #[test]
    fn a_backslash_inside_of_a_character_is_not_doubled() {
        let sjis = Quoting::new(HashSet::new(), false, false).in_encoding("SJIS");
        let text = from_bytes(b"\x83\x5c\\'\xb1\\\x95\x5c");
        let want = from_bytes(b"'\x83\x5c\\\\''\xb1\\\\\x95\x5c'");
        assert_eq!(sjis.literal(&text).to_string(), want);
        assert_eq!(sjis.portable_literal(&text).to_string(), format!("E{want}"));
    }

    #[test]
    fn storage_options_quote_values_that_are_no_identifiers() {
        let options = ["fillfactor=70", "buffering=auto", "user_catalog_table"].map(str::to_owned);
        assert_eq!(
            quoting().storage_options(&options, "toast."),
            "toast.fillfactor='70', toast.buffering=auto, toast.user_catalog_table=''"
        );
    }

    #[test]
    fn a_dollar_quote_never_occurs_in_its_text() {
        assert_eq!(dollar_quoted("a", None), "$$a$$");
        assert_eq!(dollar_quoted("a$$b", None), "$_$a$$b$_$");
        assert_eq!(dollar_quoted("a$b$_c", None), "$_X$a$b$_c$_X$");
    }
}
