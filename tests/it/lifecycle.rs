//! `pg-backup lifecycle`: the bucket's rule is shown, applied in addition to other rules, and checked.

use aws_sdk_s3::types::{ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter};

use crate::harness::bucket::Bucket;
use crate::harness::moto::Moto;
use crate::harness::program::{Output, run};
use crate::harness::seaweed::{ADMIN, BUCKET, KEEPER, Seaweed, WRITER};
use crate::harness::sidecar::Sidecar;

fn rule(id: &str, prefix: &str, days: i32) -> LifecycleRule {
    LifecycleRule::builder()
        .id(id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        .expiration(LifecycleExpiration::builder().days(days).build())
        .build()
        .unwrap()
}

fn json(output: Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn the_file_beside_the_compose_file_is_what_show_prints_for_the_template() {
    let template = include_str!("../../.env.production").replace("CHANGE_ME", "filled-in");
    let settings = template
        .lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.starts_with("BACKUP_"));
    let mut command = Sidecar::default().command(&["lifecycle", "show", "--json"]);
    let shown = run(command.envs(settings)).expect_success();
    assert_eq!(shown.stdout_text(), include_str!("../../docker/backup-lifecycle.json"));
}

#[test]
fn show_prints_the_rule_without_requests() {
    let store = [("BACKUP_S3_BUCKET", "b"), ("BACKUP_S3_PREFIX", "prod"), ("BACKUP_RETENTION_DAYS", "14")];
    let sidecar = store.iter().fold(Sidecar::default(), |sidecar, (name, value)| sidecar.set(name, value));
    let table = sidecar.run(&["lifecycle", "show"]).expect_success().stdout_text();
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(row, ["pg-backup-14d", "prod/", "14d", "-", "1d"], "{table}");
    let versioned = json(sidecar.run(&["lifecycle", "show", "--versioned", "--json"]).expect_success());
    assert_eq!(versioned["Rules"][0]["NoncurrentVersionExpiration"]["NoncurrentDays"], 14);
    let named = sidecar.set("BACKUP_LIFECYCLE_RULE_ID", "mine").run(&["lifecycle", "show", "--json"]);
    assert_eq!(json(named.expect_success())["Rules"][0]["ID"], "mine");
}

#[test]
fn a_directory_has_no_rules_and_a_whole_bucket_has_to_be_meant() {
    let directory = Sidecar::with_directory(std::path::Path::new("/somewhere"));
    for action in ["show", "apply", "check"] {
        let refused = directory.run(&["lifecycle", action]).expect_code(2);
        assert!(refused.stderr.contains("only buckets have lifecycle rules"), "{refused}");
    }
    let seaweed = Seaweed::start();
    let whole = Sidecar::with_store(seaweed.environment(ADMIN)).without("BACKUP_S3_PREFIX");
    let refused = whole.run(&["lifecycle", "apply"]).expect_code(2);
    assert!(refused.stderr.contains("BACKUP_S3_PREFIX is not set"), "{refused}");
    whole.run(&["lifecycle", "apply", "--whole-bucket"]).expect_success();
    assert_eq!(seaweed.bucket(BUCKET).rules().len(), 1);
    whole.run(&["lifecycle", "check"]).expect_success();
}

/// The rule is created, changed and compared. Other rules stay unchanged.
fn from_nothing_to_another_time(keeper: &Sidecar, bucket: &Bucket) {
    let missing = keeper.run(&["lifecycle", "check"]).expect_code(6);
    assert!(missing.stdout_text().contains("pg-backup-7d is missing"), "{missing}");
    let dry = keeper.run(&["lifecycle", "apply", "--dry-run"]).expect_success().stdout_text();
    assert!(dry.contains("added: pg-backup-7d") && dry.contains("nothing was changed"), "{dry}");
    keeper.run(&["lifecycle", "check"]).expect_code(6);

    let others = vec![rule("logs", "logs/", 3), rule("site", "site/", 30)];
    bucket.set_rules(others.clone());
    let others = bucket.rules();
    let applied = keeper.run(&["lifecycle", "apply"]).expect_success().stdout_text();
    assert!(applied.contains("2 other rules left unchanged"), "{applied}");
    keeper.run(&["lifecycle", "check"]).expect_success();
    let rules = bucket.rules();
    assert_eq!((rules.len(), &rules[..2]), (3, &others[..]), "{rules:?}");
    let ours = &rules[2];
    assert_eq!(ours.id(), Some("pg-backup-7d"));
    assert_eq!(ours.filter().and_then(|filter| filter.prefix()), Some("prod/"));
    assert_eq!(ours.expiration().and_then(|expiration| expiration.days()), Some(7));
    let abort = ours.abort_incomplete_multipart_upload().and_then(|abort| abort.days_after_initiation());
    assert_eq!(abort, Some(1));
    let again = json(keeper.run(&["lifecycle", "apply", "--json"]).expect_success());
    assert_eq!((&again["applied"], &again["changes"]), (&false.into(), &serde_json::json!([])));

    // With another retention time, the rule of the previous one is removed. Until then `check` reports it.
    let longer = keeper.clone().set("BACKUP_RETENTION_DAYS", "14");
    let told = longer.run(&["lifecycle", "check"]).expect_code(6).stdout_text();
    assert!(told.contains("pg-backup-14d is missing"), "{told}");
    assert!(told.contains("rule pg-backup-7d expires objects after 7 days"), "{told}");
    longer.run(&["lifecycle", "apply"]).expect_success();
    longer.run(&["lifecycle", "check"]).expect_success();
    let ids: Vec<_> = bucket.rules().iter().map(|rule| rule.id().unwrap_or_default().to_owned()).collect();
    assert_eq!(ids, ["logs", "site", "pg-backup-14d"]);
    assert_eq!(bucket.rules()[..2], others[..]);
}

#[test]
fn the_rule_is_applied_and_checked_with_seaweed() {
    let seaweed = Seaweed::start();
    let keeper = Sidecar::with_store(seaweed.environment(KEEPER));
    from_nothing_to_another_time(&keeper, &seaweed.bucket(BUCKET));
}

#[test]
fn the_rule_is_applied_and_checked_with_moto() {
    let moto = Moto::start();
    let keeper = Sidecar::with_store(moto.environment("lifecycle", BUCKET));
    from_nothing_to_another_time(&keeper, &moto.bucket(BUCKET));
}

#[test]
fn the_rules_have_keys_of_their_own() {
    let moto = Moto::start();
    let backup = Sidecar::with_store(moto.environment("backup", BUCKET));
    let refused = backup.run(&["lifecycle", "apply"]).expect_code(5);
    assert!(refused.stderr.contains("s3:GetBucketVersioning"), "{refused}");
    let (id, secret) = moto.keys("lifecycle");
    let keeper = backup
        .set("BACKUP_LIFECYCLE_AWS_ACCESS_KEY_ID", id)
        .set("BACKUP_LIFECYCLE_AWS_SECRET_ACCESS_KEY", secret);
    keeper.run(&["lifecycle", "apply"]).expect_success();
    keeper.run(&["lifecycle", "check"]).expect_success();
}

#[test]
fn former_versions_expire_where_the_bucket_keeps_them() {
    let moto = Moto::start();
    let bucket = moto.bucket(BUCKET);
    let keeper = Sidecar::with_store(moto.environment("lifecycle", BUCKET));
    keeper.run(&["lifecycle", "apply"]).expect_success();
    bucket.keep_versions();
    let told = keeper.run(&["lifecycle", "check"]).expect_code(6).stdout_text();
    assert_eq!(told, "pg-backup-7d expires former versions never instead of after 7 days\n");
    keeper.run(&["lifecycle", "apply"]).expect_success();
    let days =
        bucket.rules()[0].noncurrent_version_expiration().and_then(|expiration| expiration.noncurrent_days());
    assert_eq!(days, Some(7));
    keeper.run(&["lifecycle", "check"]).expect_success();
}

#[test]
fn the_rule_of_an_earlier_version_is_recognized_and_replaced() {
    let seaweed = Seaweed::start();
    let bucket = seaweed.bucket(BUCKET);
    let keeper = Sidecar::with_store(seaweed.environment(KEEPER));
    let named = keeper.clone().set("BACKUP_LIFECYCLE_RULE_ID", "schemastack-backups-7d");
    named.run(&["lifecycle", "apply"]).expect_success();
    let told = keeper.run(&["lifecycle", "check"]).expect_success().stdout_text();
    assert_eq!(told, "bucket backups: schemastack-backups-7d is correct\n");
    keeper.run(&["lifecycle", "apply"]).expect_success();
    keeper.run(&["lifecycle", "check"]).expect_success();
    let ids: Vec<_> = bucket.rules().iter().map(|rule| rule.id().unwrap_or_default().to_owned()).collect();
    assert_eq!(ids, ["pg-backup-7d"]);
}

#[test]
fn every_difference_is_named() {
    let seaweed = Seaweed::start();
    let bucket = seaweed.bucket(BUCKET);
    let keeper = Sidecar::with_store(seaweed.environment(KEEPER));
    let mut ours = rule("pg-backup-7d", "prod/", 30);
    ours.status = ExpirationStatus::Disabled;
    bucket.set_rules(vec![ours, rule("cleanup", "", 2)]);
    let told = keeper.run(&["lifecycle", "check"]).expect_code(6);
    let lines: Vec<String> = told.stdout_text().lines().map(str::to_owned).collect();
    assert_eq!(
        lines,
        [
            "pg-backup-7d is disabled instead of enabled",
            "pg-backup-7d expires backups after 30 days instead of after 7 days",
            "pg-backup-7d removes unfinished uploads never instead of after 1 day",
            "rule cleanup expires objects after 2 days, applying to the whole bucket; backups are kept for 7 days",
        ]
    );
    assert!(
        told.stderr.contains("the lifecycle rules of bucket backups do not match the configuration"),
        "{told}"
    );
    let shown = json(keeper.run(&["lifecycle", "check", "--json"]).expect_code(6));
    assert_eq!((&shown["ok"], shown["differences"].as_array().map(Vec::len)), (&false.into(), Some(4)));
    // The sidecar's key may not read the rules, and the error names the permission.
    let writer = Sidecar::with_store(seaweed.environment(WRITER));
    let refused = writer.run(&["lifecycle", "check"]).expect_code(5);
    assert!(refused.stderr.contains("access denied: read the versioning of s3://backups"), "{refused}");
}
