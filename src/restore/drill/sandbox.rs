//! The roles, extensions and tablespaces of a sandbox server, and those that a backup needs and the sandbox
//! lacks.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::Serialize;

use super::super::StatementError;
use crate::archive::entry_kind::EntryKind;
use crate::archive::toc_file::{FileEntry, TocFile};
use crate::protocol::encoding::from_bytes;
use crate::protocol::{ProtocolError, Session};
use crate::sql::script::one_line;

/// The objects of a server that databases refer to but do not contain.
#[derive(Debug, Default)]
pub(super) struct Sandbox {
    /// The server's version string.
    pub(super) version: String,
    roles: HashSet<String>,
    extensions: HashSet<String>,
    tablespaces: HashSet<String>,
}

/// Something that the sandbox lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Lack {
    /// `role`, `extension`, `tablespace`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)
    }
}

/// Names are compared as bytes, in any encoding.
const ROLES: &str = "SELECT pg_catalog.convert_to(rolname, 'SQL_ASCII') FROM pg_catalog.pg_roles";
const EXTENSIONS: &str =
    "SELECT pg_catalog.convert_to(name, 'SQL_ASCII') FROM pg_catalog.pg_available_extensions";
const TABLESPACES: &str = "SELECT pg_catalog.convert_to(spcname, 'SQL_ASCII') FROM pg_catalog.pg_tablespace";

impl Sandbox {
    /// Reads them from the server.
    pub(super) async fn of(session: &Session) -> Result<Sandbox, ProtocolError> {
        Ok(Sandbox {
            version: session.server_version().to_owned(),
            roles: names(session, ROLES).await?,
            extensions: names(session, EXTENSIONS).await?,
            tablespaces: names(session, TABLESPACES).await?,
        })
    }
}

async fn names(session: &Session, sql: &str) -> Result<HashSet<String>, ProtocolError> {
    let rows =
        session.query(sql, &[]).await.map_err(|error| error.during("reading what the sandbox provides"))?;
    Ok(rows
        .iter()
        .filter_map(|row| row.try_get::<_, Vec<u8>>(0).ok())
        .map(|name| from_bytes(&name))
        .collect())
}

/// The causes of a restore's failures.
#[derive(Debug, Default)]
pub(super) struct Causes {
    /// What the sandbox lacks, and the number of entries that could not be restored correctly because of it.
    pub(super) lacking: BTreeMap<Lack, u64>,
    /// Failures with another cause, by their index.
    pub(super) unexplained: Vec<usize>,
    /// The entries with a failed statement.
    pub(super) failed: HashSet<u32>,
}

/// `undefined_object`, `invalid_parameter_value`: the SQLSTATEs for a missing role and a missing tablespace.
const UNDEFINED_OBJECT: &str = "42704";
const INVALID_VALUE: &str = "22023";

/// Finds the failures whose cause is something that the sandbox lacks. If an extension is missing, this
/// includes all entries that depend on it.
pub(super) fn causes(toc: &TocFile, failures: &[StatementError], sandbox: &Sandbox) -> Causes {
    let by_name: HashMap<String, Vec<&FileEntry>> =
        toc.entries.iter().fold(HashMap::new(), |mut map, entry| {
            map.entry(name_in_failures(entry)).or_default().push(entry);
            map
        });
    let by_id: HashMap<u32, &FileEntry> = toc.entries.iter().map(|entry| (entry.id, entry)).collect();
    let mut causes = Causes::default();
    let mut known: HashMap<u32, Option<Lack>> = HashMap::new();
    let mut seen: HashSet<(u32, Lack)> = HashSet::new();
    for (place, failure) in failures.iter().enumerate() {
        let entries = failure.entry.as_ref().and_then(|name| by_name.get(name));
        let entries = entries.map(Vec::as_slice).unwrap_or_default();
        causes.failed.extend(entries.iter().map(|entry| entry.id));
        let direct = entries.iter().find_map(|entry| sandbox.want_of(entry, failure));
        let lack = direct
            .or_else(|| entries.iter().find_map(|entry| sandbox.missing_below(entry, &by_id, &mut known)));
        match (lack, entries.first()) {
            (Some(lack), Some(entry)) if seen.insert((entry.id, lack.clone())) => {
                *causes.lacking.entry(lack).or_default() += 1;
            }
            (Some(_), _) => {}
            (None, _) => causes.unexplained.push(place),
        }
    }
    causes
}

/// Returns an entry's name as in failures.
fn name_in_failures(entry: &FileEntry) -> String {
    match &entry.namespace {
        Some(namespace) => format!("{} {}.{}", entry.desc, one_line(namespace), one_line(&entry.tag)),
        None => format!("{} {}", entry.desc, one_line(&entry.tag)),
    }
}

impl Sandbox {
    /// Returns the missing role or tablespace that made a statement of an entry fail.
    fn want_of(&self, entry: &FileEntry, failure: &StatementError) -> Option<Lack> {
        let lack = |kind, name: &str| Some(Lack { kind, name: name.to_owned() });
        match failure.source.sqlstate() {
            Some(UNDEFINED_OBJECT | INVALID_VALUE) => {}
            _ => return None,
        }
        if let Some(space) = entry.tablespace.as_deref().filter(|space| !space.is_empty())
            && failure.statement.starts_with("SET default_tablespace")
            && !self.tablespaces.contains(space)
        {
            return lack("tablespace", space);
        }
        // Statements that name roles: ALTER … OWNER TO, GRANT, ALTER DEFAULT PRIVILEGES, CREATE POLICY, user
        // mappings.
        let names_roles = matches!(
            entry.desc,
            EntryKind::Acl | EntryKind::DefaultAcl | EntryKind::Policy | EntryKind::UserMapping
        );
        if let Some(owner) = entry.owner.as_deref().filter(|owner| !owner.is_empty() && !names_roles)
            && failure.statement.contains(" OWNER TO ")
            && !self.roles.contains(owner)
        {
            return lack("role", owner);
        }
        // The server's message quotes the name, in any language.
        let message = failure.source.to_string();
        let named = message.split('"').nth(1)?;
        (names_roles && !self.roles.contains(named)).then(|| lack("role", named)).flatten()
    }

    /// Returns the extension that an entry is or depends on, if the sandbox lacks it.
    fn missing_below(
        &self,
        entry: &FileEntry,
        by_id: &HashMap<u32, &FileEntry>,
        known: &mut HashMap<u32, Option<Lack>>,
    ) -> Option<Lack> {
        // Walk the dependencies without recursion, because they may be deep.
        let (mut waiting, mut met) = (vec![entry], HashSet::from([entry.id]));
        while let Some(next) = waiting.pop() {
            if let Some(Some(lack)) = known.get(&next.id) {
                let lack = lack.clone();
                known.insert(entry.id, Some(lack.clone()));
                return Some(lack);
            }
            if next.desc == EntryKind::Extension && !self.extensions.contains(&next.tag) {
                let lack = Lack { kind: "extension", name: next.tag.clone() };
                known.insert(entry.id, Some(lack.clone()));
                return Some(lack);
            }
            let below = next.dependencies.iter().filter_map(|id| by_id.get(id).copied());
            waiting.extend(below.filter(|entry| met.insert(entry.id)));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::section::Section;
    use crate::protocol::ServerError;

    fn entry(id: u32, desc: EntryKind, tag: &str, dependencies: &[u32]) -> FileEntry {
        FileEntry {
            id,
            catalog_id: (0, 0),
            desc,
            tag: tag.to_owned(),
            namespace: (desc != EntryKind::Extension).then(|| "public".to_owned()),
            tablespace: None,
            table_am: None,
            owner: Some("boss".to_owned()),
            section: Section::PreData,
            dependencies: dependencies.to_vec(),
            text: Vec::new(),
            drop_statement: None,
            drop: None,
            copy: None,
            copy_statement: None,
            data: None,
        }
    }

    fn failure(entry: &str, statement: &str, code: &str, message: &str) -> StatementError {
        let server = ServerError {
            severity: "ERROR".to_owned(),
            code: code.to_owned(),
            message: message.to_owned(),
            detail: None,
            hint: None,
            position: None,
            context: None,
        };
        StatementError {
            entry: Some(entry.to_owned()),
            line: 0,
            statement: statement.to_owned(),
            near: None,
            row: None,
            source: ProtocolError::Server(Box::new(server)),
        }
    }

    #[test]
    fn failures_are_traced_to_what_is_lacking() {
        let toc = TocFile {
            format_version: 1,
            file: String::new(),
            compression: Default::default(),
            size: 0,
            raw_size: 0,
            members: Vec::new(),
            checksums: Vec::new(),
            frame: Vec::new(),
            database: Vec::new(),
            entries: vec![
                entry(1, EntryKind::Extension, "postgis", &[]),
                entry(2, EntryKind::Type, "place", &[1]),
                entry(3, EntryKind::Table, "places", &[2]),
                entry(4, EntryKind::Table, "t", &[]),
                entry(5, EntryKind::Acl, "TABLE t", &[4]),
                entry(6, EntryKind::View, "broken", &[4]),
            ],
        };
        let failures = [
            failure(
                "EXTENSION postgis",
                "CREATE EXTENSION",
                "0A000",
                "extension \"postgis\" is not available",
            ),
            failure("TABLE public.places", "CREATE TABLE", "42704", "type \"geo\" does not exist"),
            failure(
                "TABLE public.t",
                "ALTER TABLE public.t OWNER TO boss;",
                "42704",
                "role \"boss\" does not exist",
            ),
            failure(
                "ACL public.TABLE t",
                "GRANT SELECT ON TABLE public.t TO joe;",
                "42704",
                "Rolle \"joe\" fehlt",
            ),
            failure("VIEW public.broken", "CREATE VIEW", "42883", "function f() does not exist"),
        ];
        let sandbox = Sandbox { roles: HashSet::from(["postgres".to_owned()]), ..Sandbox::default() };
        let causes = causes(&toc, &failures, &sandbox);
        let lacking: Vec<String> =
            causes.lacking.iter().map(|(lack, number)| format!("{lack}: {number}")).collect();
        assert_eq!(lacking, ["extension postgis: 2", "role boss: 1", "role joe: 1"]);
        assert_eq!(causes.unexplained, [4]);
        assert_eq!(causes.failed, HashSet::from([1, 3, 4, 5, 6]));
    }
}
