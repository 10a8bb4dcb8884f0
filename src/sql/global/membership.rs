//! Memberships: `GRANT role TO member`, with the grantor.

use super::GlobalReader;
use crate::protocol::version::PG13;
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::warning::Warning;

/// Memberships among PostgreSQL's predefined roles exist in every cluster. A role that is dropped
/// concurrently leaves a membership without a name.
const QUERY: CatalogQuery = CatalogQuery {
    what: "role memberships",
    since: PG13,
    text: "
SELECT a.roleid AS role_oid, a.member AS member_oid, r.rolname::text AS role,
       m.rolname::text AS member, a.admin_option, g.rolname::text AS grantor
  FROM pg_catalog.pg_auth_members a
  LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.roleid
  LEFT JOIN pg_catalog.pg_roles m ON m.oid = a.member
  LEFT JOIN pg_catalog.pg_roles g ON g.oid = a.grantor
 WHERE NOT (r.rolname ~ '^pg_' AND m.rolname ~ '^pg_')
 ORDER BY r.rolname, m.rolname, a.admin_option",
    gates: &[],
};

/// The membership of one role in another.
#[derive(Debug)]
pub(super) struct Membership {
    pub role: String,
    pub member: String,
    pub admin_option: bool,
    /// `None` if the grantor was dropped.
    pub grantor: Option<String>,
}

/// Reads the memberships; a membership whose role was dropped becomes a warning.
pub(super) async fn read(reader: &GlobalReader<'_>, warnings: &mut Vec<Warning>) -> Result<Vec<Membership>> {
    let mut memberships = Vec::new();
    for row in reader.rows(&QUERY).await? {
        let orphan = |oid| Warning::new(format!("found orphaned pg_auth_members entry for role {oid}"));
        let Some(role) = row.opt_text("role")? else {
            warnings.push(orphan(row.oid("role_oid")?));
            continue;
        };
        let Some(member) = row.opt_text("member")? else {
            warnings.push(orphan(row.oid("member_oid")?));
            continue;
        };
        let (admin_option, grantor) = (row.bool("admin_option")?, row.opt_text("grantor")?);
        memberships.push(Membership { role, member, admin_option, grantor });
    }
    Ok(memberships)
}

/// Returns `GRANT` for each membership.
pub(super) fn grants(memberships: &[Membership], quoting: &Quoting) -> String {
    let mut sql = String::new();
    for Membership { role, member, admin_option, grantor } in memberships {
        put!(sql, "GRANT {} TO {}", quoting.id(role), quoting.id(member));
        if *admin_option {
            sql.push_str(" WITH ADMIN OPTION");
        }
        if let Some(grantor) = grantor {
            put!(sql, " GRANTED BY {}", quoting.id(grantor));
        }
        sql.push_str(";\n");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grantor_that_is_gone_is_left_out() {
        let membership = |admin_option, grantor: Option<&str>| Membership {
            role: "Staff".to_owned(),
            member: "bob".to_owned(),
            admin_option,
            grantor: grantor.map(str::to_owned),
        };
        let all = [membership(true, Some("boss")), membership(false, None)];
        let want = "GRANT \"Staff\" TO bob WITH ADMIN OPTION GRANTED BY boss;\nGRANT \"Staff\" TO bob;\n";
        assert_eq!(grants(&all, &Quoting::default()), want);
    }
}
