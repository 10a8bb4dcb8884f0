//! Base types: the functions and flags of `CREATE TYPE`.

use super::{TypeForm, TypeKind, described, formatted, oids_to_describe};
use crate::protocol::version::{PG13, PG14};
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::kind::table::Storage;
use crate::sql::object::Components;
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};

const QUERY: CatalogQuery = CatalogQuery {
    what: "base types",
    since: PG13,
    text: r#"
SELECT t.oid, t.typlen AS length, pg_catalog.textin(pg_catalog.regprocout(t.typinput)) AS input,
       pg_catalog.textin(pg_catalog.regprocout(t.typoutput)) AS output,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(t.typreceive)), '-') AS receive,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(t.typsend)), '-') AS send,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(t.typmodin)), '-') AS modifier_input,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(t.typmodout)), '-') AS modifier_output,
       NULLIF(pg_catalog.textin(pg_catalog.regprocout(t.typanalyze)), '-') AS analyze,
       NULLIF({subscript}, '-') AS subscript,
       t.typcollation <> 0 AS collatable, pg_catalog.pg_get_expr(t.typdefaultbin, 0) AS default_expression,
       t.typdefault AS default_literal, t.typcategory::text AS category, t.typispreferred AS preferred,
       t.typdelim::text AS delimiter, t.typalign AS alignment, t.typstorage AS storage, t.typbyval AS by_value
  FROM pg_catalog.pg_type t
 WHERE t.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY t.oid"#,
    gates: &[Gate {
        column: "subscript",
        before: "'-'",
        steps: &[(PG14, "pg_catalog.textin(pg_catalog.regprocout(t.typsubscript))")],
    }],
};

codes! {
    /// The alignment of a type's values.
    #[derive(Default)]
    Alignment("typalign") {
        #[default]
        Char = 'c',
        Short = 's',
        Int = 'i',
        Double = 'd',
    }
}

/// The fields that are specific to a base type. Functions are qualified and quoted.
#[derive(Debug, Default)]
pub(in crate::sql::kind) struct Base {
    /// Length in bytes; -1 for variable, -2 for a C string.
    pub length: i16,
    /// `INPUT`.
    pub input: String,
    /// `OUTPUT`.
    pub output: String,
    /// `RECEIVE`.
    pub receive: Option<String>,
    /// `SEND`.
    pub send: Option<String>,
    /// `TYPMOD_IN`.
    pub modifier_input: Option<String>,
    /// `TYPMOD_OUT`.
    pub modifier_output: Option<String>,
    /// `ANALYZE`.
    pub analyze: Option<String>,
    /// `SUBSCRIPT`.
    pub subscript: Option<String>,
    /// `COLLATABLE`.
    pub collatable: bool,
    /// The default, as an expression.
    pub default_expression: Option<String>,
    /// The default as an input string of the type, if there is no expression.
    pub default_literal: Option<String>,
    /// `CATEGORY`, one character, `U` by default.
    pub category: String,
    /// `PREFERRED`.
    pub preferred: bool,
    /// `DELIMITER`, one character.
    pub delimiter: String,
    /// `ALIGNMENT`.
    pub alignment: Alignment,
    /// `STORAGE`.
    pub storage: Storage,
    /// `PASSEDBYVALUE`.
    pub by_value: bool,
}

impl Base {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        Ok(Base {
            length: row.int2("length")?,
            input: row.text("input")?,
            output: row.text("output")?,
            receive: row.opt_text("receive")?,
            send: row.opt_text("send")?,
            modifier_input: row.opt_text("modifier_input")?,
            modifier_output: row.opt_text("modifier_output")?,
            analyze: row.opt_text("analyze")?,
            subscript: row.opt_text("subscript")?,
            collatable: row.bool("collatable")?,
            default_expression: row.opt_text("default_expression")?,
            default_literal: row.opt_text("default_literal")?,
            category: row.text("category")?,
            preferred: row.bool("preferred")?,
            delimiter: row.text("delimiter")?,
            alignment: row.code("alignment")?,
            storage: row.code("storage")?,
            by_value: row.bool("by_value")?,
        })
    }

    /// Returns `CREATE TYPE … (…)`. `element` is the OID of the type that subscripting returns.
    pub(super) fn definition(&self, em: &mut Emitter<'_>, name: &str, element: u32) -> String {
        let mut sql = format!("CREATE TYPE {name} (\n    INTERNALLENGTH = ");
        match self.length {
            -1 => sql.push_str("variable"),
            length => put!(sql, "{length}"),
        }
        put!(sql, ",\n    INPUT = {},\n    OUTPUT = {}", self.input, self.output);
        self.put_functions(&mut sql);
        if self.collatable {
            sql.push_str(",\n    COLLATABLE = true");
        }
        match (&self.default_expression, &self.default_literal) {
            (Some(expression), _) => put!(sql, ",\n    DEFAULT = {expression}"),
            (None, Some(literal)) => put!(sql, ",\n    DEFAULT = {}", em.quoting.literal(literal)),
            (None, None) => {}
        }
        if let Some(subscript) = &self.subscript {
            put!(sql, ",\n    SUBSCRIPT = {subscript}");
        }
        if element != 0 {
            put!(sql, ",\n    ELEMENT = {}", formatted(em, element, "-"));
        }
        self.put_flags(em, &mut sql);
        sql.push_str("\n);\n");
        sql
    }

    fn put_functions(&self, sql: &mut String) {
        let functions = [
            ("RECEIVE", &self.receive),
            ("SEND", &self.send),
            ("TYPMOD_IN", &self.modifier_input),
            ("TYPMOD_OUT", &self.modifier_output),
            ("ANALYZE", &self.analyze),
        ];
        for (clause, function) in functions {
            if let Some(function) = function {
                put!(sql, ",\n    {clause} = {function}");
            }
        }
    }

    fn put_flags(&self, em: &Emitter<'_>, sql: &mut String) {
        if self.category != "U" {
            put!(sql, ",\n    CATEGORY = {}", em.quoting.literal(&self.category));
        }
        if self.preferred {
            sql.push_str(",\n    PREFERRED = true");
        }
        if self.delimiter != "," {
            put!(sql, ",\n    DELIMITER = {}", em.quoting.literal(&self.delimiter));
        }
        let alignment = match self.alignment {
            Alignment::Char => "char",
            Alignment::Short => "int2",
            Alignment::Int => "int4",
            Alignment::Double => "double",
        };
        let storage = self.storage.keyword().to_lowercase();
        put!(sql, ",\n    ALIGNMENT = {alignment},\n    STORAGE = {storage}");
        if self.by_value {
            sql.push_str(",\n    PASSEDBYVALUE");
        }
    }
}

/// Reads the DDL details of the base types to be dumped.
pub(super) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, TypeKind::Base, Components::DEFINITION);
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&QUERY, &[&oids]).await? {
        described(cx, row.oid("oid")?)?.form = TypeForm::Base(Box::new(Base::from_row(&row)?));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::DataType;
    use super::super::tests::{add_type, catalog, entries};
    use super::*;
    use crate::sql::object::{CatalogId, Detail, class};

    #[test]
    fn every_clause_has_its_place() {
        let (mut catalog, namespace) = catalog();
        add_type(&mut catalog, 25, "text");
        let some = |s: &str| Some(s.to_owned());
        let base = Base {
            length: -1,
            input: "s.i".to_owned(),
            output: "s.o".to_owned(),
            receive: some("s.r"),
            modifier_output: some("s.mo"),
            analyze: some("s.a"),
            subscript: some("raw_array_subscript_handler"),
            collatable: true,
            default_literal: some("it's"),
            category: "S".to_owned(),
            preferred: true,
            delimiter: ";".to_owned(),
            alignment: Alignment::Double,
            storage: Storage::Extended,
            ..Base::default()
        };
        let data_type = DataType {
            kind: Some(TypeKind::Base),
            element: 25,
            form: TypeForm::Base(Box::new(base)),
            ..DataType::default()
        };
        catalog.add(
            CatalogId::new(class::PG_TYPE, 100),
            "b".to_owned(),
            Some(namespace),
            Detail::Type(Box::new(data_type)),
        );
        let entry = &entries(&mut catalog)[0];
        assert_eq!(
            entry.definition,
            "CREATE TYPE s.b (\n    INTERNALLENGTH = variable,\n    INPUT = s.i,\n    OUTPUT = s.o,\n    \
             RECEIVE = s.r,\n    TYPMOD_OUT = s.mo,\n    ANALYZE = s.a,\n    COLLATABLE = true,\n    \
             DEFAULT = 'it''s',\n    SUBSCRIPT = raw_array_subscript_handler,\n    ELEMENT = text,\n    \
             CATEGORY = 'S',\n    PREFERRED = true,\n    DELIMITER = ';',\n    ALIGNMENT = double,\n    \
             STORAGE = extended\n);\n"
        );
        assert_eq!(entry.drop, "DROP TYPE s.b CASCADE;\n");
    }
}
