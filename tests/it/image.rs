//! The image: its contents, a round in it with TLS on both sides, and its health check. `make image` builds
//! it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::harness::bulk;
use crate::harness::container::{Container, IMAGE, MEMORY, container, described, podman};
use crate::harness::document::repository;
use crate::harness::fidelity::compare_stored;
use crate::harness::guard::{self, Dir, User};
use crate::harness::http;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{run, static_binary, target_dir};
use crate::harness::samples::sample;
use crate::harness::seaweed::{Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, gunzip, listening};
use crate::harness::tls::Certificates;

/// The size limit of an image, in bytes.
const SIZE_LIMIT: u64 = 25_000_000;

#[test]
fn it_holds_the_static_binary_and_the_authorities() {
    let root =
        PathBuf::from(run(podman(&["image", "mount"]).arg(IMAGE)).expect_success().stdout_text().trim());
    let find = run(Command::new("find").arg(&root).args(["!", "-type", "d", "-printf", "/%P %m\n"]));
    let mut files: Vec<String> = find.expect_success().stdout_text().lines().map(str::to_owned).collect();
    files.sort();
    assert_eq!(files, ["/etc/ssl/certs/ca-certificates.crt 644", "/pg-backup 755"]);
    let (held, built) = (fs::read(root.join("pg-backup")).unwrap(), fs::read(static_binary()).unwrap());
    assert!(held == built, "the image holds another binary\nHINT: `make image` builds it anew");
    let authorities = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt")).unwrap();
    assert!(authorities.matches("BEGIN CERTIFICATE").count() > 100);
    run(podman(&["image", "unmount"]).arg(IMAGE)).expect_success();
}

#[test]
fn it_is_small_and_says_what_it_is() {
    let size: u64 = described("{{.Size}}").parse().expect("a number of bytes");
    assert!(size < SIZE_LIMIT, "{size} bytes");
    assert_eq!(described("{{.Config.User}} {{.Config.Entrypoint}}"), "65532:65532 [/pg-backup]");
    assert_eq!(described("{{.HealthCheck.Test}}"), "[CMD /pg-backup status --probe]");
    let label = |name: &str| described(&format!("{{{{index .Labels \"org.opencontainers.image.{name}\"}}}}"));
    assert_eq!(label("title"), "pg-backup");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), "MIT OR Apache-2.0");
    assert_ne!(label("description"), "");
    let version = run(Command::new(static_binary()).args(["version", "--json"])).expect_success();
    let version: serde_json::Value = serde_json::from_str(&version.stdout_text()).expect("it is JSON");
    let commit = version["commit"].as_str().unwrap_or_default();
    assert_eq!(commit, label("revision"), "the binary's and the image's commit");
    let revision = run(&mut Command::new(repository().join("scripts/revision"))).expect_success();
    assert_eq!(commit.is_empty(), revision.stdout.is_empty(), "{version}, but {revision}");
    // Without the argument, as in a plain `docker build`, the version is the same.
    let dockerfile = include_str!("../../Dockerfile");
    assert!(dockerfile.contains(concat!("\nARG VERSION=", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn the_bill_of_materials_names_every_crate_that_is_linked() {
    let text = fs::read_to_string(target_dir().join("pg-backup.cdx.json")).expect("`make sbom` writes it");
    let bill: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    assert_eq!(bill["metadata"]["component"]["version"], env!("CARGO_PKG_VERSION"));
    let components = bill["components"].as_array().expect("a list");
    let listed: BTreeSet<String> = components
        .iter()
        .map(|component| {
            assert!(component["hashes"][0]["content"].is_string(), "no checksum: {component}");
            format!("{} {}", component["name"].as_str().unwrap(), component["version"].as_str().unwrap())
        })
        .collect();
    let mut tree = Command::new("cargo");
    tree.args(["tree", "--locked", "--offline", "--target=x86_64-unknown-linux-musl", "--edges=normal"]);
    tree.args(["--prefix=none", "--no-dedupe", "--format={p}"]).current_dir(env!("CARGO_MANIFEST_DIR"));
    // `name v1.2.3`, followed by other text.
    let linked: BTreeSet<String> = run(&mut tree)
        .expect_success()
        .stdout_text()
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" ").replacen(" v", " ", 1))
        .filter(|package| !package.starts_with("pg-backup "))
        .collect();
    assert!(linked.len() > 100, "{linked:?}");
    assert_eq!(linked.difference(&listed).collect::<Vec<_>>(), Vec::<&String>::new());
}

/// Starts a server that accepts only TLS connections. Returns the file of the authority that signed its
/// certificate, too.
fn tls_server() -> (Server, Dir, PathBuf) {
    let dir = Dir::new(User::unprivileged());
    let certificates = Certificates::make(&dir);
    let hba = dir.join("pg_hba.conf");
    fs::write(&hba, "local all all trust\nhostssl all all all scram-sha-256\n").unwrap();
    for file in [&certificates.key, &certificates.certificate, &hba] {
        guard::give(file, User::unprivileged());
    }
    let server = Server::start_with(&[
        "ssl=on",
        &format!("hba_file={}", hba.display()),
        &format!("ssl_cert_file={}", certificates.certificate.display()),
        &format!("ssl_key_file={}", certificates.key.display()),
    ]);
    (server, dir, certificates.authority)
}

/// A sidecar with the paths in its container of both servers' authorities.
fn sidecar(seaweed: &Seaweed, database: &Database<'_>) -> Sidecar {
    let url = database.url_without_password().replace("127.0.0.1", "localhost");
    Sidecar::with_store(seaweed.environment(WRITER))
        .database("main", database)
        .set("BACKUP_S3_ENDPOINT", &seaweed.https())
        .set("BACKUP_S3_CA_FILE", "/run/s3.pem")
        .set("BACKUP_MAIN_URL", &format!("{url}?sslmode=verify-full&sslrootcert=/run/postgres.pem"))
}

#[test]
fn a_round_over_tls_in_a_locked_up_container() {
    let (server, _dir, authority) = tls_server();
    let seaweed = Seaweed::start();
    let database = server.database();
    database.load(&sample("pagila")).expect_success();
    // Many times more rows than fit into the memory of a round.
    database.load_bytes(bulk::events("events", 1_000_000).as_bytes()).expect_success();
    // The image has no time zone files, but the program has its own.
    let sidecar = sidecar(&seaweed, &database).set("BACKUP_SCHEDULE", "@daily").set("TZ", "Europe/Berlin");

    let stranger = seaweed.authority();
    let round = |postgres| {
        container(&sidecar, &[(seaweed.authority(), "/run/s3.pem"), (postgres, "/run/postgres.pem")], &[])
    };
    let refused = run(round(stranger).arg("run")).expect_code(3);
    assert!(refused.stdout_text().contains("certificate"), "{refused}");
    assert_eq!(seaweed.objects(), []);

    run(round(&authority).arg("run")).expect_success();
    let objects = seaweed.objects();
    assert_eq!(objects.len(), 3, "{objects:?}");
    let dump = objects.iter().find(|object| object.key.ends_with(".sql.gz")).expect("a dump is among them");
    compare_stored(&server, &database, gunzip(&seaweed.get(&dump.key)), "image");
}

#[test]
fn the_health_check_distinguishes_a_good_round_from_a_bad_one() {
    let (server, _dir, authority) = tls_server();
    let seaweed = Seaweed::start();
    let database = server.database();
    database.load(&sample("chinook")).expect_success();
    let sidecar = sidecar(&seaweed, &database).set("BACKUP_INTERVAL_SECONDS", "5").set("BACKUP_RETRIES", "0");
    let (sidecar, port) = listening(sidecar);
    let files = [(seaweed.authority(), "/run/s3.pem"), (authority.as_path(), "/run/postgres.pem")];
    let container = Container::serve(&sidecar, &files);
    container.wait_for("backup ok; sleeping");
    container.podman(&["healthcheck", "run"]).expect_success();
    assert_eq!(http::get(port, "/readyz").0, 200);
    // podman applies the limits that were requested.
    let kept =
        container.podman(&["inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.ReadonlyRootfs}}"]);
    assert_eq!(kept.expect_success().stdout_text().trim(), format!("{MEMORY} true"));

    server.stop();
    container.wait_for("main: FAILED");
    container.podman(&["healthcheck", "run"]).expect_code(1);
    let (took, log) = container.stop();
    // Includes podman's own time. SIGKILL would follow after fifteen seconds.
    assert!(took.as_secs() < 12, "{took:?}\n{log}");
}
