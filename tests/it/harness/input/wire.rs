//! Generated answers of a server to a query of COPYs: valid ones, invalid ones, and valid ones that are
//! damaged in transit.
//!
//! The result is the same however the bytes are split into pieces: the messages for the driver, the rows, and
//! the error. Valid answers arrive completely.

use fastrand::Rng;
use pg_backup::protocol::replay::{Replayed, replay};

use super::mutate::{BULK, Pieces, blow_up, cuts, damage, one};
use super::{Target, Verdict, measured, within};

pub struct Wires;

pub struct Input {
    stream: Vec<u8>,
    /// The rows, if the answers are undamaged.
    rows: Option<Vec<u8>>,
    chunk_size: usize,
    cuts: Vec<(Vec<usize>, usize)>,
}

/// Memory for any input, in bytes: the read buffer, chunks and a partial text, each with its copy while it grows.
const OWN: usize = 2 << 20;

/// Number of copies of the received bytes: as rows and as messages, and a copy while they grow. The length in a message
/// has no effect.
const TIMES: usize = 8;

/// A number of messages for which quadratic work takes too long.
const MANY: usize = 130_000;

impl Target for Wires {
    const NAME: &'static str = "wire";
    type Input = Input;

    fn generate(random: &mut Rng) -> Input {
        let (mut stream, mut rows) = query(random);
        let mut stream_rows = Some(std::mem::take(&mut rows));
        if random.u8(..4) > 0 {
            stream_rows = None;
            let words: Vec<Vec<u8>> = (0..6).map(|_| lie(random)).collect();
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            damage(random, &mut stream, &words);
            if random.u16(..300) == 0 {
                blow_up(random, &mut stream, 4 * BULK);
            }
        }
        let cuts = (0..2).map(|_| (cuts(random, stream.len()), 1 << random.u8(4..17))).collect();
        Input { stream, rows: stream_rows, chunk_size: 1 << random.u8(4..18), cuts }
    }

    fn check(&mut self, input: &Input) -> Result<Verdict, String> {
        let (stream, limit) = (input.stream.as_slice(), OWN + TIMES * input.stream.len());
        let (whole, mut peak) = measured(|| replay(std::iter::once(stream), 1 << 16, input.chunk_size));
        within(peak, limit, "reading it whole")?;
        if whole.is_stuck {
            return Err("it waits for ever".to_owned());
        }
        for (cuts, room) in &input.cuts {
            let pieces = Pieces::new(stream, cuts);
            let (again, taken) =
                measured(|| replay(pieces, (*room).max(stream.len() / 4000), input.chunk_size));
            within(taken, limit, "reading it in pieces")?;
            peak = peak.max(taken);
            if again != whole {
                return Err(format!(
                    "cut after {cuts:?} and taken in {room} bytes:\n{}\nnot\n{}",
                    shown(&again),
                    shown(&whole)
                ));
            }
        }
        if let Some(rows) = &input.rows
            && (whole.error.is_some() || whole.rows != *rows)
        {
            return Err(format!("{} bytes of rows were sent: {}", rows.len(), shown(&whole)));
        }
        Ok(Verdict::new(whole.error.is_none(), peak))
    }

    fn bytes(input: &Input) -> Vec<u8> {
        input.stream.clone()
    }
}

fn shown(replayed: &Replayed) -> String {
    let Replayed { passed, rows, ends, error, is_stuck } = replayed;
    let text = |bytes: &[u8]| bytes[bytes.len().saturating_sub(300)..].escape_ascii().to_string();
    format!(
        "{} bytes passed ({}), {} of rows ({}), ends {ends:?}, error {error:?}, stuck: {is_stuck}",
        passed.len(),
        text(passed),
        rows.len(),
        text(rows)
    )
}

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a short body");
    [&[tag][..], &length.to_be_bytes(), body].concat()
}

/// Returns a login and the answers to a query of COPYs, with their rows.
fn query(random: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let (mut stream, mut rows) = (Vec::new(), Vec::new());
    let has_login = random.bool();
    if has_login {
        stream.extend(message(b'R', &[0, 0, 0, 0]));
        stream.extend(message(b'S', b"server_version\x0015.20\0"));
        stream.extend(message(b'S', b"client_encoding\0LATIN1\0"));
        stream.extend(message(b'K', &[0, 0, 1, 2, 3, 4, 5, 6]));
        stream.extend(message(b'Z', b"I"));
    }
    for _ in 0..random.usize(..4) {
        aside(random, &mut stream);
        stream.extend(message(b'H', &[0, 0, 0]));
        let count = random.usize(..20);
        for _ in 0..count {
            let mut row = match random.u8(..100) {
                0 => vec![b'x'; random.usize(..200_000)],
                2..6 => vec![b'x'; random.usize(..3000)],
                1 => b"d\0\0\0\x09abcd\\tc\0\0\0\x04".to_vec(),
                _ => vec![b'0' + random.u8(..10); random.usize(..40)],
            };
            row.push(b'\n');
            stream.extend(message(b'd', &row));
            rows.extend(row);
            if random.u8(..8) == 0 {
                aside(random, &mut stream);
            }
        }
        stream.extend(message(b'c', b""));
        stream.extend(message(b'C', format!("COPY {count}\0").as_bytes()));
    }
    // This many are refused before the end of a login.
    if has_login && random.u16(..250) == 0 {
        stream.extend(message(b'S', b"TimeZone\0UTC\0").repeat(MANY));
    }
    stream.extend(message(b'Z', b"T"));
    (stream, rows)
}

/// Returns a message between the answers.
fn aside(random: &mut Rng, stream: &mut Vec<u8>) {
    match random.u8(..4) {
        0 => stream.extend(message(b'N', b"SNOTICE\0C00000\0Mcaf\xe9\0\0")),
        1 => stream.extend(message(b'S', b"TimeZone\0UTC\0")),
        2 => stream.extend(message(b'A', b"\0\0\0\x01channel\0payload\0")),
        _ => {}
    }
}

/// Returns a message that a server may not send here, or never.
fn lie(random: &mut Rng) -> Vec<u8> {
    let body = match random.u8(..12) {
        0 => Vec::new(),
        1 => b"SFATAL\0VFATAL\0C57P01\0Mterminating\0\0".to_vec(),
        2 => [b"SERROR\0M", &vec![b'm'; random.usize(..200_000)][..], b"\0\0"].concat(),
        3 => b"COPY 18446744073709551616\0".to_vec(),
        4 => b"a\n".to_vec(),
        5 => b"no end of a row".to_vec(),
        6 => [&[0, 1][..], b"caf\xe9\0", &[0xff; 18]].concat(),
        7 => vec![0xff; random.usize(..40)],
        8 => [&[0, 0, 0, 11][..], b"r=abc,s=QUJD,i=4294967295"].concat(),
        9 => vec![0; random.usize(..300)],
        10 => b"x\0y".to_vec(),
        _ => b"T".to_vec(),
    };
    let tag = match random.u8(..6) {
        0 => random.u8(..),
        _ => *one(
            random,
            &[
                &b'd', &b'c', &b'H', &b'C', &b'Z', &b'E', &b'N', &b'S', &b'R', &b'K', &b'T', &b'D', &b'G',
                &b'A',
            ],
        ),
    };
    let mut message = message(tag, &body);
    // More than is ever received.
    if random.u8(..4) == 0 {
        let length = one(random, &[&0x7fff_ffff_u32, &0x3fff_ffff, &0x1000_0000, &300_000, &30_000, &3, &0]);
        message[1..5].copy_from_slice(&length.to_be_bytes());
    }
    message
}
