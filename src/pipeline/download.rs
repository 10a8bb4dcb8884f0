//! Reads a dump back: fetches ranges of the object ahead, in order, and decompresses them outside the
//! runtime's threads.
//!
//! Memory: `(ahead + 2) × piece` stored bytes, one more piece if they are [encrypted](super::object), and
//! either eight pieces of 256 KiB of text or, for members, as much as [`unpack`] allows.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Buf, Bytes};
use futures_util::{StreamExt, stream};
use tokio::sync::mpsc;

use super::digest::{TextDigest, text_checksum};
use super::object::{Fetched, Object, Unsealer};
use super::unpack::{self, Unpacker};
use crate::archive::encryption::{self, Identities, SealError};
use crate::archive::key::Packing;
use crate::archive::toc_file::{RawSpan, TocFile};
use crate::storage::StoreError;

/// Maximum size of one piece of text.
const TEXT_PIECE: usize = 256 << 10;

/// How to fetch an object.
#[derive(Clone, Copy, Debug)]
pub struct DownloadOptions {
    /// Number of bytes per request.
    pub piece: u64,
    /// Number of concurrent requests.
    pub ahead: usize,
}

impl Default for DownloadOptions {
    fn default() -> Self {
        DownloadOptions { piece: 4 << 20, ahead: 3 }
    }
}

/// An error in reading a dump back.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The object cannot be decompressed: it is damaged or truncated.
    #[error("{object} cannot be decompressed")]
    Unpack {
        /// The object's URL.
        object: String,
        /// The decompressor's error.
        source: io::Error,
    },
    /// The object is encrypted and cannot be decrypted.
    #[error("{object} cannot be decrypted")]
    Sealed {
        /// The object's URL.
        object: String,
        /// The cause.
        source: SealError,
    },
    /// The table of contents refers to bytes that the object does not have.
    #[error("{object} does not match its table of contents")]
    Misplaced {
        /// The object's URL.
        object: String,
    },
}

/// A stream of the text of whole members, in order. Dropping it stops the download.
#[derive(Debug)]
pub struct TextStream {
    text: mpsc::Receiver<Result<Bytes, DownloadError>>,
}

impl TextStream {
    /// Starts to read ranges of a backup's dump. Each range begins and ends at a member boundary, or
    /// continues the previous range. Each member must decompress to exactly the length that the table of
    /// contents states and have the checksum stated there, because a member at the wrong position
    /// decompresses without an error. Never decompresses more than that length. Must be called within a tokio
    /// runtime.
    pub fn of_members(
        object: &Object,
        toc: Arc<TocFile>,
        ranges: impl Iterator<Item = Range<u64>> + Send + 'static,
        ahead: usize,
    ) -> TextStream {
        let name = object.url();
        let (text_sender, text) = mpsc::channel(unpack::BUFFERS - 2);
        let packed = FetchedRange::of_ranges(object, ranges, ahead);
        tokio::task::spawn_blocking(move || {
            let result = hand_over_members(packed, &toc, &text_sender);
            forward_error(result, name, &text_sender);
        });
        TextStream { text }
    }

    /// Starts to read text and detects its compression and encryption from its first bytes. Messages refer to
    /// it as `name`. Adds the number of stored bytes to `read` as they are consumed. Must be called within a
    /// tokio runtime.
    pub fn of_reader(
        name: String,
        packed: impl Read + Send + 'static,
        identities: Option<Identities>,
        read: Arc<AtomicU64>,
    ) -> TextStream {
        let (text_sender, text) = mpsc::channel(8);
        let packed = CountingReader { packed, read };
        tokio::task::spawn_blocking(move || {
            let result = recognized(packed, identities.as_ref())
                .and_then(|reader| hand_over(reader, None, &text_sender));
            forward_error(result, name, &text_sender);
        });
        TextStream { text }
    }

    /// Returns the next piece, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        self.text.recv().await.transpose()
    }
}

/// Splits a range into pieces of at most `piece` bytes.
pub fn pieces(range: Range<u64>, piece: u64) -> impl Iterator<Item = Range<u64>> + Send + 'static {
    let (piece, end) = (piece.max(1), range.end);
    let starts = range.step_by(usize::try_from(piece).unwrap_or(usize::MAX));
    starts.map(move |start| start..end.min(start + piece))
}

/// Fetches ranges in order, up to `ahead` of them concurrently.
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
        // The receiver stops after the end or an error.
        if packed.send(piece).await.is_err() || failed {
            return;
        }
    }
}

/// A range of an object's bytes, fetched ahead, for a thread that may block. A failure of the store is
/// returned as a [`StoreError`] within an I/O error, and damage to encrypted data as a [`SealError`].
#[derive(Debug)]
pub struct FetchedRange {
    pieces: mpsc::Receiver<Result<Fetched, StoreError>>,
    unsealer: Unsealer,
    current: Bytes,
    /// Offset of `current` in the object.
    offset: u64,
}

impl FetchedRange {
    /// Starts to fetch. Must be called within a tokio runtime.
    pub fn open(object: &Object, range: Range<u64>, options: DownloadOptions) -> FetchedRange {
        FetchedRange::of_ranges(object, pieces(range, options.piece), options.ahead)
    }

    fn of_ranges(
        object: &Object,
        ranges: impl Iterator<Item = Range<u64>> + Send + 'static,
        ahead: usize,
    ) -> FetchedRange {
        let (sender, pieces) = mpsc::channel(1);
        let unsealer = Unsealer::of(object);
        tokio::spawn(fetch(object.clone(), ranges, ahead, sender));
        FetchedRange { pieces, unsealer, current: Bytes::new(), offset: 0 }
    }

    /// Waits for the next byte and returns its offset in the object, or `None` at the end.
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

    /// Returns the next `length` bytes as one buffer, or fewer at the end. Copies them only if they span
    /// several pieces.
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

impl Read for FetchedRange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.next_offset()?;
        let length = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..length]);
        self.offset += length as u64;
        Ok(length)
    }
}

/// Returns a reader that decompresses consecutive whole members.
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

/// Detects a file's compression from its first bytes (RFC 1952, section 2.3.1, and RFC 8878, sections 3.1.1
/// and 3.1.2). A file that is neither gzip nor zstd is uncompressed. Any of them may be encrypted with age.
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
    let packed = Read::chain(io::Cursor::new(first), packed);
    match packing {
        Packing::Gzip => {
            Ok(Box::new(unpack::GzipFile::new(io::BufReader::with_capacity(TEXT_PIECE, packed))))
        }
        Packing::Plain | Packing::Zstd => decoder(packing, packed),
    }
}

/// Counts the bytes read.
struct CountingReader<R> {
    packed: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.packed.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// Sends all text and returns its length. Returns early if the receiver has been dropped.
fn hand_over(
    mut reader: impl Read,
    mut digest: Option<&mut TextDigest>,
    text: &mpsc::Sender<Result<Bytes, DownloadError>>,
) -> io::Result<u64> {
    let mut length = 0;
    loop {
        let mut piece = Vec::with_capacity(TEXT_PIECE);
        reader.by_ref().take(TEXT_PIECE as u64).read_to_end(&mut piece)?;
        length += piece.len() as u64;
        if let Some(digest) = &mut digest {
            digest.update(&piece);
        }
        if piece.is_empty() || text.blocking_send(Ok(piece.into())).is_err() {
            return Ok(length);
        }
    }
}

/// Sends the text of consecutive members.
fn hand_over_members(
    mut packed: FetchedRange,
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
        let found = found.ok().and_then(|index| Some((toc.members.get(index)?, toc.checksums.get(index))));
        let (member, checksum) = found.ok_or_else(|| wrong(format!("no member begins at byte {offset}")))?;
        let (expected, differs) =
            (member.raw_length, |sum: u32| checksum.is_some_and(|checksum| *checksum != sum));
        let other_length = |length: u64| {
            wrong(format!("the member at byte {offset} decompresses to {length} bytes instead of {expected}"))
        };
        let other_checksum = || {
            wrong(format!("the member at byte {offset} has a CRC-32 that differs from the table of contents"))
        };
        if Unpacker::takes(member) {
            let unpacked = unpacker.unpack(member, packed.take_whole(member.object_length)?)?;
            if unpacked.len() as u64 != expected {
                return Err(other_length(unpacked.len() as u64));
            }
            if checksum.is_some() && differs(text_checksum(&unpacked)) {
                return Err(other_checksum());
            }
            if !unpacked.is_empty() {
                // The receiver may have been dropped.
                let _ = text.blocking_send(Ok(unpacked));
            }
            continue;
        }
        let mut rest = packed.by_ref().take(member.object_length);
        let mut digest = checksum.map(|_| TextDigest::default());
        let mut reader = decoder(packing, &mut rest)?;
        let length = hand_over(reader.by_ref().take(expected), digest.as_mut(), text)?;
        if text.is_closed() {
            return Ok(());
        }
        // At the end of its input, a decompressor verifies its own checksum.
        if length != expected {
            return Err(other_length(length));
        }
        if reader.take(1).read_to_end(&mut Vec::new())? > 0 {
            return Err(wrong(format!(
                "the member at byte {offset} decompresses to more than {expected} bytes"
            )));
        }
        if digest.is_some_and(|digest| differs(digest.finish())) {
            return Err(other_checksum());
        }
        // The next member begins at the offset that the table of contents states.
        io::copy(&mut rest, &mut io::sink())?;
    }
    Ok(())
}

fn forward_error<T>(
    result: io::Result<T>,
    object: String,
    text: &mpsc::Sender<Result<Bytes, DownloadError>>,
) {
    let Err(error) = result else { return };
    // The decompressor passes on an error of the store or of decryption unchanged.
    let error = match error.downcast::<StoreError>().map_err(io::Error::downcast::<SealError>) {
        Ok(error) => DownloadError::Store(error),
        Err(Ok(source)) => DownloadError::Sealed { object, source },
        Err(Err(source)) => DownloadError::Unpack { object, source },
    };
    let _ = text.blocking_send(Err(error));
}

/// Fetches a range of a dump's text. Downloads only the members that contain it.
pub async fn fetch_text(object: &Object, toc: &Arc<TocFile>, raw: RawSpan) -> Result<Vec<u8>, DownloadError> {
    let misplaced = || DownloadError::Misplaced { object: object.url() };
    let members = toc.members_of(raw);
    let (Some(first), Some(last)) = (members.first(), members.last()) else {
        return if raw.length == 0 { Ok(Vec::new()) } else { Err(misplaced()) };
    };
    let DownloadOptions { piece, ahead } = DownloadOptions::default();
    let ranges = pieces(first.object_offset..last.object_end(), piece);
    let mut stream = TextStream::of_members(object, Arc::clone(toc), ranges, ahead);
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
    use crate::archive::toc_file::Member;
    use crate::archive::toc_reader::TocLimit;
    use crate::pipeline::{DumpWriter, PipelineOptions, RowFormat, Sink, UploadOptions};
    use crate::storage::Store;
    use crate::storage::memory::MemoryStore;

    const KEY: &str = "k";

    /// A dump in a store: its text, its table of contents and its download options.
    async fn dump(
        store: &Arc<dyn Store>,
        compression: &str,
        encrypted: bool,
    ) -> (Vec<u8>, Arc<TocFile>, Object) {
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
        let places = done.layout.into_index();
        let toc = TocFile::new(
            "k".into(),
            compression,
            done.packed_size,
            done.raw_size,
            &places,
            vec![],
            std::iter::empty,
        );
        let toc = TocFile::from_gzip(&toc.to_gzip().unwrap().0, TocLimit::default()).unwrap();
        (sql, Arc::new(toc), object)
    }

    async fn read(object: &Object, toc: &Arc<TocFile>, end: u64) -> Result<Vec<u8>, DownloadError> {
        let mut stream = TextStream::of_members(object, Arc::clone(toc), pieces(0..end, 700), 3);
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
            let end = toc.members.last().unwrap().object_end();
            assert!(read(&object, &toc, end).await.unwrap() == sql, "{compression}");
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
        assert_eq!(error.to_string(), "memory://k cannot be decompressed");
        let error = read(&object, &toc, toc.size + 1000).await.unwrap_err();
        assert!(matches!(error, DownloadError::Store(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_flipped_bit_anywhere_and_text_beyond_the_promised_are_errors() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (sql, toc, object) = dump(&store, "none", false).await;
        assert_eq!(toc.checksums.len(), toc.members.len());
        // A member too large to be decompressed in one call is read as a stream.
        let mut large = sql.clone();
        large.resize(5 << 20, b' ');
        let member = Member::from([0, large.len() as u64, 0, large.len() as u64, 5000]);
        let checksums = vec![text_checksum(&large)];
        let (size, members) = (large.len() as u64, vec![member]);
        let one = Arc::new(TocFile { checksums, size, raw_size: size, members, ..TocFile::clone(&toc) });
        for (toc, bytes) in [(&toc, sql), (&one, large)] {
            let put = async |bytes: Vec<u8>| store.put(KEY, bytes.into(), "text/plain").await.unwrap();
            put(bytes.clone()).await;
            read(&object, toc, toc.size).await.unwrap();
            for at in (0..bytes.len()).step_by(bytes.len() / 20).chain([bytes.len() - 1]) {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                put(flipped).await;
                let error = read(&object, toc, toc.size).await.unwrap_err();
                let cause = std::error::Error::source(&error).unwrap().to_string();
                assert!(
                    cause.ends_with("has a CRC-32 that differs from the table of contents"),
                    "{at}: {cause}"
                );
                // A backup without checksums can still be read.
                let older = Arc::new(TocFile { checksums: Vec::new(), ..TocFile::clone(toc) });
                read(&object, &older, toc.size).await.unwrap();
            }
        }
    }

    #[tokio::test]
    async fn no_more_is_unpacked_than_the_table_of_contents_says() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (_, toc, object) = dump(&store, "none", false).await;
        for packing in ["gzip", "zstd"] {
            let bomb = io::repeat(b' ').take(200 << 20);
            let packed = match packing {
                "gzip" => {
                    let mut packed =
                        flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                    io::copy(&mut { bomb }, &mut packed).unwrap();
                    packed.finish().unwrap()
                }
                _ => zstd::encode_all(bomb, 3).unwrap(),
            };
            let size = packed.len() as u64;
            store.put(KEY, packed.into(), "text/plain").await.unwrap();
            for promised in [100, 5 << 20] {
                let toc = TocFile {
                    compression: packing.parse().unwrap(),
                    checksums: Vec::new(),
                    members: vec![Member::from([0, size, 0, promised, 0])],
                    size,
                    raw_size: promised,
                    ..TocFile::clone(&toc)
                };
                let raw = RawSpan { offset: 0, length: 10 };
                let error = fetch_text(&object, &Arc::new(toc), raw).await.unwrap_err();
                let cause = std::error::Error::source(&error).unwrap().to_string();
                let told = ["decompresses to more than 5242880 bytes", "bytes instead of 100"];
                assert!(told.iter().any(|told| cause.contains(told)), "{cause}");
            }
        }
    }

    #[tokio::test]
    async fn damage_to_an_encrypted_object_is_reported_as_such() {
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
    async fn an_encrypted_file_is_recognized_with_any_content() {
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
