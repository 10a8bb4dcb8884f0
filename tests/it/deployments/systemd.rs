//! docker/systemd: the units, checked with systemd's own tool, and their environment, arguments and
//! sandboxing, used by pg-backup.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::{Fixture, SECRETS, docker, text, write_secrets, yaml};
use crate::harness::program::{Output, binary, run};
use crate::harness::sidecar::{Sidecar, listening};

const SERVICE: &str = "systemd/pg-backup.service";
const PROGRAM: &str = "/usr/local/bin/pg-backup";

/// Returns the values of a setting of a unit, in order.
fn values(unit: &str, name: &str) -> Vec<String> {
    let begin = format!("{name}=");
    unit.lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
}

/// Installs the units with another path of the program, with the timer's or without.
fn installed(with_timer: bool) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| {
        let unit = text(&docker(from)).replace(PROGRAM, binary().to_str().unwrap());
        std::fs::write(dir.path().join(to), unit).unwrap();
    };
    copy(SERVICE, "pg-backup.service");
    if with_timer {
        std::fs::create_dir(dir.path().join("pg-backup.service.d")).unwrap();
        copy("systemd/timer/pg-backup.service.d/run.conf", "pg-backup.service.d/run.conf");
        copy("systemd/timer/pg-backup.timer", "pg-backup.timer");
    }
    dir
}

fn systemd_analyze(arguments: &[&str]) -> Output {
    run(Command::new("systemd-analyze").args(arguments).env("LC_ALL", "C.UTF-8"))
}

#[track_caller]
fn verify(path: &Path) -> Output {
    // The tests' machine has no manual pages.
    systemd_analyze(&["verify", "--man=no", path.to_str().unwrap()])
}

#[test]
fn systemd_takes_the_units_with_the_timer_and_without() {
    for with_timer in [false, true] {
        let dir = installed(with_timer);
        let units = ["pg-backup.service", "pg-backup.timer"];
        for unit in &units[..1 + usize::from(with_timer)] {
            let said = verify(&dir.path().join(unit)).expect_success();
            assert_eq!(said.stderr, "", "{unit}");
        }
    }
    // The check reports unknown settings.
    let dir = installed(false);
    let path = dir.path().join("pg-backup.service");
    std::fs::write(&path, text(&path).replace("ProtectSystem=strict", "ProtectSytem=strict")).unwrap();
    let said = verify(&path);
    assert!(said.stderr.contains("ProtectSytem"), "{said}");
}

#[test]
fn the_service_is_confined() {
    let dir = installed(false);
    let unit = dir.path().join("pg-backup.service");
    let unit = unit.to_str().unwrap();
    // In tenths of systemd's scale from 0 to 10. Most of the value is network access, which backups need.
    systemd_analyze(&["security", "--offline=true", "--threshold=12", "--no-pager", unit]).expect_success();
    let bare = "[Service]\nExecStart=/bin/true\n";
    std::fs::write(unit, bare).unwrap();
    systemd_analyze(&["security", "--offline=true", "--threshold=12", "--no-pager", unit]).expect_code(1);
}

/// A sidecar with the settings of the unit and the secrets of a directory.
fn sidecar(fixture: &Fixture, secrets: &Path) -> Sidecar {
    let unit = text(&docker(SERVICE));
    let file = text(&docker("systemd/pg-backup.env"));
    let lines = file.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
    let lines = lines.chain(values(&unit, "Environment"));
    let environment: BTreeMap<String, String> = lines
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            // The directory that the service gets as %d.
            (name.to_owned(), value.replace("%d", secrets.to_str().unwrap()))
        })
        .collect();
    fixture.sidecar(&environment)
}

/// Returns the arguments of the program that systemd starts.
fn arguments(unit: &str) -> Vec<String> {
    let start = values(unit, "ExecStart").pop().unwrap();
    let rest = start.strip_prefix(PROGRAM).unwrap();
    rest.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_service_serves_and_the_timer_s_makes_one_round() {
    let (fixture, secrets) = (Fixture::start(), tempfile::tempdir().unwrap());
    write_secrets(secrets.path());
    let unit = text(&docker(SERVICE));
    let credentials: BTreeSet<String> = values(&unit, "LoadCredential")
        .iter()
        .map(|line| line.split_once(':').unwrap().0.to_owned())
        .collect();
    assert_eq!(credentials, SECRETS.iter().map(|(name, _)| (*name).to_owned()).collect());
    let sidecar = sidecar(&fixture, secrets.path());
    let once = arguments(&text(&docker("systemd/timer/pg-backup.service.d/run.conf")));
    fixture.assert_round(&sidecar, &once.iter().map(String::as_str).collect::<Vec<_>>());
    let (listening, _) = listening(sidecar.clone());
    let serve = arguments(&unit);
    let mut running = listening.start(&serve.iter().map(String::as_str).collect::<Vec<_>>());
    running.wait_for("the round's end", |log| log.contains("[entrypoint] backup ok; sleeping 21600s"));
    // The service is not restarted after a rejected configuration.
    let refused = sidecar.set("BACKUP_S3_BUCKET", "CHANGE_ME").run(&["serve"]);
    let code = values(&unit, "RestartPreventExitStatus");
    assert_eq!(refused.status.code().map(|code| code.to_string()), code.first().cloned());
}

/// A hanging round without a limit would block all later ones. The limit is the CronJob's, and is shorter
/// than the interval.
#[test]
fn a_round_of_the_timer_s_that_hangs_is_ended() {
    let dir = installed(true);
    let round = text(&dir.path().join("pg-backup.service.d/run.conf"));
    assert_eq!(values(&round, "Type"), ["oneshot"]);
    let job = yaml(&docker("kubernetes/run.yaml")).remove(0);
    let limit = &job["spec"]["jobTemplate"]["spec"]["activeDeadlineSeconds"];
    assert_eq!(values(&round, "TimeoutStartSec"), [limit.to_string()]);
    assert!(limit.as_u64().unwrap() < 6 * 3600);
    // The check reports an invalid limit.
    let path = dir.path().join("pg-backup.service.d/run.conf");
    std::fs::write(path, round.replace("TimeoutStartSec=", "TimeoutStartSec=about ")).unwrap();
    let said = verify(&dir.path().join("pg-backup.service"));
    assert!(said.stderr.contains("TimeoutStartSec"), "{said}");
}

#[test]
fn the_timer_comes_every_six_hours() {
    let times = values(&text(&docker("systemd/timer/pg-backup.timer")), "OnCalendar");
    let options = ["calendar", "--iterations=4", "--base-time=2026-04-26 00:00:00 UTC"];
    let shown = systemd_analyze(&[&options[..], &[&times[0]]].concat()).expect_success().stdout_text();
    for hour in ["00", "06", "12", "18"] {
        assert!(shown.contains(&format!("2026-04-26 {hour}:15:00 UTC")), "{shown}");
    }
}

/// Returns the system calls of one of systemd's sets, including nested sets.
fn calls(set: &str) -> BTreeSet<String> {
    let shown = systemd_analyze(&["--no-pager", "syscall-filter", set]).expect_success().stdout_text();
    let mut calls = BTreeSet::new();
    for line in shown.lines().skip(1).map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        match line.starts_with('@') {
            true => calls.extend(self::calls(line)),
            false => drop(calls.insert(line.to_owned())),
        }
    }
    calls
}

/// A complete round makes no system call that the filter forbids.
#[test]
fn a_round_needs_no_call_that_the_service_may_not_make() {
    let (fixture, secrets) = (Fixture::start(), tempfile::tempdir().unwrap());
    write_secrets(secrets.path());
    let filters = values(&text(&docker(SERVICE)), "SystemCallFilter");
    let [allowed, forbidden] = &filters[..] else { panic!("{filters:?}") };
    let mut may: BTreeSet<String> = calls(allowed);
    for set in forbidden.strip_prefix('~').unwrap().split(' ') {
        may = &may - &calls(set);
    }
    assert!(may.contains("read") && !may.contains("chown") && !may.contains("mount"), "{may:?}");
    let trace = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(trace.path()).arg(binary()).arg("run");
    crate::harness::program::without_settings(&mut command);
    run(command.envs(sidecar(&fixture, secrets.path()).environment())).expect_success();
    let traced = text(trace.path());
    // Lines have the form `4711 read(3, …) = 1`, but also `4711 <... read resumed>…` and `+++ exited`.
    let made: BTreeSet<String> = traced
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    assert!(made.contains("connect") && made.contains("execve"), "{made:?}");
    let missing: BTreeSet<_> = &made - &may;
    assert!(missing.is_empty(), "{missing:?}");
    // The round maps no memory that is both writable and executable.
    let both = traced.lines().find(|line| line.contains("PROT_WRITE|PROT_EXEC"));
    assert_eq!(both, None);
}
