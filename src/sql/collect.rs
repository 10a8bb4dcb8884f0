//! Collecting: identify → lock → describe. Only this file defines the order in which the kinds are read. The
//! order determines the objects' ids, and ids break the last ties in the dump's order.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::StreamExt;
use tokio_postgres::types::ToSql;

use super::dialect::Dialect;
use super::error::{Result, SqlError};
use super::ident::Quoting;
use super::kind;
use super::kind::table::TableLocks;
use super::object::{Catalog, Components, DumpId, LAST_BUILTIN_OID};
use super::options::DumpOptions;
use super::query::{CatalogQuery, CatalogRow};
use super::select::SelectedOids;
use super::{acl, comment, depend, pending_query, refuse, seclabel};
use crate::protocol::Session;
use crate::protocol::session::Rows;
use crate::protocol::version::PG13;
use crate::protocol::worker_sessions::WorkerSessions;

/// The context in which each kind collects: the connection, the options, and the catalog to fill.
pub struct Collector<'a> {
    /// The connection, in the dump's transaction.
    pub session: &'a Session,
    /// The options of the dump.
    pub options: &'a DumpOptions,
    /// The OIDs that the patterns select.
    pub selection: SelectedOids,
    /// The objects found so far.
    pub catalog: Catalog,
    /// A second connection that runs queries in advance, if the catalogs are large.
    pub(super) worker_session: Option<Arc<Session>>,
    roles: HashMap<u32, Arc<str>>,
}

impl<'a> Collector<'a> {
    /// Runs a catalog query; returns no rows if the server is too old to have such objects.
    pub async fn rows(&self, query: &CatalogQuery) -> Result<Vec<CatalogRow>> {
        self.rows_with(query, &[]).await
    }

    /// Runs a catalog query with parameters.
    pub async fn rows_with(
        &self,
        query: &CatalogQuery,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<CatalogRow>> {
        query.rows(self.session, params).await
    }

    /// Runs a catalog query whose text was built from a [`CatalogQuery`].
    pub async fn rows_of(
        &self,
        what: &'static str,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<CatalogRow>> {
        let rows = self
            .session
            .catalog_query(sql, params)
            .await
            .map_err(|source| SqlError::Catalog { what, source })?;
        Ok(rows.into_iter().map(|row| CatalogRow::new(what, row)).collect())
    }

    /// Runs a catalog query and passes each row to `take` as it arrives, for results that are too large to
    /// hold twice (columns, dependencies).
    pub async fn each(
        &mut self,
        query: &CatalogQuery,
        params: &[&(dyn ToSql + Sync)],
        take: impl FnMut(&mut Self, CatalogRow) -> Result<()>,
    ) -> Result<()> {
        let Some(sql) = query.render(self.session.version()) else { return Ok(()) };
        let rows = self.session.catalog_stream(&sql, params).await;
        self.take_all(query, rows.map_err(|source| query.failed(source))?, take).await
    }

    /// Passes the rows of a running catalog query to `take`, each as it arrives.
    pub(super) async fn take_all(
        &mut self,
        query: &CatalogQuery,
        mut rows: Rows,
        mut take: impl FnMut(&mut Self, CatalogRow) -> Result<()>,
    ) -> Result<()> {
        while let Some(row) = rows.next().await {
            let row = row.map_err(|source| query.failed(source))?;
            take(self, CatalogRow::new(query.what, row))?;
        }
        Ok(())
    }

    /// Returns the role's name; a role that no longer exists is an error, as in pg_dump.
    pub fn role(&self, oid: u32) -> Result<Arc<str>> {
        self.roles
            .get(&oid)
            .cloned()
            .ok_or_else(|| SqlError::Inconsistent(format!("role with OID {oid} does not exist")))
    }

    /// Returns the object of the namespace with this OID.
    pub fn namespace(&self, oid: u32) -> Result<DumpId> {
        self.catalog
            .by_oid(super::object::class::PG_NAMESPACE, oid)
            .ok_or_else(|| SqlError::Inconsistent(format!("schema with OID {oid} does not exist")))
    }

    /// Sets an object's owner and privileges from the columns `owner`, `acl` and `acl_default` of its row.
    pub fn set_owner_and_acl(&mut self, id: DumpId, row: &CatalogRow) -> Result<()> {
        let owner = self.role(row.oid("owner")?)?;
        let object = &mut self.catalog[id];
        object.owner = Some(owner);
        if let Some(items) = row.opt_texts("acl")? {
            object.components |= Components::ACL;
            object.acl = Some(Box::new(acl::Acl::new(Some(items), row.texts("acl_default")?)));
        }
        Ok(())
    }

    /// Logs the next step, after the warnings of the previous one.
    pub(super) fn begin(&mut self, work: &str) {
        let progress = self.options.progress;
        progress.warn(&mut self.catalog.warnings);
        progress.say(format_args!("{work}"));
    }

    /// Whether any of `components` of the object will be dumped.
    pub fn dumps(&self, id: DumpId, components: Components) -> bool {
        let object = &self.catalog[id];
        object.dump.intersection(object.components).intersects(components)
    }
}

const ROLES: CatalogQuery = CatalogQuery {
    what: "roles",
    since: PG13,
    text: "
SELECT r.oid, r.rolname::text AS name
  FROM pg_catalog.pg_roles r
 ORDER BY r.oid",
    gates: &[],
};

/// Reads all data that the dump needs from the catalogs, and locks the tables to be dumped.
///
/// The number of queries does not grow with the number of objects. The session must be in the dump's
/// transaction. `locks` keeps the locked tables, also after a failure.
pub async fn collect(
    session: &Session,
    worker_sessions: &WorkerSessions,
    options: &DumpOptions,
    locks: &mut TableLocks,
) -> Result<Catalog> {
    let dialect = match options.dialect {
        Some(dialect) => dialect,
        None => Dialect::of(session.version())?,
    };
    let mut cx = Collector {
        session,
        options,
        selection: SelectedOids::default(),
        catalog: Catalog::new(dialect),
        worker_session: None,
        roles: HashMap::new(),
    };
    cx.catalog.quoting = Quoting::of_server(session, options.quote_all_identifiers).await?;
    read_roles(&mut cx).await?;
    kind::database::collect(&mut cx).await?;
    cx.options.progress.say(format_args!("last built-in OID is {LAST_BUILTIN_OID}"));
    cx.selection = SelectedOids::expand(&cx).await?;
    refuse::check_objects(&cx).await?;
    let dependencies = identify(&mut cx, worker_sessions, locks).await?;
    identify_data(&mut cx).await?;
    cx.begin("reading dependency data");
    depend::collect(&mut cx, dependencies).await?;
    // The remaining queries need the locks, which a worker session does not hold.
    cx.worker_session = None;
    if !options.no_privileges {
        acl::collect(&mut cx).await?;
    }
    if !options.no_comments {
        comment::collect(&mut cx).await?;
    }
    if !options.no_security_labels {
        seclabel::collect(&mut cx).await?;
    }
    describe(&mut cx).await?;
    Ok(cx.catalog)
}

async fn read_roles(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&ROLES).await? {
        let name = row.text("name")?;
        cx.roles.insert(row.oid("oid")?, name.into());
    }
    Ok(())
}

/// Finds all objects. Extensions come first because membership determines what is dumped; tables come as
/// early as possible because their locks are taken there.
async fn identify(
    cx: &mut Collector<'_>,
    worker_sessions: &WorkerSessions,
    locks: &mut TableLocks,
) -> Result<depend::PendingDependencies> {
    cx.begin("reading extensions");
    kind::extension::collect(cx).await?;
    cx.begin("reading schemas");
    kind::namespace::collect(cx).await?;
    cx.begin("reading user-defined tables");
    let tables = kind::table::collect(cx).await?;
    cx.worker_session = pending_query::worker_session(cx.session, worker_sessions, cx.catalog.len()).await;
    let types = kind::data_type::start_query(cx);
    let dependencies = depend::start_query(cx);
    kind::table::lock(cx, &tables, locks).await?;
    locks.verify(cx.session).await?;
    kind::sequence::collect_ownership(cx).await?;
    identify_functions_and_types(cx, types).await?;
    identify_text_search(cx).await?;
    identify_outside_tables(cx).await?;
    identify_parts_of_tables(cx).await?;
    identify_publications(cx).await?;
    Ok(dependencies)
}

async fn identify_functions_and_types(
    cx: &mut Collector<'_>,
    types: kind::data_type::PendingTypes,
) -> Result<()> {
    cx.begin("reading user-defined functions");
    kind::function::collect(cx).await?;
    cx.begin("reading user-defined types");
    kind::data_type::collect(cx, types).await?;
    cx.begin("reading procedural languages");
    kind::language::collect(cx).await?;
    cx.begin("reading user-defined aggregate functions");
    kind::aggregate::collect(cx).await?;
    cx.begin("reading user-defined operators");
    kind::operator::collect(cx).await?;
    cx.begin("reading user-defined access methods");
    kind::access_method::collect(cx).await?;
    cx.begin("reading user-defined operator classes");
    kind::operator_class::collect(cx).await?;
    cx.begin("reading user-defined operator families");
    kind::operator_family::collect(cx).await
}

async fn identify_text_search(cx: &mut Collector<'_>) -> Result<()> {
    cx.begin("reading user-defined text search parsers");
    kind::ts_parser::collect(cx).await?;
    cx.begin("reading user-defined text search templates");
    kind::ts_template::collect(cx).await?;
    cx.begin("reading user-defined text search dictionaries");
    kind::ts_dictionary::collect(cx).await?;
    cx.begin("reading user-defined text search configurations");
    kind::ts_configuration::collect(cx).await
}

async fn identify_outside_tables(cx: &mut Collector<'_>) -> Result<()> {
    cx.begin("reading user-defined foreign-data wrappers");
    kind::foreign_data_wrapper::collect(cx).await?;
    cx.begin("reading user-defined foreign servers");
    kind::foreign_server::collect(cx).await?;
    cx.begin("reading default privileges");
    kind::default_acl::collect(cx).await?;
    cx.begin("reading user-defined collations");
    kind::collation::collect(cx).await?;
    cx.begin("reading user-defined conversions");
    kind::conversion::collect(cx).await?;
    cx.begin("reading type casts");
    kind::cast::collect(cx).await?;
    cx.begin("reading transforms");
    kind::transform::collect(cx).await
}

async fn identify_parts_of_tables(cx: &mut Collector<'_>) -> Result<()> {
    // pg_dump logs this line where it reads inheritance. Nothing in between needs it, so it is read further
    // down.
    cx.begin("reading table inheritance information");
    cx.begin("reading event triggers");
    kind::event_trigger::collect(cx).await?;
    cx.begin("finding extension tables");
    kind::extension::collect_configuration_tables(cx).await?;
    cx.begin("finding inheritance relationships");
    kind::table::collect_inheritance(cx).await?;
    let indexes = kind::index::start_query(cx);
    cx.begin("reading column info for interesting tables");
    kind::table::collect_attributes(cx).await?;
    cx.begin("reading partitioning data");
    kind::table::collect_partitioning(cx).await?;
    let foreign_keys = kind::constraint::read_foreign_keys(cx).await?;
    cx.begin("reading indexes");
    kind::index::collect(cx, indexes).await?;
    cx.begin("flagging indexes in partitioned tables");
    kind::index_attach::collect(cx).await?;
    cx.begin("reading extended statistics");
    kind::statistics::collect(cx).await?;
    cx.begin("reading constraints");
    kind::constraint::collect(cx, foreign_keys)?;
    cx.begin("reading triggers");
    kind::trigger::collect(cx).await?;
    cx.begin("reading rewrite rules");
    kind::rule::collect(cx).await?;
    cx.begin("reading policies");
    cx.begin("reading row-level security policies");
    kind::policy::collect(cx).await
}

async fn identify_publications(cx: &mut Collector<'_>) -> Result<()> {
    cx.begin("reading publications");
    kind::publication::collect(cx).await?;
    cx.begin("reading publication membership of tables");
    kind::publication_table::collect(cx).await?;
    cx.begin("reading publication membership of schemas");
    kind::publication_namespace::collect(cx).await?;
    cx.begin("reading subscriptions");
    kind::subscription::collect(cx).await?;
    if cx.catalog.dialect.messages.mentions_tables_of_subscriptions {
        cx.begin("reading subscription membership of tables");
    }
    Ok(())
}

/// Adds the objects for rows, sequence values, refreshes and large objects.
async fn identify_data(cx: &mut Collector<'_>) -> Result<()> {
    if !cx.options.schema_only {
        kind::table_data::collect(cx)?;
        kind::matview_refresh::collect(cx).await?;
        if cx.options.data_only {
            kind::table_data::depend_on_foreign_keys(cx);
        }
    }
    if cx.options.wants_large_objects() {
        cx.begin("reading large objects");
        kind::large_object::collect(cx).await?;
    }
    Ok(())
}

/// Reads the details that the DDL of the selected objects needs.
async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    kind::data_type::describe(cx).await?;
    kind::function::describe(cx).await?;
    kind::aggregate::describe(cx).await?;
    kind::operator::describe(cx).await?;
    kind::operator_class::describe(cx).await?;
    kind::operator_family::describe(cx).await?;
    kind::collation::describe(cx).await?;
    kind::ts_configuration::describe(cx).await?;
    kind::foreign_server::describe(cx).await?;
    kind::table::describe(cx).await?;
    kind::view::describe(cx).await?;
    kind::sequence::describe(cx).await?;
    kind::table_data::describe(cx).await?;
    kind::table_attach::describe(cx).await?;
    kind::statistics::describe(cx).await?;
    kind::rule::describe(cx).await
}
