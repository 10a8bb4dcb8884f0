//! The operators and functions of an operator class, and the loose ones of a family.
//!
//! pg_dump reads them object by object and sorts them only by number. Members with the same number (a
//! family's operators for several pairs of types) then have an order that depends on the plan of that query
//! and on the server's sort, which is not stable. Objects with such members are therefore read a second time,
//! each by a query with the same shape as pg_dump's. One statement combines these queries.

use std::collections::HashMap;

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::object::Detail;
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};

/// The operators that depend on the given objects. Loose operators depend on the family, others on a class.
/// Members of another family also depend on a family if they sort by it; the query omits them.
const OPERATORS: CatalogQuery = CatalogQuery {
    what: "operators of operator classes and families",
    since: PG13,
    text: "
SELECT d.refobjid AS oid, a.amopstrategy AS number,
       pg_catalog.textin(pg_catalog.regoperatorout(a.amopopr)) AS member,
       f.opfname::text AS sort_family, n.nspname::text AS sort_namespace
  FROM pg_catalog.pg_depend d
       JOIN pg_catalog.pg_amop a ON a.oid = d.objid
       LEFT JOIN pg_catalog.pg_opfamily f ON f.oid = a.amopsortfamily
       LEFT JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace
 WHERE d.classid = 'pg_catalog.pg_amop'::pg_catalog.regclass
   AND d.refclassid = $1
   AND d.refobjid = ANY ($2::pg_catalog.oid[])
   AND (a.amopfamily = d.refobjid OR d.refclassid <> 'pg_catalog.pg_opfamily'::pg_catalog.regclass)
 ORDER BY d.refobjid, a.amopstrategy, a.oid",
    gates: &[],
};

/// The subquery for an object with several operators of the same number. Its parameters are literals, because
/// the server might choose another plan with query parameters.
const OPERATORS_OF_ONE: CatalogQuery = CatalogQuery {
    what: OPERATORS.what,
    since: PG13,
    text: "
(SELECT {oid}::pg_catalog.oid AS oid, a.amopstrategy AS number,
        pg_catalog.textin(pg_catalog.regoperatorout(a.amopopr)) AS member,
        f.opfname::text AS sort_family, n.nspname::text AS sort_namespace
   FROM pg_catalog.pg_amop a
        JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_amop'::pg_catalog.regclass AND d.objid = a.oid
        LEFT JOIN pg_catalog.pg_opfamily f ON f.oid = a.amopsortfamily
        LEFT JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace
  WHERE d.refclassid = {class}::pg_catalog.oid
    AND d.refobjid = {oid}::pg_catalog.oid
    AND a.amopfamily = {family}::pg_catalog.oid
  ORDER BY a.amopstrategy)",
    gates: &[],
};

/// See [`OPERATORS`].
const FUNCTIONS: CatalogQuery = CatalogQuery {
    what: "functions of operator classes and families",
    since: PG13,
    text: "
SELECT d.refobjid AS oid, a.amprocnum AS number, pg_catalog.textin(pg_catalog.regprocedureout(a.amproc)) AS member,
       pg_catalog.textin(pg_catalog.regtypeout(a.amproclefttype)) AS left,
       pg_catalog.textin(pg_catalog.regtypeout(a.amprocrighttype)) AS right
  FROM pg_catalog.pg_depend d
       JOIN pg_catalog.pg_amproc a ON a.oid = d.objid
 WHERE d.classid = 'pg_catalog.pg_amproc'::pg_catalog.regclass
   AND d.refclassid = $1
   AND d.refobjid = ANY ($2::pg_catalog.oid[])
 ORDER BY d.refobjid, a.amprocnum, a.oid",
    gates: &[],
};

/// See [`OPERATORS_OF_ONE`].
const FUNCTIONS_OF_ONE: CatalogQuery = CatalogQuery {
    what: FUNCTIONS.what,
    since: PG13,
    text: "
(SELECT {oid}::pg_catalog.oid AS oid, a.amprocnum AS number,
        pg_catalog.textin(pg_catalog.regprocedureout(a.amproc)) AS member,
        pg_catalog.textin(pg_catalog.regtypeout(a.amproclefttype)) AS left,
        pg_catalog.textin(pg_catalog.regtypeout(a.amprocrighttype)) AS right
   FROM pg_catalog.pg_amproc a, pg_catalog.pg_depend d
  WHERE d.refclassid = {class}::pg_catalog.oid
    AND d.refobjid = {oid}::pg_catalog.oid
    AND d.classid = 'pg_catalog.pg_amproc'::pg_catalog.regclass
    AND d.objid = a.oid
  ORDER BY a.amprocnum)",
    gates: &[],
};

/// The operators and functions of a class, or the loose ones of a family.
#[derive(Debug, Default)]
pub(in crate::sql::kind) struct Members {
    operators: Vec<MemberOperator>,
    functions: Vec<MemberFunction>,
}

#[derive(Debug)]
struct MemberOperator {
    /// The strategy number.
    number: i16,
    /// The operator with its operands' types, qualified and quoted.
    operator: String,
    /// Namespace and name of the family that sorts the operator's result.
    sort_family: Option<(String, String)>,
}

#[derive(Debug)]
struct MemberFunction {
    /// The support number.
    number: i16,
    /// The function with its arguments' types, qualified and quoted.
    function: String,
    /// Left input type, formatted.
    left: String,
    /// Right input type, formatted.
    right: String,
}

impl MemberOperator {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        let sort_family = match (row.opt_text("sort_namespace")?, row.opt_text("sort_family")?) {
            (Some(namespace), Some(name)) => Some((namespace, name)),
            _ => None,
        };
        Ok(MemberOperator { number: row.int2("number")?, operator: row.text("member")?, sort_family })
    }
}

impl MemberFunction {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        Ok(MemberFunction {
            number: row.int2("number")?,
            function: row.text("member")?,
            left: row.text("left")?,
            right: row.text("right")?,
        })
    }
}

/// The separator between two members.
pub(in crate::sql::kind) const SEPARATOR: &str = " ,\n    ";

impl Members {
    /// Returns the clause for each member in CREATE OPERATOR CLASS and ALTER OPERATOR FAMILY.
    pub(in crate::sql::kind) fn clauses(&self, quoting: &Quoting) -> Vec<String> {
        let operators = self.operators.iter().map(|member| {
            let mut clause = format!("OPERATOR {} {}", member.number, member.operator);
            if let Some((namespace, name)) = &member.sort_family {
                put!(clause, " FOR ORDER BY {}", quoting.qualified(namespace, name));
            }
            clause
        });
        let functions = self.functions.iter().map(|member| {
            let MemberFunction { number, function, left, right } = member;
            format!("FUNCTION {number} ({left}, {right}) {function}")
        });
        operators.chain(functions).collect()
    }
}

/// Reads the members of the families or classes (`refclass`) with these OIDs and stores them in their
/// objects. `families` has one entry for each object: its family, or the object itself if it is a family.
pub(in crate::sql::kind) async fn describe(
    cx: &mut Collector<'_>,
    refclass: u32,
    oids: &[u32],
    families: &[u32],
) -> Result<()> {
    let objects = Objects { refclass, oids, families };
    for (oid, rows) in objects.members(cx, &OPERATORS, &OPERATORS_OF_ONE).await? {
        if let Some(members) = members_of(cx, refclass, oid) {
            members.operators = rows.iter().map(MemberOperator::from_row).collect::<Result<_>>()?;
        }
    }
    for (oid, rows) in objects.members(cx, &FUNCTIONS, &FUNCTIONS_OF_ONE).await? {
        if let Some(members) = members_of(cx, refclass, oid) {
            members.functions = rows.iter().map(MemberFunction::from_row).collect::<Result<_>>()?;
        }
    }
    Ok(())
}

fn members_of<'c>(cx: &'c mut Collector<'_>, refclass: u32, oid: u32) -> Option<&'c mut Members> {
    let id = cx.catalog.by_oid(refclass, oid)?;
    match &mut cx.catalog[id].detail {
        Detail::OperatorFamily(family) => Some(&mut family.members),
        Detail::OperatorClass(class) => class.members_mut(),
        _ => None,
    }
}

/// Classes or families, each with its family.
#[derive(Clone, Copy)]
struct Objects<'a> {
    refclass: u32,
    oids: &'a [u32],
    families: &'a [u32],
}

impl Objects<'_> {
    /// Returns the rows of the members of each object.
    async fn members(
        self,
        cx: &Collector<'_>,
        all: &CatalogQuery,
        of_one: &CatalogQuery,
    ) -> Result<HashMap<u32, Vec<CatalogRow>>> {
        let mut members = by_object(cx.rows_with(all, &[&self.refclass, &self.oids]).await?)?;
        let mut ambiguous = Vec::new();
        for (oid, family) in self.oids.iter().zip(self.families) {
            let rows = members.get(oid).map_or(&[][..], Vec::as_slice);
            let numbers = rows.iter().map(|row| row.int2("number")).collect::<Result<Vec<_>>>()?;
            if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
                ambiguous.push((*oid, *family));
            }
        }
        if !ambiguous.is_empty() {
            let Some(template) = of_one.render(cx.session.version()) else { return Ok(members) };
            let sql = union_of(&template, self.refclass, &ambiguous);
            members.extend(by_object(cx.rows_of(of_one.what, &sql, &[]).await?)?);
        }
        Ok(members)
    }
}

fn by_object(rows: Vec<CatalogRow>) -> Result<HashMap<u32, Vec<CatalogRow>>> {
    let mut members: HashMap<u32, Vec<CatalogRow>> = HashMap::new();
    for row in rows {
        members.entry(row.oid("oid")?).or_default().push(row);
    }
    Ok(members)
}

/// Combines the subqueries for all objects, given with their families, in one statement.
fn union_of(template: &str, refclass: u32, objects: &[(u32, u32)]) -> String {
    let branches = objects.iter().map(|(oid, family)| {
        template
            .replace("{class}", &refclass.to_string())
            .replace("{oid}", &oid.to_string())
            .replace("{family}", &family.to_string())
    });
    branches.collect::<Vec<_>>().join("\nUNION ALL")
}

#[cfg(test)]
pub(in crate::sql::kind) mod tests {
    use super::*;

    pub(in crate::sql::kind) fn members() -> Members {
        let operator = |number, sort_family| MemberOperator {
            number,
            operator: "s.<(integer,integer)".to_owned(),
            sort_family,
        };
        Members {
            operators: vec![operator(1, None), operator(15, Some(("s".to_owned(), "F".to_owned())))],
            functions: vec![MemberFunction {
                number: 1,
                function: "btint4cmp(integer,integer)".to_owned(),
                left: "integer".to_owned(),
                right: "bigint".to_owned(),
            }],
        }
    }

    #[test]
    fn each_ambiguous_object_is_a_branch_of_its_own() {
        assert_eq!(
            union_of(" ({class} {oid} {family} {oid})", 9, &[(1, 2), (3, 4)]),
            " (9 1 2 1)\nUNION ALL (9 3 4 3)"
        );
    }
}
