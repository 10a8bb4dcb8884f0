//! The rules and the dashboard use only metrics and labels that a running sidecar prints.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{docker, grafana, prometheus};
use crate::harness::bucket::environment;
use crate::harness::http::get;
use crate::harness::postgres::Server;
use crate::harness::seaweed::{ADMIN, FAR_BUCKET, FAR_PREFIX, FAR_WRITER, Seaweed};
use crate::harness::sidecar::{Sidecar, listening};
use crate::harness::sink::Sink;
use crate::health::assert_clean;

/// Labels that Prometheus adds, by default and in Kubernetes.
const ADDED: [&str; 6] = ["job", "instance", "namespace", "pod", "container", "endpoint"];

/// A metric that every Prometheus client prints, without the program's prefix.
const OF_ANY_PROCESS: &str = "process_start_time_seconds";

/// Metrics with their labels.
type Metrics = BTreeMap<String, BTreeSet<String>>;

/// Returns the metrics of an exposition, and the labels of each.
fn printed(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split(',').filter_map(|label| label.split_once('='));
        metrics.entry(name.to_owned()).or_default().extend(labels.map(|(label, _)| label.to_owned()));
    }
    metrics
}

/// Returns the metrics of a sidecar with every feature: a replica, drills, alerts that arrive and alerts that
/// fail.
fn everything(server: &Server, sandbox: &Server, seaweed: &Seaweed, sink: &Sink) -> String {
    seaweed.bucket(FAR_BUCKET).create(false);
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT 1 AS x");
    let place = (FAR_BUCKET, FAR_PREFIX);
    let replica = environment("BACKUP_REPLICA_", &seaweed.http(), place, (FAR_WRITER.id, FAR_WRITER.secret));
    let sidecar = Sidecar::with_store(seaweed.environment(ADMIN))
        .database("main", &database)
        .database_at("bad", &database.url_without_password(), "another password")
        .set("BACKUP_INTERVAL_SECONDS", "2")
        .set("BACKUP_DRILL_SCHEDULE", "@every 1s")
        .set("BACKUP_DRILL_URL", &sandbox.existing("postgres").url())
        .set("BACKUP_ALERT_WEBHOOK_URL", &sink.url("/hook"));
    let sidecar = replica.iter().fold(sidecar, |sidecar, (name, value)| sidecar.set(name, value));
    let (sidecar, port) = listening(sidecar);
    let mut serve = sidecar.start(&["serve"]);
    serve.wait_for("a drill", |log| log.contains("[drill] main: OK in"));
    // The time of the next round is shown only between two rounds.
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let metrics = get(port, "/metrics").1;
        if metrics.contains("pg_backup_next_run_timestamp_seconds ")
            && metrics.contains("pg_backup_drill_failing{")
        {
            return metrics;
        }
        assert!(Instant::now() < deadline, "{metrics}\n{}", serve.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Splits an expression into words and single other characters. Quoted texts are omitted.
fn pieces(expression: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut in_word = false;
    let mut quoted = false;
    for character in expression.chars() {
        let is_of_word = character.is_ascii_alphanumeric() || "_$.".contains(character);
        match character {
            '"' => quoted = !quoted,
            _ if quoted || character.is_whitespace() => {}
            _ if is_of_word && in_word => pieces.last_mut().unwrap().push(character),
            _ => pieces.push(character.to_string()),
        }
        in_word = is_of_word && !quoted;
    }
    pieces
}

/// Returns the metrics of an expression with the labels that it matches, and the labels that it groups or
/// joins by.
fn asked(expression: &str) -> (Metrics, BTreeSet<String>) {
    let pieces = pieces(expression);
    let (mut metrics, mut grouping) = (Metrics::new(), BTreeSet::new());
    for (at, piece) in pieces.iter().enumerate() {
        let inside = |open: &str, close: &str| -> Vec<&String> {
            let rest = pieces[at + 1..].iter();
            if pieces.get(at + 1).is_none_or(|next| next != open) {
                return Vec::new();
            }
            rest.skip(1).take_while(|piece| *piece != close).collect()
        };
        if piece.starts_with("pg_backup_") || piece == OF_ANY_PROCESS {
            // A label is the first piece, and the one after each comma.
            let inside = inside("{", "}");
            let labels = inside.split(|piece| *piece == ",").filter_map(|matcher| matcher.first());
            metrics.entry(piece.clone()).or_default().extend(labels.map(|label| (*label).clone()));
        } else if ["by", "without", "on", "ignoring", "group_left", "group_right"].contains(&piece.as_str()) {
            grouping.extend(inside("(", ")").into_iter().filter(|piece| *piece != ",").cloned());
        }
    }
    (metrics, grouping)
}

/// Returns the labels in a text: `{{ $labels.database }}`, or Grafana's `{{database}}`.
fn shown(text: &str) -> BTreeSet<String> {
    let inside = text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
    inside
        .flat_map(|(inside, _)| pieces(inside))
        .filter_map(|piece| match piece.strip_prefix("$labels.") {
            Some(label) => Some(label.to_owned()),
            None => (!piece.starts_with('$') && piece.len() > 2).then_some(piece),
        })
        .filter(|piece| !["or", "humanize", "humanizeDuration", "|"].contains(&piece.as_str()))
        .collect()
}

/// Checks that a sidecar prints every metric and label of an expression, and every label that the texts show
/// of its result.
#[track_caller]
fn assert_printed(expression: &str, texts: &[&str], printed: &Metrics) {
    let (metrics, mut used) = asked(expression);
    let of_prometheus = expression.contains("up{");
    assert!(!metrics.is_empty() || of_prometheus, "no metric in {expression}");
    let mut there: BTreeSet<String> = ADDED.map(str::to_owned).into();
    for (metric, labels) in &metrics {
        let known = printed.get(metric).unwrap_or_else(|| panic!("no sidecar prints {metric}: {expression}"));
        for label in labels {
            let known = known.contains(label) || ADDED.contains(&label.as_str());
            assert!(known, "{metric} has no label {label}: {expression}");
        }
        there.extend(known.iter().cloned());
    }
    texts.iter().for_each(|text| used.extend(shown(text)));
    for label in &used {
        assert!(there.contains(label), "nothing in {expression} has the label {label}: {texts:?}");
    }
}

#[test]
fn the_rules_and_the_dashboard_ask_for_what_a_sidecar_prints() {
    let (server, sandbox, seaweed, sink) =
        (Server::start(), Server::start(), Seaweed::start(), Sink::start());
    let text = everything(&server, &sandbox, &seaweed, &sink);
    assert_clean(&text);
    let printed = printed(&text);

    let mut used = BTreeSet::new();
    for rule in prometheus::rules(&docker("prometheus/rules.yml")) {
        let expression = rule["expr"].as_str().unwrap();
        let annotations = rule["annotations"].as_object().unwrap().values();
        assert_printed(expression, &annotations.filter_map(Value::as_str).collect::<Vec<_>>(), &printed);
    }
    for test in prometheus::tests() {
        for series in test["input_series"].as_array().unwrap() {
            assert_printed(series["series"].as_str().unwrap(), &[], &printed);
        }
    }
    for (expression, legend) in grafana::expressions() {
        assert_printed(&expression, &[&legend], &printed);
        used.extend(asked(&expression).0.into_keys());
    }
    for (query, label) in grafana::variables() {
        assert_printed(&query, &[&format!("{{{{{label}}}}}")], &printed);
    }
    // The dashboard shows every metric.
    assert_eq!(used, printed.into_keys().collect());
}

#[test]
fn what_no_sidecar_prints_is_found() {
    let printed = printed("pg_backup_rows{database=\"a\"} 1\npg_backup_alerts_total{channel=\"x\"} 1\n");
    assert_printed("sum by (database) (pg_backup_rows{job=\"x\"})", &["{{ $labels.database }}"], &printed);
    let refused = |expression: &'static str, text: &'static str| {
        let printed = printed.clone();
        std::panic::catch_unwind(move || assert_printed(expression, &[text], &printed)).unwrap_err()
    };
    refused("pg_backup_row", "");
    refused("time() - process_start_time_seconds", "");
    refused("pg_backup_rows{channel=\"x\"}", "");
    refused("pg_backup_rows{database=\"x\",stage!~\"y\"}", "");
    refused("sum by (stage) (pg_backup_rows)", "");
    refused("pg_backup_rows", "{{ $labels.stage }}");
    refused("pg_backup_rows", "{{stage}}");
    refused("pg_backup_rows * on (channel) group_left () up{}", "");
}
