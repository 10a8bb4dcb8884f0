//! The order of a dump, which is part of its interface: by kind, then by name, then topologically, with every
//! dependency loop repaired by a named rule. No other file sorts objects.
//!
//! The order is pg_dump's (`src/bin/pg_dump/pg_dump_sort.c` describes it). Equal databases give equal dumps,
//! because each kind's natural key breaks ties, and OIDs only break the ties that remain.

mod compare;
mod loops;

use std::collections::BinaryHeap;

use super::object::{Catalog, DumpId};
use super::warning::Warning;

/// Sorts all objects so that each comes after its dependencies, and repairs loops. The repair changes
/// dependencies and the flags that split an object. Returns the ids of all objects in dump order, and a
/// warning for each loop that no rule repairs.
pub fn sort(catalog: &mut Catalog) -> Sorted {
    let mut by_name: Vec<DumpId> = catalog.iter().map(|o| o.id).collect();
    by_name.sort_by(|a, b| compare::by_kind_and_name(catalog, *a, *b));
    let mut warnings = Vec::new();
    loop {
        match topological(catalog, &by_name) {
            Ok(order) => return Sorted { order, warnings },
            Err(stuck) => warnings.extend(loops::repair(catalog, &stuck)),
        }
    }
}

/// The result of [`sort`].
#[derive(Debug)]
pub struct Sorted {
    /// The ids in dump order.
    pub order: Vec<DumpId>,
    /// Warnings for the user.
    pub warnings: Vec<Warning>,
}

/// Sorts so that dependencies come first, with as few changes to the given order as possible: of all objects
/// that could come last, the one that is last in the given order does. Fails with the objects that are on
/// loops or between loops, in the order of their ids.
fn topological(catalog: &Catalog, given: &[DumpId]) -> Result<Vec<DumpId>, Vec<DumpId>> {
    let slot = |id: DumpId| id.get() as usize;
    let mut position = vec![0; given.len() + 1];
    let mut dependents = vec![0_u32; given.len() + 1];
    for (at, id) in given.iter().enumerate() {
        position[slot(*id)] = at;
        for dependency in &catalog[*id].dependencies {
            dependents[slot(*dependency)] += 1;
        }
    }
    let mut ready: BinaryHeap<usize> =
        given.iter().enumerate().filter(|(_, id)| dependents[slot(**id)] == 0).map(|(at, _)| at).collect();
    let mut order = Vec::with_capacity(given.len());
    while let Some(at) = ready.pop() {
        order.push(given[at]);
        for dependency in &catalog[given[at]].dependencies {
            let left = &mut dependents[slot(*dependency)];
            *left -= 1;
            if *left == 0 {
                ready.push(position[slot(*dependency)]);
            }
        }
    }
    if order.len() == given.len() {
        order.reverse();
        return Ok(order);
    }
    let mut stuck: Vec<DumpId> = given.iter().copied().filter(|id| dependents[slot(*id)] != 0).collect();
    stuck.sort_unstable();
    Err(stuck)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sql::kind::function::Function;
    use crate::sql::kind::namespace::Namespace;
    use crate::sql::kind::table::{RelationKind, Table};
    use crate::sql::object::{CatalogId, Detail, class};

    /// Builds catalogs for tests of the order.
    #[derive(Default)]
    pub(in crate::sql) struct Builder {
        pub(in crate::sql) catalog: Catalog,
        last_oid: u32,
    }

    impl Builder {
        pub(in crate::sql) fn add(&mut self, class: u32, name: &str, detail: Detail) -> DumpId {
            self.last_oid += 1;
            self.catalog.add(CatalogId::new(class, 16384 + self.last_oid), name.to_owned(), None, detail)
        }

        pub(in crate::sql) fn table(&mut self, name: &str, kind: RelationKind) -> DumpId {
            self.add(class::PG_CLASS, name, Detail::Table(Box::new(Table { kind, ..Table::default() })))
        }

        pub(in crate::sql) fn depend(&mut self, from: DumpId, to: DumpId) {
            self.catalog[from].depend_on(to);
        }

        fn names(&mut self) -> Vec<String> {
            let sorted = sort(&mut self.catalog);
            assert_eq!(sorted.warnings, []);
            sorted.order.iter().map(|id| self.catalog[*id].name.clone()).collect()
        }
    }

    fn function(arguments: &[u32]) -> Detail {
        let mut function = Function::default();
        function.argument_types = arguments.to_vec();
        Detail::Function(function)
    }

    #[test]
    fn kinds_come_in_their_order_and_names_within() {
        let mut b = Builder::default();
        b.table("b", RelationKind::Table);
        b.add(class::PG_PROC, "z", function(&[]));
        b.table("a", RelationKind::Table);
        b.add(class::PG_NAMESPACE, "zz", Detail::Namespace(Namespace::default()));
        assert_eq!(b.names(), ["zz", "z", "a", "b"]);
    }

    #[test]
    fn names_compare_as_bytes_and_those_in_namespaces_come_first() {
        let mut b = Builder::default();
        let namespace = b.add(class::PG_NAMESPACE, "s", Detail::Namespace(Namespace::default()));
        for name in ["é", "a", "B"] {
            let table = b.table(name, RelationKind::Table);
            b.catalog[table].namespace = Some(namespace);
        }
        b.table("A", RelationKind::Table);
        assert_eq!(b.names(), ["s", "B", "a", "é", "A"]);
    }

    #[test]
    fn functions_of_one_name_are_told_apart_by_their_arguments() {
        let mut b = Builder::default();
        let long = b.add(class::PG_PROC, "f", function(&[23, 23]));
        let short = b.add(class::PG_PROC, "f", function(&[25]));
        assert_eq!(sort(&mut b.catalog).order, [short, long]);
    }

    #[test]
    fn dependencies_disturb_the_order_as_little_as_they_can() {
        let mut b = Builder::default();
        let [a, _, c, d] = ["a", "b", "c", "d"].map(|name| b.table(name, RelationKind::Table));
        b.depend(a, c);
        b.depend(c, d);
        assert_eq!(b.names(), ["d", "c", "a", "b"]);
    }
}
