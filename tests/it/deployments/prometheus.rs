//! docker/prometheus, checked with promtool.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::{docker, installed, yaml};
use crate::harness::program::{Output, run};

/// Runs promtool in the directory of the rules.
pub fn promtool(arguments: &[&str]) -> Output {
    run(installed("promtool/usr/bin/promtool").args(arguments).current_dir(docker("prometheus")))
}

/// Returns the rules of a file.
#[track_caller]
pub fn rules(path: &Path) -> Vec<Value> {
    let file = yaml(path).remove(0);
    let groups = file["groups"].as_array().unwrap();
    groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
}

/// The files with tests of the rules.
const TESTS: [&str; 3] = ["rules.test.yml", "days.test.yml", "weeks.test.yml"];

/// Returns these tests.
pub fn tests() -> Vec<Value> {
    let files = TESTS.iter().map(|name| yaml(&docker("prometheus").join(name)).remove(0));
    files.flat_map(|file| file["tests"].as_array().unwrap().clone()).collect()
}

#[test]
fn promtool_takes_the_configuration_and_the_rules() {
    let config = promtool(&["check", "config", "prometheus.yml"]).expect_success().stdout_text();
    assert!(config.contains("1 rule files found"), "{config}");
    promtool(&["check", "rules", "--lint-fatal", "rules.yml"]).expect_success();
    // The port and the service's name are those of the compose files, and the job's name is that of the
    // rules.
    let job = &yaml(&docker("prometheus/prometheus.yml"))[0]["scrape_configs"][0];
    assert_eq!(job["job_name"], "pg-backup");
    assert_eq!(job["static_configs"][0]["targets"][0], "pg-backup:9899");
}

#[test]
fn every_alert_fires_when_it_should_and_not_otherwise() {
    let output = promtool(&[&["test", "rules"][..], &TESTS].concat()).expect_success();
    assert_eq!(output.stdout_text().matches("SUCCESS").count(), TESTS.len(), "{output}");
    let tests = tests();
    let cases: Vec<&Value> =
        tests.iter().flat_map(|test| test["alert_rule_test"].as_array().unwrap()).collect();
    let tried = |fires: bool| -> BTreeSet<&str> {
        let wanted = cases.iter().filter(|case| case["exp_alerts"].as_array().unwrap().is_empty() != fires);
        wanted.map(|case| case["alertname"].as_str().unwrap()).collect()
    };
    let rules = rules(&docker("prometheus/rules.yml"));
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    assert_eq!(names.len(), rules.len(), "a name comes twice");
    assert_eq!((tried(true), tried(false)), (names.clone(), names));
}

#[test]
fn every_alert_says_what_it_means_and_where_the_way_out_is() {
    for rule in rules(&docker("prometheus/rules.yml")) {
        let name = rule["alert"].as_str().unwrap();
        let annotations = &rule["annotations"];
        assert_eq!(annotations["runbook_url"], format!("BACKUPS.md#{}", name.to_lowercase()));
        for text in ["summary", "description"] {
            assert!(annotations[text].as_str().is_some_and(|text| text.len() > 10), "{name}: {text}");
        }
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(["critical", "warning"].contains(&severity), "{name}: {severity}");
    }
}
