//! The command line.

use crate::dump;
use crate::protocol::Session;
use crate::sql::DumpOptions;

/// Runs the program.
pub fn main() -> std::process::ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(_) => return std::process::ExitCode::FAILURE,
    };
    match runtime.block_on(run()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pg-backup: error: {error}: {:?}", error.source());
            std::process::ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(2).unwrap_or_default();
    let session = Session::connect(&url).await?;
    session.execute("SET search_path = ''; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let options = DumpOptions { restrict_key: "abc".to_owned(), ..DumpOptions::default() };
    dump::to_writer(&session, &options, &mut std::io::stdout().lock()).await
}
