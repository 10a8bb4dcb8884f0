//! Statements that this program runs itself, beside those of the dump.

use super::script::Statement;
use crate::archive::toc_file::FileEntry;
use crate::protocol::encoding::to_bytes;
use crate::sql::ident::Quoting;

/// Creates a statement of this program for an entry.
pub(super) fn statement_for(entry: &FileEntry, text: String) -> Statement {
    let banner = format!(
        "Name: {}; Type: {}; Schema: {}; Owner: -",
        entry.tag,
        entry.desc,
        entry.namespace.as_deref().unwrap_or("-")
    );
    Statement { banner: Some(banner.into()), ..Statement::new(to_bytes(&text)) }
}

/// Quotes a name, even if it does not need quotes.
pub(super) fn quoted(name: &str) -> String {
    Quoting::new(Default::default(), true, true).id(name).to_string()
}
