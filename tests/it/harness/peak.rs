//! What a program takes: its largest resident size and its time, for the benchmarks.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a run took.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// The largest resident size in KiB: what `/proc/PID/status` calls VmHWM.
    pub kib: u64,
    /// From start to end.
    pub took: Duration,
}

impl Peak {
    /// The largest resident size in MiB.
    pub fn mib(self) -> f64 {
        self.kib as f64 / 1024.0
    }
}

/// Runs a program to its end, its output thrown away.
pub fn peak(command: &mut Command) -> Peak {
    let start = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("it starts");
    let status = format!("/proc/{}/status", child.id());
    let mut kib = 0;
    let ended = loop {
        // The high-water mark only grows, so a read that comes late has missed nothing before it.
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        kib = mark.and_then(|mark| mark.parse().ok()).unwrap_or(kib);
        if let Some(ended) = child.try_wait().expect("it is our child") {
            break ended;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(ended.success(), "{command:?}: {ended}");
    Peak { kib, took: start.elapsed() }
}
