//! Where a statement ends, by the rules of psql: at a semicolon that is not in quotes, a comment, parentheses
//! or the body of an SQL-standard routine. psql's manual, section "Entering SQL Commands"; PostgreSQL's
//! manual, section 4.1 "Lexical Structure".
//!
//! The text comes in any pieces, each of which is looked at once: what a scan has to know of earlier ones is in its
//! state. So its time is that of reading the text, whatever stands there, and its memory a few words.

use crate::protocol::encoding::{Characters, TrailMask};

/// What decides how text is read. A script changes it by SET.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Whether backslashes in plain literals stand for themselves.
    pub(super) standard_strings: bool,
    /// The script's encoding, as far as it matters.
    pub(super) characters: Characters,
}

/// A scan over the text of one statement, or of one comment between statements.
#[derive(Debug)]
pub(super) struct Lexer {
    settings: Settings,
    mask: TrailMask,
    state: LexerState,
    /// Open parentheses.
    depth: u64,
    /// Open BEGIN and CASE in the body of a routine.
    blocks: u64,
    /// Open comments.
    comments: u64,
    is_comment: bool,
    /// How the present word begins, in lower case.
    word: Vec<u8>,
    /// What ends the present literal between dollars, or may become that.
    tag: Vec<u8>,
    words: Words,
}

#[derive(Clone, Copy, Debug)]
enum LexerState {
    Between,
    /// After a letter that may belong to the literal behind it, in lower case; `&` is that of `U&`.
    Prefix(u8),
    Dash,
    Slash,
    Word,
    Number,
    Parameter,
    /// In what may become a tag.
    Tag,
    /// In a literal; whether a backslash escapes what follows it.
    Literal {
        escapes: bool,
    },
    /// After a backslash that escapes.
    Escape,
    /// After a quote that may be half of a doubled one.
    Quote {
        escapes: bool,
    },
    /// After a literal, which goes on at a quote in a further line.
    AfterLiteral {
        escapes: bool,
        newline: bool,
        gap: Gap,
    },
    /// In a quoted name.
    Name,
    /// In a literal between dollars, at whose end so much of the tag stands.
    Dollar(usize),
    LineComment,
    Comment,
    CommentStar,
    CommentSlash,
}

/// What stands between two parts of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Blank,
    Dash,
    Comment,
}

/// Where a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// After the statement, or the comment.
    End,
    /// Before a backslash outside of everything that could hold one.
    Backslash,
    /// More text is needed.
    Starved,
}

/// How much of a word is looked at: more than the longest that matters.
const WORD: usize = 16;

/// How much text is masked at first, of which a statement may be only the beginning; each time twice as much, so that
/// short statements are not masked many times over.
const FIRST_BLOCK: usize = 64;

/// How much text is masked at a time, at most.
const BLOCK: usize = 4096;

/// The words of a statement that matter.
#[derive(Debug, Default)]
struct Words {
    first: Vec<Vec<u8>>,
    /// Whether the last word outside of parentheses was FROM, or TO.
    after_from: bool,
    after_to: bool,
    reads_rows: bool,
    writes_rows: bool,
}

impl Words {
    fn see(&mut self, word: &[u8], depth: u64) {
        if depth == 0 {
            let is_copy = self.first.first().is_some_and(|first| first == b"copy");
            self.reads_rows |= is_copy && self.after_from && word == b"stdin";
            self.writes_rows |= is_copy && self.after_to && word == b"stdout";
            self.after_from = word == b"from";
            self.after_to = word == b"to";
        }
        if self.first.len() < 4 {
            self.first.push(word.to_vec());
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
    /// A scan that begins with a statement.
    pub(super) fn new(settings: Settings) -> Self {
        Lexer {
            settings,
            mask: TrailMask::new(settings.characters),
            state: LexerState::Between,
            depth: 0,
            blocks: 0,
            comments: 0,
            is_comment: false,
            word: Vec::new(),
            tag: Vec::new(),
            words: Words::default(),
        }
    }

    /// A scan that begins with a comment, and ends with it.
    pub(super) fn comment(settings: Settings) -> Self {
        Lexer { is_comment: true, ..Lexer::new(settings) }
    }

    /// Whether the statement that was scanned is a `COPY … FROM STDIN`.
    pub(super) fn reads_rows(&self) -> bool {
        self.words.reads_rows
    }

    /// Whether the statement that was scanned is a `COPY … TO STDOUT`.
    pub(super) fn writes_rows(&self) -> bool {
        self.words.writes_rows
    }

    /// Goes on with the next piece of text; gives how much of it belongs to what is scanned.
    pub(super) fn scan(&mut self, piece: &[u8]) -> (usize, Stop) {
        if self.settings.characters == Characters::Safe {
            return self.scan_masked(piece);
        }
        let mut done = 0;
        let (mut masked, mut size, mut rest) = (Vec::new(), FIRST_BLOCK, piece);
        while !rest.is_empty() {
            let block;
            (block, rest) = rest.split_at(size.min(rest.len()));
            size = (size * 2).min(BLOCK);
            masked.clear();
            self.mask.apply(block, &mut masked);
            let (length, stop) = self.scan_masked(&masked);
            done += length;
            if stop != Stop::Starved {
                return (done, stop);
            }
        }
        (done, Stop::Starved)
    }

    /// [`Self::scan`] of text in which a byte below 80 is always a character of its own.
    fn scan_masked(&mut self, piece: &[u8]) -> (usize, Stop) {
        let mut at = 0;
        while let Some((byte, rest)) = piece.get(at..).and_then(|rest| Some((*rest.first()?, rest))) {
            match self.step(byte, rest) {
                Ok(length) => at += length,
                Err(Stop::End) => return (at + 1, Stop::End),
                Err(stop) => return (at, stop),
            }
        }
        (piece.len(), Stop::Starved)
    }

    fn enter(&mut self, state: LexerState, length: usize) -> usize {
        self.state = state;
        length
    }

    /// Takes some of the text, which begins with that byte, or nothing but on to another state.
    fn step(&mut self, byte: u8, rest: &[u8]) -> Result<usize, Stop> {
        Ok(match self.state {
            LexerState::Between => return self.between(byte),
            LexerState::Prefix(prefix) => self.prefix(prefix, byte),
            LexerState::Dash if byte == b'-' => self.enter(LexerState::LineComment, 1),
            LexerState::Slash if byte == b'*' => {
                self.comments += 1;
                self.enter(LexerState::Comment, 1)
            }
            LexerState::Slash if byte == b'/' => 1,
            LexerState::Dash | LexerState::Slash => self.enter(LexerState::Between, 0),
            LexerState::Word => {
                let length = rest.iter().position(|byte| !continues_word(*byte)).unwrap_or(rest.len());
                let room = WORD - self.word.len().min(WORD);
                self.word.extend(rest.iter().take(length.min(room)).map(u8::to_ascii_lowercase));
                if length == 0 {
                    self.end_word();
                }
                length
            }
            LexerState::Number if byte.is_ascii_digit() => 1,
            // As the server sees it, one letter more is junk behind the number.
            LexerState::Number if begins_word(byte) => self.enter(LexerState::Between, 1),
            LexerState::Parameter if byte.is_ascii_digit() => 1,
            LexerState::Number | LexerState::Parameter => self.enter(LexerState::Between, 0),
            LexerState::Tag => self.tag(byte),
            LexerState::Literal { escapes } => {
                let end = match escapes {
                    true => memchr::memchr2(b'\'', b'\\', rest),
                    false => memchr::memchr(b'\'', rest),
                };
                match end {
                    Some(0) if byte == b'\\' => self.enter(LexerState::Escape, 1),
                    Some(0) => self.enter(LexerState::Quote { escapes }, 1),
                    Some(end) => end,
                    None => rest.len(),
                }
            }
            LexerState::Escape => self.enter(LexerState::Literal { escapes: true }, 1),
            LexerState::Quote { escapes } if byte == b'\'' => self.enter(LexerState::Literal { escapes }, 1),
            LexerState::Quote { escapes } => {
                self.enter(LexerState::AfterLiteral { escapes, newline: false, gap: Gap::Blank }, 0)
            }
            LexerState::AfterLiteral { escapes, newline, gap } => {
                self.after_literal(escapes, newline, gap, byte)
            }
            // In a name a doubled quote is two names side by side, which comes to the same.
            LexerState::Name => self.until(rest, b'"'),
            LexerState::Dollar(0) if byte != b'$' => memchr::memchr(b'$', rest).unwrap_or(rest.len()),
            LexerState::Dollar(matched) => self.dollar(matched, byte),
            LexerState::LineComment => self.until(rest, b'\n'),
            LexerState::Comment => match memchr::memchr2(b'*', b'/', rest) {
                Some(0) if byte == b'*' => self.enter(LexerState::CommentStar, 1),
                Some(0) => self.enter(LexerState::CommentSlash, 1),
                Some(end) => end,
                None => rest.len(),
            },
            LexerState::CommentStar if byte == b'/' => {
                self.comments = self.comments.saturating_sub(1);
                match (self.comments, self.is_comment) {
                    (0, true) => return Err(Stop::End),
                    (0, false) => self.enter(LexerState::Between, 1),
                    _ => self.enter(LexerState::Comment, 1),
                }
            }
            LexerState::CommentSlash if byte == b'*' => {
                self.comments += 1;
                self.enter(LexerState::Comment, 1)
            }
            // Comments nest.
            LexerState::CommentStar | LexerState::CommentSlash => self.enter(LexerState::Comment, 0),
        })
    }

    /// One byte outside of everything.
    fn between(&mut self, byte: u8) -> Result<usize, Stop> {
        Ok(match byte {
            b';' if self.depth == 0 && self.blocks == 0 => return Err(Stop::End),
            b'\\' => return Err(Stop::Backslash),
            b'\'' => self.enter(LexerState::Literal { escapes: !self.settings.standard_strings }, 1),
            b'e' | b'E' | b'b' | b'B' | b'x' | b'X' | b'u' | b'U' => {
                self.enter(LexerState::Prefix(byte.to_ascii_lowercase()), 1)
            }
            b'"' => self.enter(LexerState::Name, 1),
            b'-' => self.enter(LexerState::Dash, 1),
            b'/' => self.enter(LexerState::Slash, 1),
            b'(' => {
                self.depth += 1;
                1
            }
            b')' => {
                self.depth = self.depth.saturating_sub(1);
                1
            }
            b'$' => {
                self.tag.clear();
                self.tag.push(b'$');
                self.enter(LexerState::Tag, 1)
            }
            b'0'..=b'9' => self.enter(LexerState::Number, 1),
            byte if begins_word(byte) => {
                self.word.clear();
                self.enter(LexerState::Word, 0)
            }
            _ => 1,
        })
    }

    fn prefix(&mut self, prefix: u8, byte: u8) -> usize {
        match (prefix, byte) {
            (b'e', b'\'') => self.enter(LexerState::Literal { escapes: true }, 1),
            (_, b'\'') if prefix != b'u' => self.enter(LexerState::Literal { escapes: false }, 1),
            (b'u', b'&') => self.enter(LexerState::Prefix(b'&'), 1),
            (b'&', b'"') => self.enter(LexerState::Name, 1),
            (b'&', _) => {
                self.word = b"u".to_vec();
                self.end_word();
                0
            }
            _ => self.word_of(prefix),
        }
    }

    /// A letter that was no prefix begins a word.
    fn word_of(&mut self, letter: u8) -> usize {
        self.word.clear();
        self.word.push(letter);
        self.enter(LexerState::Word, 0)
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        self.words.see(&word, self.depth);
        if self.depth == 0 && self.words.create_routine() {
            if word == b"begin" || self.blocks > 0 && word == b"case" {
                self.blocks += 1;
            } else if word == b"end" {
                self.blocks = self.blocks.saturating_sub(1);
            }
        }
        self.word = word;
        self.state = LexerState::Between;
    }

    /// In what may be the beginning of a literal between dollars.
    fn tag(&mut self, byte: u8) -> usize {
        let is_first = self.tag.len() == 1;
        match byte {
            b'$' => {
                self.tag.push(b'$');
                self.enter(LexerState::Dollar(0), 1)
            }
            b'0'..=b'9' if is_first => self.enter(LexerState::Parameter, 1),
            byte if continues_word(byte) => {
                self.tag.push(byte);
                1
            }
            // A dollar, and a word.
            _ => {
                self.state = LexerState::Between;
                if !is_first {
                    let letters = self.tag.iter().skip(1).take(WORD);
                    self.word = letters.map(u8::to_ascii_lowercase).collect();
                    self.end_word();
                }
                0
            }
        }
    }

    fn after_literal(&mut self, escapes: bool, newline: bool, gap: Gap, byte: u8) -> usize {
        let (newline, gap) = match (gap, byte) {
            (Gap::Blank | Gap::Comment, b'\n' | b'\r') => (true, Gap::Blank),
            (Gap::Comment, _) => (newline, Gap::Comment),
            (Gap::Blank, b' ' | b'\t' | 0x0b | 0x0c) => (newline, Gap::Blank),
            (Gap::Blank, b'\'') if newline => return self.enter(LexerState::Literal { escapes }, 1),
            (Gap::Blank, b'-') => (newline, Gap::Dash),
            (Gap::Dash, b'-') => (newline, Gap::Comment),
            _ => return self.enter(LexerState::Between, 0),
        };
        self.enter(LexerState::AfterLiteral { escapes, newline, gap }, 1)
    }

    /// One byte of a literal between dollars, after so much of its tag.
    fn dollar(&mut self, matched: usize, byte: u8) -> usize {
        if self.tag.get(matched) != Some(&byte) {
            // A tag begins and ends with a dollar, and has no other.
            return self.enter(LexerState::Dollar(usize::from(byte == b'$')), 1);
        }
        match matched + 1 == self.tag.len() {
            true => self.enter(LexerState::Between, 1),
            false => self.enter(LexerState::Dollar(matched + 1), 1),
        }
    }

    /// Up to and with this byte.
    fn until(&mut self, rest: &[u8], end: u8) -> usize {
        match memchr::memchr(end, rest) {
            Some(at) => self.enter(LexerState::Between, at + 1),
            None => rest.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(standard_strings: bool, encoding: &str) -> Settings {
        Settings { standard_strings, characters: Characters::of(encoding) }
    }

    /// Scans in pieces of `step` bytes; gives where that stopped.
    fn scan(text: &[u8], settings: Settings, step: usize) -> (usize, Stop) {
        let mut lexer = Lexer::new(settings);
        let mut at = 0;
        for piece in text.chunks(step) {
            let (length, stop) = lexer.scan(piece);
            at += length;
            if stop != Stop::Starved {
                return (at, stop);
            }
        }
        (at, Stop::Starved)
    }

    #[track_caller]
    fn ends(text: &[u8], settings: Settings) {
        // What follows must not matter.
        let more = [text, b" x';"].concat();
        for step in 1..=more.len() {
            let shown = String::from_utf8_lossy(text);
            assert_eq!(scan(&more, settings, step), (text.len(), Stop::End), "{shown} in steps of {step}");
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
            b"SELECT 1 /*/ ; */ //* ; **/, 2 */* ; */ 3;",
            b"SELECT $1a$b$, 1a$b$;$b$, $a-$b$c;$b$, $a$ $a$$a$;$$a$;",
            b"SELECT E'a' -- b'\n -- c;\n 'it\\'s;', E'a' - 'b\\';",
            b"SELECT u, U&1, u 'b\\', ue'\\', eb'\\';",
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
        ends(b"SELECT E'\x8f\xa1\x5c';", settings(true, "JOHAB"));
        // What stands behind the first byte belongs to the character, in psql and in the server, whatever it is.
        ends(b"SELECT '\x83';', \"\x83\";\", $$\x83$$;$$ /* \x83*/ ; */;", settings(true, "SJIS"));
        // A line's end is none of it.
        ends(b"SELECT -- \x83\n;", settings(true, "SJIS"));
        ends(b"SELECT B'\\'\n'\\';", settings(false, "UTF8"));
    }

    #[test]
    fn rows_follow_a_copy_from_stdin_only() {
        let reads_rows = |text: &[u8]| {
            let mut lexer = Lexer::new(settings(true, "UTF8"));
            assert_eq!(lexer.scan(text), (text.len(), Stop::End));
            (lexer.reads_rows(), lexer.writes_rows())
        };
        assert_eq!(reads_rows(b"COPY public.t (a, b) FROM stdin;"), (true, false));
        assert_eq!(reads_rows(b"copy \"from\" from\nSTDIN with (format csv);"), (true, false));
        assert_eq!(reads_rows(b"COPY t TO stdout;"), (false, true));
        assert_eq!(reads_rows(b"COPY (SELECT 1 FROM stdin) TO stdout;"), (false, true));
        for other in [
            &b"COPY t (\"from\", stdin) FROM '/stdin';"[..],
            b"COPY t TO '/tmp/stdout';",
            b"SELECT 1 FROM stdin;",
        ] {
            assert_eq!(reads_rows(other), (false, false), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_backslash_and_an_unfinished_statement_are_told() {
        let standard = settings(true, "UTF8");
        assert_eq!(scan(b"SELECT 1 \\g", standard, 3), (9, Stop::Backslash));
        for text in [&b"SELECT 1"[..], b"SELECT 'x;", b"SELECT $a$;$b$", b"/* ;", b"SELECT (1;", b"E", b"U&"]
        {
            assert_eq!(scan(text, standard, 2).1, Stop::Starved, "{}", String::from_utf8_lossy(text));
        }
    }
}
