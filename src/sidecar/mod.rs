//! Runs rounds of backups on schedule ([`waiting`]) until the container is stopped ([`shutdown`]). A round
//! ([`round`]) saves one database after the other and retries failed attempts. A [`drill`] restores the
//! backups at intervals. [`alert`] sends the alerts. The backup itself is in `dump`.

pub mod alert;
pub mod check;
pub mod drill;
pub mod freshness;
pub mod http;
mod lock_watch;
pub mod metrics;
pub mod page;
mod panic;
mod retry;
pub mod round;
pub mod shutdown;
pub mod state;
pub mod waiting;
