//! One bash process that is given commands piece by piece, and says of each what it printed and how it ended.

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Reads the directories of pieces, runs each in this very process, and says `done`. An error ends it, as it would end a script.
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

/// Where the two outputs of a piece go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Printed {
    /// Into one text, as on a terminal.
    Together,
    /// Into two; standard error is only told when the piece fails.
    Apart,
}

/// The shell. It ends when this is dropped.
pub struct Shell {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// How a piece failed, which was the shell's end.
pub struct Failed {
    /// The line of the piece, from 1, where bash knew it.
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
    /// bash, without anybody's settings.
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

    /// Runs a piece; returns what it printed on standard output, or on both.
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
