//! Companion sessions: more connections like the dump's own, on its snapshot. They hold no locks on
//! the dump's tables, so whatever waits for such a lock (and may then wait behind a migration that in
//! turn waits for the dump) must not be done on them.

use super::conninfo::ConnectOptions;
use super::error::ProtocolError;
use super::session::Session;
use super::setup::SessionSetup;
use super::snapshot::Isolation;

/// How worker sessions of a session are opened, and how many may be.
#[derive(Clone, Debug)]
pub struct WorkerSessions {
    /// The server, the database and the role of the session that they accompany.
    pub connection: ConnectOptions,
    /// Its settings.
    pub setup: SessionSetup,
    /// How many may be open at a time.
    pub most: usize,
}

impl WorkerSessions {
    /// Opens one, in a transaction with the snapshot of `session`, which must be in the dump's
    /// transaction and stay in it meanwhile.
    pub async fn open(&self, session: &Session) -> Result<Session, ProtocolError> {
        let snapshot = session.export_snapshot().await?;
        let worker_session = self.connect().await?;
        // Any isolation can import the snapshot of any other but serializable, which need not be
        // asked for again: the snapshot is what was waited for.
        worker_session.begin_snapshot(Isolation::RepeatableRead, Some(&snapshot)).await?;
        Ok(worker_session)
    }

    /// Opens one that is not in a transaction yet.
    pub async fn connect(&self) -> Result<Session, ProtocolError> {
        let worker_session = Session::open(&self.connection).await?;
        worker_session.set_up(&self.setup).await?;
        Ok(worker_session)
    }
}
