//! Tables: plain, inherited, typed, LIKE another, with their storage; sequences.

use super::data_type::{BIGINT, INT, TEXT};
use super::model::{Column, Form, Generator, Relation, RelationId, Shape, TABLESPACES};
use super::partition::schema_of;

const OPTIONS: &[&str] = &[
    "fillfactor = 70",
    "autovacuum_enabled = false",
    "toast.autovacuum_enabled = false",
    "toast_tuple_target = 256",
    "parallel_workers = 3",
    "autovacuum_vacuum_scale_factor = 0.25",
];

/// Returns WITH, TABLESPACE and USING clauses.
fn storage_clauses(g: &mut Generator) -> String {
    let mut text = String::new();
    if let (Some(method), true) = (g.of_kind("TABLE ACCESS METHOD"), g.chance(10)) {
        text += &format!(" USING {method}");
    }
    if g.chance(20) {
        text += &format!(" WITH ({})", g.some_of(OPTIONS, 3).join(", "));
    }
    if g.chance(8) {
        text += &format!(" TABLESPACE {}", g.pick(TABLESPACES));
    }
    text
}

pub fn plain(g: &mut Generator) {
    let name = g.qualified("tab");
    let (mut columns, mut parts) = g.columns(6, true);
    let mut relation = Relation::new(&name, Shape::Table, Vec::new());
    if g.chance(12) {
        copy_of_another(g, &mut columns, &mut parts);
    }
    if g.chance(55) {
        let constraint = g.name("pk");
        let deferrable = g.maybe(10, " DEFERRABLE INITIALLY DEFERRED");
        if g.chance(70) {
            parts.push(format!("CONSTRAINT {constraint} PRIMARY KEY ({}){deferrable}", columns[0].name));
            g.add_object("CONSTRAINT", format!("{constraint} ON {name}"));
        } else {
            parts.push(format!("PRIMARY KEY ({})", columns[0].name));
        }
        g.once.insert(format!("primary {name}"));
        // A foreign key cannot refer to a deferrable key.
        relation.primary = deferrable.is_empty().then(|| vec![0]);
    }
    // A logged table cannot refer to an unlogged one.
    let kind = if relation.primary.is_none() { g.maybe(20, "UNLOGGED ") } else { "" };
    let storage = storage_clauses(g);
    g.run(format!("CREATE {kind}TABLE {name} (\n    {}\n){storage}", parts.join(",\n    ")));
    relation.columns = columns;
    let id = g.add_relation(relation, "TABLE");
    for _ in 0..g.below(3) {
        super::row::into(g, id);
    }
}

/// Adds LIKE another relation, with some of its properties.
fn copy_of_another(g: &mut Generator, columns: &mut Vec<Column>, parts: &mut Vec<String>) {
    let shapes = [Shape::Table, Shape::Partitioned, Shape::View, Shape::Matview];
    let Some(other) = g.relation(&shapes) else { return };
    let what = g.pick(&[
        "",
        " INCLUDING ALL",
        " INCLUDING DEFAULTS INCLUDING CONSTRAINTS",
        " INCLUDING COMMENTS INCLUDING STORAGE",
    ]);
    parts.push(format!("LIKE {}{what}", g.relation_sql(other)));
    let more: Vec<Column> = g.relations[other].columns.clone();
    // A column copied with its identity or generation expression takes no values.
    let given = !what.contains("ALL");
    columns.extend(more.into_iter().map(|column| Column { given, refers: None, ..column }));
}

pub fn inherited(g: &mut Generator) {
    let Some(parent) = g.relation(&[Shape::Table]) else { return };
    let name = g.qualified("child");
    let (mut columns, parts) = if g.chance(70) { g.columns(3, false) } else { (Vec::new(), Vec::new()) };
    let of = g.relation_sql(parent);
    let mut parents = vec![of.clone()];
    let other = g.relation(&[Shape::Table]).filter(|other| *other != parent);
    if let (Some(other), true) = (other, g.chance(20)) {
        parents.push(g.relation_sql(other));
    }
    let storage = storage_clauses(g);
    g.run(format!("CREATE TABLE {name} ({}) INHERITS ({}){storage}", parts.join(", "), parents.join(", ")));
    let mut all = g.relations[parent].columns.clone();
    all.append(&mut columns);
    if g.chance(30) {
        let column = g.relations[parent].columns[0].name.clone();
        let change = g.pick(&["SET DEFAULT 5", "SET NOT NULL", "SET STATISTICS 7", "DROP DEFAULT"]);
        g.run(format!("ALTER TABLE {name} ALTER COLUMN {column} {change}"));
    }
    for column in &mut all {
        column.counted |= column.refers.take().is_some();
        // A child does not inherit an identity, but it inherits NOT NULL.
        column.given |= column.counted;
    }
    let id = g.add_relation(Relation::new(&name, Shape::Table, all), "TABLE");
    super::row::into(g, id);
    if g.chance(15) {
        g.run(format!("ALTER TABLE {name} NO INHERIT {of}"));
        if g.chance(50) {
            g.run(format!("ALTER TABLE {name} INHERIT {of}"));
        }
    }
}

pub fn typed(g: &mut Generator) {
    let Some(of) = g.type_where(|ty| matches!(&ty.form, Form::Composite(fields) if !fields.is_empty()))
    else {
        return;
    };
    let Form::Composite(fields) = g.types[of].form.clone() else { return };
    let name = g.qualified("typed");
    let columns: Vec<Column> = fields.into_iter().map(|(name, ty)| Column::new(name, ty)).collect();
    let mut options = String::new();
    if g.chance(50) {
        let default = g.default_of(columns[0].ty);
        options = format!(" ({} WITH OPTIONS DEFAULT {default})", columns[0].name);
    }
    g.run(format!("CREATE TABLE {name} OF {}{options}", g.type_sql(of)));
    let id = g.add_relation(Relation::new(&name, Shape::Table, columns), "TABLE");
    super::row::into(g, id);
}

pub fn sequence(g: &mut Generator) {
    let name = g.qualified("seq");
    let kind = g.maybe(10, "UNLOGGED ");
    let clauses = g.pick(&[
        "",
        " AS smallint",
        " INCREMENT BY -1",
        " START WITH 5 CACHE 3",
        " MINVALUE -10 MAXVALUE 10 START WITH 0 CYCLE",
        " AS integer INCREMENT BY 7 MINVALUE 3",
    ]);
    g.run(format!("CREATE {kind}SEQUENCE {name}{clauses}"));
    g.add_object("SEQUENCE", name.clone());
    // A sequence and its owner must be in the same namespace.
    let near: Vec<RelationId> = (0..g.relations.len())
        .filter(|id| matches!(g.relations[*id].shape, Shape::Table | Shape::Foreign))
        .filter(|id| schema_of(&g.relations[*id].sql) == schema_of(&name))
        .collect();
    if let (Some(relation), true) = (g.one_of(&near), g.chance(60)) {
        let column = g.relations[relation].columns[0].name.clone();
        g.run(format!("ALTER SEQUENCE {name} OWNED BY {}.{column}", g.relation_sql(relation)));
        if g.chance(50) && g.relations[relation].columns[0].given {
            let sequence = super::name::literal(&name);
            g.run(format!(
                "ALTER TABLE {} ALTER COLUMN {column} SET DEFAULT nextval({sequence}::regclass)",
                g.relation_sql(relation)
            ));
        }
    }
}

/// Changes how a table and its columns are stored.
pub fn storage(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table, Shape::Partition, Shape::Matview]) else { return };
    let sql = g.relation_sql(id);
    let word = if g.relations[id].shape == Shape::Matview { "MATERIALIZED VIEW" } else { "TABLE" };
    let columns = g.relations[id].columns.clone();
    let Some(column) = g.one_of(&columns) else { return };
    let name = column.name;
    let statement = match g.below(7) {
        0 => format!("ALTER {word} {sql} ALTER COLUMN {name} SET STATISTICS {}", g.below(1000)),
        1 => format!(
            "ALTER {word} {sql} ALTER COLUMN {name} SET (n_distinct = -0.5, n_distinct_inherited = 3)"
        ),
        2 if column.ty == TEXT => {
            let storage = g.pick(&["PLAIN", "EXTERNAL", "MAIN"]);
            format!("ALTER {word} {sql} ALTER COLUMN {name} SET STORAGE {storage}")
        }
        3 if column.ty == TEXT => {
            let method = g.pick(&["pglz", "lz4"]);
            format!("ALTER {word} {sql} ALTER COLUMN {name} SET COMPRESSION {method}")
        }
        4 => format!("ALTER {word} {sql} SET ({})", g.pick(OPTIONS)),
        5 => format!("ALTER {word} {sql} SET TABLESPACE {}", g.pick(TABLESPACES)),
        _ => format!("ALTER TABLE {sql} REPLICA IDENTITY {}", g.pick(&["FULL", "NOTHING", "DEFAULT"])),
    };
    g.run(statement);
}

/// Adds and drops columns.
pub fn evolve(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table, Shape::Partitioned]) else { return };
    let sql = g.relation_sql(id);
    match g.below(3) {
        0 => {
            let name = g.name("gone");
            g.run(format!("ALTER TABLE {sql} ADD COLUMN {name} integer"));
            g.run(format!("ALTER TABLE {sql} DROP COLUMN {name}"));
        }
        1 => {
            let (name, ty) = (g.name("late"), g.pick_type(&[INT, BIGINT, TEXT]));
            g.run(format!("ALTER TABLE {sql} ADD COLUMN {name} {}", g.type_sql(ty)));
            g.relations[id].columns.push(Column::new(name, ty));
        }
        _ => {
            let columns = g.relations[id].columns.clone();
            let Some(column) = g.one_of(&columns).filter(|column| column.given) else { return };
            let default = g.default_of(column.ty);
            g.run(format!("ALTER TABLE {sql} ALTER COLUMN {} SET DEFAULT {default}", column.name));
        }
    }
}
