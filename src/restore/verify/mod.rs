//! Verifies a backup without a database. First the three objects are checked against each other
//! ([`describe`]). Then every byte of the dump is read ([`content`]): its checksums are compared, each
//! member is decompressed, and each table's rows are counted and digested.
//!
//! Every problem is reported, not only the first, except problems that follow from a reported one. For an
//! encrypted backup without an identity, only the stored bytes can be verified: sizes and checksums.
//!
//! Memory: the pieces of the download, see [`download`](crate::pipeline::download), 512 KiB, and the table of
//! contents.

mod content;
mod places;
mod reading;
mod seek_table;

use std::sync::Arc;

use super::backup::{Description, Problem, Problems, describe};
use crate::archive::ArchiveError;
use crate::archive::encryption::{Identities, SealError};
use crate::archive::key::BackupId;
use crate::archive::manifest::Manifest;
use crate::archive::toc_file::TocFile;
use crate::storage::{Store, StoreError};

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Verified {
    /// The size of the dump object in bytes.
    pub size: u64,
    /// The size of its text in bytes.
    pub raw_size: u64,
    /// The number of tables, with or without rows.
    pub tables: u64,
    /// The number of rows.
    pub rows: u64,
    /// The backup is encrypted, and no given identity decrypts it.
    pub is_locked: bool,
    /// The problems that were found.
    pub problems: Problems,
}

/// Verifies one backup. Fails only if the store fails.
pub async fn verify(
    store: &Arc<dyn Store>,
    prefix: &str,
    id: &BackupId,
    identities: Option<&Identities>,
) -> Result<Verified, StoreError> {
    let mut verified = Verified::default();
    let described = describe(store, prefix, id, identities, &mut verified.problems).await?;
    let Some(Description { manifest, locked, toc, is_coherent, stored, object }) = described else {
        return Ok(verified);
    };
    verified.size = manifest.dump.size;
    verified.raw_size = manifest.dump.raw_size;
    verified.tables = manifest.totals().tables;
    verified.rows = manifest.totals().rows;
    verified.is_locked = locked.is_some();
    if let Some(source @ SealError::WrongIdentity) = locked {
        let object = store.url(&id.stem(prefix));
        verified
            .problems
            .push(Problem::Unreadable { object, source: ArchiveError::Sealed { what: "manifest", source } });
    }
    if let Some((stored, size)) = stored.filter(|(_, size)| *size > 0) {
        let toc = toc.filter(|_| is_coherent && object.is_some()).unwrap_or_else(|| without_toc(&manifest));
        let opened = object.and_then(|object| object.opened().cloned());
        let problems = content::check(&stored, opened, size, &manifest, toc).await?;
        verified.problems.append(problems);
    }
    Ok(verified)
}

/// Without a consistent table of contents, only the dump's checksums can be compared.
fn without_toc(manifest: &Manifest) -> TocFile {
    TocFile {
        format_version: manifest.format_version,
        file: manifest.dump.file.clone(),
        compression: manifest.dump.compression,
        size: manifest.dump.size,
        raw_size: manifest.dump.raw_size,
        members: Vec::new(),
        checksums: Vec::new(),
        frame: Vec::new(),
        database: Vec::new(),
        entries: Vec::new(),
    }
}
