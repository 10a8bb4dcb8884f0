//! The contents of large objects as text of the plain script: one transaction around all of them, one
//! descriptor at a time (always number 0, because each is closed before the next is opened), and a `lowrite`
//! call for each block. This module only writes text; `pipeline` reads the blocks. PostgreSQL manual, chapter
//! 35.3 (Large Object Interfaces).

use std::io::Write as _;

/// The number of bytes of a large object in one `lowrite`; only an object's last block is shorter.
pub const BLOCK_SIZE: usize = 16_384;

/// The text before the first large object.
pub const BEGIN: &str = "BEGIN;\n\n";

/// The text after the last large object.
pub const COMMIT: &str = "COMMIT;\n\n";

/// The mode in which `lo_open` opens for writing: `INV_WRITE` of `src/include/libpq/libpq-fs.h`.
const INV_WRITE: u32 = 0x0002_0000;

/// Appends the text before a large object's first block.
pub fn open(out: &mut Vec<u8>, oid: u32) {
    writeln!(out, "SELECT pg_catalog.lo_open('{oid}', {INV_WRITE});").expect("writing to a Vec cannot fail");
}

/// Appends the call that writes one block, or nothing for an empty block. If `standard_strings` is false, the
/// backslash of bytea's hex format is doubled.
pub fn write(out: &mut Vec<u8>, block: &[u8], standard_strings: bool) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    if block.is_empty() {
        return;
    }
    out.reserve(2 * block.len() + 48);
    out.extend_from_slice(b"SELECT pg_catalog.lowrite(0, '");
    out.extend_from_slice(if standard_strings { br"\x" } else { br"\\x" });
    for byte in block {
        out.push(HEX[usize::from(byte >> 4)]);
        out.push(HEX[usize::from(byte & 15)]);
    }
    out.extend_from_slice(b"');\n");
}

/// Appends the text after a large object's last block.
pub fn close(out: &mut Vec<u8>) {
    out.extend_from_slice(b"SELECT pg_catalog.lo_close(0);\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(blocks: &[&[u8]], standard_strings: bool) -> String {
        let mut out = Vec::new();
        open(&mut out, 16_500);
        blocks.iter().for_each(|block| write(&mut out, block, standard_strings));
        close(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn blocks_are_hex_between_open_and_close() {
        assert_eq!(
            script(&[b"\0\xFFa", b"'\\"], true),
            "SELECT pg_catalog.lo_open('16500', 131072);\n\
             SELECT pg_catalog.lowrite(0, '\\x00ff61');\n\
             SELECT pg_catalog.lowrite(0, '\\x275c');\n\
             SELECT pg_catalog.lo_close(0);\n\n"
        );
        assert!(script(&[b"a"], false).contains(r"lowrite(0, '\\x61');"));
    }

    #[test]
    fn an_empty_object_is_opened_and_closed_only() {
        assert_eq!(
            script(&[b""], true),
            "SELECT pg_catalog.lo_open('16500', 131072);\nSELECT pg_catalog.lo_close(0);\n\n"
        );
    }
}
