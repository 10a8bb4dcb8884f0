//! Views over any relation, views that change later, recursive views, materialized views.

use super::data_type::INT;
use super::model::{Column, Generator, Relation, Shape};

pub fn plain(g: &mut Generator) {
    let query = g.query();
    let name = g.qualified("view");
    let options = g.pick(&[
        "",
        "",
        "",
        "",
        " WITH (security_barrier = true)",
        " WITH (security_invoker = true)",
        " WITH (security_barrier = false, security_invoker = true)",
    ]);
    g.run(format!("CREATE VIEW {name}{options} AS\n{}", query.text));
    let id = g.add_relation(Relation::new(&name, Shape::View, query.columns), "VIEW");
    if g.chance(15) {
        let columns = g.relations[id].columns.clone();
        let Some(column) = g.one_of(&columns) else { return };
        let default = g.default_of(column.ty);
        g.run(format!("ALTER VIEW {name} ALTER COLUMN {} SET DEFAULT {default}", column.name));
    }
    if g.chance(10) {
        // An updatable view may have a CHECK OPTION.
        let (simple, relation) = (g.qualified("simple"), g.relation(&[Shape::Table]).unwrap_or(0));
        let columns = vec![g.relations[relation].columns[0].clone()];
        let of = g.relation_sql(relation);
        let check = g.pick(&["LOCAL", "CASCADED"]);
        g.run(format!(
            "CREATE VIEW {simple} AS SELECT {0} FROM {of} WHERE {0} > 0 WITH {check} CHECK OPTION",
            columns[0].name
        ));
        g.add_relation(Relation::new(&simple, Shape::View, columns), "VIEW");
    }
}

pub fn materialized(g: &mut Generator) {
    let query = g.query();
    let name = g.qualified("matview");
    let options = g.pick(&[
        "",
        "",
        "",
        " WITH (fillfactor = 55)",
        " TABLESPACE space",
        " WITH (autovacuum_enabled = off)",
    ]);
    let data = g.maybe(30, "\n  WITH NO DATA");
    g.run(format!("CREATE MATERIALIZED VIEW {name}{options} AS\n{}{data}", query.text));
    let id = g.add_relation(Relation::new(&name, Shape::Matview, query.columns), "MATERIALIZED VIEW");
    if g.chance(20) {
        let columns = g.relations[id].columns.clone();
        let Some(column) = g.one_of(&columns) else { return };
        if g.types[column.ty].ordered {
            let index = g.name("mv_index");
            g.run(format!("CREATE INDEX {index} ON {name} ({})", column.name));
        }
    }
}

/// Replaces the query of a view that objects may already depend on, so that the view depends on later
/// objects.
pub fn replace(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::View]) else { return };
    let of = g.relation_sql(id);
    let columns = g.relations[id].columns.clone();
    let relation = g.below(g.relations.len());
    if relation == id {
        return;
    }
    let scope = g.scope_of(relation, "z.").with_queries();
    let list: Vec<String> = columns
        .iter()
        .map(|column| {
            let value = g.expression(column.ty, &scope, 2);
            format!("({value})::{} AS {}", g.type_sql(column.ty), column.name)
        })
        .collect();
    // A view over itself can never be restored.
    if list.iter().any(|item| item.contains(&of)) {
        return;
    }
    let from = g.relation_sql(relation);
    g.run(format!("CREATE OR REPLACE VIEW {of} AS\nSELECT {}\n  FROM {from} z", list.join(", ")));
}

pub fn recursive(g: &mut Generator) {
    let (name, column) = (g.qualified("recursive"), g.name("n"));
    let relation = g.below(g.relations.len());
    let of = g.relation_sql(relation);
    let search = g.pick(&["", " SEARCH DEPTH FIRST BY v SET path", " CYCLE v SET again USING path"]);
    g.run(format!(
        "CREATE VIEW {name} AS WITH RECURSIVE w(v) AS (SELECT 1 UNION ALL SELECT w.v + 1 FROM w WHERE w.v < (SELECT least(count(*), 3) FROM {of})){search} SELECT v AS {column} FROM w"
    ));
    g.add_relation(Relation::new(&name, Shape::View, vec![Column::new(column, INT)]), "VIEW");
}
