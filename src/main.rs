//! The binary: parse, start tracing, map the result to an exit code; nothing else.

fn main() -> std::process::ExitCode {
    pg_backup::cli::main()
}
