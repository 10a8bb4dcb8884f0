//! The classes of bytes outside of literals, names and comments.

pub(super) fn begins_word(byte: u8) -> bool {
    matches!(CLASSES[usize::from(byte)], Class::Word | Class::Prefix)
}

pub(super) fn continues_word(byte: u8) -> bool {
    CONTINUES_WORD[usize::from(byte)]
}

static CONTINUES_WORD: [bool; 256] = {
    let mut continues = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        continues[byte] = matches!(CLASSES[byte], Class::Word | Class::Prefix | Class::Digit | Class::Dollar);
        byte += 1;
    }
    continues
};

/// What a byte outside of literals, names and comments can begin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing longer than this byte.
    Plain,
    Word,
    /// A word, or the prefix of a literal.
    Prefix,
    Digit,
    Dollar,
    Quote,
    DoubleQuote,
    Dash,
    Slash,
    Open,
    Close,
    Semicolon,
    Backslash,
}

pub(super) static CLASSES: [Class; 256] = {
    let mut classes = [Class::Plain; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'e' | b'E' | b'b' | b'B' | b'x' | b'X' | b'u' | b'U' => Class::Prefix,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => Class::Word,
            b'0'..=b'9' => Class::Digit,
            b'$' => Class::Dollar,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'-' => Class::Dash,
            b'/' => Class::Slash,
            b'(' => Class::Open,
            b')' => Class::Close,
            b';' => Class::Semicolon,
            b'\\' => Class::Backslash,
            _ => Class::Plain,
        };
        byte += 1;
    }
    classes
};

/// Returns the length of the word at the beginning of the text.
pub(super) fn word_length(text: &[u8]) -> usize {
    text.iter().position(|byte| !continues_word(*byte)).unwrap_or(text.len())
}

pub(super) fn digits(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len())
}
