//! Checks whether the configured role can dump a database completely.
//!
//! First, problems that an operator can fix are checked one by one, so that each is reported with a solution.
//! Then a dump is begun: it reads the catalogs and locks the tables, and ends before its first row.

use std::num::NonZeroUsize;

use tokio_postgres::Row;
use tokio_util::sync::CancellationToken;

use super::{Finding, Findings, some_of};
use crate::clock;
use crate::config::GlobalsConfig;
use crate::dump::progress::DumpProgress;
use crate::dump::{Dump, DumpRequest, ReadOptions};
use crate::protocol::{ConnectOptions, Isolation, ProtocolError, Session, SessionSetup};
use crate::sql::DumpOptions;

/// Properties of the connection. Addresses of private networks are those of RFC 1918 and RFC 4193.
const CONNECTION: &str = "
SELECT r.rolsuper AS is_superuser,
       coalesce(s.ssl, false) AS is_encrypted,
       coalesce(s.version, '') AS tls_version,
       coalesce(pg_catalog.inet_server_addr() <<= ANY (ARRAY['127.0.0.0/8', '::1/128', '10.0.0.0/8', '172.16.0.0/12',
                                                             '192.168.0.0/16', 'fc00::/7']::inet[]), true) AS is_near,
       pg_catalog.pg_is_in_recovery() AS is_standby,
       extract(epoch FROM pg_catalog.clock_timestamp())::float8 AS clock
  FROM pg_catalog.pg_roles r
       LEFT JOIN pg_catalog.pg_stat_ssl s ON s.pid = pg_catalog.pg_backend_pid()
 WHERE r.rolname = CURRENT_USER";

/// Relations that the dump reads and the role may not: tables, sequences, and the configuration tables of
/// extensions.
const UNREADABLE: &str = "
WITH dumped AS (
  SELECT c.oid, c.relkind, n.oid AS namespace,
         pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name
    FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
   WHERE c.relkind IN ('r', 'p', 'S')
     AND c.relpersistence <> 't'
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
     AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                            JOIN pg_catalog.pg_extension e ON d.refobjid = e.oid
                      WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                        AND d.deptype = 'e' AND NOT c.oid = ANY (coalesce(e.extconfig, '{}')))
)
SELECT pg_catalog.convert_to(name, 'UTF8') AS name, pg_catalog.count(*) OVER () AS number
  FROM dumped
 WHERE NOT pg_catalog.has_schema_privilege(namespace, 'USAGE')
    OR NOT CASE relkind WHEN 'S' THEN pg_catalog.has_sequence_privilege(oid, 'SELECT')
                        ELSE pg_catalog.has_table_privilege(oid, 'SELECT') END
 ORDER BY name
 LIMIT 5";

/// Large objects, which `pg_read_all_data` does not cover.
const UNREADABLE_LARGE_OBJECTS: &str = "
SELECT pg_catalog.convert_to(pg_catalog.textin(pg_catalog.oidout(l.oid)), 'UTF8') AS name,
       pg_catalog.count(*) OVER () AS number
  FROM pg_catalog.pg_largeobject_metadata l
 WHERE NOT pg_catalog.current_setting('lo_compat_privileges') = 'on'
   AND NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE')
   AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(l.lomacl) a
                    WHERE a.privilege_type = 'SELECT'
                      AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE')))
 ORDER BY l.oid
 LIMIT 5";

/// Tables whose policies would hide rows from the role. A dump refuses to read them.
const ROW_SECURITY: &str = "
SELECT pg_catalog.convert_to(pg_catalog.textin(pg_catalog.regclassout(c.oid)), 'UTF8') AS name,
       pg_catalog.count(*) OVER () AS number
  FROM pg_catalog.pg_class c
 WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND pg_catalog.row_security_active(c.oid)
 ORDER BY name
 LIMIT 5";

/// Unlogged tables, whose rows a standby does not have.
const UNLOGGED: &str = "
SELECT pg_catalog.convert_to(pg_catalog.textin(pg_catalog.regclassout(c.oid)), 'UTF8') AS name,
       pg_catalog.count(*) OVER () AS number
  FROM pg_catalog.pg_class c
 WHERE c.relkind = 'r' AND c.relpersistence = 'u'
 ORDER BY name
 LIMIT 5";

/// Number of locks and their limit. A dump locks every table, and its workers also lock what they read. The
/// limit is for the whole server; see `max_locks_per_transaction` in the manual's chapter "Lock Management".
const LOCKS: &str = "
SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384) AS needed,
       pg_catalog.int8in(pg_catalog.textout(pg_catalog.current_setting('max_locks_per_transaction')))
       * (pg_catalog.int8in(pg_catalog.textout(pg_catalog.current_setting('max_connections')))
          + pg_catalog.int8in(pg_catalog.textout(pg_catalog.current_setting('max_prepared_transactions')))) AS room";

/// Whether the passwords of roles can be read.
const PASSWORDS: &str = "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS may_read";

/// Difference in seconds between the clocks of a database and of this machine that is reported.
const CLOCK: f64 = 60.0;

/// Lock timeout for each table.
const LOCK_TIMEOUT: &str = "10s";

/// A database to check.
pub(super) struct Examined<'a> {
    pub(super) name: &'a str,
    pub(super) connection: &'a ConnectOptions,
    pub(super) jobs: NonZeroUsize,
    pub(super) memory: u64,
}

impl Examined<'_> {
    pub(super) async fn check(&self) -> Vec<Finding> {
        let mut findings = Findings::about(self.name);
        let session = match Session::open(&self.connection.clone().unattended()).await {
            Ok(session) => session,
            Err(error) => {
                findings.failed(&error);
                return findings.found;
            }
        };
        if let Err(error) = self.look(&session, &mut findings).await {
            findings.failed(&error);
        }
        session.close().await;
        if !findings.has_errors() {
            self.begin(&mut findings).await;
        }
        findings.found
    }

    async fn look(&self, session: &Session, findings: &mut Findings) -> Result<(), ProtocolError> {
        let user = self.connection.user();
        // As in a dump, so that no object of a user hides one of the catalog.
        session.query("SELECT pg_catalog.set_config('search_path', '', false)", &[]).await?;
        let is_standby = self.connected(session, findings).await?;
        if let Some((names, number)) = some(session, UNREADABLE).await? {
            findings.error(
                format!("role {user} cannot read {number} tables or sequences: {names}"),
                format!("GRANT pg_read_all_data TO {user}"),
            );
        }
        if let Some((names, number)) = some(session, UNREADABLE_LARGE_OBJECTS).await? {
            findings.error(
                format!("role {user} cannot read {number} large objects: {names}"),
                format!("GRANT SELECT ON LARGE OBJECT … TO {user} for each, or dump as their owner or as a superuser"),
            );
        }
        if let Some((names, number)) = some(session, ROW_SECURITY).await? {
            findings.error(
                format!("row security would hide rows of {number} tables from role {user}, so a dump would fail: {names}"),
                format!("ALTER ROLE {user} BYPASSRLS"),
            );
        }
        if is_standby {
            standby(session, findings).await?;
        }
        locks(session, findings).await
    }

    /// Reports the properties of the connection. Returns whether the server is a standby.
    async fn connected(&self, session: &Session, findings: &mut Findings) -> Result<bool, ProtocolError> {
        struct DatabaseFacts {
            is_superuser: bool,
            is_encrypted: bool,
            tls_version: String,
            is_near: bool,
            is_standby: bool,
            clock: f64,
        }
        let seen = one(session, CONNECTION, |row| {
            Ok(DatabaseFacts {
                is_superuser: row.try_get("is_superuser")?,
                is_encrypted: row.try_get("is_encrypted")?,
                tls_version: row.try_get("tls_version")?,
                is_near: row.try_get("is_near")?,
                is_standby: row.try_get("is_standby")?,
                clock: row.try_get("clock")?,
            })
        })
        .await?;
        let tls = if seen.is_encrypted { seen.tls_version.as_str() } else { "without TLS" };
        let role = if seen.is_superuser { "superuser" } else { "role" };
        let kind = if seen.is_standby { ", a standby" } else { "" };
        let (connection, version) = (self.connection, session.server_version());
        findings.ok(format!("{connection}: PostgreSQL {version}{kind}, {role} {}, {tls}", connection.user()));
        if !seen.is_encrypted && !seen.is_near {
            findings.warn(
                "rows and statements cross a public network unencrypted",
                "add ?sslmode=verify-full to the URL, and sslrootcert if you use your own certificate authority",
            );
        }
        let skew = seen.clock - clock::now().as_duration().as_secs_f64();
        if skew.abs() > CLOCK {
            findings.warn(
                format!("the server's clock differs from this machine's by {:.0} s", skew.abs()),
                "synchronize both with NTP: S3 rejects requests that are off by 15 minutes, and backups are named after this machine's clock",
            );
        }
        Ok(seen.is_standby)
    }

    /// Begins a dump and ends it before its first row.
    async fn begin(&self, findings: &mut Findings) {
        let request = DumpRequest {
            connection: self.connection.clone().unattended(),
            setup: SessionSetup::default(),
            isolation: Isolation::default(),
            snapshot: None,
            options: DumpOptions {
                lock_wait_timeout: Some(LOCK_TIMEOUT.to_owned()),
                ..DumpOptions::default()
            },
            reading: ReadOptions::within(self.memory, self.jobs),
            progress: DumpProgress::default(),
            cancel: CancellationToken::new(),
        };
        let dump = match Dump::prepare(request).await {
            Ok(dump) => dump,
            Err(error) => return findings.failed(&error),
        };
        for warning in dump.warnings() {
            let mut lines = warning.lines();
            let first = lines.next().unwrap_or_default();
            findings.warn(first, lines.collect::<Vec<_>>().join("; "));
        }
        let (objects, data) = dump.contents();
        findings.ok(format!(
            "{objects} objects, {} tables with rows: all are supported and could be locked",
            data.tables
        ));
        dump.abandon().await;
    }
}

/// Reports the limits of a standby: it has no rows of unlogged tables, and it cancels long queries.
async fn standby(session: &Session, findings: &mut Findings) -> Result<(), ProtocolError> {
    if let Some((names, number)) = some(session, UNLOGGED).await? {
        findings.warn(
            format!("the rows of {number} unlogged tables are not on a standby, so no backup contains them: {names}"),
            "ALTER TABLE … SET LOGGED, or dump the primary",
        );
    }
    let stall_timeout = "SELECT pg_catalog.current_setting('hot_standby_feedback') = 'on' AS feedback,
                           pg_catalog.current_setting('max_standby_streaming_delay') AS delay";
    let (feedback, delay): (bool, String) =
        one(session, stall_timeout, |row| Ok((row.try_get("feedback")?, row.try_get("delay")?))).await?;
    if !feedback && delay != "-1" {
        findings.warn(
            format!(
                "the standby cancels a dump that conflicts with the primary's changes for more than {delay}"
            ),
            "set hot_standby_feedback = on there, or raise max_standby_streaming_delay",
        );
    }
    Ok(())
}

async fn locks(session: &Session, findings: &mut Findings) -> Result<(), ProtocolError> {
    let (needed, room): (i64, i64) =
        one(session, LOCKS, |row| Ok((row.try_get("needed")?, row.try_get("room")?))).await?;
    let what = format!("a dump takes {needed} locks; the server has room for {room}");
    let hint = "raise max_locks_per_transaction and restart the server";
    match needed {
        _ if needed > room => findings.error(what, hint),
        _ if needed > room / 2 => findings.warn(what, hint),
        _ => findings.ok(what),
    }
    Ok(())
}

/// Checks whether roles and tablespaces can be saved.
pub(super) async fn check_globals(globals: &GlobalsConfig) -> Vec<Finding> {
    let mut findings = Findings::about(&globals.name);
    let user = globals.connection.user();
    let may_read = async {
        let session = Session::open(&globals.connection.clone().unattended()).await?;
        let may_read = one(&session, PASSWORDS, |row| row.try_get("may_read")).await?;
        session.close().await;
        Ok::<bool, ProtocolError>(may_read)
    };
    match may_read.await {
        Err(error) => findings.failed(&error),
        Ok(false) if !globals.no_role_passwords => findings.error(
            format!("role {user} cannot read the roles' passwords"),
            "dump as a superuser, or set BACKUP_GLOBALS=no-role-passwords",
        ),
        Ok(_) => findings.ok(format!("roles and tablespaces can be read in {}", globals.connection)),
    }
    findings.found
}

/// Returns the first names that a query finds and their total number; `None` if there are none.
async fn some(session: &Session, query: &str) -> Result<Option<(String, usize)>, ProtocolError> {
    let mut names = Vec::new();
    let mut number = 0;
    for row in session.query(query, &[]).await? {
        let (name, all): (Vec<u8>, i64) =
            read(&row, |row| Ok((row.try_get("name")?, row.try_get("number")?)))?;
        names.push(String::from_utf8_lossy(&name).into_owned());
        number = usize::try_from(all).unwrap_or(usize::MAX);
    }
    Ok((number > 0).then(|| (some_of(&names, number), number)))
}

/// Returns the value in the single row of a query.
pub(super) async fn one<T>(
    session: &Session,
    query: &str,
    columns: impl FnOnce(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<T, ProtocolError> {
    let rows = session.query(query, &[]).await?;
    let row = rows.first().ok_or_else(|| ProtocolError::Unexpected("a query returned no row".to_owned()))?;
    read(row, columns)
}

fn read<T>(
    row: &Row,
    columns: impl FnOnce(&Row) -> Result<T, tokio_postgres::Error>,
) -> Result<T, ProtocolError> {
    columns(row).map_err(|error| ProtocolError::Unexpected(format!("unexpected answer to a check: {error}")))
}
