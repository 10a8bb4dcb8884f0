//! The dump's transaction: read only, with one snapshot, which other sessions share by its id.

use std::fmt;

use super::error::ProtocolError;
use super::session::Session;
use super::setup::literal;

/// The isolation level of the dump's transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// `REPEATABLE READ`: one snapshot.
    #[default]
    RepeatableRead,
    /// `--serializable-deferrable`: waits for a snapshot that is free of serialization anomalies.
    SerializableDeferrable,
}

/// An exported snapshot's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotId(String);

impl SnapshotId {
    /// Accepts only the format of `pg_export_snapshot`: hexadecimal digits and dashes.
    ///
    /// Anything else is rejected, because the server uses the id as a file name.
    pub fn parse(text: &str) -> Result<Self, ProtocolError> {
        let valid = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if valid {
            Ok(SnapshotId(text.to_owned()))
        } else {
            Err(ProtocolError::Argument(format!("invalid snapshot identifier: \"{text}\"")))
        }
    }
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The position in the write-ahead log, and the time, at which the snapshot was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotPosition {
    /// Every transaction that committed before this position is in the snapshot. Replay from here on misses
    /// nothing.
    pub lsn: String,
    /// No transaction that committed after this position is in the snapshot.
    pub lsn_after: String,
    /// The server's time in UTC, RFC 3339.
    pub time: String,
}

/// A dump's transaction that has begun and has no snapshot yet. A lock acquired now is older than the
/// snapshot, so the locked objects cannot change before the snapshot is taken.
#[derive(Debug)]
pub struct BeforeSnapshot {
    position: LogPosition,
}

impl Session {
    /// Begins the dump's transaction, with a new snapshot or an exported one.
    ///
    /// The position is `None` for an exported snapshot, because that was taken at another time.
    pub async fn begin_snapshot(
        &self,
        isolation: Isolation,
        import: Option<&SnapshotId>,
    ) -> Result<Option<SnapshotPosition>, ProtocolError> {
        let begun = self.begin(isolation, import.is_some()).await?;
        match import {
            Some(id) => {
                self.execute(&format!("SET TRANSACTION SNAPSHOT {}", literal(&id.0)))
                    .await
                    .map_err(|e| e.during(format!("importing snapshot {id}")))?;
                Ok(None)
            }
            None => Ok(Some(self.take_snapshot(begun).await?)),
        }
    }

    /// Begins the dump's transaction without a snapshot. Its first query takes the snapshot; `LOCK TABLE`
    /// does not (<https://www.postgresql.org/docs/current/sql-lock.html>).
    pub async fn begin(&self, isolation: Isolation, imports: bool) -> Result<BeforeSnapshot, ProtocolError> {
        // Read before the transaction and its snapshot, as the lower bound.
        let position = self.log_position().await?;
        // The deferrable wait ended when the snapshot was exported, and a deferrable transaction cannot
        // import a snapshot.
        let level = match isolation {
            Isolation::SerializableDeferrable if !imports => "SERIALIZABLE, READ ONLY, DEFERRABLE",
            _ => "REPEATABLE READ, READ ONLY",
        };
        self.execute(&format!("BEGIN; SET TRANSACTION ISOLATION LEVEL {level}"))
            .await
            .map_err(|e| e.during("beginning the dump's transaction"))?;
        Ok(BeforeSnapshot { position })
    }

    /// Takes the snapshot of a transaction that has begun.
    pub async fn take_snapshot(&self, begun: BeforeSnapshot) -> Result<SnapshotPosition, ProtocolError> {
        // This first query of the transaction takes the snapshot.
        let after = self.log_position().await?;
        Ok(SnapshotPosition { lsn: begun.position.lsn, lsn_after: after.lsn, time: after.time })
    }

    /// Exports the transaction's snapshot to other sessions, until the transaction ends.
    pub async fn export_snapshot(&self) -> Result<SnapshotId, ProtocolError> {
        let rows = self
            .query("SELECT pg_catalog.pg_export_snapshot()", &[])
            .await
            .map_err(|e| e.during("exporting the snapshot"))?;
        match rows.first().map(|row| row.try_get::<_, String>(0)) {
            Some(Ok(id)) => SnapshotId::parse(&id),
            _ => Err(ProtocolError::Unexpected("the server returned no snapshot ID".to_owned())),
        }
    }

    /// Commits the dump's transaction, and fails if the transaction has failed.
    ///
    /// COMMIT of a failed transaction rolls back without an error. Therefore a query, which returns an error
    /// in a failed transaction, is run first.
    pub async fn commit(&self) -> Result<(), ProtocolError> {
        self.query("SELECT 1", &[]).await.map_err(|e| e.during("ending the dump's transaction"))?;
        self.execute("COMMIT").await.map_err(|e| e.during("ending the dump's transaction"))
    }

    async fn log_position(&self) -> Result<LogPosition, ProtocolError> {
        let rows = self
            .query(POSITION, &[])
            .await
            .map_err(|e| e.during("reading the write-ahead log's position"))?;
        let row = rows.first();
        let text = |column: usize| row.and_then(|row| row.try_get::<_, String>(column).ok());
        match (text(0), text(1)) {
            (Some(lsn), Some(time)) => Ok(LogPosition { lsn, time }),
            _ => Err(ProtocolError::Unexpected("the server returned no write-ahead log position".to_owned())),
        }
    }
}

#[derive(Debug)]
struct LogPosition {
    lsn: String,
    time: String,
}

/// The position is the replay position on a standby and the insert position on a primary.
const POSITION: &str = "
SELECT pg_catalog.textin(pg_catalog.pg_lsn_out(
           CASE WHEN pg_catalog.pg_is_in_recovery()
                THEN COALESCE(pg_catalog.pg_last_wal_replay_lsn(), '0/0')
                ELSE pg_catalog.pg_current_wal_insert_lsn()
           END)),
       pg_catalog.to_char(pg_catalog.clock_timestamp() AT TIME ZONE 'UTC',
                          'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_snapshot_ids_are_accepted() {
        assert_eq!(SnapshotId::parse("00000003-0000001B-1").unwrap().to_string(), "00000003-0000001B-1");
        for bad in ["", "x", "../etc", "1'; DROP", "1 2"] {
            assert!(SnapshotId::parse(bad).is_err(), "{bad}");
        }
    }
}
