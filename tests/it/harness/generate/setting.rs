//! The database itself: its settings, privileges and comment, the namespace public, large objects.

use super::model::Generator;

pub fn large_object(g: &mut Generator) {
    g.row += 1;
    let oid = 40_000 + g.row;
    let bytes = g.pick(&["", "00", "0aff5c27", "deadbeef00"]);
    let times = g.pick(&["1", "3", "1000", "5000"]);
    g.run(format!("SELECT pg_catalog.lo_from_bytea({oid}, decode(repeat('{bytes}', {times}), 'hex'))"));
    g.add_object("LARGE OBJECT", oid.to_string());
}

/// Settings that apply to every later connection to the database, including the dump's.
const SETTINGS: &[&str] = &[
    "work_mem TO '64MB'",
    "search_path TO \"$user\", public, \"Odd \"\"path\"\"\"",
    "DateStyle TO 'German'",
    "IntervalStyle TO 'iso_8601'",
    "extra_float_digits TO 0",
    "bytea_output TO 'escape'",
    "TimeZone TO 'Asia/Kathmandu'",
    "standard_conforming_strings TO off",
    "quote_all_identifiers TO on",
    "xmlbinary TO 'hex'",
    "default_toast_compression TO 'lz4'",
    "\"fuzz.custom\" TO 'it''s \\ back'",
    "default_transaction_isolation TO 'serializable'",
    "default_transaction_read_only TO on",
    "synchronize_seqscans TO on",
    "row_security TO off",
    "client_min_messages TO 'error'",
    "lc_monetary TO 'C'",
    "array_nulls TO off",
    "temp_tablespaces TO 'space'",
];

pub fn database(g: &mut Generator) {
    let me = ":\"DBNAME\"";
    let role = g.role();
    let setting = g.pick(SETTINGS);
    let statement = match g.below(8) {
        0 => format!("COMMENT ON DATABASE {me} IS 'it''s the\ndatabase'"),
        1 => format!("GRANT CREATE ON DATABASE {me} TO {role} WITH GRANT OPTION"),
        2 => format!("REVOKE TEMPORARY ON DATABASE {me} FROM PUBLIC"),
        3 => format!("ALTER DATABASE {me} OWNER TO {role}"),
        4 => format!("ALTER DATABASE {me} CONNECTION LIMIT 42"),
        5 => format!("ALTER ROLE {role} IN DATABASE {me} SET {setting}"),
        _ => format!("ALTER DATABASE {me} SET {setting}"),
    };
    g.run(statement);
}

pub fn public(g: &mut Generator) {
    let role = g.role();
    let statement = match g.below(5) {
        0 => "COMMENT ON SCHEMA public IS NULL".to_owned(),
        1 => "COMMENT ON SCHEMA public IS 'it''s public'".to_owned(),
        2 => format!("ALTER SCHEMA public OWNER TO {role}"),
        3 => "REVOKE ALL ON SCHEMA public FROM PUBLIC".to_owned(),
        _ => format!("GRANT CREATE ON SCHEMA public TO {role}"),
    };
    g.run(statement);
}
