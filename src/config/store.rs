//! Location of backups and access to it. A replica has the same variables as the primary, with another stem
//! ([`StoreVars`]).

use std::path::PathBuf;
use std::sync::Arc;

use crate::storage::local::LocalStore;
use crate::storage::s3::{ObjectOptions, S3Config, S3Store, StaticCredentials};
use crate::storage::{Store, StoreError};

use super::error::ConfigError;
use super::object;
use super::secret::Secret;
use super::value;
use super::vars::Vars;

/// Location of backups.
#[derive(Clone, Debug)]
pub enum StoreLocation {
    /// A bucket.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Access to the bucket.
        access: Box<S3Access>,
    },
    /// A directory (`BACKUP_STORE=file:///dir`), for tests and for trying out the program.
    Directory(PathBuf),
}

pub use crate::storage::s3::Checksums;

/// Access to S3, for any bucket.
#[derive(Clone, Debug)]
pub struct S3Access {
    /// `BACKUP_AWS_REGION`.
    pub region: String,
    /// Static credentials; `None` for the standard AWS provider chain.
    pub credentials: Option<Credentials>,
    /// URL of a compatible store instead of AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket is part of the path instead of the host name. The default is true if an endpoint is
    /// set.
    pub path_style: bool,
    /// Maximum number of parts in one multipart upload.
    pub max_parts: u32,
    /// When requests include the SDK's integrity checksums.
    pub checksums: Checksums,
    /// PEM file of CA certificates, used instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Options of the stored objects.
    pub object: ObjectOptions,
}

/// The variables of one store: `BACKUP_…` for the primary, `BACKUP_REPLICA_…` for a replica.
#[derive(Clone, Copy)]
pub(super) struct StoreVars<'a> {
    pub(super) vars: &'a Vars,
    /// Prefix of the part of the name that all stores share.
    pub(super) stem: &'static str,
}

impl<'a> StoreVars<'a> {
    /// Returns the variables of the primary store.
    pub(super) fn primary(vars: &'a Vars) -> Self {
        StoreVars { vars, stem: "BACKUP_" }
    }

    /// Returns the full name of a variable.
    pub(super) fn name(&self, shared: &str) -> String {
        format!("{}{shared}", self.stem)
    }

    pub(super) fn get(&self, shared: &str) -> Result<Option<String>, ConfigError> {
        self.vars.get(&self.name(shared))
    }
}

/// Static credentials of S3.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// `BACKUP_AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `BACKUP_AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
}

impl StoreLocation {
    /// Opens the store.
    pub async fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            StoreLocation::S3 { bucket, access } => access.open(bucket).await,
            StoreLocation::Directory(path) => Ok(Arc::new(LocalStore::open(path)?)),
        }
    }

    /// Returns the access to the bucket, if it is one.
    pub(super) fn access(&self) -> Option<&S3Access> {
        match self {
            StoreLocation::S3 { access, .. } => Some(access),
            StoreLocation::Directory(_) => None,
        }
    }

    pub(super) fn read(vars: &Vars) -> Result<StoreLocation, ConfigError> {
        match (vars.get("BACKUP_STORE")?, vars.get("BACKUP_S3_BUCKET")?) {
            (Some(_), Some(_)) => Err(ConfigError::new(
                "BACKUP_STORE",
                "and BACKUP_S3_BUCKET are both set",
                "remove one of them: backups go to a directory or to a bucket",
            )),
            (Some(url), None) => directory(&url),
            (None, Some(bucket)) => {
                let names = StoreVars::primary(vars);
                let bucket = bucket_name(names, bucket)?;
                let access = Box::new(S3Access::read(names)?);
                object::refuse_archives(&access.object)?;
                Ok(StoreLocation::S3 { bucket, access })
            }
            (None, None) => Err(ConfigError::new(
                "BACKUP_S3_BUCKET",
                "is not set",
                "set it to the bucket's name (or BACKUP_STORE to file:///dir, for trials)",
            )),
        }
    }
}

fn directory(url: &str) -> Result<StoreLocation, ConfigError> {
    match url.strip_prefix("file://").filter(|path| path.starts_with('/')) {
        Some(path) => Ok(StoreLocation::Directory(PathBuf::from(path))),
        None => Err(ConfigError::new(
            "BACKUP_STORE",
            format!("is not the URL of a directory: \"{url}\""),
            "use file:///absolute/path, or set BACKUP_S3_BUCKET for a bucket",
        )),
    }
}

/// Checks that the value of `…S3_BUCKET` is a valid name of a bucket.
pub(super) fn bucket_name(names: StoreVars<'_>, bucket: String) -> Result<String, ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if bucket.chars().all(fits) {
        return Ok(bucket);
    }
    Err(ConfigError::new(
        &names.name("S3_BUCKET"),
        format!("is not the name of a bucket: \"{bucket}\""),
        format!(
            "use the bare name, without s3:// and without a path; set a path in {}",
            names.name("S3_PREFIX")
        ),
    ))
}

/// Returns `…S3_PREFIX`, without leading and trailing slashes; `None` if it is not set.
pub(super) fn prefix(names: StoreVars<'_>) -> Result<Option<String>, ConfigError> {
    let Some(text) = names.get("S3_PREFIX")? else { return Ok(None) };
    let prefix = text.trim_matches('/');
    let bad_part = |part: &str| part.is_empty() || part == "." || part == "..";
    // Some stores treat a backslash as a slash and store the object under another key.
    let bad_character = |c: char| c.is_control() || c == '\\';
    if !prefix.is_empty() && (prefix.split('/').any(bad_part) || prefix.contains(bad_character)) {
        return Err(ConfigError::new(
            &names.name("S3_PREFIX"),
            format!("is not a valid prefix of a key: \"{text}\""),
            "use names separated by single slashes, without backslashes, e.g. hetzner-prod",
        ));
    }
    Ok(Some(prefix.to_owned()))
}

impl S3Access {
    /// Opens a bucket.
    pub async fn open(&self, bucket: &str) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(self.connect(bucket).await?))
    }

    /// Opens a bucket for operations that only buckets support.
    pub async fn connect(&self, bucket: &str) -> Result<S3Store, StoreError> {
        let credentials = self.credentials.as_ref().map(|keys| StaticCredentials {
            access_key_id: keys.access_key_id.clone(),
            secret_access_key: keys.secret_access_key.expose().to_owned(),
            session_token: None,
        });
        let config = S3Config {
            endpoint: self.endpoint.clone(),
            path_style: self.path_style,
            credentials,
            checksums: self.checksums,
            ca_file: self.ca_file.clone(),
            max_parts: self.max_parts,
            object: self.object.clone(),
            ..S3Config::new(bucket, &self.region)
        };
        S3Store::connect(&config).await
    }

    pub(super) fn read(names: StoreVars<'_>) -> Result<S3Access, ConfigError> {
        const CHECKSUMS: &[(&str, Checksums)] =
            &[("when_supported", Checksums::Crc64Nvme), ("when_required", Checksums::WhenRequired)];
        let name = |shared: &str| names.name(shared);
        let endpoint = endpoint(names)?;
        let max_parts =
            value::number(names.vars, &name("S3_MAX_PARTS"))?.and_then(|parts| parts.try_into().ok());
        let checksums = value::choice(names.vars, &name("S3_CHECKSUMS"), CHECKSUMS)?.unwrap_or_default();
        let object = object::read(names)?;
        if object.lock.is_some() && checksums == Checksums::WhenRequired {
            return Err(object::lock_without_checksums(names));
        }
        Ok(S3Access {
            region: names.vars.get_or_default(&name("AWS_REGION"))?.unwrap_or_default(),
            credentials: Credentials::read(names)?,
            path_style: value::boolean(names.vars, &name("S3_PATH_STYLE"))?.unwrap_or(endpoint.is_some()),
            endpoint,
            max_parts: max_parts.unwrap_or(u32::MAX),
            checksums,
            ca_file: certificates(names.vars, &name("S3_CA_FILE"))?,
            object,
        })
    }
}

impl Credentials {
    /// Reads `…AWS_ACCESS_KEY_ID` and `…AWS_SECRET_ACCESS_KEY`, which must be set together.
    pub(super) fn read(names: StoreVars<'_>) -> Result<Option<Credentials>, ConfigError> {
        let [id_name, secret_name] =
            ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| names.name(name));
        let incomplete = |missing: &str, present: &str| {
            ConfigError::new(
                missing,
                format!("is not set, but {present} is"),
                "set both, or neither for the standard AWS chain of credentials",
            )
        };
        match (names.vars.get(&id_name)?, names.vars.get(&secret_name)?) {
            (Some(access_key_id), Some(secret)) => {
                Ok(Some(Credentials { access_key_id, secret_access_key: Secret::new(secret) }))
            }
            (None, None) => Ok(None),
            (Some(_), None) => Err(incomplete(&secret_name, &id_name)),
            (None, Some(_)) => Err(incomplete(&id_name, &secret_name)),
        }
    }
}

fn endpoint(names: StoreVars<'_>) -> Result<Option<String>, ConfigError> {
    let Some(text) = names.get("S3_ENDPOINT")? else { return Ok(None) };
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    let bare = host.trim_end_matches('/');
    if bare.is_empty() || bare.contains(['/', '@', '?', ' ']) {
        return Err(ConfigError::new(
            &names.name("S3_ENDPOINT"),
            "is not the URL of a host",
            "use https://host or http://host:port, without a path and without keys",
        ));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// Reads `BACKUP_…_CA_FILE`. The value is a path, so `_FILE` is part of its name.
pub(super) fn certificates(vars: &Vars, name: &str) -> Result<Option<PathBuf>, ConfigError> {
    let Some(path) = vars.get(name)? else { return Ok(None) };
    match std::fs::read(&path) {
        Ok(_) => Ok(Some(PathBuf::from(path))),
        Err(source) => Err(ConfigError {
            source: Some(source),
            ..ConfigError::new(
                name,
                format!("names a file that cannot be read: {path}"),
                "mount a PEM file of CA certificates at this path",
            )
        }),
    }
}
