//! Operator families, and the operators and functions that belong to families and classes alike.

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{Emitter, Target};
use crate::sql::error::Result;
use crate::sql::ident::Quoting;
use crate::sql::kind::function::oids_to_describe;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, ObjectKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select::select_object;

/// Built-in families too, as classes may belong to them.
const QUERY: CatalogQuery = CatalogQuery {
    what: "operator families",
    since: PG13,
    text: "
SELECT f.oid, f.opfname::text AS name, f.opfnamespace AS namespace, f.opfowner AS owner, f.opfmethod AS method
  FROM pg_catalog.pg_opfamily f
 ORDER BY f.oid",
    gates: &[],
};

/// The members that depend on the given objects: on a family itself if they are loose, else on a class.
/// A family's name also occurs as the sort order of another family's members, which are not its own.
///
/// Members with equal numbers come in the order that the server's sort leaves them in, which
/// is not stable. So there is one sort for each object, over the same rows in the same order as when
/// they are asked for object by object.
const OPERATORS: CatalogQuery = CatalogQuery {
    what: "operators of operator classes and families",
    since: PG13,
    text: "
SELECT o.oid, m.strategy, m.operator, m.sort_family, m.sort_namespace
  FROM ROWS FROM (pg_catalog.unnest($2::pg_catalog.oid[]), pg_catalog.unnest($3::pg_catalog.oid[]))
           AS o (oid, family)
       CROSS JOIN LATERAL
       (SELECT a.amopstrategy AS strategy, a.amopopr::regoperator::text AS operator,
               (SELECT f.opfname::text FROM pg_catalog.pg_opfamily f WHERE f.oid = a.amopsortfamily) AS sort_family,
               (SELECT n.nspname::text
                  FROM pg_catalog.pg_opfamily f
                       JOIN pg_catalog.pg_namespace n ON n.oid = f.opfnamespace
                 WHERE f.oid = a.amopsortfamily) AS sort_namespace
          FROM (SELECT a.*
                  FROM pg_catalog.pg_amop a
                       JOIN pg_catalog.pg_depend d
                         ON d.classid = 'pg_catalog.pg_amop'::pg_catalog.regclass AND d.objid = a.oid
                 WHERE d.refclassid = $1
                   AND d.refobjid = o.oid
                   AND a.amopfamily = o.family
                 ORDER BY a.oid) a
         ORDER BY a.amopstrategy) m",
    gates: &[],
};

/// See [`OPERATORS`].
const FUNCTIONS: CatalogQuery = CatalogQuery {
    what: "functions of operator classes and families",
    since: PG13,
    text: "
SELECT o.oid, m.number, m.function, m.left, m.right
  FROM pg_catalog.unnest($2::pg_catalog.oid[]) AS o (oid)
       CROSS JOIN LATERAL
       (SELECT a.amprocnum AS number, a.amproc::regprocedure::text AS function,
               a.amproclefttype::regtype::text AS left, a.amprocrighttype::regtype::text AS right
          FROM (SELECT a.*
                  FROM pg_catalog.pg_amproc a
                       JOIN pg_catalog.pg_depend d
                         ON d.classid = 'pg_catalog.pg_amproc'::pg_catalog.regclass AND d.objid = a.oid
                 WHERE d.refclassid = $1
                   AND d.refobjid = o.oid
                 ORDER BY a.oid) a
         ORDER BY a.amprocnum) m",
    gates: &[],
};

/// An operator family.
#[derive(Debug, Default)]
pub struct OperatorFamily {
    /// OID of the access method.
    pub method: u32,
    /// The members that belong to none of its classes.
    members: Members,
}

/// The operators and functions of a class, or the loose ones of a family.
#[derive(Debug, Default)]
pub(super) struct Members {
    operators: Vec<MemberOperator>,
    functions: Vec<MemberFunction>,
}

#[derive(Debug)]
struct MemberOperator {
    strategy: i16,
    /// The operator with its operands' types, qualified and quoted.
    operator: String,
    /// Namespace and name of the family that orders by the operator's result.
    sort_family: Option<(String, String)>,
}

#[derive(Debug)]
struct MemberFunction {
    number: i16,
    /// The function with its arguments' types, qualified and quoted.
    function: String,
    /// Left input type, formatted.
    left: String,
    /// Right input type, formatted.
    right: String,
}

impl Members {
    /// Each member as CREATE OPERATOR CLASS and ALTER OPERATOR FAMILY name it.
    pub(super) fn clauses(&self, quoting: &Quoting) -> Vec<String> {
        let operators = self.operators.iter().map(|member| {
            let mut clause = format!("OPERATOR {} {}", member.strategy, member.operator);
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

/// What stands between two members.
pub(super) const SEPARATOR: &str = " ,\n    ";

/// Reads the members of the families or classes (`refclass`) with these OIDs; `families` are the
/// families that they are in, one for each. Hands each member to the object that it belongs to.
pub(super) async fn describe_members(
    cx: &mut Collector<'_>,
    refclass: u32,
    oids: &[u32],
    families: &[u32],
) -> Result<()> {
    for row in cx.rows_with(&OPERATORS, &[&refclass, &oids, &families]).await? {
        let sort_family = match (row.opt_text("sort_namespace")?, row.opt_text("sort_family")?) {
            (Some(namespace), Some(name)) => Some((namespace, name)),
            _ => None,
        };
        let member =
            MemberOperator { strategy: row.int2("strategy")?, operator: row.text("operator")?, sort_family };
        if let Some(members) = members_of(cx, refclass, row.oid("oid")?) {
            members.operators.push(member);
        }
    }
    for row in cx.rows_with(&FUNCTIONS, &[&refclass, &oids]).await? {
        let member = MemberFunction {
            number: row.int2("number")?,
            function: row.text("function")?,
            left: row.text("left")?,
            right: row.text("right")?,
        };
        if let Some(members) = members_of(cx, refclass, row.oid("oid")?) {
            members.functions.push(member);
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

/// Identifies the operator families.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let family = OperatorFamily { method: row.oid("method")?, members: Members::default() };
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let catalog_id = CatalogId::new(class::PG_OPFAMILY, row.oid("oid")?);
        let owner = cx.role(row.oid("owner")?)?;
        let detail = Detail::OperatorFamily(family);
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
        cx.catalog[id].owner = Some(owner);
        select_object(cx, id);
    }
    Ok(())
}

/// Reads what the DDL of the operator families to be dumped needs, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, ObjectKind::OperatorFamily);
    if oids.is_empty() {
        return Ok(());
    }
    describe_members(cx, class::PG_OPFAMILY, &oids, &oids).await
}

/// The quoted name of an access method.
pub(super) fn method_name(em: &mut Emitter<'_>, oid: u32) -> String {
    match em.catalog.by_oid(class::PG_AM, oid) {
        Some(id) => em.quoting.id(&em.catalog[id].name).to_string(),
        None => {
            let text = format!("access method with OID {oid} does not exist");
            em.fail(crate::sql::error::SqlError::Inconsistent(text));
            String::new()
        }
    }
}

/// Writes the DDL of one operator family.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, family: &OperatorFamily) {
    if em.options.data_only {
        return;
    }
    let method = method_name(em, family.method);
    if object.dumps(Components::DEFINITION) {
        let name = format!("{} USING {method}", em.catalog.qualified(object));
        let mut definition = format!("CREATE OPERATOR FAMILY {name};\n");
        let members = family.members.clauses(em.quoting);
        if !members.is_empty() {
            put!(definition, "ALTER OPERATOR FAMILY {name} ADD\n    {};\n", members.join(SEPARATOR));
        }
        let entry = TocEntry {
            definition,
            drop: format!("DROP OPERATOR FAMILY {name};\n"),
            ..em.entry_for(object, "OPERATOR FAMILY", Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = format!("{} USING {method}", em.quoting.id(&object.name));
        let namespace = em.catalog.namespace_name(object);
        let target =
            Target { object_type: "OPERATOR FAMILY", name: &name, namespace, owner: object.owner_name() };
        em.comment(object, &target);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::sql::kind::access_method::AccessMethod;
    use crate::sql::kind::data_type::tests::{catalog, entries};
    use crate::sql::object::Catalog;

    pub(in crate::sql::kind) fn members() -> Members {
        let operator = |strategy, sort_family| MemberOperator {
            strategy,
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

    pub(in crate::sql::kind) fn add_method(catalog: &mut Catalog) {
        let method = Detail::AccessMethod(AccessMethod { kind: 'i', handler: "h".to_owned() });
        let id = catalog.add(CatalogId::new(class::PG_AM, 403), "btree".to_owned(), None, method);
        catalog[id].dump = Components::empty();
    }

    #[test]
    fn loose_members_are_added_to_the_family() {
        let (mut catalog, namespace) = catalog();
        add_method(&mut catalog);
        for (oid, members) in [(1, Members::default()), (2, members())] {
            let family = Detail::OperatorFamily(OperatorFamily { method: 403, members });
            let catalog_id = CatalogId::new(class::PG_OPFAMILY, oid);
            catalog.add(catalog_id, "F".to_owned(), Some(namespace), family);
        }
        let entries = entries(&mut catalog);
        assert_eq!(entries[0].definition, "CREATE OPERATOR FAMILY s.\"F\" USING btree;\n");
        assert_eq!(
            entries[1].definition,
            "CREATE OPERATOR FAMILY s.\"F\" USING btree;\nALTER OPERATOR FAMILY s.\"F\" USING btree ADD\n    \
             OPERATOR 1 s.<(integer,integer) ,\n    \
             OPERATOR 15 s.<(integer,integer) FOR ORDER BY s.\"F\" ,\n    \
             FUNCTION 1 (integer, bigint) btint4cmp(integer,integer);\n"
        );
        assert_eq!(entries[1].drop, "DROP OPERATOR FAMILY s.\"F\" USING btree;\n");
    }
}
