//! Opens a session from connection parameters.
//!
//! Hosts are tried in order, and for each host its addresses. For each address TLS is required, optional or
//! disabled according to `sslmode`, with the same second attempt as libpq. The search ends at a server that
//! answers and rejects the login. It continues after a server that cannot be reached, does not accept
//! connections at the moment, or does not satisfy `target_session_attrs`.

use std::convert::Infallible;
use std::future::{Ready, poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::task::JoinHandle;
use tokio_postgres::config::{self, SslNegotiation};
use tokio_postgres::tls::{TlsConnect, TlsStream};
use tokio_postgres::{AsyncMessage, CancelToken, Client, Connection};

use super::conninfo::{ChannelBinding, ConnectOptions, Host, HostAddress, SecretBytes, TargetServer};
use super::error::{ProtocolError, Server, ServerError};
use super::socket::{Socket, SocketTarget, TlsAnswer, Transport};
use super::stall::stalled;
use super::tls::{self, SslMode};
use super::wire::{ConnectionEvents, FatalError, NextSink, Scripts, Startup, Wire};

/// An open session and its parts.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) link: Arc<Link>,
    pub(super) next_sink: NextSink,
    pub(super) scripts: Scripts,
    pub(super) canceller: Canceller,
    /// The server's version as the server reports it.
    pub(super) server_version: String,
    pub(super) task: JoinHandle<()>,
}

/// The context of a connection's errors.
pub(super) struct Link {
    pub(super) server: Server,
    /// The reason why the connection ended, and other state that the server has reported.
    pub(super) events: Arc<ConnectionEvents>,
}

impl Link {
    /// Distinguishes a lost connection from a rejected statement.
    pub(super) fn error(&self, error: tokio_postgres::Error) -> ProtocolError {
        if let Some(error) = self.too_large() {
            return error;
        }
        if let Some(db) = error.as_db_error() {
            let said = ServerError::of(db);
            // After FATAL the server closes the connection: an administrator's command, a crash, a shutdown.
            return match said.severity.as_str() {
                "FATAL" | "PANIC" => self.lost_for(said.to_string(), Some(said.code)),
                _ => ProtocolError::Server(said),
            };
        }
        if error.is_closed() {
            return self.lost();
        }
        match cause::<io::Error>(&error) {
            Some(io) if io.kind() != io::ErrorKind::InvalidInput => self.lost_for(io.to_string(), None),
            _ => ProtocolError::Driver { server: self.server.clone(), source: error },
        }
    }

    /// Returns the error for a connection that has ended.
    pub(super) fn lost(&self) -> ProtocolError {
        if let Some(error) = self.too_large() {
            return error;
        }
        match self.events.fatal_error.get().cloned() {
            Some(FatalError { text, code }) => self.lost_for(text, code),
            None => self.lost_for("the server closed it".to_owned(), None),
        }
    }

    /// Returns the error for a connection that ended because an answer exceeded its limit.
    fn too_large(&self) -> Option<ProtocolError> {
        let limit = self.events.answers.exceeded()?;
        Some(ProtocolError::TooLarge { doing: None, server: self.server.clone(), limit })
    }

    fn lost_for(&self, reason: String, code: Option<String>) -> ProtocolError {
        ProtocolError::Lost { server: self.server.clone(), reason, code }
    }
}

fn cause<E: std::error::Error + 'static>(error: &tokio_postgres::Error) -> Option<&E> {
    std::error::Error::source(error)?.downcast_ref()
}

/// Cancels a session's current statement. Can be used from any task.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    route: HostRoute,
    encrypted: bool,
}

impl Canceller {
    /// Cancels the running statement, if any. The server does not report whether there was one.
    pub async fn cancel(&self) -> Result<(), ProtocolError> {
        let tls = if self.encrypted { TlsUse::Required } else { TlsUse::None };
        let transport = self.route.open(tls).await?;
        let server = &self.route.server;
        self.token
            .cancel_query_raw(transport, Established)
            .await
            .map_err(|source| ProtocolError::Driver { server: server.clone(), source })
    }
}

/// The use of TLS in one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TlsUse {
    None,
    IfOffered,
    Required,
}

/// The parameters for reaching one address of one host.
#[derive(Clone)]
pub(super) struct HostRoute {
    options: Arc<ConnectOptions>,
    host: Host,
    endpoint: SocketTarget,
    server: Server,
}

/// Opens a session with the first usable server.
pub(super) async fn connect(options: &ConnectOptions) -> Result<Connected, ProtocolError> {
    let options = Arc::new(options.clone());
    // prefer-standby accepts any server if none of them is a standby.
    let targets: &[TargetServer] = match options.target {
        TargetServer::PreferStandby => &[TargetServer::Standby, TargetServer::Any],
        ref target => std::slice::from_ref(target),
    };
    let mut failures = Vec::new();
    for target in targets {
        failures.clear();
        for host in &options.hosts {
            match connect_host(&options, host, *target).await {
                Ok(connected) => return Ok(connected),
                Err(errors) => failures.extend(errors),
            }
            if failures.last().is_some_and(|e| !may_try_next(e)) {
                break;
            }
        }
    }
    Err(summary(failures))
}

/// Returns whether the next server is tried after this error.
fn may_try_next(error: &ProtocolError) -> bool {
    matches!(
        error,
        ProtocolError::UnknownHost { .. }
            | ProtocolError::Refused { .. }
            | ProtocolError::Unreachable { .. }
            | ProtocolError::Timeout { .. }
            | ProtocolError::WrongTarget { .. }
            | ProtocolError::NotAccepting { .. }
    )
}

/// Combines the errors of all attempts. Two addresses of `localhost` that refuse the connection yield one
/// error.
fn summary(mut failures: Vec<ProtocolError>) -> ProtocolError {
    failures.dedup_by_key(|e| e.to_string());
    match failures.pop() {
        Some(only) if failures.is_empty() || !may_try_next(&only) => only,
        Some(last) => {
            failures.push(last);
            ProtocolError::NoServer(failures)
        }
        None => ProtocolError::NoServer(failures),
    }
}

async fn connect_host(
    options: &Arc<ConnectOptions>,
    host: &Host,
    target: TargetServer,
) -> Result<Connected, Vec<ProtocolError>> {
    // Without a connection timeout, the stall timeout applies.
    let limit = options.connect_timeout.or(options.stall_timeout);
    let (server, endpoints) = match endpoints(host, limit).await {
        Ok(found) => found,
        Err(error) => return Err(vec![error]),
    };
    let mut failures = Vec::new();
    for endpoint in endpoints {
        let server = server.at(&endpoint);
        let route =
            HostRoute { options: Arc::clone(options), host: host.clone(), endpoint, server: server.clone() };
        let attempt = route.connect(target);
        let result = match limit {
            None => attempt.await,
            Some(after) => tokio::time::timeout(after, attempt)
                .await
                .unwrap_or_else(|_| Err(ProtocolError::Timeout { server: server.clone(), after })),
        };
        match result {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                let stop = !may_try_next(&error);
                failures.push(error);
                if stop {
                    break;
                }
            }
        }
    }
    Err(failures)
}

impl Server {
    /// Returns the server with the address being tried.
    fn at(&self, endpoint: &SocketTarget) -> Server {
        match (self, endpoint) {
            (Server::Tcp { host, port, is_given, .. }, SocketTarget::Tcp(tried)) => Server::Tcp {
                host: host.clone(),
                port: *port,
                address: Some(tried.ip()),
                is_given: *is_given,
            },
            (server, _) => server.clone(),
        }
    }
}

/// Returns the host's addresses and its name for messages.
async fn endpoints(
    host: &Host,
    timeout: Option<Duration>,
) -> Result<(Server, Vec<SocketTarget>), ProtocolError> {
    let is_given = matches!(host.address, HostAddress::Ip(_));
    let tcp = |name: &str| Server::Tcp { host: name.to_owned(), port: host.port, address: None, is_given };
    match &host.address {
        HostAddress::Socket(directory) => {
            let path = directory.join(format!(".s.PGSQL.{}", host.port));
            Ok((Server::Socket(path.clone()), vec![SocketTarget::Unix(path)]))
        }
        HostAddress::Ip(ip) => {
            let shown = host.name.clone().unwrap_or_else(|| ip.to_string());
            Ok((tcp(&shown), vec![SocketTarget::Tcp(SocketAddr::new(*ip, host.port))]))
        }
        HostAddress::Name(name) => {
            let lookup = tokio::net::lookup_host((name.as_str(), host.port));
            let found = match timeout {
                None => lookup.await,
                Some(after) => tokio::time::timeout(after, lookup)
                    .await
                    .map_err(|_| ProtocolError::Timeout { server: tcp(name), after })?,
            };
            let unknown = |source| ProtocolError::UnknownHost { host: name.clone(), source };
            let endpoints: Vec<_> = found.map_err(unknown)?.map(SocketTarget::Tcp).collect();
            if endpoints.is_empty() {
                return Err(unknown(io::Error::new(io::ErrorKind::NotFound, "it has no address")));
            }
            Ok((tcp(name), endpoints))
        }
    }
}

impl HostRoute {
    /// Returns the stall timeout.
    pub(super) fn stall_timeout(&self) -> Option<Duration> {
        self.options.stall_timeout
    }

    /// Opens another session to the same server, to ask it about a stalled session.
    pub(super) async fn connect_to_ask(&self) -> Result<Connected, ProtocolError> {
        let options = ConnectOptions { stall_timeout: None, ..(*self.options).clone() };
        HostRoute { options: Arc::new(options), ..self.clone() }.connect(TargetServer::Any).await
    }

    /// Makes the attempts that libpq makes for the mode, in the same order.
    async fn connect(&self, target: TargetServer) -> Result<Connected, ProtocolError> {
        // Unix-domain sockets have no TLS.
        let attempts: &[TlsUse] = match (&self.endpoint, self.options.tls.mode) {
            (SocketTarget::Unix(_), _) | (_, SslMode::Disable) => &[TlsUse::None],
            (_, SslMode::Allow) => &[TlsUse::None, TlsUse::IfOffered],
            (_, SslMode::Prefer) => &[TlsUse::IfOffered, TlsUse::None],
            (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => &[TlsUse::Required],
        };
        let mut failed: Option<ProtocolError> = None;
        for tls in attempts {
            match self.attempt(*tls, target).await {
                Ok(connected) => return Ok(connected),
                Err(error) => {
                    let again = may_try_other_tls(&error);
                    failed = Some(match failed.take() {
                        Some(first) => more_specific(first, error),
                        None => error,
                    });
                    if !again {
                        break;
                    }
                }
            }
        }
        Err(failed.unwrap_or_else(|| ProtocolError::NoServer(Vec::new())))
    }

    async fn attempt(&self, tls: TlsUse, target: TargetServer) -> Result<Connected, ProtocolError> {
        let transport = self.open(tls).await?;
        let connected = self.log_in(transport).await?;
        check_target(&connected, target).await?;
        Ok(connected)
    }

    /// Opens the socket, with TLS if requested.
    async fn open(&self, tls: TlsUse) -> Result<Transport, ProtocolError> {
        let unreachable = |source: io::Error| match source.kind() {
            io::ErrorKind::ConnectionRefused => {
                ProtocolError::Refused { server: self.server.clone(), source }
            }
            _ => ProtocolError::Unreachable { server: self.server.clone(), source },
        };
        // The files are read first, because an error in them does not depend on the server.
        let name = self.host.name.clone().unwrap_or_default();
        let config = match tls {
            TlsUse::None => None,
            TlsUse::IfOffered | TlsUse::Required => Some(tls::client_config(&self.options.tls, &name)?),
        };
        let mut socket = Socket::open(&self.endpoint, &self.options.keepalive).await.map_err(unreachable)?;
        let Some(config) = config else { return Ok(Transport::Plain(socket)) };
        match socket.request_tls().await.map_err(unreachable)? {
            TlsAnswer::Yes => {}
            TlsAnswer::No if tls == TlsUse::IfOffered => return Ok(Transport::Plain(socket)),
            TlsAnswer::No => {
                return Err(ProtocolError::TlsRefused {
                    server: self.server.clone(),
                    mode: self.options.tls.mode,
                });
            }
            TlsAnswer::Error => return Err(unreachable(error_text(socket).await)),
        }
        if self.options.tls.mode == SslMode::VerifyFull && name.is_empty() {
            return Err(ProtocolError::Certificate {
                server: self.server.clone(),
                reason: "no host name was given to verify it against".to_owned(),
            });
        }
        socket.start_tls(config, &self.tls_name()).await.map_err(|error| self.tls_error(error))
    }

    /// Returns the server name to send in the handshake. The verifier decides which name the certificate must
    /// have.
    fn tls_name(&self) -> String {
        let usable = |name: &&String| rustls::pki_types::ServerName::try_from(name.as_str()).is_ok();
        match (self.host.name.as_ref().filter(usable), &self.endpoint) {
            (Some(name), _) => name.clone(),
            (None, SocketTarget::Tcp(address)) => address.ip().to_string(),
            (None, SocketTarget::Unix(_)) => "localhost".to_owned(),
        }
    }

    fn tls_error(&self, error: io::Error) -> ProtocolError {
        let server = self.server.clone();
        match error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(why)) => {
                ProtocolError::Certificate { server, reason: certificate_reason(why) }
            }
            _ => ProtocolError::Tls { server, source: error },
        }
    }

    /// Performs PostgreSQL's startup and authentication.
    async fn log_in(&self, transport: Transport) -> Result<Connected, ProtocolError> {
        let encrypted = matches!(transport, Transport::Tls(_));
        let options = &self.options;
        if !encrypted && options.channel_binding == ChannelBinding::Require {
            return Err(ProtocolError::Authentication {
                server: self.server.clone(),
                reason: "channel binding is required, and the connection has no TLS".to_owned(),
            });
        }
        let startup = Startup {
            client_encoding: options.client_encoding.clone(),
            settings: options.settings.clone(),
            password: self.host.password.as_ref().map(SecretBytes::bytes),
        };
        let next_sink = NextSink::default();
        let events = Arc::new(ConnectionEvents::default());
        events.answers.limit_catalogs(options.catalog_limit);
        let scripts = Scripts::default();
        let wire = Wire::new(transport, startup, next_sink.clone(), scripts.clone(), Arc::clone(&events));
        let (client, connection) =
            self.config().connect_raw(wire, Established).await.map_err(|error| self.startup_error(error))?;
        let server_version = self.server_version(connection.parameter("server_version"))?;
        let link = Arc::new(Link { server: self.server.clone(), events });
        let canceller = Canceller { token: client.cancel_token(), route: self.clone(), encrypted };
        let task = tokio::spawn(serve(connection, Arc::clone(&link), self.clone()));
        Ok(Connected { client, link, next_sink, scripts, canceller, server_version, task })
    }

    /// Returns the version that the server reports. Every server since 7.4 reports it at login.
    fn server_version(&self, said: Option<&str>) -> Result<String, ProtocolError> {
        match said {
            // The version is written into the dump's header.
            Some(version)
                if version.len() <= 256
                    && version.starts_with(|c: char| c.is_ascii_digit())
                    && !version.contains(char::is_control) =>
            {
                Ok(version.to_owned())
            }
            _ => {
                let text = "it did not report its version: is it a PostgreSQL server?";
                let source = io::Error::new(io::ErrorKind::InvalidData, text);
                Err(ProtocolError::Unreachable { server: self.server.clone(), source })
            }
        }
    }

    fn config(&self) -> tokio_postgres::Config {
        let options = &self.options;
        let mut config = tokio_postgres::Config::new();
        config
            .user(&options.user)
            .dbname(&options.database)
            .application_name(&options.application_name)
            // The transport has already negotiated TLS; the driver only asks it for the channel binding.
            .ssl_mode(config::SslMode::Require)
            .ssl_negotiation(SslNegotiation::Direct)
            .channel_binding(match options.channel_binding {
                ChannelBinding::Disable => config::ChannelBinding::Disable,
                ChannelBinding::Prefer => config::ChannelBinding::Prefer,
                ChannelBinding::Require => config::ChannelBinding::Require,
            });
        if let Some(text) = &options.options {
            config.options(text);
        }
        if let Some(password) = &self.host.password {
            config.password(password.bytes());
        }
        config
    }

    fn startup_error(&self, error: tokio_postgres::Error) -> ProtocolError {
        let server = self.server.clone();
        let (user, database) = (self.options.user.clone(), self.options.database.clone());
        if let Some(db) = error.as_db_error() {
            let source = ServerError::of(db);
            return match source.code.as_str() {
                "28P01" => {
                    let password_file = self.host.password_file.clone();
                    ProtocolError::WrongPassword { server, user, password_file, source }
                }
                "28000" => ProtocolError::Rejected { server, user, database, source },
                "3D000" => ProtocolError::UnknownDatabase { server, database, source },
                "57P03" | "53300" => ProtocolError::NotAccepting { server, source },
                _ => ProtocolError::Startup { server, source },
            };
        }
        if let Some(io) = cause::<io::Error>(&error) {
            let source = io::Error::new(io.kind(), io.to_string());
            let is_tls = io.get_ref().is_some_and(|e| e.is::<rustls::Error>());
            return if is_tls {
                ProtocolError::Tls { server, source }
            } else {
                ProtocolError::Unreachable { server, source }
            };
        }
        if error.is_closed() {
            let source = io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection at startup");
            return ProtocolError::Unreachable { server, source };
        }
        match std::error::Error::source(&error).map(ToString::to_string) {
            Some(reason) if reason == "password missing" => ProtocolError::PasswordMissing { server, user },
            Some(reason) => ProtocolError::Authentication { server, reason },
            None => ProtocolError::Driver { server, source: error },
        }
    }
}

/// Returns whether libpq would try again with or without TLS: the server rejected the login, or TLS itself
/// failed.
fn may_try_other_tls(error: &ProtocolError) -> bool {
    matches!(
        error,
        ProtocolError::Certificate { .. }
            | ProtocolError::Tls { .. }
            | ProtocolError::WrongPassword { .. }
            | ProtocolError::Rejected { .. }
            | ProtocolError::UnknownDatabase { .. }
            | ProtocolError::NotAccepting { .. }
            | ProtocolError::Startup { .. }
    )
}

/// Returns the more informative error of two attempts at one server. "No entry in pg_hba.conf without TLS" is
/// not informative if the attempt with TLS got as far as the password.
fn more_specific(first: ProtocolError, second: ProtocolError) -> ProtocolError {
    match (&first, &second) {
        (ProtocolError::Rejected { .. }, _) => second,
        (_, ProtocolError::Rejected { .. }) => first,
        (ProtocolError::Certificate { .. } | ProtocolError::Tls { .. }, _) => second,
        _ => first,
    }
}

fn certificate_reason(why: &rustls::CertificateError) -> String {
    use rustls::CertificateError as Why;
    match why {
        Why::Expired | Why::ExpiredContext { .. } => "it has expired".to_owned(),
        Why::NotValidYet | Why::NotValidYetContext { .. } => "it is not valid yet".to_owned(),
        Why::UnknownIssuer => "its issuer is not among the trusted root certificates".to_owned(),
        Why::Revoked => "it has been revoked".to_owned(),
        Why::BadSignature => "its signature is wrong".to_owned(),
        Why::BadEncoding => "it cannot be read".to_owned(),
        Why::Other(other) => match other.to_string().as_str() {
            // The certificate of a certificate authority, which a server may present only if it is itself
            // trusted.
            "CaUsedAsEndEntity" => "its issuer is not among the trusted root certificates".to_owned(),
            text => text.to_owned(),
        },
        other => other.to_string(),
    }
}

/// Reads the error text of a server that cannot start a process for the connection.
async fn error_text(socket: Socket) -> io::Error {
    let mut text = Vec::new();
    let mut limited = socket.take(1024);
    // A partial text suffices. The timeout prevents a server that keeps the connection open from blocking the
    // attempt.
    let _ = tokio::time::timeout(Duration::from_secs(2), limited.read_to_end(&mut text)).await;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim_matches(|c: char| c.is_control() || c.is_whitespace());
    io::Error::other(format!("it answered with an error: {text}"))
}

async fn check_target(connected: &Connected, target: TargetServer) -> Result<(), ProtocolError> {
    if target == TargetServer::Any {
        return Ok(());
    }
    // Compared here, because the meaning of `=` in SQL depends on the user's search path, which still
    // applies.
    let sql = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";
    let read = async {
        let row = connected.client.query_one(sql, &[]).await?;
        Ok((row.try_get::<_, bool>(0)?, row.try_get::<_, String>(1)? == "on"))
    };
    let (standby, read_only) = read.await.map_err(|e| connected.link.error(e))?;
    let (fits, found, wanted) = match target {
        TargetServer::Any | TargetServer::PreferStandby => return Ok(()),
        TargetServer::ReadWrite => (!read_only, "read-only", "read-write"),
        TargetServer::ReadOnly => (read_only, "read-write", "read-only"),
        TargetServer::Primary => (!standby, "a standby", "primary"),
        TargetServer::Standby => (standby, "a primary", "standby"),
    };
    if fits {
        return Ok(());
    }
    Err(ProtocolError::WrongTarget { server: connected.link.server.clone(), found, wanted })
}

/// Processes messages until the session ends, and keeps the reason for an abnormal end.
async fn serve(
    mut connection: Connection<Wire<Transport>, Wire<Transport>>,
    link: Arc<Link>,
    route: HostRoute,
) {
    let mut stalled = pin!(stalled(Arc::clone(&link.events), route));
    loop {
        let message = tokio::select! {
            biased;
            message = poll_fn(|cx| connection.poll_message(cx)) => message,
            text = &mut stalled => {
                let _ = link.events.fatal_error.set(FatalError { text, code: None });
                return;
            }
        };
        match message {
            None => return,
            Some(Ok(AsyncMessage::Notice(notice))) => {
                let said = ServerError::of(&notice);
                tracing::debug!(server = %link.server, "{}: {}", said.severity, said.message);
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let (text, code) = match (error.as_db_error(), std::error::Error::source(&error)) {
                    (Some(db), _) => (ServerError::of(db).to_string(), Some(db.code().code().to_owned())),
                    (None, Some(source)) => (source.to_string(), None),
                    (None, None) => ("the server closed it".to_owned(), None),
                };
                // Set before the connection is dropped, because dropping it wakes its users. A FATAL error
                // that the wire has already recorded is a better reason and is kept.
                let _ = link.events.fatal_error.set(FatalError { text, code });
                return;
            }
        }
    }
}

/// A TLS connector for a stream that has already negotiated TLS.
struct Established;

impl<S: TlsStream + Unpin> TlsConnect<S> for Established {
    type Stream = S;
    type Error = Infallible;
    type Future = Ready<Result<S, Infallible>>;

    fn connect(self, stream: S) -> Self::Future {
        ready(Ok(stream))
    }
}
