//! The table of contents as it is stored (`.toc.json.gz`): the identity of each entry and the positions of
//! its text and rows in the dump. docs/archive-format.md specifies it.
//!
//! There are two kinds of offsets: *raw* offsets count bytes of the uncompressed SQL, and *object* offsets
//! count bytes of the compressed object. `members` relates them: each member is a range of the object that
//! can be decompressed independently.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::FORMAT_VERSION;
use super::compression::Compression;
use super::entry_kind::EntryKind;
use super::manifest::RowsDigest;
use super::required::EntryKey;
use super::section::Section;
use super::toc::{EntryData, TextRole, TocEntry};
use super::toc_layout::LayoutIndex;

/// Maximum size of the JSON in bytes, for writing and reading: about a million entries.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// A range of the SQL: offset and length in uncompressed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct RawSpan {
    /// The offset.
    pub offset: u64,
    /// The length.
    pub length: u64,
}

impl RawSpan {
    /// Returns the offset of the end.
    pub fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

impl From<(u64, u64)> for RawSpan {
    fn from((offset, length): (u64, u64)) -> Self {
        RawSpan { offset, length }
    }
}

impl From<RawSpan> for (u64, u64) {
    fn from(span: RawSpan) -> Self {
        (span.offset, span.length)
    }
}

/// A range of the object that can be decompressed independently: one or more whole gzip members or zstd
/// frames. In JSON it is `[object_offset, object_length, raw_offset, raw_length, rows]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 5]", into = "[u64; 5]")]
pub struct Member {
    /// The offset in the object.
    pub object_offset: u64,
    /// The length in the object.
    pub object_length: u64,
    /// The offset of its text in the SQL.
    pub raw_offset: u64,
    /// The length of its text.
    pub raw_length: u64,
    /// The number of rows of table data in it. They are rows of one table, because the rows of each table
    /// begin a new member.
    pub rows: u64,
}

impl Member {
    /// Returns the range of its text in the SQL.
    pub fn raw(&self) -> RawSpan {
        RawSpan { offset: self.raw_offset, length: self.raw_length }
    }

    /// Returns the offset of its end in the object.
    pub fn object_end(&self) -> u64 {
        self.object_offset.saturating_add(self.object_length)
    }
}

impl From<[u64; 5]> for Member {
    fn from([object_offset, object_length, raw_offset, raw_length, rows]: [u64; 5]) -> Self {
        Member { object_offset, object_length, raw_offset, raw_length, rows }
    }
}

impl From<Member> for [u64; 5] {
    fn from(m: Member) -> Self {
        [m.object_offset, m.object_length, m.raw_offset, m.raw_length, m.rows]
    }
}

/// The whole table of contents. When it is read, `E` is the list of entries; when it is written, `E` yields
/// them one by one ([`Streamed`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TocFile<E = Vec<FileEntry>> {
    /// The format version of the backup's three objects.
    pub format_version: u32,
    /// The dump object's file name.
    pub file: String,
    /// The compression of the dump object.
    pub compression: Compression,
    /// The size of the dump object; if it is encrypted, the size of its content.
    pub size: u64,
    /// The size of the uncompressed SQL.
    pub raw_size: u64,
    /// All members, in order, without gaps.
    pub members: Vec<Member>,
    /// The CRC-32 of each member's text, if the dump is not compressed; a gzip member or zstd frame has its
    /// own checksum. Empty if there are none, as in backups of versions that did not write them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<u32>,
    /// Text outside of the entries: the settings at the start, and the end.
    pub frame: Vec<RawSpan>,
    /// The statements that create the dumped database and set its owner, comment, labels, properties and
    /// privileges, one text for each; the first one is `CREATE DATABASE`. Empty if unknown.
    #[serde(default)]
    pub database: Vec<String>,
    /// The entries in pg_dump's order, dependencies first. Their texts are in the same order, except for
    /// privileges and event triggers, which are written last.
    pub entries: E,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its dump id.
    pub id: u32,
    /// OIDs of the catalog and of the row in it. Both are 0 if the entry has no catalog row; only the first
    /// is 0 if the entry refers to a table and has no row of its own.
    pub catalog_id: (u32, u32),
    /// The kind in its header comment.
    pub desc: EntryKind,
    /// The name in its header comment.
    pub tag: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its tablespace; empty for the database's default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<String>,
    /// Its table access method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_am: Option<String>,
    /// Its owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Its section.
    pub section: Section,
    /// Dump ids of its dependencies, which must come first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<u32>,
    /// The position of its text: header comment, statements, and the `SET`s required before them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<RawSpan>,
    /// The statement with which `--clean` drops it, including its newline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_statement: Option<String>,
    /// The position of the statement that `--clean` wrote to drop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<RawSpan>,
    /// The position of `COPY … FROM stdin;`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<RawSpan>,
    /// The text at `copy`, for a reader that fetches only the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_statement: Option<String>,
    /// Its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<FileData>,
}

impl FileEntry {
    /// Returns an entry with its positions.
    fn placed(entry: TocEntry, places: &LayoutIndex) -> FileEntry {
        let id = entry.id;
        let mut placed = FileEntry { data: places.data(id), ..FileEntry::from(entry) };
        for place in places.text(Some(id)) {
            match place.role {
                TextRole::Body => placed.text.push(place.raw),
                TextRole::Drop => placed.drop = Some(place.raw),
                TextRole::Copy => placed.copy = Some(place.raw),
            }
        }
        placed
    }

    /// Returns the positions of its statements. An entry with rows has none, because its COPY statement is in
    /// the table of contents.
    pub fn statement_spans(&self) -> &[RawSpan] {
        if self.data.is_some() { &[] } else { &self.text }
    }

    /// Returns the properties that decide whether and when it is restored. An entry with rows has no other
    /// statements.
    pub fn key(&self) -> EntryKey<'_> {
        let has_data = self.data.is_some();
        EntryKey {
            desc: self.desc,
            tag: &self.tag,
            has_data,
            has_definition: !has_data && !self.text.is_empty(),
        }
    }
}

/// The position of an entry's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileData {
    /// The format of the rows.
    pub format: DataFormat,
    /// The range of the rows in the SQL, without the `\.` that ends them.
    pub raw: RawSpan,
    /// The members that contain the rows, as the index of the first one and their number. The first member
    /// begins with the first row. The last member may contain other text after the last row.
    pub members: (u64, u64),
    /// The number of rows: COPY's lines, rows written as INSERTs, or large objects.
    pub rows: u64,
    /// The digest of the rows; `None` for statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<RowsDigest>,
}

/// The format of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// Lines of COPY's text format.
    Copy,
    /// INSERT statements, or statements that write large objects.
    Statements,
}

/// Entries that are combined with their positions while they are written, so that they are never all in
/// memory.
#[derive(Debug)]
pub struct Streamed<'a, F> {
    places: &'a LayoutIndex,
    entries: F,
}

impl<F, I> Serialize for Streamed<'_, F>
where
    F: Fn() -> I,
    I: Iterator<Item = TocEntry>,
{
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.entries)().map(|entry| FileEntry::placed(entry, self.places)))
    }
}

impl<'a, F> TocFile<Streamed<'a, F>> {
    /// Combines the entries, which `entries` yields in the order of the dump, with their positions. Sizes are
    /// in bytes.
    pub fn new(
        file: String,
        compression: Compression,
        size: u64,
        raw_size: u64,
        places: &'a LayoutIndex,
        database: Vec<String>,
        entries: F,
    ) -> Self {
        TocFile {
            format_version: FORMAT_VERSION,
            file,
            compression,
            size,
            raw_size,
            members: places.members().to_vec(),
            checksums: places.checksums().to_vec(),
            frame: places.text(None).iter().map(|place| place.raw).collect(),
            database,
            entries: Streamed { places, entries },
        }
    }
}

impl<E: Serialize> TocFile<E> {
    /// Returns the file's bytes (JSON in one gzip member) and the size of the JSON. Fails if the JSON is
    /// larger than readers accept.
    pub fn to_gzip(&self) -> std::io::Result<(Vec<u8>, u64)> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        let mut buffered = std::io::BufWriter::new(CountingWriter { inner: gzip, written: 0 });
        serde_json::to_writer(&mut buffered, self)?;
        buffered.write_all(b"\n")?;
        let CountingWriter { inner, written } =
            buffered.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        if written > MOST_BYTES {
            return Err(std::io::Error::other(format!(
                "the table of contents has {written} bytes; readers accept at most {}",
                MOST_BYTES
            )));
        }
        Ok((inner.finish()?, written))
    }
}

/// Counts the bytes written.
struct CountingWriter<W> {
    inner: W,
    written: u64,
}

impl<W: Write> Write for CountingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let length = self.inner.write(bytes)?;
        self.written += length as u64;
        Ok(length)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

impl TocFile {
    /// Returns whether it describes a server's roles and tablespaces, whose statements are all outside of
    /// entries.
    pub fn is_of_globals(&self) -> bool {
        self.entries.is_empty() && self.database.is_empty()
    }

    /// Returns the members that contain a range of the SQL.
    pub fn members_of(&self, raw: RawSpan) -> &[Member] {
        let first = self.members.partition_point(|m| m.raw().end() <= raw.offset);
        let end = self.members.partition_point(|m| m.raw_offset < raw.end());
        self.members.get(first..end).unwrap_or_default()
    }
}

impl From<TocEntry> for FileEntry {
    fn from(entry: TocEntry) -> Self {
        FileEntry {
            id: entry.id.get(),
            catalog_id: (entry.catalog_id.class, entry.catalog_id.oid),
            desc: entry.desc,
            tag: entry.tag,
            namespace: entry.namespace,
            tablespace: entry.tablespace,
            table_am: entry.table_am,
            owner: entry.owner,
            section: entry.section,
            dependencies: entry.dependencies.iter().map(|id| id.get()).collect(),
            text: Vec::new(),
            drop_statement: Some(entry.drop).filter(|drop| !drop.is_empty()),
            drop: None,
            copy: None,
            copy_statement: match entry.data {
                Some(EntryData::Copy(copy)) => Some(copy.statement),
                Some(EntryData::Inserts(_) | EntryData::LargeObjects(_)) | None => None,
            },
            data: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::ArchiveError;
    use crate::archive::toc::CatalogId;
    use crate::archive::toc::DumpId;
    use crate::archive::toc_layout::{DataPlace, Layout, TextPlace};
    use crate::archive::toc_reader::TocLimit;

    fn entry(id: u32, desc: EntryKind) -> TocEntry {
        TocEntry {
            id: DumpId(id),
            catalog_id: CatalogId::new(1259, 16384 + id),
            tag: format!("t{id}"),
            desc,
            section: Section::PreData,
            namespace: Some("public".into()),
            tablespace: Some(String::new()),
            table_am: None,
            altered_table_am: None,
            owner: Some("o".into()),
            definition: "CREATE TABLE …;\n".into(),
            drop: format!("DROP TABLE public.t{id};\n"),
            data: None,
            dependencies: vec![DumpId(1)],
        }
    }

    fn sample() -> TocFile {
        let span = |offset, length| RawSpan { offset, length };
        let layout = Layout {
            members: vec![Member::from([0, 10, 0, 50, 0]), Member::from([10, 20, 50, 100, 3])],
            checksums: Vec::new(),
            text: vec![
                TextPlace { entry: None, role: TextRole::Body, raw: span(0, 10) },
                TextPlace { entry: Some(DumpId(2)), role: TextRole::Drop, raw: span(10, 10) },
                TextPlace { entry: Some(DumpId(2)), role: TextRole::Body, raw: span(20, 20) },
                TextPlace { entry: Some(DumpId(3)), role: TextRole::Copy, raw: span(40, 10) },
            ],
            data: vec![DataPlace {
                entry: DumpId(3),
                data: FileData {
                    format: DataFormat::Copy,
                    raw: span(50, 90),
                    members: (1, 1),
                    rows: 3,
                    digest: Some(RowsDigest::from(9)),
                },
            }],
        };
        let entries = || [entry(2, EntryKind::Table), entry(3, EntryKind::TableData)].into_iter();
        let places = layout.into_index();
        let toc = TocFile::new(
            "x.sql.gz".into(),
            Compression::DEFAULT_GZIP,
            30,
            150,
            &places,
            vec!["CREATE DATABASE d;\n".into()],
            entries,
        );
        TocFile::from_gzip(&toc.to_gzip().unwrap().0, TocLimit::default()).unwrap()
    }

    #[test]
    fn a_table_of_contents_reads_back_as_written() {
        let toc = sample();
        assert_eq!(TocFile::from_gzip(&toc.to_gzip().unwrap().0, TocLimit::default()).unwrap(), toc);
        assert_eq!(toc.frame, [RawSpan { offset: 0, length: 10 }]);
        assert_eq!(toc.database, ["CREATE DATABASE d;\n"]);
        assert_eq!(toc.entries[0].drop_statement.as_deref(), Some("DROP TABLE public.t2;\n"));
        assert_eq!(toc.entries[0].drop, Some(RawSpan { offset: 10, length: 10 }));
        assert_eq!(toc.entries[1].data.unwrap().rows, 3);
    }

    #[test]
    fn the_members_of_a_stretch_are_those_that_touch_it() {
        let toc = sample();
        let count = |offset, length| toc.members_of(RawSpan { offset, length }).len();
        assert_eq!((count(0, 50), count(49, 2), count(50, 1), count(0, 150)), (1, 2, 1, 2));
        assert_eq!(count(150, 5), 0);
    }

    #[test]
    fn a_newer_or_damaged_table_of_contents_is_refused() {
        let mut toc = sample();
        toc.format_version = 9;
        let error = TocFile::from_gzip(&toc.to_gzip().unwrap().0, TocLimit::default()).unwrap_err();
        assert!(error.to_string().starts_with("table of contents has format version 9"), "{error}");
        let (packed, _) = sample().to_gzip().unwrap();
        let half = TocFile::from_gzip(&packed[..packed.len() / 2], TocLimit::default());
        assert!(matches!(half, Err(ArchiveError::Gzip(_))));
    }
}
