//! Cancels a token on SIGTERM, SIGINT or SIGHUP.
//!
//! The kernel does not deliver a signal without a handler to the first process of a container, so the
//! handlers are installed before anything else. Settings are read only once, so SIGHUP does not reload them:
//! it ends the program as SIGTERM does, unless it was already ignored at the start, as nohup does.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Maximum time for running work to end after a signal. Docker kills the container after 10 seconds.
pub const GRACE: Duration = Duration::from_secs(8);

/// Installs the handlers. The first signal cancels the token, and its name is passed to `announce`.
pub fn on_signal(announce: impl Fn(&'static str) + Send + 'static) -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hangup = (!hangup_is_ignored()).then(|| signal(SignalKind::hangup())).transpose()?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        let hung_up = async {
            match &mut hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            _ = hung_up => "SIGHUP",
        };
        announce(name);
        cancelled.cancel();
    });
    Ok(token)
}

/// Maximum lifetime of the process after a signal. Docker kills the container after 10 seconds.
const CLEANUP_TIME: Duration = Duration::from_millis(9_500);

/// Returns a token that is cancelled 9.5 seconds after the signal. No operation may be awaited after that.
pub fn cleanup_deadline(signalled: &CancellationToken) -> CancellationToken {
    let (signalled, cleanup_deadline) = (signalled.clone(), CancellationToken::new());
    let token = cleanup_deadline.clone();
    tokio::spawn(async move {
        signalled.cancelled().await;
        tokio::time::sleep(CLEANUP_TIME).await;
        cleanup_deadline.cancel();
    });
    token
}

/// Returns whether SIGHUP was ignored at the start of the program; a handler would undo that.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is signal 1.
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}

/// Waits for `work`, but for at most [`GRACE`] after the token is cancelled; returns `None` after that. The
/// unfinished work is dropped. A store shows nothing of an unfinished upload.
pub async fn within_grace<T>(token: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    within(token, GRACE, work).await
}

async fn within<T>(token: &CancellationToken, grace: Duration, work: impl Future<Output = T>) -> Option<T> {
    let overdue = async {
        token.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        biased;
        result = work => Some(result),
        () = overdue => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_ignores_the_signal_is_given_up() {
        let token = CancellationToken::new();
        let grace = Duration::from_millis(10);
        assert_eq!(within(&token, grace, async { 1 }).await, Some(1));
        token.cancel();
        assert_eq!(within(&token, grace, std::future::pending::<u8>()).await, None);
    }
}
