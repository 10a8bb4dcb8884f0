//! The comparison of a restored copy with its backup: a correct copy is equal, and every kind of difference
//! is found and named.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pg_backup::dump::ReadOptions;
use pg_backup::pipeline::backups;
use pg_backup::protocol::{ConnInfo, Environment};
use pg_backup::restore::backup::Backup;
use pg_backup::restore::compare::{CompareRequest, Compared, Exceptions, compare};
use pg_backup::storage::Store;
use pg_backup::storage::local::LocalStore;
use tokio_util::sync::CancellationToken;

use crate::harness::bulk;
use crate::harness::postgres::{Database, Server};
use crate::harness::samples::sample;
use crate::harness::sidecar::{Sidecar, files, gunzip};

const MEMORY: u64 = 64 << 20;

/// A backup in a directory.
struct StoredBackup {
    dir: tempfile::TempDir,
}

impl StoredBackup {
    fn of(database: &Database<'_>) -> StoredBackup {
        let dir = tempfile::tempdir().unwrap();
        Sidecar::with_directory(dir.path()).database("main", database).run(&["run"]).expect_success();
        StoredBackup { dir }
    }

    /// Restores the backup with psql.
    fn restored<'a>(&self, server: &'a Server, clauses: &str) -> Database<'a> {
        let dump = files(self.dir.path()).into_iter().find(|file| file.ends_with(".sql.gz")).unwrap();
        let copy = server.database_with(clauses);
        copy.load_bytes(&gunzip(&std::fs::read(dump).unwrap())).expect_success();
        copy
    }

    fn compare(&self, copy: &Database<'_>, exceptions: Exceptions) -> Compared {
        let work = async {
            let store: Arc<dyn Store> = Arc::new(LocalStore::open(self.dir.path()).unwrap());
            let id = backups::list(&*store, "", None).await.unwrap().remove(0).id;
            let original = Backup::open(&store, "", &id, None).await.unwrap();
            let request = CompareRequest {
                copy: ConnInfo::parse(&copy.url()).unwrap().resolve(&Environment::of_variables([])).unwrap(),
                exceptions,
                failed: HashSet::new(),
                reading: ReadOptions::within(MEMORY, NonZeroUsize::new(2).unwrap()),
                memory: MEMORY,
                cancel: CancellationToken::new(),
            };
            compare(&original, &request).await.unwrap()
        };
        tokio::runtime::Runtime::new().unwrap().block_on(work)
    }

    /// Returns the differences of a copy as text.
    fn differences(&self, copy: &Database<'_>, exceptions: Exceptions) -> Vec<String> {
        let compared = self.compare(copy, exceptions);
        compared.differences.first().iter().map(ToString::to_string).collect()
    }
}

fn assert_equal(name: &str, compared: &Compared) {
    let told: Vec<String> = compared.differences.first().iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{name}: {told:#?}");
}

#[test]
fn samples_that_psql_restored_are_equal() {
    let server = Server::start();
    for name in ["pagila", "chinook", "northwind"] {
        let database = server.database();
        database.load(&sample(name)).expect_success();
        let saved = StoredBackup::of(&database);
        let compared = saved.compare(&saved.restored(&server, ""), Exceptions::default());
        assert_equal(name, &compared);
        assert!(
            compared.tables > 10 && compared.objects > 20 && compared.rows > 3000,
            "{name}: {compared:?}"
        );
    }
}

/// The reasons why a fixture's copy is not equal, although psql restored it correctly.
const NOT_EQUAL: &[(&str, &str)] = &[(
    "type_loops",
    "a function depends on two extensions, and the server lists them in the order of their OIDs, which psql's copy has not",
)];

#[test]
fn all_kinds_of_objects_that_psql_restored_are_equal() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut fixtures: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    fixtures.sort();
    assert!(fixtures.len() > 50);
    let shared = Server::start();
    let is_shared = |text: &str| {
        let text = text.to_ascii_lowercase();
        !["create role", "create user", "create group", "alter database", "alter system", "subscription"]
            .iter()
            .any(|words| text.contains(words))
    };
    let mut told = Vec::new();
    for fixture in fixtures {
        let name = fixture.file_stem().unwrap().to_string_lossy().into_owned();
        let text = String::from_utf8_lossy(&std::fs::read(&fixture).unwrap()).into_owned();
        if NOT_EQUAL.iter().any(|(known, _)| *known == name) || text.contains("\n-- copies differ in rows: ")
        {
            continue;
        }
        // Objects that are shared by all databases stay on their server, and would conflict with those of the
        // next fixture.
        let server = if is_shared(&text) { &shared } else { &Server::start() };
        let database = server.database();
        database.load(&fixture).expect_success();
        let saved = StoredBackup::of(&database);
        let compared = saved.compare(&saved.restored(server, ""), Exceptions::default());
        told.extend(compared.differences.first().iter().map(|difference| format!("{name}: {difference}")));
    }
    assert!(told.is_empty(), "{told:#?}");
}

const SCRIPT: &str = r"
    CREATE ROLE other;
    CREATE TABLE small (a integer PRIMARY KEY, b text DEFAULT 'x');
    INSERT INTO small VALUES (1, 'one'), (2, 'two'), (3, 'three');
    COMMENT ON COLUMN small.b IS 'b';
    GRANT SELECT ON small TO other;
    CREATE INDEX small_b ON small (b);
    CREATE TABLE moments (at timestamptz, much money, what bytea);
    INSERT INTO moments VALUES ('2026-07-01 12:00+02', '12.34', '\xdead');
    CREATE FUNCTION add(a integer, b integer) RETURNS integer LANGUAGE sql AS 'SELECT a + b';
    CREATE FUNCTION add(a text, b text) RETURNS text LANGUAGE sql AS 'SELECT a || b';
    CREATE VIEW seen AS SELECT a FROM small WHERE b > 'a';
    CREATE SEQUENCE counter;
    SELECT setval('counter', 42);
    CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM small;
    CREATE TABLE parted (k integer, v text) PARTITION BY RANGE (k);
    CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
    INSERT INTO parted VALUES (1, 'p');
    SELECT lo_from_bytea(4711, 'large object');
    SELECT lo_from_bytea(4712, 'another one!');";

#[test]
fn every_kind_of_difference_is_found_and_named() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes((bulk::events("events", 30_000) + SCRIPT).as_bytes()).expect_success();
    let saved = StoredBackup::of(&database);
    let copy = saved.restored(&server, "");
    assert_equal("untouched", &saved.compare(&copy, Exceptions::default()));
    // A change, the statement that reverts it, and the expected message.
    let cases = [
        (
            "INSERT INTO small VALUES (4)",
            "DELETE FROM small WHERE a = 4",
            "table public.small has 4 rows instead of 3",
        ),
        (
            "UPDATE small SET b = 'TWO' WHERE a = 2",
            "UPDATE small SET b = 'two' WHERE a = 2",
            "table public.small has different rows: 3 with a digest that differs from the manifest",
        ),
        (
            "DELETE FROM parted",
            "INSERT INTO parted VALUES (1, 'p')",
            "table public.parted_1 has 0 rows instead of 1",
        ),
        ("DROP INDEX small_b", "CREATE INDEX small_b ON small (b)", "index public.small_b is missing"),
        (
            "CREATE TABLE more AS SELECT 1",
            "DROP TABLE more",
            "table public.more exists, but is not in the backup",
        ),
        (
            "CREATE OR REPLACE FUNCTION add(a integer, b integer) RETURNS integer LANGUAGE sql AS 'SELECT a - b'",
            "CREATE OR REPLACE FUNCTION add(a integer, b integer) RETURNS integer LANGUAGE sql AS 'SELECT a + b'",
            "function public.add(integer, integer) differs: it has \"    AS $$SELECT a - b$$;\" instead of \"    AS $$SELECT a + b$$;\"",
        ),
        (
            "ALTER TABLE moments OWNER TO other",
            "ALTER TABLE moments OWNER TO postgres",
            "table public.moments differs: it has \"ALTER TABLE public.moments OWNER TO other;\" instead of \"ALTER TABLE public.moments OWNER TO postgres;\"",
        ),
        (
            "REVOKE SELECT ON small FROM other",
            "GRANT SELECT ON small TO other",
            "privileges on TABLE small (public) is missing",
        ),
        (
            "COMMENT ON COLUMN small.b IS NULL",
            "COMMENT ON COLUMN small.b IS 'b'",
            "comment on COLUMN small.b (public) is missing",
        ),
        (
            "SELECT setval('counter', 43)",
            "SELECT setval('counter', 42)",
            "sequence set public.counter differs: it has \"SELECT pg_catalog.setval('public.counter', 43, true);\" instead of \"SELECT pg_catalog.setval('public.counter', 42, true);\"",
        ),
        (
            "REFRESH MATERIALIZED VIEW kept WITH NO DATA",
            "REFRESH MATERIALIZED VIEW kept",
            "materialized view data public.kept is missing",
        ),
        (
            "ALTER TABLE small ALTER b SET DEFAULT 'y'",
            "ALTER TABLE small ALTER b SET DEFAULT 'x'",
            "table public.small differs: it has \"    b text DEFAULT 'y'::text\"",
        ),
        (
            "ALTER TABLE moments RENAME what TO that",
            "ALTER TABLE moments RENAME that TO what",
            "the rows of table data public.moments cannot be read",
        ),
        (
            "UPDATE events SET id = -id WHERE id = (SELECT min(id) FROM events)",
            "UPDATE events SET id = -id WHERE id < 0",
            "table public.events has different rows: 30000 with a digest that differs",
        ),
        (
            "SELECT lo_put(4712, 3, 'X')",
            "SELECT lo_put(4712, 3, 't')",
            "the large objects have different contents",
        ),
        ("SELECT lo_unlink(4712)", "SELECT lo_from_bytea(4712, 'another one!')", "blob 4712 is missing"),
    ];
    for (change, undo, told) in cases {
        copy.execute(change);
        let found = saved.differences(&copy, Exceptions::default());
        assert!(found.iter().any(|difference| difference.starts_with(told)), "{change}: {told}\n{found:#?}");
        copy.execute(undo);
        assert_equal(undo, &saved.compare(&copy, Exceptions::default()));
    }
    // One difference gives one message.
    copy.execute("UPDATE small SET b = 'TWO' WHERE a = 2");
    assert_eq!(saved.differences(&copy, Exceptions::default()).len(), 1);
}

#[test]
fn a_server_that_prints_values_otherwise_has_an_equal_copy() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    let saved = StoredBackup::of(&database);
    let settings =
        ["timezone=Asia/Kathmandu", "bytea_output=escape", "datestyle=German", "extra_float_digits=-3"];
    let elsewhere = Server::start_with(&settings);
    elsewhere.existing("postgres").execute("CREATE ROLE other");
    assert_equal("elsewhere", &saved.compare(&saved.restored(&elsewhere, ""), Exceptions::default()));
}

#[test]
fn columns_that_stand_in_another_order_are_no_difference() {
    let server = Server::start();
    let database = server.database();
    database
        .load_bytes(
            b"CREATE TABLE child (x integer, a text, b integer);
          CREATE TABLE parent (a text, b integer);
          ALTER TABLE child INHERIT parent;
          INSERT INTO child SELECT n, 'a' || n, -n FROM generate_series(1, 100) n;",
        )
        .expect_success();
    let saved = StoredBackup::of(&database);
    let copy = saved.restored(&server, "");
    let order = "SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'child'::regclass AND attnum > 0";
    assert_ne!(
        database.query(order),
        copy.query(order),
        "the order of the columns is what this test is about"
    );
    assert_equal("reordered", &saved.compare(&copy, Exceptions::default()));
    copy.execute("UPDATE child SET b = 0 WHERE x = 50");
    let told = saved.differences(&copy, Exceptions::default());
    assert!(told.len() == 1 && told[0].starts_with("table public.child has different rows"), "{told:?}");
}

#[test]
fn a_copy_without_owners_and_privileges_is_equal_when_none_are_expected() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes(SCRIPT.as_bytes()).expect_success();
    database.execute(
        "ALTER TABLE small OWNER TO other; ALTER SCHEMA public OWNER TO other; ALTER VIEW seen OWNER TO other;
         ALTER FUNCTION add(text, text) OWNER TO other; ALTER DEFAULT PRIVILEGES FOR ROLE other GRANT SELECT ON TABLES TO postgres",
    );
    let saved = StoredBackup::of(&database);
    let copy = server.database();
    copy.load_bytes(&database.pg_dump(&["-O", "-x"])).expect_success();
    let exceptions = Exceptions { no_owner: true, no_privileges: true, ..Exceptions::default() };
    assert_equal("without owners", &saved.compare(&copy, exceptions));
    let told = saved.differences(&copy, Exceptions::default());
    assert!(told.iter().any(|difference| difference.starts_with("table public.small differs")), "{told:#?}");
    assert!(
        told.iter().any(|difference| difference.starts_with("default acl DEFAULT PRIVILEGES")),
        "{told:#?}"
    );
    copy.execute("ALTER VIEW seen RENAME TO unseen");
    assert_eq!(saved.differences(&copy, exceptions).len(), 2);
}

#[test]
fn other_encodings_are_compared_in_their_own() {
    let server = Server::start();
    let clauses = "ENCODING 'LATIN1' LOCALE 'C'";
    let database = server.database_with(clauses);
    database
        .load_bytes(
            "SET client_encoding = 'UTF8';
             CREATE TABLE \"tä\" (ö text);
             INSERT INTO \"tä\" VALUES ('ü');
             COMMENT ON TABLE \"tä\" IS 'ß'"
                .as_bytes(),
        )
        .expect_success();
    let saved = StoredBackup::of(&database);
    assert_equal("LATIN1", &saved.compare(&saved.restored(&server, clauses), Exceptions::default()));
    // The text is compared in the backup's encoding, whatever the copy's encoding is.
    let copy = saved.restored(&server, "");
    assert_equal("UTF8", &saved.compare(&copy, Exceptions::default()));
    copy.execute("UPDATE \"tä\" SET ö = 'u'");
    assert_eq!(saved.differences(&copy, Exceptions::default()).len(), 1);
}

#[test]
fn many_differences_are_counted_and_the_first_reported() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes(bulk::tables(60).as_bytes()).expect_success();
    let saved = StoredBackup::of(&database);
    let empty = server.database();
    let compared = saved.compare(&empty, Exceptions::default());
    // Each table with its key and index, and all except the first with a foreign key. Missing rows are not
    // counted in addition.
    assert_eq!(compared.differences.number(), 60 * 3 + 59);
    assert_eq!(compared.differences.first().len(), 50);
}
