//! docs/archive-format.md says enough to read a backup: tests/archive/read_backup.py knows it from there
//! alone, shares nothing with the program, and checks what the document promises. So that its silence means
//! something, it must also find each kind of damage.

use std::path::{Path, PathBuf};
use std::process::Command;

use libdeflater::{CompressionLvl, Compressor};
use pg_backup::pipeline::digest::ObjectDigest;
use serde_json::{Value, json};

use crate::harness::bulk;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, run, target_dir};
use crate::harness::samples::sample;
use crate::harness::sidecar::{Sidecar, files, gunzip};

const PACKINGS: [&str; 3] = ["gzip", "zstd", "none"];

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs the reader; with a table's namespace and name it writes the rows, and else it checks everything.
fn read_backup(manifest: &Path, table: &[&str]) -> Output {
    // `make prepare` installs what it imports.
    let mut python = Command::new(target_dir().join("archive-reader/bin/python"));
    run(python.arg(repository("tests/archive/read_backup.py")).arg(manifest).args(table))
}

/// Backs everything up into a directory; returns the manifests.
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
    // Large objects that go over several members, privileges and what comes after them.
    let objects = loaded("large_object");
    objects.execute(
        "SELECT lo_from_bytea(0, decode(repeat(md5('x'), 200000), 'hex')) FROM generate_series(1, 2);
         CREATE MATERIALIZED VIEW v AS SELECT 1 AS a; GRANT SELECT ON v TO public;
         CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
         CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f(); COMMENT ON EVENT TRIGGER e IS 'e'",
    );
    // Names that are no UTF-8, and rows that are large or have no columns.
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

/// A database with one table, of which the rows take several members.
fn many_rows(server: &Server) -> Database<'_> {
    let database = server.database();
    database.load_bytes(bulk::events("t", 12_000).as_bytes()).expect_success();
    database
}

/// The only backup in a store.
fn only_backup(database: &Database<'_>, packing: &str, dir: &Path) -> Backup {
    let sidecar = Sidecar::with_directory(dir).database("many", database).set("BACKUP_COMPRESSION", packing);
    let manifests = backed_up(&sidecar, dir);
    assert_eq!(manifests.len(), 1, "{manifests:?}");
    Backup::read(&manifests[0])
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
        // What is outside the table's members is wiped out.
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

/// What is done to a backup, and what must be said of it.
type Damage = (fn(&mut Backup), &'static str);

/// Damage that no checksum shows, because the checksums are those of what is there. The dump is bare.
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
        backup.seal();
        expect_finding(&backup, finding);
    }
    // Each member unpacks by itself, and the seek table knows them.
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

#[track_caller]
fn expect_finding(backup: &Backup, finding: &str) {
    let checked = read_backup(&backup.manifest_path, &[]).expect_code(1);
    assert!(checked.stderr.contains(finding), "{finding}\n{checked}");
}

/// A backup's three files, to be changed and written again in place.
#[derive(Clone)]
struct Backup {
    manifest_path: PathBuf,
    manifest: Value,
    toc: Value,
    dump: Vec<u8>,
}

impl Backup {
    fn read(manifest_path: &Path) -> Backup {
        let file = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("it is JSON");
        let manifest = json(&file(manifest_path.to_owned()));
        let part = |name: &str| file(beside(manifest_path, &manifest[name]["file"]));
        let (toc, dump) = (json(&gunzip(&part("toc"))), part("dump"));
        Backup { manifest_path: manifest_path.to_owned(), manifest, toc, dump }
    }

    /// Writes the files, with the sizes and checksums that the manifest already has.
    fn write(&self) {
        self.write_with(&self.packed_toc());
    }

    /// Writes the files, and in the manifest sizes and checksums that fit them.
    fn seal(&mut self) {
        let toc = self.packed_toc();
        for (name, bytes) in [("dump", &self.dump), ("toc", &toc)] {
            let sums = ObjectDigest::of(bytes);
            let sha256: String = sums.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
            self.manifest[name]["sha256"] = json!(sha256);
            self.manifest[name]["size"] = json!(sums.size);
            if name == "dump" {
                self.manifest[name]["crc64nvme"] = json!(format!("{:016x}", sums.crc64nvme));
            }
        }
        self.write_with(&toc);
    }

    fn write_with(&self, toc: &[u8]) {
        let manifest = serde_json::to_string_pretty(&self.manifest).unwrap() + "\n";
        std::fs::write(&self.manifest_path, manifest).unwrap();
        for (name, bytes) in [("dump", &*self.dump), ("toc", toc)] {
            std::fs::write(beside(&self.manifest_path, &self.manifest[name]["file"]), bytes).unwrap();
        }
    }

    fn packed_toc(&self) -> Vec<u8> {
        let json = serde_json::to_vec(&self.toc).unwrap();
        let mut compressor = Compressor::new(CompressionLvl::default());
        let mut packed = vec![0; compressor.gzip_compress_bound(json.len())];
        let length = compressor.gzip_compress(&json, &mut packed).unwrap();
        packed.truncate(length);
        packed
    }

    /// The entry of the one table's rows.
    fn rows_entry(&mut self) -> &mut Value {
        let entries = self.toc["entries"].as_array_mut().expect("entries are an array");
        entries.iter_mut().find(|entry| entry["desc"] == "TABLE DATA").expect("the table has rows")
    }

    fn data(&mut self) -> &mut Value {
        &mut self.rows_entry()["data"]
    }

    /// The index of the first member of the rows, and their number.
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

    fn reverse_entries(&mut self) {
        self.toc["entries"].as_array_mut().unwrap().reverse();
    }
}

/// A file of a backup, named by its manifest.
fn beside(manifest: &Path, name: &Value) -> PathBuf {
    manifest.with_file_name(name.as_str().expect("a file has a name"))
}

fn offset(number: &Value) -> usize {
    usize::try_from(number.as_u64().expect("it is a number")).unwrap()
}

/// Adds one.
fn shift(number: &mut Value) {
    *number = json!(offset(number) + 1);
}
