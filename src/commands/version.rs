//! `pg-backup version`: what this binary is and which servers it can dump.

use std::io::Write as _;

use clap::Args;

use crate::error::{Error, Result};
use crate::protocol::version::SUPPORTED;

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
    let majors: Vec<u32> = SUPPORTED.iter().map(|server| server.major_number()).collect();
    let text = if args.json {
        serde_json::json!({ "name": "pg-backup", "version": version, "server_majors": majors }).to_string()
    } else {
        let majors: Vec<String> = majors.iter().map(u32::to_string).collect();
        format!("pg-backup {version}\ndumps PostgreSQL {}", majors.join(", "))
    };
    writeln!(std::io::stdout(), "{text}")
        .map_err(|source| Error::Io { context: "cannot write to standard output".to_owned(), source })
}
