//! `BACKUP_GLOBALS`: whether a round also saves the globals (roles, tablespaces), of which servers, and under
//! which names.

use super::DatabaseConfig;
use super::error::ConfigError;
use super::value;
use super::vars::Vars;
use crate::protocol::ConnectOptions;

const VARIABLE: &str = "BACKUP_GLOBALS";

/// Name in keys and log lines if all databases are on one server; with several servers, the prefix of their
/// names.
const NAME: &str = "globals";

/// Whether globals are saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum GlobalsMode {
    #[default]
    Off,
    On,
    NoRolePasswords,
}

/// The globals of one server, saved in every round.
#[derive(Clone, Debug)]
pub struct GlobalsConfig {
    /// Name used in keys and log lines.
    pub name: String,
    /// Connection to the first configured database of the server, in which the globals are read.
    pub connection: ConnectOptions,
    /// Whether the passwords of roles are omitted, for servers that do not permit reading them.
    pub no_role_passwords: bool,
}

impl GlobalsMode {
    pub(super) fn read(vars: &Vars) -> Result<Self, ConfigError> {
        const CHOICES: &[(&str, GlobalsMode)] = &[
            ("off", GlobalsMode::Off),
            ("false", GlobalsMode::Off),
            ("on", GlobalsMode::On),
            ("true", GlobalsMode::On),
            ("no-role-passwords", GlobalsMode::NoRolePasswords),
        ];
        value::choice(vars, VARIABLE, CHOICES)
            .map(Option::unwrap_or_default)
            .map_err(|error| ConfigError { hint: "use off, on or no-role-passwords".to_owned(), ..error })
    }

    /// Returns the servers of the databases, each once, in the order of the databases. Returns none if the
    /// server of any database is unknown, because the names depend on the number of servers.
    pub(super) fn servers(self, databases: &[DatabaseConfig]) -> Result<Vec<GlobalsConfig>, ConfigError> {
        let connections: Option<Vec<_>> = databases.iter().map(|d| d.connection.as_ref()).collect();
        let (GlobalsMode::On | GlobalsMode::NoRolePasswords, Some(connections)) = (self, connections) else {
            return Ok(Vec::new());
        };
        let mut servers: Vec<(String, &ConnectOptions)> = Vec::new();
        for connection in connections {
            let name = server_name(connection);
            if servers.iter().all(|(known, _)| *known != name) {
                servers.push((name, connection));
            }
        }
        if let [(name, _)] = servers.as_mut_slice() {
            NAME.clone_into(name);
        }
        if let Some((name, _)) = servers.iter().find(|(name, _)| databases.iter().any(|d| d.name == *name)) {
            return Err(ConfigError::new(
                VARIABLE,
                format!(
                    "saves roles and tablespaces as {name}, but BACKUP_DATABASES lists a database {name}"
                ),
                "give the database another name in BACKUP_DATABASES and in its variables",
            ));
        }
        let no_role_passwords = self == GlobalsMode::NoRolePasswords;
        let config = |(name, connection): (String, &ConnectOptions)| GlobalsConfig {
            name,
            connection: connection.clone(),
            no_role_passwords,
        };
        Ok(servers.into_iter().map(config).collect())
    }
}

/// Returns `globals-host-port`, with every host if there are several.
fn server_name(connection: &ConnectOptions) -> String {
    let addresses = connection.addresses();
    addresses.iter().fold(NAME.to_owned(), |name, (host, port)| format!("{name}-{host}-{port}"))
}
