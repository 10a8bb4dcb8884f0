//! Direct access to a bucket of any S3 server, without pg-backup.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, LifecycleRule, VersioningConfiguration,
};
use tokio::runtime::Runtime;

use super::sidecar::CLAIM;

/// Returns the SDK's client for a server on this machine.
pub fn client(endpoint: &str, id: &str, secret: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(id, secret, None, None, "tests"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// Returns the variables that point pg-backup at a bucket of a server on this machine. Their names start with
/// `stem`: `BACKUP_` or `BACKUP_REPLICA_`.
pub fn environment(
    stem: &str,
    endpoint: &str,
    (bucket, prefix): (&str, &str),
    (id, secret): (&str, &str),
) -> Vec<(String, String)> {
    [
        ("S3_BUCKET", bucket),
        ("S3_PREFIX", prefix),
        ("S3_ENDPOINT", endpoint),
        ("S3_PATH_STYLE", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", id),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ]
    .map(|(name, value)| (format!("{stem}{name}"), value.to_owned()))
    .to_vec()
}

/// A bucket, with keys that have all permissions on it.
pub struct Bucket {
    runtime: Runtime,
    client: Client,
    name: String,
}

impl Bucket {
    /// Returns a bucket. It need not exist yet.
    pub fn new(endpoint: &str, id: &str, secret: &str, name: &str) -> Bucket {
        let runtime = Runtime::new().expect("a runtime can be built");
        Bucket { runtime, client: client(endpoint, id, secret), name: name.to_owned() }
    }

    #[track_caller]
    fn done<T, E: std::error::Error>(&self, request: impl Future<Output = Result<T, E>>) -> T {
        self.runtime.block_on(request).unwrap_or_else(|e| panic!("{}: {}", self.name, DisplayErrorContext(e)))
    }

    /// Creates the bucket, with object lock if `locks` is set.
    pub fn create(self, locks: bool) -> Bucket {
        let create = self.client.create_bucket().bucket(&self.name);
        self.done(create.object_lock_enabled_for_bucket(locks).send());
        self
    }

    /// Enables versioning.
    pub fn keep_versions(&self) {
        let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        self.done(
            self.client.put_bucket_versioning().bucket(&self.name).versioning_configuration(enabled).send(),
        );
    }

    /// Returns the keys of all objects except the claims of keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.all_keys().into_iter().filter(|key| !key.ends_with(CLAIM)).collect()
    }

    /// Returns the keys of the claims.
    pub fn claims(&self) -> Vec<String> {
        self.all_keys().into_iter().filter(|key| key.ends_with(CLAIM)).collect()
    }

    fn all_keys(&self) -> Vec<String> {
        let list = self.done(self.client.list_objects_v2().bucket(&self.name).send());
        assert_ne!(list.is_truncated(), Some(true), "a test's bucket fits in one page");
        list.contents().iter().map(|object| object.key().unwrap_or_default().to_owned()).collect()
    }

    /// Returns the keys of uploads that were neither completed nor aborted.
    pub fn unfinished_uploads(&self) -> Vec<String> {
        let list = self.done(self.client.list_multipart_uploads().bucket(&self.name).send());
        list.uploads().iter().map(|upload| upload.key().unwrap_or_default().to_owned()).collect()
    }

    /// Returns an object's bytes.
    pub fn get(&self, key: &str) -> Vec<u8> {
        let body = self.done(self.client.get_object().bucket(&self.name).key(key).send()).body;
        self.done(body.collect()).to_vec()
    }

    pub fn put(&self, key: &str, bytes: Vec<u8>) {
        self.done(self.client.put_object().bucket(&self.name).key(key).body(bytes.into()).send());
    }

    pub fn delete(&self, key: &str) {
        self.done(self.client.delete_object().bucket(&self.name).key(key).send());
    }

    /// Returns the metadata of an object.
    pub fn head(&self, key: &str) -> HeadObjectOutput {
        self.done(self.client.head_object().bucket(&self.name).key(key).send())
    }

    /// Returns an object's tags, sorted by key.
    pub fn tags(&self, key: &str) -> Vec<(String, String)> {
        let found = self.done(self.client.get_object_tagging().bucket(&self.name).key(key).send());
        let mut tags: Vec<_> =
            found.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect();
        tags.sort();
        tags
    }

    /// Replaces the lifecycle rules.
    pub fn set_rules(&self, rules: Vec<LifecycleRule>) {
        let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build().expect("rules");
        let put = self.client.put_bucket_lifecycle_configuration().bucket(&self.name);
        self.done(put.lifecycle_configuration(rules).send());
    }

    /// Returns the lifecycle rules, which must exist.
    pub fn rules(&self) -> Vec<LifecycleRule> {
        let found = self.done(self.client.get_bucket_lifecycle_configuration().bucket(&self.name).send());
        found.rules.unwrap_or_default()
    }
}
