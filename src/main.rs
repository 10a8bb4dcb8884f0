//! The binary: calls `pg_backup::cli::main` and returns its exit code.

fn main() -> std::process::ExitCode {
    pg_backup::cli::main()
}
