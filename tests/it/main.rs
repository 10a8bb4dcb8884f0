//! The integration tests: pg-backup with a real PostgreSQL and a real S3 server.
//!
//! They are one binary, with a module for each subject. Every test starts its own servers through [`harness`]
//! and uses no other server. A missing server fails the test and never skips it.

// A helper function may fail its test directly.
#![allow(clippy::unwrap_used, clippy::panic)]

mod alert_channels;
mod alerts;
mod archive_format;
mod casts;
mod check;
mod column_privileges;
mod compare;
mod concurrency;
mod configuration;
mod connection_errors;
mod contrib;
mod demonstration;
mod deployments;
mod documents;
mod drill;
mod dumpall;
mod encodings;
mod encryption;
mod filters;
mod fixtures;
mod floors;
mod fuzz;
mod fuzz_input;
mod generated;
mod globals;
mod harness;
mod health;
mod help;
mod hostile_server;
mod image;
mod least_privilege;
mod lifecycle;
mod links;
mod lock_watch;
mod majors;
mod memory;
mod migrations;
mod misuse;
mod outputs;
mod page;
mod production;
mod queries;
mod readers;
mod readme;
mod regress;
mod replica;
mod restore;
mod restore_choice;
mod restore_failures;
mod restore_selection;
mod retries;
mod runbook;
mod samples;
mod script;
mod secrets;
mod selection;
mod servers;
mod session;
mod sidecar;
mod stall;
mod standby;
mod store;
mod store_answers;
mod store_options;
mod surroundings;
mod tls;
mod variables;
mod verify;
mod warnings;
mod writers;

/// Counts allocations for the tests of [`fuzz_input`].
#[global_allocator]
static ALLOCATOR: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;
