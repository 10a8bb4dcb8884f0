//! Catalog queries: all differences between server versions, and reading rows without panics.
//!
//! A query is written once, for the newest server; what older servers lack is data ([`Gate`]). Code that
//! writes DDL never checks the version.
//!
//! Where pg_dump does not specify the order of a catalog's rows, the query does not either: the rows are in
//! scan order, and `row_number() OVER ()` preserves it across joins with other catalogs. `ctid` would give
//! the same order, but a role may have privileges only on the columns that pg_dump reads.

use bytes::BytesMut;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::code::UnknownCode;
use super::error::{Result, SqlError};
pub use crate::protocol::encoding::{from_bytes, to_bytes};
use crate::protocol::{ProtocolError, ServerVersion, Session};

/// A catalog query, with its differences between server versions.
#[derive(Debug)]
pub struct CatalogQuery {
    /// The collected objects, in plural, for error messages: "publications".
    pub what: &'static str,
    /// The oldest version with such objects; the query is not run on older servers.
    pub since: ServerVersion,
    /// SQL with `{column}` as the placeholder for a [`Gate`]'s expression.
    pub text: &'static str,
    /// The expressions that depend on the version.
    pub gates: &'static [Gate],
}

/// An expression that depends on the server's version.
#[derive(Debug)]
pub struct Gate {
    /// The name of the placeholder in the text, without braces.
    pub column: &'static str,
    /// The SQL of versions before the first step.
    pub before: &'static str,
    /// The versions that changed the expression, oldest first, and the SQL from each of them on.
    pub steps: &'static [(ServerVersion, &'static str)],
}

impl Gate {
    /// Returns the SQL for a server of this version.
    fn expression(&self, version: ServerVersion) -> &'static str {
        let step = self.steps.iter().rev().find(|(since, _)| version >= *since);
        step.map_or(self.before, |(_, sql)| sql)
    }
}

impl CatalogQuery {
    /// Returns the SQL for a server of this version, or `None` if that version has no such objects.
    pub fn render(&self, version: ServerVersion) -> Option<String> {
        if version < self.since {
            return None;
        }
        let mut sql = self.text.to_owned();
        for gate in self.gates {
            sql = sql.replace(&format!("{{{}}}", gate.column), gate.expression(version));
        }
        Some(sql)
    }
}

impl CatalogQuery {
    /// Returns the error for a failure of this query.
    pub(crate) fn failed(&self, source: ProtocolError) -> SqlError {
        SqlError::Catalog { what: self.what, source }
    }

    /// Runs the query; returns no rows if the server is too old to have such objects.
    pub(crate) async fn rows(
        &self,
        session: &Session,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<CatalogRow>> {
        let Some(sql) = self.render(session.version()) else { return Ok(Vec::new()) };
        self.wrapped(session.catalog_query(&sql, params).await)
    }

    /// Runs a query whose number of rows does not depend on the number of objects, without the limit on the
    /// size of catalog answers.
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

    /// A `text[]` column, or the `array_out` literal of an array, without NULL elements; NULL reads as empty.
    pub fn texts(&self, column: &'static str) -> Result<Vec<String>> {
        Ok(self.opt_texts(column)?.unwrap_or_default())
    }

    /// A `text[]` column, or the `array_out` literal of an array, without NULL elements.
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

    /// A `bool` column that may be NULL.
    pub fn opt_bool(&self, column: &'static str) -> Result<Option<bool>> {
        self.get(column)
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

    /// A `"char"` column with a code. An unknown code is an error that names the object.
    pub fn code<C: TryFrom<char, Error = UnknownCode>>(&self, column: &'static str) -> Result<C> {
        self.try_code(column)?.map_err(|code| self.unknown(code))
    }

    /// A `"char"` column with a code, or none: NULL or `'\0'`.
    pub fn opt_code<C: TryFrom<char, Error = UnknownCode>>(&self, column: &'static str) -> Result<Option<C>> {
        let code = self.char(column)?;
        (code != '\0').then(|| C::try_from(code)).transpose().map_err(|code| self.unknown(code))
    }

    /// A `"char"` column with a code that may be unknown, because pg_dump accepts it or because objects with
    /// unknown codes are refused elsewhere.
    pub fn try_code<C: TryFrom<char, Error = UnknownCode>>(
        &self,
        column: &'static str,
    ) -> Result<Result<C, UnknownCode>> {
        Ok(C::try_from(self.char(column)?))
    }

    fn char(&self, column: &'static str) -> Result<char> {
        Ok(self.get::<Option<i8>>(column)?.map_or('\0', |c| char::from(c.cast_unsigned())))
    }

    fn unknown(&self, code: UnknownCode) -> SqlError {
        let name = self.row.try_get::<_, CatalogText>("name").map(|name| format!("\"{}\"", name.0));
        let oid = || self.row.try_get::<_, u32>("oid").map(|oid| format!("OID {oid}"));
        let object = name.or_else(|_| oid()).unwrap_or_else(|_| format!("one of the {}", self.what));
        SqlError::Code { object, code }
    }
}

/// Text in the database's encoding, held in a `String` without loss; see [`crate::protocol::encoding`].
///
/// As a parameter it is sent as the server's original bytes. A plain `String` is not: the connection restores
/// the bytes only in the text of a statement.
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

/// The elements of an array: a `text[]`, or the literal that `array_out` returns for an array of another
/// type.
///
/// Arrays of `aclitem` are read as literals: the type has no binary format, and a cast to `text[]` would
/// convert the elements with a cast that users can define.
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

/// Parses the literal of an array, `{a,"b c"}`. Returns `None` if the text is malformed, has a NULL element,
/// or has more than one dimension.
fn array_elements(literal: &str) -> Option<Vec<String>> {
    // Bounds other than the default precede the braces: `[0:1]={a,b}`.
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
        // An unquoted element is invalid if it is empty or NULL.
        if !is_quoted && (element.is_empty() || element == "NULL") {
            return None;
        }
        // A comma follows a quoted element; the comma after an unquoted element is already consumed.
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
    use crate::protocol::version::{PG13, PG14, PG15, PG16};

    #[test]
    fn gates_choose_by_version() {
        let query = CatalogQuery {
            what: "things",
            since: PG13,
            text: "SELECT {a} AS a",
            gates: &[Gate { column: "a", before: "NULL", steps: &[(PG14, "t.a"), (PG16, "t.b")] }],
        };
        assert_eq!(query.render(PG16).as_deref(), Some("SELECT t.b AS a"));
        assert_eq!(query.render(PG15).as_deref(), Some("SELECT t.a AS a"));
        assert_eq!(query.render(PG14).as_deref(), Some("SELECT t.a AS a"));
        assert_eq!(query.render(PG13).as_deref(), Some("SELECT NULL AS a"));
        assert_eq!(query.render(ServerVersion::major(12)), None);
    }
}
