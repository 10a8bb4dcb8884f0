//! Copies an entry's data from the server into the pipeline: rows by COPY, rows as INSERT statements, and
//! large objects.

use bytes::Bytes;

use super::reading::Prefetcher;
use crate::archive::toc::{DumpId, EntryData, InsertData};
use crate::pipeline::{DumpWriter, PipelineError, RowFormat};
use crate::protocol::buffers::{Buffer, BufferPool};
use crate::protocol::large_object::LargeObjectReader;
use crate::protocol::{ProtocolError, Session};
use crate::sql::ident::Quoting;
use crate::sql::inserts::InsertWriter;
use crate::sql::large_object_script as large_object;

/// The size in bytes at which collected statements are passed on.
const BLOCK: usize = 256 * 1024;

/// The number of unused blocks that are kept for reuse.
const IDLE_BLOCKS: usize = 3;

/// Why an entry's data could not be copied.
#[derive(Debug)]
pub(super) enum DataError {
    /// It could not be read from the server.
    Read(ProtocolError),
    /// It could not be written.
    Pipeline(PipelineError),
    /// A worker's task panicked.
    WorkerDied,
    /// The server ended a COPY without an error, but rows are missing or surplus.
    Incomplete,
}

impl From<ProtocolError> for DataError {
    fn from(error: ProtocolError) -> Self {
        DataError::Read(error)
    }
}

impl From<PipelineError> for DataError {
    fn from(error: PipelineError) -> Self {
        DataError::Pipeline(error)
    }
}

/// Writes the data of one entry, read by the leader.
pub(super) async fn write(
    session: &Session,
    entry: DumpId,
    data: &EntryData,
    quoting: &Quoting,
    writer: &mut DumpWriter,
) -> Result<(), DataError> {
    match data {
        EntryData::Copy(data) => {
            writer.begin_data(entry, RowFormat::Copy).await?;
            reading_foreign(session, data.foreign, copy(session, &data.query, writer)).await?;
        }
        EntryData::Inserts(inserts) => {
            writer.begin_data(entry, RowFormat::Statements).await?;
            reading_foreign(session, inserts.foreign, insert(session, inserts, quoting, writer)).await?;
        }
        EntryData::LargeObjects(oids) => {
            writer.begin_data(entry, RowFormat::Statements).await?;
            large_objects(session, oids.as_deref(), quoting.standard_strings(), writer).await?;
        }
    }
    Ok(writer.end_data().await?)
}

/// Writes the data of one entry, read by the workers.
pub(super) async fn write_shares(
    ahead: &mut Prefetcher<'_>,
    entry: DumpId,
    shares: usize,
    writer: &mut DumpWriter,
) -> Result<(), DataError> {
    writer.begin_data(entry, RowFormat::Copy).await?;
    for _ in 0..shares {
        ahead.write_share(writer).await?;
    }
    Ok(writer.end_data().await?)
}

/// Runs `work`, and allows reads of foreign tables only if the entry is a foreign table itself. Otherwise a
/// view could make the dump connect to another server.
async fn reading_foreign(
    session: &Session,
    foreign: bool,
    work: impl Future<Output = Result<(), DataError>>,
) -> Result<(), DataError> {
    if foreign {
        session.restrict_relation_kinds(false).await?;
    }
    work.await?;
    if foreign {
        session.restrict_relation_kinds(true).await?;
    }
    Ok(())
}

async fn copy(session: &Session, query: &str, writer: &mut DumpWriter) -> Result<(), DataError> {
    let mut rows = session.copy_out(query).await?;
    while let Some(chunk) = rows.next_chunk().await? {
        writer.rows(Bytes::from(chunk.data), chunk.rows).await?;
    }
    Ok(())
}

async fn insert(
    session: &Session,
    data: &InsertData,
    quoting: &Quoting,
    writer: &mut DumpWriter,
) -> Result<(), DataError> {
    let mut rows = session.text_rows(&data.query).await?;
    let mut statements = InsertWriter::new(data, quoting);
    let mut block = Block::new();
    while let Some(row) = rows.next().await? {
        statements.row(row.iter(), &mut block.bytes);
        block.rows += 1;
        block.send_if_full(writer).await?;
    }
    statements.finish(&mut block.bytes);
    Ok(block.send(writer).await?)
}

async fn large_objects(
    session: &Session,
    oids: Option<&[u32]>,
    standard_strings: bool,
    writer: &mut DumpWriter,
) -> Result<(), DataError> {
    let mut worker = LargeObjectReader::open(session, oids).await?;
    let mut block = Block::new();
    let mut is_open = false;
    while let Some(piece) = worker.next().await? {
        if piece.first {
            if is_open {
                large_object::close(&mut block.bytes);
            }
            large_object::open(&mut block.bytes, piece.oid);
            is_open = true;
            block.rows += 1;
        }
        large_object::write(&mut block.bytes, &piece.data, standard_strings);
        block.send_if_full(writer).await?;
    }
    if is_open {
        large_object::close(&mut block.bytes);
    }
    Ok(block.send(writer).await?)
}

/// A block of collected statements.
struct Block {
    bytes: Buffer,
    rows: u64,
    buffers: BufferPool,
}

impl Block {
    fn new() -> Self {
        let buffers = BufferPool::new(IDLE_BLOCKS, 2 * BLOCK);
        Block { bytes: buffers.take(), rows: 0, buffers }
    }

    async fn send_if_full(&mut self, writer: &mut DumpWriter) -> Result<(), PipelineError> {
        if self.bytes.len() >= BLOCK { self.send(writer).await } else { Ok(()) }
    }

    async fn send(&mut self, writer: &mut DumpWriter) -> Result<(), PipelineError> {
        let bytes = std::mem::replace(&mut self.bytes, self.buffers.take());
        writer.rows(Bytes::from(bytes), std::mem::take(&mut self.rows)).await
    }
}
