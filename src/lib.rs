//! pg-backup: a native PostgreSQL dumper that streams to S3.
//!
//! # Layout
//! Imports go downward only:
//! `commands → sidecar → {restore, pipeline, sql} → {archive, storage, protocol}`.
//! `sql` knows no storage, `storage` knows no SQL.
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
mod log;
pub mod pipeline;
pub mod protocol;
pub mod quantity;
pub mod restore;
pub mod sidecar;
pub mod sql;
pub mod storage;
