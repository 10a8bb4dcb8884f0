//! Which parts of an entry are written, and in which pass.

use crate::archive::toc::{Section, TocEntry};
use crate::sql::DumpOptions;

/// The parts of an entry that are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its definition.
    pub schema: bool,
    /// Its data, or statements that stand for data.
    pub data: bool,
}

impl Wanted {
    pub(super) fn any(self) -> bool {
        self.schema || self.data
    }
}

/// When an entry is written: what it needs to be undisturbed by decides. Privileges come after
/// everything, so that their absence cannot hinder the restore, but for what runs code with the
/// restored privileges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Main,
    Acl,
    PostAcl,
}

/// In the order of the script.
pub(super) const PASSES: [Pass; 3] = [Pass::Main, Pass::Acl, Pass::PostAcl];

pub(super) fn pass_of(entry: &TocEntry) -> Pass {
    match entry.desc {
        "ACL" | "DEFAULT ACL" => Pass::Acl,
        "EVENT TRIGGER" | "MATERIALIZED VIEW DATA" => Pass::PostAcl,
        "COMMENT" | "SECURITY LABEL" if entry.tag.starts_with("EVENT TRIGGER ") => Pass::PostAcl,
        _ => Pass::Main,
    }
}

pub(super) fn wanted_of(entry: &TocEntry, section: Section, options: &DumpOptions) -> Wanted {
    if matches!(entry.desc, "DATABASE" | "DATABASE PROPERTIES") {
        return Wanted { schema: options.create, data: false };
    }
    let attached = matches!(entry.desc, "ACL" | "COMMENT" | "SECURITY LABEL");
    if is_excluded(entry, options)
        || !options.sections.wants(section)
        || (attached && entry.tag.starts_with("DATABASE ") && !options.create)
    {
        return Wanted::default();
    }
    let is_data = entry.data.is_some()
        || matches!(entry.desc, "SEQUENCE SET" | "BLOB")
        || (attached && entry.tag.starts_with("LARGE OBJECT "));
    let is_schema = (entry.data.is_some() || !is_data)
        && !entry.definition.is_empty()
        && !entry.definition.starts_with("-- load via partition root ");
    Wanted { schema: is_schema && !options.data_only, data: is_data && !options.schema_only }
}

fn is_excluded(entry: &TocEntry, options: &DumpOptions) -> bool {
    let is_on = |kind: &str| entry.tag.starts_with(kind);
    match entry.desc {
        "ACL" | "DEFAULT ACL" => options.no_privileges,
        "COMMENT" | "SECURITY LABEL" => {
            (options.no_comments && entry.desc == "COMMENT")
                || (options.no_security_labels && entry.desc == "SECURITY LABEL")
                || (options.no_publications && is_on("PUBLICATION"))
                || (options.no_subscriptions && is_on("SUBSCRIPTION"))
        }
        "PUBLICATION" | "PUBLICATION TABLE" | "PUBLICATION TABLES IN SCHEMA" => options.no_publications,
        "SUBSCRIPTION" => options.no_subscriptions,
        _ => false,
    }
}
