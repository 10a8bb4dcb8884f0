//! A round, and an operator's subcommands, with exactly the documented permissions: the policies of
//! docker/iam with SeaweedFS and with moto, which enforces them and responds as AWS does, and the role of
//! docs/storing.md in the database.

use std::path::Path;

use crate::harness::cluster::{compare_clusters, pg_dumpall};
use crate::harness::fidelity::{Dumps, compare_bytes};
use crate::harness::moto::Moto;
use crate::harness::postgres::{Database, Server};
use crate::harness::program::{Output, run};
use crate::harness::proxy::BreakableProxy;
use crate::harness::role;
use crate::harness::samples;
use crate::harness::seaweed::{BUCKET, READER, Seaweed, WRITER};
use crate::harness::sidecar::{Sidecar, files, gunzip};

/// The password to fill into the documented statements.
const PASSWORD: &str = "a password of its own";

/// A database whose dump is uploaded in parts, and three small ones.
fn with_databases(sidecar: Sidecar, server: &Server) -> Sidecar {
    let noise = server.database();
    noise.execute(
        "CREATE TABLE noise AS SELECT sha512(n::text::bytea) AS a, sha512((-n)::text::bytea) AS b
           FROM generate_series(1, 50000) n",
    );
    let samples = samples::load(server);
    let sidecar = samples.iter().fold(sidecar, |sidecar, (name, database)| sidecar.database(name, database));
    sidecar.database("noise", &noise).set("BACKUP_GLOBALS", "on")
}

/// Runs a complete round with one key, then all subcommands that read with another.
fn round_and_readers(server: &Server, backup: Sidecar, restore: Sidecar) {
    let backup = with_databases(backup, server);
    let log = backup.run(&["run"]).expect_success().stdout_text();
    assert_eq!(log.matches(": OK in ").count(), 5, "{log}");
    let operator = restore.set("BACKUP_DATABASES", "metadata,noise");
    let listed = operator.run(&["list"]).expect_success().stdout_text();
    assert_eq!(listed.matches(".sql.gz").count(), 5, "{listed}");
    operator.run(&["status"]).expect_success();
    operator.run(&["verify"]).expect_success();
    let copy = server.database();
    operator.run(&["restore", "latest", "--database", "noise", "--to", &copy.url()]).expect_success();
    assert_eq!(copy.query("SELECT count(*) FROM noise"), "50000");
}

#[test]
fn a_whole_round_needs_put_object_alone_with_seaweed() {
    let (server, seaweed) = (Server::start(), Seaweed::start());
    let proxy = BreakableProxy::to_http(&seaweed.http());
    let sidecar = Sidecar::with_store(seaweed.environment(WRITER)).set("BACKUP_S3_ENDPOINT", &proxy.http());
    round_and_readers(&server, sidecar, Sidecar::with_store(seaweed.environment(READER)));
    // The sidecar sends no request that the policy would deny, in particular no delete.
    let requests = proxy.requests();
    assert!(requests.len() > 15, "{requests:#?}");
    let foreign: Vec<&String> = requests.iter().filter(|request| !writes(request)).collect();
    assert!(foreign.is_empty(), "{foreign:#?}");
}

/// Whether `s3:PutObject` allows a request.
fn writes(request: &str) -> bool {
    let (method, target) = request.split_once(' ').expect("a method and a target");
    let query = target.split_once('?').map_or("", |(_, query)| query);
    match method {
        "PUT" => true,
        "POST" => query.starts_with("uploads") || query.contains("uploadId="),
        _ => false,
    }
}

#[test]
fn a_whole_round_needs_put_object_alone_by_aws_s_own_judgement() {
    let (server, moto) = (Server::start(), Moto::start());
    let [backup, restore] =
        ["backup", "restore"].map(|user| Sidecar::with_store(moto.environment(user, BUCKET)));
    round_and_readers(&server, backup, restore);
}

fn small(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute("CREATE TABLE t AS SELECT 1 AS x");
    database
}

#[track_caller]
fn says(output: &Output, all: &[&str]) {
    let said = output.stdout_text() + &output.stderr;
    for text in all {
        assert!(said.contains(text), "{text}\n{output}");
    }
}

#[test]
fn a_key_that_may_not_names_the_action_and_the_bucket() {
    let (server, moto) = (Server::start(), Moto::start());
    let user =
        |name: &str| Sidecar::with_store(moto.environment(name, BUCKET)).database("main", &small(&server));
    let round = user("restore").run(&["run"]).expect_code(5);
    says(
        &round,
        &[
            "access denied: write s3://backups/prod/main/",
            ", which needs s3:PutObject: HTTP 403 AccessDenied: Access Denied",
        ],
    );
    let listed = user("backup").run(&["list"]).expect_code(5);
    says(&listed, &["access denied: list s3://backups/prod/, which needs s3:ListBucket: HTTP 403"]);
    let elsewhere = user("backup").set("BACKUP_S3_PREFIX", "elsewhere").run(&["run"]).expect_code(5);
    says(&elsewhere, &["access denied: write s3://backups/elsewhere/main/", "s3:PutObject"]);
    let rules = user("restore").run(&["lifecycle", "check"]).expect_code(5);
    says(&rules, &["s3://backups, which needs s3:GetBucketVersioning"]);
    // Some settings need more permissions. The error names them before the store's own message.
    let tagged = user("restore").set("BACKUP_S3_TAGS", "a=b").run(&["run"]).expect_code(5);
    says(&tagged, &["which needs s3:PutObject, s3:PutObjectTagging: "]);
}

/// A sidecar that backs up a database to a directory with the documented role and its documented privileges.
fn with_role(server: &Server, database: &Database<'_>, store: &Path) -> Sidecar {
    database.load_bytes(role::backup(database.name(), PASSWORD).as_bytes()).expect_success();
    let url = format!("postgres://backup@127.0.0.1:{}/{}", server.port(), database.name());
    Sidecar::with_directory(store).database_at("main", &url, PASSWORD)
}

const SEVERAL: &str = "
    REVOKE ALL ON SCHEMA public FROM PUBLIC;
    CREATE ROLE boss; CREATE ROLE clerk;
    CREATE SCHEMA sales AUTHORIZATION boss; CREATE SCHEMA hidden AUTHORIZATION boss;
    CREATE TABLE sales.orders (id serial PRIMARY KEY, customer int, note text);
    INSERT INTO sales.orders (customer, note) SELECT n, repeat('x', n % 50) FROM generate_series(1, 1000) n;
    CREATE TABLE hidden.secrets (id int GENERATED ALWAYS AS IDENTITY, secret text);
    INSERT INTO hidden.secrets (secret) VALUES ('a'), ('b');
    CREATE SEQUENCE hidden.counter; SELECT setval('hidden.counter', 42);
    CREATE VIEW sales.totals AS SELECT customer, count(*) FROM sales.orders GROUP BY customer;
    CREATE MATERIALIZED VIEW hidden.copied AS SELECT * FROM sales.orders;
    ALTER TABLE sales.orders OWNER TO boss; ALTER TABLE hidden.secrets OWNER TO clerk;
    ALTER TABLE sales.orders ENABLE ROW LEVEL SECURITY; ALTER TABLE sales.orders FORCE ROW LEVEL SECURITY;
    CREATE POLICY own ON sales.orders TO clerk USING (customer < 10);
    GRANT SELECT ON sales.orders TO clerk;
    CREATE FUNCTION hidden.f() RETURNS int LANGUAGE sql AS 'SELECT 1';
    CREATE PUBLICATION everything FOR ALL TABLES;";

/// Returns the dump of the only backup with this name in a directory.
fn stored(store: &Path, name: &str) -> Vec<u8> {
    let mut files = crate::harness::sidecar::files(store);
    files.retain(|file| file.contains(&format!("/{name}/")) && file.ends_with(".sql.gz"));
    assert_eq!(files.len(), 1, "{files:?}");
    gunzip(&std::fs::read(&files[0]).unwrap())
}

#[test]
fn the_documented_role_saves_what_a_superuser_would() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.execute(SEVERAL);
    let sidecar = with_role(&server, &database, store.path());
    sidecar.set("BACKUP_GLOBALS", "on").run(&["run"]).expect_success();
    let theirs = run(pg_dumpall(&server).args(["-g", "-l", database.name()])).expect_success().stdout;
    let globals = Dumps { theirs, ours: stored(store.path(), "globals") };
    compare_clusters(&globals, "roles, by the role of the documentation");
    let dumps = Dumps { theirs: database.pg_dump(&[]), ours: stored(store.path(), "main") };
    compare_bytes(&dumps, "the role of the documentation");
    let text = String::from_utf8_lossy(&dumps.ours);
    assert!(text.contains("setval('hidden.counter', 42, true)") && text.contains("\n1000\t1000\t"), "{text}");
}

#[test]
fn without_bypassrls_the_documented_role_fails_instead_of_leaving_rows_out() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.execute(SEVERAL);
    let sidecar = with_role(&server, &database, store.path());
    database.execute("ALTER ROLE backup NOBYPASSRLS");
    let failed = sidecar.run(&["run"]).expect_code(4);
    says(&failed, &["sales.orders", "row-level security"]);
    assert_eq!(files(store.path()), [""; 0]);
}

/// Creates a database with a large object that only its owner may read.
fn with_large_object(server: &Server) -> Database<'_> {
    let database = server.database();
    database.execute(
        "SELECT lo_from_bytea(0, decode(repeat('00ff', 5000), 'hex')); CREATE TABLE t AS SELECT 1 AS x",
    );
    database
}

#[test]
fn large_objects_need_one_of_the_two_documented_remedies() {
    for remedy in ["DO $$", "ALTER ROLE backup SET lo_compat_privileges"] {
        let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
        let database = with_large_object(&server);
        let sidecar = with_role(&server, &database, store.path());
        let failed = sidecar.run(&["run"]).expect_code(4);
        says(&failed, &["permission denied for large object"]);
        database.load_bytes(role::documented(remedy, database.name(), PASSWORD).as_bytes()).expect_success();
        sidecar.run(&["run"]).expect_success();
        let dumps = Dumps { theirs: database.pg_dump(&[]), ours: stored(store.path(), "main") };
        compare_bytes(&dumps, remedy);
    }
}

#[test]
fn subscriptions_and_secrets_of_foreign_servers_are_a_superusers() {
    let (server, store) = (Server::start(), tempfile::tempdir().unwrap());
    let database = server.database();
    database.execute(
        "CREATE SUBSCRIPTION far CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
         CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
         CREATE USER MAPPING FOR postgres SERVER s OPTIONS (password 'their secret')",
    );
    let sidecar = with_role(&server, &database, store.path());
    let round = sidecar.run(&["run"]).expect_success();
    says(&round, &["subscriptions not dumped because current user is not a superuser"]);
    let dump = String::from_utf8(stored(store.path(), "main")).unwrap();
    assert!(dump.contains("CREATE USER MAPPING FOR postgres SERVER s;"), "{dump}");
    assert!(!dump.contains("CREATE SUBSCRIPTION") && !dump.contains("their secret"), "{dump}");
}
