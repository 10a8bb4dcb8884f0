//! A queue before an output that may block, for example a stalled log driver or a pipe that is not read.
//! Logging never waits for the output; a separate thread writes.
//!
//! A line that does not fit into the queue is dropped and counted, and the log reports the number of dropped
//! lines at that position.
//!
//! Memory: [`LIMIT`] bytes of queued lines, and the same for lines that are being written.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum size of the queued lines in bytes.
const LIMIT: usize = 1 << 20;

/// Maximum size of one write in bytes, so that progress of the output can be observed.
const PIECE: usize = 16 << 10;

/// Pause before the next write to an output that is full and non-blocking.
const PAUSE: Duration = Duration::from_millis(20);

/// Formats the line that reports the number of lost lines.
pub(super) type LossNotice = fn(lost: u64) -> String;

/// The number of lines lost since the start. Clones share the same counter.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Arc<AtomicU64>);

impl LostLines {
    /// Returns the current number.
    pub fn number(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, lines: u64) {
        self.0.fetch_add(lines, Ordering::Relaxed);
    }
}

/// A queue. Clones share the same queue.
#[derive(Clone)]
pub(super) struct LogQueue {
    shared: Arc<QueueShared>,
}

struct QueueShared {
    state: Mutex<QueueState>,
    changed: Condvar,
    notice: LossNotice,
    lost: LostLines,
}

#[derive(Default)]
struct QueueState {
    waiting: Vec<u8>,
    is_writing: bool,
    /// Number of lost lines that are not reported yet.
    lost: u64,
    /// Number of bytes that the output has accepted.
    taken: u64,
}

impl LogQueue {
    /// Starts the writer thread.
    pub(super) fn start(output: impl Write + Send + 'static, notice: LossNotice) -> io::Result<LogQueue> {
        let (state, lost) = (Mutex::default(), LostLines::default());
        let shared = Arc::new(QueueShared { state, changed: Condvar::new(), notice, lost });
        let writer = Arc::clone(&shared);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || writer.write_to(output))?;
        Ok(LogQueue { shared })
    }

    /// Returns the counter of lost lines, reported or not.
    pub(super) fn lost_lines(&self) -> LostLines {
        self.shared.lost.clone()
    }

    /// Adds complete lines to the queue.
    pub(super) fn push(&self, lines: &[u8]) {
        let mut state = self.shared.lock();
        let notice = match state.lost {
            0 => String::new(),
            lost => (self.shared.notice)(lost),
        };
        if state.waiting.len() + notice.len() + lines.len() > LIMIT {
            self.shared.lose(&mut state, newlines(lines));
            return;
        }
        if !notice.is_empty() {
            state.lost = 0;
        }
        state.waiting.extend_from_slice(notice.as_bytes());
        state.waiting.extend_from_slice(lines);
        self.shared.changed.notify_all();
    }

    /// Waits until everything is written, as long as the output makes progress within each `stall`. Returns
    /// whether everything was written.
    pub(super) fn flush(&self, stall: Duration) -> bool {
        let mut state = self.shared.lock();
        if state.lost > 0 {
            let notice = (self.shared.notice)(state.lost);
            state.lost = 0;
            state.waiting.extend_from_slice(notice.as_bytes());
            self.shared.changed.notify_all();
        }
        let (mut taken, mut since) = (state.taken, Instant::now());
        while state.is_writing || !state.waiting.is_empty() {
            if state.taken != taken {
                (taken, since) = (state.taken, Instant::now());
            }
            let left = stall.saturating_sub(since.elapsed());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl QueueShared {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, state: &mut QueueState, lines: u64) {
        state.lost += lines;
        self.lost.add(lines);
    }

    fn write_to(&self, mut output: impl Write) {
        let mut batch = Vec::new();
        loop {
            let mut state = self.lock();
            state.is_writing = false;
            self.changed.notify_all();
            while state.waiting.is_empty() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.is_writing = true;
            batch.clear();
            std::mem::swap(&mut batch, &mut state.waiting);
            drop(state);
            let missing = self.write_batch(&mut output, &batch);
            // Frees the memory of a long burst.
            batch.shrink_to(PIECE);
            self.lose(&mut self.lock(), missing);
        }
    }

    /// Writes a batch; returns the number of lines that the output refused.
    fn write_batch(&self, output: &mut impl Write, batch: &[u8]) -> u64 {
        let mut rest = batch;
        while !rest.is_empty() {
            match output.write(rest.get(..PIECE).unwrap_or(rest)) {
                Ok(0) => return newlines(rest),
                Ok(taken) => {
                    rest = rest.get(taken..).unwrap_or_default();
                    self.lock().taken += taken as u64;
                    self.changed.notify_all();
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
                Err(_) => return newlines(rest),
            }
        }
        // Bytes that stay in the output's own buffer are written with the next batch.
        let _ = output.flush();
        0
    }
}

fn newlines(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// Each event writes complete lines in one call.
impl Write for LogQueue {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines);
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An output that blocks while it is closed.
    #[derive(Clone, Default)]
    struct Valve {
        is_open: Arc<(Mutex<bool>, Condvar)>,
        taken: Arc<Mutex<Vec<u8>>>,
    }

    impl Valve {
        fn open(&self) {
            *self.is_open.0.lock().unwrap() = true;
            self.is_open.1.notify_all();
        }

        fn text(&self) -> String {
            String::from_utf8(self.taken.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Valve {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let is_open = self.is_open.0.lock().unwrap();
            drop(self.is_open.1.wait_while(is_open, |is_open| !*is_open).unwrap());
            // Accepts a part of the bytes, as a pipe does.
            let taken = bytes.len().min(1000);
            self.taken.lock().unwrap().extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn missing(lost: u64) -> String {
        format!("{lost} missing\n")
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_blocked_output_delays_nothing_and_lost_lines_are_counted_in_place() {
        let valve = Valve::default();
        let queue = LogQueue::start(valve.clone(), missing).unwrap();
        let line = |number: usize| format!("{number:099}\n");
        let total = 3 * LIMIT / 100;
        (0..total).for_each(|number| queue.push(line(number).as_bytes()));
        assert!(!queue.flush(Duration::from_millis(50)));
        valve.open();
        assert!(queue.flush(LONG));
        queue.push(b"later\n");
        assert!(queue.flush(LONG));
        let text = valve.text();
        let mut lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.pop(), Some("later"));
        let lost: usize = lines.pop().unwrap().strip_suffix(" missing").unwrap().parse().unwrap();
        assert_eq!(lines.len() + lost, total);
        assert_eq!(queue.lost_lines().number(), lost as u64);
        assert!(lost > 0 && lines.iter().enumerate().all(|(number, kept)| line(number).trim() == *kept));
    }

    #[test]
    fn a_slow_output_gets_everything_at_the_end() {
        let valve = Valve::default();
        let queue = LogQueue::start(valve.clone(), missing).unwrap();
        let text = "a line\n".repeat(100_000);
        queue.push(text.as_bytes());
        valve.open();
        assert!(queue.flush(LONG));
        assert_eq!(valve.text(), text);
    }

    #[test]
    fn an_output_that_is_gone_ends_nothing() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let queue = LogQueue::start(Gone, missing).unwrap();
        queue.push(b"one\ntwo\n");
        assert!(queue.flush(LONG) && queue.flush(LONG));
        // The notice about lost lines is lost too.
        assert!(queue.lost_lines().number() >= 2);
    }
}
