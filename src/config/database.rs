//! `BACKUP_DATABASES`, and the URL and password of each database.

use super::Purpose;
use super::error::ConfigError;
use super::value;
use super::variables;
use super::vars::Vars;
use crate::protocol::ConnectOptions;

const DATABASES: &str = "BACKUP_DATABASES";

/// One database to back up.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Name used in keys and log lines.
    pub name: String,
    /// Connection options; `None` only for [`Purpose::ReadStore`].
    pub connection: Option<ConnectOptions>,
}

impl DatabaseConfig {
    /// Returns the middle part of the names of its variables: `BACKUP_<this>_URL`.
    pub fn variable_stem(name: &str) -> String {
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    }
}

/// Returns the middle part of the names of all databases' variables.
pub(super) fn stems(vars: &Vars) -> Result<Vec<String>, ConfigError> {
    let listed = vars.get(DATABASES)?.unwrap_or_default();
    Ok(names(&listed).map(DatabaseConfig::variable_stem).collect())
}

fn names(listed: &str) -> impl Iterator<Item = &str> {
    listed.split(',').map(str::trim).filter(|name| !name.is_empty())
}

/// Reads all databases, in the order of the list.
pub(super) fn read(vars: &Vars, purpose: Purpose) -> Result<Vec<DatabaseConfig>, ConfigError> {
    let listed = vars.get(DATABASES)?.unwrap_or_default();
    let mut databases: Vec<DatabaseConfig> = Vec::new();
    for name in names(&listed) {
        databases.push(database(vars, purpose, name, &databases)?);
    }
    if databases.is_empty() && purpose == Purpose::Backup {
        return Err(ConfigError::new(
            DATABASES,
            "is not set",
            "list the databases to back up, e.g. metadata,website,demo, and set BACKUP_<NAME>_URL for each",
        ));
    }
    Ok(databases)
}

fn database(
    vars: &Vars,
    purpose: Purpose,
    name: &str,
    earlier: &[DatabaseConfig],
) -> Result<DatabaseConfig, ConfigError> {
    let stem = DatabaseConfig::variable_stem(name);
    let (url_name, password_name) = (format!("BACKUP_{stem}_URL"), format!("BACKUP_{stem}_PASSWORD"));
    // The name becomes a part of object keys and of file names.
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
        return Err(ConfigError::new(
            DATABASES,
            format!("lists a name that cannot be part of a key: \"{name}\""),
            "use letters, digits, _, - and . in the name; the URL contains the database's own name",
        ));
    }
    if let Some(other) = earlier.iter().find(|other| DatabaseConfig::variable_stem(&other.name) == stem) {
        let problem = if other.name == name {
            format!("lists {name} twice")
        } else {
            format!("lists {} and {name}, which would both be configured by {url_name}", other.name)
        };
        return Err(ConfigError::new(DATABASES, problem, "give each database a different name"));
    }
    refuse_reserved_name(name, [&url_name, &password_name])?;
    let url = vars.get(&url_name)?;
    if url.is_none() && purpose == Purpose::Backup {
        return Err(ConfigError::new(
            &url_name,
            format!("is not set, but BACKUP_DATABASES lists {name}"),
            "set it to postgres://user@host:5432/database",
        ));
    }
    let password = vars.get(&password_name)?;
    let connection = url.map(|url| value::connection(&url_name, &url, &password_name, password.as_deref()));
    Ok(DatabaseConfig { name: name.to_owned(), connection: connection.transpose()? })
}

/// Refuses a database whose variables would have the names of other settings.
fn refuse_reserved_name(name: &str, own: [&str; 2]) -> Result<(), ConfigError> {
    let is_reserved =
        |variable: &&&str| variables::find(variable).is_some_and(|known| known.name == **variable);
    match own.iter().find(is_reserved) {
        None => Ok(()),
        Some(variable) => Err(ConfigError::new(
            DATABASES,
            format!("lists {name}, but {variable} is not a variable of a database"),
            "give the database another name in BACKUP_DATABASES and in its variables",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_does_not_take_the_names_of_other_settings() {
        let read = |name: &str| {
            let vars = Vars::load([("BACKUP_DATABASES".into(), name.into())], None).unwrap();
            read(&vars, Purpose::ReadStore).map_err(|error| error.to_string())
        };
        read("shipping,drilling,replica,alert").unwrap();
        for (name, variable) in [
            ("alert-slack", "BACKUP_ALERT_SLACK_URL"),
            ("alert_webhook", "BACKUP_ALERT_WEBHOOK_URL"),
            ("Alert.SMTP", "BACKUP_ALERT_SMTP_PASSWORD"),
            ("ping", "BACKUP_PING_URL"),
            ("drill", "BACKUP_DRILL_URL"),
        ] {
            assert_eq!(
                read(&format!("demo,{name}")).unwrap_err(),
                format!("BACKUP_DATABASES lists {name}, but {variable} is not a variable of a database")
            );
        }
    }
}
