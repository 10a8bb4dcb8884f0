//! Generated plain scripts: dumps, random sequences of tokens, and both damaged.
//!
//! A script has the same steps however it is split into pieces. All its statements, rows and commands are in
//! the script in this order. Between them there are only blanks, comments, empty statements, the rest of the
//! line of a COPY, and the end of its rows.

use std::sync::Arc;

use fastrand::Rng;
use pg_backup::protocol::SqlSettings;
use pg_backup::restore::script::{ScriptError, ScriptReader, ScriptStep};

use super::mutate::{BULK, Pieces, blow_up, cuts, damage, one};
use super::{Target, Verdict, measured, within};

pub struct Scripts;

pub struct Input {
    script: Vec<u8>,
    /// The server's settings, if the reader follows a server.
    settings: Option<SqlSettings>,
    may_end_early: bool,
    cuts: Vec<Vec<usize>>,
}

/// Memory of the reader for any input, in bytes: the beginning of a comment and the longest line of a
/// command, each twice while it grows.
const OWN: usize = 512 << 10;

/// Number of copies of the text: the buffered text, the fed piece, and a copy of each while it grows.
const TIMES: usize = 8;

impl Target for Scripts {
    const NAME: &'static str = "script";
    type Input = Input;

    fn generate(random: &mut Rng) -> Input {
        let mut script = match random.u8(..3) {
            0 => soup(random),
            _ => dump(random),
        };
        if random.u8(..3) > 0 {
            damage(random, &mut script, WORDS);
        }
        if random.u16(..400) == 0 {
            blow_up(random, &mut script, BULK);
        }
        let settings = (random.u8(..3) == 0).then(|| SqlSettings {
            standard_strings: random.bool(),
            encoding: Arc::from(one(random, &["UTF8", "SJIS", "BIG5", "GB18030", "JOHAB"])),
        });
        let cuts = (0..2).map(|_| cuts(random, script.len())).collect();
        Input { script, settings, may_end_early: random.bool(), cuts }
    }

    fn check(&mut self, input: &Input) -> Result<Verdict, String> {
        let script = input.script.as_slice();
        let ((steps, end), mut peak) = measured(|| read_whole(input));
        // The steps are kept here, and a step may have only one byte.
        within(
            peak,
            OWN + TIMES * script.len() + 4 * steps.capacity() * size_of::<ScriptStep>(),
            "reading it whole",
        )?;
        let longest = steps.iter().map(length).max().unwrap_or_default();
        // The rest of the line of a COPY is buffered until the end of its rows.
        let has_copies = steps.iter().any(|step| matches!(step, ScriptStep::Statement(s) if s.copies > 0));
        let longest_line = script.split(|byte| *byte == b'\n').map(<[u8]>::len).max().unwrap_or_default();
        let longest = if has_copies { longest.max(longest_line) } else { longest };
        for cuts in &input.cuts {
            let (same, taken) = measured(|| read_again(input, cuts, &steps, &end));
            same.map_err(|what| format!("cut after {cuts:?}: {what}"))?;
            let unread = if end.is_err() { script.len() - read_length(&steps).min(script.len()) } else { 0 };
            let piece = cuts.iter().copied().max().unwrap_or_default().min(script.len());
            within(taken, OWN + TIMES * (longest.max(unread) + piece), "reading it in pieces")?;
            peak = peak.max(taken);
        }
        if is_plain(input) {
            Account::new(script).of(&steps, end.is_ok())?;
        }
        Ok(Verdict::new(end.is_ok(), peak))
    }

    fn bytes(input: &Input) -> Vec<u8> {
        input.script.clone()
    }
}

fn reader(input: &Input) -> ScriptReader {
    let mut reader = ScriptReader::default();
    if input.may_end_early {
        reader = reader.allow_incomplete();
    }
    if let Some(settings) = &input.settings {
        reader.follow(settings);
    }
    reader
}

fn length(step: &ScriptStep) -> usize {
    match step {
        ScriptStep::Statement(statement) => statement.text.len(),
        ScriptStep::Connect { argument, .. } => argument.len(),
        // Rows are not buffered.
        ScriptStep::Rows(_) | ScriptStep::EndOfRows => 0,
    }
}

/// Returns the minimum number of bytes of the script that its steps contain.
fn read_length(steps: &[ScriptStep]) -> usize {
    steps.iter().map(|step| if let ScriptStep::Rows(rows) = step { rows.len() } else { length(step) }).sum()
}

/// Returns all steps, with rows joined, of a script that is fed in one piece.
fn read_whole(input: &Input) -> (Vec<ScriptStep>, Result<(), ScriptError>) {
    let mut reader = reader(input);
    reader.feed(&input.script);
    reader.finish();
    let mut steps = Vec::new();
    // Rows that look like the end of rows split them into several steps.
    let mut rows = Vec::new();
    let end = loop {
        match reader.next_step() {
            Ok(Some(ScriptStep::Rows(more))) => rows.extend_from_slice(&more),
            other => {
                if !rows.is_empty() {
                    steps.push(ScriptStep::Rows(std::mem::take(&mut rows).into()));
                }
                match other {
                    Ok(Some(step)) => steps.push(step),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        }
    };
    (steps, end)
}

/// Checks that it has the same steps if it is split into pieces.
fn read_again(
    input: &Input,
    cuts: &[usize],
    steps: &[ScriptStep],
    end: &Result<(), ScriptError>,
) -> Result<(), String> {
    let mut reader = reader(input);
    let mut pieces = Pieces::new(&input.script, cuts);
    let mut is_all = false;
    let mut expected = steps.iter().peekable();
    // Number of bytes of the expected rows so far.
    let mut come = 0;
    loop {
        let step = reader.next_step();
        if let Some(ScriptStep::Rows(rows)) = expected.peek()
            && come == rows.len()
            && !matches!(step, Ok(Some(ScriptStep::Rows(_)) | None))
        {
            come = 0;
            expected.next();
        }
        match step {
            Ok(None) => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None if !is_all => {
                    reader.finish();
                    is_all = true;
                }
                None => break,
            },
            Ok(Some(ScriptStep::Rows(rows))) => {
                let all = match expected.peek() {
                    Some(ScriptStep::Rows(all)) => all.get(come..).unwrap_or_default(),
                    _ => &[],
                };
                if !all.starts_with(&rows) {
                    return Err(format!(
                        "{:?} came as rows, not {:?}",
                        ScriptStep::Rows(rows),
                        expected.peek()
                    ));
                }
                come += rows.len();
            }
            Ok(Some(step)) => match expected.next() {
                Some(other) if *other == step => {}
                other => return Err(format!("{step:?} came, not {other:?}")),
            },
            Err(error) => {
                let is_same = end.as_ref() == Err(&error) && expected.next().is_none();
                return if is_same { Ok(()) } else { Err(format!("{error:?}, not {end:?}")) };
            }
        }
    }
    match (end, expected.next()) {
        (Ok(()), None) => Ok(()),
        (end, next) => Err(format!("it ended well, not with {end:?}, and without {next:?}")),
    }
}

/// Returns whether every byte below 0x80 is a character of its own.
fn is_plain(input: &Input) -> bool {
    let has = |words: &[u8]| memchr::memmem::find(&input.script, words).is_some();
    match &input.settings {
        Some(settings) => &*settings.encoding == "UTF8",
        None => !has(b"client_encoding") && !has(b"\\encoding"),
    }
}

/// The part of a script that has been matched with steps.
struct Account {
    /// The unmatched rest in the order of the steps: the rest of the line of a COPY follows its rows.
    left: Vec<u8>,
    /// The position of each of its bytes in the script.
    places: Vec<usize>,
    /// End of the matched part.
    at: usize,
    /// Ends of the lines of the script.
    line_ends: Vec<usize>,
    /// The rest of the line of a COPY, until the end of its rows.
    behind: (Vec<u8>, Vec<usize>),
}

impl Account {
    fn new(script: &[u8]) -> Self {
        Account {
            left: script.to_vec(),
            places: (0..script.len()).collect(),
            at: 0,
            line_ends: memchr::memchr_iter(b'\n', script).collect(),
            behind: (Vec::new(), Vec::new()),
        }
    }

    fn rest(&self) -> &[u8] {
        &self.left[self.at..]
    }

    /// Removes the rest of a COPY's line.
    fn put_behind(&mut self) {
        let length = memchr::memchr(b'\n', self.rest()).map_or(self.rest().len(), |end| end + 1);
        let range = self.at..self.at + length;
        self.behind = (self.left.drain(range.clone()).collect(), self.places.drain(range).collect());
    }

    /// Restores the rest of a COPY's line.
    fn bring_back(&mut self) {
        let (text, places) = std::mem::take(&mut self.behind);
        self.left.splice(self.at..self.at, text);
        self.places.splice(self.at..self.at, places);
    }

    fn of(mut self, steps: &[ScriptStep], is_whole: bool) -> Result<(), String> {
        if self.rest().starts_with(b"\xef\xbb\xbf") {
            self.at += 3;
        }
        let mut copies = 0;
        for step in steps {
            if copies == 0 {
                self.skip();
            }
            match step {
                ScriptStep::Statement(statement) if self.rest().starts_with(b"\\encoding") => {
                    self.line_is(statement.line)?;
                    self.skip_line();
                }
                ScriptStep::Statement(statement) => {
                    self.line_is(statement.line)?;
                    self.take_statement(&statement.text)?;
                    copies = statement.copies;
                    if copies > 0 {
                        self.put_behind();
                    }
                }
                ScriptStep::Connect { argument, line } => {
                    self.line_is(*line)?;
                    let end = memchr::memchr(b'\n', self.rest()).unwrap_or(self.rest().len());
                    let text = &self.rest()[..end];
                    if !(text.starts_with(b"\\c") && text.trim_ascii_end().ends_with(argument)) {
                        return Err(format!("{step:?} is not at byte {}", self.place()));
                    }
                    self.skip_line();
                }
                ScriptStep::Rows(rows) => self.take(rows, "the rows")?,
                ScriptStep::EndOfRows => {
                    self.take(b"\\.", "the end of the rows")?;
                    self.at += usize::from(self.rest().starts_with(b"\r"));
                    self.at += usize::from(self.rest().starts_with(b"\n"));
                    copies -= 1;
                    if copies == 0 {
                        self.bring_back();
                    }
                }
            }
        }
        if is_whole {
            self.skip();
            if !self.rest().is_empty() {
                return Err(format!("byte {} and what follows belong to no step", self.place()));
            }
        }
        Ok(())
    }

    /// Returns the current position in the script.
    fn place(&self) -> usize {
        self.places.get(self.at).copied().unwrap_or(usize::MAX)
    }

    fn take(&mut self, text: &[u8], what: &str) -> Result<(), String> {
        if !self.rest().starts_with(text) {
            let shown = String::from_utf8_lossy(&text[..text.len().min(200)]);
            return Err(format!("{what} {shown:?} is not at byte {}", self.place()));
        }
        self.at += text.len();
        Ok(())
    }

    /// Matches a statement, in which `\\;` and `\\:` of the script have no backslash.
    fn take_statement(&mut self, text: &[u8]) -> Result<(), String> {
        let begin = self.place();
        for byte in text {
            if *byte != b'\\' && matches!(self.rest(), [b'\\', next @ (b';' | b':'), ..] if next == byte) {
                self.at += 1;
            }
            if self.rest().first() != Some(byte) {
                let shown = String::from_utf8_lossy(&text[..text.len().min(200)]);
                return Err(format!("the statement {shown:?} is not at byte {begin}"));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn line_is(&self, line: u64) -> Result<(), String> {
        let place = self.place();
        let lines = 1 + self.line_ends.partition_point(|end| *end < place) as u64;
        if lines == line {
            return Ok(());
        }
        Err(format!("the step at byte {place} is in line {lines}, and says {line}"))
    }

    fn skip_line(&mut self) {
        self.at += memchr::memchr(b'\n', self.rest()).map_or(self.rest().len(), |end| end + 1);
    }

    /// Skips text that belongs to no step.
    fn skip(&mut self) {
        loop {
            match self.rest() {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0c | b';', ..] => self.at += 1,
                [b'-', b'-', ..] => self.skip_line(),
                [b'/', b'*', ..] => self.skip_comment(),
                rest if rest.starts_with(b"\\restrict") || rest.starts_with(b"\\unrestrict") => {
                    self.skip_line();
                }
                _ => return,
            }
        }
    }

    fn skip_comment(&mut self) {
        let mut depth = 0;
        loop {
            match self.rest() {
                [b'/', b'*', ..] => (self.at, depth) = (self.at + 2, depth + 1),
                [b'*', b'/', ..] => (self.at, depth) = (self.at + 2, depth - 1),
                [] => return,
                _ => self.at += 1,
            }
            if depth == 0 {
                return;
            }
        }
    }
}

/// Generates one dump or several.
fn dump(random: &mut Rng) -> Vec<u8> {
    let mut script = Vec::new();
    let is_framed = random.bool();
    if random.u8(..8) == 0 {
        script.extend(b"\xef\xbb\xbf");
    }
    if is_framed {
        script.extend(b"--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\n");
    }
    for _ in 0..random.usize(..12) {
        script.extend(one(random, PARTS));
        if random.bool() {
            script.push(b'\n');
        }
        if random.u8(..3) == 0 {
            copy(random, &mut script);
        }
    }
    if is_framed && random.u8(..4) > 0 {
        script.extend(b"\n\\unrestrict abc\n\n--\n-- PostgreSQL database dump complete\n--\n\n");
    }
    script
}

fn copy(random: &mut Rng, script: &mut Vec<u8>) {
    script.extend(b"COPY public.t (a, b) FROM stdin;");
    script.extend(one(
        random,
        &[
            &b"\n"[..],
            b"\n",
            b" -- note\n",
            b" SELECT 1;\n",
            b" COPY u FROM stdin;\n",
            b" SELECT\n",
            b"\r\n",
            b" \t\n",
            b"-- \\.\n",
        ],
    ));
    for _ in 0..random.usize(..8) {
        script.extend(one(random, ROWS));
    }
    script.extend(one(random, &[&b"\\.\n"[..], b"\\.\n", b"\\.\r\n", b"\\.", b""]));
}

fn soup(random: &mut Rng) -> Vec<u8> {
    let few = random.usize(1..WORDS.len());
    let mut script = Vec::new();
    for _ in 0..random.usize(..60) {
        // Few tokens, so that combinations of them are likely.
        script.extend(WORDS[random.usize(..=few) % WORDS.len()]);
        if random.u8(..4) == 0 {
            script.push(b' ');
        }
    }
    script
}

const ROWS: &[&[u8]] = &[
    b"1\tone\n",
    b"\\N\t\\\\.\n",
    b"\n",
    b"\\.x\n",
    b"\\\n",
    b"\\\\.\n",
    b"x\\.\n",
    b"\r\n",
    b"'; DROP TABLE t; --\n",
    b"\xe9\x83\x5c\n",
    b"\\.\r\r\n",
];

const PARTS: &[&[u8]] = &[
    b"SET standard_conforming_strings = on;",
    b"SET standard_conforming_strings = off;",
    b"SET client_encoding = 'SJIS';",
    b"SET client_encoding = 'UTF8';",
    b"\\encoding 'BIG5'\n",
    b"SELECT 1 \\; SELECT ';' \\; SELECT 3;",
    b"SELECT 1 \\; COPY t FROM stdin \\; SELECT 2;\n1\n\\.\n",
    b"\\connect \"my db\"\n",
    b"\\c other\n",
    b"--\n-- Name: t; Type: TABLE; Schema: public; Owner: me\n--\n\n",
    b"-- Data for Name: t; Type: TABLE DATA; Schema: public; Owner: me\n",
    b"-- Statistics for Name: t; Type: STATISTICS DATA; Schema: public; Owner: -\n",
    b"CREATE TABLE t (a integer, b text DEFAULT 'it''s;');",
    b"INSERT INTO t VALUES (1, E'it\\'s;'), (2, 'back\\');",
    b"CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS $_$SELECT ';', $1;$_$;",
    b"CREATE OR REPLACE FUNCTION g() RETURNS integer BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;",
    b"CREATE RULE r AS ON INSERT TO t DO (SELECT 1; SELECT 2);",
    b"/* a /* nested; */ comment */",
    b"COMMENT ON TABLE t IS U&'d\\0061t\\+000061; ' UESCAPE '!';",
    b"SELECT 'a'\n  'b;' -- c;\n 'd';",
    b"SELECT \"a;\"\"b\", $1, 1a, x'1f', $a$;$b$;$a$;",
    b"COPY t TO STDOUT;",
    b"BEGIN;",
    b"COMMIT;",
    b";;;",
    b"SELECT '\x83\x5c', \"\x95\x5c\", '\xe3\x81\x82';",
    b"SELECT pg_catalog.lowrite(0, '\\x616263');",
];

/// Tokens that have a meaning to the lexer.
const WORDS: &[&[u8]] = &[
    b";",
    b"'",
    b"\"",
    b"$$",
    b"$a$",
    b"$",
    b"--",
    b"/*",
    b"*/",
    b"\n",
    b"\\",
    b"\\.\n",
    b"(",
    b")",
    b"E'",
    b"U&'",
    b"U&\"",
    b"x'",
    b"begin atomic ",
    b"end ",
    b"case ",
    b"create function ",
    b"create or replace procedure ",
    b"copy t from stdin;\n",
    b"copy t to stdout;",
    b"\\restrict k\n",
    b"\\unrestrict k\n",
    b"\\connect d\n",
    b"\\encoding SJIS\n",
    b"-- PostgreSQL database dump\n",
    b"-- PostgreSQL database dump complete\n",
    b"-- Name: ",
    b"SET standard_conforming_strings = off;",
    b"SET client_encoding = 'GB18030';",
    b"\x83",
    b"\x81\x30\x81\x30",
    b"\x8f",
    b"\xef\xbb\xbf",
    b"\0",
    b"\r",
    b"\t",
    b"\x0b",
    b"\x0c",
    b"-",
    b"/",
    b"*",
    b"1",
    b"a",
    b"u&",
    b"_",
];
