//! Foreign data: wrappers, servers, user mappings, foreign tables.

use super::model::{Generator, ROLES, Relation, SUPERUSERS, Shape};

fn options(g: &mut Generator, names: &[&'static str]) -> String {
    if g.chance(50) {
        return String::new();
    }
    let mut list = Vec::new();
    for name in g.some_of(names, 3) {
        let value = g.pick(&["x", "it''s", "back\\slash", "", "a b"]);
        list.push(format!("{name} '{value}'"));
    }
    format!(" OPTIONS ({})", list.join(", "))
}

pub fn wrapper(g: &mut Generator) {
    let name = g.name("wrapper");
    let handler = g.pick(&["", "", "", " VALIDATOR postgresql_fdw_validator", " NO HANDLER NO VALIDATOR"]);
    let options = if handler.contains(" V") && !handler.contains("NO") {
        String::new()
    } else {
        options(g, &["one", "\"Two Words\"", "\"select\""])
    };
    g.run(format!("CREATE FOREIGN DATA WRAPPER {name}{handler}{options}"));
    g.add_object("FOREIGN DATA WRAPPER", name);
}

pub fn server(g: &mut Generator) {
    let Some(wrapper) = g.of_kind("FOREIGN DATA WRAPPER") else { return wrapper(g) };
    let name = g.name("server");
    let kind = g.maybe(30, " TYPE 'it''s a type'");
    let version = g.maybe(30, " VERSION '1.0\\x'");
    let options = options(g, &["host", "dbname", "port"]);
    g.run(format!("CREATE SERVER {name}{kind}{version} FOREIGN DATA WRAPPER {wrapper}{options}"));
    g.add_object("SERVER", name);
}

pub fn mapping(g: &mut Generator) {
    let Some(server) = g.of_kind("SERVER") else { return server(g) };
    let role = match g.below(4) {
        0 => "PUBLIC",
        1 => g.pick(SUPERUSERS),
        _ => g.pick(ROLES),
    };
    if g.used.insert(format!("mapping {role} {server}")) {
        let options = options(g, &["\"user\"", "password"]);
        g.run(format!("CREATE USER MAPPING FOR {role} SERVER {server}{options}"));
    }
}

pub fn table(g: &mut Generator) {
    let Some(server) = g.of_kind("SERVER") else { return server(g) };
    let name = g.qualified("foreign");
    let (columns, mut parts) = g.columns(4, false);
    // A foreign table's columns cannot be identity columns.
    for (column, part) in columns.iter().zip(&mut parts) {
        if part.contains("AS IDENTITY") || g.chance(25) {
            let ty = g.type_sql(column.ty);
            *part = format!("{} {ty}{}", column.name, options(g, &["column_name", "\"Col Option\""]));
        }
    }
    let parent = match g.relation(&[Shape::Table]) {
        Some(parent) if g.chance(15) => format!(" INHERITS ({})", g.relation_sql(parent)),
        _ => String::new(),
    };
    let options = options(g, &["table_name", "schema_name", "\"Odd one\""]);
    g.run(format!("CREATE FOREIGN TABLE {name} ({}){parent} SERVER {server}{options}", parts.join(", ")));
    g.add_relation(Relation::new(&name, Shape::Foreign, columns), "FOREIGN TABLE");
}
