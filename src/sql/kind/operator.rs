//! Operators.

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::function::oids_to_describe;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, ObjectKind, Section, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};
use crate::sql::select::select_object;

/// Includes built-in operators, because they may be commutators or sort operators of others.
const QUERY: CatalogQuery = CatalogQuery {
    what: "operators",
    since: PG13,
    text: "
SELECT o.oid, o.oprname::text AS name, o.oprnamespace AS namespace, o.oprowner AS owner, o.oprkind AS kind,
       o.oprleft AS left, o.oprright AS right, o.oprcode::oid AS code
  FROM pg_catalog.pg_operator o",
    gates: &[],
};

const DETAILS: CatalogQuery = CatalogQuery {
    what: "operator definitions",
    since: PG13,
    text: "
SELECT o.oid, pg_catalog.textin(pg_catalog.regprocedureout(o.oprcode)) AS code,
       pg_catalog.textin(pg_catalog.regtypeout(o.oprleft)) AS left,
       pg_catalog.textin(pg_catalog.regtypeout(o.oprright)) AS right, o.oprcom AS commutator,
       o.oprnegate AS negator,
       o.oprcanmerge AS merges, o.oprcanhash AS hashes,
       pg_catalog.textin(pg_catalog.regprocedureout(o.oprrest)) AS restrict,
       pg_catalog.textin(pg_catalog.regprocedureout(o.oprjoin)) AS join
  FROM pg_catalog.pg_operator o
 WHERE o.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY o.oid",
    gates: &[],
};

codes! {
    /// The position of an operator between its operands.
    #[derive(Default)]
    OperatorKind("oprkind") {
        #[default]
        Infix = 'b',
        Prefix = 'l',
        /// Until version 13.
        Postfix = 'r',
    }
}

impl OperatorKind {
    fn has_left(self) -> bool {
        matches!(self, OperatorKind::Infix | OperatorKind::Postfix)
    }

    fn has_right(self) -> bool {
        matches!(self, OperatorKind::Infix | OperatorKind::Prefix)
    }
}

/// An operator.
#[derive(Debug, Default)]
pub struct Operator {
    /// The position of its operands.
    pub kind: OperatorKind,
    /// OID of the left operand's type, 0 if there is none.
    pub left: u32,
    /// OID of the right operand's type.
    pub right: u32,
    /// OID of the function that implements it.
    pub code: u32,
    /// The fields that only its DDL needs; `None` unless the operator is dumped.
    details: Option<Box<OperatorDetails>>,
}

/// The fields of an operator that only its DDL needs. Types and functions are qualified and quoted.
#[derive(Debug, Default)]
struct OperatorDetails {
    /// The function that implements it, with its arguments; `-` if there is none.
    code: String,
    /// The left operand's type.
    left: String,
    /// The right operand's type.
    right: String,
    /// OID of the commutator, 0 if there is none.
    commutator: u32,
    /// OID of the negator, 0 if there is none.
    negator: u32,
    /// `MERGES`.
    merges: bool,
    /// `HASHES`.
    hashes: bool,
    /// The restriction selectivity estimator.
    restrict: Option<String>,
    /// The join selectivity estimator.
    join: Option<String>,
}

impl OperatorDetails {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        Ok(OperatorDetails {
            code: row.text("code")?,
            left: row.text("left")?,
            right: row.text("right")?,
            commutator: row.oid("commutator")?,
            negator: row.oid("negator")?,
            merges: row.bool("merges")?,
            hashes: row.bool("hashes")?,
            restrict: function_name(row.text("restrict")?),
            join: function_name(row.text("join")?),
        })
    }
}

/// Returns the function's name from a `regprocedure`, that is, the text before the arguments. `regproc`
/// differs: it qualifies the names of overloaded built-in functions.
fn function_name(mut regprocedure: String) -> Option<String> {
    if regprocedure == "-" {
        return None;
    }
    let mut quoted = false;
    let arguments = regprocedure.find(|c| {
        quoted ^= c == '"';
        c == '(' && !quoted
    });
    regprocedure.truncate(arguments.unwrap_or(regprocedure.len()));
    Some(regprocedure)
}

/// Identifies the operators.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let operator = Operator {
            kind: row.code("kind")?,
            left: row.oid("left")?,
            right: row.oid("right")?,
            code: row.oid("code")?,
            details: None,
        };
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let catalog_id = CatalogId::new(class::PG_OPERATOR, row.oid("oid")?);
        let owner = cx.role(row.oid("owner")?)?;
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), Detail::Operator(operator));
        cx.catalog[id].owner = Some(owner);
        select_object(cx, id);
    }
    Ok(())
}

/// Reads the DDL details of the operators to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, ObjectKind::Operator);
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&DETAILS, &[&oids]).await? {
        let details = Box::new(OperatorDetails::from_row(&row)?);
        let Some(id) = cx.catalog.by_oid(class::PG_OPERATOR, row.oid("oid")?) else { continue };
        if let Some(operator) = cx.catalog.operator_mut(id) {
            operator.details = Some(details);
        }
    }
    Ok(())
}

/// Returns `OPERATOR(namespace.name)`, or `None` for OID 0.
pub(super) fn reference(em: &mut Emitter<'_>, oid: u32) -> Option<String> {
    if oid == 0 {
        return None;
    }
    let Some(id) = em.catalog.by_oid(class::PG_OPERATOR, oid) else {
        em.warn(format!("could not find operator with OID {oid}"));
        return None;
    };
    let object = &em.catalog[id];
    let namespace = em.catalog.namespace_name(object).unwrap_or("");
    Some(format!("OPERATOR({}.{})", em.quoting.id(namespace), object.name))
}

/// Writes the DDL of one operator.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, operator: &Operator) {
    // An operator without a function was only named as the commutator or negator of another operator. The
    // other operator's statement creates it again.
    if em.options.data_only || operator.code == 0 {
        return;
    }
    let Some(details) = &operator.details else {
        let name = em.catalog.qualified(object);
        em.fail(SqlError::Inconsistent(format!("operator {name} could not be read from the catalogs")));
        return;
    };
    let has_left = operator.kind.has_left();
    let has_right = operator.kind.has_right();
    let left = if has_left { &details.left } else { "NONE" };
    let right = if has_right { &details.right } else { "NONE" };
    let identity = format!("{} ({left}, {right})", object.name);
    let namespace = em.catalog.namespace_name(object);
    if object.dumps(Components::DEFINITION) {
        let qualifier = em.quoting.id(namespace.unwrap_or(""));
        let clauses = clauses(em, operator, details);
        let entry = TocEntry {
            definition: format!("CREATE OPERATOR {qualifier}.{} (\n{clauses}\n);\n", object.name),
            drop: format!("DROP OPERATOR {qualifier}.{identity};\n"),
            ..em.entry_for(object, EntryKind::Operator, Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let target =
            CommentTarget { object_type: "OPERATOR", name: &identity, namespace, owner: object.owner_name() };
        em.comment(object, &target);
    }
}

fn clauses(em: &mut Emitter<'_>, operator: &Operator, details: &OperatorDetails) -> String {
    let mut sql = String::new();
    if operator.kind == OperatorKind::Postfix {
        let code = &details.code;
        em.warn(format!("postfix operators are not supported anymore (operator \"{code}\")"));
    }
    if let Some(code) = function_name(details.code.clone()) {
        put!(sql, "    FUNCTION = {code}");
    }
    if operator.kind.has_left() {
        put!(sql, ",\n    LEFTARG = {}", details.left);
    }
    if operator.kind.has_right() {
        put!(sql, ",\n    RIGHTARG = {}", details.right);
    }
    if let Some(commutator) = reference(em, details.commutator) {
        put!(sql, ",\n    COMMUTATOR = {commutator}");
    }
    if let Some(negator) = reference(em, details.negator) {
        put!(sql, ",\n    NEGATOR = {negator}");
    }
    if details.merges {
        sql.push_str(",\n    MERGES");
    }
    if details.hashes {
        sql.push_str(",\n    HASHES");
    }
    if let Some(restrict) = &details.restrict {
        put!(sql, ",\n    RESTRICT = {restrict}");
    }
    if let Some(join) = &details.join {
        put!(sql, ",\n    JOIN = {join}");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{catalog, entries};

    #[test]
    fn a_function_name_ends_at_the_first_unquoted_parenthesis() {
        assert_eq!(function_name("-".to_owned()), None);
        assert_eq!(function_name("s.f(integer)".to_owned()).as_deref(), Some("s.f"));
        assert_eq!(function_name("\"s(\".\"a\"\"(\"(text)".to_owned()).as_deref(), Some("\"s(\".\"a\"\"(\""));
    }

    #[test]
    fn every_clause_has_its_place() {
        let (mut catalog, namespace) = catalog();
        let details = OperatorDetails {
            code: "s.f(integer,text)".to_owned(),
            left: "integer".to_owned(),
            right: "text".to_owned(),
            commutator: 100,
            negator: 100,
            merges: true,
            hashes: true,
            restrict: Some("eqsel".to_owned()),
            join: Some("eqjoinsel".to_owned()),
        };
        let operator = Operator {
            kind: OperatorKind::Infix,
            code: 9,
            details: Some(Box::new(details)),
            ..Operator::default()
        };
        let catalog_id = CatalogId::new(class::PG_OPERATOR, 100);
        let id = catalog.add(catalog_id, "===".to_owned(), Some(namespace), Detail::Operator(operator));
        let entry = entries(&mut catalog).remove(0);
        assert_eq!(
            entry.definition,
            "CREATE OPERATOR s.=== (\n    FUNCTION = s.f,\n    LEFTARG = integer,\n    RIGHTARG = text,\n    \
             COMMUTATOR = OPERATOR(s.===),\n    NEGATOR = OPERATOR(s.===),\n    MERGES,\n    HASHES,\n    \
             RESTRICT = eqsel,\n    JOIN = eqjoinsel\n);\n"
        );
        assert_eq!(entry.drop, "DROP OPERATOR s.=== (integer, text);\n");

        let operator = catalog.operator_mut(id).unwrap();
        operator.kind = OperatorKind::Prefix;
        assert_eq!(entries(&mut catalog)[0].drop, "DROP OPERATOR s.=== (NONE, text);\n");
        catalog.operator_mut(id).unwrap().code = 0;
        assert!(entries(&mut catalog).is_empty());
    }
}
