//! A web server that records every request, and answers with the codes that a test sets.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;

use super::tls::Certificates;

/// A running web server. It ends when this is dropped.
pub struct Sink {
    runtime: Option<Runtime>,
    host: String,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    requests: Vec<Received>,
    answers: BTreeMap<String, u16>,
}

/// A request as received.
#[derive(Clone, Debug)]
pub struct Received {
    pub method: String,
    pub path: String,
    pub query: Option<String>,
    /// By name, in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Received {
    /// Parses the body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json");
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Sink {
    /// Starts a server on a free port.
    pub fn start() -> Sink {
        Sink::start_with(None)
    }

    /// Starts a server with TLS.
    pub fn start_tls(certificates: &Certificates) -> Sink {
        let chain = CertificateDer::pem_file_iter(&certificates.certificate).and_then(Iterator::collect);
        let key = PrivateKeyDer::from_pem_file(&certificates.key).expect("OpenSSL writes PEM");
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS needs")
            .with_no_client_auth()
            .with_single_cert(chain.expect("OpenSSL writes PEM"), key);
        Sink::start_with(Some(TlsAcceptor::from(Arc::new(config.expect("the key is the certificate's")))))
    }

    fn start_with(tls: Option<TlsAcceptor>) -> Sink {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be built");
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).expect("there are free ports");
        let port = listener.local_addr().expect("it is bound").port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let kept = Arc::new(Mutex::new(Kept::default()));
        let state = Arc::clone(&kept);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let answer = service_fn(move |request| answer(request, Arc::clone(&state)));
                let tls = tls.clone();
                // A client may disconnect or reject the certificate, so errors are ignored.
                tokio::spawn(async move {
                    let http = http1::Builder::new();
                    let _ = match tls {
                        None => http.serve_connection(TokioIo::new(stream), answer).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => http.serve_connection(TokioIo::new(stream), answer).await,
                            Err(_) => Ok(()),
                        },
                    };
                });
            }
        });
        Sink { runtime: Some(runtime), host: format!("{scheme}://127.0.0.1:{port}"), kept }
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.host)
    }

    /// The common prefix of all its URLs.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Sets the code of later responses for a path, instead of 200. With code 0 it does not respond.
    pub fn answer(&self, path: &str, code: u16) {
        self.kept.lock().unwrap().answers.insert(path.to_owned(), code);
    }

    /// Returns the requests so far at and below a path, in order.
    pub fn at(&self, path: &str) -> Vec<Received> {
        let requests = &self.kept.lock().unwrap().requests;
        requests.iter().filter(|request| request.path.starts_with(path)).cloned().collect()
    }

    /// Returns the kinds of the events so far at a path.
    pub fn kinds(&self, path: &str) -> Vec<String> {
        let kind = |request: &Received| request.json()["kind"].as_str().unwrap_or_default().to_owned();
        self.at(path).iter().map(kind).collect()
    }

    /// Returns the number of events of a kind so far at a path.
    pub fn count(&self, path: &str, kind: &str) -> usize {
        self.kinds(path).iter().filter(|sent| *sent == kind).count()
    }

    /// Waits until the requests at a path satisfy `enough`.
    #[track_caller]
    pub fn wait_for(&self, path: &str, enough: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let received = self.at(path);
            if enough(&received) {
                return received;
            }
            assert!(Instant::now() < deadline, "still waiting at {path}: {received:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for an event of a kind at a path.
    #[track_caller]
    pub fn event(&self, path: &str, kind: &str) -> Value {
        let of_kind =
            |received: &[Received]| received.iter().map(Received::json).find(|event| event["kind"] == kind);
        of_kind(&self.wait_for(path, |received| of_kind(received).is_some())).expect("it was waited for")
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    kept: Arc<Mutex<Kept>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let path = head.uri.path().to_owned();
    let code = {
        let mut kept = kept.lock().unwrap();
        kept.requests.push(Received {
            method: head.method.to_string(),
            path: path.clone(),
            query: head.uri.query().map(str::to_owned),
            headers: headers.collect(),
            body: String::from_utf8_lossy(&body).into_owned(),
        });
        kept.answers.get(&path).copied().unwrap_or(200)
    };
    if code == 0 {
        std::future::pending::<()>().await;
    }
    let mut response = Response::new(Full::new(Bytes::from_static(b"an answer\n")));
    *response.status_mut() = StatusCode::from_u16(code).expect("a test names a code of HTTP");
    Ok(response)
}
