//! What is dumped: switches, patterns, and extension members. The rules that are particular to a
//! kind stand in the kind's file and build on [`select_object`].

use std::collections::HashSet;

use super::collect::Collector;
use super::error::Result;
use super::object::{Components, DumpId};

/// The OIDs that the selection switches' patterns stand for. An empty include set means that the
/// switch was not given.
#[derive(Debug, Default)]
pub struct Selection {
    /// `--schema`.
    pub namespaces: HashSet<u32>,
    /// `--exclude-schema`.
    pub excluded_namespaces: HashSet<u32>,
    /// `--table`.
    pub tables: HashSet<u32>,
    /// `--exclude-table`.
    pub excluded_tables: HashSet<u32>,
    /// `--exclude-table-data`.
    pub excluded_table_data: HashSet<u32>,
    /// `--extension`.
    pub extensions: HashSet<u32>,
    /// `--exclude-extension`.
    pub excluded_extensions: HashSet<u32>,
    /// `--include-foreign-data`.
    pub foreign_servers: HashSet<u32>,
}

impl Selection {
    /// Looks up what the options' patterns match.
    pub(super) async fn expand(_cx: &Collector<'_>) -> Result<Selection> {
        Ok(Selection::default())
    }
}

/// If an extension owns the object, marks it so, makes it depend on the extension and leaves only its
/// privileges to be dumped (as the extension's script makes the rest). Returns whether it is a member.
///
/// This is asked of every object that could be a member, before all other rules.
pub(super) fn select_by_extension(cx: &mut Collector<'_>, id: DumpId) -> bool {
    let Some(extension) = cx.catalog.owning_extension(cx.catalog[id].catalog_id) else { return false };
    let wanted = cx.catalog[extension].dump_contains & Components::ACL;
    let object = &mut cx.catalog[id];
    object.ext_member = true;
    object.depend_on(extension);
    object.dump = wanted;
    true
}

/// The rule for most kinds: an object is dumped if its namespace's contents are, and an object
/// outside namespaces if everything is.
pub(super) fn select_object(cx: &mut Collector<'_>, id: DumpId) {
    if select_by_extension(cx, id) {
        return;
    }
    cx.catalog[id].dump = match cx.catalog[id].namespace {
        Some(namespace) => cx.catalog[namespace].dump_contains,
        None => everything_or_nothing(cx),
    };
}

/// All components if the dump is of everything, none if switches name what to include.
pub(super) fn everything_or_nothing(cx: &Collector<'_>) -> Components {
    if cx.options.include_everything() { Components::all() } else { Components::empty() }
}
