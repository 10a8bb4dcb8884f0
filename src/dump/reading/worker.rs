//! One session that reads tasks in their order and passes their rows on.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};

use super::super::close;
use super::task::{RANGE_SCANS, ReadTask};
use crate::protocol::copy::{CopyChunk, Delivery};
use crate::protocol::worker_sessions::WorkerSessions;
use crate::protocol::{ProtocolError, Session, SnapshotId};

/// `lock_not_available`, and `out_of_memory`, which the server also reports when its lock table is full.
const NO_LOCK: [&str; 2] = ["55P03", "53200"];

/// A task that a worker has claimed.
pub(super) struct ClaimedTask {
    pub(super) task: ReadTask,
    /// The task's rows.
    pub(super) chunks: mpsc::Receiver<CopyChunk>,
    /// Receives a permit when the rows of this task are next.
    pub(super) gate: Arc<Semaphore>,
    /// The outcome, available after the last row.
    pub(super) outcome: oneshot::Receiver<TaskOutcome>,
}

/// How a task ended.
pub(super) enum TaskOutcome {
    Done,
    /// A lock was not available. If no rows have been written, the leader, which holds the lock, can read
    /// instead.
    NoLock(ProtocolError),
    Failed(ProtocolError),
}

/// The queue of tasks, and the channel of claims. Workers send claims in the order of the tasks.
pub(super) struct TaskQueue {
    pub(super) tasks: Mutex<mpsc::Receiver<ReadTask>>,
    pub(super) claims: mpsc::Sender<ClaimedTask>,
}

/// A session that reads tasks.
pub(super) struct Worker {
    session: Arc<Session>,
    /// The dump's snapshot; `None` for the leader.
    snapshot: Option<SnapshotId>,
    delivery: Delivery,
}

impl Worker {
    /// Lets the leader's session read tasks.
    pub(super) fn leader(session: Arc<Session>, delivery: Delivery) -> Self {
        Worker { session, snapshot: None, delivery }
    }

    /// Opens a worker on the snapshot that the leader exported.
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

    /// Reads tasks until none are left, the receiver is dropped, or a task fails.
    pub(super) async fn run(self, queue: Arc<TaskQueue>) {
        while self.read_one(&queue).await {}
        close(self.session).await;
    }

    async fn read_one(&self, queue: &TaskQueue) -> bool {
        // Keep the lock until the claim is sent, so that claims arrive in order.
        let mut tasks = queue.tasks.lock().await;
        let Some(task) = tasks.recv().await else { return false };
        let sql = match &self.snapshot {
            Some(snapshot) => task.script(snapshot),
            None => task.leader_script(),
        };
        let (ended, outcome) = oneshot::channel();
        let gate = Arc::new(Semaphore::new(0));
        let delivery = Delivery { gate: Some(Arc::clone(&gate)), ..self.delivery.clone() };
        let copies = match self.session.copies(&sql, delivery).await {
            Ok(copies) => copies,
            Err(error) => {
                let (_, chunks) = mpsc::channel(1);
                // If the claim has no receiver, the outcome does not matter.
                let _ = ended.send(TaskOutcome::Failed(error));
                let _ = queue.claims.send(ClaimedTask { task, chunks, gate, outcome }).await;
                return false;
            }
        };
        let (chunks, mut end) = copies.split();
        if queue.claims.send(ClaimedTask { task, chunks, gate, outcome }).await.is_err() {
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
