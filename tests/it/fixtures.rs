//! One test for each file of `tests/fixtures/*.sql`: pg-backup writes the same dump as pg_dump.
//!
//! A file without a line in the list below fails [`every_fixture_has_a_test`].

use std::collections::BTreeSet;

use crate::harness::fidelity::fidelity;
use crate::harness::fixtures::{directory, name, scripts};

macro_rules! fixtures {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                fidelity(&directory().join(concat!(stringify!($name), ".sql")));
            }
        )*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

// In alphabetical order, one per line.
fixtures! {
    access_method
    acl
    aggregate
    awkward_names
    base_type
    cast
    collation
    comment
    composite
    constraint
    conversion
    data_edge_values
    database_settings
    default_acl
    domain
    empty
    enum_type
    event_trigger
    extension
    foreign_data
    foreign_table
    function
    generated
    identity
    index
    inheritance
    language
    large_object
    materialized_view
    namespace
    namespace_public
    namespace_public_bare
    namespace_public_dropped
    operator
    operator_class
    partition
    partitioned_index
    policy
    procedure
    publication
    quoting_server
    range
    rule
    sequence
    statistics
    subscription
    table
    table_storage
    text_search
    transform
    trigger
    type_loops
    view
    view_loops
}

#[test]
fn every_fixture_has_a_test() {
    let files: BTreeSet<String> = scripts().iter().map(|path| name(path)).collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        files, tested,
        "tests/fixtures/*.sql on the left, the list of tests/it/fixtures.rs on the right"
    );
}
