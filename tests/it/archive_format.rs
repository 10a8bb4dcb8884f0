//! docs/archive-format.md is sufficient to read a backup. tests/archive/read_backup.py is written from that
//! document, shares no code with the program, and checks what the document specifies. It must also find each
//! kind of damage, so that its success means something.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::bulk;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::program::{Output, run, target_dir};
use crate::harness::samples::sample;
use crate::harness::sidecar::{Sidecar, files};
use crate::harness::stored::{StoredBackup, offset};

const PACKINGS: [&str; 3] = ["gzip", "zstd", "none"];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs the reader. With a table's namespace and name it writes the rows, otherwise it checks everything.
fn read_backup(manifest: &Path, table: &[&str]) -> Output {
    // `make prepare` installs its dependencies.
    let mut python = Command::new(target_dir().join("archive-reader/bin/python"));
    run(python.arg(repository("tests/archive/read_backup.py")).arg(manifest).args(table))
}

/// Backs up all databases to a directory and returns the manifests.
fn backed_up(sidecar: &Sidecar, dir: &Path) -> Vec<PathBuf> {
    sidecar.run(&["run"]).expect_success();
    files(dir).into_iter().filter(|file| file.ends_with(".manifest.json")).map(PathBuf::from).collect()
}

#[test]
fn a_reader_that_knows_the_document_alone_finds_every_backup_sound() {
    let server = Server::start();
    let empty = server.database();
    let pagila = server.database();
    pagila.load(&sample("pagila")).expect_success();
    let loaded = |fixture: &str| {
        let database = server.database();
        database.load(&repository(&format!("tests/fixtures/{fixture}.sql"))).expect_success();
        database
    };
    let (names, values) = (loaded("awkward_names"), loaded("data_edge_values"));
    // Large objects in several members, privileges, and the entries after them.
    let objects = loaded("large_object");
    objects.execute(
        "SELECT lo_from_bytea(0, decode(repeat(md5('x'), 200000), 'hex')) FROM generate_series(1, 2);
         CREATE MATERIALIZED VIEW v AS SELECT 1 AS a; GRANT SELECT ON v TO public;
         CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f(); COMMENT ON EVENT TRIGGER e IS 'e'",
    );
    // Names that are not valid UTF-8, large rows, and rows without columns.
    let bytes = server.database_with("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'");
    let script = b"SET client_encoding = 'LATIN1';
        CREATE TABLE \"t\xe9\" AS SELECT 'caf\xe9' AS \"\xe0\";
        CREATE TABLE wide AS SELECT repeat(md5(n::text), 70000) AS a FROM generate_series(1, 3) n;
        CREATE TABLE bare (); INSERT INTO bare DEFAULT VALUES; INSERT INTO bare DEFAULT VALUES;";
    bytes.load_bytes(script).expect_success();
    for packing in PACKINGS {
        let store = tempfile::tempdir().unwrap();
        let sidecar = Sidecar::with_directory(store.path())
            .database("empty", &empty)
            .database("pagila", &pagila)
            .database("names", &names)
            .database("values", &values)
            .database("objects", &objects)
            .database("bytes", &bytes)
            .set("BACKUP_S3_PREFIX", "some/prefix")
            .set("BACKUP_COMPRESSION", packing)
            .set("BACKUP_GLOBALS", "on");
        let manifests = backed_up(&sidecar, store.path());
        assert_eq!(manifests.len(), 7, "{manifests:?}");
        for manifest in manifests {
            let checked = read_backup(&manifest, &[]).expect_success();
            assert_eq!(checked.stderr, "", "{}", manifest.display());
        }
    }
}

/// A database with one table whose rows need several members, an empty table and a view.
fn many_rows(server: &Server) -> Database<'_> {
    let database = server.database();
    database.load_bytes(bulk::events("t", 12_000).as_bytes()).expect_success();
    database.execute("CREATE TABLE zero (a integer); CREATE VIEW seen AS SELECT 1 AS one");
    database
}

/// Creates the only backup in a store.
fn only_backup(database: &Database<'_>, packing: &str, dir: &Path) -> Backup {
    let sidecar = Sidecar::with_directory(dir).database("many", database).set("BACKUP_COMPRESSION", packing);
    let manifests = backed_up(&sidecar, dir);
    assert_eq!(manifests.len(), 1, "{manifests:?}");
    Backup { stored: StoredBackup::read(&manifests[0]) }
}

#[test]
fn a_tables_rows_are_read_from_its_members_alone() {
    let server = Server::start();
    let database = many_rows(&server);
    let copy = ["-X", "-c", "COPY t TO stdout"];
    let expected = run(database.client("psql").args(copy)).expect_success().stdout;
    for packing in PACKINGS {
        let store = tempfile::tempdir().unwrap();
        let mut backup = only_backup(&database, packing, store.path());
        // Everything outside the table's members is overwritten.
        let (first, number) = backup.members_of_rows();
        assert!(number > 2, "the rows are in {number} members");
        let begin = offset(&backup.toc["members"][first][0]);
        let last = &backup.toc["members"][first + number - 1];
        let end = offset(&last[0]) + offset(&last[1]);
        backup.dump[..begin].fill(0);
        backup.dump[end..].fill(0);
        backup.write();
        read_backup(&backup.manifest_path, &[]).expect_code(1);
        let rows = read_backup(&backup.manifest_path, &["public", "t"]).expect_success();
        assert!(rows.stdout == expected, "{packing}: {} bytes and not {}", rows.stdout.len(), expected.len());
        let missing = read_backup(&backup.manifest_path, &["public", "u"]).expect_code(1);
        assert!(missing.stderr.contains("there is no data of public.u"), "{missing}");
    }
}

/// A change of a backup, and the error that it must cause.
type Damage = (fn(&mut Backup), &'static str);

/// Damage that no checksum detects, because the checksums are recomputed. The dump is uncompressed.
const SEALED: &[Damage] = &[
    (|backup| backup.change_row(), "public.t: the digest of its rows"),
    (|backup| backup.change_count(), "public.t: the number of its rows"),
    (|backup| backup.move_rows(), "public.t: the rows of element 1"),
    (|backup| backup.swap_members(), "the place of element 1"),
    (|backup| backup.data()["members"] = json!([2, 2]), "public.t: the beginning of its first member"),
    (|backup| shift(&mut backup.data()["raw"][1]), "public.t: the end mark"),
    (|backup| shift(&mut backup.rows_entry()["copy"][1]), "the copy of entry"),
    (|backup| backup.rows_entry()["tag"] = json!("u"), "the banner of entry"),
    (|backup| backup.rows_entry()["section"] = json!("rows"), "the section of entry"),
    (|backup| backup.depend_on_itself(), "depends on and does not follow"),
    (|backup| backup.toc["frame"] = json!([]), "the beginning of a span"),
    (|backup| backup.toc["database"] = json!([]), "where the database is created"),
    (|backup| backup.toc["database"] = json!(["DROP DATABASE d;\n"]), "the statements of the database"),
    (|backup| backup.rows_entry()["drop_statement"] = json!("TRUNCATE t;\n"), "the drop_statement of entry"),
    (|backup| backup.reverse_entries(), "the order of the entries' texts"),
    (|backup| shift(&mut backup.toc["raw_size"]), "the raw_size in the table of contents"),
    (|backup| backup.toc["format_version"] = json!(2), "has format_version 2"),
    (|backup| backup.manifest["format_version"] = json!(2), "has format_version 2"),
    (|backup| backup.manifest["tables"] = json!([]), "the manifest's list of tables"),
    (|backup| backup.manifest["entries"] = json!(0), "the manifest's number of entries"),
    (|backup| backup.manifest["database"] = json!("other"), "the manifest's stem"),
    (|backup| backup.manifest["started"] = json!("2020-01-01T00:00:00Z"), "the directory of the day"),
    (|backup| backup.dump.push(b'\n'), "what follows the last member"),
];

#[test]
fn the_reader_finds_what_no_checksum_shows() {
    let server = Server::start();
    let database = many_rows(&server);
    let store = tempfile::tempdir().unwrap();
    let sound = only_backup(&database, "none", store.path());
    sound.clone().seal();
    read_backup(&sound.manifest_path, &[]).expect_success();
    for (damage, finding) in SEALED {
        let mut backup = sound.clone();
        damage(&mut backup);
        // The members' checksums are recomputed, too.
        if backup.toc["members"] == sound.toc["members"] {
            backup.sum_members();
        }
        backup.seal();
        expect_finding(&backup, finding);
    }
    // Each member can be decompressed separately, and the seek table lists it.
    let middle: fn(&mut Backup) = |backup| *backup.member_byte() ^= 1;
    let end: fn(&mut Backup) = |backup| *backup.dump.iter_mut().nth_back(20).unwrap() ^= 1;
    for (packing, damage, finding) in [
        ("gzip", middle, "a member does not unpack"),
        ("zstd", middle, "a member does not unpack"),
        ("zstd", end, "the seek table does not list the frames"),
    ] {
        let store = tempfile::tempdir().unwrap();
        let mut backup = only_backup(&database, packing, store.path());
        damage(&mut backup);
        backup.seal();
        expect_finding(&backup, finding);
    }
}

#[test]
fn the_reader_compares_checksums() {
    let server = Server::start();
    let database = many_rows(&server);
    let store = tempfile::tempdir().unwrap();
    let sound = only_backup(&database, "none", store.path());
    for finding in ["the SHA-256 of the dump", "the CRC-64/NVME of the dump"] {
        let mut backup = sound.clone();
        *backup.member_byte() ^= 1;
        backup.write();
        expect_finding(&backup, finding);
    }
    for finding in ["the size of the toc", "the SHA-256 of the toc"] {
        let mut backup = sound.clone();
        backup.toc["unknown"] = json!("a field that a reader ignores");
        backup.write();
        expect_finding(&backup, finding);
    }
    let mut backup = sound.clone();
    backup.dump.pop();
    backup.write();
    expect_finding(&backup, "the size of the dump");
}

/// A change of a backup, and the errors that the reader and the program must report.
type Forgery = (fn(&mut Backup), &'static str, &'static str);

/// An inconsistent table of contents, or a dump that differs from it. The sizes, counts and checksums in the
/// manifest match.
const FORGED: &[Forgery] = &[
    (|backup| backup.remove("VIEW", "seen"), "the beginning of a span", " of the text belong to no entry"),
    (|backup| backup.remove("TABLE DATA", "t"), "has rows of no table", " rows of no table"),
    (
        |backup| backup.remove("TABLE DATA", "zero"),
        "the beginning of a span",
        " of the text belong to no entry",
    ),
    (
        |backup| backup.hide_the_view(),
        "the frame has the line",
        "the frame around its entries contains the line \"-- Name: seen; ",
    ),
    (
        |backup| backup.hide_the_key(),
        "the text around its rows",
        "table public.zero has text other than a banner before its rows and the end mark after them",
    ),
    (
        |backup| backup.entry("VIEW", "seen")["text"] = json!([]),
        "has no text",
        "view public.seen has no text",
    ),
    (
        |backup| backup.multiply_the_view(),
        "the beginning of a span",
        "of the text belong to the frame and to view public.seen",
    ),
    (|backup| backup.repeat_an_id(), "the number of different dump ids", "have the same id"),
    (
        |backup| backup.data()["members"] = json!([2, 2]),
        "the beginning of its first member",
        "do not hold the rows of table public.t",
    ),
    (
        |backup| backup.data()["members"] = json!([1, 0]),
        "a table without rows",
        "do not hold the rows of table public.t",
    ),
    (
        |backup| backup.depend_on_each_other(),
        "depends on and does not follow",
        "depends on table public.t, which does not come before it",
    ),
    (|backup| backup.swap_texts(), "the banner of entry", "is not at its offset"),
    (|backup| backup.append(), "what follows the last member", " of the object belong to no member"),
    (
        |backup| drop(backup.toc["checksums"].as_array_mut().unwrap().pop()),
        "the number of checksums",
        " checksums for ",
    ),
    (|backup| backup.dump[400] ^= 1, "the CRC-32 of element 0", "CRC-32"),
    (|backup| *backup.member_byte() ^= 1, "the CRC-32 of element", "CRC-32"),
    (|backup| *backup.dump.last_mut().unwrap() ^= 1, "the CRC-32 of element", "CRC-32"),
    (
        |backup| backup.manifest["tables"] = json!([]),
        "the manifest's list of tables",
        "the rows of table public.t, which the manifest does not list",
    ),
];

#[test]
fn the_reader_and_the_program_agree_on_what_no_checksum_of_an_object_shows() {
    let server = Server::start();
    let database = many_rows(&server);
    let target = server.database();
    let store = tempfile::tempdir().unwrap();
    let sound = only_backup(&database, "none", store.path());
    let sidecar = Sidecar::with_directory(store.path())
        .database("many", &database)
        .set("BACKUP_DRILL_URL", &server.existing("postgres").url_without_password())
        .set("BACKUP_DRILL_PASSWORD", PASSWORD);
    for (number, (damage, of_reader, of_program)) in FORGED.iter().enumerate() {
        let mut backup = sound.clone();
        damage(&mut backup);
        backup.seal();
        expect_finding(&backup, of_reader);
        let verified = sidecar.run(&["verify"]).expect_code(6);
        assert!(verified.stdout_text().contains(of_program), "{of_program}\n{verified}");
        let restored = sidecar.run(&["restore", "latest", "-1", "--to", &target.url()]).expect_code(6);
        assert!(restored.stderr.contains(of_program), "{of_program}\n{restored}");
        assert_eq!(target.query("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0", "{of_program}");
        // A drill restores like any other restore.
        if number % 6 == 0 {
            let drilled = sidecar.run(&["drill"]).expect_code(6);
            assert!((drilled.stdout_text() + &drilled.stderr).contains(of_program), "{drilled}");
        }
    }
    sound.clone().seal();
    sidecar.run(&["verify"]).expect_success();
    sidecar.run(&["restore", "latest", "-1", "--to", &target.url()]).expect_success();
    // A backup of a version without checksums of members.
    let mut older = sound.clone();
    older.toc.as_object_mut().unwrap().remove("checksums");
    older.seal();
    older.manifest["toc"].as_object_mut().unwrap().remove("raw_size");
    older.write();
    read_backup(&older.manifest_path, &[]).expect_success();
    sidecar.run(&["verify"]).expect_success();
    sidecar.run(&["restore", "latest", "--clean", "--to", &target.url()]).expect_success();
}

#[test]
fn an_entry_of_an_unknown_kind_is_refused_by_name() {
    let server = Server::start();
    let database = many_rows(&server);
    let target = server.database();
    let store = tempfile::tempdir().unwrap();
    let mut backup = only_backup(&database, "none", store.path());
    let sidecar = Sidecar::with_directory(store.path()).database("many", &database);
    backup.entry("VIEW", "seen")["desc"] = json!("PROPERTY MAP");
    backup.seal();
    let refusal =
        "table of contents has the entry PROPERTY MAP seen, whose kind only a newer pg-backup knows";
    let verified = sidecar.run(&["verify"]).expect_code(6);
    assert!(verified.stdout_text().contains(refusal), "{verified}");
    for arguments in [&["restore", "latest", "--list"][..], &["restore", "latest", "--to", &target.url()]] {
        let refused = sidecar.run(arguments).expect_code(6);
        assert!(refused.stderr.contains(refusal), "{refused}");
    }
    assert_eq!(target.query("SELECT count(*) FROM pg_class WHERE relname = 't'"), "0");
}

#[test]
fn a_seek_table_that_does_not_list_the_frames_is_found() {
    let server = Server::start();
    let database = many_rows(&server);
    let store = tempfile::tempdir().unwrap();
    let mut backup = only_backup(&database, "zstd", store.path());
    let sidecar = Sidecar::with_directory(store.path()).database("many", &database);
    sidecar.run(&["verify"]).expect_success();
    *backup.dump.iter_mut().nth_back(20).unwrap() ^= 1;
    backup.seal();
    let verified = sidecar.run(&["verify"]).expect_code(6);
    assert!(verified.stdout_text().contains("of the dump) does not list the members"), "{verified}");
    expect_finding(&backup, "the seek table does not list the frames");
}

#[test]
fn a_flipped_bit_anywhere_in_a_bare_dump_is_an_error() {
    let server = Server::start();
    let database = server.database();
    database.execute(
        "CREATE TABLE t (a integer PRIMARY KEY, b text); INSERT INTO t SELECT n, 'row ' || n FROM generate_series(1, 300) n;
         CREATE TABLE zero (a integer); CREATE VIEW seen AS SELECT 1 AS one; COMMENT ON VIEW seen IS 'a comment';
         CREATE FUNCTION f() RETURNS integer LANGUAGE sql AS 'SELECT 1'; GRANT SELECT ON t TO public;
         SELECT lo_from_bytea(4711, 'large object')",
    );
    let store = tempfile::tempdir().unwrap();
    let sound = only_backup(&database, "none", store.path());
    let sidecar = Sidecar::with_directory(store.path()).database("many", &database);
    let target = server.database();
    let text = &sound.dump;
    let places: Vec<usize> = [
        "-- PostgreSQL database dump\n",
        "SET client_encoding",
        "-- Name: seen;",
        "CREATE VIEW",
        "a comment",
        "SELECT 1'",
        "-- Data for Name: t;",
        "COPY public.t",
        "\tb\n",
        "row 150",
        "\\.\n",
        "COPY public.zero",
        "lo_open",
        "6c61726765",
        "PRIMARY KEY",
        "GRANT",
        "-- PostgreSQL database dump complete",
        "\\unrestrict",
    ]
    .iter()
    .filter_map(|words| memchr::memmem::find(text, words.as_bytes()))
    .chain((0..text.len()).step_by(text.len() / 20))
    .chain([text.len() - 1])
    .collect();
    assert!(places.len() > 34, "{places:?}");
    for (number, place) in places.into_iter().enumerate() {
        let mut backup = sound.clone();
        backup.dump[place] ^= 1 << (number % 7);
        backup.seal();
        let verified = sidecar.run(&["verify"]).expect_code(6);
        assert!(verified.stdout_text().contains("has the CRC-32 "), "{place}\n{verified}");
        let restored = sidecar.run(&["restore", "latest", "-1", "--to", &target.url()]).expect_code(6);
        assert!(restored.stderr.contains("has a CRC-32 that differs"), "{place}\n{restored}");
    }
}

#[track_caller]
fn expect_finding(backup: &Backup, finding: &str) {
    let checked = read_backup(&backup.manifest_path, &[]).expect_code(1);
    assert!(checked.stderr.contains(finding), "{finding}\n{checked}");
}

/// A backup of the one table, for damage.
#[derive(Clone)]
struct Backup {
    stored: StoredBackup,
}

impl Deref for Backup {
    type Target = StoredBackup;

    fn deref(&self) -> &StoredBackup {
        &self.stored
    }
}

impl DerefMut for Backup {
    fn deref_mut(&mut self) -> &mut StoredBackup {
        &mut self.stored
    }
}

impl Backup {
    /// The entry of the table's rows.
    fn rows_entry(&mut self) -> &mut Value {
        self.stored.entry("TABLE DATA", "t")
    }

    fn data(&mut self) -> &mut Value {
        &mut self.rows_entry()["data"]
    }

    /// Returns the index of the first member of the rows, and the number of these members.
    fn members_of_rows(&mut self) -> (usize, usize) {
        let members = &self.data()["members"];
        (offset(&members[0]), offset(&members[1]))
    }

    /// A byte in the middle of a member of rows.
    fn member_byte(&mut self) -> &mut u8 {
        let (first, _) = self.members_of_rows();
        let member = &self.toc["members"][first];
        let middle = offset(&member[0]) + offset(&member[1]) / 2;
        &mut self.dump[middle]
    }

    fn change_row(&mut self) {
        let row = offset(&self.data()["raw"][0]);
        assert_eq!(self.dump[row..row + 2], *b"1\t");
        self.dump[row] = b'0';
    }

    fn change_count(&mut self) {
        shift(&mut self.data()["rows"]);
        shift(&mut self.manifest["tables"][0]["rows"]);
    }

    fn move_rows(&mut self) {
        for (member, change) in [(1, 1), (2, -1)] {
            let rows = &mut self.toc["members"][member][4];
            *rows = json!(rows.as_i64().unwrap() + change);
        }
    }

    fn swap_members(&mut self) {
        self.toc["members"].as_array_mut().unwrap().swap(1, 2);
    }

    fn depend_on_itself(&mut self) {
        let entry = self.rows_entry();
        entry["dependencies"] = json!([entry["id"]]);
    }

    fn repeat_an_id(&mut self) {
        let id = self.entry("TABLE", "t")["id"].clone();
        self.entry("VIEW", "seen")["id"] = id;
    }

    fn depend_on_each_other(&mut self) {
        let (view, table) =
            (self.entry("VIEW", "seen")["id"].clone(), self.entry("TABLE", "t")["id"].clone());
        self.entry("VIEW", "seen")["dependencies"] = json!([table]);
        self.entry("TABLE", "t")["dependencies"] = json!([view]);
    }

    /// Makes the view's text part of the frame.
    fn hide_the_view(&mut self) {
        let text = self.entry("VIEW", "seen")["text"][0].clone();
        self.remove("VIEW", "seen");
        self.toc["frame"].as_array_mut().unwrap().push(text);
    }

    /// Makes the key's text part of the preceding rows' text, which is not executed.
    fn hide_the_key(&mut self) {
        let text = self.entry("CONSTRAINT", "t t_pkey")["text"][0].clone();
        self.remove("CONSTRAINT", "t t_pkey");
        let rows = &mut self.entry("TABLE DATA", "zero")["text"][1];
        assert_eq!(offset(&rows[0]) + offset(&rows[1]), offset(&text[0]));
        rows[1] = json!(offset(&rows[1]) + offset(&text[1]));
    }

    /// Adds two thousand entries, each with all of the text.
    fn multiply_the_view(&mut self) {
        let mut view = self.entry("VIEW", "seen").clone();
        view["text"] = json!([[0, self.toc["raw_size"]]]);
        for id in 1_000_000..1_002_000 {
            view["id"] = json!(id);
            self.toc["entries"].as_array_mut().unwrap().push(view.clone());
        }
        let number = self.toc["entries"].as_array().unwrap().len();
        self.manifest["entries"] = json!(number);
    }

    fn swap_texts(&mut self) {
        let text = self.entry("VIEW", "seen")["text"].take();
        let other = std::mem::replace(&mut self.entry("TABLE", "zero")["text"], text);
        self.entry("VIEW", "seen")["text"] = other;
    }

    /// Adds a byte, with matching sizes and checksums.
    fn append(&mut self) {
        self.dump.push(b'\n');
        shift(&mut self.toc["size"]);
    }

    fn reverse_entries(&mut self) {
        self.toc["entries"].as_array_mut().unwrap().reverse();
    }
}

/// Adds one to a number.
fn shift(number: &mut Value) {
    *number = json!(offset(number) + 1);
}
