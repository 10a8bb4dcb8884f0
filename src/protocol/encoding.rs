//! Text in whatever encoding the database has, held in a `String` without loss.
//!
//! Bytes that are not UTF-8 (a LATIN1 or SQL_ASCII database) become private-use characters from
//! U+10FF00 on; [`to_bytes`] turns them back. Real characters of that range are escaped too, so the
//! mapping is one to one. SQL that is built from such text may be sent as it is: the connection
//! puts the bytes back in place.

use std::borrow::Cow;

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

/// [`from_bytes`] without a copy where nothing has to be escaped.
pub fn as_text(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        // F4 begins the first character that is escaped, and few others.
        Ok(text) if memchr::memchr(0xF4, raw).is_none() => Cow::Borrowed(text),
        _ => Cow::Owned(from_bytes(raw)),
    }
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

/// How long a character is, as far as it matters for finding backslashes.
///
/// In a few encodings, which only clients may use, a backslash's byte may be the last of a longer
/// character. There it is neither escaped nor does it escape anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Characters {
    /// A byte below 80 is always a character of its own.
    #[default]
    Safe,
    /// Bytes from A1 to DF are characters, other high bytes begin one of two bytes.
    ShiftJis,
    /// High bytes begin a character of two bytes, or of four when a digit follows.
    Gb18030,
    /// High bytes begin a character of two bytes, or of three when it is 8F.
    Johab,
    /// High bytes begin a character of two bytes.
    Pairs,
}

impl Characters {
    /// Those of an encoding, by PostgreSQL's name for it.
    pub fn of(encoding: &str) -> Self {
        match encoding {
            "SJIS" | "SHIFT_JIS_2004" => Characters::ShiftJis,
            "GB18030" => Characters::Gb18030,
            "JOHAB" => Characters::Johab,
            "BIG5" | "GBK" | "UHC" => Characters::Pairs,
            _ => Characters::Safe,
        }
    }

    /// The length of the character that begins with these bytes.
    pub fn length(self, first: u8, second: Option<u8>) -> usize {
        match (self, first) {
            (Characters::Safe, _) | (_, 0..0x80) | (Characters::ShiftJis, 0xA1..=0xDF) => 1,
            (Characters::Gb18030, _) if second.is_some_and(|b| b.is_ascii_digit()) => 4,
            (Characters::Johab, 0x8F) => 3,
            _ => 2,
        }
    }

    /// Where the first backslash stands that is a character.
    pub fn find_backslash(self, text: &[u8]) -> Option<usize> {
        if self == Characters::Safe {
            return memchr::memchr(b'\\', text);
        }
        let mut at = 0;
        while let Some(byte) = text.get(at) {
            if *byte == b'\\' {
                return Some(at);
            }
            at += self.length(*byte, text.get(at + 1).copied());
        }
        None
    }
}

/// Makes text of any encoding one in which a byte below 80 is always a character of its own, as psql does: of a longer
/// character all bytes but the first become FF. A line's end always stands for itself.
#[derive(Clone, Copy, Debug)]
pub struct TrailMask {
    characters: Characters,
    /// Bytes of the present character that are still to come.
    trail: usize,
    /// The first byte of a character whose length the next one decides.
    lead: Option<u8>,
}

impl TrailMask {
    /// A mask that begins between two characters.
    pub fn new(characters: Characters) -> Self {
        TrailMask { characters, trail: 0, lead: None }
    }

    /// Adds the next piece of text, masked.
    pub fn apply(&mut self, piece: &[u8], masked: &mut Vec<u8>) {
        for byte in piece {
            if *byte == b'\n' {
                (self.trail, self.lead) = (0, None);
            }
            if let Some(lead) = self.lead.take() {
                // This byte is one of them.
                self.trail = self.characters.length(lead, Some(*byte)).saturating_sub(1);
            }
            if self.trail > 0 {
                self.trail -= 1;
                masked.push(0xFF);
                continue;
            }
            masked.push(*byte);
            self.lead = (*byte >= 0x80).then_some(*byte);
        }
    }
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
