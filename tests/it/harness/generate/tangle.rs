//! Deliberate dependency loops that the sort order of a dump must break by a rule.

use super::data_type::{BIGINT, INT, TEXT};
use super::expression::Scope;
use super::model::{Column, Form, Generator, Relation, RelationId, Routine, Shape};
use super::partition::schema_of;

/// Applies one of the recipes.
pub fn any(g: &mut Generator) {
    const RECIPES: &[fn(&mut Generator)] = &[
        view_and_function,
        two_views,
        function_of_rows_in_view,
        default_over_own_rows,
        defaults_over_each_other,
        check_over_own_rows,
        domain_over_itself,
        canonical_range,
        grouped_by_key,
        function_waits_for_key,
        circle_of_keys,
        table_becomes_view,
        attached_by_hand,
        rule_waits_for_key,
        moved,
        policy_over_own_rows,
        argument_defaults,
    ];
    let recipe = RECIPES[g.below(RECIPES.len())];
    recipe(g);
}

/// Creates a small table with a primary key, for a recipe.
fn keyed(g: &mut Generator) -> (RelationId, String, String, String) {
    let name = g.qualified("keyed");
    let (id, note) = (g.name("id"), g.name("note"));
    let ty = g.any_type();
    let other = g.name("other");
    g.run(format!("CREATE TABLE {name} ({id} integer PRIMARY KEY, {note} text, {other} {})", g.type_sql(ty)));
    let columns = vec![
        Column { counted: true, ..Column::new(id.clone(), INT) },
        Column::new(note.clone(), TEXT),
        Column::new(other, ty),
    ];
    let mut relation = Relation::new(&name, Shape::Table, columns);
    relation.primary = Some(vec![0]);
    let place = g.add_relation(relation, "TABLE");
    super::row::into(g, place);
    (place, name, id, note)
}

fn view_of(g: &mut Generator, name: &str, columns: &[(&str, usize)]) {
    let columns = columns.iter().map(|(name, ty)| Column::new((*name).to_owned(), *ty)).collect();
    g.add_relation(Relation::new(name, Shape::View, columns), "VIEW");
}

fn register(g: &mut Generator, sql: &str, arguments: &str) {
    g.add_object("FUNCTION", format!("{sql}({arguments})"));
}

/// A view whose query calls a function of the view's own rows.
fn view_and_function(g: &mut Generator) {
    let (_, table, id, note) = keyed(g);
    let (view, function) = (g.qualified("loop_view"), g.qualified("loop_func"));
    g.run(format!("CREATE VIEW {view} AS SELECT {id}, {note} FROM {table}"));
    view_of(g, &view, &[(&id, INT), (&note, TEXT)]);
    let language =
        g.pick(&["LANGUAGE sql AS 'SELECT ''x''::text'", "LANGUAGE sql BEGIN ATOMIC SELECT 'x'::text; END"]);
    g.run(format!("CREATE FUNCTION {function}({view}) RETURNS text STABLE {language}"));
    register(g, &function, &view);
    let options = g.maybe(40, " WITH (security_barrier = true)");
    let check = g.maybe(30, " WITH CASCADED CHECK OPTION");
    g.run(format!(
        "CREATE OR REPLACE VIEW {view}{options} AS SELECT {id}, {note} FROM {table} WHERE {function}(NULL::{view}) IS NULL{check}"
    ));
    if g.chance(40) {
        let above = g.qualified("above");
        g.run(format!("CREATE VIEW {above} AS SELECT v.{id}, {function}(v) AS f FROM {view} v"));
        view_of(g, &above, &[(&id, INT)]);
    }
}

fn two_views(g: &mut Generator) {
    let [one, other] = ["mutual", "mutual"].map(|stem| g.qualified(stem));
    let column = g.name("x");
    let collation = g.maybe(30, " COLLATE \"C\"");
    g.run(format!("CREATE VIEW {one} AS SELECT 'a'::text{collation} AS {column}"));
    view_of(g, &one, &[(&column, TEXT)]);
    g.run(format!("CREATE VIEW {other} AS SELECT {column} FROM {one}"));
    view_of(g, &other, &[(&column, TEXT)]);
    g.run(format!(
        "CREATE OR REPLACE VIEW {one} AS SELECT ('a'::text || (SELECT max({column}) FROM {other})){collation} AS {column} WHERE false"
    ));
}

fn function_of_rows_in_view(g: &mut Generator) {
    let (_, table, id, _) = keyed(g);
    let (view, function) = (g.qualified("returned"), g.qualified("returns"));
    g.run(format!("CREATE VIEW {view} AS SELECT {id} FROM {table}"));
    view_of(g, &view, &[(&id, INT)]);
    g.run(format!("CREATE FUNCTION {function}() RETURNS SETOF {view} LANGUAGE sql STABLE AS $$ SELECT 1 $$"));
    register(g, &function, "");
    g.run(format!("CREATE OR REPLACE VIEW {view} AS SELECT {id} FROM {table} WHERE {id} IN (SELECT r.{id} FROM {function}() r)"));
}

fn default_over_own_rows(g: &mut Generator) {
    let Some(relation) = g.relation(&[Shape::Table, Shape::Partitioned, Shape::View]) else { return };
    let of = g.relation_sql(relation);
    let function = g.qualified("default_of");
    g.run(format!("CREATE FUNCTION {function}({of}) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1'"));
    register(g, &function, &of);
    let column = g.relations[relation].columns.iter().find(|c| c.given && (c.ty == INT || c.ty == BIGINT));
    if let Some(name) = column.map(|column| column.name.clone()) {
        g.run(format!("ALTER TABLE {of} ALTER COLUMN {name} SET DEFAULT {function}(NULL::{of})"));
    }
}

/// Two tables whose defaults call functions over each other's rows, directly or through BEGIN ATOMIC.
fn defaults_over_each_other(g: &mut Generator) {
    let [one, other] = [0, 1].map(|_| keyed(g));
    for ((_, table, id, _), (_, rows, key, _)) in [(&one, &other), (&other, &one)] {
        let function = g.qualified("mutual_default");
        let body = if g.chance(50) {
            format!("BEGIN ATOMIC SELECT max(x.{key}) FROM {rows} x WHERE $1 IS NULL; END")
        } else {
            "AS 'SELECT 1'".to_owned()
        };
        g.run(format!("CREATE FUNCTION {function}({rows}) RETURNS integer LANGUAGE sql STABLE {body}"));
        register(g, &function, rows);
        g.run(format!("ALTER TABLE {table} ALTER COLUMN {id} SET DEFAULT {function}(NULL::{rows})"));
    }
}

fn check_over_own_rows(g: &mut Generator) {
    let (_, table, _, _) = keyed(g);
    let (function, constraint) = (g.qualified("holds_for"), g.name("over_self"));
    let short = table[schema_of(&table).len() + 1..].to_owned();
    g.run(format!(
        "CREATE FUNCTION {function}({table}) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'"
    ));
    register(g, &function, &table);
    let valid = g.maybe(25, " NOT VALID");
    g.run(format!("ALTER TABLE {table} ADD CONSTRAINT {constraint} CHECK ({function}({short})){valid}"));
    g.add_object("CONSTRAINT", format!("{constraint} ON {table}"));
    if g.chance(40) {
        let index = g.name("over_rows");
        g.run(format!("CREATE INDEX {index} ON {table} (({function}({short})))"));
    }
}

fn domain_over_itself(g: &mut Generator) {
    let (name, function, constraint) =
        (g.qualified("self_dom"), g.qualified("over_dom"), g.name("by_itself"));
    let base = g.any_type();
    g.run(format!("CREATE DOMAIN {name} AS {}", g.type_sql(base)));
    g.run(format!("CREATE FUNCTION {function}({name}) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN true; END'"));
    register(g, &function, &name);
    g.run(format!("ALTER DOMAIN {name} ADD CONSTRAINT {constraint} CHECK ({function}(VALUE))"));
    g.add_object("CONSTRAINT", format!("{constraint} ON DOMAIN {name}"));
    g.add_object("DOMAIN", name.clone());
    let ordered = g.types[base].ordered;
    g.add_type(&name, Form::Domain(base), ordered);
}

/// The canonical function takes the range type's shell.
fn canonical_range(g: &mut Generator) {
    let (name, function) = (g.qualified("canon_range"), g.qualified("canon"));
    g.run(format!("CREATE TYPE {name}"));
    g.run(format!("CREATE FUNCTION {function}({name}) RETURNS {name} LANGUAGE internal STRICT IMMUTABLE AS 'int4range_canonical'"));
    register(g, &function, &name);
    let diff = g.maybe(50, ", SUBTYPE_DIFF = int4range_subdiff");
    g.run(format!("CREATE TYPE {name} AS RANGE (SUBTYPE = integer, CANONICAL = {function}{diff})"));
    g.add_object("TYPE", name.clone());
    g.add_type(&name, Form::Range(INT), true);
}

/// Views and materialized views that depend on a primary key, and objects that depend on them.
fn grouped_by_key(g: &mut Generator) {
    let (_, table, id, note) = keyed(g);
    let view = g.qualified("grouped");
    let kind = g.pick(&["VIEW", "MATERIALIZED VIEW"]);
    g.run(format!(
        "CREATE {kind} {view} AS SELECT t.{id}, t.{note}, count(*) AS n FROM {table} t GROUP BY t.{id}"
    ));
    let columns = vec![
        Column::new(id.clone(), INT),
        Column::new(note.clone(), TEXT),
        Column::new("n".to_owned(), BIGINT),
    ];
    let shape = if kind == "VIEW" { Shape::View } else { Shape::Matview };
    let word = if kind == "VIEW" { "VIEW" } else { "MATERIALIZED VIEW" };
    g.add_relation(Relation::new(&view, shape, columns), word);
    if g.chance(50) {
        let above = g.qualified("on_grouped");
        let data = g.maybe(20, " WITH NO DATA");
        g.run(format!("CREATE MATERIALIZED VIEW {above} AS SELECT {id}, n FROM {view}{data}"));
        let columns = vec![Column::new(id.clone(), INT), Column::new("n".to_owned(), BIGINT)];
        g.add_relation(Relation::new(&above, Shape::Matview, columns), "MATERIALIZED VIEW");
    }
    if g.chance(40) {
        let function = g.qualified("of_grouped");
        let body = g.pick(&["AS $$ SELECT NULL::integer $$", "BEGIN ATOMIC SELECT NULL::integer; END"]);
        g.run(format!("CREATE FUNCTION {function}({view}) RETURNS integer LANGUAGE sql STABLE {body}"));
        register(g, &function, &view);
        let ty = g.types.iter().position(|ty| ty.sql == view).unwrap_or(INT);
        g.routines.push(Routine {
            sql: function,
            arguments: vec![ty],
            result: INT,
            immutable: false,
            aggregate: false,
            head: None,
        });
    }
    if kind == "VIEW" && g.chance(30) {
        g.run(format!("CREATE RULE guarded AS ON DELETE TO {view} DO INSTEAD DELETE FROM {table} WHERE {table}.{id} = OLD.{id}"));
        g.add_object("RULE", format!("guarded ON {view}"));
    }
    // With a materialized view's row type no dump can restore the table: the table belongs before the data,
    // and the view comes after it.
    if kind == "VIEW" && g.chance(30) {
        let child = g.qualified("rows_like");
        let held = g.name("held");
        g.run(format!("CREATE TABLE {child} ({held} {view}, of {view}[])"));
        let ty = g.types.iter().position(|ty| ty.sql == view).unwrap_or(INT);
        g.add_relation(Relation::new(&child, Shape::Table, vec![Column::new(held, ty)]), "TABLE");
    }
}

/// A function whose body depends on a primary key comes after the data, and so does every object that uses
/// it.
fn function_waits_for_key(g: &mut Generator) {
    let (_, table, id, note) = keyed(g);
    let function = g.qualified("waits");
    g.run(format!(
        "CREATE FUNCTION {function}() RETURNS text LANGUAGE sql STABLE BEGIN ATOMIC SELECT max(s.{note}) FROM (SELECT t.{id}, t.{note} FROM {table} t GROUP BY t.{id}) s; END"
    ));
    register(g, &function, "");
    let routine = Routine {
        sql: function.clone(),
        arguments: Vec::new(),
        result: TEXT,
        immutable: false,
        aggregate: false,
        head: None,
    };
    g.routines.push(routine);
    match g.below(3) {
        0 => {
            let view = g.qualified("waits_too");
            g.run(format!("CREATE VIEW {view} AS SELECT {function}() AS t"));
            view_of(g, &view, &[("t", TEXT)]);
        }
        1 => g.run(format!("ALTER TABLE {table} ALTER COLUMN {note} SET DEFAULT {function}()")),
        _ => {
            let procedure = g.qualified("calls");
            g.run(format!(
                "CREATE PROCEDURE {procedure}() LANGUAGE sql BEGIN ATOMIC SELECT {function}(); END"
            ));
            g.add_object("PROCEDURE", format!("{procedure}()"));
        }
    }
}

/// Tables whose foreign keys form a cycle.
fn circle_of_keys(g: &mut Generator) {
    let count = g.between(1, 3);
    let tables: Vec<_> = (0..count).map(|_| keyed(g)).collect();
    for n in 0..count {
        let ((place, table, ..), (to, target, key, _)) = (&tables[n], &tables[(n + 1) % count]);
        let (column, name) = (g.name("next"), g.name("round"));
        g.run(format!("ALTER TABLE {table} ADD COLUMN {column} integer"));
        let timing = g.maybe(40, " DEFERRABLE INITIALLY DEFERRED");
        g.run(format!("ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {target} ({key}){timing}"));
        g.add_object("CONSTRAINT", format!("{name} ON {table}"));
        let mut added = Column::new(column, INT);
        added.refers = Some((*to, key.clone()));
        g.relations[*place].columns.push(added);
        super::row::into(g, *place);
    }
}

/// An empty table with a rule ON SELECT is a view.
fn table_becomes_view(g: &mut Generator) {
    let (_, table, id, _) = keyed(g);
    let (name, column) = (g.qualified("once_table"), g.name("c"));
    g.run(format!("CREATE TABLE {name} ({column} integer)"));
    g.run(format!(
        "CREATE RULE \"_RETURN\" AS ON SELECT TO {name} DO INSTEAD SELECT {id} AS {column} FROM {table}"
    ));
    view_of(g, &name, &[(&column, INT)]);
}

/// An index on the parent only, to which partitions' indexes are attached with ALTER INDEX.
fn attached_by_hand(g: &mut Generator) {
    let name = g.qualified("by_hand");
    g.run(format!("CREATE TABLE {name} (k integer NOT NULL, v text) PARTITION BY RANGE (k)"));
    let columns =
        vec![Column { counted: true, ..Column::new("k".to_owned(), INT) }, Column::new("v".to_owned(), TEXT)];
    g.add_relation(Relation::new(&name, Shape::Partitioned, columns.clone()), "TABLE");
    let index = g.name("parent_index");
    let key = g.pick(&["(k)", "(v, k)", "(lower(v))"]);
    let unique = if key == "(k)" { g.maybe(50, "UNIQUE ") } else { "" };
    g.run(format!("CREATE {unique}INDEX {index} ON ONLY {name} {key}"));
    let schema = schema_of(&name);
    for n in 0..g.between(1, 3) {
        let part = g.qualified("hand_part");
        g.run(format!("CREATE TABLE {part} (k integer NOT NULL, v text)"));
        let bound = format!("FOR VALUES FROM ({}) TO ({})", n * 1000, (n + 1) * 1000);
        let own = g.name("part_index");
        g.run(format!("CREATE {unique}INDEX {own} ON {part} {key}"));
        g.run(format!("ALTER TABLE {name} ATTACH PARTITION {part} {bound}"));
        g.add_relation(Relation::new(&part, Shape::Partition, columns.clone()), "TABLE");
        g.add_object("INDEX", format!("{}.{own}", schema_of(&part)));
        if !unique.is_empty() && g.chance(40) {
            g.run(format!("ALTER TABLE {part} REPLICA IDENTITY USING INDEX {own}"));
        }
    }
    g.add_object("INDEX", format!("{schema}.{index}"));
}

/// A rule's action that names a constraint.
fn rule_waits_for_key(g: &mut Generator) {
    let (_, table, id, note) = keyed(g);
    let (from, name) = (g.qualified("upserts"), g.name("upsert"));
    g.run(format!("CREATE TABLE {from} (a integer, b text)"));
    g.run(format!(
        "CREATE RULE {name} AS ON INSERT TO {from} DO INSTEAD INSERT INTO {table} ({id}, {note}) VALUES (NEW.a, NEW.b) ON CONFLICT ({id}) DO UPDATE SET {note} = excluded.{note}"
    ));
    g.add_object("RULE", format!("{name} ON {from}"));
}

/// A relation that moves to another namespace moves its row type too.
fn moved(g: &mut Generator) {
    let (place, table, id, note) = keyed(g);
    let schema = g.schema_name();
    if schema == schema_of(&table) {
        return;
    }
    let short = &table[schema_of(&table).len() + 1..];
    let new = format!("{schema}.{short}");
    if !g.used.insert(new.clone()) {
        return;
    }
    g.run(format!("ALTER TABLE {table} SET SCHEMA {schema}"));
    for ty in g.types.iter_mut().filter(|ty| ty.sql == table) {
        ty.sql = new.clone();
    }
    for object in g.objects.iter_mut().filter(|object| object.kind == "TABLE" && object.name == table) {
        object.name = new.clone();
    }
    g.relations[place].sql = new.clone();
    let view = g.qualified("of_moved");
    g.run(format!("CREATE VIEW {view} AS SELECT m.{id}, m.{note}, m AS whole FROM {new} m"));
    view_of(g, &view, &[(&id, INT), (&note, TEXT)]);
}

fn policy_over_own_rows(g: &mut Generator) {
    let (_, table, id, _) = keyed(g);
    let (function, name) = (g.qualified("may_see"), g.name("own_rows"));
    let short = table[schema_of(&table).len() + 1..].to_owned();
    g.run(format!(
        "CREATE FUNCTION {function}({table}) RETURNS boolean LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) > 0 FROM {table} x WHERE x.{id} = ($1).{id}; END"
    ));
    register(g, &function, &table);
    g.run(format!("CREATE POLICY {name} ON {table} USING ({function}({short}))"));
    g.add_object("POLICY", format!("{name} ON {table}"));
    g.run(format!("ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"));
}

/// Arguments' defaults that call other functions, whose arguments have defaults of the same form.
fn argument_defaults(g: &mut Generator) {
    let mut last = "1".to_owned();
    for _ in 0..g.between(2, 4) {
        let name = g.qualified("chain");
        let ty = g.any_type();
        let second = g.expression(ty, &Scope::empty(), 2);
        let body = g.pick(&["RETURN 1", "AS 'SELECT 1'"]);
        g.run(format!(
            "CREATE FUNCTION {name}(a integer DEFAULT {last}, b {} DEFAULT {second}) RETURNS integer LANGUAGE sql IMMUTABLE {body}",
            g.type_sql(ty)
        ));
        g.add_object("FUNCTION", format!("{name}(integer, {})", g.type_sql(ty)));
        last = format!("{name}()");
    }
}
