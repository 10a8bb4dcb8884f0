//! Speaking to a PostgreSQL server: connecting, snapshots, COPY, large objects. Knows no catalog.
//!
//! [`conninfo`] says where to and as whom; `connect` opens a session there over `socket` and `tls`,
//! with `wire` between the transport and the driver; [`session`] is what the rest of the program
//! holds, and `stall` ends one that stands still; [`setup`] and [`snapshot`] make it pg_dump's; [`worker_sessions`] opens more of its kind.

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
