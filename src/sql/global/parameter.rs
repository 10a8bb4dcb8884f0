//! Privileges on configuration parameters: `GRANT … ON PARAMETER`, since PostgreSQL 15.

use super::GlobalReader;
use crate::protocol::version::PG15;
use crate::sql::acl::{Acl, AclTarget};
use crate::sql::dialect::Dialect;
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::query::CatalogQuery;

/// Parameters are owned by the bootstrap superuser, whose OID is 10.
const QUERY: CatalogQuery = CatalogQuery {
    what: "privileges on parameters",
    since: PG15,
    text: "
SELECT p.parname AS name, pg_catalog.pg_get_userbyid(10)::text AS owner,
       pg_catalog.textin(pg_catalog.array_out(p.paracl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('p', 10))) AS default_acl
  FROM pg_catalog.pg_parameter_acl p
 ORDER BY p.parname",
    gates: &[],
};

/// A parameter with granted privileges.
#[derive(Debug)]
pub(super) struct Parameter {
    pub name: String,
    pub owner: String,
    pub acl: Acl,
}

pub(super) async fn read(reader: &GlobalReader<'_>) -> Result<Vec<Parameter>> {
    let mut parameters = Vec::new();
    if reader.options.no_privileges {
        return Ok(parameters);
    }
    for row in reader.rows(&QUERY).await? {
        let acl = Acl::new(row.opt_texts("acl")?, row.texts("default_acl")?);
        parameters.push(Parameter { name: row.text("name")?, owner: row.text("owner")?, acl });
    }
    Ok(parameters)
}

/// Returns the GRANT and REVOKE commands for one parameter.
pub(super) fn grants(parameter: &Parameter, dialect: &Dialect, quoting: &Quoting) -> Result<String> {
    let name = quoting.id(&parameter.name).to_string();
    let target = AclTarget::global("PARAMETER", &name, &parameter.owner);
    parameter.acl.commands(dialect, quoting, &target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_privileges_and_their_grant_options() {
        let items = ["postgres=sA/postgres", "bob=s*A/postgres", "=s/postgres"].map(str::to_owned);
        let parameter = Parameter {
            name: "my.Setting".to_owned(),
            owner: "postgres".to_owned(),
            acl: Acl::new(Some(items.to_vec()), vec!["postgres=sA/postgres".to_owned()]),
        };
        let want = "GRANT ALTER SYSTEM ON PARAMETER \"my.Setting\" TO bob;\n\
                    GRANT SET ON PARAMETER \"my.Setting\" TO bob WITH GRANT OPTION;\n\
                    GRANT SET ON PARAMETER \"my.Setting\" TO PUBLIC;\n";
        assert_eq!(grants(&parameter, <&Dialect>::default(), &Quoting::default()).unwrap(), want);
    }
}
