//! `pg-backup dumpall` compared with pg_dumpall: bytes, messages, restores, outputs and failures.

use std::process::Command;

use crate::harness::cluster::{
    cluster, compare_clusters, compare_dumpalls, compare_outputs, compare_restored, dumpall, pg_dumpall,
};
use crate::harness::fidelity::{Dumps, compare_dumps};
use crate::harness::postgres::Server;
use crate::harness::program::{Output, pg_backup, run};
use crate::harness::seaweed::{Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, gunzip};

/// Options without databases. With the other lists they cover every option except those of connections and
/// outputs.
const GLOBALS: &[&[&str]] = &[
    &["-g"],
    &["-r"],
    &["-t"],
    &["-g", "-c"],
    &["-r", "-c", "--if-exists"],
    &["-t", "-c", "--if-exists"],
    &["-g", "-x"],
    &["-g", "--no-role-passwords"],
    &["-g", "--no-comments", "--no-security-labels"],
    &["-g", "--no-tablespaces", "-c"],
    &["-t", "--no-tablespaces"],
    &["-g", "-a"],
    &["-g", "--quote-all-identifiers"],
    &["-g", "-E", "LATIN1"],
    &["-g", "--role", "everything"],
    &["-g", "-l", "latin"],
    &["-r", "-l", "bytes"],
    &["-v", "-g", "-c"],
    &["-v", "-r", "--no-role-passwords", "--role", "everything", "--quote-all-identifiers"],
    &["-v", "-t", "--no-security-labels"],
    // Options that only the dumps of databases would reject.
    &["-g", "-s", "--data-only", "--rows-per-insert=0", "--on-conflict-do-nothing"],
];

const DATABASES: &[&[&str]] = &[
    &["-c"],
    &["-c", "--if-exists"],
    &["-s"],
    &["-s", "-c", "-O", "-x"],
    &["-a"],
    &["-a", "--disable-triggers", "-S", "postgres"],
    &["-s", "--quote-all-identifiers", "-c"],
    &["-s", "--exclude-database=a*|l*", "--exclude-database", "\"Grün\""],
    &["-s", "-c", "--exclude-database=template1", "--exclude-database=GR?N", "--exclude-database=*1"],
    &["-a", "-c", "--exclude-database=postgres", "--exclude-database=template1"],
    &["--exclude-database=*"],
    &["-s", "--no-role-passwords", "--no-tablespaces", "--no-table-access-method", "--no-toast-compression"],
    &["-s", "--no-comments", "--no-publications", "--no-subscriptions", "--no-security-labels"],
    &["-s", "--use-set-session-authorization", "--disable-dollar-quoting"],
    &["-a", "--inserts"],
    &["-a", "--column-inserts", "--on-conflict-do-nothing", "--extra-float-digits=0"],
    &["-a", "--rows-per-insert=7", "--load-via-partition-root", "--no-unlogged-table-data"],
    &["-s", "--lock-wait-timeout=60s", "--no-sync", "-w", "--role=postgres"],
];

#[test]
fn a_cluster_is_dumped_and_restored_as_by_pg_dumpall() {
    let server = cluster("cluster.sql");
    let dumps = compare_dumpalls(&server, &[], "cluster");
    let exists = "role \"postgres\" already exists";
    compare_restored(&server, &dumps.ours, &[exists], "cluster");
    let clean = run(dumpall(&server).args(["-c", "--if-exists"])).expect_success().stdout;
    compare_restored(&server, &clean, &["current user cannot be dropped", exists], "cluster -c");
}

#[test]
fn globals_are_dumped_as_pg_dumpall_does() {
    let server = cluster("cluster.sql");
    for options in GLOBALS {
        compare_dumpalls(&server, options, "globals");
    }
}

#[test]
fn databases_are_dumped_as_pg_dumpall_does() {
    let server = cluster("cluster.sql");
    // The dumps of these differ without options, which another test compares.
    for name in ["bytes", "icu", "mould", "\"select\"", "template2"] {
        let postgres = server.existing("postgres");
        postgres.execute(&format!("ALTER DATABASE {name} IS_TEMPLATE false"));
        postgres.execute(&format!("DROP DATABASE {name}"));
    }
    for options in DATABASES {
        compare_dumpalls(&server, options, "databases");
    }
    let warned = run(pg_dumpall(&server).arg("-a")).expect_success().stderr;
    assert!(warned.contains("warning: there are circular foreign-key constraints"), "{warned}");
    compare_dumpalls(&server, &["-v", "-c", "--exclude-database=a*|l*"], "verbose");
}

#[test]
fn a_key_that_is_given_is_the_key_everywhere() {
    let server = Server::start();
    server.database();
    let dump = |mut command: Command, author: &str| {
        let text = run(command.arg("--restrict-key=abc")).expect_success().stdout_text();
        text.replace(&format!("-- Dumped by {author}\n"), "-- Dumped by WHOM\n")
    };
    let ours = dump(dumpall(&server), &format!("pg-backup version {}", env!("CARGO_PKG_VERSION")));
    let theirs = dump(pg_dumpall(&server), &format!("pg_dump version {}", pg_dumpall_version()));
    assert_eq!(ours, theirs);
}

fn pg_dumpall_version() -> String {
    let version = run(Command::new(format!("{}/pg_dumpall", crate::harness::installation::BIN)).arg("-V"));
    let text = version.expect_success().stdout_text();
    text.trim_end().trim_start_matches("pg_dumpall (PostgreSQL) ").to_owned()
}

#[test]
fn labels_and_orphans_are_dumped_and_warned_of_as_pg_dumpall_does() {
    let server = cluster("unrestorable.sql");
    for options in [&["-g"][..], &["-c"], &["-g", "--no-security-labels"], &["-t"]] {
        compare_dumpalls(&server, options, "unrestorable");
    }
    let warned = run(pg_dumpall(&server).arg("-r")).expect_success().stderr;
    assert_eq!(warned.matches("found orphaned pg_auth_members entry for role ").count(), 2, "{warned}");
}

/// The server decides which settings are lists: the test sets two values for each setting that accepts them,
/// and compares the output with pg_dump and pg_dumpall.
#[test]
fn list_settings_are_those_of_the_server() {
    let server = Server::start();
    let database = server.database();
    database.execute("CREATE ROLE lists");
    let settings = database.query("SELECT name FROM pg_settings WHERE vartype = 'string' ORDER BY name");
    let mut script = String::new();
    for setting in settings.lines() {
        let target = format!("SET {setting} TO 'a b', '\"c'");
        script += &format!(
            "ALTER ROLE lists {target};
             CREATE FUNCTION f_{setting}() RETURNS void LANGUAGE sql {target} AS '';\n"
        );
        // Without these libraries no session could start.
        if !setting.ends_with("_preload_libraries") {
            script += &format!("ALTER DATABASE {} {target};\n", database.name());
        }
    }
    // Most settings take only one value and report an error.
    database.load_going_on(script.as_bytes()).expect_success();
    let lists = database.query(
        "SELECT string_agg(setting, E'\\n') FROM pg_db_role_setting, unnest(setconfig) setting
          WHERE setrole = 'lists'::regrole AND setting LIKE '%=\"a b\"%'",
    );
    assert!(lists.contains("search_path=") && lists.contains("temp_tablespaces="), "{lists}");
    compare_dumpalls(&server, &[], "list settings");
    compare_dumps(&database, &["--create"], "list settings");
}

#[test]
fn the_environment_says_how_moments_are_printed() {
    let server = Server::start();
    let database = server.existing("postgres");
    database.execute("CREATE ROLE r VALID UNTIL '2031-02-03 04:05:06'; CREATE TABLE t AS SELECT now() AS x");
    for (name, value) in
        [("PGDATESTYLE", "German, DMY"), ("PGTZ", "Asia/Kolkata"), ("PGCLIENTENCODING", "LATIN1")]
    {
        let (mut theirs, mut ours) = (pg_dumpall(&server), dumpall(&server));
        compare_outputs(theirs.env(name, value), ours.env(name, value), name);
    }
    database.execute("ALTER DATABASE postgres SET datestyle = 'SQL, MDY'");
    database.execute("ALTER ROLE postgres SET standard_conforming_strings = off");
    database.execute("COMMENT ON ROLE r IS 'back\\slash'; ALTER ROLE r SET my.x = 'a\\b'");
    compare_dumpalls(&server, &[], "datestyle");
}

#[test]
fn a_cluster_without_the_database_postgres_is_read_in_template1() {
    let server = Server::start();
    let template = server.existing("template1");
    template.execute("CREATE DATABASE other");
    template.execute("DROP DATABASE postgres");
    compare_dumpalls(&server, &[], "without postgres");
    compare_dumpalls(&server, &["-c", "-l", "other"], "without postgres");
    let missing = run(dumpall(&server).args(["-g", "-l", "postgres"])).expect_code(1);
    assert!(missing.stderr.contains("database \"postgres\" does not exist"), "{missing}");
    assert!(missing.stdout.is_empty(), "{missing}");
}

#[test]
fn a_connection_string_gives_everything_but_the_database() {
    let server = Server::start();
    let database = server.database();
    let theirs = run(pg_dumpall(&server).arg("-g")).expect_success().stdout;
    let ours = run(pg_backup().args(["dumpall", "-g", "-d", &database.url()])).expect_success().stdout;
    compare_clusters(&Dumps { theirs, ours }, "connection string");
    // Options override the connection string.
    let wrong = database.url().replace("127.0.0.1", "no-such-host.invalid");
    run(pg_backup().args(["dumpall", "-g", "-h", "127.0.0.1", "-d", &wrong])).expect_success();
    let refused = run(pg_backup().args(["dumpall", "-g", "-d", "mydb"])).expect_code(1);
    assert!(refused.stderr.contains("missing \"=\""), "{refused}");
}

#[test]
fn passwords_are_for_superusers_and_in_no_log() {
    let server = Server::start();
    server
        .existing("postgres")
        .execute("CREATE ROLE weak LOGIN PASSWORD 'correct horse'; CREATE ROLE md5er PASSWORD 'x'");
    let weak = |command: &mut Command, options: &[&str]| -> Output {
        run(command.args(["-U", "weak"]).args(options))
    };
    let refused = weak(&mut dumpall(&server), &["-g"]).expect_code(1);
    assert!(refused.stderr.contains("permission denied for table pg_authid"), "{refused}");
    assert!(
        refused.stderr.contains("\nHINT: ") && refused.stderr.contains("--no-role-passwords"),
        "{refused}"
    );
    assert!(refused.stdout.is_empty(), "{refused}");
    let theirs = weak(&mut pg_dumpall(&server), &["-g", "--no-role-passwords"]).expect_success().stdout;
    let ours = weak(&mut dumpall(&server), &["-g", "--no-role-passwords"]).expect_success().stdout;
    compare_clusters(&Dumps { theirs, ours }, "no passwords");
    let loud = run(dumpall(&server).args(["-g", "-v"]).env("BACKUP_LOG", "trace")).expect_success();
    assert!(loud.stdout_text().contains("SCRAM-SHA-256$"), "{loud}");
    assert!(loud.stderr.lines().count() > 1 && !loud.stderr.contains("SCRAM-SHA-256$"), "{loud}");
}

#[test]
fn every_output_holds_the_same_bytes() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    server.database().execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 100000) n");
    let dir = tempfile::tempdir().unwrap();
    let theirs = run(&mut pg_dumpall(&server)).expect_success().stdout;
    let equal = |ours: Vec<u8>, name: &str| compare_clusters(&Dumps { theirs: theirs.clone(), ours }, name);
    let plain = dir.path().join("plain.sql").display().to_string();
    let packed = dir.path().join("packed.sql.gz").display().to_string();
    run(dumpall(&server).args(["-f", &plain])).expect_success();
    equal(std::fs::read(&plain).unwrap(), "file");
    run(dumpall(&server).args(["-Z", "gzip:1", "-f", &format!("file://{packed}")])).expect_success();
    equal(gunzip(&std::fs::read(&packed).unwrap()), "packed");
    let mut to_s3 = dumpall(&server);
    to_s3.args(["-Z9", "-f", "s3://backups/prod/all.sql.gz"]);
    to_s3.envs(Sidecar::with_store(seaweed.environment(WRITER)).environment());
    run(&mut to_s3).expect_success();
    equal(gunzip(&seaweed.get("prod/all.sql.gz")), "s3");
}

#[test]
fn one_failed_database_leaves_no_file() {
    let server = Server::start();
    let database = server.database_named("zzz_last");
    database.execute("CREATE TABLE t (id int)");
    server.database_named("first").execute("CREATE TABLE t AS SELECT n FROM generate_series(1, 100000) n");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("all.sql").display().to_string();
    std::fs::write(&file, "before").unwrap();
    let lock = database.lock("t");
    let failed = run(dumpall(&server).args(["--lock-wait-timeout=200", "-v", "-f", &file])).expect_code(1);
    assert!(failed.stderr.contains("pg-backup: dumping database \"first\"\n"), "{failed}");
    assert!(failed.stderr.contains("dumping database \"zzz_last\" failed: "), "{failed}");
    drop(lock);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "before");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_database_whose_name_breaks_the_line_is_refused_as_by_pg_dumpall() {
    let server = Server::start();
    server.database_named("a\n\\! touch /tmp/x");
    for command in [&mut pg_dumpall(&server), &mut dumpall(&server)] {
        let refused = run(command).expect_code(1);
        assert!(refused.stderr.contains("contains a newline or carriage return"), "{refused}");
    }
    compare_dumpalls(&server, &["-c", "--exclude-database=a*"], "newline");
}

#[test]
fn complaints_that_need_a_server_are_pg_dumpalls() {
    let server = Server::start();
    for (options, complaint) in [
        (&["--exclude-database=a.b"][..], "improper qualified name (too many dotted names): a.b"),
        (&["--exclude-database=a("], "invalid regular expression: parentheses () not balanced"),
        (&["-g", "-E", "nothing"], "invalid client encoding \"nothing\" specified"),
        (&["-g", "--role=nobody"], "role \"nobody\" does not exist"),
        (&["-a", "-c"], "options -c/--clean and -a/--data-only cannot be used together"),
        (&["-a", "-s"], "options -s/--schema-only and -a/--data-only cannot be used together"),
        (&["--extra-float-digits=4"], "--extra-float-digits must be in range -15..3"),
    ] {
        for command in [&mut pg_dumpall(&server), &mut dumpall(&server)] {
            let refused = run(command.args(options)).expect_code(1);
            assert!(refused.stderr.contains(complaint), "{refused}");
        }
    }
}

/// Without the databases, which have a separate test.
#[test]
fn the_number_of_queries_does_not_grow_with_the_globals() {
    let server = Server::start_with(&["log_statement=all"]);
    let statements = |server: &Server| server.log().matches("LOG:  ").count();
    let ask = || {
        let before = statements(&server);
        run(dumpall(&server).arg("-g")).expect_success();
        statements(&server) - before
    };
    let few = ask();
    assert!(few > 5, "the statements are not in the log");
    let roles: String = (0..200)
        .map(|n| {
            format!(
                "CREATE ROLE r{n}; ALTER ROLE r{n} SET work_mem = 64; GRANT SET ON PARAMETER my.p{n} TO r{n};"
            )
        })
        .collect();
    server.existing("postgres").execute(&roles);
    assert_eq!(ask(), few);
}
