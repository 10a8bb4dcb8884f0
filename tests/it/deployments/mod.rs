//! The files under docker/. The tool for each format reads the file, and pg-backup runs with the settings in
//! it, with the servers of the tests in place of those in the file.

mod compose;
mod demo;
mod grafana;
mod kubernetes;
mod metrics;
mod prometheus;
mod systemd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::postgres::{PASSWORD, Server};
use crate::harness::program::{self, run, without_settings};
use crate::harness::role;
use crate::harness::seaweed::{BUCKET, PREFIX, Seaweed, WRITER};
use crate::harness::sidecar::Sidecar;

/// Returns the path of a file under docker/.
fn docker(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docker").join(path)
}

/// Returns the text of a file.
#[track_caller]
fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Returns a program that `make prepare` installs, without the settings of the caller's environment.
fn installed(path: &str) -> Command {
    let mut command = Command::new(program::installed(path));
    without_settings(&mut command);
    command
}

/// Returns the documents of a YAML file.
#[track_caller]
fn yaml(path: &Path) -> Vec<Value> {
    let program = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let read = run(installed("kubernetes-validate/bin/python").args(["-c", program]).arg(path));
    serde_json::from_slice(&read.expect_success().stdout).unwrap()
}

/// Returns an object whose values are texts.
fn texts(value: &Value) -> BTreeMap<String, String> {
    let object = value.as_object().unwrap_or_else(|| panic!("an object: {value}"));
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("a text: {value}")).to_owned();
    object.iter().map(|(name, value)| (name.clone(), text(value))).collect()
}

/// Returns a list of texts.
fn list(value: &Value) -> Vec<&str> {
    value.as_array().unwrap_or_else(|| panic!("a list: {value}")).iter().filter_map(Value::as_str).collect()
}

/// The names of the databases and their roles in production.
const PRODUCTION: [&str; 3] = ["schemastack", "website", "demo"];

/// PostgreSQL and S3 servers in place of those in production.
struct Fixture {
    server: Server,
    seaweed: Seaweed,
}

impl Fixture {
    fn start() -> Fixture {
        let server = Server::start();
        for name in PRODUCTION {
            make_owned_database(&server, name, PASSWORD);
            server.existing(name).execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS n");
        }
        // The role in the settings.
        server.existing("postgres").execute(&role::backup(PRODUCTION[0], PASSWORD));
        Fixture { server, seaweed: Seaweed::start() }
    }

    /// A sidecar with the environment of production. Secrets are not replaced.
    fn sidecar(&self, environment: &BTreeMap<String, String>) -> Sidecar {
        let set = |sidecar: Sidecar, (name, value): (&String, &String)| {
            sidecar.set(name, &aimed(value, self.server.port()))
        };
        environment
            .iter()
            .fold(Sidecar::default(), set)
            .set("BACKUP_S3_ENDPOINT", &self.seaweed.http())
            .set("BACKUP_S3_BUCKET", BUCKET)
            .set("BACKUP_S3_PREFIX", PREFIX)
    }

    /// Checks that a round backs up every database.
    #[track_caller]
    fn assert_round(&self, sidecar: &Sidecar, arguments: &[&str]) {
        let before = self.seaweed.objects().len();
        let log = sidecar.run(arguments).expect_success().stdout_text();
        let saved = self.seaweed.objects().len() - before;
        assert_eq!(saved, 3 * PRODUCTION.len(), "a dump, a table of contents and a manifest of each\n{log}");
    }
}

/// Creates a superuser and its database, as the PostgreSQL image does at its first start.
fn make_owned_database(server: &Server, name: &str, password: &str) {
    let postgres = server.existing("postgres");
    postgres.execute(&format!("CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{password}'"));
    postgres.execute(&format!("CREATE DATABASE {name} OWNER {name} TEMPLATE template0"));
}

/// Returns a value with a server on this machine in place of the host of a PostgreSQL URL.
fn aimed(value: &str, port: u16) -> String {
    match value.strip_prefix("postgres://").and_then(|rest| rest.split_once('@')) {
        Some((login, rest)) => {
            let path = rest.split_once('/').map_or("", |(_, path)| path);
            format!("postgres://{login}@127.0.0.1:{port}/{path}")
        }
        None => value.to_owned(),
    }
}

/// The secrets of production, by their names in the manifests and units, with valid values for a [`Fixture`].
const SECRETS: [(&str, &str); 5] = [
    ("aws-access-key-id", WRITER.id),
    ("aws-secret-access-key", WRITER.secret),
    ("metadata-password", PASSWORD),
    ("website-password", PASSWORD),
    ("demo-password", PASSWORD),
];

/// Writes the secrets to files, each with a trailing newline, as an editor does.
fn write_secrets(dir: &Path) {
    for (name, value) in SECRETS {
        std::fs::write(dir.join(name), format!("{value}\n")).unwrap();
    }
}
