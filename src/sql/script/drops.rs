//! `--clean`: the DROP statements, in reverse order, with `IF EXISTS` if requested.

use super::{Script, ScriptStage};
use crate::archive::drop_statement::with_if_exists;
use crate::archive::entry_kind::EntryKind;
use crate::archive::toc::TextRole;
use crate::archive::toc::TocEntry;
use crate::sql::entries::Backwards;

impl<'a> Script<'a> {
    /// Starts the walk from the last entry to the first.
    pub(super) fn drops(&self) -> ScriptStage<'a> {
        let plan = self.plan;
        ScriptStage::Drops(Backwards::new(&plan.catalog, &plan.options, &plan.order, &plan.survey.marks))
    }

    /// Writes the DROP statement of a selected entry. With `--create` only the database is dropped, because
    /// the script is still connected to another one.
    pub(super) fn drop(&mut self, entry: &TocEntry) {
        // Every entry with a DROP statement has a section of its own.
        let wanted = entry.key().wanted(entry.section, &self.switches);
        let in_scope = !self.options.create || entry.key().is_database();
        if !in_scope || !wanted.any() || !is_dropped(entry) {
            return;
        }
        self.say(format_args!("dropping {} {}", entry.desc, entry.tag));
        let mut owner = String::new();
        self.become_owner(&mut owner, entry);
        self.text(Some(entry.id), owner);
        let drop = match self.options.if_exists {
            true => with_if_exists(entry.desc, &entry.drop),
            false => entry.drop.clone(),
        };
        self.text_as(TextRole::Drop, Some(entry.id), drop);
    }
}

/// Whether an entry is written as one with a DROP statement. For the kinds listed here the statement may be
/// empty, because dropping another object is enough; pg_dump still logs the drop and sets the owner's role.
fn is_dropped(entry: &TocEntry) -> bool {
    !entry.drop.is_empty()
        || matches!(
            entry.desc,
            EntryKind::DatabaseProperties | EntryKind::Index | EntryKind::Sequence | EntryKind::Trigger
        )
}
