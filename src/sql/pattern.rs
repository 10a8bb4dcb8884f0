//! Object-name patterns as in psql and pg_dump: `*`, `?`, double quotes, dots, and otherwise regular
//! expressions. psql's manual page, "Patterns".

/// A pattern, split at its dots and converted to regular expressions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    /// The number of dots outside quotes. Dots beyond the maximum number of parts are kept in the name; the
    /// callers reject such patterns.
    pub dots: usize,
    /// The literal name of the database, if the pattern has that part.
    pub database: Option<String>,
    /// The regular expression for the namespace, if the pattern has that part.
    pub namespace: Option<String>,
    /// The regular expression for the name.
    pub name: String,
}

impl Pattern {
    /// Parses a pattern for objects outside namespaces.
    pub(crate) fn of_name(text: &str) -> Self {
        parse(text, 1)
    }

    /// Parses a pattern for objects in namespaces: `[[database.]namespace.]name`.
    pub(crate) fn of_qualified_name(text: &str) -> Self {
        parse(text, 3)
    }
}

fn parse(text: &str, max_parts: usize) -> Pattern {
    let mut dots = 0;
    let mut quoted = false;
    let mut literal = String::new();
    let mut parts = vec![String::from("^(")];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '.' && !quoted {
            dots += 1;
            if parts.len() < max_parts {
                parts.push(String::from("^("));
                continue;
            }
        }
        let mut push = |expression: &str, plain: char| {
            if let Some(part) = parts.last_mut() {
                part.push_str(expression);
            }
            if dots == 0 {
                literal.push(plain);
            }
        };
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => push("\"", '"'),
            '"' => quoted = !quoted,
            c if !quoted && c.is_ascii_uppercase() => {
                let lower = c.to_ascii_lowercase();
                push(&lower.to_string(), lower);
            }
            '*' if !quoted => push(".*", '*'),
            '?' if !quoted => push(".", '?'),
            // Always literal: identifiers may contain it, and the expression is already anchored.
            '$' => push("\\$", '$'),
            c if quoted && "|*+?()[]{}.^\\".contains(c) => push(&format!("\\{c}"), c),
            // Literal: it is more likely part of an array type's name than a bracket expression.
            '[' if chars.peek() == Some(&']') => push("\\[", '['),
            c => push(&c.to_string(), c),
        }
    }
    for part in &mut parts {
        part.push_str(")$");
    }
    let name = parts.pop().unwrap_or_default();
    let namespace = parts.pop();
    let database = parts.pop().map(|_| literal);
    Pattern { dots, database, namespace, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        Pattern::of_name(text).name
    }

    #[test]
    fn wildcards_case_and_quotes() {
        assert_eq!(name("Foo*b?r"), "^(foo.*b.r)$");
        assert_eq!(name("\"Foo*\"\"x\""), "^(Foo\\*\"x)$");
        assert_eq!(name("a$b\"$\""), "^(a\\$b\\$)$");
        assert_eq!(name("a|b+"), "^(a|b+)$");
        assert_eq!(name("\"a|b+\\\""), "^(a\\|b\\+\\\\)$");
        assert_eq!(name("int[]"), "^(int\\[])$");
        assert_eq!(name("[ab]"), "^([ab])$");
        assert_eq!(name("É\"é.\"x"), "^(Éé\\.x)$");
    }

    #[test]
    fn dots_part_names_only_outside_quotes() {
        let one = Pattern::of_qualified_name("a");
        assert_eq!((one.dots, one.namespace, one.database), (0, None, None));
        let two = Pattern::of_qualified_name("S*.\"T.x\"");
        assert_eq!(
            (two.dots, two.namespace.as_deref(), two.name.as_str()),
            (1, Some("^(s.*)$"), "^(T\\.x)$")
        );
        assert_eq!(two.database, None);
        let three = Pattern::of_qualified_name("\"D\"\"b\"X*.s.t");
        assert_eq!(three.database.as_deref(), Some("D\"bx*"));
        assert_eq!(Pattern::of_qualified_name("a.b.c.d").dots, 3);
        assert_eq!(Pattern::of_name("a.b").dots, 1);
    }
}
