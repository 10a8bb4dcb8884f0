//! Domains: base type, default, and check constraints. A constraint that is not validated is written
//! separately, after the data (`kind::constraint`). All others are part of `CREATE DOMAIN`.

use std::collections::HashMap;

use super::{DataType, TypeForm, TypeKind, collation, described, oids_to_describe};
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::kind::constraint::{Constraint, ConstraintKind};
use crate::sql::object::{Catalog, CatalogId, Components, Detail, DumpId, DumpObject, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};

const QUERY: CatalogQuery = CatalogQuery {
    what: "domains",
    since: PG13,
    text: "
SELECT t.oid, t.typnotnull AS not_null, pg_catalog.format_type(t.typbasetype, t.typtypmod) AS base,
       pg_catalog.pg_get_expr(t.typdefaultbin, 'pg_catalog.pg_type'::pg_catalog.regclass) AS default_expression,
       t.typdefault AS default_literal,
       CASE WHEN t.typcollation <> u.typcollation THEN t.typcollation ELSE 0 END AS collation
  FROM pg_catalog.pg_type t
       LEFT JOIN pg_catalog.pg_type u ON u.oid = t.typbasetype
 WHERE t.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY t.oid",
    gates: &[],
};

const CONSTRAINTS: CatalogQuery = CatalogQuery {
    what: "domain constraints",
    since: PG13,
    text: "
SELECT c.oid, c.contypid AS domain, c.conname::text AS name, c.contype AS kind, c.convalidated AS validated,
       pg_catalog.pg_get_constraintdef(c.oid) AS definition
  FROM pg_catalog.pg_constraint c
 WHERE c.contypid <> 0
 ORDER BY c.contypid, c.conname",
    gates: &[],
};

/// The fields that are specific to a domain.
#[derive(Debug, Default)]
pub(in crate::sql::kind) struct Domain {
    /// `format_type()` of the base type and its modifier.
    pub base: String,
    /// `NOT NULL`.
    pub not_null: bool,
    /// The default, as an expression.
    pub default_expression: Option<String>,
    /// The default as an input string of the base type, if there is no expression.
    pub default_literal: Option<String>,
    /// OID of its collation if it differs from the base type's, else 0.
    pub collation: u32,
}

/// The constraints of domains, by the domain's OID.
pub(super) type Constraints = HashMap<u32, Vec<CatalogRow>>;

/// Reads the constraints of all domains, ordered by name.
pub(super) async fn read_constraints(cx: &Collector<'_>) -> Result<Constraints> {
    let mut constraints = Constraints::new();
    for row in cx.rows(&CONSTRAINTS).await? {
        constraints.entry(row.oid("domain")?).or_default().push(row);
    }
    Ok(constraints)
}

/// Adds the constraints of a domain to be dumped. Their ids follow the domain's id, as in pg_dump.
pub(super) fn add_constraints(catalog: &mut Catalog, domain: DumpId, rows: &[CatalogRow]) -> Result<()> {
    for row in rows {
        let validated = row.bool("validated")?;
        let kind: ConstraintKind = row.code("kind")?;
        let constraint = Constraint {
            table: None,
            domain: Some(domain),
            kind,
            definition: row.text("definition")?,
            referenced_table: 0,
            index: None,
            deferrable: false,
            deferred: false,
            local: true,
            separate: !validated,
        };
        let namespace = catalog[domain].namespace;
        let catalog_id = CatalogId::new(class::PG_CONSTRAINT, row.oid("oid")?);
        let id = catalog.add(catalog_id, row.text("name")?, namespace, Detail::Constraint(constraint));
        if let Some(data_type) = catalog.data_type_mut(domain) {
            match kind {
                ConstraintKind::NotNull => data_type.domain_not_null = Some(id),
                _ => data_type.domain_checks.push(id),
            }
        }
        // A domain that is created with the constraint needs the objects that the constraint needs.
        if validated {
            catalog[domain].depend_on(id);
        }
    }
    Ok(())
}

/// Reads the DDL details of the domains to be dumped.
pub(super) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    // The comments on a domain's constraints are written even if only the domain's comment is dumped.
    let oids = oids_to_describe(cx, TypeKind::Domain, Components::all());
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&QUERY, &[&oids]).await? {
        let domain = Domain {
            base: row.text("base")?,
            not_null: row.bool("not_null")?,
            default_expression: row.opt_text("default_expression")?,
            default_literal: row.opt_text("default_literal")?,
            collation: row.oid("collation")?,
        };
        described(cx, row.oid("oid")?)?.form = TypeForm::Domain(Box::new(domain));
    }
    Ok(())
}

impl Domain {
    /// Returns `CREATE DOMAIN`.
    pub(super) fn definition(
        &self,
        em: &Emitter<'_>,
        object: &DumpObject,
        data_type: &DataType,
        name: &str,
    ) -> String {
        let mut sql = format!("CREATE DOMAIN {name} AS {}", self.base);
        if let Some(collation) = collation(em, self.collation) {
            put!(sql, " COLLATE {collation}");
        }
        if self.not_null {
            sql.push_str(&not_null(em, object, data_type));
        }
        match (&self.default_expression, &self.default_literal) {
            (Some(expression), _) => put!(sql, " DEFAULT {expression}"),
            (None, Some(literal)) => put!(sql, " DEFAULT {}", em.quoting.literal(literal)),
            (None, None) => {}
        }
        for (constraint, object) in inline(em, &data_type.domain_checks) {
            put!(sql, "\n\tCONSTRAINT {} {}", em.quoting.id(&object.name), constraint.definition);
        }
        sql.push_str(";\n");
        sql
    }
}

/// Returns `NOT NULL`, with the name of the constraint if the server would choose another one.
fn not_null(em: &Emitter<'_>, object: &DumpObject, data_type: &DataType) -> String {
    let Some(id) = data_type.domain_not_null else { return " NOT NULL".to_owned() };
    match inline(em, &[id]).next() {
        Some((_, found)) if found.name == format!("{}_not_null", object.name) => " NOT NULL".to_owned(),
        Some((constraint, found)) => {
            format!(" CONSTRAINT {} {}", em.quoting.id(&found.name), constraint.definition)
        }
        None => String::new(),
    }
}

/// Returns those of the constraints that are part of `CREATE DOMAIN`.
fn inline<'a>(em: &Emitter<'a>, checks: &[DumpId]) -> impl Iterator<Item = (&'a Constraint, &'a DumpObject)> {
    let catalog = em.catalog;
    checks
        .iter()
        .filter_map(move |id| Some((catalog.constraint(*id)?, &catalog[*id])))
        .filter(|(constraint, _)| !constraint.separate)
}

/// Writes the comments on the constraints that are part of `CREATE DOMAIN`.
pub(super) fn emit_comments(em: &mut Emitter<'_>, object: &DumpObject, data_type: &DataType) {
    let name = em.quoting.id(&object.name).to_string();
    let namespace = em.catalog.namespace_name(object);
    let constraints = [&data_type.domain_checks[..], data_type.domain_not_null.as_slice()].concat();
    for (_, check) in inline(em, &constraints).collect::<Vec<_>>() {
        if !check.dumps(Components::COMMENT) {
            continue;
        }
        let object_type = format!("CONSTRAINT {} ON DOMAIN", em.quoting.id(&check.name));
        let target =
            CommentTarget { object_type: &object_type, name: &name, namespace, owner: object.owner_name() };
        em.comment_on(check.catalog_id, 0, object.id, &target);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{catalog, entries};
    use super::*;

    #[test]
    fn only_validated_constraints_stand_in_the_domain() {
        let (mut catalog, namespace) = catalog();
        let form = TypeForm::Domain(Box::new(Domain {
            base: "character varying(5)".to_owned(),
            not_null: true,
            default_expression: Some("'a'::character varying".to_owned()),
            ..Domain::default()
        }));
        let domain = catalog.add(
            CatalogId::new(class::PG_TYPE, 100),
            "d".to_owned(),
            Some(namespace),
            Detail::Type(Box::new(DataType { kind: Some(TypeKind::Domain), form, ..DataType::default() })),
        );
        for (oid, name, separate) in [(200, "ok", false), (201, "later", true)] {
            let constraint = Constraint {
                table: None,
                domain: Some(domain),
                kind: ConstraintKind::Check,
                definition: "CHECK ((VALUE <> ''::text))".to_owned(),
                referenced_table: 0,
                index: None,
                deferrable: false,
                deferred: false,
                local: true,
                separate,
            };
            let catalog_id = CatalogId::new(class::PG_CONSTRAINT, oid);
            let id =
                catalog.add(catalog_id, name.to_owned(), Some(namespace), Detail::Constraint(constraint));
            catalog[id].components |= Components::COMMENT;
            catalog.comments.insert(catalog_id, vec![(0, "c".to_owned())]);
            catalog.data_type_mut(domain).unwrap().domain_checks.push(id);
        }
        let entries = entries(&mut catalog);
        assert_eq!(
            entries[0].definition,
            "CREATE DOMAIN s.d AS character varying(5) NOT NULL DEFAULT 'a'::character varying\n\
             \tCONSTRAINT ok CHECK ((VALUE <> ''::text));\n"
        );
        assert_eq!(entries[0].drop, "DROP DOMAIN s.d;\n");
        assert_eq!(entries[1].definition, "COMMENT ON CONSTRAINT ok ON DOMAIN s.d IS 'c';\n");
    }
}
