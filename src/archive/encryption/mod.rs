//! Client-side encryption with age (<https://age-encryption.org/v1>): who can read ([`Recipients`]), who reads
//! ([`Identities`]), and where the bytes of an age file lie ([`chunks`]). Knows neither storage nor SQL.
//!
//! Whole files are written and read by the `age` crate. Stretches of a large one are read by [`chunks::Opened`],
//! because the crate's reader can neither share a key between connections nor go on after a damaged chunk.
//!
//! Encryption hides; it proves nothing about who wrote: recipients are public, so that anybody who may write
//! into the store can put another file encrypted to them there.

pub mod chunks;
mod identities;
mod recipients;

use std::io::{self, Read};

use age::DecryptError;

pub use identities::{Identities, KeyError};
pub use recipients::Recipients;

/// What an age file begins with.
pub const MAGIC: &[u8] = b"age-encryption.org/v1";

/// Why an encrypted object cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Nobody said with what.
    #[error(
        "it is encrypted, and no identity was given\nHINT: name the file of one that it was encrypted to with --identity FILE, or set BACKUP_AGE_IDENTITY_FILE"
    )]
    NoIdentity,
    /// It is for others.
    #[error(
        "it is not encrypted to any of the given identities\nHINT: `age-keygen -y FILE` prints the recipient that belongs to an identity; BACKUP_AGE_RECIPIENTS at the time of the backup said who can open it"
    )]
    WrongIdentity,
    /// It is encrypted with a passphrase.
    #[error("it is encrypted with a passphrase, which is not supported\nHINT: `age -d` decrypts it")]
    Passphrase,
    /// The beginning of the age file is not what it was.
    #[error("its age header is damaged")]
    Header,
    /// An age file cannot have that size.
    #[error("its end is missing")]
    Size,
    /// What follows the header does not authenticate.
    #[error("the encrypted chunk at bytes {from} to {to} of the object was changed, moved or cut off")]
    Chunk {
        /// Its first byte in the object.
        from: u64,
        /// The byte after its last.
        to: u64,
    },
    /// The bytes that hold it could not be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

impl SealError {
    /// Whether all that is wrong is the identity.
    pub fn is_about_identity(&self) -> bool {
        matches!(self, SealError::NoIdentity | SealError::WrongIdentity)
    }
}

impl From<DecryptError> for SealError {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::NoMatchingKeys => SealError::WrongIdentity,
            // These two are the crate's own words for a header that ends too early or is no text.
            DecryptError::Io(error)
                if !matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
            {
                SealError::Read(error)
            }
            _ => SealError::Header,
        }
    }
}

/// What is encrypted in an age file, read from its beginning to its end. Only what has been authenticated comes
/// out; that the end is missing is seen at the end.
pub fn reader<R: Read>(
    sealed: R,
    identities: Option<&Identities>,
) -> Result<age::stream::StreamReader<R>, SealError> {
    let identities = identities.ok_or(SealError::NoIdentity)?;
    let decryptor = age::Decryptor::new(sealed)?;
    if decryptor.is_scrypt() {
        return Err(SealError::Passphrase);
    }
    Ok(decryptor.decrypt(identities.iter())?)
}

/// What is encrypted in an age file at hand.
pub fn open(sealed: &[u8], identities: Option<&Identities>) -> Result<Vec<u8>, SealError> {
    let mut bytes = Vec::new();
    let damaged = |_| SealError::Chunk { from: 0, to: sealed.len() as u64 };
    reader(sealed, identities)?.read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A new key: its recipients and its identities.
    pub(crate) fn key() -> (Recipients, Identities) {
        use age::secrecy::ExposeSecret;
        let identity = age::x25519::Identity::generate();
        let recipients = Recipients::parse(&identity.to_public().to_string()).unwrap();
        (recipients, Identities::parse(identity.to_string().expose_secret()).unwrap())
    }

    /// Where the first chunk of an age file begins. Headers are of any size: the crate puts nonsense in, lest readers
    /// get used to what is there.
    pub(crate) fn start(object: &[u8]) -> usize {
        let mac = object.windows(5).position(|five| five == b"\n--- ").unwrap() + 1;
        mac + object[mac..].iter().position(|byte| *byte == b'\n').unwrap() + 1 + 16
    }

    #[test]
    fn what_is_sealed_opens_for_its_recipients_alone() {
        let ((recipients, identities), (_, others)) = (key(), key());
        let sealed = recipients.seal(b"names").unwrap();
        assert!(sealed.starts_with(MAGIC));
        assert_eq!(open(&sealed, Some(&identities)).unwrap(), b"names");
        assert!(matches!(open(&sealed, None), Err(SealError::NoIdentity)));
        assert!(matches!(open(&sealed, Some(&others)), Err(SealError::WrongIdentity)));
    }

    #[test]
    fn damage_is_told_and_nothing_comes_out() {
        let (recipients, identities) = key();
        let sealed = recipients.seal(b"names").unwrap();
        let with = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut changed = sealed.clone();
            change(&mut changed);
            open(&changed, Some(&identities)).unwrap_err()
        };
        let end = sealed.len() - 1;
        assert!(matches!(with(&|s| s[end] ^= 1), SealError::Chunk { .. }));
        assert!(matches!(with(&|s| s.truncate(end)), SealError::Chunk { .. }));
        assert!(matches!(with(&|s| s.truncate(40)), SealError::Header));
        assert!(matches!(with(&|s| s[0] = b'A'), SealError::Header));
        // The mark of the header's authentication is its last line.
        let mac = sealed.windows(4).position(|four| four == b"--- ").unwrap() + 10;
        let other = if sealed[mac] == b'A' { b'B' } else { b'A' };
        assert!(matches!(with(&|s| s[mac] = other), SealError::Header));
    }
}
