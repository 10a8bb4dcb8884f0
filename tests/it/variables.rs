//! The registry of variables agrees with the documentation and the template: each variable is there with its
//! default, and no other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pg_backup::config::variables::{DefaultValue, VARIABLES, Variable, find};

use crate::harness::document::repository;

/// Databases of the examples, in capitals.
const DATABASES: &[&str] = &["<NAME>", "METADATA", "WEBSITE", "DEMO", "WEB_SITE", "MYDB"];

/// Names in the documentation that are not variables of pg-backup: a misspelled one, and those of Kubernetes.
const OTHERS: &[&str] = &["BACKUP_S3_BUKET", "BACKUP_SERVICE_HOST", "BACKUP_PORT_5432_TCP"];

/// Variables whose value in the template is an example, although they have a default.
const EXAMPLES: &[&str] = &["BACKUP_REPLICA_AWS_REGION"];

/// Returns the files of a directory and of those below it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns the pages of Markdown.
fn pages() -> Vec<PathBuf> {
    let root = ["README.md", "BACKUPS.md"].map(|name| repository().join(name));
    let docs = files(&repository().join("docs"));
    root.into_iter()
        .chain(docs.into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")))
        .collect()
}

/// A row of a table of variables: names and defaults as written.
struct Row {
    place: String,
    names: Vec<String>,
    defaults: Vec<String>,
}

/// Returns all rows of the tables `| variable | default | |`.
fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut in_table = false;
        for (line, number) in text.lines().zip(1..) {
            in_table = line == "| variable | default | |" || (in_table && line.starts_with('|'));
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            if !in_table || cells.len() < 4 || !cells[1].starts_with('`') {
                continue;
            }
            let names: Vec<String> = cells[1].split('`').skip(1).step_by(2).map(str::to_owned).collect();
            let listed: Vec<String> = cells[2].split(", ").map(str::to_owned).collect();
            let is_listed = names.len() > 1 && listed.len() == names.len();
            let defaults = if is_listed { listed } else { vec![cells[2].to_owned(); names.len()] };
            rows.push(Row { place: format!("{}:{number}", page.display()), names, defaults });
        }
    }
    rows
}

/// Returns whether a cell documents the default of a variable.
fn documents_default(cell: &str, variable: &Variable) -> bool {
    if cell == "as for the primary" {
        let primary = find(&variable.name.replacen("BACKUP_REPLICA_", "BACKUP_", 1)).expect(variable.name);
        return primary.name != variable.name && primary.default == variable.default;
    }
    match variable.default {
        DefaultValue::Required => cell == "required",
        DefaultValue::None => matches!(cell, "" | "none"),
        DefaultValue::Value(text) => cell == format!("`{text}`"),
        DefaultValue::Derived(words) => cell.replace('`', "") == words,
    }
}

#[test]
fn the_tables_name_each_variable_with_its_default_and_no_other() {
    let mut documented = BTreeSet::new();
    let mut wrong = Vec::new();
    for Row { place, names, defaults } in rows() {
        for (name, default) in names.iter().zip(&defaults) {
            let variable = VARIABLES.iter().find(|variable| variable.name == *name);
            match (variable, name.strip_suffix('*')) {
                (Some(variable), _) => {
                    documented.insert(variable.name);
                    if !documents_default(default, variable) {
                        wrong.push(format!("{place}: {name}: \"{default}\" is not {}", variable.default));
                    }
                }
                // A family that another page describes.
                (None, Some(start)) if VARIABLES.iter().any(|variable| variable.name.starts_with(start)) => {}
                (None, _) => wrong.push(format!("{place}: {name} is not in the registry")),
            }
        }
    }
    let missing = VARIABLES.iter().filter(|variable| !documented.contains(variable.name));
    wrong.extend(missing.map(|variable| format!("{} is in no table", variable.name)));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Returns whether a word that begins with `BACKUP_` is a variable, its `_FILE`, or the start of a family.
fn is_known(word: &str) -> bool {
    let takes_file = |name: &str| find(name).is_some_and(Variable::takes_file);
    let is_variable = |name: &str| match find(name) {
        Some(variable) if variable.is_for_databases() => {
            let stems = DATABASES.iter().filter_map(|stem| variable.for_database(stem));
            stems.into_iter().any(|known| known == name)
        }
        found => found.is_some(),
    };
    match word.ends_with('_') {
        true => VARIABLES.iter().any(|variable| variable.name.starts_with(word)),
        false => {
            is_variable(word)
                || word.strip_suffix("_FILE").is_some_and(|name| takes_file(name) && is_variable(name))
        }
    }
}

#[test]
fn the_documentation_names_no_other_variable() {
    for (word, expected) in [
        ("BACKUP_JOBS", true),
        ("BACKUP_AGE_IDENTITY_FILE", true),
        ("BACKUP_ALERT_", true),
        ("BACKUP_METADATA_PASSWORD_FILE", true),
        ("BACKUP_CONFIG_FILE", false),
        ("BACKUP_JOB", false),
        ("BACKUP_ALARM_", false),
        ("BACKUP_ALERT_SLAK_URL", false),
    ] {
        assert_eq!(is_known(word), expected, "{word}");
    }
    let words = regex_lite::Regex::new("(?:^|[^A-Z0-9_])(BACKUP_[A-Z0-9_<>]*)").unwrap();
    let mut unknown = Vec::new();
    let others =
        files(&repository().join("docker")).into_iter().chain([repository().join(".env.production")]);
    for file in pages().into_iter().chain(others) {
        let Ok(text) = fs::read_to_string(&file) else { continue };
        let found: BTreeSet<&str> =
            words.captures_iter(&text).map(|word| word.get(1).unwrap().as_str()).collect();
        let foreign = found.into_iter().filter(|word| !OTHERS.contains(word) && !is_known(word));
        unknown.extend(foreign.map(|word| format!("{}: {word}", file.display())));
    }
    assert!(unknown.is_empty(), "not in the registry:\n{}", unknown.join("\n"));
}

#[test]
fn the_template_has_each_variable_and_its_default() {
    let template = fs::read_to_string(repository().join(".env.production")).unwrap();
    let lines = template.lines().map(|line| line.trim_start_matches('#'));
    let settings: BTreeMap<&str, &str> =
        lines.filter(|line| line.starts_with("BACKUP_")).filter_map(|line| line.split_once('=')).collect();
    let mut wrong = Vec::new();
    for variable in VARIABLES.iter().filter(|variable| variable.is_own()) {
        let name = variable.for_database("METADATA").unwrap_or_else(|| variable.name.to_owned());
        let value = settings.get(name.as_str()).or_else(|| settings.get(format!("{name}_FILE").as_str()));
        // The template says that the options of the store also exist for the replica.
        let is_option_of_replica =
            name.starts_with("BACKUP_REPLICA_S3_") && name != "BACKUP_REPLICA_S3_BUCKET";
        match (value, variable.default) {
            (None, _) if !is_option_of_replica => wrong.push(format!("{name} is missing")),
            (Some(value), DefaultValue::Value(default))
                if *value != default && !EXAMPLES.contains(&variable.name) =>
            {
                wrong.push(format!("{name}={value}, but the default is {default}"));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
