//! Random expressions of a given type.

use super::data_type::{BIGINT, BOOL, FLOAT, INT, NUMERIC, TEXT};
use super::model::{Form, Generator, RelationId, Routine, TypeId};
use super::name::literal;

/// What an expression may refer to.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Columns or parameters, as SQL.
    pub columns: Vec<(String, TypeId)>,
    /// Whether the expression may contain only immutable functions, as in an index.
    pub immutable: bool,
    /// Whether the expression may contain queries.
    pub queries: bool,
}

impl Scope {
    /// A scope with only constants and functions.
    pub fn empty() -> Scope {
        Scope::default()
    }

    pub fn with_queries(mut self) -> Scope {
        self.queries = true;
        self
    }

    pub fn immutable(mut self) -> Scope {
        self.immutable = true;
        self
    }
}

impl Generator {
    /// Returns the columns of a relation as a scope, each with this prefix.
    pub fn scope_of(&self, relation: RelationId, prefix: &str) -> Scope {
        let columns = self.relations[relation].columns.iter();
        Scope {
            columns: columns.map(|c| (format!("{prefix}{}", c.name), c.ty)).collect(),
            ..Scope::default()
        }
    }

    /// Returns a constant.
    pub fn constant(&mut self, ty: TypeId) -> String {
        let sql = self.type_sql(ty);
        match self.types[ty].form.clone() {
            Form::Scalar(values) => format!("{}::{sql}", literal(self.pick(values))),
            Form::Enum(labels) => {
                let label = self.one_of(&labels).unwrap_or_default();
                format!("{}::{sql}", literal(&label))
            }
            Form::Composite(fields) => {
                let values: Vec<String> = fields.iter().map(|(_, ty)| self.constant(*ty)).collect();
                format!("ROW({})::{sql}", values.join(", "))
            }
            Form::Domain(base) => format!("CAST({} AS {sql})", self.constant(base)),
            Form::Range(of) => {
                let bound = self.constant(of);
                match self.below(4) {
                    0 => format!("'empty'::{sql}"),
                    1 => format!("{sql}({bound}, NULL, '()')"),
                    2 => format!("'(,)'::{sql}"),
                    _ => format!("{sql}({bound}, {bound}, '[]')"),
                }
            }
            Form::Multirange(of) => format!("multirange({})::{sql}", self.constant(of)),
            Form::Array(of) => format!("ARRAY[{}, NULL]::{sql}", self.constant(of)),
            Form::Row => format!("NULL::{sql}"),
        }
    }

    /// Returns a column of the type if the scope has one, otherwise a constant.
    fn leaf(&mut self, want: TypeId, scope: &Scope) -> String {
        let fitting: Vec<String> =
            scope.columns.iter().filter(|(_, ty)| *ty == want).map(|(name, _)| name.clone()).collect();
        match self.one_of(&fitting) {
            Some(column) if self.chance(85) => column,
            _ => self.constant(want),
        }
    }

    pub fn expression(&mut self, want: TypeId, scope: &Scope, depth: usize) -> String {
        if depth == 0 {
            return self.leaf(want, scope);
        }
        let deeper = depth - 1;
        match self.below(10) {
            0 | 1 => self.call(want, scope, deeper),
            2 => format!(
                "CASE WHEN {} THEN {} ELSE {} END",
                self.condition(scope, deeper),
                self.expression(want, scope, deeper),
                self.expression(want, scope, deeper)
            ),
            3 => format!(
                "COALESCE({}, {})",
                self.expression(want, scope, deeper),
                self.expression(want, scope, deeper)
            ),
            4 if scope.queries => self.subquery(want, scope),
            5 | 6 => self.computed(want, scope, deeper),
            7 => self.taken_out(want, scope, deeper),
            _ => self.leaf(want, scope),
        }
    }

    /// Returns a call of one of the script's functions that return the type.
    fn call(&mut self, want: TypeId, scope: &Scope, depth: usize) -> String {
        let fitting: Vec<Routine> = self
            .routines
            .iter()
            .filter(|r| r.result == want && !r.aggregate && (r.immutable || !scope.immutable))
            .cloned()
            .collect();
        match self.one_of(&fitting) {
            Some(routine) => self.call_of(&routine, scope, depth),
            None => self.leaf(want, scope),
        }
    }

    pub fn call_of(&mut self, routine: &Routine, scope: &Scope, depth: usize) -> String {
        let arguments: Vec<String> = routine
            .arguments
            .iter()
            .map(|ty| format!("({})::{}", self.expression(*ty, scope, depth), self.types[*ty].sql))
            .collect();
        format!("{}({})", routine.sql, arguments.join(", "))
    }

    /// Applies operators and functions of the server to expressions of the type. None of them fails for any
    /// value.
    fn computed(&mut self, want: TypeId, scope: &Scope, depth: usize) -> String {
        let one = self.expression(want, scope, depth);
        match want {
            INT | BIGINT => {
                let sign = self.pick(&["|", "&", "#"]);
                format!("({one} {sign} {})", self.expression(want, scope, depth))
            }
            TEXT if self.chance(30) => format!("({})::text", self.expression(INT, scope, depth)),
            TEXT => {
                let function = self.pick(&["upper", "lower", "btrim", "md5", "reverse"]);
                format!("({function}({one}) || 'it''s \\ ' || {})", self.leaf(TEXT, scope))
            }
            BOOL => self.condition(scope, depth),
            NUMERIC | FLOAT => format!("abs({one})"),
            _ if self.types[want].ordered => format!("NULLIF({one}, NULL)"),
            _ => one,
        }
    }

    /// Returns a field of a composite, an element of an array, or a bound of a range.
    fn taken_out(&mut self, want: TypeId, scope: &Scope, depth: usize) -> String {
        let holders: Vec<(TypeId, Form)> =
            self.types.iter().enumerate().map(|(id, ty)| (id, ty.form.clone())).collect();
        let holders: Vec<(TypeId, String)> = holders
            .into_iter()
            .filter_map(|(id, form)| match form {
                Form::Composite(fields) => {
                    let (name, _) = fields.into_iter().find(|(_, ty)| *ty == want)?;
                    Some((id, format!(".{name}")))
                }
                Form::Array(of) if of == want => Some((id, "[1]".to_owned())),
                _ => None,
            })
            .collect();
        match self.one_of(&holders) {
            Some((holder, access)) => format!("({}){access}", self.expression(holder, scope, depth)),
            None => self.leaf(want, scope),
        }
    }

    /// Returns a query of one row and one column.
    pub fn subquery(&mut self, want: TypeId, scope: &Scope) -> String {
        let fitting: Vec<(String, String)> = self
            .relations
            .iter()
            .filter_map(|relation| {
                let column = relation.columns.iter().find(|column| column.ty == want)?;
                Some((relation.sql.clone(), column.name.clone()))
            })
            .collect();
        match self.one_of(&fitting) {
            Some((relation, column)) => format!("(SELECT q.{column} FROM {relation} q LIMIT 1)"),
            None => format!("(SELECT {})", self.leaf(want, scope)),
        }
    }

    /// Returns a boolean expression.
    pub fn condition(&mut self, scope: &Scope, depth: usize) -> String {
        let columns = scope.columns.clone();
        let (column, ty) = self.one_of(&columns).unwrap_or_else(|| ("1".to_owned(), INT));
        if depth > 0 && self.chance(30) {
            let word = self.pick(&["AND", "OR"]);
            return format!(
                "({} {word} {})",
                self.condition(scope, depth - 1),
                self.condition(scope, depth - 1)
            );
        }
        let ordered = self.types[ty].ordered;
        match self.below(8) {
            0 if ordered => format!("({column} = {})", self.expression(ty, scope, depth)),
            1 if ordered => {
                let sign = self.pick(&["<", "<=", ">", ">=", "<>"]);
                format!("({column} {sign} {})", self.expression(ty, scope, depth))
            }
            2 if ordered => format!("({column} IN ({}, {}))", self.constant(ty), self.constant(ty)),
            3 if ordered => format!("({column} IS DISTINCT FROM {})", self.expression(ty, scope, depth)),
            4 => self.operator_call(scope, depth),
            5 if scope.queries => {
                let relation = self.below(self.relations.len());
                let inner = self.scope_of(relation, "x.");
                format!(
                    "(EXISTS (SELECT 1 FROM {} x WHERE {}))",
                    self.relation_sql(relation),
                    self.condition(&inner, 0)
                )
            }
            6 => format!("({} IS NOT NULL)", self.expression(ty, scope, depth)),
            7 => self.call(BOOL, scope, depth.saturating_sub(1)),
            _ => format!("({column} IS NULL)"),
        }
    }

    /// Returns a call of one of the script's operators, which all return boolean.
    fn operator_call(&mut self, scope: &Scope, depth: usize) -> String {
        let operators: Vec<super::operator::Operator> = self.operators.clone();
        let Some(operator) = self.one_of(&operators) else { return "true".to_owned() };
        let mut side = |ty: TypeId| {
            format!("({})::{}", self.expression(ty, scope, depth.saturating_sub(1)), self.types[ty].sql)
        };
        let left = operator.left.map(&mut side).unwrap_or_default();
        let right = side(operator.right);
        format!("({left} OPERATOR({}) {right})", operator.sql)
    }

    /// Returns a condition that is true for every row.
    pub fn tautology(&mut self, scope: &Scope) -> String {
        let condition = self.condition(scope, 2);
        match self.below(3) {
            0 => format!("(({condition}) IS NOT NULL OR true)"),
            1 => format!("COALESCE(({condition}) OR true, true)"),
            _ => format!("(({condition}) IN (true, false) OR NOT false)"),
        }
    }
}
