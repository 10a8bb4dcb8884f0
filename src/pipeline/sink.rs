//! Where a dump's bytes go: standard output, a file, or a store. Whatever it is, nothing is
//! visible before it is completed, save on standard output, which cannot take anything back.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PipelineError;
use super::compress::PackedBytes;
use super::upload::{PartUploader, UploadOptions};
use crate::storage::local::Unfinished;
use crate::storage::{ContentType, ObjectSums, Store};

/// Where a dump goes.
#[derive(Debug)]
pub struct Sink(Kind);

#[derive(Debug)]
enum Kind {
    Writer(Writer),
    Store(Box<PartUploader>),
}

/// A blocking writer; it works on the runtime's threads for blocking work.
struct Writer {
    target: String,
    /// Absent while it works, and for good when the work was cancelled.
    out: Option<Box<dyn Write + Send>>,
    /// The file that becomes visible in the end.
    unfinished: Option<Arc<Unfinished>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Writes to the file without owning it.
struct SharedFile(Arc<Unfinished>);

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// Standard output.
    pub fn stdout() -> Sink {
        // A duplicate of the descriptor does without the line buffer of the standard library.
        use std::os::fd::AsFd;
        match io::stdout().as_fd().try_clone_to_owned() {
            Ok(descriptor) => Sink::writer("standard output", File::from(descriptor)),
            Err(_) => Sink::writer("standard output", io::stdout()),
        }
    }

    /// Any writer, named for messages.
    pub fn writer(target: impl Into<String>, out: impl Write + Send + 'static) -> Sink {
        Sink(Kind::Writer(Writer { target: target.into(), out: Some(Box::new(out)), unfinished: None }))
    }

    /// A file. It is written beside its final place and renamed when it is complete; a device or
    /// pipe is written directly. It is durable when it is complete, unless `sync` is off.
    pub fn file(path: &Path, sync: bool) -> Result<Sink, PipelineError> {
        let target = path.display().to_string();
        let failed = |source| PipelineError::Write { target: target.clone(), source };
        // Through a symbolic link the file is replaced that it points to.
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| PathBuf::from(path));
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => return Err(failed(io::ErrorKind::IsADirectory.into())),
            Ok(metadata) if !metadata.is_file() => {
                let file = File::options().write(true).open(&path).map_err(failed)?;
                return Ok(Sink::writer(target, file));
            }
            _ => {}
        }
        let unfinished = Unfinished::beside(&path)?;
        let unfinished = Arc::new(if sync { unfinished } else { unfinished.without_sync() });
        let out = Some(Box::new(SharedFile(Arc::clone(&unfinished))) as Box<dyn Write + Send>);
        Ok(Sink(Kind::Writer(Writer { target, out, unfinished: Some(unfinished) })))
    }

    /// An object in a store.
    pub fn store(
        store: Arc<dyn Store>,
        key: impl Into<String>,
        content_type: ContentType,
        options: UploadOptions,
    ) -> Sink {
        Sink(Kind::Store(Box::new(PartUploader::new(store, key.into(), content_type, options))))
    }

    pub(super) fn is_store(&self) -> bool {
        matches!(self.0, Kind::Store(_))
    }

    /// Takes the next bytes and gives their buffer back.
    pub(super) async fn write(&mut self, bytes: PackedBytes) -> Result<PackedBytes, PipelineError> {
        match &mut self.0 {
            Kind::Writer(writer) => writer.write(bytes).await,
            Kind::Store(uploader) => {
                uploader.write(bytes.as_ref()).await?;
                Ok(bytes)
            }
        }
    }

    /// Waits until everything has been taken.
    pub(super) async fn close(&mut self) -> Result<(), PipelineError> {
        match &mut self.0 {
            Kind::Writer(writer) => writer.close().await,
            Kind::Store(uploader) => Ok(uploader.close().await?),
        }
    }

    /// Leaves nothing behind, as far as that can be had.
    pub(super) async fn abort(&mut self) {
        match &mut self.0 {
            Kind::Writer(writer) => {
                writer.out = None;
                // Work that was cancelled may still hold the file.
                if let Some(unfinished) = writer.unfinished.take() {
                    unfinished.discard();
                }
            }
            Kind::Store(uploader) => uploader.abort().await,
        }
    }

    async fn complete(&mut self, sums: &ObjectSums) -> Result<(), PipelineError> {
        match &mut self.0 {
            Kind::Writer(writer) => writer.complete().await,
            Kind::Store(uploader) => Ok(uploader.complete(sums).await?),
        }
    }
}

impl Writer {
    async fn write(&mut self, bytes: PackedBytes) -> Result<PackedBytes, PipelineError> {
        self.blocking(move |out| out.write_all(bytes.as_ref()).map(|()| bytes)).await
    }

    async fn close(&mut self) -> Result<(), PipelineError> {
        self.blocking(|out| out.flush()).await
    }

    async fn complete(&mut self) -> Result<(), PipelineError> {
        self.out = None;
        let Some(unfinished) = self.unfinished.take() else { return Ok(()) };
        match tokio::task::spawn_blocking(move || unfinished.publish()).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(PipelineError::Died("the writing of a file")),
        }
    }

    async fn blocking<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Write) -> io::Result<T> + Send + 'static,
    ) -> Result<T, PipelineError> {
        let Some(mut out) = self.out.take() else { return Err(PipelineError::Stopped) };
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&mut *out);
            (out, result)
        });
        let Ok((out, result)) = done.await else { return Err(PipelineError::Died("the writing of a file")) };
        self.out = Some(out);
        result.map_err(|source| PipelineError::Write { target: self.target.clone(), source })
    }
}

/// A whole object that is not visible yet. Dropping it aborts, as far as a drop can.
#[derive(Debug)]
pub struct Pending {
    sink: Sink,
    sums: ObjectSums,
}

impl Pending {
    pub(super) fn new(sink: Sink, size: u64, sums: Option<ObjectSums>) -> Self {
        // Only stores look at the checksums, and for them they are always computed.
        let sums = sums.unwrap_or(ObjectSums { size, sha256: [0; 32], crc64nvme: 0 });
        Pending { sink, sums }
    }

    /// Makes the object visible. When that fails it is aborted.
    pub async fn complete(mut self) -> Result<(), PipelineError> {
        let result = self.sink.complete(&self.sums).await;
        if result.is_err() {
            self.sink.abort().await;
        }
        result
    }

    /// Leaves nothing behind, as far as that can be had.
    pub async fn abort(mut self) {
        self.sink.abort().await;
    }
}
