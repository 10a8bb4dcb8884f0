//! Errors of reading the catalogs and writing DDL.

use tokio_postgres::types::WasNull;

use super::code::UnknownCode;
use crate::protocol;

/// A failure to read the catalogs or to write DDL from them.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The server rejected a catalog query, or the connection failed.
    #[error("catalog query for {what} failed")]
    Catalog {
        /// The queried objects: the kind, in plural.
        what: &'static str,
        /// The cause.
        source: protocol::ProtocolError,
    },
    /// A column of a catalog query could not be read as the expected type.
    #[error("catalog query for {what}: column {column} could not be read")]
    Column {
        /// The queried objects.
        what: &'static str,
        /// The column.
        column: &'static str,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// The role lacks the privilege to read the other roles' passwords.
    #[error(
        "the passwords of roles cannot be read\nHINT: only a superuser may read them; leave them out with \
         --no-role-passwords, in the sidecar with BACKUP_GLOBALS=no-role-passwords"
    )]
    Passwords {
        /// The cause.
        source: protocol::ProtocolError,
    },
    /// The database has an object that the program cannot dump.
    #[error("cannot dump {kind} {name}: pg-backup does not write objects of this kind yet")]
    Unsupported {
        /// The object kind, in the words of the SQL command that creates it.
        kind: String,
        /// The object, qualified and quoted.
        name: String,
    },
    /// Dumps of this major version have not been compared with pg_dump's.
    #[error(
        "cannot dump a PostgreSQL {version} server: this release dumps PostgreSQL {majors}\nHINT: install a release of \
         pg-backup that dumps it; until then, use the pg_dump of PostgreSQL {major}",
        major = version.major_number()
    )]
    Server {
        /// The server's version.
        version: protocol::ServerVersion,
        /// The majors that can be dumped, as words.
        majors: String,
    },
    /// A catalog has a code that this program does not know.
    #[error("{}", .code.of(.object))]
    Code {
        /// The object's quoted name or its OID.
        object: String,
        /// The column and the code.
        code: UnknownCode,
    },
    /// The catalogs are inconsistent, or the program misread them; the text names the objects.
    #[error("{0}")]
    Inconsistent(String),
    /// Tables no longer match the snapshot, so their rows would be missing from the dump.
    #[error("{tables}: {what}\nHINT: dump again when the migration has ended")]
    Changed {
        /// The tables by name, qualified and quoted.
        tables: String,
        /// What changed.
        what: &'static str,
    },
    /// A switch or pattern matches nothing or is malformed; the text is pg_dump's.
    #[error("{0}")]
    Selection(String),
    /// Another statement of the dump's session failed.
    #[error("{context}")]
    Statement {
        /// The purpose of the statement.
        context: String,
        /// The cause.
        source: protocol::ProtocolError,
    },
}

impl SqlError {
    /// The server's or the driver's error that caused this one, if any.
    fn cause(&self) -> Option<&protocol::ProtocolError> {
        match self {
            SqlError::Catalog { source, .. }
            | SqlError::Statement { source, .. }
            | SqlError::Passwords { source } => Some(source),
            SqlError::Column { .. }
            | SqlError::Unsupported { .. }
            | SqlError::Server { .. }
            | SqlError::Code { .. }
            | SqlError::Inconsistent(_)
            | SqlError::Changed { .. }
            | SqlError::Selection(_) => None,
        }
    }

    /// Whether the server did not find an object that a statement names.
    pub(crate) fn is_missing_object(&self) -> bool {
        self.cause().is_some_and(protocol::ProtocolError::is_missing_object)
    }

    /// Whether the error suggests that objects were changed, renamed or dropped after the snapshot was taken:
    /// server functions read the newest catalogs and raise an error or return NULL for dropped objects. A
    /// newer snapshot does not contain the dropped objects.
    pub fn is_stale(&self) -> bool {
        match self {
            SqlError::Changed { .. } | SqlError::Inconsistent(_) => true,
            SqlError::Column { source, .. } => {
                std::error::Error::source(source).is_some_and(|cause| cause.is::<WasNull>())
            }
            SqlError::Catalog { .. } | SqlError::Statement { .. } => self.is_missing_object(),
            SqlError::Passwords { .. }
            | SqlError::Unsupported { .. }
            | SqlError::Server { .. }
            | SqlError::Code { .. }
            | SqlError::Selection(_) => false,
        }
    }
}

/// Short form for this module's results.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;
