//! Catalog queries that a worker session runs in advance while the dump's own session runs other queries. The
//! extra connection is opened only for large catalogs.
//!
//! Invariant: no query on the worker session waits for a lock on a table; see [`worker_session`].
//!
//! [`worker_session`]: crate::protocol::worker_sessions

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;

use super::collect::Collector;
use super::error::Result;
use super::query::{CatalogQuery, CatalogRow};
use crate::protocol::session::Rows;
use crate::protocol::worker_sessions::WorkerSessions;
use crate::protocol::{ProtocolError, Session};

/// For fewer relations, all catalog queries together take about as long as opening a connection.
const MANY_RELATIONS: usize = 1000;

/// A query whose rows are needed later.
pub(super) enum PendingQuery {
    /// The worker session is running the query.
    UnderWay { query: &'static CatalogQuery, task: AbortOnDrop<Result<Rows, ProtocolError>> },
    /// No worker session is open; the dump's own session runs the query later.
    Later { query: &'static CatalogQuery, params: Params },
}

/// A task that is aborted when it is dropped.
pub(super) struct AbortOnDrop<T>(JoinSet<T>);

impl<T: Send + 'static> AbortOnDrop<T> {
    fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(work);
        AbortOnDrop(tasks)
    }

    /// Waits for the task's result.
    pub(super) async fn end(self) -> T {
        let [end] = <[T; 1]>::try_from(self.0.join_all().await).ok().expect("one task was started");
        end
    }
}

/// Parameters that can be moved to another task.
pub(super) type Params = Vec<Box<dyn ToSql + Sync + Send>>;

fn borrowed(params: &Params) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| param.as_ref() as &(dyn ToSql + Sync)).collect()
}

/// Opens the worker session of a collection, if one is allowed and the catalog has many relations. Returns
/// `None` if the connection fails, for example because no connection slot is free.
pub(super) async fn worker_session(
    session: &Session,
    worker_sessions: &WorkerSessions,
    relations: usize,
) -> Option<Arc<Session>> {
    if worker_sessions.most == 0 || relations < MANY_RELATIONS {
        return None;
    }
    match worker_sessions.open(session).await {
        Ok(worker_session) => Some(Arc::new(worker_session)),
        Err(error) => {
            tracing::info!(%error, "reading the catalogs over one connection, as there is no second");
            None
        }
    }
}

/// Runs a query on the worker session and converts each row as it arrives; returns `None` without a worker
/// session.
pub(super) fn spawn_query<T: Send + 'static>(
    cx: &Collector<'_>,
    query: &'static CatalogQuery,
    mut from_row: impl FnMut(CatalogRow) -> Result<T> + Send + 'static,
) -> Option<AbortOnDrop<Result<Vec<T>>>> {
    use futures_util::StreamExt;
    let worker_session = Arc::clone(cx.worker_session.as_ref()?);
    let sql = query.render(worker_session.version())?;
    let task = async move {
        let wrap = |source| query.failed(source);
        let mut rows = worker_session.catalog_stream(&sql, &[]).await.map_err(wrap)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().await {
            all.push(from_row(CatalogRow::new(query.what, row.map_err(wrap)?))?);
        }
        Ok(all)
    };
    Some(AbortOnDrop::start(task))
}

impl Collector<'_> {
    /// Starts a query on the worker session, if one is open; its rows are needed later. The server sends rows
    /// until the connection's buffers are full.
    pub(super) fn start_query(&self, query: &'static CatalogQuery, params: Params) -> PendingQuery {
        let ready = self.worker_session.clone().zip(query.render(self.session.version()));
        let Some((worker_session, sql)) = ready else { return PendingQuery::Later { query, params } };
        let task = async move { worker_session.catalog_stream(&sql, &borrowed(&params)).await };
        PendingQuery::UnderWay { query, task: AbortOnDrop::start(task) }
    }

    /// Passes each row of a pending query to `take` as it arrives.
    pub(super) async fn each_pending(
        &mut self,
        coming: PendingQuery,
        take: impl FnMut(&mut Self, CatalogRow) -> Result<()>,
    ) -> Result<()> {
        match coming {
            PendingQuery::Later { query, params } => self.each(query, &borrowed(&params), take).await,
            PendingQuery::UnderWay { query, task } => {
                let rows = task.end().await.map_err(|source| query.failed(source))?;
                self.take_all(query, rows, take).await
            }
        }
    }
}
