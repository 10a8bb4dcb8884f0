//! Checks the form of a dump's text: an entry's text begins with its banner, and the frame around the entries
//! has only settings and comments. Verification and restore use this module.

use crate::archive::entry_kind::EntryKind;
use crate::archive::toc_file::FileEntry;
use crate::protocol::encoding::to_bytes;
use crate::report::printable;
use crate::sql::script::one_line;

/// Returns the words of an entry's banner up to its namespace, in the dump's encoding.
fn banner(entry: &FileEntry) -> Vec<u8> {
    to_bytes(&format!("Name: {}; Type: {}; Schema: ", one_line(&entry.tag), entry.desc))
}

/// Returns the number of bytes of an entry's text that contain its banner. Settings of tablespace and access
/// method may come before it.
pub(super) fn head_length(entry: &FileEntry) -> u64 {
    const SETTINGS: usize = 256;
    let names = [&entry.tablespace, &entry.table_am].into_iter().flatten();
    // Quotes in a name are doubled.
    let names: usize = names.map(|name| 2 * name.len()).sum();
    (banner(entry).len() + names + SETTINGS) as u64
}

/// Returns whether a text, or its first [`head_length`] bytes, belongs to the entry: only settings come
/// before its banner.
pub(super) fn is_of(entry: &FileEntry, text: &[u8]) -> bool {
    let banner = banner(entry);
    [&b"--\n-- "[..], b"--\n-- Data for "].iter().any(|begin| {
        let begin = [begin, &banner[..]].concat();
        let before = memchr::memmem::find(text, &begin).and_then(|at| text.get(..at));
        before.is_some_and(|before| {
            before.is_empty() || before.starts_with(b"SET ") && before.ends_with(b";\n\n")
        })
    })
}

/// Splits the text of a function or procedure, whose body may contain statements, so that psql's rules do not
/// reliably find its end. Returns the definition after the banner, and the statement that sets the owner and
/// ends the text, both in the form that dumps have. `None` for other kinds, and if an older table of contents
/// does not have the object's name.
pub(super) fn routine<'a>(entry: &FileEntry, text: &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    if !matches!(entry.desc, EntryKind::Function | EntryKind::Procedure) {
        return None;
    }
    let name = entry.drop_statement.as_deref()?.trim_end().strip_prefix("DROP ")?.strip_suffix(';')?;
    const BANNER_END: &[u8] = b"\n--\n\n";
    let banner = memchr::memmem::find(text, &banner(entry))?;
    let body =
        text.get(banner + memchr::memmem::find(text.get(banner..)?, BANNER_END)? + BANNER_END.len()..)?;
    let body = body.trim_ascii();
    let owners = entry.owner.iter().flat_map(|owner| [owner.clone(), super::own_statement::quoted(owner)]);
    for owner in owners {
        let set = to_bytes(&format!("ALTER {name} OWNER TO {owner};"));
        if let Some(definition) = body.strip_suffix(&set[..]).filter(|rest| rest.ends_with(b"\n\n\n")) {
            return Some((definition.trim_ascii(), body.get(body.len() - set.len()..)));
        }
        if body.ends_with(&to_bytes(&format!(" OWNER TO {owner};"))) {
            return None;
        }
    }
    Some((body, None))
}

/// Returns the first line of a frame that is neither a setting nor a comment, or that belongs to an entry.
pub(super) fn foreign_line(frame: &[u8]) -> Option<&[u8]> {
    const FORMS: [&[u8]; 5] =
        [b"SET ", b"SELECT pg_catalog.set_config(", b"\\restrict ", b"\\unrestrict ", b"--"];
    const BANNERS: [&[u8]; 2] = [b"-- Name: ", b"-- Data for Name: "];
    frame.split(|byte| *byte == b'\n').find(|line| {
        let is_frame = line.is_empty() || FORMS.iter().any(|form| line.starts_with(form));
        !is_frame || BANNERS.iter().any(|banner| line.starts_with(banner))
    })
}

/// Returns the message for such a line.
pub(super) fn foreign_frame(line: &[u8]) -> String {
    const SHOWN: usize = 80;
    let line = String::from_utf8_lossy(line.get(..SHOWN).unwrap_or(line));
    format!("the frame around its entries contains the line \"{}\"", printable(&line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_of_the_entry_whose_banner_begins_it() {
        let json = r#"{"id":1,"catalog_id":[0,0],"desc":"TABLE","tag":"t\nu","section":"pre-data"}"#;
        let entry: &FileEntry = &serde_json::from_str(json).unwrap();
        let banner = "--\n-- Name: t u; Type: TABLE; Schema: public; Owner: o\n--\n\n";
        assert!(is_of(entry, banner.as_bytes()));
        assert!(is_of(entry, format!("SET default_tablespace = '';\n\n{banner}").as_bytes()));
        let other = "--\n-- Name: v; Type: VIEW; Schema: public; Owner: o\n--\n\nCREATE VIEW v;\n\n";
        for foreign in [other.to_owned(), format!("{other}{banner}"), banner[1..].to_owned(), String::new()] {
            assert!(!is_of(entry, foreign.as_bytes()), "{foreign}");
        }
    }

    #[test]
    fn a_routine_is_split_from_its_owner_alone() {
        let json = r#"{"id":1,"catalog_id":[0,0],"desc":"FUNCTION","tag":"begin(integer)","namespace":"s","owner":"the owner",
            "drop_statement":"DROP FUNCTION s.begin(x integer);\n","section":"pre-data"}"#;
        let entry: FileEntry = serde_json::from_str(json).unwrap();
        let banner = "--\n-- Name: begin(integer); Type: FUNCTION; Schema: s; Owner: the owner\n--\n\n";
        let create =
            "CREATE FUNCTION s.begin(x integer) RETURNS integer\n    LANGUAGE sql\n    AS $$SELECT 1;$$;";
        let owner = "ALTER FUNCTION s.begin(x integer) OWNER TO \"the owner\";";
        let text = format!("{banner}{create}\n\n\n{owner}\n\n");
        assert_eq!(routine(&entry, text.as_bytes()), Some((create.as_bytes(), Some(owner.as_bytes()))));
        let text = format!("{banner}{create}\n\n");
        assert_eq!(routine(&entry, text.as_bytes()), Some((create.as_bytes(), None)));
        let older = FileEntry { drop_statement: None, ..entry.clone() };
        assert_eq!(routine(&older, text.as_bytes()), None);
        let table = FileEntry { desc: EntryKind::Table, ..entry };
        assert_eq!(routine(&table, text.as_bytes()), None);
    }

    #[test]
    fn the_frame_of_a_dump_has_settings_and_comments_alone() {
        let head =
            b"--\n-- PostgreSQL database dump\n--\n\n\\restrict x\n\n-- Dumped from database version 15.1\n\
            SET statement_timeout = 0;\nSELECT pg_catalog.set_config('search_path', '', false);\n\n";
        assert_eq!(foreign_line(head), None);
        assert_eq!(foreign_line(b"--\n-- PostgreSQL database dump complete\n--\n\n\\unrestrict x\n\n"), None);
        for (frame, line) in [
            (&b"SET a = b;\nCREATE TABLE t ();\n"[..], &b"CREATE TABLE t ();"[..]),
            (
                b"--\n-- Name: t; Type: TABLE; Schema: s; Owner: o\n--\n",
                b"-- Name: t; Type: TABLE; Schema: s; Owner: o",
            ),
            (b"\\.\n", b"\\."),
        ] {
            assert_eq!(foreign_line(frame), Some(line));
        }
    }
}
