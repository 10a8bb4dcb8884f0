//! pg-backup: a native PostgreSQL dumper that streams to S3.
//!
//! # Floors
//! A module imports only from lines below its own in this picture; modules on one line do not import each
//! other. A test checks the picture (`tests/it/floors.rs`).
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
//! In addition, `sql` uses neither `storage` nor `pipeline`. Unit tests may import from lines above their
//! own.
//!
//! # How a dump flows
//! 1. [`protocol`] connects, sets up the session as pg_dump does and begins a `REPEATABLE READ, READ ONLY`
//!    transaction.
//! 2. [`sql`] identifies all objects with a fixed number of bulk queries, locks the tables to be dumped,
//!    describes the objects and sorts them. It creates the [`archive::toc::TocEntry`]s of each object on
//!    demand and does not keep them.
//! 3. [`sql::script`] formats the entries as pg_dump's plain text: pieces of text, and placeholders for each
//!    table's rows.
//! 4. [`pipeline`] splits text and rows into row-aligned chunks, compresses and hashes them, and writes them
//!    in order to a [`storage`] upload. The upload is completed only after the dump's transaction has ended
//!    without an error.
//!
//! A dump of a whole cluster is its globals, which [`sql::global`] reads and writes, followed by the dump of
//! each database in the same stream ([`dump::cluster`]).

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
