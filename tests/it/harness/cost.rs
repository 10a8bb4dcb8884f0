//! The resources that programs use: time, processor time and memory, for the benchmarks.
//!
//! Processor time is the kernel's count for each process and the descendants that it waited for. Memory is
//! the sum of the largest resident sizes (`VmHWM` in `/proc/PID/status`) of all processes and their
//! descendants, polled until they exit. The maximum that wait4 reports is not usable: it includes the time
//! before the program replaced this one in its process, and it is the largest of several processes, not their
//! sum.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wait4::Wait4;

/// The interval between two polls of the memory. The mark only grows, so a late poll misses only the growth
/// in a process's last moments.
const LOOK: Duration = Duration::from_millis(10);

/// `/proc` reports processor time in hundredths of a second, whatever the kernel's tick is.
const TICK: Duration = Duration::from_millis(10);

/// The resources that a run used.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The time from the first start to the last exit.
    pub took: Duration,
    /// The sum of user and system time of all processes.
    pub cpu: Duration,
    /// The sum of the processes' largest resident sizes, in KiB.
    pub kib: u64,
}

impl Cost {
    /// The memory in MiB.
    pub fn mib(self) -> f64 {
        self.kib as f64 / 1024.0
    }
}

/// Runs a program until it exits and discards its output.
pub fn cost(command: &mut Command) -> Cost {
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    until_ended(start, vec![(format!("{command:?}"), child.expect("it starts"))])
}

/// Runs a program that fails. Returns its standard error, and its memory in MiB.
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

/// Runs programs in parallel until they exit and discards their output.
pub fn side_by_side(commands: Vec<Command>) -> Cost {
    let start = Instant::now();
    let spawn = |mut command: Command| {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        (format!("{command:?}"), child.expect("it starts"))
    };
    until_ended(start, commands.into_iter().map(spawn).collect())
}

/// Runs programs in a pipeline until they exit. Each reads the output of the one before; the last output is
/// discarded.
pub fn pipeline(commands: Vec<Command>) -> Cost {
    let start = Instant::now();
    let mut children = Vec::new();
    let mut input = Stdio::null();
    let last = commands.len() - 1;
    // Each command is dropped after its start, which closes this process's end of its pipe.
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

/// Returns the sum of the marks of these processes and all their descendants, in KiB.
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

/// Returns a process and all its current descendants.
fn family(pid: u32) -> Vec<u32> {
    let children = read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    std::iter::once(pid).chain(children.flat_map(family)).collect()
}

/// Returns the processor time that a server has used so far: its own, its children's, and that of children
/// that have exited.
pub fn server_cpu(pid: u32) -> Duration {
    family(pid).into_iter().filter_map(used_so_far).sum()
}

/// Reads utime, stime, cutime and cstime, which are the fields 14 to 17. Field 2 is a name in parentheses
/// that can contain any character.
fn used_so_far(pid: u32) -> Option<Duration> {
    let stat = read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u32>().ok());
    Some(TICK * ticks.sum::<u32>())
}
