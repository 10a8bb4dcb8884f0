//! The commands of psql that dumps have. Every other one is refused.

use bytes::Bytes;

use super::{NAME, ScriptError, ScriptReader, ScriptStep, Statement};

impl ScriptReader {
    /// Runs a psql command, or returns it as a step.
    pub(super) fn command(&mut self, text: &Bytes, line: u64) -> Result<Option<ScriptStep>, ScriptError> {
        let command = word(text.get(1..).unwrap_or_default());
        let rest = text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len());
        let argument = text.slice_ref(text.get(rest..).unwrap_or_default().trim_ascii());
        let bad = |problem| ScriptError::BadRestriction { command: command.clone(), problem, line };
        match command.as_str() {
            "restrict" if self.key.is_some() => Err(ScriptError::Restricted { command, line }),
            "restrict" if argument.is_empty() => Err(bad("has no key")),
            "restrict" => {
                self.key = Some(argument);
                Ok(None)
            }
            "unrestrict" if self.key.is_none() => Err(bad("has no preceding \\restrict")),
            "unrestrict" if self.key.as_ref() == Some(&argument) => {
                self.key = None;
                Ok(None)
            }
            "unrestrict" => Err(ScriptError::Restricted { command, line }),
            "connect" | "c" if self.key.is_some() => Err(ScriptError::Restricted { command, line }),
            "connect" | "c" => Ok(Some(ScriptStep::Connect { argument, line })),
            "encoding" if self.key.is_some() => Err(ScriptError::Restricted { command, line }),
            // pg_dumpall writes it before a `\connect` to a name with other characters than letters and digits.
            "encoding" => {
                let name = argument.strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'"));
                let name = String::from_utf8_lossy(name.unwrap_or(&argument)).into_owned();
                let text = Bytes::from(format!("SET client_encoding = '{}';", name.replace('\'', "''")));
                self.note_setting(&text);
                self.writes_rows = false;
                let statement = Statement { line, banner: self.banner.clone(), ..Statement::new(text) };
                Ok(Some(ScriptStep::Statement(statement)))
            }
            _ => Err(ScriptError::UnknownCommand { command, line }),
        }
    }
}

/// Returns the word at the beginning of the text.
pub(super) fn word(text: &[u8]) -> String {
    let length = text.iter().take(NAME).take_while(|byte| !byte.is_ascii_whitespace()).count();
    String::from_utf8_lossy(&text[..length]).into_owned()
}
