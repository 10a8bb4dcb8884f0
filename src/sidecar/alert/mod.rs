//! Alerts, pings, and the webhooks before and after rounds.
//!
//! A separate task watches the sidecar's state, so that alerts are sent even while a round hangs:
//! [`evaluator`] decides which alerts to send, and [`event`] formats them. Each channel has its own queue and
//! task ([`delivery`]), so that no channel fails or delays a backup. [`hooks`] sends the webhooks and pings at the
//! start and end of a round; it does not run the round.
//!
//! Memory: a bounded queue of small messages for each channel, and a copy of the state during an evaluation.

mod bounded;
mod client;
mod delivery;
mod evaluator;
mod event;
mod hooks;
mod ping;
mod slack;
mod smtp;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use client::ChannelError;
pub use event::{Event, Measure, Status};
pub use hooks::{AnnouncedRound, Hooks, RoundRefusal};

use super::freshness::allowed_age;
use super::state::SidecarState;
use crate::clock;
use crate::config::{AlertConfig, ConfigError, RoundHooks};
use crate::log::{ALERT, Tail};
use crate::report::chain;
use client::{Client, Roots, refused};
use delivery::{Channel, DeliveryQueue, try_once};
use evaluator::{Alert, AlertEvaluator};
use event::QueuedEvent;
use ping::{Check, Ping, Signal};
use slack::Slack;
use smtp::Mail;
use webhook::Webhook;

/// Maximum time to send queued messages at the end. [`AFTER_SIGNAL`] limits it further.
const FLUSH_TIME: Duration = Duration::from_secs(40);

/// Maximum time after a signal to send messages. Docker kills the container after 10 seconds.
const AFTER_SIGNAL: Duration = Duration::from_secs(9);

/// The alert channels, and the task that watches the state for them.
#[derive(Debug)]
pub struct Alerts {
    /// The webhooks and pings of rounds.
    pub hooks: Hooks,
    watching: JoinHandle<()>,
    tasks: JoinSet<&'static str>,
    closing: CancellationToken,
    hurry: CancellationToken,
}

impl Alerts {
    /// Starts to watch a state. `tail` contains the last log lines; a signal cancels `cancel`.
    pub(crate) fn start(
        config: &AlertConfig,
        state: &SidecarState,
        tail: Tail,
        cancel: &CancellationToken,
    ) -> Result<Alerts, ConfigError> {
        let AlertChannels { webhook, slack, mail, ping, client } = AlertChannels::open(config)?;
        let (mut tasks, mut queues) = (JoinSet::new(), Vec::new());
        queues.extend(webhook.map(|webhook| DeliveryQueue::start(webhook, state, &mut tasks)));
        queues.extend(slack.map(|slack| DeliveryQueue::start(slack, state, &mut tasks)));
        queues.extend(mail.map(|mail| DeliveryQueue::start(mail, state, &mut tasks)));
        let ping = ping.map(|check| DeliveryQueue::start(check, state, &mut tasks));
        let RoundHooks { before, before_is_required, after } = config.rounds.clone();
        let before = before.map(|before| Webhook::new("pre_round", before, client.clone()));
        let after = after.map(|after| Webhook::new("post_round", after, client));
        let after = after.map(|after| DeliveryQueue::start(after, state, &mut tasks));
        if let Some(before) = &before {
            state.has_channel(Channel::<hooks::RoundStarting>::name(before));
        }

        let (closing, hurry) = (CancellationToken::new(), CancellationToken::new());
        let watch = Watch {
            evaluator: AlertEvaluator::new(clock::now(), config.shrink, config.remind),
            state: state.clone(),
            source: config.name.clone(),
            channels: queues,
        };
        let watching = tokio::spawn(watch.run(closing.clone()));
        tokio::spawn(hurry_after_signal(cancel.clone(), hurry.clone()));
        let (source, state) = (config.name.clone(), state.clone());
        let hooks = Hooks { source, state, tail, ping, before, before_is_required, after };
        Ok(Alerts { hooks, watching, tasks, closing, hurry })
    }

    /// Evaluates the state a last time and sends the queued messages within a time limit.
    pub async fn close(self) {
        let Alerts { hooks, watching, mut tasks, closing, hurry } = self;
        closing.cancel();
        let farewell = async {
            // The task ends immediately, and so do the queues of its channels.
            let _ = watching.await;
            drop(hooks);
            while tasks.join_next().await.is_some() {}
        };
        let limit = async {
            tokio::select! {
                () = hurry.cancelled() => {}
                () = tokio::time::sleep(FLUSH_TIME) => {}
            }
        };
        tokio::select! {
            biased;
            () = farewell => {}
            () = limit => tracing::warn!(target: ALERT, "exiting before every message was delivered"),
        }
    }
}

async fn hurry_after_signal(cancel: CancellationToken, hurry: CancellationToken) {
    cancel.cancelled().await;
    tokio::time::sleep(AFTER_SIGNAL).await;
    hurry.cancel();
}

/// The configured channels.
struct AlertChannels {
    webhook: Option<Webhook>,
    slack: Option<Slack>,
    mail: Option<Mail>,
    ping: Option<Check>,
    client: Client,
}

impl AlertChannels {
    fn open(config: &AlertConfig) -> Result<AlertChannels, ConfigError> {
        let roots = if config.needs_certificates() {
            Roots::read(config.ca_file.as_deref())?
        } else {
            Roots::default()
        };
        let client = Client::new(&roots);
        let webhook = config.webhook.clone();
        Ok(AlertChannels {
            webhook: webhook.map(|webhook| Webhook::new("webhook", webhook, client.clone())),
            slack: config.slack.clone().map(|url| Slack::new(url, client.clone())),
            mail: config.mail.clone().map(|mail| Mail::new(mail, &roots)).transpose().map_err(unusable)?,
            ping: config.ping.clone().map(|url| Check::new(url, client.clone())),
            client,
        })
    }
}

fn unusable(error: smtp::MailError) -> ConfigError {
    let problem = format!("cannot be used with TLS: {}", chain(&error).line);
    refused("BACKUP_ALERT_SMTP_HOST", problem, "use the host name in the server's certificate")
}

/// The task that watches the state.
struct Watch {
    evaluator: AlertEvaluator,
    state: SidecarState,
    source: String,
    channels: Vec<DeliveryQueue<QueuedEvent>>,
}

impl Watch {
    /// Evaluates the state at every change, and often enough to detect an overdue backup in time.
    async fn run(mut self, closing: CancellationToken) {
        let allowed = allowed_age(self.state.read().interval);
        let tick = (allowed / 8).clamp(Duration::from_millis(250), Duration::from_secs(30));
        loop {
            tokio::select! {
                () = closing.cancelled() => break,
                () = self.state.changed() => {}
                () = tokio::time::sleep(tick) => {}
            }
            self.look();
        }
        self.look();
    }

    fn look(&mut self) {
        for alert in self.evaluator.observe(&self.state.read(), clock::now()) {
            self.send(alert);
        }
    }

    fn send(&self, Alert { event, reminder }: Alert) {
        // All other events are logged where they occur.
        if let Event::Overdue { database, .. } | Event::Shrunk { database, .. } = &event {
            let (title, text) = (event.title(), event.lines().join(" "));
            tracing::warn!(target: ALERT, database, kind = event.kind(), "{title}: {text}");
        }
        let notice = QueuedEvent { event, reminder, moment: clock::now(), source: self.source.clone() };
        let notice = Arc::new(notice);
        for channel in &self.channels {
            channel.push(Arc::clone(&notice));
        }
    }
}

/// Result of a test message on one channel.
#[derive(Debug)]
pub struct Tested {
    /// Name of the channel in logs and metrics.
    pub channel: &'static str,
    /// Address of the channel without its secret parts.
    pub place: String,
    /// Whether the message was delivered.
    pub outcome: Result<(), ChannelError>,
}

/// Sends a test message to all channels at the same time, without retries. The pinged check gets a ping that
/// does not change its state. The webhooks before and after rounds are not called, because they may trigger
/// actions.
pub async fn send_test(config: &AlertConfig) -> Result<Vec<Tested>, ConfigError> {
    let AlertChannels { webhook, slack, mail, ping, .. } = AlertChannels::open(config)?;
    let (moment, source) = (clock::now(), config.name.clone());
    let notice = QueuedEvent { event: Event::Test, reminder: false, moment, source };
    let log = format!("{}\n{}\n", notice.subject(), notice.text());
    let signal = Ping { round: new_uuid(), signal: Signal::Log, log };
    let (webhook, slack, mail, ping) =
        tokio::join!(test(webhook, &notice), test(slack, &notice), test(mail, &notice), test(ping, &signal));
    Ok([webhook, slack, mail, ping].into_iter().flatten().collect())
}

async fn test<T, C: Channel<T>>(channel: Option<C>, message: &T) -> Option<Tested> {
    let channel = channel?;
    let outcome = try_once(&channel, message).await;
    Some(Tested { channel: channel.name(), place: channel.place(), outcome })
}

/// Returns a random identifier.
fn new_uuid() -> Uuid {
    let mut bytes = [0; 16];
    // A failure of the system's random numbers is ignored: the identifier is then only not unique.
    let _ = getrandom::fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
