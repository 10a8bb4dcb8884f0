//! How errors and external text are printed: the chain of causes on one line, hints on separate lines, and no
//! control characters.
//!
//! - A message is lower case, has no final period, and names the object. Its cause is attached as `source`
//!   and never formatted into the message: [`chain`] joins the messages once, as `a: b: c` on one line.
//! - Advice is not part of a message. It follows on lines that begin with `HINT: `. The hint of a PostgreSQL
//!   server's message is moved to such a line, too.
//!
//! This module is on the ground floor: it uses no other module of the crate.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Write as _;

/// An error and its causes on one line, and the hints that they contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// `a: b: c`, without a line break.
    pub line: String,
    /// The text of each `HINT:` line, in order.
    pub hints: Vec<String>,
}

/// Walks an error's causes. A cause is skipped if the text so far already ends with it: some libraries print
/// their cause in their own message, others do not.
pub fn chain(error: &dyn StdError) -> Chain {
    let mut line = String::new();
    let mut hints: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = one_line(&error.to_string(), &mut hints);
        if !text.is_empty() && !line.ends_with(&text) {
            if !line.is_empty() {
                line.push_str(": ");
            }
            line.push_str(&text);
        }
        next = error.source();
    }
    Chain { line, hints }
}

/// Joins a message's lines with `; ` and moves its `HINT:` lines to `hints`.
fn one_line(message: &str, hints: &mut Vec<String>) -> String {
    let mut text = String::new();
    for line in message.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(hint) = line.strip_prefix("HINT:") {
            let hint = printable(hint.trim());
            if !hints.contains(&hint) {
                hints.push(hint);
            }
            continue;
        }
        if !text.is_empty() {
            text.push_str("; ");
        }
        text.push_str(line);
    }
    printable(&text)
}

/// The maximum length of one printed text, in bytes: a server's message, a store's message or an object's
/// name has no limit of its own.
const SHOWN: usize = 8 << 10;

/// Makes a text safe for a terminal or a log: replaces control characters (for example an escape sequence in
/// an object's name), line separators and bidirectional controls, and truncates the text to `SHOWN` bytes.
pub(crate) fn printable(text: &str) -> String {
    let (shown, rest) = text.split_at(text.floor_char_boundary(SHOWN));
    let mut shown: String = shown.chars().map(|c| if is_unprintable(c) { '\u{fffd}' } else { c }).collect();
    if !rest.is_empty() {
        let _ = write!(shown, "… ({} more bytes)", rest.len());
    }
    shown
}

/// Makes JSON safe for a terminal or a log: replaces each unprintable character by its JSON escape
/// (`\u202e`). JSON allows these characters only inside strings, so the values do not change. C0 characters
/// are left unchanged: in JSON they occur only as escapes or as white space between values.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    let is_escaped = |c: char| c > '\u{1f}' && is_unprintable(c);
    if !json.contains(is_escaped) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 64);
    for c in json.chars() {
        if !is_escaped(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character is a control character, a line separator or a bidirectional control.
pub(crate) fn is_unprintable(c: char) -> bool {
    // The encoding module maps single bytes to these private-use characters; printing them would restore the
    // control bytes.
    let stands_for_control = matches!(c, '\u{10FF00}'..='\u{10FF1F}' | '\u{10FF7F}');
    c.is_control()
        || stands_for_control
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A test error with a fixed text and its causes.
    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    pub(crate) struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    /// A chain of errors, outermost first.
    pub(crate) fn links(texts: &[&'static str]) -> Link {
        let mut texts = texts.iter().rev();
        let mut link = Link { text: texts.next().unwrap(), source: None };
        for text in texts {
            link = Link { text, source: Some(Box::new(link)) };
        }
        link
    }

    #[test]
    fn a_cause_that_its_effect_prints_itself_is_not_repeated() {
        assert_eq!(chain(&links(&["a: b", "b"])).line, "a: b");
        assert_eq!(chain(&links(&["same", "same", "c"])).line, "same: c");
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(chain(&links(&["table \u{1b}[2J"])).line, "table \u{fffd}[2J");
        // Bidirectional controls and line separators are replaced, too.
        assert_eq!(printable("a\u{202e}b\u{2066}c\u{2028}d\u{85}e"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}e");
        assert_eq!(printable("שלום, naïve €"), "שלום, naïve €");
    }

    #[test]
    fn json_keeps_its_values_and_shows_no_control_character() {
        let value = serde_json::json!({ "a\u{2066}": "b\u{202e}c\u{9b}d\u{7f}e\u{10ff1b}f\nü€😀" });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let escaped = escape_json(&json);
            assert!(!escaped.contains(|c| c != '\n' && is_unprintable(c)), "{escaped:?}");
            assert!(escaped.contains(r"b\u202ec\u009bd\u007fe\udbff\udf1bf\nü€😀"), "{escaped}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
        assert!(matches!(escape_json(r#"{"a":"ü"}"#), Cow::Borrowed(_)));
    }

    #[test]
    fn a_text_of_any_length_is_shown_to_a_limit() {
        let long = "ä".repeat(10 << 20);
        let error = chain(&std::io::Error::other(long));
        assert!(error.line.len() < SHOWN + 100, "{}", error.line.len());
        assert!(
            error.line.ends_with(&format!("… ({} more bytes)", (20 << 20) - SHOWN)),
            "{}",
            &error.line[SHOWN..]
        );
        let hint = chain(&std::io::Error::other(format!("x\nHINT: a\u{202e}{}", "y".repeat(1 << 20)))).hints;
        assert!(hint[0].starts_with("a\u{fffd}y") && hint[0].len() < SHOWN + 100);
    }
}
