//! The machine, the programs and the time of a measurement.

use std::fs::read_to_string;
use std::process::Command;

use crate::fixture::filter;
use crate::harness::installation::BIN;
use crate::harness::program::{pg_backup, run};
use crate::store::aws;

/// Describes the machine: processors, memory, kernel.
pub fn machine() -> String {
    let value = |file: &str, name: &str| {
        let text = read_to_string(file).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
        value.unwrap_or("unknown").trim().to_owned()
    };
    let processors = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = value("/proc/meminfo", "MemTotal");
    let gib = memory.trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0 / 1024.0;
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let (kernel, _) = kernel.trim().split_once('-').unwrap_or((kernel.trim(), ""));
    format!(
        "{processors} processors ({}), {gib:.0} GiB of memory, Linux {kernel}",
        value("/proc/cpuinfo", "model name")
    )
}

/// Returns the versions of all programs.
pub fn versions() -> String {
    let said = |command: &mut Command| run(command).expect_success().stdout_text();
    let word = |text: &str, index: usize| {
        let line = text.lines().next().unwrap_or_default();
        line.split_whitespace().nth(index).unwrap_or_default().trim_matches(['v', ',']).to_owned()
    };
    let postgres = word(&said(&mut filter(&format!("{BIN}/pg_dump --version"))), 2);
    let ours = said(pg_backup().arg("--version"));
    let aws = word(&said(aws().arg("--version")), 0);
    // zstd prints "*** Zstandard CLI (64-bit) v1.5.4, by …".
    let [gzip, pigz, zstd] = [("gzip", 1), ("pigz", 1), ("zstd", 4)].map(|(program, index)| {
        format!("{program} {}", word(&said(&mut filter(&format!("{program} --version"))), index))
    });
    let aws = aws.replacen('/', " ", 1);
    format!("{}{}, PostgreSQL {postgres}, {gzip}, {pigz}, {zstd}, {aws}", ours.trim(), commit())
}

/// Returns the measured commit, if git knows it.
fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty", "--exclude=*"]);
    match git.output() {
        Ok(output) if output.status.success() => {
            format!(" (commit {})", String::from_utf8_lossy(&output.stdout).trim())
        }
        _ => String::new(),
    }
}

/// Returns the load average of the last minute.
pub fn load() -> f64 {
    let text = read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or_default()
}
