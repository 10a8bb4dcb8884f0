//! Checks the options of a cluster's dump as pg_dumpall does, with its messages and in its order, and
//! converts them to a request.

use super::args::DumpallArgs;
use crate::archive::compression::Compression;
use crate::commands::dump::{
    DumpOutput, PasswordPrompt, compression, float_digits, output, progress, refuse_binary_upgrade,
    restrict_key, rows_per_insert, try_help,
};
use crate::error::{Error, Result};
use crate::protocol::SessionSetup;
use crate::sql::DumpOptions;
use crate::sql::global::{ClusterScope, GlobalOptions};

/// A dump of a cluster to write.
#[derive(Clone, Debug)]
pub struct DumpallCommand {
    /// Options of the globals.
    pub globals: GlobalOptions,
    /// Options of each database.
    pub databases: DumpOptions,
    /// Options of the sessions.
    pub setup: SessionSetup,
    /// The connection.
    pub connection: ServerConnection,
    /// Destination.
    pub output: DumpOutput,
    /// Compression.
    pub compression: Compression,
    /// Whether to sync a file to disk at the end; false with `--no-sync`.
    pub sync: bool,
}

/// The given connection options; missing ones are read from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConnection {
    /// `--dbname`: a connection string or URI.
    pub string: Option<String>,
    /// `--database`: database in which the globals are read.
    pub database: Option<String>,
    /// `--host`.
    pub host: Option<String>,
    /// `--port`.
    pub port: Option<String>,
    /// `--username`.
    pub username: Option<String>,
    /// When to ask for a password.
    pub prompt: PasswordPrompt,
}

impl DumpallCommand {
    /// Checks the given options.
    pub fn from_args(args: DumpallArgs) -> Result<DumpallCommand> {
        if let Some(first) = args.arguments.first() {
            return Err(with_help(format!("too many command-line arguments (first is \"{first}\")")));
        }
        let scope = scope(&args)?;
        refuse_binary_upgrade(args.binary_upgrade)?;
        let key = restrict_key(args.restrict_key.clone())?;
        let globals = GlobalOptions {
            scope,
            data_only: args.data_only,
            clean: args.clean,
            if_exists: args.if_exists,
            no_role_passwords: args.no_role_passwords,
            no_privileges: args.no_privileges,
            no_tablespaces: args.no_tablespaces,
            no_comments: args.no_comments,
            no_security_labels: args.no_security_labels,
            quote_all_identifiers: args.quote_all_identifiers,
            verbose: args.verbose,
            progress: progress(args.verbose),
            exclude_databases: args.exclude_database.clone(),
            restrict_key: key,
        };
        // Errors in options of the databases' dumps are ignored if no database is dumped.
        let (databases, extra_float_digits) = match globals.wants_databases() {
            true => (databases(&args)?, float_digits(args.extra_float_digits.as_deref())?),
            false => (DumpOptions::default(), None),
        };
        if args.file.as_deref() == Some("") {
            return Err(Error::usage("could not open output file \"\": No such file or directory"));
        }
        Ok(DumpallCommand {
            globals,
            databases,
            setup: SessionSetup {
                encoding: args.encoding,
                role: args.role,
                extra_float_digits,
                quote_all_identifiers: args.quote_all_identifiers,
                ..SessionSetup::default()
            },
            connection: ServerConnection {
                string: args.dbname,
                database: args.database,
                host: args.host,
                port: args.port,
                username: args.username,
                prompt: PasswordPrompt::new(args.no_password, args.password),
            },
            output: output(args.file.as_deref())?,
            compression: compression(args.compress.as_deref())?,
            sync: !args.no_sync,
        })
    }
}

/// Converts `-g`, `-r` and `-t`, and refuses the options that conflict with them.
fn scope(args: &DumpallArgs) -> Result<ClusterScope> {
    const GLOBALS: &str = "-g/--globals-only";
    const ROLES: &str = "-r/--roles-only";
    const TABLESPACES: &str = "-t/--tablespaces-only";
    let both = |one, other| Err(with_help(format!("options {one} and {other} cannot be used together")));
    let (g, r, t) = (args.globals_only, args.roles_only, args.tablespaces_only);
    if !args.exclude_database.is_empty() && (g || r || t) {
        return Err(with_help(format!(
            "option --exclude-database cannot be used together with {GLOBALS}, {ROLES}, or {TABLESPACES}"
        )));
    }
    match (g, r, t) {
        (true, true, _) => both(GLOBALS, ROLES),
        (true, false, true) => both(GLOBALS, TABLESPACES),
        _ if args.if_exists && !args.clean => {
            Err(Error::usage("option --if-exists requires option -c/--clean"))
        }
        (false, true, true) => both(ROLES, TABLESPACES),
        (true, false, false) => Ok(ClusterScope::Globals),
        (false, true, false) => Ok(ClusterScope::Roles),
        (false, false, true) => Ok(ClusterScope::Tablespaces),
        (false, false, false) => Ok(ClusterScope::Cluster),
    }
}

/// Returns the options that pg_dumpall passes to pg_dump. `--if-exists` is not one of them.
fn databases(args: &DumpallArgs) -> Result<DumpOptions> {
    let rows = rows_per_insert(args.rows_per_insert.as_deref(), args.inserts || args.column_inserts)?;
    let options = DumpOptions {
        data_only: args.data_only,
        schema_only: args.schema_only,
        no_owner: args.no_owner,
        no_privileges: args.no_privileges,
        superuser: args.superuser.clone(),
        column_inserts: args.column_inserts,
        rows_per_insert: rows,
        on_conflict_do_nothing: args.on_conflict_do_nothing,
        disable_dollar_quoting: args.disable_dollar_quoting,
        disable_triggers: args.disable_triggers,
        load_via_partition_root: args.load_via_partition_root,
        no_comments: args.no_comments,
        no_publications: args.no_publications,
        no_security_labels: args.no_security_labels,
        no_subscriptions: args.no_subscriptions,
        no_table_access_method: args.no_table_access_method,
        no_tablespaces: args.no_tablespaces,
        no_toast_compression: args.no_toast_compression,
        no_unlogged_table_data: args.no_unlogged_table_data,
        quote_all_identifiers: args.quote_all_identifiers,
        use_set_session_authorization: args.use_set_session_authorization,
        verbose: args.verbose,
        progress: progress(args.verbose),
        lock_wait_timeout: args.lock_wait_timeout.clone(),
        // A given key applies to all databases; otherwise each database gets its own.
        restrict_key: args.restrict_key.clone().unwrap_or_default(),
        ..DumpOptions::default()
    };
    match options.contradiction() {
        Some(contradiction) => Err(Error::usage(contradiction)),
        None => Ok(options),
    }
}

fn with_help(message: String) -> Error {
    Error::Usage { message, hint: Some(try_help("dumpall")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DumpallArgs,
    }

    fn request(line: &str) -> Result<DumpallCommand> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        let line = Line::try_parse_from(std::iter::once("dumpall").chain(words)).unwrap();
        DumpallCommand::from_args(line.args)
    }

    #[test]
    fn only_one_part_can_be_asked_for_alone() {
        let scope = |line| request(line).unwrap().globals.scope;
        assert_eq!(scope(""), ClusterScope::Cluster);
        assert_eq!(scope("-g"), ClusterScope::Globals);
        assert_eq!(scope("-r"), ClusterScope::Roles);
        assert_eq!(scope("-t"), ClusterScope::Tablespaces);
        for line in ["-gr", "-gt", "-rt", "-grt", "-g --exclude-database=x"] {
            assert!(request(line).is_err(), "{line}");
        }
    }

    #[test]
    fn what_only_databases_would_refuse_passes_without_them() {
        for line in ["-a -s", "--rows-per-insert=0", "--extra-float-digits=9", "--on-conflict-do-nothing"] {
            assert!(request(line).is_err(), "{line}");
            assert!(request(&format!("-g {line}")).is_ok(), "{line}");
        }
    }

    #[test]
    fn a_key_that_was_typed_is_everybodys() {
        let command = request("--restrict-key=abc").unwrap();
        assert_eq!(
            (command.globals.restrict_key.as_str(), command.databases.restrict_key.as_str()),
            ("abc", "abc")
        );
        let command = request("").unwrap();
        assert_eq!((command.globals.restrict_key.len(), command.databases.restrict_key.len()), (63, 0));
    }

    #[test]
    fn if_exists_is_for_the_globals_alone() {
        let command = request("-c --if-exists").unwrap();
        assert!(command.globals.if_exists && !command.databases.if_exists && !command.databases.clean);
    }
}
