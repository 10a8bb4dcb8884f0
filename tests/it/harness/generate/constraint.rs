//! Constraints of tables: checks, keys, exclusions, and foreign keys in every form, including cycles.

use super::model::{Generator, Shape};

fn timing(g: &mut Generator) -> &'static str {
    match g.below(8) {
        0 => " DEFERRABLE",
        1 => " DEFERRABLE INITIALLY DEFERRED",
        2 => " NOT DEFERRABLE",
        _ => "",
    }
}

pub fn check(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table, Shape::Partitioned, Shape::Foreign]) else { return };
    let (of, name) = (g.relation_sql(id), g.name_on("check", id));
    let word = if g.relations[id].shape == Shape::Foreign { "FOREIGN TABLE" } else { "TABLE" };
    let scope = g.scope_of(id, "");
    let statement = match g.below(6) {
        0 => {
            let condition = g.condition(&scope, 2);
            format!("ALTER {word} {of} ADD CONSTRAINT {name} CHECK ({condition}) NOT VALID")
        }
        1 if g.relations[id].shape == Shape::Table => {
            let condition = g.tautology(&scope);
            format!("ALTER TABLE {of} ADD CONSTRAINT {name} CHECK ({condition}) NO INHERIT")
        }
        _ => {
            let condition = g.tautology(&scope);
            format!("ALTER {word} {of} ADD CONSTRAINT {name} CHECK ({condition})")
        }
    };
    g.run(statement);
    g.add_object("CONSTRAINT", format!("{name} ON {of}"));
}

/// Adds a primary key or a unique constraint.
pub fn key(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table]) else { return };
    let (of, name) = (g.relation_sql(id), g.name("key"));
    let columns = g.relations[id].columns.clone();
    let counted: Vec<usize> = (0..columns.len()).filter(|n| columns[*n].counted).collect();
    let Some(first) = g.one_of(&counted) else { return };
    let timing = timing(g);
    let include = match g.one_of(&columns) {
        Some(column) if g.chance(20) => format!(" INCLUDE ({})", column.name),
        _ => String::new(),
    };
    let options = g.maybe(15, " WITH (fillfactor = 50)");
    let column = &columns[first].name;
    let waits = timing.starts_with(" DEFERRABLE");
    let is_first = g.relations[id].primary.is_none() && !g.once.contains(&format!("primary {of}"));
    if is_first && g.chance(50) {
        g.once.insert(format!("primary {of}"));
        g.run(format!(
            "ALTER TABLE {of} ADD CONSTRAINT {name} PRIMARY KEY ({column}){include}{options}{timing}"
        ));
        if !waits {
            g.relations[id].primary = Some(vec![first]);
        }
    } else {
        let nulls = g.maybe(15, " NULLS NOT DISTINCT");
        g.run(format!(
            "ALTER TABLE {of} ADD CONSTRAINT {name} UNIQUE{nulls} ({column}){include}{options}{timing}"
        ));
        if !waits {
            g.relations[id].unique.push(first);
        }
    }
    g.add_object("CONSTRAINT", format!("{name} ON {of}"));
    g.add_object("INDEX", format!("{}.{name}", super::partition::schema_of(&of)));
}

/// Adds a foreign key from any table to any table that has a key, including itself and partitioned tables.
/// Cycles arise at random, because the tables are few.
pub fn foreign_key(g: &mut Generator) {
    let keyed: Vec<(usize, usize)> = (0..g.relations.len())
        .flat_map(|id| {
            let relation = &g.relations[id];
            let primary = relation.primary.iter().filter(|key| key.len() == 1).map(|key| key[0]);
            primary.chain(relation.unique.iter().copied()).map(move |n| (id, n)).collect::<Vec<_>>()
        })
        .collect();
    let Some((to, key)) = g.one_of(&keyed) else { return };
    let Some(from) = g.relation(&[Shape::Table, Shape::Table, Shape::Partitioned]) else { return };
    let ty = g.relations[to].columns[key].ty;
    let (target, key_name) = (g.relation_sql(to), g.relations[to].columns[key].name.clone());
    let of = g.relation_sql(from);
    let column = g.name("ref");
    g.run(format!("ALTER TABLE {of} ADD COLUMN {column} {}", g.type_sql(ty)));
    let mut added = super::model::Column::new(column.clone(), ty);
    added.refers = Some((to, key_name.clone()));
    g.relations[from].columns.push(added);
    let name = g.name_on("fk", from);
    let matching = g.maybe(10, " MATCH FULL");
    let mut actions = String::new();
    if g.chance(40) {
        let event = g.pick(&["DELETE", "UPDATE"]);
        let action = g.pick(&["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT", "NO ACTION"]);
        actions = format!(" ON {event} {action}");
        if event == "DELETE" && action.starts_with("SET") && g.chance(40) {
            actions += &format!(" ({column})");
        }
    }
    let timing = timing(g);
    let partitioned = [from, to].iter().any(|id| g.relations[*id].shape == Shape::Partitioned);
    let valid = if partitioned { "" } else { g.maybe(12, " NOT VALID") };
    g.run(format!(
        "ALTER TABLE {of} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {target} ({key_name}){matching}{actions}{timing}{valid}"
    ));
    g.add_object("CONSTRAINT", format!("{name} ON {of}"));
    super::row::into(g, from);
}

pub fn exclusion(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table]) else { return };
    let (of, name) = (g.relation_sql(id), g.name("excl"));
    let columns = g.relations[id].columns.clone();
    let Some(column) = columns.iter().find(|column| column.counted) else { return };
    let ty = g.type_sql(column.ty);
    let empty = if ty == "integer" { "int4range" } else { "int8range" };
    let timing = timing(g);
    let condition = {
        let scope = g.scope_of(id, "").immutable();
        g.condition(&scope, 1)
    };
    let filter = if g.chance(40) { format!(" WHERE ({condition})") } else { String::new() };
    let column = &column.name;
    let statement = match g.below(2) {
        0 => format!("ALTER TABLE {of} ADD CONSTRAINT {name} EXCLUDE ({column} WITH =){filter}{timing}"),
        _ => format!(
            "ALTER TABLE {of} ADD CONSTRAINT {name} EXCLUDE USING gist ({empty}({column}, {column}, '[]') WITH &&){filter}{timing}"
        ),
    };
    g.run(statement);
    g.add_object("CONSTRAINT", format!("{name} ON {of}"));
}
