//! The objects of a dump: identity, components to dump, dependencies, and the arena that holds all objects.
//! Data specific to a kind is defined in the kind's own file, as the [`Detail`].

use std::collections::HashMap;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

pub use crate::archive::entry_kind::EntryKind;
pub use crate::archive::section::Section;
pub use crate::archive::toc::{CatalogId, DumpId};

use super::acl::Acl;
use super::comment::Comments;
use super::dialect::Dialect;
use super::ident::Quoting;
use super::kind;
use super::seclabel::SecurityLabels;
use super::warning::Warning;

/// OIDs of the system catalogs, which have not changed in any release. Source: `pg_class` of any server,
/// `src/include/catalog/pg_*.h`.
pub mod class {
    /// `pg_am`.
    pub const PG_AM: u32 = 2601;
    /// `pg_attrdef`.
    pub const PG_ATTRDEF: u32 = 2604;
    /// `pg_authid`.
    pub const PG_AUTHID: u32 = 1260;
    /// `pg_cast`.
    pub const PG_CAST: u32 = 2605;
    /// `pg_class`.
    pub const PG_CLASS: u32 = 1259;
    /// `pg_collation`.
    pub const PG_COLLATION: u32 = 3456;
    /// `pg_constraint`.
    pub const PG_CONSTRAINT: u32 = 2606;
    /// `pg_conversion`.
    pub const PG_CONVERSION: u32 = 2607;
    /// `pg_database`.
    pub const PG_DATABASE: u32 = 1262;
    /// `pg_default_acl`.
    pub const PG_DEFAULT_ACL: u32 = 826;
    /// `pg_event_trigger`.
    pub const PG_EVENT_TRIGGER: u32 = 3466;
    /// `pg_extension`.
    pub const PG_EXTENSION: u32 = 3079;
    /// `pg_foreign_data_wrapper`.
    pub const PG_FOREIGN_DATA_WRAPPER: u32 = 2328;
    /// `pg_foreign_server`.
    pub const PG_FOREIGN_SERVER: u32 = 1417;
    /// `pg_language`.
    pub const PG_LANGUAGE: u32 = 2612;
    /// `pg_largeobject`, the class of large objects in `pg_description`, `pg_seclabel` and `pg_depend`.
    pub const PG_LARGEOBJECT: u32 = 2613;
    /// `pg_namespace`.
    pub const PG_NAMESPACE: u32 = 2615;
    /// `pg_opclass`.
    pub const PG_OPCLASS: u32 = 2616;
    /// `pg_operator`.
    pub const PG_OPERATOR: u32 = 2617;
    /// `pg_opfamily`.
    pub const PG_OPFAMILY: u32 = 2753;
    /// `pg_policy`.
    pub const PG_POLICY: u32 = 3256;
    /// `pg_proc`.
    pub const PG_PROC: u32 = 1255;
    /// `pg_publication`.
    pub const PG_PUBLICATION: u32 = 6104;
    /// `pg_publication_namespace`.
    pub const PG_PUBLICATION_NAMESPACE: u32 = 6237;
    /// `pg_publication_rel`.
    pub const PG_PUBLICATION_REL: u32 = 6106;
    /// `pg_rewrite`.
    pub const PG_REWRITE: u32 = 2618;
    /// `pg_statistic_ext`.
    pub const PG_STATISTIC_EXT: u32 = 3381;
    /// `pg_subscription`.
    pub const PG_SUBSCRIPTION: u32 = 6100;
    /// `pg_tablespace`.
    pub const PG_TABLESPACE: u32 = 1213;
    /// `pg_transform`.
    pub const PG_TRANSFORM: u32 = 3576;
    /// `pg_trigger`.
    pub const PG_TRIGGER: u32 = 2620;
    /// `pg_ts_config`.
    pub const PG_TS_CONFIG: u32 = 3602;
    /// `pg_ts_dict`.
    pub const PG_TS_DICT: u32 = 3600;
    /// `pg_ts_parser`.
    pub const PG_TS_PARSER: u32 = 3601;
    /// `pg_ts_template`.
    pub const PG_TS_TEMPLATE: u32 = 3764;
    /// `pg_type`.
    pub const PG_TYPE: u32 = 1247;
}

/// The last OID that initdb may assign (`FirstNormalObjectId` − 1, `src/include/access/transam.h`).
pub const LAST_BUILTIN_OID: u32 = 16383;

bitflags::bitflags! {
    /// The parts of an object that can be dumped separately.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Components: u8 {
        /// The core definition.
        const DEFINITION = 1;
        /// Rows or contents.
        const DATA = 1 << 1;
        /// The comment.
        const COMMENT = 1 << 2;
        /// The security labels.
        const SECLABEL = 1 << 3;
        /// The privileges.
        const ACL = 1 << 4;
        /// The row-security policies.
        const POLICY = 1 << 5;
        /// The user mappings.
        const USERMAP = 1 << 6;
    }
}

impl Components {
    /// The components that can be written only while a lock on the table is held, because they need server
    /// functions that read the newest catalogs instead of the snapshot.
    pub const REQUIRING_LOCK: Components =
        Components::DEFINITION.union(Components::DATA).union(Components::POLICY);
}

/// An object that can be dumped.
#[derive(Debug)]
pub struct DumpObject {
    /// The id in this dump.
    pub id: DumpId,
    /// The catalog row of the object.
    pub catalog_id: CatalogId,
    /// The raw name. Objects of one kind are sorted by it, so each kind defines which catalog text it is.
    pub name: String,
    /// The namespace of the object.
    pub namespace: Option<DumpId>,
    /// The requested components.
    pub dump: Components,
    /// The requested components of the objects inside it (namespaces, extensions).
    pub dump_contains: Components,
    /// The components that the object has. Only components in both `dump` and `components` are written.
    pub components: Components,
    /// Whether an extension owns it.
    pub ext_member: bool,
    /// The objects that must come before it, in the order found, with duplicates.
    pub dependencies: Vec<DumpId>,
    /// Owner; `None` for kinds that have none.
    pub owner: Option<Arc<str>>,
    /// Privileges; `None` for kinds that have none.
    pub acl: Option<Box<Acl>>,
    /// Data specific to the kind.
    pub detail: Detail,
}

impl DumpObject {
    /// The object's kind.
    pub fn kind(&self) -> ObjectKind {
        self.detail.kind()
    }

    /// Whether all of `components` are requested.
    pub fn dumps(&self, components: Components) -> bool {
        self.dump.contains(components)
    }

    /// The owner's name, or the empty string.
    pub fn owner_name(&self) -> &str {
        self.owner.as_deref().unwrap_or("")
    }

    /// Adds a dependency. Duplicates are kept: the order of loop repair depends on them.
    pub fn depend_on(&mut self, id: DumpId) {
        self.dependencies.push(id);
    }

    /// Removes every occurrence of a dependency.
    pub fn forget_dependency(&mut self, id: DumpId) {
        self.dependencies.retain(|d| *d != id);
    }
}

/// The type that a [`Detail`] holds: the struct itself, or a box of it.
macro_rules! held {
    ($ty:ty) => { $ty };
    ($ty:ty, boxed) => { Box<$ty> };
}

/// Declares each kind once: in the enum of kinds, in the enum of details, and as a pair of accessors on
/// [`Catalog`].
macro_rules! kinds {
    ($( $(#[$doc:meta])* $kind:ident ( $ty:ty ) $get:ident $get_mut:ident $($boxed:ident)?, )* ) => {
        /// The kinds of objects. The order of the variants breaks ties between kinds that share a
        /// priority in the dump (`sql::sort`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ObjectKind { $( $(#[$doc])* $kind, )* }

        impl ObjectKind {
            /// The number of kinds.
            pub const COUNT: usize = [$( ObjectKind::$kind, )*].len();
        }

        /// Data specific to the object's kind. Large structs are boxed: a catalog has many objects, and each
        /// takes the size of the largest variant.
        #[derive(Debug)]
        pub enum Detail { $( $(#[$doc])* $kind(held!($ty $(, $boxed)?)), )* }

        impl Detail {
            /// The kind of this detail.
            pub fn kind(&self) -> ObjectKind {
                match self { $( Detail::$kind(_) => ObjectKind::$kind, )* }
            }
        }

        impl Catalog {
            $(
                #[doc = concat!("The object as a [`", stringify!($kind), "`](Detail::", stringify!($kind), "), if it is one.")]
                pub fn $get(&self, id: DumpId) -> Option<&$ty> {
                    match &self[id].detail { Detail::$kind(detail) => Some(detail), _ => None }
                }

                #[doc = concat!("The object as a [`", stringify!($kind), "`](Detail::", stringify!($kind), ") to be changed, if it is one.")]
                pub fn $get_mut(&mut self, id: DumpId) -> Option<&mut $ty> {
                    match &mut self[id].detail { Detail::$kind(detail) => Some(detail), _ => None }
                }
            )*
        }
    };
}

kinds! {
    /// A namespace.
    Namespace(kind::namespace::Namespace) namespace namespace_mut,
    /// An extension.
    Extension(kind::extension::Extension) extension extension_mut boxed,
    /// A data type with a definition of its own.
    Type(kind::data_type::DataType) data_type data_type_mut boxed,
    /// The shell of a base type, created before its functions.
    ShellType(kind::data_type::ShellType) shell_type shell_type_mut,
    /// A function or procedure.
    Function(kind::function::Function) function function_mut,
    /// An aggregate.
    Aggregate(kind::aggregate::Aggregate) aggregate aggregate_mut,
    /// An operator.
    Operator(kind::operator::Operator) operator operator_mut,
    /// An index or table access method.
    AccessMethod(kind::access_method::AccessMethod) access_method access_method_mut,
    /// An operator class.
    OperatorClass(kind::operator_class::OperatorClass) operator_class operator_class_mut,
    /// An operator family.
    OperatorFamily(kind::operator_family::OperatorFamily) operator_family operator_family_mut,
    /// A collation.
    Collation(kind::collation::Collation) collation collation_mut,
    /// A conversion between encodings.
    Conversion(kind::conversion::Conversion) conversion conversion_mut boxed,
    /// A table, view, materialized view, sequence or foreign table.
    Table(kind::table::Table) table table_mut boxed,
    /// `ALTER TABLE … ATTACH PARTITION`.
    TableAttach(kind::table_attach::TableAttach) table_attach table_attach_mut,
    /// A column's default or generation expression.
    AttributeDefault(kind::attribute_default::AttributeDefault) attribute_default attribute_default_mut,
    /// An index.
    Index(kind::index::Index) index index_mut boxed,
    /// `ALTER INDEX … ATTACH PARTITION`.
    IndexAttach(kind::index_attach::IndexAttach) index_attach index_attach_mut,
    /// Extended statistics.
    Statistics(kind::statistics::Statistics) statistics statistics_mut,
    /// A rewrite rule.
    Rule(kind::rule::Rule) rule rule_mut,
    /// A trigger.
    Trigger(kind::trigger::Trigger) trigger trigger_mut,
    /// A constraint of a table or domain, except foreign keys.
    Constraint(kind::constraint::Constraint) constraint constraint_mut,
    /// A foreign key.
    ForeignKey(kind::constraint::Constraint) foreign_key foreign_key_mut,
    /// A procedural language.
    Language(kind::language::Language) language language_mut,
    /// A cast.
    Cast(kind::cast::Cast) cast cast_mut,
    /// A table's rows.
    TableData(kind::table_data::TableData) table_data table_data_mut,
    /// A sequence's value.
    SequenceSet(kind::table_data::TableData) sequence_set sequence_set_mut,
    /// A table's row type or an automatic array or multirange type: never written, but other objects depend
    /// on it.
    DummyType(kind::data_type::DummyType) dummy_type dummy_type_mut,
    /// A text search parser.
    TsParser(kind::ts_parser::TsParser) ts_parser ts_parser_mut boxed,
    /// A text search dictionary.
    TsDictionary(kind::ts_dictionary::TsDictionary) ts_dictionary ts_dictionary_mut boxed,
    /// A text search template.
    TsTemplate(kind::ts_template::TsTemplate) ts_template ts_template_mut,
    /// A text search configuration.
    TsConfiguration(kind::ts_configuration::TsConfiguration) ts_configuration ts_configuration_mut boxed,
    /// A foreign-data wrapper.
    ForeignDataWrapper(kind::foreign_data_wrapper::ForeignDataWrapper) foreign_data_wrapper foreign_data_wrapper_mut boxed,
    /// A foreign server.
    ForeignServer(kind::foreign_server::ForeignServer) foreign_server foreign_server_mut boxed,
    /// Default privileges.
    DefaultAcl(kind::default_acl::DefaultAcl) default_acl default_acl_mut,
    /// A transform.
    Transform(kind::transform::Transform) transform transform_mut,
    /// A large object's definition.
    LargeObject(kind::large_object::LargeObject) large_object large_object_mut,
    /// The contents of all large objects.
    LargeObjectData(kind::large_object::LargeObjectData) large_object_data large_object_data_mut,
    /// The end of the pre-data section.
    PreDataBoundary(()) pre_data_boundary pre_data_boundary_mut,
    /// The start of the post-data section.
    PostDataBoundary(()) post_data_boundary post_data_boundary_mut,
    /// An event trigger.
    EventTrigger(kind::event_trigger::EventTrigger) event_trigger event_trigger_mut boxed,
    /// `REFRESH MATERIALIZED VIEW`.
    MatviewRefresh(kind::matview_refresh::MatviewRefresh) matview_refresh matview_refresh_mut,
    /// A policy, or a record that row security is enabled on a table.
    Policy(kind::policy::Policy) policy policy_mut boxed,
    /// A publication.
    Publication(kind::publication::Publication) publication publication_mut,
    /// A table in a publication.
    PublicationTable(kind::publication_table::PublicationTable) publication_table publication_table_mut,
    /// A namespace in a publication.
    PublicationNamespace(kind::publication_namespace::PublicationNamespace) publication_namespace publication_namespace_mut,
    /// A subscription.
    Subscription(kind::subscription::Subscription) subscription subscription_mut boxed,
}

/// A map keyed by catalog row, looked up for every row of `pg_depend`. OIDs are not user input, so a fast
/// hash without protection against collisions is enough.
pub type ByCatalogId<T> = HashMap<CatalogId, T, foldhash::fast::RandomState>;

/// All data read from the catalogs: the arena of objects and the maps to look them up.
#[derive(Debug, Default)]
pub struct Catalog {
    objects: Vec<DumpObject>,
    by_catalog_id: ByCatalogId<DumpId>,
    owning_extension: ByCatalogId<DumpId>,
    explicit_extensions: HashMap<DumpId, Vec<DumpId>>,
    /// All comments, by object and column.
    pub comments: Comments,
    /// All security labels, by object and column.
    pub security_labels: SecurityLabels,
    /// What pg_dump of the server's major prints.
    pub dialect: &'static Dialect,
    /// The rules for quoting names and strings.
    pub quoting: Quoting,
    /// Properties of the database itself.
    pub database: kind::database::Database,
    /// Warnings found while reading the catalogs.
    pub warnings: Vec<Warning>,
    /// For each object that pg_dump has and this catalog does not, the id of the preceding object.
    unlisted_ids: Vec<DumpId>,
}

impl Catalog {
    /// Returns an empty catalog of a server of this dialect.
    pub fn new(dialect: &'static Dialect) -> Self {
        Catalog { dialect, ..Catalog::default() }
    }

    /// Adds an object with pg_dump's initial values: all components are requested, only the definition
    /// exists. The object gets the next free id.
    pub fn add(
        &mut self,
        catalog_id: CatalogId,
        name: String,
        namespace: Option<DumpId>,
        detail: Detail,
    ) -> DumpId {
        let id =
            DumpId(u32::try_from(self.objects.len() + 1).expect("a database has fewer than 2^32 objects"));
        self.objects.push(DumpObject {
            id,
            catalog_id,
            name,
            namespace,
            dump: Components::all(),
            dump_contains: Components::all(),
            components: Components::DEFINITION,
            ext_member: false,
            dependencies: Vec::new(),
            owner: None,
            acl: None,
            detail,
        });
        if catalog_id.is_cataloged() {
            self.by_catalog_id.insert(catalog_id, id);
        }
        id
    }

    /// Records that pg_dump has another object after the last one. That object is never written; it only
    /// shifts the ids that are shown.
    pub(in crate::sql) fn leave_one_out(&mut self) {
        self.unlisted_ids.extend(self.objects.last().map(|object| object.id));
    }

    /// The id of the object in pg_dump.
    pub(in crate::sql) fn id_in_pg_dump(&self, id: DumpId) -> usize {
        id.get() as usize + self.unlisted_ids.partition_point(|before| *before < id)
    }

    /// Adds a warning for the user.
    pub(in crate::sql) fn warn(&mut self, message: impl Into<String>) {
        self.warnings.push(Warning::new(message));
    }

    /// The object of a catalog row.
    pub fn find(&self, catalog_id: CatalogId) -> Option<DumpId> {
        self.by_catalog_id.get(&catalog_id).copied()
    }

    /// The object of the row `oid` of the catalog `class`.
    pub fn by_oid(&self, class: u32, oid: u32) -> Option<DumpId> {
        self.find(CatalogId::new(class, oid))
    }

    /// The relation with this OID, if it is in the arena as a [`Detail::Table`] (a table, view, sequence and
    /// so on, but not an index).
    pub fn table_by_oid(&self, oid: u32) -> Option<DumpId> {
        self.by_oid(class::PG_CLASS, oid).filter(|id| self[*id].kind() == ObjectKind::Table)
    }

    /// The OIDs of the relations for which `wanted` returns true, in the order of collection.
    pub fn table_oids(&self, wanted: impl Fn(&DumpObject, &kind::table::Table) -> bool) -> Vec<u32> {
        let pick = |object: &DumpObject| match &object.detail {
            Detail::Table(table) if wanted(object, table) => Some(object.catalog_id.oid),
            _ => None,
        };
        self.objects.iter().filter_map(pick).collect()
    }

    /// Records that an extension owns the object of a catalog row.
    pub fn set_owning_extension(&mut self, member: CatalogId, extension: DumpId) {
        self.owning_extension.insert(member, extension);
    }

    /// The extension that owns the object of a catalog row.
    pub fn owning_extension(&self, member: CatalogId) -> Option<DumpId> {
        self.owning_extension.get(&member).copied()
    }

    /// Records `ALTER … DEPENDS ON EXTENSION`.
    pub fn add_explicit_extension(&mut self, object: DumpId, extension: DumpId) {
        self.explicit_extensions.entry(object).or_default().push(extension);
    }

    /// The names of the extensions that an object depends on by `ALTER … DEPENDS ON EXTENSION`.
    pub fn explicit_extensions(&self, object: DumpId) -> impl Iterator<Item = &str> {
        self.explicit_extensions.get(&object).into_iter().flatten().map(|id| self[*id].name.as_str())
    }

    /// All objects in the order of their ids.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &DumpObject> {
        self.objects.iter()
    }

    /// All objects, mutable, in the order of their ids.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut DumpObject> {
        self.objects.iter_mut()
    }

    /// The ids of all objects of a kind, in the order of collection.
    pub fn ids_of(&self, kind: ObjectKind) -> Vec<DumpId> {
        self.objects.iter().filter(|o| o.kind() == kind).map(|o| o.id).collect()
    }

    /// The number of objects, which is also the highest id.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether the catalog has no objects.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The name of the object's namespace.
    pub fn namespace_name(&self, object: &DumpObject) -> Option<&str> {
        object.namespace.map(|id| self[id].name.as_str())
    }

    /// The object's quoted name, qualified with its namespace if it has one.
    pub fn qualified(&self, object: &DumpObject) -> String {
        self.quoting.maybe_qualified(self.namespace_name(object), &object.name).to_string()
    }
}

impl Index<DumpId> for Catalog {
    type Output = DumpObject;

    fn index(&self, id: DumpId) -> &DumpObject {
        &self.objects[id.0 as usize - 1]
    }
}

impl IndexMut<DumpId> for Catalog {
    fn index_mut(&mut self, id: DumpId) -> &mut DumpObject {
        &mut self.objects[id.0 as usize - 1]
    }
}
