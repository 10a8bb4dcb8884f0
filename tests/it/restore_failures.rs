//! Failures of `pg-backup restore` and their messages: rejected scripts and targets, failed statements,
//! damage, and signals. None of them is reported as a success.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::backup_directory::{BackupDirectory, change, edit, overwrite};
use crate::harness::bulk;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, run};
use crate::harness::restore::{DumpForm, gzip, restore};
use crate::harness::sidecar::Sidecar;
use crate::harness::stored::{StoredBackup, offset};

const SCRIPT: &str = "
    CREATE SCHEMA shop;
    CREATE TABLE shop.orders (id integer PRIMARY KEY, price numeric NOT NULL, note text);
    INSERT INTO shop.orders SELECT n, n * 1.5, 'note ' || n FROM generate_series(1, 1000) n;
    CREATE INDEX orders_by_price ON shop.orders (price);
    CREATE VIEW shop.cheap AS SELECT * FROM shop.orders WHERE price < 10;
    CREATE TABLE shop.zeta (a integer);
    INSERT INTO shop.zeta VALUES (1);";

/// Creates a database from the script. Returns it with its dump.
fn shop(server: &Server) -> (Database<'_>, String) {
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let dump = String::from_utf8(database.pg_dump(&[])).unwrap();
    (database, dump)
}

/// Returns the tables of a database.
fn tables(database: &Database<'_>) -> String {
    database.query(
        "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE oid >= 16384 AND relkind = 'r'",
    )
}

/// Fails the test unless the restore exited with this code, wrote all these messages, and reported no
/// success.
#[track_caller]
fn stopped(output: Output, code: i32, told: &[&str]) -> Output {
    let output = output.expect_code(code);
    for text in told {
        assert!(output.stderr.contains(text), "\"{text}\" is not said\n{output}");
    }
    assert!(output.stdout.is_empty(), "success is reported\n{output}");
    output
}

/// Returns `dump` with the first `from` replaced, and the line number of the replacement.
fn replaced(dump: &str, from: &str, to: &str) -> (String, usize) {
    let at = dump.find(from).unwrap_or_else(|| panic!("{from} is not in the dump"));
    (dump.replacen(from, to, 1), dump[..at].matches('\n').count() + 1)
}

#[test]
fn scripts_that_are_no_dumps_are_refused() {
    let server = Server::start();
    let (_, dump) = shop(&server);
    let target = server.database();
    let (injected, line) = replaced(&dump, "CREATE VIEW", "\\! touch /tmp/injected\nCREATE VIEW");
    let told = format!("line {line} has the psql command \\!,");
    stopped(DumpForm::Pipe.restore(injected.as_bytes(), &target, &["-1"]), 6, &[&told]);
    for (script, told) in [
        ("SELECT 1;\n\\copy t from x\n", "line 2 has the psql command \\copy"),
        ("SELECT 1 \\gexec\n", "the psql command \\gexec"),
    ] {
        let output = DumpForm::Pipe.restore(script.as_bytes(), &target, &["-1"]);
        stopped(output, 6, &[told, "HINT: only \\restrict"]);
    }
    for format in ["-Fc", "-Ft"] {
        let archive = server.existing("postgres").pg_dump(&[format]);
        let told = ["is an archive of pg_dump, not a plain dump", "HINT: restore it with `pg_restore -f - "];
        stopped(DumpForm::File.restore(&archive, &target, &[]), 1, &told);
    }
    assert_eq!(tables(&target), "");
    stopped(
        run(&mut restore("/nowhere/dump.sql", &target, &[])),
        1,
        &["cannot open /nowhere/dump.sql", "No such file"],
    );
}

#[test]
fn a_dump_that_was_cut_is_noticed_wherever_the_cut_is() {
    let server = Server::start();
    let (_, dump) = shop(&server);
    let place = |text: &str| dump.find(text).unwrap();
    let within_rows = place("note 500\n") + 3;
    let within_statement = place("CREATE VIEW") + 20;
    let between_statements = place("--\n-- Name: orders_by_price");
    for (at, told) in [
        (within_rows, "the script ends within the rows of a COPY"),
        (within_statement, "the script ends within a statement"),
        (between_statements, "without the comment \"-- PostgreSQL database dump complete\": it is truncated"),
    ] {
        let target = server.database();
        let said = stopped(
            DumpForm::Pipe.restore(&dump.as_bytes()[..at], &target, &[]),
            6,
            &[told, "before the failure: "],
        );
        assert!(!said.stderr.contains("undone"), "{said}");
        let target = server.database();
        let said = stopped(DumpForm::Gzip.restore(&dump.as_bytes()[..at], &target, &["-1"]), 6, &[told]);
        assert!(said.stderr.contains("everything was rolled back"), "{said}");
        assert_eq!(tables(&target), "", "cut at {at}");
    }
    let target = server.database();
    let packed = gzip(dump.as_bytes());
    let output = DumpForm::Pipe.restore(&packed[..packed.len() / 2], &target, &["-1"]);
    stopped(output, 6, &["standard input cannot be decompressed"]);
    assert_eq!(tables(&target), "");
}

#[test]
fn a_statement_that_fails_is_named_with_its_entry_its_line_and_the_servers_words() {
    let server = Server::start();
    let (database, dump) = shop(&server);
    let (wrong_type, line) = replaced(&dump, "price numeric", "price numerik");
    let target = server.database();
    let told = [
        "TABLE shop.orders failed",
        &format!("in line {line},"),
        "at \"numerik",
        "type \"numerik\" does not exist",
        "42704",
    ];
    stopped(DumpForm::Pipe.restore(wrong_type.as_bytes(), &target, &[]), 1, &told);
    assert_eq!(tables(&target), "", "it stops at the first");

    // The value of a row must not be in a message.
    let (wrong_row, _) = replaced(&dump, "\n500\t", "\nsecret\t");
    let target = server.database();
    let told =
        ["TABLE DATA shop.orders failed", "line 500, column id", "invalid input syntax for type integer"];
    let output = stopped(DumpForm::Gzip.restore(wrong_row.as_bytes(), &target, &[]), 1, &told);
    assert!(!output.stderr.contains("note 500"), "{output}");
    assert_eq!(target.query("SELECT count(*) FROM shop.orders"), "0");

    let both = replaced(&wrong_type, "\n1\n\\.", "\none\n\\.").0;
    let target = server.database();
    let output = DumpForm::File.restore(both.as_bytes(), &target, &["--keep-going"]);
    // The table, its owner, the view and its owner, the rows, the key, the index, and the other rows.
    let said = stopped(output, 1, &["8 statements failed; everything else was restored"]);
    assert_eq!(said.stderr.matches(": ERROR: ").count(), 8, "{said}");
    assert_eq!(tables(&target), "zeta");

    // The same failures from a backup, which has no line numbers.
    let saved = BackupDirectory::of(&database, "gzip");
    let target = server.database();
    target.execute("CREATE SCHEMA shop; CREATE TABLE shop.cheap ()");
    for options in [&["--into-existing", "-1"][..], &["--into-existing", "-j4"]] {
        let told = ["SCHEMA shop failed, \"CREATE SCHEMA shop;\"", "schema \"shop\" already exists"];
        stopped(saved.restore(&target, options), 1, &told);
    }
    let output = saved.restore(&target, &["--into-existing", "--keep-going"]);
    let said =
        stopped(output, 1, &["2 statements failed; everything else was restored", "VIEW shop.cheap failed"]);
    assert_eq!(said.stderr.matches(": ERROR: ").count(), 2, "{said}");
    assert_eq!(tables(&target), "cheap orders zeta");
    assert_eq!(target.query("SELECT count(*) FROM shop.orders"), "1000");
}

#[test]
fn a_target_that_has_objects_is_refused_and_some_are_named() {
    let server = Server::start();
    let (database, dump) = shop(&server);
    let saved = BackupDirectory::of(&database, "zstd");
    for (objects, named) in [
        (
            "CREATE TABLE mine (); CREATE VIEW seen AS SELECT 1",
            "it contains table public.mine, view public.seen",
        ),
        ("CREATE FUNCTION f() RETURNS int LANGUAGE SQL AS 'SELECT 1'", "it contains function public.f()"),
        ("CREATE SCHEMA other", "it contains schema other"),
        ("CREATE TYPE mood AS ENUM ()", "it contains type public.mood"),
        ("SELECT lo_create(77)", "it contains large object 77"),
        (
            "CREATE TABLE a(); CREATE TABLE b(); CREATE TABLE c(); CREATE TABLE d(); CREATE TABLE e(); CREATE TABLE f()",
            "table public.e and 1 more",
        ),
    ] {
        let target = server.database();
        target.execute(objects);
        let before = target.pg_dump(&["--restrict-key=x"]);
        let told =
            [named, &format!("database \"{}\" is not empty", target.name()), "HINT: ", "--into-existing"];
        stopped(DumpForm::Pipe.restore(dump.as_bytes(), &target, &[]), 1, &told);
        stopped(saved.restore(&target, &[]), 1, &told);
        assert!(target.pg_dump(&["--restrict-key=x"]) == before, "{objects}: the target was changed");
        saved.restore(&target, &["--into-existing"]).expect_success();
    }
    // Objects of an extension do not count as the user's.
    let target = server.database();
    target.execute("CREATE EXTENSION hstore");
    DumpForm::Pipe.restore(dump.as_bytes(), &target, &[]).expect_success();
}

/// A kind of damage: its name, its cause, the messages, and whether it is found before the target is changed.
struct Damage<'a> {
    what: &'a str,
    make: &'a dyn Fn(&BackupDirectory),
    told: &'a str,
    is_known_before: bool,
}

#[test]
fn every_kind_of_damage_stops_a_restore() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes((bulk::events("events", 20_000) + SCRIPT).as_bytes()).expect_success();
    for compression in ["gzip", "zstd"] {
        let saved = BackupDirectory::of(&database, compression);
        let (dump, toc, manifest) = (saved.dump(), saved.file(".toc.json.gz"), saved.file(".manifest.json"));
        let members = saved.members();
        let of_events = members.iter().position(|member| member[4] > 1000 && member[3] > 1 << 19).unwrap();
        let ([from, length, ..], [next, next_length, ..]) = (members[of_events], members[of_events + 1]);
        let swap = |d: &mut Vec<u8>| {
            let swapped = [&d[next..next + next_length], &d[from..next]].concat();
            d[from..next + next_length].copy_from_slice(&swapped);
        };
        let flip = |d: &mut Vec<u8>| d[from + length / 2] ^= 0x10;
        let damage = |what, make, told, is_known_before| Damage { what, make, told, is_known_before };
        for damage in [
            damage("a flipped byte", &|_| change(&dump, flip), "", false),
            damage(
                "a cut end",
                &|_| change(&dump, |d| d.truncate(from + length / 2)),
                " bytes instead of ",
                true,
            ),
            damage(
                "a missing member",
                &|_| change(&dump, |d| drop(d.drain(from..next))),
                " bytes instead of ",
                true,
            ),
            damage("swapped members", &|_| change(&dump, swap), "", false),
            damage("an empty dump", &|_| change(&dump, Vec::clear), "is empty instead of ", true),
            damage("a missing dump", &|_| fs::remove_file(&dump).unwrap(), "is missing", true),
            damage("a missing table of contents", &|_| fs::remove_file(&toc).unwrap(), "is missing", true),
            damage(
                "a changed table of contents",
                &|_| change(&toc, |t| t[30] ^= 1),
                "does not match its manifest",
                true,
            ),
            damage("a cut manifest", &|_| change(&manifest, |m| m.truncate(100)), "cannot be read", true),
            damage(
                "a newer manifest",
                &|_| edit(&manifest, "\"format_version\": 1", "\"format_version\": 3"),
                "format version 3",
                true,
            ),
            damage(
                "a manifest of another backup",
                &|_| edit(&manifest, "\"database\": \"main\"", "\"database\": \"other\""),
                "belongs to another backup",
                true,
            ),
            damage(
                "another number of rows",
                &|_| edit(&manifest, "\"rows\": 1000,", "\"rows\": 1001,"),
                "contradicts the manifest",
                true,
            ),
            damage(
                "a missing manifest",
                &|_| fs::remove_file(&manifest).unwrap(),
                "there is no backup of main",
                true,
            ),
        ] {
            stops(&server, &saved, &damage);
        }
        let whole = server.database();
        saved.restore(&whole, &[]).expect_success();
        assert_eq!(tables(&whole), "events orders zeta", "what was put back is whole");
    }
}

fn stops(server: &Server, saved: &BackupDirectory, damage: &Damage<'_>) {
    for switch in ["-1", "-j1", "-j2"] {
        let target = server.database();
        let output = saved.damaged(damage.make, |saved| saved.restore(&target, &[switch]));
        let output = stopped(output, 6, &[damage.told]);
        if damage.is_known_before || switch == "-1" {
            assert_eq!(tables(&target), "", "{} {switch}\n{output}", damage.what);
        } else {
            assert_eq!(
                target.query("SELECT count(*) FROM events"),
                "0",
                "{} {switch}\n{output}",
                damage.what
            );
        }
    }
}

#[test]
fn rows_that_are_not_those_of_the_backup_are_not_kept() {
    let server = Server::start();
    let (database, _) = shop(&server);
    let saved = BackupDirectory::of(&database, "none");
    let dump = saved.dump();
    // The member's checksum finds it first.
    let target = server.database();
    let damage = |_: &BackupDirectory| overwrite(&dump, b"note 500\n", b'X');
    let output = saved.damaged(damage, |saved| saved.restore(&target, &["-j1"]));
    stopped(output, 6, &["has a CRC-32 that differs from the table of contents"]);
    assert_eq!(target.query("SELECT count(*) FROM shop.orders"), "0");
    // In a backup without these checksums, the digest of the rows finds it.
    let mut older = StoredBackup::read(&saved.file(".manifest.json"));
    older.toc.as_object_mut().unwrap().remove("checksums");
    older.seal();
    for (byte, told) in
        [(b'X', "the rows of shop.orders have a different digest"), (b'\n', "shop.orders has 1001 rows")]
    {
        for switch in ["-j1", "-j2"] {
            let target = server.database();
            let damage = |_: &BackupDirectory| overwrite(&dump, b"note 500\n", byte);
            let output = saved.damaged(damage, |saved| saved.restore(&target, &[switch]));
            if output.status.code() == Some(6) {
                stopped(output, 6, &[told]);
            } else {
                // The server itself rejects this row.
                stopped(output, 1, &["TABLE DATA shop.orders failed"]);
                assert_eq!(byte, b'\n');
            }
            assert_eq!(target.query("SELECT count(*) FROM shop.orders"), "0");
        }
    }
    // A backup without its manifest is not a backup, and a restore by its key reports that.
    let key = dump.strip_prefix(saved.dir.path()).unwrap().to_str().unwrap().to_owned();
    let target = server.database();
    let named = |saved: &BackupDirectory| saved.sidecar.run(&["restore", &key, "--to", &target.url()]);
    let output = saved.damaged(|saved| fs::remove_file(saved.file(".manifest.json")).unwrap(), named);
    stopped(output, 6, &["so this is not a backup"]);
    assert_eq!(tables(&target), "");
}

/// Objects that discard half of the rows that are loaded into `events`, in a database that already has the
/// table.
const SWALLOWERS: &[&str] = &[
    "CREATE FUNCTION half() RETURNS trigger LANGUAGE plpgsql AS
       'BEGIN RETURN CASE WHEN NEW.id % 2 = 0 THEN NEW END; END';
     CREATE TRIGGER half BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION half()",
    // The rows of one partition go to another table.
    "ALTER TABLE events RENAME TO old;
     CREATE TABLE events (LIKE old) PARTITION BY LIST ((id % 2 = 0));
     CREATE TABLE even PARTITION OF events FOR VALUES IN (true);
     CREATE TABLE odd PARTITION OF events FOR VALUES IN (false);
     CREATE TABLE elsewhere (LIKE old);
     CREATE FUNCTION divert() RETURNS trigger LANGUAGE plpgsql AS
       'BEGIN INSERT INTO public.elsewhere SELECT NEW.*; RETURN NULL; END';
     CREATE TRIGGER divert BEFORE INSERT ON odd FOR EACH ROW EXECUTE FUNCTION divert()",
];

#[test]
fn rows_that_the_target_drops_or_diverts_are_an_error() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes(bulk::events("events", 30_000).as_bytes()).expect_success();
    database.execute("CREATE TABLE small AS SELECT 1 AS a");
    let saved = BackupDirectory::of(&database, "gzip");
    let told = [
        "TABLE DATA public.events failed, \"COPY public.events ",
        "rows, but ",
        "a trigger, a rule, row security or the routing to partitions has dropped or diverted rows",
        "HINT: `\\d+` of the table",
    ];
    for swallower in SWALLOWERS {
        for options in [&["-a", "-j1"][..], &["-a", "-j4"], &["-a", "-1"], &["-a", "--keep-going"]] {
            let target = server.database();
            saved.restore(&target, &["-s"]).expect_success();
            target.execute(swallower);
            let keeps_going = options.contains(&"--keep-going");
            // The hint is shown only where the restore stops.
            let told = if keeps_going { &told[..3] } else { &told[..] };
            let output = stopped(saved.restore(&target, options), 1, told);
            // With several connections, each connection has its own count.
            let all = output.stderr.contains("the server counted 15000 rows, but 30000 were sent");
            assert!(all || !matches!(options[1], "-j1" | "-1"), "{output}");
            let kept = target.query("SELECT count(*) FROM events");
            match options[1] {
                "-1" => assert_eq!(kept, "0", "{output}"),
                "-j1" => assert_eq!(kept, "15000", "{output}"),
                _ => {}
            }
            if keeps_going {
                assert_eq!(target.query("SELECT count(*) FROM small"), "1", "{output}");
            }
        }
    }
    // A disabled trigger does not change the rows.
    let target = server.database();
    saved.restore(&target, &["-s"]).expect_success();
    target.execute(SWALLOWERS[0]);
    saved.restore(&target, &["-a", "--disable-triggers", "-j4"]).expect_success();
    assert_eq!(target.query("SELECT count(*) FROM events"), "30000");
}

/// Replaces the rows of the one table, which is the last, with INSERTs.
fn with_inserts(backup: &mut StoredBackup) {
    let data = backup.entry("TABLE DATA", "t").clone();
    let number = |value: &Value| offset(value);
    let (begin, end) =
        (number(&data["copy"][0]), number(&data["data"]["raw"][0]) + number(&data["data"]["raw"][1]));
    let rows = String::from_utf8(backup.dump[number(&data["data"]["raw"][0])..end].to_vec()).unwrap();
    let inserts: String = rows.lines().map(|row| format!("INSERT INTO public.t VALUES ({row});\n")).collect();
    // The end marker is removed, too.
    let old_end = end + "\\.\n".len();
    backup.dump.splice(begin..old_end, inserts.bytes());
    let new_end = begin + inserts.len();
    let shift = |span: &mut Value| {
        let (from, length) = (number(&span[0]), number(&span[1]));
        if from >= old_end {
            *span = json!([from - old_end + new_end, length]);
        } else if from == end {
            *span = json!([new_end, length - (old_end - end)]);
        }
    };
    backup.toc["frame"].as_array_mut().unwrap().iter_mut().for_each(shift);
    for entry in backup.toc["entries"].as_array_mut().unwrap() {
        entry["text"].as_array_mut().unwrap().iter_mut().for_each(shift);
    }
    let (size, count) = (backup.dump.len(), rows.lines().count());
    let entry = backup.entry("TABLE DATA", "t").as_object_mut().unwrap();
    entry.retain(|field, _| !field.starts_with("copy"));
    entry["data"] =
        json!({"format": "statements", "raw": [begin, inserts.len()], "members": [1, 1], "rows": count});
    let rest = size - begin;
    backup.toc["members"] = json!([[0, begin, 0, begin, 0], [begin, rest, begin, rest, count]]);
    for place in [&mut backup.toc, &mut backup.manifest["dump"]] {
        place["size"] = json!(size);
        place["raw_size"] = json!(size);
    }
    backup.manifest["tables"][0].as_object_mut().unwrap().remove("digest");
    backup.sum_members();
    backup.seal();
}

#[test]
fn inserts_that_the_target_drops_are_an_error() {
    let server = Server::start();
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT n AS a FROM generate_series(1, 9) n");
    let saved = BackupDirectory::of(&database, "none");
    with_inserts(&mut StoredBackup::read(&saved.file(".manifest.json")));
    saved.sidecar.run(&["verify"]).expect_success();
    let target = server.database();
    saved.restore(&target, &[]).expect_success();
    assert_eq!(target.query("SELECT count(*), sum(a) FROM t"), "9|45");
    target.execute("CREATE RULE most AS ON INSERT TO t WHERE NEW.a > 2 DO INSTEAD NOTHING");
    let told =
        ["TABLE DATA public.t failed", "the server counted 2 rows, but 9 were sent", "a trigger, a rule,"];
    for options in [&["-a"][..], &["-a", "-1"], &["-a", "--keep-going"]] {
        stopped(saved.restore(&target, options), 1, &told);
    }
}

#[test]
fn what_a_script_has_committed_itself_is_not_called_undone() {
    let server = Server::start();
    let (_, dump) = shop(&server);
    let wrong = "SELECT no_such_column;\n--\n-- PostgreSQL database dump complete";
    let (dump, _) = replaced(&dump, "--\n-- PostgreSQL database dump complete", wrong);
    let target = server.database();
    let output = stopped(
        DumpForm::Pipe.restore(dump.as_bytes(), &target, &["-1"]),
        1,
        &["; everything was rolled back"],
    );
    assert_eq!(tables(&target), "", "{output}");
    for end in ["COMMIT WORK", "commit and chain; rollback", "END"] {
        let (dump, _) =
            replaced(&dump, "--\n-- Name: orders_by_price", &format!("{end};\n--\n-- Name: orders_by_price"));
        let target = server.database();
        let told =
            "; the script itself ended the transaction of --single-transaction, and committed changes remain";
        let output = stopped(DumpForm::Pipe.restore(dump.as_bytes(), &target, &["-1"]), 1, &[told]);
        assert!(!output.stderr.contains("undone"), "{output}");
        assert_eq!(tables(&target), "orders zeta", "{output}");
    }
}

/// Starts a restore whose index waits for a lock that the test holds, and interrupts it.
fn interrupted(
    server: &Server,
    sidecar: &Sidecar,
    target: &Database<'_>,
    options: &[&str],
) -> (Option<i32>, String) {
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| {
            target.execute("SELECT pg_advisory_lock(4711); SELECT pg_sleep(1000)");
        });
        let postgres = server.existing("postgres");
        let one = |granted| {
            format!("SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND granted = {granted}")
        };
        postgres.wait_for("the lock", &one(true));
        let url = target.url();
        let mut running = sidecar.start(&[&["restore", "latest", "--to", &url], options].concat());
        running.wait_for("the index waits", |_| postgres.query(&one(false)) == "t");
        let (code, took, log) = running.signal("INT");
        assert!(took < Duration::from_secs(20), "{took:?}\n{log}");
        postgres.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1000)%' AND pid <> pg_backend_pid()");
        let _ = holder.join();
        (code, log)
    })
}

#[test]
fn an_interrupted_restore_says_what_was_done() {
    let server = Server::start();
    let (database, _) = shop(&server);
    database.execute(
        "CREATE FUNCTION public.slowly(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS \
         'BEGIN PERFORM pg_advisory_xact_lock(4711); RETURN $1; END'; \
         CREATE INDEX waits ON shop.orders (public.slowly(id))",
    );
    let saved = BackupDirectory::of(&database, "gzip");
    let target = server.database();
    let (code, log) = interrupted(&server, &saved.sidecar, &target, &["-j2"]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("before the failure: ") && log.contains("1001 rows of 2 tables"), "{log}");
    assert!(log.contains("interrupted") && !log.contains("restored"), "{log}");
    assert_eq!(target.query("SELECT count(*) FROM shop.orders"), "1000", "what was done is there");

    let target = server.database();
    let (code, log) = interrupted(&server, &saved.sidecar, &target, &["-1"]);
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("everything was rolled back"), "{log}");
    // The server ends a statement when it notices that the client has disconnected, as its settings require.
    let alone = "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'client backend'";
    server.existing("postgres").wait_for("the end of the session", alone);
    assert_eq!(tables(&target), "");
}
