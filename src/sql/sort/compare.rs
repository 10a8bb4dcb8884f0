//! The order without dependencies: the kind's place, namespace, name, and each kind's natural key.

use std::cmp::Ordering;

use crate::sql::object::{Catalog, Detail, DumpId, DumpObject, class};

/// Compares two objects without their dependencies. Names are compared as bytes.
pub(super) fn by_kind_and_name(catalog: &Catalog, a: DumpId, b: DumpId) -> Ordering {
    let (a, b) = (&catalog[a], &catalog[b]);
    let place = |object: &DumpObject| catalog.dialect.kind_order.place(object.kind());
    place(a)
        .cmp(&place(b))
        .then_with(|| by_namespace(catalog, a, b))
        .then_with(|| by_text(&a.name, &b.name))
        .then_with(|| a.kind().cmp(&b.kind()))
        .then_with(|| by_natural_key(catalog, a, b))
        .then_with(|| a.catalog_id.oid.cmp(&b.catalog_id.oid))
        // Objects without a catalog row stay in the order of collection.
        .then_with(|| a.id.cmp(&b.id))
}

/// Compares namespaces; objects outside namespaces come after those inside.
fn by_namespace(catalog: &Catalog, a: &DumpObject, b: &DumpObject) -> Ordering {
    match (catalog.namespace_name(a), catalog.namespace_name(b)) {
        (Some(a), Some(b)) => by_text(a, b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// Compares the bytes that the server sent. They differ from the `String`'s bytes where those were escaped.
fn by_text(a: &str, b: &str) -> Ordering {
    if a.is_ascii() || b.is_ascii() {
        return a.cmp(b);
    }
    crate::sql::query::to_bytes(a).cmp(&crate::sql::query::to_bytes(b))
}

/// Compares objects of one kind with equal namespace and name by the other parts of their key.
fn by_natural_key(catalog: &Catalog, a: &DumpObject, b: &DumpObject) -> Ordering {
    let name = |id: DumpId| catalog[id].name.as_str();
    let by_name = |a: DumpId, b: DumpId| by_text(name(a), name(b));
    match (&a.detail, &b.detail) {
        (Detail::Function(a), Detail::Function(b)) => {
            by_arguments(catalog, &a.argument_types, &b.argument_types)
        }
        (Detail::Aggregate(a), Detail::Aggregate(b)) => {
            by_arguments(catalog, &a.argument_types, &b.argument_types)
        }
        // Prefix operators (`l`) come before infix ones (`b`).
        (Detail::Operator(a), Detail::Operator(b)) => char::from(b.kind)
            .cmp(&char::from(a.kind))
            .then_with(|| by_type(catalog, a.left, b.left))
            .then_with(|| by_type(catalog, a.right, b.right)),
        (Detail::OperatorClass(a), Detail::OperatorClass(b)) => by_access_method(catalog, a.method, b.method),
        (Detail::OperatorFamily(a), Detail::OperatorFamily(b)) => {
            by_access_method(catalog, a.method, b.method)
        }
        (Detail::Collation(a), Detail::Collation(b)) => a.encoding.cmp(&b.encoding),
        (Detail::AttributeDefault(a), Detail::AttributeDefault(b)) => a.number.cmp(&b.number),
        (Detail::Policy(a), Detail::Policy(b)) => by_name(a.table, b.table),
        (Detail::Rule(a), Detail::Rule(b)) => by_name(a.table, b.table),
        (Detail::Trigger(a), Detail::Trigger(b)) => by_name(a.table, b.table),
        (Detail::Constraint(a), Detail::Constraint(b)) | (Detail::ForeignKey(a), Detail::ForeignKey(b)) => {
            match (a.domain, b.domain) {
                (Some(a), Some(b)) => by_name(a, b),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => match (a.table, b.table) {
                    (Some(a), Some(b)) => by_name(a, b),
                    _ => Ordering::Equal,
                },
            }
        }
        (Detail::DefaultAcl(a), Detail::DefaultAcl(b)) => by_text(&a.role, &b.role),
        (Detail::PublicationTable(a), Detail::PublicationTable(b)) => by_name(a.publication, b.publication),
        (Detail::PublicationNamespace(a), Detail::PublicationNamespace(b)) => {
            by_name(a.publication, b.publication)
        }
        _ => Ordering::Equal,
    }
}

fn by_arguments(catalog: &Catalog, a: &[u32], b: &[u32]) -> Ordering {
    let by_types = || a.iter().zip(b).map(|(a, b)| by_type(catalog, *a, *b));
    a.len().cmp(&b.len()).then_with(|| by_types().find(|o| o.is_ne()).unwrap_or(Ordering::Equal))
}

/// Compares namespace and name of the types; unknown OIDs are equal, so that the next criterion decides.
fn by_type(catalog: &Catalog, a: u32, b: u32) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let find = |oid| catalog.by_oid(class::PG_TYPE, oid).map(|id| &catalog[id]);
    match (find(a), find(b)) {
        (Some(a), Some(b)) => by_namespace(catalog, a, b).then_with(|| by_text(&a.name, &b.name)),
        _ => Ordering::Equal,
    }
}

fn by_access_method(catalog: &Catalog, a: u32, b: u32) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let find = |oid| catalog.by_oid(class::PG_AM, oid).map(|id| catalog[id].name.as_str());
    match (find(a), find(b)) {
        (Some(a), Some(b)) => by_text(a, b),
        _ => Ordering::Equal,
    }
}
