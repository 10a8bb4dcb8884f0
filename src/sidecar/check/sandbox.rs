//! Checks whether drills can run on the sandbox server.

use super::database::one;
use super::{Finding, Findings};
use crate::protocol::{ConnectOptions, ProtocolError, Session};

/// Whether the role may create databases, and the identifier of the cluster. initdb creates the identifier,
/// and copies of the data directory share it.
const SANDBOX: &str = "
SELECT r.rolsuper OR r.rolcreatedb AS may_create,
       r.rolsuper AS is_superuser,
       (SELECT c.system_identifier FROM pg_catalog.pg_control_system() c) AS cluster
  FROM pg_catalog.pg_roles r
 WHERE r.rolname = CURRENT_USER";

struct SandboxFacts {
    version: String,
    may_create: bool,
    is_superuser: bool,
    cluster: i64,
}

pub(super) async fn check(sandbox: &ConnectOptions, sources: &[&ConnectOptions]) -> Vec<Finding> {
    let mut findings = Findings::about("drill");
    let seen = match look(sandbox).await {
        Ok(seen) => seen,
        Err(error) => {
            findings.failed(&error);
            return findings.found;
        }
    };
    let (version, user) = (&seen.version, sandbox.user());
    findings.ok(format!("{sandbox}: PostgreSQL {version}, as {user}"));
    if !seen.may_create {
        findings.error(
            format!("role {user} cannot create databases on the sandbox"),
            format!("ALTER ROLE {user} CREATEDB"),
        );
    } else if !seen.is_superuser {
        findings.warn(
            format!("role {user} is not a superuser of the sandbox: objects that require one cannot be restored there"),
            "a superuser restores everything; BACKUP_DRILL_NO_OWNER=true omits owners",
        );
    }
    for source in sources {
        // An unreachable server is reported by the check of its database.
        if look(source).await.is_ok_and(|source| source.cluster == seen.cluster) {
            findings.warn(
                format!("the sandbox is the server of {source}, so drills would put load on it"),
                "use another server; a drill then also detects what a new server lacks",
            );
            break;
        }
    }
    findings.found
}

async fn look(server: &ConnectOptions) -> Result<SandboxFacts, ProtocolError> {
    let session = Session::open(&server.clone().unattended()).await?;
    let version = session.server_version().to_owned();
    let seen = one(&session, SANDBOX, |row| {
        Ok(SandboxFacts {
            version,
            may_create: row.try_get("may_create")?,
            is_superuser: row.try_get("is_superuser")?,
            cluster: row.try_get("cluster")?,
        })
    })
    .await?;
    session.close().await;
    Ok(seen)
}
