//! The environment that libpq reads from the process: environment variables, user name and home directory.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::protocol::encoding::from_bytes;

/// The environment in which connection parameters are resolved.
#[derive(Clone, Default)]
pub struct Environment {
    variables: HashMap<String, String>,
    user: Option<String>,
    home: Option<PathBuf>,
}

impl Environment {
    /// Returns the environment of the process.
    pub fn of_process() -> Self {
        let variables: HashMap<_, _> = std::env::vars_os()
            .filter_map(|(name, value)| readable(name.into_string().ok()?, value))
            .collect();
        let account = account();
        let home = match variables.get("HOME") {
            Some(home) if !home.is_empty() => Some(PathBuf::from(home)),
            _ => account.as_ref().map(|a| PathBuf::from(&a.home)),
        };
        Environment { variables, user: account.map(|a| a.name), home }
    }

    /// Returns an environment with only these variables, without a user and a home directory.
    pub fn of_variables<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let owned = variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        Environment { variables: owned.collect(), user: None, home: None }
    }

    /// Sets the user name and home directory.
    #[must_use]
    pub fn with_account(mut self, user: &str, home: impl Into<PathBuf>) -> Self {
        self.user = Some(user.to_owned());
        self.home = Some(home.into());
        self
    }

    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    pub(super) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    pub(super) fn home(&self) -> Option<&PathBuf> {
        self.home.as_ref()
    }
}

/// Returns a variable if its value is text. A password may consist of any bytes, which [`from_bytes`]
/// encodes.
fn readable(name: String, value: OsString) -> Option<(String, String)> {
    let value = if name == "PGPASSWORD" { from_bytes(value.as_bytes()) } else { value.into_string().ok()? };
    Some((name, value))
}

struct Account {
    name: String,
    home: String,
}

/// Returns the account of the effective user, from /etc/passwd.
///
/// A container often runs with a user id that has no account. Then there is no default user name.
fn account() -> Option<Account> {
    let uid = std::fs::metadata("/proc/self").ok()?.uid().to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        match fields.as_slice() {
            [name, _, id, _, _, home, ..] if *id == uid => {
                Some(Account { name: (*name).to_owned(), home: (*home).to_owned() })
            }
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::protocol::encoding::to_bytes;

    #[test]
    fn a_password_may_be_of_any_bytes() {
        let latin1 = || OsString::from_vec(b"caf\xE9".to_vec());
        let (_, value) = readable("PGPASSWORD".to_owned(), latin1()).unwrap();
        assert_eq!(to_bytes(&value), b"caf\xE9");
        assert_eq!(readable("PGUSER".to_owned(), latin1()), None);
    }
}
