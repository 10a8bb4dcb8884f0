//! Formats connection errors in libpq's words, for the commands that replace pg_dump, because users search
//! for these words.

use std::error::Error as _;
use std::fmt;
use std::io;

use super::error::{ProtocolError, Server, ServerError};

/// A server as it appears at the beginning of libpq's messages.
struct ConnectionDescription<'a>(&'a Server);

impl fmt::Display for ConnectionDescription<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Server::Socket(path) => write!(f, "connection to server on socket \"{}\"", path.display()),
            // If the address of a host is given, libpq prints only the address.
            Server::Tcp { port, address: Some(address), is_given: true, .. } => {
                write!(f, "connection to server at \"{address}\", port {port}")
            }
            Server::Tcp { host, port, address, .. } => {
                write!(f, "connection to server at \"{host}\"")?;
                // If the host is an address, it is not printed twice.
                match address.map(|address| address.to_string()).filter(|address| address != host) {
                    Some(address) => write!(f, " ({address}), port {port}"),
                    None => write!(f, ", port {port}"),
                }
            }
        }
    }
}

impl ProtocolError {
    /// Returns libpq's message for this connection error; `None` if it is not a connection error.
    pub fn in_libpq_words(&self) -> Option<String> {
        let failed =
            |server: &Server, why: &str| Some(format!("{} failed: {why}", ConnectionDescription(server)));
        match self {
            ProtocolError::UnknownHost { host, source } => {
                let why = system_words(source);
                let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
                Some(format!("could not translate host name \"{host}\" to address: {why}"))
            }
            ProtocolError::Refused { server, source } => {
                failed(server, &format!("{}\nHINT: {}", system_words(source), is_it_running(server)))
            }
            ProtocolError::Unreachable { server, source } => match source.kind() {
                io::ErrorKind::NotFound => {
                    failed(server, &format!("{}\nHINT: {}", system_words(source), is_it_running(server)))
                }
                _ => failed(server, &system_words(source)),
            },
            ProtocolError::Timeout { server, .. } => failed(server, "timeout expired"),
            ProtocolError::TlsRefused { server, .. } => {
                failed(server, "server does not support SSL, but SSL was required")
            }
            ProtocolError::Certificate { server, reason } => {
                failed(server, &format!("SSL error: the certificate cannot be verified: {reason}"))
            }
            ProtocolError::Tls { server, source } => failed(server, &format!("SSL error: {source}")),
            ProtocolError::PasswordMissing { server, .. } => {
                failed(server, "fe_sendauth: no password supplied")
            }
            ProtocolError::WrongPassword { server, password_file, source, .. } => {
                let mut why = server_words(source);
                if let Some(file) = password_file {
                    why.push_str(&format!("\npassword retrieved from file \"{}\"", file.display()));
                }
                failed(server, &why)
            }
            ProtocolError::Rejected { server, source, .. }
            | ProtocolError::UnknownDatabase { server, source, .. }
            | ProtocolError::NotAccepting { server, source }
            | ProtocolError::Startup { server, source } => failed(server, &server_words(source)),
            ProtocolError::Authentication { server, reason } => failed(server, reason),
            ProtocolError::WrongTarget { server, found, .. } => failed(
                server,
                match *found {
                    "read-only" => "session is read-only",
                    "read-write" => "session is not read-only",
                    "a standby" => "server is in hot standby mode",
                    _ => "server is not in hot standby mode",
                },
            ),
            ProtocolError::NoServer(errors) => {
                let words: Option<Vec<_>> = errors.iter().map(ProtocolError::in_libpq_words).collect();
                words.filter(|words| !words.is_empty()).map(|words| words.join("\n"))
            }
            // Not connection errors.
            _ => None,
        }
    }
}

fn is_it_running(server: &Server) -> &'static str {
    match server {
        Server::Tcp { .. } => "is the server running on that host and accepting TCP/IP connections?",
        Server::Socket(_) => "is the server running locally and accepting connections on that socket?",
    }
}

/// Returns the operating system's message without the number that Rust adds, and with its causes.
fn system_words(error: &io::Error) -> String {
    let text = error.to_string();
    let text = match text.rsplit_once(" (os error ") {
        Some((words, _)) => words.to_owned(),
        None => text,
    };
    match error.source().map(ToString::to_string).filter(|source| !text.contains(source.as_str())) {
        Some(source) => format!("{text}: {source}"),
        None => text,
    }
}

/// Returns the server's message as `FATAL:  database "x" does not exist`, with two spaces as in libpq, and
/// its other fields.
fn server_words(said: &ServerError) -> String {
    let mut words = format!("{}:  {}", said.severity, said.message);
    for (name, text) in [("DETAIL", &said.detail), ("HINT", &said.hint)] {
        if let Some(text) = text {
            words.push_str(&format!("\n{name}:  {text}"));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn tcp(host: &str, address: &str) -> Server {
        Server::Tcp { host: host.to_owned(), port: 5432, address: address.parse().ok(), is_given: false }
    }

    #[test]
    fn the_server_is_named_as_libpq_names_it() {
        let after = Duration::from_secs(1);
        for (server, expected) in [
            (
                tcp("db", "10.0.0.3"),
                "connection to server at \"db\" (10.0.0.3), port 5432 failed: timeout expired",
            ),
            (tcp("::1", "::1"), "connection to server at \"::1\", port 5432 failed: timeout expired"),
            (tcp("db", ""), "connection to server at \"db\", port 5432 failed: timeout expired"),
            (
                Server::Socket("/run/.s.PGSQL.1".into()),
                "connection to server on socket \"/run/.s.PGSQL.1\" failed: timeout expired",
            ),
        ] {
            assert_eq!(ProtocolError::Timeout { server, after }.in_libpq_words().as_deref(), Some(expected));
        }
        let several = ProtocolError::NoServer(vec![
            ProtocolError::Timeout { server: tcp("a", ""), after },
            ProtocolError::Timeout { server: tcp("b", ""), after },
        ]);
        assert_eq!(several.in_libpq_words().unwrap().lines().count(), 2);
        assert_eq!(ProtocolError::NoServer(Vec::new()).in_libpq_words(), None);
    }
}
