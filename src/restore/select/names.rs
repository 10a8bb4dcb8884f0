//! Selects entries by name: namespaces, relations, indexes, functions and triggers.

use super::{ChosenEntries, RestoreSelection};
use crate::archive::entry_kind::EntryKind;
use crate::archive::toc_file::FileEntry;

/// The names of a selection, each with whether it was found.
pub(super) struct RequestedNames<'a> {
    schemas: List<'a>,
    exclude_schemas: List<'a>,
    tables: List<'a>,
    indexes: List<'a>,
    functions: List<'a>,
    triggers: List<'a>,
}

/// The names of one switch.
struct List<'a> {
    names: Vec<(&'a str, bool)>,
}

impl<'a> List<'a> {
    fn of(names: &'a [String]) -> Self {
        List { names: names.iter().map(|name| (name.as_str(), false)).collect() }
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Marks a name as found and returns whether it is in the list. A name that was given twice is found
    /// once, as in pg_restore.
    fn find(&mut self, name: &str) -> bool {
        let found = self.names.iter_mut().find(|(known, _)| *known == name);
        found.map(|(_, is_found)| *is_found = true).is_some()
    }

    fn not_found(&self) -> Option<&'a str> {
        self.names.iter().find(|(_, is_found)| !is_found).map(|(name, _)| *name)
    }
}

impl<'a> RequestedNames<'a> {
    pub(super) fn of(selection: &'a RestoreSelection) -> Self {
        RequestedNames {
            schemas: List::of(&selection.schemas),
            exclude_schemas: List::of(&selection.exclude_schemas),
            tables: List::of(&selection.tables),
            indexes: List::of(&selection.indexes),
            functions: List::of(&selection.functions),
            triggers: List::of(&selection.triggers),
        }
    }

    /// Returns whether the names select an entry. An entry that is attached to an object is selected with it.
    /// Without any names everything is selected, including entries whose object is not in the backup.
    pub(super) fn select(&mut self, entry: &FileEntry, marks: &ChosenEntries<'_>) -> bool {
        let subject = entry.key();
        if subject.is_attached() {
            return self.are_none() || subject.is_on_database() || marks.has_object_of(entry);
        }
        self.select_namespace(entry.namespace.as_deref()) && self.select_object(entry.desc, &entry.tag)
    }

    fn are_none(&self) -> bool {
        self.schemas.is_empty() && self.exclude_schemas.is_empty() && !self.name_objects()
    }

    fn name_objects(&self) -> bool {
        [&self.tables, &self.indexes, &self.functions, &self.triggers].iter().any(|list| !list.is_empty())
    }

    fn select_namespace(&mut self, namespace: Option<&str>) -> bool {
        let is_in = self.schemas.is_empty() || namespace.is_some_and(|name| self.schemas.find(name));
        is_in && !namespace.is_some_and(|name| self.exclude_schemas.find(name))
    }

    /// Once any object is named, only these kinds can be selected, each only by its own switch.
    fn select_object(&mut self, kind: EntryKind, tag: &str) -> bool {
        if !self.name_objects() {
            return true;
        }
        match kind {
            EntryKind::Table
            | EntryKind::TableData
            | EntryKind::View
            | EntryKind::ForeignTable
            | EntryKind::MaterializedView
            | EntryKind::MaterializedViewData
            | EntryKind::Sequence
            | EntryKind::SequenceSet => self.tables.find(tag),
            EntryKind::Index => self.indexes.find(tag),
            EntryKind::Function | EntryKind::Aggregate | EntryKind::Procedure => self.functions.find(tag),
            EntryKind::Trigger => self.triggers.find(tag),
            EntryKind::AccessMethod
            | EntryKind::Acl
            | EntryKind::Blob
            | EntryKind::BlobMetadata
            | EntryKind::Blobs
            | EntryKind::Cast
            | EntryKind::CheckConstraint
            | EntryKind::Collation
            | EntryKind::Comment
            | EntryKind::Constraint
            | EntryKind::Conversion
            | EntryKind::Database
            | EntryKind::DatabaseProperties
            | EntryKind::Default
            | EntryKind::DefaultAcl
            | EntryKind::Domain
            | EntryKind::EventTrigger
            | EntryKind::ExtendedStatisticsData
            | EntryKind::Extension
            | EntryKind::FkConstraint
            | EntryKind::ForeignDataWrapper
            | EntryKind::IndexAttach
            | EntryKind::Operator
            | EntryKind::OperatorClass
            | EntryKind::OperatorFamily
            | EntryKind::Policy
            | EntryKind::ProceduralLanguage
            | EntryKind::Publication
            | EntryKind::PublicationTable
            | EntryKind::PublicationTablesInSchema
            | EntryKind::RowSecurity
            | EntryKind::Rule
            | EntryKind::Schema
            | EntryKind::SecurityLabel
            | EntryKind::SequenceOwnedBy
            | EntryKind::Server
            | EntryKind::ShellType
            | EntryKind::Statistics
            | EntryKind::StatisticsData
            | EntryKind::Subscription
            | EntryKind::SubscriptionTable
            | EntryKind::TableAttach
            | EntryKind::TextSearchConfiguration
            | EntryKind::TextSearchDictionary
            | EntryKind::TextSearchParser
            | EntryKind::TextSearchTemplate
            | EntryKind::Transform
            | EntryKind::Type
            | EntryKind::UserMapping => false,
        }
    }

    /// Returns the first name that selected nothing, and its kind.
    pub(super) fn not_found(&self) -> Option<(&'static str, &'a str)> {
        let lists = [
            ("schema", &self.schemas),
            ("table", &self.tables),
            ("index", &self.indexes),
            ("function", &self.functions),
            ("trigger", &self.triggers),
        ];
        lists.into_iter().find_map(|(kind, list)| Some((kind, list.not_found()?)))
    }
}
