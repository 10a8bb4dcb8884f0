//! The seek table after the members of a zstd dump, which lists its frames: docs/archive-format.md, "The
//! dump".

use std::io::{self, Read};

use crate::archive::toc_check::{SEEK_TABLE_ENTRY, SEEK_TABLE_FRAME};

const SKIPPABLE: u32 = 0x184d_2a5e;
const SEEKABLE: u32 = 0x8f92_eab1;

/// Reads the `length` bytes after members of `packed` bytes, whose text has `raw` bytes, and returns whether
/// they are the members' seek table.
pub(super) fn is_sound(table: impl Read, length: u64, packed: u64, raw: u64) -> io::Result<bool> {
    let mut table = io::BufReader::with_capacity(64 << 10, table);
    let number = length.saturating_sub(SEEK_TABLE_FRAME) / SEEK_TABLE_ENTRY;
    let mut is_sound = read(&mut table)? == SKIPPABLE;
    is_sound &= u64::from(read(&mut table)?) == length.saturating_sub(8);
    let mut sums = (0u64, 0u64);
    for _ in 0..number {
        sums.0 += u64::from(read(&mut table)?);
        sums.1 += u64::from(read(&mut table)?);
    }
    is_sound &= sums == (packed, raw) && u64::from(read(&mut table)?) == number;
    let mut descriptor = [0];
    table.read_exact(&mut descriptor)?;
    Ok(is_sound & (descriptor == [0]) & (read(&mut table)? == SEEKABLE))
}

fn read(table: &mut impl Read) -> io::Result<u32> {
    let mut number = [0; 4];
    table.read_exact(&mut number)?;
    Ok(u32::from_le_bytes(number))
}
