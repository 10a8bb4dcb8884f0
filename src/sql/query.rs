//! Catalog queries: all differences between server versions, and reading rows without panics.
//!
//! A query is written once, for the newest server; what older servers lack is data ([`Gate`]).
//! Rendering DDL never asks for the version.
//!
//! Where pg_dump leaves the order of a catalog's rows to the server, so does the query here: the rows come in the
//! order of the scan, which `row_number() OVER ()` keeps where other catalogs are joined. `ctid` would say the same,
//! but a role may have been granted the columns that pg_dump reads and no others.

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
        self.wrapped(session.catalog_query(&sql, params).await)
    }

    /// Runs a query that some rows answer, however many objects there are.
    pub(crate) async fn few_rows(
        &self,
        session: &Session,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<CatalogRow>> {
        let Some(sql) = self.render(session.version()) else { return Ok(Vec::new()) };
        self.wrapped(session.query(&sql, params).await)
    }

    fn wrapped(&self, rows: Result<Vec<Row>, ProtocolError>) -> Result<Vec<CatalogRow>> {
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

    /// A `text[]` column, or what `array_out` says of an array, without NULL elements; NULL reads as empty.
    pub fn texts(&self, column: &'static str) -> Result<Vec<String>> {
        Ok(self.opt_texts(column)?.unwrap_or_default())
    }

    /// A `text[]` column, or what `array_out` says of an array, without NULL elements.
    pub fn opt_texts(&self, column: &'static str) -> Result<Option<Vec<String>>> {
        Ok(self.get::<Option<CatalogTexts>>(column)?.map(|texts| texts.0))
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

    /// An `oid[]` or `oidvector` column; NULL reads as empty.
    pub fn oids(&self, column: &'static str) -> Result<Vec<u32>> {
        Ok(self.get::<Option<Vec<u32>>>(column)?.unwrap_or_default())
    }

    /// An `int2[]` or `int2vector` column; NULL reads as empty.
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

/// Texts of an array: a `text[]`, or the literal that `array_out` writes of an array of another type.
///
/// Arrays of `aclitem` are read so: the type has no binary form, and a cast of its arrays to `text[]` would
/// convert the elements by a cast that users can make.
struct CatalogTexts(Vec<String>);

impl<'a> FromSql<'a> for CatalogTexts {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        if *ty == Type::TEXT {
            let texts =
                array_elements(&from_bytes(raw)).ok_or("not an array of one dimension without NULL")?;
            return Ok(CatalogTexts(texts));
        }
        let texts = Vec::<CatalogText>::from_sql(ty, raw)?;
        Ok(CatalogTexts(texts.into_iter().map(|text| text.0).collect()))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::TEXT | Type::TEXT_ARRAY)
    }
}

/// The elements of an array's literal, `{a,"b c"}`; `None` where it is none, has a NULL, or dimensions within.
fn array_elements(literal: &str) -> Option<Vec<String>> {
    // Bounds that are not the usual ones stand before it: `[0:1]={a,b}`.
    let braces = if literal.starts_with('[') { literal.split_once('=')?.1 } else { literal };
    let inner = braces.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    let mut chars = inner.chars().peekable();
    while chars.peek().is_some() {
        let is_quoted = chars.next_if_eq(&'"').is_some();
        let mut element = String::new();
        loop {
            match chars.next() {
                Some('"') if is_quoted => break,
                Some('\\') => element.push(chars.next()?),
                Some(',') if !is_quoted => break,
                Some('{' | '}' | '"') if !is_quoted => return None,
                Some(char) => element.push(char),
                None if is_quoted => return None,
                None => break,
            }
        }
        // A word without quotes is no element where it is empty, or NULL.
        if !is_quoted && (element.is_empty() || element == "NULL") {
            return None;
        }
        // Behind a quoted word comes the comma that a plain one has ended with.
        if is_quoted && chars.peek().is_some() {
            chars.next_if_eq(&',')?;
        }
        elements.push(element);
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_literal_of_an_array_is_read() {
        let read = |literal: &str| array_elements(literal);
        let texts = |texts: &[&str]| Some(texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(read("{}"), texts(&[]));
        assert_eq!(read("{=r/own,own=arwdDxt/own}"), texts(&["=r/own", "own=arwdDxt/own"]));
        assert_eq!(
            read(r#"{"\"a b\"=r/own","a,{b}\\=r/own",c=r/own}"#),
            texts(&[r#""a b"=r/own"#, r"a,{b}\=r/own", "c=r/own"])
        );
        assert_eq!(read(r#"[0:1]={"",ünder=r/own}"#), texts(&["", "ünder=r/own"]));
        assert_eq!(read(r#"{"NULL"}"#), texts(&["NULL"]));
        for bad in
            ["", "a", "{a", "a}", "{NULL}", "{a,NULL}", "{{a},{b}}", r#"{"a}"#, r#"{"a"b}"#, "{,a}", "[0:1]"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
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
