//! Operators, their classes and families, casts, transforms, access methods.

use super::data_type::{BIGINT, BOOL, INT, TEXT};
use super::model::{Form, Generator, Routine, TypeId};
use super::routine::of_signature;

#[derive(Clone, Debug)]
pub struct Operator {
    /// Qualified, as in `OPERATOR(…)`.
    pub sql: String,
    pub left: Option<TypeId>,
    pub right: TypeId,
}

const SIGNS: &[&str] = &["<<<", "@#@", "~~>", "&&&", "=", "<", "|%|", "!!", "?-|@", "<=>", "#=#", "@@@@"];

pub fn operator(g: &mut Generator) {
    let (left, right) = (g.any_type(), g.any_type());
    let prefix = g.chance(15);
    let mut sign = g.pick(SIGNS).to_owned();
    if sign.len() > 1 && g.chance(50) {
        // One more character makes it another operator, so few names collide.
        sign.push_str(g.pick(&["#", "@", "%", "|", "&"]));
    }
    let schema = g.schema_name();
    // NULLIF, IN and similar constructs take their operator from the search path and do not name it.
    if schema == "public" && matches!(sign.as_str(), "=" | "<") {
        return;
    }
    let sql = format!("{schema}.{sign}");
    let arguments = if prefix { vec![right] } else { vec![left, right] };
    if !g.used.insert(format!("operator {sql} {arguments:?}")) {
        return;
    }
    let function = of_signature(g, arguments, BOOL, true);
    let mut clauses = vec![format!("FUNCTION = {}", function.sql)];
    if !prefix {
        clauses.push(format!("LEFTARG = {}", g.type_sql(left)));
    }
    clauses.push(format!("RIGHTARG = {}", g.type_sql(right)));
    if !prefix && left == right {
        // The negator and the commutator may not exist yet. The server creates shell operators for them, in
        // any namespace.
        if g.chance(30) {
            clauses.push(format!("COMMUTATOR = OPERATOR({sql})"));
        }
        if g.chance(20) {
            let other = g.schema_name();
            let negator = format!("{other}.!{sign}!@");
            clauses.push(format!("NEGATOR = OPERATOR({negator})"));
        }
        if g.chance(20) {
            clauses.push(g.pick(&["HASHES", "MERGES", "HASHES, MERGES"]).to_owned());
        }
    }
    if !prefix && g.chance(20) {
        clauses.push("RESTRICT = eqsel, JOIN = eqjoinsel".to_owned());
    }
    g.run(format!("CREATE OPERATOR {sql} ({})", clauses.join(", ")));
    let of = if prefix { "NONE".to_owned() } else { g.type_sql(left) };
    g.add_object("OPERATOR", format!("{sql} ({of}, {})", g.type_sql(right)));
    g.operators.push(Operator { sql, left: (!prefix).then_some(left), right });
}

/// Creates a complete B-tree class for a type of the script: five operators and their functions.
fn tree(g: &mut Generator, of: TypeId, schema: &str, family: Option<&str>) {
    let ty = g.type_sql(of);
    let stem = g.name("cmp");
    let compare = format!("{schema}.{stem}");
    g.run(format!(
        "CREATE FUNCTION {compare}({ty}, {ty}) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 0'"
    ));
    let mut members = Vec::new();
    for (n, sign) in ["<", "<=", "=", ">=", ">"].iter().enumerate() {
        let function = g.qualified("compares");
        g.run(format!("CREATE FUNCTION {function}({ty}, {ty}) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN {compare}($1, $2) {sign} 0"));
        let commutator = [">", ">=", "=", "<=", "<"][n];
        g.run(format!(
            "CREATE OPERATOR {schema}.{sign} (FUNCTION = {function}, LEFTARG = {ty}, RIGHTARG = {ty}, COMMUTATOR = OPERATOR({schema}.{commutator}))"
        ));
        members.push(format!("OPERATOR {} {schema}.{sign}", n + 1));
    }
    members.push(format!("FUNCTION 1 {compare}({ty}, {ty})"));
    let name = g.qualified("ops");
    let default = if g.types[of].ordered { "" } else { g.maybe(70, " DEFAULT") };
    let family = family.map(|family| format!(" FAMILY {family}")).unwrap_or_default();
    g.run(format!(
        "CREATE OPERATOR CLASS {name}{default} FOR TYPE {ty} USING btree{family} AS {}",
        members.join(", ")
    ));
    g.add_object("OPERATOR CLASS", format!("{name} USING btree"));
}

pub fn class(g: &mut Generator) {
    let own = g.type_where(|ty| {
        matches!(ty.form, Form::Composite(_) | Form::Scalar(_)) && ty.sql.contains('.') && !ty.ordered
    });
    if let (Some(of), true) = (own, g.chance(50)) {
        let schema = g.schema_name();
        if schema != "public" && g.used.insert(format!("class {schema} {of}")) {
            let family = if g.chance(50) { Some(new_family(g, "btree")) } else { None };
            tree(g, of, &schema, family.as_deref());
        }
        return;
    }
    let name = g.qualified("ops");
    let (method, of, members) = [
        (
            "btree",
            "integer",
            "OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 btint4cmp(integer, integer)",
        ),
        (
            "hash",
            "integer",
            "OPERATOR 1 =, FUNCTION 1 hashint4(integer), FUNCTION 2 hashint4extended(integer, bigint)",
        ),
        ("gin", "integer", "STORAGE bigint"),
        (
            "gist",
            "box",
            "OPERATOR 3 &&, OPERATOR 15 <-> (box, point) FOR ORDER BY float_ops, FUNCTION 2 gist_box_union(internal, internal), FUNCTION 1 gist_box_consistent(internal, box, smallint, oid, internal), FUNCTION 5 gist_box_penalty(internal, internal, internal), FUNCTION 6 gist_box_picksplit(internal, internal), FUNCTION 7 gist_box_same(box, box, internal)",
        ),
        (
            "brin",
            "bigint",
            "OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1 brin_minmax_opcinfo(internal), FUNCTION 2 brin_minmax_add_value(internal, internal, internal, internal), FUNCTION 3 brin_minmax_consistent(internal, internal, internal), FUNCTION 4 brin_minmax_union(internal, internal, internal)",
        ),
    ][g.below(5)];
    let family = if g.chance(40) { format!(" FAMILY {}", new_family(g, method)) } else { String::new() };
    g.run(format!("CREATE OPERATOR CLASS {name} FOR TYPE {of} USING {method}{family} AS {members}"));
    g.add_object("OPERATOR CLASS", format!("{name} USING {method}"));
}

fn new_family(g: &mut Generator, method: &str) -> String {
    let name = g.qualified("family");
    g.run(format!("CREATE OPERATOR FAMILY {name} USING {method}"));
    g.add_object("OPERATOR FAMILY", format!("{name} USING {method}"));
    name
}

pub fn family(g: &mut Generator) {
    let method = g.pick(&["btree", "hash", "gist"]);
    let name = new_family(g, method);
    if method != "btree" || g.chance(30) {
        return;
    }
    g.run(format!(
        "ALTER OPERATOR FAMILY {name} USING btree ADD OPERATOR 5 > (bigint, integer), OPERATOR 1 < (integer, bigint), \
         FUNCTION 1 (integer, bigint) btint48cmp(integer, bigint), OPERATOR 3 = (smallint, bigint)"
    ));
}

pub fn cast(g: &mut Generator) {
    let own =
        |g: &mut Generator| g.type_where(|ty| ty.sql.contains('.') && !matches!(ty.form, Form::Domain(_)));
    let Some(from) = own(g) else { return };
    let to = match own(g) {
        Some(to) if g.chance(30) && to != from => to,
        _ => g.pick_type(&[INT, TEXT, BIGINT]),
    };
    let (from, to) = if g.chance(50) { (from, to) } else { (to, from) };
    if !g.used.insert(format!("cast {from} {to}")) {
        return;
    }
    let [source, target] = [from, to].map(|ty| g.type_sql(ty));
    // An implicit cast to or from the server's types would make later expressions ambiguous.
    let when = g.pick(&["", " AS ASSIGNMENT"]);
    let is_row = |g: &Generator, ty: TypeId| matches!(g.types[ty].form, Form::Row | Form::Composite(_));
    let how = if g.chance(35) && !is_row(g, from) && !is_row(g, to) {
        "WITH INOUT".to_owned()
    } else {
        let function: Routine = of_signature(g, vec![from], to, true);
        format!("WITH FUNCTION {}({source})", function.sql)
    };
    g.run(format!("CREATE CAST ({source} AS {target}) {how}{when}"));
    g.add_object("CAST", format!("({source} AS {target})"));
}

pub fn transform(g: &mut Generator) {
    let Some(of) = g.type_where(|ty| ty.sql.contains('.')) else { return };
    let language = g.pick(&["sql", "plpgsql"]);
    if !g.used.insert(format!("transform {of} {language}")) {
        return;
    }
    let ty = g.type_sql(of);
    let [from, to] = ["from_sql", "to_sql"].map(|stem| g.qualified(stem));
    g.run(format!(
        "CREATE FUNCTION {from}(internal) RETURNS internal LANGUAGE internal IMMUTABLE AS 'prsd_lextype'"
    ));
    g.run(format!("CREATE FUNCTION {to}(internal) RETURNS {ty} LANGUAGE internal IMMUTABLE AS 'int4recv'"));
    let clauses = match g.below(3) {
        0 => format!("FROM SQL WITH FUNCTION {from}(internal)"),
        1 => format!("TO SQL WITH FUNCTION {to}(internal)"),
        _ => format!("FROM SQL WITH FUNCTION {from}(internal), TO SQL WITH FUNCTION {to}(internal)"),
    };
    g.run(format!("CREATE TRANSFORM FOR {ty} LANGUAGE {language} ({clauses})"));
    g.add_object("TRANSFORM", format!("FOR {ty} LANGUAGE {language}"));
    if g.chance(50) {
        let name = g.qualified("transformed");
        g.run(format!(
            "CREATE FUNCTION {name}({ty}) RETURNS integer LANGUAGE {language} TRANSFORM FOR TYPE {ty} AS $${}$$",
            if language == "sql" { "SELECT 1" } else { "BEGIN RETURN 1; END" }
        ));
        g.add_object("FUNCTION", format!("{name}({ty})"));
    }
}

pub fn access_method(g: &mut Generator) {
    let name = g.name("method");
    let table = g.chance(60);
    let (kind, result, code) = if table {
        ("TABLE", "table_am_handler", "heap_tableam_handler")
    } else {
        ("INDEX", "index_am_handler", "bthandler")
    };
    let mut handler = code.to_owned();
    if g.chance(60) {
        handler = g.qualified("handler");
        g.run(format!(
            "CREATE FUNCTION {handler}(internal) RETURNS {result} LANGUAGE internal STRICT AS '{code}'"
        ));
    }
    g.run(format!("CREATE ACCESS METHOD {name} TYPE {kind} HANDLER {handler}"));
    g.add_object("ACCESS METHOD", name.clone());
    if table {
        g.add_object("TABLE ACCESS METHOD", name);
    }
}
