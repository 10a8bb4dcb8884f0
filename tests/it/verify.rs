//! `pg-backup verify`: a whole backup is found whole, and every kind of damage is found and named.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::bulk;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::Output;
use crate::harness::seaweed::{ADMIN, Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, files};

const SCRIPT: &str = "
    CREATE TABLE small (a integer);
    INSERT INTO small VALUES (1), (2), (3);
    CREATE TABLE nothing (a integer);
    CREATE TABLE lines (a text);
    INSERT INTO lines SELECT E'line\\nand\\ttab' || n FROM generate_series(1, 1000) n;
    SELECT lo_create(4711);
    SELECT lo_put(4711, 0, 'large object');";

/// A store in a directory, with one backup in it.
struct Saved {
    dir: tempfile::TempDir,
    sidecar: Sidecar,
}

impl Saved {
    fn of(database: &Database<'_>, compression: &str) -> Saved {
        let dir = tempfile::tempdir().unwrap();
        let sidecar = Sidecar::with_directory(dir.path())
            .database("main", database)
            .set("BACKUP_COMPRESSION", compression);
        sidecar.run(&["run"]).expect_success();
        Saved { dir, sidecar }
    }

    /// The one file whose name ends so.
    fn file(&self, end: &str) -> PathBuf {
        let mut found = files(self.dir.path());
        found.retain(|file| file.ends_with(end));
        assert_eq!(found.len(), 1, "{found:?} end in {end}");
        found.remove(0).into()
    }

    fn dump(&self) -> PathBuf {
        let manifest = self.file(".manifest.json");
        let stem = manifest.to_str().unwrap().strip_suffix(".manifest.json").unwrap().to_owned();
        let dump = [".sql", ".sql.gz", ".sql.zst"].map(|end| PathBuf::from(stem.clone() + end));
        dump.into_iter().find(|path| path.exists()).expect("the dump is there")
    }

    fn verify(&self) -> Output {
        self.sidecar.run(&["verify"])
    }

    /// Verifies a copy that `damage` has been done to; everything in `told` must be said.
    #[track_caller]
    fn with_damage(&self, what: &str, damage: impl FnOnce(&Saved), told: &[&str]) -> String {
        let kept = tempfile::tempdir().unwrap();
        copy(self.dir.path(), kept.path());
        damage(self);
        let output = self.verify().expect_code(6);
        let said = output.stdout_text();
        for text in told {
            assert!(said.contains(text), "{what}: \"{text}\" is not said\n{output}");
        }
        assert!(output.stderr.contains("the backup of main is not whole"), "{what}\n{output}");
        fs::remove_dir_all(self.dir.path()).unwrap();
        copy(kept.path(), self.dir.path());
        said
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The members as the table of contents has them.
fn members(saved: &Saved) -> Vec<[usize; 5]> {
    let toc = crate::harness::sidecar::gunzip_text(&fs::read(saved.file(".toc.json.gz")).unwrap());
    let toc: serde_json::Value = serde_json::from_str(&toc).unwrap();
    serde_json::from_value(toc["members"].clone()).unwrap()
}

fn load(database: &Database<'_>) {
    let script = bulk::events("events", 20_000) + SCRIPT;
    database.load_bytes(script.as_bytes()).expect_success();
}

#[test]
fn every_kind_of_damage_is_found_and_named() {
    let server = Server::start();
    let database = server.database();
    load(&database);
    for compression in ["gzip", "zstd"] {
        let saved = Saved::of(&database, compression);
        let whole = saved.verify().expect_success().stdout_text();
        assert!(whole.contains("whole") && whole.contains(" 21003 "), "{whole}");
        let (dump, toc, manifest) = (saved.dump(), saved.file(".toc.json.gz"), saved.file(".manifest.json"));
        let members = members(&saved);
        let of_events = members.iter().position(|member| member[4] > 1000 && member[3] > 1 << 19).unwrap();
        assert!(members.len() > of_events + 2, "{members:?}");
        let [from, length, ..] = members[of_events];

        let member = format!(
            "member {of_events} (bytes {from} to {} of the dump, rows of table public.events)",
            from + length
        );
        saved.with_damage(
            "a flipped byte",
            |_| change(&dump, |d| d[from + length / 2] ^= 0x10),
            &[&member, "SHA-256 is", "CRC-64/NVME is"],
        );
        let said = saved.with_damage(
            "a cut end",
            |_| change(&dump, |d| d.truncate(from + length / 2)),
            &[&member, " bytes instead of "],
        );
        assert_eq!(said.matches("member ").count(), 1, "what follows from the cut is told\n{said}");
        saved.with_damage(
            "a missing member",
            |_| change(&dump, |d| drop(d.drain(from..from + length))),
            &[&member, " bytes instead of "],
        );
        saved.with_damage("an empty dump", |_| change(&dump, Vec::clear), &["is empty instead of "]);
        saved.with_damage(
            "a grown dump",
            |_| change(&dump, |d| d.extend_from_slice(b"more")),
            &[" bytes instead of "],
        );
        saved.with_damage(
            "a missing dump",
            |_| fs::remove_file(&dump).unwrap(),
            &["the dump file://", "is missing"],
        );
        let swap = |d: &mut Vec<u8>| {
            let [next, next_length, ..] = members[of_events + 1];
            let swapped = [&d[next..next + next_length], &d[from..next]].concat();
            d[from..next + next_length].copy_from_slice(&swapped);
        };
        saved.with_damage(
            "swapped members",
            |_| change(&dump, swap),
            &["SHA-256 is", &format!("member {of_events} ")],
        );

        saved.with_damage(
            "a missing table of contents",
            |_| fs::remove_file(&toc).unwrap(),
            &["the table of contents file://", "is missing"],
        );
        saved.with_damage(
            "a changed table of contents",
            |_| change(&toc, |t| t[30] ^= 1),
            &["is not what its manifest says: SHA-256"],
        );
        saved.with_damage(
            "a missing manifest",
            |saved| {
                // Then it is no backup any more, and asked for by its key it is named.
                let key = dump.strip_prefix(saved.dir.path()).unwrap().to_str().unwrap().to_owned();
                fs::remove_file(&manifest).unwrap();
                let named = saved.sidecar.run(&["verify", &key]).expect_code(6);
                assert!(named.stdout_text().contains("without which this is no backup"), "{named}");
            },
            &["there is no backup of main"],
        );
        saved.with_damage(
            "a manifest that is cut",
            |_| change(&manifest, |m| m.truncate(100)),
            &["cannot be read"],
        );
        saved.with_damage(
            "a newer manifest",
            |_| edit(&manifest, "\"format_version\": 1", "\"format_version\": 2"),
            &["format version 2"],
        );
        saved.with_damage(
            "a manifest of another backup",
            |_| edit(&manifest, "\"database\": \"main\"", "\"database\": \"other\""),
            &["that of another backup: it says other-"],
        );
        saved.with_damage(
            "another number of rows",
            |_| edit(&manifest, "\"rows\": 1000,", "\"rows\": 1001,"),
            &["contradicts the manifest: the rows of public.lines"],
        );
    }
}

fn edit(path: &Path, from: &str, to: &str) {
    change(path, |bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        assert!(text.contains(from), "{text}");
        *bytes = text.replacen(from, to, 1).into_bytes();
    });
}

/// Overwrites the first byte of a text that is there.
fn overwrite(path: &Path, text: &[u8], byte: u8) {
    change(path, |bytes| {
        let at = memchr::memmem::find(bytes, text).expect("the text is there");
        bytes[at] = byte;
    });
}

#[test]
fn changed_rows_are_found_in_a_bare_dump() {
    let server = Server::start();
    let database = server.database();
    load(&database);
    let saved = Saved::of(&database, "none");
    saved.verify().expect_success();
    let dump = saved.dump();
    let row = b"line\\nand\\ttab500\n";
    let told = ["the rows of table public.lines have another digest", "SHA-256"];
    saved.with_damage("a changed row", |_| overwrite(&dump, row, b'L'), &told);
    let told = ["table public.lines has 1001 rows instead of 1000"];
    saved.with_damage("a row more", |_| overwrite(&dump, row, b'\n'), &told);
    // Text that is no row is held by the checksum alone.
    let said =
        saved.with_damage("a changed statement", |_| overwrite(&dump, b"CREATE TABLE", b'c'), &["SHA-256"]);
    assert!(!said.contains("rows of"), "{said}");
}

#[test]
fn backups_are_chosen_and_shown() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER))
        .database("main", &database)
        .database("other", &database);
    sidecar.run(&["run"]).expect_success();
    let reader = Sidecar::with_store(seaweed.environment(ADMIN));

    // Whoever reads the store need not know the servers.
    let all: serde_json::Value =
        serde_json::from_slice(&reader.run(&["verify", "--json"]).expect_success().stdout).unwrap();
    assert_eq!(all["ok"], true);
    let names: Vec<_> =
        all["backups"].as_array().unwrap().iter().map(|b| (&b["database"], &b["rows"], &b["ok"])).collect();
    assert_eq!(
        names,
        [(&"main".into(), &1003.into(), &true.into()), (&"other".into(), &1003.into(), &true.into())]
    );
    let one = reader.run(&["verify", "-d", "other"]).expect_success().stdout_text();
    assert!(one.contains("other") && !one.contains("main"), "{one}");
    let dump = seaweed
        .objects()
        .into_iter()
        .map(|o| o.key)
        .find(|key| key.contains("/main/") && key.ends_with(".sql.gz"))
        .unwrap();
    for name in [dump.clone(), format!("s3://backups/{dump}")] {
        let one = reader.run(&["verify", &name]).expect_success().stdout_text();
        assert!(one.contains("main") && !one.contains("other"), "{one}");
    }
    let early = reader.run(&["verify", "2020-01-01T00:00Z", "-d", "main"]).expect_code(6);
    assert!(
        early.stdout_text().contains("no backup of main that began at 2020-01-01T00:00:00Z or before"),
        "{early}"
    );
    let wrong = reader.run(&["verify", "yesterday"]).expect_code(2);
    assert!(wrong.stderr.contains("\"yesterday\" is no backup"), "{wrong}");
    assert!(wrong.stderr.contains("HINT: write latest, a time"), "{wrong}");
    // The sidecar's own key may not read.
    let refused = sidecar.run(&["verify"]).expect_code(5);
    assert!(refused.stderr.contains("give it an operator's key"), "{refused}");
}
