//! A dump's bytes on their way back: ranges of the object, fetched ahead in order, unpacked off the
//! runtime's threads.
//!
//! Memory: `(ahead + 2) × piece` packed bytes, one more piece where they are [encrypted](super::object), and eight pieces of 256 KiB of text or, of members, as much as [`unpack`]
//! allows.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::object::{Fetched, Object, Unsealer};
use super::unpack::{self, Unpacker};
use crate::archive::encryption::{self, Identities, SealError};
use crate::archive::key::Packing;
use crate::archive::toc_file::{RawSpan, TocFile};
use crate::storage::StoreError;

/// Text that is handed over at once.
const TEXT_PIECE: usize = 256 << 10;

/// How an object is fetched.
#[derive(Clone, Copy, Debug)]
pub struct DownloadOptions {
    /// Bytes that are asked for in one request.
    pub piece: u64,
    /// Requests under way at once.
    pub ahead: usize,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        DownloadOptions { piece: 4 << 20, ahead: 3 }
    }
}

/// Why a dump could not be read back.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object does not unpack: it is damaged, or its end is missing.
    #[error("{object} does not unpack")]
    Unpack {
        /// The object's address.
        object: String,
        /// What the decompressor said.
        source: io::Error,
    },
    /// The object is encrypted and does not open.
    #[error("{object} does not open")]
    Sealed {
        /// The object's address.
        object: String,
        /// Why not.
        source: SealError,
    },
    /// The table of contents points outside of what the object holds.
    #[error("{object} does not hold what its table of contents says")]
    Misplaced {
        /// The object's address.
        object: String,
    },
}

/// The text of whole members of a dump, in order, a piece at a time. Dropping it ends the reading.
#[derive(Debug)]
pub struct TextStream {
    text: mpsc::Receiver<Result<Bytes, DownloadError>>,
}

impl TextStream {
    /// Starts to read `range` of an object, which must begin and end where members do: for the whole
    /// dump `0..size`. To be called within a tokio runtime.
    pub fn open(
        object: &Object,
        packing: Packing,
        range: Range<u64>,
        options: DownloadOptions,
    ) -> TextStream {
        let name = object.url();
        let (text_sender, text) = mpsc::channel(8);
        let packed = Packed::open(object, range, options);
        tokio::task::spawn_blocking(move || {
            let result = decoder(packing, packed).and_then(|reader| hand_over(reader, &text_sender));
            tell(result, name, &text_sender);
        });
        TextStream { text }
    }

    /// Starts to read stretches of a backup's dump, each of which begins and ends where members do or goes on where
    /// the one before ended. Each member must unpack to as much text as the table of contents says: members that
    /// are not at their places unpack well, too. To be called within a tokio runtime.
    pub fn of_members(
        object: &Object,
        toc: Arc<TocFile>,
        ranges: impl Iterator<Item = Range<u64>> + Send + 'static,
        ahead: usize,
    ) -> TextStream {
        let name = object.url();
        let (text_sender, text) = mpsc::channel(unpack::BUFFERS - 2);
        let packed = Packed::of_ranges(object, ranges, ahead);
        tokio::task::spawn_blocking(move || {
            let result = hand_over_members(packed, &toc, &text_sender);
            tell(result, name, &text_sender);
        });
        TextStream { text }
    }

    /// Starts to read text that is packed, and encrypted or not, in whatever way its first bytes show. `name` is what it
    /// is called in messages. Packed bytes are added to `read` as they are taken. To be called within a tokio runtime.
    pub fn of_reader(
        name: String,
        packed: impl Read + Send + 'static,
        identities: Option<Identities>,
        read: Arc<AtomicU64>,
    ) -> TextStream {
        let (text_sender, text) = mpsc::channel(8);
        let packed = Counted { packed, read };
        tokio::task::spawn_blocking(move || {
            let result =
                recognized(packed, identities.as_ref()).and_then(|reader| hand_over(reader, &text_sender));
            tell(result, name, &text_sender);
        });
        TextStream { text }
    }

    /// The next piece, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        self.text.recv().await.transpose()
    }
}

/// A stretch in pieces of that many bytes.
pub fn pieces(range: Range<u64>, piece: u64) -> impl Iterator<Item = Range<u64>> + Send + 'static {
    let (piece, end) = (piece.max(1), range.end);
    let starts = range.step_by(usize::try_from(piece).unwrap_or(usize::MAX));
    starts.map(move |start| start..end.min(start + piece))
}

/// Fetches stretches in order and some of them ahead.
async fn fetch(
    object: Object,
    ranges: impl Iterator<Item = Range<u64>>,
    ahead: usize,
    packed: mpsc::Sender<Result<Fetched, StoreError>>,
) {
    let requests = stream::iter(object.requests(ranges));
    let mut pieces = requests.map(|request| object.fetch(request)).buffered(ahead.max(1));
    while let Some(piece) = pieces.next().await {
        let failed = piece.is_err();
        // Nobody reads on after an end or an error.
        if packed.send(piece).await.is_err() || failed {
            return;
        }
    }
}

/// A stretch of an object's bytes, fetched ahead, for a thread that may block. A store's failure comes as the
/// [`StoreError`] within an I/O error, and damage to what is encrypted as a [`SealError`].
#[derive(Debug)]
pub struct Packed {
    pieces: mpsc::Receiver<Result<Fetched, StoreError>>,
    unsealer: Unsealer,
    current: Bytes,
    /// Where `current` begins in the object.
    offset: u64,
}

impl Packed {
    /// Starts to fetch. To be called within a tokio runtime.
    pub fn open(object: &Object, range: Range<u64>, options: DownloadOptions) -> Packed {
        Packed::of_ranges(object, pieces(range, options.piece), options.ahead)
    }

    fn of_ranges(
        object: &Object,
        ranges: impl Iterator<Item = Range<u64>> + Send + 'static,
        ahead: usize,
    ) -> Packed {
        let (sender, pieces) = mpsc::channel(1);
        let unsealer = Unsealer::of(object);
        tokio::spawn(fetch(object.clone(), ranges, ahead, sender));
        Packed { pieces, unsealer, current: Bytes::new(), offset: 0 }
    }

    /// Waits for a byte; where it lies in the object, or `None` at the end.
    fn next_offset(&mut self) -> io::Result<Option<u64>> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(None),
                Some(piece) => {
                    (self.offset, self.current) = self.unsealer.unseal(piece.map_err(io::Error::other)?)?;
                }
            }
        }
        Ok(Some(self.offset))
    }

    /// The next bytes in one piece, fewer if the end comes first. Only what lies in several pieces is copied.
    fn take_whole(&mut self, length: u64) -> io::Result<Bytes> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.next_offset()?;
        if self.current.len() >= length {
            self.offset += length as u64;
            return Ok(self.current.split_to(length));
        }
        let mut whole = Vec::with_capacity(length);
        self.take(length as u64).read_to_end(&mut whole)?;
        Ok(whole.into())
    }
}

impl Read for Packed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next_offset()?;
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        self.offset += length as u64;
        Ok(length)
    }
}

/// What unpacks whole members, one after the other.
pub fn decoder<'a>(packing: Packing, packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match packing {
        Packing::Plain => Box::new(packed),
        Packing::Gzip => {
            let buffered = io::BufReader::with_capacity(TEXT_PIECE, packed);
            Box::new(flate2::bufread::MultiGzDecoder::new(buffered))
        }
        Packing::Zstd => Box::new(zstd::stream::read::Decoder::new(packed)?),
    })
}

/// Recognizes how a file is packed by its first bytes: RFC 1952, section 2.3.1, and RFC 8878, sections 3.1.1
/// and 3.1.2. What is neither is not packed. All of that may be encrypted with age.
fn recognized<'a>(
    mut packed: impl Read + 'a,
    identities: Option<&Identities>,
) -> io::Result<Box<dyn Read + 'a>> {
    let mut first = Vec::with_capacity(encryption::MAGIC.len());
    packed.by_ref().take(encryption::MAGIC.len() as u64).read_to_end(&mut first)?;
    if first == encryption::MAGIC {
        let sealed = io::BufReader::with_capacity(TEXT_PIECE, Read::chain(io::Cursor::new(first), packed));
        let opened = encryption::reader(sealed, identities).map_err(|error| match error {
            SealError::Read(error) => error,
            error => io::Error::other(error),
        })?;
        return recognized_packing(opened);
    }
    recognized_packing(Read::chain(io::Cursor::new(first), packed))
}

fn recognized_packing<'a>(mut packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut first = Vec::with_capacity(4);
    packed.by_ref().take(4).read_to_end(&mut first)?;
    let packing = match first.as_slice() {
        [0x1f, 0x8b, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => Packing::Zstd,
        _ => Packing::Plain,
    };
    decoder(packing, Read::chain(io::Cursor::new(first), packed))
}

/// Counts the bytes that are read.
struct Counted<R> {
    packed: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.packed.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// Hands over all text, and says how much it was. It ends early when nobody wants more.
fn hand_over(
    mut reader: Box<dyn Read + '_>,
    text: &mpsc::Sender<Result<Bytes, DownloadError>>,
) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let mut piece = Vec::with_capacity(TEXT_PIECE);
        reader.by_ref().take(TEXT_PIECE as u64).read_to_end(&mut piece)?;
        length += piece.len() as u64;
        if piece.is_empty() || text.blocking_send(Ok(piece.into())).is_err() {
            return Ok(length);
        }
    }
}

/// Hands over the text of members, one after the other.
fn hand_over_members(
    mut packed: Packed,
    toc: &TocFile,
    text: &mpsc::Sender<Result<Bytes, DownloadError>>,
) -> io::Result<()> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let packing = Packing::from(toc.compression);
    let mut unpacker = Unpacker::new(packing)?;
    while let Some(offset) = packed.next_offset()?
        && !text.is_closed()
    {
        let found = toc.members.binary_search_by_key(&offset, |member| member.object_offset);
        let member = found.ok().and_then(|index| toc.members.get(index));
        let member = member.ok_or_else(|| wrong(format!("no member begins at byte {offset}")))?;
        let length = if Unpacker::takes(member) {
            let unpacked = packed.take_whole(member.object_length)?;
            let unpacked = unpacker.unpack(member, unpacked)?;
            let length = unpacked.len() as u64;
            if length == member.raw_length && length > 0 {
                // Nobody may want it any more.
                let _ = text.blocking_send(Ok(unpacked));
            }
            length
        } else {
            let mut rest = packed.by_ref().take(member.object_length);
            let length = hand_over(decoder(packing, &mut rest)?, text)?;
            // The next one begins where the table of contents says.
            io::copy(&mut rest, &mut io::sink())?;
            length
        };
        if length != member.raw_length && !text.is_closed() {
            let expected = member.raw_length;
            return Err(wrong(format!(
                "the member at byte {offset} unpacks to {length} bytes instead of {expected}"
            )));
        }
    }
    Ok(())
}

fn tell<T>(result: io::Result<T>, object: String, text: &mpsc::Sender<Result<Bytes, DownloadError>>) {
    let Err(error) = result else { return };
    // A failure of the store comes through the decompressor as it is, and so does one of decryption.
    let error = match error.downcast::<StoreError>().map_err(io::Error::downcast::<SealError>) {
        Ok(error) => DownloadError::Store(error),
        Err(Ok(source)) => DownloadError::Sealed { object, source },
        Err(Err(source)) => DownloadError::Unpack { object, source },
    };
    let _ = text.blocking_send(Err(error));
}

/// Fetches a stretch of a dump's text, and only the members that hold it.
pub async fn fetch_text(object: &Object, toc: &TocFile, raw: RawSpan) -> Result<Vec<u8>, DownloadError> {
    let misplaced = || DownloadError::Misplaced { object: object.url() };
    let members = toc.members_of(raw);
    let (Some(first), Some(last)) = (members.first(), members.last()) else {
        return if raw.length == 0 { Ok(Vec::new()) } else { Err(misplaced()) };
    };
    let range = first.object_offset..last.object_offset + last.object_length;
    let packing = Packing::from(toc.compression);
    let mut stream = TextStream::open(object, packing, range, DownloadOptions::default());
    let mut text = Vec::new();
    let mut skip = raw.offset - first.raw_offset;
    while let Some(mut piece) = stream.next().await? {
        let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
        skip -= skipped as u64;
        piece.advance(skipped);
        let missing = raw.length - text.len() as u64;
        text.extend_from_slice(&piece[..usize::try_from(missing).unwrap_or(usize::MAX).min(piece.len())]);
    }
    if text.len() as u64 == raw.length { Ok(text) } else { Err(misplaced()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::compression::Compression;
    use crate::archive::toc::DumpId;
    use crate::pipeline::{DumpWriter, PipelineOptions, RowFormat, Sink, UploadOptions};
    use crate::storage::Store;
    use crate::storage::memory::MemoryStore;

    const KEY: &str = "k";

    /// A dump in a store: its text, its table of contents, and how it is read.
    async fn dump(store: &Arc<dyn Store>, compression: &str, encrypted: bool) -> (Vec<u8>, TocFile, Object) {
        let compression: Compression = compression.parse().unwrap();
        let (recipients, identities) = encryption::tests::key();
        let recipients = Some(recipients).filter(|_| encrypted);
        let options =
            PipelineOptions { compression, recipients, chunk_size: 2000, ..PipelineOptions::default() };
        let sink = Sink::store(Arc::clone(store), KEY, "text/plain", UploadOptions::default());
        let mut writer = DumpWriter::start(sink, options).unwrap();
        let mut sql = b"-- head\n".to_vec();
        writer.text(None, &sql).await.unwrap();
        writer.begin_data(DumpId(1), RowFormat::Copy).await.unwrap();
        for row in 0..5000 {
            let row = format!("{row}\trow {row}\n");
            sql.extend_from_slice(row.as_bytes());
            writer.row(row.into()).await.unwrap();
        }
        writer.end_data().await.unwrap();
        sql.extend_from_slice(b"\\.\n");
        writer.text(Some(DumpId(1)), b"\\.\n").await.unwrap();
        let done = writer.finish().await.unwrap();
        done.pending.complete().await.unwrap();
        let mut object = Object::stored(Arc::clone(store), KEY.to_owned());
        if let Some(header_size) = done.header_size {
            object = object.open(done.size, header_size, Some(&identities)).await.unwrap();
        }
        let places = done.layout.into_places();
        let toc = TocFile::new(
            "k".into(),
            compression,
            done.packed_size,
            done.raw_size,
            &places,
            vec![],
            std::iter::empty,
        );
        (sql, TocFile::from_gzip(&toc.to_gzip().unwrap()).unwrap(), object)
    }

    async fn read(object: &Object, toc: &TocFile, end: u64) -> Result<Vec<u8>, DownloadError> {
        let options = DownloadOptions { piece: 700, ahead: 3 };
        let packing = Packing::from(toc.compression);
        let mut stream = TextStream::open(object, packing, 0..end, options);
        let mut text = Vec::new();
        while let Some(piece) = stream.next().await? {
            text.extend_from_slice(&piece);
        }
        Ok(text)
    }

    #[tokio::test]
    async fn a_dump_reads_back_whole_and_in_stretches() {
        for (compression, encrypted) in [
            ("gzip", false),
            ("zstd", false),
            ("none", false),
            ("gzip", true),
            ("zstd", true),
            ("none", true),
        ] {
            let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
            let (sql, toc, object) = dump(&store, compression, encrypted).await;
            assert_eq!(read(&object, &toc, toc.size).await.unwrap(), sql, "{compression}");
            let ranges =
                pieces(0..toc.members.last().map(|m| m.object_offset + m.object_length).unwrap(), 700);
            let mut members = TextStream::of_members(&object, Arc::new(toc.clone()), ranges, 3);
            let mut text = Vec::new();
            while let Some(piece) = members.next().await.unwrap() {
                text.extend_from_slice(&piece);
            }
            assert!(text == sql, "{compression} by members");
            for (offset, length) in [(0, 8), (8, 1), (5000, 20_000), (sql.len() - 3, 3), (100, 0)] {
                let raw = RawSpan { offset: offset as u64, length: length as u64 };
                let text = fetch_text(&object, &toc, raw).await.unwrap();
                assert_eq!(text, sql[offset..offset + length]);
            }
            let beyond = RawSpan { offset: sql.len() as u64 - 1, length: 2 };
            let error = fetch_text(&object, &toc, beyond).await.unwrap_err();
            assert!(matches!(error, DownloadError::Misplaced { .. }), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_truncated_or_missing_object_is_noticed() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (_, toc, object) = dump(&store, "gzip", false).await;
        let error = read(&object, &toc, toc.size - 5).await.unwrap_err();
        assert_eq!(error.to_string(), "memory://k does not unpack");
        let error = read(&object, &toc, toc.size + 1000).await.unwrap_err();
        assert!(matches!(error, DownloadError::Store(_)), "{error:?}");
    }

    #[tokio::test]
    async fn damage_to_an_encrypted_object_is_told_as_such() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (_, toc, object) = dump(&store, "none", true).await;
        let mut bytes = store.get(KEY, u64::MAX).await.unwrap().to_vec();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        store.put(KEY, bytes.into(), "text/plain").await.unwrap();
        let error = read(&object, &toc, toc.size).await.unwrap_err();
        assert!(matches!(error, DownloadError::Sealed { source: SealError::Chunk { .. }, .. }), "{error:?}");
    }

    #[tokio::test]
    async fn an_encrypted_file_is_recognized_whatever_is_in_it() {
        let (recipients, identities) = encryption::tests::key();
        let gzip = {
            use std::io::Write;
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            packed.write_all(b"SELECT 1;").unwrap();
            packed.finish().unwrap()
        };
        for content in [gzip, b"SELECT 1;".to_vec()] {
            let sealed = recipients.seal(&content).unwrap();
            let stream = |identities| {
                TextStream::of_reader("f".into(), io::Cursor::new(sealed.clone()), identities, Arc::default())
            };
            let text = stream(Some(identities.clone())).next().await.unwrap();
            assert_eq!(text.as_deref(), Some(&b"SELECT 1;"[..]));
            let error = stream(None).next().await.unwrap_err();
            assert!(
                matches!(error, DownloadError::Sealed { source: SealError::NoIdentity, .. }),
                "{error:?}"
            );
        }
    }
}
