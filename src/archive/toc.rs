//! The table of contents of a dump: one [`TocEntry`] for each statement group that pg_dump lists, in the
//! order of the dump. This file defines the entry and its identity. `sql::emit` creates entries, and
//! `sql::script` converts them to text.

use std::fmt;

use super::entry_kind::EntryKind;
use super::required::EntryKey;
use super::section::Section;

/// Identifies an object or entry within one dump. Ids are assigned from 1 upward in the order of collection,
/// are never reused, and have no meaning outside the dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DumpId(pub(crate) u32);

impl DumpId {
    /// Returns the id as a number, 1 or more.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for DumpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An object's identity in the catalogs: the OID of its system catalog and its own OID. Both are 0 for an
/// object without a catalog row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogId {
    /// OID of the system catalog (`pg_class` is 1259, …).
    pub class: u32,
    /// OID of the row in it.
    pub oid: u32,
}

impl CatalogId {
    /// Identifies the row `oid` of the catalog `class`.
    pub const fn new(class: u32, oid: u32) -> Self {
        CatalogId { class, oid }
    }

    /// Returns whether it identifies a catalog row.
    pub const fn is_cataloged(self) -> bool {
        self.class != 0
    }
}

/// One entry of the table of contents.
#[derive(Clone, Debug)]
pub struct TocEntry {
    /// The entry's id.
    pub id: DumpId,
    /// The catalog row of its object, if there is one.
    pub catalog_id: CatalogId,
    /// The name in the entry's header comment.
    pub tag: String,
    /// The kind in the entry's header comment: `TABLE`, `FK CONSTRAINT`, `TABLE DATA`, …
    pub desc: EntryKind,
    /// The section of the dump to which it belongs.
    pub section: Section,
    /// Namespace of the object; `None` for objects outside namespaces.
    pub namespace: Option<String>,
    /// Tablespace to select first: `Some("")` selects the database's default, `None` keeps the current
    /// selection.
    pub tablespace: Option<String>,
    /// Table access method to select first, for relations that have one.
    pub table_am: Option<String>,
    /// Table access method to set afterwards, for a partitioned table, which has no storage of its own.
    pub altered_table_am: Option<String>,
    /// Owner; `None` for objects that have none.
    pub owner: Option<String>,
    /// The statements that create the object; empty if there are none.
    pub definition: String,
    /// The statement with which `--clean` drops it; empty if there is none.
    pub drop: String,
    /// The rows or large objects of the entry.
    pub data: Option<EntryData>,
    /// The entries and objects that must come before this one.
    pub dependencies: Vec<DumpId>,
}

impl TocEntry {
    /// Returns the properties that decide whether and when it is written. If rows are loaded via a
    /// partitioned table's root, the definition consists only of a comment and does not count.
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

/// The data of a `TABLE DATA` or `BLOBS` entry.
#[derive(Clone, Debug)]
pub enum EntryData {
    /// A table's rows in COPY's text format.
    Copy(Box<CopyData>),
    /// A table's rows as INSERT statements.
    Inserts(Box<InsertData>),
    /// The contents of these large objects, or of all if there is no list, in the order of their OIDs.
    LargeObjects(Option<Vec<u32>>),
}

/// How to read a table's rows in COPY's text format.
#[derive(Clone, Debug)]
pub struct CopyData {
    /// The query to run on the server: `COPY … TO stdout;`.
    pub query: String,
    /// The statement before the rows, including its newline: `COPY … FROM stdin;\n`.
    pub statement: String,
    /// Whether the table is a foreign table.
    pub foreign: bool,
    /// The table, qualified and quoted, if only its own rows are read. In that case any session with the
    /// snapshot that holds the table's lock can read them; otherwise only the dump's own session can.
    pub table: Option<String>,
    /// The size of the table, if its rows can be read in ranges of blocks.
    pub extent: Option<HeapExtent>,
}

/// The size of a table of the access method heap, whose rows can be read in ranges of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeapExtent {
    /// `SELECT …` of the columns to write, without a condition.
    pub select: String,
    /// Number of blocks of the table, 1 or more. The table may have grown since.
    pub blocks: u32,
    /// Size of the table including its TOAST data, in bytes.
    pub bytes: u64,
}

/// How to render a table's rows as INSERT statements (`--inserts`, `--column-inserts`,
/// `--rows-per-insert`).
#[derive(Clone, Debug)]
pub struct InsertData {
    /// `SELECT …` of the columns to write.
    pub query: String,
    /// Everything before the first tuple's parenthesis: `INSERT INTO t (a, b) VALUES`, or
    /// `INSERT INTO t DEFAULT VALUES` when `columns` is empty.
    pub prefix: String,
    /// The type of each column, which determines the quoting of its values, and whether it is generated
    /// (written as `DEFAULT`).
    pub columns: Vec<InsertColumn>,
    /// Everything after the last tuple: `;\n` or ` ON CONFLICT DO NOTHING;\n`.
    pub suffix: String,
    /// Whether the table is a foreign table.
    pub foreign: bool,
    /// Number of tuples per statement, 1 or more.
    pub rows_per_statement: u64,
}

/// One column of [`InsertData`].
#[derive(Clone, Debug)]
pub struct InsertColumn {
    /// OID of the column's type.
    pub type_oid: u32,
    /// Whether the column is generated. Such a column is written as `DEFAULT`.
    pub generated: bool,
}

/// The role of a range of an entry's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextRole {
    /// Header comment and statements.
    #[default]
    Body,
    /// The statement with which `--clean` drops the entry's object.
    Drop,
    /// `COPY … FROM stdin;`
    Copy,
}

/// A piece of the dump, in order.
#[derive(Debug)]
pub enum Piece {
    /// Text of an entry, or of the frame around the entries if `entry` is `None`.
    Text {
        /// The entry to which it belongs.
        entry: Option<DumpId>,
        /// The role of the text.
        role: TextRole,
        /// The text.
        text: String,
    },
    /// The position of an entry's data. The statements around the data are text pieces.
    Data {
        /// The entry to which it belongs.
        entry: DumpId,
        /// The name of the data in messages: `table public.t`.
        name: String,
        /// The data to read.
        data: EntryData,
    },
}
