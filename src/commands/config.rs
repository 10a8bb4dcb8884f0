//! `pg-backup config`: prints the effective configuration, with secrets masked, and where each value comes
//! from. `--list` prints the registry of variables. Neither connects to anything.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::table::{print_json, print_table, table};
use crate::commands::config_file::ConfigFile;
use crate::config::variables::{DefaultValue, VARIABLES, Variable};
use crate::config::{self, EffectiveConfig, EffectiveSetting, ValueSource};
use crate::error::Result;

/// Options of `config`.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// List every variable with its default, type and description, without reading the configuration.
    #[arg(long)]
    list: bool,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

/// Output of `--json`.
#[derive(Debug, Serialize)]
struct ConfigOutput<'a> {
    config_file: Option<PathBuf>,
    settings: Vec<ShownSetting<'a>>,
}

#[derive(Debug, Serialize)]
struct ShownSetting<'a> {
    name: &'a str,
    /// `null` if no value applies, or a default that is not pg-backup's.
    value: Option<&'a str>,
    secret: bool,
    source: &'static str,
    /// The file that contains the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
}

/// Output of `--list --json`.
#[derive(Debug, Serialize)]
struct ListOutput {
    variables: Vec<ListedVariable>,
}

#[derive(Debug, Serialize)]
struct ListedVariable {
    name: &'static str,
    #[serde(rename = "type")]
    kind: String,
    required: bool,
    default: Option<&'static str>,
    /// Description of a default that depends on something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    derived_default: Option<&'static str>,
    secret: bool,
    description: &'static str,
}

/// Prints the configuration or the variables.
pub fn config(args: &ConfigArgs) -> Result<()> {
    if args.list {
        return match args.json {
            true => print_json(&ListOutput { variables: VARIABLES.iter().map(listed).collect() }),
            false => print_table(&list_table()),
        };
    }
    let effective = config::effective(args.config.path.as_deref())?;
    match args.json {
        true => print_json(&output(&effective)),
        false => print_table(&effective_table(&effective)),
    }
}

fn listed(variable: &Variable) -> ListedVariable {
    let (default, derived_default) = match variable.default {
        DefaultValue::Value(text) => (Some(text), None),
        DefaultValue::Derived(words) => (None, Some(words)),
        DefaultValue::Required | DefaultValue::None => (None, None),
    };
    ListedVariable {
        name: variable.name,
        kind: variable.kind.to_string(),
        required: variable.default == DefaultValue::Required,
        default,
        derived_default,
        secret: variable.secret,
        description: variable.help,
    }
}

fn list_table() -> comfy_table::Table {
    let mut table = table(&["VARIABLE", "DEFAULT", "TYPE", "SECRET", "DESCRIPTION"]);
    for variable in VARIABLES {
        let secret = if variable.secret { "yes" } else { "no" };
        let (default, kind) = (variable.default.to_string(), variable.kind.to_string());
        table.add_row([variable.name, &default, &kind, secret, variable.help]);
    }
    table
}

fn output(effective: &EffectiveConfig) -> ConfigOutput<'_> {
    let settings = effective.settings.iter().map(|setting| ShownSetting {
        name: &setting.name,
        value: setting.value.as_deref(),
        secret: setting.variable.secret,
        source: source_word(setting.source),
        file: setting.value_file.as_deref(),
    });
    ConfigOutput { config_file: effective.file.clone(), settings: settings.collect() }
}

fn source_word(source: ValueSource) -> &'static str {
    match source {
        ValueSource::CommandLine => "command_line",
        ValueSource::Environment => "environment",
        ValueSource::ConfigFile => "config_file",
        ValueSource::Default => "default",
        ValueSource::Unset => "unset",
    }
}

fn effective_table(effective: &EffectiveConfig) -> comfy_table::Table {
    let mut table = table(&["VARIABLE", "VALUE", "SOURCE"]);
    for setting in &effective.settings {
        let value = match (&setting.value, setting.source) {
            // An empty value is one of its own, e.g. no prefix at a replica.
            (Some(value), _) if value.is_empty() => "\"\"".to_owned(),
            (Some(value), _) => value.trim_end().replace('\n', "\\n"),
            (None, ValueSource::Default) => setting.variable.default.to_string(),
            (None, _) => "-".to_owned(),
        };
        table.add_row([setting.name.clone(), value, source(setting, effective.file.as_deref())]);
    }
    table
}

/// Returns the source for people: `environment`, `/etc/pg-backup.toml`, `/run/secrets/key (environment)`.
fn source(setting: &EffectiveSetting, config_file: Option<&Path>) -> String {
    let source = match (setting.source, config_file) {
        (ValueSource::ConfigFile, Some(file)) => file.display().to_string(),
        (ValueSource::CommandLine, _) => "--config".to_owned(),
        (source, _) => source_word(source).to_owned(),
    };
    match &setting.value_file {
        Some(file) => format!("{file} ({source})"),
        None => source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str, value: Option<&str>, source: ValueSource) -> EffectiveSetting {
        let variable = config::variables::find(name).unwrap();
        let value = value.map(str::to_owned);
        EffectiveSetting { name: name.to_owned(), variable, value, source, value_file: None }
    }

    #[test]
    fn each_value_is_shown_with_its_source() {
        let identity = setting("BACKUP_AGE_IDENTITY", Some("***"), ValueSource::ConfigFile);
        let effective = EffectiveConfig {
            file: Some("/etc/pg-backup.toml".into()),
            settings: vec![
                setting("BACKUP_JOBS", Some("2"), ValueSource::Default),
                setting("BACKUP_S3_CA_FILE", None, ValueSource::Default),
                setting("BACKUP_SCHEDULE", None, ValueSource::Unset),
                setting("BACKUP_REPLICA_S3_PREFIX", Some(""), ValueSource::Default),
                setting("BACKUP_AGE_RECIPIENTS", Some("# Al\nage1x\n"), ValueSource::Environment),
                setting("BACKUP_CONFIG", Some("/etc/pg-backup.toml"), ValueSource::CommandLine),
                EffectiveSetting { value_file: Some("/run/key".to_owned()), ..identity },
            ],
        };
        let shown = effective_table(&effective).trim_fmt();
        let lines: Vec<String> =
            shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(
            lines,
            [
                "VARIABLE VALUE SOURCE",
                "BACKUP_JOBS 2 default",
                "BACKUP_S3_CA_FILE (the system's) default",
                "BACKUP_SCHEDULE - unset",
                "BACKUP_REPLICA_S3_PREFIX \"\" default",
                "BACKUP_AGE_RECIPIENTS # Al\\nage1x environment",
                "BACKUP_CONFIG /etc/pg-backup.toml --config",
                "BACKUP_AGE_IDENTITY *** /run/key (/etc/pg-backup.toml)",
            ]
        );
        let json = serde_json::to_value(output(&effective)).unwrap();
        assert_eq!(json["config_file"], "/etc/pg-backup.toml");
        assert_eq!(json["settings"][1]["value"], serde_json::Value::Null);
        let identity = &json["settings"][6];
        assert_eq!((&identity["source"], &identity["file"]), (&"config_file".into(), &"/run/key".into()));
        assert_eq!((&identity["secret"], &identity["value"]), (&true.into(), &"***".into()));
    }

    #[test]
    fn each_variable_is_listed() {
        let table = list_table().trim_fmt();
        assert_eq!(table.lines().count(), VARIABLES.len() + 1);
        let json = serde_json::to_value(VARIABLES.iter().map(listed).collect::<Vec<_>>()).unwrap();
        let find =
            |name: &str| json.as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
        let jobs = find("BACKUP_JOBS");
        assert_eq!((&jobs["default"], &jobs["type"]), (&"2".into(), &"1..64".into()));
        assert_eq!(find("BACKUP_<NAME>_URL")["required"], true);
        assert_eq!(find("BACKUP_DRILL_JOBS")["derived_default"], "BACKUP_JOBS");
    }
}
