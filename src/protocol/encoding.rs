//! Holds text of any database encoding in a `String` without loss.
//!
//! Bytes that are not valid UTF-8 (from a LATIN1 or SQL_ASCII database) become private-use characters from
//! U+10FF00 up; [`to_bytes`] converts them back. Real characters of that range are escaped, too, so the
//! mapping is one to one. SQL that contains such text can be sent unchanged: the connection restores the
//! original bytes.

use std::borrow::Cow;

const ESCAPE_BASE: u32 = 0x0010_FF00;

/// Converts bytes of any encoding to a `String`; [`to_bytes`] is the inverse.
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

/// Like [`from_bytes`], but does not copy text that needs no escapes.
pub fn as_text(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        // F4 is the first byte of every escaped character and of few others.
        Ok(text) if memchr::memchr(0xF4, raw).is_none() => Cow::Borrowed(text),
        _ => Cow::Owned(from_bytes(raw)),
    }
}

/// Returns the bytes from which [`from_bytes`] made the text.
pub fn to_bytes(text: &str) -> Vec<u8> {
    unescape(text.as_bytes())
}

/// Like [`to_bytes`], for text that may not be valid UTF-8.
///
/// The escapes are U+10FF00 to U+10FFFF, in UTF-8 F4 8F BC..BF 80..BF. No other sequence that begins with F4
/// matches.
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

/// The rule for the length of a character, as far as it matters for finding backslashes.
///
/// In a few encodings, which only clients can use, the byte of a backslash may be the last byte of a longer
/// character. There it is neither escaped nor an escape character.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Characters {
    /// A byte below 80 is always a separate character.
    #[default]
    Safe,
    /// Bytes from A1 to DF are characters of one byte; other high bytes begin a character of two bytes.
    ShiftJis,
    /// High bytes begin a character of two bytes, or of four when a digit follows.
    Gb18030,
    /// High bytes begin a character of two bytes, or of three when it is 8F.
    Johab,
    /// High bytes begin a character of two bytes.
    Pairs,
}

impl Characters {
    /// Returns the rule for an encoding, given PostgreSQL's name for it.
    pub fn of(encoding: &str) -> Self {
        match encoding {
            "SJIS" | "SHIFT_JIS_2004" => Characters::ShiftJis,
            "GB18030" => Characters::Gb18030,
            "JOHAB" => Characters::Johab,
            "BIG5" | "GBK" | "UHC" => Characters::Pairs,
            _ => Characters::Safe,
        }
    }

    /// Returns the length of the character that begins with these bytes.
    pub fn length(self, first: u8, second: Option<u8>) -> usize {
        match (self, first) {
            (Characters::Safe, _) | (_, 0..0x80) | (Characters::ShiftJis, 0xA1..=0xDF) => 1,
            (Characters::Gb18030, _) if second.is_some_and(|b| b.is_ascii_digit()) => 4,
            (Characters::Johab, 0x8F) => 3,
            _ => 2,
        }
    }

    /// Returns the position of the first backslash that is a character of its own.
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

/// Converts text of any encoding so that every byte below 80 is a character of its own, as psql does: all
/// bytes of a longer character except the first become FF. A newline is never part of a longer character.
#[derive(Clone, Copy, Debug)]
pub struct TrailMask {
    characters: Characters,
    /// Remaining bytes of the current character.
    trail: usize,
    /// The first byte of a character whose length depends on the next byte.
    lead: Option<u8>,
}

impl TrailMask {
    /// Returns a mask that begins at a character boundary.
    pub fn new(characters: Characters) -> Self {
        TrailMask { characters, trail: 0, lead: None }
    }

    /// Appends the next piece of text to `masked` with the mask applied.
    pub fn apply(&mut self, piece: &[u8], masked: &mut Vec<u8>) {
        for byte in piece {
            if *byte == b'\n' {
                (self.trail, self.lead) = (0, None);
            }
            if let Some(lead) = self.lead.take() {
                // The current byte is the first of the trailing bytes.
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
