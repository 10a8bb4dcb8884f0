//! Uploads one object to a store in parts of growing size, several at a time.
//!
//! # Part sizes
//! A store limits the number of parts (S3: 10,000), and the size of a dump is unknown until its end.
//! Therefore the first parts have the *base* size, and the following parts grow by a constant factor, chosen
//! so that all parts together hold the largest object that the store allows (S3: 5 TiB).
//! - If the approximate size is known, three quarters of the parts are base parts that together hold the
//!   object. No part is then larger than necessary.
//! - If the size is unknown, a fifth of the parts are base parts of 5 MiB, which keeps the growth slow.
//!
//! # Memory
//! A part is kept until the store has acknowledged it, because it may have to be sent again. With parts of
//! size `part`, `min(parallel, budget / part - 1)` parts (at least one) are in flight while another one is
//! filled. Parts therefore use at most `max(budget, 2 × part)`. docs/archive-format.md has the table.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::task::JoinSet;

use crate::storage::{
    ContentType, IfExists, ObjectSums, PartLimits, PendingUpload, Store, StoreError, UploadPart,
};

/// How an upload is split into parts and how much memory the parts may use.
#[derive(Clone, Debug)]
pub struct UploadOptions {
    /// Memory for parts in bytes, including the part being filled.
    pub budget: u64,
    /// Maximum number of parts in flight.
    pub parallel: usize,
    /// Approximate size of the object. An estimate that is too low uses more memory at the end; one that is
    /// too high uses more memory from the start.
    pub expected_size: Option<u64>,
}

impl Default for UploadOptions {
    fn default() -> Self {
        UploadOptions { budget: 24 << 20, parallel: 4, expected_size: None }
    }
}

impl UploadOptions {
    /// Returns the upload's share of a memory limit for the whole program, see
    /// [`PipelineOptions::within`](super::PipelineOptions::within).
    pub fn within(limit: u64) -> Self {
        UploadOptions { budget: limit / 8 * 3, ..UploadOptions::default() }
    }

    /// Sets the expected size from the size of the database (`pg_database_size`), if it is known. The
    /// estimate is a third of that size. Most dumps are smaller, because they have no indexes and are
    /// compressed.
    pub fn for_database(self, database_size: Option<u64>) -> Self {
        UploadOptions { expected_size: database_size.map(|size| size / 3), ..self }
    }

    /// Returns the memory that the parts need if the object reaches its expected size; `None` if that is
    /// within the budget.
    pub fn beyond_budget(&self, limits: PartLimits) -> Option<u64> {
        let expected = self.expected_size?;
        // One part is filled while at least one other is in flight.
        let parts = 2 * PartPlan::new(limits, Some(expected)).part_size_at(expected);
        (parts > self.budget).then_some(parts)
    }
}

/// The sizes of an object's parts.
#[derive(Clone, Debug, PartialEq)]
pub struct PartPlan {
    limits: PartLimits,
    base: u64,
    plateau: u32,
    growth: f64,
}

impl PartPlan {
    /// Plans the parts of an object of about `expected` bytes.
    pub fn new(limits: PartLimits, expected: Option<u64>) -> Self {
        let share = |part, whole| u64::from(limits.max_parts) * part / whole;
        let plateau = if expected.is_some() { share(3, 4) } else { share(1, 5) };
        let plateau = u32::try_from(plateau).unwrap_or(limits.max_parts).max(1);
        let wanted = expected.unwrap_or(0).min(limits.max_object).div_ceil(u64::from(plateau));
        let base = wanted.max(limits.min_size).next_multiple_of(64 * 1024).min(limits.max_size);
        let mut plan = PartPlan { limits, base, plateau, growth: 1.0 };
        if u128::from(base) * u128::from(limits.max_parts) >= u128::from(limits.max_object) {
            return plan;
        }
        // Finds the smallest growth factor that suffices. If even doubling does not suffice, the largest
        // possible object is smaller than the store's limit.
        let (mut low, mut high) = (1.0, 2.0);
        for _ in 0..50 {
            plan.growth = f64::midpoint(low, high);
            if plan.capacity() >= limits.max_object {
                high = plan.growth;
            } else {
                low = plan.growth;
            }
        }
        plan.growth = high;
        plan
    }

    /// Returns the size of part `number`, counted from 1.
    pub fn size(&self, number: u32) -> u64 {
        let grown = i32::try_from(number.saturating_sub(self.plateau)).unwrap_or(i32::MAX);
        let size = self.base as f64 * self.growth.powi(grown);
        // The conversion saturates, so unlimited growth still ends at the maximum size.
        (size as u64).clamp(self.base, self.limits.max_size)
    }

    /// Returns the total size of all parts.
    pub fn capacity(&self) -> u64 {
        let flat = u128::from(self.base) * u128::from(self.plateau);
        if self.growth <= 1.0 {
            let all = u128::from(self.base) * u128::from(self.limits.max_parts);
            return u64::try_from(all).unwrap_or(u64::MAX).min(self.limits.max_object);
        }
        let grown: u128 = (self.plateau + 1..=self.limits.max_parts).map(|n| u128::from(self.size(n))).sum();
        u64::try_from(flat + grown).unwrap_or(u64::MAX).min(self.limits.max_object)
    }

    /// Returns the size of the last part of an object of `object_size` bytes, which determines the memory
    /// needed.
    pub fn part_size_at(&self, object_size: u64) -> u64 {
        let mut held = 0;
        for number in 1..=self.limits.max_parts {
            let size = self.size(number);
            held += size;
            if held >= object_size {
                return size;
            }
        }
        self.limits.max_size
    }
}

/// Returns the number of parts of that size that are sent concurrently.
fn parallel_parts(options: &UploadOptions, part_size: u64) -> usize {
    let fit = (options.budget / part_size.max(1)).saturating_sub(1);
    usize::try_from(fit).unwrap_or(usize::MAX).clamp(1, options.parallel.max(1))
}

/// Buffers of parts that the store has acknowledged. Reusing them prevents the allocator from retaining as
/// many again. Their number is the maximum number of parts that were in flight.
#[derive(Clone, Debug, Default)]
struct PartBuffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl PartBuffers {
    /// Returns an empty buffer with room for a part. Its pages become resident as they are written.
    fn take(&self, size: usize) -> Vec<u8> {
        let buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        buffer.filter(|buffer| buffer.capacity() >= size).unwrap_or_else(|| Vec::with_capacity(size))
    }

    /// Returns the part's body. The buffer returns to the pool when the last clone of the body is dropped.
    fn body(&self, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(PartBuffer { buffer, home: self.clone() })
    }
}

struct PartBuffer {
    buffer: Vec<u8>,
    home: PartBuffers,
}

impl AsRef<[u8]> for PartBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for PartBuffer {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Sends an object in parts. No request is sent before the first part is full: an object smaller than one
/// part is written with a single PUT on completion.
#[derive(Debug)]
pub(super) struct PartUploader {
    store: Arc<dyn Store>,
    key: String,
    content_type: ContentType,
    options: UploadOptions,
    if_exists: IfExists,
    plan: PartPlan,
    upload: Option<PendingUpload>,
    filling: Vec<u8>,
    buffers: PartBuffers,
    /// Number of parts sent or in flight.
    parts: u32,
    offset: u64,
    under_way: JoinSet<Result<(), StoreError>>,
}

impl PartUploader {
    pub(super) fn new(
        store: Arc<dyn Store>,
        key: String,
        content_type: ContentType,
        options: UploadOptions,
    ) -> Self {
        let plan = PartPlan::new(store.part_limits(), options.expected_size);
        PartUploader {
            store,
            key,
            content_type,
            options,
            if_exists: IfExists::default(),
            plan,
            upload: None,
            filling: Vec::new(),
            buffers: PartBuffers::default(),
            parts: 0,
            offset: 0,
            under_way: JoinSet::new(),
        }
    }

    /// Sets how an existing object is treated.
    pub(super) fn set_if_exists(&mut self, if_exists: IfExists) {
        self.if_exists = if_exists;
    }

    pub(super) async fn write(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        while !bytes.is_empty() {
            let size = usize::try_from(self.plan.size(self.parts + 1)).unwrap_or(usize::MAX);
            if self.filling.capacity() == 0 {
                self.filling = self.buffers.take(size);
            }
            let room = (size - self.filling.len()).min(bytes.len());
            let (now, later) = bytes.split_at(room);
            self.filling.extend_from_slice(now);
            bytes = later;
            if self.filling.len() == size {
                self.send_part().await?;
            }
        }
        while let Some(done) = self.under_way.try_join_next() {
            sent(done)?;
        }
        Ok(())
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        let limits = self.store.part_limits();
        if self.parts == limits.max_parts {
            return Err(StoreError::TooLarge {
                object: self.store.url(&self.key),
                limit: self.plan.capacity(),
                max_parts: limits.max_parts,
            });
        }
        let begin = || PendingUpload::ask(&self.store, &self.key, self.content_type);
        let upload = self.upload.get_or_insert_with(begin).upload().await?;
        let body = self.buffers.body(std::mem::take(&mut self.filling));
        // The next part is filled while these are in flight, so it counts, too.
        while self.under_way.len() >= parallel_parts(&self.options, self.plan.size(self.parts + 2)) {
            if let Some(done) = self.under_way.join_next().await {
                sent(done)?;
            }
        }
        self.parts += 1;
        let part = UploadPart { number: self.parts, offset: self.offset, body };
        self.offset += part.body.len() as u64;
        self.under_way.spawn(async move { upload.put_part(part).await });
        Ok(())
    }

    /// Sends the last part and waits for all parts. An object smaller than one part is sent by `complete`.
    pub(super) async fn close(&mut self) -> Result<(), StoreError> {
        if self.upload.is_some() && !self.filling.is_empty() {
            self.send_part().await?;
        }
        while let Some(done) = self.under_way.join_next().await {
            sent(done)?;
        }
        Ok(())
    }

    pub(super) async fn complete(&mut self, sums: &ObjectSums) -> Result<(), StoreError> {
        match &mut self.upload {
            None => {
                let body = Bytes::from(std::mem::take(&mut self.filling));
                self.store.put_object(&self.key, body, self.content_type, self.if_exists).await
            }
            Some(upload) => upload.complete(sums, self.if_exists).await,
        }
    }

    pub(super) async fn abort(&mut self) {
        self.under_way.shutdown().await;
        self.filling = Vec::new();
        if let Some(mut upload) = self.upload.take() {
            upload.abort().await;
        }
    }
}

/// Converts the result of a part's task.
fn sent(done: Result<Result<(), StoreError>, tokio::task::JoinError>) -> Result<(), StoreError> {
    match done {
        Ok(result) => result,
        Err(error) => Err(StoreError::Other {
            operation: "write",
            object: "a part".to_owned(),
            source: Box::new(error),
        }),
    }
}

#[cfg(test)]
#[path = "upload_tests.rs"]
mod tests;
