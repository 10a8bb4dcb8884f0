//! Privileges: `aclitem` arrays to GRANT and REVOKE. PostgreSQL manual, chapter 5.7 (Privileges).

use super::collect::Collector;
use super::dialect::Dialect;
use super::error::{Result, SqlError};
use super::ident::Quoting;
use super::object::{CatalogId, Components, ObjectKind};
use super::put;
use super::query::CatalogQuery;
use crate::protocol::version::PG13;

/// The privileges of an object, each item as `aclitem` prints it: `grantee=privileges/grantor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acl {
    /// The items of the catalog; `None` means the default.
    pub items: Option<Vec<String>>,
    /// `acldefault()` for the object's type and owner.
    pub default: Vec<String>,
    /// The privileges granted by initdb or an extension's script (`pg_init_privs`), if there is an entry.
    pub initial: Option<Vec<String>>,
}

impl Acl {
    /// Creates the privileges from the catalog's items and `acldefault()`.
    pub fn new(items: Option<Vec<String>>, default: Vec<String>) -> Self {
        Acl { items, default, initial: None }
    }

    /// Returns the commands that change the privileges of a new object to those of this one.
    pub(super) fn commands(
        &self,
        dialect: &Dialect,
        quoting: &Quoting,
        target: &AclTarget<'_>,
    ) -> Result<String> {
        match (&self.items, &self.initial) {
            (Some(items), Some(initial)) => commands(dialect, quoting, target, items, initial),
            (None, Some(initial)) => commands(dialect, quoting, target, &self.default, initial),
            (Some(items), None) => commands(dialect, quoting, target, items, &self.default),
            (None, None) => Ok(String::new()),
        }
    }
}

/// The object that privileges are granted on.
#[derive(Clone, Copy, Debug)]
pub(super) struct AclTarget<'a> {
    /// The words before each command: empty, or `ALTER DEFAULT PRIVILEGES … `.
    pub prefix: &'a str,
    /// The object type in GRANT: `TABLE`, `SEQUENCE`, `FUNCTION`, `SCHEMA`, `LARGE OBJECT`, …
    pub object_type: &'a str,
    /// The object's namespace, raw.
    pub namespace: Option<&'a str>,
    /// The object's name, quoted; empty in default privileges.
    pub name: &'a str,
    /// The column, quoted.
    pub column: Option<&'a str>,
    /// The object's owner, raw; empty if there is none.
    pub owner: &'a str,
}

impl<'a> AclTarget<'a> {
    /// The target for a cluster-wide object; `name` is quoted.
    pub(super) fn global(object_type: &'a str, name: &'a str, owner: &'a str) -> Self {
        AclTarget { prefix: "", object_type, namespace: None, name, column: None, owner }
    }

    /// The words between `ON` and `TO`, with the blanks around them.
    fn on(&self, dialect: &Dialect, quoting: &Quoting) -> String {
        match self.namespace {
            Some(namespace) => format!(" {} {}.{} ", self.object_type, quoting.id(namespace), self.name),
            None if self.name.is_empty() => format!(" {}{}", self.object_type, dialect.default_acl_gap),
            None => format!(" {} {} ", self.object_type, self.name),
        }
    }
}

/// One parsed `aclitem`.
#[derive(Debug, PartialEq, Eq)]
struct AclItem {
    /// Empty for PUBLIC.
    grantee: String,
    grantor: String,
    /// The privileges without grant option, as GRANT lists them; empty if there are none.
    plain: String,
    /// The privileges with grant option.
    with_grant_option: String,
    /// All privileges, with and without grant option.
    all: String,
}

/// Writes REVOKE for items only in `base`, then GRANT for items only in `items`, with the owner's own grants
/// first.
pub(super) fn commands(
    dialect: &Dialect,
    quoting: &Quoting,
    target: &AclTarget<'_>,
    items: &[String],
    base: &[String],
) -> Result<String> {
    let on = target.on(dialect, quoting);
    let prefix = target.prefix;
    let grantee = |name: &str| match name {
        "" => "PUBLIC".to_owned(),
        name => quoting.id(name).to_string(),
    };
    let mut first = String::new();
    let mut second = String::new();
    for revoked in base.iter().filter(|b| !items.contains(b)) {
        let item = parse(dialect, revoked, target)?;
        if !item.all.is_empty() {
            put!(first, "{prefix}REVOKE {} ON{on}FROM {};\n", item.all, grantee(&item.grantee));
        }
    }
    for granted in items.iter().filter(|i| !base.contains(i)) {
        let item = parse(dialect, granted, target)?;
        if item.all.is_empty() {
            continue;
        }
        let grantor = if item.grantor.is_empty() { target.owner } else { &item.grantor };
        let by_owner = !target.owner.is_empty() && grantor == target.owner;
        let sql = if by_owner && item.grantee == target.owner { &mut first } else { &mut second };
        let foreign = !grantor.is_empty() && !by_owner;
        if foreign {
            put!(sql, "SET SESSION AUTHORIZATION {};\n", quoting.id(grantor));
        }
        let to = grantee(&item.grantee);
        if !item.plain.is_empty() {
            put!(sql, "{prefix}GRANT {} ON{on}TO {to};\n", item.plain);
        }
        if !item.with_grant_option.is_empty() {
            put!(sql, "{prefix}GRANT {} ON{on}TO {to} WITH GRANT OPTION;\n", item.with_grant_option);
        }
        if foreign {
            sql.push_str("RESET SESSION AUTHORIZATION;\n");
        }
    }
    Ok(first + &second)
}

/// Maps the privilege letters of an object type to GRANT's words, in the order in which GRANT lists them.
/// Source: PostgreSQL manual, table 5.1 (ACL Privilege Abbreviations).
fn privileges(dialect: &Dialect, target: &AclTarget<'_>) -> Result<&'static [(char, &'static str)]> {
    Ok(match (target.object_type, target.column) {
        ("TABLE" | "TABLES", Some(_)) => {
            &[('r', "SELECT"), ('a', "INSERT"), ('x', "REFERENCES"), ('w', "UPDATE")]
        }
        ("TABLE" | "TABLES", None) => dialect.table_privileges,
        ("SEQUENCE" | "SEQUENCES", _) => &[('r', "SELECT"), ('U', "USAGE"), ('w', "UPDATE")],
        ("FUNCTION" | "FUNCTIONS" | "PROCEDURE" | "PROCEDURES", _) => &[('X', "EXECUTE")],
        ("LANGUAGE" | "TYPE" | "TYPES" | "FOREIGN DATA WRAPPER" | "FOREIGN SERVER", _) => &[('U', "USAGE")],
        ("SCHEMA" | "SCHEMAS", _) => &[('C', "CREATE"), ('U', "USAGE")],
        ("DATABASE", _) => &[('C', "CREATE"), ('c', "CONNECT"), ('T', "TEMPORARY")],
        ("TABLESPACE", _) => &[('C', "CREATE")],
        ("PARAMETER", _) => &[('s', "SET"), ('A', "ALTER SYSTEM")],
        ("LARGE OBJECT", _) => &[('r', "SELECT"), ('w', "UPDATE")],
        (other, _) => {
            return Err(SqlError::Inconsistent(format!("privileges on objects of type {other} are unknown")));
        }
    })
}

fn parse(dialect: &Dialect, item: &str, target: &AclTarget<'_>) -> Result<AclItem> {
    let malformed =
        || SqlError::Inconsistent(format!("could not parse ACL item \"{item}\" of {}", target.name));
    let (grantee, rest) = dequote_role(item, '=').ok_or_else(malformed)?;
    let (codes, grantor) = rest.strip_prefix('=').and_then(|r| r.split_once('/')).ok_or_else(malformed)?;
    let (grantor, rest) = dequote_role(grantor, '=').ok_or_else(malformed)?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    let known = privileges(dialect, target)?;
    let with_column = |word: &str| match target.column {
        Some(column) => format!("{word}({column})"),
        None => word.to_owned(),
    };
    let (mut plain, mut with_grant_option, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for (code, word) in known {
        let Some(at) = codes.find(*code) else { continue };
        let word = with_column(word);
        all.push(word.clone());
        if codes[at + code.len_utf8()..].starts_with('*') {
            with_grant_option.push(word)
        } else {
            plain.push(word)
        }
    }
    // A complete set is written as ALL, so that it includes privileges that a newer server adds.
    let words = |list: Vec<String>| {
        if list.len() == known.len() { with_column("ALL") } else { list.join(",") }
    };
    Ok(AclItem {
        grantee,
        grantor,
        plain: words(plain),
        with_grant_option: words(with_grant_option),
        all: words(all),
    })
}

/// Reads a role name in `aclitem`'s format up to an unquoted `end`; returns the name without quotes, and the
/// rest.
fn dequote_role(text: &str, end: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = text.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' if quoted && chars.peek().is_some_and(|(_, next)| *next == '"') => {
                name.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            c if c == end && !quoted => return Some((name, &text[at..])),
            c => name.push(c),
        }
    }
    (!quoted).then_some((name, ""))
}

const COLUMN_ACLS: CatalogQuery = CatalogQuery {
    what: "column privileges",
    since: PG13,
    text: "
SELECT DISTINCT a.attrelid AS oid
  FROM pg_catalog.pg_attribute a
 WHERE a.attacl IS NOT NULL
 ORDER BY a.attrelid",
    gates: &[],
};

const INITIAL_PRIVILEGES: CatalogQuery = CatalogQuery {
    what: "initial privileges",
    since: PG13,
    text: "
SELECT p.classoid, p.objoid, p.objsubid, pg_catalog.textin(pg_catalog.array_out(p.initprivs)) AS initprivs
  FROM pg_catalog.pg_init_privs p
 ORDER BY p.classoid, p.objoid, p.objsubid",
    gates: &[],
};

/// Marks tables whose columns have privileges, and reads the privileges granted by initdb and extensions,
/// which are not dumped again.
pub(super) async fn collect(cx: &mut Collector<'_>) -> Result<()> {
    for row in cx.rows(&COLUMN_ACLS).await? {
        mark_column_acls(cx, row.oid("oid")?);
    }
    for row in cx.rows(&INITIAL_PRIVILEGES).await? {
        let catalog_id = CatalogId::new(row.oid("classoid")?, row.oid("objoid")?);
        let Some(id) = cx.catalog.find(catalog_id) else { continue };
        let column = row.int4("objsubid")?;
        if column != 0 && cx.catalog[id].kind() == ObjectKind::Table {
            mark_column_acls(cx, catalog_id.oid);
            continue;
        }
        if column != 0 || !has_initial_privileges(cx.catalog[id].kind()) {
            let CatalogId { class, oid } = catalog_id;
            cx.catalog.warn(format!("unsupported pg_init_privs entry: {class} {oid} {column}"));
            continue;
        }
        let object = &mut cx.catalog[id];
        // The entry of `public` is ignored: its collector computes initdb's grants, which depend on the
        // owner, and the owner may have changed.
        if object.kind() == ObjectKind::Namespace && object.name == "public" {
            continue;
        }
        if let Some(acl) = &mut object.acl {
            acl.initial = Some(row.texts("initprivs")?);
        }
    }
    Ok(())
}

/// Whether pg_dump supports initial privileges on objects of this kind.
fn has_initial_privileges(kind: ObjectKind) -> bool {
    matches!(
        kind,
        ObjectKind::Namespace
            | ObjectKind::Type
            | ObjectKind::Function
            | ObjectKind::Aggregate
            | ObjectKind::Table
            | ObjectKind::Language
            | ObjectKind::ForeignDataWrapper
            | ObjectKind::ForeignServer
    )
}

fn mark_column_acls(cx: &mut Collector<'_>, relation: u32) {
    let Some(id) = cx.catalog.table_by_oid(relation) else { return };
    cx.catalog[id].components |= Components::ACL;
    if let Some(table) = cx.catalog.table_mut(id) {
        table.has_column_acls = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table<'a>() -> AclTarget<'a> {
        AclTarget {
            prefix: "",
            object_type: "TABLE",
            namespace: Some("s"),
            name: "t",
            column: None,
            owner: "own",
        }
    }

    fn run(target: &AclTarget<'_>, items: &[&str], base: &[&str]) -> String {
        let list = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        commands(<&Dialect>::default(), &Quoting::default(), target, &list(items), &list(base)).unwrap()
    }

    #[test]
    fn only_the_difference_is_written_and_complete_sets_are_all() {
        let base = ["own=arwdDxt/own"];
        assert_eq!(run(&table(), &base, &base), "");
        assert_eq!(
            run(&table(), &["own=arwdDxt/own", "=r/own", "bob=r*w/own"], &base),
            "GRANT SELECT ON TABLE s.t TO PUBLIC;\n\
             GRANT UPDATE ON TABLE s.t TO bob;\n\
             GRANT SELECT ON TABLE s.t TO bob WITH GRANT OPTION;\n"
        );
        assert_eq!(run(&table(), &[], &base), "REVOKE ALL ON TABLE s.t FROM own;\n");
    }

    #[test]
    fn a_grant_by_another_role_is_made_in_its_name() {
        assert_eq!(
            run(&table(), &["a b=r/bob"].map(|_| "\"a b\"=r/bob"), &[]),
            "SET SESSION AUTHORIZATION bob;\nGRANT SELECT ON TABLE s.t TO \"a b\";\nRESET SESSION AUTHORIZATION;\n"
        );
    }

    #[test]
    fn columns_are_named_in_every_privilege() {
        let target = AclTarget { column: Some("c"), ..table() };
        assert_eq!(run(&target, &["bob=rw/own"], &[]), "GRANT SELECT(c),UPDATE(c) ON TABLE s.t TO bob;\n");
        assert_eq!(run(&target, &["bob=arwx/own"], &[]), "GRANT ALL(c) ON TABLE s.t TO bob;\n");
    }

    #[test]
    fn role_names_with_quotes_and_equal_signs_are_read() {
        assert_eq!(dequote_role("\"a\"\"=b\"=r/x", '='), Some(("a\"=b".to_owned(), "=r/x")));
        assert!(parse(<&Dialect>::default(), "no equal sign", &table()).is_err());
        assert!(parse(<&Dialect>::default(), "a=r", &table()).is_err());
    }
}
