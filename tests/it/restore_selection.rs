//! A part of a database, restored by pg_restore from `pg_dump -Fc` and by pg-backup from its own backup. The
//! output of pg_dump must be the same for both copies.
//!
//! The database has the objects of all fixtures, so it contains every kind of object. Some statements fail
//! when only a part is restored (a view without its table, a table in a missing schema); both programs then
//! continue.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::fidelity::first_difference;
use crate::harness::installation::BIN;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, kept_dir, pg_backup, run, without_settings};
use crate::harness::sidecar::Sidecar;

/// Fixtures that change the whole database, or need a separate server.
const LEFT_OUT: [&str; 6] = [
    "database_settings",
    "empty",
    "namespace_public",
    "namespace_public_bare",
    "namespace_public_dropped",
    "quoting_server",
];

/// A database, the backups of both programs, and empty databases to restore into.
struct StoredBackup<'a> {
    server: &'a Server,
    dir: tempfile::TempDir,
    sidecar: Sidecar,
    /// The output of `pg_restore -l` without the comments.
    list: Vec<String>,
}

impl<'a> StoredBackup<'a> {
    fn everything(server: &'a Server) -> StoredBackup<'a> {
        let database = server.database();
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let mut scripts: Vec<PathBuf> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
            .filter(|path| LEFT_OUT.iter().all(|name| path.file_stem().unwrap() != *name))
            .collect();
        scripts.sort();
        for script in scripts {
            // psql reports names that another fixture has already used. The objects with these names exist.
            database.load_going_on(&std::fs::read(script).unwrap());
        }
        // The partition of these rows depends on OIDs.
        database.execute("TRUNCATE fx_part.by_enum");
        // Without owners, this table is still restored.
        database.execute(
            "CREATE TABLE fx_data.words (a text);
             ALTER TABLE fx_data.words ADD CONSTRAINT c CHECK (a <> 'ALTER TABLE a OWNER TO postgres;') NOT VALID",
        );
        StoredBackup::of(server, &database)
    }

    fn of(server: &'a Server, database: &Database<'_>) -> StoredBackup<'a> {
        let dir = tempfile::tempdir().unwrap();
        run(database.client("pg_dump").arg("-Fc").arg("-f").arg(dir.path().join("archive"))).expect_success();
        let store = dir.path().join("store");
        std::fs::create_dir(&store).unwrap();
        let sidecar = Sidecar::with_directory(&store).database("main", database);
        sidecar.run(&["run"]).expect_success();
        let mut saved = StoredBackup { server, dir, sidecar, list: Vec::new() };
        saved.list = saved.listed(saved.pg_restore(&["-l"]));
        saved
    }

    fn listed(&self, output: Output) -> Vec<String> {
        let text = output.expect_success().stdout_text();
        text.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect()
    }

    fn pg_restore(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(format!("{BIN}/pg_restore"));
        run(without_settings(&mut command).args(arguments).arg(self.dir.path().join("archive")))
    }

    fn pg_restore_into(&self, copy: &Database<'_>, arguments: &[&str]) -> Output {
        let mut command = copy.client("pg_restore");
        run(command.args(arguments).arg(self.dir.path().join("archive")))
    }

    /// Returns the names of at most `most` objects of these kinds, spread over all of them, each once.
    fn some(&self, kinds: &[&str], most: usize) -> Vec<&str> {
        let named = self.list.iter().filter_map(|line| {
            let (_, entry) = line.split_once("; ")?;
            let mut words = entry.splitn(3, ' ').skip(2);
            let entry = words.next()?;
            let rest = kinds.iter().find_map(|kind| entry.strip_prefix(kind)?.strip_prefix(' '))?;
            // The fields are namespace, name and owner. A namespace with special characters is skipped.
            let words: Vec<&str> = rest.split(' ').collect();
            let [namespace, name @ .., _] = words.as_slice() else { return None };
            let is_plain = namespace.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let start = name.first()?.as_ptr() as usize - rest.as_ptr() as usize;
            let length = name.join(" ").len();
            is_plain.then(|| &rest[start..start + length])
        });
        let mut names: Vec<&str> = named.collect();
        names.sort_unstable();
        names.dedup();
        names.iter().copied().step_by(names.len().div_ceil(most).max(1)).collect()
    }

    /// Restores the same selection with both programs, into copies of the database `prepared`, and compares
    /// them. `jobs` applies to pg-backup.
    #[track_caller]
    fn compare(&self, prepared: &Database<'_>, choice: &[&str], jobs: &str) {
        self.compare_lists(prepared, choice, choice, jobs);
    }

    /// Restores and compares with separate arguments for the two programs.
    #[track_caller]
    fn compare_lists(&self, prepared: &Database<'_>, theirs: &[&str], choice: &[&str], jobs: &str) {
        let copies = [(), ()].map(|()| self.server.database_from(prepared));
        let by_them = self.pg_restore_into(&copies[0], theirs);
        let url = copies[1].url();
        let ours = ["restore", "latest", "--to", &url, "--into-existing", "--keep-going", "-j", jobs];
        let by_us = self.sidecar.run(&[&ours, choice].concat());
        let [theirs, ours] = copies.each_ref().map(|copy| copy.pg_dump(&["--restrict-key=key"]));
        if theirs != ours {
            let kept = kept_dir().join("differences").join(choice.join("_").replace('/', "_"));
            std::fs::create_dir_all(&kept).unwrap();
            std::fs::write(kept.join("pg_restore.sql"), &theirs).unwrap();
            std::fs::write(kept.join("pg-backup.sql"), &ours).unwrap();
            std::fs::write(kept.join("errors"), format!("{by_them}\n{by_us}")).unwrap();
            let difference = first_difference(&theirs, &ours);
            panic!("{choice:?}: the copies differ, {difference}both are in {}", kept.display());
        }
        assert_eq!(by_them.status.success(), by_us.status.success(), "{choice:?}\n{by_them}\n{by_us}");
        for copy in copies {
            // A database with subscriptions cannot be dropped and stays until the server ends.
            run(self.server.tool("dropdb").arg(copy.name()));
        }
    }

    /// Returns a database into which pg_restore has restored this selection.
    fn prepared(&self, choice: &[&str]) -> Database<'a> {
        let prepared = self.server.database();
        if !choice.is_empty() {
            self.pg_restore_into(&prepared, choice);
        }
        prepared
    }

    /// Returns a database that has only the schemas.
    fn with_schemas(&self) -> Database<'a> {
        let schemas = self.dir.path().join("schemas");
        let lines: Vec<&str> =
            self.list.iter().map(String::as_str).filter(|line| line.contains(" SCHEMA - ")).collect();
        std::fs::write(&schemas, lines.join("\n")).unwrap();
        self.prepared(&["-L", schemas.to_str().unwrap()])
    }
}

/// Compares selections, each with its number of connections, into copies of the same database.
fn compare_all(saved: &StoredBackup<'_>, prepared: &Database<'_>, choices: &[(&[&str], &str)]) {
    for (choice, jobs) in choices {
        saved.compare(prepared, choice, jobs);
    }
}

#[test]
fn switches_leave_out_what_pg_restore_leaves_out() {
    let server = Server::start();
    let saved = StoredBackup::everything(&server);
    let choices: &[(&[&str], &str)] = &[
        (&[], "2"),
        (&["-s"], "1"),
        (&["-s", "-O", "-x"], "2"),
        (&["-O", "--no-comments"], "2"),
        (&["--no-acl", "--no-publications", "--no-subscriptions", "--no-security-labels"], "1"),
        (&["--no-tablespaces", "--no-table-access-method"], "2"),
        (&["--section=pre-data"], "2"),
        (&["--section=pre-data", "--section=post-data"], "2"),
    ];
    compare_all(&saved, &saved.prepared(&[]), choices);
}

#[test]
fn rows_go_into_the_tables_that_are_there() {
    let server = Server::start();
    let saved = StoredBackup::everything(&server);
    let before = saved.prepared(&["--section=pre-data"]);
    compare_all(
        &saved,
        &before,
        &[
            (&["--section=data"], "2"),
            (&["-a"], "2"),
            (&["--section=data", "--section=post-data"], "2"),
            (&["-a", "-n", "fx_data"], "2"),
            (&[&["-a"], &*with("-t", &saved.some(&["TABLE DATA", "SEQUENCE SET"], 12))].concat(), "2"),
            (&["--section=data", "-x", "-N", "public", "-N", "fx_part"], "1"),
        ],
    );
    let whole = saved.prepared(&["-s"]);
    // Foreign keys reject these rows while others are missing, and triggers change rows.
    compare_all(&saved, &whole, &[(&["-a", "--disable-triggers"], "2"), (&["-a", "-N", "public"], "1")]);
    let rows = saved.prepared(&["--section=pre-data", "--section=data"]);
    compare_all(
        &saved,
        &rows,
        &[(&["--section=post-data"], "2"), (&["--section=post-data", "-n", "public"], "1")],
    );
}

/// Returns the switch before each name.
fn with<'a>(switch: &'a str, names: &[&'a str]) -> Vec<&'a str> {
    assert!(!names.is_empty(), "nothing is named for {switch}");
    names.iter().flat_map(|name| [switch, *name]).collect()
}

#[test]
fn names_choose_what_pg_restore_chooses() {
    let server = Server::start();
    let saved = StoredBackup::everything(&server);
    let schemas = saved.with_schemas();
    let tables = saved.some(&["TABLE"], 10);
    let relations = ["VIEW", "MATERIALIZED VIEW", "SEQUENCE", "FOREIGN TABLE"];
    let others = relations.map(|kind| saved.some(&[kind], 4)).concat();
    let functions = saved.some(&["FUNCTION", "PROCEDURE", "AGGREGATE"], 20);
    compare_all(
        &saved,
        &schemas,
        &[
            (&["-n", "public"], "2"),
            (&["-n", "fx_tables", "-n", "fx_view", "-O"], "2"),
            (&["-N", "public", "-N", "fx_ext"], "2"),
            (&["-n", "public", "-s", "-x"], "1"),
            (&["-N", "fx_matview", "-a"], "1"),
            (&with("-t", &tables), "2"),
            (&with("-t", &others), "1"),
            (&[with("-t", &tables), vec!["-s", "--no-comments"]].concat(), "2"),
            (&with("-P", &functions), "2"),
            (&["-t", "nothing", "-n", "none"], "1"),
        ],
    );
    let before = saved.prepared(&["--section=pre-data"]);
    let (indexes, triggers) = (saved.some(&["INDEX"], 20), saved.some(&["TRIGGER"], 20));
    compare_all(
        &saved,
        &before,
        &[
            (&with("-I", &indexes), "2"),
            (&with("-T", &triggers), "2"),
            (&[with("-I", &indexes), with("-T", &triggers), with("-t", &tables), vec!["-a"]].concat(), "1"),
            (&[with("-I", &indexes), with("-T", &triggers), vec!["--section=post-data"]].concat(), "1"),
        ],
    );
}

#[test]
fn a_list_chooses_what_pg_restore_chooses() {
    let server = Server::start();
    let saved = StoredBackup::everything(&server);
    let empty = saved.prepared(&[]);
    let ours = saved.listed(saved.sidecar.run(&["restore", "latest", "--list"]));
    assert_eq!(ours.len(), saved.list.len());
    let file = |name: &str| saved.dir.path().join(name).display().to_string();
    let kept = |lines: &[String], is_kept: fn(usize, &str) -> bool| {
        let lines = lines.iter().enumerate().filter(|(number, line)| is_kept(*number, line));
        lines.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let changes: [fn(usize, &str) -> bool; 4] = [
        |_, _| true,
        // No object can be restored without its schema, and pg_restore stops at a missing large object.
        |number, line| number % 5 != 0 || line.contains(" SCHEMA - ") || line.contains(" BLOB - "),
        |_, line| !line.contains(" CONSTRAINT ") && !line.contains(" ACL "),
        |_, line| line.contains(" SCHEMA - ") || line.contains(" fx_tables ") || line.contains(" fx_seq "),
    ];
    for (number, is_kept) in changes.into_iter().enumerate() {
        let paths = [("theirs", &saved.list), ("ours", &ours)].map(|(name, lines)| {
            let path = file(&format!("{name}{number}"));
            std::fs::write(&path, kept(lines, is_kept)).unwrap();
            path
        });
        let [theirs, ours] = paths.each_ref().map(|path| vec!["-L", path.as_str()]);
        saved.compare_lists(&empty, &theirs, &ours, "1");
        let [theirs, ours] = [theirs, ours].map(|list| [list, vec!["-s", "-x"]].concat());
        saved.compare_lists(&empty, &theirs, &ours, "2");
    }
}

#[test]
fn what_is_dropped_first_is_what_pg_restore_drops() {
    let server = Server::start();
    let saved = StoredBackup::everything(&server);
    let whole = saved.prepared(&[]);
    let tables = saved.some(&["TABLE"], 12);
    compare_all(
        &saved,
        &whole,
        &[
            (&["-c"], "2"),
            (&["-c", "--if-exists", "-n", "fx_tables", "-n", "fx_view", "-n", "fx_seq"], "1"),
            (&["-c", "--if-exists", "-s", "-N", "public", "-O"], "2"),
            (&[with("-t", &tables), vec!["-c", "--if-exists"]].concat(), "1"),
        ],
    );
    // Objects that do not exist are not dropped.
    compare_all(&saved, &saved.prepared(&["-n", "public"]), &[(&["-c", "--if-exists"], "2")]);
}

#[test]
fn a_plain_dump_is_not_restored_in_part() {
    let server = Server::start();
    let (database, copy) = (server.database(), server.database());
    database.load_bytes(b"CREATE TABLE t (); CREATE TABLE u ()").expect_success();
    let dir = tempfile::tempdir().unwrap();
    let dump = dir.path().join("dump.sql").display().to_string();
    std::fs::write(&dump, database.pg_dump(&[])).unwrap();
    let restore =
        |arguments: &[&str]| run(pg_backup().args(["restore", &dump, "--to", &copy.url()]).args(arguments));
    for (switch, code) in [("-s", 1), ("-x", 1), ("--no-owner", 1), ("-tt", 1), ("--list", 2)] {
        let refused = restore(&[switch]).expect_code(code);
        assert!(refused.stderr.contains("no table of contents"), "{refused}");
    }
    assert_eq!(copy.query("SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = 'public'"), "0");
    restore(&[]).expect_success();
}
