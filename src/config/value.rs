//! Parsers for values that several variables share, and for values with their own syntax.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::archive::compression::Compression;
use crate::protocol::{ConnInfo, ConnInfoError, ConnectOptions, Environment};

use super::error::ConfigError;
use super::variables::{self, DefaultValue, ValueType};
use super::vars::Vars;

/// Default of `BACKUP_MEMORY_LIMIT`: 64 MiB.
pub const DEFAULT_MEMORY: u64 = 64 << 20;
/// Two parts of an upload, the compressors and the program itself do not fit into less.
const LEAST_MEMORY: u64 = 56 << 20;

/// The catalogs of an empty database take about 2 MiB of it.
const LEAST_CATALOGS: u64 = 16 << 20;

/// Parses a number in the range of the registry. Returns `None` only if it is neither set nor has a default.
pub(super) fn number(vars: &Vars, name: &str) -> Result<Option<u64>, ConfigError> {
    let variable = variables::find(name).expect("every variable is in the registry");
    let ValueType::Integer(least, most) = variable.kind else { unreachable!("{name} is not a number") };
    let Some(text) = vars.get_or_default(name)? else { return Ok(None) };
    match text.trim().parse::<u64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(Some(number)),
        _ => Err(ConfigError::new(
            name,
            format!("is not a whole number from {least} to {most}: \"{text}\""),
            match variable.default {
                DefaultValue::Value(default) | DefaultValue::Derived(default) => {
                    format!("set a number in this range, or remove it; the default is {default}")
                }
                DefaultValue::Required | DefaultValue::None => "set a number in this range".to_owned(),
            },
        )),
    }
}

/// Parses a number of connections.
pub(super) fn jobs(vars: &Vars, name: &str) -> Result<Option<NonZeroUsize>, ConfigError> {
    let number = number(vars, name)?.and_then(|jobs| usize::try_from(jobs).ok());
    Ok(number.and_then(NonZeroUsize::new))
}

/// Parses one of several words; returns `None` if it is neither set nor has a default.
pub(super) fn choice<T: Copy>(
    vars: &Vars,
    name: &str,
    choices: &[(&str, T)],
) -> Result<Option<T>, ConfigError> {
    let Some(text) = vars.get_or_default(name)? else { return Ok(None) };
    match choices.iter().find(|(word, _)| *word == text.trim()) {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            let words = match words.split_last() {
                Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
                _ => words.join(""),
            };
            Err(ConfigError::new(name, format!("has an unknown value: \"{text}\""), format!("use {words}")))
        }
    }
}

/// Parses a boolean, in the spellings that compose files and shells use; returns `None` if it is neither set
/// nor has a default.
pub(super) fn boolean(vars: &Vars, name: &str) -> Result<Option<bool>, ConfigError> {
    let Some(text) = vars.get_or_default(name)? else { return Ok(None) };
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(Some(true)),
        "false" | "off" | "no" | "0" => Ok(Some(false)),
        _ => {
            Err(ConfigError::new(name, format!("is neither true nor false: \"{text}\""), "use true or false"))
        }
    }
}

/// Reads `BACKUP_HTTP_LISTEN`: an address with its port, or `off`.
pub(super) fn listen_address(vars: &Vars) -> Result<Option<SocketAddr>, ConfigError> {
    let name = "BACKUP_HTTP_LISTEN";
    let text = vars.get_or_default(name)?.unwrap_or_default();
    if text.trim() == "off" {
        return Ok(None);
    }
    text.trim().parse().map(Some).map_err(|_| {
        ConfigError::new(
            name,
            format!("is not an address with a port: \"{text}\""),
            "use e.g. 0.0.0.0:9899, [::]:9899, or off",
        )
    })
}

/// Parses the URL of a database. Only the sidecar's own variables count; libpq's environment variables are
/// ignored. No message shows the URL, because it may contain a password.
pub(super) fn connection(
    name: &str,
    url: &str,
    password_name: &str,
    password: Option<&str>,
) -> Result<ConnectOptions, ConfigError> {
    let example = "use postgres://user@host:5432/database?sslmode=verify-full";
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(ConfigError::new(name, "is not a PostgreSQL URL", example));
    }
    let malformed =
        |error: ConnInfoError| ConfigError::new(name, format!("cannot be used: {error}"), example);
    let mut info = ConnInfo::parse(url).map_err(malformed)?;
    for (option, part) in [("user", "user"), ("host", "host"), ("dbname", "database")] {
        if info.get(option).is_none_or(str::is_empty) {
            return Err(ConfigError::new(name, format!("has no {part}"), example));
        }
    }
    if let Some(password) = password {
        if info.get("password").is_some() {
            return Err(ConfigError::new(
                name,
                format!("contains a password, but {password_name} is also set"),
                format!("remove the password from {name}, or remove {password_name}"),
            ));
        }
        info.set("password", password).map_err(malformed)?;
    }
    info.resolve(&Environment::of_variables([])).map_err(malformed)
}

/// Reads `BACKUP_COMPRESSION`.
pub(super) fn compression(vars: &Vars) -> Result<Compression, ConfigError> {
    let name = "BACKUP_COMPRESSION";
    let text = vars.get_or_default(name)?.unwrap_or_default();
    text.trim().parse().map_err(|_| {
        ConfigError::new(
            name,
            format!("has an unknown value: \"{text}\""),
            "use gzip, gzip:1 to gzip:12, zstd, zstd:1 to zstd:19, or none",
        )
    })
}

/// Reads `BACKUP_MEMORY_LIMIT`, in bytes.
pub(super) fn memory(vars: &Vars) -> Result<u64, ConfigError> {
    size(vars, "BACKUP_MEMORY_LIMIT", LEAST_MEMORY, "use e.g. 64MiB, the default, or 1GiB")
}

/// Reads `BACKUP_CATALOG_LIMIT`, in bytes.
pub(super) fn catalog_limit(vars: &Vars) -> Result<u64, ConfigError> {
    size(vars, "BACKUP_CATALOG_LIMIT", LEAST_CATALOGS, "use e.g. 4GiB, the default, or 512MiB")
}

/// Parses a size of at least `least` bytes (a multiple of 1 MiB).
fn size(vars: &Vars, name: &str, least: u64, hint: &str) -> Result<u64, ConfigError> {
    let text = vars.get_or_default(name)?.unwrap_or_default();
    parse_size(text.trim()).filter(|size| *size >= least).ok_or_else(|| {
        ConfigError::new(name, format!("is not a size of {}MiB or more: \"{text}\"", least >> 20), hint)
    })
}

/// Parses `64MiB`, `64M`, `1GiB`, `1G`, in upper or lower case.
fn parse_size(text: &str) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Parses `6h`, `90m`, `1h30m`, `45s`, `2d`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let mut chars = tail.chars();
        let unit = match chars.next()? {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        seconds = number.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(seconds)?;
        rest = chars.as_str();
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_size("64m"), Some(64 << 20));
        assert_eq!(parse_size("2 GiB"), Some(2 << 30));
        for text in
            ["", "64", "MiB", "64MB", "64KiB", "-1G", "1.5G", "99999999999999999999G", "99999999999999G"]
        {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn durations_have_units() {
        assert_eq!(parse_duration("1h30m"), Some(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("2d"), Some(Duration::from_secs(172_800)));
        for text in ["", "6", "h", "6 h", "6w", "-1h", "99999999999999999999s", "999999999999999999d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
