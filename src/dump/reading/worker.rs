//! One session that reads tasks, in their order, and hands their rows over as they come.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};

use super::super::close;
use super::task::{RANGE_SCANS, ReadTask};
use crate::protocol::copy::{CopyChunk, Delivery};
use crate::protocol::worker_sessions::WorkerSessions;
use crate::protocol::{ProtocolError, Session, SnapshotId};

/// `lock_not_available`, and `out_of_memory`, which is also said when there is no room for a lock.
const NO_LOCK: [&str; 2] = ["55P03", "53200"];

/// What a reader has taken upon itself.
pub(super) struct ClaimedTask {
    pub(super) task: ReadTask,
    /// The task's rows.
    pub(super) chunks: mpsc::Receiver<CopyChunk>,
    /// Where a permit says that its rows are wanted next.
    pub(super) turn: Arc<Semaphore>,
    /// How it ended, once there are no more rows.
    pub(super) outcome: oneshot::Receiver<TaskOutcome>,
}

/// How a task ended.
pub(super) enum TaskOutcome {
    Done,
    /// A lock was not to be had. If no row has come, the session that has it can read instead.
    NoLock(ProtocolError),
    Failed(ProtocolError),
}

/// Where readers find tasks, and tell which they took. Claims are made in the order of the tasks.
pub(super) struct TaskQueue {
    pub(super) tasks: Mutex<mpsc::Receiver<ReadTask>>,
    pub(super) claims: mpsc::Sender<ClaimedTask>,
}

/// A session and how it may read.
pub(super) struct Worker {
    session: Arc<Session>,
    /// The dump's; absent for the dump's own session.
    snapshot: Option<SnapshotId>,
    delivery: Delivery,
}

impl Worker {
    /// The dump's own session as a reader.
    pub(super) fn leader(session: Arc<Session>, delivery: Delivery) -> Self {
        Worker { session, snapshot: None, delivery }
    }

    /// A worker of the session that has exported the snapshot.
    pub(super) async fn open(
        worker_sessions: &WorkerSessions,
        snapshot: &SnapshotId,
        delivery: Delivery,
    ) -> Result<Self, ProtocolError> {
        let session = worker_sessions.connect().await?;
        session.execute(RANGE_SCANS).await?;
        Ok(Worker { session: Arc::new(session), snapshot: Some(snapshot.clone()), delivery })
    }

    pub(super) fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Reads until there are no more tasks, nobody wants their rows, or one has failed.
    pub(super) async fn run(self, queue: Arc<TaskQueue>) {
        while self.read_one(&queue).await {}
        close(self.session).await;
    }

    async fn read_one(&self, queue: &TaskQueue) -> bool {
        // Held until the claim is made, so that claims come in order.
        let mut tasks = queue.tasks.lock().await;
        let Some(task) = tasks.recv().await else { return false };
        let sql = match &self.snapshot {
            Some(snapshot) => task.script(snapshot),
            None => task.script_for_owner(),
        };
        let (ended, outcome) = oneshot::channel();
        let turn = Arc::new(Semaphore::new(0));
        let delivery = Delivery { turn: Some(Arc::clone(&turn)), ..self.delivery.clone() };
        let copies = match self.session.copies(&sql, delivery).await {
            Ok(copies) => copies,
            Err(error) => {
                let (_, chunks) = mpsc::channel(1);
                // If nobody takes the claim, nobody wants to know.
                let _ = ended.send(TaskOutcome::Failed(error));
                let _ = queue.claims.send(ClaimedTask { task, chunks, turn, outcome }).await;
                return false;
            }
        };
        let (chunks, mut end) = copies.split();
        if queue.claims.send(ClaimedTask { task, chunks, turn, outcome }).await.is_err() {
            return false;
        }
        drop(tasks);
        let result = end.wait().await;
        drop(end);
        let outcome = match result {
            Ok(()) => TaskOutcome::Done,
            Err(error) if error.sqlstate().is_some_and(|code| NO_LOCK.contains(&code)) => {
                match self.session.execute("ROLLBACK").await {
                    Ok(()) => TaskOutcome::NoLock(error),
                    Err(broken) => TaskOutcome::Failed(broken),
                }
            }
            Err(error) => TaskOutcome::Failed(error),
        };
        let goes_on = !matches!(outcome, TaskOutcome::Failed(_));
        ended.send(outcome).is_ok() && goes_on
    }
}
