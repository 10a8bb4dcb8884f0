//! One test for each file of `tests/fixtures/*.sql` and each major: pg-backup writes the same dump as the pg_dump
//! of that major.
//!
//! A file without a line in the list below fails [`every_fixture_has_a_test`].

use std::collections::BTreeSet;

use crate::harness::fixtures::{name, scripts};

/// Calls a macro with the names of all fixtures.
macro_rules! with_fixtures {
    ($macro:ident $($arguments:tt)*) => {
        // In alphabetical order, one per line.
        $macro! { $($arguments)*
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
    };
}

macro_rules! tests {
    ($major:literal $($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::harness::fidelity::fidelity(
                    $major,
                    &$crate::harness::fixtures::directory().join(concat!(stringify!($name), ".sql")),
                );
            }
        )*
    };
}

macro_rules! names {
    ($($name:ident)*) => { &[$(stringify!($name)),*] };
}

mod postgres_15 {
    with_fixtures!(tests 15);
}

mod postgres_16 {
    with_fixtures!(tests 16);
}

mod postgres_17 {
    with_fixtures!(tests 17);
}

const TESTED: &[&str] = with_fixtures!(names);

#[test]
fn every_fixture_has_a_test() {
    let files: BTreeSet<String> = scripts().iter().map(|path| name(path)).collect();
    let tested: BTreeSet<String> = TESTED.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(
        files, tested,
        "tests/fixtures/*.sql on the left, the list of tests/it/fixtures.rs on the right"
    );
}
