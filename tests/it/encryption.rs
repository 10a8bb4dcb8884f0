//! Encrypted backups: the stock `age` can decrypt them, restore, verify and drill work with an identity, no
//! object in the store contains a name, and all damage is found.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pg_backup::archive::encryption::chunks::Chunks;
use pg_backup::archive::toc_file::TocFile;
use pg_backup::archive::toc_reader::TocLimit;
use serde_json::Value;

use crate::harness::age::Key;
use crate::harness::backup_directory::{BackupDirectory, change, edit};
use crate::harness::bulk;
use crate::harness::fidelity::compare_databases;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::program::{Output, run, target_dir};
use crate::harness::restore::{input, restore};
use crate::harness::seaweed::{ADMIN, Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, files, gunzip};

/// The prefix of every name in the script, which occurs in no text of the program. It is long enough not to
/// occur in a ciphertext by chance.
const MARK: &str = "zqxjkvbw";

const SCRIPT: &str = "
    CREATE SCHEMA zqxjkvbw_namespace;
    CREATE TABLE zqxjkvbw_namespace.zqxjkvbw_table (zqxjkvbw_column integer PRIMARY KEY, zqxjkvbw_other text);
    INSERT INTO zqxjkvbw_namespace.zqxjkvbw_table SELECT n, 'zqxjkvbw value ' || n FROM generate_series(1, 2000) n;
    CREATE VIEW zqxjkvbw_namespace.zqxjkvbw_view AS SELECT zqxjkvbw_column FROM zqxjkvbw_namespace.zqxjkvbw_table;
    SELECT lo_from_bytea(4711, 'zqxjkvbw large object');";

/// Creates a database with the script and a table of many rows.
fn load<'a>(server: &'a Server, name: &str) -> Database<'a> {
    let database = server.database_named(name);
    database.load_bytes((bulk::events("zqxjkvbw_events", 20_000) + SCRIPT).as_bytes()).expect_success();
    database
}

/// Creates a store in a directory with one backup that is encrypted to these keys.
fn saved(database: &Database<'_>, compression: &str, keys: &[&Key]) -> BackupDirectory {
    let dir = tempfile::tempdir().unwrap();
    let recipients: Vec<&str> = keys.iter().map(|key| key.recipient.as_str()).collect();
    let sidecar = Sidecar::with_directory(dir.path())
        .database("main", database)
        .set("BACKUP_COMPRESSION", compression)
        .set("BACKUP_AGE_RECIPIENTS", &recipients.join(", "));
    sidecar.run(&["run"]).expect_success();
    BackupDirectory { dir, sidecar }
}

/// Compares copies into which several connections wrote the rows of one table.
#[track_caller]
fn equal_in_any_order(database: &Database<'_>, copy: &Database<'_>, name: &str) {
    compare_databases(database, copy, &["--schema-only"], name);
    let rows = |database: &Database<'_>, table: &str| {
        database
            .query(&format!("SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM {table} t"))
    };
    for table in ["zqxjkvbw_events", "zqxjkvbw_namespace.zqxjkvbw_table", "(SELECT lo_get(4711)) AS"] {
        assert_eq!(rows(database, table), rows(copy, table), "{name}: {table}");
    }
}

#[track_caller]
fn said(output: &Output, texts: &[&str]) {
    for text in texts {
        let anywhere = output.stdout_text() + &output.stderr;
        assert!(anywhere.contains(text), "\"{text}\" is not said\n{output}");
    }
}

#[test]
fn age_gunzip_and_psql_restore_what_a_round_wrote_and_nothing_in_the_store_has_a_name() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = load(&server, "zqxjkvbw_database");
    server.existing("postgres").execute("CREATE ROLE zqxjkvbw_role LOGIN PASSWORD 'secret'");
    let keys = [Key::of_age(), Key::of_ssh("ed25519", ""), Key::of_ssh("rsa", "")];
    let recipients = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<&str> = keys.iter().map(|key| key.recipient.as_str()).collect();
    fs::write(recipients.path(), format!("# who can read\n{}\n", lines.join("\n"))).unwrap();
    let open = Sidecar::with_store(seaweed.environment(WRITER))
        .database("main", &database)
        .set("BACKUP_GLOBALS", "on")
        .set("BACKUP_S3_PREFIX", "prod/open");
    let encrypted = open
        .clone()
        .set("BACKUP_S3_PREFIX", "prod/sealed")
        .set("BACKUP_AGE_RECIPIENTS_FILE", recipients.path().to_str().unwrap());
    // The sidecar has no identity.
    for sidecar in [&open, &encrypted] {
        sidecar.run(&["run"]).expect_success();
    }

    // The names are searched in the bytes of each object and in their decompressed form.
    let with_names = |below: &str| -> Vec<String> {
        let mut found = Vec::new();
        for object in seaweed.objects().into_iter().filter(|object| object.key.starts_with(below)) {
            let bytes = seaweed.get(&object.key);
            let unpacked = if bytes.starts_with(&[0x1f, 0x8b]) { gunzip(&bytes) } else { Vec::new() };
            let holds = |bytes: &[u8]| memchr::memmem::find(bytes, MARK.as_bytes()).is_some();
            if holds(&bytes) || holds(&unpacked) || holds(object.key.as_bytes()) {
                found.push(object.key);
            }
        }
        found
    };
    // The search finds the names in the unencrypted objects: dump, table of contents and manifest of the
    // database, dump and manifest of the roles.
    assert_eq!(with_names("prod/open/").len(), 5, "{:?}", with_names("prod/open/"));
    assert_eq!(with_names("prod/sealed/"), [""; 0]);
    let stored: Vec<String> =
        seaweed.objects().into_iter().map(|o| o.key).filter(|key| key.starts_with("prod/sealed/")).collect();
    assert_eq!(stored.len(), 6, "{stored:?}");
    for end in [".sql.gz.age", ".toc.json.gz.age", ".manifest.json"] {
        assert_eq!(stored.iter().filter(|key| key.ends_with(end)).count(), 2, "{stored:?}");
    }

    let of = |name: &str, end: &str| {
        let key = stored.iter().find(|key| key.contains(name) && key.ends_with(end)).unwrap();
        seaweed.get(key)
    };
    let dump = of("/main/", ".sql.gz.age");
    for key in &keys {
        let sql = gunzip(&key.decrypt(&dump).expect_success().stdout);
        let copy = server.database();
        copy.load_bytes(&sql).expect_success();
        compare_databases(&database, &copy, &[], "age -d | gunzip | psql");
    }
    let roles = gunzip(&keys[0].decrypt(&of("/globals/", ".sql.gz.age")).expect_success().stdout);
    assert!(memchr::memmem::find(&roles, b"CREATE ROLE zqxjkvbw_role;").is_some());
    assert!(!Key::of_age().decrypt(&dump).status.success());

    // Commands that do not read the content need no identity.
    let reader = Sidecar::with_store(seaweed.environment(ADMIN)).set("BACKUP_S3_PREFIX", "prod/sealed");
    let listed = reader.run(&["list", "--json"]).expect_success();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    for backup in listed.as_array().unwrap() {
        let shown = (&backup["encrypted"], &backup["complete"], &backup["packing"]);
        assert_eq!(shown, (&true.into(), &true.into(), &"gzip".into()), "{listed}");
    }
    let status = reader.run(&["status", "--json"]).expect_success();
    let status: Value = serde_json::from_slice(&status.stdout).unwrap();
    let main = status["databases"].as_array().unwrap().iter().find(|d| d["database"] == "main").unwrap();
    assert_eq!((&main["newest"]["rows"], &main["newest"]["tables"]), (&22_000.into(), &2.into()), "{status}");
}

#[test]
fn restore_verify_and_drill_take_an_identity_of_each_kind() {
    let (server, sandbox) = (Server::start(), Server::start());
    let database = load(&server, "zqxjkvbw_database");
    let (age, ed25519, rsa) = (Key::of_age(), Key::of_ssh("ed25519", ""), Key::of_ssh("rsa", ""));
    let url = sandbox.existing("postgres").url_without_password();
    for (compression, key) in [("gzip", &age), ("zstd", &ed25519), ("none", &rsa)] {
        let saved = saved(&database, compression, &[&age, &ed25519, &rsa]);
        let with = saved.sidecar.clone().set("BACKUP_AGE_IDENTITY_FILE", &key.path());
        for jobs in ["-j1", "-j4"] {
            let copy = server.database();
            with.run(&["restore", "latest", "--to", &copy.url(), jobs]).expect_success();
            equal_in_any_order(&database, &copy, compression);
        }
        // The dump next to its manifest. The option overrides the variable.
        let dump = saved.dump();
        let copy = server.database();
        let other = Key::of_age();
        let mut command =
            restore(dump.to_str().unwrap(), &copy, &["--identity", &other.path(), "--identity", &key.path()]);
        run(command.env("BACKUP_AGE_IDENTITY", "")).expect_success();
        equal_in_any_order(&database, &copy, compression);
        // Without its manifest it is a plain dump.
        let away = saved.dir.path().join("away");
        fs::copy(&dump, &away).unwrap();
        let copy = server.database();
        let mut command = restore(away.to_str().unwrap(), &copy, &[]);
        run(command.env("BACKUP_AGE_IDENTITY", fs::read_to_string(key.file()).unwrap())).expect_success();
        compare_databases(&database, &copy, &[], compression);
        let copy = server.database();
        let sealed = fs::read(&away).unwrap();
        run(restore("-", &copy, &["--identity", &key.path()]).stdin(input(&sealed))).expect_success();
        compare_databases(&database, &copy, &[], compression);

        let verified = with.run(&["verify", "--json"]).expect_success();
        let verified: Value = serde_json::from_slice(&verified.stdout).unwrap();
        let row = &verified["backups"][0];
        assert_eq!((&row["ok"], &row["opened"], &row["rows"]), (&true.into(), &true.into(), &22_000.into()));
        let with = with.set("BACKUP_DRILL_URL", &url).set("BACKUP_DRILL_PASSWORD", PASSWORD);
        said(&with.run(&["drill"]).expect_success(), &["equal"]);
        let listed = with.run(&["restore", "latest", "--list"]).expect_success();
        said(&listed, &["dbname: zqxjkvbw_database", "TABLE DATA zqxjkvbw_namespace zqxjkvbw_table"]);
    }
}

#[test]
fn a_drills_report_beside_an_encrypted_backup_names_nothing() {
    let (server, sandbox) = (Server::start(), Server::start());
    let database = load(&server, "zqxjkvbw_database");
    database.execute("CREATE ROLE zqxjkvbw_role; ALTER TABLE zqxjkvbw_events OWNER TO zqxjkvbw_role");
    let key = Key::of_age();
    let saved = saved(&database, "gzip", &[&key]);
    let url = sandbox.existing("postgres").url_without_password();
    let drills = saved
        .sidecar
        .clone()
        .set("BACKUP_DRILL_URL", &url)
        .set("BACKUP_DRILL_PASSWORD", PASSWORD)
        .set("BACKUP_AGE_IDENTITY_FILE", &key.path());
    // The output names the role, the report in the store does not.
    said(&drills.run(&["drill"]).expect_code(6), &["the sandbox lacks role zqxjkvbw_role"]);
    let report = fs::read_to_string(saved.file(".drill.json")).unwrap();
    assert!(!report.contains(MARK), "{report}");
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["ok"], &report["encrypted"]), (&false.into(), &true.into()), "{report}");
    assert_eq!(report["lacking"][0]["kind"], "role", "{report}");
}

#[test]
fn without_the_right_identity_nothing_is_opened() {
    let server = Server::start();
    let database = load(&server, "zqxjkvbw_database");
    let (key, other) = (Key::of_age(), Key::of_age());
    let saved = saved(&database, "gzip", &[&key]);
    let target = server.database();
    let url = server.existing("postgres").url_without_password();
    let none = saved.sidecar.clone().set("BACKUP_DRILL_URL", &url).set("BACKUP_DRILL_PASSWORD", PASSWORD);
    let wrong = none.clone().set("BACKUP_AGE_IDENTITY_FILE", &other.path());
    let away = saved.dir.path().join("away");
    fs::copy(saved.dump(), &away).unwrap();
    let dump = saved.dump();
    let no_identity = ["it is encrypted, and no identity was given", "HINT: ", "--identity FILE"];
    let wrong_identity = ["it is not encrypted to any of the given identities", "HINT: "];
    for (sidecar, told) in [(&none, &no_identity[..]), (&wrong, &wrong_identity)] {
        for source in ["latest", dump.to_str().unwrap(), away.to_str().unwrap()] {
            let refused = sidecar.run(&["restore", source, "--to", &target.url()]).expect_code(2);
            said(&refused, told);
            assert_eq!(refused.stdout_text(), "", "{refused}");
        }
        let drilled = sidecar.run(&["drill"]).expect_code(2);
        said(&drilled, &told[..1]);
        assert!(!drilled.stdout_text().contains("equal"), "{drilled}");
    }
    assert_eq!(target.query("SELECT count(*) FROM pg_class WHERE oid >= 16384"), "0");

    let verified = none.run(&["verify"]).expect_success();
    said(&verified, &["intact as stored, not opened", "its contents were not opened"]);
    said(&none.run(&["verify", "--deep"]).expect_code(2), &no_identity[..1]);
    said(&wrong.run(&["verify"]).expect_code(6), &["1 problem", wrong_identity[0]]);
}

/// A kind of damage, and the messages of `verify` with and without an identity.
type Damage<'a> = (&'a str, &'a dyn Fn(&mut Vec<u8>), &'a [&'a str], &'a [&'a str]);

#[test]
fn damage_to_an_encrypted_backup_is_found_with_and_without_an_identity() {
    const CHUNK: usize = (64 << 10) + 16;
    let server = Server::start();
    let database = load(&server, "zqxjkvbw_database");
    let key = Key::of_age();
    for compression in ["gzip", "none"] {
        let saved = saved(&database, compression, &[&key]);
        let manifest = fs::read_to_string(saved.file(".manifest.json")).unwrap();
        let manifest: Value = serde_json::from_str(&manifest).unwrap();
        let start = usize::try_from(manifest["encryption"]["header_size"].as_u64().unwrap()).unwrap();
        let chunk = |number: usize| start + number * CHUNK;
        let third = format!(
            "the encrypted chunk at bytes {} to {} of the object was changed, moved or cut off",
            chunk(3),
            chunk(4)
        );
        let with = saved.sidecar.clone().set("BACKUP_AGE_IDENTITY_FILE", &key.path());
        let of_dump: &[Damage<'_>] = &[
            (
                "a flipped byte",
                &|d| d[chunk(3) + 99] ^= 1,
                &[&third, "table public.zqxjkvbw_events", "SHA-256"],
                &["SHA-256 is", "CRC-64/NVME is"],
            ),
            ("a cut end", &|d| d.truncate(chunk(5) + 7), &["bytes instead of"], &["bytes instead of"]),
            (
                "a cut at a chunk's end",
                &|d| d.truncate(chunk(5)),
                &["bytes instead of"],
                &["bytes instead of"],
            ),
            (
                "swapped chunks",
                &|d| {
                    let (before, after) = d.split_at_mut(chunk(4));
                    before[chunk(3)..].swap_with_slice(&mut after[..CHUNK]);
                },
                &[&third, "SHA-256"],
                &["SHA-256 is"],
            ),
            ("a changed header", &|d| d[60] ^= 1, &["its age header is damaged", "SHA-256"], &["SHA-256 is"]),
            ("a cut header", &|d| d.truncate(60), &["has 60 bytes instead of"], &["has 60 bytes instead of"]),
        ];
        for (what, damage, opened, closed) in of_dump {
            let dump = saved.dump();
            saved.damaged(
                |_| change(&dump, damage),
                |saved| {
                    let found = with.run(&["verify"]).expect_code(6);
                    said(&found, opened);
                    let found = saved.sidecar.run(&["verify"]).expect_code(6);
                    said(&found, closed);
                    for options in [&["-j1"][..], &["-j4"], &["-1"]] {
                        let target = server.database();
                        let url = target.url();
                        let command = [&["restore", "latest", "--to", &url], options].concat();
                        let stopped = with.run(&command).expect_code(6);
                        assert_eq!(stopped.stdout_text(), "", "{what}: success is reported\n{stopped}");
                    }
                    // The stock tool fails, too.
                    assert!(!key.decrypt(&fs::read(&dump).unwrap()).status.success(), "{what}");
                },
            );
        }
        let toc = saved.file(".toc.json.gz.age");
        saved.damaged(
            |_| change(&toc, |t| *t.last_mut().unwrap() ^= 1),
            |saved| {
                for sidecar in [&with, &saved.sidecar] {
                    said(&sidecar.run(&["verify"]).expect_code(6), &["does not match its manifest: SHA-256"]);
                }
            },
        );
        let manifest = saved.file(".manifest.json");
        saved.damaged(
            |_| edit(&manifest, "\"rows\": 22000", "\"rows\": 22001"),
            |_| said(&with.run(&["verify"]).expect_code(6), &["manifest is damaged: its totals of tables"]),
        );
        with.run(&["verify"]).expect_success();
    }
}

#[test]
fn one_table_is_restored_from_its_own_chunks() {
    let server = Server::start();
    let database = load(&server, "zqxjkvbw_database");
    let key = Key::of_age();
    for compression in ["gzip", "zstd", "none"] {
        let saved = saved(&database, compression, &[&key]);
        let with = saved.sidecar.clone().set("BACKUP_AGE_IDENTITY_FILE", &key.path());
        let toc = TocFile::from_gzip(&key.decrypt_file(&saved.file(".toc.json.gz.age")), TocLimit::default())
            .unwrap();
        let manifest = fs::read(saved.file(".manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let (start, dump) = (manifest["encryption"]["header_size"].as_u64().unwrap(), saved.dump());
        let size = fs::metadata(&dump).unwrap().len();
        let chunks = Chunks::of_object(start, size).unwrap();
        // The settings at the start, and all text and rows of the table.
        let entries = toc.entries.iter().filter(|entry| entry.tag.starts_with("zqxjkvbw_table"));
        let spans =
            entries.flat_map(|entry| entry.text.iter().copied().chain(entry.data.map(|data| data.raw)));
        let needed: Vec<_> = spans
            .chain(toc.frame.first().copied())
            .flat_map(|span| toc.members_of(span))
            .map(|member| {
                chunks.holding(&(member.object_offset..member.object_offset + member.object_length))
            })
            .collect();
        let number = size.div_ceil((64 << 10) + 16);
        let spared = (0..number).filter(|chunk| !needed.iter().any(|range| range.contains(chunk)));
        let spared: Vec<_> = spared.map(|chunk| chunks.stored(&(chunk..chunk + 1))).collect();
        assert!(spared.len() as u64 * 2 > number, "{} of {number} chunks are not needed", spared.len());
        change(&dump, |dump| {
            for range in spared {
                dump[range.start as usize..range.end as usize].fill(0);
            }
        });
        let target = server.database();
        target.execute("CREATE SCHEMA zqxjkvbw_namespace");
        let table = ["-n", "zqxjkvbw_namespace", "-t", "zqxjkvbw_table", "--into-existing"];
        for jobs in ["-j1", "-j4"] {
            target.execute("DROP TABLE IF EXISTS zqxjkvbw_namespace.zqxjkvbw_table");
            let url = target.url();
            let command = [&["restore", "latest", "--to", &url, jobs], &table[..]].concat();
            with.run(&command).expect_success();
            assert_eq!(target.query("SELECT count(*) FROM zqxjkvbw_namespace.zqxjkvbw_table"), "2000");
        }
        // A complete restore fails, because parts are missing.
        let target = server.database();
        with.run(&["restore", "latest", "--to", &target.url()]).expect_code(6);
    }
}

#[test]
fn keys_that_cannot_be_used_are_refused_by_name_and_never_shown() {
    let server = Server::start();
    let database = server.database();
    let dir = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::with_directory(dir.path()).database("main", &database);
    let (key, locked) = (Key::of_age(), Key::of_ssh("ed25519", "passphrase"));
    let secret = fs::read_to_string(key.file()).unwrap();
    let secret = secret.lines().last().unwrap();
    for verb in ["run", "serve"] {
        let both = format!("{}\n{secret}", key.recipient);
        let refused = sidecar.clone().set("BACKUP_AGE_RECIPIENTS", &both).run(&[verb]).expect_code(2);
        said(&refused, &["BACKUP_AGE_RECIPIENTS has a secret key as entry 2", "HINT: "]);
        assert!(!refused.stderr.contains(secret), "{refused}");
        let refused = sidecar
            .clone()
            .set("BACKUP_AGE_RECIPIENTS", &key.recipient)
            .set("BACKUP_DRILL_URL", &database.url_without_password())
            .set("BACKUP_DRILL_SCHEDULE", "@daily")
            .run(&[verb])
            .expect_code(2);
        said(&refused, &["BACKUP_AGE_IDENTITY is not set, but BACKUP_DRILL_SCHEDULE and", "HINT: "]);
    }
    let refused =
        sidecar.clone().set("BACKUP_AGE_IDENTITY_FILE", &locked.path()).run(&["run"]).expect_code(2);
    said(&refused, &["BACKUP_AGE_IDENTITY holds an SSH key with a passphrase", "HINT: "]);
    let refused = sidecar.run(&["verify", "--identity", &locked.path()]).expect_code(2);
    said(&refused, &[&locked.path(), "holds an SSH key with a passphrase"]);
    assert_eq!(files(dir.path()), [""; 0]);
}

#[test]
fn the_reader_of_the_document_refuses_an_encrypted_backup_in_words() {
    let server = Server::start();
    let database = load(&server, "zqxjkvbw_database");
    let saved = saved(&database, "gzip", &[&Key::of_age()]);
    let reader = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive/read_backup.py");
    let mut python = Command::new(target_dir().join("archive-reader/bin/python"));
    let refused = run(python.arg(reader).arg::<PathBuf>(saved.file(".manifest.json"))).expect_code(1);
    said(&refused, &["the backup is encrypted", "age -d"]);
    assert!(!refused.stderr.contains("Traceback"), "{refused}");
}
