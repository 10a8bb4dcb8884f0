//! The documents are consistent: every link has a target, every page is in the index, and no page repeats
//! another.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::document::{anchors, repository};

/// Returns the pages of a directory of the project.
fn pages(directory: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join(directory)).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.sort();
    pages
}

/// Returns a page's text without its blocks of code, where a bracket is not a link.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(page).unwrap_or_else(|e| panic!("{}: {e}", page.display()));
    let mut in_block = false;
    let lines = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        in_block ^= fence;
        !in_block && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the targets of a page's links and pictures, as written.
fn links(page: &Path) -> Vec<String> {
    let prose = prose(page);
    let ends = prose.match_indices("](").map(|(at, _)| &prose[at + 2..]);
    ends.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.to_owned()).collect()
}

/// Returns the anchors of a page's headings.
fn headings(page: &Path) -> Vec<String> {
    anchors(&fs::read_to_string(page).unwrap())
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages(".").into_iter().chain(pages("docs")) {
        for link in links(&page).into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.clone() } else { page.with_file_name(file) };
            let is_there =
                target.exists() && (anchor.is_empty() || headings(&target).iter().any(|h| h == anchor));
            if !is_there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_index_names_every_page_once() {
    let index = repository().join("docs/README.md");
    let named: Vec<PathBuf> =
        links(&index).iter().map(|link| fs::canonicalize(index.with_file_name(link)).unwrap()).collect();
    for page in pages("docs").into_iter().chain(pages(".")) {
        let page = fs::canonicalize(page).unwrap();
        let times = named.iter().filter(|named| **named == page).count();
        let is_front = page.file_name().is_some_and(|name| name == "README.md");
        assert_eq!(times, usize::from(!is_front), "{}", page.display());
    }
}

/// This many words in the same order are not a coincidence.
const REPEATED: usize = 12;

/// A repeated sentence would be corrected in only one place. The front page and the changelog may repeat,
/// because they summarise the others.
#[test]
fn no_page_repeats_another() {
    let mut first: HashMap<Vec<String>, PathBuf> = HashMap::new();
    let mut repeated = Vec::new();
    for page in pages(".").into_iter().chain(pages("docs")) {
        if page.ends_with("CHANGELOG.md") || page == repository().join("README.md") {
            continue;
        }
        let prose = prose(&page);
        let words = prose.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let words: Vec<String> = words.map(str::to_lowercase).collect();
        for run in words.windows(REPEATED) {
            let other = first.entry(run.to_vec()).or_insert_with(|| page.clone());
            if *other != page {
                repeated.push(format!("{} and {}: {}", other.display(), page.display(), run.join(" ")));
            }
        }
    }
    assert!(repeated.is_empty(), "{}", repeated.join("\n"));
}
