//! Decompresses a whole member in one call if its size permits. This needs half the processor time of a
//! streaming decompressor.
//!
//! Memory: at most [`BUFFERS`] buffers of [`MOST`] bytes, which are reused.

use std::io::{self, BufRead, Read};

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;

use super::download::decoder;
use crate::archive::key::Packing;
use crate::archive::toc_file::Member;
use crate::protocol::buffers::{Buffer, BufferPool};

/// Maximum compressed and uncompressed size of a member that is decompressed in one call; a larger one is
/// decompressed as a stream. The limit is twice the size of a chunk without an oversized row.
pub(super) const MOST: u64 = 2 << 20;

/// Number of texts in flight: the one being decompressed, the queued ones, and the one being sent.
pub(super) const BUFFERS: usize = 4;

/// Decompresses one member after another.
pub(super) struct Unpacker {
    packing: Packing,
    codec: StreamDecoder,
    buffers: BufferPool,
}

enum StreamDecoder {
    Plain,
    Gzip(Decompressor),
    Zstd(zstd::bulk::Decompressor<'static>),
}

impl Unpacker {
    pub(super) fn new(packing: Packing) -> io::Result<Self> {
        let codec = match packing {
            Packing::Plain => StreamDecoder::Plain,
            Packing::Gzip => StreamDecoder::Gzip(Decompressor::new()),
            Packing::Zstd => StreamDecoder::Zstd(zstd::bulk::Decompressor::new()?),
        };
        let largest = usize::try_from(MOST).unwrap_or(usize::MAX);
        Ok(Unpacker { packing, codec, buffers: BufferPool::new(BUFFERS, largest) })
    }

    /// Returns whether a member is small enough to be decompressed in one call.
    pub(super) fn takes(member: &Member) -> bool {
        member.object_length <= MOST && member.raw_length <= MOST
    }

    /// Returns the text of a member for which [`Unpacker::takes`] is true. If decompression in one call fails
    /// or returns another length than the table of contents states, the member is decompressed as a stream
    /// instead. That succeeds for several gzip members or zstd frames that are recorded as one, and reports
    /// the error in the other cases.
    pub(super) fn unpack(&mut self, member: &Member, packed: Bytes) -> io::Result<Bytes> {
        let expected = usize::try_from(member.raw_length).map_err(io::Error::other)?;
        let mut buffer = self.buffers.take();
        let unpacked = match &mut self.codec {
            StreamDecoder::Plain => return Ok(packed),
            StreamDecoder::Gzip(decompressor) => {
                // RFC 1952, section 2.3: a member ends with the size of its text.
                let ends =
                    packed.last_chunk().is_some_and(|size| u32::from_le_bytes(*size) as usize == expected);
                ends && decompressor.gzip_decompress(&packed, room(&mut buffer, expected)) == Ok(expected)
            }
            StreamDecoder::Zstd(decompressor) => {
                let text = room(&mut buffer, expected);
                decompressor.decompress_to_buffer(&packed, text).is_ok_and(|length| length == expected)
            }
        };
        if !unpacked {
            buffer.clear();
            decoder(self.packing, &*packed)?.take(MOST + 1).read_to_end(&mut buffer)?;
        }
        Ok(buffer.into())
    }
}

/// Decompresses a file of gzip members that zeros may follow. Tapes and some programs pad their blocks with
/// zeros, and gzip ignores them.
pub(super) struct GzipFile<R> {
    /// `None` at the end.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> GzipFile<R> {
    pub(super) fn new(packed: R) -> Self {
        GzipFile { member: Some(GzDecoder::new(packed)) }
    }
}

impl<R: BufRead> Read for GzipFile<R> {
    fn read(&mut self, text: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = self.member.as_mut().filter(|_| !text.is_empty()) {
            let length = member.read(text)?;
            if length > 0 {
                return Ok(length);
            }
            let Some(mut packed) = self.member.take().map(GzDecoder::into_inner) else { break };
            let goes_on = loop {
                let rest = packed.fill_buf()?;
                let zeros = rest.iter().take_while(|byte| **byte == 0).count();
                let (is_end, is_member) = (rest.is_empty(), zeros < rest.len());
                packed.consume(zeros);
                if is_end || is_member {
                    break is_member;
                }
            };
            self.member = goes_on.then(|| GzDecoder::new(packed));
        }
        Ok(0)
    }
}

/// Resizes a buffer and returns its bytes.
fn room(buffer: &mut Buffer, length: usize) -> &mut [u8] {
    buffer.resize(length, 0);
    buffer
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        zstd::bulk::compress(text, 3).unwrap()
    }

    fn unpack(packing: Packing, packed: Vec<u8>, raw_length: usize) -> io::Result<Bytes> {
        let member = Member::from([0, packed.len() as u64, 0, raw_length as u64, 1]);
        Unpacker::new(packing).unwrap().unpack(&member, packed.into())
    }

    #[test]
    fn one_member_and_several_that_are_noted_as_one_unpack() {
        for (packing, pack) in [(Packing::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Packing::Zstd, zstd)] {
            assert_eq!(unpack(packing, pack(b"one"), 3).unwrap(), &b"one"[..]);
            assert_eq!(unpack(packing, [pack(b"one"), pack(b"two")].concat(), 6).unwrap(), &b"onetwo"[..]);
            assert_eq!(unpack(packing, pack(b""), 0).unwrap(), &b""[..]);
        }
        assert_eq!(unpack(Packing::Plain, b"one".to_vec(), 3).unwrap(), &b"one"[..]);
    }

    #[test]
    fn another_length_and_damage_are_reported() {
        for (packing, pack) in [(Packing::Gzip, gzip as fn(&[u8]) -> Vec<u8>), (Packing::Zstd, zstd)] {
            assert_eq!(unpack(packing, pack(b"longer"), 3).unwrap().len(), 6);
            assert_eq!(unpack(packing, pack(b"one"), 6).unwrap().len(), 3);
            let mut cut = pack(b"a text that is cut");
            cut.pop();
            unpack(packing, cut, 18).unwrap_err();
        }
        // The second of two members is not skipped, even if the first has the expected length.
        assert_eq!(unpack(Packing::Gzip, [gzip(b"one"), gzip(b"more")].concat(), 3).unwrap().len(), 7);
        unpack(Packing::Gzip, [gzip(b"one"), b"rubbish".to_vec()].concat(), 3).unwrap_err();
    }

    #[test]
    fn zeros_after_a_gzip_file_are_ignored() {
        let members = [gzip(b"one"), gzip(b""), gzip(b"more")].concat();
        let read = |packed: &[u8]| {
            let mut text = String::new();
            let packed = io::BufReader::with_capacity(7, packed);
            GzipFile::new(packed).read_to_string(&mut text).map(|_| text)
        };
        for padding in [0, 1, 511] {
            assert_eq!(read(&[&members[..], &vec![0; padding]].concat()).unwrap(), "onemore");
        }
        read(&[&members[..], b"\0rubbish"].concat()).unwrap_err();
        read(&members[..members.len() - 1]).unwrap_err();
    }
}
