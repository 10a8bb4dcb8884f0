//! Free TCP ports on the loopback address.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};

/// A port that nobody listens on now.
///
/// It comes from below the range that the kernel takes outgoing connections' ports from, because a
/// port of that range can be lost to any connection between this look and the server's bind. Two
/// tests can still be given the same port, so whoever starts a server tries again with another.
pub fn free() -> u16 {
    loop {
        let random = random();
        let port = 20_000 + u16::try_from(random % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The usual loopback address, with a port that nobody listens on now.
pub fn shared() -> (Ipv4Addr, u16) {
    (Ipv4Addr::LOCALHOST, free())
}

/// An address of the loopback network for one server, so that it can have the usual port of PostgreSQL.
pub fn own() -> (Ipv4Addr, u16) {
    let [a, b, c, ..] = random().to_le_bytes();
    (Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)), 5432)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
