//! Families of tables: parents, children and grandchildren whose columns, defaults and constraints were
//! changed on one level and not on another, before and after the tables were linked.

use super::data_type::{INT, TEXT};
use super::model::{Column, Generator, Relation, Shape};

pub fn family(g: &mut Generator) {
    let [top, other, middle, bottom] = ["top", "other", "middle", "bottom"].map(|stem| g.qualified(stem));
    let generated = g.maybe(30, ", twice integer GENERATED ALWAYS AS (a * 2) STORED");
    g.run(format!(
        "CREATE TABLE {top} (a integer DEFAULT 1, b text NOT NULL DEFAULT 'b', c text{generated})"
    ));
    g.run(format!("CREATE TABLE {other} (b text, z integer CONSTRAINT positive CHECK (z IS NULL OR z > 0))"));
    let local =
        g.pick(&["", "b text DEFAULT 'mine'", "a integer NOT NULL", "c text CONSTRAINT short CHECK (true)"]);
    g.run(format!("CREATE TABLE {middle} ({local}) INHERITS ({top})"));
    let parents = g.pick(&["middle", "middle, other", "other, middle"]);
    let parents = parents.replace("middle", &middle).replace("other", &other);
    let local = g.pick(&["", "a integer DEFAULT 7", "z integer DEFAULT 3", "own text"]);
    let kind = g.maybe(15, "UNLOGGED ");
    g.run(format!("CREATE {kind}TABLE {bottom} ({local}) INHERITS ({parents})"));
    for _ in 0..g.between(2, 8) {
        let statement = change(g, &top, &other, &middle, &bottom);
        g.run(statement);
    }
    for (name, columns) in [(&top, &["a"] as &[&str]), (&other, &["z"]), (&middle, &["a"]), (&bottom, &["a"])]
    {
        let mut list: Vec<Column> = Vec::new();
        for column in columns {
            list.push(Column { counted: true, ..Column::new((*column).to_owned(), INT) });
        }
        list.push(Column::new("b".to_owned(), TEXT));
        let id = g.add_relation(Relation::new(name, Shape::Table, list), "TABLE");
        super::row::into(g, id);
    }
}

/// Returns one change on one level, with or without the levels below.
fn change(g: &mut Generator, top: &str, other: &str, middle: &str, bottom: &str) -> String {
    let of = g.pick(&[top, middle, bottom]);
    let only = g.maybe(40, "ONLY ");
    let column = g.pick(&["a", "b", "c"]);
    match g.below(16) {
        0 => format!("ALTER TABLE {only}{of} ALTER COLUMN {column} DROP DEFAULT"),
        1 => format!("ALTER TABLE {only}{of} ALTER COLUMN {column} SET DEFAULT '5'"),
        2 => format!("ALTER TABLE {of} ALTER COLUMN {column} SET DEFAULT NULL"),
        3 => format!("ALTER TABLE {of} ALTER COLUMN c SET NOT NULL"),
        4 => format!("ALTER TABLE {only}{of} ALTER COLUMN b DROP NOT NULL"),
        5 => format!("ALTER TABLE {only}{of} ALTER COLUMN {column} SET STATISTICS 33"),
        6 => format!("ALTER TABLE {only}{of} ALTER COLUMN c SET STORAGE EXTERNAL"),
        7 => format!("ALTER TABLE {only}{of} ALTER COLUMN {column} SET (n_distinct = 5)"),
        8 => format!("ALTER TABLE ONLY {top} DROP COLUMN c"),
        9 => format!("ALTER TABLE {bottom} DROP CONSTRAINT IF EXISTS positive"),
        10 => format!("ALTER TABLE ONLY {other} DROP CONSTRAINT IF EXISTS positive"),
        11 => {
            let [child, parent] = [middle, top].map(|table| {
                format!("ALTER TABLE {table} ADD CONSTRAINT merged CHECK (a IS NULL OR a > -1000000)")
            });
            g.run(child);
            parent
        }
        12 => {
            let valid = g.maybe(50, " NOT VALID");
            format!("ALTER TABLE {of} ADD CONSTRAINT {} CHECK (b <> 'never'){valid}", g.name("level"))
        }
        13 => {
            g.run(format!("ALTER TABLE {middle} NO INHERIT {top}"));
            if g.chance(50) {
                g.run(format!("ALTER TABLE {middle} ALTER COLUMN a SET DEFAULT 9"));
            }
            format!("ALTER TABLE {middle} INHERIT {top}")
        }
        14 => format!("ALTER TABLE {top} ADD COLUMN {} text DEFAULT 'late'", g.name("late")),
        _ => format!("ALTER TABLE {middle} ALTER COLUMN c SET COMPRESSION pglz"),
    }
}
