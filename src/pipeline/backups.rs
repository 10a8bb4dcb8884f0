//! Writes a backup's table of contents and manifest to a store, and finds and reads backups.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use super::PipelineError;
use super::digest::ObjectDigest;
use crate::archive::ArchiveError;
use crate::archive::encryption::{Identities, Recipients};
use crate::archive::key::{BackupId, Cipher, Packing, Part};
use crate::archive::manifest::{Manifest, TocObject};
use crate::archive::toc_file::TocFile;
use crate::archive::toc_reader::TocLimit;
use crate::storage::{IfExists, Pages, Store, StoreError};

/// An error in reading a backup's manifest or table of contents.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object cannot be parsed or decrypted.
    #[error("cannot read {object}")]
    Unreadable {
        /// The object's URL.
        object: String,
        /// The cause.
        source: ArchiveError,
    },
    /// The object differs from what the manifest says.
    #[error("{object} does not match its manifest: {difference}")]
    Differs {
        /// The object's URL.
        object: String,
        /// The property that differs.
        difference: String,
    },
}

/// A backup in a listing: a set of objects that includes a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedBackup {
    /// The database and the start time.
    pub id: BackupId,
    /// The dump object as the listing shows it; `None` if it is missing although the manifest exists.
    pub dump: Option<Listed>,
    /// Whether the table of contents exists.
    pub has_toc: bool,
}

/// A dump object in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The object's key.
    pub key: String,
    /// The compression format, from the name.
    pub packing: Packing,
    /// The encryption, from the name.
    pub cipher: Cipher,
    /// The size in bytes.
    pub size: u64,
}

/// How far ahead of this machine's clock a backup may be dated, because clocks differ slightly. S3 itself
/// rejects requests signed by a clock that differs by more.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(15);

/// The newest of a set of backups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewestBackup {
    /// The newest backup; `None` if there is none except those in `future`.
    pub backup: Option<ListedBackup>,
    /// Backups dated in the future, oldest first. They come from a clock that was ahead. They are ignored,
    /// because they would hide all later backups.
    pub future: Vec<BackupId>,
}

impl NewestBackup {
    /// Chooses the newest of one database's backups, which may be in any order. All code that needs the
    /// newest or latest backup uses this function.
    pub fn of(backups: impl IntoIterator<Item = ListedBackup>, now: Timestamp) -> NewestBackup {
        let mut newest = NewestBackup::default();
        for backup in backups {
            if backup.id.is_future(now) {
                newest.future.push(backup.id);
            } else if newest.backup.as_ref().is_none_or(|known| known.id.started < backup.id.started) {
                newest.backup = Some(backup);
            }
        }
        newest.future.sort();
        newest
    }

    /// Returns a sentence about the backups dated in the future, if any.
    pub fn future_notice(&self) -> Option<String> {
        let (first, last) = (self.future.first()?, self.future.last()?);
        let database = &first.database;
        Some(match self.future.len() {
            1 => format!(
                "a backup of {database} is dated in the future ({}) and does not count as the newest",
                first.started
            ),
            number => format!(
                "{number} backups of {database} are dated in the future ({} to {}) and do not count as the newest",
                first.started, last.started
            ),
        })
    }
}

impl BackupId {
    /// Returns whether the backup's date is later than `now` by more than [`CLOCK_TOLERANCE`].
    pub fn is_future(&self, now: Timestamp) -> bool {
        self.started.duration_since(now) > CLOCK_TOLERANCE
    }
}

/// Lists the backups under a prefix, of one database or of all, sorted by database and then by time, oldest
/// first. Reads no object: a manifest in the listing identifies a backup, and the listing includes the sizes.
pub async fn list(
    store: &dyn Store,
    prefix: &str,
    database: Option<&str>,
) -> Result<Vec<ListedBackup>, StoreError> {
    let below = match database {
        Some(database) => BackupId::database_prefix(prefix, database),
        None => BackupId::prefix(prefix),
    };
    #[derive(Default)]
    struct Found {
        manifest: bool,
        toc: bool,
        dump: Option<Listed>,
    }
    let mut found: BTreeMap<BackupId, Found> = BTreeMap::new();
    let mut pages = Pages::default();
    while let Some(objects) = pages.next(|after| store.list_page(&below, after)).await? {
        for object in objects {
            let Some((id, part)) = BackupId::parse(prefix, &object.key) else { continue };
            // They are not part of a backup and do not imply that one exists.
            if matches!(part, Part::Drill | Part::Claim) {
                continue;
            }
            let entry = found.entry(id).or_default();
            match part {
                Part::Manifest => entry.manifest = true,
                Part::Drill | Part::Claim => {}
                Part::Toc(_) => entry.toc = true,
                Part::Dump(packing, cipher) => {
                    entry.dump = Some(Listed { key: object.key, packing, cipher, size: object.size });
                }
            }
        }
    }
    let whole = found.into_iter().filter(|(_, found)| found.manifest);
    Ok(whole.map(|(id, found)| ListedBackup { id, dump: found.dump, has_toc: found.toc }).collect())
}

/// Writes the table of contents, encrypted if there are recipients. Returns its description for the manifest.
pub async fn write_toc(
    store: &dyn Store,
    prefix: &str,
    id: &BackupId,
    toc: &TocFile<impl serde::Serialize>,
    recipients: Option<&Recipients>,
    if_exists: IfExists,
) -> Result<TocObject, PipelineError> {
    let (packed, raw_size) = toc.to_gzip().map_err(|source| PipelineError::Compress { source })?;
    let (part, bytes) = match recipients {
        None => (Part::Toc(Cipher::None), packed),
        Some(recipients) => {
            let sealed = recipients.seal(&packed).map_err(|source| PipelineError::Encrypt { source })?;
            (Part::Toc(Cipher::Age), sealed)
        }
    };
    let sums = ObjectDigest::of(&bytes);
    store.put_object(&id.key(prefix, part), bytes.into(), part.content_type(), if_exists).await?;
    let raw_size = Some(raw_size);
    Ok(TocObject { file: id.file_name(part), size: sums.size, raw_size, sha256: sums.sha256 })
}

/// Writes the manifest, which makes the backup visible. Must be called last.
pub async fn write_manifest(
    store: &dyn Store,
    prefix: &str,
    id: &BackupId,
    manifest: &Manifest,
    if_exists: IfExists,
) -> Result<(), PipelineError> {
    let key = id.key(prefix, Part::Manifest);
    let json = manifest.to_json();
    if json.len() as u64 > Manifest::MOST_BYTES {
        // [`read_manifest`] would refuse it.
        return Err(StoreError::TooLong { object: store.url(&key), limit: Manifest::MOST_BYTES }.into());
    }
    Ok(store.put_object(&key, json.into(), Part::Manifest.content_type(), if_exists).await?)
}

/// Reads a backup's manifest.
pub async fn read_manifest(store: &dyn Store, prefix: &str, id: &BackupId) -> Result<Manifest, BackupError> {
    let key = id.key(prefix, Part::Manifest);
    let json = store.get(&key, Manifest::MOST_BYTES).await?;
    Manifest::from_json(&json).map_err(|source| BackupError::Unreadable { object: store.url(&key), source })
}

/// Returns the key of a backup's table of contents.
fn toc_key(prefix: &str, id: &BackupId, manifest: &Manifest) -> String {
    id.key(prefix, Part::Toc(manifest.cipher()))
}

/// Reads a backup's table of contents in its stored form and compares its size and SHA-256 with the manifest.
pub async fn read_stored_toc(
    store: &dyn Store,
    prefix: &str,
    id: &BackupId,
    manifest: &Manifest,
) -> Result<Bytes, BackupError> {
    let key = toc_key(prefix, id, manifest);
    let stored: Bytes = store.get(&key, manifest.toc.size).await?;
    let sums = ObjectDigest::of(&stored);
    if (sums.size, sums.sha256) != (manifest.toc.size, manifest.toc.sha256) {
        let difference = if sums.size == manifest.toc.size { "SHA-256" } else { "size" };
        return Err(BackupError::Differs { object: store.url(&key), difference: difference.to_owned() });
    }
    Ok(stored)
}

/// Reads and parses a backup's table of contents after comparing its size and SHA-256 with the manifest.
pub async fn read_toc(
    store: &dyn Store,
    prefix: &str,
    id: &BackupId,
    manifest: &Manifest,
    identities: Option<&Identities>,
) -> Result<TocFile, BackupError> {
    let stored = read_stored_toc(store, prefix, id, manifest).await?;
    let limit = TocLimit::of(manifest);
    let toc = match manifest.cipher() {
        Cipher::None => TocFile::from_gzip(&stored, limit),
        Cipher::Age => TocFile::from_sealed(&stored, identities, limit),
    };
    let object = || store.url(&toc_key(prefix, id, manifest));
    toc.map_err(|source| BackupError::Unreadable { object: object(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::key::WriterId;
    use crate::storage::memory::MemoryStore;

    #[test]
    fn a_backup_from_the_future_is_not_the_newest() {
        let now: Timestamp = "2026-04-26T12:00:00Z".parse().unwrap();
        let backup = |time: &str| ListedBackup {
            id: BackupId::new("metadata", time.parse().unwrap()),
            dump: None,
            has_toc: true,
        };
        let newest = |times: &[&str]| NewestBackup::of(times.iter().map(|time| backup(time)), now);
        let (old, ahead) = ("2026-04-26T06:00:00Z", "2026-04-26T12:15:00Z");
        let (future, later) = ("2026-04-26T12:15:01Z", "2027-05-31T00:00:00Z");
        // A difference within the tolerance.
        assert_eq!(newest(&[ahead, old]), NewestBackup { backup: Some(backup(ahead)), future: Vec::new() });
        assert_eq!(newest(&[ahead, old]).future_notice(), None);
        let one = newest(&[later, old]);
        assert_eq!(one.backup, Some(backup(old)));
        assert_eq!(
            one.future_notice().unwrap(),
            "a backup of metadata is dated in the future (2027-05-31T00:00:00Z) and does not count as the newest"
        );
        let none = newest(&[later, future]);
        assert_eq!(none.backup, None);
        assert_eq!(
            none.future_notice().unwrap(),
            "2 backups of metadata are dated in the future (2026-04-26T12:15:01Z to 2027-05-31T00:00:00Z) and do not count as the newest"
        );
    }

    #[tokio::test]
    async fn only_a_manifest_makes_a_backup() {
        let store = MemoryStore::default();
        let at = |second: i64| jiff::Timestamp::from_second(1_777_000_000 + second).unwrap();
        let put = async |id: &BackupId, part: Part| {
            store.put(&id.key("p", part), Bytes::from_static(b"x"), "text/plain").await.unwrap();
        };
        let (whole, broken_off, other) =
            (BackupId::new("a", at(0)), BackupId::new("a", at(60)), BackupId::new("b", at(0)));
        for part in [Part::Dump(Packing::Gzip, Cipher::None), Part::Toc(Cipher::None), Part::Manifest] {
            put(&whole, part).await;
            put(&other, part).await;
        }
        put(&broken_off, Part::Dump(Packing::Gzip, Cipher::None)).await;
        put(&broken_off, Part::Toc(Cipher::None)).await;
        put(&BackupId::new("a", at(120)), Part::Claim).await;
        // Another writer's backup of the same second is a separate backup.
        let same_second = whole.of_writer(WriterId::random().unwrap());
        put(&same_second, Part::Manifest).await;
        store.put("p/a/readme", Bytes::new(), "text/plain").await.unwrap();

        let ids = async |database| {
            list(&store, "p", database).await.unwrap().into_iter().map(|b| b.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(None).await, [whole.clone(), same_second.clone(), other.clone()]);
        assert_eq!(ids(Some("a")).await, [whole, same_second]);
        assert!(list(&store, "q", None).await.unwrap().is_empty());
        let listed = list(&store, "p", Some("b")).await.unwrap();
        assert_eq!(
            listed[0].dump.as_ref().unwrap().key,
            other.key("p", Part::Dump(Packing::Gzip, Cipher::None))
        );
        assert!(listed[0].has_toc);
    }

    #[tokio::test]
    async fn a_toc_that_was_changed_is_noticed() {
        let store = MemoryStore::default();
        let mut manifest = crate::archive::manifest::tests::sample();
        let id = BackupId::new("metadata", manifest.started);
        let layout = crate::archive::toc_layout::Layout {
            members: vec![],
            checksums: vec![],
            text: vec![],
            data: vec![],
        };
        let places = layout.into_index();
        let toc = TocFile::new("x".into(), Default::default(), 0, 0, &places, vec![], std::iter::empty);
        let written = TocFile::from_gzip(&toc.to_gzip().unwrap().0, TocLimit::default()).unwrap();
        manifest.toc = write_toc(&store, "p", &id, &toc, None, IfExists::Fail).await.unwrap();
        write_manifest(&store, "p", &id, &manifest, IfExists::Fail).await.unwrap();
        let read = read_manifest(&store, "p", &id).await.unwrap();
        assert_eq!(read_toc(&store, "p", &id, &read, None).await.unwrap(), written);

        manifest.toc.sha256[0] ^= 1;
        let error = read_toc(&store, "p", &id, &manifest, None).await.unwrap_err();
        assert!(error.to_string().ends_with("does not match its manifest: SHA-256"), "{error}");
    }
}
