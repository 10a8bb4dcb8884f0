//! Sequences: their DDL, their owning columns, and their values.

use super::table::{Identity, Persistence, RelationKind, Specifics, Table};
use super::table_data::TableData;
use crate::protocol::version::PG13;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::object::{CatalogId, Components, Detail, DumpId, DumpObject, EntryKind, ObjectKind, Section};
use crate::sql::put;
use crate::sql::query::{CatalogQuery, CatalogRow};

/// The parameters and value of a sequence.
#[derive(Debug)]
pub struct Sequence {
    /// `smallint`, `integer` or `bigint`.
    pub data_type: String,
    /// `START WITH`.
    pub start: i64,
    /// `INCREMENT BY`.
    pub increment: i64,
    /// `MAXVALUE`.
    pub maximum: i64,
    /// `MINVALUE`.
    pub minimum: i64,
    /// `CACHE`.
    pub cache: i64,
    /// `CYCLE`.
    pub cycle: bool,
    /// `last_value` and `is_called`, if the value is dumped.
    pub value: Option<(i64, bool)>,
}

const PARAMETERS: CatalogQuery = CatalogQuery {
    what: "sequences",
    since: PG13,
    text: "
SELECT s.seqrelid AS relation, pg_catalog.format_type(s.seqtypid, NULL) AS data_type,
       s.seqstart AS start, s.seqincrement AS increment, s.seqmax AS maximum, s.seqmin AS minimum,
       s.seqcache AS cache, s.seqcycle AS cycle
  FROM pg_catalog.pg_sequence s
 WHERE s.seqrelid = ANY ($1::pg_catalog.oid[])
 ORDER BY s.seqrelid",
    gates: &[],
};

/// Number of sequences whose values one query reads. A longer chain of `UNION ALL` is slow to plan and
/// approaches the server's stack limit.
const VALUES_AT_ONCE: usize = 500;

/// Selects owned sequences at least as their table is, and identity sequences exactly as their table is.
pub(in crate::sql) async fn collect_ownership(cx: &mut Collector<'_>) -> Result<()> {
    for id in cx.catalog.ids_of(ObjectKind::Table) {
        let Some(sequence) = cx.catalog.table(id).filter(|t| t.owning_table != 0) else { continue };
        let (owner_oid, is_identity) = (sequence.owning_table, sequence.is_identity_sequence);
        let Some(owner) = cx.catalog.table_by_oid(owner_oid) else {
            return Err(SqlError::Inconsistent(format!(
                "failed sanity check, parent table with OID {owner_oid} of sequence with OID {} not found",
                cx.catalog[id].catalog_id.oid
            )));
        };
        let owner_dump = cx.catalog[owner].dump;
        let object = &mut cx.catalog[id];
        if is_identity {
            object.dump = owner_dump;
        } else {
            object.dump |= owner_dump;
        }
        if object.dump.is_empty() {
            continue;
        }
        for id in [id, owner] {
            if let Some(table) = cx.catalog.table_mut(id) {
                table.interesting = true;
            }
        }
    }
    Ok(())
}

/// Reads parameters and values of the sequences to be dumped, in bulk.
pub(in crate::sql) async fn describe(cx: &mut Collector<'_>) -> Result<()> {
    let mut oids = Vec::new();
    let mut with_values = Vec::new();
    for object in cx.catalog.iter() {
        let Detail::Table(table) = &object.detail else { continue };
        if table.kind != RelationKind::Sequence {
            continue;
        }
        let with_value = table.data.is_some_and(|data| cx.dumps(data, Components::DATA));
        if with_value {
            with_values.push(object.id);
        }
        if with_value || cx.dumps(object.id, Components::DEFINITION) {
            oids.push(object.catalog_id.oid);
        }
    }
    if oids.is_empty() {
        return Ok(());
    }
    cx.each(&PARAMETERS, &[&oids], |cx, row| {
        let id = cx.catalog.table_by_oid(row.oid("relation")?);
        let sequence = from_row(&row)?;
        if let Some(table) = id.and_then(|id| cx.catalog.table_mut(id)) {
            table.specifics = Some(Box::new(Specifics::Sequence(sequence)));
        }
        Ok(())
    })
    .await?;
    for batch in with_values.chunks(VALUES_AT_ONCE) {
        read_values(cx, batch).await?;
    }
    Ok(())
}

fn from_row(row: &CatalogRow) -> Result<Sequence> {
    Ok(Sequence {
        data_type: row.text("data_type")?,
        start: row.int8("start")?,
        increment: row.int8("increment")?,
        maximum: row.int8("maximum")?,
        minimum: row.int8("minimum")?,
        cache: row.int8("cache")?,
        cycle: row.bool("cycle")?,
        value: None,
    })
}

/// Reads the values from the sequences themselves, because no server function returns the value of a sequence
/// before `nextval()` has returned it.
async fn read_values(cx: &mut Collector<'_>, sequences: &[DumpId]) -> Result<()> {
    let selects: Vec<_> = sequences
        .iter()
        .map(|id| {
            let object = &cx.catalog[*id];
            let name = cx.catalog.qualified(object);
            format!(
                "SELECT {}::pg_catalog.oid AS relation, last_value, is_called FROM {name}",
                object.catalog_id.oid
            )
        })
        .collect();
    let what = "sequence values";
    let rows = cx.session.catalog_query(&selects.join("\nUNION ALL\n"), &[]).await;
    for row in rows.map_err(|source| SqlError::Catalog { what, source })? {
        let row = CatalogRow::new(what, row);
        let value = (row.int8("last_value")?, row.bool("is_called")?);
        let id = cx.catalog.table_by_oid(row.oid("relation")?);
        let specifics = id.and_then(|id| cx.catalog.table_mut(id)).and_then(|t| t.specifics.as_deref_mut());
        if let Some(Specifics::Sequence(sequence)) = specifics {
            sequence.value = Some(value);
        }
    }
    Ok(())
}

fn of(table: &Table) -> Option<&Sequence> {
    match table.specifics.as_deref() {
        Some(Specifics::Sequence(sequence)) => Some(sequence),
        _ => None,
    }
}

/// Writes the DDL of one sequence.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>, object: &DumpObject, table: &Table) {
    let definition = match definition(em, object, table) {
        Ok(definition) => definition,
        Err(error) => return em.fail(error),
    };
    let name = em.catalog.qualified(object);
    let mut entry = em.entry_for(object, EntryKind::Sequence, Section::PreData);
    entry.definition = definition;
    if !table.is_identity_sequence {
        entry.drop = format!("DROP SEQUENCE {name};\n");
    }
    em.push(entry);
    if table.owning_table != 0 && !table.is_identity_sequence {
        emit_ownership(em, object, table, &name);
    }

    let target = CommentTarget {
        object_type: "SEQUENCE",
        name: &em.quoting.id(&object.name).to_string(),
        namespace: em.catalog.namespace_name(object),
        owner: object.owner_name(),
    };
    if object.dumps(Components::COMMENT) {
        em.comment(object, &target);
    }
    if object.dumps(Components::SECLABEL) {
        em.security_label(object, &target);
    }
}

fn definition(em: &Emitter<'_>, object: &DumpObject, table: &Table) -> Result<String> {
    let inconsistent = |text: &str| SqlError::Inconsistent(format!("{text} of sequence \"{}\"", object.name));
    let sequence = of(table).ok_or_else(|| inconsistent("could not read the parameters"))?;
    let (least, greatest) = limits(sequence).ok_or_else(|| inconsistent("unrecognized type"))?;
    let name = em.catalog.qualified(object);
    let mut sql = String::new();
    if table.is_identity_sequence {
        let (owner_name, owner, column) =
            owning_column(em, table).ok_or_else(|| inconsistent("could not find the owning column"))?;
        let generated = match owner.column(table.owning_column).map(|a| a.identity) {
            Some(Some(Identity::Always)) => "ALWAYS",
            Some(Some(Identity::ByDefault)) => "BY DEFAULT",
            Some(None) | None => "",
        };
        put!(sql, "ALTER TABLE {owner_name} ALTER COLUMN {column} ADD GENERATED {generated} AS IDENTITY (\n");
        put!(sql, "    SEQUENCE NAME {name}\n");
        if table.persistence != owner.persistence {
            sql.push_str(if table.persistence == Persistence::Unlogged {
                "    UNLOGGED\n"
            } else {
                "    LOGGED\n"
            });
        }
    } else {
        let unlogged = if table.persistence == Persistence::Unlogged { "UNLOGGED " } else { "" };
        put!(sql, "CREATE {unlogged}SEQUENCE {name}\n");
        if sequence.data_type != "bigint" {
            put!(sql, "    AS {}\n", sequence.data_type);
        }
    }
    put!(sql, "    START WITH {}\n    INCREMENT BY {}\n", sequence.start, sequence.increment);
    match sequence.minimum {
        minimum if minimum == least => sql.push_str("    NO MINVALUE\n"),
        minimum => put!(sql, "    MINVALUE {minimum}\n"),
    }
    match sequence.maximum {
        maximum if maximum == greatest => sql.push_str("    NO MAXVALUE\n"),
        maximum => put!(sql, "    MAXVALUE {maximum}\n"),
    }
    put!(sql, "    CACHE {}", sequence.cache);
    if sequence.cycle {
        sql.push_str("\n    CYCLE");
    }
    sql.push_str(if table.is_identity_sequence { "\n);\n" } else { ";\n" });
    Ok(sql)
}

/// Returns the default limits of a sequence with this type and direction.
fn limits(sequence: &Sequence) -> Option<(i64, i64)> {
    let (least, greatest) = match sequence.data_type.as_str() {
        "smallint" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "integer" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "bigint" => (i64::MIN, i64::MAX),
        _ => return None,
    };
    Some(if sequence.increment < 0 { (least, -1) } else { (1, greatest) })
}

/// Returns the owning table's qualified name, the table, and the quoted column.
fn owning_column<'a>(em: &Emitter<'a>, sequence: &Table) -> Option<(String, &'a Table, String)> {
    let id = em.catalog.table_by_oid(sequence.owning_table)?;
    let owner = em.catalog.table(id)?;
    let column = em.quoting.id(&owner.column(sequence.owning_column)?.name).to_string();
    Some((em.catalog.qualified(&em.catalog[id]), owner, column))
}

/// Writes `OWNED BY` as a separate entry, because it fails before the sequence has the owner of its table.
fn emit_ownership(em: &mut Emitter<'_>, object: &DumpObject, table: &Table, name: &str) {
    let Some(owner) = em.catalog.table_by_oid(table.owning_table) else { return };
    if !em.catalog[owner].dumps(Components::DEFINITION) {
        return;
    }
    let Some((owner_name, _, column)) = owning_column(em, table) else {
        let error = format!("could not find the owning column of sequence \"{}\"", object.name);
        return em.fail(SqlError::Inconsistent(error));
    };
    let mut entry = em.entry_for(object, EntryKind::SequenceOwnedBy, Section::PreData);
    entry.id = em.next_id();
    entry.catalog_id = CatalogId::default();
    entry.definition = format!("ALTER SEQUENCE {name} OWNED BY {owner_name}.{column};\n");
    entry.dependencies = vec![object.id];
    em.push(entry);
}

/// Writes the entry that sets a sequence's value.
pub(in crate::sql) fn emit_value(em: &mut Emitter<'_>, object: &DumpObject, data: &TableData) {
    if !object.dumps(Components::DATA) {
        return;
    }
    let sequence = &em.catalog[data.table];
    let value = em.catalog.table(data.table).and_then(of).and_then(|s| s.value);
    let Some((last_value, is_called)) = value else {
        let error = format!("could not read the value of sequence \"{}\"", sequence.name);
        return em.fail(SqlError::Inconsistent(error));
    };
    let name = em.catalog.qualified(sequence);
    let mut entry = em.entry_for(sequence, EntryKind::SequenceSet, Section::Data);
    entry.id = em.next_id();
    entry.catalog_id = CatalogId::default();
    entry.definition =
        format!("SELECT pg_catalog.setval({}, {last_value}, {is_called});\n", em.quoting.literal(&name));
    entry.dependencies = vec![sequence.id];
    em.push(entry);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::object::Catalog;
    use crate::sql::options::DumpOptions;

    fn bigint() -> Sequence {
        Sequence {
            data_type: "bigint".to_owned(),
            start: 1,
            increment: 1,
            maximum: i64::MAX,
            minimum: 1,
            cache: 1,
            cycle: false,
            value: None,
        }
    }

    fn render(sequence: Sequence) -> String {
        let table = Table {
            kind: RelationKind::Sequence,
            specifics: Some(Box::new(Specifics::Sequence(sequence))),
            ..Table::default()
        };
        let mut catalog = Catalog::default();
        let id = catalog.add(CatalogId::new(1259, 1), "q".to_owned(), None, Detail::Table(Box::new(table)));
        let options = DumpOptions::default();
        let em = Emitter::new(&catalog, &options);
        definition(&em, &catalog[id], catalog.table(id).unwrap()).unwrap()
    }

    #[test]
    fn default_limits_are_not_written_as_numbers() {
        assert_eq!(
            render(bigint()),
            "CREATE SEQUENCE q\n    START WITH 1\n    INCREMENT BY 1\n    NO MINVALUE\n    NO MAXVALUE\n    CACHE 1;\n"
        );
    }

    #[test]
    fn a_descending_sequence_has_other_limits() {
        let sequence = Sequence {
            data_type: "smallint".to_owned(),
            start: -1,
            increment: -1,
            maximum: -1,
            minimum: -100,
            cycle: true,
            ..bigint()
        };
        assert_eq!(
            render(sequence),
            "CREATE SEQUENCE q\n    AS smallint\n    START WITH -1\n    INCREMENT BY -1\n    MINVALUE -100\n    \
             NO MAXVALUE\n    CACHE 1\n    CYCLE;\n"
        );
    }
}
