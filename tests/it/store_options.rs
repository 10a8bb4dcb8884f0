//! Server-side encryption, storage class, object lock and tags: the store reports the requested options for
//! each object.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::harness::bucket::Bucket;
use crate::harness::moto::Moto;
use crate::harness::postgres::{Database, Server};
use crate::harness::seaweed::{ADMIN, BUCKET, Seaweed};
use crate::harness::sidecar::Sidecar;

/// The bucket with object lock.
const LOCKED: &str = "locked";

/// One database whose dump is uploaded in parts, and one whose dump is put in one request.
fn both(sidecar: Sidecar, server: &Server) -> Sidecar {
    let databases: [Database<'_>; 2] = [server.database(), server.database()];
    databases[0].execute(
        "CREATE TABLE noise AS SELECT sha512(n::text::bytea) AS a, sha512((-n)::text::bytea) AS b
           FROM generate_series(1, 50000) n",
    );
    databases[1].execute("CREATE TABLE t AS SELECT 1 AS x");
    sidecar.database("parts", &databases[0]).database("whole", &databases[1])
}

/// Backs up both databases. Returns the keys of the six objects and of their claims.
#[track_caller]
fn six(sidecar: &Sidecar, bucket: &Bucket) -> Vec<String> {
    sidecar.run(&["run"]).expect_success();
    let keys = bucket.keys();
    assert_eq!(keys.len(), 6, "{keys:?}");
    assert_eq!(bucket.claims().len(), 2);
    // The ETag of a dump in parts ends with their number.
    let parts = keys.iter().filter(|key| bucket.head(key).e_tag().unwrap_or_default().contains("-2"));
    assert_eq!(parts.count(), 1, "{keys:?}");
    // A bucket's policy may require the options, so the claims of the keys have them, too.
    keys.into_iter().chain(bucket.claims()).collect()
}

#[test]
fn the_store_encrypts_and_tags_every_object() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let bucket = seaweed.bucket(BUCKET);
    let sidecar = both(Sidecar::with_store(seaweed.environment(ADMIN)), &server)
        .set("BACKUP_S3_SSE", "AES256")
        .set("BACKUP_S3_TAGS", "team=data base, purpose=a=b:c/d@e");
    for key in six(&sidecar, &bucket) {
        let head = bucket.head(&key);
        assert_eq!(head.server_side_encryption().map(|sse| sse.as_str()), Some("AES256"), "{key}");
        let tags = [("purpose", "a=b:c/d@e"), ("team", "data base")];
        assert_eq!(bucket.tags(&key), tags.map(|(k, v)| (k.to_owned(), v.to_owned())), "{key}");
    }
    // An encrypted backup can be read without further settings.
    sidecar.run(&["verify"]).expect_success();
}

#[test]
fn the_store_locks_every_object() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let bucket = seaweed.bucket(LOCKED).create(true);
    let sidecar = both(Sidecar::with_store(seaweed.environment(ADMIN)), &server)
        .set("BACKUP_S3_BUCKET", LOCKED)
        .set("BACKUP_S3_OBJECT_LOCK_MODE", "GOVERNANCE")
        .set("BACKUP_S3_OBJECT_LOCK_DAYS", "30");
    for key in six(&sidecar, &bucket) {
        assert_locked(&bucket, &key, "GOVERNANCE", 30);
    }
}

#[track_caller]
fn assert_locked(bucket: &Bucket, key: &str, mode: &str, days: u64) {
    let head = bucket.head(key);
    assert_eq!(head.object_lock_mode().map(|mode| mode.as_str()), Some(mode), "{key}");
    let until = head.object_lock_retain_until_date().expect("a lock has an end").secs();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let left = Duration::from_secs(u64::try_from(until).unwrap()).saturating_sub(now);
    let (day, days) = (Duration::from_secs(86_400), Duration::from_secs(days * 86_400));
    assert!(left <= days && left > days - day, "{key}: {left:?}");
}

#[test]
fn all_options_together_reach_every_object() {
    let (server, moto) = (Server::start(), Moto::start());
    let bucket = moto.bucket(LOCKED).create(true);
    let sidecar = both(Sidecar::with_store(moto.environment("admin", LOCKED)), &server)
        .set("BACKUP_S3_SSE", "aws:kms")
        .set("BACKUP_S3_SSE_KMS_KEY_ID", "arn:aws:kms:us-east-1:123456789012:key/backups")
        .set("BACKUP_S3_STORAGE_CLASS", "STANDARD_IA")
        .set("BACKUP_S3_OBJECT_LOCK_MODE", "COMPLIANCE")
        .set("BACKUP_S3_OBJECT_LOCK_DAYS", "8")
        .set("BACKUP_S3_TAGS", "team=db");
    for key in six(&sidecar, &bucket) {
        let head = bucket.head(&key);
        assert_eq!(head.server_side_encryption().map(|sse| sse.as_str()), Some("aws:kms"), "{key}");
        assert_eq!(head.ssekms_key_id(), Some("arn:aws:kms:us-east-1:123456789012:key/backups"), "{key}");
        assert_eq!(head.storage_class().map(|class| class.as_str()), Some("STANDARD_IA"), "{key}");
        // moto loses the lock of a multipart upload.
        if !head.e_tag().unwrap_or_default().contains("-2") {
            assert_locked(&bucket, &key, "COMPLIANCE", 8);
        }
        assert_eq!(bucket.tags(&key), [("team".to_owned(), "db".to_owned())], "{key}");
    }
}

#[test]
fn a_replica_has_options_of_its_own() {
    let (server, moto) = (Server::start(), Moto::start());
    let (near, far) = (moto.bucket(BUCKET), moto.bucket("cold").create(false));
    let sidecar = both(Sidecar::with_store(moto.environment("admin", BUCKET)), &server);
    let (id, secret) = moto.keys("admin");
    let sidecar = sidecar
        .set("BACKUP_S3_TAGS", "place=near")
        .set("BACKUP_REPLICA_S3_BUCKET", "cold")
        .set("BACKUP_REPLICA_S3_ENDPOINT", &moto.http())
        .set("BACKUP_REPLICA_AWS_REGION", "us-east-1")
        .set("BACKUP_REPLICA_AWS_ACCESS_KEY_ID", id)
        .set("BACKUP_REPLICA_AWS_SECRET_ACCESS_KEY", secret)
        .set("BACKUP_REPLICA_S3_STORAGE_CLASS", "DEEP_ARCHIVE");
    six(&sidecar, &near);
    let keys = near.keys();
    // Without a prefix of its own, the replica uses the primary's.
    assert_eq!(far.keys(), keys);
    for key in &keys {
        assert_eq!(near.tags(key), [("place".to_owned(), "near".to_owned())]);
        assert_eq!(near.head(key).storage_class(), None, "{key}");
        let head = far.head(key);
        assert_eq!(head.storage_class().map(|class| class.as_str()), Some("DEEP_ARCHIVE"), "{key}");
        assert_eq!(head.tag_count(), None, "{key}");
    }
}

#[test]
fn a_dump_to_a_key_has_the_same_options() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    let sidecar = Sidecar::with_store(seaweed.environment(ADMIN)).set("BACKUP_S3_TAGS", "team=db");
    let file = format!("s3://{BUCKET}/by/hand.sql.gz");
    sidecar.run(&["dump", "-d", &database.url(), "-f", &file]).expect_success();
    let bucket = seaweed.bucket(BUCKET);
    assert_eq!(bucket.tags("by/hand.sql.gz"), [("team".to_owned(), "db".to_owned())]);
}
