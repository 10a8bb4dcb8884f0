//! Comments and owners for every kind that can have them, and changes by hand in the catalogs: security
//! labels and members of extensions.

use super::model::{Generator, Object, ROLES, SUPERUSERS};
use super::name::literal;

const COMMENTS: &[&str] = &[
    "a comment",
    "it's",
    "back\\slash",
    "two\nlines",
    "-- not SQL; DROP TABLE x",
    "ünï 日本",
    "",
    "\\restrict",
    "\"q\" $$",
];

/// The words of COMMENT ON for kinds that have another name here.
fn words(object: &Object) -> Option<&'static str> {
    match object.kind {
        "TABLE ACCESS METHOD" | "TRUSTED LANGUAGE" => None,
        kind => Some(kind),
    }
}

fn any(g: &mut Generator) -> Option<Object> {
    let objects = g.objects.clone();
    // The kind is picked first, so that rare kinds are picked as often as frequent ones.
    let mut kinds: Vec<&str> = objects.iter().map(|object| object.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let kind = g.one_of(&kinds)?;
    let of_kind: Vec<Object> = objects.into_iter().filter(|object| object.kind == kind).collect();
    g.one_of(&of_kind)
}

pub fn comment(g: &mut Generator) {
    let text = literal(g.pick(COMMENTS));
    if g.chance(25) {
        let relation = g.below(g.relations.len());
        let columns = g.relations[relation].columns.clone();
        if let Some(column) = g.one_of(&columns) {
            g.run(format!("COMMENT ON COLUMN {}.{} IS {text}", g.relation_sql(relation), column.name));
        }
        return;
    }
    let Some(object) = any(g) else { return };
    if let Some(words) = words(&object) {
        g.run(format!("COMMENT ON {words} {} IS {text}", object.name));
    }
}

pub fn owner(g: &mut Generator) {
    let Some(object) = any(g) else { return };
    let role = match object.kind {
        "FOREIGN DATA WRAPPER" | "EVENT TRIGGER" | "SUBSCRIPTION" | "PUBLICATION" | "MATERIALIZED VIEW" => {
            g.pick(SUPERUSERS)
        }
        "CONSTRAINT"
        | "INDEX"
        | "TRIGGER"
        | "RULE"
        | "POLICY"
        | "CAST"
        | "TRANSFORM"
        | "ACCESS METHOD"
        | "TABLE ACCESS METHOD"
        | "TRUSTED LANGUAGE"
        | "TEXT SEARCH PARSER"
        | "TEXT SEARCH TEMPLATE"
        | "EXTENSION" => return,
        _ if g.chance(80) => g.pick(ROLES),
        _ => g.pick(SUPERUSERS),
    };
    g.run(format!("ALTER {} {} OWNER TO {role}", object.kind, object.name));
}

/// Makes changes for which SQL needs a label provider or an extension's script.
pub fn by_hand(g: &mut Generator) {
    g.run(
        "INSERT INTO pg_catalog.pg_seclabel (objoid, classoid, objsubid, provider, label)
SELECT oid, 'pg_class'::regclass, 0, 'dummy', 'relation ' || relname FROM pg_class
 WHERE oid >= 16384 AND relkind IN ('r', 'v', 'm', 'S', 'p', 'f') AND oid::bigint % 3 = 0
UNION ALL
SELECT attrelid, 'pg_class'::regclass, attnum, 'Dum\"my', 'it''s \\ ' || attname FROM pg_attribute
 WHERE attrelid >= 16384 AND attnum > 0 AND NOT attisdropped AND attrelid::bigint % 5 = 0
UNION ALL
SELECT oid, 'pg_proc'::regclass, 0, 'dummy', 'routine' FROM pg_proc WHERE oid >= 16384 AND oid::bigint % 3 = 0
UNION ALL
SELECT oid, 'pg_type'::regclass, 0, 'dummy', 'type' FROM pg_type WHERE oid >= 16384 AND typtype IN ('b', 'e', 'd', 'r') AND oid::bigint % 2 = 0
UNION ALL
SELECT oid, 'pg_namespace'::regclass, 0, 'dummy', 'namespace' FROM pg_namespace WHERE oid >= 16384
UNION ALL
SELECT oid, 'pg_publication'::regclass, 0, 'dummy', 'publication' FROM pg_publication
UNION ALL
SELECT oid, 'pg_largeobject'::regclass, 0, 'dummy', 'large object' FROM pg_largeobject_metadata",
    );
    if !g.once.insert("extension tablefunc".to_owned()) {
        return;
    }
    g.run("CREATE EXTENSION tablefunc");
    for _ in 0..g.between(1, 5) {
        let Some(object) = any(g) else { return };
        if matches!(
            object.kind,
            "CONSTRAINT" | "INDEX" | "TRIGGER" | "RULE" | "POLICY" | "EXTENSION" | "SCHEMA"
        ) || words(&object).is_none()
        {
            continue;
        }
        g.run(format!("ALTER EXTENSION tablefunc ADD {} {}", object.kind, object.name));
        // The privileges that an object has when it becomes a member belong to its extension. Later ones are
        // dumped.
        super::privilege::grant(g);
    }
    let condition = g.pick(&["", "WHERE true", "WHERE false"]);
    g.run(format!(
        "UPDATE pg_catalog.pg_extension SET extconfig = s.tables, extcondition = s.conditions
  FROM (SELECT array_agg(objid) AS tables, array_agg('{condition}'::text) AS conditions FROM pg_catalog.pg_depend d
          JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relkind IN ('r', 'S')
         WHERE d.refclassid = 'pg_extension'::regclass AND d.classid = 'pg_class'::regclass AND d.deptype = 'e'
           AND NOT c.relispartition AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'tablefunc')) s
 WHERE extname = 'tablefunc' AND s.tables IS NOT NULL"
    ));
}
