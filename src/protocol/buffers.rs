//! Buffers that are used again: a COPY's chunks come and go by the thousand, and fresh memory for
//! each costs a page fault every 4 KiB.
//!
//! Memory: at most [`IDLE`] buffers of [`LARGEST`] bytes wait to be used again.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers that may wait; in a COPY one is being filled, one waits and one is with the reader.
pub const IDLE: usize = 3;

/// The largest buffer that is kept: what a few large rows needed is given back to the system.
pub const LARGEST: usize = 512 * 1024;

/// A store of buffers. Its clones share them.
#[derive(Clone, Debug, Default)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

/// A buffer that goes back to where it was taken from when it is dropped.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Buffers,
}

impl Buffers {
    /// An empty buffer, with the room it had when it was last used.
    pub fn take(&self) -> Buffer {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Buffer { bytes, home: self.clone() }
    }

    fn give(&self, mut bytes: Vec<u8>) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE && bytes.capacity() <= LARGEST {
            bytes.clear();
            idle.push(bytes);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.capacity() > 0 {
            self.home.give(std::mem::take(&mut self.bytes));
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Nothing is copied; the buffer goes back when the last reference is dropped.
impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        Bytes::from_owner(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_from_wherever_it_went() {
        let buffers = Buffers::default();
        let mut buffer = buffers.take();
        buffer.extend_from_slice(&[1; 1000]);
        let place = buffer.as_ptr();
        let bytes = Bytes::from(buffer);
        assert_eq!((bytes.len(), bytes.as_ptr()), (1000, place));
        let rest = bytes.slice(500..);
        drop(bytes);
        assert_eq!(buffers.take().capacity(), 0, "the bytes are still in use");
        drop(rest);
        let again = buffers.take();
        assert_eq!((again.len(), again.as_ptr()), (0, place));
    }

    #[test]
    fn no_more_is_kept_than_the_bound() {
        let buffers = Buffers::default();
        let sized = |size: usize| {
            let mut buffer = buffers.take();
            buffer.reserve_exact(size);
            buffer
        };
        drop(sized(LARGEST + 1));
        assert_eq!(buffers.0.lock().unwrap().len(), 0);
        let many: Vec<Buffer> = (0..IDLE + 5).map(|_| sized(10)).collect();
        drop(many);
        assert_eq!(buffers.0.lock().unwrap().len(), IDLE);
    }
}
