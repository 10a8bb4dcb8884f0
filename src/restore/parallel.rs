//! Restores a backup with its table of contents: fetches only the selected entries, over the requested number
//! of connections.
//!
//! Memory for each connection: pieces of the object and of its text, 14 MiB at most (see [`statement_text`]),
//! and the driver's buffers; in addition the statements of all entries.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::future::try_join_all;

use super::backup::Backup;
use super::entry::{EntryRunner, cut};
use super::error::RestoreError;
use super::form;
use super::job_queue::{Job, JobQueue, RowRange, TableLoad};
use super::options::RestoreOptions;
use super::own_statement::{quoted, statement_for};
use super::plan::{self, PlanItem, RestorePlan, Work};
use super::progress::RestoreProgress;
use super::runner::Runner;
use super::statement_text;
use super::target::{self, RestoreTarget};
use crate::archive::entry_kind::EntryKind;
use crate::archive::toc_file::{FileData, FileEntry, RawSpan};
use crate::pipeline::digest::{RowSummer, RowSums};
use crate::pipeline::download::{TextStream, pieces};

/// Restores a backup.
pub(super) async fn restore(
    backup: &Backup,
    target: &RestoreTarget,
    options: &RestoreOptions,
    progress: &RestoreProgress,
) -> Result<(), RestoreError> {
    progress.begin_phase("reading");
    let plan = RestorePlan::new(backup, &options.selection)?;
    let statements = read_statements(backup, &plan, progress).await?;
    let failed_tables = Mutex::default();
    let work = ParallelRestore { plan, statements, backup, target, options, progress, failed_tables };
    progress.expect(progress.snapshot().bytes + work.plan.data_size(), work.plan.items().count() as u64);

    let final_statements = target::create(target, &backup.toc.database, options).await?;
    let mut first = work.connect().await?;
    if options.refuses_objects() {
        target::refuse_unless_empty(first.runner.session(), target.options.database()).await?;
    }
    first.runner.begin().await?;
    if options.clean || options.recreate_schema {
        progress.begin_phase("clean");
        work.drop_existing(&first).await?;
    }
    progress.begin_phase("pre-data");
    work.in_order(&mut first, &work.plan.before).await?;
    progress.begin_phase("data");
    let mut first = work.run_parallel(first).await?;
    progress.begin_phase("privileges");
    work.in_order(&mut first, &work.plan.after).await?;
    for statement in &final_statements {
        first.runner.run(statement).await?;
    }
    first.runner.close().await
}

/// Reads the settings at the beginning of the dump, and the statements of all items.
pub(super) async fn read_statements(
    backup: &Backup,
    plan: &RestorePlan,
    progress: &RestoreProgress,
) -> Result<Statements, RestoreError> {
    let frame = backup.toc.frame.iter().map(|span| (*span, None));
    let entries = plan.items().filter(|item| item.work == Work::Statements);
    let entries = entries.flat_map(|item| {
        let spans = backup.toc.entries.get(item.index).map(FileEntry::statement_spans).unwrap_or_default();
        spans.iter().map(|span| (*span, Some(item.index)))
    });
    let mut wanted: Vec<(RawSpan, Option<usize>)> = frame.chain(entries).collect();
    wanted.sort_by_key(|(span, _)| span.offset);
    let spans: Vec<RawSpan> = wanted.iter().map(|(span, _)| *span).collect();
    let mut statements = Statements::default();
    let is_of_globals = backup.toc.is_of_globals();
    let mut foreign_line = None;
    let keep = |at: usize, text: Bytes| match wanted[at].1 {
        None => {
            if !is_of_globals && foreign_line.is_none() {
                foreign_line = form::foreign_line(&text).map(<[u8]>::to_vec);
            }
            // The dump begins with the settings and ends with a comment.
            if at == 0 {
                statements.frame = text;
            }
        }
        Some(entry) => statements.of_entries.entry(entry).or_default().push(text),
    };
    statement_text::read(backup, &spans, progress, keep).await?;
    match foreign_line {
        Some(line) => Err(backup.damaged(form::foreign_frame(&line))),
        None => Ok(statements),
    }
}

/// The text of the statements.
#[derive(Default)]
pub(super) struct Statements {
    /// The settings at the beginning of the dump; for globals, the whole text.
    pub(super) frame: Bytes,
    /// The text by the entry's index in the table of contents.
    of_entries: HashMap<usize, Vec<Bytes>>,
}

/// A running restore.
struct ParallelRestore<'a> {
    plan: RestorePlan,
    statements: Statements,
    backup: &'a Backup,
    target: &'a RestoreTarget,
    options: &'a RestoreOptions,
    progress: &'a RestoreProgress,
    /// Tables that could not be created, by their entries' ids.
    failed_tables: Mutex<HashSet<u32>>,
}

impl<'a> ParallelRestore<'a> {
    async fn connect(&self) -> Result<EntryRunner<'a>, RestoreError> {
        let database = self.target.options.database();
        let runner = Runner::open(self.target, database, self.options, self.progress).await?;
        let (selection, frame) = (&self.options.selection, &self.statements.frame);
        EntryRunner::start(runner, self.backup, selection, self.options.single_transaction, frame).await
    }

    /// Drops the objects that `--clean` or `--recreate-schema` name.
    async fn drop_existing(&self, runner: &EntryRunner<'a>) -> Result<(), RestoreError> {
        let selection = &self.options.selection;
        let drops = match self.options.recreate_schema {
            true => target::recreate(self.backup, &self.plan, selection)?,
            false => target::clean(self.backup, selection, self.options.if_exists)?,
        };
        for drop in &drops {
            runner.runner.run(drop).await?;
        }
        Ok(())
    }

    fn entry(&self, item: &PlanItem) -> Result<&'a FileEntry, RestoreError> {
        let entry = self.backup.toc.entries.get(item.index);
        Ok(entry.ok_or_else(|| self.backup.misplaced())?)
    }

    async fn in_order(&self, runner: &mut EntryRunner<'a>, items: &[PlanItem]) -> Result<(), RestoreError> {
        for item in items {
            self.statements(runner, item).await?;
        }
        Ok(())
    }

    async fn statements(&self, runner: &mut EntryRunner<'a>, item: &PlanItem) -> Result<(), RestoreError> {
        let texts = self.statements.of_entries.get(&item.index).map_or(&[][..], Vec::as_slice);
        let entry = self.entry(item)?;
        let all_ran = match texts {
            [text] => runner.run(entry, text).await?,
            texts => runner.run(entry, &texts.concat().into()).await?,
        };
        if !all_ran && entry.desc == EntryKind::Table {
            self.failed_tables.lock().unwrap_or_else(PoisonError::into_inner).insert(entry.id);
        }
        self.progress.add_entry();
        Ok(())
    }

    /// Restores rows, indexes and constraints over all connections; returns the first connection.
    async fn run_parallel(&self, first: EntryRunner<'a>) -> Result<EntryRunner<'a>, RestoreError> {
        let items = &self.plan.main;
        let connections = self.options.jobs.clamp(1, items.len().max(1));
        let jobs = JobQueue::new(items, connections, !self.plan.disables_triggers);
        let others = (1..connections).map(|_| async {
            let mut runner = self.connect().await?;
            self.work(&mut runner, &jobs).await?;
            runner.runner.close().await
        });
        let mut first = first;
        let own = async {
            self.work(&mut first, &jobs).await?;
            Ok(())
        };
        tokio::try_join!(own, async { try_join_all(others).await.map(drop) })?;
        match jobs.left() {
            0 => Ok(first),
            left => Err(self.backup.damaged(format!("{left} of its entries wait for each other"))),
        }
    }

    /// Runs jobs until none are left.
    async fn work(&self, runner: &mut EntryRunner<'a>, jobs: &JobQueue<'_>) -> Result<(), RestoreError> {
        let places = |item: &PlanItem| {
            let data = self.backup.toc.entries.get(item.index)?.data?;
            Some((data, plan::members(&self.backup.toc, data.members.0, data.members.1)))
        };
        while let Some(job) = jobs.next(places).await {
            match &job {
                Job::Statements(at) => self.statements(runner, &self.plan.main[*at]).await?,
                Job::Script(at) => self.script(runner, &self.plan.main[*at]).await?,
                Job::Rows(load) => self.rows(runner, load, None).await?,
                Job::LoadRange(load, share) => self.rows(runner, load, Some(share.clone())).await?,
            }
            if let (true, Job::Rows(load) | Job::LoadRange(load, _)) = (jobs.done(&job), &job) {
                self.complete(load)?;
            }
            if jobs.is_past_data() {
                self.progress.begin_phase("post-data");
            }
        }
        Ok(())
    }

    /// Runs the text of large objects or INSERTs.
    async fn script(&self, runner: &mut EntryRunner<'a>, item: &PlanItem) -> Result<(), RestoreError> {
        let entry = self.entry(item)?;
        let spans = entry.text.iter().chain(entry.data.as_ref().map(|data| &data.raw));
        let (from, to) =
            spans.fold((u64::MAX, 0), |(from, to), span| (from.min(span.offset), to.max(span.end())));
        let span = RawSpan { offset: from.min(to), length: to.saturating_sub(from) };
        let members = self.backup.toc.members_of(span);
        if let (Some(range), Some(first)) = (statement_text::object_range(members), members.first()) {
            let _loading = self.progress.loading(&name(entry));
            let text = self.open(pieces(range, statement_text::PIECE));
            let skip = span.offset - first.raw_offset;
            if runner.run_script(entry, text, skip, span.length).await? {
                self.progress.add_rows(entry.data.map_or(0, |data| data.rows));
            }
        }
        self.progress.add_entry();
        Ok(())
    }

    fn open(&self, ranges: impl Iterator<Item = Range<u64>> + Send + 'static) -> TextStream {
        statement_text::open_ranges(self.backup, ranges, self.progress)
    }

    /// Loads a table's rows, or a range of them.
    async fn rows(
        &self,
        runner: &mut EntryRunner<'a>,
        load: &Arc<TableLoad>,
        share: Option<RowRange>,
    ) -> Result<(), RestoreError> {
        let entry = self.entry(&self.plan.main[load.item])?;
        let data = entry.data.ok_or_else(|| self.backup.misplaced())?;
        if self.has_no_table(entry) {
            load.fail();
            return Ok(());
        }
        let copy = entry.copy_statement.as_deref().ok_or_else(|| {
            self.backup.damaged(format!("{} has no COPY statement in the table of contents", name(entry)))
        })?;
        let statement =
            super::script::Statement { copies: 1, ..statement_for(entry, copy.trim_end().to_owned()) };
        let _loading = self.progress.loading(&name(entry));
        if self.plan.disables_triggers && !self.set_triggers(runner, entry, "DISABLE").await? {
            load.fail();
            return Ok(());
        }
        let Some(mut copy) = runner.runner.copy(&statement).await? else {
            load.fail();
            return Ok(());
        };
        let is_helper = share.is_some();
        let left = share.as_ref().map_or(data.raw.length, |share| share.raw);
        let mut text = self.open(Ranges {
            load: Arc::clone(load),
            current: share.map_or(0..0, |s| s.object),
            is_helper,
        });
        let sums = self.send(&mut text, &mut copy, left).await?;
        // If one connection has loaded all rows, compare them before the server commits them.
        if !load.is_shared() && !copy.is_refused() {
            self.compare(entry, &data, sums)?;
        }
        match runner.runner.finish(&statement, copy).await? {
            Some(counted) => {
                self.progress.add_rows(counted);
                if !runner.runner.compare(&statement, sums.rows, counted)? {
                    load.fail();
                }
            }
            None => load.fail(),
        }
        load.add(sums);
        if self.plan.disables_triggers {
            self.set_triggers(runner, entry, "ENABLE").await?;
        }
        Ok(())
    }

    /// `--no-data-for-failed-tables`: returns whether the entry's table could not be created.
    fn has_no_table(&self, entry: &FileEntry) -> bool {
        let failed = self.failed_tables.lock().unwrap_or_else(PoisonError::into_inner);
        self.options.selection.no_data_for_failed_tables
            && entry.dependencies.iter().any(|table| failed.contains(table))
    }

    /// Sends rows until they end or the server refuses one.
    async fn send(
        &self,
        text: &mut TextStream,
        copy: &mut crate::protocol::copy_in::CopyIn,
        left: u64,
    ) -> Result<RowSums, RestoreError> {
        let (mut skip, mut left) = (0, left);
        let mut summer = RowSummer::default();
        while let Some(piece) = text.next().await? {
            let piece = cut(piece, &mut skip, &mut left);
            if piece.is_empty() {
                continue;
            }
            summer.feed(&piece);
            copy.send(piece).await?;
            if copy.is_refused() {
                break;
            }
        }
        Ok(summer.finish())
    }

    /// Finishes a table whose ranges are all loaded.
    fn complete(&self, load: &TableLoad) -> Result<(), RestoreError> {
        let entry = self.entry(&self.plan.main[load.item])?;
        if let Some(data) = entry.data.as_ref().filter(|_| !load.has_failed()) {
            self.compare(entry, data, load.sums())?;
            self.progress.add_table();
        }
        self.progress.add_entry();
        Ok(())
    }

    fn compare(&self, entry: &FileEntry, data: &FileData, sums: RowSums) -> Result<(), RestoreError> {
        if sums.rows != data.rows {
            let what = format!("{} has {} rows instead of {}", name(entry), sums.rows, data.rows);
            return Err(self.backup.damaged(what));
        }
        match data.digest {
            Some(digest) if digest != sums.digest.into() => {
                Err(self.backup.damaged(format!("the rows of {} have a different digest", name(entry))))
            }
            _ => Ok(()),
        }
    }

    /// Enables or disables a table's triggers, which requires a superuser; returns false if that failed and
    /// was skipped.
    async fn set_triggers(
        &self,
        runner: &mut EntryRunner<'a>,
        entry: &FileEntry,
        switch: &str,
    ) -> Result<bool, RestoreError> {
        let namespace = entry.namespace.iter().map(|namespace| quoted(namespace) + ".").collect::<String>();
        let mut statements =
            vec![format!("ALTER TABLE {namespace}{} {switch} TRIGGER ALL;", quoted(&entry.tag))];
        if let Some(superuser) = &self.options.selection.superuser {
            statements.insert(0, format!("SET SESSION AUTHORIZATION {};", quoted(superuser)));
            statements.push("RESET SESSION AUTHORIZATION;".to_owned());
        }
        let mut all_ran = true;
        for text in statements {
            all_ran &= runner.runner.run(&statement_for(entry, text)).await?;
        }
        Ok(all_ran)
    }
}

/// Returns the name of the table whose rows an entry has.
fn name(entry: &FileEntry) -> String {
    match &entry.namespace {
        Some(namespace) => format!("{namespace}.{}", entry.tag),
        None => entry.tag.clone(),
    }
}

/// The byte ranges of a table's rows that one connection reads. A helper reads only the range that it has
/// taken; the connection that started the table takes further ranges until none are left.
struct Ranges {
    load: Arc<TableLoad>,
    current: Range<u64>,
    is_helper: bool,
}

impl Iterator for Ranges {
    type Item = Range<u64>;

    fn next(&mut self) -> Option<Range<u64>> {
        if self.current.is_empty() && !self.is_helper {
            self.current = self.load.next_share()?.object;
        }
        if self.current.is_empty() {
            return None;
        }
        let end = self.current.end.min(self.current.start + statement_text::PIECE);
        let piece = self.current.start..end;
        self.current.start = end;
        Some(piece)
    }
}
