//! docker-compose.demo.yml: its samples, its store and its commands. Only hosts, ports and directories
//! differ.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use aws_sdk_s3::error::DisplayErrorContext;
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{aimed, compose, docker, list, make_owned_database, text, texts};
use crate::harness::bucket::client;
use crate::harness::fidelity::compare_databases;
use crate::harness::guard::{self, Dir, Guard};
use crate::harness::http::{ask, get};
use crate::harness::port;
use crate::harness::postgres::Server;
use crate::harness::program::{run, without_settings};
use crate::harness::seaweed;
use crate::harness::sidecar::{Sidecar, listening};

/// Returns the file as Docker Compose resolves it.
pub fn resolved() -> Value {
    compose::resolved(&docker("docker-compose.demo.yml"), &[])
}

/// Returns the file on this machine that a service has mounted at a path.
#[track_caller]
fn mounted(service: &Value, target: &str) -> String {
    let volumes = service["volumes"].as_array().unwrap();
    let volume = volumes.iter().find(|volume| volume["target"] == target);
    let volume = volume.unwrap_or_else(|| panic!("nothing is mounted at {target}: {service}"));
    assert_eq!(volume["read_only"], true);
    volume["source"].as_str().unwrap().to_owned()
}

/// The demonstration's S3 server.
struct Store {
    guard: Guard,
    /// The port of the S3 API.
    port: u16,
}

impl Store {
    /// Starts the server as its service does, and waits until its health check succeeds.
    fn start(service: &Value) -> Store {
        seaweed::on_free_ports(|| Store::try_start(service))
    }

    fn try_start(service: &Value) -> Result<Store, String> {
        let dir = Dir::new(None);
        std::fs::create_dir(dir.join("data")).unwrap();
        let names = [
            "s3",
            "filer",
            "s3.grpc",
            "filer.grpc",
            "master",
            "master.grpc",
            "volume",
            "volume.grpc",
            "admin",
            "admin.grpc",
        ];
        let ports: BTreeMap<&str, u16> = names.into_iter().map(|name| (name, port::free())).collect();
        assert_eq!(list(&service["entrypoint"]), ["/usr/bin/weed"]);
        let mut command = Command::new(seaweed::binary());
        for argument in list(&service["command"]) {
            match argument.split_once('=') {
                Some(("-dir", _)) => command.arg(format!("-dir={}", dir.join("data").display())),
                // In the container, clients reach it over the network.
                Some(("-ip.bind", address)) => {
                    assert_eq!(address, "0.0.0.0");
                    command.arg("-ip.bind=127.0.0.1")
                }
                Some(("-s3.config", path)) => command.arg(format!("-s3.config={}", mounted(service, path))),
                _ => command.arg(argument),
            };
        }
        for (name, port) in &ports {
            let (part, rest) = name.split_once('.').map_or((*name, ""), |(part, _)| (part, ".grpc"));
            command.arg(format!("-{part}.port{rest}={port}"));
        }
        without_settings(&mut command);
        let sockets = ports.values().map(|port| format!("/tmp/seaweedfs-*-{port}.sock"));
        command.env(guard::LITTER, sockets.collect::<Vec<_>>().join(" "));
        let store = Store { guard: Guard::start(dir, None, "KILL", &command).unwrap(), port: ports["s3"] };
        let check = list(&service["healthcheck"]["test"]);
        let path = check.last().unwrap().strip_prefix("http://127.0.0.1:8888").expect("the filer's port");
        store.wait_for_health(ports["filer"], path)?;
        Ok(store)
    }

    fn wait_for_health(&self, port: u16, path: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() || get(port, path).0 != 200 {
            if self.guard.has_ended() || Instant::now() >= deadline {
                return Err(self.guard.log());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

/// A sidecar with a service's environment and the servers of a test.
fn sidecar(services: &Value, name: &str, store: &Store, port: u16) -> Sidecar {
    let environment = texts(&services[name]["environment"]);
    let sidecar = environment
        .iter()
        .fold(Sidecar::default(), |sidecar, (name, value)| sidecar.set(name, &aimed(value, port)));
    assert_eq!(environment["BACKUP_S3_ENDPOINT"], "http://s3:8333");
    sidecar.set("BACKUP_S3_ENDPOINT", &store.endpoint())
}

/// Sets up a server in place of a database's service, with the service's role and sample.
fn load(server: &Server, service: &Value) {
    let environment = texts(&service["environment"]);
    let [user, database, password] =
        ["USER", "DB", "PASSWORD"].map(|name| &*environment[&format!("POSTGRES_{name}")]);
    assert_eq!(user, database);
    make_owned_database(server, user, password);
    if service.get("volumes").is_some() {
        let sample = mounted(service, "/docker-entrypoint-initdb.d/sample.sql");
        let url = format!("postgres://{user}:{password}@127.0.0.1:{}/{database}", server.port());
        // As the image's entry point runs it.
        let mut psql = server.tool("psql");
        psql.args(["-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-d", &url, "-f", &sample, "-o", "/dev/null"]);
        run(&mut psql).expect_success();
    }
}

/// Returns the commands in the file's header that start with `begin`, without that prefix.
fn told(begin: &str) -> Vec<String> {
    let begin = format!("#   docker compose -f docker/docker-compose.demo.yml {begin} ");
    let file = text(&docker("docker-compose.demo.yml"));
    file.lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
}

#[test]
fn its_rounds_are_good_and_every_command_at_its_head_works() {
    let services = &resolved()["services"];
    let (server, sandbox) = (Server::start(), Server::start());
    for name in ["postgres", "website-postgres", "demo-postgres"] {
        load(&server, &services[name]);
    }
    load(&sandbox, &services["sandbox"]);
    let store = Store::start(&services["s3"]);

    let (sidecar, port) = listening(self::sidecar(services, "pg-backup", &store, server.port()));
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("the first round", |log| log.contains("[entrypoint] backup"));
    let log = serve.log();
    assert!(log.contains("[entrypoint] backup ok; sleeping 60s") && !log.contains("attempt 1"), "{log}");
    let check = list(&services["pg-backup"]["healthcheck"]["test"]);
    assert_eq!(check[..2], ["CMD", "/pg-backup"]);
    sidecar.run(&check[2..]).expect_success();
    assert_eq!(get(port, "/").0, 200);

    let operator = self::sidecar(services, "operator", &store, sandbox.port());
    let verbs = told("run --rm operator");
    assert_eq!(verbs.len(), 4, "{verbs:?}");
    for line in &verbs {
        let arguments: Vec<String> = line.split(' ').map(|word| aimed(word, sandbox.port())).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = operator.run(&arguments).expect_success();
        assert_eq!(output.stdout_text().matches("FAILED").count(), 0, "{output}");
    }
    let copy = sandbox.existing("website");
    compare_databases(&server.existing("website"), &copy, &["--no-owner"], "website");
    let query = told("exec sandbox psql -U sandbox website -c");
    let count = copy.query(query[0].trim_matches('"'));
    assert_eq!(count, "347");
}

/// Returns a key's permissions as letters: Put an object, Get it, List the bucket, Delete it.
fn may(store: &Store, keys: (&str, &str), object: &str) -> String {
    Runtime::new().unwrap().block_on(async {
        let s3 = client(&store.endpoint(), keys.0, keys.1);
        let prefix = object.split_once('/').unwrap().0;
        let mut may = String::new();
        let mut note = |letter: char, result: Result<(), String>| match result {
            Ok(()) => may.push(letter),
            Err(error) => assert!(error.contains("AccessDenied"), "{error}"),
        };
        let put = s3.put_object().bucket("backups").key(object).body(b"x".to_vec().into()).send().await;
        note('P', put.map(drop).map_err(|e| DisplayErrorContext(e).to_string()));
        let get = s3.get_object().bucket("backups").key(object).send().await;
        note('G', get.map(drop).map_err(|e| DisplayErrorContext(e).to_string()));
        let list = s3.list_objects_v2().bucket("backups").prefix(format!("{prefix}/")).send().await;
        note('L', list.map(drop).map_err(|e| DisplayErrorContext(e).to_string()));
        let delete = s3.delete_object().bucket("backups").key(object).send().await;
        note('D', delete.map(drop).map_err(|e| DisplayErrorContext(e).to_string()));
        may
    })
}

#[test]
fn its_sidecar_may_only_put_and_its_operator_only_read() {
    let services = &resolved()["services"];
    let store = Store::start(&services["s3"]);
    let keys = |service: &str| {
        let environment = texts(&services[service]["environment"]);
        ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY"].map(|name| environment[&format!("BACKUP_AWS_{name}")].clone())
    };
    let ([id, secret], [reader, reader_secret]) = (keys("pg-backup"), keys("operator"));
    assert_eq!(may(&store, (&id, &secret), "demo/metadata/x"), "P");
    assert_eq!(may(&store, (&id, &secret), "elsewhere/x"), "");
    assert_eq!(may(&store, (&reader, &reader_secret), "demo/metadata/x"), "GL");
    assert_eq!(may(&store, (&reader, &reader_secret), "elsewhere/x"), "");
    // Without a key, all requests are rejected.
    assert_eq!(ask(store.port, "GET /backups/demo/metadata/x").status, 403);
    assert_eq!(ask(store.port, "GET /backups").status, 403);
}
