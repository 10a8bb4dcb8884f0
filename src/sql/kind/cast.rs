//! Casts.

use crate::archive::toc::TocEntry;
use crate::protocol::version::{PG13, PG14};
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::kind::{data_type, function};
use crate::sql::object::{
    Catalog, CatalogId, Components, Detail, DumpObject, EntryKind, LAST_BUILTIN_OID, Section, class,
};
use crate::sql::query::{CatalogQuery, Gate};
use crate::sql::select::{everything_or_nothing, select_by_extension};

/// Omits the cast from a range to its multirange, because `CREATE TYPE … AS RANGE` creates it.
const QUERY: CatalogQuery = CatalogQuery {
    what: "casts",
    since: PG13,
    text: "
SELECT c.oid, c.castsource AS source, c.casttarget AS target, c.castfunc AS function, c.castcontext AS context,
       c.castmethod AS method
  FROM pg_catalog.pg_cast c
 WHERE {no_multirange}
 ORDER BY c.castsource, c.casttarget",
    gates: &[Gate {
        column: "no_multirange",
        before: "true",
        steps: &[(PG14, "NOT EXISTS (SELECT 1
                     FROM pg_catalog.pg_range r
                    WHERE r.rngtypid = c.castsource
                      AND r.rngmultitypid = c.casttarget)")],
    }],
};

codes! {
    /// When a cast is applied.
    CastContext("castcontext") {
        /// Only where the statement has a cast.
        Explicit = 'e',
        /// In assignments, too.
        Assignment = 'a',
        /// In all expressions.
        Implicit = 'i',
    }
}

codes! {
    /// How a cast converts.
    CastMethod("castmethod") {
        Function = 'f',
        /// The types have the same binary form.
        Binary = 'b',
        /// The output function of the one type and the input function of the other.
        InputOutput = 'i',
    }
}

/// A cast.
#[derive(Debug)]
pub struct Cast {
    /// OID of the source type.
    pub source: u32,
    /// OID of the target type.
    pub target: u32,
    /// OID of the function, 0 if there is none.
    function: u32,
    /// When it is applied.
    context: CastContext,
    /// How it converts; `None` for an unknown code, of which pg_dump only warns.
    method: Option<CastMethod>,
}

/// Identifies the casts.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let cast = Cast {
            source: row.oid("source")?,
            target: row.oid("target")?,
            function: row.oid("function")?,
            context: row.code("context")?,
            method: row.try_code("method")?.ok(),
        };
        // The name is used only to sort casts.
        let name = match (type_name(&cx.catalog, cast.source), type_name(&cx.catalog, cast.target)) {
            (Some(source), Some(target)) => format!("{source} {target}"),
            _ => String::new(),
        };
        let catalog_id = CatalogId::new(class::PG_CAST, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, name, None, Detail::Cast(cast));
        if !select_by_extension(cx, id) {
            let is_builtin = catalog_id.oid <= LAST_BUILTIN_OID;
            cx.catalog[id].dump = if is_builtin { Components::empty() } else { everything_or_nothing(cx) };
        }
    }
    Ok(())
}

/// Returns the raw name of a type, without its namespace.
pub(super) fn type_name(catalog: &Catalog, oid: u32) -> Option<&str> {
    catalog.by_oid(class::PG_TYPE, oid).map(|id| catalog[id].name.as_str())
}

/// Writes the DDL of one cast.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, cast: &Cast) {
    if em.options.data_only {
        return;
    }
    let source = data_type::formatted(em, cast.source, "NONE");
    let types = format!("({source} AS {})", data_type::formatted(em, cast.target, "NONE"));
    if object.dumps(Components::DEFINITION) {
        let method = match cast.method {
            Some(CastMethod::Binary) => "WITHOUT FUNCTION".to_owned(),
            Some(CastMethod::InputOutput) => "WITH INOUT".to_owned(),
            Some(CastMethod::Function) if cast.function != 0 => {
                format!("WITH FUNCTION {}", function::qualified_signature(em, cast.function))
            }
            Some(CastMethod::Function) => {
                em.warn("bogus value in pg_cast.castfunc or pg_cast.castmethod field");
                String::new()
            }
            None => {
                em.warn("bogus value in pg_cast.castmethod field");
                String::new()
            }
        };
        let context = match cast.context {
            CastContext::Assignment => " AS ASSIGNMENT",
            CastContext::Implicit => " AS IMPLICIT",
            CastContext::Explicit => "",
        };
        let entry = TocEntry {
            tag: format!("CAST {types}"),
            definition: format!("CREATE CAST {types} {method}{context};\n"),
            drop: format!("DROP CAST {types};\n"),
            ..em.entry_for(object, EntryKind::Cast, Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        em.comment(object, &CommentTarget { object_type: "CAST", name: &types, namespace: None, owner: "" });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{add_type, catalog, entries};
    use crate::sql::kind::function::Function;

    #[test]
    fn a_cast_names_its_function_by_signature() {
        let (mut catalog, namespace) = catalog();
        add_type(&mut catalog, 23, "integer");
        add_type(&mut catalog, 90, "s.\"T\"");
        let f = Function { argument_types: vec![23], ..Function::default() };
        let f = catalog.add(
            CatalogId::new(class::PG_PROC, 7),
            "F".to_owned(),
            Some(namespace),
            Detail::Function(f),
        );
        catalog[f].dump = Components::empty();
        let cast = |method, context, function| {
            Detail::Cast(Cast { source: 23, target: 90, function, context, method: Some(method) })
        };
        catalog.add(
            CatalogId::new(class::PG_CAST, 1),
            String::new(),
            None,
            cast(CastMethod::Function, CastContext::Assignment, 7),
        );
        catalog.add(
            CatalogId::new(class::PG_CAST, 2),
            String::new(),
            None,
            cast(CastMethod::InputOutput, CastContext::Explicit, 0),
        );
        let entries = entries(&mut catalog);
        assert_eq!(entries[0].tag, "CAST (integer AS s.\"T\")");
        assert_eq!(
            entries[0].definition,
            "CREATE CAST (integer AS s.\"T\") WITH FUNCTION s.\"F\"(integer) AS ASSIGNMENT;\n"
        );
        assert_eq!(entries[0].drop, "DROP CAST (integer AS s.\"T\");\n");
        assert_eq!(entries[1].definition, "CREATE CAST (integer AS s.\"T\") WITH INOUT;\n");
    }
}
