//! `pg-backup check`: checks whether the next round and drill would succeed. Exit code 2 if one would fail.

use clap::Args;
use serde::Serialize;

use super::stores::replica;
use super::table::{print_json, print_lines, print_table, table};
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose};
use crate::error::{Error, Result};
use crate::sidecar::check::{self, BackupStores, Finding, Level};

/// Options of `check`.
#[derive(Args, Clone, Debug)]
pub struct CheckArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Send a test message over every alert channel.
    #[arg(long)]
    send_test: bool,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

/// Output of `--json`.
#[derive(Debug, Serialize)]
struct CheckOutput<'a> {
    ok: bool,
    findings: &'a [Finding],
}

/// Checks the whole configuration.
pub async fn check(args: &CheckArgs) -> Result<()> {
    let config = Config::load(Purpose::Backup, args.config.path.as_deref())?;
    let places = BackupStores { store: config.store.open().await?, replica: replica(&config).await? };
    let findings = check::check(&config, &places, args.send_test).await;
    let verdict = verdict(&findings);
    if args.json {
        print_json(&CheckOutput { ok: verdict.is_ok(), findings: &findings })?;
    } else {
        print_table(&shown(&findings))?;
        let hints = hints(&findings);
        if !hints.is_empty() {
            print_lines(&format!("\n{}", hints.join("\n")))?;
        }
    }
    verdict
}

fn shown(findings: &[Finding]) -> comfy_table::Table {
    let mut table = table(&["SUBJECT", "RESULT", "FINDING"]);
    for finding in findings {
        table.add_row([finding.subject.clone(), finding.level.to_string(), finding.what.clone()]);
    }
    table
}

/// Returns the hints. They are printed below the table, because they would make its lines too long.
fn hints(findings: &[Finding]) -> Vec<String> {
    let hint = |finding: &Finding| {
        let hint = finding.hint.as_ref()?;
        Some(format!("{}: {}\nHINT: {hint}", finding.subject, finding.what))
    };
    findings.iter().filter(|finding| finding.level > Level::Ok).filter_map(hint).collect()
}

fn verdict(findings: &[Finding]) -> Result<()> {
    match findings.iter().filter(|finding| finding.level == Level::Error).count() {
        0 => Ok(()),
        1 => Err(Error::usage("1 error would make a backup or a drill fail")),
        errors => Err(Error::usage(format!("{errors} errors would make backups or drills fail"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit_code::ExitCode;

    fn finding(level: Level, hint: Option<&str>) -> Finding {
        let (subject, what) = ("metadata".to_owned(), "what was seen".to_owned());
        Finding { subject, level, what, hint: hint.map(str::to_owned) }
    }

    #[test]
    fn an_error_exits_2_and_a_warning_does_not() {
        let good = [finding(Level::Ok, None), finding(Level::Warning, Some("do this"))];
        assert!(verdict(&good).is_ok());
        assert_eq!(hints(&good), ["metadata: what was seen\nHINT: do this"]);
        let bad = verdict(&[finding(Level::Error, None)]).unwrap_err();
        assert_eq!(bad.exit_code(), ExitCode::Usage);
        let text = shown(&good).trim_fmt();
        assert_eq!(text.lines().nth(2).unwrap(), "metadata  warning  what was seen");
    }
}
