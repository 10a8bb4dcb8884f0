//! Reads rows ahead over several connections on the dump's snapshot, and writes them in the order of the
//! dump.
//!
//! [`prefetch`] walks the script and splits the coming data into [`task`]s: several small tables, or a part
//! of a large one. Each idle [`worker`] takes the next task. Rows are taken from the workers in the order of
//! the tasks, so the dump is the same for any number of workers.
//!
//! A worker holds a lock only for the duration of a task. The leader, which holds all locks, reads the tables
//! that a worker cannot lock at once, and all data other than plain table rows. A worker therefore never
//! queues behind a session that waits for the dump. A small dump is read by the leader only.
//!
//! Invariant: the earliest missing rows are always being read, by a session that waits for nothing except
//! room for them.
//!
//! # Memory
//! `workers × (window + 2 × chunk + read buffer)`, where `window` and `chunk` are [`ReadOptions`]'s and the
//! read buffer is [`READ_BUFFER`](crate::protocol::copy::READ_BUFFER); in addition [`prefetch::TEXT`] bytes
//! of text. A row larger than the window is read only when its rows are next and the window is empty; at most
//! one such row is in memory at a time.

mod prefetch;
mod task;
mod worker;

use std::num::NonZeroUsize;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;

use super::data::DataError;
use crate::pipeline::DumpWriter;
use crate::protocol::buffers::BufferPool;
use crate::protocol::copy::{CopyOut, Delivery, Window};
use crate::protocol::worker_sessions::WorkerSessions;
use crate::protocol::{Canceller, ProtocolError, Session};
use crate::sql::DumpPlan;
pub(super) use prefetch::{PlannedPiece, Prefetcher};
use task::ReadTask;
use worker::{ClaimedTask, TaskOutcome, TaskQueue, Worker};

/// How rows are read. This takes `jobs × (window + 2 × chunk + 128 KiB)` of memory.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// The number of connections that read, at least 1. With 1, the leader reads; with more, workers read.
    pub jobs: NonZeroUsize,
    /// The size in bytes of the buffered rows of each connection.
    pub window: usize,
    /// The size in bytes of the chunks in which rows are passed on.
    pub chunk_size: usize,
}

/// For dumps below both limits (bytes and tables), opening workers takes as long as reading.
const MUCH_DATA: u64 = 16 << 20;
const MANY_TABLES: u64 = 500;

/// The maximum number of buffered chunks of a task. The chunks of small tables are small.
const MOST_CHUNKS: usize = 64;

impl ReadOptions {
    /// Returns options for the program's memory limit: an eighth of it for buffered rows, see
    /// [`PipelineOptions::within`](crate::pipeline::PipelineOptions::within).
    pub fn within(limit: u64, jobs: NonZeroUsize) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let window = (limit / 8 / jobs).clamp(256 << 10, 4 << 20);
        let chunk_size = (limit / 64).clamp(64 << 10, 1 << 20).min(window / 2);
        ReadOptions { jobs, window, chunk_size }
    }

    /// Returns the approximate size of the parts of large tables. A worker can finish such a part before its
    /// rows are next.
    pub(super) fn part_size(&self) -> u64 {
        self.window as u64 / 4 * 3
    }

    fn delivery(&self) -> Delivery {
        let buffers = BufferPool::new(self.window / self.chunk_size + 2, self.chunk_size / 8 * 9);
        let window = Some(Window::new(self.window));
        Delivery { chunk_size: self.chunk_size, most: MOST_CHUNKS, window, gate: None, buffers }
    }
}

/// The workers of a dump, and the rows that they read.
pub(super) struct DumpWorkers {
    session: Arc<Session>,
    leader_reads: bool,
    delivery: Delivery,
    tasks: mpsc::Sender<ReadTask>,
    claims: mpsc::Receiver<ClaimedTask>,
    running: JoinSet<()>,
    cancellers: Vec<Canceller>,
    current: Option<Current>,
}

/// The task whose rows are being written.
struct Current {
    shares: usize,
    has_rows: bool,
    source: RowSource,
}

enum RowSource {
    Worker(ClaimedTask),
    Leader(CopyOut),
}

impl DumpWorkers {
    /// Opens as many workers as the plan justifies. If one cannot be opened, the dump uses fewer, because
    /// connections may be scarce.
    pub(super) async fn open(
        session: &Arc<Session>,
        worker_sessions: &WorkerSessions,
        options: &ReadOptions,
        plan: &DumpPlan,
    ) -> Result<DumpWorkers, ProtocolError> {
        let amount = plan.amount_of_data();
        let is_worth_it = amount.bytes >= MUCH_DATA || amount.tables >= MANY_TABLES;
        let mut workers = Vec::new();
        if options.jobs.get() > 1 && is_worth_it {
            let snapshot = session.export_snapshot().await?;
            for _ in 0..options.jobs.get() {
                match Worker::open(worker_sessions, &snapshot, options.delivery()).await {
                    Ok(worker) => workers.push(worker),
                    Err(error) => {
                        let workers = workers.len();
                        tracing::info!(%error, workers, "reading over fewer connections than requested");
                        break;
                    }
                }
            }
        }
        let leader_reads = workers.is_empty();
        let cancellers = workers.iter().map(|worker| worker.session().canceller()).collect();
        if leader_reads {
            workers.push(Worker::leader(Arc::clone(session), options.delivery()));
        }
        let (tasks, waiting) = mpsc::channel(2 * workers.len());
        let (claim, claims) = mpsc::channel(2 * workers.len());
        let queue = Arc::new(TaskQueue { tasks: Mutex::new(waiting), claims: claim });
        let mut running = JoinSet::new();
        for worker in workers {
            running.spawn(worker.run(Arc::clone(&queue)));
        }
        let (session, delivery) = (Arc::clone(session), options.delivery());
        Ok(DumpWorkers { session, leader_reads, delivery, tasks, claims, running, cancellers, current: None })
    }

    /// Returns the cancellers of the workers' statements.
    pub(super) fn cancellers(&self) -> Vec<Canceller> {
        self.cancellers.clone()
    }

    /// Writes the rows of the next table or part, whose task must have been queued.
    async fn write_share(&mut self, writer: &mut DumpWriter) -> Result<(), DataError> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None => {
                    let claim = self.claims.recv().await.ok_or(DataError::WorkerDied)?;
                    let shares = claim.task.shares();
                    claim.gate.add_permits(1);
                    self.current.insert(Current { shares, has_rows: false, source: RowSource::Worker(claim) })
                }
            };
            let chunk = match &mut current.source {
                RowSource::Worker(claim) => claim.chunks.recv().await,
                RowSource::Leader(copies) => copies.next_chunk().await?,
            };
            let Some(chunk) = chunk else {
                self.end_early().await?;
                continue;
            };
            current.has_rows = true;
            let is_last = chunk.is_last;
            writer.rows(Bytes::from(chunk.data), chunk.rows).await?;
            if is_last {
                current.shares -= 1;
                return if current.shares == 0 { self.end_task().await } else { Ok(()) };
            }
        }
    }

    /// Handles a task whose rows ended too early: the leader reads it if the worker could not lock a table.
    async fn end_early(&mut self) -> Result<(), DataError> {
        let Some(Current { shares, has_rows, source: RowSource::Worker(claim) }) = self.current.take() else {
            return Err(DataError::Incomplete);
        };
        match claim.outcome.await {
            Ok(TaskOutcome::NoLock(error)) if !has_rows => {
                tracing::info!(%error, "reading over the connection that holds the locks");
                let sql = claim.task.leader_script();
                let copies = self.session.copies(&sql, self.delivery.clone()).await?;
                self.current = Some(Current { shares, has_rows, source: RowSource::Leader(copies) });
                Ok(())
            }
            Ok(TaskOutcome::NoLock(error) | TaskOutcome::Failed(error)) => Err(DataError::Read(error)),
            Ok(TaskOutcome::Done) => Err(DataError::Incomplete),
            Err(_) => Err(DataError::WorkerDied),
        }
    }

    /// Waits for the outcome of a task whose rows are complete; its statements may still fail.
    async fn end_task(&mut self) -> Result<(), DataError> {
        let Some(current) = self.current.take() else { return Ok(()) };
        match current.source {
            RowSource::Worker(claim) => match claim.outcome.await {
                Ok(TaskOutcome::Done) => Ok(()),
                Ok(TaskOutcome::NoLock(error) | TaskOutcome::Failed(error)) => Err(DataError::Read(error)),
                Err(_) => Err(DataError::WorkerDied),
            },
            RowSource::Leader(mut copies) => match copies.next_chunk().await? {
                None => Ok(()),
                Some(_) => Err(DataError::Incomplete),
            },
        }
    }

    /// Waits until all workers have closed their connections.
    async fn close(self) -> Result<(), DataError> {
        let DumpWorkers { tasks, claims, mut running, .. } = self;
        drop((tasks, claims));
        while let Some(end) = running.join_next().await {
            end.map_err(|_| DataError::WorkerDied)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_and_chunks_fit_the_limit() {
        for (limit, jobs) in [(32 << 20, 1), (64 << 20, 2), (64 << 20, 8), (256 << 20, 4), (64 << 20, 64)] {
            let jobs = NonZeroUsize::new(jobs).expect("it is not 0");
            let ReadOptions { window, chunk_size, .. } = ReadOptions::within(limit, jobs);
            assert!(chunk_size >= 64 << 10 && 2 * chunk_size <= window, "{window} {chunk_size}");
            let total = jobs.get() * window;
            assert!(total as u64 <= limit / 8 || window == 256 << 10, "{total} for {jobs} jobs");
        }
    }
}
