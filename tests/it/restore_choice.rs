//! The selection of entries, compared with pg_restore's. With `pg_dump -Fc` of the same database, pg_restore
//! prints a script whose banners name each entry in order.

use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;
use pg_backup::archive::manifest::Manifest;
use pg_backup::archive::toc_file::{FileEntry, TocFile};
use pg_backup::archive::toc_reader::TocLimit;
use pg_backup::commands::selection::SelectionArgs;
use pg_backup::protocol::encoding::to_bytes;
use pg_backup::restore::select::{RestoreSelection, list};

use crate::harness::installation::BIN;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, run, without_settings};
use crate::harness::samples::sample;
use crate::harness::sidecar::{Sidecar, files};

/// Switches that apply to any database.
const CHOICES: &[&str] = &[
    "",
    "-a",
    "-s",
    "-O",
    "-x",
    "--no-acl -O --no-comments",
    "--no-comments",
    "--no-publications",
    "--no-subscriptions",
    "--no-security-labels",
    "--no-publications --no-subscriptions --no-security-labels --no-comments -x",
    "--section=pre-data",
    "--section=data",
    "--section=post-data",
    "--section=pre-data --section=post-data",
    "--section=data --section=data -s",
    "--section=pre-data -a",
    "-n public",
    "-N public",
    "-n public -a",
    "-N public -s",
    "-n public -N public",
    "-n pg_catalog",
    "-t nothing",
];

/// A database as pg_dump's archive and as our table of contents.
struct Archives {
    dir: tempfile::TempDir,
    toc: TocFile,
    manifest: Manifest,
}

/// The arguments of a restore that select entries.
#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: SelectionArgs,
}

impl Archives {
    fn of(database: &Database<'_>) -> Archives {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("archive");
        run(database.client("pg_dump").arg("-Fc").arg("-f").arg(&archive)).expect_success();
        let store = dir.path().join("store");
        std::fs::create_dir(&store).unwrap();
        Sidecar::with_directory(&store).database("main", database).run(&["run"]).expect_success();
        let part = |end: &str| {
            let found = files(&store).into_iter().find(|file| file.ends_with(end));
            std::fs::read(found.expect("the backup is whole")).unwrap()
        };
        let toc = TocFile::from_gzip(&part(".toc.json.gz"), TocLimit::default()).unwrap();
        let manifest = Manifest::from_json(&part(".manifest.json")).unwrap();
        Archives { dir, toc, manifest }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn pg_restore(&self, arguments: &[String]) -> Output {
        let mut command = Command::new(format!("{BIN}/pg_restore"));
        run(without_settings(&mut command).args(arguments).arg(self.file("archive")))
    }

    /// Compares one selection. Returns true if it selects some entries, but not all.
    #[track_caller]
    fn compare(&self, arguments: &[String]) -> bool {
        let script = self.pg_restore(&[&["-f".to_owned(), "-".to_owned()], arguments].concat());
        let theirs = banners(&script.expect_success().stdout);
        let selection = selection(arguments);
        let chosen = selection.choose(&self.toc).unwrap();
        let ours: Vec<String> = chosen
            .iter()
            .flat_map(|chosen| {
                let entry = &self.toc.entries[chosen.index];
                let parts = [(chosen.statements, ""), (chosen.data, "Data for ")];
                parts.into_iter().filter(|(is_in, _)| *is_in).map(|(_, kind)| banner(kind, entry, &selection))
            })
            .collect();
        same(&theirs, &ours, arguments);
        !ours.is_empty() && chosen.len() < self.toc.entries.len()
    }

    /// Compares the output of `--list`.
    #[track_caller]
    fn compare_list(&self, arguments: &[String]) {
        let theirs = self.pg_restore(&[&["-l".to_owned()], arguments].concat()).expect_success();
        let theirs = without_ids(&lines(&theirs.stdout));
        let ours = list::render(&self.toc, &self.manifest, &selection(arguments)).unwrap();
        same(&theirs, &without_ids(&lines(&to_bytes(&ours))), arguments);
    }

    /// Compares the DROP statements of `--clean` and their order.
    #[track_caller]
    fn compare_drops(&self, arguments: &[String]) {
        for if_exists in [false, true] {
            let clean = if if_exists { "-f - -c --if-exists" } else { "-f - -c" };
            let script = self.pg_restore(&[&words(clean), arguments].concat()).expect_success();
            let theirs = lines(&script.stdout).into_iter();
            // The DROP statements are between the settings and the first banner.
            let theirs = theirs.skip_while(|line| !line.starts_with("SET row_security")).skip(1);
            let theirs = theirs.take_while(|line| line != "--" && !line.starts_with("SET default_"));
            let theirs: Vec<String> =
                theirs.filter(|line| !line.is_empty() && !line.starts_with("-- *not*")).collect();
            let drops = selection(arguments).drops(&self.toc, if_exists).unwrap();
            let ours: Vec<u8> = drops.iter().flat_map(|(_, drop)| to_bytes(drop)).collect();
            same(&theirs, &lines(&ours), arguments);
        }
    }

    /// Compares the effect of `--use-list` with the lines of `--list`, after the same change to both
    /// programs' lines.
    fn compare_listed(&self, change: fn(&mut Vec<String>), choices: &[&str]) {
        let theirs = lines(&self.pg_restore(&["-l".to_owned()]).expect_success().stdout);
        let ours = list::render(&self.toc, &self.manifest, &RestoreSelection::default()).unwrap();
        for (name, lines) in [("theirs", theirs), ("ours", lines(&to_bytes(&ours)))] {
            let mut lines: Vec<String> = lines.into_iter().filter(|line| !line.starts_with(';')).collect();
            change(&mut lines);
            std::fs::write(self.file(name), lines.join("\n")).unwrap();
        }
        for choice in choices {
            let with_list = |name: &str| {
                let path = self.file(name).display().to_string();
                [words(choice), vec!["-L".to_owned(), path]].concat()
            };
            let script =
                self.pg_restore(&[&["-f".to_owned(), "-".to_owned()], &with_list("theirs")[..]].concat());
            let theirs = banners(&script.expect_success().stdout);
            let selection = selection(&with_list("ours"));
            let chosen = selection.choose(&self.toc).unwrap();
            let ours: Vec<String> = chosen
                .iter()
                .map(|c| {
                    banner(if c.data { "Data for " } else { "" }, &self.toc.entries[c.index], &selection)
                })
                .collect();
            same(&theirs, &ours, &with_list("ours"));
        }
    }

    /// Returns the names of entries of these kinds, and some names that differ slightly from them.
    fn tags(&self, kinds: &[&str]) -> Vec<&str> {
        let entries = self.toc.entries.iter().filter(|entry| kinds.contains(&entry.desc.as_str()));
        let mut tags: Vec<&str> = entries.map(|entry| entry.tag.as_str()).collect();
        tags.sort_unstable();
        tags.dedup();
        tags
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn selection(arguments: &[String]) -> RestoreSelection {
    let line = Line::try_parse_from(std::iter::once("restore").chain(arguments.iter().map(String::as_str)));
    line.unwrap().args.selection(false, false).unwrap()
}

fn lines(text: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(text).lines().map(str::to_owned).collect()
}

/// Returns the text after the id in each line of a list, without the comments at the start.
fn without_ids(lines: &[String]) -> Vec<String> {
    let lines = lines.iter().filter(|line| !line.starts_with(';'));
    lines.map(|line| line.split_once(';').expect("an id ends with a semicolon").1.to_owned()).collect()
}

/// Returns the script's banners without the tablespace, which depends on `--no-tablespaces`.
fn banners(script: &[u8]) -> Vec<String> {
    let lines = lines(script).into_iter();
    let banners = lines.filter_map(|line| {
        let banner = line.strip_prefix("-- ")?;
        let name = banner.strip_prefix("Data for ").unwrap_or(banner);
        (name.starts_with("Name: ") && name.contains("; Owner: ")).then(|| banner.to_owned())
    });
    banners.map(|banner| banner.split("; Tablespace: ").next().unwrap_or_default().to_owned()).collect()
}

fn banner(kind: &str, entry: &FileEntry, selection: &RestoreSelection) -> String {
    let one_line = |name: &str| String::from_utf8_lossy(&to_bytes(name)).replace(['\n', '\r'], " ");
    let owner = entry.owner.as_deref().filter(|_| !selection.no_owner);
    format!(
        "{kind}Name: {}; Type: {}; Schema: {}; Owner: {}",
        one_line(&entry.tag),
        entry.desc,
        entry.namespace.as_deref().map_or("-".to_owned(), one_line),
        owner.map_or("-".to_owned(), one_line)
    )
}

#[track_caller]
fn same(theirs: &[String], ours: &[String], arguments: &[String]) {
    let at = theirs.iter().zip(ours).take_while(|(a, b)| a == b).count();
    let from = |lines: &[String]| lines.iter().skip(at).take(3).cloned().collect::<Vec<_>>();
    assert!(
        theirs == ours,
        "{arguments:?}: {} entries and {} of ours; from {at} on pg_restore has {:#?}, and pg-backup {:#?}",
        theirs.len(),
        ours.len(),
        from(theirs),
        from(ours)
    );
}

/// Returns at most `most` items, spread over all.
fn some<T: Copy>(all: &[T], most: usize) -> Vec<T> {
    all.iter().copied().step_by(all.len().div_ceil(most).max(1)).collect()
}

/// Compares every selection that applies to the database. Returns the number of those that select a part of
/// it.
fn compare_all(archives: &Archives) -> usize {
    let mut choices: Vec<Vec<String>> = CHOICES.iter().map(|line| words(line)).collect();
    let mut namespaces: Vec<&str> =
        archives.toc.entries.iter().filter_map(|e| e.namespace.as_deref()).collect();
    namespaces.sort_unstable();
    namespaces.dedup();
    let relations = archives.tags(&["TABLE", "VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE"]);
    let named = [
        ("-n", namespaces.clone()),
        ("-N", namespaces),
        ("-t", relations.clone()),
        ("-I", archives.tags(&["INDEX", "CONSTRAINT"])),
        ("-P", archives.tags(&["FUNCTION", "PROCEDURE", "AGGREGATE", "OPERATOR"])),
        ("-T", archives.tags(&["TRIGGER", "EVENT TRIGGER", "RULE"])),
    ];
    let with = |switch: &str, name: &str| vec![switch.to_owned(), name.to_owned()];
    let mut together = Vec::new();
    for (switch, names) in &named {
        choices.extend(some(names, 8).into_iter().map(|name| with(switch, name)));
        // Also names without their blanks, which pg_restore does not match.
        choices.extend(some(names, 2).into_iter().map(|name| with(switch, &name.replace(' ', ""))));
        if *switch != "-N" {
            together.extend(some(names, 3).into_iter().flat_map(|name| with(switch, name)));
        }
    }
    for more in ["", "-a", "-s", "-x", "--section=post-data", "-N public", "--no-comments --section=data"] {
        choices.push([words(more), together.clone()].concat());
        if let Some(first) = relations.first() {
            choices.push([words(more), words("-n public"), with("-t", first)].concat());
        }
    }
    choices.iter().filter(|choice| archives.compare(choice)).count()
}

fn compare(script: &Path) {
    let server = Server::start();
    let database = server.database();
    database.load(script).expect_success();
    let archives = Archives::of(&database);
    let parts = compare_all(&archives);
    assert!(parts >= 2, "only {parts} choices are a part of the database");
    for choice in ["", "-a", "-s", "-x --no-comments", "-n public", "--section=post-data"] {
        archives.compare_list(&words(choice));
        if choice != "-a" {
            archives.compare_drops(&words(choice));
        }
    }
    let choices = ["", "-a", "-s", "--section=pre-data", "--section=post-data", "-n public", "-x"];
    archives.compare_listed(|lines| lines.reverse(), &choices);
    archives.compare_listed(
        |lines| {
            let mut number = 0;
            lines.retain(|_| {
                number += 1;
                number % 3 != 0
            });
            lines.insert(0, "; a comment\n\n  \t".to_owned());
        },
        &choices,
    );
    archives.compare_listed(
        |lines| {
            let third = lines.len() / 3;
            lines.rotate_left(third);
        },
        &choices,
    );
}

macro_rules! fixtures {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                let root = Path::new(env!("CARGO_MANIFEST_DIR"));
                compare(&root.join("tests/fixtures").join(concat!(stringify!($name), ".sql")));
            }
        )*
    };
}

// Fixtures whose selection is not obvious: objects that belong to several sections, depend on another object,
// or are selected by name.
fixtures! {
    acl
    aggregate
    awkward_names
    comment
    default_acl
    event_trigger
    foreign_table
    function
    identity
    index
    large_object
    materialized_view
    namespace
    partition
    policy
    procedure
    publication
    sequence
    subscription
    text_search
    trigger
    view_loops
}

#[test]
fn the_database_is_created_as_pg_dump_does() {
    let server = Server::start();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    for (database, number) in
        [(server.database_named("A \"b\""), 5), (server.database_with("ENCODING 'LATIN1' LOCALE 'C'"), 2)]
    {
        if number > 2 {
            database.load(&root.join("database_settings.sql")).expect_success();
        }
        // The statements that only -C adds, except the settings after psql has connected.
        let [theirs, without] = [&["-C", "-s"][..], &["-s"]].map(|options| lines(&database.pg_dump(options)));
        let theirs: Vec<String> = theirs
            .into_iter()
            .filter(|line| !without.contains(line) && !line.starts_with('\\') && !line.starts_with("-- "))
            .collect();
        let archives = Archives::of(&database);
        let ours: Vec<String> =
            archives.toc.database.iter().flat_map(|text| lines(text.as_bytes())).collect();
        same(&theirs, &ours, &[]);
        assert_eq!(archives.toc.database.len(), number, "{ours:#?}");
    }
}

#[test]
fn pagila() {
    compare(&sample("pagila"));
}

#[test]
fn complaints_are_those_of_pg_restore() {
    let server = Server::start();
    let database = server.database();
    database
        .load_bytes(
            b"CREATE TABLE t (a int PRIMARY KEY); CREATE INDEX i ON t (a); CREATE VIEW v AS SELECT 1;",
        )
        .expect_success();
    let archives = Archives::of(&database);
    let lines = archives.file("lines");
    for (arguments, is_whole) in [
        ("-t t -t v -I i", true),
        ("-t t -t t", false),
        ("-t u -I j -n none", false),
        ("-t u -I j", false),
        ("-n public -I j -P f() -T x", false),
        ("-P f() -T x", false),
        ("-T x", false),
        ("-N none", true),
        ("-n pg_catalog -t t", false),
        ("-a -I i", true),
        ("-s -I i --section=data", false),
        ("-L LINES", false),
    ] {
        // Neither archive has an entry with the second last number.
        let ids: Vec<u32> = archives.toc.entries.iter().map(|entry| entry.id).collect();
        std::fs::write(&lines, "nonsense\n5\n").unwrap();
        assert!(!ids.contains(&5), "{ids:?}");
        let path = lines.display().to_string();
        let arguments = words(&format!("--strict-names {arguments}").replace("LINES", &path));
        let theirs = archives.pg_restore(&[words("-f -"), arguments.clone()].concat());
        let ours = selection(&arguments).choose(&archives.toc);
        assert_eq!(theirs.status.success(), is_whole, "{theirs}");
        let ours = ours.map_err(|error| error.to_string()).err().unwrap_or_default();
        let theirs = theirs.stderr.lines().find_map(|line| line.strip_prefix("pg_restore: error: "));
        let ours = ours.lines().next();
        assert_eq!(theirs, ours, "{arguments:?}");
    }
}
