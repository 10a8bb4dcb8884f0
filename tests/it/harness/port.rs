//! Free TCP ports on the loopback address.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// A port that nobody listens on now, and that no test of any process is given before this process has ended: a server may be
/// stopped and started again on it.
///
/// It comes from below the range that the kernel takes outgoing connections' ports from, because a
/// port of that range can be lost to any connection between this look and the server's bind. A program
/// that is no test may still take it, so whoever starts a server tries again with another.
pub fn free() -> u16 {
    loop {
        let random = random();
        let port = 20_000 + u16::try_from(random % 12_000).unwrap();
        if reserve(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
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

/// Takes a port for this process, unless it was given away before.
fn reserve(port: u16) -> bool {
    // An abstract name is seen by the same processes as the port itself, whatever users they run as, and is free again when
    // its process ends, however that ends.
    let address = SocketAddr::from_abstract_name(format!("pg-backup-test-port-{port}"));
    let taken = UnixDatagram::bind_addr(&address.expect("the name is short"));
    taken.map(std::mem::forget).is_ok()
}

#[test]
fn no_port_is_given_twice() {
    let ports: std::collections::HashSet<u16> = (0..500).map(|_| free()).collect();
    assert_eq!(ports.len(), 500);
    assert!(!reserve(*ports.iter().next().unwrap()));
}
