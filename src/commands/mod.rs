//! The commands, one per file. Each reads as a sequence of named steps. A command imports from no other one:
//! what several need is in a file of its own, such as [`connection`], [`input`] and [`output`].

pub(crate) mod appendix;
pub mod check;
pub mod completions;
pub mod config;
pub mod config_file;
pub mod connection;
pub mod drill;
pub mod dump;
pub mod dumpall;
pub(crate) mod groups;
mod identity;
pub mod input;
pub mod lifecycle;
pub mod list;
pub mod man;
pub(crate) mod misuse;
pub mod output;
pub mod restore;
mod round;
pub mod run;
pub mod selection;
pub mod serve;
mod signals;
pub mod status;
mod stores;
mod table;
pub mod verify;
pub mod version;
