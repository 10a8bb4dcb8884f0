//! Supports SCRAM with more iterations than the driver accepts.
//!
//! The driver refuses more than 100,000 iterations; libpq does not. For such a password, this module performs
//! the exchange with the server. The driver receives a challenge with one iteration. Its response is replaced
//! with the response to the server's challenge. The server's proof is verified and then replaced with the
//! proof that the driver expects. Nonces, channel binding and password are the same in both exchanges.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::frame::broken;

/// Maximum number of iterations that the driver accepts.
const DRIVERS: u32 = 100_000;

/// Maximum number of iterations, which take some seconds. More is treated as a denial of service by the
/// server.
const MOST: u32 = 10_000_000;

const HASH: usize = 32;

/// One login.
#[derive(Default)]
pub(super) struct Scram {
    /// The password, normalized for SCRAM.
    password: Vec<u8>,
    /// The client's first message without its header, after it has been sent.
    first: Option<String>,
    challenges: Option<Challenges>,
    expected: Option<Expected>,
}

/// The server's challenge, and the one that the driver received instead.
struct Challenges {
    server: Challenge,
    driver: Challenge,
}

#[derive(Clone)]
struct Challenge {
    text: String,
    salt: Vec<u8>,
    iterations: u32,
}

/// The server's expected proof, and the one that the driver expects.
struct Expected {
    server: [u8; HASH],
    driver: [u8; HASH],
}

impl Scram {
    pub(super) fn new(password: Vec<u8>) -> Self {
        // As in libpq, a password that SASLprep rejects is used unchanged.
        let prepared = std::str::from_utf8(&password).ok().and_then(|text| stringprep::saslprep(text).ok());
        let password = prepared.map(|text| text.into_owned().into_bytes()).unwrap_or(password);
        Scram { password, ..Scram::default() }
    }

    /// Processes a whole `p` message from the driver. Returns the replacement of its body, if any.
    pub(super) fn sends(&mut self, message: &[u8]) -> Option<Vec<u8>> {
        let body = message.get(5..)?;
        if let Some(challenges) = &self.challenges
            && let Some(first) = &self.first
        {
            // `c=…,r=…,p=…`: only the proof depends on the challenge.
            let text = std::str::from_utf8(body).ok()?;
            let (bare, _) = text.rsplit_once(",p=")?;
            let [server, driver] = [&challenges.server, &challenges.driver].map(|challenge| {
                let salted = salt(&self.password, &challenge.salt, challenge.iterations);
                (salted, format!("{first},{},{bare}", challenge.text))
            });
            self.expected = Some(Expected {
                server: hmac(&hmac(&server.0, b"Server Key"), server.1.as_bytes()),
                driver: hmac(&hmac(&driver.0, b"Server Key"), driver.1.as_bytes()),
            });
            self.challenges = None;
            let key = hmac(&server.0, b"Client Key");
            let signature = hmac(&Sha256::digest(key), server.1.as_bytes());
            let proof: Vec<u8> = key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
            return Some(format!("{bare},p={}", BASE64.encode(proof)).into_bytes());
        }
        // The mechanism, a length, and the client's first message: `p=tls-server-end-point,,n=,r=…`.
        let text = String::from_utf8_lossy(body);
        if let Some(at) = text.find(",,n=") {
            self.first = text.get(at + 2..).map(str::to_owned);
        }
        None
    }

    /// Processes an authentication request (the body of an `R` message). Returns the replacement for the
    /// driver, if any.
    pub(super) fn receives(&mut self, body: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let Some((kind, data)) = body.split_first_chunk::<4>() else { return Ok(None) };
        match u32::from_be_bytes(*kind) {
            11 => Ok(self.challenge(data)?.map(|text| [&kind[..], text.as_bytes()].concat())),
            12 => Ok(self.verify(data)?.map(|text| [&kind[..], text.as_bytes()].concat())),
            _ => Ok(None),
        }
    }

    /// Returns a challenge with one iteration for the driver, if the server's challenge has more iterations
    /// than the driver accepts.
    fn challenge(&mut self, data: &[u8]) -> io::Result<Option<String>> {
        let Ok(text) = std::str::from_utf8(data) else { return Ok(None) };
        let Some((head, iterations)) = text.rsplit_once(",i=") else { return Ok(None) };
        let Some(iterations) = iterations.parse().ok().filter(|number| *number > DRIVERS) else {
            return Ok(None);
        };
        if iterations > MOST {
            let text = format!(
                "the password requires {iterations} iterations of SCRAM; at most {MOST} are supported"
            );
            return Err(broken(text));
        }
        let Some(salt) = head.split_once(",s=").and_then(|(_, salt)| BASE64.decode(salt).ok()) else {
            return Ok(None);
        };
        let server = Challenge { text: text.to_owned(), salt: salt.clone(), iterations };
        let shown = format!("{head},i=1");
        let driver = Challenge { text: shown.clone(), salt, iterations: 1 };
        self.challenges = Some(Challenges { server, driver });
        Ok(Some(shown))
    }

    /// Verifies the server's proof and returns the one that the driver expects, if the challenge was
    /// replaced.
    fn verify(&mut self, data: &[u8]) -> io::Result<Option<String>> {
        let Some(Expected { server, driver }) = self.expected.take() else { return Ok(None) };
        let given = data.strip_prefix(b"v=").and_then(|given| BASE64.decode(given).ok());
        if given.as_deref() != Some(&server[..]) {
            return Err(broken("the server did not prove that it knows the password".to_owned()));
        }
        Ok(Some(format!("v={}", BASE64.encode(driver))))
    }
}

/// RFC 5802's `Hi`: PBKDF2 of one block.
fn salt(password: &[u8], salt: &[u8], iterations: u32) -> [u8; HASH] {
    let keyed = keyed(password);
    let once = |parts: [&[u8]; 2]| -> [u8; HASH] {
        let mut mac = keyed.clone();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    };
    let mut last = once([salt, &1u32.to_be_bytes()]);
    let mut sum = last;
    for _ in 1..iterations {
        last = once([&last, &[]]);
        sum.iter_mut().zip(last).for_each(|(sum, last)| *sum ^= last);
    }
    sum
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key")
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; HASH] {
    let mut mac = keyed(key);
    mac.update(data);
    mac.finalize().into_bytes().into()
}
