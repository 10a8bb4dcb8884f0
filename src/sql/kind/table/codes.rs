//! The codes of `pg_class` and `pg_attribute`.

use crate::sql::code::codes;

codes! {
    /// The kind of a relation.
    #[derive(Default)]
    RelationKind("relkind") {
        #[default]
        Table = 'r',
        Index = 'i',
        Sequence = 'S',
        ToastTable = 't',
        View = 'v',
        MaterializedView = 'm',
        CompositeType = 'c',
        ForeignTable = 'f',
        PartitionedTable = 'p',
        PartitionedIndex = 'I',
    }
}

codes! {
    /// How long a relation exists, and whether its changes are logged.
    #[derive(Default)]
    Persistence("relpersistence") {
        #[default]
        Permanent = 'p',
        Unlogged = 'u',
        Temporary = 't',
    }
}

codes! {
    /// What identifies the rows of a table in logical replication.
    #[derive(Default)]
    ReplicaIdentity("relreplident") {
        /// The primary key.
        #[default]
        Default = 'd',
        Nothing = 'n',
        /// All columns.
        Full = 'f',
        /// The index that `pg_index` names.
        Index = 'i',
    }
}

codes! {
    /// How values that may be long are stored. Types have the same codes.
    #[derive(Default)]
    Storage("attstorage or typstorage") {
        #[default]
        Plain = 'p',
        External = 'e',
        Extended = 'x',
        Main = 'm',
    }
}

impl Storage {
    /// Returns the keyword of `SET STORAGE`.
    pub(in crate::sql::kind) fn keyword(self) -> &'static str {
        match self {
            Storage::Plain => "PLAIN",
            Storage::External => "EXTERNAL",
            Storage::Extended => "EXTENDED",
            Storage::Main => "MAIN",
        }
    }
}

codes! {
    /// `GENERATED … AS IDENTITY`.
    Identity("attidentity") {
        Always = 'a',
        ByDefault = 'd',
    }
}

codes! {
    /// `GENERATED ALWAYS AS (…)`.
    Generated("attgenerated") {
        Stored = 's',
    }
}

codes! {
    /// The compression method of a column; columns without one use the server's default.
    Compression("attcompression") {
        Pglz = 'p',
        Lz4 = 'l',
    }
}
