//! The sidecar's state in the text exposition format of Prometheus, version 0.0.4.

use jiff::Timestamp;
use prometheus::{Encoder as _, GaugeVec, IntCounterVec, Opts, Registry, TextEncoder};

use super::freshness::allowed_age;
use super::state::{FailureStage, StateSnapshot};

/// Media type of the text of [`render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Registering a metric fails only for its name or labels, which are constants here.
type Result<T> = std::result::Result<T, prometheus::Error>;

/// Renders all metrics.
pub fn render(snapshot: &StateSnapshot) -> Result<Vec<u8>> {
    let families = Families::new()?;
    for (database, history) in &snapshot.databases {
        let set = |family: &GaugeVec, value: f64| family.with_label_values(&[database]).set(value);
        if let Some(moment) = history.last_success {
            set(&families.last_success, seconds(moment));
        }
        if let Some(last) = history.attempts.back() {
            set(&families.last_duration, last.duration.as_secs_f64());
        }
        set(&families.failing, flag(history.attempts.back().is_some_and(|last| last.outcome.is_err())));
        if let Some(saved) = history.last_saved {
            set(&families.last_size, saved.size as f64);
            set(&families.last_raw, saved.raw_size as f64);
            set(&families.rows, saved.rows as f64);
        }
        set(&families.in_progress, flag(history.in_progress.is_some()));
        families.bytes.with_label_values(&[database]).inc_by(history.bytes_total);
        families.blocked.with_label_values(&[database]).inc_by(history.blocked_sessions);
        for stage in FailureStage::ALL {
            let number = history.failures.get(&stage).copied().unwrap_or_default();
            families.failures.with_label_values(&[database.as_str(), stage.as_str()]).inc_by(number);
            let number = history.retries.get(&stage).copied().unwrap_or_default();
            families.retries.with_label_values(&[database.as_str(), stage.as_str()]).inc_by(number);
        }
        if let Some(replica) = &history.replica {
            if let Some(moment) = replica.last_success {
                set(&families.replica_success, seconds(moment));
            }
            families.replica_failures.with_label_values(&[database]).inc_by(replica.failures);
        }
        if let Some(interval) = snapshot.drill_interval.filter(|_| !history.is_globals) {
            set(&families.drill_overdue_after, allowed_age(interval).as_secs_f64());
        }
        if let Some(moment) = history.last_good_drill {
            set(&families.drill_success, seconds(moment));
        }
        if let Some(drill) = &history.drill {
            set(&families.drill_failing, flag(drill.verdict.is_some()));
        }
        for (phase, duration) in history.drill.iter().flat_map(|drill| &drill.phases) {
            families.drill_duration.with_label_values(&[database.as_str(), phase.as_str()]).set(*duration);
        }
    }
    for (channel, (delivered, failed)) in &snapshot.channels {
        families.alerts.with_label_values(&[channel]).inc_by(*delivered);
        families.alert_failures.with_label_values(&[channel]).inc_by(*failed);
    }
    if let Some(moment) = snapshot.next_run {
        families.next_run.with_label_values::<&str>(&[]).set(seconds(moment));
    }
    families.overdue_after.with_label_values::<&str>(&[]).set(allowed_age(snapshot.interval).as_secs_f64());
    if let Some(moment) = snapshot.started {
        families.started.with_label_values::<&str>(&[]).set(seconds(moment));
    }
    families.lost_lines.with_label_values::<&str>(&[]).inc_by(snapshot.lost_lines.number());
    families.build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    let mut text = Vec::new();
    TextEncoder::new().encode(&families.registry.gather(), &mut text)?;
    Ok(text)
}

fn seconds(moment: Timestamp) -> f64 {
    moment.as_duration().as_secs_f64()
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// All metric families, created for each response: only the sidecar's state is kept.
struct Families {
    registry: Registry,
    last_success: GaugeVec,
    last_duration: GaugeVec,
    last_size: GaugeVec,
    last_raw: GaugeVec,
    rows: GaugeVec,
    failing: GaugeVec,
    failures: IntCounterVec,
    retries: IntCounterVec,
    blocked: IntCounterVec,
    in_progress: GaugeVec,
    bytes: IntCounterVec,
    next_run: GaugeVec,
    overdue_after: GaugeVec,
    replica_success: GaugeVec,
    replica_failures: IntCounterVec,
    drill_overdue_after: GaugeVec,
    drill_success: GaugeVec,
    drill_failing: GaugeVec,
    drill_duration: GaugeVec,
    alerts: IntCounterVec,
    alert_failures: IntCounterVec,
    lost_lines: IntCounterVec,
    started: GaugeVec,
    build: GaugeVec,
}

impl Families {
    fn new() -> Result<Families> {
        let registry = Registry::new();
        let register = |opts: Opts, labels: &[&str]| {
            let family = GaugeVec::new(opts, labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let own = |name: &str, help: &str| Opts::new(name, help).namespace("pg_backup");
        let gauge = |name: &str, help: &str, labels: &[&str]| register(own(name, help), labels);
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let family = IntCounterVec::new(own(name, help), labels)?;
            registry.register(Box::new(family.clone()))?;
            Ok::<_, prometheus::Error>(family)
        };
        let database = &["database"];
        let channel = &["channel"];
        Ok(Families {
            last_success: gauge(
                "last_success_timestamp_seconds",
                "Start time of the last successful dump.",
                database,
            )?,
            last_duration: gauge("last_duration_seconds", "Duration of the last attempt.", database)?,
            last_size: gauge("last_size_bytes", "Size of the last successful dump.", database)?,
            last_raw: gauge("last_raw_bytes", "Size of the SQL of the last successful dump.", database)?,
            rows: gauge("rows", "Rows of all tables in the last successful dump.", database)?,
            failing: gauge("failing", "Whether the last attempt failed.", database)?,
            failures: counter(
                "failures_total",
                "Failed attempts since start, by the stage that failed.",
                &["database", "stage"],
            )?,
            retries: counter(
                "retries_total",
                "Failed attempts since start that were retried in the same round.",
                &["database", "stage"],
            )?,
            blocked: counter(
                "blocked_sessions_total",
                "Sessions that waited too long for the locks of a dump since start.",
                database,
            )?,
            in_progress: gauge("in_progress", "Whether an attempt is in progress.", database)?,
            bytes: counter("bytes_total", "Bytes of all successful dumps since start.", database)?,
            next_run: gauge("next_run_timestamp_seconds", "Start time of the next round.", &[])?,
            overdue_after: gauge(
                "overdue_after_seconds",
                "The age beyond which the newest backup of a database is overdue.",
                &[],
            )?,
            replica_success: gauge(
                "replica_last_success_timestamp_seconds",
                "Start time of the last dump that was copied to the replica.",
                database,
            )?,
            replica_failures: counter(
                "replica_failures_total",
                "Backups that could not be copied to the replica since start.",
                database,
            )?,
            drill_overdue_after: gauge(
                "drill_overdue_after_seconds",
                "The time without a successful drill beyond which one is overdue.",
                database,
            )?,
            drill_success: gauge(
                "drill_last_success_timestamp_seconds",
                "End time of the last successful drill.",
                database,
            )?,
            drill_failing: gauge(
                "drill_failing",
                "Whether the last drill found a difference or could not run.",
                database,
            )?,
            drill_duration: gauge(
                "drill_duration_seconds",
                "Duration of each phase of the last drill.",
                &["database", "phase"],
            )?,
            alerts: counter(
                "alerts_total",
                "Messages that an alert channel delivered since start.",
                channel,
            )?,
            alert_failures: counter(
                "alert_failures_total",
                "Messages that an alert channel did not deliver since start.",
                channel,
            )?,
            lost_lines: counter(
                "log_lines_lost_total",
                "Log lines lost since start because standard output did not accept them in time.",
                &[],
            )?,
            // The conventional name in Prometheus clients.
            started: register(
                Opts::new("process_start_time_seconds", "Start time of the sidecar, in seconds since 1970."),
                &[],
            )?,
            build: gauge("build_info", "The version of pg-backup.", &["version"])?,
            registry,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::log::LostLines;
    use crate::sidecar::state::{BackupStats, Drill, Failure, SidecarState};

    #[test]
    fn every_metric_is_there_with_its_labels() {
        let before = Timestamp::now();
        let names = ["metadata", "web\"site", "globals"].map(str::to_owned);
        let state = SidecarState::of(names, Duration::from_secs(60));
        state.holds_globals("globals");
        let moment = Timestamp::from_second(1_777_000_000).unwrap();
        state.begin("metadata", moment);
        state.end(
            "metadata",
            Duration::from_millis(1500),
            Ok(BackupStats { size: 10, raw_size: 100, rows: 5 }),
        );
        state.replicated("metadata", moment, Ok(()));
        state.replicated("metadata", moment, Err("gone".to_owned()));
        state.begin("web\"site", moment);
        let failure = Failure { stage: FailureStage::Connect, cause: "x".to_owned(), hints: Vec::new() };
        state.end("web\"site", Duration::from_secs(1), Err(failure));
        state.begin("web\"site", moment);
        let phases = vec![("data".to_owned(), 0.25)];
        state.drilled("metadata", Drill { ended: moment, restored_in: None, phases, verdict: None });
        let verdict = Some("a row is missing".to_owned());
        let phases = Vec::new();
        state.drilled("web\"site", Drill { ended: moment, restored_in: None, phases, verdict });
        state.plan(moment);
        let lost = LostLines::default();
        state.counts_lost_lines(lost.clone());
        lost.add(7);
        state.has_channel("slack");
        state.count_message("smtp", true);
        state.count_message("smtp", true);
        state.count_message("smtp", false);
        let unscheduled = String::from_utf8(render(&state.read()).unwrap()).unwrap();
        assert!(!unscheduled.contains("pg_backup_drill_overdue_after_seconds"), "{unscheduled}");
        state.schedule_drills(Duration::from_secs(604_800));
        let text = String::from_utf8(render(&state.read()).unwrap()).unwrap();
        for line in [
            "# TYPE pg_backup_last_success_timestamp_seconds gauge",
            "pg_backup_last_success_timestamp_seconds{database=\"metadata\"} 1777000000",
            "pg_backup_last_duration_seconds{database=\"metadata\"} 1.5",
            "pg_backup_last_size_bytes{database=\"metadata\"} 10",
            "pg_backup_last_raw_bytes{database=\"metadata\"} 100",
            "pg_backup_rows{database=\"metadata\"} 5",
            "# TYPE pg_backup_failures_total counter",
            "pg_backup_failures_total{database=\"web\\\"site\",stage=\"connect\"} 1",
            "pg_backup_failures_total{database=\"web\\\"site\",stage=\"store\"} 0",
            "pg_backup_in_progress{database=\"metadata\"} 0",
            "pg_backup_in_progress{database=\"web\\\"site\"} 1",
            "pg_backup_bytes_total{database=\"metadata\"} 10",
            "pg_backup_next_run_timestamp_seconds 1777000000",
            "pg_backup_overdue_after_seconds 90",
            "pg_backup_failing{database=\"metadata\"} 0",
            "pg_backup_failing{database=\"web\\\"site\"} 1",
            "pg_backup_drill_failing{database=\"metadata\"} 0",
            "pg_backup_drill_failing{database=\"web\\\"site\"} 1",
            "pg_backup_replica_last_success_timestamp_seconds{database=\"metadata\"} 1777000000",
            "# TYPE pg_backup_replica_failures_total counter",
            "pg_backup_replica_failures_total{database=\"metadata\"} 1",
            "pg_backup_drill_last_success_timestamp_seconds{database=\"metadata\"} 1777000000",
            "pg_backup_drill_overdue_after_seconds{database=\"metadata\"} 907200",
            "# TYPE pg_backup_alerts_total counter",
            "pg_backup_alerts_total{channel=\"smtp\"} 2",
            "pg_backup_alert_failures_total{channel=\"smtp\"} 1",
            "pg_backup_alert_failures_total{channel=\"slack\"} 0",
            "# TYPE pg_backup_log_lines_lost_total counter",
            "pg_backup_log_lines_lost_total 7",
            "pg_backup_drill_duration_seconds{database=\"metadata\",phase=\"data\"} 0.25",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        // Roles and tablespaces are never drilled.
        assert!(!text.contains("pg_backup_drill_overdue_after_seconds{database=\"globals\"}"), "{text}");
        let started = text.lines().find_map(|line| line.strip_prefix("process_start_time_seconds "));
        let started: f64 = started.unwrap().parse().unwrap();
        assert!((seconds(before)..=seconds(Timestamp::now())).contains(&started), "{started}");
        assert!(
            text.contains(&format!("pg_backup_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")))
        );
    }
}
