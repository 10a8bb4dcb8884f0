//! The standard error of a successful dump is the same as pg_dump's.

use crate::harness::fidelity::{compare_dumps, in_our_words, with_script};
use crate::harness::postgres::Server;
use crate::harness::program::{pg_backup, run};

/// Compares both dumps and both standard errors, which must not be empty.
fn compare_warnings(name: &str, script: &str, options: &[&str], words: &[&str]) {
    with_script(name, script.as_bytes(), |_, database, name| {
        compare_dumps(database, options, name);
        let said = database.run_pg_dump(options).expect_success().stderr;
        for words in words {
            assert!(said.contains(words), "{name}: pg_dump does not say {words:?}:\n{said}");
        }
    });
}

#[test]
fn rows_of_tables_that_refer_to_each_other_are_warned_of() {
    let tables = "
CREATE TABLE one (a int PRIMARY KEY, b int);
CREATE TABLE two (a int PRIMARY KEY, b int REFERENCES one);
ALTER TABLE one ADD FOREIGN KEY (b) REFERENCES two;
CREATE TABLE \"Self\" (a int PRIMARY KEY, b int REFERENCES \"Self\");
";
    let words = ["constraints on this table:\n", "constraints among these tables:\n", "\npg_dump: hint: "];
    compare_warnings("circular", tables, &["-a"], &words);
    compare_warnings("circular", tables, &["-a", "--disable-triggers"], &words);
}

#[test]
fn a_loop_that_no_rule_repairs_is_told_with_its_members() {
    let functions = "
CREATE FUNCTION one() RETURNS int LANGUAGE sql RETURN 1;
CREATE FUNCTION two() RETURNS int LANGUAGE sql RETURN one();
CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql RETURN two();
";
    compare_warnings("loop", functions, &[], &["could not resolve dependency loop among these items:"]);
}

#[test]
fn entries_after_a_later_section_and_ids_behind_array_types_are_reported_as_in_pg_dump() {
    let rows_of_a_view_that_waits = "
CREATE TYPE mood AS ENUM ('sad');
CREATE DOMAIN level AS integer;
CREATE TABLE keyed (id integer PRIMARY KEY, note text);
CREATE MATERIALIZED VIEW grouped AS SELECT k.id, k.note FROM keyed k GROUP BY k.id;
CREATE TABLE rows_of (held grouped, of grouped[]);
";
    let words = ["DUMMY TYPE grouped", "archive items not in correct section order"];
    compare_warnings("sections", rows_of_a_view_that_waits, &[], &words);
    compare_warnings("sections", rows_of_a_view_that_waits, &["-s"], &["not in correct section order"]);
}

#[test]
fn subscriptions_that_may_not_be_read_are_warned_of() {
    let script = "
CREATE ROLE plain;
CREATE SUBSCRIPTION s CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false);
";
    let words = ["subscriptions not dumped because current user is not a superuser"];
    compare_warnings("subscription", script, &["--role=plain"], &words);
}

/// Invalid catalogs, which only a superuser can create by hand.
const BOGUS: &str = "
CREATE TYPE composite AS (a int);
CREATE FUNCTION f(composite) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION g(internal) RETURNS internal LANGUAGE internal AS 'int4recv';
CREATE CAST (composite AS int) WITH FUNCTION f(composite);
CREATE CAST (composite AS text) WITH INOUT;
CREATE TRANSFORM FOR int LANGUAGE plpgsql (FROM SQL WITH FUNCTION prsd_lextype(internal));
CREATE FUNCTION less(composite, composite) RETURNS bool LANGUAGE sql AS 'SELECT true';
CREATE OPERATOR <<<< (FUNCTION = less, LEFTARG = composite, RIGHTARG = composite);
CREATE ACCESS METHOD am TYPE INDEX HANDLER bthandler;
CREATE COLLATION libc (locale = 'C');
CREATE COLLATION icu (provider = icu, locale = 'de');
CREATE DOMAIN pseudo AS int;

UPDATE pg_cast SET castfunc = 0 WHERE castsource = 'composite'::regtype AND castmethod = 'f';
UPDATE pg_cast SET castmethod = 'x' WHERE castsource = 'composite'::regtype AND castmethod = 'i';
UPDATE pg_transform SET trffromsql = 0 WHERE oid >= 16384;
UPDATE pg_operator SET oprcom = 99999, oprnegate = 99998 WHERE oprname = '<<<<';
UPDATE pg_am SET amtype = 'x' WHERE amname = 'am';
UPDATE pg_collation SET colliculocale = 'de' WHERE collname = 'libc';
UPDATE pg_collation SET collcollate = 'C' WHERE collname = 'icu';
UPDATE pg_type SET typtype = 'p' WHERE typname = 'pseudo';
INSERT INTO pg_init_privs VALUES
    ('f'::regproc, 'pg_proc'::regclass, 1, 'e', '{}'),
    ((SELECT oid FROM pg_am WHERE amname = 'am'), 'pg_am'::regclass, 0, 'e', '{}');
INSERT INTO pg_depend VALUES ('pg_proc'::regclass, 'f'::regproc, 0, 'pg_extension'::regclass, 99997, 0, 'e');
";

#[test]
fn inconsistent_catalogs_are_reported() {
    let words = [
        "could not find referenced extension 99997",
        "unsupported pg_init_privs entry: 1255 ",
        "unsupported pg_init_privs entry: 2601 ",
        "typtype of data type \"pseudo\" appears to be invalid",
        "bogus value in pg_cast.castfunc or pg_cast.castmethod field",
        "bogus value in pg_cast.castmethod field",
        "bogus transform definition, at least one of trffromsql and trftosql should be nonzero",
        "could not find operator with OID 99999",
        "could not find operator with OID 99998",
        "invalid type \"x\" of access method \"am\"",
        "invalid collation \"libc\"",
        "invalid collation \"icu\"",
    ];
    compare_warnings("bogus", BOGUS, &[], &words);
}

/// One object of each kind that the changes below need.
const SANE: &str = "
CREATE TYPE e AS ENUM ('a');
CREATE FUNCTION f(e) RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE CAST (e AS int) WITH FUNCTION f(e);
CREATE COLLATION c (locale = 'C');
CREATE TABLE t (a int CHECK (a > 0));
CREATE POLICY p ON t;
CREATE TABLE parent (a int);
CREATE TABLE child () INHERITS (parent);
";

#[test]
fn catalogs_that_cannot_be_dumped_are_refused_in_pg_dumps_words() {
    let server = Server::start();
    for (change, words) in [
        ("UPDATE pg_policy SET polcmd = 'x'", "unexpected policy command type: x"),
        (
            "UPDATE pg_collation SET collprovider = 'x' WHERE oid >= 16384",
            "unrecognized collation provider: x",
        ),
        ("UPDATE pg_cast SET castfunc = 99999 WHERE oid >= 16384", "could not find function definition"),
        ("UPDATE pg_proc SET provolatile = 'x' WHERE proname = 'f'", "unrecognized provolatile value"),
        ("UPDATE pg_proc SET proparallel = 'x' WHERE proname = 'f'", "unrecognized proparallel value"),
        ("UPDATE pg_class SET relchecks = 2 WHERE relname = 't'", "expected 2 check constraints on table"),
        ("DELETE FROM pg_class WHERE relname = 'parent'", "failed sanity check, parent OID"),
        ("UPDATE pg_class SET relowner = 99999 WHERE relname = 't'", "role with OID 99999 does not exist"),
        ("UPDATE pg_class SET relnamespace = 99999 WHERE relname = 't'", "schema with OID 99999"),
    ] {
        let database = server.database();
        database.load_bytes(SANE.as_bytes()).expect_success();
        database.execute(change);
        let theirs = database.run_pg_dump(&[]).expect_code(1);
        assert!(theirs.stderr.contains(words), "{change}: pg_dump says\n{}", theirs.stderr);
        let ours = run(pg_backup().args(["dump", "-d", &database.url()])).expect_code(1);
        // The hint of an error has the format of all our errors.
        let theirs = in_our_words(&theirs.stderr).replace("pg-backup: hint: ", "HINT: ");
        assert_eq!(ours.stderr, theirs, "{change}");
    }
}

#[test]
fn an_unknown_code_that_pg_dump_does_not_check_is_refused_by_name() {
    let server = Server::start();
    for (change, words) in [
        ("UPDATE pg_class SET relreplident = 'x' WHERE relname = 't'", "relreplident value \"x\" of \"t\""),
        ("UPDATE pg_attribute SET attstorage = 'y' WHERE attname = 'a'", "value \"y\" of \"a\""),
        (
            "UPDATE pg_cast SET castcontext = 'x' WHERE oid >= 16384",
            "unrecognized castcontext value \"x\" of OID ",
        ),
    ] {
        let database = server.database();
        database.load_bytes(SANE.as_bytes()).expect_success();
        database.execute(change);
        let ours = run(pg_backup().args(["dump", "-d", &database.url()])).expect_code(1);
        assert!(ours.stderr.contains(words), "{change}\n{}", ours.stderr);
        assert!(ours.stderr.contains("HINT: use a newer pg-backup"), "{}", ours.stderr);
        assert!(ours.stdout.is_empty(), "{change}: something was written");
    }
}
