//! The format of log lines: DESIGN's text format, which operators' saved searches match, or JSON lines.
//!
//! The event's message contains the text of the sidecar's lines, and its parts are repeated in fields. The
//! text format shows `[target] message` for the sidecar's own targets and omits the fields; the JSON format
//! includes them. Control characters in quoted values are escaped for every target and format: a name cannot
//! forge a line or control a terminal.
//!
//! Standard output is written through a [`queue`], so that a blocked output does not stop the program.
//! Standard error is written directly, because the order relative to the command's own messages matters and
//! no line may be lost.

mod queue;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriter};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock;
use crate::config::{ConfigError, LogFormat, log_settings};
use crate::report::{escape_json, is_unprintable};
pub use queue::LostLines;
use queue::{LogQueue, LossNotice};

/// Target of the sidecar's own messages.
pub(crate) const ENTRYPOINT: &str = "entrypoint";
/// Target of messages about rounds and backups.
pub(crate) const BACKUP: &str = "backup";
/// Target of messages about drills.
pub(crate) const DRILL: &str = "drill";

/// Target of messages about alerts.
pub(crate) const ALERT: &str = "alert";

/// Destination of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogDestination {
    /// `serve` and `run`: the container's log.
    Stdout,
    /// The other commands, whose standard output contains their result.
    Stderr,
}

/// Maximum time without progress of an output at the end of the process; after that, the remaining lines are
/// dropped. Docker kills the container ten seconds after SIGTERM, and a round and its alerts may use nine of
/// them.
const STALL: Duration = Duration::from_millis(900);

/// The log of this process. Dropping it writes the queued lines, also during a panic, unless the output is
/// blocked.
pub(crate) struct Log {
    tail: Tail,
    queue: Option<LogQueue>,
}

impl Log {
    /// Returns the last lines of the log.
    pub(crate) fn tail(&self) -> Tail {
        self.tail.clone()
    }

    /// Returns the number of lines that were lost because standard output was blocked.
    pub(crate) fn lost_lines(&self) -> LostLines {
        self.queue.as_ref().map(LogQueue::lost_lines).unwrap_or_default()
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            // Lines that cannot be written now cannot be reported anywhere.
            let _ = queue.flush(STALL);
        }
    }
}

/// Writes to an output that may block; stops if it makes no progress.
pub(crate) fn write_unless_blocked(output: impl io::Write + Send + 'static, bytes: &[u8]) {
    if let Ok(queue) = LogQueue::start(output, |_| String::new()) {
        queue.push(bytes);
        let _ = queue.flush(STALL);
    }
}

/// Starts the log of this process. `quiet` is the level if neither `BACKUP_LOG` nor `RUST_LOG` is set. The
/// last lines are kept in the [`Tail`].
pub(crate) fn start(
    destination: LogDestination,
    quiet: Level,
    file: Option<&Path>,
) -> Result<Log, ConfigError> {
    let (format, filter) = log_settings(file)?;
    let filter = filter.or_else(|| std::env::var("RUST_LOG").ok());
    // `drill` prints the results itself.
    let drills = if destination == LogDestination::Stdout { LevelFilter::INFO } else { LevelFilter::OFF };
    let targets = filter
        .and_then(|filter| filter.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(Level::WARN).with_target("pg_backup", quiet))
        // The lines of a round are always logged, whatever the level.
        .with_targets([(ENTRYPOINT, LevelFilter::INFO), (BACKUP, LevelFilter::INFO), (DRILL, drills)])
        .with_target(ALERT, LevelFilter::INFO);
    let notice: LossNotice = match format {
        LogFormat::Text => text_notice,
        LogFormat::Json => json_notice,
    };
    let queue = match destination {
        // If the thread cannot be started, lines are written directly.
        LogDestination::Stdout => LogQueue::start(io::stdout(), notice).ok(),
        LogDestination::Stderr => None,
    };
    let writer = match (destination, queue.clone()) {
        (_, Some(queue)) => BoxMakeWriter::new(move || queue.clone()),
        (LogDestination::Stdout, None) => BoxMakeWriter::new(io::stdout),
        (LogDestination::Stderr, None) => BoxMakeWriter::new(io::stderr),
    };
    let tail = Tail::default();
    let kept = tail.clone();
    let lines = tracing_subscriber::fmt::layer()
        .event_format(TextLines { destination })
        .with_writer(move || kept.clone());
    let kept = (destination == LogDestination::Stdout).then_some(lines);
    let registry = tracing_subscriber::registry().with(targets).with(kept);
    // A second call (in tests) leaves the first subscriber in place.
    let layer = tracing_subscriber::fmt::layer();
    let _ = match format {
        LogFormat::Text => {
            registry.with(layer.event_format(TextLines { destination }).with_writer(writer)).try_init()
        }
        LogFormat::Json => {
            registry.with(layer.json().flatten_event(true).with_writer(JsonLines(writer))).try_init()
        }
    };
    if destination == LogDestination::Stdout {
        log_panics();
    }
    Ok(Log { tail, queue })
}

/// Returns the line that reports lost lines.
fn text_notice(lost: u64) -> String {
    format!("[{ENTRYPOINT}] {}\n", missing(lost))
}

fn json_notice(lost: u64) -> String {
    let notice = serde_json::json!({
        "timestamp": clock::now(),
        "level": "WARN",
        "message": missing(lost),
        "lost": lost,
        "target": ENTRYPOINT,
    });
    format!("{notice}\n")
}

fn missing(lost: u64) -> String {
    let lines = if lost == 1 { "line is" } else { "lines are" };
    format!("{lost} log {lines} missing here: standard output did not accept them in time")
}

/// Logs panics like other errors, so that they reach the log and never block.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or_default();
        tracing::error!(target: ENTRYPOINT, place, "panicked at {place}: {message}");
    }));
}

/// Maximum number of bytes kept in the tail: the minimum that healthchecks.io shows of a ping's body.
const TAIL_SIZE: usize = 10_000;

/// The last lines of the log, as text whatever the log's format. Clones share the same lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tail(Arc<Mutex<VecDeque<u8>>>);

impl Tail {
    fn lock(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes all lines.
    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Returns the last complete lines.
    pub(crate) fn text(&self) -> String {
        let bytes: Vec<u8> = self.lock().iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Tail {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.lock();
        kept.extend(bytes);
        if kept.len() > TAIL_SIZE {
            let excess = kept.len() - TAIL_SIZE;
            let rest = kept.iter().skip(excess).position(|byte| *byte == b'\n');
            // Without a later newline, the last line is longer than the limit and is cut.
            kept.drain(..rest.map_or(excess, |rest| excess + rest + 1));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `[backup] metadata: OK in 1s`. On standard error, warnings and errors have pg_dump's format.
struct TextLines {
    destination: LogDestination,
}

impl<S, N> FormatEvent<S, N> for TextLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let own = matches!(metadata.target(), ENTRYPOINT | BACKUP | DRILL | ALERT);
        let mut text = Text { message: String::new(), fields: String::new() };
        event.record(&mut text);
        let (message, fields) = (Escaped(&text.message), Escaped(&text.fields));
        if own {
            return writeln!(writer, "[{}] {message}", metadata.target());
        }
        let level = metadata.level().as_str().to_ascii_lowercase();
        if self.destination == LogDestination::Stderr && *metadata.level() <= Level::WARN {
            return writeln!(writer, "pg-backup: {level}: {message}{fields}");
        }
        writeln!(writer, "[{}] {level}: {message}{fields}", metadata.target())
    }
}

/// Text on one line. Control characters are escaped as in Rust: `\n`, `\u{1b}`.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some((at, found)) = rest.char_indices().find(|(_, c)| is_unprintable(*c)) {
            let (plain, from) = rest.split_at(at);
            write!(f, "{plain}{}", found.escape_default())?;
            rest = from.get(found.len_utf8()..).unwrap_or_default();
        }
        f.write_str(rest)
    }
}

/// Writers of JSON lines whose strings need more escaping than JSON requires.
struct JsonLines<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for JsonLines<M> {
    type Writer = JsonLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        JsonLine(self.0.make_writer())
    }
}

/// A writer that receives complete lines.
struct JsonLine<W>(W);

impl<W: io::Write> io::Write for JsonLine<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(json) => self.0.write_all(escape_json(json).as_bytes())?,
            Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Collects an event's message and its other fields.
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }
}

/// The lines that this thread logs, for tests.
#[cfg(test)]
#[derive(Clone, Default)]
pub(crate) struct Captured(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

#[cfg(test)]
impl Captured {
    /// Returns the lines captured so far and removes them.
    pub(crate) fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no writer panics"));
        String::from_utf8(bytes).expect("log lines are text").lines().map(str::to_owned).collect()
    }
}

#[cfg(test)]
impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Captures the log lines of this thread in the text format until the guard is dropped.
#[cfg(test)]
pub(crate) fn capture() -> (Captured, tracing::subscriber::DefaultGuard) {
    let captured = Captured::default();
    let writer = captured.clone();
    let lines = TextLines { destination: LogDestination::Stdout };
    let layer = tracing_subscriber::fmt::layer().event_format(lines).with_writer(move || writer.clone());
    (captured, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_a_line_quotes_forges_no_line_and_commands_no_terminal() {
        let (lines, guard) = capture();
        let name = "a\n[backup] a: OK in 1s\r\u{1b}[2J\u{9b}\u{202e}\u{2066}ü\t";
        tracing::info!(target: "tokio_postgres", "executing {name}");
        tracing::info!(target: BACKUP, "{name}: OK in 1s");
        tracing::info!(target: "driver", name = %name, "prepared");
        drop(guard);
        let escaped = r"a\n[backup] a: OK in 1s\r\u{1b}[2J\u{9b}\u{202e}\u{2066}ü\t";
        assert_eq!(
            lines.take(),
            [
                format!("[tokio_postgres] info: executing {escaped}"),
                format!("[backup] {escaped}: OK in 1s"),
                format!("[driver] info: prepared name={escaped}"),
            ]
        );
    }

    #[test]
    fn a_json_line_shows_no_control_character_either() {
        let captured = Captured::default();
        let writer = captured.clone();
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(JsonLines(move || writer.clone()));
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        let name = "a\n\u{1b}[2J\u{9b}\u{202e}\u{2066}\u{7f}ü\t";
        tracing::info!(target: BACKUP, table = name, "{name}: OK in 1s");
        drop(guard);
        let lines = captured.take();
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(line.contains(r#""table":"a\n\u001b[2J\u009b\u202e\u2066\u007fü\t""#), "{line}");
        assert!(!line.contains(is_unprintable), "{line:?}");
        let json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json["message"], format!("{name}: OK in 1s"));
    }

    #[test]
    fn the_log_says_in_its_own_format_how_many_lines_are_missing() {
        let text = "1 log line is missing here: standard output did not accept them in time";
        assert_eq!(text_notice(1), format!("[entrypoint] {text}\n"));
        let json: serde_json::Value = serde_json::from_str(&json_notice(7)).unwrap();
        assert_eq!((&json["lost"], &json["target"]), (&7.into(), &"entrypoint".into()));
        assert!(json["message"].as_str().unwrap().starts_with("7 log lines are missing here: "), "{json}");
    }

    #[test]
    fn the_tail_holds_the_last_whole_lines() {
        let tail = Tail::default();
        for number in 0..1000 {
            writeln!(tail.clone(), "line {number:04} of a log").unwrap();
        }
        let text = tail.text();
        assert!(text.len() <= TAIL_SIZE && text.len() > TAIL_SIZE - 30, "{}", text.len());
        assert!(text.starts_with("line 0") && text.ends_with("line 0999 of a log\n"), "{text}");
        tail.clear();
        assert_eq!(tail.text(), "");
        // A line that is longer than the whole tail.
        tail.clone().write_all(&[b'x'; 3 * TAIL_SIZE]).unwrap();
        assert_eq!(tail.text().len(), TAIL_SIZE);
    }
}
