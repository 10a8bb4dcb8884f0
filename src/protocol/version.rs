//! The server's version as a comparable number, and the supported major versions.

use std::fmt;

use super::error::{ProtocolError, Server};

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

/// The major versions for which tests have proved that dumps equal pg_dump's.
pub const SUPPORTED: &[ServerVersion] = &[PG15];

/// Returns an error for a server of any other major version.
pub(super) fn check_supported(version: ServerVersion, server: &Server) -> Result<(), ProtocolError> {
    if SUPPORTED.iter().any(|s| s.major_number() == version.major_number()) {
        return Ok(());
    }
    let majors: Vec<_> = SUPPORTED.iter().map(|s| s.major_number().to_string()).collect();
    let supported = format!("only PostgreSQL {}", majors.join(", "));
    Err(ProtocolError::UnsupportedVersion { server: server.clone(), version, supported })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_majors_are_refused_by_name() {
        let server = Server::Tcp { host: "db".to_owned(), port: 5432, address: None, is_given: false };
        assert!(check_supported(ServerVersion(150_018), &server).is_ok());
        let error = check_supported(ServerVersion(160_004), &server).unwrap_err();
        assert_eq!(
            error.to_string(),
            "server db:5432 runs PostgreSQL 16.4, but this program supports only PostgreSQL 15"
        );
    }
}
