//! Subscriptions: the query, the row, the DDL. PostgreSQL manual: CREATE SUBSCRIPTION.

use crate::protocol::version::{PG13, PG14, PG15, PG16, PG17};
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};
use crate::sql::select::select_object;

const ACCESS: CatalogQuery = CatalogQuery {
    what: "the right to read subscriptions",
    since: PG13,
    text: "
SELECT pg_catalog.current_setting('is_superuser') = 'on' AS superuser,
       EXISTS (SELECT
                 FROM pg_catalog.pg_subscription s
                 JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
                WHERE d.datname = pg_catalog.current_database()) AS subscribed",
    gates: &[],
};

const QUERY: CatalogQuery = CatalogQuery {
    what: "subscriptions",
    since: PG13,
    text: "
SELECT s.oid,
       s.subname::pg_catalog.text AS name,
       s.subowner AS owner,
       s.subconninfo AS connection,
       s.subslotname::pg_catalog.text AS slot,
       s.subsynccommit AS synchronous_commit,
       s.subpublications AS publications,
       {binary} AS binary,
       {streaming} AS streaming,
       {two_phase} AS two_phase,
       {disable_on_error} AS disable_on_error,
       {password_required} AS password_required,
       {run_as_owner} AS run_as_owner,
       {origin} AS origin,
       {failover} AS failover
  FROM pg_catalog.pg_subscription s
 WHERE s.subdbid = (SELECT d.oid
                      FROM pg_catalog.pg_database d
                     WHERE d.datname = pg_catalog.current_database())",
    gates: &[
        Gate { column: "binary", before: "false", steps: &[(PG14, "s.subbinary")] },
        Gate {
            column: "streaming",
            before: r#"'f'::"char""#,
            steps: &[
                (PG14, r#"CASE WHEN s.substream THEN 't'::"char" ELSE 'f'::"char" END"#),
                (PG16, "s.substream"),
            ],
        },
        Gate { column: "two_phase", before: "false", steps: &[(PG15, "s.subtwophasestate <> 'd'")] },
        Gate { column: "disable_on_error", before: "false", steps: &[(PG15, "s.subdisableonerr")] },
        Gate { column: "password_required", before: "true", steps: &[(PG16, "s.subpasswordrequired")] },
        Gate { column: "run_as_owner", before: "false", steps: &[(PG16, "s.subrunasowner")] },
        Gate { column: "origin", before: "'any'", steps: &[(PG16, "s.suborigin")] },
        Gate { column: "failover", before: "false", steps: &[(PG17, "s.subfailover")] },
    ],
};

codes! {
    /// How a subscription applies transactions that are still in progress.
    #[derive(Default)]
    Streaming("substream", "unrecognized streaming mode of a subscription: {code}") {
        #[default]
        Off = 'f',
        On = 't',
        /// By several workers.
        Parallel = 'p',
    }
}

/// A subscription.
#[derive(Debug, Default)]
pub struct Subscription {
    /// The connection string to the publisher.
    pub connection: String,
    /// The replication slot, if there is one.
    pub slot: Option<String>,
    /// `synchronous_commit`.
    pub synchronous_commit: String,
    /// The publications to which it subscribes.
    pub publications: Vec<String>,
    /// `binary`.
    pub binary: bool,
    /// `streaming`.
    pub streaming: Streaming,
    /// `two_phase`, pending or enabled.
    pub two_phase: bool,
    /// `disable_on_error`.
    pub disable_on_error: bool,
    /// `password_required`.
    pub password_required: bool,
    /// `run_as_owner`.
    pub run_as_owner: bool,
    /// `origin`: `any` or `none`.
    pub origin: String,
    /// `failover`.
    pub failover: bool,
}

impl Subscription {
    fn from_row(row: &CatalogRow) -> Result<Subscription> {
        Ok(Subscription {
            connection: row.text("connection")?,
            slot: row.opt_text("slot")?,
            synchronous_commit: row.text("synchronous_commit")?,
            publications: row.texts("publications")?,
            binary: row.bool("binary")?,
            streaming: row.code("streaming")?,
            two_phase: row.bool("two_phase")?,
            disable_on_error: row.bool("disable_on_error")?,
            password_required: row.bool("password_required")?,
            run_as_owner: row.bool("run_as_owner")?,
            origin: row.text("origin")?,
            failover: row.bool("failover")?,
        })
    }
}

/// Identifies the subscriptions. Only superusers can read connection strings, because they contain passwords.
/// For other roles, the dump omits subscriptions and reports a warning.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    if cx.options.no_subscriptions {
        return Ok(());
    }
    for row in cx.rows(&ACCESS).await? {
        if !row.bool("superuser")? {
            if row.bool("subscribed")? {
                cx.catalog.warn("subscriptions not dumped because current user is not a superuser");
            }
            return Ok(());
        }
    }
    for row in cx.rows(&QUERY).await? {
        let detail = Detail::Subscription(Box::new(Subscription::from_row(&row)?));
        let catalog_id = CatalogId::new(class::PG_SUBSCRIPTION, row.oid("oid")?);
        let id = cx.catalog.add(catalog_id, row.text("name")?, None, detail);
        cx.catalog[id].owner = Some(cx.role(row.oid("owner")?)?);
        select_object(cx, id);
    }
    Ok(())
}

/// Writes the DDL of one subscription.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, subscription: &Subscription) {
    if em.options.data_only {
        return;
    }
    let name = em.quoting.id(&object.name).to_string();
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::Subscription, Section::PostData);
        entry.definition = create(em, &name, subscription);
        entry.drop = format!("DROP SUBSCRIPTION {name};\n");
        em.push(entry);
    }
    let target = CommentTarget {
        object_type: "SUBSCRIPTION",
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

/// Returns `CREATE SUBSCRIPTION`. A restored subscription must not connect, so `connect` is false and the
/// slot is named but not created.
fn create(em: &Emitter<'_>, name: &str, subscription: &Subscription) -> String {
    let connection = em.quoting.literal(&subscription.connection);
    let publications = subscription.publications.iter().map(|name| em.quoting.id(name).to_string());
    let mut sql = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION {connection} PUBLICATION {} WITH (connect = false, slot_name = ",
        publications.collect::<Vec<_>>().join(", ")
    );
    match &subscription.slot {
        Some(slot) => put!(sql, "{}", em.quoting.literal(slot)),
        None => sql.push_str("NONE"),
    }
    for (wanted, option) in [
        (subscription.binary, ", binary = true"),
        (subscription.streaming == Streaming::On, ", streaming = on"),
        (subscription.streaming == Streaming::Parallel, ", streaming = parallel"),
        (subscription.two_phase, ", two_phase = on"),
        (subscription.disable_on_error, ", disable_on_error = true"),
        (!subscription.password_required, ", password_required = false"),
        (subscription.run_as_owner, ", run_as_owner = true"),
        (subscription.failover, ", failover = true"),
    ] {
        if wanted {
            sql.push_str(option);
        }
    }
    if subscription.synchronous_commit != "off" {
        put!(sql, ", synchronous_commit = {}", em.quoting.id(&subscription.synchronous_commit));
    }
    if !subscription.origin.eq_ignore_ascii_case("any") {
        put!(sql, ", origin = {}", subscription.origin);
    }
    sql.push_str(");\n");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::object::Catalog;
    use crate::sql::options::DumpOptions;

    fn written(subscription: &Subscription) -> String {
        let (catalog, options) = (Catalog::default(), DumpOptions::default());
        create(&Emitter::new(&catalog, &options), "s", subscription)
    }

    #[test]
    fn only_what_differs_from_the_defaults_is_written() {
        let mut subscription = Subscription {
            connection: "dbname='it'".to_owned(),
            synchronous_commit: "off".to_owned(),
            publications: ["p", "Q"].map(str::to_owned).into(),
            password_required: true,
            origin: "any".to_owned(),
            ..Subscription::default()
        };
        assert_eq!(
            written(&subscription),
            "CREATE SUBSCRIPTION s CONNECTION 'dbname=''it''' PUBLICATION p, \"Q\" \
             WITH (connect = false, slot_name = NONE);\n"
        );
        subscription.slot = Some("slot".to_owned());
        subscription.synchronous_commit = "remote_apply".to_owned();
        (subscription.binary, subscription.streaming) = (true, Streaming::On);
        (subscription.two_phase, subscription.disable_on_error) = (true, true);
        assert!(written(&subscription).ends_with(
            "WITH (connect = false, slot_name = 'slot', binary = true, streaming = on, two_phase = on, \
             disable_on_error = true, synchronous_commit = remote_apply);\n"
        ));
        (subscription.streaming, subscription.password_required) = (Streaming::Parallel, false);
        (subscription.run_as_owner, subscription.failover) = (true, true);
        subscription.origin = "none".to_owned();
        assert!(written(&subscription).ends_with(
            ", streaming = parallel, two_phase = on, disable_on_error = true, password_required = false, \
             run_as_owner = true, failover = true, synchronous_commit = remote_apply, origin = none);\n"
        ));
    }
}
