//! Scripts that create databases of any size, for the benchmarks and for tests that need many rows.

/// Returns a script for a table of jsonb events, about 280 bytes per row in COPY format, as a web shop might
/// log them. About half of the values are new in each row. The others repeat within a session: a thousand
/// sessions are active at a time, with about twenty events each. The same number of rows always gives the
/// same rows.
pub fn events(table: &str, rows: u64) -> String {
    format!(
        "CREATE TABLE {table} (id bigint PRIMARY KEY, at timestamptz NOT NULL, payload jsonb NOT NULL);
         INSERT INTO {table}
         SELECT n, timestamptz '2026-01-01' + n * interval '0.13 seconds',
                jsonb_build_object(
                    'session', md5(session::text), 'user', session * 7919 % 400009,
                    'request', md5((-n)::text)::uuid, 'kind', (ARRAY['view','click','search','buy'])[1 + hash % 4],
                    'path', '/shop/' || hash / 7 % 40 || '/item/' || hash / 11 % 5000, 'took_ms', hash / 23 % 500,
                    'agent', 'Mozilla/5.0 (X11; Linux x86_64) Chrome/' || 100 + session % 40 || '.0.0.0 Safari/537.36')
           FROM (SELECT n, hash, n / 20000 * 1000 + hash / 31 % 1000 AS session
                   FROM (SELECT n, hashint8extended(n, 0) & 4611686018427387903 AS hash
                           FROM generate_series(1, {rows}) n) hashed) drawn;\n"
    )
}

/// Returns a script for empty tables, each with a primary key, a second index, two defaults and a foreign key
/// to the previous table.
pub fn tables(count: u64) -> String {
    format!(
        "DO $$
         BEGIN
             FOR i IN 1..{count} LOOP
                 EXECUTE format('CREATE TABLE t%s (id integer PRIMARY KEY, a text NOT NULL DEFAULT %L,
                                                   b integer DEFAULT %s, p integer%s)',
                                i, 'x' || i, i, CASE WHEN i > 1 THEN format(' REFERENCES t%s', i - 1) END);
                 EXECUTE format('CREATE INDEX t%s_a ON t%s (a)', i, i);
                 IF i % 500 = 0 THEN
                     COMMIT;
                 END IF;
             END LOOP;
         END $$;
         VACUUM ANALYZE;\n"
    )
}

/// Returns a script for a table `noise` with this many rows. Each row is one mebibyte in COPY format and does
/// not compress. The whole table is in one block, so a worker reads it in one COPY and cannot send it while
/// the store accepts no data.
pub fn noise(rows: u32) -> String {
    format!(
        "CREATE TABLE noise (id integer, a bytea);
         ALTER TABLE noise ALTER a SET STORAGE EXTERNAL;
         INSERT INTO noise
             SELECT n, (SELECT string_agg(sha512((n * 10000 + m)::text::bytea), '') FROM generate_series(1, 8192) m)
               FROM generate_series(1, {rows}) n;"
    )
}
