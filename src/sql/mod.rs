//! Catalogs → DDL. This module does not use storage.
//!
//! [`dialect`] holds what differs between the majors of pg_dump. [`collect`] identifies, locks and describes objects; [`depend`] and [`sort`] order them; [`emit`] converts
//! objects to TOC entries; [`script`] formats the entries as text. [`global`] handles cluster-wide objects.

pub mod acl;
mod archive_dependencies;
mod code;
pub mod collect;
pub mod comment;
pub mod depend;
pub mod dialect;
pub mod emit;
pub mod entries;
pub mod error;
pub mod filter_file;
pub mod global;
pub mod ident;
pub mod inserts;
pub mod kind;
pub mod large_object_script;
pub mod object;
pub mod options;
pub(crate) mod pattern;
mod pending_query;
pub mod query;
pub(crate) mod refuse;
pub mod script;
pub mod seclabel;
pub mod select;
pub(crate) mod setting;
mod shared;
pub mod sort;
pub mod verbose_log;
pub mod warning;

use crate::protocol::Session;
use crate::protocol::worker_sessions::WorkerSessions;

pub use error::SqlError;
pub use kind::table::TableLocks;
pub use options::DumpOptions;
pub use warning::Warning;

/// The objects of a dump and their order, before any row is read.
#[derive(Debug)]
pub struct DumpPlan {
    catalog: object::Catalog,
    options: DumpOptions,
    order: Vec<object::DumpId>,
    survey: script::Survey,
    /// Warnings for the user, in pg_dump's order.
    pub warnings: Vec<Warning>,
}

/// The number of tables with rows in a dump, and the total size of those whose size was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AmountOfData {
    /// The number of tables.
    pub tables: u64,
    /// Bytes on the server, without indexes.
    pub bytes: u64,
}

impl DumpPlan {
    /// The entries, in dump order. The iterator creates each entry when it is requested, so none is kept.
    pub fn entries(&self) -> entries::Entries<'_> {
        entries::Entries::new(&self.catalog, &self.options, &self.order)
    }

    /// The entries as the table of contents lists them: with the dependencies of each.
    pub fn archive_entries(&self) -> impl Iterator<Item = crate::archive::toc::TocEntry> {
        let have = &self.survey.have_entries;
        self.entries().map(|entry| archive_dependencies::complete(entry, &self.catalog, have))
    }

    /// The number of entries.
    pub fn number_of_entries(&self) -> u64 {
        self.survey.entries
    }

    /// The amount of table data.
    pub fn amount_of_data(&self) -> AmountOfData {
        kind::table_data::amount(&self.catalog)
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.catalog.database.name
    }

    /// The statements that create the dumped database and set its properties, in order. Each text contains
    /// statements of one kind; the first is `CREATE DATABASE`, which must be executed alone. Empty unless
    /// [`describe_creation`](DumpOptions::describe_creation) is set.
    pub fn database_statements(&self) -> Vec<String> {
        kind::database::statements(&self.catalog, &self.options)
    }

    /// The rules for quoting names and strings.
    pub fn quoting(&self) -> &ident::Quoting {
        &self.catalog.quoting
    }
}

/// Collects and sorts the objects of a dump, and checks that each can be written.
///
/// The session must be in the dump's `REPEATABLE READ, READ ONLY` transaction. When the function returns, it
/// holds `ACCESS SHARE` locks on all tables whose definition or rows are in the plan. Large catalogs are also
/// read over a worker session if `worker_sessions` allows one. `locks` keeps the locked tables, also after a
/// failure, for the next attempt.
///
/// # Errors
/// [`SqlError::is_stale`] returns true for errors that a retry with a newer snapshot may avoid.
pub async fn plan(
    session: &Session,
    worker_sessions: &WorkerSessions,
    options: DumpOptions,
    locks: &mut TableLocks,
) -> Result<DumpPlan, SqlError> {
    let progress = options.progress;
    let mut catalog = collect::collect(session, worker_sessions, &options, locks).await?;
    progress.warn(&mut catalog.warnings);
    depend::add_boundaries(&mut catalog);
    let mut sorted = sort::sort(&mut catalog);
    progress.warn(&mut sorted.warnings);
    tell_settings(session, &catalog, &options);
    for object in catalog.iter_mut() {
        object.dump &= object.components;
    }
    let (survey, mut emitted) = script::Survey::of(&catalog, &options, &sorted.order)?;
    progress.warn(&mut emitted);
    let warnings = [std::mem::take(&mut catalog.warnings), sorted.warnings, emitted].concat();
    Ok(DumpPlan { catalog, options, order: sorted.order, survey, warnings })
}

/// Logs the settings that the script makes, which pg_dump counts among its entries.
fn tell_settings(session: &Session, catalog: &object::Catalog, options: &DumpOptions) {
    let say = |line: std::fmt::Arguments<'_>| options.progress.say(line);
    let strings = if catalog.quoting.standard_strings() { "on" } else { "off" };
    say(format_args!("saving encoding = {}", session.client_encoding()));
    let quote = if catalog.dialect.messages.quotes_settings { "\"" } else { "" };
    say(format_args!("saving {quote}standard_conforming_strings = {strings}{quote}"));
    say(format_args!("saving {quote}search_path = {quote}"));
    if options.create {
        say(format_args!("saving database definition"));
    }
}

/// Fails if a table of the plan was renamed after planning: COPY uses names, so it may have read another
/// table's rows.
pub async fn verify_names(session: &Session, locks: &TableLocks) -> Result<(), SqlError> {
    locks.verify_names(session).await
}

/// The database's size on the server in bytes, including indexes; `None` if the session's role lacks the
/// privilege to read it.
pub async fn database_size(session: &Session) -> Result<Option<u64>, SqlError> {
    kind::database::size(session).await
}

/// Appends formatted SQL text to a `String`.
macro_rules! put {
    ($buf:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        write!($buf, $($arg)*).expect("writing to a String cannot fail")
    }};
}
pub(crate) use put;
