//! The table of contents of a dump: one [`TocEntry`] for each statement group that pg_dump would
//! list, in the order of the dump. What lives here is the entry and its identity; how entries come
//! about is `sql::emit`'s, how they become text is `sql::script`'s.

use std::fmt;

use super::required::EntryKey;
use super::section::Section;

/// Identifies an object or entry inside one dump; assigned from 1 upward in the order of
/// collection, never reused, and without meaning outside the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DumpId(pub(crate) u32);

impl DumpId {
    /// The id as a number, 1 or more.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for DumpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where an object lives in the catalogs: the OID of its system catalog and its own OID.
/// Both are 0 for an object that no catalog row stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogId {
    /// OID of the system catalog (`pg_class` is 1259, …).
    pub class: u32,
    /// OID of the row in it.
    pub oid: u32,
}

impl CatalogId {
    /// Names the row `oid` of the catalog `class`.
    pub const fn new(class: u32, oid: u32) -> Self {
        CatalogId { class, oid }
    }

    /// Whether a catalog row stands behind it.
    pub const fn is_cataloged(self) -> bool {
        self.class != 0
    }
}

/// One entry of the table of contents.
#[derive(Clone, Debug)]
pub struct TocEntry {
    /// The entry's own id in this dump.
    pub id: DumpId,
    /// The catalog row behind it, if there is one.
    pub catalog_id: CatalogId,
    /// The name that the entry's banner shows.
    pub tag: String,
    /// The kind that the entry's banner shows: `TABLE`, `FK CONSTRAINT`, `TABLE DATA`, …
    pub desc: &'static str,
    /// Which section of the dump it belongs to.
    pub section: Section,
    /// Namespace of the object; absent for objects outside namespaces.
    pub namespace: Option<String>,
    /// Tablespace to select first: `Some("")` selects the database's default, `None` leaves what is selected.
    pub tablespace: Option<String>,
    /// Table access method to select first, for relations that have one.
    pub table_am: Option<String>,
    /// Owner; absent for objects that have none.
    pub owner: Option<String>,
    /// The statements that create the object; empty when there are none.
    pub definition: String,
    /// The statement that drops it, as `--clean` writes it; empty when there is none.
    pub drop: String,
    /// The rows or large objects that come with the entry.
    pub data: Option<EntryData>,
    /// The entries and objects that must come before this one.
    pub dependencies: Vec<DumpId>,
}

impl TocEntry {
    /// What decides whether and when it is written. Where rows go into a partitioned table by its root, a
    /// comment alone stands for a definition.
    pub fn key(&self) -> EntryKey<'_> {
        let definition = self.definition.as_str();
        EntryKey {
            desc: self.desc,
            tag: &self.tag,
            has_data: self.data.is_some(),
            has_definition: !definition.is_empty() && !definition.starts_with("-- load via partition root "),
        }
    }
}

/// The data that a `TABLE DATA` or `BLOBS` entry carries.
#[derive(Clone, Debug)]
pub enum EntryData {
    /// A table's rows in COPY's text format.
    Copy(Box<CopyData>),
    /// A table's rows as INSERT statements.
    Inserts(Box<InsertData>),
    /// The large objects and their contents, in order of their OIDs.
    LargeObjects(Vec<u32>),
}

/// How to read a table's rows in COPY's text format.
#[derive(Clone, Debug)]
pub struct CopyData {
    /// What to run on the server: `COPY … TO stdout;`.
    pub query: String,
    /// The statement before the rows, with its newline: `COPY … FROM stdin;\n`.
    pub statement: String,
    /// Whether a foreign table is read.
    pub foreign: bool,
    /// The table, qualified and quoted, if its own rows are all that is read: then any session on the
    /// snapshot that holds the table's lock can read them. Otherwise the dump's own session must.
    pub table: Option<String>,
    /// How large it is, if that is worth knowing.
    pub extent: Option<HeapExtent>,
}

/// A table of the access method heap, whose rows can be read in parts by their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeapExtent {
    /// `SELECT …` of the columns to be written, without a condition.
    pub select: String,
    /// Blocks of the table, 1 or more. There may be more by now.
    pub blocks: u32,
    /// Bytes of the table and of what it keeps out of line.
    pub bytes: u64,
}

/// How to render a table's rows as INSERT statements (`--inserts`, `--column-inserts`,
/// `--rows-per-insert`).
#[derive(Clone, Debug)]
pub struct InsertData {
    /// `SELECT …` of the columns to be written.
    pub query: String,
    /// Everything before the first tuple's parenthesis: `INSERT INTO t (a, b) VALUES`, or
    /// `INSERT INTO t DEFAULT VALUES` when `columns` is empty.
    pub prefix: String,
    /// Column types that decide each value's quoting, by type OID, and whether the column is
    /// generated (written as `DEFAULT`).
    pub columns: Vec<InsertColumn>,
    /// Everything after the last tuple: `;\n` or ` ON CONFLICT DO NOTHING;\n`.
    pub suffix: String,
    /// Whether a foreign table is read.
    pub foreign: bool,
    /// Tuples in one statement; 1 or more.
    pub rows_per_statement: u64,
}

/// One column of [`InsertData`].
#[derive(Clone, Debug)]
pub struct InsertColumn {
    /// OID of the column's type.
    pub type_oid: u32,
    /// Generated columns are written as `DEFAULT`.
    pub generated: bool,
}

/// What a stretch of an entry's text is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextRole {
    /// Banner and statements.
    #[default]
    Body,
    /// The statement that `--clean` writes to drop the entry's object.
    Drop,
    /// `COPY … FROM stdin;`
    Copy,
}

/// A stretch of the dump's text, in order.
#[derive(Debug)]
pub enum Piece {
    /// Text that belongs to an entry, or to the frame around the entries when `entry` is `None`.
    Text {
        /// The entry it belongs to.
        entry: Option<DumpId>,
        /// What the text is.
        role: TextRole,
        /// The text.
        text: String,
    },
    /// The place where an entry's data goes, bare: statements around it are text pieces.
    Data {
        /// The entry it belongs to.
        entry: DumpId,
        /// What the data is, for messages: `table public.t`.
        name: String,
        /// What to fetch.
        data: EntryData,
    },
}
