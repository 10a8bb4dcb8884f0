//! A directory, and a server process in it, that end with the test, however the test ends.
//!
//! A shell in a process group of its own creates the directory or starts the server, and reads from a pipe.
//! Only the test process holds the write end of that pipe. When it closes (the owner is dropped, the test
//! panics, the process is killed with SIGKILL), the shell stops the server and removes the directory.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::ops::Deref;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// A line on the pipe means that another shell now removes the directory.
const WATCH_DIR: &str = r#"
trap : HUP INT TERM
dir=$(mktemp -d -t pgb-XXXXXXXXXX) && echo "$dir" || exit
read -r word || rm -rf "$dir"
"#;

const WATCH: &str = r#"
signal=$1 dir=$2; shift 2
trap : HUP INT TERM
exec 3<&0
"$@" </dev/null 3<&- & server=$!; echo "$server" >"$dir/pid"
{ cat <&3 >/dev/null; kill -s "$signal" "$server" 2>/dev/null; } & watch=$!
wait "$server"; echo "$?" >"$dir/exited"
wait "$watch"
rm -rf "$dir" $LITTER
"#;

/// The variable that lists other files to remove at the end, as shell patterns.
pub const LITTER: &str = "LITTER";

/// A user that servers run as.
#[derive(Clone, Copy, Debug)]
pub struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// Returns the user that PostgreSQL runs as when the tests run as root, because the server rejects root:
    /// `postgres`, or `nobody` if that user does not exist. Returns `None` if the tests do not run as root.
    pub fn unprivileged() -> Option<User> {
        static USER: OnceLock<Option<User>> = OnceLock::new();
        *USER.get_or_init(|| {
            if !is_root() {
                return None;
            }
            let passwd = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd is readable");
            let find = |name: &str| {
                passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find_map(|fields| match fields
                    .as_slice()
                {
                    [user, _, uid, gid, ..] if *user == name => {
                        Some(User { uid: uid.parse().ok()?, gid: gid.parse().ok()? })
                    }
                    _ => None,
                })
            };
            Some(find("postgres").or_else(|| find("nobody")).expect("a user postgres or nobody exists"))
        })
    }
}

/// Whether the tests run as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0
}

/// Runs `command` as `user`, if given.
pub fn run_as(command: &mut Command, user: Option<User>) -> &mut Command {
    match user {
        Some(user) => command.uid(user.uid).gid(user.gid),
        None => command,
    }
}

/// Changes the owner of a file or directory to `user`, if given.
pub fn give(path: &Path, user: Option<User>) {
    if let Some(user) = user {
        chown(path, Some(user.uid), Some(user.gid)).expect("root may give files away");
    }
}

/// A directory that is removed when this is dropped or the process dies, unless a [`Guard`] owns it by then.
pub struct Dir {
    watch: Child,
    /// The shell removes the directory when this closes.
    rope: Option<ChildStdin>,
    path: PathBuf,
}

impl Dir {
    /// Creates an empty directory that belongs to `user`.
    pub fn new(user: Option<User>) -> Dir {
        let mut command = Command::new("sh");
        command.args(["-c", WATCH_DIR]).stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let mut watch = run_as(&mut command, user).spawn().expect("sh starts");
        let rope = watch.stdin.take();
        let mut line = String::new();
        let stdout = watch.stdout.take().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut line).expect("sh writes text");
        let path = PathBuf::from(line.trim_end());
        assert!(path.is_absolute(), "no temporary directory could be made");
        Dir { watch, rope, path }
    }

    /// Releases the directory: its shell ends and does not remove it.
    fn give_up(mut self) -> PathBuf {
        if let Some(mut rope) = self.rope.take() {
            rope.write_all(b"taken over\n").expect("the shell reads");
        }
        std::mem::take(&mut self.path)
    }
}

impl Deref for Dir {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for Dir {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(self.rope.take());
        let _ = self.watch.wait();
    }
}

/// A running server and its directory. Both end when this is dropped or the process dies.
pub struct Guard {
    watch: Child,
    /// The shell stops the server when this closes.
    rope: Option<ChildStdin>,
    dir: PathBuf,
}

impl Guard {
    /// Starts `server` (a program and its arguments) under the control of a shell. `signal` stops the server.
    /// Its output goes to `dir/log`.
    pub fn start(dir: Dir, user: Option<User>, signal: &str, server: &Command) -> io::Result<Guard> {
        let log = File::create(dir.join("log"))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", WATCH, "watch", signal])
            .arg(&dir.path)
            .arg(server.get_program())
            .args(server.get_args());
        for (name, value) in server.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(&dir).stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).process_group(0);
        let mut watch = run_as(&mut command, user).spawn()?;
        let rope = watch.stdin.take();
        Ok(Guard { watch, rope, dir: dir.give_up() })
    }

    /// The server's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the server's process id. The server must be ready.
    pub fn process_id(&self) -> u32 {
        let pid = std::fs::read_to_string(self.dir.join("pid")).expect("the watch writes it at the start");
        pid.trim().parse().expect("a shell writes a process id")
    }

    /// Whether the server has exited.
    pub fn has_ended(&self) -> bool {
        self.dir.join("exited").exists()
    }

    /// Returns the server's output so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.rope.take());
        let _ = self.watch.wait();
    }
}
