//! The password file: lines of `host:port:database:user:password`, of which the first match is used.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::SecretBytes;
use crate::protocol::encoding::from_bytes;

/// The fields that a line must match.
pub(super) struct PgpassQuery<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// Returns the password of this server, if the file has one and may be used.
///
/// As with libpq, a file that other users can read is not used. A warning reports it, because there is no password
/// prompt afterwards as in psql.
pub(super) fn look_up(path: &Path, wanted: &PgpassQuery<'_>) -> Option<SecretBytes> {
    let metadata = std::fs::metadata(path).ok()?;
    let file = path.display();
    if !metadata.is_file() {
        tracing::warn!(%file, "password file is not a plain file; it is not used");
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            %file,
            "password file has group or world access; permissions should be u=rw (0600) or less; it is not used"
        );
        return None;
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(%file, %error, "password file cannot be read");
            return None;
        }
    };
    // A password may contain any bytes.
    find(&from_bytes(&bytes), wanted)
}

fn find(text: &str, wanted: &PgpassQuery<'_>) -> Option<SecretBytes> {
    let port = wanted.port.to_string();
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let rest = match_field(line, wanted.host)?;
        let rest = match_field(rest, &port)?;
        let rest = match_field(rest, wanted.database)?;
        let rest = match_field(rest, wanted.user)?;
        Some(SecretBytes(take_field(rest).0))
    })
}

/// Returns the text after the field and its colon if the field is `*` or equals the value.
fn match_field<'a>(line: &'a str, value: &str) -> Option<&'a str> {
    if let Some(rest) = line.strip_prefix("*:") {
        return Some(rest);
    }
    let (field, rest) = take_field(line);
    if field == value { rest } else { None }
}

/// Returns a field without its escaping backslashes, and the text after its colon.
fn take_field(text: &str) -> (String, Option<&str>) {
    let mut field = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            ':' => return (field, Some(&text[at + 1..])),
            '\\' => field.push(chars.next().map_or('\\', |(_, c)| c)),
            c => field.push(c),
        }
    }
    (field, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a comment\r\n\
        db:5432:app:alice:first\n\
        db:*:*:alice:second\n\
        :::\n\
        10.0.0.1:5432:a\\:b:o\\\\x:p\\:w\\\\d:ignored\n\
        *:*:*:*:last";

    fn lookup(host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        find(FILE, &PgpassQuery { host, port, database, user }).map(|s| s.0)
    }

    #[test]
    fn the_first_matching_line_wins() {
        assert_eq!(lookup("db", 5432, "app", "alice").as_deref(), Some("first"));
        assert_eq!(lookup("db", 5433, "app", "alice").as_deref(), Some("second"));
        assert_eq!(lookup("db", 5432, "app", "bob").as_deref(), Some("last"));
        assert_eq!(lookup("10.0.0.1", 5432, "a:b", "o\\x").as_deref(), Some("p:w\\d"));
        assert_eq!(find("db:1:a:b", &PgpassQuery { host: "db", port: 1, database: "a", user: "b" }), None);
    }

    #[test]
    fn a_file_that_others_can_read_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:pw\n").unwrap();
        let wanted = PgpassQuery { host: "h", port: 1, database: "d", user: "u" };
        std::fs::write(&path, b"*:*:*:*:caf\xE9\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(look_up(&path, &wanted).unwrap().bytes(), b"caf\xE9");
        std::fs::write(&path, "*:*:*:*:pw\n").unwrap();
        for (mode, password) in [(0o600, Some("pw")), (0o400, Some("pw")), (0o640, None), (0o604, None)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(look_up(&path, &wanted).map(|s| s.0).as_deref(), password, "{mode:o}");
        }
        assert_eq!(look_up(dir.path(), &wanted), None);
        assert_eq!(look_up(&dir.path().join("none"), &wanted), None);
    }
}
