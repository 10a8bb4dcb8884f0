//! The dashboard, checked with Grafana's own model, and its queries, checked with Prometheus's own parser.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use super::{docker, installed, prometheus, text, yaml};
use crate::harness::program::run;

fn dashboard() -> Value {
    serde_json::from_str(&text(&docker("grafana/pg-backup.json"))).unwrap()
}

fn panels(dashboard: &Value) -> &Vec<Value> {
    dashboard["panels"].as_array().unwrap()
}

/// Returns each expression of a panel, and its legend.
pub fn expressions() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let targets = panels(&dashboard).iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let of = |target: &Value, key: &str| target[key].as_str().unwrap().to_owned();
    targets.map(|target| (of(target, "expr"), of(target, "legendFormat"))).collect()
}

/// Returns, for each variable with a Prometheus query, the series and the label of its values.
pub fn variables() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let queries = dashboard["templating"]["list"].as_array().unwrap().iter();
    let queries = queries.filter_map(|variable| variable["query"]["query"].as_str());
    queries
        .map(|query| {
            let inside = query.strip_prefix("label_values(").and_then(|query| query.strip_suffix(')'));
            let (series, label) = inside.unwrap().rsplit_once(", ").unwrap();
            (series.to_owned(), label.to_owned())
        })
        .collect()
}

/// Returns the parts of a dashboard that Grafana's model does not have.
fn unknown(path: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deployments/dashboard.py");
    let read = run(installed("grafana-foundation-sdk/bin/python").arg(script).arg(path));
    read.expect_success().stdout_text()
}

#[test]
fn grafana_s_model_knows_all_of_it() {
    assert_eq!(unknown(&docker("grafana/pg-backup.json")), "");
    // The check finds unknown keys.
    let mut wrong = dashboard();
    wrong["panels"][1]["options"]["colourMode"] = json!("background");
    wrong["templating"]["list"][0]["pluginid"] = json!("prometheus");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), wrong.to_string()).unwrap();
    let found = unknown(file.path());
    assert!(found.contains("dashboard.panels[1].options.colourMode is unknown"), "{found}");
    assert!(found.contains("dashboard.templating.list[0].pluginid is unknown"), "{found}");
}

#[test]
fn prometheus_parses_every_query() {
    let expressions = expressions();
    assert!(expressions.len() > 20, "{expressions:?}");
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(|(number, (expression, _))| {
            // As Grafana replaces them.
            let filled = expression.replace("$__rate_interval", "2m");
            let filled = ["job", "instance", "database"]
                .iter()
                .fold(filled, |filled, name| filled.replace(&format!("${name}\""), ".*\""));
            assert!(!filled.contains('$'), "{filled}");
            json!({ "record": format!("query:{number}"), "expr": filled })
        })
        .collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), json!({ "groups": [{ "name": "queries", "rules": rules }] }).to_string())
        .unwrap();
    prometheus::promtool(&["check", "rules", file.path().to_str().unwrap()]).expect_success();
}

#[test]
fn panels_lie_beside_each_other_and_take_the_chosen_data_source() {
    let dashboard = dashboard();
    let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels(&dashboard) {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().unwrap());
        assert!(x + w <= 24, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{} lies on another", panel["title"]);
        }
        for target in panel["targets"].as_array().into_iter().flatten() {
            assert_eq!(target["datasource"], json!({ "type": "prometheus", "uid": "${datasource}" }));
        }
    }
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
}

#[test]
fn the_demo_s_grafana_finds_the_dashboard_and_prometheus() {
    let services = &super::demo::resolved()["services"];
    let grafana = &services["grafana"];
    let provider = &yaml(&docker("demo/grafana/dashboards/pg-backup.yml"))[0]["providers"][0];
    let path = provider["options"]["path"].as_str().unwrap();
    let mounted = grafana["volumes"].as_array().unwrap().iter().find(|volume| volume["target"] == path);
    assert_eq!(mounted.unwrap()["source"], docker("grafana").to_str().unwrap());
    let source = &yaml(&docker("demo/grafana/datasources/prometheus.yml"))[0]["datasources"][0];
    assert_eq!((&source["type"], &source["url"]), (&json!("prometheus"), &json!("http://prometheus:9090")));
    assert!(services["prometheus"].is_object());
    let uid = format!("http://127.0.0.1:3000/d/{}", dashboard()["uid"].as_str().unwrap());
    assert!(text(&docker("docker-compose.demo.yml")).contains(&uid));
}
