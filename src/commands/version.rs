//! `pg-backup version`: what this binary is and which servers it can dump.

use std::io::Write as _;

use clap::Args;

use crate::error::{Error, Result};

/// PostgreSQL majors whose dumps the tests have proved equal to pg_dump's.
const SERVER_MAJORS: &[u32] = &[15];

/// Options of `version`.
#[derive(Args, Clone, Debug)]
pub struct VersionArgs {
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
}

/// Prints the version.
pub fn version(args: &VersionArgs) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let text = if args.json {
        serde_json::json!({ "name": "pg-backup", "version": version, "server_majors": SERVER_MAJORS })
            .to_string()
    } else {
        let majors: Vec<String> = SERVER_MAJORS.iter().map(u32::to_string).collect();
        format!("pg-backup {version}\ndumps PostgreSQL {}", majors.join(", "))
    };
    writeln!(std::io::stdout(), "{text}")
        .map_err(|source| Error::Io { context: "cannot write to standard output".to_owned(), source })
}
