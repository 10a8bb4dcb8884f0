//! The destination of a dump's bytes: standard output, a file, or a store. Files and objects become visible
//! only on completion. Output to standard output cannot be withdrawn.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use super::compress::PackedBytes;
use super::output_file::{self, OutputFile};
use super::upload::{PartUploader, UploadOptions};
use super::{PipelineError, standard_output};
use crate::storage::local::TemporaryFile;
use crate::storage::{ContentType, IfExists, ObjectSums, Store};

/// The destination of a dump.
#[derive(Debug)]
pub struct Sink(SinkKind);

#[derive(Debug)]
enum SinkKind {
    Writer(Writer),
    Store(Box<PartUploader>),
}

/// A blocking writer, which runs on the runtime's blocking threads.
struct Writer {
    target: String,
    /// `None` during a write, and permanently if a write was cancelled.
    out: Option<Box<dyn Write + Send>>,
    /// The temporary file that becomes visible on completion.
    unfinished: Option<Arc<TemporaryFile>>,
    /// The file that is overwritten in place, if it must be synced on completion.
    durable: Option<File>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Writes to a shared temporary file.
struct SharedFile(Arc<TemporaryFile>);

impl Write for SharedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.file().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    /// Returns a sink for standard output. Fails if the process was started with that descriptor closed.
    pub fn stdout() -> Result<Sink, PipelineError> {
        const TARGET: &str = "standard output";
        if standard_output::was_closed() {
            let source = io::Error::from(rustix::io::Errno::BADF);
            return Err(PipelineError::Write { target: TARGET.to_owned(), source });
        }
        // A duplicate of the descriptor bypasses the standard library's line buffer.
        use std::os::fd::AsFd;
        Ok(match io::stdout().as_fd().try_clone_to_owned() {
            Ok(descriptor) => Sink::writer(TARGET, File::from(descriptor)),
            Err(_) => Sink::writer(TARGET, io::stdout()),
        })
    }

    /// Returns a sink for any writer. `target` is its name in messages.
    pub fn writer(target: impl Into<String>, out: impl Write + Send + 'static) -> Sink {
        Sink(SinkKind::Writer(Writer {
            target: target.into(),
            out: Some(Box::new(out)),
            unfinished: None,
            durable: None,
        }))
    }

    /// Returns a sink for a file. A new file is written under a temporary name next to its final path and
    /// renamed on completion. An existing file is replaced in the same way if that changes only its content.
    /// Any other existing file is overwritten in place, as pg_dump does (see [`output_file`]). The file is
    /// durable on completion, unless `sync` is off.
    pub fn file(path: &Path, sync: bool) -> Result<Sink, PipelineError> {
        let target = path.display().to_string();
        let failed = |source| PipelineError::Write { target: target.clone(), source };
        match output_file::open(path).map_err(failed)? {
            OutputFile::InPlace(file) => {
                let durable = sync.then(|| file.try_clone()).transpose().map_err(failed)?;
                let out = Some(Box::new(file) as Box<dyn Write + Send>);
                Ok(Sink(SinkKind::Writer(Writer { target, out, unfinished: None, durable })))
            }
            OutputFile::Beside(unfinished) => {
                let unfinished = Arc::new(if sync { unfinished } else { unfinished.without_sync() });
                let out = Some(Box::new(SharedFile(Arc::clone(&unfinished))) as Box<dyn Write + Send>);
                let unfinished = Some(unfinished);
                Ok(Sink(SinkKind::Writer(Writer { target, out, unfinished, durable: None })))
            }
        }
    }

    /// Returns a sink for an object in a store. It replaces an existing object unless [`Sink::if_exists`] is
    /// called.
    pub fn store(
        store: Arc<dyn Store>,
        key: impl Into<String>,
        content_type: ContentType,
        options: UploadOptions,
    ) -> Sink {
        Sink(SinkKind::Store(Box::new(PartUploader::new(store, key.into(), content_type, options))))
    }

    /// Sets how an existing object is treated. An existing file is always replaced, as pg_dump does.
    pub fn if_exists(mut self, if_exists: IfExists) -> Sink {
        if let SinkKind::Store(uploader) = &mut self.0 {
            uploader.set_if_exists(if_exists);
        }
        self
    }

    pub(super) fn is_store(&self) -> bool {
        matches!(self.0, SinkKind::Store(_))
    }

    /// Writes the next bytes and returns their buffer.
    pub(super) async fn write(&mut self, bytes: PackedBytes) -> Result<PackedBytes, PipelineError> {
        match &mut self.0 {
            SinkKind::Writer(writer) => writer.write(bytes).await,
            SinkKind::Store(uploader) => {
                uploader.write(bytes.as_ref()).await?;
                Ok(bytes)
            }
        }
    }

    /// Waits until all bytes have been written.
    pub(super) async fn close(&mut self) -> Result<(), PipelineError> {
        match &mut self.0 {
            SinkKind::Writer(writer) => writer.close().await,
            SinkKind::Store(uploader) => Ok(uploader.close().await?),
        }
    }

    /// Removes everything that was written, as far as possible.
    pub(super) async fn abort(&mut self) {
        match &mut self.0 {
            SinkKind::Writer(writer) => {
                writer.out = None;
                // A cancelled write may still hold a reference to the file.
                if let Some(unfinished) = writer.unfinished.take() {
                    unfinished.discard();
                }
            }
            SinkKind::Store(uploader) => uploader.abort().await,
        }
    }

    async fn complete(&mut self, sums: &ObjectSums) -> Result<(), PipelineError> {
        match &mut self.0 {
            SinkKind::Writer(writer) => writer.complete().await,
            SinkKind::Store(uploader) => Ok(uploader.complete(sums).await?),
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
        let (unfinished, durable, target) =
            (self.unfinished.take(), self.durable.take(), self.target.clone());
        let publish = move || match (unfinished, durable) {
            (Some(unfinished), _) => Ok(unfinished.publish(IfExists::Replace)?),
            (None, Some(file)) => match file.sync_all() {
                // A pipe or a device has nothing to sync.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
                result => result.map_err(|source| PipelineError::Write { target, source }),
            },
            (None, None) => Ok(()),
        };
        match tokio::task::spawn_blocking(publish).await {
            Ok(result) => result,
            Err(_) => Err(PipelineError::Died("the task that writes the file")),
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
        let Ok((out, result)) = done.await else {
            return Err(PipelineError::Died("the task that writes the file"));
        };
        self.out = Some(out);
        result.map_err(|source| PipelineError::Write { target: self.target.clone(), source })
    }
}

/// A complete object that is not visible yet. Dropping it aborts it as far as a destructor can.
#[derive(Debug)]
pub struct UnpublishedObject {
    sink: Sink,
    sums: ObjectSums,
}

impl UnpublishedObject {
    pub(super) fn new(sink: Sink, size: u64, sums: Option<ObjectSums>) -> Self {
        // Only stores use the checksums, and for stores they are always computed.
        let sums = sums.unwrap_or(ObjectSums { size, sha256: [0; 32], crc64nvme: 0 });
        UnpublishedObject { sink, sums }
    }

    /// Makes the object visible. Aborts the object if that fails.
    pub async fn complete(mut self) -> Result<(), PipelineError> {
        let result = self.sink.complete(&self.sums).await;
        if result.is_err() {
            self.sink.abort().await;
        }
        result
    }

    /// Removes everything that was written, as far as possible.
    pub async fn abort(mut self) {
        self.sink.abort().await;
    }
}
