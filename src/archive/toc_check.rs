//! Checks that a table of contents is consistent, without reading the dump: every byte of the object is in one
//! member, every byte of the text in one span, every row in the members of its table, and every entry after those
//! that it depends on. Verification and restores use the same checks, so neither accepts what the other rejects.

use std::collections::HashMap;

use super::entry_kind::EntryKind;
use super::key::Packing;
use super::toc_file::{DataFormat, FileData, FileEntry, Member, RawSpan, TocFile};

/// Maximum number of bytes of text that belong to no entry. The settings and comments around the entries take about
/// 1,000.
const MOST_FRAME: u64 = 64 << 10;

/// The end of rows in COPY's format: `\.`, and two empty lines.
const END_OF_ROWS: u64 = 5;

/// Returns the entry's name for messages: `table public.orders`.
pub fn entry_name(entry: &FileEntry) -> String {
    let desc = entry.desc.as_str();
    let kind = desc.strip_suffix(" DATA").unwrap_or(desc).to_lowercase();
    match &entry.namespace {
        Some(namespace) => format!("{kind} {namespace}.{}", entry.tag),
        None => format!("{kind} {}", entry.tag),
    }
}

/// Calls `fault` with each inconsistency.
pub fn check(toc: &TocFile, fault: &mut impl FnMut(String)) {
    if members_are_contiguous(toc, fault) {
        check_trailer(toc, fault);
        check_rows(toc, fault);
    }
    if !toc.checksums.is_empty() && toc.checksums.len() != toc.members.len() {
        fault(format!("{} checksums for {} members", toc.checksums.len(), toc.members.len()));
    }
    for entry in &toc.entries {
        check_entry(entry, fault);
    }
    check_frame(toc, fault);
    check_cover(toc, fault);
    check_dependencies(&toc.entries, fault);
}

/// Checks that the members follow each other from the first byte of the text to the last.
fn members_are_contiguous(toc: &TocFile, fault: &mut impl FnMut(String)) -> bool {
    let mut end = Some((0, 0));
    for (index, member) in toc.members.iter().enumerate() {
        if end != Some((member.object_offset, member.raw_offset)) {
            fault(format!("member {index} does not begin where the one before ends"));
            return false;
        }
        let object = member.object_offset.checked_add(member.object_length);
        end = object.zip(member.raw_offset.checked_add(member.raw_length));
    }
    match end {
        Some((object, raw)) if object <= toc.size && raw == toc.raw_size => true,
        _ => {
            fault("its members do not hold the dump's text".to_owned());
            false
        }
    }
}

/// Size in bytes of a zstd dump's seek table without its frames.
pub const SEEK_TABLE_FRAME: u64 = 17;

/// Size in bytes of one frame in the seek table.
pub const SEEK_TABLE_ENTRY: u64 = 8;

/// Checks that the last member is followed by the seek table in a zstd dump, and by nothing in other dumps.
fn check_trailer(toc: &TocFile, fault: &mut impl FnMut(String)) {
    let end = toc.members.last().map_or(0, Member::object_end);
    let rest = toc.size.saturating_sub(end);
    let least = SEEK_TABLE_FRAME.saturating_add(SEEK_TABLE_ENTRY.saturating_mul(toc.members.len() as u64));
    let is_known = match Packing::from(toc.compression) {
        Packing::Zstd => rest >= least && (rest - SEEK_TABLE_FRAME).is_multiple_of(SEEK_TABLE_ENTRY),
        Packing::Plain | Packing::Gzip => rest == 0,
    };
    match (is_known, rest) {
        (true, _) => {}
        (false, 0) => fault(format!("there is no seek table after byte {end} of the object")),
        (false, _) => {
            fault(format!(
                "bytes {end} to {} of the object belong to no member and are not a seek table",
                toc.size
            ));
        }
    }
}

/// Checks that the rows of each table are in the members of its entry, and that no member has other rows.
fn check_rows(toc: &TocFile, fault: &mut impl FnMut(String)) {
    let mut has_owner = vec![false; toc.members.len()];
    for (entry, data) in toc.entries.iter().filter_map(|entry| Some((entry, entry.data?))) {
        if !holds_rows(&toc.members, &data, &mut has_owner) {
            let (first, number) = data.members;
            fault(format!(
                "its {number} members from {first} on do not hold the rows of {}",
                entry_name(entry)
            ));
        }
    }
    for (index, member) in toc.members.iter().enumerate() {
        if member.rows > 0 && has_owner.get(index) != Some(&true) {
            fault(format!("member {index} has {} rows of no table", member.rows));
        }
    }
}

/// Returns whether the members of an entry contain exactly its rows. `has_owner` marks the members that belong to
/// other entries.
fn holds_rows(all: &[Member], data: &FileData, has_owner: &mut [bool]) -> bool {
    let (first, number) = data.members;
    if data.raw.length == 0 {
        return (first, number, data.rows) == (0, 0, 0);
    }
    let range =
        usize::try_from(first).ok().zip(first.checked_add(number).and_then(|end| usize::try_from(end).ok()));
    let Some(members) = range.and_then(|(from, to)| all.get(from..to)) else { return false };
    let (Some(begin), Some(last)) = (members.first(), members.last()) else { return false };
    let mut rows = 0u64;
    for (member, has_owner) in
        members.iter().zip(has_owner.iter_mut().skip(range.map_or(0, |(from, _)| from)))
    {
        if std::mem::replace(has_owner, true) {
            return false;
        }
        rows = rows.saturating_add(member.rows);
    }
    begin.raw_offset == data.raw.offset
        && last.raw_offset < data.raw.end()
        && data.raw.end() <= last.raw().end()
        && rows == data.rows
}

/// Checks that an entry has text, that it has rows exactly if its kind has rows, and that rows in COPY's format follow
/// their statement.
fn check_entry(entry: &FileEntry, fault: &mut impl FnMut(String)) {
    let mut fault = |what: &str| fault(format!("{} {what}", entry_name(entry)));
    if entry.id == 0 {
        fault("has the id 0");
    }
    if entry.text.is_empty() {
        fault("has no text");
    }
    if entry.text.iter().chain(&entry.drop).chain(&entry.copy).any(|span| span.length == 0) {
        fault("has an empty range of text");
    }
    let holds_data = matches!(entry.desc, EntryKind::TableData | EntryKind::Blobs);
    match &entry.data {
        None if holds_data => fault("does not say where its rows are"),
        Some(_) if !holds_data => fault("is of a kind without rows, but says where its rows are"),
        _ => {}
    }
    let is_copied = entry.data.is_some_and(|data| data.format == DataFormat::Copy);
    match (entry.copy, &entry.copy_statement, entry.data) {
        (None, None, _) if !is_copied => {}
        (Some(copy), Some(statement), Some(data)) if is_copied => {
            if copy.length != length_in_dump(statement) {
                fault("has a COPY statement in the dump that differs from the table of contents");
            }
            if copy.end() != data.raw.offset {
                fault("has rows that do not follow their COPY statement");
            }
            // Text that is not restored as statements has a fixed form, so it cannot hide anything else.
            let (begin, end) = (entry.text.first(), RawSpan { offset: data.raw.end(), length: END_OF_ROWS });
            if begin.is_none_or(|begin| begin.end() != copy.offset) || entry.text.get(1..) != Some(&[end]) {
                fault("has text other than a banner before its rows and the end mark after them");
            }
        }
        _ => fault("has rows without a COPY statement, or a COPY statement without rows"),
    }
}

/// Returns the length of a text in the dump's encoding, in bytes. Each character from U+10FF00 on stands for one byte.
fn length_in_dump(text: &str) -> u64 {
    text.chars().map(|char| if char >= '\u{10FF00}' { 1 } else { char.len_utf8() as u64 }).sum()
}

/// Checks that the frame begins the dump and is limited to settings and comments. The globals of a server consist of a
/// frame only.
fn check_frame(toc: &TocFile, fault: &mut impl FnMut(String)) {
    if toc.raw_size > 0 && toc.frame.first().is_none_or(|head| head.offset != 0) {
        fault("the frame does not begin with the dump's first byte".to_owned());
    }
    let size = toc.frame.iter().fold(0, |size: u64, span| size.saturating_add(span.length));
    if size > MOST_FRAME && !toc.is_of_globals() {
        fault(format!("{size} bytes of the text belong to no entry; the frame has at most {MOST_FRAME}"));
    }
}

/// Checks that every byte of the text is in exactly one span.
fn check_cover(toc: &TocFile, fault: &mut impl FnMut(String)) {
    let frame = toc.frame.iter().map(|span| (*span, None));
    let spans = toc.entries.iter().flat_map(|entry| {
        let text = entry.text.iter().chain(&entry.drop).chain(&entry.copy);
        text.chain(entry.data.as_ref().map(|data| &data.raw)).map(move |span| (*span, Some(entry)))
    });
    let mut spans: Vec<(RawSpan, Option<&FileEntry>)> = frame.chain(spans).collect();
    spans.sort_by_key(|(span, _)| (span.offset, span.length));
    let name = |owner: Option<&FileEntry>| owner.map_or_else(|| "the frame".to_owned(), entry_name);
    let (mut end, mut last) = (0, None);
    for (span, owner) in spans {
        if span.offset.checked_add(span.length).is_none_or(|end| end > toc.raw_size) {
            fault(format!("{} lies outside of the dump", name(owner)));
            continue;
        }
        if span.offset > end {
            fault(format!("bytes {end} to {} of the text belong to no entry", span.offset));
        } else if span.offset < end && span.length > 0 {
            let to = end.min(span.end());
            fault(format!(
                "bytes {} to {to} of the text belong to {} and to {}",
                span.offset,
                name(last),
                name(owner)
            ));
        }
        if span.end() > end {
            (end, last) = (span.end(), owner);
        }
    }
    if end < toc.raw_size {
        fault(format!("bytes {end} to {} of the text belong to no entry", toc.raw_size));
    }
}

/// Checks that ids are unique, and that every entry comes after the entries that it depends on. A dependency
/// may have no entry.
fn check_dependencies(entries: &[FileEntry], fault: &mut impl FnMut(String)) {
    let mut places: HashMap<u32, usize> = HashMap::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        if let Some(first) = places.get(&entry.id).and_then(|first| entries.get(*first)) {
            fault(format!("{} and {} have the same id {}", entry_name(first), entry_name(entry), entry.id));
        } else {
            places.insert(entry.id, index);
        }
    }
    for (index, entry) in entries.iter().enumerate() {
        let late = |id: &&u32| places.get(id).is_some_and(|place| *place >= index);
        if let Some(needed) =
            entry.dependencies.iter().find(late).and_then(|id| entries.get(*places.get(id)?))
        {
            fault(format!(
                "{} depends on {}, which does not come before it",
                entry_name(entry),
                entry_name(needed)
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::FORMAT_VERSION;
    use crate::archive::compression::Compression;
    use crate::archive::section::Section;

    fn span(offset: u64, length: u64) -> RawSpan {
        RawSpan { offset, length }
    }

    fn entry(id: u32, desc: EntryKind, tag: &str, text: &[RawSpan]) -> FileEntry {
        FileEntry {
            id,
            catalog_id: (0, 0),
            desc,
            tag: tag.to_owned(),
            namespace: Some("public".to_owned()),
            tablespace: None,
            table_am: None,
            owner: None,
            section: Section::PreData,
            dependencies: Vec::new(),
            text: text.to_vec(),
            drop_statement: None,
            drop: None,
            copy: None,
            copy_statement: None,
            data: None,
        }
    }

    /// An uncompressed dump: a frame of 10 bytes around a table, its rows, the rows of an empty table, and a view.
    fn sound() -> TocFile {
        let data = |offset, length, members, rows| {
            let (raw, format, digest) = (span(offset, length), DataFormat::Copy, None);
            Some(FileData { format, raw, members, rows, digest })
        };
        let statement = "COPY t FROM stdin;\n".to_owned();
        let length = statement.len() as u64;
        assert_eq!(length, 19);
        let rows = |id, tag, text: &[RawSpan], copy, data| FileEntry {
            dependencies: vec![1, 999],
            copy: Some(span(copy, length)),
            copy_statement: Some(statement.clone()),
            data,
            ..entry(id, EntryKind::TableData, tag, text)
        };
        TocFile {
            format_version: FORMAT_VERSION,
            file: "x.sql".to_owned(),
            compression: Compression::None,
            size: 200,
            raw_size: 200,
            members: [[0, 59, 0, 59, 0], [59, 41, 59, 41, 2], [100, 100, 100, 100, 1]]
                .map(Member::from)
                .to_vec(),
            checksums: vec![1, 2, 3],
            frame: vec![span(0, 10), span(190, 10)],
            database: vec!["CREATE DATABASE d;\n".to_owned()],
            entries: vec![
                entry(1, EntryKind::Table, "t", &[span(10, 20)]),
                rows(2, "t", &[span(30, 10), span(110, 5)], 40, data(59, 51, (1, 2), 3)),
                rows(3, "u", &[span(115, 11), span(145, 5)], 126, data(145, 0, (0, 0), 0)),
                FileEntry { dependencies: vec![1], ..entry(4, EntryKind::View, "v", &[span(150, 40)]) },
            ],
        }
    }

    fn faults(toc: &TocFile) -> Vec<String> {
        let mut faults = Vec::new();
        check(toc, &mut |fault| faults.push(fault));
        faults
    }

    #[test]
    fn a_sound_table_of_contents_has_no_fault() {
        assert_eq!(faults(&sound()), Vec::<String>::new());
        let zstd = TocFile {
            compression: Compression::DEFAULT_ZSTD,
            size: 200 + SEEK_TABLE_FRAME + 3 * SEEK_TABLE_ENTRY,
            checksums: Vec::new(),
            ..sound()
        };
        assert_eq!(faults(&zstd), Vec::<String>::new());
    }

    /// A change to a table of contents, and the faults that must be reported.
    type Damage = (fn(&mut TocFile), &'static [&'static str]);

    #[test]
    fn every_kind_of_damage_is_a_fault() {
        let damages: &[Damage] = &[
            (|toc| drop(toc.entries.remove(3)), &["bytes 150 to 190 of the text belong to no entry"]),
            (
                |toc| drop(toc.entries.remove(1)),
                &[
                    "member 1 has 2 rows of no table",
                    "member 2 has 1 rows of no table",
                    "bytes 30 to 115 of the text belong to no entry",
                ],
            ),
            (
                |toc| toc.entries[3].text.clear(),
                &["view public.v has no text", "bytes 150 to 190 of the text belong to no entry"],
            ),
            (|toc| toc.entries[3].text.push(span(20, 0)), &["view public.v has an empty range of text"]),
            (
                |toc| toc.entries[3].text = vec![span(149, 41)],
                &["bytes 149 to 150 of the text belong to table public.u and to view public.v"],
            ),
            (
                |toc| toc.entries[3].text = vec![span(150, u64::MAX)],
                &[
                    "view public.v lies outside of the dump",
                    "bytes 150 to 190 of the text belong to no entry",
                ],
            ),
            (|toc| toc.frame.truncate(1), &["bytes 190 to 200 of the text belong to no entry"]),
            (
                |toc| toc.frame = vec![span(190, 10)],
                &[
                    "the frame does not begin with the dump's first byte",
                    "bytes 0 to 10 of the text belong to no entry",
                ],
            ),
            (|toc| toc.entries[3].id = 1, &["table public.t and view public.v have the same id 1"]),
            (|toc| toc.entries[3].id = 0, &["view public.v has the id 0"]),
            (
                |toc| toc.entries[0].dependencies = vec![4],
                &["table public.t depends on view public.v, which does not come before it"],
            ),
            (
                |toc| toc.entries[3].dependencies = vec![4],
                &["view public.v depends on view public.v, which does not come before it"],
            ),
            (
                |toc| toc.entries[1].data.as_mut().unwrap().members = (2, 1),
                &[
                    "its 1 members from 2 on do not hold the rows of table public.t",
                    "member 1 has 2 rows of no table",
                ],
            ),
            (
                |toc| toc.entries[1].data.as_mut().unwrap().members = (u64::MAX, 2),
                &["members from 18446744073709551615 on do not hold the rows of table public.t", "", ""],
            ),
            (
                |toc| toc.entries[1].data.as_mut().unwrap().rows = 4,
                &["its 2 members from 1 on do not hold the rows of table public.t"],
            ),
            (
                |toc| toc.entries[2].data.as_mut().unwrap().members = (1, 1),
                &["its 1 members from 1 on do not hold the rows of table public.u"],
            ),
            (
                |toc| toc.members[2].rows = u64::MAX,
                &["its 2 members from 1 on do not hold the rows of table public.t"],
            ),
            (
                |toc| toc.entries[1].data = None,
                &[
                    "member 1 has",
                    "member 2 has",
                    "table public.t does not say where its rows are",
                    "table public.t has rows without a COPY statement, or a COPY statement without rows",
                    "bytes 59 to 110 of the text belong to no entry",
                ],
            ),
            (
                |toc| toc.entries[1].copy_statement = Some("COPY tt FROM stdin;\n".to_owned()),
                &["table public.t has a COPY statement in the dump that differs from the table of contents"],
            ),
            (
                |toc| toc.entries[3].desc = EntryKind::Blobs,
                &["blobs public.v does not say where its rows are"],
            ),
            (
                |toc| toc.size = 201,
                &["bytes 200 to 201 of the object belong to no member and are not a seek table"],
            ),
            (
                |toc| {
                    toc.compression = Compression::DEFAULT_ZSTD;
                    toc.checksums.clear();
                },
                &["there is no seek table after byte 200 of the object"],
            ),
            (|toc| toc.members[1].object_offset = 60, &["member 1 does not begin where the one before ends"]),
            (|toc| toc.members[2].raw_length = u64::MAX, &["its members do not hold the dump's text"]),
            (|toc| toc.checksums.truncate(2), &["2 checksums for 3 members"]),
        ];
        for (damage, told) in damages {
            let mut toc = sound();
            damage(&mut toc);
            let found = faults(&toc);
            let is_told = found.len() == told.len()
                && found.iter().zip(*told).all(|(found, told)| found.contains(told));
            assert!(is_told, "{found:#?}\n{told:#?}");
        }
    }

    #[test]
    fn two_thousand_entries_with_all_of_the_text_are_faults_and_quickly_found() {
        let mut toc = sound();
        let all = |id| entry(id, EntryKind::View, "all", &[span(10, 180)]);
        toc.entries.extend((10..2010).map(all));
        assert!(faults(&toc).len() >= 2000);
        // The same with hundreds of thousands of members for each.
        let member = |at: u64| Member::from([at, 1, at, 1, 1]);
        toc.members = (0..200_000).map(member).collect();
        (toc.size, toc.raw_size) = (200_000, 200_000);
        toc.entries = (1..=20_000)
            .map(|id| FileEntry {
                data: Some(FileData {
                    format: DataFormat::Statements,
                    raw: span(0, 200_000),
                    members: (0, 200_000),
                    rows: 200_000,
                    digest: None,
                }),
                ..entry(id, EntryKind::TableData, "t", &[span(0, 1)])
            })
            .collect();
        let clock = std::time::Instant::now();
        assert!(faults(&toc).len() > 20_000);
        assert!(clock.elapsed().as_secs() < 20, "{:?}", clock.elapsed());
    }
}
