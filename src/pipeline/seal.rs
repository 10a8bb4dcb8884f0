//! Encrypts an object on its way to the sink: packed bytes in, an age file out.
//!
//! Memory: a chunk of 64 KiB that waits to be full, the same encrypted twice.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use age::stream::StreamWriter;

use crate::archive::encryption::Recipients;

/// Bytes that may be handed over at once: no more than one chunk comes of them.
pub(super) const AT_ONCE: usize = 64 << 10;

/// An age file that is being written.
pub(super) struct Sealing {
    writer: StreamWriter<Out>,
    out: Out,
    header_size: u64,
}

/// What is encrypted and was not taken yet. The crate's writer does not show what it writes to.
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
    /// Begins a file: its header waits to be taken.
    pub(super) fn begin(recipients: &Recipients) -> io::Result<Sealing> {
        let out = Out::default();
        let writer = recipients.writer(out.clone())?;
        let header = out.swap(Vec::new());
        let header_size = header.len() as u64;
        out.swap(header);
        Ok(Sealing { writer, out, header_size })
    }

    /// Bytes before the first chunk.
    pub(super) fn header_size(&self) -> u64 {
        self.header_size
    }

    /// Encrypts the next bytes, and gives what can be stored for an empty buffer.
    pub(super) fn seal(&mut self, bytes: &[u8], empty: Vec<u8>) -> io::Result<Vec<u8>> {
        self.writer.write_all(bytes)?;
        Ok(self.out.swap(empty))
    }

    /// Ends the file, and gives its last bytes.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        self.writer.finish()?;
        Ok(self.out.swap(Vec::new()))
    }
}
