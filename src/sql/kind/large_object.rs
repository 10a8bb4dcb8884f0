//! Large objects: definitions, owners, privileges, and the entries with their contents. The dialect decides
//! whether each object has an entry of its own or those of one owner with the same privileges share one.
//! `sql::large_object_script` writes the contents as text. PostgreSQL manual, chapter 35.

use crate::archive::toc::EntryData;
use crate::protocol::version::{PG13, PG17};
use crate::sql::collect::Collector;
use crate::sql::dialect::LargeObjectLayout;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::Result;
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, Section, class};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};

const QUERY: CatalogQuery = CatalogQuery {
    what: "large objects",
    since: PG13,
    text: "
SELECT l.oid,
       l.lomowner AS owner,
       pg_catalog.textin(pg_catalog.array_out(l.lomacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('L', l.lomowner))) AS acl_default
  FROM pg_catalog.pg_largeobject_metadata l{order}",
    gates: &[Gate {
        column: "order",
        before: "",
        // array_out() is what the cast of an aclitem array to text does.
        steps: &[(
            PG17,
            "
 ORDER BY l.lomowner, pg_catalog.textin(pg_catalog.array_out(l.lomacl)), l.oid",
        )],
    }],
};

/// The definitions of a large object, or of a group of large objects. The catalog object is the first one's.
#[derive(Debug, Default)]
pub struct LargeObject {
    /// The OIDs of the other objects of the group.
    pub others: Vec<u32>,
}

impl LargeObject {
    /// The OIDs of all objects of the group; `object` is its catalog object.
    fn oids(&self, object: &DumpObject) -> impl Iterator<Item = u32> {
        std::iter::once(object.catalog_id.oid).chain(self.others.iter().copied())
    }
}

/// The contents of large objects.
#[derive(Debug, Default)]
pub struct LargeObjectData {
    /// The group whose contents these are; `None` if they are those of all large objects.
    pub group: Option<DumpId>,
}

/// Identifies the large objects. Individual large objects cannot be selected.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    match cx.catalog.dialect.large_objects {
        LargeObjectLayout::Single => {
            let before = cx.catalog.len();
            cx.each(&QUERY, &[], |cx, row| add(cx, &row).map(|_| ())).await?;
            if cx.catalog.len() > before {
                add_data(cx, "BLOBS".to_owned(), None);
            }
        }
        LargeObjectLayout::Groups(most) => {
            let mut groups = Groups { most, current: None };
            cx.each(&QUERY, &[], |cx, row| groups.take(cx, &row)).await?;
            groups.finish(cx);
        }
    }
    Ok(())
}

fn add(cx: &mut Collector<'_>, row: &CatalogRow) -> Result<DumpId> {
    let oid = row.oid("oid")?;
    let catalog_id = CatalogId::new(class::PG_LARGEOBJECT, oid);
    let detail = Detail::LargeObject(LargeObject::default());
    let id = cx.catalog.add(catalog_id, oid.to_string(), None, detail);
    cx.catalog[id].components |= Components::DATA;
    cx.set_owner_and_acl(id, row)?;
    Ok(id)
}

fn add_data(cx: &mut Collector<'_>, name: String, group: Option<DumpId>) -> DumpId {
    let detail = Detail::LargeObjectData(LargeObjectData { group });
    let id = cx.catalog.add(CatalogId::default(), name, None, detail);
    cx.catalog[id].components |= Components::DATA;
    id
}

/// Groups the large objects, which arrive in the order of owner, privileges and OID.
struct Groups {
    most: usize,
    /// The group that is being filled, with its owner and privileges.
    current: Option<(DumpId, u32, Option<Vec<String>>)>,
}

impl Groups {
    fn take(&mut self, cx: &mut Collector<'_>, row: &CatalogRow) -> Result<()> {
        let (owner, acl) = (row.oid("owner")?, row.opt_texts("acl")?);
        if let Some((id, of_owner, of_acl)) = &self.current
            && (*of_owner, of_acl) == (owner, &acl)
            && let Some(group) = cx.catalog.large_object_mut(*id)
            && group.others.len() + 1 < self.most
        {
            group.others.push(row.oid("oid")?);
            return Ok(());
        }
        self.finish(cx);
        let id = add(cx, row)?;
        // Comments and labels are looked up for each object of the group.
        cx.catalog[id].components |= Components::COMMENT | Components::SECLABEL;
        self.current = Some((id, owner, acl));
        Ok(())
    }

    /// Names the group by its first and last object, and adds the object for its contents.
    fn finish(&mut self, cx: &mut Collector<'_>) {
        let Some((id, ..)) = self.current.take() else { return };
        if let Some(last) = cx.catalog.large_object(id).and_then(|group| group.others.last().copied()) {
            let object = &mut cx.catalog[id];
            object.name = format!("{}..{last}", object.catalog_id.oid);
        }
        let data = add_data(cx, cx.catalog[id].name.clone(), Some(id));
        cx.catalog[data].owner = cx.catalog[id].owner.clone();
        cx.catalog[data].depend_on(id);
    }
}

/// Writes the DDL of a large object or of a group.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, large_object: &LargeObject) {
    match em.catalog.dialect.large_objects {
        LargeObjectLayout::Single => emit_single(em, object),
        LargeObjectLayout::Groups(_) => emit_group(em, object, large_object),
    }
}

/// Writes the definitions, comments, labels and privileges of a group, statement by statement for each object.
fn emit_group(em: &mut Emitter<'_>, object: &DumpObject, group: &LargeObject) {
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::BlobMetadata, Section::Data);
        let create: Vec<String> =
            group.oids(object).map(|oid| format!("SELECT pg_catalog.lo_create('{oid}');")).collect();
        entry.definition = create.join("\n");
        entry.drop =
            group.oids(object).map(|oid| format!("SELECT pg_catalog.lo_unlink('{oid}');\n")).collect();
        entry.drop.push('\n');
        em.push(entry);
    }
    for oid in group.oids(object) {
        let name = oid.to_string();
        let target = target(&name, object);
        let catalog_id = CatalogId::new(class::PG_LARGEOBJECT, oid);
        if object.dumps(Components::COMMENT) {
            em.comment_on(catalog_id, 0, object.id, &target);
        }
        if object.dumps(Components::SECLABEL) {
            em.security_label_on(catalog_id, object.id, &target);
        }
    }
    if object.dumps(Components::ACL) {
        emit_group_acl(em, object, group);
    }
}

/// Writes the privileges of a group: each command for each of the objects.
fn emit_group_acl(em: &mut Emitter<'_>, object: &DumpObject, group: &LargeObject) {
    let first = object.catalog_id.oid;
    let name = first.to_string();
    let target = target(&name, object);
    let Some(last) = group.others.last() else {
        em.acl(object, &target);
        return;
    };
    let tag = format!("LARGE OBJECTS {first}..{last}");
    em.acl_for_each(object, &target, tag, |commands| {
        let mut sql = String::new();
        for command in commands_of(commands) {
            // Role names follow the object, so the first match is the object.
            let of_object = command.split_once(&format!(" LARGE OBJECT {first} "));
            match of_object.filter(|(begin, _)| begin.ends_with(" ON")) {
                Some((begin, end)) => {
                    for oid in group.oids(object) {
                        put!(sql, "{begin} LARGE OBJECT {oid} {end}\n");
                    }
                    sql.push('\n');
                }
                // Another grantor's session: pg_dump 17 repeats these for each object and breaks them.
                None => put!(sql, "{command}\n"),
            }
        }
        // Two line breaks follow every definition.
        sql.truncate(sql.trim_end_matches('\n').len());
        sql
    });
}

/// Splits commands that each end with a semicolon and a line break. A quoted name may contain both.
fn commands_of(text: &str) -> Vec<&str> {
    let (mut commands, mut start, mut is_quoted) = (Vec::new(), 0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => {
                commands.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    commands
}

fn target<'a>(name: &'a str, object: &'a DumpObject) -> CommentTarget<'a> {
    CommentTarget { object_type: "LARGE OBJECT", name, namespace: None, owner: object.owner_name() }
}

fn emit_single(em: &mut Emitter<'_>, object: &DumpObject) {
    if object.dumps(Components::DEFINITION) {
        let mut entry = em.entry_for(object, EntryKind::Blob, Section::PreData);
        entry.definition = format!("SELECT pg_catalog.lo_create('{}');\n", object.name);
        entry.drop = format!("SELECT pg_catalog.lo_unlink('{}');\n", object.name);
        em.push(entry);
    }
    let target = target(&object.name, object);
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
    if object.dumps(Components::ACL) {
        em.acl(object, &target);
    }
}

/// Writes the entry with the contents.
pub(in crate::sql) fn emit_data(em: &mut Emitter<'_>, object: &DumpObject, data: &LargeObjectData) {
    if !object.dumps(Components::DATA) {
        return;
    }
    let group = data.group.and_then(|id| Some((&em.catalog[id], em.catalog.large_object(id)?)));
    let oids = group.map(|(object, group)| group.oids(object).collect());
    let mut entry = em.entry_for(object, EntryKind::Blobs, Section::Data);
    if data.group.is_some() {
        // pg_dump gives this entry the dependencies of its object, with the boundary of the sections.
        entry.dependencies.clone_from(&object.dependencies);
    }
    entry.data = Some(EntryData::LargeObjects(oids));
    em.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::acl::Acl;
    use crate::sql::dialect::Dialect;
    use crate::sql::kind::data_type::tests::{catalog, entries};
    use crate::sql::object::Catalog;

    fn add(catalog: &mut Catalog, oids: &[u32], data: LargeObjectData) -> (DumpId, DumpId) {
        let group = LargeObject { others: oids[1..].to_vec() };
        let catalog_id = CatalogId::new(class::PG_LARGEOBJECT, oids[0]);
        let id = catalog.add(catalog_id, oids[0].to_string(), None, Detail::LargeObject(group));
        let detail = Detail::LargeObjectData(data);
        let data = catalog.add(CatalogId::default(), "BLOBS".to_owned(), None, detail);
        catalog[data].components |= Components::DATA;
        (id, data)
    }

    #[test]
    fn a_large_object_has_an_entry_of_its_own() {
        let (mut catalog, _) = catalog();
        add(&mut catalog, &[10_000], LargeObjectData::default());
        let entries = entries(&mut catalog);
        assert_eq!(entries[0].definition, "SELECT pg_catalog.lo_create('10000');\n");
        assert_eq!(entries[0].drop, "SELECT pg_catalog.lo_unlink('10000');\n");
        assert!(matches!(entries[1].data, Some(EntryData::LargeObjects(None))));
    }

    #[test]
    fn a_group_shares_its_entries_and_each_object_its_statements() {
        let (mut catalog, _) = catalog();
        catalog.dialect = Dialect::of(PG17).unwrap();
        let group = Some(DumpId(catalog.len() as u32 + 1));
        let (id, _) = add(&mut catalog, &[7, 12, 9000], LargeObjectData { group });
        catalog[id].owner = Some("own".into());
        catalog[id].components |= Components::ACL;
        let items = ["own=rw/own", "bob=r*/own", "\"a\nLARGE OBJECT 7 \"=w/own", "amy=r/bob"];
        let items = items.map(str::to_owned).to_vec();
        catalog[id].acl = Some(Box::new(Acl::new(Some(items), vec!["own=rw/own".to_owned()])));
        let entries = entries(&mut catalog);
        assert_eq!(
            entries[0].definition,
            "SELECT pg_catalog.lo_create('7');\nSELECT pg_catalog.lo_create('12');\n\
             SELECT pg_catalog.lo_create('9000');"
        );
        assert_eq!(entries[1].tag, "LARGE OBJECTS 7..9000");
        assert!(
            entries[1].definition.starts_with("GRANT SELECT ON LARGE OBJECT 7 TO bob WITH GRANT OPTION;\n")
        );
        assert!(entries[1].definition.contains("GRANT SELECT ON LARGE OBJECT 9000 TO bob"));
        assert!(entries[1].definition.contains("UPDATE ON LARGE OBJECT 9000 TO \"a\nLARGE OBJECT 7 \";\n"));
        assert!(entries[1].definition.ends_with(
            "SET SESSION AUTHORIZATION bob;\nGRANT SELECT ON LARGE OBJECT 7 TO amy;\n\
             GRANT SELECT ON LARGE OBJECT 12 TO amy;\nGRANT SELECT ON LARGE OBJECT 9000 TO amy;\n\n\
             RESET SESSION AUTHORIZATION;"
        ));
        let Some(EntryData::LargeObjects(oids)) = &entries[2].data else { panic!("BLOBS carries data") };
        assert_eq!(oids.as_deref(), Some(&[7, 12, 9000][..]));
    }
}
