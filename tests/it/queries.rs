//! The number of statements that a dump sends must not grow with the number of objects.

use std::fmt::Write as _;

use crate::harness::postgres::{Database, Server};
use crate::harness::program::{pg_backup, run};

/// Creates `count` objects of most kinds, which depend on each other.
fn script(count: usize) -> String {
    let mut sql = "CREATE EXTENSION hstore;\nCREATE SCHEMA s;\n".to_owned();
    for n in 1..=count {
        let before = n.saturating_sub(1).max(1);
        write!(
            sql,
            "CREATE TYPE s.color{n} AS ENUM ('red', 'green');
             CREATE TYPE s.pair{n} AS (a integer, b s.color{n});
             CREATE DOMAIN s.positive{n} AS integer CHECK (VALUE > 0);
             CREATE TYPE s.span{n} AS RANGE (subtype = numeric);
             CREATE FUNCTION s.twice{n}(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT 2 * $1';
             CREATE AGGREGATE s.total{n}(integer) (SFUNC = int4pl, STYPE = integer);
             CREATE FUNCTION s.number{n}(s.color{n}) RETURNS integer LANGUAGE sql AS 'SELECT 1';
             CREATE FUNCTION s.same{n}(s.color{n}, s.color{n}) RETURNS boolean LANGUAGE sql AS 'SELECT true';
             CREATE OPERATOR s.=== (LEFTARG = s.color{n}, RIGHTARG = s.color{n}, FUNCTION = s.same{n});
             CREATE SEQUENCE s.numbers{n};
             CREATE TABLE s.t{n} (id serial PRIMARY KEY, pair s.pair{n}, at date NOT NULL DEFAULT now(),
                                  value s.positive{n} CHECK (value < 1000),
                                  parent integer REFERENCES s.t{before}, who text COLLATE \"C\",
                                  twice integer GENERATED ALWAYS AS (s.twice{n}(id)) STORED);
             CREATE INDEX ON s.t{n} (who);
             CREATE INDEX ON s.t{n} (s.twice{n}(id)) WHERE who IS NOT NULL;
             CREATE STATISTICS s.stat{n} ON at, who FROM s.t{n};
             CREATE TABLE s.parts{n} (id integer, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE s.part{n} PARTITION OF s.parts{n} FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
             CREATE VIEW s.v{n} AS SELECT id, who FROM s.t{n};
             CREATE MATERIALIZED VIEW s.mv{n} AS SELECT count(*) FROM s.v{n};
             CREATE RULE quiet{n} AS ON DELETE TO s.v{n} DO INSTEAD NOTHING;
             CREATE TRIGGER touch{n} BEFORE UPDATE ON s.t{n}
                 FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
             CREATE POLICY own{n} ON s.t{n} USING (who = current_user);
             CREATE CAST (s.color{n} AS integer) WITH FUNCTION s.number{n}(s.color{n});
             CREATE TEXT SEARCH CONFIGURATION s.words{n} (COPY = simple);
             CREATE TEXT SEARCH DICTIONARY s.dictionary{n} (TEMPLATE = simple);
             CREATE FOREIGN DATA WRAPPER wrapper{n};
             CREATE SERVER server{n} FOREIGN DATA WRAPPER wrapper{n};
             CREATE USER MAPPING FOR public SERVER server{n};
             CREATE FOREIGN TABLE s.far{n} (id integer) SERVER server{n};
             CREATE PUBLICATION everything{n} FOR TABLE s.t{n} WHERE (id > 0), TABLES IN SCHEMA s;
             COMMENT ON TABLE s.t{n} IS 'table {n}';
             GRANT SELECT ON s.t{n} TO public;
             GRANT UPDATE (who) ON s.t{n} TO public;
             INSERT INTO s.t{n} (at, value) VALUES ('2026-01-01', 1);
             SELECT pg_catalog.lo_create({n});\n"
        )
        .unwrap();
    }
    sql
}

/// Returns the number of statements that the server logs during the dump of one database.
fn statements(server: &Server, database: &Database<'_>, options: &[&str]) -> usize {
    let count =
        |log: &str| log.matches(" LOG:  execute ").count() + log.matches(" LOG:  statement: ").count();
    let before = count(&server.log());
    run(pg_backup().args(["dump", "-d", &database.url()]).args(options)).expect_success();
    count(&server.log()) - before
}

#[test]
fn the_number_of_statements_does_not_grow_with_the_objects() {
    let server = Server::start_with(&["log_statement=all"]);
    let [few, many] = [3, 120].map(|count| {
        let database = server.database();
        database.load_bytes(script(count).as_bytes()).expect_success();
        database
    });
    for options in [&["-s"][..], &["-s", "--clean", "--if-exists", "--create"], &["-s", "-n", "s"]] {
        let options = [options, &["-j", "1"]].concat();
        let (of_few, of_many) = (statements(&server, &few, &options), statements(&server, &many, &options));
        assert!(of_few > 50, "the log was not read: {of_few} statements");
        assert_eq!(of_few, of_many, "with {options:?}");
    }

    // A dump reads the rows of many small tables with one statement.
    let tables = |database: &Database<'_>| {
        database.pg_dump(&["-a"]).split(|b| *b == b'\n').filter(|l| l.starts_with(b"COPY ")).count()
    };
    let of_data = |database: &Database<'_>| {
        statements(&server, database, &["-j", "1"]) - statements(&server, database, &["-s", "-j", "1"])
    };
    assert!(tables(&many) > 200, "{} tables", tables(&many));
    let more = of_data(&many) - of_data(&few);
    assert!(
        (1..=tables(&many) / 32 + 1).contains(&more),
        "{more} statements more for {} tables",
        tables(&many)
    );

    // A worker sends only the statements that open its session.
    let companion =
        statements(&server, &many, &["-s", "-j", "2"]) - statements(&server, &many, &["-s", "-j", "1"]);
    assert!((1..20).contains(&companion), "{companion} statements more with a worker");
}
