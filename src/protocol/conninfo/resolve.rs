//! Resolves connection parameters: environment, service, defaults and validation.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keyword::{KEYWORDS, Support};
use super::pgpass::{self, PgpassQuery};
use super::{ConnInfo, ConnInfoError, Environment, SecretBytes, service};
use crate::protocol::stall::STALL_TIMEOUT;
use crate::protocol::tls::{RootCertificates, SslMode, TlsSettings, TlsVersion};
use crate::protocol::wire::CATALOG_LIMIT;

/// libpq's default port.
const DEFAULT_PORT: u16 = 5432;

/// The directories in which the server's socket is searched: Debian's default, then PostgreSQL's.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// A server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name as given, which the certificate must match.
    pub(in crate::protocol) name: Option<String>,
    pub(in crate::protocol) address: HostAddress,
    pub(in crate::protocol) port: u16,
    pub(in crate::protocol) password: Option<SecretBytes>,
    /// The password file, if the password came from one.
    pub(in crate::protocol) password_file: Option<PathBuf>,
}

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// A host name.
    Name(String),
    /// An IP address.
    Ip(IpAddr),
    /// The directory of a Unix-domain socket.
    Socket(PathBuf),
}

/// `target_session_attrs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum TargetServer {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// Whether SCRAM must use channel binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// The kernel's settings for unresponsive peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::protocol) struct Keepalive {
    pub(in crate::protocol) enabled: bool,
    pub(in crate::protocol) idle: Option<Duration>,
    pub(in crate::protocol) interval: Option<Duration>,
    pub(in crate::protocol) count: Option<u32>,
    pub(in crate::protocol) user_timeout: Option<Duration>,
}

/// The validated parameters of a connection.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    pub(in crate::protocol) hosts: Vec<Host>,
    pub(in crate::protocol) user: String,
    pub(in crate::protocol) database: String,
    pub(in crate::protocol) application_name: String,
    pub(in crate::protocol) options: Option<String>,
    pub(in crate::protocol) client_encoding: Option<String>,
    /// Additional settings in the startup message, which libpq takes from the environment.
    pub(in crate::protocol) settings: Vec<(&'static str, String)>,
    pub(in crate::protocol) connect_timeout: Option<Duration>,
    /// Time without a transfer after which the server is asked whether its process is still working.
    pub(in crate::protocol) stall_timeout: Option<Duration>,
    /// Limit on the answers to the catalog queries of a transaction, in bytes.
    pub(in crate::protocol) catalog_limit: u64,
    pub(in crate::protocol) keepalive: Keepalive,
    pub(in crate::protocol) target: TargetServer,
    pub(in crate::protocol) channel_binding: ChannelBinding,
    pub(in crate::protocol) tls: TlsSettings,
}

impl ConnectOptions {
    /// Returns the role that logs in.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Returns the database.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Returns the options for another database with the same server and login.
    #[must_use]
    pub fn with_database(&self, database: &str) -> Self {
        ConnectOptions { database: database.to_owned(), ..self.clone() }
    }

    /// Returns the servers in the order in which they are tried.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns the names and ports of the servers. The name of a socket is its directory.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        self.hosts.iter().map(|host| (host.shown(), host.port)).collect()
    }

    /// Sets the stall timeout, or disables it.
    #[must_use]
    pub fn with_stall_timeout(self, stall_timeout: Option<Duration>) -> Self {
        ConnectOptions { stall_timeout, ..self }
    }

    /// Sets the limit on the answers to catalog queries, in bytes.
    #[must_use]
    pub fn with_catalog_limit(self, catalog_limit: u64) -> Self {
        ConnectOptions { catalog_limit, ..self }
    }

    /// Sets timeouts for unattended operation: a connection to a server that does not answer, or that
    /// disappears during a dump, is aborted after a few minutes. Values in the connection string or the
    /// environment take precedence.
    #[must_use]
    pub fn unattended(mut self) -> Self {
        self.connect_timeout.get_or_insert(Duration::from_secs(30));
        self.keepalive.idle.get_or_insert(Duration::from_secs(60));
        self.keepalive.interval.get_or_insert(Duration::from_secs(15));
        self.keepalive.count.get_or_insert(4);
        self
    }
}

/// Formats `user@host:port/database` for log lines; never contains a password.
impl fmt::Display for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.user)?;
        for (at, host) in self.hosts.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", host.shown(), host.port)?;
        }
        write!(f, "/{}", self.database)
    }
}

impl Host {
    fn shown(&self) -> String {
        match (&self.name, &self.address) {
            (Some(name), _) | (None, HostAddress::Name(name)) => name.clone(),
            (None, HostAddress::Ip(ip)) => ip.to_string(),
            (None, HostAddress::Socket(dir)) => dir.display().to_string(),
        }
    }
}

impl ConnInfo {
    /// Adds values from the service file, environment, password file and defaults, and validates every value.
    pub fn resolve(&self, env: &Environment) -> Result<ConnectOptions, ConnInfoError> {
        let mut info = self.clone();
        if let Some(name) = self.get("service").or_else(|| env.variable("PGSERVICE")).map(str::to_owned) {
            service::apply(&mut info, &name, env)?;
        }
        info.add_environment(env)?;
        info.refuse_gss()?;

        let user = match info.given("user").or(env.user()) {
            Some(user) => user.to_owned(),
            None => {
                return Err(ConnInfoError::Conflict("no user name was given for the connection".to_owned()));
            }
        };
        let database = info.given("dbname").unwrap_or(&user).to_owned();
        let mut hosts = info.hosts()?;
        info.add_passwords(&mut hosts, &user, &database, env);
        Ok(ConnectOptions {
            hosts,
            application_name: info
                .given("application_name")
                .or(info.given("fallback_application_name"))
                .unwrap_or("pg-backup")
                .to_owned(),
            options: info.given("options").map(str::to_owned),
            client_encoding: info.client_encoding(env)?,
            settings: startup_settings(env),
            connect_timeout: info.connect_timeout()?,
            stall_timeout: Some(STALL_TIMEOUT),
            catalog_limit: CATALOG_LIMIT,
            keepalive: info.keepalive()?,
            target: info.target()?,
            channel_binding: info.channel_binding()?,
            tls: info.tls(env)?,
            user,
            database,
        })
    }

    /// Returns an option's value if it is not empty.
    fn given(&self, option: &str) -> Option<&str> {
        self.get(option).filter(|v| !v.is_empty())
    }

    fn add_environment(&mut self, env: &Environment) -> Result<(), ConnInfoError> {
        for keyword in KEYWORDS {
            let value = keyword.variable.and_then(|name| env.variable(name));
            match (value, keyword.support) {
                (Some(""), _) => {}
                (Some(_), Support::Refused(why)) => {
                    let option = keyword.variable.unwrap_or(keyword.name).to_owned();
                    return Err(ConnInfoError::Unsupported { option, why });
                }
                (Some(value), _) => {
                    self.values.entry(keyword.name).or_insert_with(|| value.to_owned());
                }
                (None, _) => {}
            }
        }
        if env.variable("PGREQUIRESSL").is_some_and(|v| v.starts_with('1')) {
            self.values.entry("sslmode").or_insert_with(|| "require".to_owned());
        }
        Ok(())
    }

    fn refuse_gss(&self) -> Result<(), ConnInfoError> {
        match self.given("gssencmode") {
            None | Some("disable" | "prefer") => Ok(()),
            Some("require") => Err(ConnInfoError::Unsupported {
                option: "gssencmode=require".to_owned(),
                why: "GSSAPI encryption is not built in",
            }),
            Some(value) => Err(bad_value("gssencmode", value)),
        }
    }

    fn hosts(&self) -> Result<Vec<Host>, ConnInfoError> {
        let names = split_list(self.given("host"));
        let addresses = split_list(self.given("hostaddr"));
        if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
            return Err(ConnInfoError::Conflict(format!(
                "could not match {} host names to {} hostaddr values",
                names.len(),
                addresses.len()
            )));
        }
        let count = names.len().max(addresses.len()).max(1);
        let ports = self.ports(count)?;
        let mut hosts = Vec::with_capacity(count);
        for (at, port) in ports.into_iter().enumerate() {
            let part = |list: &[&str]| list.get(at).copied().filter(|v| !v.is_empty()).map(str::to_owned);
            let (name, address) = (part(&names), part(&addresses));
            let address = match (address, &name) {
                (Some(address), _) => {
                    HostAddress::Ip(address.parse().map_err(|_| bad_value("hostaddr", &address))?)
                }
                (None, Some(name)) if name.starts_with('@') => {
                    return Err(ConnInfoError::Unsupported {
                        option: "host".to_owned(),
                        why: "sockets in the abstract namespace are not supported",
                    });
                }
                (None, Some(name)) if name.starts_with('/') => HostAddress::Socket(name.into()),
                (None, Some(name)) => match name.parse() {
                    Ok(ip) => HostAddress::Ip(ip),
                    Err(_) => HostAddress::Name(name.clone()),
                },
                (None, None) => HostAddress::Socket(default_socket_directory(port)),
            };
            hosts.push(Host { name, address, port, password: None, password_file: None });
        }
        Ok(hosts)
    }

    /// Returns the ports: either one for all hosts or one per host.
    fn ports(&self, hosts: usize) -> Result<Vec<u16>, ConnInfoError> {
        let ports = split_list(self.given("port"))
            .into_iter()
            .map(|port| match port.trim() {
                "" => Ok(DEFAULT_PORT),
                port => port.parse().ok().filter(|p| *p > 0).ok_or_else(|| bad_value("port", port)),
            })
            .collect::<Result<Vec<u16>, _>>()?;
        match ports.as_slice() {
            [] => Ok(vec![DEFAULT_PORT; hosts]),
            [port] => Ok(vec![*port; hosts]),
            ports if ports.len() == hosts => Ok(ports.to_vec()),
            ports => Err(ConnInfoError::Conflict(format!(
                "could not match {} port numbers to {hosts} hosts",
                ports.len()
            ))),
        }
    }

    fn add_passwords(&self, hosts: &mut [Host], user: &str, database: &str, env: &Environment) {
        if let Some(password) = self.given("password") {
            for host in hosts {
                host.password = Some(SecretBytes(password.to_owned()));
            }
            return;
        }
        let file = match self.given("passfile") {
            Some(file) => PathBuf::from(file),
            None => match env.home() {
                Some(home) => home.join(".pgpass"),
                None => return,
            },
        };
        for host in hosts {
            let shown = host.shown();
            let default_socket = host.name.is_none()
                || matches!(&host.address, HostAddress::Socket(dir) if is_default_socket(dir));
            let name = match &host.address {
                HostAddress::Socket(_) if default_socket => "localhost",
                _ => &shown,
            };
            let wanted = PgpassQuery { host: name, port: host.port, database, user };
            host.password = pgpass::look_up(&file, &wanted);
            host.password_file = host.password.is_some().then(|| file.clone());
        }
    }

    fn client_encoding(&self, env: &Environment) -> Result<Option<String>, ConnInfoError> {
        match self.given("client_encoding") {
            Some("auto") => Ok(Some(locale_encoding(env)?.to_owned())),
            other => Ok(other.map(str::to_owned)),
        }
    }

    /// As in libpq, 0 and below mean no timeout, and 1 means 2.
    fn connect_timeout(&self) -> Result<Option<Duration>, ConnInfoError> {
        Ok(match self.integer("connect_timeout")? {
            None | Some(i32::MIN..=0) => None,
            Some(seconds) => Some(seconds_of(seconds.max(2))),
        })
    }

    fn keepalive(&self) -> Result<Keepalive, ConnInfoError> {
        let positive = |value: Option<i32>| value.filter(|v| *v > 0);
        Ok(Keepalive {
            enabled: self.integer("keepalives")? != Some(0),
            idle: positive(self.integer("keepalives_idle")?).map(seconds_of),
            interval: positive(self.integer("keepalives_interval")?).map(seconds_of),
            count: positive(self.integer("keepalives_count")?).map(i32::unsigned_abs),
            user_timeout: positive(self.integer("tcp_user_timeout")?)
                .map(|ms| Duration::from_millis(u64::from(ms.unsigned_abs()))),
        })
    }

    fn target(&self) -> Result<TargetServer, ConnInfoError> {
        Ok(match self.given("target_session_attrs") {
            None | Some("any") => TargetServer::Any,
            Some("read-write") => TargetServer::ReadWrite,
            Some("read-only") => TargetServer::ReadOnly,
            Some("primary") => TargetServer::Primary,
            Some("standby") => TargetServer::Standby,
            Some("prefer-standby") => TargetServer::PreferStandby,
            Some(value) => return Err(bad_value("target_session_attrs", value)),
        })
    }

    fn channel_binding(&self) -> Result<ChannelBinding, ConnInfoError> {
        Ok(match self.given("channel_binding") {
            Some("disable") => ChannelBinding::Disable,
            None | Some("prefer") => ChannelBinding::Prefer,
            Some("require") => ChannelBinding::Require,
            Some(value) => return Err(bad_value("channel_binding", value)),
        })
    }

    fn tls(&self, env: &Environment) -> Result<TlsSettings, ConnInfoError> {
        let own = |name: &str| env.home().map(|home| home.join(".postgresql").join(name));
        let file = |option: &str, name: &str| self.given(option).map(PathBuf::from).or_else(|| own(name));
        let roots = match self.given("sslrootcert") {
            Some("system") => RootCertificates::System,
            _ => RootCertificates::File(file("sslrootcert", "root.crt")),
        };
        // As in libpq 16: public authorities issue certificates to anyone, so the name must be verified.
        let mode = match (self.given("sslmode"), &roots) {
            (None, RootCertificates::System) => SslMode::VerifyFull,
            (None, RootCertificates::File(_)) => SslMode::Prefer,
            (Some(value), _) => SslMode::parse(value).ok_or_else(|| bad_value("sslmode", value))?,
        };
        if roots == RootCertificates::System && !matches!(mode, SslMode::VerifyFull | SslMode::Disable) {
            return Err(ConnInfoError::Conflict(format!(
                "weak sslmode \"{mode}\" may not be used with sslrootcert=system (use \"verify-full\")"
            )));
        }
        let given_cert = self.given("sslcert").is_some();
        Ok(TlsSettings {
            mode,
            roots,
            certificate: file("sslcert", "postgresql.crt"),
            certificate_required: given_cert,
            key: file("sslkey", "postgresql.key"),
            revocations: file("sslcrl", "root.crl"),
            server_name_indication: self.given("sslsni") != Some("0"),
            min_version: self.tls_version("ssl_min_protocol_version")?.unwrap_or(TlsVersion::V12),
            max_version: self.max_tls_version()?,
        })
    }

    fn max_tls_version(&self) -> Result<TlsVersion, ConnInfoError> {
        let max = self.tls_version("ssl_max_protocol_version")?.unwrap_or(TlsVersion::V13);
        let min = self.tls_version("ssl_min_protocol_version")?.unwrap_or(TlsVersion::V12);
        let old = matches!(self.given("ssl_max_protocol_version"), Some("TLSv1" | "TLSv1.1"));
        if old || min > max {
            return Err(ConnInfoError::Conflict(
                "invalid TLS protocol version range: TLSv1.2 and TLSv1.3 are supported".to_owned(),
            ));
        }
        Ok(max)
    }

    fn tls_version(&self, option: &'static str) -> Result<Option<TlsVersion>, ConnInfoError> {
        Ok(match self.given(option) {
            None => None,
            Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => Some(TlsVersion::V12),
            Some("TLSv1.3") => Some(TlsVersion::V13),
            Some(value) => return Err(bad_value(option, value)),
        })
    }

    fn integer(&self, option: &'static str) -> Result<Option<i32>, ConnInfoError> {
        let parse = |value: &str| value.trim().parse().map_err(|_| bad_value(option, value));
        self.given(option).map(parse).transpose()
    }
}

fn bad_value(option: &'static str, value: &str) -> ConnInfoError {
    ConnInfoError::Value { option, value: value.to_owned() }
}

fn seconds_of(seconds: i32) -> Duration {
    Duration::from_secs(u64::from(seconds.unsigned_abs()))
}

fn split_list(value: Option<&str>) -> Vec<&str> {
    value.map(|v| v.split(',').collect()).unwrap_or_default()
}

fn is_default_socket(dir: &Path) -> bool {
    SOCKET_DIRECTORIES.iter().any(|d| dir == Path::new(d))
}

fn default_socket_directory(port: u16) -> PathBuf {
    let has_socket = |dir: &&&str| Path::new(dir).join(format!(".s.PGSQL.{port}")).exists();
    let chosen = SOCKET_DIRECTORIES.iter().find(has_socket).unwrap_or(&SOCKET_DIRECTORIES[0]);
    PathBuf::from(chosen)
}

/// Returns the settings that libpq sends at startup if these variables are set.
fn startup_settings(env: &Environment) -> Vec<(&'static str, String)> {
    [("PGDATESTYLE", "datestyle"), ("PGTZ", "timezone"), ("PGGEQO", "geqo")]
        .into_iter()
        .filter_map(|(variable, setting)| Some((setting, env.variable(variable)?.to_owned())))
        .filter(|(_, value)| !value.eq_ignore_ascii_case("default"))
        .collect()
}

fn locale_encoding(env: &Environment) -> Result<&'static str, ConnInfoError> {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .find_map(|name| env.variable(name).filter(|v| !v.is_empty()))
        .unwrap_or("C");
    let codeset = locale.split_once('.').map_or("", |(_, c)| c).split('@').next().unwrap_or_default();
    match (locale, codeset.to_ascii_lowercase().as_str()) {
        (_, "utf8" | "utf-8") => Ok("UTF8"),
        (_, "iso8859-1" | "iso-8859-1" | "iso88591") => Ok("LATIN1"),
        ("C" | "POSIX", _) => Ok("SQL_ASCII"),
        _ => Err(bad_value("client_encoding", "auto")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(variables: &[(&'static str, &'static str)]) -> Environment {
        Environment::of_variables(variables.iter().copied()).with_account("os-user", "/nonexistent")
    }

    fn resolve(
        text: &str,
        variables: &[(&'static str, &'static str)],
    ) -> Result<ConnectOptions, ConnInfoError> {
        ConnInfo::parse(text)?.resolve(&env(variables))
    }

    #[test]
    fn defaults_are_libpqs() {
        let options = resolve("", &[]).unwrap();
        assert_eq!((options.user(), options.database()), ("os-user", "os-user"));
        assert_eq!(options.hosts.len(), 1);
        assert!(matches!(options.hosts[0].address, HostAddress::Socket(_)));
        assert_eq!(options.hosts[0].port, 5432);
        assert_eq!(options.tls.mode, SslMode::Prefer);
        assert_eq!(options.application_name, "pg-backup");
        assert_eq!(options.connect_timeout, None);
        assert_eq!(options.target, TargetServer::Any);
        assert_eq!(options.channel_binding, ChannelBinding::Prefer);
        assert!(options.keepalive.enabled);
    }

    #[test]
    fn the_string_wins_over_the_environment() {
        let variables = [
            ("PGHOST", "envhost"),
            ("PGPORT", "1111"),
            ("PGUSER", "envuser"),
            ("PGPASSWORD", "envpw"),
            ("PGDATABASE", "envdb"),
            ("PGSSLMODE", "require"),
            ("PGAPPNAME", "app"),
            ("PGOPTIONS", "-c geqo=off"),
            ("PGCONNECT_TIMEOUT", "1"),
            ("PGTZ", "UTC"),
            ("PGTARGETSESSIONATTRS", "standby"),
            ("PGCLIENTENCODING", "LATIN1"),
        ];
        let options = resolve("", &variables).unwrap();
        assert_eq!(options.to_string(), "envuser@envhost:1111/envdb");
        assert_eq!(options.hosts[0].password, Some(SecretBytes("envpw".to_owned())));
        assert_eq!(options.tls.mode, SslMode::Require);
        assert_eq!(options.application_name, "app");
        assert_eq!(options.options.as_deref(), Some("-c geqo=off"));
        assert_eq!(options.connect_timeout, Some(Duration::from_secs(2)));
        assert_eq!(options.settings, [("timezone", "UTC".to_owned())]);
        assert_eq!(options.target, TargetServer::Standby);
        assert_eq!(options.client_encoding.as_deref(), Some("LATIN1"));
        let options = resolve("postgres://u:pw@h:2/d?sslmode=disable", &variables).unwrap();
        assert_eq!(options.to_string(), "u@h:2/d");
        assert_eq!(options.hosts[0].password, Some(SecretBytes("pw".to_owned())));
        assert_eq!(options.tls.mode, SslMode::Disable);
    }

    #[test]
    fn several_hosts_pair_with_their_ports() {
        let options = resolve("host=a,b,/run/pg port=1,,3", &[]).unwrap();
        assert_eq!(options.to_string(), "os-user@a:1,b:5432,/run/pg:3/os-user");
        let options = resolve("host=name hostaddr=::1 port=7", &[]).unwrap();
        assert_eq!(options.hosts[0].address, HostAddress::Ip("::1".parse().unwrap()));
        assert_eq!(options.hosts[0].name.as_deref(), Some("name"));
        let error = resolve("host=a,b port=1,2,3", &[]).unwrap_err();
        assert_eq!(error.to_string(), "could not match 3 port numbers to 2 hosts");
        let error = resolve("host=a hostaddr=::1,::2", &[]).unwrap_err();
        assert_eq!(error.to_string(), "could not match 1 host names to 2 hostaddr values");
    }

    #[test]
    fn bad_values_name_the_option() {
        for (text, expected) in [
            ("port=x", "invalid value \"x\" for connection option \"port\""),
            ("port=70000", "invalid value \"70000\" for connection option \"port\""),
            ("sslmode=verify", "invalid value \"verify\" for connection option \"sslmode\""),
            ("connect_timeout=soon", "invalid value \"soon\" for connection option \"connect_timeout\""),
            ("target_session_attrs=x", "invalid value \"x\" for connection option \"target_session_attrs\""),
            ("channel_binding=x", "invalid value \"x\" for connection option \"channel_binding\""),
            (
                "sslrootcert=system sslmode=require",
                "weak sslmode \"require\" may not be used with sslrootcert=system (use \"verify-full\")",
            ),
            (
                "gssencmode=require",
                "connection option \"gssencmode=require\" is not supported: GSSAPI encryption is not built in",
            ),
            (
                "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
                "invalid TLS protocol version range: TLSv1.2 and TLSv1.3 are supported",
            ),
        ] {
            assert_eq!(resolve(text, &[]).unwrap_err().to_string(), expected);
        }
        let error = resolve("", &[("PGREQUIREPEER", "postgres")]).unwrap_err();
        assert!(error.to_string().contains("PGREQUIREPEER"));
    }

    #[test]
    fn the_password_file_serves_each_host() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".pgpass");
        std::fs::write(&file, "a:1:d:u:for-a\nlocalhost:*:*:*:for-socket\n").unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let env = Environment::default().with_account("u", dir.path());
        let options = ConnInfo::parse("host=a,b,/tmp port=1 dbname=d").unwrap().resolve(&env).unwrap();
        let passwords: Vec<_> =
            options.hosts.iter().map(|h| h.password.as_ref().map(|s| s.0.as_str())).collect();
        assert_eq!(passwords, [Some("for-a"), None, Some("for-socket")]);
        assert_eq!(options.hosts[0].password_file.as_ref(), Some(&file));
    }

    #[test]
    fn system_roots_mean_full_verification() {
        let options = resolve("sslrootcert=system", &[]).unwrap();
        assert_eq!(options.tls.mode, SslMode::VerifyFull);
    }

    #[test]
    fn debug_hides_passwords() {
        assert!(!format!("{:?}", resolve("password=hidden", &[]).unwrap()).contains("hidden"));
    }
}
