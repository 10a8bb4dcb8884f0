//! The database that a restore writes into, before it does.

use crate::protocol::{ProtocolError, Session};

/// Objects that a message names.
const NAMED: usize = 5;

/// The target of a restore has objects already.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "database \"{database}\" is not empty: it has {}\nHINT: restore into an empty database (--create makes one), replace what is there with --clean --if-exists or --recreate-schema, or add to it with --into-existing",
    list(.objects, *.number)
)]
pub struct NotEmpty {
    /// The database.
    pub database: String,
    /// Some of its objects: `table public.orders`.
    pub objects: Vec<String>,
    /// How many there are.
    pub number: u64,
}

fn list(objects: &[String], number: u64) -> String {
    let more = number.saturating_sub(objects.len() as u64);
    let list = objects.join(", ");
    if more > 0 { format!("{list} and {more} more") } else { list }
}

/// What users have made: it has an OID that no object has after initdb (`FirstNormalObjectId`), is not part of
/// an extension, and belongs to nothing else that is listed.
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
            || c.oid::pg_catalog.regclass::text, c.tableoid, c.oid
    FROM pg_catalog.pg_class c
   WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND c.relpersistence <> 't'
  UNION ALL
  SELECT 2, 'function ' || p.oid::pg_catalog.regprocedure::text, p.tableoid, p.oid
    FROM pg_catalog.pg_proc p
   WHERE p.oid >= 16384
  UNION ALL
  SELECT 3, 'type ' || t.oid::pg_catalog.regtype::text, t.tableoid, t.oid
    FROM pg_catalog.pg_type t
   WHERE t.oid >= 16384 AND t.typrelid = 0 AND t.typelem = 0 AND t.typtype IN ('b', 'd', 'e', 'r')
  UNION ALL
  SELECT 4, 'large object ' || l.oid::text, l.tableoid, l.oid
    FROM pg_catalog.pg_largeobject_metadata l
)
SELECT pg_catalog.convert_to(name, 'UTF8') AS name, pg_catalog.count(*) OVER () AS number
  FROM found
 WHERE NOT EXISTS (SELECT FROM member WHERE member.classid = found.classid AND member.objid = found.oid)
 ORDER BY rank, name
 LIMIT $1";

/// The target's objects, if it has any.
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

/// Refuses a target that has objects.
pub(super) async fn refuse_unless_empty(
    session: &Session,
    database: &str,
) -> Result<(), super::RestoreError> {
    find_objects(session, database).await?.map_or(Ok(()), |found| Err(found.into()))
}
