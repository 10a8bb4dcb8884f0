//! Memberships: `GRANT role TO member`, with the options and the grantor.

use std::collections::HashSet;

use super::GlobalReader;
use crate::protocol::version::{PG13, PG16};
use crate::sql::error::{Result, SqlError};
use crate::sql::ident::Quoting;
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};
use crate::sql::warning::Warning;

/// Memberships among PostgreSQL's predefined roles exist in every cluster. A role that is dropped
/// concurrently leaves a membership without a name.
const QUERY: CatalogQuery = CatalogQuery {
    what: "role memberships",
    since: PG13,
    text: "
SELECT a.roleid AS role_oid, a.member AS member_oid, a.grantor AS grantor_oid, r.rolname::text AS role,
       m.rolname::text AS member, a.admin_option, {inherit_option} AS inherit_option,
       {set_option} AS set_option, {needs_grantor} AS needs_grantor, g.rolname::text AS grantor
  FROM pg_catalog.pg_auth_members a
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.roleid
  LEFT JOIN pg_catalog.pg_roles m ON m.oid = a.member
  LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantor
 WHERE NOT (r.rolname ~ '^pg_' AND m.rolname ~ '^pg_')
 ORDER BY r.rolname, m.rolname, {order}",
    gates: &[
        Gate { column: "inherit_option", before: "NULL::bool", steps: &[(PG16, "a.inherit_option")] },
        Gate { column: "set_option", before: "true", steps: &[(PG16, "a.set_option")] },
        // Since 16 the grantor must have the admin option. The bootstrap superuser, whose OID is 10, always has.
        Gate {
            column: "needs_grantor",
            before: "false",
            steps: &[(PG16, "a.grantor <> 10 AND g.oid IS NOT NULL")],
        },
        Gate { column: "order", before: "a.admin_option", steps: &[(PG16, "g.rolname")] },
    ],
};

/// The membership of one role in another.
#[derive(Debug, Default)]
pub(super) struct Membership {
    pub role: String,
    pub member: String,
    pub admin_option: bool,
    /// `None` on servers without this option.
    pub inherit_option: Option<bool>,
    pub set_option: bool,
    /// Whether the grantor must get the admin option before this membership can be granted.
    pub needs_grantor: bool,
    /// `None` if the grantor was dropped.
    pub grantor: Option<String>,
}

impl Membership {
    fn from_row(row: &CatalogRow, role: String, member: String) -> Result<Membership> {
        Ok(Membership {
            role,
            member,
            admin_option: row.bool("admin_option")?,
            inherit_option: row.opt_bool("inherit_option")?,
            set_option: row.bool("set_option")?,
            needs_grantor: row.bool("needs_grantor")?,
            grantor: row.opt_text("grantor")?,
        })
    }

    /// Returns `GRANT` with the options that differ from the defaults; `INHERIT` is always written.
    fn grant(&self, quoting: &Quoting) -> String {
        let mut sql = format!("GRANT {} TO {}", quoting.id(&self.role), quoting.id(&self.member));
        let inherit =
            self.inherit_option.map(|inherit| if inherit { "INHERIT TRUE" } else { "INHERIT FALSE" });
        let options =
            [self.admin_option.then_some("ADMIN OPTION"), inherit, (!self.set_option).then_some("SET FALSE")];
        let options: Vec<&str> = options.into_iter().flatten().collect();
        if !options.is_empty() {
            put!(sql, " WITH {}", options.join(", "));
        }
        if let Some(grantor) = &self.grantor {
            put!(sql, " GRANTED BY {}", quoting.id(grantor));
        }
        sql + ";\n"
    }
}

/// Reads the memberships; a membership whose role was dropped becomes a warning.
pub(super) async fn read(reader: &GlobalReader<'_>, warnings: &mut Vec<Warning>) -> Result<Vec<Membership>> {
    let mut memberships = Vec::new();
    let names_missing = reader.dialect.messages.names_missing_roles;
    let missing = |oid, preposition| match names_missing {
        true => Warning::new(format!("ignoring role grant {preposition} missing role with OID {oid}")),
        false => Warning::new(format!("found orphaned pg_auth_members entry for role {oid}")),
    };
    for row in reader.rows(&QUERY).await? {
        let Some(role) = row.opt_text("role")? else {
            warnings.push(missing(row.oid("role_oid")?, "for"));
            // Missing roles come last, and pg_dumpall of these majors mentions the first one.
            if names_missing {
                break;
            }
            continue;
        };
        let Some(member) = row.opt_text("member")? else {
            warnings.push(missing(row.oid("member_oid")?, "to"));
            continue;
        };
        let membership = Membership::from_row(&row, role, member)?;
        if names_missing && membership.grantor.is_none() {
            let Membership { role, member, .. } = &membership;
            let oid = row.oid("grantor_oid")?;
            warnings.push(Warning {
                details: vec!["This grant will be dumped without GRANTED BY.".to_owned()],
                ..Warning::new(format!(
                    "grant of role \"{role}\" to \"{member}\" has invalid grantor OID {oid}"
                ))
            });
        }
        memberships.push(membership);
    }
    Ok(memberships)
}

/// Returns `GRANT` for each membership, such that a grantor has the admin option before it grants.
pub(super) fn grants(memberships: &[Membership], quoting: &Quoting) -> Result<String> {
    let mut sql = String::new();
    for of_role in memberships.chunk_by(|a, b| a.role == b.role) {
        let mut waiting: Vec<&Membership> = of_role.iter().collect();
        let mut admins: HashSet<&str> = HashSet::new();
        while !waiting.is_empty() {
            let before = waiting.len();
            waiting.retain(|membership| {
                let grantor = membership.grantor.as_deref().unwrap_or_default();
                if membership.needs_grantor && !admins.contains(grantor) {
                    return true;
                }
                if membership.admin_option {
                    admins.insert(&membership.member);
                }
                sql.push_str(&membership.grant(quoting));
                false
            });
            if waiting.len() == before {
                return Err(SqlError::Inconsistent(format!(
                    "could not find a legal dump ordering for memberships in role \"{}\"",
                    waiting[0].role
                )));
            }
        }
    }
    Ok(sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(member: &str, admin_option: bool, grantor: Option<&str>) -> Membership {
        Membership {
            role: "Staff".to_owned(),
            member: member.to_owned(),
            admin_option,
            set_option: true,
            grantor: grantor.map(str::to_owned),
            ..Membership::default()
        }
    }

    #[test]
    fn a_grantor_that_is_gone_is_left_out() {
        let all = [membership("bob", true, Some("boss")), membership("bob", false, None)];
        let want = "GRANT \"Staff\" TO bob WITH ADMIN OPTION GRANTED BY boss;\nGRANT \"Staff\" TO bob;\n";
        assert_eq!(grants(&all, &Quoting::default()).unwrap(), want);
    }

    #[test]
    fn a_grantor_gets_the_admin_option_first() {
        let with = |membership: Membership, needs_grantor| Membership {
            needs_grantor,
            inherit_option: Some(true),
            ..membership
        };
        let mut all = [
            with(membership("amy", false, Some("zoe")), true),
            with(membership("zoe", true, Some("postgres")), false),
        ];
        all[0].set_option = false;
        let want = "GRANT \"Staff\" TO zoe WITH ADMIN OPTION, INHERIT TRUE GRANTED BY postgres;\n\
                    GRANT \"Staff\" TO amy WITH INHERIT TRUE, SET FALSE GRANTED BY zoe;\n";
        assert_eq!(grants(&all, &Quoting::default()).unwrap(), want);
        all[1].grantor = Some("amy".to_owned());
        all[1].needs_grantor = true;
        assert!(grants(&all, &Quoting::default()).unwrap_err().to_string().contains("legal dump ordering"));
    }
}
