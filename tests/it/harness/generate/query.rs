//! Queries for views and the bodies of functions.

use super::data_type::{BIGINT, INT, TEXT};
use super::expression::Scope;
use super::model::{Column, Generator, RelationId, Routine};

/// A query's text and the columns that it returns.
pub struct Query {
    pub text: String,
    pub columns: Vec<Column>,
}

impl Generator {
    /// Returns a query over one or two relations, in one of several forms.
    pub fn query(&mut self) -> Query {
        let relation = self.below(self.relations.len());
        match self.below(9) {
            0 => self.grouped(relation),
            1 => self.united(relation),
            2 => self.windowed(relation),
            3 => self.grouped_by_key(relation),
            _ => self.selected(relation),
        }
    }

    /// Returns names for the output columns, with their types.
    fn outputs(&mut self, scope: &Scope, most: usize) -> (Vec<Column>, Vec<String>) {
        let mut columns: Vec<Column> = Vec::new();
        let mut list = Vec::new();
        for _ in 0..self.between(1, most) {
            let ty = match self.one_of(&scope.columns) {
                Some((_, ty)) if self.chance(70) => ty,
                _ => self.any_type(),
            };
            let taken: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            let name = self.part_name("out", &taken);
            let value = self.expression(ty, scope, 2);
            list.push(format!("({value})::{} AS {name}", self.type_sql(ty)));
            columns.push(Column::new(name, ty));
        }
        (columns, list)
    }

    fn selected(&mut self, relation: RelationId) -> Query {
        let mut scope = self.scope_of(relation, "a.").with_queries();
        let only = self.maybe(8, "ONLY ");
        let mut from = format!("{only}{} a", self.relation_sql(relation));
        if self.chance(35) {
            let other = self.below(self.relations.len());
            scope.columns.extend(self.scope_of(other, "b.").columns);
            let kind = self.pick(&["JOIN", "LEFT JOIN", "FULL JOIN"]);
            // A full join needs a condition that can be merged or hashed.
            let on = if kind == "FULL JOIN" { "false".to_owned() } else { self.condition(&scope, 1) };
            from += &format!("\n     {kind} {} b ON {on}", self.relation_sql(other));
        }
        if self.chance(10) {
            from += ", LATERAL (SELECT 1 AS one, count(*) AS n FROM pg_catalog.generate_series(1, 3)) l";
        }
        let (columns, list) = self.outputs(&scope, 4);
        let distinct = self.maybe(6, "DISTINCT ON ((1)) ");
        let mut text = format!("SELECT {distinct}{}\n  FROM {from}", list.join(",\n       "));
        if self.chance(45) {
            text += &format!("\n WHERE {}", self.condition(&scope, 2));
        }
        if self.chance(15) {
            text += self.pick(&[" LIMIT 5", " OFFSET 1", " FETCH FIRST 3 ROWS ONLY"]);
        }
        Query { text, columns }
    }

    fn grouped(&mut self, relation: RelationId) -> Query {
        let of = self.relation_sql(relation);
        let first = self.relations[relation].columns.first().cloned();
        let scope = self.scope_of(relation, "a.");
        let name = self.name("total");
        let mut list = vec![format!("count(*) AS {name}")];
        let mut columns = vec![Column::new(name, BIGINT)];
        let aggregates: Vec<Routine> = self.routines.iter().filter(|r| r.aggregate).cloned().collect();
        if let Some(aggregate) = self.one_of(&aggregates) {
            let name = self.name("folded");
            let filter = if self.chance(30) {
                format!(" FILTER (WHERE {})", self.condition(&scope, 1))
            } else {
                String::new()
            };
            list.push(format!("{}{filter} AS {name}", self.call_of(&aggregate, &scope, 1)));
            columns.push(Column::new(name, aggregate.result));
        }
        let mut by = String::new();
        if let Some(column) = first.filter(|column| self.types[column.ty].ordered && self.chance(60)) {
            let name = self.name("by");
            list.push(format!("a.{} AS {name}", column.name));
            by = format!("\n GROUP BY a.{}", column.name);
            columns.push(Column::new(name, column.ty));
        }
        Query { text: format!("SELECT {}\n  FROM {of} a{by}", list.join(", ")), columns }
    }

    /// Returns a query with GROUP BY a primary key, which depends on the constraint.
    fn grouped_by_key(&mut self, relation: RelationId) -> Query {
        let Some(key) = self.relations[relation].primary.clone() else { return self.selected(relation) };
        let of = self.relation_sql(relation);
        let all = self.relations[relation].columns.clone();
        let mut list = Vec::new();
        let mut columns = Vec::new();
        for column in self.some_of(&all, 3) {
            let name = self.name("kept");
            list.push(format!("a.{} AS {name}", column.name));
            columns.push(Column::new(name, column.ty));
        }
        let by: Vec<String> = key.iter().map(|n| format!("a.{}", all[*n].name)).collect();
        Query {
            text: format!("SELECT {}\n  FROM {of} a\n GROUP BY {}", list.join(", "), by.join(", ")),
            columns,
        }
    }

    fn united(&mut self, relation: RelationId) -> Query {
        let scope = self.scope_of(relation, "a.");
        let second = self.below(self.relations.len());
        let ty = self.pick_type(&[INT, TEXT, BIGINT]);
        let name = self.name("both");
        let word = self.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]);
        let (a, b) = (self.expression(ty, &scope, 1), self.constant(ty));
        let text = format!(
            "WITH w AS (SELECT ({a})::{0} AS v FROM {1} a)\nSELECT v AS {name} FROM w\n{word}\nSELECT {b} FROM {2}",
            self.type_sql(ty),
            self.relation_sql(relation),
            self.relation_sql(second)
        );
        Query { text, columns: vec![Column::new(name, ty)] }
    }

    fn windowed(&mut self, relation: RelationId) -> Query {
        let of = self.relation_sql(relation);
        let scope = self.scope_of(relation, "a.");
        let (name, other) = (self.name("place"), self.name("share"));
        let by = self.expression(INT, &scope, 1);
        let frame = self.pick(&[
            "",
            " ROWS BETWEEN 1 PRECEDING AND CURRENT ROW",
            " GROUPS UNBOUNDED PRECEDING EXCLUDE TIES",
        ]);
        let text = format!(
            "SELECT row_number() OVER (PARTITION BY {by}) AS {name}, count(*) OVER w AS {other}\n  FROM {of} a\nWINDOW w AS (ORDER BY ({by}){frame})"
        );
        Query { text, columns: vec![Column::new(name, BIGINT), Column::new(other, BIGINT)] }
    }
}
