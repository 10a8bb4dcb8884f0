//! The errors of the protocol layer, distinguished as an operator needs them.
//!
//! A message names the server and the cause: unknown host, connection refused, timeout, wrong password,
//! unknown database, invalid certificate and so on. The server's own message is attached as the source
//! ([`ServerError`]). A message of this program never contains a password or a row's value.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::error::ErrorPosition;

use super::conninfo::ConnInfoError;
use super::tls::{SslMode, TlsFileError};
use super::version::{OLDEST, ServerVersion};

/// A server as it is named in messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// A server reached over TCP.
    Tcp {
        /// The requested name or address.
        host: String,
        /// The port.
        port: u16,
        /// The address that was tried, if it is known.
        address: Option<IpAddr>,
        /// Whether the address was given (`hostaddr`), so that the name was not looked up.
        is_given: bool,
    },
    /// A server on a Unix-domain socket.
    Socket(PathBuf),
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Server::Tcp { host, port, .. } if host.contains(':') => write!(f, "server [{host}]:{port}"),
            Server::Tcp { host, port, .. } => write!(f, "server {host}:{port}"),
            Server::Socket(path) => write!(f, "server on socket {}", path.display()),
        }
    }
}

/// A limit on the size of a server's answers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerLimit {
    /// The limit on the answer to one of the program's own short queries.
    Question(u64),
    /// The limit on the answers to all catalog queries of a transaction together.
    Catalogs(u64),
}

impl AnswerLimit {
    pub(super) fn bytes(self) -> u64 {
        match self {
            AnswerLimit::Question(bytes) | AnswerLimit::Catalogs(bytes) => bytes,
        }
    }
}

impl fmt::Display for AnswerLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = self.bytes() >> 20;
        match self {
            AnswerLimit::Question(_) => write!(
                f,
                "sent more than {mebibytes} MiB in answer to a short query\nHINT: check that it is a PostgreSQL server, and check proxies in between"
            ),
            AnswerLimit::Catalogs(_) => write!(
                f,
                "sent more than {mebibytes} MiB in answer to catalog queries (BACKUP_CATALOG_LIMIT)\nHINT: raise \
                 BACKUP_CATALOG_LIMIT if the database has millions of objects; if not, check that it is a PostgreSQL server, and check proxies in between"
            ),
        }
    }
}

/// An error message from the server.
#[derive(Clone, Debug)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`.
    pub severity: String,
    /// The SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
    /// The DETAIL field.
    pub detail: Option<String>,
    /// The HINT field.
    pub hint: Option<String>,
    /// The position in the statement, in characters from 1.
    pub position: Option<u32>,
    /// The CONTEXT field: the function, or the line of a COPY.
    pub context: Option<String>,
}

impl ServerError {
    pub(super) fn of(error: &tokio_postgres::error::DbError) -> Box<Self> {
        Box::new(ServerError {
            severity: error.severity().to_owned(),
            code: error.code().code().to_owned(),
            message: error.message().to_owned(),
            detail: error.detail().map(str::to_owned),
            hint: error.hint().map(str::to_owned),
            position: match error.position() {
                Some(ErrorPosition::Original(position)) => Some(*position),
                Some(ErrorPosition::Internal { .. }) | None => None,
            },
            context: error.where_().map(str::to_owned),
        })
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |text: &str| text.trim_end_matches(['.', '\n', ' ']).replace('\n', " ");
        write!(f, "{}: {} (SQLSTATE {})", self.severity, line(&self.message), self.code)?;
        if let Some(detail) = &self.detail {
            write!(f, "; DETAIL: {}", line(detail))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; HINT: {}", line(hint))?;
        }
        Ok(())
    }
}

impl std::error::Error for ServerError {}

/// SQLSTATEs, or classes of them, of transient errors:
/// - connection exceptions;
/// - serialization failures and deadlocks, with which a standby also cancels queries that conflict with
///   recovery;
/// - a lock that was not available in time;
/// - too many connections;
/// - a server that is stopping, has crashed or is starting.
const TRANSIENT: [&str; 8] = ["08", "40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03"];

/// SQLSTATEs of a missing object: schema, table, column, object of another kind, function.
const MISSING_OBJECT: [&str; 5] = ["3F000", "42P01", "42703", "42704", "42883"];

/// Prefixes of the internal errors that server functions return for an object that was dropped after the
/// snapshot, because these functions use the latest catalogs.
const STALE_LOOKUP: [&str; 3] =
    ["cache lookup failed ", "could not open relation with OID ", "could not find tuple for "];

/// Errors of a handshake during which the peer disconnects.
const BROKEN: [io::ErrorKind; 5] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::TimedOut,
];

/// An error in the communication with a server.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The connection parameters are wrong.
    #[error(transparent)]
    ConnInfo(#[from] ConnInfoError),
    /// A certificate or key file cannot be used.
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    /// The host name does not resolve.
    #[error("unknown host {host}")]
    UnknownHost {
        /// The name.
        host: String,
        /// The resolver's error.
        source: io::Error,
    },
    /// No server is listening.
    #[error("{server} refused the connection")]
    Refused {
        /// The server.
        server: Server,
        /// The cause.
        source: io::Error,
    },
    /// The network cannot be reached, or the socket file does not exist.
    #[error("cannot reach {server}")]
    Unreachable {
        /// The server.
        server: Server,
        /// The cause.
        source: io::Error,
    },
    /// The server did not answer in time.
    #[error("{server} did not answer within {} s", after.as_secs())]
    Timeout {
        /// The server.
        server: Server,
        /// The time limit.
        after: Duration,
    },
    /// TLS is required and the server does not offer it.
    #[error("{server} does not support TLS, but sslmode={mode} requires it")]
    TlsRefused {
        /// The server.
        server: Server,
        /// The mode that requires TLS.
        mode: SslMode,
    },
    /// The server's certificate failed verification.
    #[error("the certificate of {server} cannot be verified: {reason}")]
    Certificate {
        /// The server.
        server: Server,
        /// The reason.
        reason: String,
    },
    /// The TLS handshake failed for another reason.
    #[error("TLS with {server} failed")]
    Tls {
        /// The server.
        server: Server,
        /// The cause.
        source: io::Error,
    },
    /// The server requests a password and none was given.
    #[error("{server} requires a password for user \"{user}\", but none was given")]
    PasswordMissing {
        /// The server.
        server: Server,
        /// The user.
        user: String,
    },
    /// The password is wrong.
    #[error("wrong password for user \"{user}\" at {server}{}", from_file(password_file.as_deref()))]
    WrongPassword {
        /// The server.
        server: Server,
        /// The user.
        user: String,
        /// The password file, if the password came from one.
        password_file: Option<PathBuf>,
        /// The server's error.
        source: Box<ServerError>,
    },
    /// The role does not exist, is not allowed to log in, or is rejected by pg_hba.conf.
    #[error("{server} rejected user \"{user}\" for database \"{database}\"")]
    Rejected {
        /// The server.
        server: Server,
        /// The user.
        user: String,
        /// The database.
        database: String,
        /// The server's error, which distinguishes these cases.
        source: Box<ServerError>,
    },
    /// The database does not exist.
    #[error("database \"{database}\" does not exist at {server}")]
    UnknownDatabase {
        /// The server.
        server: Server,
        /// The database.
        database: String,
        /// The server's error.
        source: Box<ServerError>,
    },
    /// The server is starting, is stopping, or has no free connection.
    #[error("{server} does not accept connections now")]
    NotAccepting {
        /// The server.
        server: Server,
        /// The server's error.
        source: Box<ServerError>,
    },
    /// The server refused the session for another reason.
    #[error("{server} refused the session")]
    Startup {
        /// The server.
        server: Server,
        /// The server's error.
        source: Box<ServerError>,
    },
    /// The server requests an unsupported authentication method, or failed to prove its own identity.
    #[error("authentication with {server} failed: {reason}")]
    Authentication {
        /// The server.
        server: Server,
        /// The reason.
        reason: String,
    },
    /// The server does not satisfy `target_session_attrs`.
    #[error("{server} is {found}, but target_session_attrs requires {wanted}")]
    WrongTarget {
        /// The server.
        server: Server,
        /// The actual kind of the server.
        found: &'static str,
        /// The requested kind of the server.
        wanted: &'static str,
    },
    /// Several servers were tried and none of them was usable.
    #[error("no server could be used: {}", join(.0))]
    NoServer(Vec<ProtocolError>),
    /// The server is older than PostgreSQL 13.
    #[error("{server} runs PostgreSQL {version}, but pg-backup supports PostgreSQL {oldest} and later", oldest = OLDEST.major_number())]
    UnsupportedVersion {
        /// The server.
        server: Server,
        /// The server's version.
        version: ServerVersion,
    },
    /// The connection was lost.
    #[error("lost the connection to {server}: {reason}")]
    Lost {
        /// The server.
        server: Server,
        /// The reason, if it is known.
        reason: String,
        /// The SQLSTATE of the server's last error.
        code: Option<String>,
    },
    /// The server's answer exceeds a limit.
    #[error("{}{server} {limit}", doing.as_ref().map(|doing| format!("{doing} failed: ")).unwrap_or_default())]
    TooLarge {
        /// The operation, if the caller has set it.
        doing: Option<String>,
        /// The server.
        server: Server,
        /// The limit that was exceeded.
        limit: AnswerLimit,
    },
    /// The server returned an error for a statement.
    #[error("{doing} failed")]
    Statement {
        /// The operation.
        doing: String,
        /// The server's error.
        source: Box<ServerError>,
    },
    /// The server returned an error for a statement; the caller knows its purpose.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The driver could not interpret a message.
    #[error("communication with {server} failed")]
    Driver {
        /// The server.
        server: Server,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// The caller passed a malformed value, which the text names.
    #[error("{0}")]
    Argument(String),
    /// Rows were loaded, and the server counted a different number of rows than were sent.
    #[error(
        "the server counted {counted} rows, but {sent} were sent: a trigger, a rule, row security or the routing to partitions has dropped or diverted rows\nHINT: `\\d+` of the table and of its partitions in psql shows triggers (one BEFORE INSERT drops a row by returning NULL), rules and policies; load into a table without them, or with --disable-triggers"
    )]
    RowsDiverted {
        /// Number of rows sent.
        sent: u64,
        /// Number of rows in the server's command tag.
        counted: u64,
    },
    /// The server sent an invalid answer, which the text describes.
    #[error("{0}")]
    Unexpected(String),
}

impl ProtocolError {
    /// Returns whether the error is in the user's parameters or files.
    pub fn is_configuration(&self) -> bool {
        matches!(self, ProtocolError::ConnInfo(_) | ProtocolError::TlsFile(_) | ProtocolError::Argument(_))
    }

    /// Returns whether the error occurred while connecting, before any statement was sent to the database.
    pub fn is_connection(&self) -> bool {
        match self {
            ProtocolError::UnknownHost { .. }
            | ProtocolError::Refused { .. }
            | ProtocolError::Unreachable { .. }
            | ProtocolError::Timeout { .. }
            | ProtocolError::TlsRefused { .. }
            | ProtocolError::Certificate { .. }
            | ProtocolError::Tls { .. }
            | ProtocolError::PasswordMissing { .. }
            | ProtocolError::WrongPassword { .. }
            | ProtocolError::Rejected { .. }
            | ProtocolError::UnknownDatabase { .. }
            | ProtocolError::NotAccepting { .. }
            | ProtocolError::Startup { .. }
            | ProtocolError::Authentication { .. }
            | ProtocolError::WrongTarget { .. }
            | ProtocolError::NoServer(_) => true,
            ProtocolError::ConnInfo(_)
            | ProtocolError::TlsFile(_)
            | ProtocolError::UnsupportedVersion { .. }
            | ProtocolError::Lost { .. }
            | ProtocolError::TooLarge { .. }
            | ProtocolError::Statement { .. }
            | ProtocolError::Server(_)
            | ProtocolError::Driver { .. }
            | ProtocolError::Argument(_)
            | ProtocolError::RowsDiverted { .. }
            | ProtocolError::Unexpected(_) => false,
        }
    }

    /// Returns the SQLSTATE, if the server sent one.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            ProtocolError::WrongPassword { source, .. }
            | ProtocolError::Rejected { source, .. }
            | ProtocolError::UnknownDatabase { source, .. }
            | ProtocolError::NotAccepting { source, .. }
            | ProtocolError::Startup { source, .. }
            | ProtocolError::Statement { source, .. }
            | ProtocolError::Server(source) => Some(&source.code),
            ProtocolError::Lost { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Returns whether a retry may succeed without any intervention: the server is unreachable, starting,
    /// stopping or full, a connection was lost, or there was a conflict with another session. A wrong
    /// password, a missing permission or an unknown database is not transient.
    pub fn is_transient(&self) -> bool {
        match self {
            // A container's name does not resolve while that container is being restarted.
            ProtocolError::UnknownHost { .. }
            | ProtocolError::Refused { .. }
            | ProtocolError::Unreachable { .. }
            | ProtocolError::Timeout { .. }
            | ProtocolError::NotAccepting { .. }
            | ProtocolError::Lost { .. } => true,
            ProtocolError::Tls { source, .. } => BROKEN.contains(&source.kind()),
            ProtocolError::NoServer(errors) => errors.iter().any(ProtocolError::is_transient),
            // An invalid stream was damaged in transit.
            ProtocolError::Driver { source, .. } => is_senseless(source),
            ProtocolError::Startup { source, .. }
            | ProtocolError::Statement { source, .. }
            | ProtocolError::Server(source) => TRANSIENT.iter().any(|code| source.code.starts_with(code)),
            ProtocolError::ConnInfo(_)
            | ProtocolError::TlsFile(_)
            | ProtocolError::TlsRefused { .. }
            | ProtocolError::Certificate { .. }
            | ProtocolError::PasswordMissing { .. }
            | ProtocolError::WrongPassword { .. }
            | ProtocolError::Rejected { .. }
            | ProtocolError::UnknownDatabase { .. }
            | ProtocolError::Authentication { .. }
            | ProtocolError::WrongTarget { .. }
            | ProtocolError::UnsupportedVersion { .. }
            | ProtocolError::TooLarge { .. }
            | ProtocolError::Argument(_)
            | ProtocolError::RowsDiverted { .. }
            | ProtocolError::Unexpected(_) => false,
        }
    }

    /// Returns whether the server did not find an object. A dump names only objects that its snapshot shows,
    /// so there the object was dropped or renamed after the snapshot.
    pub fn is_missing_object(&self) -> bool {
        match self {
            ProtocolError::Statement { source, .. } | ProtocolError::Server(source) => {
                MISSING_OBJECT.contains(&source.code.as_str())
                    || (source.code == "XX000"
                        && STALE_LOOKUP.iter().any(|text| source.message.starts_with(text)))
            }
            _ => false,
        }
    }

    /// Adds the operation during which a statement failed.
    #[must_use]
    pub fn during(self, doing: impl Into<String>) -> Self {
        match self {
            ProtocolError::Server(source) => ProtocolError::Statement { doing: doing.into(), source },
            ProtocolError::TooLarge { server, limit, .. } => {
                ProtocolError::TooLarge { doing: Some(doing.into()), server, limit }
            }
            other => other,
        }
    }
}

/// Returns whether the driver could not parse a message or received an unexpected one. Only the text of its
/// error shows that.
fn is_senseless(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    text.starts_with("unexpected message from server")
        || text.starts_with("error parsing response from server")
}

fn from_file(path: Option<&Path>) -> String {
    path.map(|p| format!(" (the password came from {})", p.display())).unwrap_or_default()
}

/// Returns each server's error with its cause as text, because a list has no single source to attach.
fn join(errors: &[ProtocolError]) -> String {
    errors.iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// Returns an error with its cause as one text, for places that cannot attach a source.
pub(super) fn describe(error: &ProtocolError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_and_name_the_server() {
        let server = Server::Tcp { host: "db".to_owned(), port: 5432, address: None, is_given: false };
        let source = Box::new(ServerError {
            severity: "FATAL".to_owned(),
            code: "28P01".to_owned(),
            message: "password authentication failed\nfor user".to_owned(),
            detail: Some("two\nlines".to_owned()),
            hint: None,
            position: None,
            context: None,
        });
        assert_eq!(
            source.to_string(),
            "FATAL: password authentication failed for user (SQLSTATE 28P01); DETAIL: two lines"
        );
        let error = ProtocolError::WrongPassword {
            server: server.clone(),
            user: "app".to_owned(),
            password_file: Some("/home/x/.pgpass".into()),
            source,
        };
        assert_eq!(
            error.to_string(),
            "wrong password for user \"app\" at server db:5432 (the password came from /home/x/.pgpass)"
        );
        assert_eq!(error.sqlstate(), Some("28P01"));
        assert!(error.is_connection());
        assert!(!error.is_transient());
        let v6 = Server::Tcp { host: "::1".to_owned(), port: 1, address: None, is_given: false };
        assert_eq!(v6.to_string(), "server [::1]:1");
    }

    #[test]
    fn transient_errors_are_distinguished_from_permanent_ones() {
        let server = || Server::Tcp { host: "db".to_owned(), port: 5432, address: None, is_given: false };
        let said = |code: &str| {
            Box::new(ServerError {
                severity: "ERROR".to_owned(),
                code: code.to_owned(),
                message: "x".to_owned(),
                detail: None,
                hint: None,
                position: None,
                context: None,
            })
        };
        let kind = |kind: io::ErrorKind| io::Error::from(kind);
        let refused =
            || ProtocolError::Refused { server: server(), source: kind(io::ErrorKind::ConnectionRefused) };
        let unknown = || ProtocolError::UnknownDatabase {
            server: server(),
            database: "d".to_owned(),
            source: said("3D000"),
        };
        let statement = |code| ProtocolError::Statement { doing: "x".to_owned(), source: said(code) };
        for passing in [
            refused(),
            ProtocolError::Timeout { server: server(), after: Duration::from_secs(1) },
            ProtocolError::NotAccepting { server: server(), source: said("53300") },
            ProtocolError::Startup { server: server(), source: said("57P01") },
            ProtocolError::Lost { server: server(), reason: "x".to_owned(), code: None },
            ProtocolError::Tls { server: server(), source: kind(io::ErrorKind::UnexpectedEof) },
            ProtocolError::NoServer(vec![unknown(), refused()]),
            ProtocolError::Server(said("40P01")),
            statement("40001"),
            statement("55P03"),
            statement("08006"),
        ] {
            assert!(passing.is_transient(), "{passing:?}");
        }
        for lasting in [
            unknown(),
            ProtocolError::Rejected {
                server: server(),
                user: "u".to_owned(),
                database: "d".to_owned(),
                source: said("28000"),
            },
            ProtocolError::Startup { server: server(), source: said("42501") },
            ProtocolError::Tls { server: server(), source: kind(io::ErrorKind::InvalidData) },
            ProtocolError::NoServer(vec![unknown()]),
            // Another session cancelled the statement on purpose.
            statement("57014"),
            statement("42501"),
            statement("53200"),
        ] {
            assert!(!lasting.is_transient(), "{lasting:?}");
        }
    }
}
