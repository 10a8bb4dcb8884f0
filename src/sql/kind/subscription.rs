//! Subscriptions: the query, the row, the DDL.

use crate::sql::collect::Collector;
use crate::sql::emit::Emitter;
use crate::sql::error::Result;
use crate::sql::object::DumpObject;

/// A subscription.
#[derive(Debug, Default)]
pub struct Subscription {}

/// Identifies the subscriptions.
pub(in crate::sql) async fn collect(_cx: &mut Collector<'_>) -> Result<()> {
    Ok(())
}

/// Writes the DDL of one subscription.
pub(in crate::sql) fn emit(_em: &mut Emitter<'_>, _object: &DumpObject, _subscription: &Subscription) {}
