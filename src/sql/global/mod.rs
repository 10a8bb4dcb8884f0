//! What a cluster holds besides the contents of its databases: roles with their passwords, settings
//! and memberships, privileges on parameters, tablespaces, and which databases there are.
//!
//! [`read`] asks for all of it with a number of queries that does not grow with the objects;
//! [`script`] lays it out as pg_dumpall does. Each kind has a room of its own, as in `sql::kind`.
//!
//! Invariant: a role's password is in no struct that can be printed, and in no message.

mod database;
mod membership;
mod parameter;
mod role;
mod role_setting;
pub mod script;
mod security_label;
mod tablespace;

use tokio_postgres::types::ToSql;

use super::error::{Result, SqlError};
use super::ident::Quoting;
use super::query::{CatalogQuery, CatalogRow};
use super::refuse;
use super::verbose_log::VerboseLog;
use super::warning::Warning;
use crate::protocol::Session;

pub use database::DatabaseName;

/// Which part of a cluster is dumped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClusterScope {
    /// Everything, the databases too.
    #[default]
    Cluster,
    /// `--globals-only`.
    Globals,
    /// `--roles-only`.
    Roles,
    /// `--tablespaces-only`.
    Tablespaces,
}

/// pg_dumpall's own options, named as its long options are. [`Default`] is pg_dumpall without any
/// switch.
#[derive(Clone, Debug, Default)]
pub struct GlobalOptions {
    /// `--globals-only`, `--roles-only`, `--tablespaces-only`.
    pub scope: ClusterScope,
    /// `--data-only`: nothing but the databases.
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
    /// `--verbose`: when the dump began and ended.
    pub verbose: bool,
    /// Where it is told what is executed.
    pub progress: VerboseLog,
    /// `--exclude-database` patterns.
    pub exclude_databases: Vec<String>,
    /// `--restrict-key`, or a random one: letters and digits only.
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

/// What [`read`] found. What the options leave out is empty.
#[derive(Debug)]
pub struct Globals {
    quoting: Quoting,
    roles: Vec<role::Role>,
    passwords: role::Passwords,
    settings: role_setting::RoleSettings,
    memberships: Vec<membership::Membership>,
    parameters: Vec<parameter::Parameter>,
    tablespaces: Vec<tablespace::Tablespace>,
    labels: security_label::SharedLabels,
    /// The databases that can be connected to, in the order of the dump; those that `--exclude-database`
    /// leaves out are among them, because `--clean` drops them all the same.
    pub databases: Vec<DatabaseName>,
    /// What the user should know, in pg_dumpall's words.
    pub warnings: Vec<Warning>,
}

/// What the kinds read with.
struct GlobalReader<'a> {
    session: &'a Session,
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

/// Reads the globals, all in the transaction that the session is in.
pub async fn read(session: &Session, options: &GlobalOptions) -> Result<Globals> {
    refuse::check_server(session.version())?;
    let reader = GlobalReader { session, options };
    let quoting = Quoting::of_server(session, options.quote_all_identifiers).await?;
    // A pattern that is malformed is told before anything else is asked.
    let databases = database::read(&reader).await?;
    let mut globals = Globals {
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

/// A pattern of `--exclude-database` that names more than a database.
fn too_many_dots(pattern: &str) -> SqlError {
    SqlError::Selection(format!("improper qualified name (too many dotted names): {pattern}"))
}
