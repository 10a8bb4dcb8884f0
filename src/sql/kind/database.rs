//! The database itself: `CREATE DATABASE`, its properties, comment, privileges and settings.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;

/// Facts about the database that is dumped.
#[derive(Debug, Default)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its encoding's name, as `client_encoding` takes it.
    pub encoding: String,
}

/// Reads the facts about the database.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the entries of the database itself, when `--create` asks for them.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>) {}
