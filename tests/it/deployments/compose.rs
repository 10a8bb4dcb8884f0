//! docker-compose.yml, resolved by Docker Compose itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Fixture, docker, installed, list, text, texts};
use crate::harness::postgres::PASSWORD;
use crate::harness::program::run;
use crate::harness::seaweed::WRITER;

/// Runs Docker Compose with a file, these options and all profiles. Returns its output.
#[track_caller]
fn compose(file: &Path, options: &[&str], config: &[&str]) -> Vec<u8> {
    let mut command = installed("docker-compose/bin/docker-compose");
    command.arg("-f").arg(file).args(options).args(["--profile", "*", "config"]).args(config);
    // Docker Compose reads its own settings there.
    let home = tempfile::tempdir().unwrap();
    let config = run(command.env("HOME", home.path())).expect_success();
    // Its warnings are also errors here: a variable that is not set, an obsolete key.
    assert_eq!(config.stderr, "", "{config}");
    config.stdout
}

/// Returns a file as Docker Compose resolves it.
#[track_caller]
pub fn resolved(file: &Path, options: &[&str]) -> Value {
    serde_json::from_slice(&compose(file, options, &["--format", "json"])).unwrap()
}

/// The production settings file next to the template, as the README describes. Each `CHANGE_ME` is replaced
/// by a value for its name.
struct Production {
    root: tempfile::TempDir,
}

impl Production {
    fn filled(value: impl Fn(&str) -> String) -> Production {
        let production = Production { root: tempfile::tempdir().unwrap() };
        std::fs::create_dir(production.root.path().join("docker")).unwrap();
        std::fs::copy(docker("docker-compose.yml"), production.file("docker-compose.yml")).unwrap();
        let template = text(&docker("../.env.production"));
        let filled: Vec<String> = template
            .lines()
            .map(|line| match line.split_once('=') {
                Some((name, "CHANGE_ME")) if !line.starts_with('#') => format!("{name}='{}'", value(name)),
                _ => line.to_owned(),
            })
            .collect();
        std::fs::write(production.file(".env.production"), filled.join("\n")).unwrap();
        production
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("docker").join(name)
    }

    fn config(&self, options: &[&str]) -> Vec<u8> {
        let environment = self.file(".env.production");
        let environment = ["--env-file", environment.to_str().unwrap()];
        compose(&self.file("docker-compose.yml"), &environment, options)
    }

    fn resolved(&self) -> Value {
        serde_json::from_slice(&self.config(&["--format", "json"])).unwrap()
    }

    /// Returns the hash of each service's configuration. A container is recreated when it changes.
    fn hashes(&self) -> BTreeMap<String, String> {
        let lines = String::from_utf8(self.config(&["--hash", "*"])).unwrap();
        let pair = |line: &str| line.split_once(' ').map(|(name, hash)| (name.to_owned(), hash.to_owned()));
        let hashes: BTreeMap<String, String> = lines.lines().filter_map(pair).collect();
        assert_eq!(hashes.len(), 4, "{lines}");
        hashes
    }
}

/// Returns a valid value for a name in a [`Fixture`].
fn right(name: &str) -> String {
    match name {
        "BACKUP_AWS_ACCESS_KEY_ID" => WRITER.id,
        "BACKUP_AWS_SECRET_ACCESS_KEY" => WRITER.secret,
        _ => PASSWORD,
    }
    .to_owned()
}

/// Returns the services of the databases in a sidecar's URLs, each with its name and its login.
fn databases(services: &Value, sidecar: &str) -> Vec<(String, String, String, BTreeMap<String, String>)> {
    let environment = texts(&services[sidecar]["environment"]);
    let names = environment["BACKUP_DATABASES"].split(',').map(str::to_uppercase);
    let found = names.map(|name| {
        let url = &environment[&format!("BACKUP_{name}_URL")];
        let rest = url.strip_prefix("postgres://").unwrap();
        let (user, rest) = rest.split_once('@').unwrap();
        let (host, database) = rest.split_once(":5432/").unwrap();
        let server = texts(&services[host]["environment"]);
        assert_eq!(database, server["POSTGRES_DB"], "{url}");
        let password = environment[&format!("BACKUP_{name}_PASSWORD")].clone();
        (host.to_owned(), user.to_owned(), password, server)
    });
    found.collect()
}

/// Checks that the sidecar can reach the databases, and that no other host can.
#[track_caller]
fn assert_reached(services: &Value, sidecar: &str) {
    for (host, ..) in databases(services, sidecar) {
        for network in services[&host]["networks"].as_object().unwrap().keys() {
            assert!(services[sidecar]["networks"].get(network).is_some(), "no way to {host} over {network}");
        }
        assert!(services[&host].get("ports").is_none(), "{host} is open to the outside");
        let check = list(&services[&host]["healthcheck"]["test"]);
        assert!(check[1].contains("pg_isready") && check[1].contains("--host=127.0.0.1"), "{check:?}");
    }
}

#[test]
fn the_demo_saves_as_the_superusers_and_production_as_a_role_that_only_reads() {
    let demo = super::demo::resolved();
    for (host, user, password, server) in databases(&demo["services"], "pg-backup") {
        assert_eq!((&user, &password), (&server["POSTGRES_USER"], &server["POSTGRES_PASSWORD"]), "{host}");
    }
    // Each value is unique, and needs its quotes to stay unchanged.
    let production = Production::filled(|name| format!("pa$word #of {name}"));
    let services = &production.resolved()["services"];
    let sidecar = texts(&services["pg-backup"]["environment"]);
    let plain = |value: &str| value.replace("$$", "$");
    for (host, user, password, server) in databases(services, "pg-backup") {
        assert_eq!(user, "backup", "{host}");
        let name =
            if host == "postgres" { "METADATA".to_owned() } else { server["POSTGRES_DB"].to_uppercase() };
        assert_eq!(plain(&password), format!("pa$word #of BACKUP_{name}_PASSWORD"));
        let superuser = &server["POSTGRES_PASSWORD"];
        assert_eq!(plain(superuser), format!("pa$word #of {name}_POSTGRES_PASSWORD"));
        assert!(!sidecar.values().any(|value| value.contains(superuser)), "the sidecar has {host}'s");
    }
}

#[test]
fn no_setting_of_the_sidecar_recreates_a_database() {
    let hashes = |sidecar: &str, databases: &str| {
        let value = |name: &str| if name.starts_with("BACKUP_") { sidecar } else { databases }.to_owned();
        Production::filled(value).hashes()
    };
    let changed = |before: &BTreeMap<String, String>, after: &BTreeMap<String, String>| -> Vec<String> {
        before.iter().filter(|(name, hash)| after[*name] != **hash).map(|(name, _)| name.clone()).collect()
    };
    let before = hashes("one", "one");
    assert_eq!(changed(&before, &hashes("two", "one")), ["pg-backup"]);
    assert_eq!(changed(&before, &hashes("one", "two")), ["demo-postgres", "postgres", "website-postgres"]);
}

#[test]
fn a_database_without_a_password_is_refused_with_the_variable() {
    let production = Production::filled(right);
    let environment = production.file(".env.production");
    let without = text(&environment).replace("WEBSITE_POSTGRES_PASSWORD=", "#");
    std::fs::write(&environment, without).unwrap();
    let mut command = installed("docker-compose/bin/docker-compose");
    command.arg("-f").arg(production.file("docker-compose.yml")).arg("--env-file").arg(&environment);
    let refused = run(command.arg("config").env("HOME", production.root.path())).expect_code(1);
    for word in ["WEBSITE_POSTGRES_PASSWORD", "set the superuser's password in .env.production"] {
        assert!(refused.stderr.contains(word), "{refused}");
    }
}

#[test]
fn production_and_the_demo_have_the_same_sidecar() {
    let (production, demo) = (Production::filled(right).resolved(), super::demo::resolved());
    for file in [&production, &demo] {
        assert_reached(&file["services"], "pg-backup");
    }
    assert_eq!(production["networks"]["internal"]["internal"], true);
    assert_eq!(production["services"]["postgres"]["networks"].as_object().unwrap().len(), 1);
    assert!(production["services"]["postgres"]["networks"].get("internal").is_some());
    let sidecar = &production["services"]["pg-backup"];
    for key in ["read_only", "cap_drop", "security_opt", "mem_limit", "pids_limit"] {
        assert!(!sidecar[key].is_null(), "{key}");
        for other in ["pg-backup", "operator"] {
            assert_eq!(sidecar[key], demo["services"][other][key], "{other}: {key}");
        }
    }
    for key in ["ports", "stop_grace_period", "image"] {
        assert!(!sidecar[key].is_null(), "{key}");
        assert_eq!(sidecar[key], demo["services"]["pg-backup"][key], "{key}");
    }
    // The pages are published only on this host.
    for service in demo["services"].as_object().unwrap().values().chain([sidecar]) {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{service}");
        }
    }
}

#[test]
fn the_sidecar_of_production_makes_its_round_with_the_template_filled_in() {
    let file = Production::filled(right).resolved();
    let fixture = Fixture::start();
    let sidecar = fixture.sidecar(&texts(&file["services"]["pg-backup"]["environment"]));
    fixture.assert_round(&sidecar, &["run"]);
}
