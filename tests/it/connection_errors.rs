//! Errors at and after connecting: each message names the cause in one line.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pg_backup::protocol::{
    ConnInfo, Environment, Isolation, ProtocolError, Session, SessionSetup, SnapshotId,
};

use crate::harness::port;
use crate::harness::postgres::PASSWORD;
use crate::harness::postgres::Server;
use crate::harness::program::{pg_backup, run};

/// Returns the error with all causes, as a log line shows it.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

async fn open(text: &str) -> Result<Session, ProtocolError> {
    let home = Path::new("/nonexistent");
    Session::open(&ConnInfo::parse(text)?.resolve(&Environment::default().with_account("postgres", home))?)
        .await
}

/// Returns the message of a connection that must fail: one line, without a password.
async fn failure(text: &str) -> String {
    let error = match open(text).await {
        Ok(_) => panic!("connected with {text}"),
        Err(error) => error,
    };
    let message = chain(&error);
    assert!(!message.contains('\n'), "{message}");
    assert!(!message.contains("wrong-secret") && !message.contains(PASSWORD), "{message}");
    message
}

fn with_hba(lines: &str) -> (Server, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let hba = dir.path().join("pg_hba.conf");
    std::fs::write(&hba, format!("local all all trust\n{lines}\n")).unwrap();
    std::fs::set_permissions(&hba, std::fs::Permissions::from_mode(0o644)).unwrap();
    (Server::start_with(&[&format!("hba_file={}", hba.display())]), dir)
}

#[tokio::test]
async fn a_server_that_is_not_there() {
    let message = failure("host=no-such-host.invalid user=u").await;
    assert!(message.starts_with("unknown host no-such-host.invalid: "), "{message}");
    let port = port::free();
    let message = failure(&format!("host=127.0.0.1 port={port}")).await;
    assert!(message.starts_with(&format!("server 127.0.0.1:{port} refused the connection: ")), "{message}");
    let message = failure(&format!("host=localhost port={port}")).await;
    assert!(message.starts_with(&format!("server localhost:{port} refused the connection: ")), "{message}");
    let message = failure("host=/nonexistent port=5").await;
    assert!(message.starts_with("cannot reach server on socket /nonexistent/.s.PGSQL.5: "), "{message}");
    let message = failure(&format!("host=127.0.0.1,no-such-host.invalid port={port}")).await;
    assert!(message.starts_with("no server could be used: server 127.0.0.1:"), "{message}");
    assert!(message.contains("; unknown host no-such-host.invalid"), "{message}");
}

#[tokio::test]
async fn a_server_that_does_not_answer() {
    // The kernel accepts connections for a listener that never calls accept.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let begun = Instant::now();
    let message = failure(&format!("host=127.0.0.1 port={port} connect_timeout=2")).await;
    assert_eq!(message, format!("server 127.0.0.1:{port} did not answer within 2 s"));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn something_that_is_not_postgresql() {
    use std::io::Write;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let message = failure(&format!("host=127.0.0.1 port={port}")).await;
    assert!(message.contains("is it a PostgreSQL server?"), "{message}");
    let message = failure(&format!("host=127.0.0.1 port={port} sslmode=disable connect_timeout=5")).await;
    assert!(message.contains(&format!("127.0.0.1:{port}")), "{message}");
}

#[tokio::test]
async fn a_login_that_is_refused() {
    let (server, _dir) = with_hba(
        "host all rejected all reject\nhost all nobody-knows all trust\nhost other all all trust\n\
         host all postgres all scram-sha-256\nhost all limited all trust",
    );
    let database = server.database();
    database.execute("CREATE ROLE rejected LOGIN; CREATE ROLE limited LOGIN; CREATE ROLE shut NOLOGIN");
    database.execute("REVOKE CONNECT ON DATABASE postgres FROM public");
    let port = server.port();
    let to = |more: &str| format!("host=127.0.0.1 port={port} dbname=postgres {more}");
    let message = failure(&to("user=postgres password=wrong-secret")).await;
    assert_eq!(
        message,
        format!(
            "wrong password for user \"postgres\" at server 127.0.0.1:{port}: FATAL: password authentication \
             failed for user \"postgres\" (SQLSTATE 28P01)"
        )
    );
    let message = failure(&to("user=postgres")).await;
    assert_eq!(
        message,
        format!("server 127.0.0.1:{port} requires a password for user \"postgres\", but none was given")
    );
    let refused = format!("server 127.0.0.1:{port} rejected user ");
    let message = failure(&to("user=rejected")).await;
    assert!(message.starts_with(&refused) && message.contains("pg_hba.conf rejects"), "{message}");
    let message = failure(&to("user=unlisted")).await;
    assert!(message.starts_with(&refused) && message.contains("no pg_hba.conf entry"), "{message}");
    let message = failure(&to("user=nobody-knows")).await;
    assert!(
        message.starts_with(&refused) && message.contains("role \"nobody-knows\" does not exist"),
        "{message}"
    );
    let message = failure(&to("user=limited")).await;
    assert!(message.contains("permission denied for database \"postgres\" (SQLSTATE 42501)"), "{message}");
    let message = failure(&to(&format!("user=postgres password='{PASSWORD}' dbname=none"))).await;
    assert_eq!(
        message,
        format!(
            "database \"none\" does not exist at server 127.0.0.1:{port}: FATAL: database \"none\" does not exist \
             (SQLSTATE 3D000)"
        )
    );
    let socket = server.socket().display();
    let message = failure(&format!("host={socket} port={port} user=shut dbname=postgres")).await;
    assert!(message.contains("role \"shut\" is not permitted to log in"), "{message}");
}

#[tokio::test]
async fn the_password_file_is_named_when_its_password_is_wrong() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pass");
    let port = server.port();
    let text =
        format!("host=127.0.0.1 port={port} dbname=postgres user=postgres passfile={}", file.display());
    std::fs::write(&file, "127.0.0.1:*:*:postgres:wrong-secret\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let message = failure(&text).await;
    assert!(message.contains(&format!("(the password came from {})", file.display())), "{message}");
    std::fs::write(&file, format!("127.0.0.1:*:*:postgres:{PASSWORD}\n")).unwrap();
    open(&text).await.unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(failure(&text).await.contains("requires a password"));
}

#[tokio::test]
async fn another_host_is_tried_when_one_is_not_there_but_not_after_a_refused_login() {
    let server = Server::start();
    let (port, dead) = (server.port(), port::free());
    let login = format!("user=postgres dbname=postgres password='{PASSWORD}'");
    open(&format!("host=127.0.0.1,127.0.0.1 port={dead},{port} {login}")).await.unwrap();
    let message =
        failure(&format!("host=127.0.0.1,127.0.0.1 port={port},{dead} user=postgres password=wrong-secret"))
            .await;
    assert!(message.starts_with("wrong password"), "{message}");
    for (target, fits) in [
        ("any", true),
        ("primary", true),
        ("read-write", true),
        ("prefer-standby", true),
        ("standby", false),
        ("read-only", false),
    ] {
        let text = format!("host=127.0.0.1 port={port} {login} target_session_attrs={target}");
        assert_eq!(open(&text).await.is_ok(), fits, "{target}");
    }
    let text = format!("host=127.0.0.1 port={port} {login} target_session_attrs=standby");
    let expected = format!("server 127.0.0.1:{port} is a primary, but target_session_attrs requires standby");
    assert_eq!(failure(&text).await, expected);
}

#[tokio::test]
async fn a_session_that_breaks_off() {
    let server = Server::start();
    let database = server.database();
    let session = Session::connect(&database.url()).await.unwrap();
    let victim = session.query("SELECT pg_catalog.pg_backend_pid()", &[]).await.unwrap()[0].get::<_, i32>(0);
    database.execute(&format!("SELECT pg_catalog.pg_terminate_backend({victim}, 10000)"));
    let error = session.query("SELECT 1", &[]).await.unwrap_err();
    assert_eq!(
        chain(&error),
        format!(
            "lost the connection to server 127.0.0.1:{}: FATAL: terminating connection due to administrator command \
             (SQLSTATE 57P01)",
            server.port()
        )
    );
    // Also in the middle of a COPY.
    let session = Session::connect(&database.url()).await.unwrap();
    let victim = session.query("SELECT pg_catalog.pg_backend_pid()", &[]).await.unwrap()[0].get::<_, i32>(0);
    let rows = "COPY (SELECT g, pg_catalog.repeat('x', 1000) FROM pg_catalog.generate_series(1, 10000000) g) TO STDOUT";
    let mut copy = session.copy_out(rows).await.unwrap();
    copy.next_chunk().await.unwrap().unwrap();
    let killing = std::thread::spawn({
        let url = database.url();
        move || {
            let mut psql = std::process::Command::new(format!("{}/psql", crate::harness::installation::BIN));
            psql.args(["-X", "-d", &url, "-c", &format!("SELECT pg_catalog.pg_terminate_backend({victim})")]);
            run(&mut psql).expect_success();
        }
    });
    let error = loop {
        match copy.next_chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the COPY ended without an error"),
            Err(error) => break error,
        }
    };
    killing.join().unwrap();
    let message = chain(&error);
    assert!(message.starts_with("lost the connection to server 127.0.0.1:"), "{message}");
}

#[tokio::test]
async fn a_statement_that_fails_says_what_was_being_done() {
    let server = Server::start();
    let database = server.database();
    let session = Session::connect(&database.url()).await.unwrap();
    let setup = SessionSetup { role: Some("no such role".to_owned()), ..SessionSetup::default() };
    let error = session.set_up(&setup).await.unwrap_err();
    let expected = "changing to role \"no such role\" failed: ERROR: role \"no such role\" does not exist (SQLSTATE 22023)";
    assert_eq!(chain(&error), expected);
    let setup = SessionSetup { encoding: Some("KLINGON".to_owned()), ..SessionSetup::default() };
    let error = session.set_up(&setup).await.unwrap_err();
    // The text is pg_dump's.
    assert_eq!(chain(&error), "invalid client encoding \"KLINGON\" specified");
    let id = SnapshotId::parse("00000003-0000001B-1").unwrap();
    let error = session.begin_snapshot(Isolation::RepeatableRead, Some(&id)).await.unwrap_err();
    assert!(chain(&error).starts_with("importing snapshot 00000003-0000001B-1 failed: "), "{error}");
    session.execute("ROLLBACK").await.unwrap();
    // The commit of a failed transaction returns an error.
    session.begin_snapshot(Isolation::RepeatableRead, None).await.unwrap();
    session.execute("SELECT 1/0").await.unwrap_err();
    let error = session.commit().await.unwrap_err();
    assert!(chain(&error).starts_with("ending the dump's transaction failed: "), "{error}");
}

#[tokio::test]
async fn a_refusal_in_another_encoding_is_still_reported() {
    let server = Server::start();
    let database = server.database();
    database
        .execute("CREATE DATABASE latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0");
    let url = database.url().replace("/db0", "/latin1");
    let session = Session::connect(&url).await.unwrap();
    let state = session.set_up(&SessionSetup::default()).await.unwrap();
    assert_eq!(state.encoding, "LATIN1");
    // The name is sent as the byte E9, in the statement and in the server's response.
    let name = pg_backup::protocol::encoding::from_bytes(b"caf\xE9");
    session.execute(&format!("CREATE TABLE public.\"{name}\" (\"{name}\" text)")).await.unwrap();
    session.execute(&format!("INSERT INTO public.\"{name}\" VALUES ('{name}')")).await.unwrap();
    let error = session.execute(&format!("SELECT * FROM public.\"x{name}\"")).await.unwrap_err();
    assert!(error.to_string().contains("xcaf\u{FFFD}\" does not exist (SQLSTATE 42P01)"), "{error}");
    let mut rows = session.text_rows(&format!("SELECT \"{name}\" FROM public.\"{name}\"")).await.unwrap();
    assert_eq!(rows.next().await.unwrap().unwrap().get(0), Some(&b"caf\xE9"[..]));
    assert!(rows.next().await.unwrap().is_none());
    let length = "SELECT pg_catalog.length(relname::text) FROM pg_catalog.pg_class WHERE relname = $1";
    session.execute("SET client_encoding TO UTF8").await.unwrap();
    assert_eq!(session.query(length, &[&"café"]).await.unwrap()[0].get::<_, i32>(0), 4);
}

#[test]
fn the_program_says_it_in_one_line_and_writes_nothing() {
    let server = Server::start();
    let port = server.port();
    for (url, expected) in [
        (
            format!("postgres://postgres:wrong-secret@127.0.0.1:{port}/postgres"),
            format!(
                "pg-backup: error: connection to server at \"127.0.0.1\", port {port} failed: FATAL:  password \
                 authentication failed for user \"postgres\""
            ),
        ),
        (
            "postgres://u@no-such-host.invalid/d".to_owned(),
            "pg-backup: error: could not translate host name \"no-such-host.invalid\" to address: "
                .to_owned(),
        ),
        (
            format!("postgres://postgres@127.0.0.1:{port}/postgres?hosst=x"),
            "unknown connection option \"hosst\"".to_owned(),
        ),
    ] {
        let output = run(pg_backup().args(["dump", "-d", &url])).expect_code(1);
        assert!(output.stdout.is_empty());
        assert!(output.stderr.contains(&expected), "{}", output.stderr);
        assert!(!output.stderr.contains("wrong-secret"), "{}", output.stderr);
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "{}", output.stderr);
    }
}

/// Returns the first line of a program's messages, without its name.
fn complaint(command: &mut Command) -> String {
    let said = run(command.env("PGPASSWORD", PASSWORD)).expect_code(1).stderr;
    let line = said.lines().next().unwrap_or_default();
    line.split_once("error: ").map_or(line, |(_, text)| text).to_owned()
}

/// `dump` and `dumpall` report a failed connection as PostgreSQL's own programs do.
#[test]
fn a_failure_to_connect_begins_as_libpqs_does() {
    let server = Server::start();
    let (port, dead) = (server.port(), port::free());
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap().port();
    let socket = server.socket().display();
    let there = format!("host=127.0.0.1 port={port} user=postgres");
    let postgres_15 = |name: &str| Command::new(format!("{}/{name}", crate::harness::installation::BIN));
    for (string, is_for_dumpall) in [
        (format!("{there} dbname=qqq"), false),
        (format!("host=localhost port={port} user=postgres dbname=qqq"), false),
        (format!("host=localhost hostaddr=127.0.0.1 port={port} user=postgres dbname=qqq"), false),
        (format!("hostaddr=127.0.0.1 port={port} user=nobody dbname=postgres"), true),
        (format!("host=no-such-host.invalid hostaddr=::1 port={dead} user=u"), true),
        (format!("host={socket} port={port} user=postgres dbname=qqq"), false),
        (format!("host=127.0.0.1 port={port} user=nobody dbname=postgres"), true),
        (format!("{there} dbname=postgres sslmode=require"), true),
        (format!("{there} dbname=postgres target_session_attrs=standby"), true),
        (format!("host=127.0.0.1 port={silent} user=u connect_timeout=2"), true),
        (format!("host=127.0.0.1 port={dead} user=u"), true),
        (format!("host=::1 port={dead} user=u"), true),
        ("host=no-such-host.invalid user=u".to_owned(), true),
        ("host=/nonexistent port=5 user=u".to_owned(), true),
    ] {
        let theirs = complaint(postgres_15("pg_dump").args(["-w", "-d", &string]));
        let ours = complaint(pg_backup().args(["dump", "-w", "-d", &string]));
        assert!(ours.starts_with(&theirs) && !theirs.is_empty(), "{string}:\n{theirs}\n{ours}");
        if is_for_dumpall {
            let ours = complaint(pg_backup().args(["dumpall", "-w", "-d", &string]));
            assert!(ours.starts_with(&theirs), "{string}:\n{theirs}\n{ours}");
        }
    }
    // The hint follows on a separate line.
    let output = run(pg_backup().args(["dump", "-d", &format!("host=127.0.0.1 port={dead} user=u")]));
    assert!(
        output
            .stderr
            .contains("\nHINT: is the server running on that host and accepting TCP/IP connections?\n")
    );
}

/// pg_dumpall shows pg_dump's reason, then the name of the database.
#[test]
fn a_database_of_a_cluster_that_refuses_is_reported_as_by_pg_dumpall() {
    let server = Server::start();
    let database = server.database();
    database.execute(&format!("CREATE ROLE clerk LOGIN PASSWORD '{PASSWORD}'"));
    database.execute("CREATE DATABASE shut");
    let url = format!("host=127.0.0.1 port={} user=clerk dbname=postgres", server.port());
    let options = ["-w", "--no-role-passwords", "-d", &url];
    let postgres_15 = format!("{}/pg_dumpall", crate::harness::installation::BIN);
    for refuse in [
        "REVOKE CONNECT ON DATABASE shut FROM public",
        "GRANT CONNECT ON DATABASE shut TO public; ALTER DATABASE shut CONNECTION LIMIT 0",
    ] {
        database.execute(refuse);
        let theirs = run(Command::new(&postgres_15).args(options).env("PGPASSWORD", PASSWORD)).expect_code(1);
        assert!(theirs.stderr.contains("failed on database \"shut\", exiting"), "{}", theirs.stderr);
        let ours = run(pg_backup().arg("dumpall").args(options).env("PGPASSWORD", PASSWORD)).expect_code(1);
        let first = theirs.stderr.lines().next().unwrap().strip_prefix("pg_dump: error: ").unwrap();
        assert!(ours.stderr.starts_with(&format!("pg-backup: error: {first}")), "{first}\n{}", ours.stderr);
        assert!(ours.stderr.contains("; dump failed on database \"shut\", exiting\n"), "{}", ours.stderr);
    }
}

/// For example in LATIN1: the server compares bytes.
#[test]
fn a_password_that_is_not_utf8_logs_in() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let (server, dir) = with_hba("host all clerk all scram-sha-256");
    // In a database without an encoding, the role's password is these bytes.
    let database = server.database_with("ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    let create = b"SET client_encoding = 'SQL_ASCII'; CREATE ROLE clerk LOGIN PASSWORD 'caf\xE9';";
    database.load_bytes(create).expect_success();
    let latin1 = OsStr::from_bytes(b"caf\xE9");
    let url = format!("host=127.0.0.1 port={} user=clerk dbname={}", server.port(), database.name());
    let theirs = Command::new(format!("{}/psql", crate::harness::installation::BIN))
        .args(["-X", "-w", "-d", &url, "-c", "SELECT 1"])
        .env("PGPASSWORD", latin1)
        .output()
        .unwrap();
    assert!(theirs.status.success(), "{theirs:?}");
    run(pg_backup().args(["dump", "-w", "-d", &url]).env("PGPASSWORD", latin1)).expect_success();
    let file = dir.path().join("pass");
    std::fs::write(&file, b"127.0.0.1:*:*:clerk:caf\xE9\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    run(pg_backup().args(["dump", "-w", "-d", &format!("{url} passfile={}", file.display())]))
        .expect_success();
}

/// The driver accepts at most 100,000 iterations of SCRAM, libpq any number.
#[test]
fn a_password_with_many_iterations_logs_in() {
    let server = Server::start();
    let database = server.database();
    database.execute(
        "CREATE ROLE clerk LOGIN PASSWORD 'SCRAM-SHA-256$250000:MDEyMzQ1Njc4OWFiY2RlZg==$vMHMwQI6Je7lHfxoVy0eMPooU36hDvGvh2mC+xJsaWM=:aulDw4ttLvYJvFb0d5CMVi3jWURpEjbAq62QUjYVzSo='",
    );
    let url = format!("host=127.0.0.1 port={} user=clerk dbname={}", server.port(), database.name());
    let dump = |password: &str| run(pg_backup().args(["dump", "-w", "-d", &url]).env("PGPASSWORD", password));
    dump("secret words").expect_success();
    let refused = dump("wrong").expect_code(1).stderr;
    assert!(
        refused.contains("failed: FATAL:  password authentication failed for user \"clerk\""),
        "{refused}"
    );
}
