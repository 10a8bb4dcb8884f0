//! The commands, one per file. Each reads as a sequence of named steps.

pub(crate) mod appendix;
pub mod check;
pub mod completions;
pub mod config;
pub mod config_file;
pub mod drill;
pub mod dump;
pub mod dumpall;
pub(crate) mod groups;
mod identity;
pub mod lifecycle;
pub mod list;
pub mod man;
pub mod restore;
pub mod run;
pub mod selection;
pub mod serve;
pub mod status;
mod table;
pub mod verify;
pub mod version;
