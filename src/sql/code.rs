//! Codes of the catalogs: columns of the type `"char"` in which each character stands for something. They are
//! read once, with [`CatalogRow::code`](super::query::CatalogRow::code), into an enum in the file of the kind
//! that has the column; no other code compares characters.

/// A character for which the enum of its column has no variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode {
    /// The catalog's columns that have the codes: `polcmd`.
    pub column: &'static str,
    /// The character.
    pub code: char,
    /// The message, in which `{column}`, `{code}` and `{object}` are replaced; pg_dump's if it has one.
    pub message: &'static str,
}

impl UnknownCode {
    /// The message for columns that pg_dump does not check.
    pub(in crate::sql) const MESSAGE: &'static str =
        "unrecognized {column} value \"{code}\" of {object}\nHINT: use a newer pg-backup";

    /// Returns the message about an object: its quoted name, or its OID.
    pub(in crate::sql) fn of(&self, object: &str) -> String {
        let message = self.message.replace("{column}", self.column);
        message.replace("{code}", &self.code.to_string()).replace("{object}", object)
    }
}

/// Declares the enum of a column's codes: each variant with its character. The column's name, and the message
/// for an unknown code if pg_dump has one, follow the name of the enum.
macro_rules! codes {
    (@message) => { $crate::sql::code::UnknownCode::MESSAGE };
    (@message $message:literal) => { $message };
    (
        $(#[$meta:meta])*
        $name:ident($column:literal $(, $message:literal)?) {
            $( $(#[$variant_meta:meta])* $variant:ident = $code:literal, )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $( $(#[$variant_meta])* #[doc = concat!("`", $code, "`.")] $variant, )*
        }

        impl From<$name> for char {
            fn from(code: $name) -> char {
                match code { $( $name::$variant => $code, )* }
            }
        }

        impl TryFrom<char> for $name {
            type Error = $crate::sql::code::UnknownCode;

            fn try_from(code: char) -> Result<Self, Self::Error> {
                match code {
                    $( $code => Ok($name::$variant), )*
                    code => Err($crate::sql::code::UnknownCode {
                        column: $column,
                        code,
                        message: $crate::sql::code::codes!(@message $($message)?),
                    }),
                }
            }
        }
    };
}
pub(in crate::sql) use codes;

#[cfg(test)]
mod tests {
    codes! {
        /// A code.
        Letter("tabletter") { A = 'a', B = 'b', }
    }

    codes! {
        /// A code about which pg_dump has a message.
        Digit("tabdigit", "unexpected digit: {code}") { One = '1', }
    }

    #[test]
    fn an_unknown_code_is_an_error_with_its_column_and_object() {
        assert_eq!((Letter::try_from('b'), char::from(Letter::B)), (Ok(Letter::B), 'b'));
        assert_eq!(
            Letter::try_from('x').unwrap_err().of("\"t\""),
            "unrecognized tabletter value \"x\" of \"t\"\nHINT: use a newer pg-backup"
        );
        assert_eq!(Digit::try_from('2').unwrap_err().of("\"t\""), "unexpected digit: 2");
    }
}
