//! One bash process that runs scripts one after another and reports the output and the exit status of each.

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Reads the directory of each script, sources the script in this process, and prints `done`. An error ends
/// the process, as in a script.
const DRIVER: &str = r#"
set -Eeuo pipefail
trap 'printf "%s\n%s\n" "$LINENO" "$BASH_COMMAND" >"$__piece/failed"' ERR
while read -r __piece __printed; do
    if [ "$__printed" = together ]; then
        . "$__piece/commands" >"$__piece/out" 2>&1 </dev/null
    else
        . "$__piece/commands" >"$__piece/out" 2>"$__piece/err" </dev/null
    fi
    echo done
done
"#;

/// How the two output streams of a script are captured.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// In one text, as on a terminal.
    Together,
    /// In two texts. Standard error is reported only when the script fails.
    Apart,
}

/// The shell. It ends when this is dropped.
pub struct Shell {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// The failure of a script, which ended the shell.
pub struct Failed {
    /// The line in the script, from 1, if bash knows it.
    pub line: Option<usize>,
    command: String,
    status: String,
    out: String,
    err: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failed { command, status, out, err, .. } = self;
        write!(f, "ended with {status}\n{command}\n--- standard output\n{out}--- standard error\n{err}")
    }
}

impl Shell {
    /// Returns a command for bash without the user's settings.
    pub fn command() -> Command {
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-c", DRIVER, "bash"]);
        command
    }

    pub fn start(mut command: Command) -> Shell {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = started.unwrap_or_else(|e| panic!("bash does not start: {e}"));
        let commands = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it was asked for"));
        Shell { child, commands, answers }
    }

    /// Runs a script. Returns its standard output, or both streams.
    pub fn run(&mut self, commands: &str, printed: Printed) -> Result<String, Failed> {
        let piece = tempfile::tempdir().expect("a temporary directory");
        fs::write(piece.path().join("commands"), commands).expect("the temporary directory is writable");
        let word = if printed == Printed::Together { "together" } else { "apart" };
        let asked = self.commands.as_mut().map(|input| writeln!(input, "{} {word}", piece.path().display()));
        let mut answer = String::new();
        if matches!(asked, Some(Ok(()))) {
            self.answers.read_line(&mut answer).expect("bash writes text");
        }
        let read = |name: &str| read(piece.path(), name);
        if answer == "done\n" {
            return Ok(read("out"));
        }
        let status = self.child.wait().expect("bash can be waited for");
        let failed = read("failed");
        let (line, command) = failed.split_once('\n').unwrap_or(("", commands));
        Err(Failed {
            line: line.parse().ok(),
            command: command.trim_end().to_owned(),
            status: status.code().map_or_else(|| status.to_string(), |code| format!("exit code {code}")),
            out: read("out"),
            err: read("err"),
        })
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        drop(self.commands.take());
        let _ = self.child.wait();
    }
}

fn read(piece: &Path, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(piece.join(name)).unwrap_or_default()).into_owned()
}
