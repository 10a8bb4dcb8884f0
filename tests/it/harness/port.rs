//! Free TCP ports on the loopback address.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::TcpListener;

/// A port that nobody listens on now.
///
/// It comes from below the range that the kernel takes outgoing connections' ports from, because a
/// port of that range can be lost to any connection between this look and the server's bind. Two
/// tests can still be given the same port, so whoever starts a server tries again with another.
pub fn free() -> u16 {
    loop {
        let random = RandomState::new().build_hasher().finish();
        let port = 20_000 + u16::try_from(random % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
