//! Checks the options of a cluster's dump as pg_dumpall does, with its messages and in its order, and
//! converts them to a request.

use super::args::DumpallArgs;
use crate::archive::compression::Compression;
use crate::commands::connection::ServerArgs;
use crate::commands::input::ContentArgs;
use crate::commands::misuse::try_help;
use crate::commands::output::{DumpOutput, compression};
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
}

/// The server that the command line names; missing parameters are read from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerConnection {
    /// `--dbname`: a connection string or URI.
    pub string: Option<String>,
    /// `--database`: database in which the globals are read.
    pub database: Option<String>,
    /// The server and the role.
    pub server: ServerArgs,
}

impl DumpallCommand {
    /// Checks the given options.
    pub fn from_args(args: DumpallArgs) -> Result<DumpallCommand> {
        if let Some(first) = args.arguments.first() {
            return Err(with_help(format!("too many command-line arguments (first is \"{first}\")")));
        }
        let scope = scope(&args)?;
        let content = &args.content;
        content.refuse_binary_upgrade()?;
        let key = content.restrict_key()?;
        let globals = GlobalOptions {
            scope,
            data_only: content.data_only,
            clean: args.clean,
            if_exists: content.if_exists,
            no_role_passwords: args.no_role_passwords,
            no_privileges: content.no_privileges,
            no_tablespaces: content.no_tablespaces,
            no_comments: content.no_comments,
            no_security_labels: content.no_security_labels,
            quote_all_identifiers: content.quote_all_identifiers,
            verbose: content.verbose,
            progress: content.progress(),
            exclude_databases: args.exclude_database.clone(),
            restrict_key: key,
        };
        // Errors in options of the databases' dumps are ignored if no database is dumped.
        let (databases, extra_float_digits) = match globals.wants_databases() {
            true => (databases(content)?, content.float_digits()?),
            false => (DumpOptions::default(), None),
        };
        if args.output.file.as_deref() == Some("") {
            return Err(Error::usage("could not open output file \"\": No such file or directory"));
        }
        Ok(DumpallCommand {
            globals,
            databases,
            setup: content.setup(args.server.role.clone(), extra_float_digits),
            connection: ServerConnection {
                string: args.dbname,
                database: args.database,
                server: args.server,
            },
            output: args.output.output()?,
            compression: compression(args.compress.as_deref())?,
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
        _ if args.content.if_exists && !args.clean => {
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
fn databases(content: &ContentArgs) -> Result<DumpOptions> {
    let options = DumpOptions {
        // A given key applies to all databases; otherwise each database gets its own.
        restrict_key: content.restrict_key.clone().unwrap_or_default(),
        ..content.options()?
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
