//! Reads and writes the lifecycle rules of a bucket, by which it removes objects. [`rule`] has the rule that
//! backups need; [`compare`] compares it with the rules of a bucket.
//!
//! S3 cannot write a single rule: a request replaces all rules of the bucket. Therefore the other rules must
//! be written back unchanged.

mod compare;
mod rule;

use aws_sdk_s3::error::ProvideErrorMetadata as _;
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, LifecycleRule, TransitionDefaultMinimumObjectSize,
};

use super::S3Store;
use crate::storage::StoreError;

pub use compare::differences;
pub use rule::{Merged, RetentionRule};

pub(super) const READ: &str = "read the lifecycle rules of";
pub(super) const WRITE: &str = "write the lifecycle rules of";
pub(super) const READ_VERSIONING: &str = "read the versioning of";

/// All rules of a bucket.
#[derive(Clone, Debug, Default)]
pub struct BucketRules {
    /// The rules, in the bucket's order.
    pub rules: Vec<LifecycleRule>,
    /// The other part of the configuration, written back unchanged.
    least_transition: Option<TransitionDefaultMinimumObjectSize>,
}

impl S3Store {
    /// Reads the bucket's rules. Needs `s3:GetLifecycleConfiguration`.
    pub async fn lifecycle_rules(&self) -> Result<BucketRules, StoreError> {
        let asked = self.client.get_bucket_lifecycle_configuration().bucket(&self.bucket).send().await;
        match asked {
            Ok(found) => Ok(BucketRules {
                least_transition: found.transition_default_minimum_object_size().cloned(),
                rules: found.rules.unwrap_or_default(),
            }),
            Err(error) if error.code() == Some("NoSuchLifecycleConfiguration") => Ok(BucketRules::default()),
            Err(error) => Err(self.failures.explain(READ, self.place(), error)),
        }
    }

    /// Replaces all rules of the bucket. Needs `s3:PutLifecycleConfiguration`.
    pub async fn set_lifecycle_rules(&self, rules: BucketRules) -> Result<(), StoreError> {
        let BucketRules { rules, least_transition } = rules;
        let configuration = BucketLifecycleConfiguration::builder().set_rules(Some(rules)).build();
        let configuration = configuration.map_err(|error| StoreError::Other {
            operation: WRITE,
            object: self.place(),
            source: error.into(),
        })?;
        self.client
            .put_bucket_lifecycle_configuration()
            .bucket(&self.bucket)
            .lifecycle_configuration(configuration)
            .set_transition_default_minimum_object_size(least_transition)
            .send()
            .await
            .map(drop)
            .map_err(|error| self.failures.explain(WRITE, self.place(), error))
    }

    /// Returns whether versioning of the bucket is or was enabled. Needs `s3:GetBucketVersioning`.
    pub async fn is_versioned(&self) -> Result<bool, StoreError> {
        let asked = self.client.get_bucket_versioning().bucket(&self.bucket).send().await;
        let found = asked.map_err(|error| self.failures.explain(READ_VERSIONING, self.place(), error))?;
        let status = found.status();
        Ok(matches!(status, Some(BucketVersioningStatus::Enabled | BucketVersioningStatus::Suspended)))
    }

    fn place(&self) -> String {
        format!("s3://{}", self.bucket)
    }
}
