//! Catalog queries that a companion session runs ahead of their turn, while the dump's own session
//! runs others. Only large catalogs are worth the connection.
//!
//! Invariant: no query that runs here waits for a lock on a table; see [`companion`].
//!
//! [`companion`]: crate::protocol::companion

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_postgres::types::ToSql;

use super::collect::Collector;
use super::error::Result;
use super::query::{CatalogQuery, CatalogRow};
use crate::protocol::companion::Companions;
use crate::protocol::session::Rows;
use crate::protocol::{ProtocolError, Session};

/// With fewer relations than this all catalog queries together take about as long as connecting.
const MANY_RELATIONS: usize = 1000;

/// A query whose rows will be wanted later.
pub(super) enum Coming {
    /// The companion is at it.
    UnderWay { query: &'static CatalogQuery, task: Task<Result<Rows, ProtocolError>> },
    /// There is no companion: the dump's own session will run it.
    Later { query: &'static CatalogQuery, params: Params },
}

/// A task that ends when nobody waits for it any more.
pub(super) struct Task<T>(JoinSet<T>);

impl<T: Send + 'static> Task<T> {
    fn start(work: impl Future<Output = T> + Send + 'static) -> Self {
        let mut tasks = JoinSet::new();
        tasks.spawn(work);
        Task(tasks)
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

/// Opens the companion of a collection, if it is allowed one and has many relations. One that cannot be
/// opened is done without: connections may be scarce.
pub(super) async fn companion(
    session: &Session,
    companions: &Companions,
    relations: usize,
) -> Option<Arc<Session>> {
    if companions.most == 0 || relations < MANY_RELATIONS {
        return None;
    }
    match companions.open(session).await {
        Ok(companion) => Some(Arc::new(companion)),
        Err(error) => {
            tracing::info!(%error, "reading the catalogs over one connection, as there is no second");
            None
        }
    }
}

/// Has the companion run a query and work through its rows, all of them, as they arrive.
pub(super) fn work_through<T: Send + 'static>(
    cx: &Collector<'_>,
    query: &'static CatalogQuery,
    mut from_row: impl FnMut(CatalogRow) -> Result<T> + Send + 'static,
) -> Option<Task<Result<Vec<T>>>> {
    use futures_util::StreamExt;
    let companion = Arc::clone(cx.companion.as_ref()?);
    let sql = query.render(companion.version())?;
    let task = async move {
        let wrap = |source| query.failed(source);
        let mut rows = companion.query_stream(&sql, &[]).await.map_err(wrap)?;
        let mut all = Vec::new();
        while let Some(row) = rows.next().await {
            all.push(from_row(CatalogRow::new(query.what, row.map_err(wrap)?))?);
        }
        Ok(all)
    };
    Some(Task::start(task))
}

impl Collector<'_> {
    /// Has the companion, if there is one, run a query whose rows will be wanted later. The server
    /// works ahead until the connection's buffers are full.
    pub(super) fn ahead(&self, query: &'static CatalogQuery, params: Params) -> Coming {
        let ready = self.companion.clone().zip(query.render(self.session.version()));
        let Some((companion, sql)) = ready else { return Coming::Later { query, params } };
        let task = async move { companion.query_stream(&sql, &borrowed(&params)).await };
        Coming::UnderWay { query, task: Task::start(task) }
    }

    /// Hands over the rows of a query that was to come, each as it arrives.
    pub(super) async fn each_coming(
        &mut self,
        coming: Coming,
        take: impl FnMut(&mut Self, CatalogRow) -> Result<()>,
    ) -> Result<()> {
        match coming {
            Coming::Later { query, params } => self.each(query, &borrowed(&params), take).await,
            Coming::UnderWay { query, task } => {
                let rows = task.end().await.map_err(|source| query.failed(source))?;
                self.take_all(query, rows, take).await
            }
        }
    }
}
