//! Tests the decisions on a made-up table of contents. The integration tests compare them with pg_restore's.

use super::*;
use crate::archive::entry_kind::EntryKind;
use crate::archive::section::Section;
use crate::archive::section::Sections;
use crate::archive::toc_file::{DataFormat, FileData, RawSpan};
use Section::{Data, None as NoSection, PostData, PreData};

/// An entry of a made-up table of contents.
fn entry(id: u32, desc: EntryKind, tag: &str, section: Section, dependencies: &[u32]) -> FileEntry {
    let span = RawSpan { offset: 0, length: 1 };
    let data = matches!(desc, EntryKind::TableData | EntryKind::Blobs).then_some(FileData {
        format: DataFormat::Copy,
        raw: span,
        members: (0, 0),
        rows: 0,
        digest: None,
    });
    FileEntry {
        id,
        catalog_id: (1259, 16000 + id),
        desc,
        tag: tag.to_owned(),
        namespace: Some("public".to_owned()),
        tablespace: None,
        table_am: None,
        owner: Some("o".to_owned()),
        section,
        dependencies: dependencies.to_vec(),
        text: vec![span],
        drop_statement: None,
        drop: None,
        copy: None,
        copy_statement: None,
        data,
    }
}

fn without_namespace(entry: FileEntry) -> FileEntry {
    FileEntry { namespace: None, ..entry }
}

pub(super) fn toc() -> TocFile {
    let entries = vec![
        without_namespace(entry(1, EntryKind::Schema, "other", PreData, &[])),
        FileEntry {
            namespace: Some("other".to_owned()),
            ..entry(2, EntryKind::Function, "f(integer, text)", PreData, &[1])
        },
        entry(3, EntryKind::Table, "t", PreData, &[]),
        entry(4, EntryKind::Comment, "TABLE t", NoSection, &[3]),
        entry(5, EntryKind::Acl, "TABLE t", NoSection, &[3]),
        entry(6, EntryKind::Acl, "COLUMN t.a", NoSection, &[3, 5]),
        entry(7, EntryKind::Sequence, "s", PreData, &[]),
        without_namespace(entry(8, EntryKind::Blob, "99", PreData, &[])),
        without_namespace(entry(9, EntryKind::Acl, "LARGE OBJECT 99", NoSection, &[8])),
        entry(10, EntryKind::TableData, "t", Data, &[3]),
        entry(11, EntryKind::SequenceSet, "s", Data, &[7]),
        without_namespace(entry(12, EntryKind::Blobs, "BLOBS", Data, &[])),
        entry(13, EntryKind::Index, "t_a", PostData, &[3]),
        entry(14, EntryKind::Comment, "INDEX t_a", NoSection, &[13]),
        entry(15, EntryKind::Trigger, "t tr", PostData, &[3]),
        without_namespace(entry(16, EntryKind::Acl, "SCHEMA public", NoSection, &[])),
    ];
    TocFile {
        format_version: 1,
        file: "x.sql".to_owned(),
        compression: crate::archive::compression::Compression::None,
        size: 1,
        raw_size: 1,
        members: Vec::new(),
        checksums: Vec::new(),
        frame: Vec::new(),
        database: Vec::new(),
        entries,
    }
}

fn all(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Returns the chosen dump ids, negated where only rows are restored.
#[track_caller]
fn ids(selection: &RestoreSelection) -> Vec<i64> {
    let toc = toc();
    let chosen = selection.choose(&toc).expect("there is nothing to complain of");
    let id = |c: &Chosen| i64::from(toc.entries[c.index].id) * if c.data { -1 } else { 1 };
    assert!(chosen.iter().all(|c| c.data != c.statements), "{chosen:?}");
    chosen.iter().map(id).collect()
}

#[test]
fn without_a_switch_all_is_chosen_and_privileges_come_last() {
    let all = [1, 2, 3, 4, 7, 8, -10, 11, -12, 13, 14, 15, 5, 6, 9, 16];
    assert_eq!(ids(&RestoreSelection::default()), all);
}

#[test]
fn data_and_schema_share_nothing() {
    let with = |switches| ids(&RestoreSelection { switches, ..RestoreSelection::default() });
    let data = with(EntryFilter { data_only: true, ..EntryFilter::default() });
    assert_eq!(data, [8, -10, 11, -12, 9]);
    let schema = with(EntryFilter { schema_only: true, ..EntryFilter::default() });
    assert_eq!(schema, [1, 2, 3, 4, 7, 13, 14, 15, 5, 6, 16]);
    let sections = Sections { pre_data: false, data: false, post_data: true };
    assert_eq!(with(EntryFilter { sections, ..EntryFilter::default() }), [13, 14, 15, 16]);
    assert_eq!(
        with(EntryFilter { no_comments: true, no_privileges: true, ..EntryFilter::default() }).len(),
        10
    );
}

#[test]
fn what_hangs_on_an_object_goes_with_it() {
    let tables = RestoreSelection { tables: all(&["t"]), ..RestoreSelection::default() };
    assert_eq!(ids(&tables), [3, 4, -10, 5, 6]);
    let index = RestoreSelection { indexes: all(&["t_a"]), ..RestoreSelection::default() };
    assert_eq!(ids(&index), [13, 14]);
    let both =
        RestoreSelection { tables: all(&["s"]), triggers: all(&["t tr"]), ..RestoreSelection::default() };
    assert_eq!(ids(&both), [7, 11, 15]);
    // An object that names select and switches exclude does not select its attached entries.
    let switches = EntryFilter { data_only: true, ..EntryFilter::default() };
    assert_eq!(ids(&RestoreSelection { switches, ..tables }), [-10]);
}

#[test]
fn namespaces_and_functions_are_named_as_they_are_listed() {
    let schema = RestoreSelection { schemas: all(&["other"]), ..RestoreSelection::default() };
    assert_eq!(ids(&schema), [2]);
    let others = RestoreSelection { exclude_schemas: all(&["public"]), ..RestoreSelection::default() };
    assert_eq!(ids(&others), [1, 2, 8, -12, 9]);
    for (name, found) in [("f(integer, text)", &[2][..]), ("f(integer,text)", &[]), ("f", &[])] {
        assert_eq!(
            ids(&RestoreSelection { functions: all(&[name]), ..RestoreSelection::default() }),
            found,
            "{name}"
        );
    }
}

#[test]
fn strict_names_are_each_to_be_found() {
    let strict = |selection: RestoreSelection| {
        let selection = RestoreSelection { strict_names: true, ..selection };
        selection.choose(&toc()).map(|_| ()).map_err(|error| error.to_string())
    };
    let tables = |names| RestoreSelection { tables: all(names), ..RestoreSelection::default() };
    assert_eq!(strict(tables(&["t", "s"])), Ok(()));
    assert_eq!(strict(tables(&["t", "u", "v"])), Err("table \"u\" not found".to_owned()));
    let other = RestoreSelection { schemas: all(&["other"]), ..tables(&["t"]) };
    assert_eq!(strict(other), Err("table \"t\" not found".to_owned()));
    let none = RestoreSelection { schemas: all(&["none"]), ..tables(&["u"]) };
    assert_eq!(strict(none), Err("schema \"none\" not found".to_owned()));
    // A name counts as found even if the switches exclude the entry.
    let switches = EntryFilter { data_only: true, ..EntryFilter::default() };
    let index = RestoreSelection { indexes: all(&["t_a"]), switches, ..RestoreSelection::default() };
    assert_eq!(strict(index), Ok(()));
}

#[test]
fn triggers_are_switched_off_where_no_definition_is_restored() {
    let switched = |selection: RestoreSelection| {
        let selection = RestoreSelection { disable_triggers: true, ..selection };
        let toc = toc();
        selection.switches_triggers(&toc, &selection.choose(&toc).unwrap())
    };
    assert!(!switched(RestoreSelection::default()));
    assert!(switched(RestoreSelection {
        switches: EntryFilter { data_only: true, ..EntryFilter::default() },
        ..RestoreSelection::default()
    }));
    let listed = |text: &str| RestoreSelection {
        use_list: Some(UseList::new(text.as_bytes().to_vec())),
        ..RestoreSelection::default()
    };
    assert!(switched(listed("10;\n11;\n")));
    assert!(!switched(listed("10;\n3;\n")));
}

#[test]
fn a_list_says_what_and_in_which_order() {
    let (told, guard) = crate::log::capture();
    let list = |text: &str| RestoreSelection {
        use_list: Some(UseList::new(text.as_bytes().to_vec())),
        ..RestoreSelection::default()
    };
    let text = ";\n13; 1259 1 INDEX public t_a o\n 10;\n;3; TABLE\nnonsense\n\n5\n13\n99 ; none\n4";
    assert_eq!(ids(&list(text)), [13, -10, 4, 5]);
    let ignored = ["nonsense", "13", "99 "].map(|line| format!("line ignored: {line}"));
    let told = told.take();
    assert!(told.iter().zip(&ignored).all(|(line, ignored)| line.ends_with(ignored)), "{told:?}");
    assert_eq!(told.len(), 3);
    drop(guard);
    // A comment is in the section of the entry before it in the list.
    let sections = Sections { pre_data: true, data: false, post_data: false };
    let switches = EntryFilter { sections, ..EntryFilter::default() };
    assert_eq!(ids(&RestoreSelection { switches, ..list("3\n4\n") }), [3, 4]);
    assert_eq!(ids(&RestoreSelection { switches, ..list("3\n13\n4\n") }), [3]);
    // Once anything is selected by name, an attached entry must come after its object in the list.
    let tables = all(&["t"]);
    assert_eq!(ids(&RestoreSelection { tables: tables.clone(), ..list("3\n4\n") }), [3, 4]);
    assert_eq!(ids(&RestoreSelection { tables, ..list("4\n3\n") }), [3]);
    let mut toc = toc();
    toc.entries.remove(5);
    let error = list("6;\n").choose(&toc).unwrap_err();
    assert!(error.to_string().starts_with("could not find entry for ID 6\nHINT: "), "{error}");
}
