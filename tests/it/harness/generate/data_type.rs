//! Types: the server's own, and enums, composites, domains, ranges, base types, shells, collations.

use super::expression::Scope;
use super::model::{Form, Generator, Type, TypeId};
use super::name::literal;

pub const INT: TypeId = 0;
pub const BIGINT: TypeId = 1;
pub const TEXT: TypeId = 2;
pub const BOOL: TypeId = 3;
pub const NUMERIC: TypeId = 4;
pub const FLOAT: TypeId = 5;

/// The name, whether it has an order, some values.
type Builtin = (&'static str, bool, &'static [&'static str]);

/// The server's types. The indexes of the first ones are the constants above.
pub const BUILTIN: &[Builtin] = &[
    ("integer", true, &["0", "-1", "2147483647", "-2147483648", "42"]),
    ("bigint", true, &["0", "9223372036854775807", "-9223372036854775808", "7"]),
    ("text", true, TEXTS),
    ("boolean", true, &["true", "false"]),
    ("numeric", true, &["0", "1.50", "-12345678901234567890.123456789", "NaN", "Infinity", "1e-20"]),
    ("double precision", true, &["0", "-0", "1e300", "0.1", "NaN", "-Infinity", "1.2345678901234567"]),
    ("smallint", true, &["0", "-32768", "5"]),
    ("real", true, &["0.1", "3.4e38", "NaN"]),
    ("numeric(10,2)", true, &["0", "99999999.99", "-0.01"]),
    ("character varying(20)", true, &["", "varying", "it's", "a\\b"]),
    ("character varying", true, TEXTS),
    ("character(5)", true, &["", "ab", "abcde"]),
    ("name", true, &["a name", "\"q\""]),
    ("date", true, &["2024-02-29", "infinity", "0044-03-15 BC"]),
    ("time without time zone", true, &["00:00", "23:59:59.999999", "24:00"]),
    ("time with time zone", true, &["12:00+02", "00:00-11:30"]),
    ("timestamp without time zone", true, &["2024-02-29 12:00", "-infinity", "1999-12-31 23:59:59.5"]),
    ("timestamp(3) with time zone", true, &["2024-02-29 12:00+02", "infinity"]),
    ("timestamp with time zone", true, &["2024-07-01 00:00+00", "0001-01-01 00:00+00 BC"]),
    ("interval", true, &["1 year 2 mons -3 days", "-00:00:01.5", "178000000 years"]),
    ("interval day to second(2)", true, &["1 day", "00:00:01.25"]),
    ("uuid", true, &["00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("bytea", true, &["", "\\x00ff5c0a27", "\\xdeadbeef"]),
    ("json", false, &["{\"a\": [1, null, \"\\u0041\\n\"]}", "null", " [ 1 ] "]),
    ("jsonb", true, &["{\"a\": [1, null, \"x\\\\y\"]}", "\"it's\"", "[]"]),
    ("xml", false, &["<a b=\"c\">x &amp; y</a>", "text"]),
    ("point", false, &["(1,2)", "(NaN,Infinity)"]),
    ("box", false, &["(1,1),(0,0)"]),
    ("circle", false, &["<(1,2),3>"]),
    ("path", false, &["[(0,0),(1,1)]", "((0,0),(1,1))"]),
    ("polygon", false, &["((0,0),(1,1),(1,0))"]),
    ("inet", true, &["10.0.0.1/8", "::1"]),
    ("cidr", true, &["10.0.0.0/8", "2001:db8::/32"]),
    ("macaddr", true, &["08:00:2b:01:02:03"]),
    ("bit(4)", true, &["0101", "1111"]),
    ("bit varying", true, &["", "101"]),
    ("tsvector", true, &["'a':1A 'it''s':2", ""]),
    ("tsquery", true, &["'a' & !'b'", "'x' <2> 'y':*"]),
    ("int4range", true, &["[1,5)", "empty", "(,)"]),
    ("tstzrange", true, &["[2024-01-01 00:00+00,)", "empty"]),
    ("int4multirange", true, &["{}", "{[1,2),[5,6)}"]),
    ("money", true, &["12.34", "-0.01"]),
    ("oid", true, &["0", "4294967295"]),
    ("\"char\"", true, &["a", "", "\\"]),
    ("pg_lsn", true, &["0/0", "FF/ABCDEF01"]),
    ("jsonpath", false, &["$.a[*]?(@ > 1)", "strict $"]),
    ("integer[]", true, &["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[2:3]={1,2}"]),
    ("text[]", true, &["{}", "{a,NULL,\"NULL\",\"it's\",\"\\\\\",\"a,b\",\"\"}"]),
];

const TEXTS: &[&str] = &[
    "",
    "plain",
    "it's",
    "back\\slash",
    "\\N",
    "\\.",
    "tab\there",
    "new\nline",
    "-- comment",
    "ünï 日本 😀",
    "  spaces ",
    "\"quoted\"",
    "$$dollar$$",
    "a\r\nb",
    "\u{7f}\u{1}",
    ";",
];

pub fn builtin(of: &Builtin) -> Type {
    Type { sql: of.0.to_owned(), form: Form::Scalar(of.2), ordered: of.1 }
}

pub fn enumeration(g: &mut Generator) {
    let name = g.qualified("mood");
    let count = g.between(1, 5);
    let labels: Vec<String> = (0..count)
        .map(|n| {
            let text = g.pick(TEXTS);
            format!("{}{n}", text.chars().take(20).collect::<String>())
        })
        .collect();
    let list: Vec<String> = labels.iter().map(|label| literal(label)).collect();
    g.run(format!("CREATE TYPE {name} AS ENUM ({})", list.join(", ")));
    if g.chance(25) {
        let place = g.pick(&["BEFORE", "AFTER"]);
        g.run(format!("ALTER TYPE {name} ADD VALUE 'added ''1''' {place} {}", list[0]));
    }
    g.add_object("TYPE", name.clone());
    let id = g.add_type(&name, Form::Enum(labels), true);
    array(g, id);
}

/// Adds the array type of a type, with a low chance.
fn array(g: &mut Generator, of: TypeId) {
    if g.chance(25) {
        let sql = format!("{}[]", g.types[of].sql);
        let ordered = g.types[of].ordered;
        g.add_type(&sql, Form::Array(of), ordered);
    }
}

fn collate(g: &mut Generator, ty: TypeId, percent: u32) -> String {
    let collations = g.collations.clone();
    match g.one_of(&collations) {
        Some(collation) if ty == TEXT && g.chance(percent) => format!(" COLLATE {collation}"),
        _ => String::new(),
    }
}

impl Generator {
    /// Returns a COLLATE clause for a column of this type, or nothing.
    pub fn collate(&mut self, ty: TypeId, percent: u32) -> String {
        collate(self, ty, percent)
    }
}

pub fn composite(g: &mut Generator) {
    let name = g.qualified("pair");
    let count = g.between(0, 4);
    let mut fields: Vec<(String, TypeId)> = Vec::new();
    for _ in 0..count {
        let taken: Vec<String> = fields.iter().map(|(name, _)| name.clone()).collect();
        fields.push((g.part_name("field", &taken), g.any_type()));
    }
    let list: Vec<String> = fields
        .iter()
        .map(|(name, ty)| format!("{name} {}{}", g.type_sql(*ty), collate(g, *ty, 20)))
        .collect();
    g.run(format!("CREATE TYPE {name} AS ({})", list.join(", ")));
    for (field, _) in &fields {
        if g.chance(10) {
            g.run(format!("COMMENT ON COLUMN {name}.{field} IS 'a field -- ''x'''"));
        }
    }
    g.add_object("TYPE", name.clone());
    let ordered = !fields.is_empty() && fields.iter().all(|(_, ty)| g.types[*ty].ordered);
    let id = g.add_type(&name, Form::Composite(fields), ordered);
    array(g, id);
}

pub fn domain(g: &mut Generator) {
    let base = g.any_type();
    let name = g.qualified("dom");
    let value = Scope { columns: vec![("VALUE".to_owned(), base)], ..Scope::empty() };
    let mut text = format!("CREATE DOMAIN {name} AS {}{}", g.type_sql(base), collate(g, base, 30));
    if g.chance(40) {
        text += &format!(" DEFAULT {}", g.expression(base, &Scope::empty(), 2));
    }
    for _ in 0..g.below(3) {
        if g.chance(60) {
            let constraint = g.name("holds");
            text += &format!(" CONSTRAINT {constraint}");
            g.add_object("CONSTRAINT", format!("{constraint} ON DOMAIN {name}"));
        }
        text += &format!(" CHECK ({})", g.tautology(&value));
    }
    g.run(text);
    if g.chance(30) {
        let constraint = g.name("later");
        let valid = g.maybe(50, " NOT VALID");
        let check = g.tautology(&value);
        g.run(format!("ALTER DOMAIN {name} ADD CONSTRAINT {constraint} CHECK ({check}){valid}"));
        g.add_object("CONSTRAINT", format!("{constraint} ON DOMAIN {name}"));
    }
    g.add_object("DOMAIN", name.clone());
    let ordered = g.types[base].ordered;
    let id = g.add_type(&name, Form::Domain(base), ordered);
    array(g, id);
}

pub fn range(g: &mut Generator) {
    let Some(of) = g.type_where(|ty| ty.ordered && !ty.sql.ends_with(']')) else { return };
    let name = g.qualified("span");
    let subtype = g.type_sql(of);
    let mut clauses = vec![format!("SUBTYPE = {subtype}")];
    if g.chance(35) {
        let diff = g.qualified("diff");
        let language = match g.below(3) {
            0 => "LANGUAGE sql IMMUTABLE RETURN 0.5::float8",
            1 => "LANGUAGE plpgsql IMMUTABLE STRICT AS 'BEGIN RETURN 1; END'",
            _ => "LANGUAGE sql IMMUTABLE AS 'SELECT 0::float8'",
        };
        g.run(format!("CREATE FUNCTION {diff}({subtype}, {subtype}) RETURNS double precision {language}"));
        clauses.push(format!("SUBTYPE_DIFF = {diff}"));
    }
    if of == TEXT && g.chance(60) {
        let collation = collate(g, TEXT, 100);
        clauses.push(collation.replace(" COLLATE", "COLLATION ="));
    }
    // The server cuts a long name in the middle of a character when it derives the multirange's name from it.
    let multirange = if g.chance(50) || !name.is_ascii() { Some(g.qualified("spans")) } else { None };
    if let Some(multirange) = &multirange {
        clauses.push(format!("MULTIRANGE_TYPE_NAME = {multirange}"));
    }
    g.run(format!("CREATE TYPE {name} AS RANGE ({})", clauses.join(", ")));
    g.add_object("TYPE", name.clone());
    let id = g.add_type(&name, Form::Range(of), true);
    if let Some(multirange) = multirange {
        g.add_type(&multirange, Form::Multirange(id), true);
    }
    array(g, id);
}

/// The server types that base types are modelled on: the name, the prefix of the functions, values.
const MODELS: &[(&str, &str, &[&str])] = &[
    ("integer", "int4", &["1", "-5"]),
    ("text", "text", &["x", "it's", "a\\b"]),
    ("float8", "float8", &["0.5", "-1"]),
    ("uuid", "uuid_", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("point", "point_", &["(1,2)"]),
];

pub fn base(g: &mut Generator) {
    let (like, prefix, values) = MODELS[g.below(MODELS.len())];
    let name = g.qualified("base");
    let [input, output] = ["input", "output"].map(|stem| g.qualified(stem));
    let shell = g.chance(70);
    if shell {
        g.run(format!("CREATE TYPE {name}"));
    }
    let made = "LANGUAGE internal IMMUTABLE STRICT AS";
    g.run(format!("CREATE FUNCTION {input}(cstring) RETURNS {name} {made} '{prefix}in'"));
    g.run(format!("CREATE FUNCTION {output}({name}) RETURNS cstring {made} '{prefix}out'"));
    let mut clauses =
        vec![format!("INPUT = {input}"), format!("OUTPUT = {output}"), format!("LIKE = {like}")];
    if g.chance(30) {
        let [receive, send] = ["receive", "send"].map(|stem| g.qualified(stem));
        g.run(format!("CREATE FUNCTION {receive}(internal) RETURNS {name} {made} '{prefix}recv'"));
        g.run(format!("CREATE FUNCTION {send}({name}) RETURNS bytea {made} '{prefix}send'"));
        clauses.push(format!("RECEIVE = {receive}"));
        clauses.push(format!("SEND = {send}"));
    }
    if g.chance(25) {
        clauses.push(format!("DEFAULT = {}", literal(values[0])));
    }
    if g.chance(20) {
        let category = g.pick(&["S", "N", "X"]);
        clauses.push(format!("CATEGORY = '{category}', PREFERRED = {}", g.chance(50)));
    }
    if g.chance(20) {
        clauses.push("DELIMITER = ';'".to_owned());
    }
    if like == "text" {
        clauses.push(g.pick(&["STORAGE = main", "STORAGE = external", "COLLATABLE = true"]).to_owned());
    }
    g.run(format!("CREATE TYPE {name} ({})", clauses.join(", ")));
    g.add_object("TYPE", name.clone());
    g.add_object("FUNCTION", format!("{input}(cstring)"));
    g.add_object("FUNCTION", format!("{output}({name})"));
    if g.chance(30) {
        let when = g.pick(&["", " AS ASSIGNMENT"]);
        g.run(format!("CREATE CAST ({name} AS {like}) WITHOUT FUNCTION{when}"));
        g.add_object("CAST", format!("({name} AS {like})"));
    }
    g.add_type(&name, Form::Scalar(values), false);
}

pub fn shell(g: &mut Generator) {
    let name = g.qualified("shell");
    g.run(format!("CREATE TYPE {name}"));
    g.add_object("TYPE", name.clone());
    if g.chance(50) {
        let function = g.qualified("of_shell");
        g.run(format!("CREATE FUNCTION {function}({name}) RETURNS integer LANGUAGE internal AS 'int4abs'"));
        g.add_object("FUNCTION", format!("{function}({name})"));
    }
}

pub fn collation(g: &mut Generator) {
    let name = g.qualified("coll");
    let clauses = g.pick(&[
        "(LOCALE = 'C')",
        "(LC_COLLATE = 'C', LC_CTYPE = 'POSIX')",
        "FROM pg_catalog.\"C\"",
        "(PROVIDER = icu, LOCALE = 'de-u-co-phonebk')",
        "(PROVIDER = icu, LOCALE = 'und-u-ks-level2', DETERMINISTIC = false)",
        "(PROVIDER = icu, LOCALE = 'en')",
    ]);
    g.run(format!("CREATE COLLATION {name} {clauses}"));
    g.add_object("COLLATION", name.clone());
    // A nondeterministic collation is not supported in pattern matching.
    if !clauses.contains("false") {
        g.collations.push(name);
    }
}

/// Changes an existing type.
pub fn evolve(g: &mut Generator) {
    let forms: Vec<TypeId> =
        (BUILTIN.len()..g.types.len()).filter(|id| matches!(g.types[*id].form, Form::Domain(_))).collect();
    let Some(id) = g.one_of(&forms) else { return };
    let sql = g.type_sql(id);
    match (g.below(3), g.types[id].form.clone()) {
        (0, Form::Domain(base)) => {
            let default = g.expression(base, &Scope::empty(), 2);
            g.run(format!("ALTER DOMAIN {sql} SET DEFAULT {default}"));
        }
        (1, _) => g.run(format!("ALTER DOMAIN {sql} DROP DEFAULT")),
        (_, _) => {
            let schema = g.schema_name();
            let name = g.name("holder");
            g.run(format!("CREATE TYPE {schema}.{name} AS (of {sql})"));
        }
    }
}
