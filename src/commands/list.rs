//! `pg-backup list`: lists the backups in the store, oldest first.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::archive::key::{BackupId, Cipher, Packing, Part};
use crate::clock;
use crate::commands::config_file::ConfigFile;
use crate::config::{Config, Purpose};
use crate::error::{Error, Result};
use crate::pipeline::backups::{self, ListedBackup};
use crate::quantity::size;
use crate::storage::Store;

use super::table::{print_json, print_lines, print_table, table};

/// Options of `list`.
#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    #[command(flatten)]
    pub(crate) config: ConfigFile,
    /// Print JSON for programs.
    #[arg(long)]
    json: bool,
    /// Database whose backups are listed [default: all].
    #[arg(value_name = "DATABASE")]
    database: Option<String>,
}

/// A backup in the output of `--json`.
#[derive(Debug, Serialize)]
struct Entry {
    database: String,
    started: Timestamp,
    /// URL of the dump; `None` if only the manifest exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    dump: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    packing: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypted: Option<bool>,
    manifest: String,
    /// Whether dump, table of contents and manifest exist.
    complete: bool,
    /// Whether its timestamp is in the future, so that it never counts as the latest.
    future: bool,
}

/// Lists the backups.
pub async fn list(args: &ListArgs) -> Result<()> {
    let config = Config::load(Purpose::ReadStore, args.config.path.as_deref())?;
    let store = config.store.open().await?;
    let found = backups::list(&*store, &config.prefix, args.database.as_deref())
        .await
        .map_err(|error| Error::Store(Box::new(error)))?;
    let now = clock::now();
    if args.json {
        let entries: Vec<Entry> =
            found.iter().map(|backup| entry(&*store, &config.prefix, backup, now)).collect();
        return print_json(&entries);
    }
    if found.is_empty() {
        return print_lines(&format!("no backups under {}", store.url(&BackupId::prefix(&config.prefix))));
    }
    print_table(&rows(&*store, &found, now))
}

fn entry(store: &dyn Store, prefix: &str, backup: &ListedBackup, now: Timestamp) -> Entry {
    let dump = backup.dump.as_ref();
    Entry {
        database: backup.id.database.clone(),
        started: backup.id.started,
        dump: dump.map(|dump| store.url(&dump.key)),
        size: dump.map(|dump| dump.size),
        packing: dump.map(|dump| packing(dump.packing)),
        encrypted: dump.map(|dump| dump.cipher == Cipher::Age),
        manifest: store.url(&backup.id.key(prefix, Part::Manifest)),
        complete: dump.is_some() && backup.has_toc,
        future: backup.id.is_future(now),
    }
}

fn rows(store: &dyn Store, found: &[ListedBackup], now: Timestamp) -> comfy_table::Table {
    let mut table = table(&["DATABASE", "STARTED", "SIZE>", "DUMP"]);
    for backup in found {
        let (bytes, place) = match &backup.dump {
            Some(dump) => (size(dump.size), store.url(&dump.key)),
            None => ("-".to_owned(), "missing, only the manifest exists".to_owned()),
        };
        let future = if backup.id.is_future(now) { " (in the future)" } else { "" };
        let started = format!("{}{future}", backup.id.started);
        table.add_row([backup.id.database.clone(), started, bytes, place]);
    }
    table
}

fn packing(packing: Packing) -> &'static str {
    match packing {
        Packing::Plain => "none",
        Packing::Gzip => "gzip",
        Packing::Zstd => "zstd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::backups::Listed;
    use crate::storage::memory::MemoryStore;

    fn sample() -> Vec<ListedBackup> {
        let id = BackupId::new("metadata", "2026-04-26T16:29:58Z".parse().unwrap());
        let key = id.key("p", Part::Dump(Packing::Gzip, Cipher::Age));
        vec![
            ListedBackup {
                id: id.clone(),
                dump: Some(Listed { key, packing: Packing::Gzip, cipher: Cipher::Age, size: 1_500_000 }),
                has_toc: true,
            },
            ListedBackup { id, dump: None, has_toc: true },
        ]
    }

    #[test]
    fn the_table_shows_size_and_place() {
        let now = "2026-04-26T17:00:00Z".parse().unwrap();
        let table = rows(&MemoryStore::default(), &sample(), now).trim_fmt();
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].starts_with("DATABASE  STARTED"), "{table}");
        assert!(lines[1].starts_with("metadata  2026-04-26T16:29:58Z  1.4 MiB  "), "{table}");
        assert!(lines[1].ends_with("metadata-2026-04-26T16-29-58Z.sql.gz.age"), "{table}");
        assert!(lines[2].contains("missing, only the manifest exists"), "{table}");
        let before = "2026-04-26T16:00:00Z".parse().unwrap();
        let table = rows(&MemoryStore::default(), &sample(), before).trim_fmt();
        assert!(table.contains("metadata  2026-04-26T16:29:58Z (in the future)  1.4 MiB  "), "{table}");
    }

    #[test]
    fn json_says_what_is_whole() {
        let store = MemoryStore::default();
        let json: Vec<serde_json::Value> = sample()
            .iter()
            .map(|b| serde_json::to_value(entry(&store, "p", b, b.id.started)).unwrap())
            .collect();
        assert_eq!((&json[0]["complete"], &json[0]["future"]), (&true.into(), &false.into()));
        assert_eq!((&json[0]["size"], &json[0]["encrypted"]), (&1_500_000.into(), &true.into()));
        assert_eq!(json[0]["started"], "2026-04-26T16:29:58Z");
        assert_eq!((&json[1]["complete"], json[1].get("size")), (&false.into(), None));
    }
}
