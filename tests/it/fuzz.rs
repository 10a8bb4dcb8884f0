//! Generated databases: random mixtures of all kinds with random dependencies, each compared with pg_dump and
//! restored. `make fuzz-schema` does the same until it is stopped.

use std::collections::BTreeSet;

use crate::harness::fuzz::{Seen, compare, server};
use crate::harness::generate::{first_seed, script};
use crate::harness::installation::MAJORS;

/// The number of databases of one test, on one server.
const DATABASES: u64 = 25;

macro_rules! batches {
    ($($name:ident $number:literal)*) => {
        $(
            #[test]
            fn $name() {
                batch($number);
            }
        )*
    };
}

batches! {
    batch_of_generated_databases_0 0
    batch_of_generated_databases_1 1
    batch_of_generated_databases_2 2
    batch_of_generated_databases_3 3
    batch_of_generated_databases_4 4
    batch_of_generated_databases_5 5
    batch_of_generated_databases_6 6
    batch_of_generated_databases_7 7
}

fn batch(number: u64) {
    let base = first_seed();
    // The batches are spread over the majors.
    let server = server(MAJORS[number as usize % MAJORS.len()]);
    let first = base + number * DATABASES;
    let seen: Vec<Seen> = (first..first + DATABASES)
        .map(|seed| compare(&server, &script(seed)).unwrap_or_else(|difference| panic!("{difference}")))
        .inspect(|seen| println!("{seen}"))
        .collect();
    assert_sound(&seen);
}

/// Checks that the generator is still useful: nearly all statements succeed, nearly all dumps can be
/// restored, and every kind has appeared.
fn assert_sound(seen: &[Seen]) {
    let sum = |of: fn(&Seen) -> usize| seen.iter().map(of).sum::<usize>();
    let (statements, refused) = (sum(|seen| seen.statements), sum(|seen| seen.refused));
    let complaints: Vec<&str> = seen.iter().map(|seen| seen.complaints.as_str()).collect();
    assert!(refused * 10 <= statements, "{refused} of {statements} refused:\n{}", complaints.join("\n"));
    let whole = seen.iter().filter(|seen| !seen.is_excused);
    let broken: Vec<String> =
        whole.filter_map(|seen| Some(format!("seed {}: {}", seen.seed, seen.broken.as_ref()?))).collect();
    assert!(broken.len() * 10 <= seen.len(), "not restored:\n{}", broken.join("\n"));
    let kinds: BTreeSet<&str> = seen.iter().flat_map(|seen| seen.kinds.iter().map(String::as_str)).collect();
    // The entries of large objects have other kinds since 17.
    let appeared = |kind: &str| kinds.contains(kind) || (kind == "BLOB" && kinds.contains("BLOB METADATA"));
    let missing: Vec<&&str> = KINDS.iter().filter(|kind| !appeared(kind)).collect();
    assert!(missing.is_empty(), "no database had any of {missing:?}");
}

/// Every kind of entry in a dump without options, except those of DATABASE, which `--create` writes.
const KINDS: &[&str] = &[
    "ACCESS METHOD",
    "ACL",
    "AGGREGATE",
    "BLOB",
    "BLOBS",
    "CAST",
    "CHECK CONSTRAINT",
    "COLLATION",
    "COMMENT",
    "CONSTRAINT",
    "CONVERSION",
    "DEFAULT",
    "DEFAULT ACL",
    "DOMAIN",
    "EVENT TRIGGER",
    "EXTENSION",
    "FK CONSTRAINT",
    "FOREIGN DATA WRAPPER",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "INDEX ATTACH",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "OPERATOR",
    "OPERATOR CLASS",
    "OPERATOR FAMILY",
    "POLICY",
    "PROCEDURAL LANGUAGE",
    "PROCEDURE",
    "PUBLICATION",
    "PUBLICATION TABLE",
    "PUBLICATION TABLES IN SCHEMA",
    "ROW SECURITY",
    "RULE",
    "SCHEMA",
    "SECURITY LABEL",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SERVER",
    "SHELL TYPE",
    "STATISTICS",
    "SUBSCRIPTION",
    "TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER",
    "TEXT SEARCH TEMPLATE",
    "TRANSFORM",
    "TRIGGER",
    "TYPE",
    "USER MAPPING",
    "VIEW",
];

/// The results for a database with every kind of entry, and with this percentage of rejected statements.
fn seen(refused: usize, broken: Option<&str>) -> Seen {
    Seen {
        seed: 1,
        statements: 100,
        refused,
        lines: 1,
        options: String::new(),
        broken: broken.map(str::to_owned),
        is_excused: false,
        kinds: KINDS.iter().map(|kind| (*kind).to_owned()).collect(),
        complaints: String::new(),
    }
}

#[test]
fn a_generator_that_rots_is_noticed() {
    let fails = |seen: Seen| std::panic::catch_unwind(move || assert_sound(&[seen])).is_err();
    assert!(!fails(seen(10, None)));
    assert!(fails(seen(11, None)), "more than a tenth was refused");
    assert!(fails(seen(0, Some("ERROR"))), "the dump cannot be restored");
    assert!(!fails(Seen { is_excused: true, ..seen(0, Some("ERROR")) }));
    assert!(fails(Seen { kinds: BTreeSet::new(), ..seen(0, None) }), "no kind has appeared");
}
