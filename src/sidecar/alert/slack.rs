//! Webhooks that accept Slack's messages: Slack itself, Mattermost, Rocket.Chat, Discord's `/slack`.

use serde_json::{Value, json};

use super::client::{ChannelError, Client, Post};
use super::delivery::Channel;
use super::event::{QueuedEvent, Status};
use crate::config::WebhookEndpoint;

/// A webhook of Slack.
#[derive(Clone, Debug)]
pub(super) struct Slack {
    url: WebhookEndpoint,
    client: Client,
}

impl Slack {
    pub(super) fn new(url: WebhookEndpoint, client: Client) -> Slack {
        Slack { url, client }
    }
}

impl Channel<QueuedEvent> for Slack {
    fn name(&self) -> &'static str {
        "slack"
    }

    fn place(&self) -> String {
        self.url.to_string()
    }

    async fn deliver(&self, notice: &QueuedEvent) -> Result<(), ChannelError> {
        self.client.post(self.url.expose(), Post::json(&message(notice))).await
    }
}

/// Returns a message with a single text, which every compatible service shows.
fn message(notice: &QueuedEvent) -> Value {
    let sign = match notice.event.status() {
        Status::Firing => ":red_circle:",
        Status::Resolved => ":large_green_circle:",
        Status::QueuedEvent => ":large_yellow_circle:",
    };
    let (subject, text) = (escaped(&notice.subject()), escaped(&notice.text()));
    json!({ "text": format!("{sign} *{subject}*\n{text}").trim_end() })
}

/// Escapes the three special characters of Slack's texts.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::super::event::Event;
    use super::super::event::tests::{failed, notice};
    use super::*;

    #[test]
    fn a_message_is_one_text() {
        assert_eq!(
            message(&notice(failed()))["text"],
            ":red_circle: *[pg-backup prod] metadata: the backup failed*\n\
             server db:5432 refused the connection: Connection refused\nHINT: start it\n\
             What failed: connect. One attempt failed, at 2026-04-26T16:29:58Z."
        );
        let recovered = notice(Event::ReplicaRecovered { database: "metadata".to_owned() });
        let text = ":large_green_circle: *[pg-backup prod] metadata: copying to the replica succeeded again*";
        assert_eq!(message(&recovered)["text"], text);
    }

    #[test]
    fn nothing_of_a_cause_is_taken_for_markup() {
        let event = Event::ReplicaFailed { database: "a".to_owned(), cause: "<!channel> & <b>".to_owned() };
        let text = message(&notice(event))["text"].as_str().unwrap().to_owned();
        assert!(text.contains("&lt;!channel&gt; &amp; &lt;b&gt;"), "{text}");
    }
}
