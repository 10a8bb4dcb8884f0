//! Reads a dump for verification: digests the stored bytes, decrypts them if they are encrypted, and
//! continues after damage.
//!
//! Memory: one encrypted chunk and its content, 128 KiB, in addition to the pieces of the download.

use std::io::{self, Read};
use std::sync::Arc;

use crate::archive::encryption::chunks::{CHUNK, Opened};
use crate::pipeline::digest::ObjectDigest;
use crate::pipeline::download::FetchedRange;
use crate::storage::ObjectSums;

/// The compressed bytes of a dump, in order. Reading in a chunk that does not authenticate is an error.
pub(super) struct Reading {
    stored: Stored,
    /// The offset of the next byte in the compressed bytes.
    position: u64,
    sealed: Option<Sealed>,
}

/// The stored bytes, digested as they are read.
struct Stored {
    packed: FetchedRange,
    digest: ObjectDigest,
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.packed.read(buffer)?;
        self.digest.update(&buffer[..length]);
        Ok(length)
    }
}

/// The state of decryption, and the chunk that was read last.
struct Sealed {
    opened: Arc<Opened>,
    /// Whether the header before the first chunk was skipped.
    is_begun: bool,
    /// The number of the next chunk.
    next: u64,
    chunk: Vec<u8>,
    /// Its content; too short when the chunk is damaged.
    content: Vec<u8>,
    /// The damage to the chunk.
    damage: Option<String>,
}

impl Reading {
    /// Starts at the first stored byte of a dump.
    pub(super) fn new(packed: FetchedRange, opened: Option<Arc<Opened>>) -> Reading {
        let sealed = opened.map(|opened| Sealed {
            opened,
            is_begun: false,
            next: 0,
            chunk: Vec::new(),
            content: Vec::new(),
            damage: None,
        });
        Reading { stored: Stored { packed, digest: ObjectDigest::default() }, position: 0, sealed }
    }

    /// Continues at a later offset and skips the bytes between.
    pub(super) fn skip_to(&mut self, position: u64) -> io::Result<()> {
        match self.sealed {
            Some(_) => self.position = self.position.max(position),
            None => {
                let rest = position.saturating_sub(self.position);
                io::copy(&mut self.take(rest), &mut io::sink())?;
            }
        }
        Ok(())
    }

    /// Reads to the last stored byte and returns the checksums.
    pub(super) fn finish(mut self) -> io::Result<ObjectSums> {
        io::copy(&mut self.stored, &mut io::sink())?;
        Ok(self.stored.digest.finish())
    }
}

impl Sealed {
    /// Reads chunks up to the one that contains the position; returns false at the end.
    fn reach(&mut self, stored: &mut Stored, position: u64) -> io::Result<bool> {
        if !self.is_begun {
            let start = self.opened.chunks().stored(&(0..0)).start;
            io::copy(&mut stored.take(start), &mut io::sink())?;
            self.is_begun = true;
        }
        while self.next <= position / CHUNK {
            let place = self.opened.chunks().stored(&(self.next..self.next + 1));
            self.chunk.clear();
            stored.take(place.end - place.start).read_to_end(&mut self.chunk)?;
            if self.chunk.is_empty() {
                return Ok(false);
            }
            self.content.clear();
            let opened = self.opened.open(self.next, &self.chunk, &mut self.content);
            self.damage = opened.err().map(|damage| damage.to_string());
            self.next += 1;
        }
        Ok(true)
    }
}

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = match &mut self.sealed {
            None => self.stored.read(buffer)?,
            Some(sealed) => {
                if !sealed.reach(&mut self.stored, self.position)? {
                    return Ok(0);
                }
                if let Some(damage) = &sealed.damage {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, damage.clone()));
                }
                let within = usize::try_from(self.position % CHUNK).unwrap_or(usize::MAX);
                let rest = sealed.content.get(within..).unwrap_or_default();
                let length = rest.len().min(buffer.len());
                buffer[..length].copy_from_slice(&rest[..length]);
                length
            }
        };
        self.position += length as u64;
        Ok(length)
    }
}
