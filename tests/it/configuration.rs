//! Errors in the configuration are reported before anything starts, with the variable's name.

use crate::harness::postgres::{PASSWORD, Server};
use crate::harness::sidecar::Sidecar;

fn complete() -> Sidecar {
    Sidecar::with_directory(std::path::Path::new("/nonexistent")).database_at(
        "main",
        "postgres://postgres@127.0.0.1:1/main",
        "secret-password",
    )
}

/// Both subcommands fail with exit code 2, one error line and the variable's name, and show no secret.
#[track_caller]
fn refused(sidecar: &Sidecar, variable: &str, problem: &str) {
    for verb in ["run", "serve"] {
        let output = sidecar.run(&[verb]).expect_code(2);
        assert_eq!(output.stdout, b"", "{output}");
        let errors: Vec<&str> = output.stderr.lines().filter(|line| !line.starts_with("HINT: ")).collect();
        assert!(
            matches!(errors[..], [line] if line.contains(variable) && line.contains(problem)),
            "{output}"
        );
        assert!(!output.stderr.contains("secret-"), "{output}");
    }
}

#[test]
fn a_missing_value_is_named() {
    refused(&complete().without("BACKUP_MAIN_URL"), "BACKUP_MAIN_URL", "");
    let none =
        complete().without("BACKUP_MAIN_URL").without("BACKUP_MAIN_PASSWORD").without("BACKUP_DATABASES");
    refused(&none, "BACKUP_DATABASES", "");
    refused(&complete().without("BACKUP_STORE"), "BACKUP_S3_BUCKET", "");
    let half = complete().without("BACKUP_STORE").set("BACKUP_S3_BUCKET", "b");
    refused(&half.set("BACKUP_AWS_ACCESS_KEY_ID", "id"), "BACKUP_AWS_SECRET_ACCESS_KEY", "");
}

#[test]
fn a_value_left_at_change_me_is_named() {
    refused(&complete().set("BACKUP_MAIN_PASSWORD", "CHANGE_ME"), "BACKUP_MAIN_PASSWORD", "CHANGE_ME");
    let s3 = complete().without("BACKUP_STORE");
    refused(&s3.set("BACKUP_S3_BUCKET", "CHANGE_ME"), "BACKUP_S3_BUCKET", "CHANGE_ME");
}

#[test]
fn an_unknown_name_is_named_and_kubernetes_names_are_not() {
    refused(&complete().set("BACKUP_INTERVALL_SECONDS", "5"), "BACKUP_INTERVALL_SECONDS", "");
    // Kubernetes injects these variables for a service called `backup`, so they are not errors. The error is
    // about the other variable.
    let injected = complete()
        .set("BACKUP_SERVICE_HOST", "10.0.0.1")
        .set("BACKUP_SERVICE_PORT", "9899")
        .set("BACKUP_PORT", "tcp://10.0.0.1:9899")
        .set("BACKUP_PORT_9899_TCP_ADDR", "10.0.0.1");
    refused(&injected.set("BACKUP_JOBS", "many"), "BACKUP_JOBS", "many");
}

#[test]
fn a_malformed_value_is_named() {
    for (variable, value) in [
        ("BACKUP_INTERVAL_SECONDS", "often"),
        ("BACKUP_INTERVAL_SECONDS", "0"),
        ("BACKUP_COMPRESSION", "rar"),
        ("BACKUP_JOBS", "0"),
        ("BACKUP_LOG_FORMAT", "xml"),
        ("BACKUP_HTTP_LISTEN", "everywhere"),
        ("BACKUP_STORE", "ftp://host/dir"),
    ] {
        refused(&complete().set(variable, value), variable, value);
    }
    refused(&complete().set("BACKUP_MAIN_URL", "mysql://secret-host/x"), "BACKUP_MAIN_URL", "");
}

#[test]
fn the_effective_configuration_shows_where_values_come_from() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "BACKUP_JOBS = 3\nBACKUP_RETRIES = 1\n").unwrap();
    let path = file.path().to_str().unwrap();
    let sidecar = complete().set("BACKUP_RETRIES", "2").set("BACKUP_CONFIG", path);
    let shown = sidecar.run(&["config"]).expect_success().stdout_text();
    let line = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("BACKUP_JOBS"), format!("3 {path}"));
    assert_eq!(line("BACKUP_RETRIES"), "2 environment");
    assert_eq!(line("BACKUP_RETRY_WAIT"), "5s default");
    assert_eq!(line("BACKUP_MAIN_URL"), "postgres://postgres@127.0.0.1:1/main environment");
    assert_eq!(line("BACKUP_MAIN_PASSWORD"), "*** environment");
    // The list needs no settings, so it can be read when they are refused.
    let wrong = sidecar.set("BACKUP_LOG", "loud").set("BACKUP_RETRIES", "many");
    let refused = wrong.run(&["config"]).expect_code(2);
    assert!(refused.stdout.is_empty() && refused.stderr.contains("BACKUP_"), "{refused}");
    assert!(wrong.run(&["config", "--list"]).expect_success().stdout_text().contains("BACKUP_<NAME>_URL"));
}

#[test]
fn any_name_may_be_given_as_a_file() {
    let server = Server::start();
    let database = server.database();
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    // One trailing newline comes from an editor and is not part of the password.
    std::fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let sidecar = Sidecar::with_directory(&dir.path().join("store"))
        .database("main", &database)
        .without("BACKUP_MAIN_PASSWORD")
        .set("BACKUP_MAIN_PASSWORD_FILE", &password.display().to_string());
    std::fs::create_dir(dir.path().join("store")).unwrap();
    sidecar.run(&["run"]).expect_success();
    let twice = sidecar.clone().set("BACKUP_MAIN_PASSWORD", "secret-password");
    refused(&twice, "BACKUP_MAIN_PASSWORD", "");
    let gone = sidecar.set("BACKUP_MAIN_PASSWORD_FILE", "/nonexistent/password");
    refused(&gone, "BACKUP_MAIN_PASSWORD_FILE", "/nonexistent/password");
}
