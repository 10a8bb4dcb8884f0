//! What can go wrong between this program and a server, told apart as an operator needs it.
//!
//! A message says which server, and which of "no such host", "refused", "timed out", "wrong
//! password", "no such database", "certificate" and so on it was. The server's own words are the
//! attached cause ([`ServerError`]). No message holds a password or a row's value of ours.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::error::ErrorPosition;

use super::conninfo::ConnInfoError;
use super::tls::{SslMode, TlsFileError};
use super::version::ServerVersion;

/// A server, as messages name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// Over TCP.
    Tcp {
        /// The name or address that was asked for.
        host: String,
        /// The port.
        port: u16,
        /// The address that was tried, once that is known.
        address: Option<IpAddr>,
        /// Whether the address was given (`hostaddr`), and the name not looked up.
        is_given: bool,
    },
    /// On a Unix-domain socket.
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

/// A limit on the answers of a server, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerLimit {
    /// On the answer to one of the program's own questions.
    Question(u64),
    /// On the answers to catalog queries, all of a transaction's together.
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
                "answers a short question with more than {mebibytes} MiB\nHINT: check that it is a PostgreSQL server, \
                 and what stands between"
            ),
            AnswerLimit::Catalogs(_) => write!(
                f,
                "answers catalog queries with more than {mebibytes} MiB (BACKUP_CATALOG_LIMIT)\nHINT: raise \
                 BACKUP_CATALOG_LIMIT if the database has millions of objects; if not, check that it is a PostgreSQL \
                 server, and what stands between"
            ),
        }
    }
}

/// What the server said.
#[derive(Clone, Debug)]
pub struct ServerError {
    /// `ERROR`, `FATAL` or `PANIC`.
    pub severity: String,
    /// The SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
    /// Its DETAIL.
    pub detail: Option<String>,
    /// Its HINT.
    pub hint: Option<String>,
    /// Where in the statement, in characters from 1.
    pub position: Option<u32>,
    /// Its CONTEXT: the function, or the line of a COPY.
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

/// SQLSTATEs, or classes of them, of what may pass: connection exceptions; a serialization failure or a
/// deadlock, which is how a standby cancels what is in the way of its recovery; a lock that was not to be
/// had in time; too many connections; a server that stops, has crashed or starts.
const PASSING: [&str; 8] = ["08", "40001", "40P01", "55P03", "53300", "57P01", "57P02", "57P03"];

/// SQLSTATEs of an object that is not there: schema, table, column, object of another kind, function.
const MISSING_OBJECT: [&str; 5] = ["3F000", "42P01", "42703", "42704", "42883"];

/// What a server function says, as an internal error, of an object that was dropped after the snapshot: it looks
/// at the newest catalogs.
const STALE_LOOKUP: [&str; 3] =
    ["cache lookup failed ", "could not open relation with OID ", "could not find tuple for "];

/// How a handshake ends whose other side goes away.
const BROKEN: [io::ErrorKind; 5] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
    io::ErrorKind::TimedOut,
];

/// A failure in speaking to a server.
#[derive(Debug, thiserror::Error)]
pub enum ProtocolError {
    /// The connection parameters are wrong.
    #[error(transparent)]
    ConnInfo(#[from] ConnInfoError),
    /// A certificate or key file is unusable.
    #[error(transparent)]
    TlsFile(#[from] TlsFileError),
    /// The host name does not resolve.
    #[error("unknown host {host}")]
    UnknownHost {
        /// The name.
        host: String,
        /// The resolver's words.
        source: io::Error,
    },
    /// Nothing listens there.
    #[error("{server} refused the connection")]
    Refused {
        /// The server.
        server: Server,
        /// The cause.
        source: io::Error,
    },
    /// The network or the socket file is not there.
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
        /// How long it was given.
        after: Duration,
    },
    /// TLS was asked for and the server has none.
    #[error("{server} does not offer TLS, and sslmode={mode} asks for it")]
    TlsRefused {
        /// The server.
        server: Server,
        /// What asks for it.
        mode: SslMode,
    },
    /// The server's certificate does not verify.
    #[error("the certificate of {server} does not verify: {reason}")]
    Certificate {
        /// The server.
        server: Server,
        /// Why not.
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
    /// The server wants a password and there is none.
    #[error("{server} asks for a password of user \"{user}\", and none was given")]
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
        /// The file that the password came from.
        password_file: Option<PathBuf>,
        /// The server's words.
        source: Box<ServerError>,
    },
    /// The role does not exist, may not log in, or pg_hba.conf rejects it.
    #[error("{server} does not let user \"{user}\" into database \"{database}\"")]
    Rejected {
        /// The server.
        server: Server,
        /// The user.
        user: String,
        /// The database.
        database: String,
        /// The server's words, which say which of them it was.
        source: Box<ServerError>,
    },
    /// No such database.
    #[error("database \"{database}\" does not exist at {server}")]
    UnknownDatabase {
        /// The server.
        server: Server,
        /// The database.
        database: String,
        /// The server's words.
        source: Box<ServerError>,
    },
    /// The server is starting, stopping, or full.
    #[error("{server} does not accept connections now")]
    NotAccepting {
        /// The server.
        server: Server,
        /// The server's words.
        source: Box<ServerError>,
    },
    /// The server refused the session for another reason.
    #[error("{server} refused the session")]
    Startup {
        /// The server.
        server: Server,
        /// The server's words.
        source: Box<ServerError>,
    },
    /// The server wants to authenticate in a way that is not supported, or failed to prove itself.
    #[error("authentication with {server} failed: {reason}")]
    Authentication {
        /// The server.
        server: Server,
        /// Why.
        reason: String,
    },
    /// The server is not of the kind that `target_session_attrs` asks for.
    #[error("{server} is {found}, and target_session_attrs asks for {wanted}")]
    WrongTarget {
        /// The server.
        server: Server,
        /// What it is.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// Several servers were tried and none of them served.
    #[error("no server could be used: {}", join(.0))]
    NoServer(Vec<ProtocolError>),
    /// The oracle has not proved this major yet.
    #[error("{server} runs PostgreSQL {version}, and this program supports {supported}")]
    UnsupportedVersion {
        /// The server.
        server: Server,
        /// What it runs.
        version: ServerVersion,
        /// The supported majors, in words.
        supported: String,
    },
    /// The connection broke.
    #[error("lost the connection to {server}: {reason}")]
    Lost {
        /// The server.
        server: Server,
        /// Why, as far as it is known.
        reason: String,
        /// The SQLSTATE of the server's last words.
        code: Option<String>,
    },
    /// The server's answer does not end.
    #[error("{}{server} {limit}", doing.as_ref().map(|doing| format!("{doing} failed: ")).unwrap_or_default())]
    TooLarge {
        /// What was being done, if the caller has said it.
        doing: Option<String>,
        /// The server.
        server: Server,
        /// The limit that was exceeded.
        limit: AnswerLimit,
    },
    /// The server refused a statement.
    #[error("{doing} failed")]
    Statement {
        /// What was being done.
        doing: String,
        /// The server's words.
        source: Box<ServerError>,
    },
    /// The server refused a statement whose purpose the caller knows.
    #[error(transparent)]
    Server(Box<ServerError>),
    /// The driver could not make sense of something.
    #[error("speaking to {server} failed")]
    Driver {
        /// The server.
        server: Server,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// A value that the caller passed in is malformed; the text names it.
    #[error("{0}")]
    Argument(String),
    /// Rows were loaded, and the server counted another number than was sent to it.
    #[error(
        "the server counted {counted} rows where {sent} were sent: a trigger, a rule, row security or the routing to partitions has dropped or diverted rows\nHINT: `\\d+` of the table and of its partitions in psql shows triggers (one BEFORE INSERT drops a row by returning NULL), rules and policies; load into a table without them, or with --disable-triggers"
    )]
    RowsDiverted {
        /// Rows that were sent.
        sent: u64,
        /// Rows by the server's command tag.
        counted: u64,
    },
    /// The server answered something that it cannot mean; the text says what.
    #[error("{0}")]
    Unexpected(String),
}

impl ProtocolError {
    /// Whether the parameters or files that the user gave are at fault.
    pub fn is_configuration(&self) -> bool {
        matches!(self, ProtocolError::ConnInfo(_) | ProtocolError::TlsFile(_) | ProtocolError::Argument(_))
    }

    /// Whether no usable session came about, so that nothing was asked of the database yet.
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

    /// The SQLSTATE, where the server gave one.
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

    /// Whether the same may succeed a little later without anybody having mended anything: the server is away,
    /// starting, stopping or full, a connection broke, or others were in the way. A wrong password, a missing
    /// permission or an unknown database is none of that.
    pub fn is_transient(&self) -> bool {
        match self {
            // A name that does not resolve is what a container's neighbour looks like while it is restarted.
            ProtocolError::UnknownHost { .. }
            | ProtocolError::Refused { .. }
            | ProtocolError::Unreachable { .. }
            | ProtocolError::Timeout { .. }
            | ProtocolError::NotAccepting { .. }
            | ProtocolError::Lost { .. } => true,
            ProtocolError::Tls { source, .. } => BROKEN.contains(&source.kind()),
            ProtocolError::NoServer(errors) => errors.iter().any(ProtocolError::is_transient),
            // A stream that makes no sense was damaged on the way.
            ProtocolError::Driver { source, .. } => is_senseless(source),
            ProtocolError::Startup { source, .. }
            | ProtocolError::Statement { source, .. }
            | ProtocolError::Server(source) => PASSING.iter().any(|code| source.code.starts_with(code)),
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

    /// Whether the server did not find an object. In a dump, which names only what its snapshot shows, that means
    /// that the object was dropped or renamed since.
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

    /// Says what was being done when a statement failed.
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

/// Whether the driver could not read a message, or got one that does not belong there. It tells that by its text alone.
fn is_senseless(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    text.starts_with("unexpected message from server")
        || text.starts_with("error parsing response from server")
}

fn from_file(path: Option<&Path>) -> String {
    path.map(|p| format!(" (the password came from {})", p.display())).unwrap_or_default()
}

/// Each server's failure with its cause, since a list has no single cause to attach.
fn join(errors: &[ProtocolError]) -> String {
    errors.iter().map(describe).collect::<Vec<_>>().join("; ")
}

/// A failure with its cause, for a text that has no place to attach it.
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
    fn what_may_pass_is_told_from_what_somebody_must_mend() {
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
            // Somebody cancelled the statement, and means it.
            statement("57014"),
            statement("42501"),
            statement("53200"),
        ] {
            assert!(!lasting.is_transient(), "{lasting:?}");
        }
    }
}
