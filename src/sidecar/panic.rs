//! A panic in the work for one database, or in one message, becomes its failure, so that everything else goes on.
//! Where it happened is in the log, which hears of every panic.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;

/// Something panicked.
#[derive(Debug, thiserror::Error)]
#[error(
    "the program panicked: {message}\nHINT: this is a defect of pg-backup; report it with the log's line that says where it panicked"
)]
pub struct Panicked {
    message: String,
}

/// Runs work that may panic. Whatever it was changing is not used again, but for the record, which is changed in
/// whole steps.
pub(super) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    // On the heap, since the compiler counts how deep futures are nested.
    let caught = AssertUnwindSafe(Box::pin(work)).catch_unwind().await;
    caught.map_err(|payload| Panicked { message: message(&*payload) })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
