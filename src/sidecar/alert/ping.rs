//! Pings as healthchecks.io and its imitations take them: they notice when nothing comes at all, which no
//! sidecar that died can tell.
//!
//! `<url>/start?rid=…` at a round's start, `<url>?rid=…` after a good one, `<url>/fail?rid=…` after one that
//! failed; both ends have the log's tail as body. All of one round have the same `rid`.

use uuid::Uuid;

use super::client::{ChannelError, Client, Post};
use super::delivery::Channel;
use crate::config::WebhookEndpoint;

/// A ping.
#[derive(Clone, Debug)]
pub(super) struct Ping {
    /// Of which round.
    pub(super) round: Uuid,
    /// What is said.
    pub(super) signal: Signal,
    /// The body.
    pub(super) log: String,
}

/// What a ping says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Start,
    Success,
    Fail,
    /// Only that something is in the log, without a change of the check's state.
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
