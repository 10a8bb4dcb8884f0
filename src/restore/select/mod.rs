//! Which entries of a backup are restored: pg_restore's switches, and the decision about each entry as pg_restore 15
//! makes it. Names are compared as they are, without patterns, with what the table of contents shows; `--list` and
//! `--use-list` are [`list`]'s. What the switches change in an entry's statements is decided elsewhere.

pub mod list;
mod names;

use std::collections::HashMap;

use crate::archive::drop_statement::with_if_exists;
use crate::archive::required::{EntryFilter, Required, SectionTracker};
use crate::archive::toc_file::{FileEntry, TocFile};
use list::{ListPosition, UseList};
use names::RequestedNames;

/// What of a backup is to be restored, and with which of its properties. [`Default`] is everything, as it was.
///
/// Names are held as the table of contents holds them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RestoreSelection {
    /// The switches that decide by an entry's kind.
    pub switches: EntryFilter,
    /// `--schema`.
    pub schemas: Vec<String>,
    /// `--exclude-schema`.
    pub exclude_schemas: Vec<String>,
    /// `--table`: tables, views, sequences and foreign tables, with their rows and values.
    pub tables: Vec<String>,
    /// `--index`.
    pub indexes: Vec<String>,
    /// `--function`: with the types of the arguments, as in `f(integer, text)`.
    pub functions: Vec<String>,
    /// `--trigger`: the table's name, a blank, and the trigger's.
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
    /// `--superuser`: who disables them.
    pub superuser: Option<String>,
    /// `--no-data-for-failed-tables`.
    pub no_data_for_failed_tables: bool,
}

/// An entry that is restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its place in the table of contents' `entries`.
    pub index: usize,
    /// Whether its statements are run.
    pub statements: bool,
    /// Whether its rows, or the large objects with their contents, are loaded.
    pub data: bool,
}

/// Why nothing can be chosen, in pg_restore's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// `--strict-names`, and a name that selects nothing.
    #[error("{kind} \"{name}\" not found")]
    NotFound {
        /// `schema`, `table`, `index`, `function` or `trigger`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// A line of `--use-list` names an entry that there is not.
    #[error(
        "could not find entry for ID {id}\nHINT: the list must be one that --list has printed of the same backup"
    )]
    NoSuchEntry {
        /// Its dump id.
        id: u32,
    },
}

impl RestoreSelection {
    /// Whether nothing is left out or changed.
    pub fn is_everything(&self) -> bool {
        *self == RestoreSelection::default()
    }

    /// Which entries are restored, in the order in which one session restores them: that of the table of
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
        // Stable: within a pass the order stays.
        chosen.sort_by_key(|chosen| toc.entries.get(chosen.index).map(|entry| entry.key().pass()));
        Ok(chosen)
    }

    /// The statements with which `--clean` drops what is chosen, each with the place of its entry, in the order
    /// in which they are run: what came last is dropped first. Of entries of which only rows are chosen the
    /// objects are dropped too, as pg_restore does.
    pub fn drops(&self, toc: &TocFile, if_exists: bool) -> Result<Vec<(usize, String)>, SelectError> {
        let drop = |(index, entry, _): (usize, &FileEntry, Required)| {
            let is_in_scope = !self.switches.create || entry.key().is_database();
            // A comment says that there is nothing to drop.
            let drop =
                entry.drop_statement.as_deref().filter(|drop| is_in_scope && !drop.starts_with("--"))?;
            let (_, oid) = entry.catalog_id;
            let drop = if if_exists { with_if_exists(&entry.desc, oid, drop) } else { drop.to_owned() };
            Some((index, drop))
        };
        Ok(self.wanted(toc)?.into_iter().rev().filter_map(drop).collect())
    }

    /// Whether triggers are switched off around a table's rows: no object is created that could have some
    /// later, because that was said or because no definition was chosen.
    pub fn switches_triggers(&self, toc: &TocFile, chosen: &[Chosen]) -> bool {
        let is_definition = |chosen: &Chosen| {
            let entry = toc.entries.get(chosen.index).filter(|_| chosen.statements);
            entry.is_some_and(|entry| entry.key().parts(&self.switches).schema)
        };
        self.disable_triggers && (self.switches.data_only || !chosen.iter().any(is_definition))
    }

    /// The entries of which any part is wanted, in the order of the table of contents or of the list.
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
            // Names are looked at although the switches may leave nothing of the entry: they have been
            // found then.
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

/// Which entries have been chosen so far, by their dump ids.
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

    /// Whether the object that an entry hangs on has been chosen. That privileges on columns come after
    /// those on their table does not make these their object.
    fn has_object_of(&self, entry: &FileEntry) -> bool {
        let objects = entry.dependencies.iter().filter_map(|id| self.entries.get(id));
        objects.into_iter().any(|(object, is_chosen)| *is_chosen && object.desc != "ACL")
    }
}

#[cfg(test)]
mod tests;
