//! Functions in every language and form, procedures, aggregates.

use super::data_type::{BIGINT, BOOL, FLOAT, INT, NUMERIC, TEXT};
use super::expression::Scope;
use super::model::{Form, Generator, Routine, Shape, TypeId};

/// Clauses that may follow a function's language.
const CLAUSES: &[&str] = &[
    "STRICT",
    "SECURITY DEFINER",
    "LEAKPROOF",
    "COST 10",
    "COST 0.5",
    "PARALLEL SAFE",
    "PARALLEL RESTRICTED",
    "SET work_mem TO '1MB'",
    "SET search_path TO public, \"Odd \"\"path\"\"\", pg_temp",
    "SET search_path TO ''",
    "SET \"fuzz.custom\" TO 'it''s \\ back'",
    "SET DateStyle TO 'ISO, DMY'",
    "SET extra_float_digits FROM CURRENT",
];

fn clauses(g: &mut Generator) -> String {
    let mut text = String::new();
    if g.chance(40) {
        let mut said = Vec::new();
        for clause in g.some_of(CLAUSES, 3) {
            // Each option may occur once.
            let what = clause.rsplit_once(" TO ").map_or(clause, |(what, _)| what);
            let what = if what.starts_with("SET") { what } else { what.split(' ').next().unwrap_or(what) };
            if !said.contains(&what) {
                said.push(what);
                text += " ";
                text += clause;
            }
        }
    }
    text
}

/// Quotes a body in one of several ways.
fn body(g: &mut Generator, text: &str) -> String {
    match g.below(4) {
        0 => super::name::literal(text),
        1 if !text.contains("$$") => format!("$$\n{text}\n$$"),
        _ => format!("$_of_fuzz${text}$_of_fuzz$"),
    }
}

/// Creates a scalar function of existing types.
pub fn scalar(g: &mut Generator) {
    let result = match g.below(4) {
        0 => BOOL,
        1 => g.pick_type(&[INT, TEXT, NUMERIC]),
        _ => g.any_type(),
    };
    let count = g.below(4);
    let arguments: Vec<TypeId> = (0..count).map(|_| g.any_type()).collect();
    let immutable = g.chance(65);
    of_signature(g, arguments, result, immutable);
}

/// Creates a function with these types and returns it.
pub fn of_signature(g: &mut Generator, arguments: Vec<TypeId>, result: TypeId, immutable: bool) -> Routine {
    let sql = function_name(g, &arguments);
    let named = g.chance(50);
    let names: Vec<String> = arguments.iter().map(|_| g.name("arg")).collect();
    let tracked = g.chance(45);
    let mut scope = Scope { immutable, queries: !immutable, ..Scope::empty() };
    for (n, ty) in arguments.iter().enumerate() {
        // A parameter has its type without the modifier, which is another type, so every use is cast.
        let parameter = if named && tracked { names[n].clone() } else { format!("${}", n + 1) };
        scope.columns.push((parameter, *ty));
    }
    let mut list = Vec::new();
    let mut defaults = false;
    for (n, ty) in arguments.iter().enumerate() {
        let mut argument = if named { format!("{} ", names[n]) } else { String::new() };
        argument += &g.type_sql(*ty);
        defaults |= g.chance(15);
        if defaults {
            argument += &format!(" DEFAULT {}", g.expression(*ty, &Scope::empty(), 1));
        }
        list.push(argument);
    }
    let returns = g.type_sql(result);
    let value = format!("({})::{returns}", g.expression(result, &scope, 2));
    let volatility = if immutable { "IMMUTABLE" } else { g.pick(&["STABLE", "VOLATILE", ""]) };
    let clauses = clauses(g);
    let rest = format!("{sql}({}) RETURNS {returns}", list.join(", "));
    let head = format!("CREATE FUNCTION {rest}");
    let statement = match g.below(3) {
        _ if tracked && g.chance(50) => format!("{head} LANGUAGE sql {volatility}{clauses} RETURN {value}"),
        _ if tracked => {
            format!("{head} LANGUAGE sql {volatility}{clauses} BEGIN ATOMIC SELECT 1; SELECT {value}; END")
        }
        0 => {
            let body = body(g, &format!("BEGIN RETURN {value}; END"));
            format!("{head} LANGUAGE plpgsql {volatility}{clauses} AS {body}")
        }
        _ => {
            let body = body(g, &format!("SELECT {value}"));
            format!("{head} LANGUAGE sql {volatility}{clauses} AS {body}")
        }
    };
    g.run(statement);
    let parameters = if named { names } else { (1..=arguments.len()).map(|n| format!("${n}")).collect() };
    let head = Some((format!("CREATE OR REPLACE FUNCTION {rest}"), parameters));
    let routine = Routine { sql, arguments, result, immutable, aggregate: false, head };
    let signature = routine.signature(g);
    g.add_object("FUNCTION", signature);
    g.routines.push(routine.clone());
    routine
}

/// Returns a new name, or sometimes the name of a function with other arguments.
fn function_name(g: &mut Generator, arguments: &[TypeId]) -> String {
    let others: Vec<Routine> = g.routines.iter().filter(|r| r.head.is_some()).cloned().collect();
    match g.one_of(&others) {
        // Types that differ only in a modifier give the same function. Another number of arguments never
        // does.
        Some(other)
            if g.chance(15)
                && !g.routines.iter().any(|r| r.sql == other.sql && r.arguments.len() == arguments.len()) =>
        {
            other.sql
        }
        _ => g.qualified("func"),
    }
}

/// Replaces the body of a function that objects may already depend on. The new body calls later objects, so
/// cycles of any length arise. No dump can break most of them.
pub fn replace(g: &mut Generator) {
    let replaceable: Vec<Routine> = g.routines.iter().filter(|r| r.head.is_some()).cloned().collect();
    let Some(routine) = g.one_of(&replaceable) else { return };
    let Some((head, parameters)) = routine.head else { return };
    let mut columns: Vec<(String, TypeId)> = Vec::new();
    for (name, ty) in parameters.into_iter().zip(&routine.arguments) {
        columns.push((name, *ty));
    }
    let scope = Scope { columns, immutable: routine.immutable, queries: !routine.immutable };
    let value = g.expression(routine.result, &scope, 3);
    // A function that calls itself can never be restored. Longer cycles are rarer.
    if value.contains(&format!("{}(", routine.sql)) {
        return;
    }
    let returns = g.type_sql(routine.result);
    let volatility = if routine.immutable { "IMMUTABLE" } else { "STABLE" };
    g.run(format!("{head} LANGUAGE sql {volatility} BEGIN ATOMIC SELECT ({value})::{returns}; END"));
}

impl Generator {
    pub fn pick_type(&mut self, types: &[TypeId]) -> TypeId {
        types[self.below(types.len())]
    }
}

/// Creates a function that returns rows: of a relation, of a TABLE clause, or of OUT parameters.
pub fn table_function(g: &mut Generator) {
    let sql = g.qualified("rows_of");
    let Some(relation) = g.relation(&[
        Shape::Table,
        Shape::Partitioned,
        Shape::View,
        Shape::Matview,
        Shape::Partition,
        Shape::Foreign,
    ]) else {
        return;
    };
    let of = g.relation_sql(relation);
    let clauses = clauses(g);
    let rows = g.maybe(30, " ROWS 7");
    let tail = format!("LANGUAGE sql STABLE{rows}{clauses}");
    let statement = match g.below(5) {
        0 => {
            format!("CREATE FUNCTION {sql}() RETURNS SETOF {of} {tail} BEGIN ATOMIC SELECT * FROM {of}; END")
        }
        1 => format!("CREATE FUNCTION {sql}() RETURNS SETOF {of} {tail} AS $_$ SELECT * FROM {of} $_$"),
        2 => {
            let (ty, other) = (g.any_type(), g.any_type());
            let (first, second) = (g.name("col"), g.name("col"));
            let [a, b] = [ty, other].map(|ty| g.constant(ty));
            format!(
                "CREATE FUNCTION {sql}() RETURNS TABLE({first} {}, {second} {}) {tail} AS $_$ SELECT {a}, {b} $_$",
                g.type_sql(ty),
                g.type_sql(other)
            )
        }
        3 => {
            let ty = g.any_type();
            let value = g.constant(ty);
            let name = g.name("out");
            format!(
                "CREATE FUNCTION {sql}(OUT {name} {}, OUT integer) RETURNS SETOF record {tail} AS $_$ SELECT {value}, 1 $_$",
                g.type_sql(ty)
            )
        }
        _ => {
            let name = g.name("many");
            let statement = format!(
                "CREATE FUNCTION {sql}(r {of}, VARIADIC {name} integer[] DEFAULT '{{1,2}}') RETURNS SETOF integer {tail} \
                 BEGIN ATOMIC SELECT unnest({name}) WHERE r IS NULL; END"
            );
            g.run(statement);
            g.add_object("FUNCTION", format!("{sql}({of}, integer[])"));
            return;
        }
    };
    g.run(statement);
    g.add_object("FUNCTION", format!("{sql}()"));
}

/// Functions of the server's own code.
const INTERNAL: &[(&str, &str, &str)] = &[
    ("integer", "integer", "LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'int4abs'"),
    ("", "bigint", "LANGUAGE internal WINDOW AS 'window_row_number'"),
    (
        "integer, integer",
        "SETOF integer",
        "LANGUAGE internal ROWS 50 SUPPORT pg_catalog.generate_series_int4_support AS 'generate_series_int4'",
    ),
    ("anyelement, anyarray", "anyarray", "LANGUAGE internal IMMUTABLE AS 'array_prepend'"),
    ("VARIADIC \"any\"", "text", "LANGUAGE internal STABLE AS 'text_concat'"),
    (
        "integer, integer, cstring, internal, integer, boolean",
        "integer",
        "LANGUAGE c STRICT AS '$libdir/utf8_and_iso8859_1', 'iso8859_1_to_utf8'",
    ),
    ("\"In\" INOUT integer, OUT o text", "record", "LANGUAGE plpgsql AS 'BEGIN o := ''x''; END'"),
    ("anycompatible, anycompatible", "anycompatible", "LANGUAGE sql IMMUTABLE AS 'SELECT $1'"),
];

pub fn internal(g: &mut Generator) {
    let name = g.qualified("intern");
    let (arguments, result, tail) = INTERNAL[g.below(INTERNAL.len())];
    g.run(format!("CREATE FUNCTION {name}({arguments}) RETURNS {result} {tail}"));
    g.add_object("FUNCTION", format!("{name}({arguments})"));
}

pub fn procedure(g: &mut Generator) {
    let name = g.qualified("proc");
    let (one, other) = (g.any_type(), g.any_type());
    let [a, b] = [one, other].map(|ty| g.type_sql(ty));
    let mode = g.pick(&["", "INOUT ", "IN "]);
    let argument = g.name("arg");
    let relation = g.relation(&[Shape::Table]).unwrap_or(0);
    let of = g.relation_sql(relation);
    let statement = match g.below(3) {
        0 => format!(
            "CREATE PROCEDURE {name}({mode}{argument} {a}, b {b} DEFAULT {}) LANGUAGE plpgsql AS 'BEGIN COMMIT; END'",
            g.constant(other)
        ),
        1 => format!(
            "CREATE PROCEDURE {name}({argument} {a}, {b}) LANGUAGE sql BEGIN ATOMIC SELECT count(*) FROM {of}; DELETE FROM {of} WHERE false; END"
        ),
        _ => format!(
            "CREATE PROCEDURE {name}({argument} {a}, {b}) LANGUAGE sql SECURITY DEFINER SET work_mem = '1MB' AS $$DELETE FROM {of} WHERE false$$"
        ),
    };
    g.run(statement);
    g.add_object("PROCEDURE", format!("{name}({a}, {b})"));
}

pub fn aggregate(g: &mut Generator) {
    let name = g.qualified("agg");
    if g.chance(30) {
        let (arguments, clauses) = [
            (
                "float8 ORDER BY float8",
                "SFUNC = ordered_set_transition, STYPE = internal, FINALFUNC = percentile_cont_float8_final",
            ),
            (
                "VARIADIC \"any\" ORDER BY VARIADIC \"any\"",
                "SFUNC = ordered_set_transition_multi, STYPE = internal, FINALFUNC = rank_final, FINALFUNC_EXTRA, HYPOTHETICAL",
            ),
            ("*", "SFUNC = int8inc, STYPE = bigint, INITCOND = '0', PARALLEL = SAFE, COMBINEFUNC = int8pl"),
            (
                "integer",
                "SFUNC = int4pl, STYPE = integer, MSFUNC = int4pl, MINVFUNC = int4mi, MSTYPE = integer, MINITCOND = '0', INITCOND = '0'",
            ),
            ("integer", "SFUNC = int4smaller, STYPE = integer, SORTOP = <, SSPACE = 64"),
        ][g.below(5)];
        g.run(format!("CREATE AGGREGATE {name}({arguments}) ({clauses})"));
        g.add_object("AGGREGATE", format!("{name}({arguments})"));
        return;
    }
    // A transition function and sometimes a final function, over any two types.
    let (state, input) = (g.any_type(), g.any_type());
    let step = of_signature(g, vec![state, input], state, true);
    let mut clauses = vec![format!("SFUNC = {}", step.sql), format!("STYPE = {}", g.type_sql(state))];
    let mut result = state;
    if g.chance(40) {
        result = g.pick_type(&[BIGINT, FLOAT, TEXT]);
        let last = of_signature(g, vec![state], result, true);
        clauses.push(format!("FINALFUNC = {}", last.sql));
        clauses.push(
            g.pick(&["FINALFUNC_MODIFY = READ_WRITE", "FINALFUNC_MODIFY = SHAREABLE", "PARALLEL = SAFE"])
                .to_owned(),
        );
    }
    if let (Form::Scalar(values), true) = (g.types[state].form.clone(), g.chance(40)) {
        let value = g.pick(values);
        clauses.push(format!("INITCOND = {}", super::name::literal(value)));
    }
    g.run(format!("CREATE AGGREGATE {name}({}) ({})", g.type_sql(input), clauses.join(", ")));
    g.add_object("AGGREGATE", format!("{name}({})", g.type_sql(input)));
    g.routines.push(Routine {
        sql: name,
        arguments: vec![input],
        result,
        immutable: true,
        aggregate: true,
        head: None,
    });
}
