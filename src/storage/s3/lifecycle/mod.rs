//! The rules by which a bucket removes objects by itself: reading and writing them. What rule backups want is in
//! [`rule`], what a bucket has instead in [`compare`].
//!
//! S3 knows no single rule, only all of a bucket's at once: whoever writes one writes all of them, so that what was read
//! has to be written back as it was.

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
    /// What else the configuration holds.
    least_transition: Option<TransitionDefaultMinimumObjectSize>,
}

impl S3Store {
    /// The bucket's rules. Needs `s3:GetLifecycleConfiguration`.
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

    /// Replaces all of the bucket's rules. Needs `s3:PutLifecycleConfiguration`.
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

    /// Whether the bucket keeps, or has kept, former versions of its objects. Needs `s3:GetBucketVersioning`.
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
