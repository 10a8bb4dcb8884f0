//! Finds the end of a statement by psql's rules: a semicolon that is not in quotes, a comment, parentheses or the
//! body of an SQL-standard routine. See "Entering SQL Commands" in psql's manual, and section 4.1 "Lexical Structure"
//! of PostgreSQL's.
//!
//! The text is scanned in pieces of any size, each of them once: the state contains everything that later pieces need.
//! So the time is linear in the text, whatever it contains, and the memory is constant.

use super::class::{CLASSES, Class, begins_word, continues_word, digits, word_length};
use super::words::{SqlWord, Words};
use crate::protocol::encoding::{Characters, TrailMask};

/// The settings that affect how text is read. A script changes them with SET.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Whether backslashes in plain literals are ordinary characters.
    pub(super) standard_strings: bool,
    /// The script's encoding, as far as the lexer needs it.
    pub(super) characters: Characters,
}

/// A scan of one statement, or of one comment between statements.
#[derive(Debug)]
pub(super) struct Lexer {
    settings: Settings,
    mask: TrailMask,
    state: LexerState,
    /// Number of open parentheses.
    depth: u64,
    /// Number of open BEGIN and CASE in the body of a routine.
    blocks: u64,
    /// Number of open comments.
    comments: u64,
    is_comment: bool,
    /// The beginning of the current word, if it may continue in the next piece.
    word: Vec<u8>,
    /// The tag that ends the current dollar-quoted literal, or the part of it that was read.
    tag: Vec<u8>,
    words: Words,
    /// Of the statements that are joined with the current one by `\\;`.
    copies: u32,
    writes_rows: bool,
}

#[derive(Clone, Copy, Debug)]
enum LexerState {
    Between,
    /// After a letter, in lower case, that may be the prefix of a literal; `&` is that of `U&`.
    Prefix(u8),
    Dash,
    Slash,
    Word,
    Number,
    Parameter,
    /// In a possible tag.
    Tag,
    /// In a literal; `escapes` tells whether a backslash escapes the next character.
    Literal {
        escapes: bool,
    },
    /// After an escaping backslash.
    Escape,
    /// After a quote that may be the first half of a doubled one.
    Quote {
        escapes: bool,
    },
    /// After a literal, which continues at a quote in a later line.
    AfterLiteral {
        escapes: bool,
        newline: bool,
        gap: Gap,
    },
    /// In a quoted name.
    Name,
    /// In a dollar-quoted literal, after this many bytes of its closing tag.
    Dollar(usize),
    LineComment,
    Comment,
    CommentStar,
    CommentSlash,
}

/// The text between two parts of a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gap {
    Blank,
    Dash,
    Comment,
}

/// The place where a scan stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// After the statement, or the comment.
    End,
    /// Before a backslash outside of literals, names and comments.
    Backslash,
    /// More text is needed.
    Starved,
}

/// Number of bytes of a word that are examined: more than the longest keyword.
const WORD: usize = 16;

/// Number of bytes that are masked first. The number doubles each time, so that the text after a short statement is not
/// masked many times.
const FIRST_BLOCK: usize = 64;

/// Maximum number of bytes that are masked at a time.
const BLOCK: usize = 4096;

impl Lexer {
    /// Creates a scan that begins with a statement.
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
            copies: 0,
            writes_rows: false,
        }
    }

    /// Starts the scan of a comment, after its first two bytes.
    pub(super) fn begin_comment(&mut self, settings: Settings) {
        self.settings = settings;
        self.mask = TrailMask::new(settings.characters);
        (self.state, self.comments, self.is_comment) = (LexerState::Comment, 1, true);
    }

    /// Starts the scan of a statement.
    pub(super) fn begin(&mut self, settings: Settings) {
        self.settings = settings;
        self.mask = TrailMask::new(settings.characters);
        (self.state, self.comments, self.is_comment) = (LexerState::Between, 0, false);
        (self.depth, self.blocks) = (0, 0);
        self.words = Words::default();
        (self.copies, self.writes_rows) = (0, false);
    }

    /// Continues after the backslash at which the scan stopped and the byte that it escapes. An escaped
    /// semicolon joins two statements.
    pub(super) fn pass(&mut self, byte: u8) {
        self.mask = TrailMask::new(self.settings.characters);
        self.state = LexerState::Between;
        if byte == b';' {
            self.copies = self.copies();
            self.writes_rows = self.writes_rows();
            self.words = Words::default();
        }
    }

    /// Returns the number of scanned `COPY … FROM STDIN` statements; more than one only if statements are joined.
    pub(super) fn copies(&self) -> u32 {
        self.copies.saturating_add(self.words.reads_rows.into())
    }

    /// Returns whether one of the scanned statements is a `COPY … TO STDOUT`.
    pub(super) fn writes_rows(&self) -> bool {
        self.writes_rows || self.words.writes_rows
    }

    /// Scans the next piece of text. Returns the number of its bytes that belong to the statement or comment.
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

    /// [`Self::scan`] of text in which every byte below 0x80 is a character of its own.
    fn scan_masked(&mut self, piece: &[u8]) -> (usize, Stop) {
        let mut at = 0;
        while let Some((byte, rest)) = piece.get(at..).and_then(|rest| Some((*rest.first()?, rest))) {
            match self.step(byte, rest) {
                (length, None) => at += length,
                (length, Some(stop)) => return (at + length, stop),
            }
        }
        (piece.len(), Stop::Starved)
    }

    fn enter(&mut self, state: LexerState, length: usize) -> usize {
        self.state = state;
        length
    }

    /// Reads some of the text, which begins with this byte, or only changes the state.
    fn step(&mut self, byte: u8, rest: &[u8]) -> (usize, Option<Stop>) {
        let length = match self.state {
            LexerState::Between => return self.between(rest),
            LexerState::Comment => return self.comment(rest),
            LexerState::Prefix(prefix) => self.prefix(prefix, byte),
            LexerState::Dash if byte == b'-' => self.enter(LexerState::LineComment, 1),
            LexerState::Slash if byte == b'*' => {
                self.comments += 1;
                self.enter(LexerState::Comment, 1)
            }
            LexerState::Dash | LexerState::Slash => self.enter(LexerState::Between, 0),
            LexerState::Word => {
                let length = word_length(rest);
                let room = WORD - self.word.len().min(WORD);
                self.word.extend(rest.iter().take(length.min(room)));
                if length < rest.len() {
                    self.end_word();
                }
                length
            }
            LexerState::Number if byte.is_ascii_digit() => 1,
            // For the server, one more letter is junk after the number.
            LexerState::Number if begins_word(byte) => self.enter(LexerState::Between, 1),
            LexerState::Parameter if byte.is_ascii_digit() => 1,
            LexerState::Number | LexerState::Parameter => self.enter(LexerState::Between, 0),
            LexerState::Tag => self.tag(byte),
            LexerState::Literal { escapes } => self.literal(escapes, rest),
            LexerState::Escape => self.enter(LexerState::Literal { escapes: true }, 1),
            LexerState::Quote { escapes } if byte == b'\'' => self.enter(LexerState::Literal { escapes }, 1),
            LexerState::Quote { escapes } => {
                self.enter(LexerState::AfterLiteral { escapes, newline: false, gap: Gap::Blank }, 0)
            }
            LexerState::AfterLiteral { escapes, newline, gap } => {
                self.after_literal(escapes, newline, gap, byte)
            }
            LexerState::Name => self.until(rest, b'"'),
            LexerState::Dollar(0) if rest.len() >= self.tag.len() => self.body(rest),
            LexerState::Dollar(0) if byte != b'$' => memchr::memchr(b'$', rest).unwrap_or(rest.len()),
            LexerState::Dollar(matched) => self.dollar(matched, byte),
            LexerState::LineComment => self.until(rest, b'\n'),
            LexerState::CommentStar if byte == b'/' => return (1, self.close_comment()),
            LexerState::CommentSlash if byte == b'*' => {
                self.comments += 1;
                self.enter(LexerState::Comment, 1)
            }
            // Comments nest.
            LexerState::CommentStar | LexerState::CommentSlash => self.enter(LexerState::Comment, 0),
        };
        (length, None)
    }

    /// Scans text outside of literals, names and comments, up to the beginning of one of them. One that ends within the
    /// piece does not leave this state.
    fn between(&mut self, text: &[u8]) -> (usize, Option<Stop>) {
        // A local variable stays in a register.
        let mut depth = self.depth;
        let result = self.between_in(text, &mut depth);
        self.depth = depth;
        result
    }

    #[inline(always)]
    fn between_in(&mut self, text: &[u8], depth: &mut u64) -> (usize, Option<Stop>) {
        let mut at = 0;
        while let Some((byte, rest)) = text.get(at..).and_then(<[u8]>::split_first) {
            let next = rest.first().copied();
            let state = match CLASSES[usize::from(*byte)] {
                Class::Plain => {
                    at += 1;
                    continue;
                }
                Class::Word => None,
                Class::Prefix if matches!(next, None | Some(b'\'' | b'&')) => {
                    Some(LexerState::Prefix(byte.to_ascii_lowercase()))
                }
                Class::Prefix => None,
                Class::Semicolon if *depth == 0 && self.blocks == 0 => return (at + 1, Some(Stop::End)),
                Class::Backslash => return (at, Some(Stop::Backslash)),
                Class::Semicolon => {
                    at += 1;
                    continue;
                }
                Class::Open => {
                    *depth += 1;
                    at += 1;
                    continue;
                }
                Class::Close => {
                    *depth = depth.saturating_sub(1);
                    at += 1;
                    continue;
                }
                Class::Digit => {
                    at += 1 + digits(rest);
                    match text.get(at) {
                        None => return (self.enter(LexerState::Number, at), None),
                        Some(byte) => at += usize::from(begins_word(*byte)),
                    }
                    continue;
                }
                Class::Dollar if next.is_some_and(|next| next.is_ascii_digit()) => {
                    at += 1 + digits(rest);
                    if at == text.len() {
                        return (self.enter(LexerState::Parameter, at), None);
                    }
                    continue;
                }
                Class::Dollar if next.is_some_and(|next| !continues_word(next)) => {
                    at += 1;
                    continue;
                }
                Class::Dollar => {
                    self.tag.clear();
                    self.tag.push(b'$');
                    if next != Some(b'$') {
                        return (self.enter(LexerState::Tag, at + 1), None);
                    }
                    self.tag.push(b'$');
                    self.state = LexerState::Dollar(0);
                    let body = rest.get(1..).unwrap_or_default();
                    at += 2 + if body.len() < self.tag.len() { 0 } else { self.body(body) };
                    if !matches!(self.state, LexerState::Between) {
                        return (at, None);
                    }
                    continue;
                }
                Class::Quote => {
                    let escapes = !self.settings.standard_strings;
                    self.state = LexerState::Literal { escapes };
                    at += 1 + self.literal(escapes, rest);
                    if !matches!(self.state, LexerState::Between) {
                        return (at, None);
                    }
                    continue;
                }
                // A doubled quote in a name is scanned as two adjacent names, with the same result.
                Class::DoubleQuote => match memchr::memchr(b'"', rest) {
                    Some(end) => {
                        at += end + 2;
                        continue;
                    }
                    None => return (self.enter(LexerState::Name, text.len()), None),
                },
                Class::Dash if matches!(next, None | Some(b'-')) => Some(LexerState::Dash),
                Class::Slash if matches!(next, None | Some(b'*')) => Some(LexerState::Slash),
                Class::Dash | Class::Slash => {
                    at += 1;
                    continue;
                }
            };
            if let Some(state) = state {
                return (self.enter(state, at + 1), None);
            }
            let word = text.get(at..).unwrap_or_default();
            let length = word_length(word);
            if length == word.len() {
                self.word.clear();
                return (self.enter(LexerState::Word, at), None);
            }
            self.see(word.get(..length).unwrap_or_default(), *depth);
            at += length;
        }
        (at, None)
    }

    /// Scans a literal, and the byte after it if the text contains it.
    fn literal(&mut self, escapes: bool, text: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let end = match (rest.first(), escapes) {
                (Some(b'\''), _) | (Some(b'\\'), true) => Some(0),
                (_, true) => memchr::memchr2(b'\'', b'\\', rest),
                (_, false) => memchr::memchr(b'\'', rest),
            };
            let Some(end) = end else { return text.len() };
            at += end + 1;
            let is_escape = rest.get(end) == Some(&b'\\');
            match text.get(at) {
                None if is_escape => return self.enter(LexerState::Escape, at),
                None => return self.enter(LexerState::Quote { escapes }, at),
                Some(b'\'') => at += 1,
                Some(_) if is_escape => at += 1,
                Some(b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | b'-') => {
                    let state = LexerState::AfterLiteral { escapes, newline: false, gap: Gap::Blank };
                    return self.enter(state, at);
                }
                Some(_) => return self.enter(LexerState::Between, at),
            }
        }
    }

    /// Scans a comment up to its end.
    fn comment(&mut self, text: &[u8]) -> (usize, Option<Stop>) {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let found = match rest.first() {
                Some(b'*' | b'/') => Some(0),
                _ => memchr::memchr2(b'*', b'/', rest),
            };
            let Some(found) = found else { return (text.len(), None) };
            at += found + 1;
            let is_star = rest.get(found) == Some(&b'*');
            match text.get(at) {
                None => {
                    let state = if is_star { LexerState::CommentStar } else { LexerState::CommentSlash };
                    return (self.enter(state, at), None);
                }
                Some(b'/') if is_star => {
                    at += 1;
                    let stop = self.close_comment();
                    if self.comments == 0 {
                        return (at, stop);
                    }
                }
                // Comments nest.
                Some(b'*') if !is_star => {
                    self.comments += 1;
                    at += 1;
                }
                Some(_) => {}
            }
        }
    }

    fn close_comment(&mut self) -> Option<Stop> {
        self.comments = self.comments.saturating_sub(1);
        self.state = if self.comments == 0 { LexerState::Between } else { LexerState::Comment };
        (self.comments == 0 && self.is_comment).then_some(Stop::End)
    }

    /// Scans a dollar-quoted literal while the text is at least as long as its tag.
    fn body(&mut self, text: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let Some(found) = memchr::memchr(b'$', rest) else { return text.len() };
            at += found;
            let rest = rest.get(found..).unwrap_or_default();
            if rest.len() < self.tag.len() {
                return at;
            }
            if rest.starts_with(&self.tag) {
                return self.enter(LexerState::Between, at + self.tag.len());
            }
            // A tag other than `$$` has a letter after its first dollar.
            at += rest.iter().take_while(|byte| **byte == b'$').count().saturating_sub(1).max(1);
        }
    }

    fn prefix(&mut self, prefix: u8, byte: u8) -> usize {
        match (prefix, byte) {
            (b'e', b'\'') => self.enter(LexerState::Literal { escapes: true }, 1),
            (_, b'\'') if prefix != b'u' => self.enter(LexerState::Literal { escapes: false }, 1),
            (b'u', b'&') => self.enter(LexerState::Prefix(b'&'), 1),
            (b'&', b'"') => self.enter(LexerState::Name, 1),
            (b'&', _) => {
                self.see(b"u", self.depth);
                self.enter(LexerState::Between, 0)
            }
            _ => self.word_of(prefix),
        }
    }

    /// Starts a word with a letter that was not a prefix.
    fn word_of(&mut self, letter: u8) -> usize {
        self.word.clear();
        self.word.push(letter);
        self.enter(LexerState::Word, 0)
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        self.see(&word, self.depth);
        self.word = word;
        self.state = LexerState::Between;
    }

    /// Records a word.
    fn see(&mut self, word: &[u8], depth: u64) {
        let keyword = SqlWord::of(word);
        self.words.see(keyword, depth);
        if depth == 0 && matches!(keyword, SqlWord::Begin | SqlWord::Case | SqlWord::End) {
            self.see_block(keyword);
        }
    }

    /// Counts a word that may begin or end a block in the body of a routine.
    fn see_block(&mut self, keyword: SqlWord) {
        if !self.words.create_routine() {
            return;
        }
        match keyword {
            SqlWord::End => self.blocks = self.blocks.saturating_sub(1),
            SqlWord::Case if self.blocks == 0 => {}
            _ => self.blocks += 1,
        }
    }

    /// Scans the possible beginning of a dollar-quoted literal.
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
            // A dollar, followed by a word.
            _ => {
                self.state = LexerState::Between;
                if !is_first {
                    self.word = self.tag.iter().skip(1).take(WORD).copied().collect();
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

    /// Scans one byte of a dollar-quoted literal, after this many bytes of its closing tag.
    fn dollar(&mut self, matched: usize, byte: u8) -> usize {
        if self.tag.get(matched) != Some(&byte) {
            // A tag begins and ends with a dollar, and contains no other.
            return self.enter(LexerState::Dollar(usize::from(byte == b'$')), 1);
        }
        match matched + 1 == self.tag.len() {
            true => self.enter(LexerState::Between, 1),
            false => self.enter(LexerState::Dollar(matched + 1), 1),
        }
    }

    /// Scans up to and including this byte.
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

    /// Scans in pieces of `step` bytes and returns where it stopped.
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
        // The following text must have no effect.
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
        // Only the bodies of routines contain statements.
        ends(b"BEGIN;", standard);
        ends(b"CREATE TABLE begin (function int);", standard);
    }

    #[test]
    fn literals_follow_the_settings() {
        ends(b"SELECT 'it\\'s;';", settings(false, "UTF8"));
        ends(b"SELECT B'\\', 'x';", settings(false, "UTF8"));
        // The second byte of these characters looks like a backslash or a quote in other encodings.
        ends(b"SELECT E'\x83\x5c', '\x83\x5c';", settings(true, "SJIS"));
        ends(b"SELECT '\x95\x5c';", settings(false, "BIG5"));
        ends(b"SELECT E'\x81\x30\x81\x30\\'\x95\x5c';", settings(true, "GB18030"));
        ends(b"SELECT E'\x8f\xa1\x5c';", settings(true, "JOHAB"));
        // The byte after the first one always belongs to the character, in psql and in the server.
        ends(b"SELECT '\x83';', \"\x83\";\", $$\x83$$;$$ /* \x83*/ ; */;", settings(true, "SJIS"));
        // The end of a line does not belong to the character.
        ends(b"SELECT -- \x83\n;", settings(true, "SJIS"));
        ends(b"SELECT B'\\'\n'\\';", settings(false, "UTF8"));
    }

    #[test]
    fn rows_follow_a_copy_from_stdin_only() {
        let reads_rows = |text: &[u8]| {
            let mut lexer = Lexer::new(settings(true, "UTF8"));
            assert_eq!(lexer.scan(text), (text.len(), Stop::End));
            (lexer.copies(), lexer.writes_rows())
        };
        assert_eq!(reads_rows(b"COPY public.t (a, b) FROM stdin;"), (1, false));
        assert_eq!(reads_rows(b"copy \"from\" from\nSTDIN with (format csv);"), (1, false));
        assert_eq!(reads_rows(b"COPY t TO stdout;"), (0, true));
        assert_eq!(reads_rows(b"COPY (SELECT 1 FROM stdin) TO stdout;"), (0, true));
        for other in [
            &b"COPY t (\"from\", stdin) FROM '/stdin';"[..],
            b"COPY t TO '/tmp/stdout';",
            b"SELECT 1 FROM stdin;",
        ] {
            assert_eq!(reads_rows(other), (0, false), "{}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn a_backslash_and_an_unfinished_statement_are_reported() {
        let standard = settings(true, "UTF8");
        assert_eq!(scan(b"SELECT 1 \\g", standard, 3), (9, Stop::Backslash));
        for text in [&b"SELECT 1"[..], b"SELECT 'x;", b"SELECT $a$;$b$", b"/* ;", b"SELECT (1;", b"E", b"U&"]
        {
            assert_eq!(scan(text, standard, 2).1, Stop::Starved, "{}", String::from_utf8_lossy(text));
        }
    }
}
