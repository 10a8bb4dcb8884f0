//! PostgreSQL 16, as it differs from 15.

use super::{Dialect, Messages, RelationInAlterOwner, pg15};

pub(super) const DIALECT: Dialect = Dialect {
    major: 16,
    relation_in_alter_owner: RelationInAlterOwner::OwnKind,
    default_acl_gap: " ",
    overrides_null_defaults: false,
    writes_own_generation: true,
    messages: Messages { names_missing_roles: true, ..pg15::DIALECT.messages },
    ..pg15::DIALECT
};
