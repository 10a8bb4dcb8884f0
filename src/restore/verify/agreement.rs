//! Whether manifest and table of contents are of this backup, say the same, and make sense.

use std::collections::HashMap;

use super::{Problem, Problems};
use crate::archive::key::{BackupId, Part};
use crate::archive::manifest::Manifest;
use crate::archive::toc_file::{DataFormat, RawSpan, TocFile};

/// Looks whether the manifest is that of the backup whose name it bears.
pub(super) fn manifest_is_of(manifest: &Manifest, id: &BackupId, problems: &mut Problems) {
    let said = BackupId::new(manifest.database.clone(), manifest.started);
    let dump = id.file_name(Part::Dump(manifest.dump.compression.into(), manifest.cipher()));
    let toc = id.file_name(Part::Toc(manifest.cipher()));
    let pairs = [
        (said.to_string(), id.to_string()),
        (manifest.dump.file.clone(), dump),
        (manifest.toc.file.clone(), toc),
    ];
    for (said, expected) in pairs {
        if said != expected {
            return problems.tell(Problem::ForeignManifest { said, expected });
        }
    }
}

/// Looks for contradictions between the table of contents and the manifest, and within the former.
pub(super) fn toc_agrees(toc: &TocFile, manifest: &Manifest, problems: &mut Problems) {
    let mut contradiction = |with, what| problems.tell(Problem::Contradiction { with, what });
    let dump = &manifest.dump;
    if toc.file != dump.file {
        contradiction("the manifest", format!("it is of {}, not of {}", toc.file, dump.file));
    }
    let packed_size = manifest.packed_size().unwrap_or_default();
    if (toc.size, toc.raw_size) != (packed_size, dump.raw_size) {
        let what = format!(
            "{} bytes with {} of text, not {packed_size} with {}",
            toc.size, toc.raw_size, dump.raw_size
        );
        contradiction("the manifest", what);
    }
    if toc.entries.len() as u64 != manifest.entries {
        contradiction("the manifest", format!("{} entries, not {}", toc.entries.len(), manifest.entries));
    }
    let data: HashMap<u32, _> =
        toc.entries.iter().filter_map(|entry| Some((entry.id, (entry, entry.data?)))).collect();
    for table in manifest.tables() {
        match data.get(&table.dump_id) {
            Some((entry, data))
                if (data.rows, data.digest) == (table.rows, table.digest)
                    && (&entry.tag, entry.namespace.as_ref()) == (&table.name, Some(&table.namespace)) => {}
            _ => contradiction("the manifest", format!("the rows of {}.{}", table.namespace, table.name)),
        }
    }
    members_are_contiguous(toc, &mut contradiction);
    places_are_inside(toc, &mut contradiction);
}

fn members_are_contiguous(toc: &TocFile, contradiction: &mut impl FnMut(&'static str, String)) {
    let (mut object, mut raw) = (0, 0);
    for (index, member) in toc.members.iter().enumerate() {
        if (member.object_offset, member.raw_offset) != (object, raw) {
            return contradiction(
                "itself",
                format!("member {index} does not begin where the one before ends"),
            );
        }
        object += member.object_length;
        raw += member.raw_length;
    }
    if object > toc.size || raw != toc.raw_size {
        contradiction("itself", "its members do not hold the dump's text".to_owned());
    }
}

fn places_are_inside(toc: &TocFile, contradiction: &mut impl FnMut(&'static str, String)) {
    let is_inside =
        |span: RawSpan| span.offset.checked_add(span.length).is_some_and(|end| end <= toc.raw_size);
    if !toc.frame.iter().all(|span| is_inside(*span)) {
        contradiction("itself", "text of the frame lies outside of the dump".to_owned());
    }
    for entry in &toc.entries {
        let spans = entry.text.iter().copied().chain(entry.drop).chain(entry.copy);
        let data_is_inside = entry.data.is_none_or(|data| {
            let (first, number) = data.members;
            is_inside(data.raw)
                && first.checked_add(number).is_some_and(|end| end <= toc.members.len() as u64)
        });
        let mut spans = spans.chain(entry.data.map(|data| data.raw));
        if !spans.all(is_inside) || !data_is_inside {
            contradiction(
                "itself",
                format!(
                    "{} lies outside of the dump",
                    name(&entry.desc, entry.namespace.as_deref(), &entry.tag)
                ),
            );
        }
    }
    let copies =
        toc.entries.iter().filter_map(|entry| entry.data).filter(|data| data.format == DataFormat::Copy);
    let rows_in_members: u64 = toc.members.iter().map(|member| member.rows).sum();
    let rows_elsewhere = toc.entries.iter().filter_map(|entry| entry.data).map(|data| data.rows).sum::<u64>();
    if rows_in_members != rows_elsewhere && copies.count() > 0 {
        let what = format!("its members have {rows_in_members} rows, its entries {rows_elsewhere}");
        contradiction("itself", what);
    }
}

/// An entry, as messages name it.
pub(super) fn name(desc: &str, namespace: Option<&str>, tag: &str) -> String {
    let kind = desc.strip_suffix(" DATA").unwrap_or(desc).to_lowercase();
    match namespace {
        Some(namespace) => format!("{kind} {namespace}.{tag}"),
        None => format!("{kind} {tag}"),
    }
}
