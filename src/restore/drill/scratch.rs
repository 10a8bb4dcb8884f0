//! A database that a drill creates and drops again.
//!
//! Invariant: a drill drops only a database that it created. The database is identified by its OID, not only
//! by its name, and the name is random.

use super::super::own_statement::quoted;
use super::super::target::create_elsewhere;
use crate::archive::toc_file::TocFile;
use crate::protocol::{ConnectOptions, ProtocolError, Session};

/// The prefix of the names of all scratch databases.
pub const PREFIX: &str = "pg_backup_drill_";

/// A database that this process created.
#[derive(Debug)]
pub struct Scratch {
    sandbox: ConnectOptions,
    name: String,
    oid: u32,
}

/// Why a scratch database could not be created or dropped.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The system returned no random bytes for a name.
    #[error("no name for a scratch database")]
    Name(#[from] getrandom::Error),
    /// The database could not be created.
    #[error(
        "cannot create database \"{name}\" on the sandbox\nHINT: the role needs CREATEDB, and the server must have the locale of the dumped database"
    )]
    Create {
        /// Its name.
        name: String,
        /// The server's error.
        source: ProtocolError,
    },
    /// The database could not be dropped.
    #[error(
        "cannot drop database \"{name}\" on the sandbox\nHINT: drop it manually; it was created by a drill"
    )]
    Drop {
        /// Its name.
        name: String,
        /// The server's error.
        source: ProtocolError,
    },
}

/// Returns a name that cannot be guessed: 64 random bits after [`PREFIX`].
pub fn new_name() -> Result<String, getrandom::Error> {
    Ok(format!("{PREFIX}{:016x}", getrandom::u64()?))
}

/// Returns the dumped database's `CREATE DATABASE` with another name.
fn create_statement(toc: &TocFile, encoding: Option<&str>, name: &str) -> String {
    let name = quoted(name);
    create_elsewhere(&toc.database, &name).unwrap_or_else(|| {
        let encoding = encoding.map(|encoding| format!(" ENCODING '{}'", encoding.replace('\'', "''")));
        format!("CREATE DATABASE {name} TEMPLATE template0{}", encoding.unwrap_or_default())
    })
}

impl Scratch {
    /// Creates a database like the dumped one. The name must not exist. Creation is not cancelled midway: it
    /// would then be unknown whether there is a database to drop.
    pub async fn create(
        sandbox: &ConnectOptions,
        name: &str,
        toc: &TocFile,
        encoding: Option<&str>,
    ) -> Result<Scratch, ScratchError> {
        let failed = |source| ScratchError::Create { name: name.to_owned(), source };
        let session = open(sandbox).await.map_err(failed)?;
        session.execute(&create_statement(toc, encoding, name)).await.map_err(failed)?;
        let oid = oid_of(&session, name).await.map_err(failed)?;
        session.close().await;
        let gone = || failed(ProtocolError::Unexpected("it does not exist after CREATE DATABASE".to_owned()));
        let oid = oid.ok_or_else(gone)?;
        Ok(Scratch { sandbox: sandbox.clone(), name: name.to_owned(), oid })
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the options to connect to it.
    pub fn connection(&self) -> ConnectOptions {
        self.sandbox.with_database(&self.name)
    }

    /// Drops it, even if sessions are connected to it.
    pub async fn drop(self) -> Result<(), ScratchError> {
        self.try_drop().await.map_err(|source| ScratchError::Drop { name: self.name.clone(), source })
    }

    async fn try_drop(&self) -> Result<(), ProtocolError> {
        let session = open(&self.sandbox).await?;
        if oid_of(&session, &self.name).await? != Some(self.oid) {
            let what = "it is not the database that was created under this name";
            return Err(ProtocolError::Unexpected(what.to_owned()));
        }
        self.drop_subscriptions(&session).await?;
        session.execute(&format!("DROP DATABASE {} WITH (FORCE)", quoted(&self.name))).await?;
        session.close().await;
        Ok(())
    }

    /// Drops the subscriptions, because a database with subscriptions cannot be dropped. The publisher is not
    /// contacted: its replication slots belong to the original.
    async fn drop_subscriptions(&self, session: &Session) -> Result<(), ProtocolError> {
        let sql = "SELECT 1 FROM pg_catalog.pg_subscription WHERE subdbid = $1 LIMIT 1";
        if session.query(sql, &[&self.oid]).await?.is_empty() {
            return Ok(());
        }
        let inside = open(&self.connection()).await?;
        inside.execute(DROP_SUBSCRIPTIONS).await?;
        inside.close().await;
        Ok(())
    }
}

/// Connects to the sandbox. Timeouts of the role are disabled: they could end CREATE or DROP DATABASE and
/// leave the copy there.
pub(super) async fn open(sandbox: &ConnectOptions) -> Result<Session, ProtocolError> {
    let session = Session::open(sandbox).await?;
    session.lift_timeouts().await?;
    Ok(session)
}

const DROP_SUBSCRIPTIONS: &str = "
DO $$
DECLARE
  name text;
BEGIN
  FOR name IN SELECT s.subname
                FROM pg_catalog.pg_subscription s
                JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
               WHERE d.datname = pg_catalog.current_database() LOOP
    EXECUTE pg_catalog.format('ALTER SUBSCRIPTION %I DISABLE', name);
    EXECUTE pg_catalog.format('ALTER SUBSCRIPTION %I SET (slot_name = NONE)', name);
    EXECUTE pg_catalog.format('DROP SUBSCRIPTION %I', name);
  END LOOP;
END $$";

/// Returns the scratch databases of other drills that no session is connected to. They are reported and not
/// dropped: the drill may have been killed, or may be between two connections.
pub(super) async fn left_over(session: &Session) -> Result<Vec<String>, ProtocolError> {
    let sql = "
SELECT d.datname::text
  FROM pg_catalog.pg_database d
 WHERE pg_catalog.starts_with(d.datname, $1)
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid)
 ORDER BY d.datname";
    let rows = session.query(sql, &[&PREFIX]).await?;
    Ok(rows.iter().filter_map(|row| row.try_get(0).ok()).collect())
}

async fn oid_of(session: &Session, name: &str) -> Result<Option<u32>, ProtocolError> {
    let sql = "SELECT oid FROM pg_catalog.pg_database WHERE datname = $1::text";
    let rows = session.query(sql, &[&name]).await?;
    Ok(rows.first().and_then(|row| row.try_get(0).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::compression::Compression;

    fn toc(database: &[&str]) -> TocFile {
        TocFile {
            format_version: 1,
            file: String::new(),
            compression: Compression::None,
            size: 0,
            raw_size: 0,
            members: Vec::new(),
            checksums: Vec::new(),
            frame: Vec::new(),
            database: database.iter().map(|text| (*text).to_owned()).collect(),
            entries: Vec::new(),
        }
    }

    #[test]
    fn the_scratch_database_is_like_the_original_but_for_name_and_tablespace() {
        let original = "CREATE DATABASE \"a b\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc \
                        LOCALE = 'C.UTF-8' TABLESPACE = fast;\n";
        assert_eq!(
            create_statement(&toc(&[original]), Some("LATIN1"), "x"),
            "CREATE DATABASE \"x\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc LOCALE = 'C.UTF-8';"
        );
        assert_eq!(
            create_statement(&toc(&[]), Some("LATIN1"), "x"),
            "CREATE DATABASE \"x\" TEMPLATE template0 ENCODING 'LATIN1'"
        );
    }

    #[test]
    fn names_are_recognised_and_do_not_repeat() {
        let (one, other) = (new_name().unwrap(), new_name().unwrap());
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 16 && one != other, "{one} {other}");
    }
}
