//! The runner of documents: what it accepts, and that it detects every fault in a document. Also the length
//! of lines in all documents.

use std::process::Command;

use crate::harness::document::{Document, Failure, Fixture, Reading, repository};
use crate::harness::program;

/// Runs a text. Returns the number of blocks that were run.
fn run(text: &str) -> Result<usize, Failure> {
    let directory = tempfile::tempdir().unwrap();
    Reading::of(&Document::parse("TEST.md", text)?, Fixture::in_directory(directory.path())).finish()
}

/// Fails the test unless the text fails with these words.
#[track_caller]
fn assert_fails(text: &str, words: &[&str]) {
    let failure = run(text).expect_err("it must fail").to_string();
    for word in words {
        assert!(failure.contains(word), "\"{word}\" is not in\n{failure}");
    }
}

#[test]
fn all_blocks_run_in_one_shell_and_in_order() {
    let text = "# One\n```sh\nexport NAME=value\nf() { echo \"of a function\"; }\nmkdir sub && cd sub\n```\n\
                ## Two\n```text\nfalse\n```\n```console\n$ echo \"$NAME $(basename \"$PWD\")\" && f\nvalue sub\nof a function\n\
                $ echo one \\\n>   two; echo three >&2\none two\nthree\n```\n\
                - in a list\n  ```sh\n  cat <<END >here\n  text\n  END\n  test \"$(cat here)\" = text\n  ```\n";
    assert_eq!(run(text), Ok(3));
}

#[test]
fn a_failing_command_fails_with_its_place() {
    let text = "# One\n\ntext\n```sh\ntrue\necho before\necho bad >&2; (exit 3)\ntouch never\n```\n";
    assert_fails(text, &["TEST.md:7, in \"One\"", "exit code 3", "( exit 3 )", "before\n", "bad\n"]);
    assert_fails("```console\n$ false\n```\n", &["TEST.md:2", "exit code 1"]);
    assert_fails("```sh\nfalse | true\n```\n", &["TEST.md:2", "exit code 1"]);
    assert_fails("```sh\n\necho \"$NOT_SET\"\n```\n", &["NOT_SET: unbound variable"]);
    assert_fails("```sh\nf() { false; }\n```\n```sh\nf\n```\n", &["TEST.md:5", "false"]);
    assert_fails("```sh\nexit 0\n```\n```sh\ntrue\n```\n", &["exit code 0"]);
    assert_eq!(run("```console\n$ (exit 6) || echo \"exit code $?\"\nexit code 6\n```\n"), Ok(1));
}

#[test]
fn what_each_reader_types_is_run_in_the_same_shell_and_a_block_can_be_run_again() {
    let text = "# One\n```sh\necho \"of $NAME\"\n```\n# Two\n";
    let document = Document::parse("TEST.md", text).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut reading = Reading::of(&document, Fixture::in_directory(directory.path()));
    assert_eq!(reading.type_in("NAME=value; echo said; echo too >&2").unwrap(), "said\ntoo\n");
    reading.until("Two").unwrap();
    assert_eq!(reading.printed(), "of value\n");
    reading.type_in("NAME=other").unwrap();
    reading.again().unwrap();
    assert_eq!(reading.printed(), "of other\n");
    let failure = reading.type_in("false").expect_err("it must fail").to_string();
    assert!(failure.contains("typed in, while TEST.md was read: ended with exit code 1"), "{failure}");
}

#[test]
fn wrong_output_fails() {
    for (printed, shown) in [
        ("two", "one"),
        ("one\\ntwo", "one"),
        ("one", "one\ntwo"),
        ("one\\nthree", "one\n…\ntwo"),
        ("a c", "a … b"),
        ("metadata: FAILED in 3s", "metadata: OK in 3s"),
        ("3 tables", "3.5 MiB tables"),
        ("", "one"),
        ("one", ""),
    ] {
        let text = format!("```console\n$ printf '{printed}\\n'\n{shown}\n```\n");
        assert_fails(&text, &["TEST.md:2", "prints something else"]);
    }
}

#[test]
fn output_is_shown_below_commands() {
    let text =
        |shown: &str| format!("```sh\necho one\necho 3s >&2\n```\nIt prints:\n```output\n{shown}\n```\n");
    assert_eq!(run(&text("one\n12s")), Ok(1));
    assert_fails(&text("one"), &["TEST.md:2", "prints something else", "3s"]);
    assert_fails(&text("one\nB"), &["TEST.md:2", "prints something else"]);
    let misplaced = "output is shown below a block of sh, once";
    assert_fails(&format!("{}```output\none\n```\n", text("one\n3s")), &["TEST.md:10", misplaced]);
    assert_fails("```output\none\n```\n", &["TEST.md:1", misplaced]);
    assert_fails("```text\none\n```\n```output\none\n```\n", &["TEST.md:4", misplaced]);
    let reason = "<!-- not run: why -->\n```output\none\n```\n";
    assert_fails(&format!("```sh\ntrue\n```\n{reason}"), &["TEST.md:5", "needs no reason"]);
    assert_eq!(run("<!-- not run: why -->\n```sh\nfalse\n```\n```output\none\n```\n"), Ok(0));
}

#[test]
fn a_block_with_a_shell_of_its_own_finds_nothing_of_another() {
    let text = "```sh\ncd /\nNAME=value\nf() { true; }\n```\n```sh\ntest -z \"${NAME-}\" && test \"$PWD\" != / && ! f\n```\n\
                ```sh\necho \"$NAME\"\n```\n";
    let document = Document::parse("TEST.md", text).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let fixture = Fixture::in_directory(directory.path()).with_a_shell_for_each_block();
    let failure = Reading::of(&document, fixture).finish().expect_err("the last one fails").to_string();
    assert!(failure.contains("TEST.md:10") && failure.contains("NAME: unbound variable"), "{failure}");
}

#[test]
fn what_differs_from_run_to_run_is_alike() {
    for (printed, shown) in [
        ("1 table, 2026-11-23T07:12:06Z", "21 table, 2025-01-02T03-04-05Z"),
        ("demo      2026-11-23T07:12:09Z   46.3 KiB", "demo 2026-11-23T07:12:09Z 146.3 MiB"),
        ("at db.example.com:5432 in 3.25s", "at 127.0.0.1:6543 in 12s"),
        ("ok  3s  46.3 KiB", "ok  1h 12m  139.1 KiB"),
        ("----+-------", "--------+---"),
        ("sha 0123456789abcdef0123", "sha fedcba9876543210ffff"),
        ("one\\ntwo\\nthree", "one\n…\nthree"),
        ("one\\nthree", "one\n…\nthree"),
        ("one\\nthree\\n\\n", "one\n…"),
        ("a long way to b", "a … b"),
    ] {
        let text = format!("```console\n$ printf -- '{printed}\\n'\n{shown}\n```\n");
        assert_eq!(run(&text), Ok(1), "{printed}");
    }
}

#[test]
fn nothing_is_passed_over_in_silence() {
    assert_fails("one\n\n```\nfalse\n```\n", &["TEST.md:3", "must say what it is"]);
    assert_fails("```bash\nfalse\n```\n", &["TEST.md:1", "\"bash\" is to do is not known"]);
    assert_fails("~~~sh\nfalse\n~~~\n", &["TEST.md:1", "tildes"]);
    assert_fails("```sh\nfalse\n", &["TEST.md:1", "does not end"]);
    assert_fails("```console\noutput\n```\n", &["TEST.md:2", "the first line"]);
    assert_fails("```console\n```\n", &["TEST.md:1", "without a command"]);
    let comment = "a comment directly above a block can only be <!-- not run: why -->";
    for wrong in ["<!-- skip -->", "<!-- not run: -->", "<!-- not run -->"] {
        assert_fails(&format!("{wrong}\n```sh\nfalse\n```\n"), &["TEST.md:1", comment]);
    }
    assert_fails("<!-- not run: why -->\n\n```sh\nfalse\n```\n", &["TEST.md:1", "no block follows"]);
    assert_fails("<!-- not run: why -->\n```text\nfalse\n```\n", &["TEST.md:2", "needs no reason"]);
    assert_fails("```sh\ntrue\n```\n<!-- not run: why -->\n", &["TEST.md:4", "no block follows"]);
}

#[test]
fn a_block_with_a_reason_is_not_run_and_is_reported() {
    let text = "# One\n<!-- not run: it takes a week -->\n```sh\nfalse\n```\n```sh\ntrue\n```\n";
    let document = Document::parse("TEST.md", text).unwrap();
    assert_eq!(document.not_run(), [("One", "it takes a week")]);
    assert_eq!(run(text), Ok(1));
}

#[test]
fn a_document_is_run_up_to_a_heading() {
    let directory = tempfile::tempdir().unwrap();
    let text =
        "# One\n```sh\ntouch one\n```\n## Two\n```sh\ntouch two\n```\n## Three\n```sh\ntouch three\n```\n";
    let document = Document::parse("TEST.md", text).unwrap();
    let mut reading = Reading::of(&document, Fixture::in_directory(directory.path()));
    let there = |name: &str| directory.path().join(name).exists();
    reading.until("Three").unwrap();
    assert!(there("one") && there("two") && !there("three"));
    let failure = reading.until("Two").expect_err("it was passed").to_string();
    assert!(failure.contains("no heading \"Two\" below line 7"), "{failure}");
    assert_eq!(reading.finish(), Ok(3));
    assert!(there("three"));
}

#[test]
fn statements_run_where_there_is_a_database() {
    use crate::harness::postgres::Server;
    let server = Server::start();
    let database = server.database();
    let text = "```sql\nCREATE TABLE t (a text);\nINSERT INTO t VALUES ('$HOME');\n```\n";
    assert_eq!(run(text), Ok(0), "without a database it is text");
    let run_in = |text: &str| {
        let directory = tempfile::tempdir().unwrap();
        let document = Document::parse("TEST.md", text).unwrap();
        let fixture = Fixture::in_directory(directory.path()).set("URL", &database.url()).with_sql_in("$URL");
        Reading::of(&document, fixture).finish()
    };
    assert_eq!(run_in(text), Ok(1));
    assert_eq!(database.query("SELECT a FROM t"), "$HOME");
    let failure = run_in("# One\n```sql\nSELECT 1/0;\n```\n").expect_err("it fails").to_string();
    assert!(failure.contains("TEST.md:3") && failure.contains("division by zero"), "{failure}");
}

#[test]
fn anchors_are_those_of_github() {
    let text = "# `backup_failed`: it failed\n## When a backup is overdue\n### PgBackupFailing\n```text\n# none\n```\n";
    let document = Document::parse("TEST.md", text).unwrap();
    assert_eq!(
        document.anchors(),
        ["backup_failed-it-failed", "when-a-backup-is-overdue", "pgbackupfailing"]
    );
}

/// The maximum length of a line of Markdown.
const COLUMNS: usize = 100;

/// Returns the numbers of the lines that are too long. Blocks of code, rows of tables and single words such
/// as links cannot be wrapped.
fn too_long(text: &str) -> Vec<usize> {
    let mut in_block = false;
    let mut lines = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let words = line.trim_start();
        let fence = words.starts_with("```");
        in_block ^= fence;
        let is_exempt = in_block || fence || words.starts_with('|') || !words.contains(' ');
        if !is_exempt && line.chars().count() > COLUMNS {
            lines.push(number);
        }
    }
    lines
}

#[test]
fn lines_are_wrapped() {
    let long = "word ".repeat(21);
    let link = format!("![]({})", "x".repeat(COLUMNS));
    let text =
        format!("{}\n{long}\n```text\n{long}\n```\n| {long} |\n{link}\n- {long}\n", "é".repeat(COLUMNS));
    assert_eq!(too_long(&text), [2, 8]);

    // The files may belong to another user, as in a container.
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "*.md"]).current_dir(repository());
    let listed = program::run(&mut git).expect_success().stdout_text();
    let pages: Vec<&str> = listed.lines().collect();
    assert!(pages.contains(&"README.md") && pages.contains(&"docs/restore.md"), "{pages:?}");
    for page in pages {
        let text = std::fs::read_to_string(repository().join(page)).unwrap();
        assert!(too_long(&text).is_empty(), "{page}: lines longer than {COLUMNS}: {:?}", too_long(&text));
    }
}
