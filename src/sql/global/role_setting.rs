//! Settings of roles in all databases: `ALTER ROLE … SET`. Settings for a single database are written with
//! the database (`sql::kind::database`).

use std::collections::HashMap;

use super::GlobalReader;
use super::role::Role;
use crate::protocol::version::PG13;
use crate::sql::dialect::Dialect;
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::script::one_line;
use crate::sql::setting::Setting;

const QUERY: CatalogQuery = CatalogQuery {
    what: "settings of roles",
    since: PG13,
    text: "
SELECT s.setrole AS role, s.setconfig AS settings
  FROM pg_catalog.pg_db_role_setting s
 WHERE s.setdatabase = 0
   AND s.setrole <> 0
 ORDER BY s.setrole",
    gates: &[],
};

/// The settings by role OID, each `name=value`, in the order in which they were first set.
pub(super) type RoleSettings = HashMap<u32, Vec<String>>;

pub(super) async fn read(reader: &GlobalReader<'_>) -> Result<RoleSettings> {
    let mut settings = RoleSettings::new();
    for row in reader.rows(&QUERY).await? {
        settings.insert(row.oid("role")?, row.texts("settings")?);
    }
    Ok(settings)
}

/// Returns the settings of all roles. They follow all roles, because a setting may name another role.
pub(super) fn alters(
    roles: &[Role],
    settings: &RoleSettings,
    dialect: &Dialect,
    quoting: &Quoting,
) -> String {
    let mut sql = String::new();
    for role in roles {
        let Some(items) = settings.get(&role.oid).filter(|items| !items.is_empty()) else { continue };
        put!(sql, "\n--\n-- User Config \"{}\"\n--\n\n", one_line(&role.name));
        for setting in items.iter().filter_map(|item| Setting::parse(item)) {
            put!(sql, "ALTER ROLE {} {};\n", quoting.id(&role.name), setting.alter_clause(dialect, quoting));
        }
    }
    sql
}
