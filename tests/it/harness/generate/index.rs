//! Indexes of every method and clause, clustering, replica identity, extended statistics.

use super::data_type::TEXT;
use super::model::{Generator, Shape, TABLESPACES};
use super::partition::schema_of;

const INDEXED: &[Shape] = &[Shape::Table, Shape::Table, Shape::Matview, Shape::Partition, Shape::Partitioned];

pub fn plain(g: &mut Generator) {
    let Some(id) = g.relation(INDEXED) else { return };
    let (of, name) = (g.relation_sql(id), g.name("index"));
    let mut keys = Vec::new();
    let mut method = g.pick(&["", "", "", " USING btree", " USING hash", " USING brin", " USING gin"]);
    for _ in 0..if method == " USING hash" { 1 } else { g.between(1, 3) } {
        if let Some(key) = index_key(g, id, method) {
            keys.push(key);
        }
    }
    if method == " USING gin" {
        let scope = g.scope_of(id, "").immutable();
        keys =
            vec![format!("(to_tsvector('pg_catalog.simple'::regconfig, {}))", g.expression(TEXT, &scope, 1))];
    }
    if keys.is_empty() {
        method = "";
        keys.push("(42)".to_owned());
    }
    let mut tail = String::new();
    let columns = g.relations[id].columns.clone();
    if method.is_empty() && g.chance(15) {
        let column = g.one_of(&columns).map(|column| column.name).unwrap_or_default();
        tail += &format!(" INCLUDE ({column})");
    }
    match method {
        "" | " USING btree" if g.chance(15) => tail += " WITH (fillfactor = 80, deduplicate_items = off)",
        " USING brin" if g.chance(50) => tail += " WITH (pages_per_range = 8, autosummarize = on)",
        " USING gin" if g.chance(50) => tail += " WITH (fastupdate = off, gin_pending_list_limit = 64)",
        _ => {}
    }
    if g.chance(8) {
        tail += &format!(" TABLESPACE {}", g.pick(TABLESPACES));
    }
    if g.chance(20) {
        let scope = g.scope_of(id, "").immutable();
        tail += &format!(" WHERE {}", g.condition(&scope, 2));
    }
    g.run(format!("CREATE INDEX {name} ON {of}{method} ({}){tail}", keys.join(", ")));
    let qualified = format!("{}.{name}", schema_of(&of));
    g.add_object("INDEX", qualified.clone());
    if g.chance(8) && keys[0].starts_with('(') {
        g.run(format!("ALTER INDEX {qualified} ALTER COLUMN 1 SET STATISTICS 123"));
    }
    if g.chance(8) && method.is_empty() && g.relations[id].shape == Shape::Table && !tail.contains("WHERE") {
        g.run(format!("ALTER TABLE {of} CLUSTER ON {name}"));
    }
}

/// Returns a column or an expression, with the clauses that may follow it.
fn index_key(g: &mut Generator, id: usize, method: &str) -> Option<String> {
    let columns = g.relations[id].columns.clone();
    let ordered: Vec<(String, usize)> =
        columns.iter().filter(|c| g.types[c.ty].ordered).map(|c| (c.name.clone(), c.ty)).collect();
    let (column, ty) = g.one_of(&ordered)?;
    // These methods need an operator class of the type, which fewer types have.
    if matches!(method, " USING hash" | " USING brin") {
        let counted = columns.iter().find(|column| column.counted)?;
        return Some(counted.name.clone());
    }
    let mut key = if g.chance(30) {
        let scope = g.scope_of(id, "").immutable();
        format!("({})", g.expression(ty, &scope, 2))
    } else {
        column
    };
    key += &g.collate(ty, 30);
    if ty == TEXT && g.chance(25) {
        key += " text_pattern_ops";
    }
    if method != " USING gin" {
        key += g.pick(&["", "", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST"]);
    }
    Some(key)
}

/// Adds a unique index over the counted column, and sometimes uses it as replica identity or for CLUSTER.
pub fn identity(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table]) else { return };
    let columns = g.relations[id].columns.clone();
    let Some(column) = columns.iter().find(|column| column.counted) else { return };
    let (of, name) = (g.relation_sql(id), g.name("unique"));
    let nulls = g.maybe(15, " NULLS NOT DISTINCT");
    g.run(format!("CREATE UNIQUE INDEX {name} ON {of} ({}){nulls}", column.name));
    g.add_object("INDEX", format!("{}.{name}", schema_of(&of)));
    match g.below(3) {
        0 if g.relations[id].primary.is_some() => {
            g.run(format!("ALTER TABLE {of} REPLICA IDENTITY USING INDEX {name}"));
        }
        1 => g.run(format!("ALTER TABLE {of} CLUSTER ON {name}")),
        _ => {}
    }
}

pub fn statistics(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table, Shape::Matview, Shape::Partitioned, Shape::Foreign]) else {
        return;
    };
    let (of, name) = (g.relation_sql(id), g.qualified("stat"));
    let columns = g.relations[id].columns.clone();
    let ordered: Vec<String> = columns
        .iter()
        .filter(|column| g.types[column.ty].ordered)
        .map(|column| column.name.clone())
        .collect();
    let mut keys = if ordered.len() > 1 { g.some_of(&ordered, 4) } else { Vec::new() };
    let mut kinds = g.pick(&["", " (ndistinct)", " (dependencies, mcv)", " (mcv)"]);
    if keys.len() < 2 {
        let scope = g.scope_of(id, "").immutable();
        let ty = g.ordered_type();
        keys = vec![format!("({})", g.expression(ty, &scope, 2))];
        kinds = "";
    }
    g.run(format!("CREATE STATISTICS {name}{kinds} ON {} FROM {of}", keys.join(", ")));
    g.add_object("STATISTICS", name.clone());
    if g.chance(25) {
        let target = g.below(500);
        g.run(format!("ALTER STATISTICS {name} SET STATISTICS {target}"));
    }
}
