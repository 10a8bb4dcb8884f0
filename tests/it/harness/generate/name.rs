//! Names: plain, mixed case, reserved, with quotes, newlines, comment signs, backslashes, Unicode, and of 63
//! bytes.

use super::model::{Generator, RelationId};

const RESERVED: &[&str] = &[
    "select",
    "table",
    "user",
    "order",
    "all",
    "between",
    "int",
    "values",
    "time",
    "set",
    "default",
    "check",
    "where",
    "row",
    "left",
    "current_user",
    "authorization",
    "analyze",
    "null",
    "array",
    "position",
    "view",
    "abort",
    "none",
    "out",
    "char",
];

impl Generator {
    /// Returns a new name, quoted if necessary.
    pub fn name(&mut self, stem: &str) -> String {
        self.number += 1;
        let n = self.number;
        match self.below(20) {
            0 => format!("\"{}{stem} {n}\"", stem.to_uppercase()),
            1 => format!("\"{stem} \"\"{n}\"\"\""),
            2 => format!("\"{stem}\n{n}; DROP TABLE x\""),
            3 => format!("\"{stem} -- {n}\""),
            4 => format!("\"{stem}\\{n}\""),
            5 => format!("\"{stem}é{n}日本\""),
            6 => format!("{:x<63}", format!("{stem}_{n}_")),
            7 => format!("\"{:é<1$}x\"", format!("{n}{stem}_"), 31),
            8 => format!("\"it's {stem} {n}\""),
            9 => format!("\"{}{n}\"", stem.to_uppercase()),
            10 => format!("\"/* {stem} */{n}\tx\""),
            11 => format!("\"{n}{stem}.x\""),
            12 => format!("\"_{stem}%s$1{n}\""),
            _ => format!("{stem}_{n}"),
        }
    }

    /// Returns a name for a column or another part of an object. It must differ only from the names in
    /// `taken`.
    pub fn part_name(&mut self, stem: &str, taken: &[String]) -> String {
        let word = self.pick(RESERVED);
        let quoted = format!("\"{word}\"");
        if self.chance(12) && !taken.contains(&quoted) { quoted } else { self.name(stem) }
    }

    /// Returns a name for an object that belongs to one relation. Some names are the same on many relations,
    /// so only the relation's name can order them.
    pub fn name_on(&mut self, stem: &str, of: RelationId) -> String {
        let same = self.pick(&["same", "\"Same\"", "\"SAME\"", "sam_e"]);
        if self.chance(30) && self.used.insert(format!("{stem} {of} {same}")) {
            return same.to_owned();
        }
        self.name(stem)
    }

    pub fn schema_name(&mut self) -> String {
        let schemas = self.schemas.clone();
        self.one_of(&schemas).unwrap_or_else(|| "public".to_owned())
    }

    /// Returns a new qualified name. Sometimes its last part is a reserved word, or a name that another
    /// namespace already has.
    pub fn qualified(&mut self, stem: &str) -> String {
        let schema = self.schema_name();
        let name = if self.chance(8) {
            format!("\"{}\"", self.pick(RESERVED))
        } else if self.chance(12) && !self.reusable.is_empty() {
            let names = self.reusable.clone();
            self.one_of(&names).unwrap_or_default()
        } else {
            self.name(stem)
        };
        let qualified = format!("{schema}.{name}");
        if self.used.insert(qualified.clone()) {
            self.reusable.push(name);
            return qualified;
        }
        format!("{schema}.{}", self.name(stem))
    }
}

/// Returns a text as a literal.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// Creates a namespace.
pub fn schema(g: &mut Generator) {
    if g.schemas.len() > 5 {
        return;
    }
    let name = g.name("schema");
    let owner = if g.chance(30) { format!(" AUTHORIZATION {}", g.role()) } else { String::new() };
    g.run(format!("CREATE SCHEMA {name}{owner}"));
    g.add_object("SCHEMA", name.clone());
    g.schemas.push(name);
}
