//! The verbs, one file each; every verb reads as a recipe of named steps.

pub mod dump;
pub mod dumpall;
pub mod list;
pub mod run;
pub mod serve;
pub mod status;
mod table;
pub mod verify;
pub mod version;
