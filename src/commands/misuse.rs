//! Reports a command line of `dump` or `dumpall` that cannot be parsed, with the messages of pg_dump and
//! pg_dumpall, whose options are parsed by getopt_long.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::Error;

/// The long options of pg_dump in the order of its own list, which is visible in the message about an
/// ambiguous abbreviation.
const OF_DUMP: &str = "\
    data-only blobs no-blobs clean create dbname extension file format host jobs no-reconnect no-owner \
    port schema exclude-schema schema-only superuser table exclude-table no-password password username \
    verbose no-privileges no-acl compress encoding help version binary-upgrade column-inserts \
    attribute-inserts disable-dollar-quoting disable-triggers enable-row-security exclude-table-data \
    extra-float-digits if-exists inserts lock-wait-timeout no-table-access-method no-tablespaces \
    quote-all-identifiers load-via-partition-root role section serializable-deferrable snapshot \
    strict-names use-set-session-authorization no-comments no-publications no-security-labels \
    no-subscriptions no-toast-compression no-unlogged-table-data no-sync on-conflict-do-nothing \
    rows-per-insert include-foreign-data restrict-key table-and-children exclude-table-and-children \
    exclude-table-data-and-children exclude-extension filter";

/// The same for pg_dumpall.
const OF_DUMPALL: &str = "\
    data-only clean encoding file globals-only host dbname database no-owner port roles-only schema-only \
    superuser tablespaces-only username verbose no-password password no-privileges no-acl binary-upgrade \
    column-inserts attribute-inserts disable-dollar-quoting disable-triggers exclude-database \
    extra-float-digits if-exists inserts lock-wait-timeout no-table-access-method no-tablespaces \
    quote-all-identifiers load-via-partition-root role use-set-session-authorization no-comments \
    no-publications no-role-passwords no-security-labels no-subscriptions no-sync no-toast-compression \
    no-unlogged-table-data on-conflict-do-nothing rows-per-insert restrict-key help version";

/// Returns the hint that follows each of these messages.
pub(super) fn try_help(verb: &str) -> String {
    format!("Try \"pg-backup {verb} --help\" for more information.")
}

/// Converts clap's error about a command line of `verb`: `dump` or `dumpall`.
pub(crate) fn misuse(verb: &str, error: &clap::Error, arguments: &[OsString]) -> Error {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        _ => "",
    };
    // clap shows an option as `--file <FILENAME>` or `--data-only`.
    let option = argument.split([' ', '=']).next().unwrap_or_default();
    let message = match error.kind() {
        ErrorKind::UnknownArgument => unknown(verb, option, arguments),
        ErrorKind::TooManyValues => format!("option '{option}' doesn't allow an argument"),
        // Every value is accepted as text, so an invalid value is always a missing one.
        ErrorKind::InvalidValue | ErrorKind::NoEquals | ErrorKind::TooFewValues => missing(option, arguments),
        ErrorKind::InvalidUtf8 => "the command line is not valid UTF-8".to_owned(),
        _ => error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    };
    Error::Usage { message, hint: Some(try_help(verb)) }
}

fn unknown(verb: &str, option: &str, arguments: &[OsString]) -> String {
    let Some(typed) = option.strip_prefix("--") else {
        let letter = option.trim_start_matches('-').chars().next().unwrap_or('-');
        return format!("invalid option -- '{letter}'");
    };
    let possible: Vec<String> =
        long_options(verb).filter(|name| name.starts_with(typed)).map(|name| format!("'--{name}'")).collect();
    if possible.len() > 1 {
        return format!("option '{option}' is ambiguous; possibilities: {}", possible.join(" "));
    }
    // getopt also shows the attached value.
    let with_value = arguments
        .iter()
        .map(|argument| argument.to_string_lossy())
        .find(|argument| argument.strip_prefix(option).is_some_and(|rest| rest.starts_with('=')));
    format!("unrecognized option '{}'", with_value.as_deref().unwrap_or(option))
}

/// Returns the message for a missing value. The option is the last argument, which shows whether its short
/// form was used.
fn missing(option: &str, arguments: &[OsString]) -> String {
    let last = arguments.last().map(|argument| argument.to_string_lossy()).unwrap_or_default();
    match last.strip_prefix('-').filter(|rest| !rest.starts_with('-')).and_then(|rest| rest.chars().last()) {
        Some(letter) => format!("option requires an argument -- '{letter}'"),
        None => format!("option '{option}' requires an argument"),
    }
}

/// Returns the long options of `verb`, with their aliases.
fn long_options(verb: &str) -> impl Iterator<Item = &'static str> {
    match verb {
        "dumpall" => OF_DUMPALL.split(' '),
        _ => OF_DUMP.split(' '),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use clap::{CommandFactory as _, Parser as _};

    use crate::cli::Cli;

    #[track_caller]
    fn complaint(arguments: &[&str]) -> String {
        let all: Vec<OsString> = ["pg-backup", "dump"].iter().chain(arguments).map(OsString::from).collect();
        let error = Cli::try_parse_from(&all).expect_err("should be refused");
        let error = misuse("dump", &error, &all);
        assert!(error.report().ends_with("HINT: Try \"pg-backup dump --help\" for more information.\n"));
        error.to_string()
    }

    /// The messages are those that pg_dump 15 printed for the same arguments.
    #[test]
    fn complaints_are_those_of_getopt() {
        for (arguments, expected) in [
            (&["--foo"][..], "unrecognized option '--foo'"),
            (&["--foo=1"], "unrecognized option '--foo=1'"),
            (&["-q"], "invalid option -- 'q'"),
            (&["-aq"], "invalid option -- 'q'"),
            (&["-f"], "option requires an argument -- 'f'"),
            (&["-af"], "option requires an argument -- 'f'"),
            (&["--file"], "option '--file' requires an argument"),
            (&["--lock-wait"], "option '--lock-wait-timeout' requires an argument"),
            (&["--data-only=1"], "option '--data-only' doesn't allow an argument"),
            (&["--inserts="], "option '--inserts' doesn't allow an argument"),
            (
                &["--no-t"],
                "option '--no-t' is ambiguous; possibilities: '--no-table-access-method' '--no-tablespaces' \
                 '--no-toast-compression'",
            ),
            (&["--in"], "option '--in' is ambiguous; possibilities: '--inserts' '--include-foreign-data'"),
        ] {
            assert_eq!(complaint(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn the_lists_hold_the_options_of_the_commands() {
        for verb in ["dump", "dumpall"] {
            let cli = Cli::command();
            let command = cli.find_subcommand(verb).unwrap();
            let names = command.get_arguments().filter_map(|argument| {
                let aliases = argument.get_all_aliases().unwrap_or_default();
                Some(std::iter::once(argument.get_long()?).chain(aliases))
            });
            let defined: BTreeSet<&str> = names.flatten().collect();
            assert_eq!(long_options(verb).collect::<BTreeSet<_>>(), defined, "{verb}");
        }
    }

    #[test]
    fn what_getopt_accepts_is_accepted() {
        for arguments in [
            &["--schema-o", "db"][..],
            &["-t", "-x", "db", "-a"],
            &["-tpublic.a", "-t", "b", "--table=c"],
            &["-a", "-a", "-fx", "-f", "y"],
            &["-h", "host", "-w", "-W", "-w"],
            &["--no-acl", "--attribute-inserts", "-R"],
            &["--file=", "--", "-db"],
            &["--extra-float-digits", "-3"],
        ] {
            let all = ["pg-backup", "dump"].iter().chain(arguments);
            if let Err(error) = Cli::try_parse_from(all) {
                panic!("{arguments:?}: {error}");
            }
        }
    }
}
