//! Tablespaces: `CREATE TABLESPACE` with owner and location, options, privileges and comment. The names of
//! initdb's tablespaces begin with `pg_`; these are never written.

use super::security_label::SharedLabels;
use super::{GlobalOptions, GlobalReader};
use crate::protocol::version::PG13;
use crate::sql::acl::{Acl, AclTarget};
use crate::sql::dialect::Dialect;
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::object::{CatalogId, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;

const QUERY: CatalogQuery = CatalogQuery {
    what: "tablespaces",
    since: PG13,
    text: "
SELECT t.oid, t.spcname::text AS name, pg_catalog.pg_get_userbyid(t.spcowner)::text AS owner,
       pg_catalog.pg_tablespace_location(t.oid) AS location,
       pg_catalog.textin(pg_catalog.array_out(t.spcacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('t', t.spcowner))) AS default_acl,
       pg_catalog.array_to_string(t.spcoptions, ', ') AS options,
       pg_catalog.shobj_description(t.oid, 'pg_tablespace') AS comment
  FROM pg_catalog.pg_tablespace t
 WHERE t.spcname !~ '^pg_'
 ORDER BY t.oid",
    gates: &[],
};

/// A tablespace.
#[derive(Debug)]
pub(super) struct Tablespace {
    pub oid: u32,
    pub name: String,
    pub owner: String,
    /// The directory; for an in-place tablespace, a directory inside the data directory.
    pub location: String,
    pub acl: Acl,
    /// The text for the parentheses of `SET (…)`.
    pub options: Option<String>,
    pub comment: Option<String>,
}

/// Reads the tablespaces in order of their OIDs, which is also the order of creation.
pub(super) async fn read(reader: &GlobalReader<'_>) -> Result<Vec<Tablespace>> {
    let mut tablespaces = Vec::new();
    for row in reader.rows(&QUERY).await? {
        tablespaces.push(Tablespace {
            oid: row.oid("oid")?,
            name: row.text("name")?,
            owner: row.text("owner")?,
            location: row.text("location")?,
            acl: Acl::new(row.opt_texts("acl")?, row.texts("default_acl")?),
            options: row.opt_text("options")?,
            comment: row.opt_text("comment")?,
        });
    }
    Ok(tablespaces)
}

/// Returns `DROP TABLESPACE` for each tablespace, in order of the names.
pub(super) fn drops(tablespaces: &[Tablespace], quoting: &Quoting, options: &GlobalOptions) -> String {
    let mut names: Vec<&str> = tablespaces.iter().map(|tablespace| tablespace.name.as_str()).collect();
    names.sort_unstable();
    let mut sql = String::new();
    for name in names {
        put!(sql, "DROP TABLESPACE {}{};\n", super::script::if_exists(options), quoting.id(name));
    }
    sql
}

/// Returns the statements that create a tablespace.
pub(super) fn create(
    tablespace: &Tablespace,
    labels: &SharedLabels,
    dialect: &Dialect,
    quoting: &Quoting,
    options: &GlobalOptions,
) -> Result<String> {
    let name = quoting.id(&tablespace.name).to_string();
    let owner = quoting.id(&tablespace.owner);
    let is_written = dialect.writes_relative_locations || tablespace.location.starts_with('/');
    let location = quoting.portable_literal(if is_written { &tablespace.location } else { "" });
    let mut sql = format!("CREATE TABLESPACE {name} OWNER {owner} LOCATION {location};\n");
    if let Some(options) = tablespace.options.as_deref().filter(|options| !options.is_empty()) {
        put!(sql, "ALTER TABLESPACE {name} SET ({options});\n");
    }
    if !options.no_privileges {
        let target = AclTarget::global("TABLESPACE", &name, &tablespace.owner);
        sql += &tablespace.acl.commands(dialect, quoting, &target)?;
    }
    let comment = tablespace.comment.as_deref().filter(|c| !c.is_empty() && !options.no_comments);
    if let Some(comment) = comment {
        put!(sql, "COMMENT ON TABLESPACE {name} IS {};\n", quoting.portable_literal(comment));
    }
    let id = CatalogId::new(class::PG_TABLESPACE, tablespace.oid);
    Ok(sql + &labels.statements(id, "TABLESPACE", &name, quoting))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tablespace(name: &str) -> Tablespace {
        Tablespace {
            oid: 1,
            name: name.to_owned(),
            owner: "Boss".to_owned(),
            location: "/srv/it's".to_owned(),
            acl: Acl::new(Some(vec!["=C/Boss".to_owned()]), vec!["Boss=C/Boss".to_owned()]),
            options: Some("seq_page_cost=1.5, random_page_cost=2".to_owned()),
            comment: Some("fast".to_owned()),
        }
    }

    #[test]
    fn everything_about_a_tablespace() {
        let labels = SharedLabels::default();
        let (dialect, quoting) = (<&Dialect>::default(), Quoting::default());
        let made = |options| create(&tablespace("fast"), &labels, dialect, &quoting, &options).unwrap();
        assert_eq!(
            made(GlobalOptions::default()),
            "CREATE TABLESPACE fast OWNER \"Boss\" LOCATION '/srv/it''s';\n\
             ALTER TABLESPACE fast SET (seq_page_cost=1.5, random_page_cost=2);\n\
             REVOKE ALL ON TABLESPACE fast FROM \"Boss\";\n\
             GRANT ALL ON TABLESPACE fast TO PUBLIC;\n\
             COMMENT ON TABLESPACE fast IS 'fast';\n"
        );
        let bare = GlobalOptions { no_privileges: true, no_comments: true, ..GlobalOptions::default() };
        assert!(made(bare).ends_with("random_page_cost=2);\n"));
    }

    #[test]
    fn drops_are_in_the_order_of_names() {
        let options = GlobalOptions { if_exists: true, ..GlobalOptions::default() };
        let sql = drops(&[tablespace("b"), tablespace("A")], &Quoting::default(), &options);
        assert_eq!(sql, "DROP TABLESPACE IF EXISTS \"A\";\nDROP TABLESPACE IF EXISTS b;\n");
    }
}
