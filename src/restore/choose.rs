//! Chooses a backup: by key, the latest one, or the newest at or before a time. A backup dated in the future
//! can only be chosen by its key.

use std::convert::Infallible;
use std::str::FromStr;

use jiff::Timestamp;

use crate::archive::key::BackupId;
use crate::clock;
use crate::pipeline::backups::{self, NewestBackup};
use crate::storage::{Store, StoreError};

/// The requested backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupSelector {
    /// The newest backup.
    Latest,
    /// The newest backup that started at or before this time.
    At(Timestamp),
    /// The backup that the object with this key or URL belongs to.
    Key(String),
}

/// Why no backup was chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChooseError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The text is neither a time nor the key of a backup's object.
    #[error(
        "\"{text}\" is not a backup\nHINT: use latest, a time such as 2026-04-26T06:00Z, or a key from `pg-backup list`"
    )]
    NotAKey {
        /// The requested text.
        text: String,
    },
    /// The database has no backup, or none that is old enough.
    #[error("there is no backup of {database}{} under {place}{}", before(*.at), but_future(*.future))]
    None {
        /// The database.
        database: String,
        /// The requested time.
        at: Option<Timestamp>,
        /// The place that was searched.
        place: String,
        /// The number of backups dated in the future.
        future: usize,
    },
}

fn before(at: Option<Timestamp>) -> String {
    at.map_or_else(String::new, |at| format!(" that started at or before {at}"))
}

fn but_future(number: usize) -> String {
    match number {
        0 => String::new(),
        number => format!(
            ", but {number} dated in the future\nHINT: check this machine's clock; select a backup that is dated in the future by its key (see `pg-backup list`)"
        ),
    }
}

impl FromStr for BackupSelector {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            _ if text.eq_ignore_ascii_case("latest") => BackupSelector::Latest,
            Ok(at) => BackupSelector::At(at),
            Err(_) => BackupSelector::Key(text.to_owned()),
        })
    }
}

impl BackupSelector {
    /// Returns the backup if it was requested by key. Reads nothing from the store.
    pub fn named(&self, store: &dyn Store, prefix: &str) -> Result<Option<BackupId>, ChooseError> {
        let Some(key) = self.key(store) else { return Ok(None) };
        match BackupId::parse(prefix, &key) {
            Some((id, _)) => Ok(Some(id)),
            None => Err(ChooseError::NotAKey { text: key }),
        }
    }

    /// Returns the requested key, without the store's URL.
    pub fn key(&self, store: &dyn Store) -> Option<String> {
        let BackupSelector::Key(text) = self else { return None };
        Some(text.strip_prefix(&store.url("")).unwrap_or(text).trim_start_matches('/').to_owned())
    }

    /// Returns the requested backup of `database`. For a key, returns the backup that the key names, of any
    /// database.
    pub async fn find(
        &self,
        store: &dyn Store,
        prefix: &str,
        database: &str,
    ) -> Result<BackupId, ChooseError> {
        if let Some(id) = self.named(store, prefix)? {
            return Ok(id);
        }
        let at = match self {
            BackupSelector::At(at) => Some(*at),
            BackupSelector::Latest | BackupSelector::Key(_) => None,
        };
        let found = backups::list(store, prefix, Some(database)).await?;
        let found = found.into_iter().filter(|backup| at.is_none_or(|at| backup.id.started <= at));
        let newest = NewestBackup::of(found, clock::now());
        let future = newest.future_notice();
        let chosen = newest.backup.map(|backup| backup.id).ok_or_else(|| ChooseError::None {
            database: database.to_owned(),
            at,
            place: store.url(&BackupId::database_prefix(prefix, database)),
            future: newest.future.len(),
        })?;
        if let Some(future) = future {
            tracing::warn!("{future}");
        }
        Ok(chosen)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::archive::key::Part;
    use crate::storage::memory::MemoryStore;

    #[tokio::test]
    async fn a_backup_is_found_by_its_time_and_by_each_of_its_keys() {
        let store = MemoryStore::default();
        let ids: Vec<BackupId> = ["2026-04-26T00:00:00Z", "2026-04-26T06:00:00Z", "2026-04-26T12:00:00Z"]
            .map(|time| BackupId::new("metadata", time.parse().unwrap()))
            .into();
        for id in &ids {
            store.put(&id.key("p", Part::Manifest), Bytes::from_static(b"{}"), "text/plain").await.unwrap();
        }
        let find = async |text: &str| {
            let choice: BackupSelector = text.parse().unwrap();
            choice.find(&store, "p", "metadata").await.map_err(|error| error.to_string())
        };
        assert_eq!(find("latest").await.unwrap(), ids[2]);
        assert_eq!(find("2026-04-26T06:00Z").await.unwrap(), ids[1]);
        assert_eq!(find("2026-04-26T08:00+02:00").await.unwrap(), ids[1]);
        assert_eq!(find("2026-04-26T05:59:59Z").await.unwrap(), ids[0]);
        let none = find("2026-04-25T00:00Z").await.unwrap_err();
        assert!(
            none.contains("no backup of metadata that started at or before 2026-04-25T00:00:00Z"),
            "{none}"
        );
        for part in [Part::Manifest, Part::TOCS[0]] {
            let key = ids[0].key("p", part);
            assert_eq!(find(&key).await.unwrap(), ids[0]);
            assert_eq!(find(&store.url(&key)).await.unwrap(), ids[0]);
        }
        // A backup written with a clock that was ahead.
        let future = BackupId::new("metadata", "9999-04-26T00:00:00Z".parse().unwrap());
        store.put(&future.key("p", Part::Manifest), Bytes::from_static(b"{}"), "text/plain").await.unwrap();
        assert_eq!(find("latest").await.unwrap(), ids[2]);
        assert_eq!(find("9999-05-01T00:00Z").await.unwrap(), ids[2]);
        assert_eq!(find(&future.key("p", Part::Manifest)).await.unwrap(), future);
        let wrong = find("yesterday").await.unwrap_err();
        assert!(wrong.starts_with("\"yesterday\" is not a backup"), "{wrong}");
    }
}
