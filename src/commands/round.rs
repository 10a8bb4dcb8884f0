//! A round with its hooks, as `serve` and `run` run it.

use tokio_util::sync::CancellationToken;

use crate::sidecar::alert::Hooks;
use crate::sidecar::round::{Round, RoundOutcome};
use crate::sidecar::shutdown;

/// Runs a round, unless the webhook before it refuses it. Returns `None` if a signal came and the round did
/// not end in time.
pub(super) async fn run_round(
    round: &Round,
    hooks: &Hooks,
    cancel: &CancellationToken,
) -> Option<RoundOutcome> {
    let announced = hooks.before(round.names(), cancel).await;
    let outcome = match &announced.refusal {
        Some(refusal) => Some(round.refuse(refusal, refusal.took)),
        None => shutdown::within_grace(cancel, round.run(cancel)).await,
    };
    hooks.after(announced, outcome.as_ref());
    outcome
}
