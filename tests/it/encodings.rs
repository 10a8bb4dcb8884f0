//! Databases in other encodings than UTF-8: names, texts and rows keep their bytes, in the database's
//! encoding and in a requested one.

use crate::harness::fidelity::compare_dumps;
use crate::harness::postgres::{Database, Server};

fn database<'a>(server: &'a Server, encoding: &str) -> Database<'a> {
    let name = format!("encoded_{}", encoding.to_lowercase());
    server.database().execute(&format!(
        "CREATE DATABASE {name} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
    ));
    server.existing(&name)
}

/// Loads names, texts, bodies and rows with the bytes E8 to FF, which are not valid UTF-8.
fn load_single_bytes(database: &Database<'_>, client_encoding: &str) {
    let script = "
SET client_encoding = 'ENCODING';
CREATE SCHEMA \"sch\u{e9}ma\";
CREATE TYPE \"sch\u{e9}ma\".\"\u{e9}num\" AS ENUM ('\u{e9}', '\u{e8}', 'plain');
CREATE TABLE \"sch\u{e9}ma\".\"t\u{e9}\" (
    \"c\u{f4}\" text DEFAULT 'd\u{e9}faut',
    e \"sch\u{e9}ma\".\"\u{e9}num\",
    CONSTRAINT \"\u{e7}a\" CHECK (\"c\u{f4}\" <> 'x\u{ff}')
);
INSERT INTO \"sch\u{e9}ma\".\"t\u{e9}\" VALUES ('caf\u{e9}', '\u{e9}'), (E'a\\\\b\\tc\\n\u{ff}', NULL), (NULL, 'plain');
CREATE INDEX \"i\u{e9}\" ON \"sch\u{e9}ma\".\"t\u{e9}\" (\"c\u{f4}\");
COMMENT ON TABLE \"sch\u{e9}ma\".\"t\u{e9}\" IS 'h\u{e9} ''there'' \\';
CREATE FUNCTION \"f\u{e9}\"(\"a\u{e8}\" text) RETURNS text LANGUAGE sql AS $$SELECT 'r\u{e9}sum\u{e9}' || $1$$;
CREATE VIEW \"v\u{e9}\" AS SELECT \"c\u{f4}\" AS \"al\u{ee}as\" FROM \"sch\u{e9}ma\".\"t\u{e9}\";
"
    .replace("ENCODING", client_encoding);
    // Each of these characters is one byte in LATIN1.
    let bytes: Vec<u8> = script.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    database.load_bytes(&bytes).expect_success();
}

fn compare(database: &Database<'_>, options: &[&[&str]]) {
    for (number, options) in options.iter().enumerate() {
        compare_dumps(database, options, &format!("{}-{number}", database.name()));
    }
}

#[test]
fn latin1() {
    let server = Server::start();
    let database = database(&server, "LATIN1");
    load_single_bytes(&database, "LATIN1");
    let in_table: &[&str] = &["-E", "UTF8", "-t", "*.té"];
    compare(
        &database,
        &[&[], &["-E", "UTF8"], &["--inserts"], &["--column-inserts", "-E", "LATIN1"], in_table],
    );
}

#[test]
fn bytes_of_no_encoding() {
    let server = Server::start();
    let database = database(&server, "SQL_ASCII");
    load_single_bytes(&database, "SQL_ASCII");
    compare(&database, &[&[], &["--inserts"], &["-E", "LATIN1"]]);
}

#[test]
fn characters_of_several_bytes() {
    let server = Server::start();
    let database = database(&server, "EUC_JP");
    let script = "
SET client_encoding = 'UTF8';
CREATE TABLE \"日本\" (\"列\" text);
INSERT INTO \"日本\" VALUES ('漢字'), ('ソ'), ('表\\');
COMMENT ON TABLE \"日本\" IS '説明 ソ';
CREATE FUNCTION \"関数\"() RETURNS text LANGUAGE sql AS $$SELECT '表示'$$;
";
    database.load_bytes(script.as_bytes()).expect_success();
    // In SJIS the second byte of some characters is a backslash.
    compare(&database, &[&[], &["-E", "UTF8", "-t", "日*"], &["-E", "SJIS"], &["-E", "SJIS", "--inserts"]]);
}

/// Without standard_conforming_strings a backslash is doubled, unless it is the second byte of a character.
#[test]
fn backslashes_in_characters_of_several_bytes() {
    let server = Server::start();
    let database = server.database();
    // The second byte of ソ and 表 is a backslash in SJIS, that of 功 and 許 in BIG5, of 乗 in GBK.
    let script = "
CREATE TABLE t (a text DEFAULT '許');
INSERT INTO t VALUES ('ソ\\表''\\'), ('\\');
COMMENT ON TABLE t IS 'ソ''\\表';
CREATE TABLE big (a text);
INSERT INTO big VALUES ('功\\許''');
COMMENT ON TABLE big IS '許\\功';
CREATE TABLE gb (a text);
INSERT INTO gb VALUES ('乗\\乗');
";
    database.load_bytes(script.as_bytes()).expect_success();
    server
        .existing("postgres")
        .execute(&format!("ALTER DATABASE {} SET standard_conforming_strings = off", database.name()));
    let sjis: &[&str] = &["-E", "SJIS", "--inserts", "-t", "t"];
    let shift_jis: &[&str] = &["-E", "SHIFT_JIS_2004", "--column-inserts", "-t", "t"];
    let big5: &[&str] = &["-E", "BIG5", "--inserts", "-t", "big"];
    let gbk: &[&str] = &["-E", "GBK", "--inserts", "-t", "big", "-t", "gb"];
    let gb18030: &[&str] = &["-E", "GB18030", "--inserts", "-t", "big", "-t", "gb"];
    compare(&database, &[&["--inserts"], sjis, shift_jis, big5, gbk, gb18030, &["-E", "SJIS", "-t", "t"]]);
}

/// Characters that the program itself reserves for internal use.
#[test]
fn private_characters() {
    let server = Server::start();
    let database = server.database();
    let script = "
CREATE TABLE \"\u{10ff41}\u{10fffd}\" (\"\u{10ff00}\" text DEFAULT '\u{10ffff}');
INSERT INTO \"\u{10ff41}\u{10fffd}\" VALUES ('\u{10ff80}');
COMMENT ON TABLE \"\u{10ff41}\u{10fffd}\" IS '\u{10fefe}\u{10ff09}';
";
    database.load_bytes(script.as_bytes()).expect_success();
    compare(&database, &[&[], &["--inserts"]]);
}
