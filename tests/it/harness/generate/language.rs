//! Languages, extensions and objects that use them, conversions.

use super::model::{Form, Generator};

pub fn language(g: &mut Generator) {
    let name = g.name("lang");
    let trusted = g.maybe(60, "TRUSTED ");
    let mut clauses = String::new();
    for (word, arguments, result, code, percent) in [
        ("HANDLER", "", "language_handler", "plpgsql_call_handler", 100),
        ("INLINE", "internal", "void", "plpgsql_inline_handler", 40),
        ("VALIDATOR", "oid", "void", "plpgsql_validator", 40),
    ] {
        if g.chance(percent) {
            let function = g.qualified("handles");
            g.run(format!(
                "CREATE FUNCTION {function}({arguments}) RETURNS {result} LANGUAGE c AS '$libdir/plpgsql', '{code}'"
            ));
            clauses += &format!(" {word} {function}");
        }
    }
    g.run(format!("CREATE {trusted}LANGUAGE {name}{clauses}"));
    g.add_object("LANGUAGE", name.clone());
    if !trusted.is_empty() {
        g.add_object("TRUSTED LANGUAGE", name.clone());
    }
    let function = g.qualified("in_language");
    g.run(format!(
        "CREATE FUNCTION {function}(integer) RETURNS integer LANGUAGE {name} AS 'BEGIN RETURN $1; END'"
    ));
    g.add_object("FUNCTION", format!("{function}(integer)"));
}

/// A type's name and some of its values.
type ExtensionType = (&'static str, &'static [&'static str]);

/// Extensions, each with one of its types, if any, and values of it. Their operators are not on the search
/// path when a dump is restored, so the types count as unordered.
const EXTENSIONS: &[(&str, Option<ExtensionType>)] = &[
    ("citext", Some(("citext", &["Mixed", "it's"]))),
    ("hstore", Some(("hstore", &["a=>1", "\"k\"=>NULL"]))),
    ("ltree", Some(("ltree", &["Top.Science"]))),
    ("cube", Some(("cube", &["(1,2),(3,4)"]))),
    ("pg_trgm", None),
    ("pgcrypto", None),
    ("tablefunc", None),
    ("unaccent", None),
    ("postgres_fdw", None),
    ("pg_stat_statements", None),
];

pub fn extension(g: &mut Generator) {
    let (extension, ty) = EXTENSIONS[g.below(EXTENSIONS.len())];
    if !g.once.insert(format!("extension {extension}")) {
        let kind = g.pick(&["FUNCTION", "PROCEDURE", "TRIGGER", "INDEX", "MATERIALIZED VIEW"]);
        if let Some(name) = g.of_kind(kind) {
            g.run(format!("ALTER {kind} {name} DEPENDS ON EXTENSION {extension}"));
        }
        return;
    }
    let schema = g.schema_name();
    g.run(format!("CREATE EXTENSION {extension} WITH SCHEMA {schema}"));
    g.add_object("EXTENSION", extension.to_owned());
    if extension == "postgres_fdw" {
        // The wrapper is a member of the extension, so it gets no comment and no owner from the script.
        let server = g.name("server");
        g.run(format!("CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'x')"));
        g.add_object("SERVER", server);
    }
    if let Some((name, values)) = ty {
        g.add_type(&format!("{schema}.{name}"), Form::Scalar(values), false);
    }
}

pub fn conversion(g: &mut Generator) {
    let name = g.qualified("conv");
    let (from, to, function) = [
        ("LATIN1", "UTF8", "iso8859_1_to_utf8"),
        ("UTF8", "LATIN1", "utf8_to_iso8859_1"),
        ("UTF8", "EUC_JP", "utf8_to_euc_jp"),
    ][g.below(3)];
    // A namespace can have one default conversion per pair of encodings.
    let schema = super::partition::schema_of(&name);
    let default =
        if g.used.insert(format!("conversion {schema} {from} {to}")) { g.maybe(50, "DEFAULT ") } else { "" };
    g.run(format!("CREATE {default}CONVERSION {name} FOR '{from}' TO '{to}' FROM {function}"));
    g.add_object("CONVERSION", name);
}
