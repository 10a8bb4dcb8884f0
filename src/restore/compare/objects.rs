//! Compares the objects of a copy, as a dump of it would write them, with those of the backup.

use std::collections::{HashMap, HashSet};

use super::super::backup::Backup;
use super::difference::{Difference, first_difference, object};
use super::texts::{Texts, digest, statements};
use super::{CompareRequest, Compared, Exceptions};
use crate::archive::entry_kind::EntryKind;
use crate::archive::toc::TextRole;
use crate::archive::toc::{EntryData, Piece};
use crate::archive::toc_file::FileEntry;
use crate::archive::toc_layout::LayoutIndex;
use crate::pipeline::download::{DownloadError, fetch_text};
use crate::protocol::SessionSetup;
use crate::sql::DumpPlan;
use crate::sql::query::to_bytes;
use crate::sql::script::{Frame, Script};

/// The text of the entry of a namespace that every database has, when only its owner is restored.
const NOT_CREATED: &[u8] = b"-- *not* creating schema, since initdb creates it\n\n\n";

/// The identity of an object: its kind, its namespace and its name. It is not unique: overloaded operators,
/// and the default privileges of several roles, share one.
pub(super) type ObjectIdentity<'a> = (EntryKind, Option<&'a str>, &'a str);

pub(super) fn identity(entry: &FileEntry) -> ObjectIdentity<'_> {
    (entry.desc, entry.namespace.as_deref(), &entry.tag)
}

/// The copy's entries.
pub(super) struct Copy<'a> {
    plan: &'a DumpPlan,
    frame: Frame,
    pub(super) entries: Vec<CopyEntry>,
}

/// An entry of the copy.
pub(super) struct CopyEntry {
    /// The entry and the facts of its rows.
    pub(super) entry: FileEntry,
    /// The digest of its statements; for rows, of their COPY statement.
    pub(super) text: u128,
    /// The table, qualified and quoted, if only its own rows are read.
    pub(super) table: Option<String>,
}

impl<'a> Copy<'a> {
    /// Collects the entries of a dump of the copy; `places` has the facts of its rows.
    pub(super) fn of(
        plan: &'a DumpPlan,
        places: &LayoutIndex,
        setup: &SessionSetup,
        exceptions: Exceptions,
    ) -> Self {
        let frame = Frame {
            server_version: String::new(),
            dumped_by: String::new(),
            encoding: setup.encoding.clone().unwrap_or_default(),
            quoting: plan.quoting().clone(),
            started: String::new(),
        };
        let mut texts: HashMap<u32, u128> = HashMap::new();
        for (id, text) in bodies(plan, &frame) {
            texts.insert(id, digest(statements(&text, exceptions)));
        }
        let entries = plan.entries().map(|mut entry| {
            let data = places.data(entry.id);
            let (mut text, mut table) = (texts.get(&entry.id.get()).copied(), None);
            if let Some(EntryData::Copy(copy)) = entry.data.take() {
                text = Some(digest(&to_bytes(&copy.statement)));
                table = copy.table;
            }
            let entry = FileEntry { data, ..FileEntry::from(entry) };
            CopyEntry { entry, text: text.unwrap_or_else(|| digest(b"")), table }
        });
        let entries = entries.collect();
        Copy { plan, frame, entries }
    }

    /// Returns the statements of some entries.
    fn statements(&self, wanted: &HashSet<u32>, exceptions: Exceptions) -> HashMap<u32, Vec<u8>> {
        let bodies = bodies(self.plan, &self.frame).filter(|(id, _)| wanted.contains(id));
        bodies.map(|(id, text)| (id, statements(&text, exceptions).to_vec())).collect()
    }
}

/// Returns each entry's text, including the banner, except entries with rows.
fn bodies<'a>(plan: &'a DumpPlan, frame: &Frame) -> impl Iterator<Item = (u32, Vec<u8>)> + 'a {
    Script::new(plan, frame.clone()).filter_map(|piece| match piece {
        Piece::Text { entry: Some(id), role: TextRole::Body, text } => Some((id.get(), to_bytes(&text))),
        Piece::Text { .. } | Piece::Data { .. } => None,
    })
}

/// Returns whether an entry is compared as an object. Rows are compared separately.
fn is_compared(entry: &FileEntry, text: Option<u128>, exceptions: Exceptions) -> bool {
    let is_on = |object_type: &str| entry.tag.starts_with(object_type);
    let is_on_excluded = is_on("DATABASE ")
        || (exceptions.no_publications && is_on("PUBLICATION "))
        || (exceptions.no_subscriptions && is_on("SUBSCRIPTION "));
    match entry.desc {
        EntryKind::TableData | EntryKind::Blobs | EntryKind::Database | EntryKind::DatabaseProperties => {
            false
        }
        EntryKind::Acl | EntryKind::DefaultAcl => {
            !exceptions.no_privileges && !exceptions.no_owner && !is_on("DATABASE ")
        }
        EntryKind::Comment => !is_on_excluded,
        EntryKind::SecurityLabel => !is_on_excluded && !exceptions.no_security_labels,
        EntryKind::Publication | EntryKind::PublicationTable | EntryKind::PublicationTablesInSchema => {
            !exceptions.no_publications
        }
        EntryKind::Subscription | EntryKind::SubscriptionTable => !exceptions.no_subscriptions,
        // Such an entry contains only its owner.
        EntryKind::Schema => !(exceptions.no_owner && text == Some(digest(NOT_CREATED))),
        EntryKind::AccessMethod
        | EntryKind::Aggregate
        | EntryKind::Blob
        | EntryKind::BlobMetadata
        | EntryKind::Cast
        | EntryKind::CheckConstraint
        | EntryKind::Collation
        | EntryKind::Constraint
        | EntryKind::Conversion
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
        | EntryKind::Sequence
        | EntryKind::SequenceOwnedBy
        | EntryKind::SequenceSet
        | EntryKind::Server
        | EntryKind::ShellType
        | EntryKind::Statistics
        | EntryKind::StatisticsData
        | EntryKind::Table
        | EntryKind::TableAttach
        | EntryKind::TextSearchConfiguration
        | EntryKind::TextSearchDictionary
        | EntryKind::TextSearchParser
        | EntryKind::TextSearchTemplate
        | EntryKind::Transform
        | EntryKind::Trigger
        | EntryKind::Type
        | EntryKind::UserMapping
        | EntryKind::View => true,
    }
}

/// Returns whether two entries of one identity have the same properties, apart from their text.
fn same_properties(one: &FileEntry, other: &FileEntry, exceptions: Exceptions) -> bool {
    (exceptions.no_tablespaces || one.tablespace == other.tablespace) && one.table_am == other.table_am
}

/// Compares every object: reports missing, extra and differing ones.
pub(super) async fn compare(
    original: &Backup,
    copy: &Copy<'_>,
    texts: &Texts,
    request: &CompareRequest,
    compared: &mut Compared,
) -> Result<(), DownloadError> {
    let exceptions = request.exceptions;
    let mut of_copy: HashMap<ObjectIdentity<'_>, Vec<&CopyEntry>> = HashMap::new();
    for found in copy.entries.iter().filter(|f| is_compared(&f.entry, Some(f.text), exceptions)) {
        of_copy.entry(identity(&found.entry)).or_default().push(found);
    }
    // Match equal entries first. Of several entries with one identity, only those that differ are then left
    // to be paired.
    let mut left = Vec::new();
    for expected in &original.toc.entries {
        let text = texts.get(&expected.id).copied();
        if !is_compared(expected, text, exceptions) {
            continue;
        }
        compared.objects += 1;
        let same = |found: &&CopyEntry| {
            Some(found.text) == text && same_properties(&found.entry, expected, exceptions)
        };
        let candidates = of_copy.get_mut(&identity(expected));
        let has_failed = request.failed.contains(&expected.id);
        // An entry with a failed statement may exist nevertheless.
        let place = candidates.as_ref().and_then(|c| c.iter().position(same).or(has_failed.then_some(0)));
        match candidates.zip(place) {
            Some((candidates, place)) if place < candidates.len() => drop(candidates.remove(place)),
            _ if has_failed => {}
            _ => left.push(expected),
        }
    }
    let mut differing = Vec::new();
    for expected in left {
        let candidates = of_copy.get_mut(&identity(expected)).filter(|candidates| !candidates.is_empty());
        match candidates.map(|candidates| candidates.remove(0)) {
            None => compared.differences.push(Difference::Missing { object: object(expected) }),
            Some(found) => {
                compare_properties(expected, &found.entry, exceptions, compared);
                if texts.get(&expected.id) != Some(&found.text) {
                    differing.push((expected, found));
                }
            }
        }
    }
    compare_definitions(original, copy, differing, exceptions, compared).await?;
    let is_left = |found: &&CopyEntry| {
        let others = of_copy.get(&identity(&found.entry));
        others.is_some_and(|others| others.iter().any(|other| std::ptr::eq(*other, *found)))
    };
    // Creating an extension also creates its comment, even if the comment was removed in the original.
    let is_own = |found: &&CopyEntry| {
        !(found.entry.desc == EntryKind::Comment && found.entry.tag.starts_with("EXTENSION "))
    };
    for found in copy.entries.iter().filter(is_left).filter(is_own) {
        compared.differences.push(Difference::Extra { object: object(&found.entry) });
    }
    Ok(())
}

fn compare_properties(
    expected: &FileEntry,
    found: &FileEntry,
    exceptions: Exceptions,
    compared: &mut Compared,
) {
    let mut compare_property = |property, found: &Option<String>, expected_value: &Option<String>| {
        if found != expected_value {
            let shown = |value: &Option<String>| match value.as_deref() {
                None | Some("") => "(default)".to_owned(),
                Some(value) => value.to_owned(),
            };
            let (found, expected_value) = (shown(found), shown(expected_value));
            let object = object(expected);
            let difference = Difference::Property { object, property, found, expected: expected_value };
            compared.differences.push(difference);
        }
    };
    if !exceptions.no_tablespaces {
        compare_property("tablespace", &found.tablespace, &expected.tablespace);
    }
    compare_property("table access method", &found.table_am, &expected.table_am);
}

/// Reports the first line in which each pair differs; reads their texts again for this.
async fn compare_definitions(
    original: &Backup,
    copy: &Copy<'_>,
    differing: Vec<(&FileEntry, &CopyEntry)>,
    exceptions: Exceptions,
    compared: &mut Compared,
) -> Result<(), DownloadError> {
    if differing.is_empty() {
        return Ok(());
    }
    let texts = copy.statements(&differing.iter().map(|(_, found)| found.entry.id).collect(), exceptions);
    for (expected, found) in differing {
        let found_text = texts.get(&found.entry.id).map(Vec::as_slice).unwrap_or_default();
        let may_be_reordered = memchr::memmem::find(found_text, b"\nINHERITS (").is_some();
        let (mut found, mut line) = (String::new(), String::new());
        if compared.differences.has_room() || may_be_reordered {
            let text = text_of(original, expected).await?;
            let text = statements(&text, exceptions);
            if may_be_reordered && same_lines(text, found_text) {
                continue;
            }
            (found, line) = first_difference(found_text, text);
        }
        let object = object(expected);
        compared.differences.push(Difference::Definition { object, found, expected: line });
    }
    Ok(())
}

/// Returns whether two definitions have the same lines. A restored child table has its inherited columns
/// first, whatever their original order: SQL cannot express another order.
fn same_lines(one: &[u8], other: &[u8]) -> bool {
    let sorted = |text: &[u8]| {
        let lines = text.split(|byte| *byte == b'\n');
        let mut lines: Vec<Vec<u8>> =
            lines.map(|line| line.strip_suffix(b",").unwrap_or(line).to_vec()).collect();
        lines.sort();
        lines
    };
    sorted(one) == sorted(other)
}

/// Reads an entry's whole text from the backup.
async fn text_of(original: &Backup, entry: &FileEntry) -> Result<Vec<u8>, DownloadError> {
    let mut text = Vec::new();
    for span in entry.statement_spans() {
        text.extend(fetch_text(&original.object, &original.toc, *span).await?);
    }
    Ok(text)
}
