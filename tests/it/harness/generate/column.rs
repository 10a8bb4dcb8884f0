//! Columns of tables: types, collations, defaults, generation, identity.

use super::data_type::{BIGINT, INT};
use super::expression::Scope;
use super::model::{Column, Form, Generator, TypeId};

impl Generator {
    /// Returns a list of new columns with their definitions. The first column is a number that keys count.
    pub fn columns(&mut self, most: usize, may_generate: bool) -> (Vec<Column>, Vec<String>) {
        let mut columns: Vec<Column> = Vec::new();
        let mut definitions = Vec::new();
        let count = self.between(1, most);
        for n in 0..=count {
            let taken: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
            let name = self.part_name("col", &taken);
            let ty = if n == 0 { self.pick_type(&[INT, BIGINT]) } else { self.any_type() };
            let mut column = Column::new(name, ty);
            column.counted = n == 0;
            let definition = self.column(&mut column, &columns, may_generate && n > 0);
            definitions.push(definition);
            columns.push(column);
        }
        (columns, definitions)
    }

    fn column(&mut self, column: &mut Column, before: &[Column], may_generate: bool) -> String {
        let ty = column.ty;
        let mut text = format!("{} {}", column.name, self.type_sql(ty));
        text += &self.collate(ty, 25);
        if may_generate && self.chance(10) {
            text += &self.generated(ty, before);
            column.given = false;
        } else if column.counted && self.chance(20) {
            let when = self.pick(&["ALWAYS", "BY DEFAULT"]);
            let options = self.pick(&[
                "",
                " (START WITH 10 INCREMENT BY -2 MAXVALUE 100 CYCLE)",
                " (CACHE 20 MINVALUE -5)",
            ]);
            text += &format!(" GENERATED {when} AS IDENTITY{options}");
            column.given = when == "BY DEFAULT";
        } else if self.chance(35) {
            text += &format!(" DEFAULT {}", self.default_of(ty));
        }
        if !self.is_null(ty) && self.chance(15) {
            text += " NOT NULL";
        }
        text
    }

    /// Whether the constants of the type are null.
    fn is_null(&self, ty: TypeId) -> bool {
        match self.types[ty].form {
            Form::Row => true,
            Form::Domain(base) => self.is_null(base),
            _ => false,
        }
    }

    /// Returns the expression for a column's default.
    pub fn default_of(&mut self, ty: TypeId) -> String {
        match self.of_kind("SEQUENCE") {
            Some(sequence) if (ty == INT || ty == BIGINT) && self.chance(50) => {
                format!("nextval({}::regclass)", super::name::literal(&sequence))
            }
            _ => self.expression(ty, &Scope::empty(), 2),
        }
    }

    fn generated(&mut self, ty: TypeId, before: &[Column]) -> String {
        let columns = before.iter().filter(|c| c.given).map(|c| (c.name.clone(), c.ty)).collect();
        let scope = Scope { columns, immutable: true, queries: false };
        format!(" GENERATED ALWAYS AS ({}) STORED", self.expression(ty, &scope, 2))
    }
}
