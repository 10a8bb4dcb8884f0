//! Rounds of backups: one database after the other ([`round`]), again and again until
//! the container is told to stop ([`shutdown`]). What a backup is lies below, in `dump`.

pub mod freshness;
pub mod round;
pub mod shutdown;
