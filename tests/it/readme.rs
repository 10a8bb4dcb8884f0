//! README.md is accurate: its commands run unchanged, their output is as shown, and its statements about the
//! benchmarks' commands are true.

use std::process::Command;

use crate::harness::document::{Document, Fixture, Reading, repository};
use crate::harness::fidelity::compare_databases;
use crate::harness::postgres::Server;
use crate::harness::program::{run, target_dir};
use crate::harness::samples::sample;
use crate::harness::seaweed::{ADMIN, Seaweed};

/// The blocks of README.md that are not run: their section and the reason.
const NOT_RUN: &[(&str, &str)] = &[
    ("See it work", "needs Docker's daemon; tests/it/demonstration.rs runs it with podman in its place"),
    ("Development", "it is what runs this document"),
];

#[test]
fn its_commands_do_what_it_says() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    seaweed.bucket("my-backups").create(false);
    let database = server.database_named("mydb");
    database.load(&sample("chinook")).expect_success();

    let document = Document::open("README.md").unwrap();
    assert_eq!(document.not_run(), NOT_RUN);
    let prefix = tempfile::tempdir().unwrap();
    let home = std::env::var("HOME").expect("cargo and rustup have a home");
    let fixture = Fixture::in_directory(repository())
        .with_path(&prefix.path().join("bin"))
        .set("PREFIX", &prefix.path().display().to_string())
        .set("HOME", &home)
        .set("CARGO_TARGET_DIR", &target_dir().display().to_string())
        .set("DATABASE_URL", &database.url())
        .set("AWS_ACCESS_KEY_ID", ADMIN.id)
        .set("AWS_SECRET_ACCESS_KEY", ADMIN.secret)
        // The bucket is not on Amazon's servers.
        .set("BACKUP_S3_ENDPOINT", &seaweed.http())
        .set("BACKUP_S3_PATH_STYLE", "true");
    let mut reading = Reading::of(&document, fixture);

    reading.until("Use it").unwrap();
    reading.until("What is in the bucket").unwrap();
    assert_eq!(seaweed.bucket("my-backups").keys().len(), 4, "a backup, and what check writes");
    compare_databases(&database, &server.existing("mydb_copy"), &[], "README");
    for file in ["share/man/man1/pg-backup-restore.1", "share/bash-completion/completions/pg-backup"] {
        assert!(prefix.path().join(file).exists(), "{file} was not installed");
    }
    reading.finish().unwrap();
}

#[test]
fn every_figure_has_a_command_that_exists() {
    let front = rows_of_figures("README.md", "Figures");
    assert_eq!(front.len(), 5, "{front:?}");
    let rows = [front, rows_of_figures("docs/benchmarks.md", "Other figures")].concat();
    assert!(rows.len() > 10, "{rows:?}");
    for row in &rows {
        let command = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or_default().trim_matches('`');
        let target = command.strip_prefix("make ").unwrap_or_else(|| panic!("no command of make's: {row}"));
        let mut dry = Command::new("make");
        run(dry.args(["--dry-run", target]).current_dir(repository())).expect_success();
    }
}

/// Returns the rows of the table in a section of a page, without its header.
fn rows_of_figures(page: &str, section: &str) -> Vec<String> {
    let text = std::fs::read_to_string(repository().join(page)).unwrap();
    let mut sections = text.split("\n## ");
    let figures = sections.find(|text| text.starts_with(&format!("{section}\n"))).expect("there are figures");
    let rows = figures.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what "));
    rows.map(str::to_owned).collect()
}
