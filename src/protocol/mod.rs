//! Communicates with a PostgreSQL server: connections, snapshots, COPY, large objects. Contains no catalog
//! queries.
//!
//! - [`conninfo`] determines the server and the user.
//! - `connect` opens a session over `socket` and `tls`, with `wire` between the transport and the driver.
//! - [`session`] is the interface for the rest of the program, and `stall` aborts a stalled session.
//! - [`setup`] and [`snapshot`] apply pg_dump's settings and isolation to a session.
//! - [`worker_sessions`] opens additional sessions of the same kind.

pub mod buffers;
mod connect;
pub mod conninfo;
pub mod copy;
pub mod copy_in;
pub mod encoding;
pub mod error;
pub mod feed;
pub mod large_object;
mod libpq;
pub mod session;
pub mod setup;
pub mod snapshot;
mod socket;
mod stall;
mod tls;
pub mod version;
mod wire;
pub mod worker_sessions;

pub use conninfo::{ConnInfo, ConnInfoError, ConnectOptions, Environment};
pub use error::{AnswerLimit, ProtocolError, Server, ServerError};
pub use session::{Canceller, Session, SqlSettings};
pub use setup::{SessionSetup, SessionState};
pub use snapshot::{Isolation, SnapshotId, SnapshotPosition};
pub use stall::STALL_TIMEOUT;
pub use tls::{SslMode, TlsFileError};
pub use version::ServerVersion;
#[doc(hidden)]
pub use wire::CATALOG_LIMIT;
pub use wire::replay;
