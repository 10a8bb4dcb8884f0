//! Reuses buffers. A COPY uses thousands of chunks, and new memory for each of them costs a page fault every
//! 4 KiB.
//!
//! Memory: a pool keeps up to the number and size of idle buffers that it was created with.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// A pool of buffers, shared by its clones.
#[derive(Clone, Debug)]
pub struct BufferPool(Arc<PoolState>);

#[derive(Debug)]
struct PoolState {
    idle: Mutex<Vec<Vec<u8>>>,
    most: usize,
    largest: usize,
}

/// A buffer that returns to its pool when it is dropped.
#[derive(Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    home: Option<BufferPool>,
}

impl BufferPool {
    /// Returns a pool that keeps at most `most` idle buffers. It frees buffers of more than `largest` bytes,
    /// so that the memory of a few large rows is returned to the system.
    pub fn new(most: usize, largest: usize) -> Self {
        BufferPool(Arc::new(PoolState { idle: Mutex::default(), most, largest }))
    }

    /// Returns an empty buffer with its previous capacity.
    pub fn take(&self) -> Buffer {
        let bytes = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        Buffer { bytes, home: Some(self.clone()) }
    }

    fn give(&self, mut bytes: Vec<u8>) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.0.most && bytes.capacity() <= self.0.largest {
            bytes.clear();
            idle.push(bytes);
        }
    }
}

/// A buffer without a pool.
impl From<Vec<u8>> for Buffer {
    fn from(bytes: Vec<u8>) -> Self {
        Buffer { bytes, home: None }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = &self.home
            && self.bytes.capacity() > 0
        {
            home.give(std::mem::take(&mut self.bytes));
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

/// Does not copy; the buffer returns to its pool when the last reference is dropped.
impl From<Buffer> for Bytes {
    fn from(buffer: Buffer) -> Self {
        Bytes::from_owner(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_empty() {
        let buffers = BufferPool::new(3, 4000);
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
        let buffers = BufferPool::new(3, 4000);
        let sized = |size: usize| {
            let mut buffer = buffers.take();
            buffer.reserve_exact(size);
            buffer
        };
        drop(sized(4001));
        assert_eq!(buffers.0.idle.lock().unwrap().len(), 0);
        let many: Vec<Buffer> = (0..8).map(|_| sized(10)).collect();
        drop(many);
        assert_eq!(buffers.0.idle.lock().unwrap().len(), 3);
    }
}
