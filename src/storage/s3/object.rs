//! How the store keeps objects: encryption, storage class, object lock and tags. They are the same for all
//! objects of a backup, and are set by the requests that create an object: `PutObject` and
//! `CreateMultipartUpload`.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::types::{ObjectLockMode, ServerSideEncryption, StorageClass};
use aws_smithy_types::DateTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Options for every stored object; the default sets none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectOptions {
    /// Encryption by the store.
    pub encryption: Option<StoreEncryption>,
    /// Storage class, as S3 names it.
    pub storage_class: Option<String>,
    /// Object lock.
    pub lock: Option<Lock>,
    /// Tags, with unique keys.
    pub tags: Vec<(String, String)>,
}

/// Encryption by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEncryption {
    /// With the store's own keys (SSE-S3).
    Store,
    /// With a key of the key management service (SSE-KMS).
    Kms {
        /// Id of the key; `None` for the default key of the account.
        key_id: Option<String>,
    },
}

/// An object lock: no version may be deleted before the lock ends. It starts when the object is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Mode of the lock.
    pub mode: LockMode,
    /// Duration in days.
    pub days: u32,
}

/// Who may remove a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Users with `s3:BypassGovernanceRetention`.
    Governance,
    /// No user.
    Compliance,
}

/// Characters that are not escaped in a header of tags: those that RFC 3986 does not reserve. S3 parses the
/// header as the query of a URL, but some stores do not decode `+` as a space.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl ObjectOptions {
    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        self.encryption.as_ref().map(|encryption| match encryption {
            StoreEncryption::Store => ServerSideEncryption::Aes256,
            StoreEncryption::Kms { .. } => ServerSideEncryption::AwsKms,
        })
    }

    pub(super) fn key_id(&self) -> Option<String> {
        match &self.encryption {
            Some(StoreEncryption::Kms { key_id }) => key_id.clone(),
            Some(StoreEncryption::Store) | None => None,
        }
    }

    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        self.storage_class.as_deref().map(StorageClass::from)
    }

    pub(super) fn lock_mode(&self) -> Option<ObjectLockMode> {
        self.lock.map(|lock| match lock.mode {
            LockMode::Governance => ObjectLockMode::Governance,
            LockMode::Compliance => ObjectLockMode::Compliance,
        })
    }

    /// Returns when the lock of an object that is created now ends.
    pub(super) fn retain_until(&self) -> Option<DateTime> {
        let days = self.lock?.days;
        Some(DateTime::from(SystemTime::now() + Duration::from_secs(u64::from(days) * 86_400)))
    }

    pub(super) fn tagging(&self) -> Option<String> {
        let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
        let pair = |(key, value): &(String, String)| format!("{}={}", encoded(key), encoded(value));
        let pairs: Vec<String> = self.tags.iter().map(pair).collect();
        (!pairs.is_empty()).then(|| pairs.join("&"))
    }

    /// Returns the permissions that a write with these options needs.
    pub(super) fn needs(&self) -> String {
        let mut needed = vec!["s3:PutObject"];
        if !self.tags.is_empty() {
            needed.push("s3:PutObjectTagging");
        }
        if self.lock.is_some() {
            needed.push("s3:PutObjectRetention");
        }
        if matches!(self.encryption, Some(StoreEncryption::Kms { .. })) {
            needed.push("kms:GenerateDataKey and kms:Decrypt of the key");
        }
        needed.join(", ")
    }
}

/// Sets the options on a request that creates an object; a macro, because the two requests have different
/// types.
macro_rules! keep {
    ($request:expr, $options:expr) => {
        $request
            .set_server_side_encryption($options.encryption())
            .set_ssekms_key_id($options.key_id())
            .set_storage_class($options.storage_class())
            .set_object_lock_mode($options.lock_mode())
            .set_object_lock_retain_until_date($options.retain_until())
            .set_tagging($options.tagging())
    };
}
pub(super) use keep;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_encoded_as_a_query_without_plus_signs() {
        let tags = [("team", "data base"), ("k=v/&+", "ü"), ("empty", "")];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        let options = ObjectOptions { tags, ..ObjectOptions::default() };
        assert_eq!(options.tagging().unwrap(), "team=data%20base&k%3Dv%2F%26%2B=%C3%BC&empty=");
        assert_eq!(ObjectOptions::default().tagging(), None);
    }

    #[test]
    fn what_is_asked_for_says_what_permissions_it_needs() {
        assert_eq!(ObjectOptions::default().needs(), "s3:PutObject");
        let all = ObjectOptions {
            encryption: Some(StoreEncryption::Kms { key_id: None }),
            storage_class: None,
            lock: Some(Lock { mode: LockMode::Governance, days: 1 }),
            tags: vec![("a".to_owned(), "b".to_owned())],
        };
        assert_eq!(
            all.needs(),
            "s3:PutObject, s3:PutObjectTagging, s3:PutObjectRetention, kms:GenerateDataKey and kms:Decrypt of the key"
        );
    }
}
