//! Webhooks: JSON, with a token or a signature if the receiver authenticates its clients.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value;
use sha2::Sha256;

use super::client::{ChannelError, Client, Post};
use super::delivery::Channel;
use super::event::QueuedEvent;
use crate::config::{Secret, WebhookConfig};

/// A webhook.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    name: &'static str,
    config: WebhookConfig,
    client: Client,
}

impl Webhook {
    /// Creates a webhook; `name` is its name in logs and metrics.
    pub(super) fn new(name: &'static str, config: WebhookConfig, client: Client) -> Webhook {
        Webhook { name, config, client }
    }
}

/// A message for a webhook.
pub(super) trait Json: Send + Sync + 'static {
    /// Returns the JSON that docs/alerts.md specifies.
    fn json(&self) -> Value;
}

impl Json for QueuedEvent {
    fn json(&self) -> Value {
        self.to_json()
    }
}

/// Returns `sha256=` and the HMAC-SHA256 of the body in hexadecimal digits, as GitHub does.
fn signature(secret: &Secret, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose().as_bytes()).expect("HMAC takes any key");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

impl<T: Json> Channel<T> for Webhook {
    fn name(&self) -> &'static str {
        self.name
    }

    fn place(&self) -> String {
        self.config.url.to_string()
    }

    async fn deliver(&self, message: &T) -> Result<(), ChannelError> {
        let mut post = Post::json(&message.json());
        post.token = self.config.token.clone();
        post.signature = self.config.secret.as_ref().map(|secret| signature(secret, &post.body));
        self.client.post(self.config.url.expose(), post).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second test case of RFC 4231.
    #[test]
    fn the_signature_is_an_hmac() {
        assert_eq!(
            signature(&Secret::new("Jefe"), b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
