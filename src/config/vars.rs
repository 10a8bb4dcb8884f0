//! The raw settings by name, collected from the environment, the optional TOML file, and the files that
//! `NAME_FILE` variables point to. The meaning of a setting is not known here. The rules for all values are
//! checked here, once: no `CHANGE_ME`, no control character, and not both `NAME` and `NAME_FILE`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use super::database;
use super::error::ConfigError;
use super::variables::{self, CONFIG, DefaultValue, FILE_SUFFIX, PREFIX};

/// Placeholder in the template for a value that the operator must set.
const PLACEHOLDER: &str = "CHANGE_ME";

/// Source of a setting. The environment overrides the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Environment,
    File,
}

/// The TOML file of settings.
pub(super) struct TomlFile {
    pub(super) path: PathBuf,
    /// Whether the command line names it, and not `BACKUP_CONFIG`.
    pub(super) is_option: bool,
}

/// The settings by name.
pub(super) struct Vars {
    settings: BTreeMap<String, (String, Origin)>,
    /// Variables of the system and of libraries that the registry lists.
    surroundings: BTreeMap<String, String>,
    pub(super) file: Option<TomlFile>,
}

impl Vars {
    /// Merges the environment and the TOML file (if any). `BACKUP_CONFIG` in the environment names the file
    /// if the command line does not.
    pub(super) fn load(
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        file: Option<&Path>,
    ) -> Result<Vars, ConfigError> {
        let mut env = BTreeMap::new();
        let mut surroundings = BTreeMap::new();
        for (name, value) in environment {
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(PREFIX) {
                let value = value
                    .into_string()
                    .map_err(|_| ConfigError::new(name, "is not valid UTF-8", "write it in UTF-8"))?;
                if !is_service_link(name, &value) {
                    env.insert(name.to_owned(), (value, Origin::Environment));
                }
            } else if variables::find(&name.to_ascii_uppercase()).is_some() {
                let value = value.to_str().filter(|value| !value.is_empty());
                surroundings.extend(value.map(|value| (name.to_owned(), value.to_owned())));
            }
        }
        let named_by_env = env.remove(CONFIG).map(|(path, _)| path).filter(|path| !path.is_empty());
        if let Some(path) = &named_by_env {
            refuse_control_characters(CONFIG, path)?;
        }
        let file = match (file, named_by_env) {
            (Some(path), _) => Some(TomlFile { path: path.to_owned(), is_option: true }),
            (None, Some(path)) => Some(TomlFile { path: path.into(), is_option: false }),
            (None, None) => None,
        };
        let mut settings = match &file {
            Some(file) => read_toml(&file.path)?,
            None => BTreeMap::new(),
        };
        for name in env.keys() {
            // A setting in the environment overrides both spellings of it in the file.
            let base = name.strip_suffix(FILE_SUFFIX).unwrap_or(name);
            settings.remove(base);
            settings.remove(&format!("{base}{FILE_SUFFIX}"));
        }
        settings.extend(env);
        Ok(Vars { settings, surroundings, file })
    }

    /// Returns the value of a setting: its own, or the contents of the file that `NAME_FILE` names, without
    /// one trailing newline. An empty value counts as absent, because compose files pass on `${X:-}`. The
    /// value must be a single line: a carriage return from a file with Windows line endings would become part
    /// of a key or a password.
    pub(super) fn get(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let value = self.get_lines(name)?;
        if let Some(value) = &value {
            let shown = self.spelling(name).unwrap_or_else(|| name.to_owned());
            refuse_control_characters(&shown, value)?;
        }
        Ok(value)
    }

    /// The same for a setting that may have several lines.
    pub(super) fn get_lines(&self, name: &str) -> Result<Option<String>, ConfigError> {
        debug_assert!(variables::find(name).is_some(), "{name} is not in the registry");
        let file_name = format!("{name}{FILE_SUFFIX}");
        match (self.non_empty(name), self.non_empty(&file_name)) {
            (Some(_), Some(_)) => {
                Err(ConfigError::new(name, format!("and {file_name} are both set"), "remove one of them"))
            }
            (Some((own, _)), None) if own.contains(PLACEHOLDER) => Err(placeholder(name)),
            (Some((own, _)), None) => Ok(Some(own.to_owned())),
            (None, None) => Ok(None),
            (None, Some((path, _))) => {
                refuse_control_characters(&file_name, path)?;
                read_value(name, &file_name, path).map(Some)
            }
        }
    }

    /// Returns the value of a setting, or else the default in the registry.
    pub(super) fn get_or_default(&self, name: &str) -> Result<Option<String>, ConfigError> {
        let default = match variables::find(name).map(|variable| variable.default) {
            Some(DefaultValue::Value(text)) => Some(text.to_owned()),
            _ => None,
        };
        Ok(self.get(name)?.or(default))
    }

    /// Returns the name under which a setting is set: its own, or `NAME_FILE`.
    pub(super) fn spelling(&self, name: &str) -> Option<String> {
        let spellings = [name.to_owned(), format!("{name}{FILE_SUFFIX}")];
        spellings.into_iter().find(|spelling| self.non_empty(spelling).is_some())
    }

    /// Returns the text of a setting under exactly this name, and where it is.
    pub(super) fn non_empty(&self, name: &str) -> Option<(&str, Origin)> {
        let (text, origin) = self.settings.get(name)?;
        (!text.is_empty()).then_some((text, *origin))
    }

    /// Returns a variable of the system or of a library. Those of proxies also count in lower case.
    pub(super) fn surrounding(&self, name: &str) -> Option<&str> {
        let lower = name.to_ascii_lowercase();
        let names = [name, if name.ends_with("_PROXY") { lower.as_str() } else { name }];
        names.iter().find_map(|name| self.surroundings.get(*name)).map(String::as_str)
    }

    /// Returns the time zone of schedules.
    pub(super) fn time_zone(&self) -> Option<&str> {
        self.surrounding("TZ")
    }

    /// Refuses the first setting that the registry does not list, and suggests the most similar name.
    pub(super) fn refuse_unknown(&self) -> Result<(), ConfigError> {
        let known = variables::names(&database::stems(self)?);
        let Some(unknown) = self.settings.keys().find(|name| !known.contains(name)) else { return Ok(()) };
        let database = ["_URL", "_PASSWORD", "_URL_FILE", "_PASSWORD_FILE"]
            .iter()
            .find_map(|suffix| unknown.strip_prefix(PREFIX)?.strip_suffix(suffix))
            .filter(|name| !name.is_empty());
        let closest = known
            .iter()
            .map(|known| (strsim::damerau_levenshtein(unknown, known), known))
            .min()
            .filter(|(distance, _)| *distance <= 3);
        let hint = match (closest, database) {
            (Some((_, known)), _) => format!("did you mean {known}?"),
            (None, Some(name)) => {
                format!("add {} to BACKUP_DATABASES, or remove the variable", name.to_lowercase())
            }
            (None, None) => "remove it; `pg-backup config --list` prints all variables".to_owned(),
        };
        Err(ConfigError::new(unknown, "is not a variable of pg-backup", hint))
    }
}

/// Refuses a value with a control character, without showing the value.
fn refuse_control_characters(name: &str, value: &str) -> Result<(), ConfigError> {
    let Some(found) = value.chars().find(|c| c.is_control()) else { return Ok(()) };
    let (what, hint) = match found {
        '\r' => (
            "a carriage return",
            "convert the file that it comes from to Unix line endings: sed -i 's/\\r$//' FILE",
        ),
        '\n' => ("a line break", "write it on one line; a file may end with one line break"),
        _ => ("a control character", "remove it"),
    };
    Err(ConfigError::new(name, format!("contains {what} (U+{:04X})", u32::from(found)), hint))
}

fn placeholder(name: &str) -> ConfigError {
    ConfigError::new(
        name,
        format!("still contains the template's {PLACEHOLDER}"),
        "replace it with the real value",
    )
}

fn read_value(name: &str, file_name: &str, path: &str) -> Result<String, ConfigError> {
    let failed = |source| ConfigError {
        source: Some(source),
        ..ConfigError::new(
            file_name,
            format!("names a file that cannot be read: {path}"),
            "mount the secret at this path, and make it readable for the user of pg-backup",
        )
    };
    let mut value = fs::read_to_string(path).map_err(failed)?;
    if value.ends_with('\n') {
        value.pop();
        if value.ends_with('\r') {
            value.pop();
        }
    }
    if value.is_empty() {
        return Err(ConfigError::new(
            file_name,
            format!("names an empty file: {path}"),
            format!("write the value of {name} to the file"),
        ));
    }
    if value.contains(PLACEHOLDER) {
        return Err(placeholder(file_name));
    }
    Ok(value)
}

fn read_toml(path: &Path) -> Result<BTreeMap<String, (String, Origin)>, ConfigError> {
    let shown = path.display();
    let text = fs::read_to_string(path).map_err(|source| ConfigError {
        source: Some(source),
        ..ConfigError::new(
            CONFIG,
            format!("(or --config) names a file that cannot be read: {shown}"),
            "set it to the path of a TOML file, or remove it",
        )
    })?;
    // The message of the parser quotes the line, which may contain a secret, so only the position is
    // reported.
    let table: toml::Table = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].lines().count().max(1));
        ConfigError::new(
            CONFIG,
            format!("(or --config) names a file that is not TOML: {shown}, line {line}"),
            "write one NAME = \"value\" on each line",
        )
    })?;
    let mut settings = BTreeMap::new();
    for (name, value) in table {
        if !name.starts_with(PREFIX) {
            return Err(ConfigError::new(
                &name,
                format!("in {shown} is not a variable of pg-backup"),
                "use the names of the environment, which begin with BACKUP_",
            ));
        }
        if name == CONFIG {
            return Err(ConfigError::new(
                CONFIG,
                format!("is set in {shown}, where it has no effect"),
                "set it in the environment, or use --config",
            ));
        }
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(switch) => switch.to_string(),
            toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
                items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
            }
            _ => {
                return Err(ConfigError::new(
                    &name,
                    format!("in {shown} is not a string, an integer, a boolean or a list of strings"),
                    "write NAME = \"value\"",
                ));
            }
        };
        settings.insert(name, (value, Origin::File));
    }
    Ok(settings)
}

/// Returns whether Kubernetes injected the variable: for a service named `backup` or `backup-…` it sets
/// `BACKUP_…_SERVICE_HOST`, `…_SERVICE_PORT[_NAME]`, `…_PORT` and `…_PORT_5432_TCP[_PROTO|_PORT|_ADDR]` in
/// every container of the namespace. The format of the value is checked too, so that a misspelled setting is
/// not mistaken for one of these.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if name.ends_with("_SERVICE_HOST") {
        return value.parse::<std::net::IpAddr>().is_ok() || value == "None";
    }
    if name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return is_number;
    }
    if name.ends_with("_PORT") && is_url {
        return true;
    }
    // The remaining form is `…_PORT_<number>_<protocol>`, optionally followed by one field.
    let ends_with_protocol = |name: &str| ["_TCP", "_UDP", "_SCTP"].iter().any(|p| name.ends_with(p));
    let (stem, is_field) = if ends_with_protocol(name) {
        (name, is_url)
    } else if let Some(stem) = name.strip_suffix("_PROTO") {
        (stem, matches!(value, "tcp" | "udp" | "sctp"))
    } else if let Some(stem) = name.strip_suffix("_PORT") {
        (stem, is_number)
    } else if let Some(stem) = name.strip_suffix("_ADDR") {
        (stem, value.parse::<std::net::IpAddr>().is_ok())
    } else {
        return false;
    };
    let numbered = stem.rsplit_once('_').and_then(|(head, _)| head.rsplit_once('_'));
    let has_number =
        numbered.is_some_and(|(head, number)| head.ends_with("_PORT") && number.parse::<u16>().is_ok());
    ends_with_protocol(stem) && has_number && is_field
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Vars, ConfigError> {
        Vars::load(pairs.iter().map(|(name, value)| (name.into(), value.into())), None)
    }

    fn with_file(pairs: &[(&str, &str)], text: &str) -> Result<Vars, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Vars::load(pairs.iter().map(|(name, value)| (name.into(), value.into())), Some(file.path()))
    }

    #[test]
    fn empty_counts_as_absent() {
        assert_eq!(load(&[("BACKUP_S3_PREFIX", "")]).unwrap().get("BACKUP_S3_PREFIX").unwrap(), None);
    }

    #[test]
    fn a_file_gives_the_value_without_one_newline() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let vars = load(&[("BACKUP_S3_PREFIX_FILE", file.path().to_str().unwrap())]).unwrap();
        for text in ["s3cret\n", "s3cret\r\n", "s3cret"] {
            fs::write(file.path(), text).unwrap();
            assert_eq!(vars.get("BACKUP_S3_PREFIX").unwrap().as_deref(), Some("s3cret"));
        }
        fs::write(file.path(), "s3cret\n\n").unwrap();
        assert_eq!(vars.get_lines("BACKUP_S3_PREFIX").unwrap().as_deref(), Some("s3cret\n"));
        let error = vars.get("BACKUP_S3_PREFIX").unwrap_err();
        assert_eq!(error.to_string(), "BACKUP_S3_PREFIX_FILE contains a line break (U+000A)");
    }

    #[test]
    fn control_characters_are_refused_by_name_and_not_shown() {
        for (value, said) in [
            ("hunter2\r", "BACKUP_S3_PREFIX contains a carriage return (U+000D)"),
            ("hunter2\n", "BACKUP_S3_PREFIX contains a line break (U+000A)"),
            ("\u{1b}hunter2", "BACKUP_S3_PREFIX contains a control character (U+001B)"),
            ("hunter2\u{85}", "BACKUP_S3_PREFIX contains a control character (U+0085)"),
        ] {
            let error = load(&[("BACKUP_S3_PREFIX", value)]).unwrap().get("BACKUP_S3_PREFIX").unwrap_err();
            assert_eq!(error.to_string(), said);
        }
        let of_file =
            with_file(&[], "BACKUP_S3_PREFIX = \"a\\r\"").unwrap().get("BACKUP_S3_PREFIX").unwrap_err();
        assert_eq!(of_file.to_string(), "BACKUP_S3_PREFIX contains a carriage return (U+000D)");
        let path =
            load(&[("BACKUP_S3_PREFIX_FILE", "/run/secret\r")]).unwrap().get("BACKUP_S3_PREFIX").unwrap_err();
        assert_eq!(path.to_string(), "BACKUP_S3_PREFIX_FILE contains a carriage return (U+000D)");
        let config = load(&[("BACKUP_CONFIG", "/etc/pg-backup.toml\r")]).err().unwrap();
        assert_eq!(config.to_string(), "BACKUP_CONFIG contains a carriage return (U+000D)");
    }

    #[test]
    fn a_missing_or_empty_secret_file_names_the_variable() {
        let vars = load(&[("BACKUP_S3_PREFIX_FILE", "/nonexistent/secret")]).unwrap();
        let error = vars.get("BACKUP_S3_PREFIX").unwrap_err();
        assert_eq!(
            error.to_string(),
            "BACKUP_S3_PREFIX_FILE names a file that cannot be read: /nonexistent/secret"
        );
        assert!(error.source.is_some());
        let file = tempfile::NamedTempFile::new().unwrap();
        let vars = load(&[("BACKUP_S3_PREFIX_FILE", file.path().to_str().unwrap())]).unwrap();
        assert!(
            vars.get("BACKUP_S3_PREFIX")
                .unwrap_err()
                .to_string()
                .starts_with("BACKUP_S3_PREFIX_FILE names an empty file")
        );
    }

    #[test]
    fn the_default_is_that_of_the_registry() {
        let default = |name: &str| load(&[]).unwrap().get_or_default(name).unwrap();
        assert_eq!(default("BACKUP_RETRY_WAIT").as_deref(), Some("5s"));
        assert_eq!((default("BACKUP_S3_PREFIX"), default("BACKUP_DRILL_JOBS")), (None, None));
        let set = load(&[("BACKUP_RETRY_WAIT", "1m")]).unwrap();
        assert_eq!(set.get_or_default("BACKUP_RETRY_WAIT").unwrap().as_deref(), Some("1m"));
    }

    #[test]
    fn variables_of_the_system_are_kept_if_they_are_in_the_registry() {
        let vars = load(&[("TZ", "Europe/Berlin"), ("https_proxy", "http://p"), ("tz", "x"), ("HOME", "/")]);
        let vars = vars.unwrap();
        assert_eq!(vars.time_zone(), Some("Europe/Berlin"));
        assert_eq!(vars.surrounding("HTTPS_PROXY"), Some("http://p"));
        assert_eq!((vars.surrounding("HOME"), load(&[("TZ", "")]).unwrap().time_zone()), (None, None));
    }

    #[test]
    fn a_value_and_its_file_contradict() {
        let error = load(&[("BACKUP_S3_PREFIX", "a"), ("BACKUP_S3_PREFIX_FILE", "/b")])
            .unwrap()
            .get("BACKUP_S3_PREFIX")
            .unwrap_err();
        assert_eq!(error.to_string(), "BACKUP_S3_PREFIX and BACKUP_S3_PREFIX_FILE are both set");
    }

    #[test]
    fn placeholders_are_refused_anywhere_in_a_value() {
        let vars = load(&[("BACKUP_DRILL_URL", "postgres://u:CHANGE_ME@h/d")]).unwrap();
        let error = vars.get("BACKUP_DRILL_URL").unwrap_err();
        assert_eq!(error.to_string(), "BACKUP_DRILL_URL still contains the template's CHANGE_ME");
    }

    #[test]
    fn unknown_names_are_refused_with_the_closest_known_one() {
        let vars = load(&[("BACKUP_S3_BUKET", "b")]).unwrap();
        let error = vars.refuse_unknown().unwrap_err();
        assert_eq!(error.to_string(), "BACKUP_S3_BUKET is not a variable of pg-backup");
        assert_eq!(error.hint, "did you mean BACKUP_S3_BUCKET?");

        let vars = load(&[("BACKUP_WEBSITE_URL", "postgres://h/d")]).unwrap();
        assert_eq!(
            vars.refuse_unknown().unwrap_err().hint,
            "add website to BACKUP_DATABASES, or remove the variable"
        );
    }

    #[test]
    fn kubernetes_service_links_pass() {
        let vars = load(&[
            ("BACKUP_SERVICE_HOST", "10.0.0.1"),
            ("BACKUP_SERVICE_PORT", "9899"),
            ("BACKUP_SERVICE_PORT_HTTP", "9899"),
            ("BACKUP_PORT", "tcp://10.0.0.1:9899"),
            ("BACKUP_PORT_9899_TCP", "tcp://10.0.0.1:9899"),
            ("BACKUP_DB_PORT_5432_TCP_PROTO", "tcp"),
            ("BACKUP_DB_PORT_5432_TCP_PORT", "5432"),
            ("BACKUP_DB_PORT_5432_TCP_ADDR", "fd00::1"),
        ])
        .unwrap();
        vars.refuse_unknown().unwrap();
    }

    #[test]
    fn what_only_resembles_a_service_link_is_refused() {
        for (name, value) in [
            ("BACKUP_S3_PORT", "9000"),
            ("BACKUP_SERVICE_HOST", "not an address"),
            ("BACKUP_PORT_HTTP_TCP", "tcp://10.0.0.1:1"),
            ("BACKUP_PORT_5432_TCP_NAME", "x"),
        ] {
            assert!(load(&[(name, value)]).unwrap().refuse_unknown().is_err(), "{name}={value}");
        }
    }

    #[test]
    fn the_file_cannot_name_another_file() {
        let error = with_file(&[], "BACKUP_CONFIG = '/etc/other.toml'").err().unwrap();
        assert!(error.to_string().ends_with(", where it has no effect"), "{error}");
        let error = load(&[("BACKUP_CONFIG_FILE", "/etc/name")]).unwrap().refuse_unknown().unwrap_err();
        assert_eq!(error.to_string(), "BACKUP_CONFIG_FILE is not a variable of pg-backup");
    }

    #[test]
    fn the_environment_hides_both_spellings_in_the_file() {
        let vars = with_file(
            &[("BACKUP_S3_PREFIX", "env")],
            "BACKUP_S3_PREFIX_FILE = '/nowhere'\nBACKUP_JOBS = 5\nBACKUP_S3_PATH_STYLE = true\nBACKUP_DATABASES = ['a', 'b']",
        )
        .unwrap();
        assert_eq!(vars.get("BACKUP_S3_PREFIX").unwrap().as_deref(), Some("env"));
        assert_eq!(vars.get("BACKUP_JOBS").unwrap().as_deref(), Some("5"));
        assert_eq!(vars.get("BACKUP_S3_PATH_STYLE").unwrap().as_deref(), Some("true"));
        assert_eq!(vars.get("BACKUP_DATABASES").unwrap().as_deref(), Some("a,b"));
        assert_eq!(vars.non_empty("BACKUP_S3_PREFIX"), Some(("env", Origin::Environment)));
        assert_eq!(vars.non_empty("BACKUP_JOBS"), Some(("5", Origin::File)));
        assert_eq!(vars.non_empty("BACKUP_S3_PREFIX_FILE"), None);
    }

    #[test]
    fn a_broken_file_is_refused_without_quoting_it() {
        let error = with_file(&[], "BACKUP_S3_PREFIX = 'a'\nBACKUP_PASSWORD = hunter2\n").err().unwrap();
        assert!(error.to_string().ends_with("line 2"), "{error}");
        assert!(!error.to_string().contains("hunter2"));
        let error = with_file(&[], "bucket = 'a'").err().unwrap();
        assert!(error.to_string().starts_with("bucket in "), "{error}");
        assert!(with_file(&[], "BACKUP_S3_PREFIX = 1.5").is_err());
    }
}
