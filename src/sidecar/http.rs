//! The HTTP server of the sidecar: `/healthz`, `/readyz`, `/metrics`, and the status page at `/`. It only
//! reads the sidecar's state, accepts no request body, and exposes no secret.
//!
//! Idle clients cannot block others: when [`CONNECTIONS`] connections are open, the one with the oldest last
//! request is closed to accept a new one.
//!
//! Memory: [`CONNECTIONS`] connections, each with a buffer of [`HEAD`] bytes and its response.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::state::SidecarState;
use super::{metrics, page};
use crate::clock;

/// Maximum number of open connections.
const CONNECTIONS: usize = 64;

/// Maximum size of the head of a request, in bytes.
const HEAD: usize = 16 << 10;

/// Maximum time for a client to send the head of its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Minimum time for a client to send its request before it may be closed for another one.
const GRACE: Duration = Duration::from_millis(200);

/// Maximum lifetime of a connection.
const LONGEST: Duration = Duration::from_secs(60);

/// Listens at an address. A failure here fails the start of the sidecar.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves requests until the future is dropped.
pub async fn serve(listener: TcpListener, state: SidecarState) -> Infallible {
    let mut connections = Connections::default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.make_room().await;
                connections.open(stream, state.clone());
            }
            // For example, too many open files. The error may be transient, and closing one connection helps.
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection to the health page");
                connections.close_idlest();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// The open connections.
#[derive(Default)]
struct Connections {
    tasks: JoinSet<()>,
    open: Vec<Open>,
}

struct Open {
    task: AbortHandle,
    /// Time of the last request, or of the opening.
    active: Arc<Mutex<Instant>>,
}

impl Open {
    fn active(&self) -> Instant {
        *self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connections {
    /// Waits, for [`GRACE`] at most, until a new connection may be opened.
    async fn make_room(&mut self) {
        loop {
            while self.tasks.try_join_next().is_some() {}
            self.open.retain(|open| !open.task.is_finished());
            if self.open.len() < CONNECTIONS {
                return;
            }
            let idle = self.open.iter().map(|open| open.active().elapsed()).max().unwrap_or_default();
            let Some(wait) = GRACE.checked_sub(idle).filter(|wait| !wait.is_zero()) else {
                return self.close_idlest();
            };
            tokio::select! {
                _ = self.tasks.join_next() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn open(&mut self, stream: TcpStream, state: SidecarState) {
        let active = Arc::new(Mutex::new(Instant::now()));
        let asked = {
            let active = Arc::clone(&active);
            move || *active.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now()
        };
        let task = self.tasks.spawn(async move {
            // Errors of the client (disconnects, malformed requests) are ignored.
            let _ = tokio::time::timeout(LONGEST, connection(stream, state, asked)).await;
        });
        self.open.push(Open { task, active });
    }

    /// Closes the connection with the oldest last request.
    fn close_idlest(&mut self) {
        let idlest = self.open.iter().enumerate().min_by_key(|(_, open)| open.active());
        if let Some((place, _)) = idlest {
            self.open.swap_remove(place).task.abort();
        }
    }
}

async fn connection(
    stream: TcpStream,
    state: SidecarState,
    asked: impl Fn() + Send,
) -> Result<(), hyper::Error> {
    let answer = service_fn(move |request| {
        asked();
        let answer = answer(&request, &state);
        async move { Ok::<_, Infallible>(answer) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_TIMEOUT)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

/// Requests a page from a sidecar on this machine. Returns whether the status is 200, and the text.
pub async fn ask(address: SocketAddr, path: &'static str) -> io::Result<(bool, String)> {
    let asked = async {
        let stream = TcpStream::connect(reachable(address)).await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.uri_mut() = Uri::from_static(path);
        request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
        let answer = async {
            let response = sender.send_request(request).await?;
            let is_good = response.status() == StatusCode::OK;
            let body = response.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((is_good, String::from_utf8_lossy(&body).into_owned()))
        };
        // The connection must be polled while the response is awaited.
        tokio::select! {
            biased;
            answer = answer => answer.map_err(io::Error::other),
            ended = connection => match ended {
                Ok(()) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(io::Error::other(error)),
            },
        }
    };
    tokio::time::timeout(REQUEST_TIMEOUT, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Replaces an address that listens on all interfaces with the loopback address.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// A page: its status, media type and text.
type HttpResponse = (StatusCode, &'static str, Bytes);

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";

fn answer<B>(request: &Request<B>, state: &SidecarState) -> Response<Full<Bytes>> {
    let (status, media_type, body) = match *request.method() {
        Method::GET | Method::HEAD => answer_to(request.uri(), state, clock::now()),
        _ => (StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET and HEAD are supported\n".into()),
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // These headers are set on every response, so that a browser never interprets one as another type.
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, page::policy());
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn answer_to(address: &Uri, state: &SidecarState, now: Timestamp) -> HttpResponse {
    match address.path() {
        "/" => (StatusCode::OK, HTML, page::render(&state.read(), address.query(), now).into()),
        "/healthz" => (StatusCode::OK, TEXT, "ok\n".into()),
        "/readyz" => match state.read().unready_reason(now) {
            None => (StatusCode::OK, TEXT, "ok\n".into()),
            Some(unready_reason) => {
                (StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{unready_reason}\n").into())
            }
        },
        "/metrics" => match metrics::render(&state.read()) {
            Ok(text) => (StatusCode::OK, metrics::CONTENT_TYPE, text.into()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{error}\n").into()),
        },
        _ => (
            StatusCode::NOT_FOUND,
            TEXT,
            "not found; the pages are /, /healthz, /readyz and /metrics\n".into(),
        ),
    }
}
