//! PostgreSQL's own regression database, the widest mixture of objects available. `scripts/prepare-regress`
//! builds the suite that creates it. The output of the suite's tests is ignored; only the resulting database
//! matters.

use std::path::PathBuf;
use std::process::Command;

use crate::harness::backup_directory::BackupDirectory;
use crate::harness::cluster::{compare_dumpalls, restored};
use crate::harness::fidelity::{compare_databases, compare_dumps, compare_round_trip};
use crate::harness::guard::{User, give, run_as};
use crate::harness::installation::BIN;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, run, target_dir, without_settings};
use crate::harness::restore::{DumpForm, input};

/// Options that together cover every option of plain output. Some dump only the schema, because the rows
/// would be the same as in the first comparison.
const OPTIONS: &[&[&str]] = &[
    &["-s"],
    &["-a"],
    &["-s", "-c"],
    &["-s", "-c", "--if-exists"],
    &["-s", "-C"],
    &["-s", "-C", "-c", "--if-exists"],
    &["-v", "-s", "-C", "-c"],
    &["-v", "-t", "public.a*"],
    &["-v", "-s", "-n", "*"],
    &["-s", "-O"],
    &["-s", "-x"],
    &["-s", "--no-acl", "--no-owner", "--no-comments"],
    &["-a", "--disable-triggers", "-S", "postgres", "-t", "public.*"],
    &["-s", "--use-set-session-authorization", "-c"],
    &["--inserts", "-a"],
    &["--column-inserts", "-a", "--on-conflict-do-nothing"],
    &["--attribute-inserts", "-a", "-t", "public.a*"],
    &["--rows-per-insert=7", "-a"],
    &["-s", "--quote-all-identifiers"],
    &["-s", "--disable-dollar-quoting"],
    &["--section=pre-data"],
    &["--section=data", "--no-unlogged-table-data"],
    &["--section=post-data"],
    &["-s", "-n", "public"],
    &["-s", "-N", "public"],
    &["-s", "-n", "test*", "-N", "*2"],
    &["-s", "-t", "*a*", "-T", "*b*", "--strict-names"],
    &["-s", "-e", "plpgsql"],
    &["-B", "--exclude-table-data=*"],
    &["-b", "-n", "public", "--exclude-table-data=public.*"],
    &["-s", "--no-tablespaces", "--no-table-access-method", "--no-toast-compression"],
    &["-s", "--no-publications", "--no-subscriptions", "--no-security-labels"],
    &["-a", "--load-via-partition-root", "-t", "*.*part*"],
    &["-s", "--enable-row-security", "--serializable-deferrable"],
    &["-s", "--lock-wait-timeout=60s", "--no-sync"],
    &["-a", "--extra-float-digits=0", "-t", "public.float*"],
    &["-s", "--role=postgres", "-E", "UTF8"],
    &["-s", "-w", "-F", "p", "-Z", "0"],
    &["-a", "--include-foreign-data=nothing*", "-t", "public.onek"],
];

#[test]
fn the_regression_database_and_its_cluster_are_dumped_as_pg_dump_and_pg_dumpall_do() {
    let server = Server::start_with(&["max_prepared_transactions=5"]);
    make_regression_database(&server);
    let database = server.existing("regression");
    database.execute(
        "CREATE FOREIGN DATA WRAPPER no_handler; CREATE SERVER nothing FOREIGN DATA WRAPPER no_handler",
    );
    for options in OPTIONS {
        compare_dumps(&database, options, "regression");
    }
    compare_round_trip(&server, &database, "regression");
    compare_restores(&server, &database);
    // The suite also leaves roles, settings and privileges on parameters.
    for options in [&["-g"][..], &["-s", "-c", "--if-exists"], &["-r", "--no-role-passwords"]] {
        compare_dumpalls(&server, options, "regression cluster");
    }
    let dumps = compare_dumpalls(&server, &[], "regression cluster");
    restored(&server, &dumps.ours, &["role \"postgres\" already exists"], "regression cluster");
}

/// Restores the plain dump and a backup, and compares the copies with psql's restore of the dump.
fn compare_restores(server: &Server, database: &Database<'_>) {
    let dump = database.pg_dump(&[]);
    let theirs = server.database();
    theirs.load_bytes(&dump).expect_success();
    let saved = BackupDirectory::of(database, "gzip");
    let check = |theirs: &Database<'_>, name: &str, restore: &dyn Fn(&Database<'_>) -> Output| {
        let copy = server.database();
        restore(&copy).expect_success();
        compare_databases(theirs, &copy, &[], &format!("regression {name}"));
        copy.drop();
    };
    check(&theirs, "plain", &|copy| DumpForm::Gzip.restore(&dump, copy, &[]));
    for jobs in ["--jobs=1", "--jobs=2", "--jobs=4"] {
        check(&theirs, jobs, &|copy| saved.restore(copy, &[jobs]));
    }
    theirs.drop();
    // Rows that are copied into a table in the transaction that created it do not fill gaps, so their order
    // differs.
    let theirs = server.database();
    run(theirs.client("psql").args(["-X", "-q", "-1", "-o", "/dev/null"]).stdin(input(&dump)))
        .expect_success();
    check(&theirs, "-1", &|copy| saved.restore(copy, &["--single-transaction"]));
    theirs.drop();
}

/// Runs the suite in a database `regression`.
fn make_regression_database(server: &Server) {
    let suite = target_dir().join("regress/suite");
    assert!(
        suite.join("pg_regress").exists(),
        "{} is missing: run scripts/prepare-regress (make test and make regress do)",
        suite.display()
    );
    let user = User::unprivileged();
    // The server reads the suite's files and writes next to them, which the target directory may not allow.
    let work: PathBuf = server.socket().join("regress");
    run(Command::new("cp").arg("-r").arg(&suite).arg(&work)).expect_success();
    give(&work, user);
    server.existing("postgres").execute("CREATE DATABASE regression TEMPLATE template0 LOCALE 'C'");
    for setting in ["lc_messages = 'C'", "lc_monetary = 'C'", "lc_numeric = 'C'", "lc_time = 'C'"] {
        server.existing("postgres").execute(&format!("ALTER DATABASE regression SET {setting}"));
    }
    let mut suite = Command::new(work.join("pg_regress"));
    suite.current_dir(&work).args(["--use-existing", "--dbname=regression", "--user=postgres"]);
    suite.args(["--schedule=parallel_schedule", "--max-connections=8", "--inputdir=.", "--outputdir=out"]);
    suite.arg(format!("--bindir={BIN}")).arg(format!("--dlpath={}", work.display()));
    suite.arg(format!("--host={}", server.socket().display())).arg(format!("--port={}", server.port()));
    without_settings(&mut suite);
    // Some tests may fail: those of an older minor version of the suite, and those that depend on this
    // machine's settings.
    let output = run(run_as(&mut suite, user));
    let tables = server.existing("regression").query("SELECT count(*) FROM pg_class WHERE oid >= 16384");
    let tables: u32 = tables.parse().expect("a count");
    assert!(tables > 1_200, "the suite made only {tables} relations\n{output}");
}
