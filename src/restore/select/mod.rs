//! Decides which entries of a backup are restored: pg_restore's switches, and the decisions that pg_restore
//! 15 makes for each entry. Names are compared exactly, without patterns, with the names in the table of
//! contents. [`list`] has `--list` and `--use-list`. The changes that switches make to an entry's statements
//! are made elsewhere.

pub mod list;
mod names;

use std::collections::HashMap;

use crate::archive::drop_statement::with_if_exists;
use crate::archive::entry_kind::EntryKind;
use crate::archive::required::{EntryFilter, Required, SectionTracker};
use crate::archive::toc_file::{FileEntry, TocFile};
use list::{ListPosition, UseList};
use names::RequestedNames;

/// The part of a backup to restore, and with which properties. [`Default`] restores everything unchanged.
///
/// Names are given as in the table of contents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreSelection {
    /// The switches that depend on an entry's kind.
    pub switches: EntryFilter,
    /// `--schema`.
    pub schemas: Vec<String>,
    /// `--exclude-schema`.
    pub exclude_schemas: Vec<String>,
    /// `--table`: tables, views, sequences and foreign tables, with their rows and values.
    pub tables: Vec<String>,
    /// `--index`.
    pub indexes: Vec<String>,
    /// `--function`: with the argument types, as in `f(integer, text)`.
    pub functions: Vec<String>,
    /// `--trigger`: the name of the table, a blank, and the name of the trigger.
    pub triggers: Vec<String>,
    /// `--strict-names`: each name must select something.
    pub strict_names: bool,
    /// `--use-list`.
    pub use_list: Option<UseList>,
    /// `--no-owner`.
    pub no_owner: bool,
    /// `--no-tablespaces`.
    pub no_tablespaces: bool,
    /// `--no-table-access-method`.
    pub no_table_access_method: bool,
    /// `--disable-triggers`; see [`RestoreSelection::switches_triggers`].
    pub disable_triggers: bool,
    /// `--superuser`: the role that disables the triggers.
    pub superuser: Option<String>,
    /// `--no-data-for-failed-tables`.
    pub no_data_for_failed_tables: bool,
}

/// An entry to restore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its index in the table of contents' `entries`.
    pub index: usize,
    /// Whether its statements are run.
    pub statements: bool,
    /// Whether its rows, or the large objects with their contents, are loaded.
    pub data: bool,
}

/// Why a selection fails, in pg_restore's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// With `--strict-names`, a name that selects nothing.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `schema`, `table`, `index`, `function` or `trigger`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A line of `--use-list` names an entry that does not exist.
    #[error("could not find entry for ID {id}\nHINT: use a list that --list printed for the same backup")]
    NoSuchEntry {
        /// Its dump id.
        id: u32,
    },
}

impl RestoreSelection {
    /// Returns whether nothing is left out or changed.
    pub fn is_everything(&self) -> bool {
        *self == RestoreSelection::default()
    }

    /// Returns the entries to restore, in the order of a restore over one connection: that of the table of
    /// contents or of the list, in three passes ([`RestorePass`](crate::archive::required::RestorePass)).
    pub fn choose(&self, toc: &TocFile) -> Result<Vec<Chosen>, SelectError> {
        let mut chosen: Vec<Chosen> = self
            .wanted(toc)?
            .into_iter()
            .map(|(index, entry, wanted)| {
                let has_data = entry.data.is_some();
                let statements = wanted.schema || (wanted.data && !has_data);
                Chosen { index, statements, data: wanted.data && has_data }
            })
            .collect();
        // The sort is stable: it keeps the order within a pass.
        chosen.sort_by_key(|chosen| toc.entries.get(chosen.index).map(|entry| entry.key().pass()));
        Ok(chosen)
    }

    /// Returns the statements with which `--clean` drops the chosen objects, each with the index of its
    /// entry. They are in reverse order: the last object is dropped first. An object is also dropped when
    /// only its rows are chosen, as pg_restore does.
    pub fn drops(&self, toc: &TocFile, if_exists: bool) -> Result<Vec<(usize, String)>, SelectError> {
        let drop = |(index, entry, _): (usize, &FileEntry, Required)| {
            let is_in_scope = !self.switches.create || entry.key().is_database();
            // A comment means that there is nothing to drop.
            let drop =
                entry.drop_statement.as_deref().filter(|drop| is_in_scope && !drop.starts_with("--"))?;
            let drop = if if_exists { with_if_exists(entry.desc, drop) } else { drop.to_owned() };
            Some((index, drop))
        };
        Ok(self.wanted(toc)?.into_iter().rev().filter_map(drop).collect())
    }

    /// Returns whether triggers are disabled around a table's rows: only if no definitions are restored, by a
    /// switch or because none was chosen. Otherwise triggers are created after the rows.
    pub fn switches_triggers(&self, toc: &TocFile, chosen: &[Chosen]) -> bool {
        let is_definition = |chosen: &Chosen| {
            let entry = toc.entries.get(chosen.index).filter(|_| chosen.statements);
            entry.is_some_and(|entry| entry.key().parts(&self.switches).schema)
        };
        self.disable_triggers && (self.switches.data_only || !chosen.iter().any(is_definition))
    }

    /// Returns the entries of which any part is restored, in the order of the table of contents or of the
    /// list.
    fn wanted<'a>(&self, toc: &'a TocFile) -> Result<Vec<(usize, &'a FileEntry, Required)>, SelectError> {
        let places = match &self.use_list {
            Some(list) => list.arrange(toc)?,
            None => (0..toc.entries.len()).map(|index| ListPosition { index, is_listed: true }).collect(),
        };
        let mut names = RequestedNames::of(self);
        let (mut sections, mut marks) = (SectionTracker::default(), ChosenEntries::new(toc));
        let mut found = Vec::new();
        for ListPosition { index, is_listed } in places {
            let Some(entry) = toc.entries.get(index) else { continue };
            let (key, section) = (entry.key(), sections.step(entry.section));
            // Match names even if the switches exclude the entry: the names then count as found.
            let is_in = key.is_admitted(section, &self.switches)
                && (key.is_database() || (is_listed && names.select(entry, &marks)));
            let wanted = if is_in { key.parts(&self.switches) } else { Required::default() };
            if wanted.any() {
                marks.mark(entry);
                found.push((index, entry, wanted));
            }
        }
        match names.not_found().filter(|_| self.strict_names) {
            Some((kind, name)) => Err(SelectError::NotFound { kind, name: name.to_owned() }),
            None => Ok(found),
        }
    }
}

/// The entries chosen so far, by dump id.
struct ChosenEntries<'a> {
    entries: HashMap<u32, (&'a FileEntry, bool)>,
}

impl<'a> ChosenEntries<'a> {
    fn new(toc: &'a TocFile) -> Self {
        ChosenEntries { entries: toc.entries.iter().map(|entry| (entry.id, (entry, false))).collect() }
    }

    fn mark(&mut self, entry: &FileEntry) {
        if let Some((_, is_chosen)) = self.entries.get_mut(&entry.id) {
            *is_chosen = true;
        }
    }

    /// Returns whether the object that an entry is attached to has been chosen. Privileges on columns depend
    /// on the privileges on their table, but these are not their object.
    fn has_object_of(&self, entry: &FileEntry) -> bool {
        let objects = entry.dependencies.iter().filter_map(|id| self.entries.get(id));
        objects.into_iter().any(|(object, is_chosen)| *is_chosen && object.desc != EntryKind::Acl)
    }
}

#[cfg(test)]
mod tests;
