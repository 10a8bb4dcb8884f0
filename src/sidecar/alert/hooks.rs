//! The hooks of a round: what is sent before it and after it, that is the webhook before it, the pings at its
//! start and end, and the webhook after it. docs/alerts.md specifies the webhooks' JSON. The round itself runs
//! between [`Hooks::before`] and [`Hooks::after`].
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
use super::delivery::{self, DeliveryQueue, with_retries};
use super::event::{FORMAT_VERSION, tool};
use super::new_uuid;
use super::ping::{Ping, Signal};
use super::webhook::{Json, Webhook};
use crate::clock;
use crate::log::Tail;
use crate::sidecar::round::RoundOutcome;
use crate::sidecar::state::{Attempt, SidecarState, StateSnapshot};

/// Maximum time of the webhook before a round, for all attempts.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The pauses between the attempts.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The webhooks and pings of rounds.
#[derive(Debug)]
pub struct Hooks {
    pub(super) source: String,
    pub(super) state: SidecarState,
    pub(super) tail: Tail,
    pub(super) ping: Option<DeliveryQueue<Ping>>,
    pub(super) before: Option<Webhook>,
    pub(super) before_is_required: bool,
    pub(super) after: Option<DeliveryQueue<RoundEnded>>,
}

/// A round whose start was announced.
#[derive(Debug)]
pub struct AnnouncedRound {
    id: Uuid,
    started: Timestamp,
    databases: Vec<String>,
    /// The state before the round: its attempts belong to earlier rounds.
    earlier: StateSnapshot,
    /// Why the round must not run.
    pub refusal: Option<RoundRefusal>,
}

/// The webhook before a round failed, and it is required.
#[derive(Debug, thiserror::Error)]
#[error(
    "the webhook before the round (BACKUP_PRE_ROUND_WEBHOOK)\nHINT: with BACKUP_PRE_ROUND_REQUIRED=false its failure is only logged"
)]
pub struct RoundRefusal {
    #[source]
    source: ChannelError,
    /// Duration of the calls.
    pub took: Duration,
}

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

impl Hooks {
    /// Announces a round of these databases, and asks whether it may run.
    pub async fn before(&self, databases: Vec<String>, cancel: &CancellationToken) -> AnnouncedRound {
        let (id, started, earlier) = (new_uuid(), clock::now(), self.state.read());
        self.tail.clear();
        self.ping(id, Signal::Start);
        let refusal = self.ask(id, started, &databases, cancel).await.err();
        AnnouncedRound { id, started, databases, earlier, refusal }
    }

    /// Reports the outcome of the round; `None` if a signal came and the round did not end in time.
    pub fn after(&self, round: AnnouncedRound, outcome: Option<&RoundOutcome>) {
        let AnnouncedRound { id, started, databases, earlier, .. } = round;
        let now = self.state.read();
        let attempt = |name: String| {
            let attempt = news(&earlier, &now, &name);
            (name, attempt)
        };
        if let Some(after) = &self.after {
            after.push(Arc::new(RoundEnded {
                round: id,
                source: self.source.clone(),
                started,
                moment: clock::now(),
                stopped: outcome.is_none_or(|outcome| outcome.cancelled),
                databases: databases.into_iter().map(attempt).collect(),
            }));
        }
        // A cancelled round sends no ping: either the next container runs one, or the check notices the
        // missing ping.
        match outcome {
            Some(outcome) if outcome.is_good() => self.ping(id, Signal::Success),
            Some(outcome) if !outcome.cancelled => self.ping(id, Signal::Fail),
            _ => {}
        }
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
    ) -> Result<(), RoundRefusal> {
        let Some(before) = &self.before else { return Ok(()) };
        let message =
            RoundStarting { round, source: self.source.clone(), moment, databases: databases.to_vec() };
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
            Err(source) if self.before_is_required => Err(RoundRefusal { source, took: since.elapsed() }),
            Err(error) => {
                delivery::warn::<RoundStarting, _>(before, &error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
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
    use crate::sidecar::state::{BackupStats, Failure, FailureStage};

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
