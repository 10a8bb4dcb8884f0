//! Migrations that commit between a dump's snapshot and its locks: no row is lost, and the dump does not mix
//! the old and the new state.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, SystemTime};

use tokio_postgres::{Client, NoTls};

use crate::harness::fidelity::{Dumps, compare_bytes, same_bytes};
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, pg_backup, run};
use crate::harness::sidecar::{Sidecar, files};

/// Whether a dump waits for a lock on a table.
const WAITING: &str = "SELECT count(*) > 0 FROM pg_locks JOIN pg_stat_activity a USING (pid)
     WHERE relation = '{table}'::regclass AND NOT granted AND a.application_name LIKE 'pg-backup%'";

/// The migrated table, and `gate`, which a dump locks first: relations are locked in the order of their OIDs.
const TABLES: &str = "
    CREATE TABLE gate (id integer);
    CREATE TABLE o (id integer, note text);
    INSERT INTO o SELECT n, 'note ' || n FROM generate_series(1, 1000) n;
    CREATE TABLE measures (at date, value integer) PARTITION BY RANGE (at);
    CREATE TABLE measures_2026 PARTITION OF measures FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO measures SELECT '2026-02-03', n FROM generate_series(1, 1000) n;";

/// Statements that replace the rows of `o` with others, or write the same rows to another heap.
const REWRITES: &[&str] = &[
    "ALTER TABLE o ALTER id TYPE bigint",
    "ALTER TABLE o ADD COLUMN chance double precision DEFAULT random()",
    "TRUNCATE o; INSERT INTO o SELECT n, 'new' FROM generate_series(1, 700) n",
    "ALTER TABLE o SET UNLOGGED",
    "CREATE TABLE o_new AS SELECT id, upper(note) AS note FROM o; ALTER TABLE o RENAME TO o_old; \
     ALTER TABLE o_new RENAME TO o",
    "DROP TABLE o; CREATE TABLE o AS SELECT n AS id FROM generate_series(1, 900) n",
    "ALTER TABLE o DROP COLUMN note",
    "TRUNCATE measures_2026; INSERT INTO measures SELECT '2026-03-04', n FROM generate_series(1, 800) n",
    "CREATE SCHEMA s; CREATE TABLE s.o AS SELECT 1 AS id; ALTER TABLE o SET SCHEMA s_old; ALTER TABLE s.o SET SCHEMA public",
];

fn database(server: &Server) -> Database<'_> {
    let database = server.database();
    database.load_bytes(format!("{TABLES} CREATE SCHEMA s_old;").as_bytes()).expect_success();
    database
}

fn waits_for(database: &Database<'_>, table: &str) {
    database.wait_for("the dump's wait for a lock", &WAITING.replace("{table}", table));
}

/// Dumps while `work` runs. `work` starts when the dump waits for a lock on `table`.
fn beside_dump(database: &Database<'_>, options: &[&str], table: &str, work: impl FnOnce()) -> Output {
    let mut dump = pg_backup();
    dump.arg("dump").args(options).args(["-d", &database.url()]);
    std::thread::scope(|scope| {
        let dump = scope.spawn(move || run(&mut dump));
        waits_for(database, table);
        work();
        dump.join().unwrap()
    })
}

/// Compares the dump with pg_dump's dump of the database after all migrations.
fn compare(database: &Database<'_>, output: Output, name: &str) {
    let ours = output.expect_success().stdout;
    compare_bytes(&Dumps { theirs: database.pg_dump(&[]), ours }, name);
}

#[tokio::main(flavor = "current_thread")]
async fn connect(database: &Database<'_>, statements: &[&str], released: mpsc::Receiver<()>) {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.expect("it connects");
    tokio::spawn(connection);
    for statement in statements {
        client.batch_execute(statement).await.expect("the statement runs");
    }
    released.recv().expect("it is released");
    client.batch_execute("COMMIT").await.expect("the migration commits");
}

/// Runs `work` while another session has executed the statements in a transaction. The transaction commits
/// when `work` sends its message.
fn in_transaction(database: &Database<'_>, migration: &str, work: impl FnOnce(mpsc::Sender<()>)) {
    let (release, released) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || connect(database, &["BEGIN", migration], released));
        let has_run = "SELECT count(*) > 0 FROM pg_stat_activity
                        WHERE datname = current_database() AND state = 'idle in transaction' AND query <> 'BEGIN'";
        database.wait_for("the migration", has_run);
        work(release);
    });
}

#[test]
fn a_table_that_is_rewritten_while_the_dump_waits_for_its_lock_keeps_its_rows() {
    let server = Server::start();
    for migration in REWRITES {
        let database = database(&server);
        let table = if migration.contains("measures") { "measures_2026" } else { "o" };
        in_transaction(&database, migration, |commit| {
            let output = beside_dump(&database, &[], table, || commit.send(()).unwrap());
            // The commit may finish shortly after the dump.
            database.wait_for(
                "the end of the migration",
                "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() \
                    AND state LIKE 'idle in transaction%'",
            );
            compare(&database, output, &format!("migration-open {migration}"));
        });
    }
}

#[test]
fn a_table_that_is_rewritten_between_snapshot_and_lock_keeps_its_rows() {
    let server = Server::start();
    // The last three write the same rows to another heap, where the snapshot still sees them.
    let moves =
        ["VACUUM FULL o", "CREATE INDEX o_id ON o (id); CLUSTER o USING o_id", "VACUUM FULL measures"];
    for migration in REWRITES.iter().chain(&moves) {
        let database = database(&server);
        let gate = database.lock("gate");
        let output = beside_dump(&database, &[], "gate", || {
            migration.split("; ").for_each(|statement| database.execute(statement));
            drop(gate);
        });
        compare(&database, output, &format!("migration-between {migration}"));
    }
}

#[test]
fn what_is_dropped_or_renamed_while_the_catalogs_are_read_is_not_in_the_dump() {
    let server = Server::start();
    let database = database(&server);
    let objects = "
        CREATE FUNCTION f(a integer) RETURNS integer LANGUAGE sql AS 'SELECT 1';
        CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
        CREATE AGGREGATE total (integer) (SFUNC = int4pl, STYPE = integer);
        CREATE STATISTICS stat ON id, note FROM o;
        CREATE TRIGGER touch BEFORE INSERT ON o FOR EACH ROW EXECUTE FUNCTION t();
        CREATE VIEW v AS SELECT f(id) FROM o;
        CREATE MATERIALIZED VIEW mv AS SELECT id FROM o;
        CREATE SEQUENCE seq;
        CREATE TABLE gone (id integer PRIMARY KEY);
        CREATE TABLE measures_2027 PARTITION OF measures FOR VALUES FROM ('2027-01-01') TO ('2028-01-01');
        CREATE RULE quiet AS ON DELETE TO o DO INSTEAD NOTHING;
        CREATE POLICY own ON o USING (id > 0);
        CREATE INDEX o_note ON o (lower(note));
        ALTER TABLE o ADD CONSTRAINT positive CHECK (id > 0);
        CREATE DOMAIN d AS integer CHECK (VALUE > 0);
        CREATE TYPE colour AS ENUM ('red');
        CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS id;";
    database.load_bytes(objects.as_bytes()).expect_success();
    for change in [
        "DROP VIEW v",
        "DROP FUNCTION f",
        "DROP AGGREGATE total(integer)",
        "DROP STATISTICS stat",
        "DROP TRIGGER touch ON o",
        "DROP MATERIALIZED VIEW mv",
        "DROP SEQUENCE seq",
        "DROP TABLE gone",
        "DROP TABLE measures_2027",
        "ALTER TABLE measures DETACH PARTITION measures_2026",
        "DROP RULE quiet ON o",
        "DROP POLICY own ON o",
        "DROP INDEX o_note",
        "ALTER TABLE o DROP CONSTRAINT positive",
        "DROP DOMAIN d",
        "DROP TYPE colour",
        "ALTER TABLE o RENAME COLUMN note TO remark",
        "ALTER TABLE o RENAME TO p",
        "ALTER SCHEMA s RENAME TO s2",
        "DROP SCHEMA s2 CASCADE",
    ] {
        let before = database.pg_dump(&[]);
        let gate = database.lock("gate");
        let output = beside_dump(&database, &[], "gate", || {
            database.execute(change);
            drop(gate);
        });
        // If the server's functions still know every object in the snapshot, the dump shows the state before
        // the change.
        let ours = output.expect_success().stdout;
        let of_before = Dumps { theirs: before, ours: ours.clone() };
        if same_bytes(&of_before, &format!("before {change}")).is_err() {
            compare_bytes(&Dumps { theirs: database.pg_dump(&[]), ours }, &format!("after {change}"));
        }
    }
}

#[test]
fn schemas_that_change_places_while_rows_are_read_fail_the_dump() {
    let server = Server::start();
    let database = server.database();
    let script = "
        CREATE SCHEMA blue; CREATE TABLE blue.t AS SELECT 'blue' || n FROM generate_series(1, 300000) n;
        CREATE SCHEMA green; CREATE TABLE green.t AS SELECT 'green' || n FROM generate_series(1, 300000) n;";
    database.load_bytes(script.as_bytes()).expect_success();
    let mut dump = pg_backup();
    dump.args(["dump", "-a", "-j", "1", "-d", &database.url()]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = dump.spawn().expect("pg-backup starts");
    // The test does not read the pipe, so the dump blocks in the first table.
    database.wait_for(
        "the first table",
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name LIKE 'pg-backup%' AND query LIKE '%COPY blue.t%'",
    );
    database.execute(
        "ALTER SCHEMA blue RENAME TO other; ALTER SCHEMA green RENAME TO blue; ALTER SCHEMA other RENAME TO green",
    );
    let mut stdout = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    let output = child.wait_with_output().unwrap();
    reader.join().unwrap().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("tables blue.t, green.t: renamed or dropped after the snapshot was taken"),
        "{stderr}"
    );
}

#[test]
fn an_imported_snapshot_that_is_too_old_fails_the_dump_by_name() {
    let server = Server::start();
    let database = database(&server);
    let export = "SELECT pg_export_snapshot()";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        let id: String = client.query_one(export, &[]).await.unwrap().get(0);
        database.execute("TRUNCATE o");
        let mut dump = pg_backup();
        dump.args(["dump", "-d", &database.url(), "--snapshot", &id]);
        let output = run(&mut dump);
        assert_eq!(output.status.code(), Some(1), "{output}");
        let wanted = "table public.o: altered, truncated or dropped after the snapshot was taken";
        assert!(output.stderr.contains(wanted), "{output}");
    });
}

/// A role may have privileges on only the columns that pg_dump reads.
#[test]
fn a_role_that_cannot_read_xmin_loses_no_rows() {
    let server = Server::start();
    let database = database(&server);
    let columns = database.query(
        "SELECT string_agg(attname, ', ') FROM pg_attribute
          WHERE attrelid = 'pg_class'::regclass AND NOT attisdropped
            AND (attnum > 0 OR attname = 'tableoid')",
    );
    database.execute(&format!(
        "CREATE ROLE reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader; \
         REVOKE SELECT ON pg_class FROM public; GRANT SELECT ({columns}) ON pg_class TO reader"
    ));
    let options = ["--role=reader"];
    in_transaction(&database, "ALTER TABLE o ALTER id TYPE bigint", |commit| {
        let output = beside_dump(&database, &options, "o", || commit.send(()).unwrap()).expect_success();
        let rows = String::from_utf8(output.stdout).unwrap();
        assert_eq!(rows.matches("\tnote ").count(), 1000);
    });
}

/// The number of rows that each table had, and when.
#[derive(Default)]
struct Ledger(Mutex<BTreeMap<&'static str, Vec<State>>>);

struct State {
    rows: u64,
    /// Just before this state's commit was sent, and just after the next state's commit returned.
    since: SystemTime,
    until: Option<SystemTime>,
}

impl Ledger {
    /// Commits the client's transaction, after which the tables have these numbers of rows.
    async fn commit(&self, client: &Client, rows: &[(&'static str, u64)]) {
        let since = SystemTime::now();
        client.batch_execute("COMMIT").await.expect("the migration commits");
        let now = SystemTime::now();
        let mut ledger = self.0.lock().unwrap();
        for &(table, rows) in rows {
            let states = ledger.entry(table).or_default();
            if let Some(last) = states.last_mut() {
                last.until = Some(now);
            }
            states.push(State { rows, since, until: None });
        }
    }

    /// Returns the numbers of rows that a snapshot between two moments may show.
    fn rows(&self, table: &str, from: SystemTime, to: SystemTime) -> Vec<u64> {
        let ledger = self.0.lock().unwrap();
        let states = ledger[table].iter();
        let at_the_time = states.filter(|s| s.since <= to && s.until.is_none_or(|until| until >= from));
        at_the_time.map(|state| state.rows).collect()
    }
}

/// Tables of the ledger. `parts` stands for all partitions.
const LEDGER_TABLES: &str = "
    CREATE TABLE typed (id integer); INSERT INTO typed SELECT generate_series(1, 1000);
    CREATE TABLE emptied (id integer); INSERT INTO emptied SELECT generate_series(1, 1000);
    CREATE TABLE wider (id integer); INSERT INTO wider SELECT generate_series(1, 1000);
    CREATE TABLE replaced (id integer); INSERT INTO replaced SELECT generate_series(1, 1000);
    CREATE TABLE parts (part integer, id integer) PARTITION BY LIST (part);
    CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
    INSERT INTO parts SELECT 0, generate_series(1, 1000);";

/// Migrates one table after another until `stop` is set. Each migration holds its locks for a while.
#[tokio::main(flavor = "current_thread")]
async fn migrate(url: &str, ledger: &Ledger, started: &mpsc::Sender<()>, stop: &AtomicBool) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("it connects");
    tokio::spawn(connection);
    let tables = ["typed", "emptied", "wider", "replaced", "parts"];
    ledger.commit(&client, &tables.map(|table| (table, 1000))).await;
    started.send(()).unwrap();
    for n in 1_u64.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // No state has the same number of rows as the previous one.
        let rows = 500 + n % 500;
        let (table, rows, migration) = match n % 5 {
            0 => {
                let to = if n % 2 == 0 { "bigint" } else { "integer" };
                ("typed", 1000, format!("ALTER TABLE typed ALTER id TYPE {to}"))
            }
            1 => {
                let insert = format!("INSERT INTO emptied SELECT generate_series(1, {rows})");
                ("emptied", rows, format!("TRUNCATE emptied; {insert}"))
            }
            2 => {
                let add = format!("ADD COLUMN chance{n} double precision DEFAULT random()");
                let drop = format!("DROP COLUMN IF EXISTS chance{}", n.saturating_sub(5));
                ("wider", 1000, format!("ALTER TABLE wider {add}, {drop}"))
            }
            3 => {
                let create = format!("CREATE TABLE next AS SELECT generate_series(1, {rows}) AS id");
                let rename = "ALTER TABLE replaced RENAME TO old; ALTER TABLE next RENAME TO replaced";
                ("replaced", rows, format!("{create}; {rename}; DROP TABLE old"))
            }
            _ => {
                let table = format!("parts_{n}");
                let fill =
                    format!("CREATE TABLE {table} AS SELECT {n} AS part, generate_series(1, {rows}) AS id");
                let attach = format!("ALTER TABLE parts ATTACH PARTITION {table} FOR VALUES IN ({n})");
                let last = if n == 4 { 0 } else { n - 5 };
                ("parts", rows, format!("{fill}; {attach}; DROP TABLE parts_{last}"))
            }
        };
        client.batch_execute("BEGIN").await.unwrap();
        client.batch_execute(&migration).await.unwrap_or_else(|error| panic!("{migration}: {error}"));
        // A migration that waited for a dump starts when the dump ends. Only varying delays let it meet the
        // start of the next dump.
        tokio::time::sleep(Duration::from_millis(n * 37 % 240)).await;
        ledger.commit(&client, &[(table, rows)]).await;
        tokio::time::sleep(Duration::from_millis(n * 53 % 150)).await;
    }
}

/// Stops the migrations, even if a round has failed the test.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Returns the rows of each table of the ledger from a backup's manifest.
fn saved_rows(dir: &std::path::Path) -> BTreeMap<String, u64> {
    let manifests: Vec<_> = files(dir).into_iter().filter(|file| file.ends_with(".manifest.json")).collect();
    let [manifest] = manifests.as_slice() else { panic!("{manifests:?}") };
    let manifest: serde_json::Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    let mut rows = BTreeMap::new();
    for table in manifest["tables"].as_array().expect("the manifest lists tables") {
        let name = table["name"].as_str().unwrap();
        let name = if name.starts_with("parts_") { "parts" } else { name };
        *rows.entry(name.to_owned()).or_default() += table["rows"].as_u64().unwrap();
    }
    rows
}

#[test]
fn two_hundred_rounds_among_migrations_save_what_some_committed_state_held() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes(LEDGER_TABLES.as_bytes()).expect_success();
    let (ledger, stop, (started, has_started)) = (Ledger::default(), AtomicBool::new(false), mpsc::channel());
    let mut attempts = 0;
    std::thread::scope(|scope| {
        let _stop = StopAtEnd(&stop);
        let migrations = scope.spawn(|| migrate(&database.url(), &ledger, &started, &stop));
        has_started.recv().expect("the migrations start");
        for round in 1..=200 {
            let dir = tempfile::tempdir().unwrap();
            let sidecar = Sidecar::with_directory(dir.path())
                .database("main", &database)
                .set("BACKUP_RETRY_WAIT", "1s");
            let from = SystemTime::now();
            let output = sidecar.run(&["run"]).expect_success();
            let to = SystemTime::now();
            attempts += output.stdout_text().matches("taking a new snapshot").count();
            let rows = saved_rows(dir.path());
            for table in ["typed", "emptied", "wider", "replaced", "parts"] {
                let saved = rows.get(table).copied().unwrap_or_default();
                // The commit of the last state may return only after the next migration has started.
                let held = ledger.rows(table, from, to);
                assert!(
                    held.contains(&saved),
                    "round {round}: {table} has {saved} rows, held {held:?}\n{output}"
                );
            }
        }
        stop.store(true, Ordering::Relaxed);
        migrations.join().expect("the migrations go on to the end");
    });
    assert!(attempts > 10, "the rounds met {attempts} migrations");
}
