//! `pg-backup version`: prints the version of the binary, and the supported servers and backup formats.

use clap::Args;
use current_platform::CURRENT_PLATFORM;
use serde::Serialize;

use super::table::{print_json, print_lines};
use crate::archive;
use crate::error::Result;
use crate::sql::dialect::DIALECTS;

/// Options of `version`.
#[derive(Args, Clone, Debug)]
pub struct VersionArgs {
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

/// The commit of the build, if the builder set it: a build does not need git, and the same sources give the
/// same binary.
const COMMIT: Option<&str> = option_env!("PG_BACKUP_COMMIT");

/// Output of `--json`.
#[derive(Debug, Serialize)]
struct About {
    name: &'static str,
    version: &'static str,
    /// `null` if the builder did not set it.
    commit: Option<&'static str>,
    /// Target triple of the build.
    target: &'static str,
    license: &'static str,
    /// Supported major versions of PostgreSQL.
    server_majors: Vec<u32>,
    archive_format_versions: Formats,
}

/// Values of `format_version`, as docs/archive-format.md defines it.
#[derive(Debug, Serialize)]
struct Formats {
    written: &'static [u32],
    read: &'static [u32],
}

impl About {
    fn this() -> Self {
        About {
            name: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            commit: COMMIT.filter(|commit| !commit.is_empty()),
            target: CURRENT_PLATFORM,
            license: env!("CARGO_PKG_LICENSE"),
            server_majors: DIALECTS.iter().map(|dialect| dialect.major).collect(),
            archive_format_versions: Formats {
                written: archive::WRITTEN_FORMAT_VERSIONS,
                read: archive::READ_FORMAT_VERSIONS,
            },
        }
    }

    fn text(&self) -> String {
        let commit = self.commit.map(|commit| format!(", from commit {commit}")).unwrap_or_default();
        let formats = &self.archive_format_versions;
        format!(
            "{} {}\nbuilt for {}{commit}\ndumps PostgreSQL {}\nbackup formats: writes {}; reads {}\nlicense {}",
            self.name,
            self.version,
            self.target,
            listed(&self.server_majors),
            listed(formats.written),
            listed(formats.read),
            self.license
        )
    }
}

fn listed(numbers: &[u32]) -> String {
    let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
    numbers.join(", ")
}

/// Prints the version.
pub fn version(args: &VersionArgs) -> Result<()> {
    let about = About::this();
    match args.json {
        true => print_json(&about),
        false => print_lines(&about.text()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commit_is_shown_if_it_is_known() {
        let about = About { commit: Some("0123abc"), target: "x86_64-unknown-linux-musl", ..About::this() };
        let first = format!("pg-backup {}\nbuilt for x86_64-unknown-linux-musl", env!("CARGO_PKG_VERSION"));
        assert!(
            about.text().starts_with(&format!("{first}, from commit 0123abc\ndumps PostgreSQL 15, 16, 17\n"))
        );
        let about = About { commit: None, ..about };
        assert!(about.text().starts_with(&format!("{first}\ndumps PostgreSQL 15, 16, 17\n")));
    }
}
