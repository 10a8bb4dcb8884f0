//! `BACKUP_GLOBALS`: whether a round also saves what belongs to no database (roles, tablespaces), of
//! which servers, and under which names.

use super::DatabaseConfig;
use super::error::ConfigError;
use super::value;
use super::vars::Vars;
use crate::protocol::ConnectOptions;

const VARIABLE: &str = "BACKUP_GLOBALS";

/// The name in keys and log lines when all databases are on one server; with several servers it is
/// what their names begin with.
const NAME: &str = "globals";

/// Whether globals are saved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum GlobalsMode {
    #[default]
    Off,
    On,
    NoRolePasswords,
}

/// The globals of one server, to be saved in every round.
#[derive(Clone, Debug)]
pub struct GlobalsConfig {
    /// The name in keys and log lines.
    pub name: String,
    /// The first configured database on the server, in which the globals are read.
    pub connection: ConnectOptions,
    /// Whether the roles' passwords are left out, for servers that show them to nobody.
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

    /// The servers of the databases, each once, in the order of the databases. Nothing where a
    /// database's server is not known, because the names depend on how many servers there are.
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
                    "saves roles and tablespaces as {name}, and BACKUP_DATABASES lists a database {name}"
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

/// `globals-host-port`, for each host where there are several.
fn server_name(connection: &ConnectOptions) -> String {
    let addresses = connection.addresses();
    addresses.iter().fold(NAME.to_owned(), |name, (host, port)| format!("{name}-{host}-{port}"))
}
