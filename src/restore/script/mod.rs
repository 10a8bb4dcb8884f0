//! A plain dump as a sequence of steps: statements, and rows between them. Any script that psql reads and that
//! uses no other commands of psql than a dump does is understood: pg_dump's of any version, and pg_dumpall's.
//!
//! The text comes in any pieces; what is kept is one statement at a time, and of rows no more than what was fed.
//!
//! Invariant: nothing of the text is skipped but blanks and comments between statements, and a script that
//! breaks off is an error.

mod lexer;

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::protocol::encoding::{Characters, from_bytes};
use lexer::{Lexer, Settings, Stop};

/// What a script asks for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A statement to be run.
    Statement(Statement),
    /// `\connect`: another database, or the same one as another user. The argument is as in the script.
    Connect {
        /// What stands after the command.
        argument: Bytes,
        /// The line of the script, counted from 1.
        line: u64,
    },
    /// Rows for the COPY that came last, each with its newline; a piece may begin and end within a row.
    Rows(Bytes),
    /// The rows are complete.
    EndOfRows,
}

/// A statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Its text with the semicolon, in the script's encoding.
    pub text: Bytes,
    /// The line of the script that it begins in, counted from 1.
    pub line: u64,
    /// The banner above it, which names the entry that it belongs to: `Name: t; Type: TABLE; …`.
    pub banner: Option<Arc<str>>,
    /// Whether rows follow.
    pub reads_rows: bool,
}

impl Statement {
    /// The text for the server, whatever its encoding.
    pub fn sql(&self) -> String {
        from_bytes(&self.text)
    }

    /// Whether it begins or ends the transaction that dumps put around large objects.
    pub fn is_transaction(&self) -> bool {
        matches!(&self.text[..], b"BEGIN;" | b"COMMIT;")
    }

    /// The kind of the entry that it belongs to, as the banner shows it: `TABLE`.
    pub fn kind(&self) -> Option<&str> {
        let banner = self.banner.as_deref()?;
        // From the end: a name may hold anything.
        let (rest, _) = banner.rsplit_once("; Schema: ")?;
        rest.rsplit_once("; Type: ").map(|(_, kind)| kind)
    }
}

/// Why a script cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScriptError {
    /// The text ends where no script does.
    #[error("the script ends within {within}, which begins in line {line}: it was cut")]
    CutOff {
        /// `a statement` or `the rows of a COPY`.
        within: &'static str,
        /// The line.
        line: u64,
    },
    /// A command of psql that no dump has.
    #[error(
        "line {line} has psql's command \\{command}, which is not supported\nHINT: only \\restrict, \\unrestrict, \\connect and \\encoding are; run this script with psql"
    )]
    UnknownCommand {
        /// Its name.
        command: String,
        /// The line.
        line: u64,
    },
    /// A command between `\restrict` and `\unrestrict`, or the wrong key: somebody has put it into the data.
    #[error(
        "line {line}: \\{command} is not allowed here: the script is restricted by a key that is not repeated"
    )]
    Restricted {
        /// Its name.
        command: String,
        /// The line.
        line: u64,
    },
    /// `\restrict` or `\unrestrict` in the wrong place or without a key.
    #[error("line {line}: \\{command} {problem}")]
    BadRestriction {
        /// Its name.
        command: String,
        /// What is wrong.
        problem: &'static str,
        /// The line.
        line: u64,
    },
    /// The comment that ends every dump is missing.
    #[error("the script ends in line {line} without the comment \"{comment}\": it was cut")]
    NotComplete {
        /// The comment.
        comment: String,
        /// The last line.
        line: u64,
    },
    /// Something between `COPY … FROM stdin;` and the end of its line.
    #[error("line {line}: text follows COPY … FROM stdin in its line, where its rows were to begin")]
    TextBeforeRows {
        /// The line.
        line: u64,
    },
}

/// Reads a script.
///
/// ```text
/// feed text … until next_step() gives a step; finish when there is no more
/// ```
#[derive(Debug)]
pub struct ScriptReader {
    text: BytesMut,
    is_all: bool,
    /// The line that `text` begins in.
    line: u64,
    mode: Mode,
    settings: Settings,
    banner: Option<Arc<str>>,
    /// The key of the last `\restrict`.
    key: Option<Bytes>,
    /// The comments that are to come at the ends of the dumps that have begun.
    ends: Vec<String>,
    /// Whether only a part of a script is read.
    is_part: bool,
}

#[derive(Debug)]
enum Mode {
    Between,
    Statement(Box<Lexer>),
    /// After a COPY, before the end of its line.
    BeforeRows,
    Rows {
        /// Whether `text` begins with a row.
        at_start: bool,
    },
}

impl Default for ScriptReader {
    fn default() -> Self {
        ScriptReader {
            text: BytesMut::new(),
            is_all: false,
            line: 1,
            mode: Mode::Between,
            settings: Settings { standard_strings: true, characters: Characters::Safe },
            banner: None,
            key: None,
            ends: Vec::new(),
            is_part: false,
        }
    }
}

impl ScriptReader {
    /// Reads another part of the script that `self` has read the settings of.
    pub fn part(&self) -> ScriptReader {
        ScriptReader { settings: self.settings, is_part: true, ..ScriptReader::default() }
    }

    /// Adds text.
    pub fn feed(&mut self, text: &[u8]) {
        self.text.extend_from_slice(text);
    }

    /// Says that no more text will come.
    pub fn finish(&mut self) {
        self.is_all = true;
    }

    /// The next step; `None` when more text is needed, or after [`ScriptReader::finish`] when all is done.
    pub fn next_step(&mut self) -> Result<Option<Step>, ScriptError> {
        loop {
            match &mut self.mode {
                Mode::Between => {
                    if !self.skip_between() {
                        return self.is_complete().map(|()| None);
                    }
                    if self.text.first() != Some(&b'\\') {
                        self.mode = Mode::Statement(Box::new(Lexer::new(self.settings)));
                        continue;
                    }
                    let Some(line) = self.take_line() else { return Ok(None) };
                    if let Some(step) = self.command(&line)? {
                        return Ok(Some(step));
                    }
                }
                Mode::Statement(lexer) => match lexer.scan(&self.text, self.is_all) {
                    Stop::Starved if self.is_all => {
                        return Err(ScriptError::CutOff { within: "a statement", line: self.line });
                    }
                    Stop::Starved => return Ok(None),
                    Stop::Backslash(at) => {
                        let is_whole = self.text[at..].iter().any(u8::is_ascii_whitespace);
                        if !is_whole && !self.is_all {
                            return Ok(None);
                        }
                        let line = self.line + newlines(&self.text[..at]);
                        let command = word(&self.text[at + 1..]);
                        return Err(ScriptError::UnknownCommand { command, line });
                    }
                    Stop::End(length) => {
                        let reads_rows = lexer.reads_rows();
                        return Ok(Some(Step::Statement(self.statement(length, reads_rows))));
                    }
                },
                Mode::BeforeRows => {
                    if !self.skip_rest_of_line()? {
                        return Ok(None);
                    }
                    self.mode = Mode::Rows { at_start: true };
                }
                Mode::Rows { at_start } => {
                    let at_start = *at_start;
                    return self.rows(at_start);
                }
            }
        }
    }

    /// Skips blanks and comments; false if more text is needed to find a statement.
    fn skip_between(&mut self) -> bool {
        loop {
            let blanks = self.text.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.advance(blanks);
            match self.text.get(..2) {
                Some(b"--") => {
                    let Some(line) = self.take_line() else { return false };
                    self.note_banner(&line);
                }
                None if !self.is_all => return false,
                _ => return !self.text.is_empty(),
            }
        }
    }

    /// At the end, whether all dumps that have begun are complete: a file that was cut between two statements
    /// reads well otherwise.
    fn is_complete(&self) -> Result<(), ScriptError> {
        match self.ends.last() {
            Some(comment) if self.is_all && !self.is_part => {
                Err(ScriptError::NotComplete { comment: comment.clone(), line: self.line })
            }
            _ => Ok(()),
        }
    }

    fn advance(&mut self, length: usize) {
        self.line += newlines(&self.text[..length]);
        self.text.advance(length);
    }

    /// The next line, whole, without its end.
    fn take_line(&mut self) -> Option<Bytes> {
        let end = match memchr::memchr(b'\n', &self.text) {
            Some(end) => end,
            None if self.is_all => self.text.len(),
            None => return None,
        };
        let line = self.text.split_to(end).freeze();
        if !self.text.is_empty() {
            self.advance(1);
        }
        Some(line)
    }

    fn note_banner(&mut self, comment: &[u8]) {
        if comment.starts_with(b"-- PostgreSQL database ") {
            self.note_frame(&String::from_utf8_lossy(comment));
        }
        let text = comment.strip_prefix(b"-- Data for ").or(comment.strip_prefix(b"-- "));
        if let Some(text) = text.filter(|text| text.starts_with(b"Name: ")) {
            self.banner = Some(String::from_utf8_lossy(text).into());
        }
    }

    /// Dumps of databases stand within the one of their cluster.
    fn note_frame(&mut self, comment: &str) {
        if self.ends.last().is_some_and(|end| end == comment.trim_end()) {
            self.ends.pop();
        } else if comment.trim_end().ends_with(" dump") {
            self.ends.push(format!("{} complete", comment.trim_end()));
        }
    }

    fn statement(&mut self, length: usize, reads_rows: bool) -> Statement {
        let text = self.text.split_to(length).freeze();
        let statement = Statement { line: self.line, banner: self.banner.clone(), reads_rows, text };
        self.line += newlines(&statement.text);
        self.note_setting(&statement.text);
        self.mode = if reads_rows { Mode::BeforeRows } else { Mode::Between };
        statement
    }

    /// Follows the settings that decide how the rest is read, in the form that dumps have them.
    fn note_setting(&mut self, statement: &[u8]) {
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

    /// Runs a command of psql, or says what it asks for.
    fn command(&mut self, text: &Bytes) -> Result<Option<Step>, ScriptError> {
        // The line has been taken already.
        let line = self.line - u64::from(!self.text.is_empty() || !self.is_all);
        let command = word(&text[1..]);
        let rest = text.slice(1 + command.len()..);
        let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let argument = rest.slice(blanks..rest.trim_ascii_end().len().max(blanks));
        let bad = |problem| ScriptError::BadRestriction { command: command.clone(), problem, line };
        match command.as_str() {
            "restrict" if self.key.is_some() => Err(ScriptError::Restricted { command, line }),
            "restrict" if argument.is_empty() => Err(bad("has no key")),
            "restrict" => {
                self.key = Some(argument);
                Ok(None)
            }
            "unrestrict" if self.key.is_none() => Err(bad("stands where nothing is restricted")),
            "unrestrict" if self.key.as_ref() == Some(&argument) => {
                self.key = None;
                Ok(None)
            }
            "unrestrict" => Err(ScriptError::Restricted { command, line }),
            "connect" | "c" if self.key.is_some() => Err(ScriptError::Restricted { command, line }),
            "connect" | "c" => Ok(Some(Step::Connect { argument, line })),
            "encoding" if self.key.is_some() => Err(ScriptError::Restricted { command, line }),
            // Before `\connect` with a name that is more than letters and digits.
            "encoding" => {
                let name = argument.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'"));
                let name = String::from_utf8_lossy(name.unwrap_or(&argument)).into_owned();
                let text = Bytes::from(format!("SET client_encoding = '{}';", name.replace('\'', "''")));
                self.note_setting(&text);
                let (banner, reads_rows) = (self.banner.clone(), false);
                Ok(Some(Step::Statement(Statement { text, line, banner, reads_rows })))
            }
            _ => Err(ScriptError::UnknownCommand { command, line }),
        }
    }

    /// After a COPY nothing may stand in its line. False if more text is needed.
    fn skip_rest_of_line(&mut self) -> Result<bool, ScriptError> {
        let blanks = self.text.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
        self.advance(blanks);
        match self.text.first() {
            Some(b'\n') => {
                self.advance(1);
                Ok(true)
            }
            Some(_) => Err(ScriptError::TextBeforeRows { line: self.line }),
            None if self.is_all => Err(ScriptError::CutOff { within: "the rows of a COPY", line: self.line }),
            None => Ok(false),
        }
    }

    fn rows(&mut self, at_start: bool) -> Result<Option<Step>, ScriptError> {
        if at_start {
            let line = memchr::memchr(b'\n', &self.text).map(|end| &self.text[..end]);
            let may_end = self.text.len() < 3 && b"\\.\r".starts_with(&self.text);
            match line {
                Some(b"\\." | b"\\.\r") => {
                    let length = line.map_or(0, <[u8]>::len);
                    self.advance(length + 1);
                    self.mode = Mode::Between;
                    return Ok(Some(Step::EndOfRows));
                }
                None if self.is_all && matches!(self.text.as_ref(), b"\\." | b"\\.\r") => {
                    self.advance(self.text.len());
                    self.mode = Mode::Between;
                    return Ok(Some(Step::EndOfRows));
                }
                None if may_end || self.text.as_ref() == b"\\.\r" => return self.starved_of_rows(),
                _ => {}
            }
        }
        if self.text.is_empty() {
            return self.starved_of_rows();
        }
        // Up to what may be the end, which stands in a line of its own.
        let end = memchr::memmem::find_iter(&self.text, b"\n\\.")
            .map(|at| at + 1)
            .find(|at| !matches!(self.text.get(at + 2), Some(byte) if !matches!(byte, b'\n' | b'\r')));
        // The last line may be the beginning of the end.
        let length = end.unwrap_or(self.text.len() - usize::from(self.text.ends_with(b"\n\\")));
        let rows = self.text.split_to(length).freeze();
        self.line += newlines(&rows);
        self.mode = Mode::Rows { at_start: rows.ends_with(b"\n") };
        Ok(Some(Step::Rows(rows)))
    }

    fn starved_of_rows(&self) -> Result<Option<Step>, ScriptError> {
        match self.is_all {
            true => Err(ScriptError::CutOff { within: "the rows of a COPY", line: self.line }),
            false => Ok(None),
        }
    }
}

fn newlines(text: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', text).count() as u64
}

/// The word that the text begins with.
fn word(text: &[u8]) -> String {
    let length = text.iter().take_while(|byte| !byte.is_ascii_whitespace()).count();
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All steps, with rows joined, of a script that comes in pieces of `size`.
    fn read(script: &[u8], size: usize) -> Result<Vec<Step>, ScriptError> {
        let mut reader = ScriptReader::default();
        let mut steps = Vec::new();
        let mut pieces = script.chunks(size);
        loop {
            match reader.next_step()? {
                Some(Step::Rows(rows)) => match steps.last_mut() {
                    Some(Step::Rows(before)) => *before = [&before[..], &rows].concat().into(),
                    _ => steps.push(Step::Rows(rows)),
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
    fn read_in_any_pieces(script: &[u8]) -> Result<Vec<Step>, ScriptError> {
        let whole = read(script, script.len().max(1));
        for size in 1..script.len() {
            assert_eq!(read(script, size), whole, "in pieces of {size}");
        }
        whole
    }

    fn text(steps: &[Step]) -> Vec<String> {
        steps
            .iter()
            .map(|step| match step {
                Step::Statement(s) => {
                    format!(
                        "{}: {}{}",
                        s.line,
                        String::from_utf8_lossy(&s.text),
                        if s.reads_rows { " <" } else { "" }
                    )
                }
                Step::Connect { argument, line } => {
                    format!("{line}: connect {}", String::from_utf8_lossy(argument))
                }
                Step::Rows(rows) => format!("rows {:?}", String::from_utf8_lossy(rows)),
                Step::EndOfRows => "end of rows".to_owned(),
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
        let Step::Statement(copy) = &steps[3] else { panic!("{steps:?}") };
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
        assert!(error(b"SELECT 1;\n\\! rm -rf /\n").starts_with("line 2 has psql's command \\!,"));
        assert!(error(b"SELECT 1\n \\gexec\n").starts_with("line 2 has psql's command \\gexec,"));
        assert!(error(b"\\i other.sql").starts_with("line 1 has psql's command \\i,"));
        assert!(
            error(b"\\restrict a\n\\encoding SJIS\n").starts_with("line 2: \\encoding is not allowed here")
        );
        assert!(error(b"\\restrict a\n\\connect x\n").starts_with("line 2: \\connect is not allowed here"));
        assert!(
            error(b"\\restrict a\n\\unrestrict b\n").starts_with("line 2: \\unrestrict is not allowed here")
        );
        assert!(error(b"\\restrict a\n\\restrict b\n").starts_with("line 2: \\restrict is not allowed here"));
        assert_eq!(error(b"\\unrestrict b\n"), "line 1: \\unrestrict stands where nothing is restricted");
        assert_eq!(error(b"\n\\restrict \n"), "line 2: \\restrict has no key");
        assert!(error(b"COPY t FROM stdin; SELECT 1;\n").starts_with("line 1: text follows COPY"));
    }
}
