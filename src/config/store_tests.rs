//! Tests of the object options, the replica and the lifecycle rule: each variable with accepted and refused
//! values.

use std::time::Duration;

use super::tests::{load, refused};
use super::*;
use crate::storage::s3::{Lock, LockMode, ObjectOptions, StoreEncryption};

const REPLICA: &[(&str, &str)] =
    &[("BACKUP_REPLICA_S3_BUCKET", "far"), ("BACKUP_REPLICA_AWS_REGION", "eu-west-1")];

fn object(extra: &[(&str, &str)]) -> ObjectOptions {
    let StoreLocation::S3 { access, .. } = load(extra).unwrap().store else { panic!("not a bucket") };
    access.object
}

#[test]
fn object_options_are_configurable() {
    assert_eq!(object(&[]), ObjectOptions::default());
    let encryption = |extra: &[(&str, &str)]| object(extra).encryption;
    assert_eq!(encryption(&[("BACKUP_S3_SSE", "AES256")]), Some(StoreEncryption::Store));
    let kms = ("BACKUP_S3_SSE", "aws:kms");
    assert_eq!(encryption(&[kms]), Some(StoreEncryption::Kms { key_id: None }));
    let key_id = Some("alias/b".to_owned());
    assert_eq!(
        encryption(&[kms, ("BACKUP_S3_SSE_KMS_KEY_ID", "alias/b")]),
        Some(StoreEncryption::Kms { key_id })
    );
    let all = object(&[
        ("BACKUP_S3_STORAGE_CLASS", "GLACIER_IR"),
        ("BACKUP_S3_OBJECT_LOCK_MODE", "COMPLIANCE"),
        ("BACKUP_S3_OBJECT_LOCK_DAYS", "30"),
        ("BACKUP_S3_TAGS", "a=b, k2 = x=y ,empty=,"),
    ]);
    assert_eq!(all.storage_class.as_deref(), Some("GLACIER_IR"));
    assert_eq!(all.lock, Some(Lock { mode: LockMode::Compliance, days: 30 }));
    let tags = [("a", "b"), ("k2", "x=y"), ("empty", "")];
    assert_eq!(all.tags, tags.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn options_that_s3_would_refuse_are_refused() {
    let many: Vec<String> = (0..11).map(|number| format!("k{number}=v")).collect();
    let (many, long_key, long_value) =
        (many.join(","), format!("{}=v", "k".repeat(129)), format!("k={}", "v".repeat(257)));
    for (name, value, problem) in [
        ("S3_SSE", "aes", "has an unknown value: \"aes\""),
        ("S3_SSE_KMS_KEY_ID", "alias/b", "is set, but"),
        ("S3_SSE_KMS_KEY_ID", "a b", "is not the name of a key"),
        ("S3_STORAGE_CLASS", "COLD", "has an unknown value: \"COLD\""),
        ("S3_OBJECT_LOCK_MODE", "LEGAL", "has an unknown value: \"LEGAL\""),
        ("S3_OBJECT_LOCK_DAYS", "0", "is not a whole number from 1 to 36500: \"0\""),
        ("S3_TAGS", "alone", "has a tag without a value: \"alone\""),
        ("S3_TAGS", "=v", "has a tag that is too long or has no key"),
        ("S3_TAGS", &long_key, "has a tag that is too long or has no key"),
        ("S3_TAGS", &long_value, "has a tag that is too long or has no key"),
        ("S3_TAGS", "a=b;c", "has a tag with a character that S3 does not accept: \"a=b;c\""),
        ("S3_TAGS", "AWS:x=y", "has a tag whose key is reserved for AWS: \"AWS:x\""),
        ("S3_TAGS", "a=b,a=c", "has the tag a twice"),
        ("S3_TAGS", &many, "has 11 tags"),
    ] {
        // The replica's variables have the same rules.
        for stem in ["BACKUP_", "BACKUP_REPLICA_"] {
            let name = format!("{stem}{name}");
            let message = refused(&[REPLICA, &[(&name, value)]].concat());
            assert!(message.starts_with(&format!("{name} {problem}")), "{message}");
        }
    }
}

#[test]
fn contradicting_options_are_refused() {
    let with_key = ("BACKUP_S3_SSE_KMS_KEY_ID", "alias/b");
    assert_eq!(refused(&[with_key]), "BACKUP_S3_SSE_KMS_KEY_ID is set, but BACKUP_S3_SSE is not");
    assert_eq!(
        refused(&[with_key, ("BACKUP_S3_SSE", "AES256")]),
        "BACKUP_S3_SSE_KMS_KEY_ID is set, but BACKUP_S3_SSE is AES256"
    );
    let (mode, days) = (("BACKUP_S3_OBJECT_LOCK_MODE", "GOVERNANCE"), ("BACKUP_S3_OBJECT_LOCK_DAYS", "7"));
    assert_eq!(refused(&[mode]), "BACKUP_S3_OBJECT_LOCK_DAYS is not set, but BACKUP_S3_OBJECT_LOCK_MODE is");
    assert_eq!(refused(&[days]), "BACKUP_S3_OBJECT_LOCK_MODE is not set, but BACKUP_S3_OBJECT_LOCK_DAYS is");
    assert_eq!(
        refused(&[mode, days, ("BACKUP_S3_CHECKSUMS", "when_required")]),
        "BACKUP_S3_OBJECT_LOCK_MODE is set, but BACKUP_S3_CHECKSUMS is when_required"
    );
    for class in ["GLACIER", "DEEP_ARCHIVE"] {
        let message = refused(&[("BACKUP_S3_STORAGE_CLASS", class)]);
        assert!(message.starts_with(&format!("BACKUP_S3_STORAGE_CLASS is {class}, from which")), "{message}");
        let replica = [REPLICA, &[("BACKUP_REPLICA_S3_STORAGE_CLASS", class)]].concat();
        assert_eq!(
            load(&replica).unwrap().replica.unwrap().access.object.storage_class.as_deref(),
            Some(class)
        );
    }
}

#[test]
fn a_replica_has_the_variables_of_the_primary() {
    assert!(load(&[]).unwrap().replica.is_none());
    let near = [
        ("BACKUP_S3_PREFIX", "prod"),
        ("BACKUP_AWS_ACCESS_KEY_ID", "AKIA"),
        ("BACKUP_AWS_SECRET_ACCESS_KEY", "s"),
    ];
    let replica =
        |extra: &[(&str, &str)]| load(&[REPLICA, &near[..], extra].concat()).unwrap().replica.unwrap();
    let bare = replica(&[]);
    assert_eq!((bare.bucket.as_str(), bare.access.region.as_str()), ("far", "eu-west-1"));
    assert_eq!((bare.prefix.as_str(), bare.stall_timeout), ("prod", Duration::from_secs(300)));
    // The primary's credentials must not be sent to another account's bucket.
    assert!(bare.access.credentials.is_none());
    let all = replica(&[
        ("BACKUP_REPLICA_S3_PREFIX", "/"),
        ("BACKUP_REPLICA_S3_ENDPOINT", "http://127.0.0.1:1"),
        ("BACKUP_REPLICA_S3_MAX_PARTS", "1000"),
        ("BACKUP_REPLICA_S3_CHECKSUMS", "when_required"),
        ("BACKUP_REPLICA_AWS_ACCESS_KEY_ID", "OTHER"),
        ("BACKUP_REPLICA_AWS_SECRET_ACCESS_KEY", "topsecret"),
        ("BACKUP_REPLICA_TIMEOUT", "90s"),
        ("BACKUP_REPLICA_S3_TAGS", "a=b"),
    ]);
    assert_eq!((all.prefix.as_str(), all.stall_timeout), ("", Duration::from_secs(90)));
    assert_eq!((all.access.path_style, all.access.max_parts), (true, 1000));
    assert_eq!(all.access.checksums, Checksums::WhenRequired);
    assert_eq!(all.access.object.tags.len(), 1);
    assert_eq!(all.access.credentials.as_ref().unwrap().access_key_id, "OTHER");
    assert!(!format!("{all:?}").contains("topsecret"));
}

#[test]
fn an_invalid_replica_is_refused() {
    assert_eq!(
        refused(&[("BACKUP_REPLICA_S3_BUCKET", "backups")]),
        "BACKUP_REPLICA_S3_BUCKET is the bucket of BACKUP_S3_BUCKET, with the same prefix"
    );
    load(&[("BACKUP_REPLICA_S3_BUCKET", "backups"), ("BACKUP_REPLICA_S3_PREFIX", "copies")]).unwrap();
    assert_eq!(
        refused(&[("BACKUP_REPLICA_AWS_REGION", "eu-west-1")]),
        "BACKUP_REPLICA_S3_BUCKET is not set, but BACKUP_REPLICA_AWS_REGION is"
    );
    for (name, value) in [
        ("BACKUP_REPLICA_S3_BUCKET", "s3://far"),
        ("BACKUP_REPLICA_S3_PREFIX", "a//b"),
        ("BACKUP_REPLICA_S3_ENDPOINT", "far"),
        ("BACKUP_REPLICA_S3_MAX_PARTS", "0"),
        ("BACKUP_REPLICA_S3_CA_FILE", "/nonexistent/ca.pem"),
        ("BACKUP_REPLICA_TIMEOUT", "soon"),
        ("BACKUP_REPLICA_TIMEOUT", "0s"),
    ] {
        assert!(refused(&[REPLICA, &[(name, value)]].concat()).starts_with(name), "{name}={value}");
    }
    let incomplete = refused(&[REPLICA, &[("BACKUP_REPLICA_AWS_ACCESS_KEY_ID", "AKIA")]].concat());
    assert_eq!(
        incomplete,
        "BACKUP_REPLICA_AWS_SECRET_ACCESS_KEY is not set, but BACKUP_REPLICA_AWS_ACCESS_KEY_ID is"
    );
    assert_eq!(
        refused(&[("BACKUP_REPLICA_S3_BUKET", "far")]),
        "BACKUP_REPLICA_S3_BUKET is not a variable of pg-backup"
    );
}

#[test]
fn a_database_may_be_called_replica() {
    let config = load(&[
        ("BACKUP_DATABASES", "metadata,website,replica"),
        ("BACKUP_REPLICA_URL", "postgres://u@h/d"),
        ("BACKUP_REPLICA_PASSWORD", "x"),
    ]);
    assert!(config.unwrap().replica.is_none());
}

#[test]
fn the_lifecycle_rule_is_configurable() {
    let week = load(&[]).unwrap().lifecycle;
    assert_eq!((week.days, week.id.as_str()), (7, "pg-backup-7d"));
    assert!(week.credentials.is_none());
    let named = load(&[
        ("BACKUP_RETENTION_DAYS", "30"),
        ("BACKUP_LIFECYCLE_AWS_ACCESS_KEY_ID", "AKIA"),
        ("BACKUP_LIFECYCLE_AWS_SECRET_ACCESS_KEY", "topsecret"),
    ]);
    let named = named.unwrap().lifecycle;
    assert_eq!((named.days, named.id.as_str()), (30, "pg-backup-30d"));
    assert!(named.credentials.is_some() && !format!("{named:?}").contains("topsecret"));
    assert_eq!(load(&[("BACKUP_LIFECYCLE_RULE_ID", "mine")]).unwrap().lifecycle.id, "mine");
    let long = "x".repeat(256);
    for (name, value) in [
        ("BACKUP_RETENTION_DAYS", "0"),
        ("BACKUP_RETENTION_DAYS", "7d"),
        ("BACKUP_LIFECYCLE_RULE_ID", long.as_str()),
    ] {
        assert!(refused(&[(name, value)]).starts_with(name), "{name}={value}");
    }
    let incomplete = refused(&[("BACKUP_LIFECYCLE_AWS_ACCESS_KEY_ID", "AKIA")]);
    assert!(incomplete.starts_with("BACKUP_LIFECYCLE_AWS_SECRET_ACCESS_KEY is not set"), "{incomplete}");
}
