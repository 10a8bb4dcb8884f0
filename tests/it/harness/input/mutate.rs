//! Damages input, and splits it into pieces.

use fastrand::Rng;
use serde_json::{Value, json};

/// Size in bytes of cases that detect superlinear time or memory.
pub const BULK: usize = 1 << 20;

/// Boundary values of lengths, counts and offsets of all widths.
const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "255",
    "65536",
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "1e999",
    "0.1",
];

const LENGTHS: &[u32] =
    &[0, 1, 3, 4, 5, 0xff, 0xffff, 30_001, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, u32::MAX];

/// Returns one of several items.
pub fn one<'a, T: ?Sized>(random: &mut Rng, of: &[&'a T]) -> &'a T {
    of[random.usize(..of.len())]
}

/// Returns a range of the bytes, mostly a short one.
fn range(random: &mut Rng, length: usize) -> std::ops::Range<usize> {
    let from = random.usize(..=length);
    let most = if random.u8(..4) == 0 { length } else { 16 };
    from..from + random.usize(..=most.min(length - from))
}

/// Damages the bytes in a few places. `words` are tokens that have a meaning to the reader.
pub fn damage(random: &mut Rng, bytes: &mut Vec<u8>, words: &[&[u8]]) {
    for _ in 0..random.usize(1..5) {
        damage_once(random, bytes, words);
    }
}

fn damage_once(random: &mut Rng, bytes: &mut Vec<u8>, words: &[&[u8]]) {
    let range = range(random, bytes.len());
    match random.u8(..11) {
        0 => bytes.truncate(range.start),
        1 => drop(bytes.drain(range)),
        // Repeat it once or many times.
        2 => {
            let times = if random.u8(..8) == 0 { random.usize(1..2000) } else { 1 };
            let piece = bytes[range.clone()].repeat(times.min(BULK / 16 / range.len().max(1) + 1));
            bytes.splice(range.end..range.end, piece);
        }
        // Move it to another place.
        3 => {
            let piece: Vec<u8> = bytes.drain(range).collect();
            let at = random.usize(..=bytes.len());
            bytes.splice(at..at, piece);
        }
        4 | 5 if !words.is_empty() => {
            let word = one(random, words);
            let times = if random.u8(..16) == 0 { random.usize(1..3000) } else { 1 };
            let times = times.min(BULK / 16 / word.len().max(1) + 1);
            bytes.splice(range.start..range.start, word.repeat(times));
        }
        6 => replace_number(random, bytes, range.start),
        7 if bytes.len() >= 4 => {
            let at = range.start.min(bytes.len() - 4);
            let length = LENGTHS[random.usize(..LENGTHS.len())];
            bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
        }
        8 => {
            let byte = random.u8(..);
            bytes[range].fill(byte);
        }
        _ => {
            if let Some(byte) = bytes.get_mut(range.start) {
                *byte ^= 1 << random.u8(..8);
            }
        }
    }
}

/// Replaces the next number.
fn replace_number(random: &mut Rng, bytes: &mut Vec<u8>, after: usize) {
    let Some(from) = bytes.iter().skip(after).position(u8::is_ascii_digit).map(|at| at + after) else {
        return;
    };
    let length = bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
    bytes.splice(from..from + length, one(random, NUMBERS).bytes());
}

/// Damages JSON in a way that keeps it valid JSON.
pub fn damage_json(random: &mut Rng, json: &mut Value) {
    for _ in 0..random.usize(1..4) {
        let node = node(random, json);
        match node {
            Value::Array(items) if !items.is_empty() && random.bool() => {
                let item = items[random.usize(..items.len())].clone();
                let times = match random.u8(..64) {
                    0 => BULK / 16,
                    1..8 => 1000,
                    _ => 1,
                };
                let times = times.min(4 * BULK / item.to_string().len());
                match random.bool() {
                    true => items.extend(std::iter::repeat_n(item, times)),
                    false => drop(items.remove(random.usize(..items.len()))),
                }
            }
            Value::Object(fields) if random.bool() => {
                let names: Vec<String> = fields.keys().cloned().collect();
                match random.bool() && !names.is_empty() {
                    true => drop(fields.remove(one(random, &names.iter().collect::<Vec<_>>()))),
                    false => drop(fields.insert("x".to_owned(), other(random))),
                }
            }
            node if node.is_number() && random.bool() => {
                *node = one(random, &[&json!(u64::MAX), &json!(1_u64 << 63), &json!(0), &json!(-1)]).clone();
            }
            node => *node = other(random),
        }
    }
}

/// Returns a random value in the JSON.
fn node<'a>(random: &mut Rng, json: &'a mut Value) -> &'a mut Value {
    let count = match json {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        _ => 0,
    };
    if count == 0 || random.u8(..4) == 0 {
        return json;
    }
    let mut children: Vec<&mut Value> = match json {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => Vec::new(),
    };
    let mut at = random.usize(..count);
    // Prefer one that contains others.
    if !(children[at].is_object() || children[at].is_array()) {
        at = random.usize(..count);
    }
    node(random, children.swap_remove(at))
}

/// Returns a replacement for a value.
fn other(random: &mut Rng) -> Value {
    let count = if random.u8(..16) == 0 { BULK / 8 } else { 1000 };
    match random.u8(..11) {
        0 => Value::Null,
        1 => json!(""),
        2 => json!([]),
        3 => json!({}),
        4 => json!(u64::MAX),
        5 => json!(i64::MIN),
        6 => json!(1.5),
        7 => json!("x".repeat(random.usize(..count))),
        8 => Value::Array(vec![json!(0); random.usize(..count)]),
        9 => Value::Array(vec![json!([0, 1]); random.usize(..count)]),
        // Deeper than the readers' limits, but not too deep for the writer's stack.
        _ => (0..random.usize(..200)).fold(json!(0), |inner, _| json!([inner])),
    }
}

/// Enlarges a case to this size by repeating a piece of it.
pub fn blow_up(random: &mut Rng, bytes: &mut Vec<u8>, size: usize) {
    if bytes.is_empty() {
        return;
    }
    let range = range(random, bytes.len());
    let range = range.start.min(bytes.len() - 1)..range.end.max(range.start.min(bytes.len() - 1) + 1);
    let piece = bytes[range.clone()].repeat((size / range.len()).max(1));
    bytes.splice(range.end..range.end, piece);
}

/// Returns sizes of pieces into which this many bytes are split; the last size is used for all remaining bytes.
pub fn cuts(random: &mut Rng, length: usize) -> Vec<usize> {
    // A limited number of pieces, so that the time is that of the reader.
    let least = (length / 4000).max(1);
    match random.u8(..4) {
        0 => vec![least],
        1 => vec![least * random.usize(1..=64)],
        2 => vec![random.usize(1..=length.max(1)), length.max(1)],
        _ => (0..random.usize(1..64)).map(|_| least * random.usize(1..=256)).chain([length.max(1)]).collect(),
    }
}

/// Returns the pieces.
#[derive(Clone)]
pub struct Pieces<'a> {
    rest: &'a [u8],
    cuts: &'a [usize],
}

impl<'a> Pieces<'a> {
    pub fn new(bytes: &'a [u8], cuts: &'a [usize]) -> Self {
        Pieces { rest: bytes, cuts }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let length = self.cuts.first().copied().unwrap_or(usize::MAX).clamp(1, self.rest.len());
        if self.cuts.len() > 1 {
            self.cuts = &self.cuts[1..];
        }
        let (piece, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(piece)
    }
}
