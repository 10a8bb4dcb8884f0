//! Free TCP ports on the loopback address.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::net::{Ipv4Addr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Returns a port that has no listener. No test in any process gets the same port before this process ends,
/// so a server can be stopped and restarted on it.
///
/// The port is below the kernel's range for outgoing connections. A connection could take a port in that
/// range between this check and the server's bind. A program that is not a test can still take the port, so
/// the caller retries the start of a server with another one.
pub fn free() -> u16 {
    loop {
        let random = random();
        let port = 20_000 + u16::try_from(random % 12_000).unwrap();
        if reserve(port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Returns the standard loopback address, with a port that has no listener.
pub fn shared() -> (Ipv4Addr, u16) {
    (Ipv4Addr::LOCALHOST, free())
}

/// Returns a loopback address for one server, so that the server can use PostgreSQL's standard port.
pub fn own() -> (Ipv4Addr, u16) {
    let [a, b, c, ..] = random().to_le_bytes();
    (Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)), 5432)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Reserves a port for this process. Returns false if the port is already reserved.
fn reserve(port: u16) -> bool {
    // An abstract socket name is visible to the same processes as the port, whatever users they run as, and
    // becomes free when its process ends, however it ends.
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
