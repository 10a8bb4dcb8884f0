//! Namespaces: the query, the row, the DDL. initdb creates the namespace `public`, but users change it. It is
//! therefore never created or dropped, but its owner, comment and privileges are dumped if they were changed.

use crate::protocol::version::PG13;
use crate::sql::acl::Acl;
use crate::sql::collect::Collector;
use crate::sql::dialect::PublicSchema;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, Section, class};
use crate::sql::query::CatalogQuery;
use crate::sql::select;

/// OID of the role that owns `public` in a new database (`src/include/catalog/pg_authid.dat`).
const ROLE_PG_DATABASE_OWNER: u32 = 6171;

/// The comment that initdb puts on `public`.
const PUBLIC_COMMENT: &str = "standard public schema";

/// All namespaces, including system ones, because every object is linked to its namespace.
const QUERY: CatalogQuery = CatalogQuery {
    what: "schemas",
    since: PG13,
    text: "
SELECT n.oid, n.nspname::text AS name, n.nspowner AS owner,
       pg_catalog.textin(pg_catalog.array_out(n.nspacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('n', n.nspowner))) AS default_acl
  FROM pg_catalog.pg_namespace n",
    gates: &[],
};

/// A namespace.
#[derive(Debug, Default)]
pub struct Namespace {
    /// Whether `CREATE SCHEMA` is written; false for `public`, for which only owner, comment and privileges
    /// are.
    pub create: bool,
}

/// Identifies the namespaces.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let oid = row.oid("oid")?;
        let name = row.text("name")?;
        let owner_oid = row.oid("owner")?;
        let owner = cx.role(owner_oid)?;
        let items = row.opt_texts("acl")?;
        let is_public = name == "public";
        let detail = Detail::Namespace(Namespace { create: true });
        let id = cx.catalog.add(CatalogId::new(class::PG_NAMESPACE, oid), name, None, detail);
        if items.is_some() || is_public {
            cx.catalog[id].components |= Components::ACL;
        }
        let mut acl = Acl::new(items, row.texts("default_acl")?);
        if is_public && cx.catalog.dialect.public_schema == PublicSchema::OwnerCommentPrivileges {
            acl.initial = Some(initial_public_acl(&owner));
        }
        cx.catalog[id].owner = Some(owner);
        cx.catalog[id].acl = Some(Box::new(acl));
        decide(cx, id, owner_oid);
    }
    Ok(())
}

/// Returns the privileges on `public` in a new database, after the change to this owner. `pg_init_privs` is
/// no substitute: it keeps the name of the first owner, and its row is deleted when the namespace is dropped
/// and created again.
fn initial_public_acl(owner: &str) -> Vec<String> {
    let plain = owner.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let owner = if plain { owner.to_owned() } else { format!("\"{}\"", owner.replace('"', "\"\"")) };
    vec![format!("{owner}=UC/{owner}"), format!("=U/{owner}")]
}

/// Decides whether the namespace itself and the objects in it are dumped.
fn decide(cx: &mut Collector<'_>, id: DumpId, owner: u32) {
    let oid = cx.catalog[id].catalog_id.oid;
    let mut create = true;
    let (mut dump, mut contains) = by_switches(cx, id);
    if cx.selection.tables.is_empty() && cx.selection.namespaces.is_empty() && cx.catalog[id].name == "public"
    {
        match cx.catalog.dialect.public_schema {
            PublicSchema::Privileges => dump = Components::ACL,
            PublicSchema::OwnerCommentPrivileges => {
                create = false;
                if owner == ROLE_PG_DATABASE_OWNER {
                    dump -= Components::DEFINITION;
                }
                // The component is set even if there is no comment, so that the dump can remove initdb's comment.
                cx.catalog[id].components |= Components::COMMENT;
            }
        }
    }
    if cx.selection.excluded_namespaces.contains(&oid) {
        dump = Components::empty();
        contains = Components::empty();
    }
    let object = &mut cx.catalog[id];
    object.dump = dump;
    object.dump_contains = contains;
    if let Some(namespace) = cx.catalog.namespace_mut(id) {
        namespace.create = create;
    }
    // An extension determines whether a member namespace is dumped, but not the objects in it.
    select::select_by_extension(cx, id);
}

/// Returns the components of the namespace and of the objects in it that the include options select or,
/// without such options, that its name selects.
fn by_switches(cx: &Collector<'_>, id: DumpId) -> (Components, Components) {
    let object = &cx.catalog[id];
    let both = |components| (components, components);
    if !cx.selection.tables.is_empty() {
        return both(Components::empty());
    }
    if !cx.selection.namespaces.is_empty() {
        let listed = cx.selection.namespaces.contains(&object.catalog_id.oid);
        return both(if listed { Components::all() } else { Components::empty() });
    }
    match object.name.as_str() {
        "pg_catalog" => both(Components::ACL),
        "information_schema" => both(Components::empty()),
        name if name.starts_with("pg_") => both(Components::empty()),
        _ => both(Components::all()),
    }
}

/// Writes the DDL of one namespace.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, namespace: &Namespace) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, "SCHEMA", Section::PreData);
        if namespace.create {
            entry.definition = format!("CREATE SCHEMA {name};\n");
            entry.drop = format!("DROP SCHEMA {name};\n");
        } else {
            entry.definition = "-- *not* creating schema, since initdb creates it\n".to_owned();
            entry.drop = "-- *not* dropping schema, since initdb creates it\n".to_owned();
        }
        em.push(entry);
    }
    let target =
        CommentTarget { object_type: "SCHEMA", name: &name, namespace: None, owner: object.owner_name() };
    if object.dumps(Components::COMMENT) {
        // With all identifiers quoted, initdb's comment is not recognized and is written, because pg_dump
        // compares the quoted name.
        if !namespace.create && name == "public" {
            em.comment_unless_initial(object, &target, PUBLIC_COMMENT);
        } else {
            em.comment(object, &target);
        }
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
    if object.dumps(Components::ACL) {
        em.acl(object, &target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_privileges_on_public_name_its_owner_as_aclitem_does() {
        assert_eq!(initial_public_acl("pg_database_owner")[1], "=U/pg_database_owner");
        assert_eq!(initial_public_acl("a\"b c")[0], "\"a\"\"b c\"=UC/\"a\"\"b c\"");
    }
}
