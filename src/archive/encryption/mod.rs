//! Client-side encryption with age (<https://age-encryption.org/v1>): the keys for encryption
//! ([`Recipients`]) and for decryption ([`Identities`]), and the positions of an age file's bytes
//! ([`chunks`]). Depends neither on storage nor on SQL.
//!
//! The `age` crate writes and reads whole files. [`chunks::Opened`] reads ranges of a large file, because the
//! crate's reader can neither share a key between connections nor continue after a damaged chunk.
//!
//! Encryption provides confidentiality, but does not authenticate the writer: recipients are public, so
//! anyone with write access to the store can replace a file with another one encrypted to the same
//! recipients.

pub mod chunks;
mod identities;
mod recipients;

use std::io::{self, Read};

use age::DecryptError;

pub use identities::{Identities, KeyError};
pub use recipients::Recipients;

/// The first bytes of an age file.
pub const MAGIC: &[u8] = b"age-encryption.org/v1";

/// An error in decrypting an object.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// No identity was given.
    #[error(
        "it is encrypted, and no identity was given\nHINT: give an identity that can decrypt it with --identity FILE or BACKUP_AGE_IDENTITY_FILE"
    )]
    NoIdentity,
    /// The object is not encrypted to any of the identities.
    #[error(
        "it is not encrypted to any of the given identities\nHINT: `age-keygen -y FILE` prints the recipient of an identity; it must have been in BACKUP_AGE_RECIPIENTS at the time of the backup"
    )]
    WrongIdentity,
    /// The object is encrypted with a passphrase.
    #[error("it is encrypted with a passphrase, which is not supported\nHINT: `age -d` decrypts it")]
    Passphrase,
    /// The header of the age file is damaged.
    #[error("its age header is damaged")]
    Header,
    /// The size is not possible for an age file.
    #[error("its end is missing")]
    Size,
    /// A chunk failed authentication.
    #[error("the encrypted chunk at bytes {from} to {to} of the object was changed, moved or cut off")]
    Chunk {
        /// Its first byte in the object.
        from: u64,
        /// The byte after its last.
        to: u64,
    },
    /// The object's bytes could not be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
}

impl SealError {
    /// Returns whether the error is only in the identity.
    pub fn is_about_identity(&self) -> bool {
        matches!(self, SealError::NoIdentity | SealError::WrongIdentity)
    }
}

impl From<DecryptError> for SealError {
    fn from(error: DecryptError) -> Self {
        match error {
            DecryptError::NoMatchingKeys => SealError::WrongIdentity,
            // The crate uses these two kinds for a header that is truncated or not text.
            DecryptError::Io(error)
                if !matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) =>
            {
                SealError::Read(error)
            }
            _ => SealError::Header,
        }
    }
}

/// Returns a reader that decrypts an age file from beginning to end. It returns only authenticated content. A
/// missing end is detected only at the end.
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

/// Decrypts an age file in memory.
pub fn open(sealed: &[u8], identities: Option<&Identities>) -> Result<Vec<u8>, SealError> {
    let mut bytes = Vec::new();
    let damaged = |_| SealError::Chunk { from: 0, to: sealed.len() as u64 };
    reader(sealed, identities)?.read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Returns the recipients and identities of a new key.
    pub(crate) fn key() -> (Recipients, Identities) {
        use age::secrecy::ExposeSecret;
        let identity = age::x25519::Identity::generate();
        let recipients = Recipients::parse(&identity.to_public().to_string()).unwrap();
        (recipients, Identities::parse(identity.to_string().expose_secret()).unwrap())
    }

    /// Returns the offset of the first chunk of an age file. The size of headers varies, because the crate
    /// adds random entries to prevent readers from depending on the known ones.
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
    fn damage_is_reported_without_output() {
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
        // The header's MAC is its last line.
        let mac = sealed.windows(4).position(|four| four == b"--- ").unwrap() + 10;
        let other = if sealed[mac] == b'A' { b'B' } else { b'A' };
        assert!(matches!(with(&|s| s[mac] = other), SealError::Header));
    }
}
