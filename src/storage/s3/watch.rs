//! Watches requests in progress: bodies are passed to the HTTP client in small pieces, so that a stalled
//! connection is detected whatever the size of the body, and responses that are not streams have a maximum
//! length.
//!
//! The SDK's own stall protection sees a body in memory as one piece, and does not see any progress after the
//! client has taken that piece.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_s3::config::{ConfigBag, HttpClient, Intercept, RuntimeComponents, SharedHttpClient};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, Metadata};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::Limited;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Instant;

use super::time::Timeouts;

/// Size of a piece of a body that is passed to the HTTP client.
const PIECE: usize = 64 << 10;

/// Maximum length of the response to a write, and of an error response.
const LONGEST_ANSWER: usize = 1 << 20;

/// Maximum length of a page of a listing, and of a list of rules: a thousand keys of 1,024 bytes, each of
/// which XML may escape as six bytes.
const LONGEST_LIST: usize = 8 << 20;

/// An HTTP client that watches its requests.
#[derive(Debug)]
pub(super) struct WatchedClient {
    pub(super) inner: SharedHttpClient,
    pub(super) times: Timeouts,
}

impl HttpClient for WatchedClient {
    fn http_connector(
        &self,
        settings: &HttpConnectorSettings,
        components: &RuntimeComponents,
    ) -> SharedHttpConnector {
        // All requests share one connection pool. The response timeout is not set here, because the pool
        // would depend on it.
        let mut shared = HttpConnectorSettings::builder();
        shared.set_connect_timeout(settings.connect_timeout());
        SharedHttpConnector::new(Watched {
            inner: self.inner.http_connector(&shared.build(), components),
            stall: self.times.stall,
            answer: settings.read_timeout().unwrap_or(self.times.answer),
        })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

#[derive(Debug)]
struct Watched {
    inner: SharedHttpConnector,
    stall: Duration,
    answer: Duration,
}

impl HttpConnector for Watched {
    fn call(&self, mut request: HttpRequest) -> HttpConnectorFuture {
        let progress = RequestProgress::default();
        // All bodies are in memory.
        match request.body().bytes().map(<[u8]>::len).filter(|length| *length > 0) {
            Some(length) => {
                let body = std::mem::replace(request.body_mut(), SdkBody::taken());
                let left = length as u64;
                let pieces = Pieces { body, current: Bytes::new(), left, progress: progress.clone() };
                *request.body_mut() = SdkBody::from_body_1_x(pieces);
            }
            None => progress.note(true),
        }
        let (answered, stall, answer) = (self.inner.call(request), self.stall, self.answer);
        HttpConnectorFuture::new(async move {
            let mut answered = std::pin::pin!(answered);
            loop {
                let (last, is_sent) = progress.read();
                let deadline = last + if is_sent { answer } else { stall };
                tokio::select! {
                    biased;
                    result = &mut answered => return result,
                    () = tokio::time::sleep_until(deadline) => {}
                }
                // The body may have made progress in the meantime.
                if progress.read() == (last, is_sent) {
                    let stalled = if is_sent { Stalled::Answer(answer) } else { Stalled::Request(stall) };
                    return Err(ConnectorError::timeout(stalled.into()));
                }
            }
        })
    }
}

/// What stalled, and for how long.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stalled {
    #[error("no answer for {:.1}s", .0.as_secs_f64())]
    Answer(Duration),
    #[error("the store accepted none of the request for {:.1}s", .0.as_secs_f64())]
    Request(Duration),
}

/// Time at which the client last took bytes, and whether those were the last of the request.
#[derive(Clone, Debug)]
struct RequestProgress(Arc<Mutex<(Instant, bool)>>);

impl Default for RequestProgress {
    fn default() -> Self {
        RequestProgress(Arc::new(Mutex::new((Instant::now(), false))))
    }
}

impl RequestProgress {
    fn note(&self, is_sent: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), is_sent);
    }

    fn read(&self) -> (Instant, bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that is passed on in pieces without copying.
struct Pieces {
    body: SdkBody,
    /// Bytes of the body that have been read and not yet passed on.
    current: Bytes,
    left: u64,
    progress: RequestProgress,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.current.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => return Poll::Ready(None),
                Some(frame) => match frame?.into_data() {
                    Ok(data) => self.current = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
            }
        }
        let length = self.current.len().min(PIECE);
        let piece = self.current.split_to(length);
        self.left = self.left.saturating_sub(length as u64);
        self.progress.note(self.left == 0);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Fails responses that are too long. The bytes of an object are counted where they are read.
#[derive(Debug)]
pub(super) struct LimitAnswers;

impl Intercept for LimitAnswers {
    fn name(&self) -> &'static str {
        "LimitAnswers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map(Metadata::name).unwrap_or_default();
        let response = context.response_mut();
        let limit = match operation {
            "GetObject" if response.status().is_success() => return Ok(()),
            "ListObjectsV2" | "GetBucketLifecycleConfiguration" => LONGEST_LIST,
            _ => LONGEST_ANSWER,
        };
        let body = std::mem::replace(response.body_mut(), SdkBody::taken());
        *response.body_mut() = SdkBody::from_body_1_x(Limited::new(body, limit));
        Ok(())
    }
}
