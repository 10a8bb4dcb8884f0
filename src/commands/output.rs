//! Where `dump` and `dumpall` write: the destination, the compression and upload on the way to it, and their
//! messages on standard error.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::input::integer;
use crate::archive::compression::{Compression, CompressionError};
use crate::archive::key::{Cipher, Part};
use crate::config;
use crate::dump::DumpError;
use crate::dump::backup::warn_of_parts;
use crate::error::{Error, Result};
use crate::pipeline::{PipelineOptions, Sink, UploadOptions};
use crate::sql::Warning;
use crate::sql::query::to_bytes;
use crate::storage::Store;

/// Options of `dump` and `dumpall` about the destination.
#[derive(Args, Clone, Debug, Default)]
pub struct OutputArgs {
    /// Write the dump to a file, s3://bucket/key or file:///path; the default is standard output.
    #[arg(short = 'f', long, value_name = "FILENAME", allow_hyphen_values = true)]
    pub(super) file: Option<String>,
    /// Do not wait for changes to be written safely to disk.
    #[arg(long)]
    pub(super) no_sync: bool,
}

/// Destination of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpOutput {
    /// Standard output.
    Stdout,
    /// A file, by its path or as `file:///path`. It becomes visible when it is complete; a device or pipe is
    /// written directly.
    File {
        /// Path of the file.
        path: PathBuf,
        /// Whether to sync the file to disk at the end; false with `--no-sync`.
        sync: bool,
    },
    /// `s3://bucket/key`.
    S3 {
        /// Name of the bucket.
        bucket: String,
        /// Key of the object.
        key: String,
    },
}

impl OutputArgs {
    /// Parses the destination.
    pub(super) fn output(&self) -> Result<DumpOutput> {
        let file = self.file.as_deref().filter(|file| !matches!(*file, "" | "-"));
        let Some(file) = file else { return Ok(DumpOutput::Stdout) };
        if let Some(rest) = file.strip_prefix("s3://") {
            return match rest.split_once('/') {
                Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() && !key.ends_with('/') => {
                    Ok(DumpOutput::S3 { bucket: bucket.to_owned(), key: key.to_owned() })
                }
                _ => Err(Error::usage(format!("\"{file}\" names no object: use s3://bucket/key"))),
            };
        }
        let path = match file.strip_prefix("file://") {
            Some(path) if path.starts_with('/') && !path.ends_with('/') => path,
            Some(_) => {
                return Err(Error::usage(format!("\"{file}\" names no file: use file:///absolute/path")));
            }
            None => file,
        };
        Ok(DumpOutput::File { path: PathBuf::from(path), sync: !self.no_sync })
    }
}

impl DumpOutput {
    /// Returns the memory limit of a dump in bytes: the configured one if the output is on S3, as in a round.
    pub(super) fn memory_limit(&self) -> Result<u64> {
        Ok(match self {
            DumpOutput::S3 { .. } => config::memory()?,
            DumpOutput::Stdout | DumpOutput::File { .. } => config::DEFAULT_MEMORY,
        })
    }

    /// Opens the output. `opened` receives the store, if the output is in one.
    pub(super) async fn open(
        &self,
        compression: Compression,
        upload: UploadOptions,
        opened: &OnceLock<Arc<dyn Store>>,
    ) -> Result<Sink> {
        Ok(match self {
            DumpOutput::Stdout => Sink::stdout().map_err(DumpError::from)?,
            DumpOutput::File { path, sync } => Sink::file(path, *sync).map_err(DumpError::from)?,
            DumpOutput::S3 { bucket, key } => {
                let store = config::s3_access()?.open(bucket).await?;
                let store = Arc::clone(opened.get_or_init(|| store));
                warn_of_parts(key, &upload, store.part_limits());
                let part = Part::Dump(compression.into(), Cipher::None);
                Sink::store(store, key.clone(), part.content_type(), upload)
            }
        })
    }
}

/// Parses `-Z`: pg_dump's 0 to 9, or a method with a level.
pub(super) fn compression(text: Option<&str>) -> Result<Compression> {
    let Some(text) = text else { return Ok(Compression::None) };
    match text.parse() {
        Ok(compression) => return Ok(compression),
        Err(error @ CompressionError::Level { .. }) => return Err(Error::usage(error.to_string())),
        Err(CompressionError::Unknown(_)) => {}
    }
    let level = integer(Some(text), "-Z/--compress", 0, 9)?.unwrap_or(0);
    match u8::try_from(level) {
        Ok(level @ 1..) => Ok(Compression::Gzip { level }),
        _ => Ok(Compression::None),
    }
}

/// Returns the options of compression and upload within a memory limit in bytes.
pub(super) fn packing(
    memory: u64,
    compression: Compression,
    cancel: &CancellationToken,
) -> (PipelineOptions, UploadOptions) {
    let options = PipelineOptions {
        compression,
        cancel: cancel.clone(),
        // Only a store uses checksums, and only the table of contents of a backup uses the layout.
        checksums: false,
        layout: false,
        ..PipelineOptions::within(memory)
    };
    (options, UploadOptions::within(memory))
}

/// Prints the warnings, as pg_dump does; names stay in the dump's encoding.
pub(super) fn warn(warnings: &[Warning]) {
    warnings.iter().flat_map(Warning::lines).for_each(|line| tell(&line));
}

/// Writes a line to standard error, in pg_dump's format.
pub(super) fn tell(line: &str) {
    let line = [b"pg-backup: ", &to_bytes(line)[..], b"\n"].concat();
    // A write error is ignored, because it cannot be reported.
    let _ = std::io::stderr().write_all(&line);
}
