//! Databases whose script would be too large for a file: many columns, many partitions, large fields.

use crate::harness::fidelity::{compare_round_trip, with_script};

#[test]
fn a_table_of_1600_columns() {
    let columns: Vec<String> = (1..=1600)
        .map(|n| match n % 4 {
            0 => format!("c{n} boolean DEFAULT true NOT NULL"),
            1 => format!("\"C {n}\" smallint"),
            2 => format!("c{n} text"),
            _ => format!("c{n} smallint DEFAULT {n}"),
        })
        .collect();
    let script = format!(
        "CREATE TABLE wide ({});\nINSERT INTO wide (c2, \"C 5\") VALUES ('first', 1), (NULL, NULL);\n\
         COMMENT ON COLUMN wide.c1600 IS 'the last that fits';\n",
        columns.join(", ")
    );
    with_script("columns-1600", script.as_bytes(), compare_round_trip);
}

#[test]
fn a_table_of_1000_partitions() {
    let mut script = "CREATE TABLE measure (at integer NOT NULL, value text, PRIMARY KEY (at)) \
                      PARTITION BY RANGE (at);\nCREATE INDEX ON measure (value);\n"
        .to_owned();
    for n in 0..1000 {
        let (from, to) = (n * 10, n * 10 + 10);
        script +=
            &format!("CREATE TABLE measure_{n} PARTITION OF measure FOR VALUES FROM ({from}) TO ({to});\n");
    }
    script += "INSERT INTO measure SELECT n, 'value ' || n FROM generate_series(0, 9999, 5) n;\n";
    with_script("partitions-1000", script.as_bytes(), compare_round_trip);
}

#[test]
fn fields_of_64_mb() {
    // Every pattern of bytes that COPY's text format must escape, in one row that is much larger than any
    // buffer.
    let script = "
        CREATE TABLE big (id integer, text_field text, bytes_field bytea);
        INSERT INTO big VALUES (1, repeat(E'tab\\t newline\\n backslash\\\\ dot\\n\\\\.\\n', 64 * 1024 * 1024 / 33), NULL);
        INSERT INTO big VALUES (2, NULL, decode(repeat('00ff5c0a', 16 * 1024 * 1024), 'hex'));
        INSERT INTO big VALUES (3, 'after the big ones', '');
    ";
    with_script("fields-64mb", script.as_bytes(), compare_round_trip);
}

#[test]
fn a_nul_is_refused_by_the_server_and_its_look_alikes_survive() {
    let script = r#"
        CREATE TABLE nul (id integer, b bytea, j json, t text);
        INSERT INTO nul VALUES (1, '\x00', '"\u0000"', E'\\x00 \\000 \\u0000');
    "#;
    with_script("nul", script.as_bytes(), |server, database, name| {
        for value in ["chr(0)", r"E'\x00'", r"E'\000'", r#"'"\u0000"'::jsonb::text"#] {
            let insert = format!("INSERT INTO nul (t) VALUES ({value});");
            let output = database.load_bytes(insert.as_bytes());
            assert!(!output.status.success(), "the server took {value}\n{output}");
        }
        compare_round_trip(server, database, name);
    });
}

#[test]
fn a_given_restrict_key_is_written_as_it_is() {
    with_script("restrict-key", b"CREATE TABLE t (id integer);", |_, database, name| {
        let dumps =
            crate::harness::fidelity::compare_dumps(database, &["--restrict-key=Key1234567890"], name);
        let text = String::from_utf8(dumps.ours).unwrap();
        assert!(text.contains("\n\\restrict Key1234567890\n"), "{text}");
        assert!(text.contains("\n\\unrestrict Key1234567890\n"), "{text}");
    });
}
