//! `…S3_SSE`, `…S3_STORAGE_CLASS`, `…S3_OBJECT_LOCK_…`, `…S3_TAGS`: how a store keeps objects. Values that S3
//! would refuse after the dump are refused here at the start.

use std::collections::BTreeSet;

use super::error::ConfigError;
use super::store::StoreVars;
use super::value;
use crate::storage::s3::{Lock, LockMode, ObjectOptions, StoreEncryption};

/// S3's storage classes for general purpose buckets.
const CLASSES: &[&str] = &[
    "STANDARD",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "REDUCED_REDUNDANCY",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// Storage classes whose objects must be restored manually before they can be read.
const ARCHIVES: &[&str] = &["GLACIER", "DEEP_ARCHIVE"];

/// Limits of S3.
const MOST_TAGS: usize = 10;
const LONGEST_KEY: usize = 128;
const LONGEST_VALUE: usize = 256;

pub(super) fn read(names: StoreVars<'_>) -> Result<ObjectOptions, ConfigError> {
    Ok(ObjectOptions {
        encryption: encryption(names)?,
        storage_class: storage_class(names)?,
        lock: lock(names)?,
        tags: tags(names)?,
    })
}

fn encryption(names: StoreVars<'_>) -> Result<Option<StoreEncryption>, ConfigError> {
    let (sse, key) = (names.name("S3_SSE"), names.name("S3_SSE_KMS_KEY_ID"));
    let is_kms = value::choice(names.vars, &sse, &[("AES256", false), ("aws:kms", true)])?;
    let key_id = names.vars.get(&key)?.map(|id| id.trim().to_owned());
    if key_id.as_deref().is_some_and(|id| id.contains(|c: char| !c.is_ascii_graphic())) {
        return Err(ConfigError::new(
            &key,
            "is not the name of a key",
            "use the ID, the ARN or the alias (alias/backups) of a KMS key",
        ));
    }
    match (is_kms, key_id) {
        (Some(true), key_id) => Ok(Some(StoreEncryption::Kms { key_id })),
        (Some(false), None) => Ok(Some(StoreEncryption::Store)),
        (None, None) => Ok(None),
        (Some(false), Some(_)) => Err(ConfigError::new(
            &key,
            format!("is set, but {sse} is AES256"),
            format!("set {sse} to aws:kms, or remove the key: AES256 uses the store's own"),
        )),
        (None, Some(_)) => {
            Err(ConfigError::new(&key, format!("is set, but {sse} is not"), format!("set {sse} to aws:kms")))
        }
    }
}

fn storage_class(names: StoreVars<'_>) -> Result<Option<String>, ConfigError> {
    let choices: Vec<(&str, &str)> = CLASSES.iter().map(|class| (*class, *class)).collect();
    Ok(value::choice(names.vars, &names.name("S3_STORAGE_CLASS"), &choices)?.map(str::to_owned))
}

/// Refuses storage classes whose objects cannot be read for the primary; only a replica may use them.
pub(super) fn refuse_archives(options: &ObjectOptions) -> Result<(), ConfigError> {
    match options.storage_class.as_deref().filter(|class| ARCHIVES.contains(class)) {
        None => Ok(()),
        Some(class) => Err(ConfigError::new(
            "BACKUP_S3_STORAGE_CLASS",
            format!("is {class}, from which status, verify, restore and drill cannot read"),
            "use GLACIER_IR, or store a replica in this class (BACKUP_REPLICA_S3_STORAGE_CLASS)",
        )),
    }
}

fn lock(names: StoreVars<'_>) -> Result<Option<Lock>, ConfigError> {
    let [mode_name, days_name] = ["S3_OBJECT_LOCK_MODE", "S3_OBJECT_LOCK_DAYS"].map(|name| names.name(name));
    let modes = [("GOVERNANCE", LockMode::Governance), ("COMPLIANCE", LockMode::Compliance)];
    let mode = value::choice(names.vars, &mode_name, &modes)?;
    // 0 is below the range, so it can only mean that the variable is not set.
    let days = value::number(names.vars, &days_name)?.unwrap_or_default();
    match (mode, u32::try_from(days).unwrap_or(u32::MAX)) {
        (Some(mode), days @ 1..) => Ok(Some(Lock { mode, days })),
        (None, 0) => Ok(None),
        (Some(_), 0) => Err(ConfigError::new(
            &days_name,
            format!("is not set, but {mode_name} is"),
            "set the number of days for which a backup cannot be deleted",
        )),
        (None, _) => Err(ConfigError::new(
            &mode_name,
            format!("is not set, but {days_name} is"),
            "set it to GOVERNANCE or COMPLIANCE",
        )),
    }
}

/// S3 refuses a locked object without a checksum.
pub(super) fn lock_without_checksums(names: StoreVars<'_>) -> ConfigError {
    ConfigError::new(
        &names.name("S3_OBJECT_LOCK_MODE"),
        format!("is set, but {} is when_required", names.name("S3_CHECKSUMS")),
        "enable checksums: a store accepts no locked object without one",
    )
}

/// Parses `team=db,purpose=backup`; the first `=` of each pair ends its key.
fn tags(names: StoreVars<'_>) -> Result<Vec<(String, String)>, ConfigError> {
    let name = names.name("S3_TAGS");
    let Some(text) = names.vars.get(&name)? else { return Ok(Vec::new()) };
    let refused = |problem: String, hint: &str| Err(ConfigError::new(&name, problem, hint));
    let fits =
        |c: char| c.is_alphanumeric() || matches!(c, ' ' | '+' | '-' | '=' | '.' | '_' | ':' | '/' | '@');
    let (mut tags, mut keys) = (Vec::new(), BTreeSet::new());
    for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=').map(|(key, value)| (key.trim(), value.trim())) else {
            return refused(format!("has a tag without a value: \"{pair}\""), "use key=value,key2=value2");
        };
        if !(1..=LONGEST_KEY).contains(&key.chars().count()) || value.chars().count() > LONGEST_VALUE {
            let problem = format!("has a tag that is too long or has no key: \"{pair}\"");
            return refused(problem, "S3 accepts keys of 1 to 128 characters and values of up to 256");
        }
        if !pair.chars().all(fits) {
            let problem = format!("has a tag with a character that S3 does not accept: \"{pair}\"");
            return refused(problem, "use letters, digits, blanks and + - = . _ : / @");
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return refused(
                format!("has a tag whose key is reserved for AWS: \"{key}\""),
                "use a key that does not begin with aws:",
            );
        }
        if !keys.insert(key) {
            return refused(format!("has the tag {key} twice"), "use each key once");
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    if tags.len() > MOST_TAGS {
        return refused(format!("has {} tags", tags.len()), "S3 accepts 10 at most");
    }
    Ok(tags)
}
