//! The kinds of TOC entries. pg_dump calls the kind of an entry its `desc` and writes it into the entry's
//! banner, `-- Name: …; Type: TABLE DATA; …`; the table of contents has the same words.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Declares each kind once, with pg_dump's words for it.
macro_rules! entry_kinds {
    ($( $kind:ident $desc:literal, )*) => {
        /// The kind of a TOC entry. Each variant has the name that pg_dump writes; the order has no meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EntryKind {
            $( #[doc = concat!("`", $desc, "`.")] $kind, )*
        }

        impl EntryKind {
            /// All kinds.
            pub const ALL: &'static [EntryKind] = &[$( EntryKind::$kind, )*];

            /// Returns pg_dump's words for the kind.
            pub const fn as_str(self) -> &'static str {
                match self { $( EntryKind::$kind => $desc, )* }
            }

            fn find(desc: &str) -> Option<EntryKind> {
                match desc { $( $desc => Some(EntryKind::$kind), )* _ => None }
            }
        }
    };
}

entry_kinds! {
    AccessMethod "ACCESS METHOD",
    Acl "ACL",
    Aggregate "AGGREGATE",
    Blob "BLOB",
    BlobMetadata "BLOB METADATA",
    Blobs "BLOBS",
    Cast "CAST",
    CheckConstraint "CHECK CONSTRAINT",
    Collation "COLLATION",
    Comment "COMMENT",
    Constraint "CONSTRAINT",
    Conversion "CONVERSION",
    Database "DATABASE",
    DatabaseProperties "DATABASE PROPERTIES",
    Default "DEFAULT",
    DefaultAcl "DEFAULT ACL",
    Domain "DOMAIN",
    EventTrigger "EVENT TRIGGER",
    ExtendedStatisticsData "EXTENDED STATISTICS DATA",
    Extension "EXTENSION",
    FkConstraint "FK CONSTRAINT",
    ForeignDataWrapper "FOREIGN DATA WRAPPER",
    ForeignTable "FOREIGN TABLE",
    Function "FUNCTION",
    Index "INDEX",
    IndexAttach "INDEX ATTACH",
    MaterializedView "MATERIALIZED VIEW",
    MaterializedViewData "MATERIALIZED VIEW DATA",
    Operator "OPERATOR",
    OperatorClass "OPERATOR CLASS",
    OperatorFamily "OPERATOR FAMILY",
    Policy "POLICY",
    ProceduralLanguage "PROCEDURAL LANGUAGE",
    Procedure "PROCEDURE",
    Publication "PUBLICATION",
    PublicationTable "PUBLICATION TABLE",
    PublicationTablesInSchema "PUBLICATION TABLES IN SCHEMA",
    RowSecurity "ROW SECURITY",
    Rule "RULE",
    Schema "SCHEMA",
    SecurityLabel "SECURITY LABEL",
    Sequence "SEQUENCE",
    SequenceOwnedBy "SEQUENCE OWNED BY",
    SequenceSet "SEQUENCE SET",
    Server "SERVER",
    ShellType "SHELL TYPE",
    Statistics "STATISTICS",
    StatisticsData "STATISTICS DATA",
    Subscription "SUBSCRIPTION",
    SubscriptionTable "SUBSCRIPTION TABLE",
    Table "TABLE",
    TableAttach "TABLE ATTACH",
    TableData "TABLE DATA",
    TextSearchConfiguration "TEXT SEARCH CONFIGURATION",
    TextSearchDictionary "TEXT SEARCH DICTIONARY",
    TextSearchParser "TEXT SEARCH PARSER",
    TextSearchTemplate "TEXT SEARCH TEMPLATE",
    Transform "TRANSFORM",
    Trigger "TRIGGER",
    Type "TYPE",
    UserMapping "USER MAPPING",
    View "VIEW",
}

/// The text is not the name of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of entry")]
pub struct UnknownEntryKind;

impl FromStr for EntryKind {
    type Err = UnknownEntryKind;

    fn from_str(desc: &str) -> Result<Self, UnknownEntryKind> {
        EntryKind::find(desc).ok_or(UnknownEntryKind)
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for EntryKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for EntryKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Desc;

        impl de::Visitor<'_> for Desc {
            type Value = EntryKind;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a kind of entry")
            }

            fn visit_str<E: de::Error>(self, desc: &str) -> Result<EntryKind, E> {
                desc.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Desc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name() {
        for kind in EntryKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            let json = serde_json::to_string(kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
            assert_eq!(serde_json::from_str::<EntryKind>(&json).unwrap(), *kind);
        }
        for unknown in ["", "table", "TABLE ", "ENCODING", "VIEW DATA"] {
            assert_eq!(unknown.parse::<EntryKind>(), Err(UnknownEntryKind), "{unknown}");
        }
    }
}
