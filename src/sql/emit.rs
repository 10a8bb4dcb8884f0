//! Objects → TOC entries, in the order that `sql::sort` returns.

use super::acl::AclTarget;
use super::error::Result;
use super::ident::Quoting;
use super::kind;
use super::object::{Catalog, CatalogId, Detail, DumpId, DumpObject, EntryKind, Section};
use super::options::DumpOptions;
use super::put;
use super::warning::Warning;
use crate::archive::toc::TocEntry;

/// The context in which each kind writes its entries.
#[derive(Debug)]
pub struct Emitter<'a> {
    /// All collected objects.
    pub catalog: &'a Catalog,
    /// The options of the dump.
    pub options: &'a DumpOptions,
    /// The rules for quoting names and strings.
    pub quoting: &'a Quoting,
    entries: Vec<TocEntry>,
    last_id: u32,
    warnings: Vec<Warning>,
    failure: Option<super::error::SqlError>,
}

/// The target of a comment or label, as the statement names it.
#[derive(Clone, Copy, Debug)]
pub struct CommentTarget<'a> {
    /// The words after `ON`: `TABLE`, `COLUMN`, `TEXT SEARCH PARSER`, …
    pub object_type: &'a str,
    /// The quoted name, without the namespace.
    pub name: &'a str,
    /// The namespace, raw; `None` for objects outside namespaces.
    pub namespace: Option<&'a str>,
    /// The object's owner, raw; empty if there is none.
    pub owner: &'a str,
}

/// pg_dump creates the entries for encoding, string syntax and search path before all others. In plain text
/// they are part of the frame, but they use up ids, which verbose banners show.
const SPECIAL_ENTRIES: u32 = 3;

impl<'a> Emitter<'a> {
    /// Returns an emitter without entries.
    pub fn new(catalog: &'a Catalog, options: &'a DumpOptions) -> Self {
        let quoting = &catalog.quoting;
        let mut em = Emitter {
            catalog,
            options,
            quoting,
            entries: Vec::new(),
            last_id: 0,
            warnings: Vec::new(),
            failure: None,
        };
        em.start_over();
        em
    }

    /// Adds an entry.
    pub fn push(&mut self, entry: TocEntry) {
        self.entries.push(entry);
    }

    /// Returns the entries added since the last call.
    pub(super) fn take(&mut self) -> std::vec::Drain<'_, TocEntry> {
        self.entries.drain(..)
    }

    /// Returns the warnings, or the first failure.
    pub(super) fn finish(self) -> Result<Vec<Warning>> {
        self.failure.map_or(Ok(self.warnings), Err)
    }

    /// The last id assigned to an entry that has no object.
    pub(super) fn last_id(&self) -> u32 {
        self.last_id
    }

    /// Assigns ids after `last_id` from now on.
    pub(super) fn go_on_from(&mut self, last_id: u32) {
        self.last_id = last_id;
    }

    /// Assigns ids from the first one after those of the objects and the special entries.
    pub(super) fn start_over(&mut self) {
        let objects = u32::try_from(self.catalog.len()).expect("ids are 32 bits wide");
        self.last_id = objects + SPECIAL_ENTRIES;
    }

    /// The next free id, for an entry that has no object.
    pub fn next_id(&mut self) -> DumpId {
        self.last_id += 1;
        DumpId(self.last_id)
    }

    /// Returns a new entry with the object's identity, namespace and owner; everything else is empty. `tag`
    /// is the raw name.
    pub fn entry_for(&self, object: &DumpObject, desc: EntryKind, section: Section) -> TocEntry {
        TocEntry {
            id: object.id,
            catalog_id: object.catalog_id,
            tag: object.name.clone(),
            desc,
            section,
            namespace: self.catalog.namespace_name(object).map(str::to_owned),
            tablespace: None,
            table_am: None,
            altered_table_am: None,
            owner: object.owner.as_deref().map(str::to_owned),
            definition: String::new(),
            drop: String::new(),
            data: None,
            dependencies: Vec::new(),
        }
    }

    /// Returns a new post-data entry for an object that belongs to a relation or domain and has no owner: its
    /// tag contains both names, and the parent's owner executes it.
    pub fn entry_on(&self, object: &DumpObject, parent: &DumpObject, desc: EntryKind) -> TocEntry {
        TocEntry {
            tag: format!("{} {}", parent.name, object.name),
            owner: parent.owner.as_deref().map(str::to_owned),
            ..self.entry_for(object, desc, Section::PostData)
        }
    }

    /// Writes the comment on an object that is named through its parent: `words` is `CONSTRAINT name ON`,
    /// `TRIGGER name ON`, …; the comment is attached to the entry `to`.
    pub fn comment_on_member(&mut self, object: &DumpObject, words: &str, parent: &DumpObject, to: DumpId) {
        let name = self.quoting.id(&parent.name).to_string();
        let target = CommentTarget {
            object_type: words,
            name: &name,
            namespace: self.catalog.namespace_name(parent),
            owner: parent.owner_name(),
        };
        self.comment_on(object.catalog_id, 0, to, &target);
    }

    /// Returns an entry attached to another: its comment, label or privileges.
    fn attached_entry(
        &mut self,
        to: DumpId,
        tag: String,
        desc: EntryKind,
        target: &CommentTarget<'_>,
        definition: String,
    ) -> TocEntry {
        TocEntry {
            id: self.next_id(),
            catalog_id: CatalogId::default(),
            tag,
            desc,
            section: Section::None,
            namespace: target.namespace.map(str::to_owned),
            tablespace: None,
            table_am: None,
            altered_table_am: None,
            owner: Some(target.owner.to_owned()),
            definition,
            drop: String::new(),
            data: None,
            dependencies: vec![to],
        }
    }

    /// Adds a warning for the user.
    pub fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(Warning::new(message));
    }

    /// Keeps the first failure. The dump then fails instead of omitting the object.
    pub fn fail(&mut self, error: super::error::SqlError) {
        self.failure.get_or_insert(error);
    }

    /// Whether comments and labels on this type are omitted: those of large objects count as data, all others
    /// as schema.
    fn leaves_out(&self, object_type: &str) -> bool {
        if object_type == "LARGE OBJECT" { self.options.schema_only } else { self.options.data_only }
    }

    /// Writes the comment on the object, if it has one.
    pub fn comment(&mut self, object: &DumpObject, target: &CommentTarget<'_>) {
        self.comment_on(object.catalog_id, 0, object.id, target);
    }

    /// Writes the comment on `subid` of a catalog row, attached to the entry `to`.
    pub fn comment_on(&mut self, catalog_id: CatalogId, subid: i32, to: DumpId, target: &CommentTarget<'_>) {
        let comments = self.catalog.comments.get(&catalog_id);
        let found = comments.and_then(|c| c.iter().find(|(s, _)| *s == subid));
        if let Some((_, text)) = found {
            self.write_comment(to, target, text);
        }
    }

    /// Writes the comment on an object that initdb creates with a comment: nothing if the comment is
    /// unchanged, an empty comment if it was removed.
    pub fn comment_unless_initial(&mut self, object: &DumpObject, target: &CommentTarget<'_>, initial: &str) {
        let comments = self.catalog.comments.get(&object.catalog_id);
        let text =
            comments.and_then(|c| c.iter().find(|(s, _)| *s == 0)).map_or("", |(_, text)| text.as_str());
        if text != initial {
            self.write_comment(object.id, target, text);
        }
    }

    fn write_comment(&mut self, to: DumpId, target: &CommentTarget<'_>, text: &str) {
        if self.options.no_comments || self.leaves_out(target.object_type) {
            return;
        }
        let name = self.qualify(target);
        let definition =
            format!("COMMENT ON {} {name} IS {};\n", target.object_type, self.quoting.literal(text));
        let tag = format!("{} {}", target.object_type, target.name);
        let entry = self.attached_entry(to, tag, EntryKind::Comment, target, definition);
        self.push(entry);
    }

    /// Writes the security labels on the object.
    pub fn security_label(&mut self, object: &DumpObject, target: &CommentTarget<'_>) {
        self.security_label_on(object.catalog_id, object.id, target);
    }

    /// Writes the security labels of a catalog row, attached to the entry `to`.
    pub fn security_label_on(&mut self, catalog_id: CatalogId, to: DumpId, target: &CommentTarget<'_>) {
        if self.options.no_security_labels || self.leaves_out(target.object_type) {
            return;
        }
        let Some(labels) = self.catalog.security_labels.get(&catalog_id) else { return };
        let name = self.qualify(target);
        let mut definition = String::new();
        for label in labels.iter().filter(|l| l.subid == 0) {
            put!(
                definition,
                "SECURITY LABEL FOR {} ON {} {name} IS {};\n",
                self.quoting.id(&label.provider),
                target.object_type,
                self.quoting.literal(&label.label)
            );
        }
        self.attach_labels(to, target, definition);
    }

    /// Adds an entry with the given `SECURITY LABEL` statements, unless they are empty.
    pub fn attach_labels(&mut self, to: DumpId, target: &CommentTarget<'_>, definition: String) {
        if definition.is_empty() {
            return;
        }
        let tag = format!("{} {}", target.object_type, target.name);
        let entry = self.attached_entry(to, tag, EntryKind::SecurityLabel, target, definition);
        self.push(entry);
    }

    /// Writes the object's privileges if they differ from those of a new object. Returns the id of the entry,
    /// if one was added, so that privileges on columns can depend on it.
    pub fn acl(&mut self, object: &DumpObject, target: &CommentTarget<'_>) -> Option<DumpId> {
        let acl = object.acl.as_deref()?;
        self.acl_on(acl, &[object.id], target, None)
    }

    /// Writes the privileges of a group of objects whose first one is the target: `repeat` turns the commands for
    /// the first one into those for all.
    pub fn acl_for_each(
        &mut self,
        object: &DumpObject,
        target: &CommentTarget<'_>,
        tag: String,
        repeat: impl FnOnce(&str) -> String,
    ) {
        if self.acl(object, target).is_some()
            && let Some(entry) = self.entries.last_mut()
        {
            entry.definition = repeat(&entry.definition);
            entry.tag = tag;
        }
    }

    /// Writes the given privileges of an object or of one of its columns.
    pub fn acl_on(
        &mut self,
        acl: &super::acl::Acl,
        after: &[DumpId],
        target: &CommentTarget<'_>,
        column: Option<&str>,
    ) -> Option<DumpId> {
        let is_large_object = target.object_type == "LARGE OBJECT";
        if self.options.no_privileges || (self.options.data_only && !is_large_object) {
            return None;
        }
        let acl_target = AclTarget {
            prefix: "",
            object_type: target.object_type,
            namespace: target.namespace,
            name: target.name,
            column,
            owner: target.owner,
        };
        let definition = match acl.commands(self.catalog.dialect, self.quoting, &acl_target) {
            Ok(definition) => definition,
            Err(error) => {
                self.fail(error);
                return None;
            }
        };
        if definition.is_empty() {
            return None;
        }
        let tag = match column {
            Some(column) => format!("COLUMN {}.{column}", target.name),
            None => format!("{} {}", target.object_type, target.name),
        };
        let mut entry = self.attached_entry(*after.first()?, tag, EntryKind::Acl, target, definition);
        entry.dependencies = after.to_vec();
        let id = entry.id;
        self.push(entry);
        Some(id)
    }

    fn qualify(&self, target: &CommentTarget<'_>) -> String {
        match target.namespace {
            Some(namespace) => format!("{}.{}", self.quoting.id(namespace), target.name),
            None => target.name.to_owned(),
        }
    }

    /// Returns `ALTER … DEPENDS ON EXTENSION …;` for each extension that the object depends on, to append
    /// to its definition. `keyword` is `FUNCTION`, `TABLE`, …; `name` is qualified and quoted.
    pub fn depends_on_extension(&self, object: &DumpObject, keyword: &str, name: &str) -> String {
        let mut sql = String::new();
        for extension in self.catalog.explicit_extensions(object.id) {
            let (before, after) = self.catalog.dialect.around_extension_dependency;
            let extension = self.quoting.id(extension);
            put!(sql, "{before}ALTER {keyword} {name} DEPENDS ON EXTENSION {extension};{after}");
        }
        sql
    }
}

/// Writes the entries of the database itself, which precede all others.
pub(super) fn emit_database(em: &mut Emitter<'_>) {
    kind::database::emit(em);
}

/// Writes the entries of one object.
pub(super) fn emit_object(em: &mut Emitter<'_>, id: DumpId) {
    let object = &em.catalog[id];
    if object.dump.is_empty() {
        return;
    }
    match &object.detail {
        Detail::Namespace(detail) => kind::namespace::emit(em, object, detail),
        Detail::Extension(detail) => kind::extension::emit(em, object, detail),
        Detail::Type(detail) => kind::data_type::emit(em, object, detail),
        Detail::ShellType(detail) => kind::data_type::emit_shell(em, object, detail),
        Detail::Function(detail) => kind::function::emit(em, object, detail),
        Detail::Aggregate(detail) => kind::aggregate::emit(em, object, detail),
        Detail::Operator(detail) => kind::operator::emit(em, object, detail),
        Detail::AccessMethod(detail) => kind::access_method::emit(em, object, detail),
        Detail::OperatorClass(detail) => kind::operator_class::emit(em, object, detail),
        Detail::OperatorFamily(detail) => kind::operator_family::emit(em, object, detail),
        Detail::Collation(detail) => kind::collation::emit(em, object, detail),
        Detail::Conversion(detail) => kind::conversion::emit(em, object, detail),
        Detail::Table(detail) => kind::table::emit(em, object, detail),
        Detail::TableAttach(detail) => kind::table_attach::emit(em, object, detail),
        Detail::AttributeDefault(detail) => kind::attribute_default::emit(em, object, detail),
        Detail::Index(detail) => kind::index::emit(em, object, detail),
        Detail::IndexAttach(detail) => kind::index_attach::emit(em, object, detail),
        Detail::Statistics(detail) => kind::statistics::emit(em, object, detail),
        Detail::Rule(detail) => kind::rule::emit(em, object, detail),
        Detail::Trigger(detail) => kind::trigger::emit(em, object, detail),
        Detail::Constraint(detail) | Detail::ForeignKey(detail) => kind::constraint::emit(em, object, detail),
        Detail::Language(detail) => kind::language::emit(em, object, detail),
        Detail::Cast(detail) => kind::cast::emit(em, object, detail),
        Detail::TableData(detail) => kind::table_data::emit(em, object, detail),
        Detail::SequenceSet(detail) => kind::sequence::emit_value(em, object, detail),
        Detail::DummyType(_) => {}
        Detail::TsParser(detail) => kind::ts_parser::emit(em, object, detail),
        Detail::TsDictionary(detail) => kind::ts_dictionary::emit(em, object, detail),
        Detail::TsTemplate(detail) => kind::ts_template::emit(em, object, detail),
        Detail::TsConfiguration(detail) => kind::ts_configuration::emit(em, object, detail),
        Detail::ForeignDataWrapper(detail) => kind::foreign_data_wrapper::emit(em, object, detail),
        Detail::ForeignServer(detail) => kind::foreign_server::emit(em, object, detail),
        Detail::DefaultAcl(detail) => kind::default_acl::emit(em, object, detail),
        Detail::Transform(detail) => kind::transform::emit(em, object, detail),
        Detail::LargeObject(detail) => kind::large_object::emit(em, object, detail),
        Detail::LargeObjectData(detail) => kind::large_object::emit_data(em, object, detail),
        Detail::PreDataBoundary(()) | Detail::PostDataBoundary(()) => {}
        Detail::EventTrigger(detail) => kind::event_trigger::emit(em, object, detail),
        Detail::MatviewRefresh(detail) => kind::matview_refresh::emit(em, object, detail),
        Detail::Policy(detail) => kind::policy::emit(em, object, detail),
        Detail::Publication(detail) => kind::publication::emit(em, object, detail),
        Detail::PublicationTable(detail) => kind::publication_table::emit(em, object, detail),
        Detail::PublicationNamespace(detail) => kind::publication_namespace::emit(em, object, detail),
        Detail::Subscription(detail) => kind::subscription::emit(em, object, detail),
    }
}
