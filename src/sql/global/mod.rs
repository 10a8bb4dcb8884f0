//! The globals of a cluster: roles with their passwords, settings and memberships, privileges on parameters,
//! tablespaces, and the list of databases.
//!
//! [`read`] reads them with a number of queries that does not grow with the number of objects; [`script`]
//! formats them as pg_dumpall does. Each kind has its own file, as in `sql::kind`.
//!
//! Invariant: a role's password is in no struct with a printable form, and in no message.

mod database;
mod membership;
mod parameter;
mod role;
mod role_setting;
pub mod script;
mod security_label;
mod tablespace;

use tokio_postgres::types::ToSql;

use super::dialect::Dialect;
use super::error::{Result, SqlError};
use super::ident::Quoting;
use super::query::{CatalogQuery, CatalogRow};
use super::verbose_log::VerboseLog;
use super::warning::Warning;
use crate::protocol::Session;

pub use database::DatabaseName;

/// The part of a cluster to dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterScope {
    /// Everything, including the databases.
    #[default]
    Cluster,
    /// `--globals-only`.
    Globals,
    /// `--roles-only`.
    Roles,
    /// `--tablespaces-only`.
    Tablespaces,
}

/// pg_dumpall's own options, named after its long options. [`Default`] is pg_dumpall without any switch.
#[derive(Clone, Debug, Default)]
pub struct GlobalOptions {
    /// `--globals-only`, `--roles-only`, `--tablespaces-only`.
    pub scope: ClusterScope,
    /// `--data-only`: only the databases.
    pub data_only: bool,
    /// `--clean`.
    pub clean: bool,
    /// `--if-exists`.
    pub if_exists: bool,
    /// `--no-role-passwords`.
    pub no_role_passwords: bool,
    /// `--no-privileges`, `--no-acl`.
    pub no_privileges: bool,
    /// `--no-tablespaces`.
    pub no_tablespaces: bool,
    /// `--no-comments`.
    pub no_comments: bool,
    /// `--no-security-labels`.
    pub no_security_labels: bool,
    /// `--quote-all-identifiers`.
    pub quote_all_identifiers: bool,
    /// `--verbose`: write the times when the dump started and completed.
    pub verbose: bool,
    /// Receives the statements that are executed.
    pub progress: VerboseLog,
    /// `--exclude-database` patterns.
    pub exclude_databases: Vec<String>,
    /// `--restrict-key`, or a random key: letters and digits only.
    pub restrict_key: String,
}

impl GlobalOptions {
    /// Whether roles are written.
    pub fn wants_roles(&self) -> bool {
        !self.data_only && self.scope != ClusterScope::Tablespaces
    }

    /// Whether tablespaces are written.
    pub fn wants_tablespaces(&self) -> bool {
        !self.data_only && !self.no_tablespaces && self.scope != ClusterScope::Roles
    }

    /// Whether databases are written.
    pub fn wants_databases(&self) -> bool {
        self.scope == ClusterScope::Cluster
    }
}

/// The result of [`read`]. Parts that the options exclude are empty.
#[derive(Debug)]
pub struct Globals {
    dialect: &'static Dialect,
    quoting: Quoting,
    roles: Vec<role::Role>,
    passwords: role::Passwords,
    settings: role_setting::RoleSettings,
    memberships: Vec<membership::Membership>,
    parameters: Vec<parameter::Parameter>,
    tablespaces: Vec<tablespace::Tablespace>,
    labels: security_label::SharedLabels,
    /// The databases that allow connections, in dump order. Databases excluded by `--exclude-database` are
    /// included, because `--clean` drops them, too.
    pub databases: Vec<DatabaseName>,
    /// Warnings for the user, in pg_dumpall's words.
    pub warnings: Vec<Warning>,
}

/// The context in which each kind is read.
struct GlobalReader<'a> {
    session: &'a Session,
    dialect: &'static Dialect,
    options: &'a GlobalOptions,
}

impl GlobalReader<'_> {
    async fn rows(&self, query: &CatalogQuery) -> Result<Vec<CatalogRow>> {
        self.rows_with(query, &[]).await
    }

    async fn rows_with(
        &self,
        query: &CatalogQuery,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<CatalogRow>> {
        if let Some(statement) = query.render(self.session.version()) {
            self.options.progress.executing(&statement);
        }
        query.rows(self.session, params).await
    }
}

/// Reads the globals in the session's current transaction.
pub async fn read(session: &Session, options: &GlobalOptions) -> Result<Globals> {
    let dialect = Dialect::of(session.version())?;
    let reader = GlobalReader { session, dialect, options };
    let quoting = Quoting::of_server(session, options.quote_all_identifiers).await?;
    // Read first, so that a malformed pattern is reported before any other query.
    let databases = database::read(&reader).await?;
    let mut globals = Globals {
        dialect,
        quoting,
        roles: Vec::new(),
        passwords: role::Passwords::default(),
        settings: role_setting::RoleSettings::default(),
        memberships: Vec::new(),
        parameters: Vec::new(),
        tablespaces: Vec::new(),
        labels: security_label::SharedLabels::default(),
        databases,
        warnings: Vec::new(),
    };
    if options.wants_roles() {
        globals.roles = role::read(&reader).await?;
        globals.passwords = role::read_passwords(&reader).await?;
        globals.settings = role_setting::read(&reader).await?;
        globals.memberships = membership::read(&reader, &mut globals.warnings).await?;
        globals.parameters = parameter::read(&reader).await?;
    }
    if options.wants_tablespaces() {
        globals.tablespaces = tablespace::read(&reader).await?;
    }
    if options.wants_roles() || options.wants_tablespaces() {
        globals.labels = security_label::read(&reader).await?;
    }
    Ok(globals)
}

/// The error for a pattern of `--exclude-database` with a dot.
fn too_many_dots(pattern: &str) -> SqlError {
    SqlError::Selection(format!("improper qualified name (too many dotted names): {pattern}"))
}
