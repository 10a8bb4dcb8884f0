//! The layout of help: commands in groups, and `--help` as compact as `-h`.
//!
//! The texts are on the commands and options, and in [`appendix`](crate::commands::appendix) for the text
//! after them. clap's own `--help` uses three lines per option, which would be five screens for `dump`.
//! Therefore the requested command gets its long texts in place of the short ones, and clap formats the rest.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::{Command, CommandFactory as _};

use super::Cli;
use crate::commands::groups::GROUPS;

/// Returns the help that a command line requests, as clap's error.
pub(super) fn answer(arguments: &[OsString]) -> Option<clap::Error> {
    let request = HelpRequest::by(arguments);
    let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
    laid_out(grouped(Cli::command()), &path, request.long).try_get_matches_from(arguments).err()
}

/// Returns the program or command that a command line refers to: `pg-backup lifecycle apply`.
pub(super) fn whose(arguments: &[OsString]) -> String {
    let mut words = vec![env!("CARGO_PKG_NAME").to_owned()];
    words.append(&mut HelpRequest::by(arguments).path);
    words.join(" ")
}

/// The command whose help is requested, and whether in the long form.
struct HelpRequest {
    path: Vec<String>,
    long: bool,
}

impl HelpRequest {
    /// Parses the arguments. A value with the name of a command may be mistaken for one; the help is then
    /// printed in clap's own layout.
    fn by(arguments: &[OsString]) -> HelpRequest {
        let cli = Cli::command();
        let mut command = &cli;
        let mut request = HelpRequest { path: Vec::new(), long: false };
        for word in arguments.iter().skip(1).filter_map(|word| word.to_str()) {
            // `dump` and `dumpall` accept abbreviations.
            request.long |= word == "help" || (word.len() > "--h".len() && "--help".starts_with(word));
            if let Some(verb) = command.find_subcommand(word) {
                request.path.push(verb.get_name().to_owned());
                command = verb;
            }
        }
        request
    }
}

/// Lists the commands by their groups, which clap does not support.
fn grouped(command: Command) -> Command {
    // Only a built command has the subcommand `help`.
    let mut built = command.clone();
    built.build();
    let (header, literal) = (*built.get_styles().get_header(), *built.get_styles().get_literal());
    let width = GROUPS.iter().flat_map(|(_, verbs)| *verbs).map(|verb| verb.len()).max().unwrap_or_default();
    let mut groups = String::new();
    for (title, verbs) in GROUPS {
        groups += &format!("{header}{title}:{header:#}\n");
        for verb in verbs.iter().filter_map(|verb| built.find_subcommand(verb)) {
            let (name, about) = (verb.get_name(), verb.get_about().cloned().unwrap_or_default());
            groups += &format!("  {literal}{name}{literal:#}{:1$}", "", width - name.len() + 2);
            groups += &format!("{about}\n");
        }
        groups.push('\n');
    }
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{header}Options:{header:#}\n\
         {{options}}{{after-help}}"
    );
    command.help_template(StyledStr::from(template))
}

/// Replaces the texts of the command at the end of `path` with its long or its short ones.
fn laid_out(command: Command, path: &[&str], long: bool) -> Command {
    if let Some((verb, rest)) = path.split_first() {
        return command
            .mut_subcommands(|own| if own.get_name() == *verb { laid_out(own, rest, long) } else { own });
    }
    let header = *command.get_styles().get_header();
    let (about, after) = match long {
        true => (command.get_long_about().or(command.get_about()), command.get_after_long_help()),
        false => (command.get_about(), None),
    };
    let about = about.cloned().unwrap_or_default();
    let after = after.map(|text| {
        let line = |line: &str| match line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            Some(heading) => format!("{header}{heading}:{header:#}\n"),
            None => format!("{line}\n"),
        };
        StyledStr::from(
            text.to_string().trim_end().lines().map(line).collect::<String>().trim_end().to_owned(),
        )
    });
    let command = command.about(about).long_about(None).after_long_help(None);
    match after {
        Some(after) => command.after_help(after),
        None => command,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn help(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        answer(&arguments).expect("help is an error to clap").to_string()
    }

    #[test]
    fn each_verb_is_in_one_group() {
        let mut command = Cli::command();
        command.build();
        let mut verbs: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, verbs)| *verbs).copied().collect();
        assert_eq!(verbs, grouped, "the groups are in the order of the definition");
        verbs.sort_unstable();
        grouped.sort_unstable();
        grouped.dedup();
        assert_eq!(verbs, grouped);
    }

    #[test]
    fn long_help_is_as_dense_as_the_short_one() {
        for line in ["pg-backup dump --help", "pg-backup dump --hel", "pg-backup help dump"] {
            let long = help(line);
            assert!(long.contains("\nExamples:\n"), "{line}: {long}");
            assert!(long.contains("\n  -a, --data-only "), "{line}: {long}");
            let options = long.split("\nUsage:").nth(1).unwrap().split("\nExamples:").next().unwrap();
            assert!(!options.contains("\n\n  -"), "{line}: {long}");
        }
        let short = help("pg-backup dump -?");
        assert!(!short.contains("Examples:"), "{short}");
        assert!(short.contains("\n  -a, --data-only "), "{short}");
    }

    #[test]
    fn the_groups_show_what_each_verb_does_in_one_line() {
        for line in ["pg-backup -h", "pg-backup --help"] {
            let text = help(line);
            assert!(
                text.contains("\nStored backups:\n  list         List the backups in the store\n"),
                "{text}"
            );
        }
        let text = help("pg-backup lifecycle --help");
        assert!(text.contains("\n  show   Print the rule"), "{text}");
    }

    #[test]
    fn a_command_line_is_about_its_last_verb() {
        for (line, about) in [
            ("pg-backup", "pg-backup"),
            ("pg-backup lst", "pg-backup"),
            ("pg-backup --config x lifecycle aply", "pg-backup lifecycle"),
            ("pg-backup lifecycle apply --dry", "pg-backup lifecycle apply"),
        ] {
            let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert_eq!(whose(&arguments), about, "{line}");
        }
    }
}
