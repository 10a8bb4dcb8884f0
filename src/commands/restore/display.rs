//! Shows the progress of a restore: bars on a terminal, otherwise a line at intervals. A restore in a pipe
//! that takes only a few seconds shows nothing.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::quantity::size;
use crate::report::printable;
use crate::restore::{ProgressSnapshot, RestoreProgress};

/// Interval between updates on a terminal.
const TICK: Duration = Duration::from_millis(100);

/// Interval between lines otherwise.
const LINE: Duration = Duration::from_secs(10);

/// Shows progress until it is stopped.
pub(super) struct Display {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Display {
    pub(super) fn start(progress: &RestoreProgress) -> Display {
        let (stop, progress) = (CancellationToken::new(), progress.clone());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            if std::io::stderr().is_terminal() {
                bar(&progress, &token).await;
            } else {
                lines(&progress, &token).await;
            }
        });
        Display { stop, task }
    }

    /// Removes the bars.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // The task only displays, so its failure is ignored.
        let _ = self.task.await;
    }
}

/// Waits for `time`; returns false if the display was stopped.
async fn tick(stop: &CancellationToken, time: Duration) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        () = tokio::time::sleep(time) => true,
    }
}

async fn bar(progress: &RestoreProgress, stop: &CancellationToken) {
    let bar = ProgressBar::no_length();
    let mut is_measured = false;
    while tick(stop, TICK).await {
        let now = progress.snapshot();
        if let Some(total) = now.total.filter(|_| !is_measured) {
            is_measured = true;
            bar.set_length(total);
            set_template(&bar, "{bar:32} {bytes}/{total_bytes} {bytes_per_sec}, {eta} left, {msg}");
        } else if !is_measured {
            set_template(&bar, "{spinner} {bytes} {bytes_per_sec}, {msg}");
        }
        bar.set_position(now.bytes);
        bar.set_message(printable(&message(&now)));
    }
    bar.finish_and_clear();
}

fn set_template(bar: &ProgressBar, template: &str) {
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
}

async fn lines(progress: &RestoreProgress, stop: &CancellationToken) {
    let began = Instant::now();
    while tick(stop, LINE).await {
        let now = progress.snapshot();
        let of = now.total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
        let line = format!("{}s: {}{of}, {}", began.elapsed().as_secs(), size(now.bytes), message(&now));
        crate::commands::output::tell(&printable(&line));
    }
}

/// Formats the progress: `1200 rows, data: public.orders, public.lines`.
fn message(now: &ProgressSnapshot) -> String {
    let mut message = format!("{} rows, {}", now.rows, now.phase);
    if !now.loading.is_empty() {
        message.push_str(": ");
        message.push_str(&now.loading.join(", "));
    }
    message
}

/// Formats what was done.
pub(super) fn done(snapshot: &ProgressSnapshot) -> String {
    let number = |number: u64, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let entries = match snapshot.entries_total {
        0 => String::new(),
        total => format!("{} of {total} entries, ", snapshot.entries),
    };
    format!(
        "{entries}{}, {} of {}",
        number(snapshot.statements, "statement"),
        number(snapshot.rows, "row"),
        number(snapshot.tables, "table")
    )
}
