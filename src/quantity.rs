//! Human-readable sizes, durations and counts, for tables, messages and the status page.

use std::fmt;
use std::time::Duration;

use indicatif::HumanCount;

/// A size: `917 B`, `1.4 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        // A value that would be printed as 1024.0 of a unit is printed in the next unit.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A count: `12,345,678`.
pub fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A duration in at most two units: `45s`, `12m`, `6h 5m`, `3d 2h`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m"),
        (0, _, 0) => format!("{hours}h"),
        (0, ..) => format!("{hours}h {minutes}m"),
        (_, 0, _) => format!("{days}d"),
        _ => format!("{days}d {hours}h"),
    }
}

/// A duration to about two significant figures: `412ms`, `3.2s`, `48s`, `3m 12s`; from one hour on, the same
/// as [`human`].
pub fn stopwatch(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    // Each bound is the value that would round to the next format.
    if seconds < 0.9995 {
        return format!("{:.0}ms", seconds * 1000.0);
    }
    if seconds < 9.95 {
        return format!("{seconds:.1}s");
    }
    let whole = seconds.round() as u64;
    match (whole / 60, whole % 60) {
        (60.., _) => human(Duration::from_secs(whole)),
        (0, seconds) => format!("{seconds}s"),
        (minutes, 0) => format!("{minutes}m"),
        (minutes, seconds) => format!("{minutes}m {seconds}s"),
    }
}

/// A duration in the format of log lines: whole seconds.
#[derive(Clone, Copy)]
pub(crate) struct Seconds(pub(crate) Duration);

impl Seconds {
    /// The duration with its fraction, for log fields.
    pub(crate) fn exact(self) -> f64 {
        self.0.as_secs_f64()
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs_f64().round())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_readable() {
        let cases = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_500_000, "1.4 MiB"),
            (5 << 40, "5.0 TiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn counts_are_grouped() {
        assert_eq!((count(0), count(999), count(1_000)), ("0".into(), "999".into(), "1,000".into()));
        assert_eq!(count(12_345_678), "12,345,678");
    }

    #[test]
    fn durations_are_spoken() {
        let cases =
            [(5, "5s"), (720, "12m"), (21_600, "6h"), (21_900, "6h 5m"), (86_400, "1d"), (266_400, "3d 2h")];
        for (seconds, text) in cases {
            assert_eq!(human(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn durations_are_measured() {
        let cases = [
            (0, "0ms"),
            (412, "412ms"),
            (999, "999ms"),
            (1_000, "1.0s"),
            (3_240, "3.2s"),
            (9_949, "9.9s"),
            (9_960, "10s"),
            (59_400, "59s"),
            (59_700, "1m"),
            (192_000, "3m 12s"),
            (3_599_700, "1h"),
            (3_900_000, "1h 5m"),
        ];
        for (milliseconds, text) in cases {
            assert_eq!(stopwatch(Duration::from_millis(milliseconds)), text);
        }
    }
}
