//! Foreign servers and their user mappings: the queries, the row, the DDL.

use std::collections::HashMap;

use super::foreign_data_wrapper::options_clause;
use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::object::{
    CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, ObjectKind, Section, class,
};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select;

const QUERY: CatalogQuery = CatalogQuery {
    what: "foreign servers",
    since: PG13,
    text: "
SELECT s.oid, s.srvname::text AS name, s.srvowner AS owner, w.fdwname::text AS wrapper,
       s.srvtype AS type, s.srvversion AS version,
       pg_catalog.textin(pg_catalog.array_out(s.srvacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('S', s.srvowner))) AS acl_default,
       pg_catalog.array_to_string(ARRAY(
           SELECT pg_catalog.quote_ident(o.option_name) || ' ' || pg_catalog.quote_literal(o.option_value)
             FROM pg_catalog.pg_options_to_table(s.srvoptions) o
            ORDER BY o.option_name), E',\\n    ') AS options
  FROM (SELECT s.oid, s.srvname, s.srvowner, s.srvfdw, s.srvtype, s.srvversion, s.srvacl,
               s.srvoptions,
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_foreign_server s) s
  LEFT JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw
 ORDER BY s.place",
    gates: &[],
};

/// The view shows all mappings to every role, but the options only to superusers, to the mapped user and, for
/// a mapping of PUBLIC, to the server's owner. A mapping whose options the role may not read is written
/// without them, as in pg_dump.
const USER_MAPPINGS: CatalogQuery = CatalogQuery {
    what: "user mappings",
    since: PG13,
    text: "
SELECT m.srvid AS server, m.usename::text AS user,
       pg_catalog.array_to_string(ARRAY(
           SELECT pg_catalog.quote_ident(o.option_name) || ' ' || pg_catalog.quote_literal(o.option_value)
             FROM pg_catalog.pg_options_to_table(m.umoptions) o
            ORDER BY o.option_name), E',\\n    ') AS options
  FROM pg_catalog.pg_user_mappings m
 WHERE m.srvid = ANY($1::pg_catalog.oid[])
 ORDER BY m.srvid, m.usename",
    gates: &[],
};

/// A foreign server.
#[derive(Debug, Default)]
pub struct ForeignServer {
    /// Its foreign-data wrapper.
    pub wrapper: String,
    /// `TYPE`, empty if there is none.
    pub server_type: String,
    /// `VERSION`, empty if there is none.
    pub version: String,
    /// The options in the syntax of the command, empty if there are none.
    pub options: String,
    /// Its user mappings, ordered by user name.
    pub user_mappings: Vec<UserMapping>,
}

/// A user mapping.
#[derive(Debug, Default)]
pub struct UserMapping {
    /// The role, or `public`.
    pub user: String,
    /// The options in the syntax of the command, empty if there are none.
    pub options: String,
}

/// Identifies the foreign servers.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let detail = Detail::ForeignServer(Box::new(ForeignServer {
            wrapper: row.text("wrapper")?,
            server_type: row.opt_text("type")?.unwrap_or_default(),
            version: row.opt_text("version")?.unwrap_or_default(),
            options: row.text("options")?,
            user_mappings: Vec::new(),
        }));
        let catalog_id = CatalogId::new(class::PG_FOREIGN_SERVER, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, None, detail);
        cx.catalog[id].components |= Components::USERMAP;
        cx.set_owner_and_acl(id, &row)?;
        select::select_object(cx, id);
    }
    Ok(())
}

/// Reads the user mappings of the foreign servers to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let ids = cx.catalog.ids_of(ObjectKind::ForeignServer);
    let wanted: HashMap<u32, DumpId> = ids
        .into_iter()
        .filter(|id| cx.dumps(*id, Components::USERMAP))
        .map(|id| (cx.catalog[id].catalog_id.oid, id))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let oids: Vec<u32> = wanted.keys().copied().collect();
    for row in cx.rows_with(&USER_MAPPINGS, &[&oids]).await? {
        let user = row.opt_text("user")?.unwrap_or_default();
        let mapping = UserMapping { user, options: row.text("options")? };
        let id = wanted.get(&row.oid("server")?);
        if let Some(server) = id.and_then(|id| cx.catalog.foreign_server_mut(*id)) {
            server.user_mappings.push(mapping);
        }
    }
    Ok(())
}

/// Writes the DDL of one foreign server and its user mappings.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, server: &ForeignServer) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::Server, Section::PreData);
        entry.definition = definition(em.quoting, server, &name);
        entry.drop = format!("DROP SERVER {name};\n");
        em.push(entry);
    }
    let owner = object.owner_name();
    if object.dumps(Components::COMMENT) {
        em.comment(object, &CommentTarget { object_type: "SERVER", name: &name, namespace: None, owner });
    }
    if object.dumps(Components::ACL) {
        em.acl(object, &CommentTarget { object_type: "FOREIGN SERVER", name: &name, namespace: None, owner });
    }
    if object.dumps(Components::USERMAP) {
        for mapping in &server.user_mappings {
            emit_user_mapping(em, object, &name, mapping);
        }
    }
}

fn definition(quoting: &Quoting, server: &ForeignServer, name: &str) -> String {
    let mut sql = format!("CREATE SERVER {name}");
    if !server.server_type.is_empty() {
        put!(sql, " TYPE {}", quoting.literal(&server.server_type));
    }
    if !server.version.is_empty() {
        put!(sql, " VERSION {}", quoting.literal(&server.version));
    }
    put!(sql, " FOREIGN DATA WRAPPER {}", quoting.id(&server.wrapper));
    sql.push_str(&options_clause(&server.options));
    sql.push_str(";\n");
    sql
}

fn emit_user_mapping(em: &mut Emitter<'_>, server: &DumpObject, server_name: &str, mapping: &UserMapping) {
    let whom = format!("FOR {} SERVER {server_name}", em.quoting.id(&mapping.user));
    let entry = TocEntry {
        id: em.next_id(),
        catalog_id: CatalogId::default(),
        tag: format!("USER MAPPING {} SERVER {}", mapping.user, server.name),
        desc: EntryKind::UserMapping,
        section: Section::PreData,
        namespace: None,
        tablespace: None,
        table_am: None,
        altered_table_am: None,
        owner: Some(server.owner_name().to_owned()),
        definition: format!("CREATE USER MAPPING {whom}{};\n", options_clause(&mapping.options)),
        drop: format!("DROP USER MAPPING {whom};\n"),
        data: None,
        dependencies: Vec::new(),
    };
    em.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_wrapper_is_always_named() {
        let mut server = ForeignServer { wrapper: "W".to_owned(), ..ForeignServer::default() };
        let quoting = Quoting::default();
        assert_eq!(definition(&quoting, &server, "s"), "CREATE SERVER s FOREIGN DATA WRAPPER \"W\";\n");
        server.server_type = "o'racle".to_owned();
        server.version = "1".to_owned();
        server.options = "host 'h'".to_owned();
        let want = "CREATE SERVER s TYPE 'o''racle' VERSION '1' FOREIGN DATA WRAPPER \"W\" OPTIONS (\n    host 'h'\n);\n";
        assert_eq!(definition(&quoting, &server, "s"), want);
    }
}
