//! What programs take: time, processor time and memory, for the benchmarks.
//!
//! Processor time is what the kernel counted for each process and the descendants it waited for. Memory
//! is the sum of the largest resident sizes (`VmHWM` in `/proc/PID/status`) of all processes, children
//! of children among them, read until they are gone. What wait4 calls the largest size would not do: it
//! counts from before the program replaced this one, and takes only the largest of several processes.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wait4::Wait4;

/// Between two looks at the memory. The mark only grows, so a look that comes late has missed nothing
/// but the growth of a process's last moments.
const LOOK: Duration = Duration::from_millis(10);

/// `/proc` counts processor time in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From the first start to the last end.
    pub took: Duration,
    /// User and system time of all processes together.
    pub cpu: Duration,
    /// The processes' largest resident sizes, added up, in KiB.
    pub kib: u64,
}

impl Cost {
    /// The memory in MiB.
    pub fn mib(self) -> f64 {
        self.kib as f64 / 1024.0
    }
}

/// Runs a program to its end, its output thrown away.
pub fn cost(command: &mut Command) -> Cost {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    until_ended(start, vec![(format!("{command:?}"), child.expect("it starts"))])
}

/// Runs a program that fails; returns what it says on standard error, and its memory in MiB.
pub fn cost_of_failure(command: &mut Command) -> (String, f64) {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let (pids, ended) = ([child.id()], AtomicBool::new(false));
    let mut pipe = child.stderr.take().expect("it is a pipe");
    std::thread::scope(|scope| {
        let memory = scope.spawn(|| watch_memory(&pids, &ended));
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut pipe, &mut said).expect("its words can be read");
        let status = child.wait().expect("it is our child");
        ended.store(true, Ordering::Relaxed);
        assert!(!status.success(), "it does not fail");
        let kib: u64 = memory.join().expect("the watch does not panic");
        (String::from_utf8_lossy(&said).into_owned(), kib as f64 / 1024.0)
    })
}

/// Runs programs side by side to their ends, their output thrown away.
pub fn side_by_side(commands: Vec<Command>) -> Cost {
    let start = Instant::now();
    let spawn = |mut command: Command| {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        (format!("{command:?}"), child.expect("it starts"))
    };
    until_ended(start, commands.into_iter().map(spawn).collect())
}

/// Runs programs to their ends, each reading what the one before writes; what the last writes is
/// thrown away.
pub fn pipeline(commands: Vec<Command>) -> Cost {
    let start = Instant::now();
    let mut children = Vec::new();
    let mut input = Stdio::null();
    let last = commands.len() - 1;
    // Each command is dropped when it has been started, and with it this process's end of its pipe.
    for (index, mut command) in commands.into_iter().enumerate() {
        command.stdin(input).stdout(if index == last { Stdio::null() } else { Stdio::piped() });
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        input = child.stdout.take().map_or_else(Stdio::null, Stdio::from);
        children.push((format!("{command:?}"), child));
    }
    until_ended(start, children)
}

fn until_ended(start: Instant, children: Vec<(String, Child)>) -> Cost {
    let pids: Vec<u32> = children.iter().map(|(_, child)| child.id()).collect();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let memory = scope.spawn(|| watch_memory(&pids, &ended));
        let mut cpu = Duration::ZERO;
        let mut failed = Vec::new();
        for (line, child) in children {
            let used = child.wait4().expect("it is our child");
            cpu += used.rusage.utime + used.rusage.stime;
            if !used.status.success() {
                failed.push(format!("{line}: {}", used.status));
            }
        }
        let took = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        let kib = memory.join().expect("reading /proc does not panic");
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        Cost { took, cpu, kib }
    })
}

/// The sum of the marks of these processes and of all that descend from them, in KiB.
fn watch_memory(pids: &[u32], ended: &AtomicBool) -> u64 {
    let mut marks: BTreeMap<u32, u64> = BTreeMap::new();
    while !ended.load(Ordering::Relaxed) {
        for pid in pids.iter().flat_map(|pid| family(*pid)) {
            if let Some(mark) = high_water_mark(pid) {
                marks.insert(pid, mark);
            }
        }
        std::thread::sleep(LOOK);
    }
    marks.values().sum()
}

fn high_water_mark(pid: u32) -> Option<u64> {
    let status = read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mark = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    mark.trim().strip_suffix(" kB")?.parse().ok()
}

/// A process and all that descend from it now.
fn family(pid: u32) -> Vec<u32> {
    let children = read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    std::iter::once(pid).chain(children.flat_map(family)).collect()
}

/// The processor time that a server has used so far: its own, its children's, and what ended children
/// had used.
pub fn server_cpu(pid: u32) -> Duration {
    family(pid).into_iter().filter_map(used_so_far).sum()
}

/// utime, stime, cutime and cstime are the 14th to 17th fields; the second is a name in parentheses
/// which may hold anything.
fn used_so_far(pid: u32) -> Option<Duration> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u32>().ok());
    Some(TICK * ticks.sum::<u32>())
}
