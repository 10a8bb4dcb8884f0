//! What the integration tests stand on: private servers, runners for the programs, comparisons.
//!
//! - [`guard`]: a server process that cannot outlive the test, and its directory.
//! - [`postgres`]: a private PostgreSQL 15 and databases in it.
//! - [`program`]: running `pg-backup`, `psql` and `pg_dump`, and what they said.
//! - [`proxy`]: a way to a server that can be closed or stopped up for a while.
//! - [`seaweed`]: a private S3 server; [`tls`]: certificates for it. [`moto`]: another one, which judges as AWS does.
//! - [`bucket`]: a look at a bucket past pg-backup; [`way`]: a way to a server that can be watched and broken.
//! - [`liar`]: a web server in a store's place that answers as it is told to.
//! - [`sink`]: a web server that keeps what it is sent; [`mail`]: a mail server.
//! - [`samples`]: three real databases; [`fixtures`]: scripts for every kind of object.
//! - [`restore`]: running `pg-backup restore`.
//! - [`sidecar`]: pg-backup with a sidecar's environment; [`saved`]: a backup that it made, and damage to it;
//!   [`stored`]: its files, changed and sealed again.
//! - [`http`]: asking it for its pages; [`browser`]: a private Chromium that looks at them; [`status`]: records for them.
//! - [`container`]: the image in podman.
//! - [`age`]: keys to encrypt with, and the tool that decrypts.
//! - [`document`]: running the commands of a Markdown file.
//! - [`cost`]: what programs take in time and memory; [`bulk`]: scripts for databases of any size.
//! - [`fidelity`]: the byte comparison with pg_dump, and the round trip through psql; [`cluster`]:
//!   the same for pg_dumpall.
//! - [`generate`]: databases from a seed; [`fuzz`]: the comparison of one of them; [`input`]: generated input for readers.

// Each program that includes this module uses its own part of it.
#![allow(dead_code)]

pub mod age;
pub mod backup_directory;
pub mod browser;
pub mod bucket;
pub mod bulk;
pub mod cluster;
pub mod container;
pub mod cost;
pub mod document;
pub mod fidelity;
pub mod fixtures;
pub mod fuzz;
pub mod generate;
pub mod guard;
pub mod http;
pub mod input;
pub mod liar;
pub mod mail;
pub mod moto;
pub mod port;
pub mod postgres;
pub mod program;
pub mod proxy;
pub mod restore;
pub mod role;
pub mod samples;
pub mod seaweed;
pub mod sidecar;
pub mod sink;
pub mod status;
pub mod stored;
pub mod tls;
pub mod way;
