//! What can go wrong between the catalogs and the DDL.

use tokio_postgres::types::WasNull;

use crate::protocol;

/// A failure to read the catalogs or to write DDL from them.
#[derive(Debug, thiserror::Error)]
pub enum SqlError {
    /// The server refused a catalog query, or the connection broke.
    #[error("catalog query for {what} failed")]
    Catalog {
        /// What was asked for: the object kind, in plural.
        what: &'static str,
        /// The cause.
        source: protocol::ProtocolError,
    },
    /// A column of a catalog query could not be read as the type the program expects.
    #[error("catalog query for {what}: column {column} could not be read")]
    Column {
        /// What was asked for.
        what: &'static str,
        /// The column.
        column: &'static str,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// The role may not read the other roles' passwords.
    #[error(
        "the passwords of roles cannot be read\nHINT: only a superuser may read them; leave them out with \
         --no-role-passwords, in the sidecar with BACKUP_GLOBALS=no-role-passwords"
    )]
    Passwords {
        /// The cause.
        source: protocol::ProtocolError,
    },
    /// Something the program does not know how to dump is in the database.
    #[error("cannot dump {kind} {name}: pg-backup does not write objects of this kind yet")]
    Unsupported {
        /// The object kind, in the words of the SQL command that creates it.
        kind: String,
        /// The object, qualified and quoted.
        name: String,
    },
    /// The server is of a major whose dumps were never compared with pg_dump's.
    #[error("cannot dump a PostgreSQL {version} server: only major 15 is supported")]
    Server {
        /// The server's version.
        version: protocol::ServerVersion,
    },
    /// The catalogs contradict themselves, or the program misread them; the text names the objects.
    #[error("{0}")]
    Inconsistent(String),
    /// Tables are no longer what the snapshot shows, so that their rows would be missing from the dump.
    #[error("{tables}: {what}\nHINT: dump again when the migration has ended")]
    Changed {
        /// The tables by name, qualified and quoted.
        tables: String,
        /// What happened to them.
        what: &'static str,
    },
    /// A switch or pattern selects nothing or is malformed; the text is pg_dump's.
    #[error("{0}")]
    Selection(String),
    /// Any other statement of the dump's session failed.
    #[error("{context}")]
    Statement {
        /// What the statement was for.
        context: String,
        /// The cause.
        source: protocol::ProtocolError,
    },
}

impl SqlError {
    /// The server's or the driver's error behind it, if there is one.
    fn cause(&self) -> Option<&protocol::ProtocolError> {
        match self {
            SqlError::Catalog { source, .. }
            | SqlError::Statement { source, .. }
            | SqlError::Passwords { source } => Some(source),
            SqlError::Column { .. }
            | SqlError::Unsupported { .. }
            | SqlError::Server { .. }
            | SqlError::Inconsistent(_)
            | SqlError::Changed { .. }
            | SqlError::Selection(_) => None,
        }
    }

    /// Whether the server did not find an object that a statement names.
    pub(crate) fn is_missing_object(&self) -> bool {
        self.cause().is_some_and(protocol::ProtocolError::is_missing_object)
    }

    /// Whether objects were changed, renamed or dropped after the snapshot was taken, as far as can be told: server
    /// functions look at the newest catalogs, and of what is gone they know nothing, or NULL. A newer snapshot does
    /// not show what is gone.
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
            | SqlError::Selection(_) => false,
        }
    }
}

/// Short form for this module's results.
pub type Result<T, E = SqlError> = std::result::Result<T, E>;
