//! Claims the key of a backup for one writer, before its dump begins.
//!
//! Keys name backups by the second. Two writers may start in the same second, because cron starts them
//! together or because a clock repeats a second. No writer may overwrite the objects of another, and no
//! writer may learn only after an hour of dumping that its key is taken. A writer therefore first puts a
//! small object next to the backup, [`Part::Claim`], on the condition that the object does not exist
//! (`If-None-Match: *`):
//!
//! 1. The store refuses: another writer has the key, or this writer's earlier request succeeded and its
//!    response was lost. The writer tries the next second.
//! 2. The store accepts. The writer puts the object a second time. If the store refuses this, it honours the
//!    condition, and the key belongs to this writer.
//! 3. If the store accepts both requests, it ignores the condition; if it does not support conditions, it
//!    fails the first. Then the backup's key gets a suffix that is unique to the writer, and no claim is
//!    needed.
//!
//! The dump, the table of contents and the manifest are then written on the same condition. A store may
//! honour it for small objects and ignore it when it completes a multipart upload: the claim is sufficient.
//!
//! A claim is never deleted, whatever the result of the backup: an access key that may only put objects could
//! not delete it. Nothing that reads backups reads claims. A key is therefore never used twice, even after a
//! restart. Claiming needs only `s3:PutObject`. The replica has the same keys as the primary; they are
//! claimed only at the primary.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::backup::BackupDestination;
use super::{DumpError, or_cancelled};
use crate::archive::key::{BackupId, Part, WriterId};
use crate::archive::manifest::Tool;
use crate::clock;
use crate::pipeline::PipelineError;
use crate::storage::{IfExists, StoreError};

/// The number of seconds to try before the key gets the writer's suffix in any case.
const SECONDS: i64 = 10;

/// A key that no other writer uses.
#[derive(Debug)]
pub struct ClaimedKey {
    id: BackupId,
    if_exists: IfExists,
}

/// The content of a claim, for an operator who finds it.
#[derive(Serialize)]
struct ClaimText {
    tool: Tool,
    writer: String,
    claimed: Timestamp,
}

/// The store's answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClaimAnswer {
    /// The key belongs to this writer.
    Granted,
    /// Another writer has the key.
    Taken,
    /// The store ignores the condition or does not support it.
    Unconditional,
}

impl ClaimedKey {
    /// Returns the backup that the key belongs to.
    pub fn id(&self) -> &BackupId {
        &self.id
    }

    pub(super) fn into_id(self) -> BackupId {
        self.id
    }

    /// Returns the condition for writing the backup's objects.
    pub(super) fn if_exists(&self) -> IfExists {
        self.if_exists
    }

    /// Returns whether the store refuses to overwrite the backup's objects.
    pub fn store_refuses_to_overwrite(&self) -> bool {
        self.if_exists != IfExists::Replace
    }
}

impl BackupDestination {
    /// Claims a key for a new backup: the wanted one, or the next free one.
    pub async fn claim(
        &self,
        wanted: &BackupId,
        cancel: &CancellationToken,
    ) -> Result<ClaimedKey, DumpError> {
        or_cancelled(cancel, async { self.find_free(wanted).await.map_err(failed) }).await
    }

    async fn find_free(&self, wanted: &BackupId) -> Result<ClaimedKey, StoreError> {
        let now = clock::now();
        let writer = WriterId::random().map_err(|source| StoreError::Other {
            operation: "claim",
            object: self.url(wanted),
            source: source.into(),
        })?;
        let mut if_exists = IfExists::FailUnlessOwn;
        for id in (0..SECONDS).map_while(|seconds| wanted.later_by(seconds)) {
            match self.claim_one(&id, writer).await? {
                ClaimAnswer::Granted => {
                    wait_for(&id, now).await;
                    return Ok(ClaimedKey { id, if_exists });
                }
                ClaimAnswer::Taken => {}
                ClaimAnswer::Unconditional => {
                    if_exists = IfExists::Replace;
                    break;
                }
            }
        }
        Ok(ClaimedKey { id: wanted.of_writer(writer), if_exists })
    }

    async fn claim_one(&self, id: &BackupId, writer: WriterId) -> Result<ClaimAnswer, StoreError> {
        let put = async || {
            let claim = ClaimText { tool: Tool::this(), writer: writer.to_string(), claimed: clock::now() };
            let mut json = serde_json::to_vec_pretty(&claim).unwrap_or_default();
            json.push(b'\n');
            let (key, kind) = (self.key(id, Part::Claim), Part::Claim.content_type());
            self.store.put_object(&key, json.into(), kind, IfExists::Fail).await
        };
        match put().await {
            Ok(()) => {}
            Err(StoreError::Exists { .. }) => return Ok(ClaimAnswer::Taken),
            Err(StoreError::Unconditional { .. }) => return Ok(ClaimAnswer::Unconditional),
            Err(error) => return Err(error),
        }
        match put().await {
            Ok(()) => Ok(ClaimAnswer::Unconditional),
            Err(StoreError::Exists { .. }) => Ok(ClaimAnswer::Granted),
            Err(error) => Err(error),
        }
    }
}

fn failed(error: StoreError) -> DumpError {
    DumpError::Pipeline(PipelineError::Store(error))
}

/// Waits until the second that the key of a shifted backup names. Waits at most a few seconds, even if the
/// clock is set back in the meantime.
async fn wait_for(id: &BackupId, now: Timestamp) {
    let early = Duration::try_from(id.started.duration_since(now)).unwrap_or_default();
    tokio::time::sleep(early.min(Duration::from_secs(SECONDS.unsigned_abs()))).await;
}
