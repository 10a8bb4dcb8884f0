//! Converts a panic in the work for one database or one message to an error, so that everything else
//! continues. The panic hook logs the location of every panic.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

/// A task panicked.
#[derive(Debug, thiserror::Error)]
#[error(
    "the program panicked: {message}\nHINT: this is a bug in pg-backup; report it with the log line that shows where it panicked"
)]
pub struct Panicked {
    message: String,
}

/// Runs work that may panic. State that the work was changing must not be used afterwards, except the
/// sidecar's state, which changes in complete steps.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    // Boxed because the compiler limits the nesting depth of futures.
    let caught = AssertUnwindSafe(Box::pin(work)).catch_unwind().await;
    caught.map_err(|payload| Panicked { message: message(&*payload) })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
