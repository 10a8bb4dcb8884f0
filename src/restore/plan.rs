//! What is to be done to restore a backup, and in which order: the chosen entries as items, what each waits for, and
//! which of them must not run side by side.
//!
//! Three passes, as in the dump: everything, then privileges, then event triggers and refreshes of materialized
//! views. In the first, what stands before the data is done in its order; then rows, and indexes and constraints as
//! soon as the rows that they are about are there.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::error::RestoreError;
use super::select::{Chosen, RestoreSelection, SelectError};
use super::source::Backup;
use crate::archive::required::RestorePass;
use crate::archive::section::Section;
use crate::archive::toc_file::{DataFormat, FileEntry, TocFile};

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct RestorePlan {
    /// One after the other.
    pub(super) before: Vec<PlanItem>,
    /// Rows, and what may be done side by side with them or after them.
    pub(super) main: Vec<PlanItem>,
    /// Privileges, then what comes after these; one after the other.
    pub(super) after: Vec<PlanItem>,
    /// Whether triggers are disabled around rows.
    pub(super) disables_triggers: bool,
}

/// What is to be done about one entry.
#[derive(Debug)]
pub(super) struct PlanItem {
    /// The entry's place in the table of contents.
    pub(super) index: usize,
    pub(super) work: Work,
    /// Larger ones go first: packed bytes of the rows, of the table's rows for an index.
    pub(super) size: u64,
    /// Places in [`RestorePlan::main`] of what must be done before.
    pub(super) after: Vec<usize>,
    /// Whether all rows must be loaded before.
    pub(super) after_all_rows: bool,
    /// The tables that it locks, by their entries' ids.
    pub(super) tables: Vec<u32>,
    /// Whether nothing else may be done on these tables meanwhile.
    pub(super) is_exclusive: bool,
}

/// How an entry is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Its statements, which are read before.
    Statements,
    /// Its rows, by COPY.
    Rows,
    /// All of its text, read as it is run: INSERTs, or large objects.
    Script,
}

impl RestorePlan {
    /// Plans what was selected.
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
            // What is of no section follows the object that it is about.
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

    /// All items, in the order of one connection.
    pub(super) fn items(&self) -> impl Iterator<Item = &PlanItem> {
        self.before.iter().chain(&self.main).chain(&self.after)
    }

    /// Packed bytes of the rows.
    pub(super) fn data_size(&self) -> u64 {
        let rows = self.items().filter(|item| item.work != Work::Statements);
        rows.map(|item| item.size).sum()
    }
}

/// An entry of a plan, for those who want to see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedEntry {
    /// `pre-data`, `data`, `post-data` or `privileges`. What is in the same one may be done side by side but for
    /// the first and the last.
    pub phase: &'static str,
    /// As in the entry's banner: `TABLE DATA`.
    pub kind: String,
    /// With the namespace.
    pub name: String,
    /// Rows to be loaded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// What is fetched for the rows, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packed_size: Option<u64>,
}

/// What a restore of the selection would do, in the order of one connection.
pub fn planned(backup: &Backup, selection: &RestoreSelection) -> Result<Vec<PlannedEntry>, RestoreError> {
    let plan = RestorePlan::new(backup, selection)?;
    let describe = |item: &PlanItem, phase| {
        let entry = backup.toc.entries.get(item.index)?;
        let namespace = entry.namespace.iter().map(|namespace| format!("{namespace}."));
        Some(PlannedEntry {
            phase,
            kind: entry.desc.clone(),
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

/// A run of members, as the table of contents names it.
pub(super) fn members(toc: &TocFile, first: u64, number: u64) -> &[crate::archive::toc_file::Member] {
    let range = usize::try_from(first).ok().zip(usize::try_from(first.saturating_add(number)).ok());
    range.and_then(|(from, to)| toc.members.get(from..to)).unwrap_or_default()
}

/// Decides what each item of the main part waits for.
fn link(toc: &TocFile, items: &mut [PlanItem]) {
    let by_id: HashMap<u32, &FileEntry> = toc.entries.iter().map(|entry| (entry.id, entry)).collect();
    let entry = |item: &PlanItem| toc.entries.get(item.index);
    let place: HashMap<u32, usize> =
        items.iter().enumerate().filter_map(|(at, item)| Some((entry(item)?.id, at))).collect();
    // A table's rows depend on the table, and what depends on the table later on is about its rows.
    let mut rows_of: HashMap<u32, usize> = HashMap::new();
    for (at, item) in items.iter().enumerate() {
        let Some(entry) = entry(item).filter(|entry| entry.data.is_some()) else { continue };
        rows_of.extend(entry.dependencies.iter().map(|table| (*table, at)));
    }
    // A trigger of a partition is made with that of its table. Of the levels between them nothing is told, so that
    // triggers go one after the other.
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
        if entry.desc == "TRIGGER" {
            after.extend(last_trigger.replace(at));
        }
        let after_all_rows = waits_for_all_rows(entry);
        after.remove(&at);
        let item = &mut items[at];
        item.size = size;
        item.after = after.into_iter().collect();
        item.after.sort_unstable();
        item.after_all_rows = after_all_rows;
        item.is_exclusive = is_post_data && entry.desc != "INDEX";
        item.tables = tables;
    }
}

fn is_table(entry: Option<&&FileEntry>) -> bool {
    entry.is_some_and(|entry| matches!(entry.desc.as_str(), "TABLE" | "MATERIALIZED VIEW" | "FOREIGN TABLE"))
}

/// Indexes and the constraints that are made with one wait for their own table's rows. Whatever else comes after
/// data may reach further than its dependencies tell: a foreign key or a trigger on a partitioned table is one on
/// each partition.
fn waits_for_all_rows(entry: &FileEntry) -> bool {
    let is_about_own_table = matches!(entry.desc.as_str(), "INDEX" | "CONSTRAINT" | "INDEX ATTACH");
    entry.section == Section::PostData && !is_about_own_table
}
