//! Worker sessions: additional connections with the settings and the snapshot of the dump's session.
//!
//! They hold no locks on the dump's tables. Therefore they must not run anything that waits for such a lock:
//! it could queue behind a migration that itself waits for the dump.

use super::conninfo::ConnectOptions;
use super::error::ProtocolError;
use super::session::Session;
use super::setup::SessionSetup;
use super::snapshot::Isolation;

/// How to open a session's worker sessions, and their maximum number.
#[derive(Clone, Debug)]
pub struct WorkerSessions {
    /// The server, database and role of the main session.
    pub connection: ConnectOptions,
    /// The settings of the main session.
    pub setup: SessionSetup,
    /// Maximum number of worker sessions open at a time.
    pub most: usize,
}

impl WorkerSessions {
    /// Opens a worker session in a transaction with the snapshot of `session`, which must stay in the dump's
    /// transaction during the call.
    pub async fn open(&self, session: &Session) -> Result<Session, ProtocolError> {
        let snapshot = session.export_snapshot().await?;
        let worker_session = self.connect().await?;
        // A transaction of any isolation level except serializable can import the snapshot of any other.
        // Serializable is not needed here, because the deferrable wait was for this snapshot.
        worker_session.begin_snapshot(Isolation::RepeatableRead, Some(&snapshot)).await?;
        Ok(worker_session)
    }

    /// Opens a worker session without a transaction.
    pub async fn connect(&self) -> Result<Session, ProtocolError> {
        let worker_session = Session::open(&self.connection).await?;
        worker_session.set_up(&self.setup).await?;
        Ok(worker_session)
    }
}
