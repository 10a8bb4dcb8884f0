//! How to restore.

use super::select::RestoreSelection;

/// How to restore.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The number of connections; 0 counts as 1. A plain dump always uses one.
    pub jobs: usize,
    /// The part of a backup to restore. A plain dump is always restored whole.
    pub selection: RestoreSelection,
    /// The role that runs the statements.
    pub role: Option<String>,
    /// Runs everything in one transaction.
    pub single_transaction: bool,
    /// Reports and counts statements that fail, and continues.
    pub keep_going: bool,
    /// Accepts a plain dump without its last comment, which is missing when the dump was cut.
    pub allow_incomplete: bool,
    /// Accepts a database that already has objects.
    pub into_existing: bool,
    /// Creates the database first, with the properties of the dumped one and the name in the target.
    pub create: bool,
    /// Drops the restored objects first.
    pub clean: bool,
    /// Ignores objects that do not exist when dropping.
    pub if_exists: bool,
    /// Drops the restored namespaces first, with everything in them.
    pub recreate_schema: bool,
}

impl RestoreOptions {
    /// Returns whether a target with objects is refused: no option says how to treat them.
    pub(super) fn refuses_objects(&self) -> bool {
        let expects_tables = self.selection.switches.data_only || !self.selection.switches.sections.pre_data;
        !(self.into_existing || self.clean || self.recreate_schema || expects_tables)
    }
}
