//! The key of a backup, which belongs to one writer before its dump begins.
//!
//! Keys name backups by the second, and two writers may begin in the same one: cron sees to that, and a clock may repeat a second.
//! Nothing that one has written may be overwritten by the other, and none may find out at its end, after an hour of dumping, that
//! the key is taken. So a writer first puts a small object beside the backup to be, [`Part::Claim`], on the condition that there
//! is none (`If-None-Match: *`):
//!
//! 1. It is there already: somebody has the key, or this writer itself, whose answer was lost. The next second is tried.
//! 2. It is put. Then it is put once more: a store that refuses that honours the condition, and the key is this writer's own.
//! 3. A store that takes it twice ignores the condition, and one that knows no condition refuses the first: then the backup's key
//!    gets a part of the writer's own, and needs no claim.
//!
//! Dump, table of contents and manifest are then written on the same condition. A store may honour it for small objects and not
//! where it joins parts: the claim suffices.
//!
//! A claim stays, whatever becomes of the backup: it is never deleted (a key that may only put could not), and no reader looks at it.
//! So a key is never used twice, also after a restart. All takes `s3:PutObject` alone. The replica's keys are the primary's, and are
//! claimed there alone.

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

/// Seconds that are tried before the key gets a part of the writer's own in any case.
const SECONDS: i64 = 10;

/// A key that no other writer takes.
#[derive(Debug)]
pub struct ClaimedKey {
    id: BackupId,
    if_exists: IfExists,
}

/// What a claim says, for people who find it.
#[derive(Serialize)]
struct ClaimText {
    tool: Tool,
    writer: String,
    claimed: Timestamp,
}

/// How a store answers a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClaimAnswer {
    /// The key is this writer's own.
    Granted,
    /// Another writer has the key.
    Taken,
    /// The store would have granted it to another writer, too.
    Unconditional,
}

impl ClaimedKey {
    /// Of which backup.
    pub fn id(&self) -> &BackupId {
        &self.id
    }

    pub(super) fn into_id(self) -> BackupId {
        self.id
    }

    /// How its objects are to be written.
    pub(super) fn if_exists(&self) -> IfExists {
        self.if_exists
    }

    /// Whether the store refuses to overwrite its objects.
    pub fn store_refuses_to_overwrite(&self) -> bool {
        self.if_exists != IfExists::Replace
    }
}

impl BackupDestination {
    /// Claims a key for the backup that is about to begin: the wanted one, or the next that is free.
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

/// Waits for the second of a backup that gave way to others, so that it begins when its key says: a few seconds at most, also when
/// the clock is set back meanwhile.
async fn wait_for(id: &BackupId, now: Timestamp) {
    let early = Duration::try_from(id.started.duration_since(now)).unwrap_or_default();
    tokio::time::sleep(early.min(Duration::from_secs(SECONDS.unsigned_abs()))).await;
}
