//! A dump's session: the settings of the database, the role or the environment do not change the text of the
//! dump.

use futures_util::future::join_all;
use pg_backup::protocol::large_object::{LargeObjectReader, PIECE_SIZE};
use pg_backup::protocol::{Isolation, Session, SessionSetup};

use crate::harness::fidelity::compare_dumps;
use crate::harness::postgres::{Database, Server};

const OBJECTS: &str = r"
CREATE TABLE t (
    d date, i interval, f float8, r float4, b bytea, ts timestamptz, m money, x xml,
    s text DEFAULT E'back\\slash ''q''', a text[]
);
INSERT INTO t VALUES
    ('2026-01-02', '1 year 2 mons -3 days 04:05:06.7', 0.1, 1.1, '\xdeadbeef', '2026-07-01 12:00+02', '12.34',
     '<a/>', E'a\\b', ARRAY['\', 'it''s']),
    ('infinity', '0', 'NaN', '-0', '\x', '-infinity', '0', NULL, E'\t\n', '{}');
CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$SELECT 'x\y'$$;
COMMENT ON TABLE t IS E'with \\ backslash';
CREATE VIEW v AS SELECT d, '1 day'::interval AS i, E'\\' AS bs FROM t WHERE d > '2026-01-01'::date;
SELECT lo_from_bytea(0, 'a\134b');
";

/// Sets them from another database, because some of these settings would prevent later changes from this one.
fn set(server: &Server, database: &Database<'_>, settings: &[(&str, &str)]) {
    for (name, value) in settings {
        server
            .existing("postgres")
            .execute(&format!("ALTER DATABASE {} SET {name} = {value}", database.name()));
    }
}

#[test]
fn settings_of_the_database_do_not_show() {
    let server = Server::start();
    let database = server.database();
    database.load_bytes(OBJECTS.as_bytes()).expect_success();
    set(
        &server,
        &database,
        &[
            ("datestyle", "'German'"),
            ("intervalstyle", "'sql_standard'"),
            ("extra_float_digits", "-10"),
            ("statement_timeout", "'1s'"),
            ("lock_timeout", "'1ms'"),
            ("idle_in_transaction_session_timeout", "'1ms'"),
            ("bytea_output", "'escape'"),
            ("search_path", "'public'"),
            ("timezone", "'Asia/Kathmandu'"),
            ("default_transaction_isolation", "'serializable'"),
            ("default_transaction_read_only", "on"),
            ("client_encoding", "'LATIN1'"),
            ("row_security", "on"),
            ("synchronize_seqscans", "on"),
            ("xmlbinary", "'hex'"),
        ],
    );
    compare_dumps(&database, &[], "hostile");
    compare_dumps(&database, &["--inserts", "-E", "UTF8"], "hostile-inserts");
    compare_dumps(&database, &["--extra-float-digits=0", "--enable-row-security"], "hostile-floats");
    compare_dumps(&database, &["--serializable-deferrable", "--role=postgres"], "hostile-deferrable");
    set(&server, &database, &[("standard_conforming_strings", "off"), ("quote_all_identifiers", "on")]);
    compare_dumps(&database, &[], "backslashes");
    compare_dumps(&database, &["--column-inserts"], "backslashes-inserts");
}

async fn connect(database: &Database<'_>) -> Session {
    let session = Session::connect(&database.url()).await.unwrap();
    session.set_up(&SessionSetup::default()).await.unwrap();
    session
}

async fn count(session: &Session) -> i64 {
    session.query("SELECT pg_catalog.count(*) FROM public.t", &[]).await.unwrap()[0].get(0)
}

#[tokio::test]
async fn sessions_share_one_snapshot() {
    let server = Server::start();
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g");
    let first = connect(&database).await;
    let position = first.begin_snapshot(Isolation::RepeatableRead, None).await.unwrap().unwrap();
    let id = first.export_snapshot().await.unwrap();
    database.execute("INSERT INTO t SELECT g FROM generate_series(1, 500) g");
    let others = join_all((0..3).map(|_| connect(&database))).await;
    for other in &others {
        assert!(other.begin_snapshot(Isolation::RepeatableRead, Some(&id)).await.unwrap().is_none());
        assert_eq!(count(other).await, 1000);
        other.commit().await.unwrap();
        assert_eq!(count(other).await, 1500);
    }
    assert_eq!(count(&first).await, 1000);
    first.commit().await.unwrap();
    // The insert came after the snapshot's position in the log.
    let newer = format!("SELECT pg_current_wal_lsn() > '{}'::pg_lsn", position.lsn_after);
    assert_eq!(database.query(&newer), "t");
    let ordered = format!("SELECT '{}'::pg_lsn <= '{}'::pg_lsn", position.lsn, position.lsn_after);
    assert_eq!(database.query(&ordered), "t");
    assert!(position.time.ends_with('Z') && position.time.len() == 27, "{}", position.time);
}

#[tokio::test]
async fn large_objects_are_read_in_order_and_in_pieces() {
    let server = Server::start();
    let database = server.database();
    // A hole reads as zeros. An empty object has one empty piece.
    database.execute(
        "SELECT lo_from_bytea(70002, repeat('ab', 20000)::bytea), lo_create(70003), lo_from_bytea(70001, ''), \
                lo_from_bytea(70004, repeat('c', 16384)::bytea), lo_create(70000);
         SELECT lo_put(70000, 100000, 'end')",
    );
    let session = connect(&database).await;
    session.begin_snapshot(Isolation::RepeatableRead, None).await.unwrap();
    let mut reader = LargeObjectReader::open(&session, None).await.unwrap();
    let mut objects: Vec<(u32, Vec<u8>)> = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        assert!(piece.data.len() <= usize::try_from(PIECE_SIZE).unwrap());
        if piece.first {
            objects.push((piece.oid, Vec::new()));
        }
        let (oid, data) = objects.last_mut().unwrap();
        assert_eq!((*oid, data.len() % usize::try_from(PIECE_SIZE).unwrap()), (piece.oid, 0));
        data.extend(piece.data);
    }
    let sparse = [vec![0; 100_000], b"end".to_vec()].concat();
    let expected = [
        (70000, sparse),
        (70001, Vec::new()),
        (70002, b"ab".repeat(20000)),
        (70003, Vec::new()),
        (70004, vec![b'c'; 16384]),
    ];
    assert_eq!(objects, expected);
    drop(reader);
    session.commit().await.unwrap();
}

#[tokio::test]
async fn a_copy_keeps_rows_of_any_size_whole() {
    let server = Server::start();
    let database = server.database();
    let session = connect(&database).await;
    let sql = "COPY (SELECT g, pg_catalog.repeat('x', CASE WHEN g % 1000 = 0 THEN 300000 ELSE g % 50 END) \
               FROM pg_catalog.generate_series(1, 20000) g) TO STDOUT";
    for chunk_size in [1, 1000, 65536, 1 << 20] {
        let mut copy = session.copy_out_in_chunks(sql, chunk_size).await.unwrap();
        let (mut next, mut has_ended) = (1, false);
        while let Some(chunk) = copy.next_chunk().await.unwrap() {
            assert!(chunk.data.ends_with(b"\n") || chunk.is_last && chunk.data.is_empty());
            let lines = chunk.data.split_inclusive(|b| *b == b'\n');
            let mut rows = 0;
            for line in lines {
                assert!(line.starts_with(format!("{next}\t").as_bytes()));
                next += 1;
                rows += 1;
            }
            assert_eq!(chunk.rows, rows);
            assert!(!std::mem::replace(&mut has_ended, chunk.is_last), "a chunk after the last");
        }
        assert_eq!((next, has_ended), (20001, true));
    }
    // A COPY that is dropped halfway does not affect later statements.
    let mut copy = session.copy_out(sql).await.unwrap();
    copy.next_chunk().await.unwrap().unwrap();
    drop(copy);
    assert_eq!(session.query("SELECT 1", &[]).await.unwrap()[0].get::<_, i32>(0), 1);
    // A COPY that fails halfway returns its error after the rows before it.
    let failing = "COPY (SELECT 1 / (150000 - g) FROM pg_catalog.generate_series(1, 200000) g) TO STDOUT";
    let mut copy = session.copy_out(failing).await.unwrap();
    let mut rows = 0;
    let error = loop {
        match copy.next_chunk().await {
            Ok(Some(chunk)) => rows += chunk.rows,
            Ok(None) => panic!("the COPY ended without an error"),
            Err(error) => break error,
        }
    };
    assert_eq!((rows, error.sqlstate()), (149_999, Some("22012")));
}
