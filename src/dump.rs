//! One database, from an open connection to the bytes of its dump: the plan, then text and rows in
//! order. Where the bytes go is the caller's.

use std::io::Write;

use crate::archive::toc::{EntryData, Piece};
use crate::protocol::Session;
use crate::sql::script::{Frame, Script, timestamp};
use crate::sql::{self, DumpOptions};

/// Dumps to a writer.
pub async fn to_writer(
    session: &Session,
    options: &DumpOptions,
    out: &mut impl Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let plan = sql::plan(session, options).await?;
    let frame = Frame {
        server_version: session.server_version().to_owned(),
        dumped_by: format!("pg-backup version {}", env!("CARGO_PKG_VERSION")),
        encoding: plan.encoding.clone(),
        quoting: plan.quoting.clone(),
        started: timestamp(),
    };
    for piece in Script::new(&plan.entries, options, frame) {
        match piece {
            Piece::Text { text, .. } => out.write_all(&sql::query::to_bytes(&text))?,
            Piece::Data { data: EntryData::Copy { query, .. }, .. } => {
                let mut rows = session.copy_out(query).await?;
                while let Some(row) = rows.next().await? {
                    out.write_all(&row)?;
                }
            }
            Piece::Data { .. } => {}
        }
    }
    out.flush()?;
    Ok(())
}
