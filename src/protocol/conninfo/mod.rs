//! libpq's connection parameters: `keyword=value` strings, URIs, the `PG*` environment, the
//! password file, and libpq's defaults.
//!
//! [`ConnInfo`] holds the given parameters. [`ConnInfo::resolve`] adds the environment and the defaults and returns
//! [`ConnectOptions`], with which the program connects. No error message repeats a value that may contain a
//! password.

mod environment;
mod keyword;
mod pgpass;
mod resolve;
mod service;
mod uri;

use std::collections::BTreeMap;
use std::fmt;

pub use environment::Environment;
pub(super) use resolve::{ChannelBinding, Keepalive, TargetServer};
pub use resolve::{ConnectOptions, Host, HostAddress};

use super::encoding::to_bytes;
use keyword::{Keyword, Support};

/// An error in a connection string or in one of its values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnInfoError {
    /// The string cannot be parsed, for the given reason.
    #[error("{0}")]
    Syntax(String),
    /// libpq has no such keyword.
    #[error("unknown connection option \"{0}\"")]
    Unknown(String),
    /// An option of libpq that this program does not support.
    #[error("connection option \"{option}\" is not supported: {why}")]
    Unsupported {
        /// The option.
        option: String,
        /// The reason.
        why: &'static str,
    },
    /// A value that the option does not accept.
    #[error("invalid value \"{value}\" for connection option \"{option}\"")]
    Value {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
    },
    /// Two values that contradict each other, or a file that cannot be used.
    #[error("{0}")]
    Conflict(String),
}

/// A secret of any bytes, encoded as by [`from_bytes`](super::encoding::from_bytes), that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretBytes(pub(super) String);

impl SecretBytes {
    pub(super) fn bytes(&self) -> Vec<u8> {
        to_bytes(&self.0)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Connection parameters as given, without environment and defaults.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnInfo {
    values: BTreeMap<&'static str, String>,
}

impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(k, v): (&&'static str, &String)| match *k {
            "password" | "sslpassword" => (*k, "***".to_owned()),
            k => (k, v.clone()),
        };
        f.debug_map().entries(self.values.iter().map(shown)).finish()
    }
}

impl ConnInfo {
    /// Creates an empty set of parameters.
    pub fn new() -> Self {
        ConnInfo::default()
    }

    /// Parses a `keyword=value` string or a `postgres://` or `postgresql://` URI.
    pub fn parse(text: &str) -> Result<Self, ConnInfoError> {
        let mut info = ConnInfo::new();
        info.merge(text)?;
        Ok(info)
    }

    /// Applies a database argument as psql and pg_dump do: a connection string or URI overrides earlier
    /// parameters; anything else is a database name.
    pub fn set_database(&mut self, argument: &str) -> Result<(), ConnInfoError> {
        if uri::is_uri(argument) || argument.contains('=') {
            self.merge(argument)
        } else {
            self.set("dbname", argument)
        }
    }

    /// Sets one parameter. As with libpq, an empty value changes nothing.
    pub fn set(&mut self, option: &str, value: &str) -> Result<(), ConnInfoError> {
        if !value.is_empty() {
            self.store(option, value.to_owned())?;
        }
        Ok(())
    }

    /// Returns a given parameter.
    pub fn get(&self, option: &str) -> Option<&str> {
        self.values.get(option).map(String::as_str)
    }

    /// Returns the names of the given parameters in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.values.keys().copied()
    }

    fn merge(&mut self, text: &str) -> Result<(), ConnInfoError> {
        let pairs = if uri::is_uri(text) { uri::parse(text)? } else { parse_pairs(text)? };
        for (option, value) in pairs {
            self.store(&option, value)?;
        }
        Ok(())
    }

    fn store(&mut self, option: &str, value: String) -> Result<(), ConnInfoError> {
        if value.contains('\0') {
            return Err(ConnInfoError::Syntax(format!("the value of \"{option}\" contains a NUL")));
        }
        // libpq's oldest spelling of sslmode.
        if option == "requiressl" {
            let mode = if value.starts_with('1') { "require" } else { "prefer" };
            self.values.insert("sslmode", mode.to_owned());
            return Ok(());
        }
        let keyword = Keyword::find(option).ok_or_else(|| unknown(option))?;
        if let Support::Refused(why) = keyword.support {
            return Err(ConnInfoError::Unsupported { option: option.to_owned(), why });
        }
        self.values.insert(keyword.name, value);
        Ok(())
    }
}

/// Returns whether the text can be the name of an option. Other texts are not shown, because they may be a URI with
/// another scheme, or the rest of a password.
fn is_name(option: &str) -> bool {
    option.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn unknown(option: &str) -> ConnInfoError {
    if is_name(option) {
        return ConnInfoError::Unknown(option.to_owned());
    }
    let text = "unknown connection option (its name is not shown, since it may hold a password)\n\
                HINT: a connection URI begins with postgres:// or postgresql://";
    ConnInfoError::Syntax(text.to_owned())
}

/// Splits `keyword = 'value' …`.
fn parse_pairs(text: &str) -> Result<Vec<(String, String)>, ConnInfoError> {
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text.trim_start_matches(is_space);
    while !rest.is_empty() {
        let end = rest.find(|c| c == '=' || is_space(c)).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(after) = after.trim_start_matches(is_space).strip_prefix('=') else {
            return Err(missing_equals(pairs.last()));
        };
        if !is_name(name) {
            return Err(unknown(name));
        }
        let (value, after) = take_value(after.trim_start_matches(is_space))?;
        pairs.push((name.to_owned(), value));
        rest = after.trim_start_matches(is_space);
    }
    Ok(pairs)
}

/// Returns the error for a word without "=". The word is not shown, because it is often the end of an unquoted
/// password.
fn missing_equals(last: Option<&(String, String)>) -> ConnInfoError {
    ConnInfoError::Syntax(match last {
        None => "missing \"=\" after the first word of the connection string".to_owned(),
        Some((name, _)) => format!(
            "missing \"=\" in the connection string after the value of \"{name}\" \
             (a value with spaces must be in single quotes)"
        ),
    })
}

/// Returns one value and the rest of the text. A backslash escapes the next character.
fn take_value(text: &str) -> Result<(String, &str), ConnInfoError> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(body) => (true, body),
        None => (false, text),
    };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            '\'' if quoted => return Ok((value, &body[at + 1..])),
            c if !quoted && is_space(c) => return Ok((value, &body[at..])),
            c => value.push(c),
        }
    }
    if quoted {
        let text = "unterminated quoted value in the connection string";
        return Err(ConnInfoError::Syntax(text.to_owned()));
    }
    Ok((value, ""))
}

/// C's isspace in the C locale.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_follow_libpq_quoting() {
        let info =
            ConnInfo::parse(r" host = db user='o\'brien' password = 'a b\\c' dbname=my\ db port=1 ").unwrap();
        assert_eq!(info.get("host"), Some("db"));
        assert_eq!(info.get("user"), Some("o'brien"));
        assert_eq!(info.get("password"), Some(r"a b\c"));
        assert_eq!(info.get("dbname"), Some("my db"));
        assert_eq!(info.get("port"), Some("1"));
    }

    #[test]
    fn broken_strings_are_refused_without_showing_a_password() {
        for text in ["password=top secret", "password='top secret", "secret"] {
            let error = ConnInfo::parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert_eq!(ConnInfo::parse("hosst=x"), Err(ConnInfoError::Unknown("hosst".to_owned())));
        let refused = ConnInfo::parse("replication=database").unwrap_err();
        assert!(refused.to_string().starts_with("connection option \"replication\" is not supported"));
    }

    #[test]
    fn a_uri_with_another_scheme_does_not_show_its_password() {
        for text in ["postgress://u:hidden@h/d?port=1", "pg://u:hidden@h?a=b c", "postgres://h/d?hid/den@h=1"]
        {
            let text = ConnInfo::parse(text).unwrap_err().to_string();
            assert!(text.contains("HINT: a connection URI begins with") && !text.contains("hid"), "{text}");
        }
        let error = ConnInfo::parse("ssl-mode=require").unwrap_err().to_string();
        assert_eq!(error, "unknown connection option \"ssl-mode\"");
    }

    #[test]
    fn a_database_argument_may_be_a_connection_string() {
        let mut info = ConnInfo::new();
        info.set("host", "first").unwrap();
        info.set_database("plain").unwrap();
        assert_eq!(info.get("dbname"), Some("plain"));
        info.set_database("host=second dbname=x").unwrap();
        assert_eq!((info.get("host"), info.get("dbname")), (Some("second"), Some("x")));
        info.set_database("postgres://third/y").unwrap();
        assert_eq!((info.get("host"), info.get("dbname")), (Some("third"), Some("y")));
    }

    #[test]
    fn debug_hides_the_password() {
        let info = ConnInfo::parse("password=hidden user=u").unwrap();
        assert!(!format!("{info:?}").contains("hidden"));
    }
}
