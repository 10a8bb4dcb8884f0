//! The signals that end a command.

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::log::ENTRYPOINT;
use crate::sidecar::shutdown;

/// Installs the signal handlers of a command that writes a log. The first signal is logged and cancels the
/// token.
pub(super) fn stop_on_signal() -> Result<CancellationToken> {
    install(|signal| tracing::info!(target: ENTRYPOINT, "{signal} received; stopping"))
}

/// Installs the signal handlers of a command without a log. The first signal cancels the token.
pub(super) fn cancel_on_signal() -> Result<CancellationToken> {
    install(|_| ())
}

fn install(announce: impl Fn(&'static str) + Send + 'static) -> Result<CancellationToken> {
    shutdown::on_signal(announce)
        .map_err(|source| Error::Io { context: "cannot install signal handlers".to_owned(), source })
}
