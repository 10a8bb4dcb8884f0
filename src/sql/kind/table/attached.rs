//! Entries that belong to a table: comments on it, its columns and checks, security labels, privileges.

use super::{RelationKind, Table};
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::SqlError;
use crate::sql::object::{Components, DumpObject};
use crate::sql::put;

/// Writes the comments on a table and its columns, in the order of the columns.
pub(super) fn emit_comments(em: &mut Emitter<'_>, object: &DumpObject, table: &Table, object_type: &str) {
    let catalog = em.catalog;
    let Some(comments) = catalog.comments.get(&object.catalog_id) else { return };
    let relation = em.quoting.id(&object.name).to_string();
    for (subid, _) in comments {
        let (object_type, name) = if *subid == 0 {
            (object_type, relation.clone())
        } else {
            let Some(attribute) = table.column(*subid) else { continue };
            ("COLUMN", format!("{relation}.{}", em.quoting.id(&attribute.name)))
        };
        let target = CommentTarget {
            object_type,
            name: &name,
            namespace: catalog.namespace_name(object),
            owner: object.owner_name(),
        };
        em.comment_on(object.catalog_id, *subid, object.id, &target);
    }
}

/// Writes the security labels of a table and its columns as one entry.
pub(super) fn emit_labels(em: &mut Emitter<'_>, object: &DumpObject, table: &Table, object_type: &str) {
    if em.options.no_security_labels || em.options.data_only {
        return;
    }
    let catalog = em.catalog;
    let Some(labels) = catalog.security_labels.get(&object.catalog_id) else { return };
    let qualified = catalog.qualified(object);
    let mut definition = String::new();
    for label in labels {
        put!(definition, "SECURITY LABEL FOR {} ON ", em.quoting.id(&label.provider));
        if label.subid == 0 {
            put!(definition, "{object_type} {qualified}");
        } else {
            let Some(column) = column_name(table, label.subid) else {
                return em.fail(SqlError::Inconsistent(format!(
                    "invalid column number {} for table \"{}\"",
                    label.subid, object.name
                )));
            };
            put!(definition, "COLUMN {qualified}.{}", em.quoting.id(column));
        }
        put!(definition, " IS {};\n", em.quoting.literal(&label.label));
    }
    let target = CommentTarget {
        object_type,
        name: &em.quoting.id(&object.name).to_string(),
        namespace: catalog.namespace_name(object),
        owner: object.owner_name(),
    };
    em.attach_labels(object.id, &target, definition);
}

/// Returns a column's name, also for system columns. Source: `src/include/access/sysattr.h`.
fn column_name(table: &Table, number: i32) -> Option<&str> {
    match number {
        -1 => Some("ctid"),
        -2 => Some("xmin"),
        -3 => Some("cmin"),
        -4 => Some("xmax"),
        -5 => Some("cmax"),
        -6 => Some("tableoid"),
        number => table.column(number).map(|a| a.name.as_str()),
    }
}

/// Writes the comments on the check constraints that are part of the table's own statement.
pub(super) fn emit_check_comments(em: &mut Emitter<'_>, object: &DumpObject, table: &Table) {
    let catalog = em.catalog;
    for id in &table.check_constraints {
        let Some(check) = catalog.constraint(*id) else { continue };
        let constraint = &catalog[*id];
        if check.separate || !check.local || !constraint.dumps(Components::COMMENT) {
            continue;
        }
        let object_type = format!("CONSTRAINT {} ON", em.quoting.id(&constraint.name));
        let target = CommentTarget {
            object_type: &object_type,
            name: &em.quoting.id(&object.name).to_string(),
            namespace: catalog.namespace_name(object),
            owner: object.owner_name(),
        };
        em.comment_on(constraint.catalog_id, 0, object.id, &target);
    }
}

/// Writes the privileges on a relation, then those on its columns.
pub(super) fn emit_acls(em: &mut Emitter<'_>, object: &DumpObject, table: &Table) {
    let catalog = em.catalog;
    let target = CommentTarget {
        object_type: if table.kind == RelationKind::Sequence { "SEQUENCE" } else { "TABLE" },
        name: &em.quoting.id(&object.name).to_string(),
        namespace: catalog.namespace_name(object),
        owner: object.owner_name(),
    };
    let own = em.acl(object, &target);
    let after: Vec<_> = [Some(object.id), own].into_iter().flatten().collect();
    let target = CommentTarget { object_type: "TABLE", ..target };
    for column_acl in &table.column_acls {
        let column = em.quoting.id(&column_acl.column).to_string();
        em.acl_on(&column_acl.acl, &after, &target, Some(&column));
    }
}
