//! The effective configuration: each variable with the value that applies, and where the value comes from.
//! Secrets are masked here, so that no caller can print one.

use std::path::{Path, PathBuf};

use hyper::Uri;

use super::error::ConfigError;
use super::variables::{CONFIG, DefaultValue, FILE_SUFFIX, VARIABLES, ValueType, Variable};
use super::vars::{Origin, Vars};
use super::{Config, DatabaseConfig, Purpose};
use crate::protocol::{ConnInfo, Environment};

/// Stands for a secret.
const MASK: &str = "***";

/// The values that apply, in the order of the registry.
#[derive(Clone, Debug)]
pub struct EffectiveConfig {
    /// The TOML file of settings.
    pub file: Option<PathBuf>,
    /// One entry for each variable; a variable of databases has one for each database.
    pub settings: Vec<EffectiveSetting>,
}

/// A variable and the value that applies.
#[derive(Clone, Debug)]
pub struct EffectiveSetting {
    /// Name of the variable, with the name of a database instead of a pattern.
    pub name: String,
    /// The entry in the registry.
    pub variable: &'static Variable,
    /// The value as it may be shown; `None` if no value applies, or a default that only a description names.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: ValueSource,
    /// The file that `NAME_FILE` names, if the value is in one.
    pub value_file: Option<String>,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// An option of the command line.
    CommandLine,
    /// The environment.
    Environment,
    /// The TOML file.
    ConfigFile,
    /// The variable is not set, and has a default.
    Default,
    /// The variable is not set, and nothing applies instead.
    Unset,
}

/// Reads and validates the configuration of this process; `file` is the value of `--config`. Databases and
/// their URLs are optional.
pub fn effective(file: Option<&Path>) -> Result<EffectiveConfig, ConfigError> {
    EffectiveConfig::read(&Vars::load(std::env::vars_os(), file)?)
}

impl EffectiveConfig {
    pub(super) fn read(vars: &Vars) -> Result<EffectiveConfig, ConfigError> {
        let config = Config::read(vars, Purpose::ReadStore)?;
        let mut settings = Vec::new();
        for variable in VARIABLES.iter().filter(|variable| !variable.is_family()) {
            for name in names(variable, &config) {
                settings.push(EffectiveSetting::read(vars, &config, variable, name)?);
            }
        }
        Ok(EffectiveConfig { file: vars.file.as_ref().map(|file| file.path.clone()), settings })
    }
}

/// Returns the name of a variable, or those for all databases.
fn names(variable: &Variable, config: &Config) -> Vec<String> {
    let stems = config.databases.iter().map(|database| DatabaseConfig::variable_stem(&database.name));
    match variable.is_for_databases() {
        true => stems.filter_map(|stem| variable.for_database(&stem)).collect(),
        false => vec![variable.name.to_owned()],
    }
}

impl EffectiveSetting {
    fn read(
        vars: &Vars,
        config: &Config,
        variable: &'static Variable,
        name: String,
    ) -> Result<EffectiveSetting, ConfigError> {
        let setting =
            |name, value, source| EffectiveSetting { name, variable, value, source, value_file: None };
        if let (CONFIG, Some(file)) = (variable.name, &vars.file) {
            let source = if file.is_option { ValueSource::CommandLine } else { ValueSource::Environment };
            return Ok(setting(name, Some(file.path.display().to_string()), source));
        }
        if !variable.is_own()
            && let Some(text) = vars.surrounding(&name)
        {
            return Ok(setting(name, Some(shown(variable, text)), ValueSource::Environment));
        }
        // Several lines are permitted here; `Config::read` has refused them where they are not.
        if variable.is_own()
            && let Some(text) = vars.get_lines(&name)?
        {
            let file_name = format!("{name}{FILE_SUFFIX}");
            let file = vars.non_empty(&file_name);
            let source = match file.or(vars.non_empty(&name)) {
                Some((_, Origin::File)) => ValueSource::ConfigFile,
                _ => ValueSource::Environment,
            };
            let value_file = file.map(|(path, _)| path.to_owned());
            return Ok(EffectiveSetting {
                value_file,
                ..setting(name, Some(shown(variable, &text)), source)
            });
        }
        if !default_applies(vars, config, variable) {
            return Ok(setting(name, None, ValueSource::Unset));
        }
        Ok(match variable.default {
            DefaultValue::Value(text) => setting(name, Some(text.to_owned()), ValueSource::Default),
            DefaultValue::Derived(_) => setting(name, derived(config, variable), ValueSource::Default),
            DefaultValue::Required | DefaultValue::None => setting(name, None, ValueSource::Unset),
        })
    }
}

/// Returns whether a variable's default has an effect beside the other settings.
fn default_applies(vars: &Vars, config: &Config, variable: &Variable) -> bool {
    match variable.name {
        "BACKUP_INTERVAL_SECONDS" => vars.spelling("BACKUP_SCHEDULE").is_none(),
        "BACKUP_LOG" => vars.surrounding("RUST_LOG").is_none(),
        name if name.starts_with("BACKUP_REPLICA_") => config.replica.is_some(),
        name if name.starts_with("BACKUP_ALERT_SMTP_") || name.starts_with("BACKUP_ALERT_MAIL_") => {
            config.alerts.mail.is_some()
        }
        _ => true,
    }
}

/// Returns a default that follows from other settings.
fn derived(config: &Config, variable: &Variable) -> Option<String> {
    let replica = config.replica.as_ref();
    match variable.name {
        "BACKUP_S3_PATH_STYLE" => config.store.access().map(|access| access.path_style.to_string()),
        "BACKUP_REPLICA_S3_PATH_STYLE" => replica.map(|replica| replica.access.path_style.to_string()),
        "BACKUP_REPLICA_S3_PREFIX" => replica.map(|replica| replica.prefix.clone()),
        "BACKUP_LIFECYCLE_RULE_ID" => Some(config.lifecycle.id.clone()),
        "BACKUP_DRILL_JOBS" => Some(config.drill.jobs.to_string()),
        "BACKUP_ALERT_NAME" => Some(config.alerts.name.clone()),
        _ => None,
    }
}

/// Returns a value as it may be shown.
fn shown(variable: &Variable, text: &str) -> String {
    match variable.kind {
        ValueType::DatabaseUrl => shown_connection(text).unwrap_or_else(|| MASK.to_owned()),
        ValueType::Url => shown_url(text.trim()).unwrap_or_else(|| MASK.to_owned()),
        _ if variable.secret => MASK.to_owned(),
        _ => text.to_owned(),
    }
}

/// Returns the URL of a database without its passwords.
fn shown_connection(url: &str) -> Option<String> {
    const ADDRESS: [&str; 5] = ["user", "host", "hostaddr", "port", "dbname"];
    let info = ConnInfo::parse(url).ok()?;
    let connection = info.resolve(&Environment::of_variables([])).ok()?;
    let mut text = format!("postgres://{connection}");
    let mut separator = '?';
    for name in info.names().filter(|name| !ADDRESS.contains(name)) {
        let value = if name.contains("password") { MASK } else { info.get(name).unwrap_or_default() };
        text += &format!("{separator}{name}={value}");
        separator = '&';
    }
    Some(text)
}

/// Returns a URL without its login, and without its path and query, which are the only secret of many URLs.
/// `None` if an unescaped `/`, `?` or `#` in the login makes the parser take a part of it for the host.
fn shown_url(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let has_login = |text: &str| text.contains('@');
    if text.contains('#') || has_login(text) && !uri.authority().is_some_and(|a| has_login(a.as_str())) {
        return None;
    }
    let (host, port) = (uri.host()?, uri.port().map(|port| format!(":{port}")).unwrap_or_default());
    let scheme = uri.scheme_str().map(|scheme| format!("{scheme}://")).unwrap_or_default();
    let rest = if matches!(uri.path(), "" | "/") && uri.query().is_none() { "" } else { "/***" };
    Some(format!("{scheme}{host}{port}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> EffectiveConfig {
        let base = [("BACKUP_S3_BUCKET", "backups"), ("BACKUP_DATABASES", "metadata, web-site")];
        let pairs = base.iter().chain(pairs).map(|(name, value)| ((*name).into(), (*value).into()));
        EffectiveConfig::read(&Vars::load(pairs, None).unwrap()).unwrap()
    }

    impl EffectiveConfig {
        fn get(&self, name: &str) -> (Option<&str>, ValueSource) {
            let found = self.settings.iter().find(|setting| setting.name == name).expect(name);
            (found.value.as_deref(), found.source)
        }
    }

    #[test]
    fn each_variable_has_its_value_and_source() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "s3cret").unwrap();
        let path = file.path().to_str().unwrap();
        let config = read(&[
            ("BACKUP_JOBS", "3"),
            ("BACKUP_WEB_SITE_URL", "postgres://u:s3cret@h/d?sslmode=require"),
            ("BACKUP_METADATA_PASSWORD_FILE", path),
            ("BACKUP_METADATA_URL", "postgres://u@h:5433/d"),
            ("TZ", "Europe/Berlin"),
        ]);
        use ValueSource::{Default, Environment, Unset};
        for (name, value, source) in [
            ("BACKUP_S3_BUCKET", Some("backups"), Environment),
            ("BACKUP_JOBS", Some("3"), Environment),
            ("BACKUP_DRILL_JOBS", Some("3"), Default),
            ("BACKUP_RETRY_WAIT", Some("5s"), Default),
            ("BACKUP_S3_PATH_STYLE", Some("false"), Default),
            ("BACKUP_S3_CA_FILE", None, Default),
            ("BACKUP_LIFECYCLE_RULE_ID", Some("pg-backup-7d"), Default),
            ("BACKUP_REPLICA_AWS_REGION", None, Unset),
            ("BACKUP_SCHEDULE", None, Unset),
            ("BACKUP_METADATA_URL", Some("postgres://u@h:5433/d"), Environment),
            ("BACKUP_METADATA_PASSWORD", Some(MASK), Environment),
            ("BACKUP_WEB_SITE_URL", Some("postgres://u@h:5432/d?password=***&sslmode=require"), Environment),
            ("BACKUP_WEB_SITE_PASSWORD", None, Unset),
            ("TZ", Some("Europe/Berlin"), Environment),
            ("RUST_LOG", None, Unset),
        ] {
            assert_eq!(config.get(name), (value, source), "{name}");
        }
        let with_file = config.settings.iter().filter(|setting| setting.value_file.is_some());
        let files: Vec<_> =
            with_file.map(|setting| (setting.name.as_str(), setting.value_file.as_deref())).collect();
        assert_eq!(files, [("BACKUP_METADATA_PASSWORD", Some(path))]);
        assert!(config.settings.iter().all(|setting| !setting.name.contains(['<', '*'])));
        let scheduled = read(&[("BACKUP_SCHEDULE", "@daily"), ("BACKUP_REPLICA_S3_BUCKET", "far")]);
        assert_eq!(scheduled.get("BACKUP_INTERVAL_SECONDS"), (None, Unset));
        assert_eq!(scheduled.get("BACKUP_REPLICA_S3_PREFIX"), (Some(""), Default));
    }

    #[test]
    fn the_file_is_a_source() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "BACKUP_S3_BUCKET = 'b'\nBACKUP_JOBS = 5\n").unwrap();
        let vars = Vars::load([("BACKUP_JOBS".into(), "2".into())], Some(file.path())).unwrap();
        let config = EffectiveConfig::read(&vars).unwrap();
        assert_eq!(config.file.as_deref(), Some(file.path()));
        assert_eq!(config.get("BACKUP_S3_BUCKET"), (Some("b"), ValueSource::ConfigFile));
        assert_eq!(config.get("BACKUP_JOBS"), (Some("2"), ValueSource::Environment));
        assert_eq!(config.get(CONFIG), (file.path().to_str(), ValueSource::CommandLine));
    }

    #[test]
    fn of_a_url_only_scheme_host_and_port_are_shown() {
        for (text, expected) in [
            ("https://hooks.example:8443/services/s3cret?key=s3cret", Some("https://hooks.example:8443/***")),
            ("https://s3.example.com/", Some("https://s3.example.com")),
            ("http://u:s3cret@p:3128", Some("http://p:3128")),
            ("u:s3cret@p:3128", Some("p:3128")),
            ("http://u:s3cret@", None),
            ("http://u:123/s3cret@p:3128", None),
            ("http://s3cret?x@p:3128", None),
            ("http://s3cr#et:x@p", None),
            ("/s3cret", None),
        ] {
            assert_eq!(shown_url(text).as_deref(), expected, "{text}");
        }
        assert_eq!(shown_connection("postgres://u:s3cret@h:port/d"), None);
    }
}
