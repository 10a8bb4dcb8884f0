//! A limit on standing still. When a server that owes an answer has sent nothing for a while, it is asked over another
//! connection whether the session's process is still at work: a lock, a serializable snapshot or a slow function
//! may take hours. If it is not at work, or the server does not answer, the session is given up.
//!
//! Waiting for whoever takes the rows (a slow store) is not standing still, see [`Activity`](super::wire).

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connect::{Connected, HostRoute};
use super::error::{ProtocolError, describe};
use super::wire::ConnectionEvents;

/// The limit unless something else is said (`BACKUP_STALL_TIMEOUT`).
pub const STALL_TIMEOUT: Duration = Duration::from_secs(600);

/// The longest that the server may take to say what its process does.
const ANSWER: Duration = Duration::from_secs(30);

/// How often a server that answers may fail to say it (it is full, or starts) before the session is given up.
const REFUSALS: u32 = 3;

/// What the server's process does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum BackendActivity {
    AtWork,
    /// It waits for this side, or is not there; the text goes on after "and process 7 ".
    NotAtWork(String),
    /// The server answers, but refuses to say.
    Refused(String),
    /// The server does not answer.
    Silent(String),
}

/// Ends, and says why, when the session is to be given up.
pub(super) async fn stalled(heard: Arc<ConnectionEvents>, route: HostRoute) -> String {
    let Some(limit) = route.stall_timeout() else { return pending().await };
    let asked = Arc::clone(&heard);
    let ask = move || look(route.clone(), asked.process(), limit.min(ANSWER));
    watch(&heard, limit, ask).await
}

async fn watch(heard: &ConnectionEvents, limit: Duration, ask: impl Fn() -> Asking) -> String {
    let silent_since = || heard.activity.silent_since();
    let (mut asked, mut refusals) = (None, 0);
    loop {
        let Some(since) = silent_since() else {
            sleep(limit).await;
            continue;
        };
        // A process that was at work is asked about again when the limit is over once more.
        if since.max(asked.unwrap_or(since)) + limit > Instant::now() {
            sleep_until(since.max(asked.unwrap_or(since)) + limit).await;
            continue;
        }
        let after = since.elapsed().as_secs();
        let finding = ask().await;
        if silent_since() != Some(since) {
            // Something has moved meanwhile.
            continue;
        }
        asked = Some(Instant::now());
        let process = heard.process();
        let why = match finding {
            BackendActivity::AtWork => {
                refusals = 0;
                tracing::info!(
                    process,
                    silent_seconds = after,
                    "the server sends nothing, but its process is at work"
                );
                continue;
            }
            BackendActivity::Refused(why) if refusals + 1 < REFUSALS => {
                refusals += 1;
                tracing::warn!(
                    process,
                    silent_seconds = after,
                    "cannot ask the server what its process does: {why}"
                );
                continue;
            }
            BackendActivity::NotAtWork(what) => format!("process {process} {what}"),
            BackendActivity::Refused(why) | BackendActivity::Silent(why) => {
                format!("it cannot be asked why: {why}")
            }
        };
        return format!(
            "it has sent nothing for {after} s (BACKUP_STALL_TIMEOUT is {} s), and {why}",
            limit.as_secs()
        );
    }
}

/// A boxed future, since the session that asks has a connection task of its own, which is of the same kind as the asker.
type Asking = Pin<Box<dyn Future<Output = BackendActivity> + Send>>;

/// Asks the server what a process of it does.
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

/// The states are columns of type text.
const ACTIVITY: &str = "
SELECT a.state, a.wait_event
  FROM pg_catalog.pg_stat_activity a
 WHERE a.pid OPERATOR(pg_catalog.=) $1";

async fn activity(connected: &Connected, process: i32) -> Result<BackendActivity, tokio_postgres::Error> {
    let row = connected.client.query_opt(ACTIVITY, &[&process]).await?;
    let Some(row) = row else { return Ok(BackendActivity::NotAtWork("has ended".to_owned())) };
    Ok(judge(row.try_get(0)?, row.try_get(1)?))
}

fn judge(state: Option<&str>, wait: Option<&str>) -> BackendActivity {
    match (state, wait) {
        (_, Some(wait @ ("ClientRead" | "ClientWrite"))) => {
            BackendActivity::NotAtWork(format!("waits for pg-backup ({wait}): the connection has lost data"))
        }
        // Another role's process does not show its state.
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

    /// A watch whose questions are answered so, one after the other; the last answer holds. No question comes before
    /// the limit is over anew.
    async fn watched(heard: &ConnectionEvents, answers: &[BackendActivity]) -> (String, usize) {
        let asked = Mutex::new(vec![Instant::now()]);
        let ask = || -> Asking {
            let mut asked = asked.lock().unwrap();
            asked.push(Instant::now());
            Box::pin(ready(answers[(asked.len() - 2).min(answers.len() - 1)].clone()))
        };
        let reason = watch(heard, LIMIT, ask).await;
        let asked = asked.into_inner().unwrap();
        assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= LIMIT), "{asked:?}");
        (reason, asked.len() - 1)
    }

    /// Of a server that owes an answer from now on.
    fn owing() -> ConnectionEvents {
        let heard = ConnectionEvents::default();
        heard.set_process(7);
        heard.activity.awaits_bytes();
        heard.activity.asked();
        heard
    }

    #[tokio::test]
    async fn a_process_at_work_is_waited_for_and_another_is_not() {
        let idle = BackendActivity::NotAtWork("is idle".to_owned());
        let (reason, asked) =
            watched(&owing(), &[BackendActivity::AtWork, BackendActivity::AtWork, idle]).await;
        assert!(asked == 3 && reason.starts_with("it has sent nothing for "), "{reason}");
        assert!(reason.ends_with(" s (BACKUP_STALL_TIMEOUT is 0 s), and process 7 is idle"), "{reason}");
        let silent = BackendActivity::Silent("no answer".to_owned());
        let (reason, asked) = watched(&owing(), &[silent]).await;
        assert!(asked == 1 && reason.ends_with("and it cannot be asked why: no answer"), "{reason}");
        let full = BackendActivity::Refused("too many clients".to_owned());
        let (reason, asked) = watched(&owing(), &[full]).await;
        assert!(asked == 3 && reason.ends_with("too many clients"), "{reason}");
    }

    #[tokio::test]
    async fn who_owes_nothing_is_not_silent() {
        let heard = ConnectionEvents::default();
        let idle = [BackendActivity::NotAtWork("is idle".to_owned())];
        let soon = || timeout(LIMIT * 5, watched(&heard, &idle));
        heard.activity.awaits_bytes();
        assert!(soon().await.is_err(), "nothing was asked");
        heard.activity.asked();
        heard.activity.received();
        assert!(soon().await.is_err(), "nobody takes what came");
        heard.activity.awaits_bytes();
        assert_eq!(watched(&heard, &idle).await.1, 1);
        heard.activity.answered();
        assert!(soon().await.is_err(), "it was answered");
        heard.activity.sent();
        heard.activity.awaits_room();
        assert_eq!(watched(&heard, &idle).await.1, 1, "it does not take what is sent");
        heard.activity.sent();
        assert!(soon().await.is_err(), "it has taken it");
    }

    #[test]
    fn a_process_that_waits_for_us_is_not_at_work() {
        assert_eq!(judge(Some("active"), None), BackendActivity::AtWork);
        assert_eq!(judge(Some("active"), Some("relation")), BackendActivity::AtWork);
        assert_eq!(judge(None, None), BackendActivity::AtWork);
        assert_eq!(
            judge(Some("idle in transaction"), None),
            BackendActivity::NotAtWork("is idle in transaction".to_owned())
        );
        for wait in ["ClientWrite", "ClientRead"] {
            assert!(matches!(judge(Some("active"), Some(wait)), BackendActivity::NotAtWork(_)));
        }
    }
}
