//! How the store is asked to keep objects: encrypted, in which class, locked, tagged. The same for all objects of a
//! backup, and said where an object begins: at `PutObject` and at `CreateMultipartUpload`.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::types::{ObjectLockMode, ServerSideEncryption, StorageClass};
use aws_smithy_types::DateTime;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What is asked of the store for every object; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectOptions {
    /// How the store encrypts it.
    pub encryption: Option<StoreEncryption>,
    /// The storage class, as S3 names it.
    pub storage_class: Option<String>,
    /// For how long nobody may delete it.
    pub lock: Option<Lock>,
    /// Tags, each key once.
    pub tags: Vec<(String, String)>,
}

/// Encryption by the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreEncryption {
    /// With keys of the store's own (SSE-S3).
    Store,
    /// With a key of the key management service (SSE-KMS).
    Kms {
        /// Which; the account's default one when absent.
        key_id: Option<String>,
    },
}

/// An object lock: no version may be deleted before its time, counted from when the object began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Who may lift it.
    pub mode: LockMode,
    /// Its time.
    pub days: u32,
}

/// Who may lift a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// Whoever has `s3:BypassGovernanceRetention`.
    Governance,
    /// Nobody.
    Compliance,
}

/// What stays as it is in a header of tags: what RFC 3986 does not reserve. S3 reads the header as a URL's query, but not every
/// store takes its `+` for a blank.
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

    /// When the lock of an object ends that begins now.
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

    /// The permissions without which nothing can be written so.
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

/// Says of a request that begins an object how the object is to be kept; the two requests that do are of different types.
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
