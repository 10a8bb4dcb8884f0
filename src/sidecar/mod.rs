//! Rounds of backups: one database after the other ([`round`]), each as often as it takes, at their time
//! ([`waiting`]) until the container is told to stop ([`shutdown`]), and now and then a [`drill`] of what they saved.
//! [`alert`] tells who should know. What a backup is lies below, in `dump`.

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
