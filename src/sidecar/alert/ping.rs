//! Pings for healthchecks.io and compatible services, which detect missing pings; a sidecar that has died
//! cannot report that itself.
//!
//! `<url>/start?rid=…` at the start of a round, `<url>?rid=…` after a successful round, `<url>/fail?rid=…`
//! after a failed one. The last log lines are the body of the latter two. All pings of a round have the same
//! `rid`.

use uuid::Uuid;

use super::client::{ChannelError, Client, Post};
use super::delivery::Channel;
use crate::config::WebhookEndpoint;

/// A ping.
#[derive(Clone, Debug)]
pub(super) struct Ping {
    /// Id of the round.
    pub(super) round: Uuid,
    /// Kind of the ping.
    pub(super) signal: Signal,
    /// Body of the ping.
    pub(super) log: String,
}

/// Kind of a ping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Start,
    Success,
    Fail,
    /// Adds a log entry to the check without a change of its state.
    Log,
}

impl Signal {
    fn path(self) -> &'static str {
        match self {
            Signal::Start => "/start",
            Signal::Success => "",
            Signal::Fail => "/fail",
            Signal::Log => "/log",
        }
    }
}

/// The check that is pinged.
#[derive(Clone, Debug)]
pub(super) struct Check {
    url: WebhookEndpoint,
    client: Client,
}

impl Check {
    pub(super) fn new(url: WebhookEndpoint, client: Client) -> Check {
        Check { url, client }
    }
}

impl Channel<Ping> for Check {
    fn name(&self) -> &'static str {
        "ping"
    }

    fn place(&self) -> String {
        self.url.to_string()
    }

    async fn deliver(&self, ping: &Ping) -> Result<(), ChannelError> {
        let url = self.url.with(ping.signal.path(), &format!("rid={}", ping.round));
        self.client.post(&url, Post::text(ping.log.clone())).await
    }
}
