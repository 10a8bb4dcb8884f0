//! Reads the contents of large objects in order, in pieces.

use futures_util::StreamExt;

use super::error::ProtocolError;
use super::session::{Rows, Session};

/// Maximum size of a piece in bytes. pg_dump reads and writes pieces of the same size.
pub const PIECE_SIZE: i32 = 16384;

/// A piece of a large object's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LargeObjectPiece {
    /// The large object.
    pub oid: u32,
    /// Whether this is the object's first piece. An empty large object has one piece without bytes.
    pub first: bool,
    /// The bytes. All pieces of an object except the last have the maximum size.
    pub data: Vec<u8>,
}

/// Reads the contents of large objects in the order of their OIDs.
pub struct LargeObjectReader {
    rows: Rows,
}

/// Reads the objects with one query. The server produces a row only on request, so neither side holds more
/// than a few pieces.
///
/// Only seeking in an open object returns its length. The object is closed in the same row, before its pieces
/// are read. 262144 is INV_READ, 2 is SEEK_END. The server evaluates a target list from left to right, and
/// OFFSET 0 prevents the subqueries from being merged.
const CONTENTS: &str = "
SELECT piece.oid,
       piece.position,
       pg_catalog.lo_get(piece.oid, piece.position, $1::int4)
  FROM (SELECT sized.oid,
               pg_catalog.generate_series(0::int8, GREATEST(sized.length - 1, 0), $1::int4::int8) AS position
          FROM (SELECT opened.oid,
                       pg_catalog.lo_lseek64(opened.fd, 0, 2) AS length,
                       pg_catalog.lo_close(opened.fd) AS closed
                  FROM (SELECT m.oid,
                               pg_catalog.lo_open(m.oid, 262144) AS fd
                          FROM pg_catalog.pg_largeobject_metadata m
                         WHERE $2::oid[] IS NULL OR m.oid = ANY ($2::oid[])
                         ORDER BY m.oid
                        OFFSET 0) opened
                OFFSET 0) sized
        OFFSET 0) piece";

impl LargeObjectReader {
    /// Starts reading these objects, or all, with the snapshot of the session's transaction.
    pub async fn open(session: &Session, oids: Option<&[u32]>) -> Result<Self, ProtocolError> {
        let rows = session
            .query_stream(CONTENTS, &[&PIECE_SIZE, &oids])
            .await
            .map_err(|e| e.during("reading large objects"))?;
        Ok(LargeObjectReader { rows })
    }

    /// Returns the next piece, or `None` after the last object.
    pub async fn next(&mut self) -> Result<Option<LargeObjectPiece>, ProtocolError> {
        let Some(row) = self.rows.next().await else { return Ok(None) };
        let row = row.map_err(|e| e.during("reading large objects"))?;
        let bad = |_| ProtocolError::Unexpected("a large object's piece could not be read".to_owned());
        let position: i64 = row.try_get(1).map_err(bad)?;
        Ok(Some(LargeObjectPiece {
            oid: row.try_get(0).map_err(bad)?,
            first: position == 0,
            data: row.try_get(2).map_err(bad)?,
        }))
    }
}
