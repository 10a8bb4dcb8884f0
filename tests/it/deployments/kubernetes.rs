//! docker/kubernetes: the manifests, checked with Kubernetes's own schemas, and their environment and
//! arguments, used by pg-backup.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use super::prometheus::promtool;
use super::{Fixture, SECRETS, docker, installed, list, texts, write_secrets, yaml};
use crate::harness::http::get;
use crate::harness::program::run;
use crate::harness::sidecar::{Sidecar, listening};

const FILES: [&str; 3] = ["settings", "serve", "run"];

fn file(name: &str) -> std::path::PathBuf {
    docker("kubernetes").join(format!("{name}.yaml"))
}

/// Returns the object of a kind.
#[track_caller]
fn object(kind: &str) -> Value {
    let objects = FILES.iter().flat_map(|name| yaml(&file(name)));
    objects.into_iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("no {kind}"))
}

/// Returns the pods of both deployments: the Deployment and the CronJob.
fn pods() -> [Value; 2] {
    let (deployment, job) = (object("Deployment"), object("CronJob"));
    [deployment["spec"]["template"].clone(), job["spec"]["jobTemplate"]["spec"]["template"].clone()]
}

/// Validates files with the schemas of a Kubernetes version.
fn validate(version: &str, files: &[&Path]) -> (Option<i32>, String) {
    let mut command = installed("kubernetes-validate/bin/kubernetes-validate");
    let said = run(command.args(["--strict", "-k", version]).args(files));
    (said.status.code(), said.stdout_text() + &said.stderr)
}

#[test]
fn the_manifests_are_valid_in_old_and_new_versions_of_kubernetes() {
    let files = FILES.map(file);
    let files = files.each_ref().map(|file| file.as_path());
    for version in ["1.27.0", "1.30.0", "1.34.0", "1.37.0"] {
        let (code, said) = validate(version, &files);
        assert_eq!((code, said.matches(" passed for resource ").count()), (Some(0), 6), "{said}");
        assert!(!said.contains("WARN"), "{said}");
    }
    // The check finds a misspelt key.
    let wrong = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
    let text = super::text(&file("serve"));
    std::fs::write(wrong.path(), text.replace("readOnlyRootFilesystem", "readonlyRootFilesystem")).unwrap();
    let (code, said) = validate("1.37.0", &[wrong.path()]);
    assert!(code != Some(0) && said.contains("readonlyRootFilesystem"), "{said}");
}

#[test]
fn the_objects_fit_each_other() {
    let labels = texts(&object("Deployment")["spec"]["selector"]["matchLabels"]);
    assert_eq!(texts(&object("Service")["spec"]["selector"]), labels);
    assert_eq!(texts(&object("NetworkPolicy")["spec"]["podSelector"]["matchLabels"]), labels);
    let monitor = yaml(&file("servicemonitor")).remove(0);
    let service = object("Service");
    assert_eq!(texts(&monitor["spec"]["selector"]["matchLabels"]), texts(&service["metadata"]["labels"]));
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], service["spec"]["ports"][0]["name"]);
    let mut secret = texts(&object("Secret")["stringData"]);
    assert!(secret.values().all(|value| value == "CHANGE_ME"), "{secret:?}");
    let settings = texts(&object("ConfigMap")["data"]);
    for pod in pods() {
        assert_eq!(texts(&pod["metadata"]["labels"]), labels);
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["envFrom"][0]["configMapRef"]["name"], object("ConfigMap")["metadata"]["name"]);
        assert_eq!(pod["spec"]["volumes"][0]["secret"]["secretName"], object("Secret")["metadata"]["name"]);
        assert_eq!(container["volumeMounts"][0]["name"], pod["spec"]["volumes"][0]["name"]);
        let at = format!("{}/", container["volumeMounts"][0]["mountPath"].as_str().unwrap());
        let files = settings.iter().filter(|(name, _)| name.ends_with("_FILE"));
        let files: BTreeSet<&str> = files.map(|(_, path)| path.strip_prefix(&at).unwrap()).collect();
        assert_eq!(files, secret.keys().map(String::as_str).collect());
    }
    SECRETS.iter().for_each(|(name, _)| assert!(secret.remove(*name).is_some(), "{name}"));
    assert!(secret.is_empty(), "{secret:?}");
}

/// Returns the labels of scraped pods, as Prometheus derives them from those of the Operator.
fn scraped<const N: usize>(pods: [(&str, &str); N]) -> [BTreeMap<String, String>; N] {
    let monitor = yaml(&file("servicemonitor")).remove(0);
    let relabelings = monitor["spec"]["endpoints"][0]["relabelings"].as_array().unwrap().iter();
    // The Operator converts the monitor's keys to Prometheus's names.
    let renamed = |(key, value): (&String, &Value)| (key.replace("Label", "_label"), value.clone());
    let relabelings = relabelings.map(|one| one.as_object().unwrap().iter().map(renamed).collect::<Value>());
    let target = |(namespace, pod): (&str, &str)| {
        json!({ "targets": [format!("{pod}:9899")], "labels": {
            "__meta_kubernetes_namespace": namespace,
            "namespace": namespace, "pod": pod, "container": "pg-backup", "endpoint": "http",
        }})
    };
    let job = json!({
        "job_name": "pg-backup",
        "relabel_configs": relabelings.collect::<Vec<_>>(),
        "static_configs": pods.map(target).to_vec(),
    });
    let config = tempfile::NamedTempFile::with_suffix(".yml").unwrap();
    std::fs::write(config.path(), json!({ "scrape_configs": [job] }).to_string()).unwrap();
    // The command always takes this time, which is long for targets in a file.
    let asked = ["check", "service-discovery", "--timeout=5s", config.path().to_str().unwrap(), "pg-backup"];
    let found: Vec<Value> = serde_json::from_slice(&promtool(&asked).expect_success().stdout).unwrap();
    pods.map(|(_, pod)| {
        // The address is the only label that the relabelling here does not change. The command's discovered
        // labels are not always the original ones.
        let of_pod = |found: &&Value| found["labels"]["__address__"] == format!("{pod}:9899");
        let found = found.iter().find(of_pod).unwrap_or_else(|| panic!("nothing of {pod}: {found:?}"));
        let labels = texts(&found["labels"]).into_iter();
        labels.filter(|(name, _)| !name.starts_with("__")).collect()
    })
}

#[test]
fn a_new_pod_is_the_same_sidecar_and_one_of_another_namespace_is_another() {
    let [old, new, other] =
        scraped([("prod", "pg-backup-a"), ("prod", "pg-backup-b"), ("staging", "pg-backup-c")]);
    let labels = [("instance", "prod/pg-backup"), ("job", "pg-backup"), ("namespace", "prod")];
    assert_eq!(old, labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(new, old);
    assert_eq!(other["instance"], "staging/pg-backup");
}

#[test]
fn the_operator_s_alerts_are_those_of_prometheus() {
    let [rule, monitor] = ["prometheusrule", "servicemonitor"].map(|name| yaml(&file(name)).remove(0));
    assert_eq!((&rule["apiVersion"], &rule["metadata"]), (&monitor["apiVersion"], &monitor["metadata"]));
    assert_eq!(rule["kind"], "PrometheusRule");
    assert_eq!(rule["spec"], yaml(&docker("prometheus/rules.yml"))[0]);
}

/// The pods differ in kind, but not in their permissions.
#[test]
fn both_pods_are_confined_alike() {
    let [mut serve, mut round] = pods();
    let spec = &serve["spec"];
    assert_eq!(spec["securityContext"]["runAsUser"], 65532);
    assert_eq!(spec["securityContext"]["runAsNonRoot"], true);
    assert_eq!(spec["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let context = &spec["containers"][0]["securityContext"];
    assert_eq!(list(&context["capabilities"]["drop"]), ["ALL"]);
    assert_eq!(
        (&context["readOnlyRootFilesystem"], &context["allowPrivilegeEscalation"]),
        (&true.into(), &false.into())
    );
    assert_eq!(round["spec"]["restartPolicy"], "Never");
    round["spec"].as_object_mut().unwrap().remove("restartPolicy");
    for (pod, keys) in [
        (&mut serve, &["args", "ports", "startupProbe", "livenessProbe", "readinessProbe"][..]),
        (&mut round, &["args"]),
    ] {
        let container = pod["spec"]["containers"][0].as_object_mut().unwrap();
        keys.iter().for_each(|key| assert!(container.remove(*key).is_some(), "{key}"));
    }
    assert_eq!(serve, round);
}

/// A sidecar with the settings of the manifests and the secrets of a directory.
fn sidecar(fixture: &Fixture, secrets: &Path) -> Sidecar {
    let settings = texts(&object("ConfigMap")["data"]);
    let settings: BTreeMap<String, String> = settings
        .into_iter()
        .map(|(name, value)| match value.strip_prefix("/run/secrets/pg-backup/") {
            Some(file) => (name, secrets.join(file).to_str().unwrap().to_owned()),
            None => (name, value),
        })
        .collect();
    fixture.sidecar(&settings)
}

#[test]
fn a_job_makes_its_round_and_the_deployment_answers_its_probes() {
    let (fixture, secrets) = (Fixture::start(), tempfile::tempdir().unwrap());
    write_secrets(secrets.path());
    let sidecar = sidecar(&fixture, secrets.path());
    let [serve, round] = pods();
    fixture.assert_round(&sidecar, &list(&round["spec"]["containers"][0]["args"]));

    let container = &serve["spec"]["containers"][0];
    let (sidecar, port) = listening(sidecar);
    let mut running = sidecar.start(&list(&container["args"]));
    running.wait_for("the round's end", |log| log.contains("backup ok; sleeping 21600s"));
    for (probe, path) in
        [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]
    {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"]);
        assert_eq!(get(port, path).0, 200, "{probe}\n{}", running.log());
    }
    // The default port, which no setting changes.
    assert_eq!(container["ports"][0]["containerPort"], 9899);
    assert_eq!(object("Service")["spec"]["ports"][0]["port"], 9899);
    assert!(!texts(&object("ConfigMap")["data"]).contains_key("BACKUP_HTTP_LISTEN"));
}

#[test]
fn what_was_not_filled_in_is_refused_by_name() {
    let (fixture, secrets) = (Fixture::start(), tempfile::tempdir().unwrap());
    // The CronJob's command is first, because it would exit if it were not rejected. The Deployment's would
    // not.
    let [serve, round] = pods().map(|pod| pod["spec"]["containers"][0]["args"].clone());
    let verbs = [round, serve];
    let refused = |sidecar: &Sidecar, name: &str| {
        for verb in &verbs {
            let output = sidecar.run(&list(verb)).expect_code(2);
            assert!(output.stderr.contains(name) && output.stderr.contains("CHANGE_ME"), "{output}");
        }
    };
    write_secrets(secrets.path());
    let complete = sidecar(&fixture, secrets.path());
    let bucket = texts(&object("ConfigMap")["data"])["BACKUP_S3_BUCKET"].clone();
    refused(&complete.clone().set("BACKUP_S3_BUCKET", &bucket), "BACKUP_S3_BUCKET");
    let unfilled = texts(&object("Secret")["stringData"]);
    for (name, value) in &unfilled {
        write_secrets(secrets.path());
        std::fs::write(secrets.path().join(name), value).unwrap();
        refused(&complete, &format!("BACKUP_{}_FILE", name.replace('-', "_").to_uppercase()));
    }
}
