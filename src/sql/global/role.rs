//! Roles: `CREATE ROLE`, `ALTER ROLE … WITH`, comments and passwords. PostgreSQL's predefined roles, whose
//! names begin with `pg_`, exist in every cluster and are never written.

use std::collections::HashMap;
use std::fmt;

use super::security_label::SharedLabels;
use super::{GlobalOptions, GlobalReader};
use crate::protocol::version::PG13;
use crate::sql::error::{Result, SqlError};
use crate::sql::ident::Quoting;
use crate::sql::object::{CatalogId, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;

/// Every role can read `pg_roles`, unlike `pg_authid`; it hides only the passwords.
const QUERY: CatalogQuery = CatalogQuery {
    what: "roles",
    since: PG13,
    text: "
SELECT r.oid, r.rolname::text AS name, r.rolsuper AS superuser, r.rolinherit AS inherit,
       r.rolcreaterole AS create_role, r.rolcreatedb AS create_database, r.rolcanlogin AS login,
       r.rolreplication AS replication, r.rolbypassrls AS bypass_row_security,
       r.rolconnlimit AS connection_limit,
       pg_catalog.textin(pg_catalog.timestamptz_out(r.rolvaliduntil)) AS valid_until,
       pg_catalog.shobj_description(r.oid, 'pg_authid') AS comment
  FROM pg_catalog.pg_roles r
 WHERE r.rolname !~ '^pg_'
 ORDER BY r.rolname",
    gates: &[],
};

const PASSWORDS: CatalogQuery = CatalogQuery {
    what: "passwords of roles",
    since: PG13,
    text: "
SELECT a.oid, a.rolpassword AS password
  FROM pg_catalog.pg_authid a
 WHERE a.rolpassword IS NOT NULL
 ORDER BY a.oid",
    gates: &[],
};

/// A role.
#[derive(Debug)]
pub(super) struct Role {
    pub oid: u32,
    pub name: String,
    pub attributes: Attributes,
    /// -1 means no limit.
    pub connection_limit: i32,
    /// The timestamp in the server's output format.
    pub valid_until: Option<String>,
    pub comment: Option<String>,
}

/// The attributes of a role, each with a keyword that sets it; the prefix `NO` unsets it.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    pub superuser: bool,
    pub inherit: bool,
    pub create_role: bool,
    pub create_database: bool,
    pub login: bool,
    pub replication: bool,
    pub bypass_row_security: bool,
}

/// The roles' password hashes by role OID.
#[derive(Default)]
pub(super) struct Passwords(HashMap<u32, String>);

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passwords", self.0.len())
    }
}

pub(super) async fn read(reader: &GlobalReader<'_>) -> Result<Vec<Role>> {
    let mut roles = Vec::new();
    for row in reader.rows(&QUERY).await? {
        roles.push(Role {
            oid: row.oid("oid")?,
            name: row.text("name")?,
            attributes: Attributes {
                superuser: row.bool("superuser")?,
                inherit: row.bool("inherit")?,
                create_role: row.bool("create_role")?,
                create_database: row.bool("create_database")?,
                login: row.bool("login")?,
                replication: row.bool("replication")?,
                bypass_row_security: row.bool("bypass_row_security")?,
            },
            connection_limit: row.int4("connection_limit")?,
            valid_until: row.opt_text("valid_until")?,
            comment: row.opt_text("comment")?,
        });
    }
    Ok(roles)
}

/// Reads the passwords, unless they are excluded. This requires a superuser, which managed services do not
/// provide.
pub(super) async fn read_passwords(reader: &GlobalReader<'_>) -> Result<Passwords> {
    const INSUFFICIENT_PRIVILEGE: &str = "42501";
    let mut passwords = Passwords::default();
    if reader.options.no_role_passwords {
        return Ok(passwords);
    }
    let rows = match reader.rows(&PASSWORDS).await {
        Err(SqlError::Catalog { source, .. }) if source.sqlstate() == Some(INSUFFICIENT_PRIVILEGE) => {
            return Err(SqlError::Passwords { source });
        }
        rows => rows?,
    };
    for row in rows {
        passwords.0.insert(row.oid("oid")?, row.text("password")?);
    }
    Ok(passwords)
}

/// Returns `DROP ROLE` for each role.
pub(super) fn drops(roles: &[Role], quoting: &Quoting, options: &GlobalOptions) -> String {
    let mut sql = String::new();
    for role in roles {
        put!(sql, "DROP ROLE {}{};\n", super::script::if_exists(options), quoting.id(&role.name));
    }
    sql
}

/// Returns the statements that create a role. The role is created without attributes and then altered, so
/// that an existing role gets the right attributes, too.
pub(super) fn create(
    role: &Role,
    passwords: &Passwords,
    labels: &SharedLabels,
    quoting: &Quoting,
    options: &GlobalOptions,
) -> String {
    let name = quoting.id(&role.name);
    let mut sql = format!("CREATE ROLE {name};\nALTER ROLE {name} WITH{}", keywords(&role.attributes));
    if role.connection_limit != -1 {
        put!(sql, " CONNECTION LIMIT {}", role.connection_limit);
    }
    if let Some(password) = passwords.0.get(&role.oid) {
        put!(sql, " PASSWORD {}", quoting.portable_literal(password));
    }
    if let Some(moment) = &role.valid_until {
        put!(sql, " VALID UNTIL '{moment}'");
    }
    sql.push_str(";\n");
    if let Some(comment) = role.comment.as_deref().filter(|_| !options.no_comments) {
        put!(sql, "COMMENT ON ROLE {name} IS {};\n", quoting.portable_literal(comment));
    }
    let id = CatalogId::new(class::PG_AUTHID, role.oid);
    sql + &labels.statements(id, "ROLE", &name.to_string(), quoting)
}

/// Returns the attributes for `WITH`, each with a leading space.
fn keywords(attributes: &Attributes) -> String {
    let words = [
        (attributes.superuser, "SUPERUSER"),
        (attributes.inherit, "INHERIT"),
        (attributes.create_role, "CREATEROLE"),
        (attributes.create_database, "CREATEDB"),
        (attributes.login, "LOGIN"),
        (attributes.replication, "REPLICATION"),
        (attributes.bypass_row_security, "BYPASSRLS"),
    ];
    words.iter().map(|(has, word)| format!(" {}{word}", if *has { "" } else { "NO" })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role() -> Role {
        Role {
            oid: 1,
            name: "bob".to_owned(),
            attributes: Attributes { inherit: true, login: true, ..Attributes::default() },
            connection_limit: -1,
            valid_until: None,
            comment: None,
        }
    }

    fn create(role: &Role, passwords: &Passwords, options: &GlobalOptions) -> String {
        super::create(role, passwords, &SharedLabels::default(), &Quoting::default(), options)
    }

    #[test]
    fn every_attribute_is_said_either_way() {
        assert_eq!(
            create(&role(), &Passwords::default(), &GlobalOptions::default()),
            "CREATE ROLE bob;\nALTER ROLE bob WITH NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB LOGIN \
             NOREPLICATION NOBYPASSRLS;\n"
        );
    }

    #[test]
    fn limits_password_and_comment_follow() {
        let role = Role {
            name: "a\nb".to_owned(),
            connection_limit: 0,
            valid_until: Some("infinity".to_owned()),
            comment: Some("back\\slash".to_owned()),
            ..role()
        };
        let passwords = Passwords([(1, "md5abc".to_owned())].into());
        let sql = create(&role, &passwords, &GlobalOptions::default());
        let end = " CONNECTION LIMIT 0 PASSWORD 'md5abc' VALID UNTIL 'infinity';\n\
                   COMMENT ON ROLE \"a\nb\" IS E'back\\\\slash';\n";
        assert!(sql.ends_with(end), "{sql}");
        let bare = GlobalOptions { no_comments: true, ..GlobalOptions::default() };
        assert!(!create(&role, &passwords, &bare).contains("COMMENT"));
    }

    #[test]
    fn no_password_is_printed() {
        let passwords = Passwords([(1, "md5abc".to_owned())].into());
        assert_eq!(format!("{passwords:?}"), "1 passwords");
    }
}
