//! Partitioned tables, partitions of every kind, and indexes over them.

use super::data_type::INT;
use super::expression::Scope;
use super::model::{Column, Form, Generator, Relation, Shape};
use super::name::literal;

pub fn partitioned(g: &mut Generator) {
    let name = g.qualified("parted");
    let (mut columns, mut parts) = g.columns(4, false);
    let key_name = g.name("key");
    let enums = g.type_where(|ty| matches!(ty.form, Form::Enum(_)));
    let by_enum = enums.filter(|_| g.chance(30));
    let key = by_enum.unwrap_or(INT);
    parts.push(format!("{key_name} {} NOT NULL", g.type_sql(key)));
    columns.push(Column { counted: key == INT, ..Column::new(key_name.clone(), key) });
    let method = if by_enum.is_some() { "LIST" } else { g.pick(&["RANGE", "LIST", "HASH", "RANGE"]) };
    let expression = method != "HASH" && by_enum.is_none() && g.chance(15);
    let by = if expression { format!("({key_name} + 0)") } else { key_name.clone() };
    let mut relation = Relation::new(&name, Shape::Partitioned, columns);
    if !expression && g.chance(50) {
        parts.push(format!("PRIMARY KEY ({key_name})"));
        relation.primary = Some(vec![relation.columns.len() - 1]);
    }
    g.run(format!("CREATE TABLE {name} ({}) PARTITION BY {method} ({by})", parts.join(", ")));
    let id = g.add_relation(relation, "TABLE");
    let labels = match g.types[key].form.clone() {
        Form::Enum(labels) => labels.iter().map(|label| literal(label)).collect(),
        _ => ["1", "2", "NULL", "7"].map(str::to_owned).to_vec(),
    };
    let parts = g.between(1, 3);
    for n in 0..parts {
        let bound = match method {
            "RANGE" => format!("FOR VALUES FROM ({}) TO ({})", n * 100, n * 100 + 100),
            "LIST" if n < labels.len() => format!("FOR VALUES IN ({})", labels[n]),
            "LIST" => break,
            _ => format!("FOR VALUES WITH (MODULUS {parts}, REMAINDER {n})"),
        };
        partition(g, id, &bound, &key_name);
    }
    if method == "LIST" || method == "RANGE" && g.chance(80) {
        partition(g, id, "DEFAULT", &key_name);
    }
    for _ in 0..g.below(4) {
        super::row::into(g, id);
    }
}

/// Creates one partition: created with PARTITION OF, attached, itself partitioned, or foreign.
fn partition(g: &mut Generator, parent: usize, bound: &str, key: &str) {
    let name = g.qualified("part");
    let of = g.relation_sql(parent);
    let columns = g.relations[parent].columns.clone();
    let server = g.of_kind("SERVER");
    let no_key = g.relations[parent].primary.is_none();
    let mut shape = Shape::Partition;
    match (g.below(8), server) {
        (0, _) => {
            g.run(format!("CREATE TABLE {name} (LIKE {of})"));
            g.run(format!("ALTER TABLE {of} ATTACH PARTITION {name} {bound}"));
        }
        (1, _) => {
            let (by, sub) = (g.pick(&["RANGE", "LIST"]), g.qualified("subpart"));
            g.run(format!("CREATE TABLE {name} PARTITION OF {of} {bound} PARTITION BY {by} ({key})"));
            g.run(format!("CREATE TABLE {sub} PARTITION OF {name} DEFAULT"));
            g.add_relation(Relation::new(&sub, Shape::Partition, columns.clone()), "TABLE");
        }
        (2, Some(server)) if no_key && g.chance(40) => {
            g.run(format!("CREATE FOREIGN TABLE {name} PARTITION OF {of} {bound} SERVER {server}"));
            g.add_relation(Relation::new(&name, Shape::Foreign, columns), "FOREIGN TABLE");
            return;
        }
        (3, _) => {
            let default = g.expression(columns[0].ty, &Scope::empty(), 1);
            let column = &columns[0].name;
            g.run(format!("CREATE TABLE {name} PARTITION OF {of} ({column} DEFAULT {default}) {bound}"));
        }
        (4, _) => {
            // Its columns are in another order, and one is dropped.
            g.run(format!("CREATE TABLE {name} (gone integer, LIKE {of})"));
            g.run(format!("ALTER TABLE {name} DROP COLUMN gone"));
            g.run(format!("ALTER TABLE {of} ATTACH PARTITION {name} {bound}"));
        }
        (5, _) => {
            g.run(format!("CREATE TABLE {name} PARTITION OF {of} {bound} WITH (fillfactor = 60)"));
            if g.chance(30) {
                g.run(format!("ALTER TABLE {of} DETACH PARTITION {name}"));
                shape = Shape::Table;
            }
        }
        _ => g.run(format!("CREATE TABLE {name} PARTITION OF {of} {bound}")),
    }
    g.add_relation(Relation::new(&name, shape, columns), "TABLE");
}

/// Creates an index or a key over all partitions.
pub fn indexed(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Partitioned]) else { return };
    let of = g.relation_sql(id);
    let columns = g.relations[id].columns.clone();
    let fitting: Vec<String> = columns
        .iter()
        .filter(|column| g.types[column.ty].ordered)
        .map(|column| column.name.clone())
        .collect();
    let Some(column) = g.one_of(&fitting) else { return };
    let name = g.name("pindex");
    let key = &columns[columns.len() - 1].name;
    match g.below(4) {
        0 => {
            // With ONLY, the index is invalid until all partitions have one.
            g.run(format!("CREATE INDEX {name} ON ONLY {of} ({column})"));
        }
        1 => g.run(format!("CREATE UNIQUE INDEX {name} ON {of} ({key}, {})", columns[0].name)),
        2 => {
            let constraint = g.name("pkey");
            g.run(format!(
                "ALTER TABLE {of} ADD CONSTRAINT {constraint} UNIQUE ({key}, {})",
                columns[0].name
            ));
            g.add_object("CONSTRAINT", format!("{constraint} ON {of}"));
            return;
        }
        _ => g.run(format!("CREATE INDEX {name} ON {of} ({column}, {key}) INCLUDE ({})", columns[0].name)),
    }
    let schema = schema_of(&of);
    g.add_object("INDEX", format!("{schema}.{name}"));
}

/// Returns the namespace of a qualified name. A quoted name may contain a dot.
pub fn schema_of(qualified: &str) -> String {
    let mut quoted = false;
    for (at, letter) in qualified.char_indices() {
        match letter {
            '"' => quoted = !quoted,
            '.' if !quoted => return qualified[..at].to_owned(),
            _ => {}
        }
    }
    "public".to_owned()
}
