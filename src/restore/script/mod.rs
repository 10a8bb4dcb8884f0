//! A plain dump as a sequence of steps: statements, and rows between them. Supports every script that psql can read
//! and whose psql commands are limited to those in dumps: the output of pg_dump and pg_dumpall of any version.
//!
//! The text is fed in pieces of any size, each of which is read once. One statement at a time is buffered; of
//! rows and of comments between statements, only the fed piece is.
//!
//! Invariant: between statements, only blanks, comments and empty statements are skipped. A truncated script
//! is an error.

mod class;
mod command;
mod error;
mod lexer;
mod rows;
mod step;
mod words;

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::protocol::SqlSettings;
use crate::protocol::encoding::Characters;
use command::word;
pub use error::ScriptError;
use lexer::{Lexer, Settings, Stop};
pub use step::{ScriptStep, Statement};

/// Maximum size in bytes of a statement: that of a message (`PQ_LARGE_MESSAGE_LIMIT`, 1 GB less two bytes) without its
/// length and a NUL.
const LONGEST: usize = 0x3fff_fffe - 5;

/// Number of bytes of a comment that are examined, and maximum size of a command line.
const LINE: usize = 64 << 10;

/// Maximum number of bytes of the name of a command in messages.
const NAME: usize = 64;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// The settings until [`ScriptReader::follow`] or a SET in the script changes them.
const SETTINGS: Settings = Settings { standard_strings: true, characters: Characters::Safe };

/// Reads a script.
///
/// ```text
/// feed text … until next_step() returns a step; finish when there is no more text
/// ```
#[derive(Debug)]
pub struct ScriptReader {
    /// Text that was fed and not read yet.
    text: BytesMut,
    /// The beginning of a statement that continues in `text`.
    held: Vec<u8>,
    is_all: bool,
    is_begin: bool,
    /// The line in which `text` begins.
    line: u64,
    /// The line after the next newline, if rows were between the lines.
    next_line: Option<u64>,
    mode: Mode,
    /// The beginning of the current comment.
    comment: Vec<u8>,
    /// The scan of the current statement or comment.
    lexer: Lexer,
    /// Whether the current statement is joined with another.
    is_joined: bool,
    /// The rest of the line of a COPY, which is read after the rows, and the number of the line.
    rest_of_line: BytesMut,
    line_of_rest: u64,
    /// The text after `text`, while `text` is such a rest.
    behind: BytesMut,
    settings: Settings,
    /// Whether the settings are those of the server, not those set in the script.
    is_followed: bool,
    banner: Option<Arc<str>>,
    /// The key of the last `\restrict`.
    key: Option<Bytes>,
    /// The comments expected at the ends of the dumps that have begun.
    ends: Vec<String>,
    /// Whether a dump has begun, but none of its entries.
    is_head: bool,
    /// Whether the last statement is a `COPY … TO STDOUT`.
    writes_rows: bool,
    /// Whether the script may end before these comments.
    may_end_early: bool,
    longest: usize,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Between,
    /// In a line comment between statements.
    LineComment,
    /// In a block comment between statements that began in this line.
    Comment(u64),
    /// In a statement that began in this line.
    Statement(u64),
    /// At a backslash within a statement that began in this line; the command may still be incomplete.
    Backslash(u64),
    /// After a COPY, before the end of its line.
    BeforeRows {
        is_comment: bool,
        /// Number of blocks of rows.
        copies: u32,
    },
    Rows {
        /// Whether `text` begins with a row.
        at_start: bool,
        /// Number of blocks of rows after this one.
        more: u32,
    },
}

impl Default for ScriptReader {
    fn default() -> Self {
        ScriptReader {
            text: BytesMut::new(),
            held: Vec::new(),
            is_all: false,
            is_begin: true,
            line: 1,
            next_line: None,
            mode: Mode::Between,
            comment: Vec::new(),
            lexer: Lexer::new(SETTINGS),
            is_joined: false,
            rest_of_line: BytesMut::new(),
            line_of_rest: 0,
            behind: BytesMut::new(),
            settings: SETTINGS,
            is_followed: false,
            banner: None,
            key: None,
            ends: Vec::new(),
            is_head: false,
            writes_rows: false,
            may_end_early: false,
            longest: LONGEST,
        }
    }
}

impl ScriptReader {
    /// Creates a reader for another part of the script, with the settings that this one has read.
    pub fn part(&self) -> ScriptReader {
        ScriptReader { settings: self.settings, may_end_early: true, ..ScriptReader::default() }
    }

    /// Accepts a script without the comment at the end of a dump.
    pub fn allow_incomplete(self) -> ScriptReader {
        ScriptReader { may_end_early: true, ..self }
    }

    /// Reads the following text as a server with these settings does. From then on, settings in the script have no
    /// effect.
    pub fn follow(&mut self, settings: &SqlSettings) {
        self.is_followed = true;
        let characters = Characters::of(&settings.encoding);
        self.settings = Settings { standard_strings: settings.standard_strings, characters };
    }

    /// Returns whether the last statement is one of the settings at the beginning of a dump.
    pub fn is_in_head(&self) -> bool {
        self.is_head
    }

    /// Returns whether the server answers the last statement with rows: `COPY … TO STDOUT`.
    pub fn writes_rows(&self) -> bool {
        self.writes_rows
    }

    /// Adds text.
    pub fn feed(&mut self, text: &[u8]) {
        let end = if self.behind.is_empty() { &mut self.text } else { &mut self.behind };
        end.extend_from_slice(text);
    }

    /// Marks the end of the text.
    pub fn finish(&mut self) {
        self.is_all = true;
    }

    /// Returns the next step; `None` if more text is needed, or at the end after [`ScriptReader::finish`].
    pub fn next_step(&mut self) -> Result<Option<ScriptStep>, ScriptError> {
        loop {
            match self.step()? {
                None if !self.behind.is_empty() => {
                    let behind = std::mem::take(&mut self.behind);
                    self.text.unsplit(behind);
                }
                step => return Ok(step),
            }
        }
    }

    /// Returns whether no text follows `text`.
    fn is_end(&self) -> bool {
        self.is_all && self.behind.is_empty()
    }

    /// Returns the next step in `text`.
    fn step(&mut self) -> Result<Option<ScriptStep>, ScriptError> {
        loop {
            match self.mode {
                Mode::Between => {
                    if !self.skip_between() {
                        return self.is_complete().map(|()| None);
                    }
                    if self.text.first() != Some(&b'\\') || !matches!(self.mode, Mode::Between) {
                        continue;
                    }
                    let line = self.line;
                    let Some(text) = self.take_line()? else { return Ok(None) };
                    if let Some(step) = self.command(&text, line)? {
                        return Ok(Some(step));
                    }
                }
                Mode::LineComment => {
                    if !self.skip_line_comment() {
                        return self.is_complete().map(|()| None);
                    }
                }
                Mode::Comment(line) => {
                    let (length, stop) = self.lexer.scan(&self.text);
                    self.advance(length);
                    match stop {
                        Stop::End => self.mode = Mode::Between,
                        _ if self.is_end() => {
                            return Err(ScriptError::CutOff { within: "a comment", line });
                        }
                        _ => return Ok(None),
                    }
                }
                Mode::Statement(line) => {
                    let (length, stop) = self.lexer.scan(&self.text);
                    match stop {
                        Stop::End => return self.statement(length, line).map(Some),
                        Stop::Starved => {
                            self.hold(length, line)?;
                            return match self.is_end() {
                                true => Err(ScriptError::CutOff { within: "a statement", line }),
                                false => Ok(None),
                            };
                        }
                        // The rest is not scanned again, because the lexer has already read it.
                        Stop::Backslash => {
                            self.hold(length, line)?;
                            self.mode = Mode::Backslash(line);
                        }
                    }
                }
                Mode::Backslash(line) => {
                    if !self.pass_backslash(line)? {
                        return Ok(None);
                    }
                    self.mode = Mode::Statement(line);
                }
                Mode::BeforeRows { is_comment, copies } => {
                    if !self.skip_rest_of_line(is_comment, copies)? {
                        return Ok(None);
                    }
                }
                Mode::Rows { at_start, more } => {
                    return self.rows(at_start, more);
                }
            }
        }
    }

    /// Continues after a backslash in a statement, which makes a semicolon or a colon part of the statement.
    /// Returns false if more text is needed.
    fn pass_backslash(&mut self, line: u64) -> Result<bool, ScriptError> {
        if let Some(byte @ (b';' | b':')) = self.text.get(1).copied() {
            self.advance(1);
            self.hold(1, line)?;
            self.lexer.pass(byte);
            self.is_joined |= byte == b';';
            return Ok(true);
        }
        let name = self.text.get(1..).unwrap_or_default();
        let is_whole = name.iter().take(NAME).any(u8::is_ascii_whitespace);
        if !is_whole && !self.is_end() && name.len() < NAME {
            return Ok(false);
        }
        let command = word(name);
        Err(ScriptError::UnknownCommand { command, line: self.line })
    }

    /// Skips blanks and empty statements, and starts the next statement or comment. Returns false if more
    /// text is needed.
    fn skip_between(&mut self) -> bool {
        if self.is_begin {
            if self.text.len() < BOM.len() && !self.is_end() && BOM.starts_with(&self.text) {
                return false;
            }
            self.is_begin = false;
            if self.text.starts_with(BOM) {
                self.text.advance(BOM.len());
            }
        }
        let blanks = self.text.iter().position(|byte| !byte.is_ascii_whitespace() && *byte != b';');
        self.advance(blanks.unwrap_or(self.text.len()));
        self.mode = match (self.text.first(), self.text.get(1)) {
            (None, _) | (Some(b'-' | b'/' | b'\\'), None) if !self.is_end() => return false,
            (None, _) => return false,
            (Some(b'\\'), Some(b';' | b':')) => Mode::Statement(self.line),
            (Some(b'\\'), _) => Mode::Between,
            (Some(b'-'), Some(b'-')) => Mode::LineComment,
            (Some(b'/'), Some(b'*')) => Mode::Comment(self.line),
            _ => Mode::Statement(self.line),
        };
        match self.mode {
            Mode::Comment(_) => {
                self.lexer.begin_comment(self.settings);
                self.text.advance(2);
            }
            Mode::Statement(_) => {
                self.is_joined = false;
                self.lexer.begin(self.settings);
            }
            _ => {}
        }
        true
    }

    /// Skips a comment up to the end of its line. Returns false if more text is needed.
    fn skip_line_comment(&mut self) -> bool {
        let end = memchr::memchr(b'\n', &self.text);
        let length = end.unwrap_or(self.text.len());
        let is_whole = end.is_some() && self.comment.is_empty();
        // Most comments are not examined.
        if !is_whole || matches!(self.text.get(2..4), Some([b' ', b'P' | b'N' | b'D' | b'S'])) {
            let seen = length.min(LINE.saturating_sub(self.comment.len()));
            self.comment.extend_from_slice(self.text.get(..seen).unwrap_or_default());
        }
        self.text.advance(length);
        if end.is_none() && !self.is_end() {
            return false;
        }
        self.mode = Mode::Between;
        let comment = std::mem::take(&mut self.comment);
        self.note_banner(&comment);
        self.comment = comment;
        self.comment.clear();
        true
    }

    /// Moves this many bytes of the text to the beginning of a statement.
    fn hold(&mut self, length: usize, line: u64) -> Result<(), ScriptError> {
        self.check_length(length, line)?;
        let (now, _) = self.text.split_at(length.min(self.text.len()));
        self.held.extend_from_slice(now);
        self.advance(length);
        Ok(())
    }

    fn check_length(&self, length: usize, line: u64) -> Result<(), ScriptError> {
        if self.held.len() + length <= self.longest {
            return Ok(());
        }
        Err(self.too_long(line))
    }

    fn too_long(&self, line: u64) -> ScriptError {
        let entry = self.banner.as_deref().map(super::error::entry_name);
        ScriptError::TooLong { entry, line }
    }

    /// Checks at the end that all dumps that have begun are complete. Otherwise a file that was truncated between two
    /// statements would be accepted.
    fn is_complete(&self) -> Result<(), ScriptError> {
        match self.ends.last() {
            Some(comment) if self.is_end() && !self.may_end_early => {
                Err(ScriptError::NotComplete { comment: comment.clone(), line: self.line })
            }
            _ => Ok(()),
        }
    }

    fn advance(&mut self, length: usize) {
        let length = length.min(self.text.len());
        self.count_lines(newlines(self.text.get(..length).unwrap_or_default()));
        self.text.advance(length);
    }

    fn count_lines(&mut self, newlines: u64) {
        self.line += newlines;
        if newlines > 0
            && let Some(next) = self.next_line.take()
        {
            self.line = next + newlines - 1;
        }
    }

    /// Returns the next complete line, without its end.
    fn take_line(&mut self) -> Result<Option<Bytes>, ScriptError> {
        // The limit makes the result independent of the pieces in which a long line is fed.
        let looked_at = self.text.get(..=LINE).unwrap_or(&self.text);
        let end = match memchr::memchr(b'\n', looked_at) {
            Some(end) => end,
            None if self.text.len() > LINE => return Err(ScriptError::LongCommand { line: self.line }),
            None if self.is_end() => self.text.len(),
            None => return Ok(None),
        };
        let line = self.text.split_to(end).freeze();
        if !self.text.is_empty() {
            self.advance(1);
        }
        Ok(Some(line))
    }

    fn note_banner(&mut self, comment: &[u8]) {
        if comment.starts_with(b"-- PostgreSQL database ") {
            self.note_frame(&String::from_utf8_lossy(comment));
        }
        let Some(text) = comment.strip_prefix(b"-- ") else { return };
        // pg_dump writes statistics from 18 on.
        let prefixes = [&b"Data for "[..], b"Statistics for "];
        let text = prefixes.iter().find_map(|prefix| text.strip_prefix(*prefix)).unwrap_or(text);
        if text.starts_with(b"Name: ") {
            self.is_head = false;
            self.banner = Some(String::from_utf8_lossy(text).into());
        }
    }

    /// The dumps of databases are nested in that of their cluster.
    fn note_frame(&mut self, comment: &str) {
        if self.ends.last().is_some_and(|end| end == comment.trim_end()) {
            self.ends.pop();
        } else if comment.trim_end().ends_with(" dump") {
            self.is_head = true;
            self.ends.push(format!("{} complete", comment.trim_end()));
        }
    }

    fn statement(&mut self, length: usize, line: u64) -> Result<ScriptStep, ScriptError> {
        self.check_length(length, line)?;
        let text = if self.held.is_empty() {
            let text = self.text.split_to(length.min(self.text.len())).freeze();
            self.count_lines(newlines(&text));
            text
        } else {
            self.hold(length, line)?;
            Bytes::from(std::mem::take(&mut self.held))
        };
        self.note_setting(&text);
        let copies = self.lexer.copies();
        self.writes_rows = self.lexer.writes_rows();
        self.mode = if copies > 0 { Mode::BeforeRows { is_comment: false, copies } } else { Mode::Between };
        let (banner, is_joined) = (self.banner.clone(), self.is_joined);
        Ok(ScriptStep::Statement(Statement { text, line, banner, copies, is_joined }))
    }

    /// Without a server, reads the settings that affect how the rest is read, in the form in which dumps contain them.
    fn note_setting(&mut self, statement: &[u8]) {
        if self.is_followed {
            return;
        }
        let Some(setting) = statement.strip_prefix(b"SET ").and_then(|rest| rest.strip_suffix(b";")) else {
            return;
        };
        let setting = String::from_utf8_lossy(setting);
        let Some((name, value)) = setting.split_once(" = ") else { return };
        match name {
            "standard_conforming_strings" => self.settings.standard_strings = value != "off",
            "client_encoding" => self.settings.characters = Characters::of(value.trim_matches('\'')),
            _ => {}
        }
    }
}

fn newlines(text: &[u8]) -> u64 {
    if text.len() < 16 {
        return text.iter().map(|byte| u64::from(*byte == b'\n')).sum();
    }
    memchr::memchr_iter(b'\n', text).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns all steps, with rows joined, of a script that is fed in pieces of `size` bytes.
    fn read(script: &[u8], size: usize) -> Result<Vec<ScriptStep>, ScriptError> {
        let mut reader = ScriptReader::default();
        let mut steps = Vec::new();
        let mut pieces = script.chunks(size);
        loop {
            match reader.next_step()? {
                Some(ScriptStep::Rows(rows)) => match steps.last_mut() {
                    Some(ScriptStep::Rows(before)) => *before = [&before[..], &rows].concat().into(),
                    _ => steps.push(ScriptStep::Rows(rows)),
                },
                Some(step) => steps.push(step),
                None => match pieces.next() {
                    Some(piece) => reader.feed(piece),
                    None if reader.is_all => return Ok(steps),
                    None => reader.finish(),
                },
            }
        }
    }

    #[track_caller]
    fn read_in_any_pieces(script: &[u8]) -> Result<Vec<ScriptStep>, ScriptError> {
        let whole = read(script, script.len().max(1));
        for size in 1..script.len() {
            assert_eq!(read(script, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn text(steps: &[ScriptStep]) -> Vec<String> {
        steps
            .iter()
            .map(|step| match step {
                ScriptStep::Statement(s) => {
                    format!(
                        "{}: {}{}",
                        s.line,
                        String::from_utf8_lossy(&s.text),
                        " <".repeat(s.copies as usize)
                    )
                }
                ScriptStep::Connect { argument, line } => {
                    format!("{line}: connect {}", String::from_utf8_lossy(argument))
                }
                ScriptStep::Rows(rows) => format!("rows {:?}", String::from_utf8_lossy(rows)),
                ScriptStep::EndOfRows => "end of rows".to_owned(),
            })
            .collect()
    }

    #[test]
    fn a_dump_is_read_in_any_pieces() {
        let script = b"--\n-- A dump\n--\n\n\\restrict KEY\n\nSET client_encoding = 'UTF8';\nCREATE TABLE t (a text); SELECT 1;\n\n\
            --\n-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: me\n--\n\nCOPY public.t (a) FROM stdin;\n\
            \\.x\n\\\\.\n\nlast\n\\.\n\n\nCOPY public.t (a) FROM stdin;\n\\.\n-- end\n\\unrestrict KEY\n\n\\connect other\n";
        let steps = read_in_any_pieces(script).unwrap();
        assert_eq!(
            text(&steps),
            [
                "7: SET client_encoding = 'UTF8';",
                "8: CREATE TABLE t (a text);",
                "8: SELECT 1;",
                "14: COPY public.t (a) FROM stdin; <",
                "rows \"\\\\.x\\n\\\\\\\\.\\n\\nlast\\n\"",
                "end of rows",
                "22: COPY public.t (a) FROM stdin; <",
                "end of rows",
                "27: connect other",
            ]
        );
        let ScriptStep::Statement(copy) = &steps[3] else { panic!("{steps:?}") };
        let banner = copy.banner.as_deref();
        assert_eq!(banner, Some("Name: t; Type: TABLE DATA; Schema: public; Owner: me"));
        assert!(
            read_in_any_pieces(b"").unwrap().is_empty()
                && read_in_any_pieces(b"\n-- nothing").unwrap().is_empty()
        );
        assert_eq!(
            text(&read_in_any_pieces(b"COPY t FROM stdin;\r\n1\r\n\\.\r\n").unwrap())[1],
            "rows \"1\\r\\n\""
        );
        assert_eq!(read_in_any_pieces(b"COPY t FROM stdin;\n1\n\\.").unwrap().len(), 3);
    }

    #[test]
    fn a_script_that_breaks_off_is_refused() {
        for (script, within, line) in [
            (&b"SELECT 1;\nSELECT 2"[..], "a statement", 2),
            (b"SELECT 'x;\n", "a statement", 1),
            (b"COPY t FROM stdin;", "the rows of a COPY", 1),
            (b"COPY t FROM stdin;\n1\n2\n", "the rows of a COPY", 4),
            (b"COPY t FROM stdin;\n1\n\\", "the rows of a COPY", 3),
            (b"COPY t FROM stdin;\n1\n2", "the rows of a COPY", 3),
        ] {
            let shown = String::from_utf8_lossy(script);
            assert_eq!(read_in_any_pieces(script), Err(ScriptError::CutOff { within, line }), "{shown}");
        }
    }

    #[test]
    fn commands_of_psql_are_refused_but_for_those_of_dumps() {
        let error = |script: &[u8]| read_in_any_pieces(script).unwrap_err().to_string();
        assert!(error(b"SELECT 1;\n\\! rm -rf /\n").starts_with("line 2 has the psql command \\!,"));
        assert!(error(b"SELECT 1\n \\gexec\n").starts_with("line 2 has the psql command \\gexec,"));
        assert!(error(b"\\i other.sql").starts_with("line 1 has the psql command \\i,"));
        assert!(
            error(b"\\restrict a\n\\encoding SJIS\n").starts_with("line 2: \\encoding is not allowed here")
        );
        assert!(error(b"\\restrict a\n\\connect x\n").starts_with("line 2: \\connect is not allowed here"));
        assert!(
            error(b"\\restrict a\n\\unrestrict b\n").starts_with("line 2: \\unrestrict is not allowed here")
        );
        assert!(error(b"\\restrict a\n\\restrict b\n").starts_with("line 2: \\restrict is not allowed here"));
        assert_eq!(error(b"\\unrestrict b\n"), "line 1: \\unrestrict has no preceding \\restrict");
        assert_eq!(error(b"\n\\restrict \n"), "line 2: \\restrict has no key");
    }

    #[test]
    fn what_psql_runs_is_read() {
        let read = |script: &[u8]| text(&read_in_any_pieces(script).unwrap());
        assert_eq!(read(b"\xef\xbb\xbfSELECT 1;\n"), ["1: SELECT 1;"]);
        assert_eq!(read(b"\xef\xbb\xbf"), [""; 0]);
        assert_eq!(read(b"/* a /* ; */ ' */ SELECT 1;\n/* end\n*/"), ["1: SELECT 1;"]);
        assert_eq!(read(b";; ;\nSELECT 1;;\n;"), ["2: SELECT 1;"]);
        assert_eq!(
            read(b"COPY t FROM stdin; -- note;\n1\n\\.\nSELECT 1;"),
            ["1: COPY t FROM stdin; <", "rows \"1\\n\"", "end of rows", "4: SELECT 1;"]
        );
        // The rest of a COPY's line is read after the rows.
        assert_eq!(
            read(b"\nCOPY t FROM stdin; COPY u FROM stdin; SELECT 1; /* a\n1\n\\.\n2\n\\.\n b */ SELECT\n2;\nSELECT 3;"),
            [
                "2: COPY t FROM stdin; <",
                "rows \"1\\n\"",
                "end of rows",
                "2: COPY u FROM stdin; <",
                "rows \"2\\n\"",
                "end of rows",
                "2: SELECT 1;",
                "7: SELECT\n2;",
                "9: SELECT 3;",
            ]
        );
        assert_eq!(
            read(b"COPY t FROM stdin; \\connect x\n1\n\\.\n\\connect y"),
            ["1: COPY t FROM stdin; <", "rows \"1\\n\"", "end of rows", "1: connect x", "4: connect y"]
        );
        // Joined statements are one statement, with the rows of all.
        assert_eq!(
            read(b"SELECT 1 \\; COPY t FROM stdin\\;COPY u FROM stdin; SELECT 2;\n1\n\\.\n\\.\nSELECT 3;"),
            [
                "1: SELECT 1 ; COPY t FROM stdin;COPY u FROM stdin; < <",
                "rows \"1\\n\"",
                "end of rows",
                "end of rows",
                "1: SELECT 2;",
                "5: SELECT 3;",
            ]
        );
        assert_eq!(
            read(b"\\;SELECT a\\:\\:b \\; CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END \\; SELECT begin;\\;;"),
            ["1: ;SELECT a::b ; CREATE FUNCTION f() BEGIN ATOMIC SELECT 1; END ; SELECT begin;", "1: ;;"]
        );
        let cut = read_in_any_pieces(b"COPY t FROM stdin; SELECT 1;").unwrap_err();
        assert_eq!(cut, ScriptError::CutOff { within: "the rows of a COPY", line: 1 });
        let cut = read_in_any_pieces(b"SELECT 1;\n/* \n").unwrap_err();
        assert_eq!(cut, ScriptError::CutOff { within: "a comment", line: 2 });
        // Bytes that are not text are not a command either.
        let unknown = read_in_any_pieces(b"\\\xff\xff a\n").unwrap_err().to_string();
        assert!(unknown.starts_with("line 1 has the psql command"), "{unknown}");
    }

    #[test]
    fn a_dump_without_its_end_is_read_where_that_is_allowed() {
        let script = b"--\n-- PostgreSQL database dump\n--\nSELECT 1;\n";
        let read = |mut reader: ScriptReader| {
            reader.feed(script);
            reader.finish();
            reader.next_step().unwrap();
            reader.next_step()
        };
        let refused = read(ScriptReader::default()).unwrap_err().to_string();
        assert!(
            refused.ends_with("it is truncated\nHINT: --allow-incomplete restores what it contains"),
            "{refused}"
        );
        assert_eq!(read(ScriptReader::default().allow_incomplete()), Ok(None));
    }

    #[test]
    fn the_head_of_a_dump_ends_at_its_first_entry_and_statistics_are_one() {
        let script = b"SET a = 1;\n-- PostgreSQL database dump\nSET b = 1;\n--\n\
            -- Statistics for Name: t; Type: STATISTICS DATA; Schema: s; Owner: -\n--\nSET c = 1;\n\
            -- PostgreSQL database dump complete\n";
        let mut reader = ScriptReader::default();
        reader.feed(script);
        reader.finish();
        let mut seen = Vec::new();
        while let Some(ScriptStep::Statement(statement)) = reader.next_step().unwrap() {
            seen.push((reader.is_in_head(), statement.kind().map(str::to_owned)));
        }
        assert_eq!(seen, [(false, None), (true, None), (false, Some("STATISTICS DATA".to_owned()))]);
    }

    #[test]
    fn the_text_is_read_as_the_server_has_it_set() {
        let read = |standard_strings, encoding: &str| {
            let mut reader = ScriptReader::default();
            reader.follow(&SqlSettings { standard_strings, encoding: encoding.into() });
            reader.feed(b"SET standard_conforming_strings = on;\nSET client_encoding = 'UTF8';\nSELECT '\x83\\'; x\n';");
            reader.finish();
            let mut steps = Vec::new();
            while let Ok(Some(step)) = reader.next_step() {
                steps.push(step);
            }
            text(&steps).pop().unwrap()
        };
        assert_eq!(read(true, "UTF8"), "3: SELECT '\u{fffd}\\';");
        assert_eq!(read(false, "UTF8"), "3: SELECT '\u{fffd}\\'; x\n';");
        assert_eq!(read(false, "SJIS"), "3: SELECT '\u{fffd}\\';");
    }

    #[test]
    fn only_a_statement_is_held_and_one_beyond_the_limit_is_refused() {
        for (begin, inner) in [
            (&b"-- "[..], &b"x"[..]),
            (b"/* ", b"/* */"),
            (b"/* ", b"/* "),
            (b"", b";"),
            (b"", b"\n"),
            (b"COPY t FROM stdin; --", b"x"),
        ] {
            let mut reader = ScriptReader::default();
            reader.feed(begin);
            for _ in 0..100 {
                reader.feed(&inner.repeat(1000));
                while reader.next_step().unwrap().is_some() {}
                assert!(
                    reader.text.len() < 4 && reader.held.is_empty(),
                    "{}",
                    String::from_utf8_lossy(inner)
                );
            }
        }
        for inner in
            [&b"x"[..], b"1", b"$", b"$a", b"-", b"/", b"(", b"'", b"''", b"\"", b"--", b"/*", b"U&", b"\xff"]
        {
            let mut reader = ScriptReader { longest: 1 << 20, ..ScriptReader::default() };
            reader.feed(b"-- Name: t; Type: TABLE; Schema: s; Owner: -\nSELECT ");
            let failed = loop {
                reader.feed(&inner.repeat(1000));
                match reader.next_step() {
                    Ok(step) => assert_eq!(step, None),
                    Err(error) => break error,
                }
                assert!(reader.text.is_empty(), "{}", String::from_utf8_lossy(inner));
            };
            assert_eq!(
                failed.to_string(),
                "the statement that begins in line 2 (TABLE s.t) is longer than 1 GB, the limit of PostgreSQL"
            );
        }
        let mut reader = ScriptReader::default();
        reader.feed(&[b"\\", &b"x".repeat(LINE)[..]].concat());
        assert_eq!(reader.next_step(), Err(ScriptError::LongCommand { line: 1 }));
    }

    #[test]
    fn a_command_within_a_statement_is_the_same_in_any_pieces() {
        let script = b"SET client_encoding = 'SJIS';\nSELECT 1 \\g\x83";
        let command = "g\u{fffd}".to_owned();
        assert_eq!(read_in_any_pieces(script), Err(ScriptError::UnknownCommand { command, line: 2 }));
    }

    #[test]
    fn a_command_is_too_long_however_it_is_split() {
        let command = |length: usize| [&b"\\connect "[..], &vec![b'x'; length - 9], b"\n"].concat();
        for size in [100, LINE - 1, LINE, LINE + 1, 2 * LINE] {
            assert_eq!(read(&command(LINE), size).map(|steps| steps.len()), Ok(1), "in pieces of {size}");
            let long = read(&command(LINE + 1), size);
            assert_eq!(long, Err(ScriptError::LongCommand { line: 1 }), "in pieces of {size}");
        }
    }
}
