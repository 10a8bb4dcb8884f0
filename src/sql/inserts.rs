//! Rows → `INSERT` statements: a small state machine that takes result rows in text format and writes the
//! output of `--inserts`, `--column-inserts` and `--rows-per-insert`.
//!
//! The script writes the two empty lines after a table's last statement.

use super::ident::Quoting;
use super::query::to_bytes;
use crate::archive::toc::InsertData;

/// Types whose values are written without quotes if they consist of digits, signs and exponents: int8, int2,
/// int4, oid, float4, float8, numeric. Source: `src/include/catalog/pg_type.dat`.
const NUMBERS: [u32; 7] = [20, 21, 23, 26, 700, 701, 1700];
/// `bit` and `varbit`.
const BIT_STRINGS: [u32; 2] = [1560, 1562];
/// `bool`.
const BOOL: u32 = 16;

/// Writes the rows of one table as `INSERT` statements.
#[derive(Debug)]
pub struct InsertWriter<'a> {
    data: &'a InsertData,
    quoting: &'a Quoting,
    prefix: Vec<u8>,
    suffix: Vec<u8>,
    rows_in_statement: u64,
}

impl<'a> InsertWriter<'a> {
    /// Creates a writer that is before the table's first row.
    pub fn new(data: &'a InsertData, quoting: &'a Quoting) -> Self {
        let (prefix, suffix) = (to_bytes(&data.prefix), to_bytes(&data.suffix));
        InsertWriter { data, quoting, prefix, suffix, rows_in_statement: 0 }
    }

    /// Appends one row; the values are in the order of [`InsertData::columns`], NULL is `None`.
    pub fn row<'v>(&mut self, values: impl IntoIterator<Item = Option<&'v [u8]>>, out: &mut Vec<u8>) {
        if self.rows_in_statement == 0 {
            out.extend_from_slice(&self.prefix);
        }
        // Without columns the prefix is the whole statement, with any number of rows per statement.
        if self.data.columns.is_empty() {
            return;
        }
        out.extend_from_slice(match (self.data.rows_per_statement, self.rows_in_statement) {
            (0 | 1, _) => b" (",
            (_, 0) => b"\n\t(",
            _ => b",\n\t(",
        });
        for (index, (column, value)) in self.data.columns.iter().zip(values).enumerate() {
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            match value {
                _ if column.generated => out.extend_from_slice(b"DEFAULT"),
                None => out.extend_from_slice(b"NULL"),
                Some(value) => self.value(column.type_oid, value, out),
            }
        }
        out.push(b')');
        self.rows_in_statement += 1;
        if self.rows_in_statement >= self.data.rows_per_statement {
            self.end_statement(out);
        }
    }

    /// Ends a statement that has fewer rows than the maximum.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.rows_in_statement > 0 {
            self.end_statement(out);
        }
    }

    fn end_statement(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.suffix);
        self.rows_in_statement = 0;
    }

    fn value(&self, type_oid: u32, value: &[u8], out: &mut Vec<u8>) {
        let quoted_as_is = |before: &[u8], out: &mut Vec<u8>| {
            out.extend_from_slice(before);
            out.extend_from_slice(value);
            out.push(b'\'');
        };
        match type_oid {
            // The server's scanner does not read NaN and Infinity as numbers.
            oid if NUMBERS.contains(&oid) && value.iter().all(|b| b"0123456789 +-eE.".contains(b)) => {
                out.extend_from_slice(value);
            }
            oid if NUMBERS.contains(&oid) => quoted_as_is(b"'", out),
            oid if BIT_STRINGS.contains(&oid) => quoted_as_is(b"B'", out),
            BOOL => out.extend_from_slice(if value == b"t" { b"true" } else { b"false" }),
            _ => self.quoting.put_literal(value, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::toc::InsertColumn;

    fn data(types: &[u32], rows_per_statement: u64) -> InsertData {
        let columns = types.iter().map(|oid| InsertColumn { type_oid: *oid, generated: false }).collect();
        InsertData {
            query: String::new(),
            prefix: "INSERT INTO s.t VALUES".to_owned(),
            columns,
            suffix: ";\n".to_owned(),
            rows_per_statement,
            foreign: false,
        }
    }

    fn write(data: &InsertData, rows: &[&[Option<&str>]]) -> String {
        write_quoted(data, &Quoting::default(), rows)
    }

    fn write_quoted(data: &InsertData, quoting: &Quoting, rows: &[&[Option<&str>]]) -> String {
        let mut writer = InsertWriter::new(data, quoting);
        let mut out = Vec::new();
        for row in rows {
            writer.row(row.iter().map(|v| v.map(str::as_bytes)), &mut out);
        }
        writer.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn types_decide_the_quotes() {
        let data = data(&[23, 701, 1700, 1560, 16, 16, 25, 25], 1);
        let row =
            [Some("-1"), Some("NaN"), Some("1.5e10"), Some("101"), Some("t"), Some("f"), Some("a'\\b"), None];
        assert_eq!(
            write(&data, &[&row]),
            "INSERT INTO s.t VALUES (-1, 'NaN', 1.5e10, B'101', true, false, 'a''\\b', NULL);\n"
        );
    }

    #[test]
    fn backslashes_are_doubled_for_old_strings() {
        let old = Quoting::new(Default::default(), false, false);
        assert_eq!(
            write_quoted(&data(&[25], 1), &old, &[&[Some("\\'")]]),
            "INSERT INTO s.t VALUES ('\\\\''');\n"
        );
    }

    #[test]
    fn rows_are_grouped_and_the_last_group_is_closed() {
        let data = InsertData { suffix: " ON CONFLICT DO NOTHING;\n".to_owned(), ..data(&[23], 2) };
        assert_eq!(
            write(&data, &[&[Some("1")], &[Some("2")], &[Some("3")]]),
            "INSERT INTO s.t VALUES\n\t(1),\n\t(2) ON CONFLICT DO NOTHING;\n\
             INSERT INTO s.t VALUES\n\t(3) ON CONFLICT DO NOTHING;\n"
        );
    }

    #[test]
    fn a_row_without_columns_is_a_statement_of_its_own() {
        let data = InsertData { prefix: "INSERT INTO t DEFAULT VALUES;\n".to_owned(), ..data(&[], 5) };
        assert_eq!(
            write(&data, &[&[None], &[None]]),
            "INSERT INTO t DEFAULT VALUES;\nINSERT INTO t DEFAULT VALUES;\n"
        );
    }

    #[test]
    fn generated_columns_are_defaults() {
        let mut data = data(&[23, 23], 1);
        data.columns[1].generated = true;
        assert_eq!(write(&data, &[&[Some("1"), None]]), "INSERT INTO s.t VALUES (1, DEFAULT);\n");
    }
}
