//! Measures how fast plain scripts are read, without a server. The part `script` of `make bench` builds this
//! program with the profile of the released one and runs it. `bench_script MEGABYTES` reads this amount of
//! each kind of text once, and prints a line for each: the bytes, the seconds of processor time, and the
//! kind.

#![allow(clippy::unwrap_used, clippy::panic)]

use pg_backup::restore::script::{ScriptReader, ScriptStep};

/// Size in bytes of the pieces that a restore feeds.
const PIECE: usize = 256 << 10;

/// A kind of text: its name, its beginning, the repeated part, and its end.
struct Kind(&'static str, &'static str, &'static str, &'static str);

const INSERT: &str =
    "INSERT INTO public.pgbench_accounts VALUES (4711, 1, 0, '                                        ');\n";
const EVENT: &str = "INSERT INTO public.events VALUES (17, '2026-01-01 00:00:02.21+00', '{\"kind\": \"view\", \"path\": \"/shop/12/item/345\", \
    \"user\": 271828, \"agent\": \"Mozilla/5.0 (X11; Linux x86_64) Chrome/107.0.0.0 Safari/537.36\", \"session\": \"cfcd208495d565ef66e7dff9f98764da\"}');\n";

const KINDS: &[Kind] = &[
    Kind("INSERTs of short rows", "", INSERT, ""),
    Kind("INSERTs of jsonb", "", EVENT, ""),
    Kind("INSERTs of many rows", "", "", ""),
    Kind(
        "rows of COPY",
        "COPY t FROM stdin;\n",
        "4711\t1\t0\tfiller filler filler filler filler filler filler\n",
        "\\.\n",
    ),
    Kind(
        "rows of COPY, each of which begins with a backslash",
        "COPY t FROM stdin;\n",
        "\\N\t\\N\n",
        "\\.\n",
    ),
    Kind("rows of COPY that look like its end", "COPY t FROM stdin;\n", "\\.x\n", "\\.\n"),
    Kind("rows of COPY without text", "COPY t FROM stdin;\n", "\n", "\\.\n"),
    Kind("one block comment", "/*", " a comment without an end", "*/"),
    Kind("one block comment of stars and slashes", "/*", "* / ", "*/"),
    Kind("comments within comments, opened and closed", "/*", "/**/", "*/"),
    Kind("comments within comments, all opened first", "", "", ""),
    Kind("comments between statements", "", "/**/", ""),
    Kind("one comment line", "--", " a comment without an end", "\n"),
    Kind("short comment lines", "", "--\n", ""),
    Kind("empty statements", "", ";", ""),
    Kind("empty statements in lines of their own", "", ";\n", ""),
    Kind("statements, each of two bytes", "", "x;", ""),
    Kind("statements, each of one word", "", "COMMIT;\n", ""),
    Kind("one literal", "SELECT '", "text without an end ", "';"),
    Kind("one literal of quotes", "SELECT '", "''", "';"),
    Kind("one literal of backslashes", "SELECT E'", "\\\\", "';"),
    Kind("one body between dollars", "DO $body$", "text without an end ", "$body$;"),
    Kind("one body of dollars", "DO $body$", "$", "$body$;"),
    Kind("one body that nearly ends", "DO $body$", "$bod", "$body$;"),
    Kind("many short bodies", "SELECT 1", ",$$$$", ";"),
    Kind("one statement of short words", "SELECT a", ",a", ";"),
    Kind("one statement of words that end in a prefix", "SELECT a", " e", ";"),
    Kind("one statement of keywords", "SELECT 1 ", "FROM stdin ", ";"),
    Kind("one statement of numbers", "SELECT 1", ",1", ";"),
    Kind("one statement of parameters", "SELECT 1", ",$1", ";"),
    Kind("one statement of dollars", "SELECT 1", "$ ", ";"),
    Kind("one statement of operators", "SELECT 1", "-/", ";"),
    Kind("one statement of parentheses", "SELECT ", "()", ";"),
    Kind("one statement of names", "SELECT a", ",\"\"", ";"),
    Kind("one statement of short literals", "SELECT a", ",''", ";"),
    Kind("one statement of literals in several lines", "SELECT ''", "\n''", ";"),
    Kind(
        "one body of SQL",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC ",
        "SELECT CASE WHEN a THEN b END; ",
        "END;",
    ),
    Kind("one literal in SJIS", "SET client_encoding = 'SJIS';\nSELECT '", "\u{e9}\u{e8}", "';"),
];

/// Returns the text of a kind, of about this many bytes.
fn text(kind: &Kind, bytes: usize) -> Vec<u8> {
    let Kind(name, begin, inner, end) = kind;
    let times = |text: &str, bytes: usize| text.repeat(bytes / text.len());
    match *name {
        "comments within comments, all opened first" => {
            (times("/*", bytes / 2) + &times("*/", bytes / 2)).into_bytes()
        }
        "INSERTs of many rows" => {
            let rows = "\t(4711, 1, 0, '                                        '),\n".repeat(999);
            let statement = format!("INSERT INTO public.pgbench_accounts VALUES\n{rows}\t(1, 1, 0, 'x');\n");
            times(&statement, bytes).into_bytes()
        }
        _ => [begin, times(inner, bytes).as_str(), end].concat().into_bytes(),
    }
}

/// Reads a script as a restore does, and counts its steps.
fn read(script: &[u8]) -> u64 {
    let mut reader = ScriptReader::default();
    let mut pieces = script.chunks(PIECE);
    let (mut steps, mut is_all) = (0, false);
    loop {
        match reader.next_step().unwrap() {
            Some(
                ScriptStep::Statement(_)
                | ScriptStep::Rows(_)
                | ScriptStep::EndOfRows
                | ScriptStep::Connect { .. },
            ) => steps += 1,
            None if is_all => return steps,
            None => match pieces.next() {
                Some(piece) => reader.feed(piece),
                None => {
                    is_all = true;
                    reader.finish();
                }
            },
        }
    }
}

/// Returns the processor time of this thread, which does all of the reading.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts it");
    let nanoseconds: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).expect("it is a number");
    nanoseconds / 1e9
}

fn main() {
    let megabytes: usize = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(100);
    let only = std::env::args().nth(2);
    for kind in KINDS {
        if only.as_ref().is_some_and(|only| !kind.0.contains(only.as_str())) {
            continue;
        }
        let script = text(kind, megabytes * 1_000_000);
        let begin = processor_seconds();
        std::hint::black_box(read(&script));
        println!("{} {:.6} {}", script.len(), processor_seconds() - begin, kind.0);
    }
}
