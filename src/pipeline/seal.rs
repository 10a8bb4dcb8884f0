//! Encrypts an object before it is written to the sink: compressed bytes in, an age file out.
//!
//! Memory: a chunk of 64 KiB being filled, and twice that for encrypted bytes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter;

use crate::archive::encryption::Recipients;

/// Maximum number of bytes per call of [`Sealing::seal`], which completes at most one chunk.
pub(super) const AT_ONCE: usize = 64 << 10;

/// An age file being written.
pub(super) struct Sealing {
    writer: StreamWriter<Out>,
    out: Out,
    header_size: u64,
}

/// The encrypted bytes that have not been taken yet. They are shared, because the `age` crate's writer does
/// not give access to its inner writer.
#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Out {
    fn swap(&self, with: Vec<u8>) -> Vec<u8> {
        std::mem::replace(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), with)
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sealing {
    /// Begins a file. The next call of `seal` returns its header, too.
    pub(super) fn begin(recipients: &Recipients) -> io::Result<Sealing> {
        let out = Out::default();
        let writer = recipients.writer(out.clone())?;
        let header = out.swap(Vec::new());
        let header_size = header.len() as u64;
        out.swap(header);
        Ok(Sealing { writer, out, header_size })
    }

    /// Returns the number of bytes before the first chunk.
    pub(super) fn header_size(&self) -> u64 {
        self.header_size
    }

    /// Encrypts the next bytes. Exchanges the empty buffer for one with the bytes to store.
    pub(super) fn seal(&mut self, bytes: &[u8], empty: Vec<u8>) -> io::Result<Vec<u8>> {
        self.writer.write_all(bytes)?;
        Ok(self.out.swap(empty))
    }

    /// Ends the file and returns its last bytes.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.writer.finish()?;
        Ok(self.out.swap(Vec::new()))
    }
}
