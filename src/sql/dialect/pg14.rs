//! PostgreSQL 14, as it differs from 15.

use super::{Dialect, PublicSchema, pg15};

pub(super) const DIALECT: Dialect = Dialect {
    major: 14,
    public_schema: PublicSchema::Privileges,
    titles_absent_role_settings: false,
    ..pg15::DIALECT
};
