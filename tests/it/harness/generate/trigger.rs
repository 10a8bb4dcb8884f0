//! Triggers, rules, policies, event triggers, with their states.

use super::model::{Generator, Shape};

/// Returns a trigger function, sometimes a new one.
fn function(g: &mut Generator) -> String {
    let existing: Vec<String> =
        g.once.iter().filter_map(|key| key.strip_prefix("trigger ").map(str::to_owned)).collect();
    let mut existing = existing;
    existing.sort();
    if let (Some(name), true) = (g.one_of(&existing), g.chance(60)) {
        return name;
    }
    let name = g.qualified("fires");
    let body = g.pick(&[
        "BEGIN RETURN NEW; END",
        "BEGIN RETURN COALESCE(NEW, OLD); END",
        "DECLARE r record; BEGIN r := NEW; RETURN r; END",
    ]);
    g.run(format!("CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$"));
    g.add_object("FUNCTION", format!("{name}()"));
    g.once.insert(format!("trigger {name}"));
    name
}

fn state(g: &mut Generator, of: &str, what: &str, name: &str) {
    if g.chance(25) {
        let state = g.pick(&["DISABLE", "ENABLE REPLICA", "ENABLE ALWAYS"]);
        g.run(format!("ALTER TABLE {of} {state} {what} {name}"));
    }
}

pub fn row(g: &mut Generator) {
    let Some(id) = g.relation(&[
        Shape::Table,
        Shape::Table,
        Shape::Partitioned,
        Shape::View,
        Shape::Partition,
        Shape::Foreign,
    ]) else {
        return;
    };
    let (of, name, function) = (g.relation_sql(id), g.name_on("trig", id), function(g));
    let shape = g.relations[id].shape;
    let columns = g.relations[id].columns.clone();
    let column = g.one_of(&columns).map(|column| column.name).unwrap_or_default();
    let arguments = g.pick(&["", "'one', 'it''s', 'back\\slash', 'new\nline'", "1, x"]);
    let head = format!("CREATE TRIGGER {name}");
    let tail = format!("EXECUTE FUNCTION {function}({arguments})");
    let statement = match (shape, g.below(4)) {
        (Shape::View, _) => format!("{head} INSTEAD OF INSERT OR UPDATE ON {of} FOR EACH ROW {tail}"),
        (Shape::Table, 0) => format!(
            "{head} AFTER INSERT ON {of} REFERENCING NEW TABLE AS \"New ones\" FOR EACH STATEMENT {tail}"
        ),
        (_, 1) => format!("{head} BEFORE UPDATE OF {column} ON {of} FOR EACH ROW {tail}"),
        (Shape::Table | Shape::Partition, 2) => {
            let scope = g.scope_of(id, "NEW.");
            let condition = g.condition(&scope, 2);
            format!("{head} AFTER INSERT OR UPDATE ON {of} FOR EACH ROW WHEN ({condition}) {tail}")
        }
        _ => format!("{head} AFTER DELETE OR UPDATE ON {of} FOR EACH STATEMENT {tail}"),
    };
    g.run(statement);
    g.add_object("TRIGGER", format!("{name} ON {of}"));
    if shape != Shape::View && shape != Shape::Foreign {
        state(g, &of, "TRIGGER", &name);
    }
    if shape == Shape::Partitioned && g.chance(30) {
        g.run(format!("ALTER TABLE ONLY {of} ENABLE ALWAYS TRIGGER {name}"));
    }
}

pub fn constraint(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table]) else { return };
    let (of, name, function) = (g.relation_sql(id), g.name("ctrig"), function(g));
    let from = match g.relation(&[Shape::Table]) {
        Some(other) if g.chance(40) => format!(" FROM {}", g.relation_sql(other)),
        _ => String::new(),
    };
    let timing = g.pick(&["", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]);
    g.run(format!(
        "CREATE CONSTRAINT TRIGGER {name} AFTER INSERT ON {of}{from}{timing} FOR EACH ROW EXECUTE FUNCTION {function}()"
    ));
    g.add_object("TRIGGER", format!("{name} ON {of}"));
    state(g, &of, "TRIGGER", &name);
}

pub fn rule(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table, Shape::View]) else { return };
    let (of, name) = (g.relation_sql(id), g.name_on("rule", id));
    let other = g.relation(&[Shape::Table]).unwrap_or(0);
    let target = g.relation_sql(other);
    let event = g.pick(&["UPDATE", "DELETE", "UPDATE"]);
    let scope = g.scope_of(id, "OLD.");
    let mut condition = String::new();
    if g.relations[id].shape == Shape::Table && g.chance(40) {
        condition = format!(" WHERE {}", g.condition(&scope, 1));
    }
    let action = match g.below(4) {
        0 => "DO INSTEAD NOTHING".to_owned(),
        1 => format!("DO ALSO DELETE FROM {target} WHERE false"),
        2 if condition.is_empty() => {
            format!("DO ALSO (DELETE FROM {target} WHERE false; NOTIFY \"Rule's\", 'it''s')")
        }
        _ => {
            let column = g.relations[other].columns[0].clone();
            let value = g.expression(column.ty, &scope, 1);
            format!("DO ALSO DELETE FROM {target} WHERE {} = {value}", column.name)
        }
    };
    g.run(format!("CREATE RULE {name} AS ON {event} TO {of}{condition} {action}"));
    g.add_object("RULE", format!("{name} ON {of}"));
    if g.relations[id].shape == Shape::Table {
        state(g, &of, "RULE", &name);
    }
}

pub fn policy(g: &mut Generator) {
    let Some(id) = g.relation(&[Shape::Table, Shape::Partitioned]) else { return };
    let (of, name) = (g.relation_sql(id), g.name_on("policy", id));
    let scope = g.scope_of(id, "").with_queries();
    let kind = g.pick(&["", " AS RESTRICTIVE", " AS PERMISSIVE"]);
    let roles = match g.below(3) {
        0 => format!(" TO {}", g.some_of(super::model::ROLES, 3).join(", ")),
        1 => " TO PUBLIC".to_owned(),
        _ => String::new(),
    };
    let [uses, checks] = [0, 1].map(|_| g.condition(&scope, 1));
    let clauses = match g.below(4) {
        0 => format!(" FOR SELECT{roles} USING ({uses})"),
        1 => format!(" FOR INSERT{roles} WITH CHECK ({checks})"),
        2 => format!(" FOR UPDATE{roles} USING ({uses}) WITH CHECK ({checks})"),
        _ => format!("{roles} USING ({uses})"),
    };
    g.run(format!("CREATE POLICY {name} ON {of}{kind}{clauses}"));
    g.add_object("POLICY", format!("{name} ON {of}"));
    if g.chance(50) {
        let state = g.pick(&["ENABLE", "FORCE", "ENABLE"]);
        g.run(format!("ALTER TABLE {of} {state} ROW LEVEL SECURITY"));
    }
}

pub fn event(g: &mut Generator) {
    let (name, function) = (g.name("event"), g.qualified("on_event"));
    g.run(format!(
        "CREATE FUNCTION {function}() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN NULL; END'"
    ));
    let event = g.pick(&[
        "ddl_command_start",
        "ddl_command_end WHEN TAG IN ('CREATE TABLE', 'drop view')",
        "sql_drop",
        "table_rewrite",
    ]);
    g.run(format!("CREATE EVENT TRIGGER {name} ON {event} EXECUTE FUNCTION {function}()"));
    g.add_object("EVENT TRIGGER", name.clone());
    if g.chance(40) {
        let state = g.pick(&["DISABLE", "ENABLE REPLICA", "ENABLE ALWAYS"]);
        g.run(format!("ALTER EVENT TRIGGER {name} {state}"));
    }
}
