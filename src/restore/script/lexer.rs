//! Where a statement ends, by the rules of psql: at a semicolon that is not in quotes, a comment, parentheses
//! or the body of an SQL-standard routine. psql's manual, section "Entering SQL Commands"; PostgreSQL's
//! manual, section 4.1 "Lexical Structure".
//!
//! The text may come in any pieces: a scan goes on where the last one stopped.

use crate::protocol::encoding::Characters;

/// What decides how text is read; a script changes it by SET.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Whether backslashes in plain literals stand for themselves.
    pub(super) standard_strings: bool,
    /// The script's encoding, as far as it matters.
    pub(super) characters: Characters,
}

/// A scan over the text of one statement.
#[derive(Debug)]
pub(super) struct Lexer {
    settings: Settings,
    state: State,
    /// Where the scan goes on.
    at: usize,
    /// Open parentheses.
    depth: u32,
    /// Open BEGIN and CASE in the body of a routine.
    blocks: u32,
    words: Words,
}

#[derive(Debug)]
enum State {
    Between,
    /// In a literal.
    Literal {
        /// Whether a backslash escapes what follows it.
        escapes: bool,
    },
    /// After a literal with escapes, which another one may continue on a further line.
    AfterLiteral {
        newline: bool,
    },
    /// In a quoted name.
    Name,
    /// In a literal between two of these.
    Dollar(Vec<u8>),
    LineComment,
    /// In so many comments.
    Comment(u32),
}

/// Where a scan stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The statement's length.
    End(usize),
    /// Where a backslash stands outside of everything that could hold one.
    Backslash(usize),
    /// More text is needed.
    Starved,
}

/// The words of a statement that matter.
#[derive(Debug, Default)]
struct Words {
    first: Vec<Vec<u8>>,
    /// Whether the last word outside of parentheses was FROM.
    after_from: bool,
    reads_rows: bool,
}

impl Words {
    fn see(&mut self, word: &[u8], depth: u32) {
        if depth == 0 {
            let is_copy = self.first.first().is_some_and(|first| first == b"copy");
            self.reads_rows |= is_copy && self.after_from && word.eq_ignore_ascii_case(b"stdin");
            self.after_from = word.eq_ignore_ascii_case(b"from");
        }
        if self.first.len() < 4 {
            self.first.push(word.to_ascii_lowercase());
        }
    }

    /// Whether the statement creates a function or procedure, which may have a body of statements.
    fn create_routine(&self) -> bool {
        let mut words = self.first.iter().map(Vec::as_slice);
        if words.next() != Some(b"create") {
            return false;
        }
        let kind = match words.next() {
            Some(b"or") if words.next() == Some(b"replace") => words.next(),
            word => word,
        };
        matches!(kind, Some(b"function" | b"procedure"))
    }
}

fn begins_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn continues_word(byte: u8) -> bool {
    begins_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

impl Lexer {
    pub(super) fn new(settings: Settings) -> Self {
        Lexer { settings, state: State::Between, at: 0, depth: 0, blocks: 0, words: Words::default() }
    }

    /// Whether the statement that was scanned is a `COPY … FROM STDIN`.
    pub(super) fn reads_rows(&self) -> bool {
        self.words.reads_rows
    }

    /// Goes on with the statement that `text` begins with; `is_all` says that no more will come.
    pub(super) fn scan(&mut self, text: &[u8], is_all: bool) -> Stop {
        while let Some(rest) = text.get(self.at..).filter(|rest| !rest.is_empty()) {
            let step = match &mut self.state {
                State::Between => match self.between(rest, is_all) {
                    Ok(step) => step,
                    Err(stop) => return stop,
                },
                State::Literal { escapes } => {
                    let escapes = *escapes;
                    self.literal(rest, escapes, is_all)
                }
                State::AfterLiteral { newline } => match rest[0] {
                    b'\n' | b'\r' => {
                        *newline = true;
                        1
                    }
                    b' ' | b'\t' | 0x0b | 0x0c => 1,
                    b'\'' if *newline => {
                        self.state = State::Literal { escapes: true };
                        1
                    }
                    _ => {
                        self.state = State::Between;
                        continue;
                    }
                },
                State::Name => self.until(rest, b'"'),
                State::LineComment => self.until(rest, b'\n'),
                State::Dollar(tag) => match memchr::memmem::find(rest, tag) {
                    Some(end) => {
                        let step = end + tag.len();
                        self.state = State::Between;
                        step
                    }
                    // The tag may have begun at the end of the text.
                    None => (rest.len() + 1).saturating_sub(tag.len()),
                },
                State::Comment(_) => self.comment(rest, is_all),
            };
            if step == 0 {
                return Stop::Starved;
            }
            self.at += step;
        }
        Stop::Starved
    }

    /// One token outside of everything; returns its length, and 0 if more text is needed to tell.
    fn between(&mut self, rest: &[u8], is_all: bool) -> Result<usize, Stop> {
        let next = rest.get(1).copied();
        if next.is_none() && !is_all {
            // A semicolon alone needs no look ahead.
            if rest[0] != b';' {
                return Ok(0);
            }
        }
        Ok(match (rest[0], next) {
            (b';', _) if self.depth == 0 && self.blocks == 0 => return Err(Stop::End(self.at + 1)),
            (b'\\', _) => return Err(Stop::Backslash(self.at)),
            (b'\'', _) => self.enter(State::Literal { escapes: !self.settings.standard_strings }, 1),
            (b'e' | b'E', Some(b'\'')) => self.enter(State::Literal { escapes: true }, 2),
            (b'b' | b'B' | b'x' | b'X', Some(b'\'')) => self.enter(State::Literal { escapes: false }, 2),
            (b'u' | b'U', Some(b'&')) => match rest.get(2) {
                Some(b'\'') => self.enter(State::Literal { escapes: false }, 3),
                None if !is_all => 0,
                _ => self.word(rest, is_all),
            },
            (b'"', _) => self.enter(State::Name, 1),
            (b'-', Some(b'-')) => self.enter(State::LineComment, 2),
            (b'/', Some(b'*')) => self.enter(State::Comment(1), 2),
            (b'(', _) => {
                self.depth += 1;
                1
            }
            (b')', _) => {
                self.depth = self.depth.saturating_sub(1);
                1
            }
            (b'$', Some(b'0'..=b'9')) => 2,
            (b'$', _) => self.dollar(rest, is_all),
            (byte, _) if begins_word(byte) => self.word(rest, is_all),
            (b'0'..=b'9', _) => {
                let length = rest.iter().take_while(|b| continues_word(**b) && **b != b'$').count();
                if length == rest.len() && !is_all { 0 } else { length }
            }
            _ => 1,
        })
    }

    fn enter(&mut self, state: State, length: usize) -> usize {
        self.state = state;
        length
    }

    /// An unquoted word.
    fn word(&mut self, rest: &[u8], is_all: bool) -> usize {
        let mut length = 0;
        while let Some(byte) = rest.get(length).filter(|byte| continues_word(**byte)) {
            length += self.settings.characters.length(*byte, rest.get(length + 1).copied());
        }
        if length >= rest.len() && !is_all {
            return 0;
        }
        let word = &rest[..length.min(rest.len())];
        self.words.see(word, self.depth);
        if self.depth == 0 && self.words.create_routine() {
            if word.eq_ignore_ascii_case(b"begin") || self.blocks > 0 && word.eq_ignore_ascii_case(b"case") {
                self.blocks += 1;
            } else if word.eq_ignore_ascii_case(b"end") {
                self.blocks = self.blocks.saturating_sub(1);
            }
        }
        length
    }

    /// What may be the beginning of a literal between dollars.
    fn dollar(&mut self, rest: &[u8], is_all: bool) -> usize {
        let tag = rest[1..].iter().take_while(|byte| continues_word(**byte) && **byte != b'$').count();
        match rest.get(1 + tag) {
            Some(b'$') => self.enter(State::Dollar(rest[..tag + 2].to_vec()), tag + 2),
            None if !is_all => 0,
            _ => 1,
        }
    }

    fn literal(&mut self, rest: &[u8], escapes: bool, is_all: bool) -> usize {
        let quote = match self.settings.characters {
            Characters::Safe if escapes => memchr::memchr2(b'\'', b'\\', rest),
            Characters::Safe => memchr::memchr(b'\'', rest),
            characters => {
                let mut at = 0;
                loop {
                    match rest.get(at) {
                        None => break None,
                        Some(b'\'') => break Some(at),
                        Some(b'\\') if escapes => break Some(at),
                        Some(byte) => at += characters.length(*byte, rest.get(at + 1).copied()),
                    }
                }
            }
        };
        let Some(quote) = quote else {
            // A character of several bytes may be cut by the text's end.
            return if self.settings.characters == Characters::Safe || is_all {
                rest.len()
            } else {
                self.whole(rest)
            };
        };
        if quote > 0 {
            return quote;
        }
        match (rest[0], rest.get(1)) {
            (_, None) if !is_all => 0,
            (b'\\', Some(escaped)) => 1 + self.settings.characters.length(*escaped, rest.get(2).copied()),
            (b'\'', Some(b'\'')) => 2,
            (b'\\', None) => 1,
            _ if escapes => self.enter(State::AfterLiteral { newline: false }, 1),
            _ => self.enter(State::Between, 1),
        }
    }

    /// How much of the text is whole characters.
    fn whole(&self, rest: &[u8]) -> usize {
        let mut at = 0;
        while let Some(byte) = rest.get(at) {
            let next = at + self.settings.characters.length(*byte, rest.get(at + 1).copied());
            if next > rest.len() || next == rest.len() && *byte >= 0x80 && next == at + 1 {
                break;
            }
            at = next;
        }
        at
    }

    /// Up to and with this byte. In a name a doubled quote is two names side by side, which comes to the same.
    fn until(&mut self, rest: &[u8], end: u8) -> usize {
        match memchr::memchr(end, rest) {
            Some(at) => self.enter(State::Between, at + 1),
            None => rest.len(),
        }
    }

    /// Comments nest.
    fn comment(&mut self, rest: &[u8], is_all: bool) -> usize {
        let State::Comment(depth) = &mut self.state else { return rest.len() };
        let Some(at) = memchr::memchr2(b'*', b'/', rest) else { return rest.len() };
        match (rest[at], rest.get(at + 1)) {
            (_, None) if !is_all => at,
            (b'*', Some(b'/')) => {
                *depth -= 1;
                if *depth == 0 {
                    self.state = State::Between;
                }
                at + 2
            }
            (b'/', Some(b'*')) => {
                *depth += 1;
                at + 2
            }
            _ => at + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(standard_strings: bool, encoding: &str) -> Settings {
        Settings { standard_strings, characters: Characters::of(encoding) }
    }

    /// Scans with the text growing by `step` bytes.
    fn scan(text: &[u8], settings: Settings, step: usize) -> Stop {
        let mut lexer = Lexer::new(settings);
        for end in (step..text.len()).step_by(step) {
            let stop = lexer.scan(&text[..end], false);
            if stop != Stop::Starved {
                return stop;
            }
        }
        lexer.scan(text, true)
    }

    #[track_caller]
    fn ends(text: &[u8], settings: Settings) {
        // What follows must not matter.
        let more = [text, b" x';"].concat();
        for step in 1..=more.len() {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(scan(&more, settings, step), Stop::End(text.len()), "{shown} in steps of {step}");
        }
    }

    #[test]
    fn a_statement_ends_at_its_own_semicolon() {
        let standard = settings(true, "UTF8");
        for text in [
            &b";"[..],
            b"SELECT 1;",
            b"SELECT ';', 'it''s;', \"a;\"\"b;\", (1;2);",
            b"SELECT 'back\\';",
            b"SELECT E'it\\'s;', e'\\\\';",
            b"SELECT E'a'\n  'it\\'s;';",
            b"SELECT E'a' 'b\\';",
            b"SELECT te'x\\', B'1\\', x'\\', N'\\', U&'\\', U&\"\\;\";",
            b"SELECT $$;'$$, $a$;$$;$b$;$a$, $1;",
            b"SELECT a$b$c; ",
            b"SELECT 1 -- no; 'end\n, 2;",
            b"SELECT /* ; /* ' */ ; */ 1;",
            b"SELECT 1 / 2 * 3 - -4;",
            b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
            b"create or replace procedure p(a int) begin atomic select 1; end;",
            "SELECT 'ä;', ä, \"ö;\";".as_bytes(),
        ] {
            let text = text.strip_suffix(b" ").unwrap_or(text);
            ends(text, standard);
        }
        // Only the bodies of routines hold statements.
        ends(b"BEGIN;", standard);
        ends(b"CREATE TABLE begin (function int);", standard);
    }

    #[test]
    fn literals_follow_the_settings() {
        ends(b"SELECT 'it\\'s;';", settings(false, "UTF8"));
        ends(b"SELECT B'\\', 'x';", settings(false, "UTF8"));
        // The second byte of these characters is a backslash or a quote to whoever does not know them.
        ends(b"SELECT E'\x83\x5c', '\x83\x5c';", settings(true, "SJIS"));
        ends(b"SELECT '\x95\x5c';", settings(false, "BIG5"));
        ends(b"SELECT E'\x81\x30\x81\x30\\'\x95\x5c';", settings(true, "GB18030"));
    }

    #[test]
    fn rows_follow_a_copy_from_stdin_only() {
        let reads_rows = |text: &[u8]| {
            let mut lexer = Lexer::new(settings(true, "UTF8"));
            assert_eq!(lexer.scan(text, true), Stop::End(text.len()));
            lexer.reads_rows()
        };
        assert!(reads_rows(b"COPY public.t (a, b) FROM stdin;"));
        assert!(reads_rows(b"copy \"from\" from\nSTDIN with (format csv);"));
        for other in [
            &b"COPY t TO stdout;"[..],
            b"COPY t (\"from\", stdin) FROM '/stdin';",
            b"COPY (SELECT 1 FROM stdin) TO stdout;",
            b"SELECT 1 FROM stdin;",
        ] {
            assert!(!reads_rows(other), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_backslash_and_an_unfinished_statement_are_told() {
        let standard = settings(true, "UTF8");
        assert_eq!(scan(b"SELECT 1 \\g", standard, 3), Stop::Backslash(9));
        for text in [&b"SELECT 1"[..], b"SELECT 'x;", b"SELECT $a$;$b$", b"/* ;", b"SELECT (1;", b"E", b"U&"]
        {
            assert_eq!(scan(text, standard, 2), Stop::Starved, "{}", String::from_utf8_lossy(text));
        }
    }
}
