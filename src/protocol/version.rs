//! The server's version as a comparable number.

use std::fmt;

/// `server_version_num`: major × 10000 + minor since PostgreSQL 10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerVersion(pub u32);

impl ServerVersion {
    /// Returns the first release of a major version.
    pub const fn major(major: u32) -> Self {
        ServerVersion(major * 10_000)
    }

    /// Returns the major version: 15 for 15.18.
    pub const fn major_number(self) -> u32 {
        self.0 / 10_000
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10_000, self.0 % 10_000)
    }
}

/// PostgreSQL 13.
pub const PG13: ServerVersion = ServerVersion::major(13);
/// PostgreSQL 14.
pub const PG14: ServerVersion = ServerVersion::major(14);
/// PostgreSQL 15.
pub const PG15: ServerVersion = ServerVersion::major(15);
/// PostgreSQL 16.
pub const PG16: ServerVersion = ServerVersion::major(16);

/// PostgreSQL 17.
pub const PG17: ServerVersion = ServerVersion::major(17);

/// The oldest version that the program connects to. Only a dump depends on the major (`sql::dialect`).
pub const OLDEST: ServerVersion = PG13;
