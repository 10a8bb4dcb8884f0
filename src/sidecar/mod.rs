//! Rounds of backups: one database after the other ([`round`]), again and again until
//! the container is told to stop ([`shutdown`]), and now and then a [`drill`] of what they saved. What a backup is lies below, in `dump`.

pub mod check;
pub mod drill;
pub mod freshness;
pub mod http;
pub mod metrics;
pub mod page;
pub mod record;
pub mod round;
pub mod shutdown;
