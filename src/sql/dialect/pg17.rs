//! PostgreSQL 17, as it differs from 16.

use super::{Dialect, LargeObjectLayout, Messages, pg16};
use crate::sql::object::ObjectKind as K;

pub(super) const DIALECT: Dialect = Dialect {
    major: 17,
    timeouts: &[
        "statement_timeout",
        "lock_timeout",
        "idle_in_transaction_session_timeout",
        "transaction_timeout",
    ],
    // All entries of large objects are in the data section.
    kind_order: pg16::DIALECT.kind_order.with_behind(K::LargeObject, K::SequenceSet),
    large_objects: LargeObjectLayout::Groups(1000),
    table_privileges: &[
        ('r', "SELECT"),
        ('a', "INSERT"),
        ('x', "REFERENCES"),
        ('d', "DELETE"),
        ('t', "TRIGGER"),
        ('D', "TRUNCATE"),
        ('m', "MAINTAIN"),
        ('w', "UPDATE"),
    ],
    around_extension_dependency: ("\n", ""),
    alter_foreign_column: "ALTER FOREIGN TABLE ONLY",
    writes_relative_locations: false,
    messages: Messages {
        quotes_settings: true,
        mentions_tables_of_subscriptions: true,
        ..pg16::DIALECT.messages
    },
    ..pg16::DIALECT
};
