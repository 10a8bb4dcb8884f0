//! A database that a drill makes for itself and drops again.
//!
//! Invariant: only a database that this process has created is ever dropped. It is known by its OID, not by its
//! name alone, and its name is one that nobody else comes upon.

use super::super::entry::quoted;
use super::super::target::create_elsewhere;
use crate::archive::toc_file::TocFile;
use crate::protocol::{ConnectOptions, ProtocolError, Session};

/// What the names of all scratch databases begin with.
pub const PREFIX: &str = "pg_backup_drill_";

/// A database that was created here.
#[derive(Debug)]
pub struct Scratch {
    sandbox: ConnectOptions,
    name: String,
    oid: u32,
}

/// Why there is no scratch database, or why it is still there.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// The system gave no random bytes for a name.
    #[error("no name for a scratch database")]
    Name(#[from] getrandom::Error),
    /// It could not be created.
    #[error(
        "cannot create database \"{name}\" on the sandbox\nHINT: the role needs CREATEDB, and the server the locale of the dumped database"
    )]
    Create {
        /// Its name.
        name: String,
        /// What the server said.
        source: ProtocolError,
    },
    /// It could not be dropped.
    #[error("cannot drop database \"{name}\" on the sandbox\nHINT: drop it by hand, it is a drill's")]
    Drop {
        /// Its name.
        name: String,
        /// What the server said.
        source: ProtocolError,
    },
}

/// A name that nobody guesses: 64 random bits after [`PREFIX`].
pub fn new_name() -> Result<String, getrandom::Error> {
    Ok(format!("{PREFIX}{:016x}", getrandom::u64()?))
}

/// `CREATE DATABASE` as the dumped database was created, under another name.
fn create_statement(toc: &TocFile, encoding: Option<&str>, name: &str) -> String {
    let name = quoted(name);
    create_elsewhere(&toc.database, &name).unwrap_or_else(|| {
        let encoding = encoding.map(|encoding| format!(" ENCODING '{}'", encoding.replace('\'', "''")));
        format!("CREATE DATABASE {name} TEMPLATE template0{}", encoding.unwrap_or_default())
    })
}

impl Scratch {
    /// Creates a database of this name, which must not be there, like the one that was dumped. It is not given up
    /// in the middle: whether there is something to drop would not be known.
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
        let gone = || failed(ProtocolError::Unexpected("it is not there after CREATE DATABASE".to_owned()));
        let oid = oid.ok_or_else(gone)?;
        Ok(Scratch { sandbox: sandbox.clone(), name: name.to_owned(), oid })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How to connect to it.
    pub fn connection(&self) -> ConnectOptions {
        self.sandbox.with_database(&self.name)
    }

    /// Drops it, whoever is connected to it.
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

    /// A database with subscriptions cannot be dropped. They are let go of without a word to the publisher, whose
    /// replication slots are the original's.
    async fn drop_subscriptions(&self, session: &Session) -> Result<(), ProtocolError> {
        let sql = "SELECT 1 FROM pg_catalog.pg_subscription WHERE subdbid = $1 LIMIT 1";
        if session.query(sql, &[&self.oid]).await?.is_empty() {
            return Ok(());
        }
        let inside = open(&self.connection()).await?;
        inside.execute(LET_SUBSCRIPTIONS_GO).await?;
        inside.close().await;
        Ok(())
    }
}

/// Connects to the sandbox. No timeout of its role ends a CREATE or DROP DATABASE, which would leave the copy there.
pub(super) async fn open(sandbox: &ConnectOptions) -> Result<Session, ProtocolError> {
    let session = Session::open(sandbox).await?;
    session.lift_timeouts().await?;
    Ok(session)
}

const LET_SUBSCRIPTIONS_GO: &str = "
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

/// Scratch databases of other drills, that run or were killed. They are told and left alone.
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
