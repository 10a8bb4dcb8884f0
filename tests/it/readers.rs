//! Reads over several connections: the bytes are the same as over one, and no worker queues behind a session
//! that waits for the dump.

use std::io::Read;
use std::process::{Child, Stdio};

use crate::harness::fidelity::{Dumps, compare_bytes};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, pg_backup, run};

/// Tables whose rows can be read in parts, and others whose rows cannot, enough to start workers. The deleted
/// rows leave blocks with gaps and, in `emptied`, blocks without rows.
const SCRIPT: &str = r#"
    CREATE TABLE "Large one" (id bigint, "the text" text, twice bigint GENERATED ALWAYS AS (id * 2) STORED,
                              gone integer, filler text);
    INSERT INTO "Large one" (id, "the text", filler)
        SELECT n, E'tab\tnewline\n' || n, repeat('x', n % 200) FROM generate_series(1, 200000) n;
    ALTER TABLE "Large one" DROP COLUMN gone;
    DELETE FROM "Large one" WHERE id % 7 = 3 OR id BETWEEN 40000 AND 90000;
    UPDATE "Large one" SET filler = 'moved' WHERE id % 11 = 0;
    CREATE TABLE emptied (a integer, filler text);
    INSERT INTO emptied SELECT n, repeat('y', 500) FROM generate_series(1, 20000) n;
    DELETE FROM emptied;
    CREATE TABLE outside (id integer, document text);
    ALTER TABLE outside ALTER document SET STORAGE EXTERNAL;
    INSERT INTO outside SELECT n, repeat(md5(n::text), 10000) FROM generate_series(1, 40) n;
    CREATE TABLE parent (a integer);
    CREATE TABLE child () INHERITS (parent);
    INSERT INTO parent SELECT generate_series(1, 300000);
    INSERT INTO child SELECT generate_series(300001, 600000);
    CREATE TABLE nothing ();
    INSERT INTO nothing DEFAULT VALUES;
    CREATE UNLOGGED TABLE quick (a integer);
    INSERT INTO quick SELECT generate_series(1, 100000);
    CREATE TABLE parts (a integer, b text) PARTITION BY HASH (a);
    CREATE TABLE part0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE part1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    INSERT INTO parts SELECT n, repeat('p', 60) FROM generate_series(1, 100000) n;
    SELECT lo_create(4711);
    SELECT lo_put(4711, 0, repeat('large object', 100000)::bytea);
    DO $$ BEGIN
        FOR i IN 1..100 LOOP
            EXECUTE format('CREATE TABLE small%s AS SELECT n AS a FROM generate_series(1, %s) n', i, i % 10);
        END LOOP;
    END $$;
"#;

fn dump(database: &Database<'_>, options: &[&str]) -> Output {
    run(pg_backup().args(["dump", "-d", &database.url()]).args(options))
}

/// Returns how often `work` adds the text to the server's log.
fn logged<T>(server: &Server, text: &str, work: impl FnOnce() -> T) -> (usize, T) {
    let count = || server.log().matches(text).count();
    let before = count();
    let result = work();
    (count() - before, result)
}

#[test]
fn the_dump_is_the_same_for_any_number_of_readers() {
    let server = Server::start_with(&["log_statement=all"]);
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    for options in [&[][..], &["--load-via-partition-root", "-a"], &["--rows-per-insert=100", "-E", "LATIN1"]]
    {
        let theirs = database.pg_dump(options);
        for jobs in ["1", "2", "3", "7"] {
            let ours = || dump(&database, &[options, &["-j", jobs]].concat()).expect_success().stdout;
            let (parts, ours) = logged(&server, " WHERE ctid ", ours);
            compare_bytes(&Dumps { theirs: theirs.clone(), ours }, &format!("{options:?} with {jobs} jobs"));
            let reads_parts = jobs != "1" && !options.contains(&"--rows-per-insert=100");
            assert_eq!(parts > 0, reads_parts, "{parts} statements for parts with {jobs} jobs");
        }
    }
}

#[test]
fn a_part_is_read_without_reading_the_whole_table() {
    let server = Server::start_with(&["shared_preload_libraries=auto_explain"]);
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    // Every plan that the planner could prefer to a TID range scan.
    database.load_bytes(b"CREATE INDEX ON parent (a); VACUUM ANALYZE").expect_success();
    let name = database.name();
    database.execute(&format!("ALTER DATABASE {name} SET auto_explain.log_min_duration = 0"));
    database.execute(&format!("ALTER DATABASE {name} SET parallel_setup_cost = 0"));
    database.execute(&format!("ALTER DATABASE {name} SET parallel_tuple_cost = 0"));
    database.execute(&format!("ALTER DATABASE {name} SET min_parallel_table_scan_size = 0"));
    let before = server.log().len();
    dump(&database, &["-j", "2"]).expect_success();
    let log = server.log().split_off(before);
    let plans: Vec<_> = log.split(" LOG:  duration: ").filter(|plan| plan.contains(" WHERE ctid ")).collect();
    assert!(plans.len() > 5, "{} parts were read", plans.len());
    for plan in plans {
        assert!(plan.contains("Tid Range Scan on ") && !plan.contains("Gather"), "{plan}");
    }
}

/// A dump whose output is not read yet.
struct Waiting {
    dump: Child,
}

impl Waiting {
    fn start(database: &Database<'_>, jobs: &str) -> Waiting {
        let mut command = pg_backup();
        command.args(["dump", "-d", &database.url(), "-j", jobs]);
        let dump = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("pg-backup starts");
        Waiting { dump }
    }

    /// Reads the rest of the output.
    fn finish(mut self) -> (Option<i32>, Vec<u8>, String) {
        let (mut text, mut errors) = (Vec::new(), String::new());
        self.dump.stdout.take().unwrap().read_to_end(&mut text).unwrap();
        self.dump.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        (self.dump.wait().unwrap().code(), text, errors)
    }
}

const OTHERS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";

#[test]
fn a_lock_that_is_waited_for_does_not_stop_the_readers() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    database
        .load_bytes(b"CREATE TABLE zz (a integer, b text); INSERT INTO zz VALUES (1, 'one')")
        .expect_success();
    let theirs = database.pg_dump(&[]);

    // The workers stop at "Large one", because its rows are more than the pipe and the buffers hold.
    let waiting = Waiting::start(&database, "2");
    database.wait_for(
        "reading",
        &format!("SELECT count(*) >= 3 AND bool_or(query LIKE '%WHERE ctid%') {OTHERS}"),
    );
    std::thread::scope(|scope| {
        let migrate = |table: &str| {
            let sql = format!("ALTER TABLE {table} ADD COLUMN new integer");
            run(database.client("psql").args(["-X", "-c", &sql])).expect_success();
        };
        let tables = ["zz", "outside", "small3", "parts"];
        let migrations = tables.map(|table| scope.spawn(move || migrate(table)));
        let blocked = format!(
            "SELECT count(*) = {} FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'",
            tables.len()
        );
        database.wait_for("the wait for locks", &blocked);
        let (code, ours, errors) = waiting.finish();
        assert_eq!(code, Some(0), "{errors}");
        compare_bytes(&Dumps { theirs: theirs.clone(), ours }, "with waiting migrations");
        for migration in migrations {
            migration.join().unwrap();
        }
    });
    let refused = server.log().matches("could not obtain lock on relation").count();
    assert!(refused >= 2, "{refused} locks were refused to readers");
    assert_eq!(database.query("SELECT count(new) FROM zz"), "0", "the migration has been made");
}

#[test]
fn a_reader_that_is_lost_fails_the_dump_and_the_table_is_named() {
    let server = Server::start();
    let database = server.database();
    // Each part of it is a few megabytes on disk, compressed, and hundreds of megabytes as text: more than
    // the buffers between the server and the dump hold, sockets included. So both workers stay in their first
    // part until the test reads the dump.
    let script = r#"
        CREATE TABLE "Large one" (filler text);
        INSERT INTO "Large one" VALUES (repeat('x', 100000));
        INSERT INTO "Large one" SELECT one.filler FROM "Large one" one, generate_series(1, 20000);
    "#;
    database.load_bytes(script.as_bytes()).expect_success();
    let size: u64 = database.query(r#"SELECT pg_table_size('"Large one"')"#).parse().unwrap();
    assert!(size > 16 << 20, "{size} bytes: the table is to be read in parts, and is too small");
    let waiting = Waiting::start(&database, "2");
    // A session still shows its last query when the query has ended.
    let reading = format!("{OTHERS} AND state = 'active' AND query LIKE '%\"Large one\"%WHERE ctid%'");
    database.wait_for("reading", &format!("SELECT count(*) = 2 {reading}"));
    let killed = database.query(&format!("SELECT pg_terminate_backend(pid) {reading} LIMIT 1"));
    assert_eq!(killed, "t");
    let (code, text, errors) = waiting.finish();
    assert_eq!(code, Some(1));
    assert!(errors.contains("dumping the contents of table public.\"Large one\" failed"), "{errors}");
    // A server does not send its reason to a client that reads nothing, because the server would have to wait
    // for the client.
    assert!(errors.contains("lost the connection to server 127.0.0.1"), "{errors}");
    assert!(!text.ends_with(b"database dump complete\n--\n\n"));
    database.wait_for("the end of the other sessions", &format!("SELECT count(*) = 0 {OTHERS}"));
}

#[test]
fn without_connections_to_spare_the_dump_is_read_over_one() {
    let server = Server::start_with(&["log_statement=all"]);
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    database.execute("CREATE ROLE single LOGIN PASSWORD 'secret'");
    database.execute("GRANT pg_read_all_data TO single; GRANT SELECT ON LARGE OBJECT 4711 TO single");
    let theirs = database.pg_dump(&["--no-acl"]);
    for (limit, reads_parts) in [(1, false), (2, true), (3, true)] {
        database.execute(&format!("ALTER ROLE single CONNECTION LIMIT {limit}"));
        let ours = || {
            let (port, name) = (server.port().to_string(), database.name());
            let mut command = pg_backup();
            command.args(["dump", "-h", "127.0.0.1", "-p", &port, "-U", "single", "-d", name]);
            run(command.args(["-j", "2", "--no-acl"]).env("PGPASSWORD", "secret"))
        };
        let (parts, ours) = logged(&server, " WHERE ctid ", ours);
        assert_eq!(parts > 0, reads_parts, "with a limit of {limit}\n{}", ours.stderr);
        let ours = ours.expect_success().stdout;
        compare_bytes(&Dumps { theirs: theirs.clone(), ours }, &format!("with a limit of {limit}"));
    }
}
