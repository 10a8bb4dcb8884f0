//! Catalogs → DDL. Knows no storage.
//!
//! [`collect`] identifies, locks and describes; [`depend`] and [`sort`] order; [`emit`] turns
//! objects into TOC entries; [`script`] lays them out as text.

pub mod acl;
pub mod collect;
pub mod comment;
pub mod depend;
pub mod emit;
pub mod error;
pub mod filter_file;
pub mod ident;
pub mod inserts;
pub mod kind;
pub mod large_object_script;
pub mod object;
pub mod options;
pub(crate) mod pattern;
pub mod query;
pub(crate) mod refuse;
pub mod script;
pub mod seclabel;
pub mod select;
pub(crate) mod setting;
pub mod sort;
pub mod warning;

use crate::archive::toc::TocEntry;
use crate::protocol::Session;

pub use error::SqlError;
pub use options::DumpOptions;
pub use warning::Warning;

/// What a dump consists of, before any row is read.
#[derive(Debug)]
pub struct Plan {
    /// The entries in the order of the dump.
    pub entries: Vec<TocEntry>,
    /// The database's name.
    pub database: String,
    /// The encoding's name, as `client_encoding` takes it.
    pub encoding: String,
    /// What the user should know, in the order in which pg_dump says it.
    pub warnings: Vec<Warning>,
    /// How names and strings are quoted.
    pub quoting: ident::Quoting,
}

/// Collects, orders and writes the entries of a dump. The session must be in the dump's
/// `REPEATABLE READ, READ ONLY` transaction; afterwards it holds `ACCESS SHARE` locks on all tables
/// whose definition or rows are in the plan.
pub async fn plan(session: &Session, options: &DumpOptions) -> Result<Plan, SqlError> {
    let mut catalog = collect::collect(session, options).await?;
    depend::add_boundaries(&mut catalog);
    let sorted = sort::sort(&mut catalog);
    for object in catalog.iter_mut() {
        object.dump &= object.components;
    }
    let emitted = emit::emit(&catalog, options, &sorted.order)?;
    Ok(Plan {
        entries: emitted.entries,
        warnings: [catalog.warnings, sorted.warnings, emitted.warnings].concat(),
        quoting: catalog.quoting,
        database: catalog.database.name,
        encoding: catalog.database.encoding,
    })
}

/// Appends formatted SQL text to a `String`.
macro_rules! put {
    ($buf:expr, $($arg:tt)*) => {{
        use std::fmt::Write as _;
        write!($buf, $($arg)*).expect("writing to a String cannot fail")
    }};
}
pub(crate) use put;
