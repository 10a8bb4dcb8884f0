//! Event triggers: the query, the row, the DDL. PostgreSQL manual: CREATE EVENT TRIGGER.

use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::kind::firing::Firing;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::CatalogQuery;
use crate::sql::select::select_object;

/// `regproc` and `quote_literal` quote their output. The search path is empty, so every function outside
/// `pg_catalog` is qualified.
const QUERY: CatalogQuery = CatalogQuery {
    what: "event triggers",
    since: PG13,
    text: "
SELECT e.oid,
       e.evtname::pg_catalog.text AS name,
       e.evtevent::pg_catalog.text AS event,
       e.evtowner AS owner,
       pg_catalog.textin(pg_catalog.regprocout(e.evtfoid)) AS function,
       e.evtenabled AS enabled,
       (SELECT pg_catalog.string_agg(pg_catalog.quote_literal(t.tag), ', ' ORDER BY t.number)
          FROM pg_catalog.unnest(e.evttags) WITH ORDINALITY AS t (tag, number)) AS tags
  FROM pg_catalog.pg_event_trigger e
 ORDER BY e.oid",
    gates: &[],
};

/// An event trigger.
#[derive(Debug)]
pub struct EventTrigger {
    /// `ddl_command_start`, `ddl_command_end`, `sql_drop` or `table_rewrite`.
    pub event: String,
    /// The command tags that it filters on, as literals separated by commas.
    pub tags: Option<String>,
    /// The function, qualified and quoted.
    pub function: String,
    /// When it fires.
    pub firing: Firing,
}

/// Identifies the event triggers.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let detail = Detail::EventTrigger(Box::new(EventTrigger {
            event: row.text("event")?,
            tags: row.opt_text("tags")?,
            function: row.text("function")?,
            firing: row.code("enabled")?,
        }));
        let catalog_id = CatalogId::new(class::PG_EVENT_TRIGGER, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, None, detail);
        cx.catalog[id].owner = Some(cx.role(row.oid("owner")?)?);
        select_object(cx, id);
    }
    Ok(())
}

/// Writes the DDL of one event trigger.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, event_trigger: &EventTrigger) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::EventTrigger, Section::PostData);
        entry.definition = create(em, &name, event_trigger);
        entry.drop = format!("DROP EVENT TRIGGER {name};\n");
        em.push(entry);
    }
    let target = CommentTarget {
        object_type: "EVENT TRIGGER",
        name: &name,
        namespace: None,
        owner: object.owner_name(),
    };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
}

fn create(em: &Emitter<'_>, name: &str, trigger: &EventTrigger) -> String {
    let mut sql = format!("CREATE EVENT TRIGGER {name} ON {}", em.quoting.id(&trigger.event));
    if let Some(tags) = trigger.tags.as_deref().filter(|tags| !tags.is_empty()) {
        put!(sql, "\n         WHEN TAG IN ({tags})");
    }
    put!(sql, "\n   EXECUTE FUNCTION {}();\n", trigger.function);
    if trigger.firing != Firing::Origin {
        put!(sql, "\nALTER EVENT TRIGGER {name} {};\n", trigger.firing.action());
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::object::Catalog;
    use crate::sql::options::DumpOptions;

    #[test]
    fn tags_and_firing_are_written_where_there_are_any() {
        let (catalog, options) = (Catalog::default(), DumpOptions::default());
        let em = Emitter::new(&catalog, &options);
        let mut trigger = EventTrigger {
            event: "ddl_command_end".to_owned(),
            tags: None,
            function: "s.f".to_owned(),
            firing: Firing::Origin,
        };
        assert_eq!(
            create(&em, "e", &trigger),
            "CREATE EVENT TRIGGER e ON ddl_command_end\n   EXECUTE FUNCTION s.f();\n"
        );
        trigger.tags = Some("'CREATE TABLE', 'DROP TABLE'".to_owned());
        trigger.firing = Firing::Replica;
        assert_eq!(
            create(&em, "e", &trigger),
            "CREATE EVENT TRIGGER e ON ddl_command_end\n         WHEN TAG IN ('CREATE TABLE', 'DROP TABLE')\n   \
             EXECUTE FUNCTION s.f();\n\nALTER EVENT TRIGGER e ENABLE REPLICA;\n"
        );
    }
}
