//! Compares the rows of a copy, table by table, with the checksums in the manifest.

use std::collections::{HashMap, HashSet};

use super::super::backup::Backup;
use super::difference::{Difference, object};
use super::objects::{Copy, CopyEntry};
use super::texts::Texts;
use super::{CompareError, CompareRequest, Compared};
use crate::archive::entry_kind::EntryKind;
use crate::archive::manifest::{RowsDigest, TableSum};
use crate::archive::toc_file::{FileData, FileEntry};
use crate::pipeline::digest::{RowSummer, RowSums};
use crate::protocol::{ProtocolError, Session, SessionSetup};

/// The copy's entries by namespace and name.
type EntriesByName<'a> = HashMap<(Option<&'a str>, &'a str), &'a CopyEntry>;

/// Compares the rows of every table that the manifest lists.
pub(super) async fn compare(
    original: &Backup,
    copy: &Copy<'_>,
    texts: &Texts,
    request: &CompareRequest,
    setup: &SessionSetup,
    compared: &mut Compared,
) -> Result<(), CompareError> {
    let expected: HashMap<u32, &FileEntry> = original.toc.entries.iter().map(|e| (e.id, e)).collect();
    let [data, tables] = [EntryKind::TableData, EntryKind::Table].map(|kind| named(copy, kind));
    let mut reader = CopyReader { request, setup, session: None };
    for sum in original.manifest.tables() {
        let name = (Some(sum.namespace.as_str()), sum.name.as_str());
        let Some(entry) = expected.get(&sum.dump_id).filter(|_| !request.failed.contains(&sum.dump_id))
        else {
            continue;
        };
        let Some(found) = data.get(&name) else {
            // A missing table has been reported already. An object that is not a table any more has no rows.
            if tables.contains_key(&name) {
                compared.differences.push(Difference::Missing { object: object(entry) });
            }
            continue;
        };
        let sums = match texts.get(&entry.id) {
            Some(text) if *text != found.text => reader.read(entry, found).await?,
            _ => None,
        };
        match sums.unwrap_or_else(|| Ok(found.entry.data.as_ref().map_or((0, None), sums_of))) {
            Ok(sums) => report_differing(sum, entry, sums, compared),
            Err(source) => {
                let table = object(entry);
                compared.differences.push(Difference::Unreadable { table, source });
            }
        }
    }
    reader.close().await;
    report_unexpected(original, &data, compared);
    Ok(())
}

fn named<'a>(copy: &'a Copy<'_>, kind: EntryKind) -> EntriesByName<'a> {
    let of_kind = copy.entries.iter().filter(|found| found.entry.desc == kind);
    of_kind.map(|found| ((found.entry.namespace.as_deref(), found.entry.tag.as_str()), found)).collect()
}

fn sums_of(data: &FileData) -> (u64, Option<RowsDigest>) {
    (data.rows, data.digest)
}

fn report_differing(
    sum: &TableSum,
    entry: &FileEntry,
    (rows, digest): (u64, Option<RowsDigest>),
    compared: &mut Compared,
) {
    compared.tables += 1;
    compared.rows += rows;
    // Messages name the table, not its `TABLE DATA` entry.
    let table = || object(&FileEntry { desc: EntryKind::Table, ..entry.clone() });
    if rows != sum.rows {
        let (table, found, expected) = (table(), rows, sum.rows);
        compared.differences.push(Difference::Rows { table, found, expected });
    } else if sum.digest.is_some_and(|expected| Some(expected) != digest) {
        compared.differences.push(Difference::Digest { table: table(), rows });
    }
}

/// Reports rows in tables that have none in the backup. A dump of a standby has no rows of unlogged tables;
/// these are empty in the copy.
fn report_unexpected(original: &Backup, data: &EntriesByName<'_>, compared: &mut Compared) {
    let of = |kind| {
        let entries = original.toc.entries.iter().filter(move |entry| entry.desc == kind);
        entries.map(|e| (e.namespace.as_deref(), e.tag.as_str())).collect::<HashSet<_>>()
    };
    let (expected, tables) = (of(EntryKind::TableData), of(EntryKind::Table));
    let mut unexpected: Vec<_> = data
        .iter()
        .filter(|(name, _)| !expected.contains(*name) && tables.contains(*name))
        .filter_map(|(_, found)| Some((&found.entry, found.entry.data?.rows)))
        .filter(|(_, rows)| *rows > 0)
        .collect();
    unexpected.sort_by_key(|(entry, _)| entry.id);
    for (entry, found) in unexpected {
        let table = object(&FileEntry { desc: EntryKind::Table, ..entry.clone() });
        compared.differences.push(Difference::Rows { table, found, expected: 0 });
    }
}

/// Reads tables again whose columns have a different order in the copy: a digest covers the columns in the
/// order of the backup's COPY statement. The order changes for a child table that inherited columns later.
struct CopyReader<'a> {
    request: &'a CompareRequest,
    setup: &'a SessionSetup,
    session: Option<Session>,
}

/// The row count and the digest of a table, or why its rows cannot be read.
type RowsOutcome = Result<(u64, Option<RowsDigest>), ProtocolError>;

impl CopyReader<'_> {
    /// Reads the rows in the backup's column order; `None` if the table cannot be read in another order.
    async fn read(
        &mut self,
        entry: &FileEntry,
        found: &CopyEntry,
    ) -> Result<Option<RowsOutcome>, CompareError> {
        let statement = entry.copy_statement.as_deref();
        let columns = found.table.as_ref().and_then(|table| {
            statement?.strip_prefix(&format!("COPY {table} "))?.strip_suffix(" FROM stdin;\n")
        });
        let (Some(columns), Some(table)) = (columns, &found.table) else { return Ok(None) };
        let query = format!("COPY {table} {columns} TO STDOUT");
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let session = Session::open(&self.request.copy).await?;
                session.set_up(self.setup).await?;
                session
            }
        };
        let sums = sum_up(&session, &query).await;
        self.session = Some(session);
        Ok(Some(sums.map(|sums| (sums.rows, Some(RowsDigest::from(sums.digest))))))
    }

    async fn close(self) {
        if let Some(session) = self.session {
            session.close().await;
        }
    }
}

async fn sum_up(session: &Session, query: &str) -> Result<RowSums, ProtocolError> {
    let mut rows = session.copy_out(query).await?;
    let mut sums = RowSummer::default();
    while let Some(chunk) = rows.next_chunk().await? {
        sums.feed(&chunk.data);
    }
    Ok(sums.finish())
}
