//! Every extension of the distribution's PostgreSQL, with objects that use it: members are left to their
//! extension, and objects that use them are dumped after it.

use crate::harness::fidelity::{compare_dumps, compare_round_trip};
use crate::harness::postgres::Server;

const OPTIONS: &[&[&str]] =
    &[&["-s", "-c", "--if-exists"], &["-s", "-e", "hstore"], &["-s", "--no-comments", "-x"], &["--inserts"]];

#[test]
fn every_extension_is_dumped_as_pg_dump_does() {
    let server = Server::start();
    let database = server.database();
    let names = database.query("SELECT name FROM pg_available_extensions ORDER BY name");
    assert!(names.lines().count() > 40, "postgresql-contrib is not installed: only\n{names}");
    for name in names.lines() {
        database.execute(&format!("CREATE EXTENSION IF NOT EXISTS \"{name}\" CASCADE"));
    }
    let loaded = database.load_bytes(USES.as_bytes());
    assert!(loaded.status.success(), "{loaded}");
    for options in OPTIONS {
        compare_dumps(&database, options, "contrib");
    }
    compare_round_trip(&server, &database, "contrib");
}

const USES: &str = r#"
CREATE TABLE types (
    id integer PRIMARY KEY,
    c citext UNIQUE DEFAULT 'Mixed',
    h hstore DEFAULT 'a=>1',
    l ltree,
    q lquery,
    cu cube,
    s seg,
    i isbn13,
    o lo,
    a integer[],
    e earth
);
INSERT INTO types VALUES (1, 'Été', 'k=>"v w", n=>NULL', 'Top.Science', '*.Sci*', '(1,2),(3,4)', '1.5 .. 2',
                          '978-0-306-40615-7', NULL, '{1,2}', NULL);
CREATE INDEX types_trgm ON types USING gin ((c::text) gin_trgm_ops);
CREATE INDEX types_hstore ON types USING gist (h gist_hstore_ops (siglen = 32));
CREATE INDEX types_ltree ON types USING gist (l gist_ltree_ops (siglen = 100));
CREATE INDEX types_array ON types USING gin (a gin__int_ops);
CREATE INDEX types_bloom ON types USING bloom (id) WITH (length = 80, col1 = 2);
CREATE INDEX types_btree_gin ON types USING gin (id, h);
CREATE TABLE rooms (room integer, during tsrange, EXCLUDE USING gist (room WITH =, during WITH &&));
CREATE TABLE stamped (id integer, by text, at timestamp);
CREATE TRIGGER stamp BEFORE UPDATE ON stamped FOR EACH ROW EXECUTE FUNCTION moddatetime (at);
CREATE TRIGGER author BEFORE INSERT ON stamped FOR EACH ROW EXECUTE FUNCTION insert_username (by);
CREATE TRIGGER notify AFTER INSERT ON types FOR EACH ROW EXECUTE FUNCTION triggered_change_notification();
CREATE TRIGGER manage BEFORE DELETE ON types FOR EACH ROW EXECUTE FUNCTION lo_manage (o);
CREATE VIEW similar_names AS SELECT a.c, similarity(a.c, b.c), a.c <-> b.c::text AS distance FROM types a, types b;
CREATE VIEW pivot AS SELECT * FROM crosstab('SELECT 1, 2, 3') AS ct (row_name integer, first integer);
CREATE MATERIALIZED VIEW hashed AS SELECT encode(digest(c::text, 'sha256'), 'hex') AS sum FROM types;
CREATE FUNCTION keys(h hstore) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$ SELECT akeys(h) $$;
CREATE DOMAIN email AS citext CHECK (VALUE ~ '@');
CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
CREATE FOREIGN TABLE file_rows (line text) SERVER files OPTIONS (filename '/dev/null');
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', dbname 'x');
CREATE USER MAPPING FOR postgres SERVER elsewhere OPTIONS (user 'u', password 'p');
CREATE FOREIGN TABLE far (id integer OPTIONS (column_name 'ID') NOT NULL, c citext) SERVER elsewhere OPTIONS (table_name 't');
CREATE TEXT SEARCH DICTIONARY short_numbers (TEMPLATE = intdict_template, maxlen = 4);
CREATE TEXT SEARCH CONFIGURATION plain (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION plain ALTER MAPPING FOR hword, word WITH unaccent, simple;
GRANT EXECUTE ON FUNCTION pg_stat_statements_reset(oid, oid, bigint) TO PUBLIC;
REVOKE SELECT ON pg_stat_statements FROM PUBLIC;
ALTER FUNCTION keys(hstore) DEPENDS ON EXTENSION hstore;
"#;
