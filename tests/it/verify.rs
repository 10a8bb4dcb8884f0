//! `pg-backup verify`: it accepts a complete backup, and finds and names every kind of damage.

use std::fs;

use crate::harness::backup_directory::{BackupDirectory, change, edit, overwrite};
use crate::harness::bulk;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::Output;
use crate::harness::seaweed::{ADMIN, Seaweed, WRITER};
use crate::harness::sidecar::Sidecar;

const SCRIPT: &str = "
    CREATE TABLE small (a integer);
    INSERT INTO small VALUES (1), (2), (3);
    CREATE TABLE nothing (a integer);
    CREATE TABLE lines (a text);
    INSERT INTO lines SELECT E'line\\nand\\ttab' || n FROM generate_series(1, 1000) n;
    SELECT lo_create(4711);
    SELECT lo_put(4711, 0, 'large object');";

fn verify(saved: &BackupDirectory) -> Output {
    saved.sidecar.run(&["verify"])
}

/// Verifies a copy that `damage` has changed. The output must contain every text of `told`.
#[track_caller]
fn with_damage(
    saved: &BackupDirectory,
    what: &str,
    damage: impl FnOnce(&BackupDirectory),
    told: &[&str],
) -> String {
    let output = saved.damaged(damage, verify).expect_code(6);
    let said = output.stdout_text();
    for text in told {
        assert!(said.contains(text), "{what}: \"{text}\" is not said\n{output}");
    }
    assert!(output.stderr.contains("the backup of main is incomplete or damaged"), "{what}\n{output}");
    said
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
        let saved = BackupDirectory::of(&database, compression);
        let whole = verify(&saved).expect_success().stdout_text();
        assert!(whole.contains("intact") && whole.contains(" 21003 "), "{whole}");
        let (dump, toc, manifest) = (saved.dump(), saved.file(".toc.json.gz"), saved.file(".manifest.json"));
        let members = saved.members();
        let of_events = members.iter().position(|member| member[4] > 1000 && member[3] > 1 << 19).unwrap();
        assert!(members.len() > of_events + 2, "{members:?}");
        let [from, length, ..] = members[of_events];

        let member = format!(
            "member {of_events} (bytes {from} to {} of the dump, rows of table public.events)",
            from + length
        );
        with_damage(
            &saved,
            "a flipped byte",
            |_| change(&dump, |d| d[from + length / 2] ^= 0x10),
            &[&member, "SHA-256 is", "CRC-64/NVME is"],
        );
        let said = with_damage(
            &saved,
            "a cut end",
            |_| change(&dump, |d| d.truncate(from + length / 2)),
            &[&member, " bytes instead of "],
        );
        assert_eq!(said.matches("member ").count(), 1, "what follows from the cut is told\n{said}");
        with_damage(
            &saved,
            "a missing member",
            |_| change(&dump, |d| drop(d.drain(from..from + length))),
            &[&member, " bytes instead of "],
        );
        with_damage(&saved, "an empty dump", |_| change(&dump, Vec::clear), &["is empty instead of "]);
        with_damage(
            &saved,
            "a grown dump",
            |_| change(&dump, |d| d.extend_from_slice(b"more")),
            &[" bytes instead of "],
        );
        with_damage(
            &saved,
            "a missing dump",
            |_| fs::remove_file(&dump).unwrap(),
            &["the dump file://", "is missing"],
        );
        let swap = |d: &mut Vec<u8>| {
            let [next, next_length, ..] = members[of_events + 1];
            let swapped = [&d[next..next + next_length], &d[from..next]].concat();
            d[from..next + next_length].copy_from_slice(&swapped);
        };
        with_damage(
            &saved,
            "swapped members",
            |_| change(&dump, swap),
            &["SHA-256 is", &format!("member {of_events} ")],
        );

        with_damage(
            &saved,
            "a missing table of contents",
            |_| fs::remove_file(&toc).unwrap(),
            &["the table of contents file://", "is missing"],
        );
        with_damage(
            &saved,
            "a changed table of contents",
            |_| change(&toc, |t| t[30] ^= 1),
            &["does not match its manifest: SHA-256"],
        );
        with_damage(
            &saved,
            "a missing manifest",
            |saved| {
                // Without its manifest it is not a backup, and a check by its key reports that.
                let key = dump.strip_prefix(saved.dir.path()).unwrap().to_str().unwrap().to_owned();
                fs::remove_file(&manifest).unwrap();
                let named = saved.sidecar.run(&["verify", &key]).expect_code(6);
                assert!(named.stdout_text().contains("so this is not a backup"), "{named}");
            },
            &["there is no backup of main"],
        );
        with_damage(
            &saved,
            "a manifest that is cut",
            |_| change(&manifest, |m| m.truncate(100)),
            &["cannot be read"],
        );
        with_damage(
            &saved,
            "a newer manifest",
            |_| edit(&manifest, "\"format_version\": 1", "\"format_version\": 3"),
            &["format version 3"],
        );
        with_damage(
            &saved,
            "a manifest of another backup",
            |_| edit(&manifest, "\"database\": \"main\"", "\"database\": \"other\""),
            &["belongs to another backup: it has other-"],
        );
        with_damage(
            &saved,
            "another number of rows",
            |_| edit(&manifest, "\"rows\": 1000,", "\"rows\": 1001,"),
            &["contradicts the manifest: the rows of public.lines"],
        );
    }
}

#[test]
fn changed_rows_are_found_in_a_bare_dump() {
    let server = Server::start();
    let database = server.database();
    load(&database);
    let saved = BackupDirectory::of(&database, "none");
    verify(&saved).expect_success();
    let dump = saved.dump();
    let row = b"line\\nand\\ttab500\n";
    let told = ["the digest of the rows of table public.lines differs", "SHA-256"];
    with_damage(&saved, "a changed row", |_| overwrite(&dump, row, b'L'), &told);
    let told = ["table public.lines has 1001 rows instead of 1000"];
    with_damage(&saved, "a row more", |_| overwrite(&dump, row, b'\n'), &told);
    // Text that is not a row is covered only by the checksum.
    let said =
        with_damage(&saved, "a changed statement", |_| overwrite(&dump, b"CREATE TABLE", b'c'), &["SHA-256"]);
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

    // A reader of the store needs no settings of the servers.
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
        early.stdout_text().contains("no backup of main that started at or before 2020-01-01T00:00:00Z"),
        "{early}"
    );
    let wrong = reader.run(&["verify", "yesterday"]).expect_code(2);
    assert!(wrong.stderr.contains("\"yesterday\" is not a backup"), "{wrong}");
    assert!(wrong.stderr.contains("HINT: use latest, a time"), "{wrong}");
    // The sidecar's key may not read.
    let refused = sidecar.run(&["verify"]).expect_code(5);
    assert!(refused.stderr.contains("use an operator's key"), "{refused}");
}
