//! Digests of rows and checksums of the object.
//!
//! A table's digest is the sum modulo 2^128 of the XXH3-128 (seed 0) of each of its rows in COPY's text
//! format, without the newline. The sum does not depend on the order of the rows. Parts of a table can
//! therefore be digested in parallel, and a restored copy can be digested in any order. Unlike XOR, a sum
//! detects a duplicated row. The digest does not detect:
//! - a change of order;
//! - rows that are equal in COPY's text format under the dump's settings although their binary forms differ;
//! - tampering, because neither the hash nor the sum is cryptographic. The object's SHA-256 detects
//!   tampering.
//!
//! Two different tables have the same digest by accident with a probability of about 2^-128.

use crc_fast::{CrcAlgorithm, Digest as Crc};
use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::storage::ObjectSums;

/// The number and the digest of a set of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowSums {
    /// The number of rows.
    pub rows: u64,
    /// The digest of the rows.
    pub digest: u128,
}

impl RowSums {
    /// Digests whole rows in COPY's text format. A last row without a newline counts as a row.
    pub fn of_copy(data: &[u8]) -> Self {
        let mut sums = RowSums::default();
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', data) {
            sums.add_row(&data[start..end]);
            start = end + 1;
        }
        if start < data.len() {
            sums.add_row(&data[start..]);
        }
        sums
    }

    /// Counts rows without digesting them.
    pub fn count_copy(data: &[u8]) -> Self {
        RowSums { rows: memchr::memchr_iter(b'\n', data).count() as u64, digest: 0 }
    }

    fn add_row(&mut self, row: &[u8]) {
        self.rows += 1;
        self.digest = self.digest.wrapping_add(xxh3_128(row));
    }

    /// Adds the count and digest of other rows.
    pub fn add(&mut self, other: RowSums) {
        self.rows += other.rows;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// Digests rows in COPY's text format from pieces that may end anywhere.
#[derive(Default)]
pub struct RowSummer {
    sums: RowSums,
    /// The hash of an incomplete row.
    begun: Option<Box<Xxh3>>,
}

impl RowSummer {
    /// Adds the next piece of text.
    pub fn feed(&mut self, mut text: &[u8]) {
        if let Some(row) = &mut self.begun {
            let end = memchr::memchr(b'\n', text);
            row.update(&text[..end.unwrap_or(text.len())]);
            let Some(end) = end else { return };
            self.sums.add(RowSums { rows: 1, digest: row.digest128() });
            self.begun = None;
            text = &text[end + 1..];
        }
        let whole = memchr::memrchr(b'\n', text).map_or(0, |end| end + 1);
        self.sums.add(RowSums::of_copy(&text[..whole]));
        if whole < text.len() {
            let mut row = Box::new(Xxh3::new());
            row.update(&text[whole..]);
            self.begun = Some(row);
        }
    }

    /// Returns the count and digest of all rows. A last row without a newline counts as a row.
    pub fn finish(mut self) -> RowSums {
        if let Some(row) = self.begun {
            self.sums.add(RowSums { rows: 1, digest: row.digest128() });
        }
        self.sums
    }
}

/// Returns the checksum of an uncompressed member's text, which has no other checksum: the CRC-32 of gzip.
pub fn text_checksum(text: &[u8]) -> u32 {
    low_half(crc_fast::checksum(CrcAlgorithm::Crc32IsoHdlc, text))
}

/// Returns the checksum of two concatenated texts.
pub fn joined_checksum(first: u32, second: u32, second_length: u64) -> u32 {
    let (first, second) = (u64::from(first), u64::from(second));
    low_half(crc_fast::checksum_combine(CrcAlgorithm::Crc32IsoHdlc, first, second, second_length))
}

/// The library returns every CRC in 64 bits.
fn low_half(crc: u64) -> u32 {
    (crc & u64::from(u32::MAX)) as u32
}

/// Computes the checksum of a text in pieces.
#[derive(Debug)]
pub struct TextDigest(Crc);

impl Default for TextDigest {
    fn default() -> Self {
        TextDigest(Crc::new(CrcAlgorithm::Crc32IsoHdlc))
    }
}

impl TextDigest {
    /// Adds the next piece.
    pub fn update(&mut self, text: &[u8]) {
        self.0.update(text);
    }

    /// Returns the checksum.
    pub fn finish(self) -> u32 {
        low_half(self.0.finalize())
    }
}

/// Computes an object's size and checksums while it is written.
#[derive(Debug)]
pub struct ObjectDigest {
    size: u64,
    sha256: Sha256,
    crc64nvme: Crc,
}

impl Default for ObjectDigest {
    fn default() -> Self {
        ObjectDigest { size: 0, sha256: Sha256::new(), crc64nvme: Crc::new(CrcAlgorithm::Crc64Nvme) }
    }
}

impl ObjectDigest {
    /// Adds the object's next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        self.sha256.update(bytes);
        self.crc64nvme.update(bytes);
    }

    /// Returns the size and checksums.
    pub fn finish(self) -> ObjectSums {
        ObjectSums {
            size: self.size,
            sha256: self.sha256.finalize().into(),
            crc64nvme: self.crc64nvme.finalize(),
        }
    }

    /// Returns the size and checksums of bytes in memory.
    pub fn of(bytes: &[u8]) -> ObjectSums {
        let mut digest = ObjectDigest::default();
        digest.update(bytes);
        digest.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_rows_does_not_depend_on_their_order_but_on_their_number() {
        let digest = RowSums::of_copy;
        assert_eq!(digest(b"1\ta\n2\tb\n"), digest(b"2\tb\n1\ta\n"));
        assert_ne!(digest(b"1\ta\n2\tb\n").digest, digest(b"1\tb\n2\ta\n").digest);
        // A duplicated row does not cancel itself out, as it would with XOR.
        assert_ne!(digest(b"1\n1\n2\n").digest, digest(b"2\n").digest);
        assert_eq!(digest(b"\n\n").rows, 2);
        assert_eq!(digest(b""), RowSums::default());
        let mut parts = digest(b"1\n2\n");
        parts.add(digest(b"3\n"));
        assert_eq!(parts, digest(b"3\n2\n1\n"));
    }

    #[test]
    fn the_digest_is_the_documented_one() {
        let expected = xxh3_128(b"1\ta").wrapping_add(xxh3_128(b""));
        assert_eq!(RowSums::of_copy(b"1\ta\n\n").digest, expected);
        // The published value of XXH3-128 for empty input.
        assert_eq!(xxh3_128(b""), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }

    #[test]
    fn rows_are_summed_however_they_are_split() {
        for text in [&b"1\ta\n\n22\tbb\n"[..], b"no newline", b"", b"\n", b"a\nb"] {
            for size in 1..=text.len().max(1) {
                let mut summer = RowSummer::default();
                text.chunks(size).for_each(|piece| summer.feed(piece));
                assert_eq!(summer.finish(), RowSums::of_copy(text), "{text:?} in pieces of {size}");
            }
        }
    }

    #[test]
    fn checksums_of_texts_are_those_of_gzip_and_can_be_joined() {
        assert_eq!(text_checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(joined_checksum(text_checksum(b"1234"), text_checksum(b"56789"), 5), 0xcbf4_3926);
        assert_eq!(joined_checksum(text_checksum(b""), text_checksum(b"123456789"), 9), 0xcbf4_3926);
        let mut digest = TextDigest::default();
        [&b"12"[..], b"", b"3456789"].iter().for_each(|piece| digest.update(piece));
        assert_eq!(digest.finish(), 0xcbf4_3926);
    }

    #[test]
    fn object_sums_match_their_published_check_values() {
        let sums = ObjectDigest::of(b"123456789");
        assert_eq!(sums.crc64nvme, 0xae8b_1486_0a79_9888);
        assert_eq!(
            crate::archive::hex::encode(&sums.sha256),
            "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
        );
        assert_eq!(sums.size, 9);
    }
}
