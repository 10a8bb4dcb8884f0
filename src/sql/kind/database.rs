//! The database: `CREATE DATABASE`, its properties, comment, privileges and settings.

use std::sync::Arc;

use crate::archive::toc::TocEntry;
use crate::protocol::Session;
use crate::protocol::version::{PG13, PG15, PG16, PG17};
use crate::sql::acl::Acl;
use crate::sql::code::codes;
use crate::sql::collect::Collector;
use crate::sql::emit::{CommentTarget, Emitter};
use crate::sql::error::{Result, SqlError};
use crate::sql::object::{Catalog, CatalogId, DumpId, EntryKind, Section, class};
use crate::sql::query::{CatalogQuery, CatalogRow, Gate};
use crate::sql::setting::Setting;
use crate::sql::warning::Warning;
use crate::sql::{DumpOptions, put};

const QUERY: CatalogQuery = CatalogQuery {
    what: "the database",
    since: PG13,
    text: "
SELECT d.oid, d.datname::text AS name,
       pg_catalog.current_setting('client_encoding') AS client_encoding,
       NOT EXISTS (
           SELECT
             FROM pg_catalog.unnest('{indisunique,indexprs,indpred,indoption,indclass,indcollation}'::pg_catalog.text[])
                  AS k (name)
            WHERE NOT pg_catalog.has_column_privilege(
                          'pg_catalog.pg_index'::pg_catalog.regclass, k.name, 'SELECT')) AS keys_are_readable
  FROM pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database()",
    gates: &[],
};

/// The columns that only `--create` needs. Without it, the role needs no privilege to read them.
const CREATION: CatalogQuery = CatalogQuery {
    what: "the database's properties",
    since: PG13,
    text: "
SELECT d.datdba AS owner,
       pg_catalog.pg_encoding_to_char(d.encoding)::text AS encoding,
       {provider} AS provider, d.datcollate::text AS collate, d.datctype::text AS ctype,
       {locale} AS locale, {icu_rules} AS icu_rules, pg_catalog.textin(pg_catalog.array_out(d.datacl)) AS acl,
       pg_catalog.textin(pg_catalog.array_out(pg_catalog.acldefault('d', d.datdba))) AS default_acl,
       d.datistemplate AS is_template, d.datconnlimit AS connection_limit, t.spcname::text AS tablespace,
       pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
  FROM pg_catalog.pg_database d
  JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace
 WHERE d.datname = pg_catalog.current_database()",
    gates: &[
        Gate { column: "provider", before: r#"NULL::"char""#, steps: &[(PG15, "d.datlocprovider")] },
        Gate {
            column: "locale",
            before: "NULL::text",
            steps: &[(PG15, "d.daticulocale::text"), (PG17, "d.datlocale")],
        },
        Gate { column: "icu_rules", before: "NULL::text", steps: &[(PG16, "d.daticurules")] },
    ],
};

/// The columns that [`CREATION`] and the other queries about the database's properties read and that the role
/// may not read, by catalog. pg_dump reads these columns only with `--create`.
const UNREADABLE: CatalogQuery = CatalogQuery {
    what: "privileges on catalogs",
    since: PG13,
    text: "
SELECT m.catalog, m.columns, pg_catalog.quote_ident(CURRENT_USER::text) AS role
  FROM (SELECT c.catalog, c.place,
               pg_catalog.array_to_string(ARRAY(
                   SELECT k.name
                     FROM pg_catalog.unnest(c.columns) WITH ORDINALITY AS k (name, place)
                    WHERE NOT pg_catalog.has_column_privilege(c.oid, k.name, 'SELECT')
                    ORDER BY k.place), ', ') AS columns
          FROM (VALUES (1, 'pg_database', 'pg_catalog.pg_database'::pg_catalog.regclass,
                        '{datdba,encoding,{locale}datcollate,datctype,datacl,datistemplate,datconnlimit,dattablespace}'::pg_catalog.text[]),
                       (2, 'pg_tablespace', 'pg_catalog.pg_tablespace'::pg_catalog.regclass,
                        '{oid,spcname}'::pg_catalog.text[]),
                       (3, 'pg_db_role_setting', 'pg_catalog.pg_db_role_setting'::pg_catalog.regclass,
                        '{setdatabase,setrole,setconfig}'::pg_catalog.text[]),
                       (4, 'pg_shdescription', 'pg_catalog.pg_shdescription'::pg_catalog.regclass,
                        '{objoid,classoid,description}'::pg_catalog.text[]),
                       (5, 'pg_shseclabel', 'pg_catalog.pg_shseclabel'::pg_catalog.regclass,
                        '{objoid,classoid,provider,label}'::pg_catalog.text[]))
               AS c (place, catalog, oid, columns)) m
 WHERE m.columns <> ''
 ORDER BY m.place",
    gates: &[Gate {
        column: "locale",
        before: "",
        steps: &[
            (PG15, "datlocprovider,daticulocale,"),
            (PG16, "datlocprovider,daticulocale,daticurules,"),
            (PG17, "datlocprovider,datlocale,daticurules,"),
        ],
    }],
};

/// The size is 0 if the role may not read it, because `pg_database_size()` would raise an error.
const SIZE: CatalogQuery = CatalogQuery {
    what: "the database's size",
    since: PG13,
    text: "
SELECT COALESCE(CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
                       OR pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE')
                     THEN pg_catalog.pg_database_size(d.oid) END, 0)::int8 AS size
  FROM pg_catalog.pg_database d
 WHERE d.datname = pg_catalog.current_database()
 ORDER BY d.oid",
    gates: &[],
};

/// Settings of the database. The query returns at most one row, with the settings in the order in which they
/// were first set.
const SETTINGS: CatalogQuery = CatalogQuery {
    what: "settings of the database",
    since: PG13,
    text: "
SELECT s.setconfig AS settings
  FROM pg_catalog.pg_db_role_setting s
 WHERE s.setrole = 0
   AND s.setdatabase = $1",
    gates: &[],
};

/// Settings of roles in the database. pg_dump does not sort them. This query has the same form as pg_dump's,
/// so the server returns the rows in the same order.
const ROLE_SETTINGS: CatalogQuery = CatalogQuery {
    what: "settings of roles in the database",
    since: PG13,
    text: "
SELECT r.rolname::text AS role, pg_catalog.unnest(s.setconfig) AS setting
  FROM pg_catalog.pg_db_role_setting s, pg_catalog.pg_roles r
 WHERE s.setrole = r.oid
   AND s.setdatabase = $1",
    gates: &[],
};

const LABELS: CatalogQuery = CatalogQuery {
    what: "security labels of the database",
    since: PG13,
    text: "
SELECT l.provider, l.label
  FROM pg_catalog.pg_shseclabel l
 WHERE l.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
   AND l.objoid = $1",
    gates: &[],
};

/// Properties of the database to be dumped.
#[derive(Debug, Default)]
pub struct Database {
    /// Its OID.
    pub oid: u32,
    /// Its name.
    pub name: String,
    /// Whether the role may read the columns of `pg_index` that define the keys. A dump must work without
    /// this privilege, because pg_dump does not read them.
    pub keys_are_readable: bool,
    /// The encoding of the session and of the dump, in the spelling of `client_encoding`.
    pub encoding: String,
    /// The other properties that `--create` writes, if they are needed.
    pub creation: Option<Box<Creation>>,
}

codes! {
    /// The provider of a database's locale.
    LocaleProvider("datlocprovider", "unrecognized locale provider: {code}") {
        Builtin = 'b',
        Libc = 'c',
        Icu = 'i',
    }
}

/// The properties of the database that only `--create` needs.
#[derive(Debug, Default)]
pub struct Creation {
    /// The owner.
    pub owner: Arc<str>,
    /// The encoding in which its data is stored.
    pub encoding: String,
    /// Locale provider; `None` on servers that have only libc.
    pub provider: Option<LocaleProvider>,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// The locale of the provider, unless it is libc.
    pub locale: Option<String>,
    /// Rules that customize ICU's locale.
    pub icu_rules: Option<String>,
    /// Its default tablespace.
    pub tablespace: String,
    /// Privileges.
    pub acl: Acl,
    /// Whether it is a template.
    pub is_template: bool,
    /// Maximum number of connections, -1 for no limit.
    pub connection_limit: i32,
    /// Its comment.
    pub comment: Option<String>,
    /// Security labels, as pairs of provider and label.
    pub labels: Vec<(String, String)>,
    /// Its settings, each as `name=value`.
    pub settings: Vec<String>,
    /// Settings of roles in it, as pairs of role and `name=value`.
    pub role_settings: Vec<(String, String)>,
}

/// Returns the size of the database on the server in bytes, including indexes, or `None` if the role may not
/// read it.
pub(in crate::sql) async fn size(session: &Session) -> Result<Option<u64>> {
    let Some(sql) = SIZE.render(session.version()) else { return Ok(None) };
    let rows = session.catalog_query(&sql, &[]).await;
    let rows = rows.map_err(|source| SIZE.failed(source))?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let size = CatalogRow::new(SIZE.what, row).int8("size")?;
    Ok(u64::try_from(size).ok().filter(|size| *size > 0))
}

/// Reads the properties of the database.
pub(in crate::sql) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    let rows = cx.rows(&QUERY).await?;
    let row = rows.first().ok_or_else(gone)?;
    let oid = row.oid("oid")?;
    refuse_line_breaks(cx, &row.text("name")?)?;
    // With `--create`, an unreadable property is an error, as in pg_dump.
    let is_wanted = cx.options.create || (cx.options.describe_creation && is_creation_readable(cx).await?);
    let creation = if is_wanted { Some(Box::new(creation(cx, oid).await?)) } else { None };
    cx.catalog.database = Database {
        oid,
        name: row.text("name")?,
        keys_are_readable: row.bool("keys_are_readable")?,
        encoding: row.text("client_encoding")?,
        creation,
    };
    Ok(())
}

fn gone() -> SqlError {
    SqlError::Inconsistent("the database that the connection is to does not exist".to_owned())
}

/// Fails with `--create` if the name has a line break. The script connects to the new database, and psql
/// cannot quote a line break in `\connect`: it would read the text after it as commands.
fn refuse_line_breaks(cx: &Collector<'_>, name: &str) -> Result<()> {
    if cx.options.create && name.contains(['\n', '\r']) {
        return Err(SqlError::Selection(format!(
            "database name contains a newline or carriage return: \"{name}\""
        )));
    }
    Ok(())
}

/// Returns whether the role may read the database's properties, and otherwise adds a warning that lists the
/// missing privileges. A backup is complete without them; a restore that creates the database then uses the
/// server's defaults.
async fn is_creation_readable(cx: &mut Collector<'_>) -> Result<bool> {
    let mut details = Vec::new();
    for row in cx.rows(&UNREADABLE).await? {
        let (columns, catalog, role) = (row.text("columns")?, row.text("catalog")?, row.text("role")?);
        details.push(format!("GRANT SELECT ({columns}) ON pg_catalog.{catalog} TO {role};"));
    }
    if details.is_empty() {
        return Ok(true);
    }
    cx.catalog.warnings.push(Warning {
        message: "the database's properties are not saved (owner, encoding, locale, settings, comment, privileges), \
                  as the role may not read them; missing privileges:"
            .to_owned(),
        details,
        hints: vec!["Without them \"restore --create\" creates the database with the server's defaults."],
    });
    Ok(false)
}

async fn creation(cx: &Collector<'_>, oid: u32) -> Result<Creation> {
    let rows = cx.rows(&CREATION).await?;
    let row = rows.first().ok_or_else(gone)?;
    let mut creation = Creation {
        owner: cx.role(row.oid("owner")?)?,
        encoding: row.text("encoding")?,
        provider: row.opt_code("provider")?,
        collate: row.text("collate")?,
        ctype: row.text("ctype")?,
        locale: row.opt_text("locale")?,
        icu_rules: row.opt_text("icu_rules")?,
        tablespace: row.text("tablespace")?,
        acl: Acl::new(row.opt_texts("acl")?, row.texts("default_acl")?),
        is_template: row.bool("is_template")?,
        connection_limit: row.int4("connection_limit")?,
        comment: row.opt_text("comment")?,
        ..Creation::default()
    };
    for row in cx.rows_with(&SETTINGS, &[&oid]).await? {
        creation.settings.extend(row.texts("settings")?);
    }
    for row in cx.rows_with(&ROLE_SETTINGS, &[&oid]).await? {
        creation.role_settings.push((row.text("role")?, row.text("setting")?));
    }
    if !cx.options.no_security_labels {
        for row in cx.rows_with(&LABELS, &[&oid]).await? {
            creation.labels.push((row.text("provider")?, row.text("label")?));
        }
    }
    Ok(creation)
}

/// Writes the entries of the database itself, if `--create` is set.
pub(in crate::sql) fn emit(em: &mut Emitter<'_>) {
    let database = &em.catalog.database;
    let Some(creation) = database.creation.as_ref().filter(|_| em.options.create) else { return };
    let name = em.quoting.id(&database.name).to_string();
    let mut entry = entry(em, creation, EntryKind::Database, Section::PreData);
    let id = entry.id;
    entry.catalog_id = CatalogId::new(class::PG_DATABASE, database.oid);
    entry.tag = database.name.clone();
    entry.definition = create_statement(em, creation, &name);
    entry.drop = format!("DROP DATABASE {name};\n");
    em.push(entry);
    emit_comment(em, creation, id, &name);
    emit_labels(em, creation, id, &name);
    let target =
        CommentTarget { object_type: "DATABASE", name: &name, namespace: None, owner: &creation.owner };
    em.acl_on(&creation.acl, &[id], &target, None);
    emit_properties(em, creation, &name);
}

/// Returns the statements that `--create` writes about the database, without psql's commands: one text for
/// CREATE DATABASE, which must run separately, and one text each for its owner, comment, labels, properties
/// and privileges, if it has them. The result is empty if the properties were not read.
pub(in crate::sql) fn statements(catalog: &Catalog, options: &DumpOptions) -> Vec<String> {
    let options = DumpOptions { create: true, ..options.clone() };
    let mut em = Emitter::new(catalog, &options);
    emit(&mut em);
    let mut entries: Vec<TocEntry> = em.take().collect();
    // The sort must be stable, like the one of a script's passes.
    entries.sort_by_key(|entry| entry.key().pass());
    let mut statements = Vec::new();
    for entry in entries {
        let owner = entry.owner.filter(|owner| entry.desc == EntryKind::Database && !owner.is_empty());
        statements.push(entry.definition);
        if let Some(owner) = owner {
            let (name, owner) = (catalog.quoting.id(&entry.tag), catalog.quoting.id(&owner));
            statements.push(format!("ALTER DATABASE {name} OWNER TO {owner};\n"));
        }
    }
    statements
}

/// Returns an entry about the database in which only identity and owner are set.
fn entry(em: &mut Emitter<'_>, creation: &Creation, desc: EntryKind, section: Section) -> TocEntry {
    TocEntry {
        id: em.next_id(),
        catalog_id: CatalogId::default(),
        tag: String::new(),
        desc,
        section,
        namespace: None,
        tablespace: None,
        table_am: None,
        altered_table_am: None,
        owner: Some(creation.owner.to_string()),
        definition: String::new(),
        drop: String::new(),
        data: None,
        dependencies: Vec::new(),
    }
}

/// Returns `CREATE DATABASE` with only the properties that cannot be altered later. It omits the collation's
/// version, which the target server sets.
fn create_statement(em: &Emitter<'_>, creation: &Creation, name: &str) -> String {
    let mut sql = format!("CREATE DATABASE {name} WITH TEMPLATE = template0");
    let literal = |text| em.quoting.literal(text);
    if !creation.encoding.is_empty() {
        put!(sql, " ENCODING = {}", literal(&creation.encoding));
    }
    if let Some(provider) = creation.provider {
        let provider = match provider {
            LocaleProvider::Builtin => "builtin",
            LocaleProvider::Libc => "libc",
            LocaleProvider::Icu => "icu",
        };
        put!(sql, " LOCALE_PROVIDER = {provider}");
    }
    if !creation.collate.is_empty() && creation.collate == creation.ctype {
        put!(sql, " LOCALE = {}", literal(&creation.collate));
    } else {
        if !creation.collate.is_empty() {
            put!(sql, " LC_COLLATE = {}", literal(&creation.collate));
        }
        if !creation.ctype.is_empty() {
            put!(sql, " LC_CTYPE = {}", literal(&creation.ctype));
        }
    }
    if let Some(locale) = &creation.locale {
        let provider = if creation.provider == Some(LocaleProvider::Builtin) { "BUILTIN" } else { "ICU" };
        put!(sql, " {provider}_LOCALE = {}", literal(locale));
    }
    if let Some(rules) = &creation.icu_rules {
        put!(sql, " ICU_RULES = {}", literal(rules));
    }
    if !creation.tablespace.is_empty() && creation.tablespace != "pg_default" && !em.options.no_tablespaces {
        put!(sql, " TABLESPACE = {}", em.quoting.id(&creation.tablespace));
    }
    sql.push_str(";\n");
    sql
}

fn emit_comment(em: &mut Emitter<'_>, creation: &Creation, id: DumpId, name: &str) {
    let comment = creation.comment.as_deref().filter(|c| !c.is_empty() && !em.options.no_comments);
    let Some(comment) = comment else { return };
    let mut entry = entry(em, creation, EntryKind::Comment, Section::None);
    entry.tag = format!("DATABASE {name}");
    entry.definition = format!("COMMENT ON DATABASE {name} IS {};\n", em.quoting.literal(comment));
    entry.dependencies.push(id);
    em.push(entry);
}

fn emit_labels(em: &mut Emitter<'_>, creation: &Creation, id: DumpId, name: &str) {
    if creation.labels.is_empty() {
        return;
    }
    let mut entry = entry(em, creation, EntryKind::SecurityLabel, Section::None);
    entry.tag = format!("DATABASE {name}");
    for (provider, label) in &creation.labels {
        put!(
            entry.definition,
            "SECURITY LABEL FOR {} ON DATABASE {name} IS {};\n",
            em.quoting.id(provider),
            em.quoting.portable_literal(label)
        );
    }
    entry.dependencies.push(id);
    em.push(entry);
}

/// Writes the properties that can be altered after CREATE DATABASE. They are a separate entry, because
/// `CREATE DATABASE` must not share a transaction with other statements.
///
/// Like pg_dump's entry, it does not depend on the database's entry, but follows it in the order.
fn emit_properties(em: &mut Emitter<'_>, creation: &Creation, name: &str) {
    let (definition, drop) = properties(em, creation, name);
    if definition.is_empty() {
        return;
    }
    let mut entry = entry(em, creation, EntryKind::DatabaseProperties, Section::PreData);
    entry.tag = em.catalog.database.name.clone();
    entry.definition = definition;
    entry.drop = drop;
    em.push(entry);
}

/// Returns the statements that set the database's properties, and those that must run before it is dropped,
/// because a template cannot be dropped.
fn properties(em: &Emitter<'_>, creation: &Creation, name: &str) -> (String, String) {
    let mut sql = String::new();
    let mut drop = String::new();
    if creation.connection_limit != -1 {
        put!(sql, "ALTER DATABASE {name} CONNECTION LIMIT = {};\n", creation.connection_limit);
    }
    if creation.is_template {
        put!(sql, "ALTER DATABASE {name} IS_TEMPLATE = true;\n");
        put!(
            drop,
            "UPDATE pg_catalog.pg_database SET datistemplate = false WHERE datname = {};\n",
            em.quoting.literal(&em.catalog.database.name)
        );
    }
    for setting in creation.settings.iter().filter_map(|item| Setting::parse(item)) {
        put!(sql, "ALTER DATABASE {name} {};\n", setting.alter_clause(em.catalog.dialect, em.quoting));
    }
    for (role, item) in &creation.role_settings {
        let Some(setting) = Setting::parse(item) else { continue };
        let role = em.quoting.id(role);
        put!(
            sql,
            "ALTER ROLE {role} IN DATABASE {name} {};\n",
            setting.alter_clause(em.catalog.dialect, em.quoting)
        );
    }
    (sql, drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn creation() -> Creation {
        Creation {
            encoding: "UTF8".to_owned(),
            provider: Some(LocaleProvider::Libc),
            collate: "C.UTF-8".to_owned(),
            ctype: "C.UTF-8".to_owned(),
            tablespace: "pg_default".to_owned(),
            connection_limit: -1,
            ..Creation::default()
        }
    }

    fn with<T>(run: impl FnOnce(&Emitter<'_>) -> T) -> T {
        let mut catalog = Catalog::default();
        catalog.database.name = "d".to_owned();
        run(&Emitter::new(&catalog, &DumpOptions::default()))
    }

    #[test]
    fn a_plain_database_names_its_encoding_and_locale() {
        let sql = with(|em| create_statement(em, &creation(), "d"));
        let want = "CREATE DATABASE d WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE_PROVIDER = libc \
                    LOCALE = 'C.UTF-8';\n";
        assert_eq!(sql, want);
    }

    #[test]
    fn different_locales_icu_and_tablespace_are_named() {
        let creation = Creation {
            provider: Some(LocaleProvider::Icu),
            ctype: "C".to_owned(),
            locale: Some("de".to_owned()),
            tablespace: "Fast".to_owned(),
            ..creation()
        };
        let sql = with(|em| create_statement(em, &creation, "d"));
        assert!(sql.ends_with(
            "LOCALE_PROVIDER = icu LC_COLLATE = 'C.UTF-8' LC_CTYPE = 'C' ICU_LOCALE = 'de' \
             TABLESPACE = \"Fast\";\n"
        ));
    }

    #[test]
    fn only_changed_properties_are_set() {
        assert_eq!(with(|em| properties(em, &creation(), "d")), (String::new(), String::new()));
        let creation = Creation {
            is_template: true,
            connection_limit: 5,
            settings: vec!["search_path=\"$user\", a".to_owned()],
            role_settings: vec![("R".to_owned(), "work_mem=1MB".to_owned())],
            ..creation()
        };
        let (sql, drop) = with(|em| properties(em, &creation, "d"));
        let want = "ALTER DATABASE d CONNECTION LIMIT = 5;\nALTER DATABASE d IS_TEMPLATE = true;\n\
                    ALTER DATABASE d SET search_path TO '$user', 'a';\n\
                    ALTER ROLE \"R\" IN DATABASE d SET work_mem TO '1MB';\n";
        assert_eq!(sql, want);
        assert_eq!(drop, "UPDATE pg_catalog.pg_database SET datistemplate = false WHERE datname = 'd';\n");
    }
}
