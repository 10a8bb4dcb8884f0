//! A connection that restores entries of a backup, with the settings that each entry expects.

use bytes::Bytes;

use super::backup::Backup;
use super::error::RestoreError;
use super::form;
use super::own_statement::{quoted, statement_for};
use super::runner::Runner;
use super::script::{ScriptError, ScriptReader, ScriptStep, Statement};
use super::select::RestoreSelection;
use crate::archive::entry_kind::EntryKind;
use crate::archive::toc_file::FileEntry;
use crate::pipeline::download::TextStream;
use crate::protocol::encoding::to_bytes;

/// A connection, and its current settings.
pub(super) struct EntryRunner<'a> {
    pub(super) runner: Runner,
    backup: &'a Backup,
    selection: &'a RestoreSelection,
    single_transaction: bool,
    /// A reader in the state that the dump's own settings give.
    frame: ScriptReader,
    tablespace: Option<String>,
    table_am: Option<String>,
}

impl<'a> EntryRunner<'a> {
    /// Applies the settings at the beginning of the dump.
    pub(super) async fn start(
        runner: Runner,
        backup: &'a Backup,
        selection: &'a RestoreSelection,
        single_transaction: bool,
        frame: &Bytes,
    ) -> Result<Self, RestoreError> {
        let (frame, steps) =
            read_part(&ScriptReader::default(), frame).map_err(|error| script(backup, error))?;
        let started = EntryRunner {
            runner,
            backup,
            selection,
            single_transaction,
            frame,
            tablespace: None,
            table_am: None,
        };
        for statement in &steps {
            started.runner.set(statement).await?;
        }
        Ok(started)
    }

    /// Runs an entry's statements; returns false if any of them failed and was skipped.
    pub(super) async fn run(&mut self, entry: &FileEntry, text: &Bytes) -> Result<bool, RestoreError> {
        let mut all_ran = self.prepare(entry).await?;
        let mut definition = self.statements(entry, text)?;
        // An object can exist without its intended owner, so ALTER … OWNER TO runs separately.
        // A group of large objects has one such statement for each. A partitioned table's access method follows it.
        let access_method = definition.pop_if(|last| sets_access_method(entry, last));
        let mut owners = Vec::new();
        while let Some(owner) = definition.pop_if(|last| sets_owner(entry, last)) {
            owners.push(owner);
        }
        all_ran &= self.runner.run_together(&definition).await?;
        if !self.selection.no_owner {
            all_ran &= match &owners[..] {
                [] => true,
                [owner] => self.runner.run(owner).await?,
                owners => self.runner.run_together(owners).await?,
            };
        }
        if let Some(statement) = access_method.filter(|_| !self.selection.no_table_access_method) {
            all_ran &= self.runner.run(&statement).await?;
        }
        Ok(all_ran)
    }

    /// Splits an entry's text into its statements.
    fn statements(&self, entry: &FileEntry, text: &Bytes) -> Result<Vec<Statement>, RestoreError> {
        self.check_banner(entry, text)?;
        // psql's rules may not find the end of a routine: a name in its body may be a word that they treat as
        // a keyword.
        if let Some((definition, owner)) = form::routine(entry, text) {
            let statement =
                |part: &[u8]| Statement { text: text.slice_ref(part), ..statement_for(entry, String::new()) };
            return Ok([Some(definition), owner].into_iter().flatten().map(statement).collect());
        }
        let (_, mut statements) = read_part(&self.frame, text).map_err(|error| script(self.backup, error))?;
        statements.retain(|statement| !is_default(statement));
        Ok(statements)
    }

    /// Fails if the text belongs to another entry. No checksum detects this damage.
    fn check_banner(&self, entry: &FileEntry, text: &[u8]) -> Result<(), RestoreError> {
        if form::is_of(entry, text) {
            return Ok(());
        }
        Err(self.backup.damaged(format!("the text of {} {} is not at its offset", entry.desc, entry.tag)))
    }

    /// Sets the default tablespace and table access method if the entry's differ from the current ones.
    async fn prepare(&mut self, entry: &FileEntry) -> Result<bool, RestoreError> {
        let mut all_ran = true;
        let tablespace = entry.tablespace.as_ref().filter(|_| !self.selection.no_tablespaces);
        if let Some(tablespace) = tablespace.filter(|wanted| self.tablespace.as_ref() != Some(*wanted)) {
            let value = if tablespace.is_empty() { "''".to_owned() } else { quoted(tablespace) };
            all_ran &= self.set(entry, "default_tablespace", &value).await?;
            self.tablespace = Some(tablespace.clone());
        }
        let table_am = entry.table_am.as_ref().filter(|_| !self.selection.no_table_access_method);
        if let Some(table_am) = table_am.filter(|wanted| self.table_am.as_ref() != Some(*wanted)) {
            all_ran &= self.set(entry, "default_table_access_method", &quoted(table_am)).await?;
            self.table_am = Some(table_am.clone());
        }
        Ok(all_ran)
    }

    async fn set(&self, entry: &FileEntry, name: &str, value: &str) -> Result<bool, RestoreError> {
        self.runner.run(&statement_for(entry, format!("SET {name} = {value};"))).await
    }

    /// Runs a text that is read in pieces: INSERTs, or large objects with their contents.
    pub(super) async fn run_script(
        &mut self,
        entry: &FileEntry,
        mut text: TextStream,
        skip: u64,
        length: u64,
    ) -> Result<bool, RestoreError> {
        let mut all_ran = self.prepare(entry).await?;
        let mut reader = self.frame.part();
        let (mut skip, mut left) = (skip, length);
        // The server counts the rows of INSERTs, but not the contents of large objects.
        let rows = entry.data.filter(|_| entry.desc == EntryKind::TableData).map(|data| data.rows);
        let (mut counted, mut last) = (0, None);
        loop {
            match reader.next_step().map_err(|error| script(self.backup, error))? {
                Some(ScriptStep::Statement(statement)) if !statement.reads_rows() => {
                    let is_frame = statement.is_transaction();
                    if is_default(&statement) || is_frame && self.single_transaction {
                        continue;
                    }
                    let statement = without_line(statement);
                    if rows.is_some() && statement.text.starts_with(b"INSERT ") {
                        let inserted = self.runner.load(&statement).await?;
                        all_ran &= inserted.is_some();
                        counted += inserted.unwrap_or_default();
                        last = Some(statement);
                    } else {
                        all_ran &= self.runner.run(&statement).await?;
                    }
                }
                Some(_) => return Err(self.unexpected(entry)),
                None if left == 0 => break,
                None => {
                    let Some(piece) = text.next().await? else { return Err(self.backup.misplaced().into()) };
                    let piece = cut(piece, &mut skip, &mut left);
                    reader.feed(&piece);
                    if left == 0 {
                        reader.finish();
                    }
                }
            }
        }
        // Read to the end, where the checksum of a large member is compared.
        while text.next().await?.is_some() {}
        match (rows, last) {
            (Some(rows), Some(last)) if all_ran => self.runner.compare(&last, rows, counted),
            _ => Ok(all_ran),
        }
    }

    fn unexpected(&self, entry: &FileEntry) -> RestoreError {
        let what = format!(
            "the text of {} {} contains statements that occur only around a whole dump",
            entry.desc, entry.tag
        );
        self.backup.damaged(what)
    }
}

/// Removes the parts of a piece that are before and after the wanted range.
pub(super) fn cut(piece: Bytes, skip: &mut u64, left: &mut u64) -> Bytes {
    let length = piece.len() as u64;
    let from = (*skip).min(length);
    let to = (from + *left).min(length);
    *skip -= from;
    *left -= to - from;
    // Both are at most the piece's length.
    piece.slice(from as usize..to as usize)
}

/// Reads the statements of a part of a script, which must be complete.
pub(super) fn read_part(
    before: &ScriptReader,
    text: &[u8],
) -> Result<(ScriptReader, Vec<Statement>), ScriptError> {
    let mut reader = before.part();
    reader.feed(text);
    reader.finish();
    let mut statements = Vec::new();
    while let Some(step) = reader.next_step()? {
        match step {
            ScriptStep::Statement(statement) if !statement.reads_rows() => {
                statements.push(without_line(statement))
            }
            ScriptStep::Statement(Statement { line, .. }) | ScriptStep::Connect { line, .. } => {
                return Err(ScriptError::NotStatement { line });
            }
            ScriptStep::Rows(_) | ScriptStep::EndOfRows => {}
        }
    }
    Ok((reader, statements))
}

/// Removes the line number: lines are counted in the whole dump, and only a part of it was read.
fn without_line(statement: Statement) -> Statement {
    Statement { line: 0, ..statement }
}

/// Returns whether a statement sets a default that [`EntryRunner::prepare`] has set.
fn is_default(statement: &Statement) -> bool {
    let text = &statement.text[..];
    text.starts_with(b"SET default_tablespace = ") || text.starts_with(b"SET default_table_access_method = ")
}

/// Returns whether a statement is the `ALTER … OWNER TO …;` at the end of an entry's text. Other ALTER
/// statements may contain the same words.
fn sets_owner(entry: &FileEntry, statement: &Statement) -> bool {
    let Some(owner) = &entry.owner else { return false };
    let names = [owner.clone(), quoted(owner)];
    let mut ends = names.iter().map(|name| to_bytes(&format!(" OWNER TO {name};")));
    statement.text.starts_with(b"ALTER ") && ends.any(|end| statement.text.ends_with(&end))
}

/// Returns whether a statement is the `ALTER TABLE … SET ACCESS METHOD …;` at the end of a partitioned table's text.
fn sets_access_method(entry: &FileEntry, statement: &Statement) -> bool {
    const WORDS: &[u8] = b" SET ACCESS METHOD ";
    let text = &statement.text[..];
    entry.desc == EntryKind::Table
        && text.starts_with(b"ALTER TABLE ")
        && !text.starts_with(b"ALTER TABLE ONLY ")
        && memchr::memmem::rfind(text, WORDS).is_some()
}

pub(super) fn script(backup: &Backup, error: ScriptError) -> RestoreError {
    backup.damaged(error.to_string())
}
