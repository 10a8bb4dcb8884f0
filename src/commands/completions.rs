//! `pg-backup completions`: prints a script that completes commands and options in a shell.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::table::print_lines;
use crate::error::Result;

/// Options of `completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// Shell for which the script is printed: bash, zsh, fish, elvish or powershell.
    // clap_mangen would list the values with white space that mandoc warns about.
    #[arg(value_name = "SHELL", hide_possible_values = true)]
    shell: Shell,
}

/// Prints the script; `command` is the definition of the whole command line.
pub fn completions(args: &CompletionsArgs, mut command: Command) -> Result<()> {
    let mut script = Vec::new();
    generate(args.shell, &mut command, env!("CARGO_PKG_NAME"), &mut script);
    let mut script = String::from_utf8_lossy(&script).into_owned();
    if args.shell == Shell::Bash {
        script = with_one_spelling(&script);
    }
    print_lines(script.trim_end())
}

/// Works around a bug of clap_complete 4.6: in the script for bash, it spells a program name with a hyphen
/// differently where it sets the state and where it reads it, so that nothing is completed after a command
/// (<https://github.com/clap-rs/clap/issues/6421>).
fn with_one_spelling(script: &str) -> String {
    script.replace("pg__subcmd__backup__subcmd__", "pg__backup__subcmd__")
}
