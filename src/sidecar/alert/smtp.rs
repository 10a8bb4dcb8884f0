//! Mail: one plain text for each event, marked as written by a program so that nobody's absence answers it.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::client::{ChannelError, Roots};
use super::delivery::Channel;
use super::event::Notice;
use super::new_uuid;
use crate::config::{MailConfig, MailTls};

/// How long a mail server may take for one answer; some make strangers wait.
const PATIENCE: Duration = Duration::from_secs(30);

/// A mail server and who is written to.
#[derive(Debug)]
pub(super) struct Mail {
    config: MailConfig,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Mail {
    pub(super) fn new(config: MailConfig, roots: &Roots) -> Result<Mail, Error> {
        let tls = match config.tls {
            MailTls::Off => Tls::None,
            MailTls::StartTls => Tls::Required(parameters(&config.host, roots)?),
            MailTls::Implicit => Tls::Wrapper(parameters(&config.host, roots)?),
        };
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(config.host.as_str())
            .port(config.port)
            .tls(tls)
            .hello_name(ClientId::Domain(config.from.email.domain().to_owned()))
            .timeout(Some(PATIENCE));
        if let Some((user, password)) = &config.login {
            transport = transport.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        Ok(Mail { transport: transport.build(), config })
    }

    fn message(&self, notice: &Notice) -> Result<Message, ChannelError> {
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
}

fn parameters(host: &str, roots: &Roots) -> Result<TlsParameters, Error> {
    let mut builder = TlsParameters::builder(host.to_owned()).certificate_store(CertificateStore::None);
    for root in roots.certificates() {
        // One that cannot be read is no reason to do without the others.
        if let Ok(certificate) = Certificate::from_der(root.to_vec()) {
            builder = builder.add_root_certificate(certificate);
        }
    }
    builder.build_rustls()
}

impl Channel<Notice> for Mail {
    fn name(&self) -> &'static str {
        "smtp"
    }

    fn place(&self) -> String {
        format!("{}:{}", self.config.host, self.config.port)
    }

    async fn deliver(&self, notice: &Notice) -> Result<(), ChannelError> {
        let message = self.message(notice)?;
        let limit = PATIENCE * 2;
        match tokio::time::timeout(limit, self.transport.send(message)).await {
            Err(_) => Err(ChannelError::Timeout(limit)),
            Ok(sent) => sent.map(|_| ()).map_err(ChannelError::Mail),
        }
    }
}
