//! Speaking to a PostgreSQL server: connecting, snapshots, locks, COPY. Knows no catalog.

pub mod copy;
pub mod session;
pub mod version;

pub use session::{ProtocolError, Session};
pub use version::ServerVersion;
