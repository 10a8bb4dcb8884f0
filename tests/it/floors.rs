//! The layers of the crate: every `crate::` path in src follows the order that `src/lib.rs` shows.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::document::repository;

/// Modules that a module must not use, although they are on a lower floor.
const FORBIDDEN: &[(&str, &str)] = &[("sql", "storage"), ("sql", "pipeline")];

/// Returns each top-level module with its floor, as the documentation of the crate shows them. The lowest
/// floor is 0.
fn floors() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(repository().join("src/lib.rs")).unwrap();
    let picture = text.split("//! ```text\n").nth(1).and_then(|rest| rest.split("//! ```\n").next());
    let lines: Vec<&str> = picture.expect("src/lib.rs draws the floors").lines().collect();
    let rooms = lines.iter().rev().enumerate().flat_map(|(floor, line)| {
        line.trim_start_matches("//!").split_whitespace().map(move |room| (room.to_owned(), floor))
    });
    rooms.collect()
}

/// Adds every Rust file below a directory.
fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// Returns the code without comments and unit tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the modules that code uses: the first name of every path that starts with `crate::`.
fn rooms(code: &str) -> Vec<String> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let first = |text: &str| text.split(|c| !is_word(c)).next().unwrap_or_default().to_owned();
    let mut rooms = Vec::new();
    for (at, path) in code.match_indices("crate::") {
        if code[..at].ends_with(|c| is_word(c) || c == '$') {
            continue;
        }
        let rest = &code[at + path.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.push(first(rest));
            continue;
        };
        // In `use crate::{a::b, c::{d, e}};`, the names at depth 0 each start a path.
        let (mut depth, mut item) = (0_usize, String::new());
        for c in group.chars() {
            match c {
                '}' if depth == 0 => break,
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => rooms.push(first(std::mem::take(&mut item).trim())),
                _ if depth == 0 => item.push(c),
                _ => {}
            }
        }
        rooms.push(first(item.trim()));
    }
    rooms.retain(|room| !room.is_empty());
    rooms
}

/// Returns the forbidden imports of a file of the module `room`.
fn violations(room: &str, code: &str, floors: &BTreeMap<String, usize>) -> Vec<String> {
    let own = floors[room];
    let others = rooms(code).into_iter().filter(|other| other != room);
    others
        .filter(|other| {
            let floor = floors.get(other).unwrap_or_else(|| panic!("{other} is on no floor of src/lib.rs"));
            *floor >= own || FORBIDDEN.contains(&(room, other))
        })
        .map(|other| format!("{room} imports {other}"))
        .collect()
}

#[test]
fn imports_go_downward() {
    let source = repository().join("src");
    let floors = floors();
    assert!(floors.len() > 10, "{floors:?}");
    let mut all = Vec::new();
    files(&source, &mut all);
    assert!(all.len() > 200, "{}", all.len());
    let mut found = Vec::new();
    for path in all {
        let inside = path.strip_prefix(&source).unwrap();
        let room = Path::new(inside.iter().next().unwrap()).file_stem().unwrap().to_str().unwrap();
        if room == "lib" {
            continue;
        }
        assert!(floors.contains_key(room), "{room} is on no floor of src/lib.rs");
        let text = fs::read_to_string(&path).unwrap();
        let wrong = violations(room, &code(&text), &floors);
        found.extend(wrong.into_iter().map(|what| format!("{}: {what}", inside.display())));
    }
    assert!(found.is_empty(), "imports that do not go downward:\n{}", found.join("\n"));
}

#[test]
fn imports_that_go_upward_are_found() {
    let floors = floors();
    let wrong = |room: &str, text: &str| violations(room, &code(text), &floors);
    assert_eq!(
        wrong("sql", "use crate::error::Error;\nuse crate::protocol::Session;"),
        ["sql imports error"]
    );
    assert_eq!(wrong("storage", "fn f() { crate::sql::quoted() }"), ["storage imports sql"]);
    assert_eq!(
        wrong("archive", "use crate::{archive::key, dump::{Dump, sql}, report};"),
        ["archive imports dump"]
    );
    assert_eq!(wrong("protocol", "use crate::storage::Store;"), ["protocol imports storage"]);
    assert_eq!(wrong("sql", "use crate::storage::Store;"), ["sql imports storage"]);
    let harmless =
        "// crate::error\nuse other_crate::error;\n#[cfg(test)]\nmod tests {\n    use crate::cli::Cli;\n}\n";
    assert!(wrong("sql", harmless).is_empty());
}
