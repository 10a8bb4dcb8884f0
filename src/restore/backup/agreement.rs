//! Checks that the manifest and the table of contents belong to the backup, agree with each other, and are
//! consistent.

use std::collections::{HashMap, HashSet};

use super::{Problem, Problems};
use crate::archive::entry_kind::EntryKind;
use crate::archive::key::{BackupId, Part};
use crate::archive::manifest::Manifest;
use crate::archive::toc_check;
use crate::archive::toc_file::TocFile;

/// Checks that the manifest belongs to the backup whose name it has.
pub(super) fn manifest_is_of(manifest: &Manifest, id: &BackupId, problems: &mut Problems) {
    // Only the file names contain the writer.
    let said = BackupId { writer: id.writer, ..BackupId::new(manifest.database.clone(), manifest.started) };
    let dump = id.file_name(Part::Dump(manifest.dump.compression.into(), manifest.cipher()));
    let toc = id.file_name(Part::Toc(manifest.cipher()));
    let pairs = [
        (said.to_string(), id.to_string()),
        (manifest.dump.file.clone(), dump),
        (manifest.toc.file.clone(), toc),
    ];
    for (said, expected) in pairs {
        if said != expected {
            return problems.push(Problem::ForeignManifest { said, expected });
        }
    }
}

/// Reports contradictions between the table of contents and the manifest, and within the table of contents;
/// returns false if it contradicts itself.
pub(super) fn toc_agrees(toc: &TocFile, manifest: &Manifest, problems: &mut Problems) -> bool {
    let mut is_coherent = true;
    toc_check::check(toc, &mut |what| {
        is_coherent = false;
        problems.push(Problem::Contradiction { with: "itself", what });
    });
    let mut contradiction = |what| problems.push(Problem::Contradiction { with: "the manifest", what });
    let dump = &manifest.dump;
    if toc.file != dump.file {
        contradiction(format!("it describes {}, not {}", toc.file, dump.file));
    }
    let packed_size = manifest.packed_size().unwrap_or_default();
    if (toc.size, toc.raw_size) != (packed_size, dump.raw_size) {
        contradiction(format!(
            "{} bytes with {} of text, not {packed_size} with {}",
            toc.size, toc.raw_size, dump.raw_size
        ));
    }
    if toc.entries.len() as u64 != manifest.entries {
        contradiction(format!("{} entries, not {}", toc.entries.len(), manifest.entries));
    }
    let data: HashMap<u32, _> =
        toc.entries.iter().filter_map(|entry| Some((entry.id, (entry, entry.data?)))).collect();
    for table in manifest.tables() {
        match data.get(&table.dump_id) {
            Some((entry, data))
                if (data.rows, data.digest) == (table.rows, table.digest)
                    && (&entry.tag, entry.namespace.as_ref()) == (&table.name, Some(&table.namespace)) => {}
            _ => contradiction(format!("the rows of {}.{}", table.namespace, table.name)),
        }
    }
    let listed: HashSet<u32> = manifest.tables().iter().map(|table| table.dump_id).collect();
    for entry in
        toc.entries.iter().filter(|entry| entry.desc == EntryKind::TableData && !listed.contains(&entry.id))
    {
        contradiction(format!(
            "the rows of {}, which the manifest does not list",
            toc_check::entry_name(entry)
        ));
    }
    if listed.len() != manifest.tables().len() {
        contradiction("the manifest lists a table twice".to_owned());
    }
    is_coherent
}
