//! Getting a backup back: [`choose`] finds the one that is meant, [`verify`] proves that it is whole, [`script`] reads
//! its text as psql does.

pub mod choose;
pub mod script;
pub mod verify;
