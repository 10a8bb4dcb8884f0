//! Default privileges: the query, the row, the DDL. PostgreSQL manual: ALTER DEFAULT PRIVILEGES.

use crate::protocol::version::PG13;
use crate::sql::acl::{Acl, AclTarget};
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::query::CatalogQuery;
use crate::sql::select::everything_or_nothing;

/// Entries for the whole database replace the built-in defaults and are written as the difference from them.
/// Entries for a namespace add to the defaults and are written completely.
const QUERY: CatalogQuery = CatalogQuery {
    what: "default privileges",
    since: PG13,
    text: r#"
SELECT a.oid,
       a.defaclrole AS role,
       a.defaclnamespace AS namespace,
       a.defaclobjtype AS object_type,
       pg_catalog.textin(pg_catalog.array_out(a.defaclacl)) AS acl,
       CASE WHEN a.defaclnamespace = 0
            THEN pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault(
                     CASE a.defaclobjtype WHEN 'S' THEN 's'::"char" ELSE a.defaclobjtype END, a.defaclrole)))
       END AS acldefault
  FROM pg_catalog.pg_default_acl a"#,
    gates: &[],
};

codes! {
    /// The kind of the objects that get default privileges.
    DefaultAclType("defaclobjtype", "unrecognized object type in default privileges: {code}") {
        Relations = 'r',
        Sequences = 'S',
        Functions = 'f',
        Types = 'T',
        Namespaces = 'n',
    }
}

/// One row of default privileges: for one role, object type and namespace.
#[derive(Debug)]
pub struct DefaultAcl {
    /// The role whose new objects get the privileges.
    pub role: String,
    /// The kind of the objects.
    pub object_type: DefaultAclType,
}

/// Identifies the default privileges.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let namespace = match row.oid("namespace")? {
            0 => None,
            oid => Some(cx.namespace(oid)?),
        };
        let role = cx.role(row.oid("role")?)?;
        let object_type: DefaultAclType = row.code("object_type")?;
        let detail = Detail::DefaultAcl(DefaultAcl { role: role.as_ref().to_owned(), object_type });
        let catalog_id = CatalogId::new(class::PG_DEFAULT_ACL, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, char::from(object_type).to_string(), namespace, detail);
        // They are selected with the contents of their namespace. They cannot be members of an extension.
        let wanted = match namespace {
            Some(namespace) => cx.catalog[namespace].dump_contains,
            None => everything_or_nothing(cx),
        };
        let object = &mut cx.catalog[id];
        object.dump = wanted;
        object.owner = Some(role);
        object.components |= Components::ACL;
        object.acl = Some(Box::new(Acl::new(row.opt_texts("acl")?, row.texts("acldefault")?)));
    }
    Ok(())
}

/// Writes the DDL of one default privilege.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, default_acl: &DefaultAcl) {
    if em.options.data_only || em.options.no_privileges || !object.dumps(Components::ACL) {
        return;
    }
    match commands(em, object, default_acl) {
        Ok((object_type, definition)) => {
            let mut entry = em.entry_for(object, EntryKind::DefaultAcl, Section::PostData);
            entry.tag = format!("DEFAULT PRIVILEGES FOR {object_type}");
            entry.definition = definition;
            em.push(entry);
        }
        Err(error) => em.fail(error),
    }
}

fn commands(
    em: &Emitter<'_>,
    object: &DumpObject,
    default_acl: &DefaultAcl,
) -> Result<(&'static str, String)> {
    let object_type = match default_acl.object_type {
        DefaultAclType::Relations => "TABLES",
        DefaultAclType::Sequences => "SEQUENCES",
        DefaultAclType::Functions => "FUNCTIONS",
        DefaultAclType::Types => "TYPES",
        DefaultAclType::Namespaces => "SCHEMAS",
    };
    // The command names the role, so that a restore without the required privileges fails and does not change
    // the defaults of another role.
    let mut prefix = format!("ALTER DEFAULT PRIVILEGES FOR ROLE {} ", em.quoting.id(&default_acl.role));
    if let Some(namespace) = em.catalog.namespace_name(object) {
        prefix += &format!("IN SCHEMA {} ", em.quoting.id(namespace));
    }
    let target = AclTarget {
        prefix: &prefix,
        object_type,
        namespace: None,
        name: "",
        column: None,
        owner: &default_acl.role,
    };
    let definition = match &object.acl {
        Some(acl) => acl.commands(em.catalog.dialect, em.quoting, &target)?,
        None => String::new(),
    };
    Ok((object_type, definition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{catalog, entries};

    #[test]
    fn the_role_and_schema_are_part_of_the_command() {
        let (mut catalog, namespace) = catalog();
        let detail = Detail::DefaultAcl(DefaultAcl {
            role: "Maker".to_owned(),
            object_type: DefaultAclType::Relations,
        });
        let catalog_id = CatalogId::new(class::PG_DEFAULT_ACL, 20);
        let id = catalog.add(catalog_id, "r".to_owned(), Some(namespace), detail);
        catalog[id].components |= Components::ACL;
        let items = Some(vec!["=r/\"Maker\"".to_owned()]);
        catalog[id].acl = Some(Box::new(Acl::new(items, Vec::new())));
        let entry = entries(&mut catalog).remove(0);
        assert_eq!(entry.tag, "DEFAULT PRIVILEGES FOR TABLES");
        // The two spaces surround the position of an object's name.
        assert_eq!(
            entry.definition,
            "ALTER DEFAULT PRIVILEGES FOR ROLE \"Maker\" IN SCHEMA s GRANT SELECT ON TABLES  TO PUBLIC;\n"
        );
    }
}
