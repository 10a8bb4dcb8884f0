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
const MOST_DAYS: u64 = 36_500;

pub(super) fn read(names: StoreVars<'_>) -> Result<ObjectOptions, ConfigError> {
    let encryption = encryption(names);
    let storage_class = storage_class(names);
    let lock = lock(names);
    let tags = tags(names);
    Ok(ObjectOptions { encryption: encryption?, storage_class: storage_class?, lock: lock?, tags: tags? })
}

fn encryption(names: StoreVars<'_>) -> Result<Option<StoreEncryption>, ConfigError> {
    let (sse, key) = (names.name("S3_SSE"), names.name("S3_SSE_KMS_KEY_ID"));
    let kind = value::choice(names.vars, &sse, &[("AES256", false), ("aws:kms", true)]);
    let key_id = names.vars.get(&key)?.map(|id| id.trim().to_owned());
    if key_id.as_deref().is_some_and(|id| id.contains(|c: char| !c.is_ascii_graphic())) {
        return Err(ConfigError::new(
            &key,
            "is not the name of a key",
            "give the id, the ARN or the alias (alias/backups) of a KMS key",
        ));
    }
    match (kind?, key_id) {
        (Some(true), key_id) => Ok(Some(StoreEncryption::Kms { key_id })),
        (Some(false), None) => Ok(Some(StoreEncryption::Store)),
        (None, None) => Ok(None),
        (Some(false), Some(_)) => Err(ConfigError::new(
            &key,
            format!("is set, but {sse} is AES256"),
            format!("set {sse} to aws:kms, or leave the key out: AES256 uses the store's own"),
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
            format!("is {class}, from where status, verify, restore and drill cannot read"),
            "use GLACIER_IR, or keep a replica in the archive (BACKUP_REPLICA_S3_STORAGE_CLASS)",
        )),
    }
}

fn lock(names: StoreVars<'_>) -> Result<Option<Lock>, ConfigError> {
    let [mode_name, days_name] = ["S3_OBJECT_LOCK_MODE", "S3_OBJECT_LOCK_DAYS"].map(|name| names.name(name));
    let modes = [("GOVERNANCE", LockMode::Governance), ("COMPLIANCE", LockMode::Compliance)];
    let mode = value::choice(names.vars, &mode_name, &modes);
    // 0 is below the range, so it can only be the default.
    let days = value::number(names.vars, &days_name, 1..=MOST_DAYS, 0)
        .map_err(|error| ConfigError { hint: "give the days of the lock, e.g. 7".to_owned(), ..error })?;
    match (mode?, u32::try_from(days).unwrap_or(u32::MAX)) {
        (Some(mode), days @ 1..) => Ok(Some(Lock { mode, days })),
        (None, 0) => Ok(None),
        (Some(_), 0) => Err(ConfigError::new(
            &days_name,
            format!("is not set, but {mode_name} is"),
            "give the days for which nobody may delete a backup",
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
        "leave checksums on: a store takes no locked object without one",
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
            return refused(format!("has a tag without a value: \"{pair}\""), "write key=value,key2=value2");
        };
        if !(1..=LONGEST_KEY).contains(&key.chars().count()) || value.chars().count() > LONGEST_VALUE {
            let problem = format!("has a tag that is too long or has no key: \"{pair}\"");
            return refused(problem, "S3 takes keys of 1 to 128 characters and values of up to 256");
        }
        if !pair.chars().all(fits) {
            let problem = format!("has a tag with a character that S3 does not take: \"{pair}\"");
            return refused(problem, "use letters, digits, blanks and + - = . _ : / @");
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return refused(
                format!("has a tag whose key is AWS's own: \"{key}\""),
                "begin it otherwise than aws:",
            );
        }
        if !keys.insert(key) {
            return refused(format!("has the tag {key} twice"), "give each key once");
        }
        tags.push((key.to_owned(), value.to_owned()));
    }
    if tags.len() > MOST_TAGS {
        return refused(format!("has {} tags", tags.len()), "S3 takes 10 of them at most");
    }
    Ok(tags)
}
