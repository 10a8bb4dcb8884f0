//! What the command line says about the content of a dump: the options that `dump` and `dumpall` share, and
//! values that several commands take, with the messages of pg_dump.

use std::fs::File;
use std::io::Read;

use clap::Args;

use super::misuse::try_help;
use super::output::tell;
use crate::archive::section::Sections;
use crate::error::{Error, Result};
use crate::protocol::SessionSetup;
use crate::sql::DumpOptions;
use crate::sql::verbose_log::VerboseLog;

/// Options of `dump` and `dumpall` about the content of the dump of each database.
#[derive(Args, Clone, Debug, Default)]
pub struct ContentArgs {
    /// Dump only the data, not the schema.
    #[arg(short = 'a', long, help_heading = WHAT)]
    pub(super) data_only: bool,
    /// Skip restoration of object ownership.
    #[arg(short = 'O', long, help_heading = WHAT)]
    pub(super) no_owner: bool,
    /// Dump only the schema, no data.
    #[arg(short = 's', long, help_heading = WHAT)]
    pub(super) schema_only: bool,
    /// Superuser user name to use for disabling triggers.
    #[arg(short = 'S', long, value_name = "NAME", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) superuser: Option<String>,
    /// Report progress, and write ids and dependencies into the dump's comments.
    #[arg(short = 'v', long)]
    pub(super) verbose: bool,
    /// Do not dump privileges (GRANT, REVOKE).
    #[arg(short = 'x', long, alias = "no-acl", help_heading = WHAT)]
    pub(super) no_privileges: bool,
    /// Dump in this encoding instead of the database's.
    #[arg(short = 'E', long, value_name = "ENCODING", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) encoding: Option<String>,
    /// Not supported: only pg_upgrade can use it.
    #[arg(long, hide = true)]
    pub(super) binary_upgrade: bool,
    /// Dump data as INSERT commands with column names.
    #[arg(long, alias = "attribute-inserts", help_heading = FORM)]
    pub(super) column_inserts: bool,
    /// Disable dollar quoting, use SQL standard quoting.
    #[arg(long, help_heading = FORM)]
    pub(super) disable_dollar_quoting: bool,
    /// Disable triggers during a data-only restore.
    #[arg(long, help_heading = FORM)]
    pub(super) disable_triggers: bool,
    /// Value of extra_float_digits, -15 to 3; the default prints every float exactly.
    #[arg(long, value_name = "NUM", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) extra_float_digits: Option<String>,
    /// Use IF EXISTS when dropping objects.
    #[arg(long, help_heading = FORM)]
    pub(super) if_exists: bool,
    /// Dump data as INSERT commands, rather than COPY.
    #[arg(long, help_heading = FORM)]
    pub(super) inserts: bool,
    /// Fail after waiting this long for a table lock: milliseconds, or 10s, 5min.
    #[arg(long, value_name = "TIMEOUT", allow_hyphen_values = true)]
    pub(super) lock_wait_timeout: Option<String>,
    /// Do not dump table access methods.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_table_access_method: bool,
    /// Do not dump tablespace assignments.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_tablespaces: bool,
    /// Quote all identifiers, even if not key words.
    #[arg(long, help_heading = FORM)]
    pub(super) quote_all_identifiers: bool,
    /// Load partitions via the root table.
    #[arg(long, help_heading = FORM)]
    pub(super) load_via_partition_root: bool,
    /// Use SET SESSION AUTHORIZATION instead of ALTER OWNER to set ownership.
    #[arg(long, help_heading = FORM)]
    pub(super) use_set_session_authorization: bool,
    /// Do not dump comments.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_comments: bool,
    /// Do not dump publications.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_publications: bool,
    /// Do not dump security label assignments.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_security_labels: bool,
    /// Do not dump subscriptions.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_subscriptions: bool,
    /// Do not dump TOAST compression methods.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_toast_compression: bool,
    /// Do not dump unlogged table data.
    #[arg(long, help_heading = WHAT)]
    pub(super) no_unlogged_table_data: bool,
    /// Add ON CONFLICT DO NOTHING to INSERT commands.
    #[arg(long, help_heading = FORM)]
    pub(super) on_conflict_do_nothing: bool,
    /// Number of rows per INSERT, 1 or more; implies --inserts.
    #[arg(long, value_name = "NROWS", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) rows_per_insert: Option<String>,
    /// Key for psql's \restrict, letters and digits; the default is a random key.
    #[arg(long, value_name = "RESTRICT_KEY", allow_hyphen_values = true, help_heading = FORM)]
    pub(super) restrict_key: Option<String>,
}

/// The headings of these options in the help.
pub(super) const WHAT: &str = "What is dumped";
pub(super) const FORM: &str = "How it is written";

impl ContentArgs {
    /// Returns the options of a dump without those that only one of the commands has. Checks the values, but
    /// not whether they contradict each other.
    pub(super) fn options(&self) -> Result<DumpOptions> {
        let rows = integer(self.rows_per_insert.as_deref(), "--rows-per-insert", 1, i32::MAX)?;
        let rows = rows.map(|rows| u64::from(rows.unsigned_abs()));
        // INSERT statements without a number have one row each.
        let rows_per_insert = rows.or((self.inserts || self.column_inserts).then_some(1));
        Ok(DumpOptions {
            data_only: self.data_only,
            schema_only: self.schema_only,
            no_owner: self.no_owner,
            no_privileges: self.no_privileges,
            superuser: self.superuser.clone(),
            column_inserts: self.column_inserts,
            rows_per_insert,
            on_conflict_do_nothing: self.on_conflict_do_nothing,
            disable_dollar_quoting: self.disable_dollar_quoting,
            disable_triggers: self.disable_triggers,
            load_via_partition_root: self.load_via_partition_root,
            no_comments: self.no_comments,
            no_publications: self.no_publications,
            no_security_labels: self.no_security_labels,
            no_subscriptions: self.no_subscriptions,
            no_table_access_method: self.no_table_access_method,
            no_tablespaces: self.no_tablespaces,
            no_toast_compression: self.no_toast_compression,
            no_unlogged_table_data: self.no_unlogged_table_data,
            quote_all_identifiers: self.quote_all_identifiers,
            use_set_session_authorization: self.use_set_session_authorization,
            verbose: self.verbose,
            progress: self.progress(),
            lock_wait_timeout: self.lock_wait_timeout.clone(),
            ..DumpOptions::default()
        })
    }

    /// Returns the log for `--verbose`.
    pub(super) fn progress(&self) -> VerboseLog {
        if self.verbose { VerboseLog::to(tell) } else { VerboseLog::default() }
    }

    /// Parses `--extra-float-digits`.
    pub(super) fn float_digits(&self) -> Result<Option<i32>> {
        integer(self.extra_float_digits.as_deref(), "--extra-float-digits", -15, 3)
    }

    /// Returns the settings of a dump's session.
    pub(super) fn setup(&self, role: Option<String>, extra_float_digits: Option<i32>) -> SessionSetup {
        SessionSetup {
            encoding: self.encoding.clone(),
            role,
            extra_float_digits,
            quote_all_identifiers: self.quote_all_identifiers,
            ..SessionSetup::default()
        }
    }

    /// Returns the key of `--restrict-key`, or a random one.
    pub(super) fn restrict_key(&self) -> Result<String> {
        match &self.restrict_key {
            Some(key) if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Err(Error::usage("invalid restrict key"))
            }
            Some(key) => Ok(key.clone()),
            None => DumpOptions::new_restrict_key().map_err(|error| Error::usage(error.to_string())),
        }
    }

    /// Refuses the mode for pg_upgrade, whose output only pg_upgrade can restore.
    pub(super) fn refuse_binary_upgrade(&self) -> Result<()> {
        match self.binary_upgrade {
            true => Err(Error::usage("option --binary-upgrade is not supported: only pg_upgrade can use it")),
            false => Ok(()),
        }
    }
}

/// Parses an integer as C's `strtol` does: leading and trailing white space is permitted, and an empty text
/// is 0.
pub(super) fn integer(text: Option<&str>, option: &str, min: i32, max: i32) -> Result<Option<i32>> {
    let Some(text) = text else { return Ok(None) };
    let number = text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    // Text without any digit is not consumed at all, so it is valid only if it is blank.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || (digits.is_empty() && !number.is_empty()) {
        return Err(Error::usage(format!("invalid value \"{text}\" for option {option}")));
    }
    let value = if digits.is_empty() { Some(0) } else { number.parse::<i32>().ok() };
    match value.filter(|value| (min..=max).contains(value)) {
        Some(value) => Ok(Some(value)),
        None => Err(Error::usage(format!("{option} must be in range {min}..{max}"))),
    }
}

/// Parses the `--section` options of `verb`.
pub(super) fn sections(names: &[String], verb: &str) -> Result<Sections> {
    Sections::named(names).map_err(|name| Error::Usage {
        message: format!("unrecognized section name: \"{name}\""),
        hint: Some(try_help(verb)),
    })
}

/// Reads a file that the command line names; `-` is standard input. `what` describes the file in error
/// messages.
pub(super) fn read_whole(path: &str, what: &str) -> Result<Vec<u8>> {
    // An endless file must not use up the memory.
    const MAX_BYTES: u64 = 16 * 1024 * 1024;
    let mut text = Vec::new();
    let (opening, reading) = (|error| ("open", error), |error| ("read from", error));
    let mut read = |source: &mut dyn Read| source.take(MAX_BYTES + 1).read_to_end(&mut text).map_err(reading);
    let outcome = if path == "-" {
        read(&mut std::io::stdin().lock())
    } else {
        File::open(path).map_err(opening).and_then(|mut file| read(&mut file))
    };
    let length = outcome.map_err(|(verb, error)| {
        let reason = error.to_string();
        // The number of the system's error adds no information.
        let reason = reason.split(" (os error").next().unwrap_or_default();
        Error::usage(format!("could not {verb} {what} \"{path}\": {reason}"))
    })?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_BYTES) {
        return Err(Error::usage(format!("{what} \"{path}\" is larger than {MAX_BYTES} bytes")));
    }
    Ok(text)
}
