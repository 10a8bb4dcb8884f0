//! `SECURITY LABEL`: all labels of the database, read with one query.

use super::collect::Collector;
use super::comment::mark;
use super::error::Result;
use super::object::{ByCatalogId, CatalogId, Components};
use super::query::CatalogQuery;
use crate::protocol::version::PG13;

/// Security labels by object, sorted by column number and provider.
pub type SecurityLabels = ByCatalogId<Vec<SecurityLabel>>;

/// A security label.
#[derive(Debug)]
pub struct SecurityLabel {
    /// The column number, or 0 for the object itself.
    pub subid: i32,
    /// The label provider.
    pub provider: String,
    /// The label.
    pub label: String,
}

const QUERY: CatalogQuery = CatalogQuery {
    what: "security labels",
    since: PG13,
    text: "
SELECT l.classoid, l.objoid, l.objsubid, l.provider, l.label
  FROM pg_catalog.pg_seclabels l
 ORDER BY 1, 2, 3, 4",
    gates: &[],
};

/// Reads all labels.
pub(super) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&QUERY).await? {
        let id = CatalogId::new(row.oid("classoid")?, row.oid("objoid")?);
        let label = SecurityLabel {
            subid: row.int4("objsubid")?,
            provider: row.text("provider")?,
            label: row.text("label")?,
        };
        mark(&mut cx.catalog, id, label.subid, Components::SECLABEL);
        cx.catalog.security_labels.entry(id).or_default().push(label);
    }
    Ok(())
}
