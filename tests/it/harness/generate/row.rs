//! Rows with values that need quoting or escapes, and the state of sequences.

use super::model::{Generator, RelationId, Shape};

pub fn insert(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table, Shape::Table, Shape::Partitioned]) else { return };
    into(g, id);
}

/// Adds one INSERT of a few rows.
pub fn into(g: &mut Generator, id: RelationId) {
    let of = g.relation_sql(id);
    let columns: Vec<_> = g.relations[id].columns.iter().filter(|column| column.given).cloned().collect();
    if columns.is_empty() {
        return;
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let mut rows = Vec::new();
    for _ in 0..g.between(1, 3) {
        g.row += 1;
        let row = g.row;
        let values: Vec<String> = columns
            .iter()
            .map(|column| match &column.refers {
                // The row may refer to itself or to a row that does not exist yet. The value is null in that
                // case.
                Some((to, key)) if g.chance(60) => {
                    format!("(SELECT k.{key} FROM {} k LIMIT 1)", g.relations[*to].sql)
                }
                Some(_) => "NULL".to_owned(),
                None if column.counted => row.to_string(),
                None => g.constant(column.ty),
            })
            .collect();
        rows.push(format!("({})", values.join(", ")));
    }
    g.run(format!("INSERT INTO {of} ({}) VALUES\n    {}", names.join(", "), rows.join(",\n    ")));
}

pub fn set_sequence(g: &mut Generator) {
    let Some(sequence) = g.of_kind("SEQUENCE") else { return };
    let name = super::name::literal(&sequence);
    let called = g.chance(50);
    g.run(format!("SELECT pg_catalog.setval({name}, 5, {called})"));
}
