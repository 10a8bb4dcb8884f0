//! Decides which parts of an entry are selected by the switches that pg_dump and pg_restore have in common,
//! and in which pass an entry is written or restored. Dump and restore make the same decision from an entry's
//! kind and tag. Selection by name is not part of this file.

use super::entry_kind::EntryKind;
use super::section::{Section, Sections};

/// The switches. [`Default`] sets none of them, which selects everything except the database itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntryFilter {
    /// `--create`: the database's own entries.
    pub create: bool,
    /// `--data-only`.
    pub data_only: bool,
    /// `--schema-only`.
    pub schema_only: bool,
    /// `--section`.
    pub sections: Sections,
    /// `--no-privileges`, `--no-acl`.
    pub no_privileges: bool,
    /// `--no-comments`.
    pub no_comments: bool,
    /// `--no-publications`.
    pub no_publications: bool,
    /// `--no-security-labels`.
    pub no_security_labels: bool,
    /// `--no-subscriptions`.
    pub no_subscriptions: bool,
}

/// The selected parts of an entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// Its definition.
    pub schema: bool,
    /// Its data, or statements that represent data.
    pub data: bool,
}

impl Required {
    /// Returns whether any part is selected.
    pub fn any(self) -> bool {
        self.schema || self.data
    }
}

/// The properties of an entry on which the decision depends.
#[derive(Clone, Copy, Debug)]
pub struct EntryKey<'a> {
    /// Its kind.
    pub desc: EntryKind,
    /// Its name.
    pub tag: &'a str,
    /// Whether it has rows or large objects.
    pub has_data: bool,
    /// Whether it has statements that create it.
    pub has_definition: bool,
}

/// The pass in which an entry is written. Privileges come after everything else, so that missing privileges
/// cannot disturb the restore. Only entries that execute code with the restored privileges come later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestorePass {
    /// All other entries.
    Main,
    /// Privileges.
    Acl,
    /// Event triggers and refreshes of materialized views.
    PostAcl,
}

impl RestorePass {
    /// All passes in the order of the script.
    pub const ALL: [RestorePass; 3] = [RestorePass::Main, RestorePass::Acl, RestorePass::PostAcl];
}

impl EntryKey<'_> {
    /// Returns the pass in which it is written.
    pub fn pass(self) -> RestorePass {
        match self.desc {
            EntryKind::Acl | EntryKind::DefaultAcl => RestorePass::Acl,
            EntryKind::EventTrigger | EntryKind::MaterializedViewData => RestorePass::PostAcl,
            EntryKind::Comment | EntryKind::SecurityLabel if self.tag.starts_with("EVENT TRIGGER ") => {
                RestorePass::PostAcl
            }
            EntryKind::AccessMethod
            | EntryKind::Aggregate
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
            | EntryKind::Domain
            | EntryKind::ExtendedStatisticsData
            | EntryKind::Extension
            | EntryKind::FkConstraint
            | EntryKind::ForeignDataWrapper
            | EntryKind::ForeignTable
            | EntryKind::Function
            | EntryKind::Index
            | EntryKind::IndexAttach
            | EntryKind::MaterializedView
            | EntryKind::Operator
            | EntryKind::OperatorClass
            | EntryKind::OperatorFamily
            | EntryKind::Policy
            | EntryKind::ProceduralLanguage
            | EntryKind::Procedure
            | EntryKind::Publication
            | EntryKind::PublicationTable
            | EntryKind::PublicationTablesInSchema
            | EntryKind::RowSecurity
            | EntryKind::Rule
            | EntryKind::Schema
            | EntryKind::SecurityLabel
            | EntryKind::Sequence
            | EntryKind::SequenceOwnedBy
            | EntryKind::SequenceSet
            | EntryKind::Server
            | EntryKind::ShellType
            | EntryKind::Statistics
            | EntryKind::StatisticsData
            | EntryKind::Subscription
            | EntryKind::SubscriptionTable
            | EntryKind::Table
            | EntryKind::TableAttach
            | EntryKind::TableData
            | EntryKind::TextSearchConfiguration
            | EntryKind::TextSearchDictionary
            | EntryKind::TextSearchParser
            | EntryKind::TextSearchTemplate
            | EntryKind::Transform
            | EntryKind::Trigger
            | EntryKind::Type
            | EntryKind::UserMapping
            | EntryKind::View => RestorePass::Main,
        }
    }

    /// Returns whether it belongs to another entry and is useful only together with it: privileges, a
    /// comment, a label.
    pub fn is_attached(self) -> bool {
        matches!(self.desc, EntryKind::Acl | EntryKind::Comment | EntryKind::SecurityLabel)
    }

    /// Returns whether it is the database itself, which is selected only by `--create`.
    pub fn is_database(self) -> bool {
        matches!(self.desc, EntryKind::Database | EntryKind::DatabaseProperties)
    }

    /// Returns whether it belongs to the database itself.
    pub fn is_on_database(self) -> bool {
        self.is_attached() && self.tag.starts_with("DATABASE ")
    }

    /// Returns the parts that the switches select if the entry is in this section.
    pub fn wanted(self, section: Section, switches: &EntryFilter) -> Required {
        if self.is_admitted(section, switches) { self.parts(switches) } else { Required::default() }
    }

    /// Returns whether the switches admit its kind if the entry is in this section.
    pub fn is_admitted(self, section: Section, switches: &EntryFilter) -> bool {
        if self.is_database() {
            return switches.create;
        }
        !self.is_excluded(switches)
            && switches.sections.wants(section)
            && (switches.create || !self.is_on_database())
    }

    /// Returns the selected parts of an admitted entry.
    pub fn parts(self, switches: &EntryFilter) -> Required {
        if self.is_database() {
            return Required { schema: true, data: false };
        }
        let is_data = self.has_data
            || matches!(self.desc, EntryKind::SequenceSet | EntryKind::Blob | EntryKind::BlobMetadata)
            || (self.is_attached() && self.tag.starts_with("LARGE OBJECT"));
        let is_schema = (self.has_data || !is_data) && self.has_definition;
        Required { schema: is_schema && !switches.data_only, data: is_data && !switches.schema_only }
    }

    fn is_excluded(self, switches: &EntryFilter) -> bool {
        let is_on = |object_type: &str| self.tag.starts_with(object_type);
        let is_on_excluded = (switches.no_publications && is_on("PUBLICATION"))
            || (switches.no_subscriptions && is_on("SUBSCRIPTION"));
        match self.desc {
            EntryKind::Acl | EntryKind::DefaultAcl => switches.no_privileges,
            EntryKind::Comment => switches.no_comments || is_on_excluded,
            EntryKind::SecurityLabel => switches.no_security_labels || is_on_excluded,
            EntryKind::Publication | EntryKind::PublicationTable | EntryKind::PublicationTablesInSchema => {
                switches.no_publications
            }
            EntryKind::Subscription | EntryKind::SubscriptionTable => switches.no_subscriptions,
            EntryKind::AccessMethod
            | EntryKind::Aggregate
            | EntryKind::Blob
            | EntryKind::BlobMetadata
            | EntryKind::Blobs
            | EntryKind::Cast
            | EntryKind::CheckConstraint
            | EntryKind::Collation
            | EntryKind::Constraint
            | EntryKind::Conversion
            | EntryKind::Database
            | EntryKind::DatabaseProperties
            | EntryKind::Default
            | EntryKind::Domain
            | EntryKind::EventTrigger
            | EntryKind::ExtendedStatisticsData
            | EntryKind::Extension
            | EntryKind::FkConstraint
            | EntryKind::ForeignDataWrapper
            | EntryKind::ForeignTable
            | EntryKind::Function
            | EntryKind::Index
            | EntryKind::IndexAttach
            | EntryKind::MaterializedView
            | EntryKind::MaterializedViewData
            | EntryKind::Operator
            | EntryKind::OperatorClass
            | EntryKind::OperatorFamily
            | EntryKind::Policy
            | EntryKind::ProceduralLanguage
            | EntryKind::Procedure
            | EntryKind::RowSecurity
            | EntryKind::Rule
            | EntryKind::Schema
            | EntryKind::Sequence
            | EntryKind::SequenceOwnedBy
            | EntryKind::SequenceSet
            | EntryKind::Server
            | EntryKind::ShellType
            | EntryKind::Statistics
            | EntryKind::StatisticsData
            | EntryKind::Table
            | EntryKind::TableAttach
            | EntryKind::TableData
            | EntryKind::TextSearchConfiguration
            | EntryKind::TextSearchDictionary
            | EntryKind::TextSearchParser
            | EntryKind::TextSearchTemplate
            | EntryKind::Transform
            | EntryKind::Trigger
            | EntryKind::Type
            | EntryKind::UserMapping
            | EntryKind::View => false,
        }
    }
}

/// Tracks the section during an iteration over the entries: an entry without a section belongs to the section
/// of the previous entries.
#[derive(Clone, Copy, Debug)]
pub struct SectionTracker {
    current: Section,
    late: usize,
}

impl Default for SectionTracker {
    fn default() -> Self {
        SectionTracker { current: Section::PreData, late: 0 }
    }
}

impl SectionTracker {
    /// Returns the section of the next entry, whose own section is `own`.
    pub fn step(&mut self, own: Section) -> Section {
        let is_late = match own {
            Section::None | Section::PostData => false,
            Section::PreData => self.current != Section::PreData,
            Section::Data => self.current == Section::PostData,
        };
        self.late += usize::from(is_late);
        if own != Section::None {
            self.current = own;
        }
        self.current
    }

    /// Returns the number of entries that came after a later section had begun. This happens if the repair of
    /// a dependency loop moves an object after the data, but not the entries that depend on it.
    pub fn late(&self) -> usize {
        self.late
    }
}
