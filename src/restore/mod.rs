//! Getting a backup back: [`choose`] finds the one that is meant, [`verify`] proves that it is whole.

pub mod choose;
pub mod verify;
