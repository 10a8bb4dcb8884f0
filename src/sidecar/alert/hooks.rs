//! Runs a round with its notifications: the webhook before it, the pings at its start and end, and the
//! webhook after it. docs/alerts.md specifies the webhooks' JSON.
//!
//! Only the webhook before a round is awaited, for [`ANSWER_TIMEOUT`] at most. The webhook after a round is called
//! for every round for which the webhook before it was called, even if a signal ends the round.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::client::ChannelError;
use super::delivery::{self, with_retries};
use super::event::{FORMAT_VERSION, tool};
use super::ping::{Ping, Signal};
use super::webhook::Json;
use super::{Alerts, new_uuid};
use crate::clock;
use crate::exit_code::ExitCode;
use crate::log::BACKUP;
use crate::quantity::Seconds;
use crate::report::chain;
use crate::sidecar::round::{Round, RoundOutcome};
use crate::sidecar::shutdown;
use crate::sidecar::state::{Attempt, Failure, FailureStage, StateSnapshot};

/// Maximum time of the webhook before a round, for all attempts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The pauses between the attempts.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The content of the webhook before a round.
#[derive(Debug)]
pub(super) struct RoundStarting {
    round: Uuid,
    source: String,
    moment: Timestamp,
    databases: Vec<String>,
}

impl Json for RoundStarting {
    fn json(&self) -> Value {
        json!({
            "version": FORMAT_VERSION,
            "kind": "round_starting",
            "round": self.round.to_string(),
            "source": self.source,
            "moment": self.moment,
            "databases": self.databases,
            "tool": tool(),
        })
    }
}

/// The content of the webhook after a round.
#[derive(Debug)]
pub(super) struct RoundEnded {
    round: Uuid,
    source: String,
    started: Timestamp,
    moment: Timestamp,
    stopped: bool,
    /// Attempts by name; `None` for a database that the round did not reach.
    databases: Vec<(String, Option<Attempt>)>,
}

impl RoundEnded {
    fn is_good(&self) -> bool {
        self.databases.iter().all(|(_, attempt)| attempt.as_ref().is_some_and(|it| it.outcome.is_ok()))
    }
}

impl Json for RoundEnded {
    fn json(&self) -> Value {
        let databases: Vec<Value> =
            self.databases.iter().map(|(name, attempt)| shown(name, attempt)).collect();
        json!({
            "version": FORMAT_VERSION,
            "kind": "round_ended",
            "round": self.round.to_string(),
            "source": self.source,
            "started": self.started,
            "moment": self.moment,
            "ok": self.is_good(),
            "stopped": self.stopped,
            "databases": databases,
            "tool": tool(),
        })
    }
}

fn shown(name: &str, attempt: &Option<Attempt>) -> Value {
    let Some(Attempt { started, duration, outcome }) = attempt else {
        return json!({ "database": name, "outcome": "not_saved" });
    };
    let seconds = duration.as_secs_f64();
    match outcome {
        Ok(saved) => json!({
            "database": name,
            "outcome": "ok",
            "started": started,
            "seconds": seconds,
            "size": saved.size,
            "raw_size": saved.raw_size,
            "rows": saved.rows,
        }),
        Err(failure) => json!({
            "database": name,
            "outcome": "failed",
            "started": started,
            "seconds": seconds,
            "stage": failure.stage.as_str(),
            "cause": failure.cause,
            "hints": failure.hints,
        }),
    }
}

impl Alerts {
    /// Runs a round and sends its notifications. Returns `None` if a signal came and the round did not end in
    /// time.
    pub async fn round(&self, round: &Round, cancel: &CancellationToken) -> Option<RoundOutcome> {
        let (id, started) = (new_uuid(), clock::now());
        let databases = round.names();
        // The attempts already in the state belong to earlier rounds.
        let before = self.state.read();
        self.tail.clear();
        self.ping(id, Signal::Start);
        let outcome = match self.ask(id, started, &databases, cancel).await {
            Ok(()) => shutdown::within_grace(cancel, round.run(cancel)).await,
            Err((error, took)) => Some(self.refuse(&databases, &error, took)),
        };
        let stopped = outcome.as_ref().is_none_or(|outcome| outcome.cancelled);
        let snapshot = self.state.read();
        let attempt = |name: String| {
            let attempt = news(&before, &snapshot, &name);
            (name, attempt)
        };
        if let Some(after) = &self.after {
            after.push(Arc::new(RoundEnded {
                round: id,
                source: self.name.clone(),
                started,
                moment: clock::now(),
                stopped,
                databases: databases.into_iter().map(attempt).collect(),
            }));
        }
        // A cancelled round sends no ping: either the next container runs one, or the check notices the
        // missing ping.
        match &outcome {
            Some(outcome) if outcome.is_good() => self.ping(id, Signal::Success),
            Some(outcome) if !outcome.cancelled => self.ping(id, Signal::Fail),
            _ => {}
        }
        outcome
    }

    fn ping(&self, round: Uuid, signal: Signal) {
        if let Some(ping) = &self.ping {
            ping.push(Arc::new(Ping { round, signal, log: self.tail.text() }));
        }
    }

    /// Calls the webhook before the round, if there is one. Its failure fails the round only if that is
    /// configured.
    async fn ask(
        &self,
        round: Uuid,
        moment: Timestamp,
        databases: &[String],
        cancel: &CancellationToken,
    ) -> Result<(), (ChannelError, Duration)> {
        let Some(before) = &self.before else { return Ok(()) };
        let message =
            RoundStarting { round, source: self.name.clone(), moment, databases: databases.to_vec() };
        let since = Instant::now();
        let asked = async {
            let asked = with_retries(before, &message, &PAUSES);
            tokio::time::timeout(ANSWER_TIMEOUT, asked)
                .await
                .unwrap_or(Err(ChannelError::Timeout(ANSWER_TIMEOUT)))
        };
        let outcome = tokio::select! {
            // The round checks the token itself.
            () = cancel.cancelled() => return Ok(()),
            outcome = asked => outcome,
        };
        self.state.count_message(delivery::Channel::<RoundStarting>::name(before), outcome.is_ok());
        match outcome {
            Err(error) if self.before_is_required => Err((error, since.elapsed())),
            Err(error) => {
                delivery::warn::<RoundStarting, _>(before, &error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Returns the outcome of a round that does not run, because the webhook before it failed.
    fn refuse(&self, databases: &[String], error: &ChannelError, took: Duration) -> RoundOutcome {
        let cause = format!("the webhook before the round (BACKUP_PRE_ROUND_WEBHOOK): {}", chain(error).line);
        let hint = "with BACKUP_PRE_ROUND_REQUIRED=false, a failure is only logged".to_owned();
        let code = ExitCode::Other;
        for name in databases {
            let (seconds, since) = (Seconds(took), clock::now());
            tracing::error!(target: BACKUP, database = %name, error = %cause, "{name}: FAILED in {seconds}: {cause}");
            tracing::error!(target: BACKUP, database = %name, "{name}: HINT: {hint}");
            self.state.begin(name, since);
            let (cause, hints) = (cause.clone(), vec![hint.clone()]);
            self.state.end(name, took, Err(Failure { stage: FailureStage::from(code), cause, hints }));
        }
        let failed = databases.iter().map(|name| (name.clone(), code)).collect();
        RoundOutcome { total: databases.len(), failed, cancelled: false }
    }
}

/// Returns the last attempt of a database, if it is new since `before`.
fn news(before: &StateSnapshot, now: &StateSnapshot, database: &str) -> Option<Attempt> {
    let last = |snapshot: &StateSnapshot| snapshot.databases.get(database)?.attempts.back().cloned();
    let attempt = last(now)?;
    (last(before).as_ref() != Some(&attempt)).then_some(attempt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::state::{BackupStats, SidecarState};

    #[test]
    fn only_attempts_of_the_round_are_reported() {
        let state = SidecarState::default();
        let moment: Timestamp = "2026-04-26T16:29:58Z".parse().unwrap();
        let save = |name: &str| {
            state.begin(name, moment);
            state.end(name, Duration::from_secs(1), Ok(BackupStats { size: 1, raw_size: 2, rows: 3 }));
        };
        save("a");
        let before = state.read();
        assert_eq!(news(&before, &state.read(), "a"), None);
        save("b");
        assert_eq!(news(&before, &state.read(), "a"), None);
        assert!(news(&before, &state.read(), "b").is_some());
        assert_eq!(news(&before, &state.read(), "c"), None);
    }

    /// docs/alerts.md contains the complete JSON of both.
    #[test]
    fn the_json_is_that_of_the_document() {
        let document = include_str!("../../../docs/alerts.md");
        let shown = |number: usize| -> Value {
            let text = document.split("```json\n").nth(number).and_then(|rest| rest.split("```").next());
            let text = text.unwrap().replace("\"0.1.0\"", &format!("\"{}\"", env!("CARGO_PKG_VERSION")));
            serde_json::from_str(&text).unwrap()
        };
        let round = "3c6e0b8a-9c15-424a-a2d5-0123456789ab".parse().unwrap();
        let at = |text: &str| -> Timestamp { text.parse().unwrap() };
        let (started, source) = (at("2026-04-26T16:29:58Z"), "prod".to_owned());
        let names = ["metadata", "website", "demo"].map(str::to_owned);
        let starting =
            RoundStarting { round, source: source.clone(), moment: started, databases: names.to_vec() };
        assert_eq!(starting.json(), shown(2));

        let [metadata, website, demo] = names;
        let saved = BackupStats { size: 48_211, raw_size: 301_274, rows: 46_273 };
        let cause = "server website-postgres:5432 refused the connection: Connection refused".to_owned();
        let failure = Failure { stage: FailureStage::Connect, cause, hints: Vec::new() };
        let attempt = |duration, outcome| Some(Attempt { started, duration, outcome });
        let ended = RoundEnded {
            round,
            source,
            started,
            moment: at("2026-04-26T16:30:02Z"),
            stopped: true,
            databases: vec![
                (metadata, attempt(Duration::from_millis(1250), Ok(saved))),
                (website, attempt(Duration::from_millis(500), Err(failure))),
                (demo, None),
            ],
        };
        assert_eq!(ended.json(), shown(3));
    }
}
