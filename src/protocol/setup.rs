//! The settings of a dump's session. They are pg_dump's, so that the server prints the same text.

use std::collections::BTreeMap;
use std::time::Duration;

use super::error::ProtocolError;
use super::session::Session;
use super::version::{PG17, ServerVersion};

/// The session settings that follow from a dump's options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionSetup {
    /// `--encoding`; the default is the `PGCLIENTENCODING` of the connection, or else the database's
    /// encoding.
    pub encoding: Option<String>,
    /// `--role`.
    pub role: Option<String>,
    /// `--extra-float-digits`; the default is 3, with which every float is restored exactly.
    pub extra_float_digits: Option<i32>,
    /// `--quote-all-identifiers`.
    pub quote_all_identifiers: bool,
    /// `--enable-row-security`.
    pub enable_row_security: bool,
    /// The lock timeout; `None` for no limit.
    pub lock_timeout: Option<Duration>,
    /// Values for some of [`SHOWN_SETTINGS`], to get the same text as in another server's dump.
    pub shown: BTreeMap<String, String>,
}

/// Settings of the server, database or role that affect a dump's text and rows and that a dump does not
/// change: the output format of timestamps, money, bytea and identifiers.
pub const SHOWN_SETTINGS: [&str; 5] =
    ["TimeZone", "bytea_output", "lc_monetary", "quote_all_identifiers", "standard_conforming_strings"];

/// The state of a session after its setup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionState {
    /// The client encoding, as it is written in a dump's `SET client_encoding`.
    pub encoding: String,
    /// Whether a backslash in an ordinary string literal is an ordinary character.
    pub standard_conforming_strings: bool,
    /// Whether the server is a standby.
    pub standby: bool,
    /// The server's process id.
    pub process: i32,
    /// The values of [`SHOWN_SETTINGS`].
    pub shown: BTreeMap<String, String>,
}

/// The SQLSTATE for an invalid value of a setting.
const INVALID_PARAMETER_VALUE: &str = "22023";

const STATE: &str = "
SELECT pg_catalog.current_setting('client_encoding'),
       pg_catalog.current_setting('standard_conforming_strings') = 'on',
       pg_catalog.pg_is_in_recovery(),
       ARRAY(SELECT pg_catalog.current_setting(s.name)
               FROM pg_catalog.unnest($1::text[]) WITH ORDINALITY s (name, place)
              ORDER BY s.place),
       pg_catalog.pg_backend_pid()";

/// Prevents the expansion of views and foreign tables while catalogs are read, on servers that have this
/// setting.
const RESTRICT_RELATION_KINDS: &str = "
SELECT pg_catalog.set_config(name, $1, false)
  FROM pg_catalog.pg_settings
 WHERE name = 'restrict_nonsystem_relation_kind'";

/// Returns the statements that override the timeouts of the server, database or role. Only the lock timeout
/// is set, if there is a limit.
fn timeouts(version: ServerVersion, lock: Option<Duration>) -> String {
    let lock = lock.unwrap_or_default().as_millis();
    let transaction = if version >= PG17 { "; SET transaction_timeout = 0" } else { "" };
    format!(
        "SET statement_timeout = 0; \
         SET lock_timeout = {lock}; \
         SET idle_in_transaction_session_timeout = 0{transaction}"
    )
}

impl Session {
    /// Disables the timeouts that the server, database or role sets, as in a dump's session. For a session
    /// that only creates, drops or restores.
    pub async fn lift_timeouts(&self) -> Result<(), ProtocolError> {
        self.execute(&timeouts(self.version(), None)).await.map_err(|e| e.during("setting the session up"))
    }

    /// Applies the settings. Called once, before the dump's transaction begins.
    pub async fn set_up(&self, setup: &SessionSetup) -> Result<SessionState, ProtocolError> {
        self.set_up_with(setup, &settings(self.version(), setup), |_| ()).await
    }

    /// Applies the settings that pg_dumpall uses to read globals. Unlike in a dump, timestamps are printed
    /// according to the server's and the environment's settings. Calls `on_statement` with each statement before it
    /// is executed.
    pub async fn set_up_for_globals(
        &self,
        setup: &SessionSetup,
        on_statement: impl Fn(&str),
    ) -> Result<SessionState, ProtocolError> {
        self.set_up_with(setup, &common_settings(self.version(), setup), on_statement).await
    }

    async fn set_up_with(
        &self,
        setup: &SessionSetup,
        settings: &str,
        on_statement: impl Fn(&str),
    ) -> Result<SessionState, ProtocolError> {
        let execute = async |statement: &str| {
            on_statement(statement);
            self.execute(statement).await
        };
        // Comes first, so that the user's search path does not affect the following statements.
        execute("SELECT pg_catalog.set_config('search_path', '', false)").await?;
        if let Some(encoding) = &setup.encoding {
            execute(&format!("SET client_encoding TO {}", literal(encoding))).await.map_err(|e| {
                match e.sqlstate() {
                    Some(INVALID_PARAMETER_VALUE) => {
                        ProtocolError::Argument(format!("invalid client encoding \"{encoding}\" specified"))
                    }
                    _ => e.during(format!("setting the client encoding to \"{encoding}\"")),
                }
            })?;
        }
        if let Some(role) = &setup.role {
            execute(&format!("SET ROLE {}", identifier(role)))
                .await
                .map_err(|e| e.during(format!("changing to role \"{role}\"")))?;
        }
        self.show_as(&setup.shown).await?;
        execute(settings).await.map_err(|e| e.during("setting the session up"))?;
        self.restrict_relation_kinds(true).await?;
        let _ = self.lock_timeout.set(setup.lock_timeout);
        let state = self.state().await?;
        let _ = self.client_encoding.set(state.encoding.clone());
        Ok(state)
    }

    /// Sets the output formats of another server, as far as this server supports them.
    async fn show_as(&self, shown: &BTreeMap<String, String>) -> Result<(), ProtocolError> {
        for name in SHOWN_SETTINGS {
            let Some(value) = shown.get(name) else { continue };
            match self.execute(&format!("SET {name} TO {}", literal(value))).await {
                Err(error) if error.sqlstate() == Some(INVALID_PARAMETER_VALUE) => {
                    tracing::warn!(%error, "the server rejects {name} = {value}");
                }
                result => result.map_err(|e| e.during(format!("setting {name} to \"{value}\"")))?,
            }
        }
        Ok(())
    }

    /// Forbids or allows reading foreign tables. It must be allowed during the COPY of a foreign table's
    /// rows.
    pub async fn restrict_relation_kinds(&self, foreign_tables: bool) -> Result<(), ProtocolError> {
        let kinds = if foreign_tables { "view, foreign-table" } else { "view" };
        self.query(RESTRICT_RELATION_KINDS, &[&kinds]).await?;
        Ok(())
    }

    /// Returns the client encoding as it is written in a dump's `SET client_encoding`; empty before the
    /// session is set up.
    pub fn client_encoding(&self) -> &str {
        self.client_encoding.get().map_or("", String::as_str)
    }

    /// Returns the lock timeout, if there is one.
    pub fn lock_timeout(&self) -> Option<Duration> {
        self.lock_timeout.get().copied().flatten()
    }

    pub(super) async fn state(&self) -> Result<SessionState, ProtocolError> {
        let rows = self.query(STATE, &[&SHOWN_SETTINGS.as_slice()]).await;
        let rows = rows.map_err(|e| e.during("reading the session's settings"))?;
        let row = rows.first().ok_or_else(|| missing("the session's settings"))?;
        let encoding: String = row.try_get(0).map_err(|_| missing("the client encoding"))?;
        Ok(SessionState {
            // This is the only alias that the server does not replace with the canonical name.
            encoding: if encoding.eq_ignore_ascii_case("unicode") { "UTF8".to_owned() } else { encoding },
            standard_conforming_strings: row
                .try_get(1)
                .map_err(|_| missing("standard_conforming_strings"))?,
            standby: row.try_get(2).map_err(|_| missing("the recovery state"))?,
            process: row.try_get(4).map_err(|_| missing("its process"))?,
            shown: {
                let values: Vec<String> = row.try_get(3).map_err(|_| missing("how values are printed"))?;
                SHOWN_SETTINGS.map(str::to_owned).into_iter().zip(values).collect()
            },
        })
    }
}

fn missing(what: &str) -> ProtocolError {
    ProtocolError::Unexpected(format!("the server did not report {what}"))
}

/// Returns the settings of pg_dump and two more. `jit` is off because the catalog queries over many objects
/// appear expensive enough for it, and compiling them takes seconds. Parallel workers are off because they
/// would return rows in a different order than that of the table.
fn settings(version: ServerVersion, setup: &SessionSetup) -> String {
    let float_digits = setup.extra_float_digits.unwrap_or(3);
    let row_security = if setup.enable_row_security { "on" } else { "off" };
    format!(
        "SET datestyle = ISO; \
         SET intervalstyle = postgres; \
         SET extra_float_digits TO {float_digits}; \
         SET synchronize_seqscans TO off; \
         SET max_parallel_workers_per_gather = 0; \
         SET row_security = {row_security}; \
         {}",
        common_settings(version, setup)
    )
}

/// Returns the settings that do not affect the text of globals.
fn common_settings(version: ServerVersion, setup: &SessionSetup) -> String {
    let mut sql = format!("SET jit TO off; {}", timeouts(version, setup.lock_timeout));
    if setup.quote_all_identifiers {
        sql.push_str("; SET quote_all_identifiers = true");
    }
    sql
}

/// Returns a string literal that has the same value for any `standard_conforming_strings`.
pub(crate) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', r"\\")) } else { format!("'{quoted}'") }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::version::PG15;

    #[test]
    fn settings_are_pg_dumps() {
        let plain = settings(PG15, &SessionSetup::default());
        assert!(plain.contains("SET extra_float_digits TO 3;") && plain.contains("SET row_security = off;"));
        let chosen = settings(
            PG15,
            &SessionSetup {
                extra_float_digits: Some(-15),
                quote_all_identifiers: true,
                enable_row_security: true,
                ..SessionSetup::default()
            },
        );
        assert!(plain.contains("SET lock_timeout = 0;") && !plain.contains("transaction_timeout"));
        assert!(settings(PG17, &SessionSetup::default()).contains("SET transaction_timeout = 0"));
        let timed = SessionSetup { lock_timeout: Some(Duration::from_secs(90)), ..SessionSetup::default() };
        assert!(settings(PG15, &timed).contains("SET lock_timeout = 90000;"));
        assert!(chosen.contains("TO -15;") && chosen.ends_with("SET quote_all_identifiers = true"));
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal(r"a\'"), r" E'a\\'''");
    }
}
