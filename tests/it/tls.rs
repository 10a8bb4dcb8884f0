//! TLS to PostgreSQL, compared with libpq: for every certificate, mode and root file, psql and pg-backup must
//! agree on whether the connection succeeds and whether it is encrypted.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pg_backup::protocol::{ConnInfo, Environment, ProtocolError, Session};

use crate::harness::guard::{self, Dir, User};
use crate::harness::installation::BIN;
use crate::harness::postgres::Server;
use crate::harness::postgres::{Database, PASSWORD};
use crate::harness::program::{run, without_settings};

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/// All certificates and keys of servers and clients. All files are PEM, in one directory that the server can
/// read: `NAME.crt` and `NAME.key`.
struct Files {
    dir: Dir,
}

/// Server certificates and their extensions. All except the last are for `localhost`.
const SERVERS: &[(&str, &str, &str)] = &[
    ("good", "/CN=ignored", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    ("wildcard", "/CN=ignored", "subjectAltName=DNS:*.localhost"),
    ("common-name", "/CN=localhost", "basicConstraints=CA:FALSE"),
    ("other-name", "/CN=localhost", "subjectAltName=DNS:db.example.com"),
];

impl Files {
    fn make() -> Files {
        let files = Files { dir: Dir::new(User::unprivileged()) };
        for authority in ["authority", "stranger"] {
            let subject = format!("/CN={authority}");
            files.openssl(&format!(
                "req -x509 -days 7 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj {subject} \
                 -keyout {authority}.key -out {authority}.crt"
            ));
        }
        for (name, subject, extensions) in SERVERS {
            files.signed(name, subject, extensions, "authority", "-days 7");
        }
        files.signed("expired", "/CN=localhost", "subjectAltName=DNS:localhost", "authority", "-days -1");
        files.signed("version-1", "/CN=localhost", "", "authority", "-days 7");
        files.signed("version-1-stranger", "/CN=localhost", "", "stranger", "-days 7");
        files.signed(
            "intermediate",
            "/CN=intermediate",
            "basicConstraints=critical,CA:TRUE",
            "authority",
            "-days 7",
        );
        files.signed("chain", "/CN=x", "subjectAltName=DNS:localhost", "intermediate", "-days 7");
        let chain = files.read("chain.crt") + &files.read("intermediate.crt");
        fs::write(files.path("chain.crt"), chain).unwrap();
        // Created as in PostgreSQL's documentation: no alternative names, RSA.
        files.openssl(
            "req -x509 -days 7 -nodes -newkey rsa:2048 -subj /CN=localhost -keyout self.key -out self.crt",
        );
        files.signed("client", "/CN=certified", "extendedKeyUsage=clientAuth", "authority", "-days 7");
        for entry in fs::read_dir(&files.dir).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "key") {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            }
            guard::give(&path, User::unprivileged());
        }
        fs::set_permissions(&files.dir, fs::Permissions::from_mode(0o755)).unwrap();
        files
    }

    fn signed(&self, name: &str, subject: &str, extensions: &str, authority: &str, days: &str) {
        self.openssl(&format!(
            "req -new -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj {subject} \
             -keyout {name}.key -out {name}.csr"
        ));
        let mut sign = format!(
            "x509 -req -in {name}.csr -CA {authority}.crt -CAkey {authority}.key -CAcreateserial {days} -out {name}.crt"
        );
        if !extensions.is_empty() {
            fs::write(self.path("extensions"), extensions).unwrap();
            sign.push_str(" -extfile extensions");
        }
        self.openssl(&sign);
    }

    fn openssl(&self, arguments: &str) {
        run(Command::new("openssl").args(arguments.split_whitespace()).current_dir(&self.dir))
            .expect_success();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// Starts a server with TLS and these lines in pg_hba.conf.
fn start(files: &Files, hba: &str) -> Server {
    let hba_file = files.path("pg_hba.conf");
    fs::write(&hba_file, format!("local all all trust\n{hba}\n")).unwrap();
    Server::start_with(&[
        &format!("hba_file={}", hba_file.display()),
        "ssl=on",
        &format!("ssl_cert_file={}", files.shown("good.crt")),
        &format!("ssl_key_file={}", files.shown("good.key")),
        &format!("ssl_ca_file={}", files.shown("authority.crt")),
    ])
}

/// Starts a server with this certificate. Settings on the command line override the configuration file, so a
/// change needs a new server.
fn start_with_certificate(files: &Files, certificate: &str) -> Server {
    let hba_file = files.path("pg_hba.conf");
    fs::write(&hba_file, "local all all trust\nhost all all all scram-sha-256\n").unwrap();
    Server::start_with(&[
        &format!("hba_file={}", hba_file.display()),
        "ssl=on",
        &format!("ssl_cert_file={}", files.shown(&format!("{certificate}.crt"))),
        &format!("ssl_key_file={}", files.shown(&format!("{certificate}.key"))),
    ])
}

/// Returns a connection string that both clients can parse.
fn conninfo(server: &Server, more: &str) -> String {
    let port = server.port();
    format!(
        "host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname=postgres password='{PASSWORD}' {more}"
    )
}

/// Whether a client connected, and whether the connection was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Encrypted,
    Plain,
    Refused,
}

const IS_ENCRYPTED: &str =
    "SELECT ssl::text FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";

fn outcome(answer: &str) -> Outcome {
    match answer.trim() {
        "true" => Outcome::Encrypted,
        "false" => Outcome::Plain,
        other => panic!("unexpected answer {other:?}"),
    }
}

fn psql(conninfo: &str, home: &Path) -> Outcome {
    let mut psql = Command::new(format!("{BIN}/psql"));
    psql.args(["-X", "-w", "-A", "-t", "-c", IS_ENCRYPTED, "-d", conninfo]);
    without_settings(&mut psql).env("HOME", home);
    let output = run(&mut psql);
    if output.status.success() { outcome(&output.stdout_text()) } else { Outcome::Refused }
}

async fn open(conninfo: &str, home: &Path) -> Result<Session, ProtocolError> {
    let environment = Environment::default().with_account("postgres", home);
    Session::open(&ConnInfo::parse(conninfo)?.resolve(&environment)?).await
}

async fn ours(conninfo: &str, home: &Path) -> Result<Outcome, ProtocolError> {
    let session = open(conninfo, home).await?;
    let rows = session.query(IS_ENCRYPTED, &[]).await?;
    let answer = outcome(rows[0].get(0));
    session.close().await;
    Ok(answer)
}

/// Connects both clients with the same string. Collects the differences, so that one run shows them all.
async fn compare(conninfo: &str, home: &Path, label: &str, differences: &mut String) {
    let theirs = psql(conninfo, home);
    let result = ours(conninfo, home).await;
    let got = *result.as_ref().unwrap_or(&Outcome::Refused);
    if got != theirs {
        let why = result.err().map(|e| chain(&e)).unwrap_or_default();
        writeln!(differences, "{label}: psql {theirs:?}, pg-backup {got:?} {why}").unwrap();
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn every_mode_and_certificate_ends_as_with_libpq() {
    let files = Files::make();
    let home = tempfile::tempdir().unwrap();
    let mut differences = String::new();
    for certificate in [
        "good",
        "common-name",
        "wildcard",
        "other-name",
        "expired",
        "version-1",
        "version-1-stranger",
        "chain",
        "self",
    ] {
        let server = start_with_certificate(&files, certificate);
        let own_root = (certificate == "self").then_some(Some("self"));
        let roots: Vec<_> = [None, Some("authority"), Some("stranger")].into_iter().chain(own_root).collect();
        for mode in MODES {
            for root in &roots {
                let root_file = root.map_or_else(String::new, |r| {
                    format!("sslrootcert={}", files.shown(&format!("{r}.crt")))
                });
                let text = conninfo(&server, &format!("sslmode={mode} {root_file}"));
                let label = format!("certificate {certificate}, sslmode {mode}, root {root:?}");
                compare(&text, home.path(), &label, &mut differences).await;
            }
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[tokio::test]
async fn servers_with_and_without_tls_are_entered_as_with_libpq() {
    let files = Files::make();
    let home = tempfile::tempdir().unwrap();
    let mut differences = String::new();
    for hba in ["host all all all", "hostssl all all all", "hostnossl all all all"] {
        let server = start(&files, &format!("{hba} scram-sha-256"));
        for mode in MODES {
            let root = files.shown("authority.crt");
            let text = conninfo(&server, &format!("sslmode={mode} sslrootcert={root}"));
            compare(&text, home.path(), &format!("{hba}, {mode}"), &mut differences).await;
        }
    }
    let server = Server::start();
    for mode in MODES {
        let root = files.shown("authority.crt");
        let text = conninfo(&server, &format!("sslmode={mode} sslrootcert={root}"));
        compare(&text, home.path(), &format!("no TLS, {mode}"), &mut differences).await;
        let socket = server.socket().display();
        let text = format!(
            "host={socket} port={} user=postgres dbname=postgres sslmode={mode} sslrootcert={root}",
            server.port()
        );
        compare(&text, home.path(), &format!("socket, {mode}"), &mut differences).await;
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[tokio::test]
async fn the_home_directory_holds_the_default_files() {
    let files = Files::make();
    let server = start(&files, "hostssl all certified all cert\nhost all postgres all scram-sha-256");
    let home = tempfile::tempdir().unwrap();
    let dot = home.path().join(".postgresql");
    fs::create_dir(&dot).unwrap();
    let mut differences = String::new();
    for root in ["authority", "stranger"] {
        fs::copy(files.path(&format!("{root}.crt")), dot.join("root.crt")).unwrap();
        for mode in MODES {
            let text = conninfo(&server, &format!("sslmode={mode}"));
            compare(&text, home.path(), &format!("home {root}, {mode}"), &mut differences).await;
        }
    }
    run(Command::new(format!("{BIN}/createuser")).args(["-h"]).arg(server.socket()).args([
        "-p",
        &server.port().to_string(),
        "-U",
        "postgres",
        "certified",
    ]))
    .expect_success();
    fs::copy(files.path("client.crt"), dot.join("postgresql.crt")).unwrap();
    fs::copy(files.path("client.key"), dot.join("postgresql.key")).unwrap();
    fs::copy(files.path("authority.crt"), dot.join("root.crt")).unwrap();
    for (mode, permissions) in
        [("verify-full", 0o600), ("require", 0o600), ("require", 0o644), ("disable", 0o600)]
    {
        fs::set_permissions(dot.join("postgresql.key"), fs::Permissions::from_mode(permissions)).unwrap();
        let text = conninfo(&server, &format!("sslmode={mode} user=certified"));
        compare(&text, home.path(), &format!("client certificate, {mode} {permissions:o}"), &mut differences)
            .await;
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[tokio::test]
async fn channel_binding_is_used_and_can_be_required() {
    let files = Files::make();
    let home = tempfile::tempdir().unwrap();
    let mut differences = String::new();
    for method in ["scram-sha-256", "password", "trust"] {
        let server = start(&files, &format!("host all all all {method}"));
        for mode in ["disable", "require"] {
            for binding in ["disable", "prefer", "require"] {
                let text = conninfo(&server, &format!("sslmode={mode} channel_binding={binding}"));
                let label = format!("{method}, sslmode {mode}, channel_binding {binding}");
                compare(&text, home.path(), &label, &mut differences).await;
            }
        }
    }
    // An RSA certificate has another digest.
    let server = start_with_certificate(&files, "self");
    // More iterations than the driver accepts, so that pg-backup performs the exchange itself.
    server.database().execute(
        "CREATE ROLE clerk LOGIN PASSWORD 'SCRAM-SHA-256$300000:MDEyMzQ1Njc4OWFiY2RlZg==$mF3Z2X54XBfYf8yNzUF+xc1Q0rQgiF3uqa5jBzE6XWs=:HINyCPJ1WBy8bx51n35bb9UbQSlNuTXMdazfzPt/RmU='",
    );
    for version in ["TLSv1.2", "TLSv1.3"] {
        let text = conninfo(
            &server,
            &format!(
                "sslmode=require channel_binding=require ssl_min_protocol_version={version} ssl_max_protocol_version={version}"
            ),
        );
        assert_eq!(ours(&text, home.path()).await.unwrap(), Outcome::Encrypted);
        let clerk = |password: &str| format!("{text} user=clerk password='{password}'");
        assert_eq!(psql(&clerk("secret words"), home.path()), Outcome::Encrypted);
        assert_eq!(ours(&clerk("secret words"), home.path()).await.unwrap(), Outcome::Encrypted);
        let message = failure(&clerk("wrong"), home.path()).await;
        assert!(message.starts_with("wrong password for user \"clerk\""), "{message}");
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[tokio::test]
async fn both_versions_of_tls_verify_a_version_1_certificate() {
    let files = Files::make();
    let home = tempfile::tempdir().unwrap();
    let server = start_with_certificate(&files, "version-1");
    for version in ["TLSv1.2", "TLSv1.3"] {
        let text = conninfo(
            &server,
            &format!(
                "sslmode=verify-full sslrootcert={} ssl_min_protocol_version={version} ssl_max_protocol_version={version}",
                files.shown("authority.crt")
            ),
        );
        assert_eq!(ours(&text, home.path()).await.unwrap(), Outcome::Encrypted, "{version}");
    }
}

/// Returns the message of a connection that must fail.
async fn failure(text: &str, home: &Path) -> String {
    match ours(text, home).await {
        Ok(outcome) => panic!("{outcome:?} with {text}"),
        Err(error) => chain(&error),
    }
}

#[tokio::test]
async fn a_refusal_says_why() {
    let files = Files::make();
    let home = tempfile::tempdir().unwrap();
    let root = format!("sslrootcert={}", files.shown("authority.crt"));
    let full = format!("sslmode=verify-full {root}");
    for (certificate, reason) in [
        ("other-name", "it is for db.example.com, not for localhost"),
        ("expired", "it has expired"),
        ("self", "its issuer is not among the trusted root certificates"),
        ("version-1-stranger", "its issuer is not among the trusted root certificates"),
    ] {
        let server = start_with_certificate(&files, certificate);
        let port = server.port();
        let message = failure(&conninfo(&server, &full), home.path()).await;
        assert_eq!(
            message,
            format!("the certificate of server localhost:{port} cannot be verified: {reason}")
        );
    }
    let plain = Server::start();
    let message = failure(&conninfo(&plain, "sslmode=require"), home.path()).await;
    let port = plain.port();
    assert_eq!(
        message,
        format!("server localhost:{port} does not support TLS, but sslmode=require requires it")
    );
    let message = failure(&conninfo(&plain, "sslmode=verify-ca"), home.path()).await;
    assert!(message.contains("root.crt does not exist, but sslmode=verify-ca requires it"), "{message}");
    let message = failure(&conninfo(&plain, "sslmode=disable channel_binding=require"), home.path()).await;
    assert!(message.ends_with("channel binding is required, and the connection has no TLS"), "{message}");
}

#[tokio::test]
async fn a_certificate_on_a_revocation_list_is_refused() {
    let files = Files::make();
    let home = tempfile::tempdir().unwrap();
    let config =
        "[ca]\ndefault_ca=a\n[a]\ndatabase=index\ncrlnumber=number\ndefault_md=sha256\ndefault_crl_days=7\n";
    fs::write(files.path("ca.cnf"), config).unwrap();
    fs::write(files.path("index"), "").unwrap();
    fs::write(files.path("number"), "01\n").unwrap();
    let signer = "-config ca.cnf -cert authority.crt -keyfile authority.key";
    files.openssl(&format!("ca {signer} -gencrl -out empty.crl"));
    files.openssl(&format!("ca {signer} -revoke good.crt"));
    files.openssl(&format!("ca {signer} -gencrl -out revoked.crl"));
    let server = start_with_certificate(&files, "good");
    let mut differences = String::new();
    for list in ["empty.crl", "revoked.crl"] {
        let text = conninfo(
            &server,
            &format!(
                "sslmode=verify-full sslrootcert={} sslcrl={}",
                files.shown("authority.crt"),
                files.shown(list)
            ),
        );
        compare(&text, home.path(), list, &mut differences).await;
        if list == "revoked.crl" {
            let message = failure(&text, home.path()).await;
            assert!(message.ends_with("cannot be verified: it has been revoked"), "{message}");
        }
    }
    assert!(differences.is_empty(), "\n{differences}");
}

#[tokio::test]
async fn a_cancel_request_travels_over_tls() {
    let files = Files::make();
    let home = tempfile::tempdir().unwrap();
    let server = start(&files, "hostssl all all all scram-sha-256");
    let session = open(&conninfo(&server, "sslmode=require"), home.path()).await.unwrap();
    let canceller = session.canceller();
    // A cancel request that arrives before the query has started has no effect.
    let cancelling = tokio::spawn(async move {
        loop {
            canceller.cancel().await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    let query = session.query("SELECT pg_catalog.pg_sleep(60)::text", &[]);
    let error = tokio::select! {
        ended = query => ended.unwrap_err(),
        failed = cancelling => panic!("{failed:?}"),
    };
    assert_eq!(error.sqlstate(), Some("57014"));
}

#[tokio::test]
async fn the_system_s_certificates_need_the_full_verification() {
    let files = Files::make();
    let server = start_with_certificate(&files, "good");
    let database: Database<'_> = server.database();
    let url = format!("{}?sslrootcert=system", database.url().replace("127.0.0.1", "localhost"));
    let mut dump = crate::harness::program::pg_backup();
    dump.args(["dump", "-d", &url]).env("SSL_CERT_FILE", files.path("authority.crt"));
    run(&mut dump).expect_success();
    let mut dump = crate::harness::program::pg_backup();
    dump.args(["dump", "-d", &url]).env("SSL_CERT_FILE", files.path("stranger.crt"));
    let refused = run(&mut dump).expect_code(1);
    assert!(refused.stdout.is_empty());
    assert!(refused.stderr.contains("cannot be verified"), "{}", refused.stderr);
}
