//! Converts texts from the server to UTF-8 and limits their length, for the driver and for error messages.

use std::sync::OnceLock;

use super::FatalError;

/// Returns whether tokio-postgres reads text in messages of this type.
pub(super) fn holds_text(tag: u8) -> bool {
    matches!(tag, b'E' | b'N' | b'S' | b'T')
}

/// Returns the body of the message with its texts in UTF-8; `None` if it does not change.
pub(super) fn readable(message: &[u8]) -> Option<Vec<u8>> {
    let (tag, body) = (*message.first()?, message.get(5..)?);
    let mut out = Vec::with_capacity(message.len() + 16);
    let mut changed = false;
    let mut rest = body;
    let mut put_text = |rest: &mut &[u8], out: &mut Vec<u8>| {
        let end = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        let (text, after) = rest.split_at(end);
        let text = String::from_utf8_lossy(text);
        changed |= matches!(text, std::borrow::Cow::Owned(_));
        out.extend_from_slice(text.as_bytes());
        if let Some(after) = after.get(1..) {
            out.push(0);
            *rest = after;
        } else {
            *rest = &[];
        }
    };
    match tag {
        // Fields of a type byte and a text, then a NUL.
        b'E' | b'N' => {
            while let Some((kind, after)) = rest.split_first() {
                out.push(*kind);
                rest = after;
                if *kind == 0 {
                    break;
                }
                put_text(&mut rest, &mut out);
            }
        }
        // A count, then the name and 18 bytes for each column.
        b'T' => {
            let (count, after) = rest.split_at_checked(2)?;
            out.extend_from_slice(count);
            rest = after;
            while !rest.is_empty() {
                put_text(&mut rest, &mut out);
                let (numbers, after) = rest.split_at(rest.len().min(18));
                out.extend_from_slice(numbers);
                rest = after;
            }
        }
        // A name and a value.
        _ => {
            while !rest.is_empty() {
                put_text(&mut rest, &mut out);
            }
        }
    }
    changed.then_some(out)
}

/// Returns a complete message made from the beginning of an error or a notice: the complete fields and as
/// much of the next field as is available.
pub(super) fn cut(beginning: &[u8]) -> Vec<u8> {
    let (tag, body) =
        (beginning.first().copied().unwrap_or_default(), beginning.get(5..).unwrap_or_default());
    let mut fields = Vec::with_capacity(body.len() + 2);
    for field in body.split(|b| *b == 0).filter(|field| !field.is_empty()) {
        fields.extend_from_slice(field);
        fields.push(0);
    }
    fields.push(0);
    let length = u32::try_from(fields.len() + 4).unwrap_or(u32::MAX);
    [&[tag][..], &length.to_be_bytes(), &fields].concat()
}

/// Records an error after which the server closes the connection.
pub(super) fn note_fatal_error(message: &[u8], fatal_error: &OnceLock<FatalError>) {
    let mut fields = message.get(5..).unwrap_or_default().split(|b| *b == 0);
    let (mut severity, mut code, mut text) = (String::new(), String::new(), String::new());
    for field in &mut fields {
        let Some((kind, value)) = field.split_first() else { break };
        let value = String::from_utf8_lossy(value);
        match kind {
            b'V' => severity = value.into_owned(),
            b'C' => code = value.into_owned(),
            b'M' => text = value.replace('\n', " "),
            _ => {}
        }
    }
    if matches!(severity.as_str(), "FATAL" | "PANIC") {
        let text = format!("{severity}: {text} (SQLSTATE {code})");
        let _ = fatal_error.set(FatalError { text, code: Some(code) });
    }
}
