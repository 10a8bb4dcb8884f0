//! Catalog queries: all differences between server versions, and reading rows without panics.
//!
//! A query is written once, for the newest server; what older servers lack is data ([`Gate`]).
//! Rendering DDL never asks for the version.

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::error::{Result, SqlError};
pub use crate::protocol::encoding::{from_bytes, to_bytes};
use crate::protocol::{ProtocolError, ServerVersion, Session};

/// A catalog query, with what differs between server versions.
#[derive(Debug)]
pub struct CatalogQuery {
    /// What the query collects, in plural, for error messages: "publications".
    pub what: &'static str,
    /// Servers older than this have nothing to collect; the query is not run there.
    pub since: ServerVersion,
    /// SQL with `{column}` where a [`Gate`] puts its expression.
    pub text: &'static str,
    /// What older servers lack.
    pub gates: &'static [Gate],
}

/// An expression that depends on the server's version.
#[derive(Debug)]
pub struct Gate {
    /// The name between braces in the text.
    pub column: &'static str,
    /// The first version that has it.
    pub since: ServerVersion,
    /// What stands there since then.
    pub sql: &'static str,
    /// What stands there before.
    pub before: &'static str,
}

impl CatalogQuery {
    /// The SQL for a server of this version, or `None` where there is nothing to ask for.
    pub fn render(&self, version: ServerVersion) -> Option<String> {
        if version < self.since {
            return None;
        }
        let mut sql = self.text.to_owned();
        for gate in self.gates {
            let expression = if version >= gate.since { gate.sql } else { gate.before };
            sql = sql.replace(&format!("{{{}}}", gate.column), expression);
        }
        Some(sql)
    }
}

impl CatalogQuery {
    /// The error that the query failed.
    pub(crate) fn failed(&self, source: ProtocolError) -> SqlError {
        SqlError::Catalog { what: self.what, source }
    }

    /// Runs the query; empty where the server is too old to have such objects.
    pub(crate) async fn rows(
        &self,
        session: &Session,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<CatalogRow>> {
        let Some(sql) = self.render(session.version()) else { return Ok(Vec::new()) };
        let rows = session.query(&sql, params).await;
        let rows = rows.map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(|row| CatalogRow::new(self.what, row)).collect())
    }
}

/// A row of a catalog query; columns are read by name.
pub struct CatalogRow {
    what: &'static str,
    row: Row,
}

impl CatalogRow {
    /// Wraps a row of the query for `what`.
    pub fn new(what: &'static str, row: Row) -> Self {
        CatalogRow { what, row }
    }

    fn get<'a, T: FromSql<'a>>(&'a self, column: &'static str) -> Result<T> {
        self.row.try_get(column).map_err(|source| SqlError::Column { what: self.what, column, source })
    }

    /// A `text` column that is never NULL.
    pub fn text(&self, column: &'static str) -> Result<String> {
        Ok(self.get::<CatalogText>(column)?.0)
    }

    /// A `text` column.
    pub fn opt_text(&self, column: &'static str) -> Result<Option<String>> {
        Ok(self.get::<Option<CatalogText>>(column)?.map(|t| t.0))
    }

    /// A `text[]` column without NULL elements; NULL reads as empty.
    pub fn texts(&self, column: &'static str) -> Result<Vec<String>> {
        Ok(self.opt_texts(column)?.unwrap_or_default())
    }

    /// A `text[]` column without NULL elements.
    pub fn opt_texts(&self, column: &'static str) -> Result<Option<Vec<String>>> {
        let texts = self.get::<Option<Vec<CatalogText>>>(column)?;
        Ok(texts.map(|texts| texts.into_iter().map(|t| t.0).collect()))
    }

    /// A `text[]` column whose elements may be NULL.
    pub fn nullable_texts(&self, column: &'static str) -> Result<Vec<Option<String>>> {
        let texts = self.get::<Option<Vec<Option<CatalogText>>>>(column)?.unwrap_or_default();
        Ok(texts.into_iter().map(|t| t.map(|t| t.0)).collect())
    }

    /// An `oid` column; NULL reads as 0.
    pub fn oid(&self, column: &'static str) -> Result<u32> {
        Ok(self.get::<Option<u32>>(column)?.unwrap_or(0))
    }

    /// An `oid[]` column; NULL reads as empty.
    pub fn oids(&self, column: &'static str) -> Result<Vec<u32>> {
        Ok(self.get::<Option<Vec<u32>>>(column)?.unwrap_or_default())
    }

    /// An `int2[]` column; NULL reads as empty.
    pub fn int2s(&self, column: &'static str) -> Result<Vec<i16>> {
        Ok(self.get::<Option<Vec<i16>>>(column)?.unwrap_or_default())
    }

    /// A `bool` column; NULL reads as false.
    pub fn bool(&self, column: &'static str) -> Result<bool> {
        Ok(self.get::<Option<bool>>(column)?.unwrap_or(false))
    }

    /// An `int2` column.
    pub fn int2(&self, column: &'static str) -> Result<i16> {
        self.get(column)
    }

    /// An `int4` column.
    pub fn int4(&self, column: &'static str) -> Result<i32> {
        self.get(column)
    }

    /// An `int4[]` column; NULL reads as empty.
    pub fn int4s(&self, column: &'static str) -> Result<Vec<i32>> {
        Ok(self.get::<Option<Vec<i32>>>(column)?.unwrap_or_default())
    }

    /// A `float8` column.
    pub fn opt_float8(&self, column: &'static str) -> Result<Option<f64>> {
        self.get(column)
    }

    /// An `int8` column.
    pub fn int8(&self, column: &'static str) -> Result<i64> {
        self.get(column)
    }

    /// A `"char"` column; NULL reads as `'\0'`.
    pub fn char(&self, column: &'static str) -> Result<char> {
        Ok(self.get::<Option<i8>>(column)?.map_or('\0', |c| char::from(c.cast_unsigned())))
    }
}

/// Text in whatever encoding the database has, held in a `String` without loss; see
/// [`crate::protocol::encoding`].
///
/// As a parameter it gives the server the bytes back, which holds for no plain `String`: only in a
/// statement's text does the connection put them back itself.
#[derive(Debug)]
pub(super) struct CatalogText(pub String);

impl ToSql for CatalogText {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&to_bytes(&self.0));
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::TEXT
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for CatalogText {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(CatalogText(from_bytes(raw)))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::TEXT | Type::NAME | Type::VARCHAR | Type::BPCHAR | Type::UNKNOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::version::{PG13, PG15};

    #[test]
    fn gates_choose_by_version() {
        let query = CatalogQuery {
            what: "things",
            since: PG13,
            text: "SELECT {a} AS a",
            gates: &[Gate { column: "a", since: PG15, sql: "t.a", before: "NULL" }],
        };
        assert_eq!(query.render(PG15).as_deref(), Some("SELECT t.a AS a"));
        assert_eq!(query.render(PG13).as_deref(), Some("SELECT NULL AS a"));
        assert_eq!(query.render(ServerVersion::major(12)), None);
    }
}
