//! docker-compose.yml, as Docker Compose itself resolves it.

use std::path::Path;

use serde_json::Value;

use super::{Scene, docker, installed, list, text, texts};
use crate::harness::postgres::PASSWORD;
use crate::harness::program::run;
use crate::harness::seaweed::WRITER;

/// What Docker Compose makes of a file, with these further options and everything in profiles.
#[track_caller]
pub fn resolved(file: &Path, options: &[&str]) -> Value {
    let mut command = installed("docker-compose/bin/docker-compose");
    command.arg("-f").arg(file).args(options).args(["--profile", "*", "config", "--format", "json"]);
    // It looks for its own settings there.
    let home = tempfile::tempdir().unwrap();
    let config = run(command.env("HOME", home.path())).expect_success();
    // What it only warns of is a mistake, too: a variable that is not set, a key that is out of use.
    assert_eq!(config.stderr, "", "{config}");
    serde_json::from_slice(&config.stdout).unwrap()
}

/// The file of production beside a filled in template, as the README has it done.
fn production() -> Value {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("docker");
    std::fs::create_dir(&dir).unwrap();
    let file = dir.join("docker-compose.yml");
    std::fs::copy(docker("docker-compose.yml"), &file).unwrap();
    let template = text(&docker("../.env.production"));
    let filled: Vec<String> = template
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| match line.split_once('=').unwrap() {
            ("BACKUP_AWS_ACCESS_KEY_ID", _) => format!("BACKUP_AWS_ACCESS_KEY_ID={}", WRITER.id),
            ("BACKUP_AWS_SECRET_ACCESS_KEY", _) => format!("BACKUP_AWS_SECRET_ACCESS_KEY={}", WRITER.secret),
            (name, "CHANGE_ME") => format!("{name}={PASSWORD}"),
            _ => line.to_owned(),
        })
        .collect();
    let environment = dir.join(".env.production");
    std::fs::write(&environment, filled.join("\n")).unwrap();
    resolved(&file, &["--env-file", environment.to_str().unwrap()])
}

/// The service of a database that a sidecar's URL leads to, which must let its user in.
#[track_caller]
pub fn assert_databases_agree(services: &Value, sidecar: &str) {
    let environment = texts(&services[sidecar]["environment"]);
    for name in environment["BACKUP_DATABASES"].split(',').map(str::to_uppercase) {
        let url = &environment[&format!("BACKUP_{name}_URL")];
        let rest = url.strip_prefix("postgres://").unwrap();
        let (user, rest) = rest.split_once('@').unwrap();
        let (host, database) = rest.split_once(":5432/").unwrap();
        let server = texts(&services[host]["environment"]);
        assert_eq!((user, database), (&*server["POSTGRES_USER"], &*server["POSTGRES_DB"]), "{url}");
        assert_eq!(environment[&format!("BACKUP_{name}_PASSWORD")], server["POSTGRES_PASSWORD"], "{url}");
        for network in services[host]["networks"].as_object().unwrap().keys() {
            assert!(services[sidecar]["networks"].get(network).is_some(), "no way to {host} over {network}");
        }
        assert!(services[host].get("ports").is_none(), "{host} is open to the outside");
        let check = list(&services[host]["healthcheck"]["test"]);
        assert!(check[1].contains("pg_isready") && check[1].contains("--host=127.0.0.1"), "{check:?}");
    }
}

#[test]
fn production_and_the_demo_have_the_same_sidecar() {
    let (production, demo) = (production(), super::demo::resolved());
    for file in [&production, &demo] {
        assert_databases_agree(&file["services"], "pg-backup");
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
    // The pages are for this host alone.
    for service in demo["services"].as_object().unwrap().values().chain([sidecar]) {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{service}");
        }
    }
}

#[test]
fn the_sidecar_of_production_makes_its_round_with_the_template_filled_in() {
    let file = production();
    let scene = Scene::start();
    let sidecar = scene.sidecar(&texts(&file["services"]["pg-backup"]["environment"]));
    scene.assert_round(&sidecar, &["run"]);
}
