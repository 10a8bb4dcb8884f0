//! The program's own documentation: help, shell completions, manual pages and its version.
//!
//! The commands and their options come from clap's definition, so the tests cannot miss any.

use std::fs;
use std::path::Path;
use std::process::Command;

use clap::{CommandFactory as _, Parser as _};
use pg_backup::cli::Cli;

use crate::harness::program::{Output, pg_backup, run, without_settings};

/// Returns the program and all its subcommands: the words after its name, and clap's definition.
fn commands() -> Vec<(Vec<String>, clap::Command)> {
    let mut all = vec![(Vec::new(), Cli::command().disable_help_subcommand(true))];
    let mut at = 0;
    while let Some((path, command)) = all.get(at).cloned() {
        for verb in command.get_subcommands() {
            let path = path.iter().cloned().chain([verb.get_name().to_owned()]).collect();
            all.push((path, verb.clone()));
        }
        at += 1;
    }
    assert!(all.iter().any(|(path, _)| path.join(" ") == "lifecycle apply"), "nested verbs are among them");
    all
}

fn help_of(path: &[String], option: &str) -> String {
    run(pg_backup().args(path).arg(option).env_remove("COLUMNS")).expect_success().stdout_text()
}

/// Returns the help on a terminal with this number of columns.
fn help_within(path: &[String], option: &str, columns: usize) -> String {
    run(pg_backup().args(path).arg(option).env("COLUMNS", columns.to_string())).expect_success().stdout_text()
}

/// Returns the lines of a section of help, without its heading.
fn section<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    let after = help.lines().skip_while(|line| *line != format!("{heading}:")).skip(1);
    after.take_while(|line| !line.is_empty()).collect()
}

/// Returns the commands in the examples of a help text.
fn examples(help: &str) -> Vec<&str> {
    let lines = section(help, "Examples").into_iter();
    lines.filter(|line| line.starts_with("    ")).map(str::trim).collect()
}

#[test]
fn each_command_says_what_it_is_for_and_shows_how() {
    for (path, _) in commands() {
        let (whole, short) = (help_of(&path, "--help"), help_of(&path, if_short(&path)));
        let lines: Vec<&str> = whole.lines().collect();
        assert!(lines[0].ends_with('.') && lines[0].len() <= 100, "{path:?}: one line says it: {}", lines[0]);
        let when: Vec<&str> = lines.iter().copied().skip(2).take_while(|line| !line.is_empty()).collect();
        assert!(!when.is_empty() && !when[0].starts_with("Usage"), "{path:?}: when to use it\n{whole}");
        assert!(!examples(&whole).is_empty(), "{path:?}: examples\n{whole}");
        assert!(!short.contains("Examples:"), "{path:?}\n{short}");
        assert!(short.lines().count() < lines.len(), "{path:?}\n{short}");
        let narrow = help_within(&path, "--help", 80);
        for (text, columns) in [(&whole, 100), (&short, 100), (&narrow, 80)] {
            let long = text.lines().find(|line| line.chars().count() > columns);
            assert!(long.is_none(), "{path:?}: longer than {columns}: {long:?}");
            assert!(!text.contains(" \n"), "{path:?}: blanks at the end of a line\n{text}");
        }
        // Text with a fixed layout is not wrapped.
        assert_eq!(section(&narrow, "Examples"), section(&whole, "Examples"), "{path:?}");
        assert_eq!(section(&narrow, "Exit status"), section(&whole, "Exit status"), "{path:?}");
    }
}

fn if_short(path: &[String]) -> &'static str {
    // -h is the host there, as in pg_dump.
    if path.first().is_some_and(|verb| verb.starts_with("dump")) { "-?" } else { "-h" }
}

#[test]
fn the_help_of_a_verb_comes_by_any_way() {
    let help = help_of(&["restore".to_owned()], "--help");
    let other = run(pg_backup().args(["help", "restore"]).env_remove("COLUMNS")).expect_success();
    assert_eq!(other.stdout_text(), help);
    let refused = run(pg_backup().args(["restore", "--no-such"])).expect_code(2);
    assert!(
        refused.stderr.ends_with("HINT: Try \"pg-backup restore --help\" for more information.\n"),
        "{refused}"
    );
    let refused = run(pg_backup().arg("lifecycle")).expect_code(2);
    assert!(refused.stderr.contains("show, apply, check"), "{refused}");
}

#[test]
fn each_option_says_what_it_does() {
    let mut options = 0;
    for (path, mut command) in commands() {
        command.build();
        // clap's own option for help has two texts.
        for argument in command.get_arguments().filter(|argument| argument.get_id() != "help") {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() > 8, "{path:?} {argument}: \"{help}\"");
            assert!(argument.get_long_help().is_none(), "{path:?} {argument}: one text, for -h and --help");
            options += 1;
        }
    }
    assert!(options > 150, "{options}");
}

/// Returns the words of the pg-backup commands in a line of shell, without the surrounding syntax.
fn own_commands(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("not shell: {line}"));
    let parts = words.split(|word| ["|", "||", "&&", ";"].contains(&word.as_str()));
    let parts = parts.map(|part| {
        let is_setting =
            |word: &String| word.split_once('=').is_some_and(|(name, _)| name.to_uppercase() == name);
        let words = part.iter().skip_while(|word| is_setting(word));
        words.take_while(|word| !word.starts_with('>')).cloned().collect::<Vec<String>>()
    });
    parts.filter(|part| part.first().is_some_and(|program| program == "pg-backup")).collect()
}

#[test]
fn each_example_is_understood() {
    assert_eq!(
        own_commands("A='b c' pg-backup list 'x y' | jq '.[] | a' && pg-backup run > log; gunzip"),
        [&["pg-backup", "list", "x y"][..], &["pg-backup", "run"]]
    );
    for (path, _) in commands() {
        let help = help_of(&path, "--help");
        let mut verbs = Vec::new();
        for line in examples(&help) {
            let commands = own_commands(line);
            assert!(!commands.is_empty(), "{path:?}: nothing of pg-backup in {line}");
            for command in commands {
                if let Err(error) = Cli::try_parse_from(&command) {
                    panic!("{path:?}: {line}\n{error}");
                }
                verbs.push(command[1..].join(" "));
            }
        }
        let own = path.join(" ");
        assert!(
            verbs.iter().any(|verb| verb.starts_with(&own)),
            "{path:?}: an example of its own: {verbs:?}"
        );
    }
}

#[test]
fn the_settings_and_exit_codes_of_the_help_are_documented() {
    let help = help_of(&[], "--help");
    let documents = fs::read_to_string("docs/configuration.md").unwrap();
    for code in 0..=7 {
        assert!(documents.contains(&format!("\n| {code} | ")), "docs: {code}");
        let lines = section(&help, "Exit status");
        assert!(lines.iter().any(|line| line.starts_with(&format!("  {code}  "))), "{code}\n{help}");
    }
    let row = |code: u8| documents.lines().find(|line| line.starts_with(&format!("| {code} | "))).unwrap();
    for (path, _) in commands() {
        let help = help_of(&path, "--help");
        // The row of a code names each subcommand that documents the code.
        for code in [1, 6, 7] {
            let lines = section(&help, "Exit status");
            let mut codes = lines.iter().filter_map(|line| line.split_whitespace().next());
            if !path.is_empty() && codes.any(|listed| listed == code.to_string()) {
                assert!(row(code).contains(&format!("`{}", path.join(" "))), "{path:?}: {}", row(code));
            }
        }
        for word in help.split(|c: char| !c.is_ascii_uppercase() && c != '_' && !c.is_ascii_digit()) {
            let name = word.trim_end_matches('_');
            if name.starts_with("BACKUP_") && name != "BACKUP_" {
                let known = ["configuration", "storing", "encryption"]
                    .iter()
                    .any(|page| fs::read_to_string(format!("docs/{page}.md")).unwrap().contains(name));
                assert!(known, "{path:?}: {name}");
            }
        }
    }
}

/// Writes the completion script of a shell to a file.
fn completions(shell: &str, dir: &Path) -> std::path::PathBuf {
    let script = run(pg_backup().args(["completions", shell])).expect_success();
    let path = dir.join(format!("pg-backup.{shell}"));
    fs::write(&path, &script.stdout).unwrap();
    path
}

fn shell(program: &str, arguments: &[&str]) -> Output {
    run(without_settings(&mut Command::new(program)).args(arguments)).expect_success()
}

#[test]
fn each_shell_accepts_its_completions() {
    let dir = tempfile::tempdir().unwrap();
    let check = [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")];
    for (program, option) in check {
        let script = completions(program, dir.path());
        let checked = shell(program, &[option, script.to_str().unwrap()]);
        assert!(checked.stderr.is_empty(), "{checked}");
    }
    // These shells have no Debian package.
    for program in ["elvish", "powershell"] {
        let script = fs::read_to_string(completions(program, dir.path())).unwrap();
        assert!(script.contains("recreate-schema") && script.contains("lifecycle"), "{script}");
    }
    run(pg_backup().args(["completions", "csh"])).expect_code(2);
}

/// Returns bash's completions for the last of these words.
fn offered_by_bash(words: &[&str]) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let script = completions("bash", dir.path());
    let last = words.len() - 1;
    let ask = r#"
        source "$0"
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        function=$(complete -p pg-backup | sed 's/.*-F \([^ ]*\).*/\1/')
        "$function" pg-backup "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let arguments = [&["-c", ask, script.to_str().unwrap()], words].concat();
    assert!(last > 0);
    shell("bash", &arguments).stdout_text().lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_verbs_options_and_values() {
    assert_eq!(offered_by_bash(&["pg-backup", "li"]), ["list", "lifecycle"]);
    assert_eq!(offered_by_bash(&["pg-backup", "lifecycle", "a"]), ["apply"]);
    assert_eq!(offered_by_bash(&["pg-backup", "restore", "latest", "--re"]), ["--recreate-schema"]);
    assert_eq!(offered_by_bash(&["pg-backup", "dump", "--on-conf"]), ["--on-conflict-do-nothing"]);
    assert_eq!(offered_by_bash(&["pg-backup", "completions", "po"]), ["powershell"]);
}

#[test]
fn fish_completes_verbs_and_options() {
    let dir = tempfile::tempdir().unwrap();
    let script = completions("fish", dir.path());
    let offered = |line: &str| {
        let ask = format!("source {}; complete -C '{line}'", script.display());
        let answer =
            run(without_settings(&mut Command::new("fish")).env("HOME", dir.path()).args(["-c", &ask]));
        let words = answer.expect_success().stdout_text();
        words.lines().map(|line| line.split('\t').next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(offered("pg-backup lif"), ["lifecycle"]);
    assert_eq!(offered("pg-backup restore --recr"), ["--recreate-schema"]);
}

/// Writes all pages to a temporary directory.
fn pages() -> (tempfile::TempDir, Vec<std::path::PathBuf>) {
    let dir = tempfile::tempdir().unwrap();
    let written =
        run(pg_backup().arg("man").arg("--dir").arg(dir.path()).env("SOURCE_DATE_EPOCH", "1777220998"));
    let written = written.expect_success().stdout_text();
    let pages = written.lines().map(std::path::PathBuf::from).collect();
    (dir, pages)
}

#[test]
fn manual_pages_are_without_fault() {
    let (dir, pages) = pages();
    assert_eq!(pages.len(), commands().len());
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), pages.len());
    for page in &pages {
        let path = page.to_str().unwrap();
        let checked = shell("groff", &["-man", "-Tutf8", "-ww", "-z", path]);
        assert!(checked.stderr.is_empty() && checked.stdout.is_empty(), "{checked}");
        shell("mandoc", &["-T", "lint", "-W", "warning,stop", path]);
    }
}

/// Returns a page as rendered text.
fn read(page: &Path) -> String {
    plain(&shell("mandoc", &["-T", "utf8", "-O", "width=200", page.to_str().unwrap()]).stdout_text())
}

#[test]
fn manual_pages_say_what_help_says() {
    let (dir, pages) = pages();
    for (path, _) in commands() {
        let name = ["pg-backup".to_owned()].into_iter().chain(path.clone()).collect::<Vec<_>>().join("-");
        let page = read(&dir.path().join(format!("{name}.1")));
        let help = help_of(&path, "--help");
        let summary = help.lines().next().unwrap().trim_end_matches('.');
        assert!(page.contains(&format!("{name} - {summary}")), "{name}\n{page}");
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "SEE ALSO"] {
            assert!(page.contains(&format!("\n{heading}\n")), "{name}: {heading}\n{page}");
        }
        for line in examples(&help) {
            assert!(page.lines().any(|shown| shown.trim() == line), "{name}: {line}\n{page}");
        }
        if !section(&help, "Exit status").is_empty() {
            assert!(page.contains("\nEXIT STATUS\n"), "{name}\n{page}");
        }
        let last = page.trim_end().lines().last().unwrap();
        assert!(last.starts_with("pg-backup 0.") && last.contains("2026-04-26"), "{name}: {last}");
        assert!(page.lines().next().unwrap().contains("pg-backup Manual"), "{name}\n{page}");
        for reference in references(&page) {
            let other = dir.path().join(format!("{reference}.1"));
            assert!(pages.contains(&other), "{name} refers to {reference}");
        }
    }
    let one = run(pg_backup().args(["man", "lifecycle", "apply"]).env("SOURCE_DATE_EPOCH", "1777220998"));
    let written = fs::read_to_string(dir.path().join("pg-backup-lifecycle-apply.1")).unwrap();
    assert_eq!(one.expect_success().stdout_text(), format!("{}\n", written.trim_end()));
}

/// Removes overstrikes: a character printed over itself for bold, or over an underscore for italics.
fn plain(page: &str) -> String {
    let mut text = String::new();
    for letter in page.chars() {
        match letter {
            '\u{8}' => drop(text.pop()),
            letter => text.push(letter),
        }
    }
    text
}

/// Returns the pg-backup pages in a page's SEE ALSO section.
fn references(page: &str) -> Vec<&str> {
    let after = page.split("\nSEE ALSO\n").nth(1).unwrap_or_default();
    let words = after.split([' ', ',', '\n']).filter_map(|word| word.strip_suffix("(1)"));
    let own: Vec<&str> = words.filter(|word| word.starts_with("pg-backup")).collect();
    assert!(!own.is_empty(), "{page}");
    own
}

#[test]
fn a_verb_without_a_page_and_a_directory_that_is_not_there_are_named() {
    let refused = run(pg_backup().args(["man", "aply"])).expect_code(2);
    assert!(refused.stderr.contains("there is no page pg-backup-aply"), "{refused}");
    let refused = run(pg_backup().args(["man", "--dir", "/no/such"])).expect_code(1);
    assert!(refused.stderr.contains("cannot write /no/such/pg-backup.1: No such file"), "{refused}");
}

#[test]
fn the_version_lists_for_programs_what_is_supported() {
    let json = run(pg_backup().args(["version", "--json"])).expect_success().stdout_text();
    let version: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(version["name"], "pg-backup");
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["license"], "MIT OR Apache-2.0");
    assert_eq!(version["server_majors"], serde_json::json!([15, 16, 17]));
    assert_eq!(version["archive_format_versions"], serde_json::json!({ "written": [1, 2], "read": [1, 2] }));
    let host = shell("rustc", &["-vV"]).stdout_text();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let (cpu, system) = (host.split('-').next().unwrap(), "linux");
    let target = version["target"].as_str().unwrap();
    assert!(target.starts_with(cpu) && target.contains(system), "{target}, built on {host}");
    assert!(version.as_object().unwrap().contains_key("commit"), "{json}");
    let text = run(pg_backup().arg("version")).expect_success().stdout_text();
    assert!(
        text.starts_with(&format!("pg-backup {}\nbuilt for {target}", env!("CARGO_PKG_VERSION"))),
        "{text}"
    );
    assert!(text.contains("\ndumps PostgreSQL 15, 16, 17\n"), "{text}");
}
