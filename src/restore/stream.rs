//! Restores a plain dump over one connection, as psql would run it.
//!
//! Memory: the text that is being read ([`TextStream`]), and one statement or one piece of rows.

use super::error::{NotEmpty, RestoreError};
use super::options::RestoreOptions;
use super::progress::RestoreProgress;
use super::runner::Runner;
use super::script::{ScriptReader, ScriptStep, Statement};
use super::source::PlainDump;
use super::target::{self, RestoreTarget};
use crate::archive::entry_kind::{EntryKind, UnknownEntryKind};
use crate::pipeline::download::TextStream;
use crate::protocol::ConnInfo;
use crate::protocol::copy_in::CopyIn;
use crate::protocol::encoding::from_bytes;
use crate::protocol::feed::Feed;

/// Restores a plain dump.
pub(super) async fn restore(
    dump: PlainDump,
    target: &RestoreTarget,
    options: &RestoreOptions,
    progress: &RestoreProgress,
) -> Result<(), RestoreError> {
    if !options.selection.is_everything() || options.clean || options.recreate_schema {
        return Err(RestoreError::Unsuited(format!(
            "{} is a plain dump and has no table of contents, so its objects cannot be selected or dropped\nHINT: omit the options that select or clean; drop unwanted objects afterwards",
            dump.name
        )));
    }
    progress.begin_phase("restore");
    progress.expect(dump.size.unwrap_or_default(), 0);
    let name = dump.name.clone();
    let mut text = TextStream::of_reader(dump.name, dump.packed, dump.identities, progress.bytes());
    let final_statements = target::create(target, &[], options).await?;
    let database = target.options.database().to_owned();
    let runner = Runner::open(target, &database, options, progress).await?;
    runner.begin().await?;
    let mut run = ScriptRun { runner, target, database, options, progress, found: None, copy: None };
    if options.refuses_objects() {
        let session = run.runner.session();
        // With an empty search path, names are reported with their schemas.
        session.execute("SET search_path = ''").await?;
        run.found = target::find_objects(session, &run.database).await?;
        session.execute("RESET search_path").await?;
    }
    let mut reader = ScriptReader::default();
    if options.allow_incomplete {
        reader = reader.allow_incomplete();
    }
    let (mut is_begin, mut is_all) = (true, false);
    loop {
        // Settings that the last statement changed, in any way, apply to the next one.
        reader.follow(&run.runner.session().sql_settings());
        let step = reader.next_step();
        match step.map_err(|error| RestoreError::Script { object: name.clone(), error })? {
            Some(step) => run.step(step, &reader).await?,
            None if is_all => break,
            None => match text.next().await? {
                Some(piece) => {
                    if std::mem::take(&mut is_begin) {
                        refuse_other_formats(&name, &piece)?;
                    }
                    reader.feed(&piece);
                }
                None => {
                    is_all = true;
                    reader.finish();
                }
            },
        }
    }
    let runner = run.runner;
    for statement in &final_statements {
        runner.run(statement).await?;
    }
    runner.close().await
}

/// Compression formats that are not supported here: the first bytes, and the program that decompresses them.
const PACKED: [(&[u8], &str); 5] = [
    (b"BZh", "bzip2"),
    (b"\x04\x22\x4d\x18", "lz4"),
    (b"\xfd7zXZ\0", "xz"),
    (b"PK\x03\x04", "unzip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
];

/// Refuses pg_dump's archives, which are for pg_restore. An archive in directory format is not a
/// file; one in tar format always begins with the same file.
fn refuse_other_formats(name: &str, begin: &[u8]) -> Result<(), RestoreError> {
    if begin.starts_with(b"PGDMP") || begin.starts_with(b"toc.dat\0") {
        return Err(RestoreError::Unsuited(format!(
            "{name} is an archive of pg_dump, not a plain dump\nHINT: restore it with `pg_restore -f - ARCHIVE | pg-backup restore - …`"
        )));
    }
    if let Some((_, program)) = PACKED.iter().find(|(magic, _)| begin.starts_with(magic)) {
        return Err(RestoreError::Unsuited(format!(
            "{name} is compressed with {program}; only gzip and zstd are supported\nHINT: decompress it with {program} and restore the output: `… | pg-backup restore - …`"
        )));
    }
    Ok(())
}

/// A script that is being run.
struct ScriptRun<'a> {
    runner: Runner,
    target: &'a RestoreTarget,
    /// The database that the runner is connected to.
    database: String,
    options: &'a RestoreOptions,
    progress: &'a RestoreProgress,
    /// The objects of the target before the script began, if these are refused.
    found: Option<NotEmpty>,
    /// The COPY that receives rows. If it is `None` because the COPY failed, the rows are skipped.
    copy: Option<ActiveCopy>,
}

/// A statement that reads rows.
enum ActiveCopy {
    One(Statement, CopyIn),
    /// Joined statements.
    Joined {
        statement: Statement,
        feed: Feed,
        /// The number of blocks of rows that are left.
        copies: u32,
        /// The number of lines sent.
        rows: u64,
    },
}

impl ScriptRun<'_> {
    async fn step(&mut self, step: ScriptStep, reader: &ScriptReader) -> Result<(), RestoreError> {
        match step {
            ScriptStep::Statement(statement) => self.statement(statement, reader).await,
            ScriptStep::Connect { argument, line } => self.connect(&from_bytes(&argument), line).await,
            ScriptStep::Rows(text) => match &mut self.copy {
                Some(ActiveCopy::One(_, copy)) if copy.is_refused() => self.end_of_rows().await,
                Some(ActiveCopy::One(_, copy)) => Ok(copy.send(text).await?),
                Some(ActiveCopy::Joined { feed, rows, .. }) => {
                    *rows += memchr::memchr_iter(b'\n', &text).count() as u64;
                    if feed.send(text).await { Ok(()) } else { self.end_of_rows().await }
                }
                None => Ok(()),
            },
            ScriptStep::EndOfRows => match &mut self.copy {
                Some(ActiveCopy::Joined { feed, copies, .. }) => {
                    *copies = copies.saturating_sub(1);
                    if feed.end_rows().await && *copies > 0 { Ok(()) } else { self.end_of_rows().await }
                }
                _ => self.end_of_rows().await,
            },
        }
    }

    async fn statement(&mut self, statement: Statement, reader: &ScriptReader) -> Result<(), RestoreError> {
        self.check_target(&statement)?;
        if statement.reads_rows() {
            self.copy = if statement.is_joined {
                let (feed, copies) = (self.runner.feed(&statement).await?, statement.copies);
                feed.map(|feed| ActiveCopy::Joined { statement, feed, copies, rows: 0 })
            } else {
                self.runner.copy(&statement).await?.map(|copy| ActiveCopy::One(statement, copy))
            };
            return if self.copy.is_none() { self.runner.settle().await } else { Ok(()) };
        }
        // These surround large objects and would end the single transaction.
        if statement.is_transaction() && self.options.single_transaction {
            return Ok(());
        }
        let has_run = if reader.writes_rows() {
            self.runner.discard(&statement).await?
        } else if reader.is_in_head() && statement.text.starts_with(b"SET ") {
            self.runner.run_head_setting(&statement).await?
        } else {
            self.runner.run(&statement).await?
        };
        if has_run { Ok(()) } else { self.runner.settle().await }
    }

    /// Refuses a target with objects before the first statement that belongs to an entry, unless that
    /// statement creates the database, which is then empty. Objects that the script itself has created by
    /// then do not count.
    fn check_target(&mut self, statement: &Statement) -> Result<(), RestoreError> {
        match statement.kind().map(str::parse) {
            None | Some(Ok(EntryKind::Database | EntryKind::DatabaseProperties)) => Ok(()),
            // Also a kind that only another pg_dump writes.
            Some(Ok(_) | Err(UnknownEntryKind)) => {
                self.found.take().map_or(Ok(()), |found| Err(found.into()))
            }
        }
    }

    async fn end_of_rows(&mut self) -> Result<(), RestoreError> {
        let rows = match self.copy.take() {
            None => return Ok(()),
            Some(ActiveCopy::One(statement, copy)) => self.runner.finish(&statement, copy).await?,
            Some(ActiveCopy::Joined { statement, feed, rows, .. }) => {
                self.runner.finish_feed(&statement, feed).await?.then_some(rows)
            }
        };
        let Some(rows) = rows else { return self.runner.settle().await };
        self.progress.add_rows(rows);
        self.progress.add_table();
        Ok(())
    }

    /// Continues in another database of the same server.
    async fn connect(&mut self, argument: &str, line: u64) -> Result<(), RestoreError> {
        if self.options.single_transaction {
            return Err(RestoreError::Unsuited(format!(
                "line {line} of the dump connects to another database, which ends the transaction\nHINT: omit --single-transaction, or restore a dump of one database that was made without --create"
            )));
        }
        let database = connect_argument(argument).ok_or_else(|| {
            RestoreError::Unsuited(format!(
                "line {line} connects with \"\\connect {argument}\", but only another database of the same server and user is supported"
            ))
        })?;
        if let Some(database) = database {
            self.database = database;
        }
        self.found = None;
        let next = Runner::open(self.target, &self.database, self.options, self.progress).await?;
        std::mem::replace(&mut self.runner, next).close().await
    }
}

/// Returns the database in the argument of `\connect`, in the forms that dumps have: a name, or a connection
/// string with only a name. The inner `None` is the current database.
fn connect_argument(argument: &str) -> Option<Option<String>> {
    let words = psql_words(argument)?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let name = match words.as_slice() {
        ["-reuse-previous=on", name] | [name] | [name, "-"] => *name,
        _ => return None,
    };
    if name == "-" {
        return Some(None);
    }
    if !name.contains('=') {
        return Some(Some(name.to_owned()));
    }
    let mut info = ConnInfo::new();
    info.set_database(name).ok()?;
    let database = info.get("dbname")?.to_owned();
    (info.names().eq(["dbname"])).then_some(Some(database))
}

/// Splits an argument as psql does: blanks separate words, quotes group them, and quotes are doubled within.
fn psql_words(argument: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut chars = argument.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        if chars.peek().is_none() {
            return Some(words);
        }
        let mut word = String::new();
        while let Some(c) = chars.next_if(|c| !c.is_ascii_whitespace()) {
            if !matches!(c, '"' | '\'') {
                word.push(c);
                continue;
            }
            loop {
                let inner = chars.next()?;
                if inner != c {
                    word.push(inner);
                } else if chars.next_if_eq(&c).is_some() {
                    word.push(c);
                } else {
                    break;
                }
            }
        }
        words.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_argument_of_connect_is_a_database() {
        let some = |name: &str| Some(Some(name.to_owned()));
        assert_eq!(connect_argument("shop"), some("shop"));
        assert_eq!(connect_argument("\"my shop\""), some("my shop"));
        assert_eq!(connect_argument("-reuse-previous=on \"dbname='my shop'\""), some("my shop"));
        assert_eq!(connect_argument("-reuse-previous=on \"dbname='it\\'s \"\"x\"\"'\""), some("it's \"x\""));
        assert_eq!(connect_argument("-"), Some(None));
        for other in ["", "shop app", "\"dbname=a host=b\"", "\"unclosed", "a b c d"] {
            assert_eq!(connect_argument(other), None, "{other}");
        }
    }
}
