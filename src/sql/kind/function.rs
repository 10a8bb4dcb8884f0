//! Functions, including window functions, and procedures. Aggregates have their own module.

use crate::archive::toc::TocEntry;
use crate::protocol::version::{PG13, PG14};
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::ident::dollar_quoted;
use crate::sql::kind::data_type;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, ObjectKind, Section, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};
use crate::sql::select::select_object;
use crate::sql::setting::Setting;

/// Omits functions that are internal to another object (the constructors of range types), because that object
/// creates them. Functions in `pg_catalog` are read only if a user's cast or transform uses them or if their
/// privileges differ from the initial ones.
const QUERY: CatalogQuery = CatalogQuery {
    what: "functions",
    since: PG13,
    text: "
SELECT p.oid, p.proname::text AS name, p.pronamespace AS namespace, p.proowner AS owner,
       pg_catalog.textin(pg_catalog.array_out(p.proacl)) AS acl,
       CASE WHEN p.proacl IS NOT NULL
            THEN pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('f', p.proowner))) END AS acl_default,
       p.prolang AS language, p.proargtypes AS argument_types, p.prorettype AS return_type
  FROM (SELECT p.oid, p.proname, p.pronamespace, p.proowner, p.proacl, p.prolang, p.proargtypes,
               p.prorettype, p.prokind,
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_proc p) p
       LEFT JOIN pg_catalog.pg_init_privs pip
              ON pip.objoid = p.oid AND pip.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND pip.objsubid = 0
 WHERE p.prokind <> 'a'
   AND NOT EXISTS (SELECT 1
                     FROM pg_catalog.pg_depend d
                    WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
                      AND d.objid = p.oid
                      AND d.deptype = 'i')
   AND (p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace
        OR EXISTS (SELECT 1 FROM pg_catalog.pg_cast c WHERE c.oid > 16383 AND c.castfunc = p.oid)
        OR EXISTS (SELECT 1
                     FROM pg_catalog.pg_transform t
                    WHERE t.oid > 16383
                      AND (t.trffromsql = p.oid OR t.trftosql = p.oid))
        OR p.proacl IS DISTINCT FROM pip.initprivs)
 ORDER BY p.place",
    gates: &[],
};

const DETAILS: CatalogQuery = CatalogQuery {
    what: "function definitions",
    since: PG13,
    text: "
SELECT p.oid, p.proname::text AS name, p.prokind AS kind, p.proretset AS returns_set,
       p.prosrc AS source, p.probin AS binary_file,
       {body} AS body, p.provolatile AS volatility, p.proisstrict AS strict, p.prosecdef AS security_definer,
       p.proleakproof AS leakproof, p.proparallel AS parallel,
       pg_catalog.textin(pg_catalog.float4out(p.procost)) AS cost,
       pg_catalog.textin(pg_catalog.float4out(p.prorows)) AS rows,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(p.prosupport)), '-') AS support, p.proconfig AS settings,
       p.protrftypes AS transform_types,
       pg_catalog.pg_get_function_arguments(p.oid) AS arguments,
       pg_catalog.pg_get_function_identity_arguments(p.oid) AS identity_arguments,
       pg_catalog.pg_get_function_result(p.oid) AS result, l.lanname::text AS language_name
  FROM pg_catalog.pg_proc p
       JOIN pg_catalog.pg_language l ON l.oid = p.prolang
 WHERE p.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY p.oid",
    gates: &[Gate {
        column: "body",
        before: "NULL::text",
        steps: &[(PG14, "pg_catalog.pg_get_function_sqlbody(p.oid)")],
    }],
};

/// A function or procedure.
#[derive(Debug, Default)]
pub struct Function {
    /// OID of the language.
    pub language: u32,
    /// OIDs of the input argument types (`proargtypes`).
    pub argument_types: Vec<u32>,
    /// OID of the result type.
    pub return_type: u32,
    /// Set by loop repair: the definition moves to the post-data section.
    pub postponed: bool,
    /// The fields that only its DDL needs; `None` unless the function is dumped.
    pub(super) details: Option<Box<FunctionDetails>>,
}

codes! {
    /// What a routine is.
    #[derive(Default)]
    RoutineKind("prokind") {
        #[default]
        Function = 'f',
        Procedure = 'p',
        Aggregate = 'a',
        Window = 'w',
    }
}

codes! {
    /// Whether the result of a function may change.
    #[derive(Default)]
    Volatility("provolatile", "unrecognized {column} value for function {object}") {
        Immutable = 'i',
        Stable = 's',
        #[default]
        Volatile = 'v',
    }
}

codes! {
    /// Where parallel queries may run a function or an aggregate.
    #[derive(Default)]
    Parallel("proparallel", "unrecognized {column} value for function {object}") {
        Safe = 's',
        /// Only in the leader.
        Restricted = 'r',
        #[default]
        Unsafe = 'u',
    }
}

/// The fields of a function that only its DDL needs.
#[derive(Debug, Default)]
pub(super) struct FunctionDetails {
    /// What it is.
    kind: RoutineKind,
    /// `RETURNS SETOF`.
    returns_set: bool,
    /// The source text, or the link symbol of a C function.
    source: String,
    /// The library file of a C function; empty for others.
    binary_file: String,
    /// The SQL-standard body: `RETURN …` or `BEGIN ATOMIC … END`.
    body: Option<String>,
    /// Whether its result may change.
    volatility: Volatility,
    /// `STRICT`.
    strict: bool,
    /// `SECURITY DEFINER`.
    security_definer: bool,
    /// `LEAKPROOF`.
    leakproof: bool,
    /// Where parallel queries may run it.
    parallel: Parallel,
    /// `COST`, as the server prints it.
    cost: String,
    /// `ROWS`, as the server prints it.
    rows: String,
    /// The support function, qualified and quoted.
    support: Option<String>,
    /// `SET` clauses, each as `name=value`.
    settings: Vec<String>,
    /// OIDs of the types that transforms apply to.
    transform_types: Vec<u32>,
    /// The arguments with names, modes and defaults.
    arguments: String,
    /// The arguments that identify the function.
    identity_arguments: String,
    /// The result; `None` for procedures.
    result: Option<String>,
    /// Name of the language.
    language_name: String,
}

impl FunctionDetails {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        Ok(FunctionDetails {
            kind: row.code("kind")?,
            returns_set: row.bool("returns_set")?,
            source: row.opt_text("source")?.unwrap_or_default(),
            binary_file: row.opt_text("binary_file")?.unwrap_or_default(),
            body: row.opt_text("body")?,
            volatility: row.code("volatility")?,
            strict: row.bool("strict")?,
            security_definer: row.bool("security_definer")?,
            leakproof: row.bool("leakproof")?,
            parallel: row.code("parallel")?,
            cost: row.text("cost")?,
            rows: row.text("rows")?,
            support: row.opt_text("support")?,
            settings: row.texts("settings")?,
            transform_types: row.oids("transform_types")?,
            arguments: row.text("arguments")?,
            identity_arguments: row.text("identity_arguments")?,
            result: row.opt_text("result")?,
            language_name: row.text("language_name")?,
        })
    }

    /// Returns the kind of the entry, whose name is also the keyword for DDL. A window function is a
    /// `FUNCTION`.
    fn entry_kind(&self) -> EntryKind {
        if self.kind == RoutineKind::Procedure { EntryKind::Procedure } else { EntryKind::Function }
    }
}

/// Identifies the functions.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let function = Function {
            language: row.oid("language")?,
            argument_types: row.oids("argument_types")?,
            return_type: row.oid("return_type")?,
            ..Function::default()
        };
        add_routine(cx, &row, Detail::Function(function))?;
    }
    Ok(())
}

/// Adds the object for a function or aggregate, with its owner and privileges.
pub(super) fn add_routine(cx: &mut Collector<'_>, row: &CatalogRow, detail: Detail) -> Result<()> {
    let namespace = cx.namespace(row.oid("namespace")?)?;
    let catalog_id = CatalogId::new(class::PG_PROC, row.oid("oid")?);
    let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), detail);
    select_object(cx, id);
    cx.set_owner_and_acl(id, row)
}

/// Returns the OIDs of the objects of a kind of which any component is dumped.
pub(super) fn oids_to_describe(cx: &Collector<'_>, kind: ObjectKind) -> Vec<u32> {
    if cx.options.data_only {
        return Vec::new();
    }
    let objects = cx.catalog.iter().filter(|o| o.kind() == kind && cx.dumps(o.id, Components::all()));
    objects.map(|object| object.catalog_id.oid).collect()
}

/// Reads the DDL details of the functions to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, ObjectKind::Function);
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&DETAILS, &[&oids]).await? {
        let details = Box::new(FunctionDetails::from_row(&row)?);
        let Some(id) = cx.catalog.by_oid(class::PG_PROC, row.oid("oid")?) else { continue };
        if let Some(function) = cx.catalog.function_mut(id) {
            function.details = Some(details);
        }
    }
    Ok(())
}

/// Returns `name(type, …)`, the form in which privileges, casts and transforms refer to a function or
/// aggregate. `name` is raw in tags and quoted in statements.
pub(in crate::sql) fn signature(em: &mut Emitter<'_>, name: &str, argument_types: &[u32]) -> String {
    let types: Vec<_> = argument_types.iter().map(|oid| data_type::formatted(em, *oid, "-")).collect();
    format!("{name}({})", types.join(", "))
}

/// Returns the qualified signature of the function with this OID, for statements that refer to it.
pub(super) fn qualified_signature(em: &mut Emitter<'_>, oid: u32) -> String {
    let catalog = em.catalog;
    let found =
        catalog.by_oid(class::PG_PROC, oid).and_then(|id| Some((&catalog[id], catalog.function(id)?)));
    let Some((object, function)) = found else {
        let text = format!("could not find function definition for function with OID {oid}");
        em.fail(SqlError::Inconsistent(text));
        return String::new();
    };
    signature(em, &catalog.qualified(object), &function.argument_types)
}

/// Writes the DDL of one function.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, function: &Function) {
    if em.options.data_only {
        return;
    }
    let Some(details) = &function.details else {
        let name = em.catalog.qualified(object);
        em.fail(SqlError::Inconsistent(format!("function {name} could not be read from the catalogs")));
        return;
    };
    let identity = format!("{}({})", em.quoting.id(&object.name), details.identity_arguments);
    if object.dumps(Components::DEFINITION) {
        emit_definition(em, object, function, details, &identity);
    }
    let namespace = em.catalog.namespace_name(object);
    let target = CommentTarget {
        object_type: details.entry_kind().as_str(),
        name: &identity,
        namespace,
        owner: object.owner_name(),
    };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
    if object.dumps(Components::ACL) {
        em.acl(object, &target);
    }
}

fn emit_definition(
    em: &mut Emitter<'_>,
    object: &DumpObject,
    function: &Function,
    details: &FunctionDetails,
    identity: &str,
) {
    let kind = details.entry_kind();
    let namespace = em.quoting.id(em.catalog.namespace_name(object).unwrap_or(""));
    let mut definition =
        format!("CREATE {kind} {namespace}.{}({})", em.quoting.id(&object.name), details.arguments);
    put_clauses(em, &mut definition, function, details);
    put!(definition, "\n    {};\n", as_clause(em, details));
    let qualified = format!("{namespace}.{identity}");
    definition.push_str(&em.depends_on_extension(object, kind.as_str(), &qualified));
    let section = if function.postponed { Section::PostData } else { Section::PreData };
    let entry = TocEntry {
        tag: signature(em, &object.name, &function.argument_types),
        definition,
        drop: format!("DROP {kind} {qualified};\n"),
        ..em.entry_for(object, kind, section)
    };
    em.push(entry);
}

/// Writes the clauses between the arguments and the body.
fn put_clauses(em: &mut Emitter<'_>, sql: &mut String, function: &Function, details: &FunctionDetails) {
    match &details.result {
        _ if details.kind == RoutineKind::Procedure => {}
        Some(result) => put!(sql, " RETURNS {result}"),
        None => {
            let setof = if details.returns_set { "SETOF " } else { "" };
            put!(sql, " RETURNS {setof}{}", data_type::formatted(em, function.return_type, "-"));
        }
    }
    put!(sql, "\n    LANGUAGE {}", em.quoting.id(&details.language_name));
    for (i, oid) in details.transform_types.iter().enumerate() {
        let before = if i == 0 { " TRANSFORM " } else { ", " };
        put!(sql, "{before}FOR TYPE {}", data_type::formatted(em, *oid, "NONE"));
    }
    if details.kind == RoutineKind::Window {
        sql.push_str(" WINDOW");
    }
    sql.push_str(match details.volatility {
        Volatility::Immutable => " IMMUTABLE",
        Volatility::Stable => " STABLE",
        Volatility::Volatile => "",
    });
    for (set, clause) in [
        (details.strict, " STRICT"),
        (details.security_definer, " SECURITY DEFINER"),
        (details.leakproof, " LEAKPROOF"),
    ] {
        sql.push_str(if set { clause } else { "" });
    }
    put_estimates(sql, details);
    sql.push_str(match details.parallel {
        Parallel::Safe => " PARALLEL SAFE",
        Parallel::Restricted => " PARALLEL RESTRICTED",
        Parallel::Unsafe => "",
    });
    for setting in details.settings.iter().filter_map(|item| Setting::parse(item)) {
        put!(sql, "\n    {}", setting.clause(em.catalog.dialect, em.quoting));
    }
}

/// Writes the planner's clauses that differ from the server's defaults.
fn put_estimates(sql: &mut String, details: &FunctionDetails) {
    let default_cost = if matches!(details.language_name.as_str(), "internal" | "c") { "1" } else { "100" };
    if details.cost != "0" && details.cost != default_cost {
        put!(sql, " COST {}", details.cost);
    }
    if details.returns_set && details.rows != "0" && details.rows != "1000" {
        put!(sql, " ROWS {}", details.rows);
    }
    if let Some(support) = &details.support {
        put!(sql, " SUPPORT {support}");
    }
}

/// Returns the body: SQL-standard, or `AS` with the source text or with the file and the link symbol.
fn as_clause(em: &Emitter<'_>, details: &FunctionDetails) -> String {
    if let Some(body) = &details.body {
        return body.clone();
    }
    let source = &details.source;
    let literal = em.quoting.literal(source);
    if details.binary_file.is_empty() {
        return match em.options.disable_dollar_quoting {
            true => format!("AS {literal}"),
            false => format!("AS {}", dollar_quoted(source, None)),
        };
    }
    let file = em.quoting.literal(&details.binary_file);
    if source.is_empty() {
        return format!("AS {file}");
    }
    // A link symbol is usually a plain word, which needs no dollar quoting.
    if em.options.disable_dollar_quoting || !source.contains(['\'', '\\']) {
        format!("AS {file}, {literal}")
    } else {
        format!("AS {file}, {}", dollar_quoted(source, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::kind::data_type::tests::{add_type, catalog, entries};

    fn details() -> FunctionDetails {
        FunctionDetails {
            kind: RoutineKind::Function,
            volatility: Volatility::Volatile,
            parallel: Parallel::Unsafe,
            cost: "100".to_owned(),
            rows: "0".to_owned(),
            result: Some("integer".to_owned()),
            language_name: "sql".to_owned(),
            source: "SELECT 1".to_owned(),
            ..FunctionDetails::default()
        }
    }

    fn entry_of(name: &str, function: Function) -> TocEntry {
        let (mut catalog, namespace) = catalog();
        add_type(&mut catalog, 23, "integer");
        let catalog_id = CatalogId::new(class::PG_PROC, 100);
        catalog.add(catalog_id, name.to_owned(), Some(namespace), Detail::Function(function));
        entries(&mut catalog).pop().unwrap()
    }

    fn with(argument_types: Vec<u32>, details: FunctionDetails) -> Function {
        Function { argument_types, details: Some(Box::new(details)), ..Function::default() }
    }

    #[test]
    fn a_plain_function_names_only_what_is_not_default() {
        let details = FunctionDetails {
            arguments: "a integer DEFAULT 1".to_owned(),
            identity_arguments: "a integer".to_owned(),
            ..details()
        };
        let entry = entry_of("F", with(vec![23], details));
        assert_eq!(entry.tag, "F(integer)");
        assert_eq!(
            entry.definition,
            "CREATE FUNCTION s.\"F\"(a integer DEFAULT 1) RETURNS integer\n    LANGUAGE sql\n    AS $$SELECT 1$$;\n"
        );
        assert_eq!(entry.drop, "DROP FUNCTION s.\"F\"(a integer);\n");
        assert_eq!(entry.section, Section::PreData);
    }

    #[test]
    fn every_clause_has_its_place() {
        let details = FunctionDetails {
            kind: RoutineKind::Window,
            returns_set: true,
            binary_file: "$libdir/x".to_owned(),
            source: "sym".to_owned(),
            volatility: Volatility::Immutable,
            strict: true,
            security_definer: true,
            leakproof: true,
            parallel: Parallel::Restricted,
            cost: "7.5".to_owned(),
            rows: "10".to_owned(),
            support: Some("s.sup".to_owned()),
            settings: vec!["work_mem=1MB".to_owned()],
            transform_types: vec![23],
            language_name: "c".to_owned(),
            ..details()
        };
        let function = Function { postponed: true, ..with(vec![], details) };
        let entry = entry_of("f", function);
        assert_eq!(
            entry.definition,
            "CREATE FUNCTION s.f() RETURNS integer\n    LANGUAGE c TRANSFORM FOR TYPE integer WINDOW IMMUTABLE \
             STRICT SECURITY DEFINER LEAKPROOF COST 7.5 ROWS 10 SUPPORT s.sup PARALLEL RESTRICTED\n    \
             SET work_mem TO '1MB'\n    AS '$libdir/x', 'sym';\n"
        );
        assert_eq!(entry.section, Section::PostData);
    }

    #[test]
    fn a_procedure_has_no_result_and_may_have_a_standard_body() {
        let details = FunctionDetails {
            kind: RoutineKind::Procedure,
            result: None,
            body: Some("BEGIN ATOMIC\n SELECT 1;\nEND".to_owned()),
            ..details()
        };
        assert_eq!(
            entry_of("p", with(vec![], details)).definition,
            "CREATE PROCEDURE s.p()\n    LANGUAGE sql\n    BEGIN ATOMIC\n SELECT 1;\nEND;\n"
        );
    }
}
