//! Restores a server's roles and tablespaces, which have no entries: runs the statements in order over one
//! connection, to any database of the server.

use super::backup::Backup;
use super::entry::{read_part, script};
use super::error::RestoreError;
use super::options::RestoreOptions;
use super::parallel::read_statements;
use super::plan::RestorePlan;
use super::progress::RestoreProgress;
use super::runner::Runner;
use super::script::ScriptReader;
use super::target::RestoreTarget;

/// Restores a backup of globals. The database of the connection, and its contents, do not matter.
pub(super) async fn restore(
    backup: &Backup,
    target: &RestoreTarget,
    options: &RestoreOptions,
    progress: &RestoreProgress,
) -> Result<(), RestoreError> {
    let RestoreOptions { selection, create, clean, recreate_schema, .. } = options;
    if !selection.is_everything() || *create || *clean || *recreate_schema {
        return Err(RestoreError::Unsuited(format!(
            "{} contains only roles and tablespaces; options that select, drop or create do not apply to it\nHINT: omit these options; --keep-going continues after errors about roles that already exist",
            backup.object.url()
        )));
    }
    progress.begin_phase("globals");
    let text = read_statements(backup, &RestorePlan::default(), progress).await?.frame;
    let (_, statements) =
        read_part(&ScriptReader::default(), &text).map_err(|error| script(backup, error))?;
    let runner = Runner::open(target, target.options.database(), options, progress).await?;
    runner.begin().await?;
    for statement in &statements {
        match statement.text.starts_with(b"SET ") {
            true => runner.set(statement).await?,
            false => runner.run(statement).await.map(drop)?,
        }
    }
    runner.close().await
}
