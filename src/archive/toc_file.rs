//! The table of contents as it lies in the store (`.toc.json.gz`): each entry's identity and where
//! its text and rows lie in the dump. docs/archive-format.md specifies it.
//!
//! Offsets are of two kinds: *raw* ones count bytes of the SQL, *object* ones bytes of the packed
//! object. `members` ties them: each is a stretch of the object that unpacks by itself.

use std::io::Write;

use serde::{Deserialize, Serialize};

use super::FORMAT_VERSION;
use super::compression::Compression;
use super::manifest::RowsDigest;
use super::required::EntryKey;
use super::section::Section;
use super::toc::{EntryData, TextRole, TocEntry};
use super::toc_layout::LayoutIndex;

/// The most bytes of JSON that any reader takes, and any writer makes: about a million entries.
pub(super) const MOST_BYTES: u64 = 1 << 30;

/// A stretch of the SQL: offset and length in raw bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct RawSpan {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

impl RawSpan {
    /// Where it ends.
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

/// A stretch of the object that unpacks by itself: one or more whole gzip members or zstd frames.
/// In JSON it is `[object_offset, object_length, raw_offset, raw_length, rows]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 5]", into = "[u64; 5]")]
pub struct Member {
    /// Where it begins in the object.
    pub object_offset: u64,
    /// Its packed length.
    pub object_length: u64,
    /// Where its text begins in the SQL.
    pub raw_offset: u64,
    /// The length of its text.
    pub raw_length: u64,
    /// Rows of table data in it. They are of one table: rows begin a member.
    pub rows: u64,
}

impl Member {
    /// Where its text lies in the SQL.
    pub fn raw(&self) -> RawSpan {
        RawSpan { offset: self.raw_offset, length: self.raw_length }
    }

    /// Where it ends in the object.
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

/// The whole table of contents: with its entries as it is read, or with whatever yields them one by one
/// ([`Streamed`]) as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TocFile<E = Vec<FileEntry>> {
    /// The format of the three objects.
    pub format_version: u32,
    /// The dump object's file name.
    pub file: String,
    /// How it is packed.
    pub compression: Compression,
    /// Its size; where it is encrypted, that of what is encrypted in it.
    pub size: u64,
    /// The size of the SQL.
    pub raw_size: u64,
    /// All members, in order, without gaps.
    pub members: Vec<Member>,
    /// The CRC-32 of each member's text, where the dump is not compressed: a gzip member or zstd frame has a checksum
    /// of its own. Empty where there are none, as in backups of versions that did not write them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checksums: Vec<u32>,
    /// Text that belongs to no entry: the settings at the start, the end.
    pub frame: Vec<RawSpan>,
    /// The statements that create the dumped database and give it its owner, comment, labels, properties and
    /// privileges, a text for each; the first is `CREATE DATABASE`. Empty where it is not known.
    #[serde(default)]
    pub database: Vec<String>,
    /// The entries in pg_dump's order, dependencies first. Their texts come in this order but for
    /// privileges and event triggers, which are written last.
    pub entries: E,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its dump id.
    pub id: u32,
    /// OIDs of the catalog and of the row in it; both 0 where no row stands behind it, the first alone
    /// where the entry is about a table and has no row of its own.
    pub catalog_id: (u32, u32),
    /// The kind that its banner shows.
    pub desc: String,
    /// The name that its banner shows.
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
    /// Dump ids of what must come before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<u32>,
    /// Where its text lies: banner, statements, `SET`s that were due before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub text: Vec<RawSpan>,
    /// The statement with which `--clean` drops it, with its newline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_statement: Option<String>,
    /// Where the statement lies that `--clean` wrote to drop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop: Option<RawSpan>,
    /// Where `COPY … FROM stdin;` lies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<RawSpan>,
    /// What `copy` holds, for a reader that fetches nothing but the rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy_statement: Option<String>,
    /// Its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<FileData>,
}

impl FileEntry {
    /// An entry with its places.
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

    /// The stretches of its statements: none for rows, whose COPY statement is in the table of contents.
    pub fn statement_spans(&self) -> &[RawSpan] {
        if self.data.is_some() { &[] } else { &self.text }
    }

    /// What decides whether and when it is restored. What comes with rows has no other statements of its own.
    pub fn key(&self) -> EntryKey<'_> {
        let has_data = self.data.is_some();
        EntryKey {
            desc: &self.desc,
            tag: &self.tag,
            has_data,
            has_definition: !has_data && !self.text.is_empty(),
        }
    }
}

/// Where an entry's rows lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileData {
    /// COPY rows, or statements.
    pub format: DataFormat,
    /// Where the rows lie in the SQL, without the `\.` that ends them.
    pub raw: RawSpan,
    /// The members that hold them, as index of the first and number. The first begins with the
    /// first row; after the last row the last may go on with other text.
    pub members: (u64, u64),
    /// Their number: COPY's lines, rows made INSERTs, or large objects.
    pub rows: u64,
    /// Their digest; absent for statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<RowsDigest>,
}

/// How rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataFormat {
    /// Lines of COPY's text format.
    Copy,
    /// INSERT statements, or statements that write large objects.
    Statements,
}

/// Entries that are joined with their places while they are written, so that they are never all there at
/// once.
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
    /// Joins the entries, which `entries` walks in the order of the dump, with their places. Sizes are in
    /// bytes.
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
    /// The file's bytes, JSON in one gzip member, and the size of the JSON. One that no reader would read is an error.
    pub fn to_gzip(&self) -> std::io::Result<(Vec<u8>, u64)> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
        let mut buffered = std::io::BufWriter::new(CountingWriter { inner: gzip, written: 0 });
        serde_json::to_writer(&mut buffered, self)?;
        buffered.write_all(b"\n")?;
        let CountingWriter { inner, written } =
            buffered.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        if written > MOST_BYTES {
            return Err(std::io::Error::other(format!(
                "the table of contents has {written} bytes, and readers take {} at most",
                MOST_BYTES
            )));
        }
        Ok((inner.finish()?, written))
    }
}

/// Counts the bytes that are written.
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
    /// Whether it is of a server's roles and tablespaces, whose statements are all frame.
    pub fn is_of_globals(&self) -> bool {
        self.entries.is_empty() && self.database.is_empty()
    }

    /// The members that hold a stretch of the SQL.
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
            desc: entry.desc.to_owned(),
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

    fn entry(id: u32, desc: &'static str) -> TocEntry {
        TocEntry {
            id: DumpId(id),
            catalog_id: CatalogId::new(1259, 16384 + id),
            tag: format!("t{id}"),
            desc,
            section: Section::PreData,
            namespace: Some("public".into()),
            tablespace: Some(String::new()),
            table_am: None,
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
        let entries = || [entry(2, "TABLE"), entry(3, "TABLE DATA")].into_iter();
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
