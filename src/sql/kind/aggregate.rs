//! Aggregates: normal, ordered-set and hypothetical-set.

use crate::archive::toc::TocEntry;
use crate::protocol::version::PG13;
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::kind::function::Parallel;
use crate::sql::kind::{function, operator};
use crate::sql::object::{Components, Detail, DumpObject, EntryKind, ObjectKind, Section, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};

/// Like functions, aggregates in `pg_catalog` are read only if their privileges were changed.
const QUERY: CatalogQuery = CatalogQuery {
    what: "aggregates",
    since: PG13,
    text: "
SELECT p.oid, p.proname::text AS name, p.pronamespace AS namespace, p.proowner AS owner,
       pg_catalog.textin(pg_catalog.array_out(p.proacl)) AS acl,
       CASE WHEN p.proacl IS NOT NULL
            THEN pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('f', p.proowner))) END AS acl_default,
       p.proargtypes AS argument_types
  FROM (SELECT p.oid, p.proname, p.pronamespace, p.proowner, p.proacl, p.proargtypes, p.prokind,
               pg_catalog.row_number() OVER () AS place
          FROM pg_catalog.pg_proc p) p
       LEFT JOIN pg_catalog.pg_init_privs pip
              ON pip.objoid = p.oid AND pip.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND pip.objsubid = 0
 WHERE p.prokind = 'a'
   AND (p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace OR p.proacl IS DISTINCT FROM pip.initprivs)
 ORDER BY p.place",
    gates: &[],
};

const DETAILS: CatalogQuery = CatalogQuery {
    what: "aggregate definitions",
    since: PG13,
    text: "
SELECT p.oid, p.proname::text AS name, a.aggkind AS kind,
       pg_catalog.textin(pg_catalog.regprocout(a.aggtransfn)) AS transition,
       pg_catalog.textin(pg_catalog.regtypeout(a.aggtranstype)) AS state_type,
       a.aggtransspace AS state_space, a.agginitval AS initial_value,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(a.aggfinalfn)), '-') AS final,
       a.aggfinalextra AS final_extra, a.aggfinalmodify AS final_modify,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(a.aggcombinefn)), '-') AS combine,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(a.aggserialfn)), '-') AS serialize,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(a.aggdeserialfn)), '-') AS deserialize,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(a.aggmtransfn)), '-') AS moving_transition,
       pg_catalog.textin(pg_catalog.regprocout(a.aggminvtransfn)) AS moving_inverse,
       pg_catalog.textin(pg_catalog.regtypeout(a.aggmtranstype)) AS moving_state_type,
       a.aggmtransspace AS moving_state_space,
       a.aggminitval AS moving_initial_value,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(a.aggmfinalfn)), '-') AS moving_final,
       a.aggmfinalextra AS moving_final_extra, a.aggmfinalmodify AS moving_final_modify,
       a.aggsortop::oid AS sort_operator, p.proparallel AS parallel,
       pg_catalog.pg_get_function_arguments(p.oid) AS arguments,
       pg_catalog.pg_get_function_identity_arguments(p.oid) AS identity_arguments
  FROM pg_catalog.pg_aggregate a
       JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid
 WHERE p.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY p.oid",
    gates: &[],
};

/// An aggregate.
#[derive(Debug, Default)]
pub struct Aggregate {
    /// OIDs of the input argument types (`proargtypes`).
    pub argument_types: Vec<u32>,
    /// The fields that only its DDL needs; `None` unless the aggregate is dumped.
    details: Option<Box<AggregateDetails>>,
}

/// The fields of an aggregate that only its DDL needs. Functions and types are qualified and quoted.
#[derive(Debug, Default)]
struct AggregateDetails {
    /// How it is called.
    kind: AggregateKind,
    /// Functions and state of the plain mode.
    plain: AggregatePhase,
    /// Functions and state of the moving-aggregate mode; not supported without a transition function.
    moving: AggregatePhase,
    /// The inverse transition function of moving mode.
    moving_inverse: String,
    /// `COMBINEFUNC`.
    combine: Option<String>,
    /// `SERIALFUNC`.
    serialize: Option<String>,
    /// `DESERIALFUNC`.
    deserialize: Option<String>,
    /// OID of the sort operator, 0 if there is none.
    sort_operator: u32,
    /// Where parallel queries may run it.
    parallel: Parallel,
    /// The arguments with names and modes.
    arguments: String,
    /// The arguments that identify the aggregate.
    identity_arguments: String,
}

codes! {
    /// How an aggregate is called.
    #[derive(Default)]
    AggregateKind("aggkind") {
        #[default]
        Normal = 'n',
        OrderedSet = 'o',
        HypotheticalSet = 'h',
    }
}

codes! {
    /// What the final function does to the state.
    #[derive(Default)]
    FinalModify("aggfinalmodify or aggmfinalmodify", "unrecognized {column} value for aggregate {object}") {
        #[default]
        ReadOnly = 'r',
        /// It may not run twice, but other aggregates may use the state.
        Shareable = 's',
        ReadWrite = 'w',
    }
}

/// The functions and the state of the plain or the moving-aggregate mode.
#[derive(Debug, Default)]
struct AggregatePhase {
    transition: Option<String>,
    state_type: String,
    /// Estimated size of the state, 0 for the default.
    state_space: i32,
    initial_value: Option<String>,
    finalize: Option<String>,
    final_extra: bool,
    /// What the final function does to the state.
    final_modify: FinalModify,
}

impl AggregateDetails {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        Ok(AggregateDetails {
            kind: row.code("kind")?,
            plain: AggregatePhase {
                transition: row.opt_text("transition")?,
                state_type: row.text("state_type")?,
                state_space: row.int4("state_space")?,
                initial_value: row.opt_text("initial_value")?,
                finalize: row.opt_text("final")?,
                final_extra: row.bool("final_extra")?,
                final_modify: row.code("final_modify")?,
            },
            moving: AggregatePhase {
                transition: row.opt_text("moving_transition")?,
                state_type: row.text("moving_state_type")?,
                state_space: row.int4("moving_state_space")?,
                initial_value: row.opt_text("moving_initial_value")?,
                finalize: row.opt_text("moving_final")?,
                final_extra: row.bool("moving_final_extra")?,
                final_modify: row.code("moving_final_modify")?,
            },
            moving_inverse: row.text("moving_inverse")?,
            combine: row.opt_text("combine")?,
            serialize: row.opt_text("serialize")?,
            deserialize: row.opt_text("deserialize")?,
            sort_operator: row.oid("sort_operator")?,
            parallel: row.code("parallel")?,
            arguments: row.text("arguments")?,
            identity_arguments: row.text("identity_arguments")?,
        })
    }
}

/// Identifies the aggregates.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let aggregate = Aggregate { argument_types: row.oids("argument_types")?, details: None };
        function::add_routine(cx, &row, Detail::Aggregate(aggregate))?;
    }
    Ok(())
}

/// Reads the DDL details of the aggregates to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = function::oids_to_describe(cx, ObjectKind::Aggregate);
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&DETAILS, &[&oids]).await? {
        let details = Box::new(AggregateDetails::from_row(&row)?);
        let Some(id) = cx.catalog.by_oid(class::PG_PROC, row.oid("oid")?) else { continue };
        if let Some(aggregate) = cx.catalog.aggregate_mut(id) {
            aggregate.details = Some(details);
        }
    }
    Ok(())
}

/// Writes the DDL of one aggregate.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, aggregate: &Aggregate) {
    if em.options.data_only {
        return;
    }
    let Some(details) = &aggregate.details else {
        let name = em.catalog.qualified(object);
        em.fail(SqlError::Inconsistent(format!("aggregate {name} could not be read from the catalogs")));
        return;
    };
    let name = em.quoting.id(&object.name).to_string();
    let without_arguments = aggregate.argument_types.is_empty();
    let arguments =
        |text: &str| if without_arguments { format!("{name}(*)") } else { format!("{name}({text})") };
    let identity = arguments(&details.identity_arguments);
    let namespace = em.catalog.namespace_name(object);
    if object.dumps(Components::DEFINITION) {
        let clauses = clauses(em, details);
        let qualifier = em.quoting.id(namespace.unwrap_or(""));
        let tag = if without_arguments {
            format!("{}(*)", object.name)
        } else {
            function::signature(em, &object.name, &aggregate.argument_types)
        };
        let entry = TocEntry {
            tag,
            definition: format!(
                "CREATE AGGREGATE {qualifier}.{} (\n{clauses}\n);\n",
                arguments(&details.arguments)
            ),
            drop: format!("DROP AGGREGATE {qualifier}.{identity};\n"),
            ..em.entry_for(object, EntryKind::Aggregate, Section::PreData)
        };
        em.push(entry);
    }
    let target =
        CommentTarget { object_type: "AGGREGATE", name: &identity, namespace, owner: object.owner_name() };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
    if object.dumps(Components::ACL) {
        // GRANT does not support aggregates. It requires a function's signature, without star or ORDER BY.
        let signature = function::signature(em, &name, &aggregate.argument_types);
        em.acl(object, &CommentTarget { object_type: "FUNCTION", name: &signature, ..target });
    }
}

fn clauses(em: &mut Emitter<'_>, details: &AggregateDetails) -> String {
    let plain = &details.plain;
    let transition = plain.transition.as_deref().unwrap_or("-");
    let mut sql = format!("    SFUNC = {transition},\n    STYPE = {}", plain.state_type);
    put_state(em, &mut sql, plain, "");
    put_final(&mut sql, details.kind, plain, "");
    let functions = [
        ("COMBINEFUNC", &details.combine),
        ("SERIALFUNC", &details.serialize),
        ("DESERIALFUNC", &details.deserialize),
    ];
    for (clause, function) in functions {
        if let Some(function) = function {
            put!(sql, ",\n    {clause} = {function}");
        }
    }
    let moving = &details.moving;
    if let Some(transition) = &moving.transition {
        put!(
            sql,
            ",\n    MSFUNC = {transition},\n    MINVFUNC = {},\n    MSTYPE = {}",
            details.moving_inverse,
            moving.state_type
        );
    }
    put_state(em, &mut sql, moving, "M");
    put_final(&mut sql, details.kind, moving, "M");
    if let Some(operator) = operator::reference(em, details.sort_operator) {
        put!(sql, ",\n    SORTOP = {operator}");
    }
    if details.kind == AggregateKind::HypotheticalSet {
        sql.push_str(",\n    HYPOTHETICAL");
    }
    match details.parallel {
        Parallel::Safe => sql.push_str(",\n    PARALLEL = safe"),
        Parallel::Restricted => sql.push_str(",\n    PARALLEL = restricted"),
        Parallel::Unsafe => {}
    }
    sql
}

/// Writes the size and initial value of the state. `mode` is `M` for moving-aggregate mode.
fn put_state(em: &Emitter<'_>, sql: &mut String, phase: &AggregatePhase, mode: &str) {
    if phase.state_space != 0 {
        put!(sql, ",\n    {mode}SSPACE = {}", phase.state_space);
    }
    if let Some(initial_value) = &phase.initial_value {
        put!(sql, ",\n    {mode}INITCOND = {}", em.quoting.literal(initial_value));
    }
}

fn put_final(sql: &mut String, kind: AggregateKind, phase: &AggregatePhase, mode: &str) {
    let Some(function) = &phase.finalize else { return };
    put!(sql, ",\n    {mode}FINALFUNC = {function}");
    if phase.final_extra {
        put!(sql, ",\n    {mode}FINALFUNC_EXTRA");
    }
    // The default of CREATE AGGREGATE. The final function of an ordered-set aggregate sorts the state.
    let default = match kind {
        AggregateKind::Normal => FinalModify::ReadOnly,
        AggregateKind::OrderedSet | AggregateKind::HypotheticalSet => FinalModify::ReadWrite,
    };
    if phase.final_modify == default {
        return;
    }
    let modify = match phase.final_modify {
        FinalModify::ReadOnly => "READ_ONLY",
        FinalModify::Shareable => "SHAREABLE",
        FinalModify::ReadWrite => "READ_WRITE",
    };
    put!(sql, ",\n    {mode}FINALFUNC_MODIFY = {modify}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::acl::Acl;
    use crate::sql::kind::data_type::tests::{add_type, catalog, entries};
    use crate::sql::object::CatalogId;

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn plain() -> AggregatePhase {
        AggregatePhase {
            transition: some("s.step"),
            state_type: "integer".to_owned(),
            final_modify: FinalModify::ReadOnly,
            ..AggregatePhase::default()
        }
    }

    fn entries_of(aggregate: Aggregate) -> Vec<TocEntry> {
        let (mut catalog, namespace) = catalog();
        add_type(&mut catalog, 23, "integer");
        let catalog_id = CatalogId::new(class::PG_PROC, 100);
        let id = catalog.add(catalog_id, "A".to_owned(), Some(namespace), Detail::Aggregate(aggregate));
        catalog[id].components |= Components::ACL;
        catalog[id].acl = Some(Box::new(Acl::new(Some(vec!["bob=X/own".to_owned()]), vec![])));
        entries(&mut catalog)
    }

    #[test]
    fn an_aggregate_without_arguments_has_a_star_but_not_in_grant() {
        let details = AggregateDetails {
            kind: AggregateKind::Normal,
            plain: plain(),
            parallel: Parallel::Unsafe,
            ..AggregateDetails::default()
        };
        let entries = entries_of(Aggregate { argument_types: vec![], details: Some(Box::new(details)) });
        assert_eq!(entries[0].tag, "A(*)");
        assert_eq!(
            entries[0].definition,
            "CREATE AGGREGATE s.\"A\"(*) (\n    SFUNC = s.step,\n    STYPE = integer\n);\n"
        );
        assert_eq!(entries[0].drop, "DROP AGGREGATE s.\"A\"(*);\n");
        assert!(entries[1].definition.contains("ON FUNCTION s.\"A\"() TO bob"));
    }

    #[test]
    fn every_clause_has_its_place() {
        let phase = |function: &str| AggregatePhase {
            transition: some(function),
            state_type: "internal".to_owned(),
            state_space: 8,
            initial_value: some("0"),
            finalize: some("s.fin"),
            final_extra: true,
            final_modify: FinalModify::Shareable,
        };
        let details = AggregateDetails {
            kind: AggregateKind::HypotheticalSet,
            plain: phase("s.step"),
            moving: phase("s.mstep"),
            moving_inverse: "s.minv".to_owned(),
            combine: some("s.comb"),
            serialize: some("s.ser"),
            deserialize: some("s.des"),
            parallel: Parallel::Safe,
            arguments: "x integer ORDER BY y integer".to_owned(),
            identity_arguments: "x integer ORDER BY y integer".to_owned(),
            ..AggregateDetails::default()
        };
        let entries =
            entries_of(Aggregate { argument_types: vec![23, 23], details: Some(Box::new(details)) });
        assert_eq!(entries[0].tag, "A(integer, integer)");
        assert_eq!(
            entries[0].definition,
            "CREATE AGGREGATE s.\"A\"(x integer ORDER BY y integer) (\n    SFUNC = s.step,\n    \
             STYPE = internal,\n    SSPACE = 8,\n    INITCOND = '0',\n    FINALFUNC = s.fin,\n    \
             FINALFUNC_EXTRA,\n    FINALFUNC_MODIFY = SHAREABLE,\n    COMBINEFUNC = s.comb,\n    \
             SERIALFUNC = s.ser,\n    DESERIALFUNC = s.des,\n    MSFUNC = s.mstep,\n    MINVFUNC = s.minv,\n    \
             MSTYPE = internal,\n    MSSPACE = 8,\n    MINITCOND = '0',\n    MFINALFUNC = s.fin,\n    \
             MFINALFUNC_EXTRA,\n    MFINALFUNC_MODIFY = SHAREABLE,\n    HYPOTHETICAL,\n    PARALLEL = safe\n);\n"
        );
    }
}
