//! E-mail: one plain text per event, marked as automatic so that no out-of-office reply is sent.
//!
//! lettre implements SMTP. The connection is made here for two reasons: the size of the server's responses
//! must be limited ([`bounded`](super::bounded)), and an accepted mail counts as delivered, whatever the
//! server does afterwards.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailBodyParameter, MailParameter};
use lettre::{Address, Message};
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::bounded::Bounded;
use super::client::{ChannelError, Roots};
use super::delivery::Channel;
use super::event::QueuedEvent;
use super::new_uuid;
use crate::config::{MailConfig, MailTls};

/// Maximum time for each address of a mail server to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Maximum time to send a mail, from the name lookup to its acceptance. Some servers delay unknown clients
/// for half a minute.
const MAIL_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum time for the response to QUIT. Its result is not used.
const QUIT: Duration = Duration::from_secs(1);

/// Maximum size of all responses in one connection, in bytes. Normally they are about one KiB.
const ANSWERS: u64 = 64 << 10;

/// A mail server and the recipients.
pub(super) struct Mail {
    config: MailConfig,
    security: Security,
}

/// Encryption of the connection.
enum Security {
    None,
    StartTls(TlsParameters),
    Implicit(Arc<ClientConfig>, ServerName<'static>),
}

impl Mail {
    pub(super) fn new(config: MailConfig, roots: &Roots) -> Result<Mail, MailError> {
        let security = match config.tls {
            MailTls::Off => Security::None,
            MailTls::StartTls => Security::StartTls(parameters(&config.host, roots)?),
            MailTls::Implicit => {
                Security::Implicit(Arc::new(roots.tls()), ServerName::try_from(config.host.clone())?)
            }
        };
        Ok(Mail { security, config })
    }

    fn message(&self, notice: &QueuedEvent) -> Result<Message, ChannelError> {
        let id = format!("<{}@{}>", new_uuid(), self.config.from.email.domain());
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        let kind = HeaderName::new_from_ascii_str("X-Pg-Backup-Event");
        let mut message = Message::builder()
            .from(self.config.from.clone())
            .subject(notice.subject())
            .date(notice.moment.into())
            .message_id(Some(id))
            .raw_header(HeaderValue::new(automatic, "auto-generated".to_owned()))
            .raw_header(HeaderValue::new(kind, notice.event.kind().to_owned()))
            .header(ContentType::TEXT_PLAIN);
        for to in &self.config.to {
            message = message.to(to.clone());
        }
        let text = format!("{}\n\n{}\n", notice.event.title(), notice.text());
        message.body(text).map_err(|error| ChannelError::Message(Box::new(error)))
    }

    /// Connects with the configured encryption and login.
    async fn connect(&self) -> Result<AsyncSmtpConnection, ChannelError> {
        let stream = self.reach().await.map_err(ChannelError::Connect)?;
        let address = stream.peer_addr().map_err(ChannelError::Connect)?;
        let hello = ClientId::Domain(self.config.from.email.domain().to_owned());
        let open = AsyncSmtpConnection::connect_with_transport;
        let connection = match &self.security {
            Security::Implicit(config, name) => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await.map_err(ChannelError::Connect)?;
                open(Box::new(Bounded::new(stream, address, ANSWERS)), &hello).await
            }
            // The limit also covers the server's certificates.
            Security::StartTls(_) | Security::None => {
                open(Box::new(Bounded::new(stream, address, ANSWERS)), &hello).await
            }
        };
        let mut connection = connection.map_err(ChannelError::Mail)?;
        if let Security::StartTls(parameters) = &self.security {
            connection.starttls(parameters.clone(), &hello).await.map_err(ChannelError::Mail)?;
        }
        if let Some((user, password)) = &self.config.login {
            let login = Credentials::new(user.clone(), password.expose().to_owned());
            connection.auth(DEFAULT_MECHANISMS, &login).await.map_err(ChannelError::Mail)?;
        }
        Ok(connection)
    }

    /// Connects to the first of the server's addresses that accepts.
    async fn reach(&self) -> io::Result<TcpStream> {
        let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in tokio::net::lookup_host((self.config.host.as_str(), self.config.port)).await? {
            match tokio::time::timeout(CONNECT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => failed = error,
                Err(_) => failed = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(failed)
    }
}

/// Why TLS to a mail server cannot be configured.
#[derive(Debug, thiserror::Error)]
pub(super) enum MailError {
    #[error(transparent)]
    Parameters(#[from] Error),
    #[error(transparent)]
    Name(#[from] InvalidDnsNameError),
}

/// Sends a message and waits for its acceptance. lettre's own function would send QUIT after a refusal and
/// wait for the response.
async fn send(connection: &mut AsyncSmtpConnection, message: &Message) -> Result<(), ChannelError> {
    let (envelope, text) = (message.envelope(), message.formatted());
    let server = connection.server_info();
    let mut options = Vec::new();
    let is_ascii = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    if !envelope.to().iter().chain(envelope.from()).all(is_ascii) {
        if !server.supports_feature(Extension::SmtpUtfEight) {
            return Err(unsupported("addresses outside ASCII (SMTPUTF8)"));
        }
        options.push(MailParameter::SmtpUtfEight);
    }
    if !text.is_ascii() {
        if !server.supports_feature(Extension::EightBitMime) {
            return Err(unsupported("text outside ASCII (8BITMIME)"));
        }
        options.push(MailParameter::Body(MailBodyParameter::EightBitMime));
    }
    connection.command(MailFrom::new(envelope.from().cloned(), options)).await.map_err(ChannelError::Mail)?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), Vec::new())).await.map_err(ChannelError::Mail)?;
    }
    connection.command(Data).await.map_err(ChannelError::Mail)?;
    connection.message(&text).await.map_err(ChannelError::Mail)?;
    Ok(())
}

fn unsupported(what: &str) -> ChannelError {
    ChannelError::Message(format!("the mail server does not support {what}").into())
}

fn parameters(host: &str, roots: &Roots) -> Result<TlsParameters, Error> {
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for root in roots.certificates() {
        // A certificate that cannot be parsed must not disable the others.
        if let Ok(certificate) = Certificate::from_der(root.to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build_rustls()
}

impl Channel<QueuedEvent> for Mail {
    fn name(&self) -> &'static str {
        "smtp"
    }

    fn place(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }

    async fn deliver(&self, notice: &QueuedEvent) -> Result<(), ChannelError> {
        let message = self.message(notice)?;
        let sent = async {
            let mut connection = self.connect().await?;
            send(&mut connection, &message).await?;
            Ok(connection)
        };
        let mut connection = tokio::time::timeout(MAIL_TIMEOUT, sent)
            .await
            .unwrap_or(Err(ChannelError::Timeout(MAIL_TIMEOUT)))?;
        let _ = tokio::time::timeout(QUIT, connection.quit()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::super::client::tests::endless;
    use super::super::event::tests::{failed, notice};
    use super::*;
    use crate::report::chain;

    fn mail(port: u16) -> Mail {
        let address = |text: &str| text.parse().unwrap();
        let config = MailConfig {
            host: "127.0.0.1".to_owned(),
            port,
            tls: MailTls::Off,
            login: None,
            from: address("backups@example.com"),
            to: vec![address("ops@example.com")],
        };
        Mail::new(config, &Roots::default()).unwrap()
    }

    #[tokio::test]
    async fn a_greeting_without_an_end_is_given_up() {
        let (port, said) = endless(b"220 ").await;
        let error = mail(port).deliver(&notice(failed())).await.unwrap_err();
        assert!(chain(&error).line.contains("the answer is longer than 65536 bytes"), "{error:?}");
        // Bytes beyond the limit are in the buffers of both sockets.
        let said = said.await.unwrap();
        assert!(said < 32 << 20, "{said}");
    }

    /// A server that responds correctly, except to lines that begin with `refused`, and never to QUIT.
    async fn server(refused: &'static str, answer: &'static str) -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = BufReader::new(stream);
            stream.write_all(b"220 hello\r\n").await.unwrap();
            let (mut line, mut in_text) = (String::new(), false);
            while stream.read_line(&mut line).await.unwrap() > 0 {
                let text = std::mem::take(&mut line);
                let said = match text.trim_end() {
                    "." => "250 accepted",
                    _ if in_text => continue,
                    "QUIT" => continue,
                    command if !refused.is_empty() && command.starts_with(refused) => answer,
                    "DATA" => "354 go on",
                    _ => "250 good",
                };
                in_text = said.starts_with("354");
                stream.write_all(format!("{said}\r\n").as_bytes()).await.unwrap();
            }
        });
        port
    }

    #[tokio::test]
    async fn an_accepted_mail_is_delivered_even_if_quit_fails() {
        let begun = Instant::now();
        mail(server("", "").await).deliver(&notice(failed())).await.unwrap();
        assert!(begun.elapsed() < MAIL_TIMEOUT / 4, "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_refusal_is_reported_without_waiting_for_quit() {
        let begun = Instant::now();
        let port = server("RCPT", "550 no such person").await;
        let error = mail(port).deliver(&notice(failed())).await.unwrap_err();
        assert!(chain(&error).line.contains("no such person") && !error.is_transient(), "{error:?}");
        assert!(begun.elapsed() < MAIL_TIMEOUT / 4, "{:?}", begun.elapsed());
    }
}
