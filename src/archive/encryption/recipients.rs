//! Recipients: the public keys for encryption, and their textual form.

use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use age::ssh::ParseRecipientKeyError;
use age::stream::StreamWriter;

use super::identities::KeyError;

/// The recipients of encrypted objects; at least one.
#[derive(Clone)]
pub struct Recipients(Arc<[Recipient]>);

enum Recipient {
    Age(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipients({})", self.0.len())
    }
}

impl Recipients {
    /// Parses recipients separated by commas or line breaks. A line that begins with `#` is a comment. No
    /// error message contains an entry, because it may be a misplaced secret key.
    pub fn parse(text: &str) -> Result<Recipients, KeyError> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let entries = lines.flat_map(|line| line.split(',')).map(str::trim).filter(|entry| !entry.is_empty());
        let recipients = entries.enumerate().map(|(index, entry)| recipient(index + 1, entry));
        let recipients: Arc<[Recipient]> = recipients.collect::<Result<_, KeyError>>()?;
        match recipients.is_empty() {
            true => Err(KeyError::new("holds no recipient", KINDS)),
            false => Ok(Recipients(recipients)),
        }
    }

    /// Returns the number of recipients.
    pub fn number(&self) -> usize {
        self.0.len()
    }

    /// Returns a writer that encrypts to `out`. It must be finished.
    pub fn writer<W: Write>(&self, out: W) -> io::Result<StreamWriter<W>> {
        let recipients = self.0.iter().map(|recipient| match recipient {
            Recipient::Age(recipient) => recipient as &dyn age::Recipient,
            Recipient::Ssh(recipient) => recipient as &dyn age::Recipient,
        });
        age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?.wrap_output(out)
    }

    /// Returns an age file with `bytes` as its content.
    pub fn seal(&self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut writer = self.writer(Vec::with_capacity(bytes.len() + 1024))?;
        writer.write_all(bytes)?;
        writer.finish()
    }
}

const KINDS: &str = "use public keys (age1…, ssh-ed25519 … or ssh-rsa …), separated by commas or line breaks";

fn recipient(position: usize, entry: &str) -> Result<Recipient, KeyError> {
    let refused = |problem: String, hint| Err(KeyError::new(format!("{problem} as entry {position}"), hint));
    if is_secret(entry) {
        return refused(
            "has a secret key".to_owned(),
            "use its public key: `age-keygen -y FILE` prints it; for an SSH key it is the .pub file. The secret key is exposed to everyone who can read this setting",
        );
    }
    if let Ok(recipient) = entry.parse() {
        return Ok(Recipient::Age(recipient));
    }
    match entry.parse() {
        Ok(recipient) => Ok(Recipient::Ssh(recipient)),
        Err(ParseRecipientKeyError::RsaModulusTooSmall) => {
            refused("has an RSA key of less than 2048 bits".to_owned(), "use a longer key")
        }
        Err(ParseRecipientKeyError::RsaModulusTooLarge) => {
            refused("has an RSA key of more than 4096 bits".to_owned(), "use a shorter key")
        }
        Err(ParseRecipientKeyError::Unsupported(kind)) => refused(
            format!("has an SSH key of the kind {kind}, which age does not support,"),
            "use a key that `age-keygen` generates, or one of the kinds ssh-ed25519 and ssh-rsa",
        ),
        Err(_) => refused("has something that is no recipient".to_owned(), KINDS),
    }
}

/// Returns whether the entry is a secret key.
fn is_secret(entry: &str) -> bool {
    entry.get(..15).is_some_and(|start| start.eq_ignore_ascii_case("AGE-SECRET-KEY-"))
        || entry.starts_with("-----BEGIN")
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN alice@rust";

    #[test]
    fn recipients_stand_in_lines_or_between_commas() {
        let number = |text: &str| Recipients::parse(text).unwrap().number();
        assert_eq!(number(AGE), 1);
        assert_eq!(number(&format!("{AGE}, {ED25519}")), 2);
        assert_eq!(number(&format!("# the office, {AGE}\n{AGE}\n\n  # the vault\r\n{ED25519},{AGE}\n")), 3);
    }

    #[test]
    fn a_bad_recipient_is_reported_by_its_position_without_its_text() {
        for (bad, told) in [
            ("age1nonsense", "has something that is no recipient as entry 2"),
            ("hunter2", "has something that is no recipient as entry 2"),
            ("AGE-SECRET-KEY-1QQPQYQSZ", "has a secret key as entry 2"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "has a secret key as entry 2"),
            (
                "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA==",
                "has an SSH key of the kind ecdsa-sha2-nistp256, which age does not support, as entry 2",
            ),
        ] {
            let error = Recipients::parse(&format!("{AGE},{bad}")).unwrap_err();
            assert_eq!(error.to_string(), told);
            assert!(!error.hint.is_empty() && !error.hint.contains(bad));
        }
        for empty in ["", " , ", "# nobody"] {
            assert_eq!(Recipients::parse(empty).unwrap_err().to_string(), "holds no recipient", "{empty}");
        }
    }
}
