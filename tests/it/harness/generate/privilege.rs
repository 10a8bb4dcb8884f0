//! Privileges: on every kind that has them and on columns, by other grantors, by default, and on the server's
//! own objects.

use super::model::{Generator, Object};

/// Returns the words of GRANT for a kind of object, and the privileges of this kind.
fn class(kind: &str) -> Option<(&'static str, &'static [&'static str])> {
    Some(match kind {
        "TABLE" | "VIEW" | "MATERIALIZED VIEW" | "FOREIGN TABLE" => {
            ("TABLE", &["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"])
        }
        "SEQUENCE" => ("SEQUENCE", &["SELECT", "USAGE", "UPDATE"]),
        "FUNCTION" | "AGGREGATE" => ("FUNCTION", &["EXECUTE"]),
        "PROCEDURE" => ("PROCEDURE", &["EXECUTE"]),
        "TYPE" => ("TYPE", &["USAGE"]),
        "DOMAIN" => ("DOMAIN", &["USAGE"]),
        "SCHEMA" => ("SCHEMA", &["USAGE", "CREATE"]),
        "TRUSTED LANGUAGE" => ("LANGUAGE", &["USAGE"]),
        "FOREIGN DATA WRAPPER" => ("FOREIGN DATA WRAPPER", &["USAGE"]),
        "SERVER" => ("FOREIGN SERVER", &["USAGE"]),
        "LARGE OBJECT" => ("LARGE OBJECT", &["SELECT", "UPDATE"]),
        _ => return None,
    })
}

fn target(g: &mut Generator) -> Option<(Object, &'static str, &'static [&'static str])> {
    let fitting: Vec<Object> = g.objects.iter().filter(|o| class(o.kind).is_some()).cloned().collect();
    let mut object = g.one_of(&fitting)?;
    // GRANT names an aggregate by its argument types only.
    if object.kind == "AGGREGATE" {
        object.name = object
            .name
            .replace("(*)", "()")
            .replace(" ORDER BY VARIADIC \"any\"", "")
            .replace(" ORDER BY", ",");
    }
    let (words, privileges) = class(object.kind)?;
    Some((object, words, privileges))
}

pub fn grant(g: &mut Generator) {
    if g.chance(20) {
        return on_columns(g);
    }
    let Some((object, words, privileges)) = target(g) else { return };
    let what = if g.chance(30) { "ALL".to_owned() } else { g.some_of(privileges, 3).join(", ") };
    let whom = if g.chance(30) { "PUBLIC" } else { g.role() };
    if g.chance(30) {
        let whom = if g.chance(50) { "PUBLIC" } else { "postgres" };
        g.run(format!("REVOKE {what} ON {words} {} FROM {whom}", object.name));
        return;
    }
    let option = if whom == "PUBLIC" { "" } else { g.maybe(30, " WITH GRANT OPTION") };
    g.run(format!("GRANT {what} ON {words} {} TO {whom}{option}", object.name));
}

fn on_columns(g: &mut Generator) {
    let relation = g.below(g.relations.len());
    let columns = g.relations[relation].columns.clone();
    let some: Vec<String> = g.some_of(&columns, 2).into_iter().map(|column| column.name).collect();
    if some.is_empty() {
        return;
    }
    let what = g.pick(&["SELECT", "INSERT", "UPDATE", "REFERENCES", "ALL"]);
    let whom = if g.chance(30) { "PUBLIC" } else { g.role() };
    let option = if whom == "PUBLIC" { "" } else { g.maybe(30, " WITH GRANT OPTION") };
    let of = g.relation_sql(relation);
    g.run(format!("GRANT {what} ({}) ON {of} TO {whom}{option}", some.join(", ")));
}

/// Adds a grant by a role that has the grant option.
pub fn by_another(g: &mut Generator) {
    let Some((object, words, privileges)) = target(g) else { return };
    let (what, one, other) = (g.pick(privileges), g.role(), g.role());
    g.run(format!("GRANT {what} ON {words} {} TO {one} WITH GRANT OPTION", object.name));
    g.run(format!("SET ROLE {one}"));
    let option = g.maybe(30, " WITH GRANT OPTION");
    g.run(format!("GRANT {what} ON {words} {} TO {other}{option}", object.name));
    g.run("RESET ROLE");
}

/// Adds grants and revocations on one object by several roles, and a change of its owner among them.
pub fn chain(g: &mut Generator) {
    let Some((object, words, privileges)) = target(g) else { return };
    let name = &object.name;
    let what = g.pick(privileges);
    for _ in 0..g.between(3, 7) {
        let (one, other) = (g.role(), g.role());
        let option = g.maybe(60, " WITH GRANT OPTION");
        match g.below(6) {
            0 => g.run(format!("REVOKE GRANT OPTION FOR {what} ON {words} {name} FROM {one} CASCADE")),
            1 => g.run(format!("REVOKE ALL ON {words} {name} FROM {one} CASCADE")),
            2 => g.run(format!("GRANT ALL ON {words} {name} TO {one}{option}")),
            3 if object.kind != "TRUSTED LANGUAGE" && object.kind != "FOREIGN DATA WRAPPER" => {
                g.run(format!("ALTER {} {name} OWNER TO {one}", object.kind));
            }
            _ => {
                g.run(format!("GRANT {what} ON {words} {name} TO {one}{option}"));
                if one != other && !option.is_empty() {
                    g.run(format!("SET ROLE {one}"));
                    g.run(format!("GRANT {what} ON {words} {name} TO {other}"));
                    g.run("RESET ROLE");
                }
            }
        }
    }
}

pub fn default(g: &mut Generator) {
    let (class, privileges): (&str, &[&str]) = [
        ("TABLES", &["SELECT", "INSERT, UPDATE", "ALL"] as &[&str]),
        ("SEQUENCES", &["USAGE", "ALL"]),
        ("FUNCTIONS", &["EXECUTE"]),
        ("TYPES", &["USAGE"]),
        ("SCHEMAS", &["USAGE", "CREATE"]),
    ][g.below(5)];
    let what = g.pick(privileges);
    let role = if g.chance(60) { format!(" FOR ROLE {}", g.role()) } else { String::new() };
    let schema = if class != "SCHEMAS" && g.chance(50) {
        format!(" IN SCHEMA {}", g.schema_name())
    } else {
        String::new()
    };
    let act = match g.below(4) {
        0 => format!("REVOKE {what} ON {class} FROM PUBLIC"),
        1 => format!("GRANT {what} ON {class} TO PUBLIC"),
        _ => format!("GRANT {what} ON {class} TO {}{}", g.role(), g.maybe(20, " WITH GRANT OPTION")),
    };
    g.run(format!("ALTER DEFAULT PRIVILEGES{role}{schema} {act}"));
}

/// Changes privileges of the server's own objects and those of extensions, which have initial privileges.
pub fn system(g: &mut Generator) {
    let role = g.role();
    let statement = match g.below(9) {
        0 => format!("GRANT SELECT ON pg_catalog.pg_authid TO {role}"),
        1 => format!("GRANT SELECT (rolname) ON pg_catalog.pg_authid TO {role}"),
        2 => "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_sleep(double precision) FROM PUBLIC".to_owned(),
        3 => format!("GRANT EXECUTE ON FUNCTION pg_catalog.pg_reload_conf() TO {role}"),
        4 => "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC".to_owned(),
        5 => format!("GRANT USAGE ON TYPE pg_catalog.int4 TO {role}"),
        6 => "REVOKE SELECT ON pg_catalog.pg_class FROM PUBLIC".to_owned(),
        7 => format!("GRANT USAGE ON LANGUAGE sql TO {role}"),
        _ => format!("GRANT EXECUTE ON FUNCTION pg_catalog.count(\"any\") TO {role}"),
    };
    g.run(statement);
}
