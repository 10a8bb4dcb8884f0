//! The harness of the integration tests: private servers, runners for programs, comparisons.
//!
//! - [`guard`]: a server process and its directory, both bound to the lifetime of the test process.
//! - [`postgres`]: a private PostgreSQL and databases in it; [`installation`]: its programs, by major.
//! - [`program`]: runs `pg-backup`, `psql` and `pg_dump` and captures their output.
//! - [`proxy`]: a proxy to a server that can refuse or stall connections for a while.
//! - [`seaweed`]: a private S3 server; [`tls`]: certificates for it. [`moto`]: an S3 server that enforces IAM
//!   policies as AWS does.
//! - [`bucket`]: direct access to a bucket, without pg-backup; [`way`]: a proxy to a server that records
//!   requests and can break.
//! - [`liar`]: a web server in place of a store, with scripted answers.
//! - [`sink`]: a web server that records every request; [`mail`]: a mail server.
//! - [`samples`]: three real databases; [`fixtures`]: scripts for every kind of object.
//! - [`restore`]: runs `pg-backup restore`.
//! - [`sidecar`]: pg-backup with a sidecar's environment; [`backup_directory`]: a backup that it made, and
//!   damage to it; [`stored`]: the files of a backup, changed and resealed.
//! - [`http`]: requests to a sidecar; [`browser`]: a private Chromium that renders its pages; [`status`]:
//!   sidecar states for them.
//! - [`container`]: the image in podman.
//! - [`age`]: keys to encrypt with, and the stock tool that decrypts.
//! - [`document`]: runs the commands of a Markdown file.
//! - [`cost`]: the time and memory that programs use; [`bulk`]: scripts for databases of any size.
//! - [`fidelity`]: the byte comparison with pg_dump, and the round trip through psql; [`cluster`]: the same
//!   for pg_dumpall.
//! - [`generate`]: databases generated from a seed; [`fuzz`]: the comparison of one of them; [`input`]:
//!   generated input for parsers.

// Each binary that includes this module uses only part of it.
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
pub mod installation;
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
