//! Generated tables of contents: valid ones, ones with damaged JSON, and ones with damaged compressed bytes.
//!
//! A valid one has no fault. One that is written and read again is unchanged, and the check of its consistency ends,
//! whatever it contains.

use std::io::Write;

use fastrand::Rng;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use pg_backup::archive::compression::Compression;
use pg_backup::archive::entry_kind::EntryKind;
use pg_backup::archive::section::Section;
use pg_backup::archive::toc_check;
use pg_backup::archive::toc_file::{DataFormat, FileData, FileEntry, Member, RawSpan, TocFile};
use pg_backup::archive::toc_reader::TocLimit;

use super::manifest::sample as manifest;
use super::mutate::{BULK, blow_up, damage, damage_json, one};
use super::{Target, Verdict, measured, within};

pub struct Tocs;

pub struct Input {
    packed: Vec<u8>,
    /// The size of the JSON according to the manifest.
    raw_size: u64,
    is_sound: bool,
}

/// Memory for any table of contents, in bytes: the tables of the decompressor, and the buffers.
const OWN: usize = 1 << 20;

/// Bytes of memory per byte of JSON: an entry of 65 bytes takes 380, twice while the list grows, and a span of 6 bytes
/// takes one more place in the comparison of all spans.
const TIMES: usize = 32;

/// A number of entries for which quadratic work takes too long.
const MANY: usize = 50_000;

impl Target for Tocs {
    const NAME: &'static str = "toc";
    type Input = Input;

    fn generate(random: &mut Rng) -> Input {
        let mut toc = sound(random);
        let is_long = random.u16(..500) == 0;
        if is_long {
            toc.entries.extend(std::iter::repeat_n(bare(), MANY));
        }
        let kind = if is_long { 0 } else { random.u8(..8) };
        let mut json = serde_json::to_value(&toc).expect("a table of contents is JSON");
        if matches!(kind, 2..5) {
            damage_json(random, &mut json);
        }
        let mut json = serde_json::to_vec(&json).expect("it is JSON");
        if matches!(kind, 4..7) {
            damage(random, &mut json, WORDS);
        }
        let is_bulk = !is_long && random.u16(..300) == 0;
        if is_bulk {
            blow_up(random, &mut json, BULK);
        }
        let raw_size = match random.u8(..6) {
            0 => random.u64(..=json.len() as u64),
            1 => json.len() as u64 + 1,
            _ => json.len() as u64,
        };
        // More than any manifest specifies.
        let blanks = if random.u16(..300) == 0 { 8 << 20 } else { 0 };
        let mut packed = pack(random, &json, blanks);
        if kind == 7 {
            damage(random, &mut packed, &[&b"\x1f\x8b\x08\0\0\0\0\0\0\xff"[..]]);
        }
        let is_sound = kind < 2 && !is_long && !is_bulk && blanks == 0 && raw_size >= json.len() as u64;
        Input { packed, raw_size, is_sound }
    }

    fn check(&mut self, input: &Input) -> Result<Verdict, String> {
        let mut manifest = manifest();
        manifest.toc.raw_size = Some(input.raw_size);
        let limit = TocLimit::of(&manifest);
        let (read, mut peak) = measured(|| TocFile::from_gzip(&input.packed, limit));
        let json = usize::try_from(input.raw_size).unwrap_or(usize::MAX);
        within(peak, OWN + TIMES.saturating_mul(json), "reading it")?;
        let toc = match read {
            Ok(toc) => toc,
            Err(error) if input.is_sound => return Err(format!("a sound one is refused: {error}")),
            Err(_) => return Ok(Verdict::new(false, peak)),
        };
        let (faults, taken) = measured(|| {
            let mut faults = (0, None);
            toc_check::check(&toc, &mut |fault| {
                faults.0 += 1;
                faults.1.get_or_insert(fault);
            });
            faults
        });
        within(taken, OWN + TIMES.saturating_mul(json), "looking whether it holds together")?;
        peak = peak.max(taken);
        if let (true, (_, Some(fault))) = (input.is_sound, &faults) {
            return Err(format!("a sound one has a fault: {fault}"));
        }
        let _ = toc.members_of(RawSpan { offset: input.raw_size, length: u64::MAX });
        let (written, _) = toc.to_gzip().map_err(|error| format!("it cannot be written: {error}"))?;
        let again = TocFile::from_gzip(&written, TocLimit::default());
        match again {
            Ok(again) if again == toc => Ok(Verdict::new(true, peak)),
            Ok(_) => Err("it is another one when it was written and read again".to_owned()),
            Err(error) => Err(format!("it is refused when it was written: {error}")),
        }
    }

    fn bytes(input: &Input) -> Vec<u8> {
        input.packed.clone()
    }
}

/// Compresses the JSON to one gzip member or several, with blanks after it.
fn pack(random: &mut Rng, json: &[u8], blanks: u64) -> Vec<u8> {
    let size = if random.u8(..4) == 0 { random.usize(1..=json.len().max(1)) } else { json.len().max(1) };
    let mut packed = Vec::new();
    for piece in json.chunks(size.max(json.len() / 50 + 1)) {
        let mut gzip = GzEncoder::new(&mut packed, Level::fast());
        gzip.write_all(piece).expect("memory is written to");
        gzip.finish().expect("memory is written to");
    }
    if blanks > 0 {
        let mut gzip = GzEncoder::new(&mut packed, Level::fast());
        std::io::copy(&mut std::io::Read::take(std::io::repeat(b' '), blanks), &mut gzip)
            .expect("memory is written to");
        gzip.finish().expect("memory is written to");
    }
    packed
}

/// Lays out a dump, one region after the other.
struct Layout {
    at: u64,
    members: Vec<Member>,
    /// The start of the current member.
    begins: u64,
}

impl Layout {
    fn span(&mut self, length: u64) -> RawSpan {
        let span = RawSpan { offset: self.at, length };
        self.at += length;
        span
    }

    /// Ends the current member here.
    fn member(&mut self, rows: u64) {
        let (raw_offset, raw_length) = (self.begins, self.at - self.begins);
        if raw_length > 0 {
            let (object_offset, object_length) = (raw_offset, raw_length);
            self.members.push(Member { object_offset, object_length, raw_offset, raw_length, rows });
            self.begins = self.at;
        }
    }
}

fn sound(random: &mut Rng) -> TocFile {
    let mut layout = Layout { at: 0, members: Vec::new(), begins: 0 };
    let mut frame = vec![layout.span(random.u64(1..1000))];
    let mut entries = Vec::new();
    for id in 1..=random.u32(1..12) {
        entries.push(match random.u8(..3) {
            0 => rows(random, &mut layout, id),
            _ => statements(random, &mut layout, id),
        });
    }
    frame.push(layout.span(random.u64(1..1000)));
    layout.member(0);
    let compression = one(random, &["none", "gzip:5", "zstd:3"]).parse().expect("a compression");
    let count = layout.members.len() as u64;
    let trailer = if matches!(compression, Compression::Zstd { .. }) {
        toc_check::SEEK_TABLE_FRAME + toc_check::SEEK_TABLE_ENTRY * count
    } else {
        0
    };
    TocFile {
        format_version: 1,
        file: "x.sql.gz".to_owned(),
        compression,
        size: layout.at + trailer,
        raw_size: layout.at,
        checksums: if random.bool() { vec![7; layout.members.len()] } else { Vec::new() },
        members: layout.members,
        frame,
        database: vec!["CREATE DATABASE d;\n".to_owned()],
        entries,
    }
}

fn statements(random: &mut Rng, layout: &mut Layout, id: u32) -> FileEntry {
    let text = (0..random.usize(1..3)).map(|_| layout.span(random.u64(1..5000))).collect();
    if random.u8(..4) == 0 {
        layout.member(0);
    }
    let desc = one(random, &[&EntryKind::Table, &EntryKind::View, &EntryKind::Acl, &EntryKind::FkConstraint]);
    FileEntry { text, ..entry(random, id, *desc) }
}

/// Returns an entry of a table's rows or of large objects.
fn rows(random: &mut Rng, layout: &mut Layout, id: u32) -> FileEntry {
    let is_copy = random.bool();
    let statement = format!("COPY {} (a) FROM stdin;\n", one(random, NAMES));
    let mut text = vec![layout.span(random.u64(1..200))];
    let copy = is_copy.then(|| layout.span(length_in_dump(&statement)));
    let (mut raw, mut members, mut rows) = (RawSpan { offset: layout.at, length: 0 }, (0, 0), 0);
    if random.bool() {
        layout.member(0);
        members = (layout.members.len() as u64, random.u64(1..4));
        for _ in 0..members.1 {
            raw.length += layout.span(random.u64(1..100_000)).length;
            let here = random.u64(1..1000);
            rows += here;
            layout.member(here);
        }
    }
    if is_copy {
        text.push(layout.span(5));
    }
    let format = if is_copy { DataFormat::Copy } else { DataFormat::Statements };
    let digest = is_copy.then(|| u128::from(random.u64(..)).into());
    FileEntry {
        text,
        copy,
        copy_statement: is_copy.then_some(statement),
        data: Some(FileData { format, raw, members, rows, digest }),
        ..entry(random, id, if is_copy { EntryKind::TableData } else { EntryKind::Blobs })
    }
}

/// Returns an entry of minimum size.
fn bare() -> FileEntry {
    FileEntry {
        id: 1,
        catalog_id: (0, 0),
        desc: EntryKind::Acl,
        tag: String::new(),
        namespace: None,
        tablespace: None,
        table_am: None,
        owner: None,
        section: Section::None,
        dependencies: Vec::new(),
        text: Vec::new(),
        drop_statement: None,
        drop: None,
        copy: None,
        copy_statement: None,
        data: None,
    }
}

/// Returns the length of a text in the dump, in which each of the last characters of Unicode stands for one byte.
fn length_in_dump(text: &str) -> u64 {
    text.chars().map(|char| if char >= '\u{10ff00}' { 1 } else { char.len_utf8() as u64 }).sum()
}

fn entry(random: &mut Rng, id: u32, desc: EntryKind) -> FileEntry {
    let mut name = || random.bool().then(|| one(random, NAMES).to_owned());
    FileEntry {
        namespace: name(),
        tablespace: name(),
        table_am: name(),
        owner: name(),
        drop_statement: name(),
        id,
        catalog_id: (1259, id),
        desc,
        tag: one(random, NAMES).to_owned(),
        section: Section::PreData,
        dependencies: (1..id).filter(|_| random.u8(..3) == 0).collect(),
        ..bare()
    }
}

const NAMES: &[&str] = &["t", "", "public", "odd \"name\"\n", "\u{e4}\u{1f600}", "\u{10ff83}", "a.b"];

/// Tokens that have a meaning in the JSON.
const WORDS: &[&[u8]] = &[
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"[0,0],",
    b"[0,0,0,0,0],",
    b"0,",
    b"\"\",",
    b"\"entries\":[],",
    b"\"members\":[],",
    b"\"text\":[[0,1]],",
    b"\"x\":[[[]]],",
    b"{\"id\":1,\"catalog_id\":[0,0],\"desc\":\"ACL\",\"tag\":\"\",\"section\":\"none\"},",
    b"\"format_version\":3,",
    b"\xff",
    b" ",
];
