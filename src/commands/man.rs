//! `pg-backup man`: the manual pages, generated from the text of `--help`.
//!
//! clap_mangen renders the options. It would join the text after the options into one paragraph, so that text
//! is rendered here: each heading becomes a section, and its lines stay as they are.

use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, roman};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::groups::neighbours;
use super::table::print_lines;
use crate::clock;
use crate::error::{Error, Result};

/// Options of `man`.
#[derive(Args, Clone, Debug)]
pub struct ManArgs {
    /// Command whose page is printed, such as `restore` or `lifecycle apply` [default: pg-backup itself].
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
    /// Write all pages into this directory, which must exist.
    #[arg(long, value_name = "DIR", conflicts_with = "verb", value_hint = clap::ValueHint::DirPath)]
    dir: Option<PathBuf>,
}

const SECTION: &str = "1";

/// Manual pages of other programs to which the page of a command refers.
const RELATED: &[(&str, &[&str])] = &[
    ("dump", &["pg_dump", "psql"]),
    ("dumpall", &["pg_dumpall", "psql"]),
    ("restore", &["pg_restore", "psql"]),
];

/// Prints one page or writes all of them; `command` is the definition of the whole command line.
pub fn man(args: &ManArgs, command: Command) -> Result<()> {
    let date = date(std::env::var("SOURCE_DATE_EPOCH").ok().as_deref())?;
    let program = built(command);
    match &args.dir {
        Some(dir) => write(&ManPage::all(&program), dir, &date),
        None => print_lines(ManPage::find(&program, &args.verb)?.render(&date)?.trim_end()),
    }
}

/// Returns the definition with everything that clap adds to it, except the subcommand `help`.
fn built(command: Command) -> Command {
    let mut program = command.disable_help_subcommand(true);
    program.build();
    program
}

/// Returns the date of the pages; `epoch` is `SOURCE_DATE_EPOCH`, which reproducible builds set.
fn date(epoch: Option<&str>) -> Result<String> {
    let moment = match epoch {
        None => clock::now(),
        Some(epoch) => {
            epoch.parse().ok().and_then(|seconds| Timestamp::from_second(seconds).ok()).ok_or_else(|| {
                Error::usage(format!("SOURCE_DATE_EPOCH=\"{epoch}\" is not a number of seconds"))
            })?
        }
    };
    Ok(moment.to_zoned(TimeZone::UTC).date().to_string())
}

fn write(pages: &[ManPage], dir: &Path, date: &str) -> Result<()> {
    for page in pages {
        let path = dir.join(format!("{}.{SECTION}", page.name));
        std::fs::write(&path, page.render(date)?)
            .map_err(|source| Error::Io { context: format!("cannot write {}", path.display()), source })?;
        print_lines(&path.display().to_string())?;
    }
    Ok(())
}

/// The page of the program or of a command.
struct ManPage<'a> {
    /// `pg-backup-lifecycle-apply`.
    name: String,
    command: &'a Command,
    /// Names of the pages to which it refers.
    see_also: Vec<String>,
}

impl<'a> ManPage<'a> {
    fn of_program(program: &'a Command) -> Self {
        let name = program.get_name().to_owned();
        let see_also = children(&name, program);
        ManPage { name, command: program, see_also }
    }

    /// Returns the page of one of this command's subcommands.
    fn of_verb(&self, verb: &'a Command) -> Self {
        let name = format!("{}-{}", self.name, verb.get_name());
        let mut see_also = vec![self.name.clone()];
        if self.name == env!("CARGO_PKG_NAME") {
            see_also.extend(neighbours(verb.get_name()).map(|verb| format!("{}-{verb}", self.name)));
        }
        see_also.extend(children(&name, verb));
        let related = RELATED.iter().filter(|(of, _)| *of == verb.get_name()).flat_map(|(_, pages)| *pages);
        see_also.extend(related.map(|page| (*page).to_owned()));
        ManPage { name, command: verb, see_also }
    }

    fn all(program: &'a Command) -> Vec<Self> {
        let mut pages = vec![ManPage::of_program(program)];
        let mut at = 0;
        while let Some(page) = pages.get(at) {
            let verbs: Vec<Self> = page.command.get_subcommands().map(|verb| page.of_verb(verb)).collect();
            pages.extend(verbs);
            at += 1;
        }
        pages
    }

    fn find(program: &'a Command, path: &[String]) -> Result<Self> {
        path.iter().try_fold(ManPage::of_program(program), |page, name| {
            page.command.find_subcommand(name).map(|verb| page.of_verb(verb)).ok_or_else(|| Error::Usage {
                message: format!("there is no page {}-{name}", page.name),
                hint: Some("`pg-backup --help` lists the commands".to_owned()),
            })
        })
    }

    fn render(&self, date: &str) -> Result<String> {
        let command = self.command.clone().display_name(self.name.clone());
        let man = Man::new(command.subcommand_help_heading("COMMANDS").subcommand_value_name("COMMAND"))
            .title(self.name.to_uppercase())
            .section(SECTION)
            .date(date)
            .source(concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")))
            .manual("pg-backup Manual");
        let mut page = Vec::new();
        let written = (|| {
            man.render_title(&mut page)?;
            man.render_name_section(&mut page)?;
            man.render_synopsis_section(&mut page)?;
            man.render_description_section(&mut page)?;
            if self.command.has_subcommands() {
                man.render_subcommands_section(&mut page)?;
            }
            man.render_options_section(&mut page)?;
            self.rest().to_writer(&mut page)
        })();
        written.map_err(|source| Error::Io { context: "cannot write the page".to_owned(), source })?;
        Ok(String::from_utf8_lossy(&page).into_owned())
    }

    /// Renders the text after the options.
    fn rest(&self) -> Roff {
        let mut roff = Roff::new();
        let text = self.command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
        for section in text.split("\n\n") {
            let (heading, lines) = section.split_once(":\n").unwrap_or_default();
            roff.control("SH", [heading.to_uppercase().as_str()]);
            roff.control("nf", []);
            for line in lines.lines() {
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            roff.control("fi", []);
        }
        roff.control("SH", ["SEE ALSO"]);
        let mut references: Vec<Inline> = Vec::new();
        for page in &self.see_also {
            let before = if references.is_empty() { "" } else { ", " };
            references.extend([roman(before), bold(page.as_str()), roman(format!("({SECTION})"))]);
        }
        roff.text(references);
        roff
    }
}

fn children(name: &str, command: &Command) -> Vec<String> {
    command.get_subcommands().map(|verb| format!("{name}-{}", verb.get_name())).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn the_date_is_the_one_that_is_asked_for() {
        assert_eq!(date(Some("1777220998")).unwrap(), "2026-04-26");
        assert_eq!(date(None).unwrap(), Timestamp::now().to_string()[..10]);
        let error = date(Some("today")).unwrap_err();
        assert_eq!(error.to_string(), "SOURCE_DATE_EPOCH=\"today\" is not a number of seconds");
    }

    #[test]
    fn pages_refer_to_each_other() {
        let program = built(Cli::command());
        let names: Vec<String> = ManPage::all(&program).into_iter().map(|page| page.name).collect();
        assert!(names.contains(&"pg-backup-lifecycle-apply".to_owned()), "{names:?}");
        assert!(!names.iter().any(|name| name.contains("help")), "{names:?}");
        for page in ManPage::all(&program) {
            for other in page.see_also {
                assert!(names.contains(&other) || !other.starts_with("pg-"), "{}: {other}", page.name);
                assert_ne!(page.name, other);
            }
        }
        let see_also = |verb: &str| ManPage::find(&program, &[verb.to_owned()]).unwrap().see_also;
        assert_eq!(see_also("dump"), ["pg-backup", "pg-backup-dumpall", "pg_dump", "psql"]);
        assert!(see_also("lifecycle").contains(&"pg-backup-lifecycle-show".to_owned()));
    }

    #[test]
    fn a_page_that_is_not_there_is_named() {
        let program = built(Cli::command());
        let error = ManPage::find(&program, &["lifecycle".to_owned(), "aply".to_owned()]).err().unwrap();
        assert_eq!(error.to_string(), "there is no page pg-backup-lifecycle-aply");
    }
}
