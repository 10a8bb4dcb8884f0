//! `pg-backup completions`: a script that completes verbs and options in a shell.

use clap::{Args, Command};
use clap_complete::{Shell, generate};

use super::table::print_lines;
use crate::error::Result;

/// Options of `completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// Shell that is to complete: bash, zsh, fish, elvish or powershell.
    // clap_mangen would list the values with white space that mandoc complains of.
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

/// In the script for bash, clap_complete 4.6 spells a program's name that has a hyphen in one way where it sets the
/// state and in another where it looks at it, so that nothing would be completed behind a verb
/// (<https://github.com/clap-rs/clap/issues/6421>).
fn with_one_spelling(script: &str) -> String {
    script.replace("pg__subcmd__backup__subcmd__", "pg__backup__subcmd__")
}
