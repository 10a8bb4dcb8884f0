//! Computes the positions of an age file's bytes, and decrypts individual chunks.
//!
//! The header is followed by a nonce of 16 bytes and then by chunks. Each chunk consists of 64 KiB of content
//! and 16 bytes that authenticate the content, the chunk's number and whether it is the last one. The last
//! chunk may be shorter. *Inner* refers to the content of an age file, *object* to the file itself.

use std::fmt;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use age_core::format::{FILE_KEY_BYTES, FileKey, Stanza};
use age_core::primitives::hkdf;
use age_core::secrecy::{ExposeSecret, zeroize::Zeroizing};
use chacha20poly1305::aead::{AeadInPlace, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

use super::{Identities, SealError};

/// Size of the content of every chunk except the last one.
pub const CHUNK: u64 = 64 << 10;
/// Size of a chunk's authentication tag.
const TAG: u64 = 16;
/// Size of the nonce between the header and the first chunk.
const NONCE: usize = 16;

/// The sizes of an age file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    start: u64,
    number: u64,
    inner_size: u64,
}

impl Chunks {
    /// Returns the chunks of an object of `size` bytes whose first chunk begins at `start`; `None` if no age
    /// file has that size.
    pub fn of_object(start: u64, size: u64) -> Option<Chunks> {
        let payload = size.checked_sub(start)?;
        let number = payload.div_ceil(CHUNK + TAG);
        let inner_size = payload.checked_sub(number * TAG)?;
        // Only a chunk that is the only one may be empty.
        let last_is_good = number == 1 || (number > 1 && inner_size > (number - 1) * CHUNK);
        last_is_good.then_some(Chunks { start, number, inner_size })
    }

    /// Returns the size of the content.
    pub fn inner_size(&self) -> u64 {
        self.inner_size
    }

    /// Returns the numbers, from 0, of the chunks that contain a range of the content; none beyond its end.
    pub fn holding(&self, inner: &Range<u64>) -> Range<u64> {
        if inner.is_empty() {
            return 0..0;
        }
        (inner.start / CHUNK).min(self.number)..inner.end.div_ceil(CHUNK).min(self.number)
    }

    /// Returns the range of the chunks in the object.
    pub fn stored(&self, chunks: &Range<u64>) -> Range<u64> {
        let place = |chunk: u64| self.start + chunk * (CHUNK + TAG);
        let end = self.start + self.inner_size + self.number * TAG;
        place(chunks.start).min(end)..place(chunks.end).min(end)
    }
}

/// An age file whose key is known, so that any chunk can be decrypted.
pub struct Opened {
    chunks: Chunks,
    aead: ChaCha20Poly1305,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").field("chunks", &self.chunks).finish_non_exhaustive()
    }
}

impl Opened {
    /// Finds the key of an object of `size` bytes. `beginning` is everything before the first chunk.
    pub fn new(beginning: &[u8], size: u64, identities: &Identities) -> Result<Opened, SealError> {
        let mut rest = beginning;
        let decryptor = age::Decryptor::new(&mut rest)?;
        let keeping = Keeping { identities, key: Mutex::default() };
        // The crate verifies the header with the key that it finds.
        decryptor.decrypt(std::iter::once(&keeping as &dyn age::Identity))?;
        let key = keeping.key.into_inner().unwrap_or_else(PoisonError::into_inner);
        let (Some(key), true, Some(nonce)) = (key, rest.is_empty(), beginning.last_chunk::<NONCE>()) else {
            return Err(SealError::Header);
        };
        let key = Zeroizing::new(hkdf(nonce, b"payload", &*key));
        let chunks = Chunks::of_object(beginning.len() as u64, size).ok_or(SealError::Size)?;
        Ok(Opened { chunks, aead: ChaCha20Poly1305::new((&*key).into()) })
    }

    /// Returns the positions of the chunks.
    pub fn chunks(&self) -> &Chunks {
        &self.chunks
    }

    /// Decrypts the chunk with that number and appends its content. Appends nothing if the chunk fails
    /// authentication.
    pub fn open(&self, number: u64, chunk: &[u8], content: &mut Vec<u8>) -> Result<(), SealError> {
        let stored = self.chunks.stored(&(number..number + 1));
        let damaged = SealError::Chunk { from: stored.start, to: stored.end };
        let Some((sealed, tag)) = chunk.split_last_chunk::<{ TAG as usize }>() else { return Err(damaged) };
        if chunk.len() as u64 != stored.end - stored.start {
            return Err(damaged);
        }
        // A counter of eleven bytes, and a flag for the last chunk.
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&number.to_be_bytes());
        nonce[11] = u8::from(number + 1 == self.chunks.number);
        let before = content.len();
        content.extend_from_slice(sealed);
        let opened = self.aead.decrypt_in_place_detached(
            Nonce::from_slice(&nonce),
            &[],
            &mut content[before..],
            Tag::from_slice(tag),
        );
        opened.map_err(|_| {
            content.truncate(before);
            damaged
        })
    }
}

/// Identities that keep the file's key after they have found it.
struct Keeping<'a> {
    identities: &'a Identities,
    key: Mutex<Option<Zeroizing<[u8; FILE_KEY_BYTES]>>>,
}

impl age::Identity for Keeping<'_> {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        let found = self.identities.iter().find_map(|identity| identity.unwrap_stanza(stanza))?;
        if let Ok(key) = &found {
            let kept = Zeroizing::new(*key.expose_secret());
            *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Seek, SeekFrom};

    use super::super::tests::{key, start};
    use super::super::{MAGIC, reader};
    use super::*;

    /// Sizes around chunk boundaries.
    const SIZES: [u64; 8] = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK - 1, 3 * CHUNK + 7];

    fn content(size: u64) -> Vec<u8> {
        (0..size).map(|n| (n * 31 % 251) as u8).collect()
    }

    /// Returns an age file written by the crate, and the offset of its first chunk.
    fn sealed(size: u64) -> (Vec<u8>, usize, Identities) {
        let (recipients, identities) = key();
        let object = recipients.seal(&content(size)).unwrap();
        assert!(object.starts_with(MAGIC));
        let start = start(&object);
        (object, start, identities)
    }

    fn read(object: &[u8], opened: &Opened, inner: Range<u64>) -> Result<Vec<u8>, SealError> {
        let chunks = opened.chunks().holding(&inner);
        let mut bytes = Vec::new();
        for number in chunks.clone() {
            let stored = opened.chunks().stored(&(number..number + 1));
            let chunk = &object[stored.start as usize..stored.end as usize];
            opened.open(number, chunk, &mut bytes)?;
        }
        let from = (inner.start - chunks.start * CHUNK) as usize;
        Ok(bytes[from..from + (inner.end - inner.start) as usize].to_vec())
    }

    #[test]
    fn the_sizes_are_those_of_what_the_crate_writes() {
        for size in SIZES {
            let (object, start, _) = sealed(size);
            let chunks = Chunks::of_object(start as u64, object.len() as u64).unwrap();
            assert_eq!(chunks.inner_size(), size);
            assert_eq!(chunks.stored(&(0..chunks.number)), start as u64..object.len() as u64, "{size}");
        }
        // Too short for a chunk; too short for a last chunk; an empty last chunk that is not the only one.
        for payload in [0, 15, CHUNK + TAG + 1, CHUNK + 2 * TAG] {
            assert_eq!(Chunks::of_object(100, 100 + payload), None, "{payload}");
        }
        assert_eq!(Chunks::of_object(100, 99), None);
    }

    #[test]
    fn a_stretch_lies_in_the_chunks_that_it_touches() {
        let chunks = Chunks::of_object(200, 200 + 2 * CHUNK + 10 + 3 * TAG).unwrap();
        assert_eq!(chunks.holding(&(0..1)), 0..1);
        assert_eq!(chunks.holding(&(CHUNK - 1..CHUNK)), 0..1);
        assert_eq!(chunks.holding(&(CHUNK..CHUNK + 1)), 1..2);
        assert_eq!(chunks.holding(&(CHUNK - 1..CHUNK + 1)), 0..2);
        assert_eq!(chunks.holding(&(2 * CHUNK..2 * CHUNK + 10)), 2..3);
        assert_eq!(chunks.holding(&(5..5)), 0..0);
        assert_eq!(chunks.holding(&(9 * CHUNK..10 * CHUNK)), 3..3);
        assert_eq!(chunks.stored(&(1..2)), 200 + CHUNK + TAG..200 + 2 * (CHUNK + TAG));
        assert_eq!(chunks.stored(&(2..3)), 200 + 2 * (CHUNK + TAG)..200 + 2 * CHUNK + 10 + 3 * TAG);
        assert!(chunks.stored(&(3..3)).is_empty());
    }

    #[test]
    fn stretches_are_what_the_crate_reads_there() {
        for size in SIZES {
            let (object, start, identities) = sealed(size);
            let opened = Opened::new(&object[..start], object.len() as u64, &identities).unwrap();
            let mut theirs = reader(std::io::Cursor::new(&object), Some(&identities)).unwrap();
            for inner in [0..size, 0..1, CHUNK - 1..CHUNK + 1, CHUNK..2 * CHUNK, size.saturating_sub(9)..size]
            {
                if inner.end > size {
                    continue;
                }
                let mut expected = vec![0; (inner.end - inner.start) as usize];
                theirs.seek(SeekFrom::Start(inner.start)).unwrap();
                theirs.read_exact(&mut expected).unwrap();
                assert_eq!(read(&object, &opened, inner.clone()).unwrap(), expected, "{inner:?} of {size}");
                assert_eq!(expected, content(size)[inner.start as usize..inner.end as usize]);
            }
        }
    }

    #[test]
    fn chunks_that_were_changed_moved_or_cut_are_not_opened() {
        let size = 3 * CHUNK + 7;
        let (object, start, identities) = sealed(size);
        let open = |object: &[u8]| {
            let opened = Opened::new(&object[..start], object.len() as u64, &identities)?;
            read(object, &opened, 0..opened.chunks().inner_size())
        };
        assert_eq!(open(&object).unwrap(), content(size));
        let chunk = (CHUNK + TAG) as usize;
        let mut flipped = object.clone();
        flipped[start + chunk + 5] ^= 1;
        let from = (start + chunk) as u64;
        let error = open(&flipped).unwrap_err();
        assert!(matches!(error, SealError::Chunk { from: at, to } if (at, to) == (from, from + CHUNK + TAG)));
        let mut swapped = object.clone();
        let (first, second) = swapped[start..].split_at_mut(chunk);
        first.swap_with_slice(&mut second[..chunk]);
        assert!(matches!(open(&swapped).unwrap_err(), SealError::Chunk { .. }));
        // The rest ends at a chunk boundary, but not with the last chunk.
        assert!(matches!(open(&object[..start + 2 * chunk]).unwrap_err(), SealError::Chunk { .. }));
        assert!(matches!(open(&object[..start + 2 * chunk + 3]).unwrap_err(), SealError::Size));
        assert!(matches!(open(&object[..object.len() - 1]).unwrap_err(), SealError::Chunk { .. }));
    }

    #[test]
    fn a_beginning_that_is_not_all_of_it_is_refused() {
        let (object, start, identities) = sealed(10);
        let open = |end: usize| Opened::new(&object[..end], object.len() as u64, &identities);
        open(start).unwrap();
        assert!(matches!(open(start + 1), Err(SealError::Header)));
        assert!(matches!(open(start - 1), Err(SealError::Header)));
        assert!(matches!(
            Opened::new(&object[..start], object.len() as u64, &key().1),
            Err(SealError::WrongIdentity)
        ));
    }
}
