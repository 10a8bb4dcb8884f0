//! Checks the options of a dump as pg_dump does, with its messages and in its order, and converts them to a
//! request.

use std::num::NonZeroUsize;

use crate::archive::compression::Compression;
use crate::commands::connection::ServerArgs;
use crate::commands::input::{integer, read_whole, sections};
use crate::commands::misuse::try_help;
use crate::commands::output::{DumpOutput, compression};
use crate::config::DEFAULT_JOBS;
use crate::error::{Error, Result};
use crate::protocol::SessionSetup;
use crate::sql::filter_file;
use crate::sql::options::{DumpOptions, TablePattern};

use super::args::DumpArgs;

/// A dump to write.
#[derive(Clone, Debug)]
pub struct DumpCommand {
    /// Options of the content.
    pub options: DumpOptions,
    /// Options of the session.
    pub setup: SessionSetup,
    /// The database and the connection.
    pub connection: ConnectionArgs,
    /// Destination.
    pub output: DumpOutput,
    /// Compression.
    pub compression: Compression,
    /// Number of parallel connections.
    pub jobs: NonZeroUsize,
    /// `--snapshot`: an exported snapshot to dump.
    pub snapshot: Option<String>,
    /// `--serializable-deferrable`.
    pub serializable_deferrable: bool,
}

/// The database and the server that the command line names; missing parameters are read from the
/// environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionArgs {
    /// A name, a connection string or a URI.
    pub database: Option<String>,
    /// The server and the role.
    pub server: ServerArgs,
}

impl DumpCommand {
    /// Checks the given options. Reads `--filter` files.
    pub fn from_args(args: DumpArgs) -> Result<DumpCommand> {
        // First the values, in the order in which pg_dump reports errors while it parses the command line …
        let jobs = integer(args.jobs.as_deref(), "-j/--jobs", 1, i32::MAX)?;
        let compression = compression(args.compress.as_deref())?;
        let extra_float_digits = args.content.float_digits()?;
        let mut options = options(&args)?;
        for path in &args.filter {
            read_filter(path, &mut options)?;
        }
        // … then the database and the conflicting options.
        let connection = connection(&args)?;
        refuse_contradictions(&options, jobs.unwrap_or(1))?;
        refuse_formats(&args)?;
        options.restrict_key = args.content.restrict_key()?;
        Ok(DumpCommand {
            setup: SessionSetup {
                enable_row_security: args.enable_row_security,
                ..args.content.setup(args.server.role, extra_float_digits)
            },
            options,
            connection,
            output: args.output.output()?,
            compression,
            jobs: jobs
                .and_then(|jobs| NonZeroUsize::new(usize::try_from(jobs).ok()?))
                .unwrap_or(DEFAULT_JOBS),
            snapshot: args.snapshot,
            serializable_deferrable: args.serializable_deferrable,
        })
    }
}

/// Adds the patterns of a filter file to the options; `-` is standard input.
fn read_filter(path: &str, options: &mut DumpOptions) -> Result<()> {
    let text = read_whole(path, "filter file")?;
    filter_file::apply(path, &text, options).map_err(|error| Error::usage(error.to_string()))
}

fn options(args: &DumpArgs) -> Result<DumpOptions> {
    let tables = |plain: &[String], with_children: &[String]| -> Vec<TablePattern> {
        let pattern =
            |pattern: &String, with_children| TablePattern { pattern: pattern.clone(), with_children };
        let plain = plain.iter().map(|p| pattern(p, false));
        plain.chain(with_children.iter().map(|p| pattern(p, true))).collect()
    };
    let shared = args.content.options()?;
    Ok(DumpOptions {
        sections: sections(&args.section, "dump")?,
        blobs: args.blobs,
        no_blobs: args.no_blobs,
        clean: args.clean,
        create: args.create,
        if_exists: args.content.if_exists,
        enable_row_security: args.enable_row_security,
        strict_names: args.strict_names,
        schemas: args.schema.clone(),
        exclude_schemas: args.exclude_schema.clone(),
        tables: tables(&args.table, &args.table_and_children),
        exclude_tables: tables(&args.exclude_table, &args.exclude_table_and_children),
        exclude_table_data: tables(&args.exclude_table_data, &args.exclude_table_data_and_children),
        extensions: args.extension.clone(),
        exclude_extensions: args.exclude_extension.clone(),
        include_foreign_data: args.include_foreign_data.clone(),
        ..shared
    })
}

fn connection(args: &DumpArgs) -> Result<ConnectionArgs> {
    let mut arguments = args.arguments.iter();
    let database = args.dbname.clone().or_else(|| arguments.next().cloned());
    if let Some(first) = arguments.next() {
        return Err(with_help(format!("too many command-line arguments (first is \"{first}\")")));
    }
    Ok(ConnectionArgs { database, server: args.server.clone() })
}

fn refuse_contradictions(options: &DumpOptions, jobs: i32) -> Result<()> {
    // pg_dump checks this after the conflicts of -s and before everything else.
    if jobs > 1 && !options.schema_only && !options.include_foreign_data.is_empty() {
        return Err(Error::usage("option --include-foreign-data is not supported with parallel backup"));
    }
    options.contradiction().map_or(Ok(()), |complaint| Err(Error::usage(complaint)))
}

/// Refuses the modes of pg_dump that this program does not support: the archive formats and the mode for
/// pg_upgrade.
fn refuse_formats(args: &DumpArgs) -> Result<()> {
    let format = args.format.as_deref().unwrap_or("p");
    let archive = match format.to_ascii_lowercase().as_str() {
        "p" | "plain" => None,
        "c" | "custom" => Some("custom"),
        "d" | "directory" => Some("directory"),
        "t" | "tar" => Some("tar"),
        _ => return Err(Error::usage(format!("invalid output format \"{format}\" specified"))),
    };
    if let Some(archive) = archive {
        return Err(Error::Usage {
            message: format!("the {archive} format is not supported: pg-backup writes plain SQL only"),
            hint: Some("omit -F; -Z gzip or -Z zstd compresses the dump, and psql restores it".to_owned()),
        });
    }
    args.content.refuse_binary_upgrade()
}

fn with_help(message: String) -> Error {
    Error::Usage { message, hint: Some(try_help("dump")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::section::Sections;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: DumpArgs,
    }

    fn request(line: &str) -> Result<DumpCommand> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        // `''` represents an empty argument.
        let words = words.map(|word| word.replace("''", ""));
        let line = Line::try_parse_from(std::iter::once("dump".to_owned()).chain(words)).unwrap();
        DumpCommand::from_args(line.args)
    }

    /// The messages are those that pg_dump 15 printed for the same arguments.
    #[test]
    fn complaints_are_those_of_pg_dump() {
        for (line, complaint) in [
            ("-a -s", "options -s/--schema-only and -a/--data-only cannot be used together"),
            (
                "-s --include-foreign-data=x",
                "options -s/--schema-only and --include-foreign-data cannot be used together",
            ),
            (
                "-j 2 --include-foreign-data=x",
                "option --include-foreign-data is not supported with parallel backup",
            ),
            ("-a -c", "options -c/--clean and -a/--data-only cannot be used together"),
            ("--if-exists", "option --if-exists requires option -c/--clean"),
            (
                "--on-conflict-do-nothing",
                "option --on-conflict-do-nothing requires option --inserts, --rows-per-insert, or --column-inserts",
            ),
            ("-F x", "invalid output format \"x\" specified"),
            ("-F ''", "invalid output format \"\" specified"),
            ("-j 0", "-j/--jobs must be in range 1..2147483647"),
            ("-j ''", "-j/--jobs must be in range 1..2147483647"),
            ("-j abc", "invalid value \"abc\" for option -j/--jobs"),
            ("-j 1x", "invalid value \"1x\" for option -j/--jobs"),
            ("-j -", "invalid value \"-\" for option -j/--jobs"),
            ("-Z 10", "-Z/--compress must be in range 0..9"),
            ("-Z x", "invalid value \"x\" for option -Z/--compress"),
            ("-Z gzip:13", "gzip has levels 1 to 12, not \"13\""),
            ("--extra-float-digits 4", "--extra-float-digits must be in range -15..3"),
            ("--extra-float-digits -16", "--extra-float-digits must be in range -15..3"),
            ("--rows-per-insert 0", "--rows-per-insert must be in range 1..2147483647"),
            ("--rows-per-insert 9999999999", "--rows-per-insert must be in range 1..2147483647"),
            ("--section foo", "unrecognized section name: \"foo\""),
            ("a b", "too many command-line arguments (first is \"b\")"),
            ("-d a b c", "too many command-line arguments (first is \"b\")"),
            ("--restrict-key=a-b", "invalid restrict key"),
            ("--restrict-key=", "invalid restrict key"),
        ] {
            assert_eq!(request(line).unwrap_err().to_string(), complaint, "{line}");
        }
    }

    #[test]
    fn archive_formats_are_refused_in_words() {
        for format in ["c", "D", "tar", "custom"] {
            let error = request(&format!("-F {format}")).unwrap_err();
            assert!(error.to_string().ends_with("format is not supported: pg-backup writes plain SQL only"));
        }
        assert!(request("--binary-upgrade").is_err());
        assert!(request("-F PLAIN").is_ok());
    }

    #[test]
    fn compression_takes_numbers_and_methods() {
        for (line, compression) in [
            ("", Compression::None),
            ("-Z 0", Compression::None),
            ("-Z none", Compression::None),
            ("-Z ''", Compression::None),
            ("-Z9", Compression::Gzip { level: 9 }),
            ("-Z gzip", Compression::DEFAULT_GZIP),
            ("--compress=gzip:1", Compression::Gzip { level: 1 }),
            ("-Z zstd:7", Compression::Zstd { level: 7 }),
        ] {
            assert_eq!(request(line).unwrap().compression, compression, "{line}");
        }
    }

    #[test]
    fn outputs_are_told_apart() {
        let output = |file: &str| request(&format!("-f {file}")).map(|command| command.output);
        assert_eq!(request("").unwrap().output, DumpOutput::Stdout);
        assert_eq!(output("''").unwrap(), DumpOutput::Stdout);
        assert_eq!(output("-").unwrap(), DumpOutput::Stdout);
        let file = |path: &str| DumpOutput::File { path: path.into(), sync: true };
        assert_eq!(output("./-").unwrap(), file("./-"));
        assert_eq!(output("a.sql").unwrap(), file("a.sql"));
        assert_eq!(
            output("a.sql --no-sync").unwrap(),
            DumpOutput::File { path: "a.sql".into(), sync: false }
        );
        assert_eq!(output("file:///a/b.sql").unwrap(), file("/a/b.sql"));
        assert_eq!(
            output("s3://b/k/l.sql.gz").unwrap(),
            DumpOutput::S3 { bucket: "b".into(), key: "k/l.sql.gz".into() }
        );
        for bad in ["s3://b", "s3://b/", "s3:///k", "s3://b/k/", "file://a", "file:///a/"] {
            assert!(output(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rows_per_insert_implies_inserts_and_keeps_its_number() {
        let rows = |line: &str| request(line).unwrap().options.rows_per_insert;
        assert_eq!(rows(""), None);
        assert_eq!(rows("--inserts"), Some(1));
        assert_eq!(rows("--column-inserts"), Some(1));
        assert_eq!(rows("--attribute-inserts --rows-per-insert 7 --inserts"), Some(7));
        assert!(request("--rows-per-insert=2 --on-conflict-do-nothing").is_ok());
    }

    #[test]
    fn patterns_and_connection_arrive() {
        let command = request(
            "-n a -n b -N c -t d --table-and-children e -T f --exclude-table-data g -e h -h host -p 1 -U me -w db",
        )
        .unwrap();
        let options = &command.options;
        assert_eq!(
            (options.schemas.len(), options.exclude_schemas.len(), options.extensions.len()),
            (2, 1, 1)
        );
        assert_eq!(options.tables.iter().map(|t| t.with_children).collect::<Vec<_>>(), [false, true]);
        assert!(!options.include_everything());
        assert_eq!(
            command.connection,
            ConnectionArgs {
                database: Some("db".into()),
                server: ServerArgs {
                    host: Some("host".into()),
                    port: Some("1".into()),
                    username: Some("me".into()),
                    no_password: true,
                    ..ServerArgs::default()
                },
            }
        );
        let command = request("--section=data --section pre-data").unwrap();
        assert_eq!(command.options.sections, Sections { pre_data: true, data: true, post_data: false });
    }

    #[test]
    fn restrict_keys_are_long_and_differ() {
        let keys: Vec<String> = (0..2).map(|_| request("").unwrap().options.restrict_key).collect();
        assert!(keys.iter().all(|key| key.len() == 63 && key.bytes().all(|b| b.is_ascii_alphanumeric())));
        assert_ne!(keys[0], keys[1]);
        assert_eq!(request("--restrict-key=abc").unwrap().options.restrict_key, "abc");
    }
}
