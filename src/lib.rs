//! pg-backup: a native PostgreSQL dumper that streams to S3.
//!
//! # Floors
//! Imports go downward only, from a line of this picture to a lower one; rooms of one line do not know each other. A
//! test reads the picture (`tests/it/floors.rs`).
//! ```text
//! main
//! cli
//! commands
//! error
//! sidecar
//! restore
//! dump
//! sql
//! log
//! pipeline config
//! protocol storage archive
//! report quantity clock exit_code
//! ```
//! Beyond that, `sql` knows neither `storage` nor `pipeline`. Unit tests may import what is above them.
//!
//! # How a dump flows
//! 1. [`protocol`] connects, sets the session up as pg_dump does and begins a
//!    `REPEATABLE READ, READ ONLY` transaction.
//! 2. [`sql`] identifies all objects with a fixed number of bulk queries, locks the tables to be
//!    dumped, describes the objects and orders them. Each becomes [`archive::toc::TocEntry`]s where these
//!    are asked for; they are not kept.
//! 3. [`sql::script`] lays the entries out as pg_dump's plain text: pieces of text, and places
//!    where a table's rows go.
//! 4. [`pipeline`] carries text and rows as row-aligned chunks through compression and digest, in
//!    order, into a [`storage`] upload that is completed only after the dump's transaction ended
//!    well.
//!
//! A whole cluster is its globals, which [`sql::global`] reads and writes, and then each database's own
//! dump in the same stream ([`dump::cluster`]).

pub mod archive;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod dump;
pub mod error;
pub mod exit_code;
mod log;
pub mod pipeline;
pub mod protocol;
pub mod quantity;
pub mod report;
pub mod restore;
pub mod sidecar;
pub mod sql;
pub mod storage;
