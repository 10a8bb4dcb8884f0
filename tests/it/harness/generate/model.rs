//! The objects that a script has created so far, and the random number generator.

use std::collections::HashSet;

use super::data_type::BUILTIN;
use super::operator::Operator;

/// The roles and tablespaces that every generated database of a server uses.
pub const CLUSTER: &str = r#"
CREATE ROLE su_owner SUPERUSER;
CREATE ROLE "Super ""User""" SUPERUSER;
CREATE ROLE reader IN ROLE pg_read_all_data, pg_write_all_data;
CREATE ROLE "Role -- x
y" IN ROLE pg_read_all_data, pg_write_all_data;
CREATE ROLE "select" IN ROLE pg_read_all_data, pg_write_all_data;
CREATE ROLE "=a/b" IN ROLE pg_read_all_data, pg_write_all_data;
CREATE ROLE "rôle" IN ROLE pg_read_all_data, pg_write_all_data;
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE space LOCATION '';
CREATE TABLESPACE "Space ""s"" -- x" LOCATION '';
"#;

pub const SUPERUSERS: &[&str] = &["postgres", "su_owner", "\"Super \"\"User\"\"\""];
pub const ROLES: &[&str] = &["reader", "\"Role -- x\ny\"", "\"select\"", "\"=a/b\"", "\"rôle\""];
pub const TABLESPACES: &[&str] = &["space", "\"Space \"\"s\"\" -- x\""];

/// An index in [`Generator::types`].
pub type TypeId = usize;
/// An index in [`Generator::relations`].
pub type RelationId = usize;

#[derive(Clone, Debug)]
pub enum Form {
    /// Values of the type, as SQL writes them.
    Scalar(&'static [&'static str]),
    Enum(Vec<String>),
    Composite(Vec<(String, TypeId)>),
    Domain(TypeId),
    Range(TypeId),
    Multirange(TypeId),
    Array(TypeId),
    /// The row type of a relation.
    Row,
}

#[derive(Clone, Debug)]
pub struct Type {
    /// The qualified name, as SQL.
    pub sql: String,
    pub form: Form,
    /// Whether the type has `=`, `<` and a B-tree class.
    pub ordered: bool,
}

#[derive(Clone, Debug)]
pub struct Column {
    pub name: String,
    pub ty: TypeId,
    /// Whether an INSERT may give a value.
    pub given: bool,
    /// The key of another table that it refers to, if any.
    pub refers: Option<(RelationId, String)>,
    /// Whether a key needs distinct values: they are counted.
    pub counted: bool,
}

impl Column {
    pub fn new(name: String, ty: TypeId) -> Column {
        Column { name, ty, given: true, refers: None, counted: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Table,
    Partitioned,
    Partition,
    Foreign,
    View,
    Matview,
}

#[derive(Clone, Debug)]
pub struct Relation {
    pub sql: String,
    pub shape: Shape,
    pub columns: Vec<Column>,
    /// The columns of its primary key.
    pub primary: Option<Vec<usize>>,
    /// Columns with a unique constraint each.
    pub unique: Vec<usize>,
    /// Names of constraints, triggers, rules and policies are unique within it.
    pub triggers: Vec<String>,
    pub rules: Vec<String>,
    /// Its unique indexes over columns that are not null.
    pub indexes: Vec<String>,
}

impl Relation {
    pub fn new(sql: &str, shape: Shape, columns: Vec<Column>) -> Relation {
        Relation {
            sql: sql.to_owned(),
            shape,
            columns,
            primary: None,
            unique: Vec::new(),
            triggers: Vec::new(),
            rules: Vec::new(),
            indexes: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Routine {
    /// The qualified name without arguments.
    pub sql: String,
    pub arguments: Vec<TypeId>,
    pub result: TypeId,
    pub immutable: bool,
    pub aggregate: bool,
    /// The start of a function that can be replaced, and the parameter names in its body.
    pub head: Option<(String, Vec<String>)>,
}

impl Routine {
    /// Returns the name with argument types, as ALTER and COMMENT need it.
    pub fn signature(&self, generator: &Generator) -> String {
        format!("{}({})", self.sql, generator.type_list(&self.arguments))
    }
}

/// An object that can have a comment, an owner or privileges.
#[derive(Clone, Debug)]
pub struct Object {
    /// The words of COMMENT ON.
    pub kind: &'static str,
    /// The name that follows these words.
    pub name: String,
}

pub struct Generator {
    rng: fastrand::Rng,
    statements: Vec<String>,
    pub(super) used: HashSet<String>,
    pub(super) number: u32,
    pub(super) reusable: Vec<String>,
    pub(super) schemas: Vec<String>,
    pub(super) types: Vec<Type>,
    pub(super) routines: Vec<Routine>,
    pub(super) relations: Vec<Relation>,
    pub(super) objects: Vec<Object>,
    pub(super) operators: Vec<Operator>,
    pub(super) collations: Vec<String>,
    /// The number of a row, for columns that a key counts.
    pub(super) row: u32,
    /// Objects that are created once or a few times, by the words of COMMENT ON.
    pub(super) once: HashSet<String>,
}

impl Generator {
    pub fn new(seed: u64) -> Generator {
        Generator {
            rng: fastrand::Rng::with_seed(seed),
            statements: Vec::new(),
            used: HashSet::new(),
            number: 0,
            reusable: Vec::new(),
            schemas: vec!["public".to_owned()],
            types: BUILTIN.iter().map(super::data_type::builtin).collect(),
            routines: Vec::new(),
            relations: Vec::new(),
            objects: Vec::new(),
            operators: Vec::new(),
            collations: vec!["pg_catalog.\"C\"".to_owned(), "pg_catalog.\"en-x-icu\"".to_owned()],
            row: 0,
            once: HashSet::new(),
        }
    }

    /// Adds the statements at the start of every script, so that the first steps have objects to refer to.
    pub fn open(&mut self) {
        self.run("SET client_min_messages = warning");
        for _ in 0..self.between(1, 3) {
            super::name::schema(self);
        }
        super::data_type::enumeration(self);
        super::table::plain(self);
        super::routine::scalar(self);
        super::table::plain(self);
    }

    pub fn into_statements(self) -> Vec<String> {
        self.statements
    }

    /// Adds a statement.
    pub fn run(&mut self, statement: impl Into<String>) {
        self.statements.push(statement.into());
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.rng.usize(..end.max(1))
    }

    /// Returns a number from `low` to `high`, both included.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        self.rng.usize(low..=high)
    }

    pub fn chance(&mut self, percent: u32) -> bool {
        self.rng.u32(..100) < percent
    }

    /// Returns `text` with this chance, otherwise nothing.
    pub fn maybe<'t>(&mut self, percent: u32, text: &'t str) -> &'t str {
        if self.chance(percent) { text } else { "" }
    }

    pub fn pick<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len())]
    }

    pub fn one_of<T: Clone>(&mut self, items: &[T]) -> Option<T> {
        if items.is_empty() { None } else { Some(items[self.below(items.len())].clone()) }
    }

    /// Returns some of the items in random order: at least one, if there are any.
    pub fn some_of<T: Clone>(&mut self, items: &[T], most: usize) -> Vec<T> {
        let mut items = items.to_vec();
        self.rng.shuffle(&mut items);
        let count = self.between(1, most.max(1));
        items.truncate(count);
        items
    }

    pub fn role(&mut self) -> &'static str {
        self.pick(ROLES)
    }

    /// Returns a relation of one of these shapes.
    pub fn relation(&mut self, shapes: &[Shape]) -> Option<RelationId> {
        let fitting: Vec<RelationId> =
            (0..self.relations.len()).filter(|id| shapes.contains(&self.relations[*id].shape)).collect();
        self.one_of(&fitting)
    }

    /// Returns any type.
    pub fn any_type(&mut self) -> TypeId {
        // The script's own types are fewer than the built-in ones, but matter more.
        let own = self.types.len() - BUILTIN.len();
        if own > 0 && self.chance(55) { BUILTIN.len() + self.below(own) } else { self.below(BUILTIN.len()) }
    }

    pub fn type_where(&mut self, fits: impl Fn(&Type) -> bool) -> Option<TypeId> {
        let fitting: Vec<TypeId> = (0..self.types.len()).filter(|id| fits(&self.types[*id])).collect();
        let own: Vec<TypeId> = fitting.iter().copied().filter(|id| *id >= BUILTIN.len()).collect();
        if self.chance(55) && !own.is_empty() { self.one_of(&own) } else { self.one_of(&fitting) }
    }

    pub fn ordered_type(&mut self) -> TypeId {
        self.type_where(|ty| ty.ordered).unwrap_or(super::data_type::INT)
    }

    pub fn add_type(&mut self, sql: &str, form: Form, ordered: bool) -> TypeId {
        self.types.push(Type { sql: sql.to_owned(), form, ordered });
        self.types.len() - 1
    }

    pub fn add_relation(&mut self, relation: Relation, kind: &'static str) -> RelationId {
        self.add_object(kind, relation.sql.clone());
        self.add_type(&relation.sql, Form::Row, false);
        self.relations.push(relation);
        self.relations.len() - 1
    }

    pub fn add_object(&mut self, kind: &'static str, name: String) {
        self.objects.push(Object { kind, name });
    }

    pub fn of_kind(&mut self, kind: &str) -> Option<String> {
        let names: Vec<String> = self
            .objects
            .iter()
            .filter(|object| object.kind == kind)
            .map(|object| object.name.clone())
            .collect();
        self.one_of(&names)
    }

    pub fn type_list(&self, types: &[TypeId]) -> String {
        types.iter().map(|id| self.types[*id].sql.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub fn type_sql(&self, id: TypeId) -> String {
        self.types[id].sql.clone()
    }

    pub fn relation_sql(&self, id: RelationId) -> String {
        self.relations[id].sql.clone()
    }
}
