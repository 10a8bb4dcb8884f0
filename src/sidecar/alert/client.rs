//! The HTTP client that posts messages, and the errors of channels.
//!
//! Messages are rare, so each one uses its own connection. Redirects are not followed. Only the head of a
//! response is read, of which hyper accepts 400 KiB at most, within [`ANSWER_TIMEOUT`]. Errors show only the host
//! of a URL.
//!
//! Memory: the body of a message.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::config::{ConfigError, Secret};
use crate::report::escape_json;
use crate::sidecar::panic::Panicked;

/// Maximum time of one attempt, from the name lookup to the response.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a message could not be delivered.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No response was received.
    #[error("no answer")]
    Request(#[source] legacy::Error),
    /// The response has an error status.
    #[error("answered {0}")]
    Status(StatusCode),
    /// The mail server could not be reached.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// The delivery timed out.
    #[error("no answer within {}s", .0.as_secs())]
    Timeout(Duration),
    /// The mail server refused the message or sent an invalid response.
    #[error("the mail server rejected the message")]
    Mail(#[source] lettre::transport::smtp::Error),
    /// The message could not be built.
    #[error("the message could not be written")]
    Message(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The channel panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl ChannelError {
    /// Returns whether a retry may succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            ChannelError::Request(_) | ChannelError::Connect(_) | ChannelError::Timeout(_) => true,
            ChannelError::Status(status) => {
                status.is_server_error()
                    || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
            }
            ChannelError::Mail(error) => !error.is_permanent(),
            ChannelError::Message(_) | ChannelError::Panicked(_) => false,
        }
    }
}

/// The trusted certificates.
#[derive(Clone, Debug, Default)]
pub(super) struct Roots(Vec<CertificateDer<'static>>);

impl Roots {
    /// Reads the certificates of a file, or the system's (`SSL_CERT_FILE` overrides their location). An empty
    /// set is an error: no message could be sent, and the start is the right time to report that.
    pub(super) fn read(file: Option<&Path>) -> Result<Roots, ConfigError> {
        let name = "BACKUP_ALERT_CA_FILE";
        let Some(path) = file else {
            let found = rustls_native_certs::load_native_certs();
            return match found.certs.is_empty() {
                false => Ok(Roots(found.certs)),
                true => Err(refused(
                    name,
                    "is not set, and the system has no trusted certificates".to_owned(),
                    "mount the system's CA certificates, or set SSL_CERT_FILE or BACKUP_ALERT_CA_FILE to a file of CA certificates",
                )),
            };
        };
        let unusable = || {
            let problem = format!("names a file without a certificate in PEM format: {}", path.display());
            refused(name, problem, "mount a PEM file of CA certificates there")
        };
        let certificates =
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(Roots(certificates)),
            _ => Err(unusable()),
        }
    }

    /// Returns a TLS configuration that trusts them.
    pub(super) fn tls(&self) -> rustls::ClientConfig {
        let mut store = RootCertStore::empty();
        // A certificate that rustls cannot parse must not disable the others.
        store.add_parsable_certificates(self.0.iter().cloned());
        rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the cipher suites of TLS 1.2 and 1.3")
            .with_root_certificates(store)
            .with_no_client_auth()
    }

    /// Returns the certificates in DER.
    pub(super) fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}

pub(super) fn refused(name: &str, problem: String, hint: &str) -> ConfigError {
    ConfigError { variable: name.to_owned(), problem, hint: hint.to_owned(), source: None }
}

/// Posts messages.
#[derive(Clone, Debug)]
pub(super) struct Client(legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

impl Client {
    /// Creates a client that trusts these certificates.
    pub(super) fn new(roots: &Roots) -> Client {
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(roots.tls()).https_or_http().enable_http1().build();
        let client = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Client(client)
    }

    /// Posts once. Any status except 2xx is an error.
    pub(super) async fn post(&self, url: &Uri, post: Post) -> Result<(), ChannelError> {
        let mut request = Request::new(Full::new(post.body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = url.clone();
        let headers = request.headers_mut();
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("pg-backup/", env!("CARGO_PKG_VERSION"))));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(post.media_type));
        if let Some(token) = post.token {
            headers.insert(AUTHORIZATION, secret_header(format!("Bearer {}", token.expose()))?);
        }
        if let Some(signature) = post.signature {
            headers.insert(SIGNATURE, secret_header(signature)?);
        }
        match tokio::time::timeout(ANSWER_TIMEOUT, self.0.request(request)).await {
            Err(_) => Err(ChannelError::Timeout(ANSWER_TIMEOUT)),
            Ok(Err(error)) => Err(ChannelError::Request(error)),
            Ok(Ok(response)) if response.status().is_success() => Ok(()),
            Ok(Ok(response)) => Err(ChannelError::Status(response.status())),
        }
    }
}

/// Header of the signature.
const SIGNATURE: HeaderName = HeaderName::from_static("x-pg-backup-signature");

fn secret_header(text: String) -> Result<HeaderValue, ChannelError> {
    let mut value = HeaderValue::try_from(text).map_err(|error| ChannelError::Message(Box::new(error)))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A request to post.
pub(super) struct Post {
    pub(super) media_type: &'static str,
    pub(super) body: Bytes,
    pub(super) token: Option<Secret>,
    pub(super) signature: Option<String>,
}

impl Post {
    /// Creates a request with a JSON body.
    pub(super) fn json(value: &serde_json::Value) -> Post {
        let body = escape_json(&value.to_string()).into_owned().into();
        Post { media_type: "application/json", body, token: None, signature: None }
    }

    /// Creates a request with a text body.
    pub(super) fn text(text: String) -> Post {
        Post { media_type: "text/plain; charset=utf-8", body: text.into(), token: None, signature: None }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    use super::*;

    /// A server that responds endlessly to one connection. Returns its port, and how many bytes it could
    /// send.
    pub(in crate::sidecar::alert) async fn endless(begin: &'static [u8]) -> (u16, JoinHandle<u64>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let said = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // A mail server sends first; a web server waits for a request.
            if begin.starts_with(b"HTTP") {
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
            }
            let (mut said, more) = (begin.len() as u64, vec![b'x'; 64 << 10]);
            stream.write_all(begin).await.unwrap();
            while stream.write_all(&more).await.is_ok() {
                said += more.len() as u64;
            }
            said
        });
        (port, said)
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_given_up() {
        let client = Client::new(&Roots::default());
        let post = async |port: u16| {
            let url = format!("http://127.0.0.1:{port}/").parse().unwrap();
            client.post(&url, Post::text("a message".to_owned())).await
        };
        let (port, said) = endless(b"HTTP/1.1 200 OK\r\nx: ").await;
        assert!(matches!(post(port).await, Err(ChannelError::Request(_))));
        assert!(said.await.unwrap() < 32 << 20);
        // The body is not awaited.
        let (port, said) = endless(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n").await;
        post(port).await.unwrap();
        assert!(said.await.unwrap() < 32 << 20);
    }

    #[test]
    fn a_permanent_refusal_is_not_retried() {
        let passes = |code: u16| ChannelError::Status(StatusCode::from_u16(code).unwrap()).is_transient();
        assert!(passes(500) && passes(503) && passes(429) && passes(408));
        assert!(!passes(400) && !passes(404) && !passes(301));
        assert!(ChannelError::Timeout(ANSWER_TIMEOUT).is_transient());
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for text in ["", "garbage", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n"] {
            std::fs::write(file.path(), text).unwrap();
            let error = Roots::read(Some(file.path())).unwrap_err();
            assert!(error.to_string().starts_with("BACKUP_ALERT_CA_FILE names a file without"), "{error}");
        }
    }
}
