//! Checks the options of a dump as pg_dump does, with its messages and in its order, and converts them to a
//! request.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::archive::compression::{Compression, CompressionError};
use crate::archive::section::Sections;
use crate::config::DEFAULT_JOBS;
use crate::error::{Error, Result};
use crate::sql::filter_file;
use crate::sql::options::{DumpOptions, TablePattern};
use crate::sql::verbose_log::VerboseLog;

use super::args::DumpArgs;
use super::misuse::try_help;
use super::tell;

/// A dump to write.
#[derive(Clone, Debug)]
pub struct DumpCommand {
    /// Options of the content.
    pub options: DumpOptions,
    /// The database and the connection.
    pub connection: ConnectionArgs,
    /// Destination.
    pub output: DumpOutput,
    /// Compression.
    pub compression: Compression,
    /// Number of parallel connections.
    pub jobs: NonZeroUsize,
    /// `--encoding`: client encoding of the dump; `None` for the encoding of the database.
    pub encoding: Option<String>,
    /// `--snapshot`: an exported snapshot to dump.
    pub snapshot: Option<String>,
    /// `--role`: role for `SET ROLE` before the dump.
    pub role: Option<String>,
    /// `--serializable-deferrable`.
    pub serializable_deferrable: bool,
    /// `--extra-float-digits`; `None` for the maximum of the server.
    pub extra_float_digits: Option<i32>,
    /// Whether to sync a file to disk at the end; false with `--no-sync`.
    pub sync: bool,
}

/// The given connection options; missing ones are read from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConnectionArgs {
    /// A name, a connection string or a URI.
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

/// When to ask for a password on the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordPrompt {
    /// If the server requires one and none is known.
    #[default]
    WhenNeeded,
    /// `--no-password`.
    Never,
    /// `--password`.
    Always,
}

impl PasswordPrompt {
    /// Converts `--no-password` and `--password`.
    pub(in crate::commands) fn new(no_password: bool, password: bool) -> Self {
        match (no_password, password) {
            (_, true) => PasswordPrompt::Always,
            (true, false) => PasswordPrompt::Never,
            (false, false) => PasswordPrompt::WhenNeeded,
        }
    }
}

/// Destination of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpOutput {
    /// Standard output.
    Stdout,
    /// A file, by its path or as `file:///path`. It becomes visible when it is complete; a device or pipe is
    /// written directly.
    File(PathBuf),
    /// `s3://bucket/key`.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Key of the object.
        key: String,
    },
}

impl DumpCommand {
    /// Checks the given options. Reads `--filter` files.
    pub fn from_args(args: DumpArgs) -> Result<DumpCommand> {
        // First the values, in the order in which pg_dump reports errors while it parses the command line …
        let jobs = integer(args.jobs.as_deref(), "-j/--jobs", 1, i32::MAX)?;
        let compression = compression(args.compress.as_deref())?;
        let extra_float_digits = float_digits(args.extra_float_digits.as_deref())?;
        let rows = rows_per_insert(args.rows_per_insert.as_deref(), args.inserts || args.column_inserts)?;
        let sections = sections(&args.section, "dump")?;
        let mut options = options(&args, sections, rows);
        for path in &args.filter {
            read_filter(path, &mut options)?;
        }
        // … then the database and the conflicting options.
        let connection = connection(&args)?;
        refuse_contradictions(&options, jobs.unwrap_or(1))?;
        refuse_formats(&args)?;
        options.restrict_key = restrict_key(args.restrict_key)?;
        Ok(DumpCommand {
            options,
            connection,
            output: output(args.file.as_deref())?,
            compression,
            jobs: jobs
                .and_then(|jobs| NonZeroUsize::new(usize::try_from(jobs).ok()?))
                .unwrap_or(DEFAULT_JOBS),
            encoding: args.encoding,
            snapshot: args.snapshot,
            role: args.role,
            serializable_deferrable: args.serializable_deferrable,
            extra_float_digits,
            sync: !args.no_sync,
        })
    }
}

/// Adds the patterns of a filter file to the options; `-` is standard input.
fn read_filter(path: &str, options: &mut DumpOptions) -> Result<()> {
    let text = read_whole(path, "filter file")?;
    filter_file::apply(path, &text, options).map_err(|error| Error::usage(error.to_string()))
}

/// Reads a file that the command line names; `-` is standard input. `what` describes the file in error
/// messages.
pub(in crate::commands) fn read_whole(path: &str, what: &str) -> Result<Vec<u8>> {
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

/// Returns the log for `--verbose`.
pub(in crate::commands) fn progress(verbose: bool) -> VerboseLog {
    if verbose { VerboseLog::to(tell) } else { VerboseLog::default() }
}

fn options(args: &DumpArgs, sections: Sections, rows_per_insert: Option<u64>) -> DumpOptions {
    let tables = |plain: &[String], with_children: &[String]| -> Vec<TablePattern> {
        let pattern =
            |pattern: &String, with_children| TablePattern { pattern: pattern.clone(), with_children };
        let plain = plain.iter().map(|p| pattern(p, false));
        plain.chain(with_children.iter().map(|p| pattern(p, true))).collect()
    };
    DumpOptions {
        data_only: args.data_only,
        schema_only: args.schema_only,
        sections,
        blobs: args.blobs,
        no_blobs: args.no_blobs,
        clean: args.clean,
        create: args.create,
        if_exists: args.if_exists,
        no_owner: args.no_owner,
        no_privileges: args.no_privileges,
        superuser: args.superuser.clone(),
        column_inserts: args.column_inserts,
        rows_per_insert,
        on_conflict_do_nothing: args.on_conflict_do_nothing,
        disable_dollar_quoting: args.disable_dollar_quoting,
        disable_triggers: args.disable_triggers,
        enable_row_security: args.enable_row_security,
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
        strict_names: args.strict_names,
        schemas: args.schema.clone(),
        exclude_schemas: args.exclude_schema.clone(),
        tables: tables(&args.table, &args.table_and_children),
        exclude_tables: tables(&args.exclude_table, &args.exclude_table_and_children),
        exclude_table_data: tables(&args.exclude_table_data, &args.exclude_table_data_and_children),
        extensions: args.extension.clone(),
        exclude_extensions: args.exclude_extension.clone(),
        include_foreign_data: args.include_foreign_data.clone(),
        lock_wait_timeout: args.lock_wait_timeout.clone(),
        ..DumpOptions::default()
    }
}

/// Parses an integer as C's `strtol` does: leading and trailing white space is permitted, and an empty text
/// is 0.
fn integer(text: Option<&str>, option: &str, min: i32, max: i32) -> Result<Option<i32>> {
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

/// Parses `--extra-float-digits`.
pub(in crate::commands) fn float_digits(text: Option<&str>) -> Result<Option<i32>> {
    integer(text, "--extra-float-digits", -15, 3)
}

/// Parses `--rows-per-insert`; returns 1 if INSERT statements are requested without a number.
pub(in crate::commands) fn rows_per_insert(text: Option<&str>, inserts: bool) -> Result<Option<u64>> {
    let rows = integer(text, "--rows-per-insert", 1, i32::MAX)?;
    Ok(rows.map(|rows| u64::from(rows.unsigned_abs())).or(inserts.then_some(1)))
}

/// Parses `-Z`: pg_dump's 0 to 9, or a method with a level.
pub(in crate::commands) fn compression(text: Option<&str>) -> Result<Compression> {
    let Some(text) = text else { return Ok(Compression::None) };
    match text.parse() {
        Ok(compression) => return Ok(compression),
        Err(error @ CompressionError::Level { .. }) => return Err(Error::usage(error.to_string())),
        Err(CompressionError::Unknown(_)) => {}
    }
    let level = integer(Some(text), "-Z/--compress", 0, 9)?.unwrap_or(0);
    match u8::try_from(level) {
        Ok(level @ 1..) => Ok(Compression::Gzip { level }),
        _ => Ok(Compression::None),
    }
}

/// Parses the `--section` options of `verb`.
pub(in crate::commands) fn sections(names: &[String], verb: &str) -> Result<Sections> {
    Sections::named(names).map_err(|name| Error::Usage {
        message: format!("unrecognized section name: \"{name}\""),
        hint: Some(try_help(verb)),
    })
}

fn connection(args: &DumpArgs) -> Result<ConnectionArgs> {
    let mut arguments = args.arguments.iter();
    let database = args.dbname.clone().or_else(|| arguments.next().cloned());
    if let Some(first) = arguments.next() {
        return Err(with_help(format!("too many command-line arguments (first is \"{first}\")")));
    }
    let prompt = PasswordPrompt::new(args.no_password, args.password);
    Ok(ConnectionArgs {
        database,
        host: args.host.clone(),
        port: args.port.clone(),
        username: args.username.clone(),
        prompt,
    })
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
            hint: Some(
                "leave -F out; -Z gzip or -Z zstd compresses, and psql restores the result".to_owned(),
            ),
        });
    }
    refuse_binary_upgrade(args.binary_upgrade)
}

/// Refuses the mode for pg_upgrade, whose output only pg_upgrade can restore.
pub(in crate::commands) fn refuse_binary_upgrade(given: bool) -> Result<()> {
    match given {
        true => Err(Error::usage("option --binary-upgrade is not supported: it serves pg_upgrade alone")),
        false => Ok(()),
    }
}

pub(in crate::commands) fn restrict_key(given: Option<String>) -> Result<String> {
    match given {
        Some(key) if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
            Err(Error::usage("invalid restrict key"))
        }
        Some(key) => Ok(key),
        None => DumpOptions::new_restrict_key().map_err(|error| Error::usage(error.to_string())),
    }
}

pub(in crate::commands) fn output(file: Option<&str>) -> Result<DumpOutput> {
    let Some(file) = file.filter(|file| !matches!(*file, "" | "-")) else { return Ok(DumpOutput::Stdout) };
    if let Some(rest) = file.strip_prefix("s3://") {
        return match rest.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() && !key.ends_with('/') => {
                Ok(DumpOutput::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
            }
            _ => Err(Error::usage(format!("\"{file}\" names no object: write s3://bucket/key"))),
        };
    }
    match file.strip_prefix("file://") {
        Some(path) if path.starts_with('/') && !path.ends_with('/') => {
            Ok(DumpOutput::File(PathBuf::from(path)))
        }
        Some(_) => Err(Error::usage(format!("\"{file}\" names no file: write file:///absolute/path"))),
        None => Ok(DumpOutput::File(PathBuf::from(file))),
    }
}

fn with_help(message: String) -> Error {
    Error::Usage { message, hint: Some(try_help("dump")) }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        assert_eq!(output("./-").unwrap(), DumpOutput::File("./-".into()));
        assert_eq!(output("a.sql").unwrap(), DumpOutput::File("a.sql".into()));
        assert_eq!(output("file:///a/b.sql").unwrap(), DumpOutput::File("/a/b.sql".into()));
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
                host: Some("host".into()),
                port: Some("1".into()),
                username: Some("me".into()),
                prompt: PasswordPrompt::Never,
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
