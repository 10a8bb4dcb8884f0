//! Catalog queries that a worker session runs ahead of their turn, while the dump's own session
//! runs others. Only large catalogs are worth the connection.
//!
//! Invariant: no query that runs here waits for a lock on a table; see [`worker_session`].
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

/// With fewer relations than this all catalog queries together take about as long as connecting.
const MANY_RELATIONS: usize = 1000;

/// A query whose rows will be wanted later.
pub(super) enum PendingQuery {
    /// The worker is running it.
    UnderWay { query: &'static CatalogQuery, task: AbortOnDrop<Result<Rows, ProtocolError>> },
    /// There is no worker: the dump's own session will run it.
    Later { query: &'static CatalogQuery, params: Params },
}

/// A task that ends when nobody waits for it any more.
pub(super) struct AbortOnDrop<T>(JoinSet<T>);

impl<T: Send + 'static> AbortOnDrop<T> {
    fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(work);
        AbortOnDrop(tasks)
    }

    /// Waits for what it comes to.
    pub(super) async fn end(self) -> T {
        let [end] = <[T; 1]>::try_from(self.0.join_all().await).ok().expect("one task was started");
        end
    }
}

/// Parameters that go to another task.
pub(super) type Params = Vec<Box<dyn ToSql + Sync + Send>>;

fn borrowed(params: &Params) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|param| param.as_ref() as &(dyn ToSql + Sync)).collect()
}

/// Opens the worker of a collection, if it is allowed one and has many relations. One that cannot be
/// opened is done without: connections may be scarce.
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

/// Has the worker run a query and work through its rows, all of them, as they arrive.
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
    /// Has the worker, if there is one, run a query whose rows will be wanted later. The server
    /// works ahead until the connection's buffers are full.
    pub(super) fn ahead(&self, query: &'static CatalogQuery, params: Params) -> PendingQuery {
        let ready = self.worker_session.clone().zip(query.render(self.session.version()));
        let Some((worker_session, sql)) = ready else { return PendingQuery::Later { query, params } };
        let task = async move { worker_session.catalog_stream(&sql, &borrowed(&params)).await };
        PendingQuery::UnderWay { query, task: AbortOnDrop::start(task) }
    }

    /// Hands over the rows of a query that was to come, each as it arrives.
    pub(super) async fn each_coming(
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
