//! Checks whether the newest backup of each database is recent enough.
//!
//! A backup carries the start time of its dump and becomes visible when the dump has ended. The newest backup
//! is therefore normally up to one interval plus the duration of one dump old. A backup older than one and a
//! half intervals is overdue. With a cron expression, the interval is the longest time between two starts. A
//! backup with a timestamp in the future does not count.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::pipeline::backups::{ListedBackup, NewestBackup};

/// Returns the age beyond which a backup is overdue.
pub fn allowed_age(interval: Duration) -> Duration {
    interval + interval / 2
}

/// The freshness of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Configured name of the database.
    pub database: String,
    /// Its newest complete backup, and the backups with a timestamp in the future.
    pub newest: NewestBackup,
    /// Age of the newest backup; zero if its timestamp is ahead of this machine's clock.
    pub age: Option<Duration>,
    /// Status of the newest backup.
    pub state: FreshnessStatus,
}

/// Status of the newest backup of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreshnessStatus {
    /// The newest backup is recent enough.
    Fresh,
    /// The newest backup is too old.
    Overdue,
    /// The database has no backup.
    Missing,
}

impl FreshnessStatus {
    /// Returns the status as tables and JSON show it.
    pub fn as_str(self) -> &'static str {
        match self {
            FreshnessStatus::Fresh => "ok",
            FreshnessStatus::Overdue => "overdue",
            FreshnessStatus::Missing => "missing",
        }
    }
}

/// Returns the freshness of the named databases, or of every database that has a backup if no name is given.
pub fn evaluate(
    databases: &[String],
    backups: Vec<ListedBackup>,
    now: Timestamp,
    allowed: Duration,
) -> Vec<Freshness> {
    let mut whole: BTreeMap<String, Vec<ListedBackup>> = BTreeMap::new();
    // A manifest without its dump cannot be restored.
    for backup in backups.into_iter().filter(|backup| backup.dump.is_some()) {
        whole.entry(backup.id.database.clone()).or_default().push(backup);
    }
    let names: Vec<String> =
        if databases.is_empty() { whole.keys().cloned().collect() } else { databases.to_vec() };
    let evaluate_one = |database: String| {
        let newest = NewestBackup::of(whole.remove(&database).unwrap_or_default(), now);
        let age = newest.backup.as_ref().map(|backup| {
            Duration::try_from(now.duration_since(backup.id.started)).unwrap_or(Duration::ZERO)
        });
        let state = match age {
            None => FreshnessStatus::Missing,
            Some(age) if age > allowed => FreshnessStatus::Overdue,
            Some(_) => FreshnessStatus::Fresh,
        };
        Freshness { database, newest, age, state }
    };
    names.into_iter().map(evaluate_one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::key::{BackupId, Cipher, Packing};
    use crate::pipeline::backups::Listed;

    fn backup(database: &str, started: i64, whole: bool) -> ListedBackup {
        let id = BackupId::new(database, Timestamp::from_second(started).unwrap());
        let dump =
            whole.then(|| Listed { key: "k".into(), packing: Packing::Gzip, cipher: Cipher::None, size: 1 });
        ListedBackup { id, dump, has_toc: true }
    }

    #[test]
    fn the_grace_is_half_the_interval() {
        assert_eq!(allowed_age(Duration::from_secs(21_600)), Duration::from_secs(32_400));
        assert_eq!(allowed_age(Duration::from_secs(1)), Duration::from_millis(1_500));
    }

    #[test]
    fn the_newest_whole_backup_decides() {
        let backups = vec![
            backup("a", 900, true),
            backup("a", 100, true),
            backup("a", 999, false),
            backup("b", 100, true),
            backup("other", 1, true),
        ];
        let names = ["a", "b", "c"].map(str::to_owned);
        let now = Timestamp::from_second(1_000).unwrap();
        let databases = evaluate(&names, backups, now, Duration::from_secs(100));
        let seen: Vec<_> =
            databases.iter().map(|s| (s.database.as_str(), s.state, s.age.map(|a| a.as_secs()))).collect();
        assert_eq!(
            seen,
            [
                ("a", FreshnessStatus::Fresh, Some(100)),
                ("b", FreshnessStatus::Overdue, Some(900)),
                ("c", FreshnessStatus::Missing, None),
            ]
        );
    }

    #[test]
    fn a_backup_from_the_future_hides_no_overdue_one() {
        let backups =
            vec![backup("a", 100, true), backup("a", 400 * 86_400, true), backup("b", 400 * 86_400, true)];
        let now = Timestamp::from_second(1_000).unwrap();
        let databases = evaluate(&[], backups, now, Duration::from_secs(100));
        let seen: Vec<_> = databases.iter().map(|s| (s.state, s.newest.future.len())).collect();
        assert_eq!(seen, [(FreshnessStatus::Overdue, 1), (FreshnessStatus::Missing, 1)]);
    }

    #[test]
    fn without_names_the_store_says_which() {
        let now = Timestamp::from_second(50).unwrap();
        let databases = evaluate(&[], vec![backup("b", 100, true)], now, Duration::from_secs(1));
        // The store's clock is ahead of this machine's.
        assert_eq!((databases.len(), databases[0].age), (1, Some(Duration::ZERO)));
        assert!(evaluate(&[], Vec::new(), now, Duration::ZERO).is_empty());
    }
}
