//! The outputs of `pg-backup dump` and their compression, the files that remain after a failure, and that no
//! message contains a secret.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use libdeflater::{CompressionLvl, Compressor};

use crate::harness::bulk;
use crate::harness::fidelity::{Dumps, compare_bytes};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, pg_backup, run};
use crate::harness::seaweed::{ADMIN, Seaweed, WRITER};
use crate::harness::sidecar::Sidecar;

fn loaded(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute(
        "CREATE TABLE t (id integer PRIMARY KEY, note text);
         INSERT INTO t SELECT n, repeat('row ' || n, 20) FROM generate_series(1, 20000) n",
    );
    database
}

fn dump(database: &Database<'_>, arguments: &[&str]) -> Output {
    run(pg_backup().arg("dump").args(arguments).args(["-d", &database.url()]))
}

/// Decompresses a dump with an independent program.
fn unpacked(program: &[&str], packed: &Path) -> Vec<u8> {
    let input = std::fs::File::open(packed).expect("the dump is there");
    run(Command::new(program[0]).args(&program[1..]).stdin(input)).expect_success().stdout
}

#[track_caller]
fn equal(database: &Database<'_>, ours: Vec<u8>, name: &str) {
    compare_bytes(&Dumps { theirs: database.pg_dump(&[]), ours }, name);
}

#[test]
fn every_packing_unpacks_to_pg_dumps_bytes() {
    let server = Server::start();
    let database = loaded(&server);
    let dir = tempfile::tempdir().unwrap();
    for (option, program) in [
        ("0", &["cat"][..]),
        ("none", &["cat"]),
        ("9", &["gzip", "-dc"]),
        ("gzip", &["gzip", "-dc"]),
        ("gzip:12", &["gzip", "-dc"]),
        ("zstd", &["zstd", "-dc"]),
        ("zstd:1", &["zstd", "-dc"]),
    ] {
        let file = dir.path().join("dump");
        let path = file.display().to_string();
        dump(&database, &["-Z", option, "-f", &path]).expect_success();
        equal(&database, unpacked(program, &file), option);
    }
}

#[test]
fn a_dash_is_standard_output() {
    let server = Server::start();
    let database = loaded(&server);
    let dir = tempfile::tempdir().unwrap();
    let mut dump = pg_backup();
    dump.args(["dump", "-f", "-", "-d", &database.url()]).current_dir(dir.path());
    equal(&database, run(&mut dump).expect_success().stdout, "dash");
    let mut dumpall = pg_backup();
    dumpall.args(["dumpall", "-g", "-f", "-", "-d", &database.url()]).current_dir(dir.path());
    assert!(run(&mut dumpall).expect_success().stdout_text().contains("CREATE ROLE postgres;"));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// pg_dump and pg_dumpall also exit with 1.
#[test]
fn a_closed_standard_output_is_an_error() {
    let server = Server::start();
    let database = loaded(&server);
    for verb in ["dump", "dumpall"] {
        let mut shell = Command::new("sh");
        shell.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(pg_backup().get_program());
        let output = run(shell.args([verb, "-d", &database.url()])).expect_code(1);
        let wanted = "pg-backup: error: cannot write to standard output: Bad file descriptor";
        assert!(output.stderr.starts_with(wanted), "{verb}: {output}");
    }
}

/// pg_dump writes into the existing file.
#[test]
fn an_existing_file_keeps_its_mode_and_its_links() {
    use std::os::unix::fs::PermissionsExt;
    let server = Server::start();
    let database = loaded(&server);
    let dir = tempfile::tempdir().unwrap();
    let [file, hard, soft] = ["file", "hard", "soft"].map(|name| dir.path().join(name));
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let into = |path: &Path| dump(&database, &["-f", &path.display().to_string()]).expect_success();
    into(&file);
    std::fs::hard_link(&file, &hard).unwrap();
    std::os::unix::fs::symlink(&file, &soft).unwrap();
    database.execute("INSERT INTO t VALUES (0, 'new')");
    into(&soft);
    equal(&database, std::fs::read(&hard).unwrap(), "through both links");
    assert!(std::fs::symlink_metadata(&soft).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
}

/// Returns the size of a dump, and the size of its text as one gzip member of the same level.
fn members_and_stream(database: &Database<'_>, level: i32) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dump.sql.gz");
    dump(database, &["-Z", &format!("gzip:{level}"), "-f", &file.display().to_string()]).expect_success();
    let text = unpacked(&["gzip", "-dc"], &file);
    let mut compressor = Compressor::new(CompressionLvl::new(level).unwrap());
    let mut stream = vec![0; compressor.gzip_compress_bound(text.len())];
    let stream = compressor.gzip_compress(&text, &mut stream).unwrap();
    (usize::try_from(file.metadata().unwrap().len()).unwrap(), stream)
}

/// Random access must not make a dump much larger than one gzip stream.
#[test]
fn members_cost_less_than_two_percent() {
    let server = Server::start();
    let database = server.database();
    let script = bulk::events("events", 60_000) + &bulk::events("more", 20_000);
    database.load_bytes(script.as_bytes()).expect_success();
    for level in [1, 5, 9] {
        let (members, stream) = members_and_stream(&database, level);
        assert!(stream > 4_000_000, "there is too little to say anything: {stream} bytes");
        assert!(members * 100 < stream * 102, "level {level}: {members} bytes in members, {stream} in one");
    }
}

/// The rows of a table start a new member, however few they are, and a member does not share a dictionary
/// with the one before.
#[test]
fn a_tiny_table_costs_less_than_half_a_kilobyte() {
    let server = Server::start();
    let database = server.database();
    database.execute(
        "DO $$ BEGIN
             FOR i IN 1..200 LOOP
                 EXECUTE format('CREATE TABLE t%s AS SELECT n, md5(n::text) FROM generate_series(1, 10) n', i);
             END LOOP;
         END $$",
    );
    let (members, stream) = members_and_stream(&database, 5);
    assert!(members < stream + 200 * 512, "{members} bytes in members, {stream} in one");
}

#[test]
fn a_file_appears_whole_or_not_at_all() {
    let server = Server::start();
    let database = loaded(&server);
    let dir = tempfile::tempdir().unwrap();
    let (plain, url) = (dir.path().join("plain.sql"), dir.path().join("url.sql"));
    dump(&database, &["-f", &plain.display().to_string(), "--no-sync"]).expect_success();
    dump(&database, &["--file", &format!("file://{}", url.display())]).expect_success();
    equal(&database, std::fs::read(&plain).unwrap(), "plain");
    equal(&database, std::fs::read(&url).unwrap(), "url");

    // A failed dump leaves the old file unchanged and no other file next to it.
    let before = std::fs::read(&plain).unwrap();
    database.execute("CREATE VIEW broken AS SELECT 1 / 0 AS x; CREATE TABLE more AS SELECT 1 AS a");
    let failing = ["-f", &plain.display().to_string(), "-t", "no_such_table"];
    dump(&database, &failing).expect_code(1);
    dump(&server.existing("nowhere"), &["-f", &plain.display().to_string()]).expect_code(1);
    assert_eq!(std::fs::read(&plain).unwrap(), before);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);

    // A device is written directly, and its error fails the dump.
    let full = dump(&database, &["-f", "/dev/full"]).expect_code(1);
    assert!(full.stderr.contains("/dev/full") && full.stderr.contains("No space left"), "{full}");
}

#[test]
fn an_object_is_written_with_the_sidecars_settings() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = loaded(&server);
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER));
    let url = database.url();
    sidecar
        .run(&["dump", "-Z", "gzip", "-f", "s3://backups/prod/by-hand.sql.gz", "-d", &url])
        .expect_success();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), seaweed.get("prod/by-hand.sql.gz")).unwrap();
    equal(&database, unpacked(&["gzip", "-dc"], file.path()), "s3");
    let refused = sidecar.run(&["dump", "-f", "s3://backups/elsewhere/x", "-d", &url]).expect_code(1);
    assert!(refused.stderr.contains("AccessDenied"), "{refused}");
    assert_eq!(seaweed.objects().len(), 1);
}

#[test]
fn a_signal_leaves_no_file_and_no_query_behind() {
    let server = Server::start();
    let database = server.database();
    // Rows that take a while.
    database.execute(
        "CREATE TABLE slow AS SELECT sha512(n::text::bytea) AS a FROM generate_series(1, 1500000) n",
    );
    for verb in ["dump", "dumpall"] {
        interrupt(verb, &database);
    }
}

fn interrupt(verb: &str, database: &Database<'_>) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dump.sql.zst");
    let mut child = pg_backup()
        .args([verb, "-Z", "zstd:19", "-f", &file.display().to_string(), "-d", &database.url()])
        .stderr(Stdio::null())
        .spawn()
        .expect("pg-backup starts");
    let deadline = Instant::now() + Duration::from_secs(60);
    while std::fs::read_dir(dir.path()).unwrap().count() == 0 {
        assert!(Instant::now() < deadline, "the dump does not begin to write");
        std::thread::sleep(Duration::from_millis(20));
    }
    let start = Instant::now();
    run(Command::new("sh").args(["-c", &format!("kill -INT {}", child.id())])).expect_success();
    let status = child.wait().expect("the child ends");
    assert_eq!(status.code(), Some(1));
    assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    let none = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
    database.wait_for("the end of the sessions", none);
}

#[test]
fn no_level_logs_a_secret() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = loaded(&server);
    let url = database.url_without_password();
    let secrets = ["pw-5ecret", "url-5ecret", "s3-5ecret"];
    for format in ["text", "json"] {
        let sidecar = Sidecar::with_store(seaweed.environment(ADMIN))
            .set("BACKUP_LOG", "trace")
            .set("BACKUP_LOG_FORMAT", format)
            .database_at("main", &url, secrets[0])
            .database_at("other", &url.replace("postgres@", "postgres:url-5ecret@"), "");
        let wrong_key = sidecar.clone().set("BACKUP_AWS_SECRET_ACCESS_KEY", secrets[2]);
        for run in [sidecar.run(&["run"]), wrong_key.run(&["run"]), wrong_key.run(&["list"])] {
            let said = run.stdout_text() + &run.stderr;
            assert!(said.lines().count() > 1, "{run}");
            for secret in secrets {
                let line = said.lines().find(|line| line.contains(secret));
                assert_eq!(line, None, "{secret}");
            }
        }
    }
}

#[test]
fn the_parts_of_an_upload_are_planned_by_the_size_of_the_database() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let database = server.database();
    // 24 MiB in rows of 1 KiB.
    database
        .execute("CREATE TABLE t AS SELECT repeat(md5(n::text), 32) FROM generate_series(1, 24 * 1024) n");
    database.execute("CREATE ROLE stranger; GRANT SELECT ON t TO stranger");
    database.execute(&format!("REVOKE CONNECT ON DATABASE {} FROM public", database.name()));
    // If the size is known, seven of ten parts have one size. Otherwise two have, and later parts are larger.
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER))
        .database("main", &database)
        .set("BACKUP_S3_MAX_PARTS", "10")
        .set("BACKUP_COMPRESSION", "none");
    let dump = |options: &[&str]| {
        let output = ["-f", "s3://backups/prod/by-hand.sql", "-d", &database.url()];
        sidecar.run(&[&["dump"], options, &output].concat()).expect_success();
        seaweed.part_count("prod/by-hand.sql")
    };
    assert_eq!(dump(&[]), 5);
    assert_eq!(dump(&["--role=stranger"]), 4, "the role may not ask how large the database is");
    sidecar.run(&["run"]).expect_success();
    let key = seaweed.objects().into_iter().map(|object| object.key).find(|key| key.ends_with("Z.sql"));
    assert_eq!(seaweed.part_count(&key.expect("the round made a dump")), 5);

    // The first of two parts has the size of the whole dump, which is reported before it is created.
    let limited = sidecar.clone().set("BACKUP_S3_MAX_PARTS", "2");
    for (limit, is_said) in [("56MiB", true), ("256MiB", false)] {
        let round = limited.clone().set("BACKUP_MEMORY_LIMIT", limit).run(&["run"]).expect_success();
        let said = round.stdout_text() + &round.stderr;
        assert_eq!(said.contains("MiB of memory instead of 21 MiB"), is_said, "{round}");
    }
}
