//! The plan of a restore: the chosen entries as items, the items that each waits for, and the items that must
//! not run at the same time.
//!
//! As in the dump there are three passes: everything else, then privileges, then event triggers and refreshes
//! of materialized views. In the first pass, pre-data items run in their order. Then rows are loaded; indexes
//! and constraints follow as soon as the rows that they need are loaded.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::backup::Backup;
use super::error::RestoreError;
use super::select::{Chosen, RestoreSelection, SelectError};
use crate::archive::entry_kind::EntryKind;
use crate::archive::required::RestorePass;
use crate::archive::section::Section;
use crate::archive::toc_file::{DataFormat, FileEntry, TocFile};

/// The items of a restore.
#[derive(Debug, Default)]
pub(super) struct RestorePlan {
    /// Items to run sequentially before the rows.
    pub(super) before: Vec<PlanItem>,
    /// Rows, and the items that may run in parallel with them or after them.
    pub(super) main: Vec<PlanItem>,
    /// Privileges, then the items that follow them; run sequentially.
    pub(super) after: Vec<PlanItem>,
    /// Whether triggers are disabled while rows are loaded.
    pub(super) disables_triggers: bool,
}

/// The work for one entry.
#[derive(Debug)]
pub(super) struct PlanItem {
    /// The entry's index in the table of contents.
    pub(super) index: usize,
    pub(super) work: Work,
    /// The priority; larger items run first. The compressed size of the rows; for an index, that of the
    /// table's rows.
    pub(super) size: u64,
    /// Indexes in [`RestorePlan::main`] of the items that must be done first.
    pub(super) after: Vec<usize>,
    /// Whether all rows must be loaded first.
    pub(super) after_all_rows: bool,
    /// The tables that the item locks, by their entries' ids.
    pub(super) tables: Vec<u32>,
    /// Whether no other item may use these tables at the same time.
    pub(super) is_exclusive: bool,
}

/// How an entry is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Run its statements, which are read before the restore starts.
    Statements,
    /// Load its rows by COPY.
    Rows,
    /// Run all of its text while it is read: INSERTs, or large objects.
    Script,
}

impl RestorePlan {
    /// Plans the restore of a selection.
    pub(super) fn new(backup: &Backup, selection: &RestoreSelection) -> Result<RestorePlan, SelectError> {
        let toc = &backup.toc;
        let chosen = selection.choose(toc)?;
        let mut plan = RestorePlan {
            disables_triggers: selection.switches_triggers(toc, &chosen),
            ..RestorePlan::default()
        };
        for chosen in &chosen {
            let Some(entry) = toc.entries.get(chosen.index) else { continue };
            let item = PlanItem::new(toc, chosen, entry);
            // An entry without a section follows the object that it is about.
            let is_late = matches!(entry.section, Section::Data | Section::PostData);
            match entry.key().pass() {
                RestorePass::Main if is_late || !plan.main.is_empty() => plan.main.push(item),
                RestorePass::Main => plan.before.push(item),
                RestorePass::Acl | RestorePass::PostAcl => plan.after.push(item),
            }
        }
        link(toc, &mut plan.main);
        Ok(plan)
    }

    /// Returns all items, in the order of a restore over one connection.
    pub(super) fn items(&self) -> impl Iterator<Item = &PlanItem> {
        self.before.iter().chain(&self.main).chain(&self.after)
    }

    /// Returns the compressed size of the rows in bytes.
    pub(super) fn data_size(&self) -> u64 {
        let rows = self.items().filter(|item| item.work != Work::Statements);
        rows.map(|item| item.size).sum()
    }
}

/// An entry of a plan, for display.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedEntry {
    /// `pre-data`, `data`, `post-data` or `privileges`. Entries of one phase may run in parallel, except in
    /// the first and the last phase.
    pub phase: &'static str,
    /// The kind, as in the entry's banner: `TABLE DATA`.
    pub kind: EntryKind,
    /// The name, qualified with the namespace.
    pub name: String,
    /// The number of rows to load.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// The number of bytes to fetch for the rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packed_size: Option<u64>,
}

/// Returns what a restore of the selection would do, in the order of one connection.
pub fn planned(backup: &Backup, selection: &RestoreSelection) -> Result<Vec<PlannedEntry>, RestoreError> {
    let plan = RestorePlan::new(backup, selection)?;
    let describe = |item: &PlanItem, phase| {
        let entry = backup.toc.entries.get(item.index)?;
        let namespace = entry.namespace.iter().map(|namespace| format!("{namespace}."));
        Some(PlannedEntry {
            phase,
            kind: entry.desc,
            name: namespace.collect::<String>() + &entry.tag,
            rows: entry.data.filter(|_| item.work != Work::Statements).map(|data| data.rows),
            packed_size: Some(item.size).filter(|_| item.work != Work::Statements),
        })
    };
    let phase = |item: &PlanItem| {
        let section = backup.toc.entries.get(item.index).map(|entry| entry.section);
        if section == Some(Section::Data) { "data" } else { "post-data" }
    };
    let before = plan.before.iter().filter_map(|item| describe(item, "pre-data"));
    let main = plan.main.iter().filter_map(|item| describe(item, phase(item)));
    let after = plan.after.iter().filter_map(|item| describe(item, "privileges"));
    Ok(before.chain(main).chain(after).collect())
}

impl PlanItem {
    fn new(toc: &TocFile, chosen: &Chosen, entry: &FileEntry) -> PlanItem {
        let work = match entry.data.filter(|_| chosen.data) {
            None => Work::Statements,
            Some(data) if data.format == DataFormat::Copy => Work::Rows,
            Some(_) => Work::Script,
        };
        let size = entry.data.map_or(0, |data| packed_size(toc, data.members));
        let (after, tables) = (Vec::new(), Vec::new());
        let index = chosen.index;
        PlanItem { index, work, size, after, after_all_rows: false, tables, is_exclusive: false }
    }
}

fn packed_size(toc: &TocFile, (first, number): (u64, u64)) -> u64 {
    members(toc, first, number).iter().map(|member| member.object_length).sum()
}

/// Returns a range of members of the table of contents; empty if it is out of bounds.
pub(super) fn members(toc: &TocFile, first: u64, number: u64) -> &[crate::archive::toc_file::Member] {
    let range = usize::try_from(first).ok().zip(usize::try_from(first.saturating_add(number)).ok());
    range.and_then(|(from, to)| toc.members.get(from..to)).unwrap_or_default()
}

/// Determines what each item of the main part waits for.
fn link(toc: &TocFile, items: &mut [PlanItem]) {
    let by_id: HashMap<u32, &FileEntry> = toc.entries.iter().map(|entry| (entry.id, entry)).collect();
    let entry = |item: &PlanItem| toc.entries.get(item.index);
    let place: HashMap<u32, usize> =
        items.iter().enumerate().filter_map(|(at, item)| Some((entry(item)?.id, at))).collect();
    // The rows of a table depend on the table's entry. A post-data entry that depends on the table also needs
    // its rows.
    let mut rows_of: HashMap<u32, usize> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        let Some(entry) = entry(item).filter(|entry| entry.data.is_some()) else { continue };
        rows_of.extend(entry.dependencies.iter().map(|table| (*table, at)));
    }
    // Creating a trigger on a partitioned table also creates it on the partitions. The table of contents does
    // not describe the levels between them, so triggers are created one at a time.
    let mut last_trigger: Option<usize> = None;
    let sizes: Vec<u64> = items.iter().map(|item| item.size).collect();
    for at in 0..items.len() {
        let Some(entry) = entry(&items[at]) else { continue };
        let is_post_data = entry.section == Section::PostData;
        let mut after: HashSet<usize> = HashSet::new();
        let mut tables = Vec::new();
        let mut size = sizes[at];
        for id in &entry.dependencies {
            if is_table(by_id.get(id)) {
                tables.push(*id);
            }
            after.extend(place.get(id));
            if let Some(rows) = rows_of.get(id).filter(|_| is_post_data) {
                after.insert(*rows);
                size += sizes[*rows];
            }
        }
        if entry.desc == EntryKind::Trigger {
            after.extend(last_trigger.replace(at));
        }
        let after_all_rows = waits_for_all_rows(entry);
        after.remove(&at);
        let item = &mut items[at];
        item.size = size;
        item.after = after.into_iter().collect();
        item.after.sort_unstable();
        item.after_all_rows = after_all_rows;
        item.is_exclusive = is_post_data && entry.desc != EntryKind::Index;
        item.tables = tables;
    }
}

fn is_table(entry: Option<&&FileEntry>) -> bool {
    entry.is_some_and(|entry| {
        matches!(entry.desc, EntryKind::Table | EntryKind::MaterializedView | EntryKind::ForeignTable)
    })
}

/// Returns whether an entry waits for all rows. An index, and a constraint that an index implements, waits
/// only for the rows of its own table. Any other post-data entry may reach further than its dependencies
/// show: a foreign key or a trigger on a partitioned table is created on each partition.
fn waits_for_all_rows(entry: &FileEntry) -> bool {
    let is_about_own_table =
        matches!(entry.desc, EntryKind::Index | EntryKind::Constraint | EntryKind::IndexAttach);
    entry.section == Section::PostData && !is_about_own_table
}
