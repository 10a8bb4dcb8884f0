//! Reads connection service files, which consist of INI sections of connection parameters.

use std::path::{Path, PathBuf};

use super::keyword::{Keyword, Support};
use super::{ConnInfo, ConnInfoError, Environment};

/// Adds the parameters of the named service that are not set otherwise.
pub(super) fn apply(info: &mut ConnInfo, service: &str, env: &Environment) -> Result<(), ConnInfoError> {
    for path in files(env) {
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if let Some(pairs) = section(&text, service, &path)? {
            for (option, value) in pairs {
                // An invalid option is rejected even if it is also set elsewhere.
                let mut own = ConnInfo::new();
                store(&mut own, &option, value, &path)?;
                for (name, value) in own.values {
                    info.values.entry(name).or_insert(value);
                }
            }
            return Ok(());
        }
    }
    Err(ConnInfoError::Conflict(format!("definition of service \"{service}\" not found")))
}

fn store(info: &mut ConnInfo, option: &str, value: String, path: &Path) -> Result<(), ConnInfoError> {
    let known = Keyword::find(option).is_some_and(|k| !matches!(k.support, Support::Refused(_)));
    if !known {
        let file = path.display();
        return Err(ConnInfoError::Conflict(format!("unusable option \"{option}\" in service file {file}")));
    }
    info.store(option, value)
}

/// Returns the paths of the user's file and the system's file.
fn files(env: &Environment) -> Vec<PathBuf> {
    let own = match env.variable("PGSERVICEFILE") {
        Some(path) => Some(PathBuf::from(path)),
        None => env.home().map(|home| home.join(".pg_service.conf")),
    };
    let system = env.variable("PGSYSCONFDIR").unwrap_or("/etc/postgresql-common");
    own.into_iter().chain([Path::new(system).join("pg_service.conf")]).collect()
}

type Pairs = Vec<(String, String)>;

fn section(text: &str, service: &str, path: &Path) -> Result<Option<Pairs>, ConnInfoError> {
    let mut pairs: Option<Pairs> = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[') {
            if pairs.is_some() {
                break;
            }
            if name.split(']').next() == Some(service) {
                pairs = Some(Vec::new());
            }
        } else if let Some(pairs) = &mut pairs {
            let Some((option, value)) = line.split_once('=') else {
                let file = path.display();
                let text = format!("syntax error in service file {file}, line {}", number + 1);
                return Err(ConnInfoError::Conflict(text));
            };
            if option == "service" {
                let (file, number) = (path.display(), number + 1);
                return Err(ConnInfoError::Conflict(format!(
                    "nested service specifications not supported in service file \"{file}\", line {number}"
                )));
            }
            pairs.push((option.to_owned(), value.to_owned()));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_fills_what_was_not_given() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("services");
        std::fs::write(&file, "# c\n[other]\nhost=no\n[mine]\nhost=db\nport=5433\n\n[next]\nuser=x\n")
            .unwrap();
        let env = Environment::of_variables([("PGSERVICEFILE", file.to_str().unwrap())]);
        let mut info = ConnInfo::parse("port=1").unwrap();
        apply(&mut info, "mine", &env).unwrap();
        assert_eq!((info.get("host"), info.get("port"), info.get("user")), (Some("db"), Some("1"), None));
        std::fs::write(&file, "[mine]\nhost=db\nservice=other\n[other]\nhost=x\n").unwrap();
        // As in libpq, even if the name itself was given as `service=mine`.
        for given in ["", "service=mine"] {
            let nested = apply(&mut ConnInfo::parse(given).unwrap(), "mine", &env).unwrap_err();
            let expected = format!(
                "nested service specifications not supported in service file \"{}\", line 3",
                file.display()
            );
            assert_eq!(nested.to_string(), expected);
        }
        let missing = apply(&mut info, "absent", &env).unwrap_err();
        assert_eq!(missing.to_string(), "definition of service \"absent\" not found");
    }
}
