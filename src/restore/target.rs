//! The database that a restore writes into: checks that it is empty, creates it, and drops existing objects.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::backup::Backup;
use super::error::{NotEmpty, RestoreError, StatementError};
use super::options::RestoreOptions;
use super::own_statement::{quoted, statement_for};
use super::plan::RestorePlan;
use super::script::{ScriptReader, ScriptStep, Statement};
use super::select::RestoreSelection;
use crate::archive::entry_kind::EntryKind;
use crate::protocol::encoding::to_bytes;
use crate::protocol::{Canceller, ConnectOptions, ProtocolError, Session};

/// How long the server may take to answer a cancel request.
const CANCEL: Duration = Duration::from_secs(2);

/// The target, and the statements that run there.
#[derive(Clone)]
pub(super) struct RestoreTarget {
    pub(super) options: ConnectOptions,
    running: Arc<Mutex<Vec<Canceller>>>,
}

impl RestoreTarget {
    pub(super) fn new(options: &ConnectOptions) -> Self {
        RestoreTarget { options: options.clone(), running: Arc::default() }
    }

    /// Connects with asynchronous commits.
    pub(super) async fn connect(&self, database: &str) -> Result<Session, RestoreError> {
        let options = self.options.with_database(database);
        let session = Session::open(&options).await.map_err(RestoreError::Connect)?;
        session.execute("SET synchronous_commit = off").await?;
        self.running.lock().unwrap_or_else(PoisonError::into_inner).push(session.canceller());
        Ok(session)
    }

    /// Cancels the running statements; closing the connections would not stop them on the server.
    pub(super) async fn cancel_all(&self) {
        let running = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let cancelled = running.iter().map(|canceller| tokio::time::timeout(CANCEL, canceller.cancel()));
        // Most of them have already ended.
        futures_util::future::join_all(cancelled).await;
    }
}

/// The maximum number of objects that a message names.
const NAMED: usize = 5;

/// User-created objects: the OID is one that no object has after initdb (`FirstNormalObjectId`), and the
/// object is not part of an extension and does not belong to another listed object.
const USER_OBJECTS: &str = "
WITH member AS (
  SELECT classid, objid FROM pg_catalog.pg_depend WHERE deptype = 'e'
), found AS (
  SELECT 1 AS rank, 'schema ' || pg_catalog.quote_ident(n.nspname) AS name, n.tableoid AS classid, n.oid
    FROM pg_catalog.pg_namespace n
   WHERE n.oid >= 16384 AND n.nspname !~ '^pg_'
  UNION ALL
  SELECT 0, CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence '
                           WHEN 'f' THEN 'foreign table ' ELSE 'table ' END
            || pg_catalog.textin(pg_catalog.regclassout(c.oid)), c.tableoid, c.oid
    FROM pg_catalog.pg_class c
   WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
  UNION ALL
  SELECT 2, 'function ' || pg_catalog.textin(pg_catalog.regprocedureout(p.oid)), p.tableoid, p.oid
    FROM pg_catalog.pg_proc p
   WHERE p.oid >= 16384
  UNION ALL
  SELECT 3, 'type ' || pg_catalog.textin(pg_catalog.regtypeout(t.oid)), t.tableoid, t.oid
    FROM pg_catalog.pg_type t
   WHERE t.oid >= 16384 AND t.typrelid = 0 AND t.typelem = 0 AND t.typtype IN ('b', 'd', 'e', 'r')
  UNION ALL
  SELECT 4, 'large object ' || pg_catalog.textin(pg_catalog.oidout(l.oid)), l.tableoid, l.oid
    FROM pg_catalog.pg_largeobject_metadata l
)
SELECT pg_catalog.convert_to(name, 'UTF8') AS name, pg_catalog.count(*) OVER () AS number
  FROM found
 WHERE NOT EXISTS (SELECT FROM member WHERE member.classid = found.classid AND member.objid = found.oid)
 ORDER BY rank, name
 LIMIT $1";

/// Returns the target's objects, if it has any.
pub(super) async fn find_objects(
    session: &Session,
    database: &str,
) -> Result<Option<NotEmpty>, ProtocolError> {
    let named = i64::try_from(NAMED).unwrap_or(i64::MAX);
    let rows = session
        .query(USER_OBJECTS, &[&named])
        .await
        .map_err(|error| error.during("looking for objects in the target"))?;
    let mut found = NotEmpty { database: database.to_owned(), objects: Vec::new(), number: 0 };
    for row in &rows {
        let read =
            || Ok::<_, tokio_postgres::Error>((row.try_get("name")?, row.try_get::<_, i64>("number")?));
        let (name, number): (Vec<u8>, i64) =
            read().map_err(|error| ProtocolError::Unexpected(format!("the target's objects: {error}")))?;
        found.objects.push(String::from_utf8_lossy(&name).into_owned());
        found.number = number.unsigned_abs();
    }
    Ok(Some(found).filter(|found| found.number > 0))
}

/// Fails if the target has objects.
pub(super) async fn refuse_unless_empty(
    session: &Session,
    database: &str,
) -> Result<(), super::RestoreError> {
    find_objects(session, database).await?.map_or(Ok(()), |found| Err(found.into()))
}

/// Databases to connect to while another one is created.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// The SQLSTATE for a database that already exists.
const DUPLICATE_DATABASE: &str = "42P04";

/// With `--create`, creates the target's database like the dumped one, or with the server's defaults if the
/// dumped one is unknown. Returns the statements to run at the end: owner, settings, comment and privileges.
/// The settings would otherwise affect the restore's own connections.
pub(super) async fn create(
    target: &RestoreTarget,
    statements: &[String],
    options: &RestoreOptions,
) -> Result<Vec<Statement>, RestoreError> {
    if !options.create {
        return Ok(Vec::new());
    }
    let name = quoted(target.options.database());
    let mut statements = match statements.first().and_then(|first| created_name(first)) {
        Some(old) => renamed(statements, &old, &name, &options.selection)?,
        None => vec![statement(format!("CREATE DATABASE {name} TEMPLATE = template0;"))],
    };
    let create = statements.remove(0);
    let session = match target.connect(MAINTENANCE[0]).await {
        Err(RestoreError::Connect(ProtocolError::UnknownDatabase { .. })) => {
            target.connect(MAINTENANCE[1]).await?
        }
        connected => connected?,
    };
    // As in a drill: the role's timeouts are not meant for this session.
    session.lift_timeouts().await?;
    let created = session.execute(&create.sql()).await;
    created.map_err(|error| match error.sqlstate() {
        Some(DUPLICATE_DATABASE) => RestoreError::Unsuited(format!(
            "database {name} already exists\nHINT: omit --create to restore into it, or name another database"
        )),
        _ => RestoreError::Statement(StatementError::new(&create, error)),
    })?;
    session.close().await;
    Ok(statements)
}

/// Returns the dumped database's `CREATE DATABASE` with another name, which must be quoted already, and with
/// the server's default tablespace; `None` if the dumped one is unknown.
pub(super) fn create_elsewhere(statements: &[String], name: &str) -> Option<String> {
    let first = statements.get(..1)?;
    let selection = RestoreSelection { no_tablespaces: true, ..RestoreSelection::default() };
    let renamed = renamed(first, &created_name(first.first()?)?, name, &selection).ok()?;
    renamed.first().map(|create| create.sql().into_owned())
}

fn statement(text: String) -> Statement {
    Statement::new(to_bytes(&text))
}

/// Returns the name in `CREATE DATABASE name WITH …`, with its quotes.
fn created_name(create: &str) -> Option<String> {
    let rest = create.strip_prefix("CREATE DATABASE ")?;
    let length = match rest.strip_prefix('"') {
        // Quotes within the name are doubled.
        Some(inner) => 2 + inner.replace("\"\"", "  ").find('"')?,
        None => rest.find(' ')?,
    };
    Some(rest[..length].to_owned())
}

/// Returns the selected statements with another database name.
fn renamed(
    statements: &[String],
    old: &str,
    new: &str,
    selection: &RestoreSelection,
) -> Result<Vec<Statement>, RestoreError> {
    let (old, new) = (format!(" DATABASE {old}"), format!(" DATABASE {new}"));
    let mut renamed = Vec::new();
    for text in statements.iter().flat_map(|text| single(text)) {
        let switches = &selection.switches;
        let is_wanted = match text.split_whitespace().next() {
            Some("GRANT" | "REVOKE") => !switches.no_privileges,
            Some("COMMENT") => !switches.no_comments,
            Some("SECURITY") => !switches.no_security_labels,
            _ => !(selection.no_owner && text.starts_with("ALTER DATABASE") && text.contains(" OWNER TO ")),
        };
        if !is_wanted {
            continue;
        }
        let mut text = text.replacen(&old, &new, 1);
        if let Some(at) =
            text.find(" TABLESPACE = ").filter(|_| selection.no_tablespaces && renamed.is_empty())
        {
            text.truncate(at);
            text.push(';');
        }
        renamed.push(statement(text));
    }
    Ok(renamed)
}

/// Splits a text into its statements.
fn single(text: &str) -> Vec<String> {
    let mut reader = ScriptReader::default();
    reader.feed(text.as_bytes());
    reader.finish();
    let mut statements = Vec::new();
    while let Ok(Some(step)) = reader.next_step() {
        if let ScriptStep::Statement(statement) = step {
            statements.push(String::from_utf8_lossy(&statement.text).into_owned());
        }
    }
    statements
}

/// `--clean`: returns the statements that drop the restored objects.
pub(super) fn clean(
    backup: &Backup,
    selection: &RestoreSelection,
    if_exists: bool,
) -> Result<Vec<Statement>, RestoreError> {
    let drops = selection.drops(&backup.toc, if_exists)?;
    let attached = attached_indexes(backup);
    let drops = drops.into_iter().filter_map(|(index, drop)| {
        let entry = backup.toc.entries.get(index)?;
        let is_index = matches!(entry.desc, EntryKind::Index | EntryKind::Constraint);
        let name = if entry.desc == EntryKind::Index { &entry.tag } else { entry.tag.rsplit(' ').next()? };
        let is_attached = is_index && attached.contains(&(entry.namespace.as_deref(), name));
        (!is_attached).then(|| statement_for(entry, drop.trim_end().to_owned()))
    });
    Ok(drops.collect())
}

/// Returns the indexes of partitions that are attached to an index of the parent. The server drops them with
/// that index, and refuses to drop them separately.
fn attached_indexes(backup: &Backup) -> BTreeSet<(Option<&str>, &str)> {
    let attached = backup.toc.entries.iter().filter(|entry| entry.desc == EntryKind::IndexAttach);
    attached.map(|entry| (entry.namespace.as_deref(), entry.tag.as_str())).collect()
}

/// `--recreate-schema`: returns the statements that empty the restored namespaces, and drop the objects that
/// are in no namespace.
pub(super) fn recreate(
    backup: &Backup,
    plan: &RestorePlan,
    selection: &RestoreSelection,
) -> Result<Vec<Statement>, RestoreError> {
    let entries = || plan.items().filter_map(|item| backup.toc.entries.get(item.index));
    let created: BTreeSet<&str> =
        entries().filter(|entry| entry.desc == EntryKind::Schema).map(|entry| entry.tag.as_str()).collect();
    let mut namespaces: BTreeSet<&str> = entries().filter_map(|entry| entry.namespace.as_deref()).collect();
    namespaces.extend(&created);
    namespaces.retain(|name| !name.starts_with("pg_") && *name != "information_schema");

    let mut statements: Vec<Statement> = namespaces
        .iter()
        .map(|name| statement(format!("DROP SCHEMA IF EXISTS {} CASCADE;", quoted(name))))
        .collect();
    for (index, drop) in selection.drops(&backup.toc, true)? {
        let entry = backup.toc.entries.get(index);
        let is_bare =
            |kind| !matches!(kind, EntryKind::Schema | EntryKind::Extension | EntryKind::ProceduralLanguage);
        if let Some(entry) = entry.filter(|entry| entry.namespace.is_none() && is_bare(entry.desc)) {
            statements.push(statement_for(entry, drop.trim_end().to_owned()));
        }
    }
    for name in namespaces.difference(&created) {
        statements.push(statement(format!("CREATE SCHEMA {};", quoted(name))));
        if *name == "public" {
            // Like the one that initdb creates, which a dump expects.
            let as_initial = [
                "ALTER SCHEMA public OWNER TO pg_database_owner;",
                "GRANT USAGE ON SCHEMA public TO PUBLIC;",
                "COMMENT ON SCHEMA public IS 'standard public schema';",
            ];
            statements.extend(as_initial.map(|text| statement(text.to_owned())));
        }
    }
    Ok(statements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_is_created_under_another_name() {
        let texts = [
            "CREATE DATABASE \"a \"\"b\" WITH TEMPLATE = template0 ENCODING = 'UTF8' TABLESPACE = t;\n".to_owned(),
            "ALTER DATABASE \"a \"\"b\" OWNER TO app;\n".to_owned(),
            "ALTER DATABASE \"a \"\"b\" SET a TO 'x; y';\nALTER ROLE r IN DATABASE \"a \"\"b\" SET b TO '1';\n".to_owned(),
            "GRANT CONNECT ON DATABASE \"a \"\"b\" TO r;\n".to_owned(),
        ];
        let old = created_name(&texts[0]).unwrap();
        let run = |selection: &RestoreSelection| -> Vec<String> {
            let statements = renamed(&texts, &old, "new", selection).unwrap();
            statements.iter().map(|statement| statement.sql().into_owned()).collect()
        };
        assert_eq!(
            run(&RestoreSelection::default()),
            [
                "CREATE DATABASE new WITH TEMPLATE = template0 ENCODING = 'UTF8' TABLESPACE = t;",
                "ALTER DATABASE new OWNER TO app;",
                "ALTER DATABASE new SET a TO 'x; y';",
                "ALTER ROLE r IN DATABASE new SET b TO '1';",
                "GRANT CONNECT ON DATABASE new TO r;",
            ]
        );
        let bare = RestoreSelection {
            no_owner: true,
            no_tablespaces: true,
            switches: crate::archive::required::EntryFilter { no_privileges: true, ..Default::default() },
            ..RestoreSelection::default()
        };
        assert_eq!(
            run(&bare),
            [
                "CREATE DATABASE new WITH TEMPLATE = template0 ENCODING = 'UTF8';",
                "ALTER DATABASE new SET a TO 'x; y';",
                "ALTER ROLE r IN DATABASE new SET b TO '1';",
            ]
        );
        assert_eq!(created_name("CREATE DATABASE shop WITH TEMPLATE").unwrap(), "shop");
    }
}
