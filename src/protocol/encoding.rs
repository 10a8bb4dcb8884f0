//! Text in whatever encoding the database has, held in a `String` without loss.
//!
//! Bytes that are not UTF-8 (a LATIN1 or SQL_ASCII database) become private-use characters from
//! U+10FF00 on; [`to_bytes`] turns them back. Real characters of that range are escaped too, so the
//! mapping is one to one. SQL that is built from such text may be sent as it is: the connection
//! puts the bytes back in place.

const ESCAPE_BASE: u32 = 0x0010_FF00;

/// Holds bytes of any encoding in a `String`; [`to_bytes`] is its inverse.
pub fn from_bytes(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    let escape = |bytes: &[u8], text: &mut String| {
        text.extend(bytes.iter().filter_map(|b| char::from_u32(ESCAPE_BASE + u32::from(*b))));
    };
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            if u32::from(c) >= ESCAPE_BASE {
                escape(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut text);
            } else {
                text.push(c);
            }
        }
        escape(chunk.invalid(), &mut text);
    }
    text
}

/// The bytes that [`from_bytes`] was given.
pub fn to_bytes(text: &str) -> Vec<u8> {
    unescape(text.as_bytes())
}

/// [`to_bytes`] on text whose encoding nobody vouches for.
///
/// The escapes are U+10FF00 to U+10FFFF, which UTF-8 writes as F4 8F BC..BF 80..BF, and F4 begins
/// nothing else that matches.
pub(super) fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.iter().position(|b| *b == 0xF4) {
        let (before, from) = rest.split_at(at);
        bytes.extend_from_slice(before);
        rest = match from {
            [0xF4, 0x8F, high @ 0xBC..=0xBF, low @ 0x80..=0xBF, rest @ ..] => {
                bytes.push((high - 0xBC) * 64 + (low - 0x80));
                rest
            }
            _ => {
                bytes.push(0xF4);
                from.get(1..).unwrap_or_default()
            }
        };
    }
    bytes.extend_from_slice(rest);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_survive_as_text() {
        let all: Vec<u8> = (0..=255).collect();
        for raw in
            [&all[..], "aé漢\u{10FF41}\u{10FFFF}\u{10FEFF}".as_bytes(), b"\xE9t\xE9", b"\xF4", b"\xF4\x8F"]
        {
            assert_eq!(to_bytes(&from_bytes(raw)), raw);
        }
        assert_eq!(from_bytes("plain é".as_bytes()), "plain é");
    }
}
