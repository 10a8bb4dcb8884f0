//! Collations.

use crate::archive::toc::TocEntry;
use crate::protocol::version::{PG13, PG15, PG16, PG17};
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::ident::Quoting;
use crate::sql::kind::function::oids_to_describe;
use crate::sql::object::{CatalogId, Components, Detail, DumpObject, EntryKind, ObjectKind, Section, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};
use crate::sql::select::select_object;

/// Includes built-in collations, because columns, domains and ranges refer to them.
const QUERY: CatalogQuery = CatalogQuery {
    what: "collations",
    since: PG13,
    text: "
SELECT c.oid, c.collname::text AS name, c.collnamespace AS namespace, c.collowner AS owner,
       c.collencoding AS encoding
  FROM pg_catalog.pg_collation c",
    gates: &[],
};

/// Before PostgreSQL 15, both libc columns held an ICU locale, and a missing value was an empty name.
const DETAILS: CatalogQuery = CatalogQuery {
    what: "collation definitions",
    since: PG13,
    text: "
SELECT c.oid, c.collprovider AS provider, c.collisdeterministic AS deterministic, {collate} AS collate,
       {ctype} AS ctype, {locale} AS locale, {rules} AS rules
  FROM pg_catalog.pg_collation c
 WHERE c.oid = ANY ($1::pg_catalog.oid[])
 ORDER BY c.oid",
    gates: &[
        Gate {
            column: "collate",
            before: "CASE WHEN c.collprovider = 'c' THEN NULLIF(c.collcollate::text, '') END",
            steps: &[(PG15, "c.collcollate")],
        },
        Gate {
            column: "ctype",
            before: "CASE WHEN c.collprovider = 'c' THEN NULLIF(c.collctype::text, '') END",
            steps: &[(PG15, "c.collctype")],
        },
        Gate {
            column: "locale",
            before: "CASE WHEN c.collprovider = 'i' THEN c.collcollate::text END",
            steps: &[(PG15, "c.colliculocale"), (PG17, "c.colllocale")],
        },
        Gate { column: "rules", before: "NULL::text", steps: &[(PG16, "c.collicurules")] },
    ],
};

/// A collation.
#[derive(Debug, Default)]
pub struct Collation {
    /// The encoding to which it applies, -1 for any.
    pub encoding: i32,
    /// The fields that only its DDL needs; `None` unless the collation is dumped.
    details: Option<Box<CollationDetails>>,
}

codes! {
    /// The library that implements a collation.
    CollationProvider("collprovider", "unrecognized collation provider: {code}") {
        Builtin = 'b',
        Libc = 'c',
        Icu = 'i',
        /// The one of the database.
        Default = 'd',
    }
}

/// The fields of a collation that only its DDL needs.
#[derive(Debug)]
struct CollationDetails {
    /// The library.
    provider: CollationProvider,
    /// False if strings with different bytes can be equal.
    deterministic: bool,
    /// `LC_COLLATE` of libc.
    collate: Option<String>,
    /// `LC_CTYPE` of libc.
    ctype: Option<String>,
    /// The locale of ICU or of the builtin provider.
    locale: Option<String>,
    /// Rules that customize ICU's locale.
    rules: Option<String>,
}

impl CollationDetails {
    fn from_row(row: &CatalogRow) -> Result<Self> {
        Ok(CollationDetails {
            provider: row.code("provider")?,
            deterministic: row.bool("deterministic")?,
            collate: row.opt_text("collate")?,
            ctype: row.opt_text("ctype")?,
            locale: row.opt_text("locale")?,
            rules: row.opt_text("rules")?,
        })
    }

    /// Returns whether exactly the locales that the provider uses are set.
    fn fits_provider(&self) -> bool {
        let set = (self.collate.is_some(), self.ctype.is_some(), self.locale.is_some());
        match self.provider {
            CollationProvider::Libc => set == (true, true, false),
            CollationProvider::Icu | CollationProvider::Builtin => set == (false, false, true),
            CollationProvider::Default => set == (false, false, false),
        }
    }

    /// Returns the options of `CREATE COLLATION`. The collation's version is omitted, so that the target
    /// server records its own.
    fn options(&self, quoting: &Quoting) -> String {
        let provider = match self.provider {
            CollationProvider::Builtin => "builtin",
            CollationProvider::Libc => "libc",
            CollationProvider::Icu => "icu",
            CollationProvider::Default => "default",
        };
        let mut sql = format!("provider = {provider}");
        if !self.deterministic {
            sql.push_str(", deterministic = false");
        }
        let literal = |text: &Option<String>| quoting.literal(text.as_deref().unwrap_or("")).to_string();
        match self.provider {
            CollationProvider::Icu | CollationProvider::Builtin => {
                put!(sql, ", locale = {}", literal(&self.locale))
            }
            CollationProvider::Libc if self.collate.is_some() && self.collate == self.ctype => {
                put!(sql, ", locale = {}", literal(&self.collate));
            }
            CollationProvider::Libc => {
                put!(sql, ", lc_collate = {}, lc_ctype = {}", literal(&self.collate), literal(&self.ctype))
            }
            CollationProvider::Default => {}
        }
        if self.rules.is_some() {
            put!(sql, ", rules = {}", literal(&self.rules));
        }
        sql
    }
}

/// Identifies the collations.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let collation = Collation { encoding: row.int4("encoding")?, details: None };
        let namespace = cx.namespace(row.oid("namespace")?)?;
        let catalog_id = CatalogId::new(class::PG_COLLATION, row.oid("oid")?);
        let owner = cx.role(row.oid("owner")?)?;
        let id = cx.catalog.add(catalog_id, row.text("name")?, Some(namespace), Detail::Collation(collation));
        cx.catalog[id].owner = Some(owner);
        select_object(cx, id);
    }
    Ok(())
}

/// Reads the DDL details of the collations to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let oids = oids_to_describe(cx, ObjectKind::Collation);
    if oids.is_empty() {
        return Ok(());
    }
    for row in cx.rows_with(&DETAILS, &[&oids]).await? {
        let details = Box::new(CollationDetails::from_row(&row)?);
        let Some(id) = cx.catalog.by_oid(class::PG_COLLATION, row.oid("oid")?) else { continue };
        if let Some(collation) = cx.catalog.collation_mut(id) {
            collation.details = Some(details);
        }
    }
    Ok(())
}

/// Writes the DDL of one collation.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, collation: &Collation) {
    if em.options.data_only {
        return;
    }
    if object.dumps(Components::DEFINITION) {
        let qualified = em.catalog.qualified(object);
        let Some(details) = collation.details.as_deref() else {
            let text = format!("collation {qualified} could not be read from the catalogs");
            return em.fail(SqlError::Inconsistent(text));
        };
        let options = details.options(em.quoting);
        if !details.fits_provider() {
            em.warn(format!("invalid collation \"{}\"", em.quoting.id(&object.name)));
        }
        let entry = TocEntry {
            definition: format!("CREATE COLLATION {qualified} ({options});\n"),
            drop: format!("DROP COLLATION {qualified};\n"),
            ..em.entry_for(object, EntryKind::Collation, Section::PreData)
        };
        em.push(entry);
    }
    if object.dumps(Components::COMMENT) {
        let name = em.quoting.id(&object.name).to_string();
        let namespace = em.catalog.namespace_name(object);
        let target =
            CommentTarget { object_type: "COLLATION", name: &name, namespace, owner: object.owner_name() };
        em.comment(object, &target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(provider: CollationProvider, collate: &str, ctype: &str, locale: &str) -> String {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let details = CollationDetails {
            provider,
            deterministic: provider == CollationProvider::Libc,
            collate: some(collate),
            ctype: some(ctype),
            locale: some(locale),
            rules: None,
        };
        details.options(&Quoting::default())
    }

    #[test]
    fn providers_have_their_own_options() {
        assert_eq!(options(CollationProvider::Libc, "C", "C", ""), "provider = libc, locale = 'C'");
        assert_eq!(
            options(CollationProvider::Libc, "C", "POSIX", ""),
            "provider = libc, lc_collate = 'C', lc_ctype = 'POSIX'"
        );
        assert_eq!(
            options(CollationProvider::Icu, "", "", "de-u-ks-level1"),
            "provider = icu, deterministic = false, locale = 'de-u-ks-level1'"
        );
        let unknown = CollationProvider::try_from('x').unwrap_err();
        assert_eq!(unknown.of("c"), "unrecognized collation provider: x");
    }
}
