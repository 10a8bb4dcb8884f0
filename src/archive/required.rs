//! Which parts of an entry the switches leave in that pg_dump and pg_restore have in common, and in which pass an
//! entry is written or restored. Both decide alike, from an entry's kind and tag, whether it is on its way into a
//! dump or out of one; what names select is not decided here.

use super::section::{Section, Sections};

/// The switches. [`Default`] is none of them: everything but the database itself is wanted.
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

/// The parts of an entry that are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Required {
    /// Its definition.
    pub schema: bool,
    /// Its data, or statements that stand for data.
    pub data: bool,
}

impl Required {
    /// Whether any part is.
    pub fn any(self) -> bool {
        self.schema || self.data
    }
}

/// What of an entry decides.
#[derive(Clone, Copy, Debug)]
pub struct EntryKey<'a> {
    /// Its kind.
    pub desc: &'a str,
    /// Its name.
    pub tag: &'a str,
    /// Whether rows or large objects come with it.
    pub has_data: bool,
    /// Whether statements create it.
    pub has_definition: bool,
}

/// When an entry is written: what it needs to be undisturbed by decides. Privileges come after
/// everything, so that their absence cannot hinder the restore, but for what runs code with the
/// restored privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RestorePass {
    /// All that is neither of the others.
    Main,
    /// Privileges.
    Acl,
    /// Event triggers and refreshes of materialized views.
    PostAcl,
}

impl RestorePass {
    /// In the order of the script.
    pub const ALL: [RestorePass; 3] = [RestorePass::Main, RestorePass::Acl, RestorePass::PostAcl];
}

impl EntryKey<'_> {
    /// In which pass it is written.
    pub fn pass(self) -> RestorePass {
        match self.desc {
            "ACL" | "DEFAULT ACL" => RestorePass::Acl,
            "EVENT TRIGGER" | "MATERIALIZED VIEW DATA" => RestorePass::PostAcl,
            "COMMENT" | "SECURITY LABEL" if self.tag.starts_with("EVENT TRIGGER ") => RestorePass::PostAcl,
            _ => RestorePass::Main,
        }
    }

    /// Whether it hangs on another entry and is of use with that alone: privileges, a comment, a label.
    pub fn is_attached(self) -> bool {
        matches!(self.desc, "ACL" | "COMMENT" | "SECURITY LABEL")
    }

    /// Whether it is the database itself, which `--create` alone decides about.
    pub fn is_database(self) -> bool {
        matches!(self.desc, "DATABASE" | "DATABASE PROPERTIES")
    }

    /// Whether it is about the database itself.
    pub fn is_on_database(self) -> bool {
        self.is_attached() && self.tag.starts_with("DATABASE ")
    }

    /// Which parts of it the switches want, when it is met in this section.
    pub fn wanted(self, section: Section, switches: &EntryFilter) -> Required {
        if self.is_admitted(section, switches) { self.parts(switches) } else { Required::default() }
    }

    /// Whether the switches leave its kind in, when it is met in this section.
    pub fn is_admitted(self, section: Section, switches: &EntryFilter) -> bool {
        if self.is_database() {
            return switches.create;
        }
        !self.is_excluded(switches)
            && switches.sections.wants(section)
            && (switches.create || !self.is_on_database())
    }

    /// Which parts of an entry that is admitted are wanted.
    pub fn parts(self, switches: &EntryFilter) -> Required {
        if self.is_database() {
            return Required { schema: true, data: false };
        }
        let is_data = self.has_data
            || matches!(self.desc, "SEQUENCE SET" | "BLOB")
            || (self.is_attached() && self.tag.starts_with("LARGE OBJECT "));
        let is_schema = (self.has_data || !is_data) && self.has_definition;
        Required { schema: is_schema && !switches.data_only, data: is_data && !switches.schema_only }
    }

    fn is_excluded(self, switches: &EntryFilter) -> bool {
        let is_on = |kind: &str| self.tag.starts_with(kind);
        match self.desc {
            "ACL" | "DEFAULT ACL" => switches.no_privileges,
            "COMMENT" | "SECURITY LABEL" => {
                (switches.no_comments && self.desc == "COMMENT")
                    || (switches.no_security_labels && self.desc == "SECURITY LABEL")
                    || (switches.no_publications && is_on("PUBLICATION"))
                    || (switches.no_subscriptions && is_on("SUBSCRIPTION"))
            }
            "PUBLICATION" | "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA" => switches.no_publications,
            "SUBSCRIPTION" => switches.no_subscriptions,
            _ => false,
        }
    }
}

/// Follows the sections along a walk over the entries: an entry of no section belongs to the section of
/// those before it.
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
    /// The section that the next entry is met in, of which `own` is its own.
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

    /// How many entries came after a later section had begun, as happens where a loop's repair moves an
    /// object behind the data but not what depends on it.
    pub fn late(&self) -> usize {
        self.late
    }
}
