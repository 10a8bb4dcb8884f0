//! Detects stalled connections. If a server that owes an answer has sent nothing for a while, this module
//! asks the server over another connection whether the session's process is still working: a lock, a
//! serializable snapshot or a slow function may take hours. If the process is not working, or the server does
//! not answer, the session is aborted.
//!
//! A session that waits for the consumer of its rows (a slow store) is not stalled, see
//! [`Activity`](super::wire).

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connect::{Connected, HostRoute};
use super::error::{ProtocolError, describe};
use super::wire::ConnectionEvents;

/// The default limit (`BACKUP_STALL_TIMEOUT`).
pub const STALL_TIMEOUT: Duration = Duration::from_secs(600);

/// Maximum time for the server to report the state of the process.
const ANSWER: Duration = Duration::from_secs(30);

/// Number of consecutive refused queries (the server is full or starting) after which the session is aborted.
const REFUSALS: u32 = 3;

/// The state of the server's process.
#[derive(Clone, Debug, PartialEq, Eq)]
enum BackendActivity {
    AtWork,
    /// It waits for this program, or does not exist. The text continues a sentence after "and process 7 ".
    NotAtWork(String),
    /// The server answers, but does not return the state.
    Refused(String),
    /// The server does not answer.
    Silent(String),
}

/// Completes with the reason when the session is to be aborted.
pub(super) async fn stalled(events: Arc<ConnectionEvents>, route: HostRoute) -> String {
    let Some(limit) = route.stall_timeout() else { return pending().await };
    let asked = Arc::clone(&events);
    let ask = move || look(route.clone(), asked.process(), limit.min(ANSWER));
    watch(&events, limit, ask).await
}

async fn watch(events: &ConnectionEvents, limit: Duration, ask: impl Fn() -> Asking) -> String {
    let silent_since = || events.activity.silent_since();
    let (mut asked, mut refusals) = (None, 0);
    loop {
        let Some(since) = silent_since() else {
            sleep(limit).await;
            continue;
        };
        // After a working process was found, the next query follows when the limit has passed again.
        if since.max(asked.unwrap_or(since)) + limit > Instant::now() {
            sleep_until(since.max(asked.unwrap_or(since)) + limit).await;
            continue;
        }
        let after = since.elapsed().as_secs();
        let finding = ask().await;
        if silent_since() != Some(since) {
            // Data was transferred in the meantime.
            continue;
        }
        asked = Some(Instant::now());
        let process = events.process();
        let why = match finding {
            BackendActivity::AtWork => {
                refusals = 0;
                tracing::info!(
                    process,
                    silent_seconds = after,
                    "the server is sending nothing, but its process is active"
                );
                continue;
            }
            BackendActivity::Refused(why) if refusals + 1 < REFUSALS => {
                refusals += 1;
                tracing::warn!(
                    process,
                    silent_seconds = after,
                    "cannot query the state of the server process: {why}"
                );
                continue;
            }
            BackendActivity::NotAtWork(what) => format!("process {process} {what}"),
            BackendActivity::Refused(why) | BackendActivity::Silent(why) => {
                format!("the state of its process cannot be queried: {why}")
            }
        };
        return format!(
            "it has sent nothing for {after} s (BACKUP_STALL_TIMEOUT is {} s), and {why}",
            limit.as_secs()
        );
    }
}

/// Boxed, because the future is recursive: the session that asks has a connection task, which contains the
/// same future.
type Asking = Pin<Box<dyn Future<Output = BackendActivity> + Send>>;

/// Queries the state of a server process.
fn look(route: HostRoute, process: i32, within: Duration) -> Asking {
    Box::pin(async move {
        let asked = async {
            let connected = route.connect_to_ask().await?;
            let finding = activity(&connected, process).await.map_err(|error| connected.link.error(error))?;
            Ok::<_, ProtocolError>(finding)
        };
        match timeout(within, asked).await {
            Ok(Ok(finding)) => finding,
            Ok(Err(error)) if error.sqlstate().is_some() => BackendActivity::Refused(describe(&error)),
            Ok(Err(error)) => BackendActivity::Silent(describe(&error)),
            Err(_) => BackendActivity::Silent(format!(
                "no answer within {} s over another connection",
                within.as_secs()
            )),
        }
    })
}

/// Both columns are of type text.
const ACTIVITY: &str = "
SELECT a.state, a.wait_event
  FROM pg_catalog.pg_stat_activity a
 WHERE a.pid OPERATOR(pg_catalog.=) $1";

async fn activity(connected: &Connected, process: i32) -> Result<BackendActivity, tokio_postgres::Error> {
    let row = connected.client.query_opt(ACTIVITY, &[&process]).await?;
    let Some(row) = row else { return Ok(BackendActivity::NotAtWork("has ended".to_owned())) };
    Ok(backend_activity(row.try_get(0)?, row.try_get(1)?))
}

fn backend_activity(state: Option<&str>, wait: Option<&str>) -> BackendActivity {
    match (state, wait) {
        (_, Some(wait @ ("ClientRead" | "ClientWrite"))) => BackendActivity::NotAtWork(format!(
            "is waiting for pg-backup ({wait}): the connection has lost data"
        )),
        // The state of another role's process is NULL.
        (Some("active" | "fastpath function call" | "disabled") | None, _) => BackendActivity::AtWork,
        (Some(state), _) => BackendActivity::NotAtWork(format!("is {state}")),
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::sync::Mutex;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    /// Runs a watch with the given answers, one per query; the last answer repeats. Fails if a query comes
    /// before the limit has passed again.
    async fn watched(events: &ConnectionEvents, answers: &[BackendActivity]) -> (String, usize) {
        let asked = Mutex::new(vec![Instant::now()]);
        let ask = || -> Asking {
            let mut asked = asked.lock().unwrap();
            asked.push(Instant::now());
            Box::pin(ready(answers[(asked.len() - 2).min(answers.len() - 1)].clone()))
        };
        let reason = watch(events, LIMIT, ask).await;
        let asked = asked.into_inner().unwrap();
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= LIMIT), "{asked:?}");
        (reason, asked.len() - 1)
    }

    /// The events of a server that owes an answer from now on.
    fn silent_connection() -> ConnectionEvents {
        let events = ConnectionEvents::default();
        events.set_process(7);
        events.activity.awaits_bytes();
        events.activity.asked();
        events
    }

    #[tokio::test]
    async fn a_process_at_work_is_waited_for_and_another_is_not() {
        let idle = BackendActivity::NotAtWork("is idle".to_owned());
        let (reason, asked) =
            watched(&silent_connection(), &[BackendActivity::AtWork, BackendActivity::AtWork, idle]).await;
        assert!(asked == 3 && reason.starts_with("it has sent nothing for "), "{reason}");
        assert!(reason.ends_with(" s (BACKUP_STALL_TIMEOUT is 0 s), and process 7 is idle"), "{reason}");
        let silent = BackendActivity::Silent("no answer".to_owned());
        let (reason, asked) = watched(&silent_connection(), &[silent]).await;
        assert!(
            asked == 1 && reason.ends_with("and the state of its process cannot be queried: no answer"),
            "{reason}"
        );
        let full = BackendActivity::Refused("too many clients".to_owned());
        let (reason, asked) = watched(&silent_connection(), &[full]).await;
        assert!(asked == 3 && reason.ends_with("too many clients"), "{reason}");
    }

    #[tokio::test]
    async fn a_server_without_a_pending_answer_is_not_silent() {
        let events = ConnectionEvents::default();
        let idle = [BackendActivity::NotAtWork("is idle".to_owned())];
        let soon = || timeout(LIMIT * 5, watched(&events, &idle));
        events.activity.awaits_bytes();
        assert!(soon().await.is_err(), "nothing was asked");
        events.activity.asked();
        events.activity.received();
        assert!(soon().await.is_err(), "nobody takes what came");
        events.activity.awaits_bytes();
        assert_eq!(watched(&events, &idle).await.1, 1);
        events.activity.answered();
        assert!(soon().await.is_err(), "it was answered");
        events.activity.sent();
        events.activity.awaits_room();
        assert_eq!(watched(&events, &idle).await.1, 1, "it does not take what is sent");
        events.activity.sent();
        assert!(soon().await.is_err(), "it has taken it");
    }

    #[test]
    fn a_process_that_waits_for_us_is_not_at_work() {
        assert_eq!(backend_activity(Some("active"), None), BackendActivity::AtWork);
        assert_eq!(backend_activity(Some("active"), Some("relation")), BackendActivity::AtWork);
        assert_eq!(backend_activity(None, None), BackendActivity::AtWork);
        assert_eq!(
            backend_activity(Some("idle in transaction"), None),
            BackendActivity::NotAtWork("is idle in transaction".to_owned())
        );
        for wait in ["ClientWrite", "ClientRead"] {
            assert!(matches!(backend_activity(Some("active"), Some(wait)), BackendActivity::NotAtWork(_)));
        }
    }
}
