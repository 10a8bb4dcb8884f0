//! Channels and their queues. Messages wait in a bounded queue for the channel's own task, so that a channel
//! cannot delay another one or a backup. The delivery of a message is retried a few times; a message that
//! cannot be delivered is logged, counted and dropped.
//!
//! Memory: [`WAITING`] messages per channel.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::ChannelError;
use crate::log::ALERT;
use crate::report::chain;
use crate::sidecar::panic::caught;
use crate::sidecar::state::SidecarState;

/// Maximum number of queued messages per channel.
const WAITING: usize = 64;

/// The pauses before the retries of a message.
const PAUSES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

/// A destination of messages.
pub(super) trait Channel<T>: Send + Sync + 'static {
    /// Returns the name in logs and metrics.
    fn name(&self) -> &'static str;

    /// Returns the address of the destination without its secret parts.
    fn place(&self) -> String;

    /// Makes one attempt to deliver a message.
    fn deliver(&self, message: &T) -> impl Future<Output = Result<(), ChannelError>> + Send;
}

/// The queue of a channel.
#[derive(Debug)]
pub(super) struct DeliveryQueue<T> {
    name: &'static str,
    sender: mpsc::Sender<Arc<T>>,
    state: SidecarState,
}

impl<T: Send + Sync + 'static> DeliveryQueue<T> {
    /// Starts the channel's task, which ends when the queue is dropped and empty.
    pub(super) fn start<C: Channel<T>>(
        channel: C,
        state: &SidecarState,
        tasks: &mut JoinSet<&'static str>,
    ) -> DeliveryQueue<T> {
        let (sender, mut waiting) = mpsc::channel::<Arc<T>>(WAITING);
        let name = channel.name();
        state.has_channel(name);
        let queue = DeliveryQueue { name, sender, state: state.clone() };
        let state = state.clone();
        tasks.spawn(async move {
            while let Some(message) = waiting.recv().await {
                let outcome = with_retries(&channel, &*message, &PAUSES).await;
                state.count_message(name, outcome.is_ok());
                if let Err(error) = outcome {
                    warn(&channel, &error);
                }
            }
            name
        });
        queue
    }

    /// Adds a message to the queue. A full queue means that the channel has failed for a long time, so the
    /// message is dropped.
    pub(super) fn push(&self, message: Arc<T>) {
        if self.sender.try_send(message).is_err() {
            self.state.count_message(self.name, false);
            tracing::warn!(target: ALERT, channel = self.name, "{}: too many messages are queued; one was dropped", self.name);
        }
    }
}

/// Logs that a message could not be delivered.
pub(super) fn warn<T, C: Channel<T>>(channel: &C, error: &ChannelError) {
    let (name, place, cause) = (channel.name(), channel.place(), chain(error).line);
    tracing::warn!(target: ALERT, channel = name, place, error = %cause, "{name}: not delivered to {place}: {cause}");
}

/// Retries until the message is delivered, the failure is permanent, or the pauses are used up.
pub(super) async fn with_retries<T, C: Channel<T>>(
    channel: &C,
    message: &T,
    pauses: &[Duration],
) -> Result<(), ChannelError> {
    for pause in pauses {
        match try_once(channel, message).await {
            Err(error) if error.is_transient() => {
                tracing::debug!(channel = channel.name(), error = %chain(&error).line, "will be retried");
                tokio::time::sleep(*pause).await;
            }
            outcome => return outcome,
        }
    }
    try_once(channel, message).await
}

/// Makes one attempt. A panic fails only this message.
pub(super) async fn try_once<T, C: Channel<T>>(channel: &C, message: &T) -> Result<(), ChannelError> {
    caught(channel.deliver(message)).await?
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU32, Ordering};

    use hyper::StatusCode;

    use super::*;
    use crate::log::capture;

    /// Returns the given status codes one after the other, and then success.
    struct Scripted {
        codes: Mutex<Vec<u16>>,
        asked: Arc<AtomicU32>,
    }

    fn scripted(codes: &[u16]) -> (Scripted, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let codes = Mutex::new(codes.iter().rev().copied().collect());
        (Scripted { codes, asked: Arc::clone(&asked) }, asked)
    }

    impl Channel<u8> for Scripted {
        fn name(&self) -> &'static str {
            "scripted"
        }

        fn place(&self) -> String {
            "https://host".to_owned()
        }

        async fn deliver(&self, _: &u8) -> Result<(), ChannelError> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let code = self.codes.lock().unwrap().pop();
            match code.map(|code| StatusCode::from_u16(code).unwrap()) {
                Some(status) => Err(ChannelError::Status(status)),
                None => Ok(()),
            }
        }
    }

    #[tokio::test]
    async fn only_transient_errors_are_retried() {
        let pauses = [Duration::ZERO; 2];
        for (codes, arrives, attempts) in
            [(&[500, 503][..], true, 3), (&[500, 500, 500], false, 3), (&[404], false, 1), (&[], true, 1)]
        {
            let (channel, asked) = scripted(codes);
            let outcome = with_retries(&channel, &0, &pauses).await;
            assert_eq!((outcome.is_ok(), asked.load(Ordering::Relaxed)), (arrives, attempts), "{codes:?}");
        }
    }

    #[tokio::test]
    async fn what_arrives_and_what_does_not_is_counted() {
        let (lines, _guard) = capture();
        let (state, mut tasks) = (SidecarState::default(), JoinSet::new());
        let (channel, _) = scripted(&[404]);
        let queue = DeliveryQueue::start(channel, &state, &mut tasks);
        queue.push(Arc::new(1));
        queue.push(Arc::new(2));
        drop(queue);
        assert_eq!(tasks.join_next().await.unwrap().unwrap(), "scripted");
        assert_eq!(state.read().channels["scripted"], (1, 1));
        assert_eq!(lines.take(), ["[alert] scripted: not delivered to https://host: answered 404 Not Found"]);
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_says_so() {
        let (lines, _guard) = capture();
        let (state, mut tasks) = (SidecarState::default(), JoinSet::new());
        let (channel, _) = scripted(&[]);
        let queue = DeliveryQueue::start(channel, &state, &mut tasks);
        // The task does not run before this one waits.
        for message in 0..=64 {
            queue.push(Arc::new(message));
        }
        assert_eq!(lines.take(), ["[alert] scripted: too many messages are queued; one was dropped"]);
        drop(queue);
        tasks.join_next().await.unwrap().unwrap();
        assert_eq!(state.read().channels["scripted"], (64, 1));
    }
}
