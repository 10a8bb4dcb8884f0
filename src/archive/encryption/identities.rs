//! Identities: the secret keys for decryption. Nothing in this module prints a key.

use std::fmt;
use std::sync::Arc;

use age::ssh;

/// An error in keys. Its text is the end of a sentence that begins with the location of the keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct KeyError {
    /// The problem, without any part of the key.
    pub problem: String,
    /// How to solve it.
    pub hint: &'static str,
}

impl KeyError {
    pub(super) fn new(problem: impl Into<String>, hint: &'static str) -> Self {
        KeyError { problem: problem.into(), hint }
    }
}

/// Secret keys that are tried in order; at least one.
#[derive(Clone)]
pub struct Identities(Arc<[Identity]>);

type Identity = Arc<dyn age::Identity + Send + Sync>;

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identities(***)")
    }
}

const KINDS: &str = "it must be what `age-keygen` writes (lines of AGE-SECRET-KEY-1…), or an OpenSSH private key of the kind ssh-ed25519 or ssh-rsa";

impl Identities {
    /// Parses the content of an identity file. It is either one age secret key per line, where lines that
    /// begin with `#` are comments, or one SSH private key without a passphrase.
    pub fn parse(text: &str) -> Result<Identities, KeyError> {
        if text.trim_start().starts_with("-----BEGIN") {
            return Ok(Identities([ssh_key(text.trim_start())?].into()));
        }
        if text.trim_start().as_bytes().starts_with(super::MAGIC) {
            return Err(KeyError::new(
                "holds an identity that is itself encrypted",
                "decrypt it with `age -d` into a file that only the restore can read",
            ));
        }
        let mut identities: Vec<Identity> = Vec::new();
        for (number, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.parse::<age::x25519::Identity>() {
                Ok(identity) => identities.push(Arc::new(identity)),
                Err(_) if super::Recipients::parse(line).is_ok() => {
                    return Err(KeyError::new(
                        format!("holds a recipient in line {}, which cannot decrypt", number + 1),
                        "use the secret key, the line AGE-SECRET-KEY-1… of the same file",
                    ));
                }
                Err(_) => {
                    let problem = format!("holds an invalid identity in line {}", number + 1);
                    return Err(KeyError::new(problem, KINDS));
                }
            }
        }
        match identities.is_empty() {
            true => Err(KeyError::new("holds no identity", KINDS)),
            false => Ok(Identities(identities.into())),
        }
    }

    /// Combines several sets of identities.
    pub fn joined(several: impl IntoIterator<Item = Identities>) -> Option<Identities> {
        let all: Vec<Identity> = several.into_iter().flat_map(|Identities(some)| some.to_vec()).collect();
        (!all.is_empty()).then(|| Identities(all.into()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.0.iter().map(|identity| &**identity as &dyn age::Identity)
    }
}

fn ssh_key(text: &str) -> Result<Identity, KeyError> {
    // The newline at the end is missing if the text was read from a file.
    let text = format!("{}\n", text.trim_end());
    match ssh::Identity::from_buffer(text.as_bytes(), None) {
        Ok(identity @ ssh::Identity::Unencrypted(_)) => Ok(Arc::new(identity)),
        Ok(ssh::Identity::Encrypted(_))
        | Ok(ssh::Identity::Unsupported(
            ssh::UnsupportedKey::EncryptedPem | ssh::UnsupportedKey::EncryptedSsh(_),
        )) => Err(KeyError::new(
            "holds an SSH key with a passphrase, which is not supported",
            "remove the passphrase from a copy of the key with `ssh-keygen -p -N ''`, or add a recipient that `age-keygen` generates",
        )),
        Ok(ssh::Identity::Unsupported(
            ssh::UnsupportedKey::Hardware(kind) | ssh::UnsupportedKey::Type(kind),
        )) => Err(KeyError::new(
            format!("holds an SSH key of the kind {kind}, which age does not support"),
            KINDS,
        )),
        Err(_) => Err(KeyError::new("holds an SSH key that cannot be read", KINDS)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::key;
    use super::*;

    const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

    #[test]
    fn an_identity_file_is_read_with_its_comments() {
        let text = format!("# created: 2026-01-01\n# public key: age1…\n{SECRET}\n\n{SECRET}");
        assert_eq!(Identities::parse(&text).unwrap().iter().count(), 2);
        assert_eq!(format!("{:?}", Identities::parse(SECRET).unwrap()), "Identities(***)");
    }

    #[test]
    fn a_bad_identity_is_reported_without_its_text() {
        let recipient = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
        for (bad, told) in [
            ("", "holds no identity"),
            ("# nothing", "holds no identity"),
            ("hunter2", "holds an invalid identity in line 1"),
            (&format!("{SECRET}\n{}", &SECRET[..70]), "holds an invalid identity in line 2"),
            (recipient, "holds a recipient in line 1, which cannot decrypt"),
            ("age-encryption.org/v1\n-> scrypt", "holds an identity that is itself encrypted"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2", "holds an SSH key that cannot be read"),
        ] {
            let error = Identities::parse(bad).unwrap_err();
            assert_eq!(error.to_string(), told);
            assert!(!error.hint.is_empty() && !format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn identities_of_several_files_are_all_tried() {
        let ((_, first), (recipients, second), (_, third)) = (key(), key(), key());
        let sealed = recipients.seal(b"x").unwrap();
        let all = Identities::joined([first.clone(), second, third]).unwrap();
        assert_eq!(super::super::open(&sealed, Some(&all)).unwrap(), b"x");
        assert!(super::super::open(&sealed, Some(&first)).is_err());
        assert!(Identities::joined([]).is_none());
    }
}
