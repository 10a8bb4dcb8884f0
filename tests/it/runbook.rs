//! BACKUPS.md, the operator's runbook, and docs/setup.md: every block of commands is run unchanged, each in a
//! new shell, and its effect is checked.
//!
//! The test uses the real PostgreSQL (a server for each database, as in docker/docker-compose.yml, and one
//! for the sandbox) with its clients, the real AWS command line, age, and two S3 servers. moto, which also
//! enforces IAM policies for each key, holds the backups; SeaweedFS holds the replica. `docker` is
//! tests/docker/docker.py, because a CI machine has no Docker daemon: the real Docker Compose reads the
//! compose file and resolves the environment of `pg-backup`, and the stand-in runs the program under test
//! with that environment, as `up`, `run`, `exec`, `logs`, `stop` and `restart` would run the image. It
//! rejects every other use of docker.
//!
//! Between the sections the test does an operator's manual steps: it fills in `operator.env`, `replica.env`,
//! `~/.pgpass` and the settings in `docker/.env.production`, and it causes the damage.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use aws_sdk_s3::error::DisplayErrorContext;

use crate::harness::bucket::{client, environment};
use crate::harness::document::{Document, Fixture, Reading, repository};
use crate::harness::installation::BIN;
use crate::harness::moto::Moto;
use crate::harness::port;
use crate::harness::postgres::{Database, PASSWORD, Server};
use crate::harness::program::{Output, binary, installed, run};
use crate::harness::samples::sample;
use crate::harness::seaweed::{self, Seaweed};
use crate::harness::sidecar::{Sidecar, gunzip};
use crate::harness::sink::Sink;

/// The bucket and the prefix that the set-up creates.
const BUCKET: &str = "acme-backups";
const PREFIX: &str = "hetzner-prod";
const HOOK: &str = "/hook";
/// The secret that signs alerts at the start.
const ALERT_SECRET: &str = "first-secret";

/// The databases: the name in the configuration, the service in the compose file, and the name of the
/// database there, which is also the superuser's.
const DATABASES: [(&str, &str, &str); 3] = [
    ("metadata", "postgres", "schemastack"),
    ("website", "website-postgres", "website"),
    ("demo", "demo-postgres", "demo"),
];

/// The environment of the document.
struct Site {
    /// In the order of [`DATABASES`].
    servers: [Server; 3],
    sandbox: Server,
    moto: Moto,
    seaweed: Seaweed,
    sink: Sink,
    /// The port of the sidecar's HTTP server.
    port: u16,
    /// Holds a checkout, a home directory, programs and the stand-in's state.
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Site {
        let site = Site {
            servers: DATABASES.map(|(_, _, superuser)| Server::start_as_in_a_container(superuser)),
            sandbox: Server::start(),
            moto: Moto::start(),
            seaweed: Seaweed::start(),
            sink: Sink::start(),
            port: port::free(),
            directory: tempfile::tempdir().unwrap(),
        };
        for name in ["checkout", "home/.aws", "bin", "state"] {
            fs::create_dir_all(site.path(name)).unwrap();
        }
        for name in ["docker", ".env.production"] {
            run(Command::new("cp").arg("-r").arg(repository().join(name)).arg(site.path("checkout")))
                .expect_success();
        }
        let stand_in = repository().join("tests/docker/docker.py");
        let aws = installed("awscli/bin/aws");
        for (name, program) in [("pg-backup", &binary()), ("docker", &stand_in), ("aws", &aws)] {
            symlink(program, site.path("bin").join(name)).unwrap();
        }
        // docs/setup.md installs this file, too. The site has it from the start.
        fs::copy(repository().join(".env.production"), site.settings_file()).unwrap();
        let addresses = DATABASES.iter().zip(&site.servers);
        let addresses = addresses.map(|((_, service, _), server)| (*service, server.ip().to_string()));
        let addresses: BTreeMap<&str, String> = addresses.collect();
        fs::write(site.path("state/addresses.json"), serde_json::json!(addresses).to_string()).unwrap();
        let passwords = DATABASES.map(|(_, _, superuser)| format!("*:5432:*:{superuser}:{PASSWORD}\n"));
        site.write_private("home/.pgpass", &format!("{}*:*:*:postgres:{PASSWORD}\n", passwords.concat()));
        let profile = |name: &str, (id, secret): (&str, &str)| {
            format!("[{name}]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n")
        };
        let replica = (seaweed::ADMIN.id, seaweed::ADMIN.secret);
        let profiles = [profile("admin", site.moto.keys("admin")), profile("pg-backup-replica", replica)];
        site.write_private("home/.aws/credentials", &profiles.concat());
        site.fill_in_settings_of_the_runbook();
        drop(site.seaweed.bucket(seaweed::FAR_BUCKET).create(false));
        site.fill_production();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write_private(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Fills in the templates of docker/operator for this site. The runbook's set-up copies only those that
    /// are missing.
    fn fill_in_settings_of_the_runbook(&self) {
        let template =
            |name: &str| fs::read_to_string(self.path("checkout/docker/operator").join(name)).unwrap();
        let text = template("operator.env")
            .replace("postgres@sandbox.example.com:5432", &self.sandbox.address())
            .replace("CHANGE_ME", &format!("'{PASSWORD}'"))
            .replace("127.0.0.1:9899", &format!("127.0.0.1:{}", self.port));
        assert!(!text.contains("example.com") && text.contains(&format!("BUCKET={BUCKET} ")), "{text}");
        self.write_private("checkout/operator.env", &text);
        let text = template("replica.env")
            .replace("acme-backups-far", seaweed::FAR_BUCKET)
            .replace(PREFIX, seaweed::FAR_PREFIX);
        let endpoint = format!("export BACKUP_S3_ENDPOINT={}\n", self.seaweed.http());
        self.write_private("checkout/replica.env", &(text + &endpoint));
    }

    /// Loads each database on its server. The table that the runbook restores separately needs types and a
    /// function of another namespace.
    fn fill_production(&self) {
        self.live().load(&sample("northwind")).expect_success();
        self.database("website").load(&sample("chinook")).expect_success();
        self.database("demo").execute("CREATE TABLE visits AS SELECT generate_series(1, 1000) AS id");
        self.live().execute(
            "CREATE SCHEMA sales;
             CREATE TYPE sales.state AS ENUM ('open', 'paid');
             CREATE DOMAIN sales.note AS text CHECK (length(VALUE) < 1000);
             CREATE FUNCTION sales.first_state() RETURNS sales.state LANGUAGE sql AS $$SELECT 'open'::sales.state$$;
             ALTER TABLE orders ADD COLUMN state sales.state DEFAULT sales.first_state(), ADD COLUMN note sales.note;
             INSERT INTO orders (order_id, customer_id) SELECT 20000 + i, 'ALFKI' FROM generate_series(1, 5) AS i;
             CREATE ROLE auditor;
             GRANT SELECT ON orders TO auditor;
             ALTER DATABASE schemastack SET statement_timeout = '5min';",
        );
    }

    /// Finds a database by its configured name. Returns its server, the server's service, and its name there.
    fn place(&self, wanted: &str) -> (&Server, &str, &str) {
        let mut all = self.servers.iter().zip(DATABASES);
        let (server, (_, service, name)) =
            all.find(|(_, (name, _, _))| *name == wanted).expect("it is configured");
        (server, service, name)
    }

    /// Returns a database by its configured name.
    fn database(&self, wanted: &str) -> Database<'_> {
        let (server, _, name) = self.place(wanted);
        server.existing(name)
    }

    /// The database that the runbook restores.
    fn live(&self) -> Database<'_> {
        self.database("metadata")
    }

    /// The server of that database.
    fn production(&self) -> &Server {
        &self.servers[0]
    }

    /// Returns the URL of a database for the sidecar. Its host needs no name server.
    fn url(&self, wanted: &str) -> String {
        let (server, service, name) = self.place(wanted);
        format!("postgres://backup@{service}:{}/{name}?hostaddr={}", server.port(), server.ip())
    }

    /// Writes the settings that an operator enters in docker/.env.production.
    fn fill_settings(&self) {
        let mut settings = vec![
            ("BACKUP_S3_ENDPOINT".to_owned(), self.moto.http()),
            ("BACKUP_GLOBALS".to_owned(), "on".to_owned()),
            ("BACKUP_HTTP_LISTEN".to_owned(), format!("127.0.0.1:{}", self.port)),
            ("BACKUP_ALERT_NAME".to_owned(), "tests".to_owned()),
            ("BACKUP_ALERT_WEBHOOK_URL".to_owned(), self.sink.url(HOOK)),
            ("BACKUP_ALERT_WEBHOOK_SECRET".to_owned(), ALERT_SECRET.to_owned()),
            ("BACKUP_PING_URL".to_owned(), self.sink.url("/ping")),
        ];
        for (name, _, _) in DATABASES {
            settings.push((format!("{}_POSTGRES_PASSWORD", name.to_ascii_uppercase()), PASSWORD.to_owned()));
        }
        let far = (seaweed::FAR_BUCKET, seaweed::FAR_PREFIX);
        let keys = (seaweed::FAR_WRITER.id, seaweed::FAR_WRITER.secret);
        settings.extend(environment("BACKUP_REPLICA_", &self.seaweed.http(), far, keys));
        let mut text = fs::read_to_string(self.settings_file()).unwrap();
        for (name, value) in settings {
            let of_name = |line: &&str| line.trim_start_matches('#').starts_with(&format!("{name}="));
            let mut lines: Vec<&str> = text.lines().filter(|line| !of_name(line)).collect();
            let line = format!("{name}='{value}'");
            lines.push(&line);
            text = lines.join("\n") + "\n";
        }
        fs::write(self.settings_file(), text).unwrap();
    }

    fn settings_file(&self) -> PathBuf {
        self.path("checkout/docker/.env.production")
    }

    /// Returns a setting of the sidecar.
    fn setting(&self, name: &str) -> String {
        let text = fs::read_to_string(self.settings_file()).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("{name} is not set")).trim_matches('\'').to_owned()
    }

    /// Returns the access key and the secret of the sidecar.
    fn key(&self) -> (String, String) {
        (self.setting("BACKUP_AWS_ACCESS_KEY_ID"), self.setting("BACKUP_AWS_SECRET_ACCESS_KEY"))
    }

    /// Puts an object and lists the bucket with a key. Returns both results.
    fn try_key(&self, (id, secret): &(String, String)) -> (Result<(), String>, Result<(), String>) {
        let client = client(&self.moto.http(), id, secret);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let text = |error: &dyn std::error::Error| DisplayErrorContext(error).to_string();
        let put =
            client.put_object().bucket(BUCKET).key(format!("{PREFIX}/tried")).body(b"x".to_vec().into());
        let put = runtime.block_on(put.send()).map(drop).map_err(|e| text(&e));
        let list = client.list_objects_v2().bucket(BUCKET).prefix(format!("{PREFIX}/")).send();
        let list = runtime.block_on(list).map(drop).map_err(|e| text(&e));
        (put, list)
    }

    fn keys(&self) -> Vec<String> {
        self.moto.bucket(BUCKET).keys()
    }

    /// Returns the number of backups of the runbook's database in the bucket.
    fn backups(&self) -> usize {
        let of_live = |key: &&String| key.contains("/metadata/") && key.ends_with(".manifest.json");
        self.keys().iter().filter(of_live).count()
    }

    fn fixture(&self) -> Fixture {
        let text = |path: PathBuf| path.to_str().expect("a temporary path is text").to_owned();
        Fixture::in_directory(&self.path("checkout"))
            .with_path(Path::new(BIN))
            .with_path(&self.path("bin"))
            .set("HOME", &text(self.path("home")))
            .set("TZ", "UTC")
            .set("AWS_ENDPOINT_URL", &self.moto.http())
            .set("BACKUP_S3_ENDPOINT", &self.moto.http())
            .set("COMPOSE", &text(installed("docker-compose/bin/docker-compose")))
            .set("PG_BACKUP", &text(binary()))
            .set("STATE", &text(self.path("state")))
            .set("TEST", &std::process::id().to_string())
            .with_a_shell_for_each_block()
    }
}

/// Ends the service before the directory is removed.
impl Drop for Site {
    fn drop(&mut self) {
        if let Ok(pid) = fs::read_to_string(self.path("state/pid")) {
            let _ = Command::new("sh").args(["-c", "kill -KILL $1 2>/dev/null", "kill", &pid]).status();
        }
    }
}

/// Returns pg_dump's output for a database without the `\restrict` key, which is random.
fn text(database: &Database<'_>) -> String {
    let dump = String::from_utf8(database.pg_dump(&["--create"])).unwrap();
    let of_key = |line: &&str| line.starts_with("\\restrict ") || line.starts_with("\\unrestrict ");
    dump.lines().filter(|line| !of_key(line)).map(|line| format!("{line}\n")).collect()
}

#[track_caller]
fn assert_same(found: &str, expected: &str, what: &str) {
    if found != expected {
        let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
        panic!("{what}: {differs:?}, {} and {} lines", found.lines().count(), expected.lines().count());
    }
}

fn exists(server: &Server, database: &str) -> bool {
    let query = format!("SELECT count(*) FROM pg_database WHERE datname = '{database}'");
    server.existing("postgres").query(&query) == "1"
}

/// The size limit of the runbook, because it is read under pressure.
const RUNBOOK_BYTES: usize = 25_000;

#[test]
fn every_command_of_the_runbook() {
    let [setup, runbook] = ["docs/setup.md", "BACKUPS.md"].map(|path| Document::open(path).unwrap());
    for document in [&setup, &runbook] {
        assert_eq!(document.not_run(), [], "a block that is not run has to be accepted here");
    }
    let site = Site::new();
    let mut setting_up = Reading::of(&setup, site.fixture());
    set_up(&site, &mut setting_up);
    let whole = text(&site.live());

    let mut reading = Reading::of(&runbook, site.fixture());
    restores(&site, &mut reading, &whole);
    alerts(&site, &mut reading);
    other_restores(&site, &mut reading);
    locks(&site, &mut reading);
    routine(&site, &mut reading);
    let blocks = reading.finish().unwrap();
    moving(&site, &mut setting_up);
    rotation(&site, &mut setting_up);
    let blocks = blocks + setting_up.finish().unwrap();
    println!("{blocks} blocks of BACKUPS.md and docs/setup.md were run");
    encrypted(&site);
    assert_same(&text(&site.live()), &whole, "at the end nothing is lost");
}

#[test]
fn the_runbook_is_short() {
    let text = fs::read_to_string(repository().join("BACKUPS.md")).unwrap();
    assert!(text.len() <= RUNBOOK_BYTES, "BACKUPS.md has {} bytes", text.len());
}

fn set_up(site: &Site, reading: &mut Reading<'_>) {
    reading.until("The sidecar's settings").unwrap();
    let rules = site.moto.bucket(BUCKET).rules();
    assert_eq!(rules.len(), 1, "{rules:?}");
    assert_eq!(rules[0].expiration().and_then(|expiration| expiration.days()), Some(7));
    reading.until("The databases and the role that reads them").unwrap();
    let (put, list) = site.try_key(&site.key());
    put.expect("the sidecar's key may put");
    assert!(list.expect_err("and nothing else").contains("AccessDenied"));
    assert_eq!(fs::metadata(site.settings_file()).unwrap().permissions().mode() & 0o777, 0o600);
    site.fill_settings();
    reading.until("Moving from the shell sidecar").unwrap();
    assert_eq!(site.sink.count(HOOK, "test"), 1);
    let globals = DATABASES.map(|(_, service, _)| format!("globals-{service}-5432"));
    for name in DATABASES.iter().map(|(name, _, _)| *name).chain(globals.iter().map(String::as_str)) {
        let of_name = |key: &&String| key.contains(&format!("/{name}/")) && key.ends_with(".manifest.json");
        assert_eq!(site.keys().iter().filter(of_name).count(), 1, "{name}");
        let copies = site.seaweed.bucket(seaweed::FAR_BUCKET).keys();
        assert_eq!(copies.iter().filter(of_name).count(), 1, "the replica of {name}");
    }
    let roles = "SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname !~ '^pg_'";
    let roles = site.sandbox.existing("postgres").query(roles);
    assert_eq!(roles, "auditor backup demo postgres schemastack website", "the sandbox knows them");
}

/// Checks the four restores: of a lost database, of a lost server, of a database with wrong contents, and of
/// single tables.
fn restores(site: &Site, reading: &mut Reading<'_>, whole: &str) {
    reading.until("The database is gone").unwrap();
    site.live().drop();
    reading.until("The server is gone").unwrap();
    assert_same(&text(&site.live()), whole, "the database is as it was");
    let refused = reading.again().expect_err("a database is not replaced").to_string();
    assert!(refused.contains("error: database \"schemastack\" "), "{refused}");

    // The state of a container with a new volume.
    let postgres = site.production().existing("postgres");
    for statement in
        ["DROP DATABASE schemastack", "DROP ROLE auditor", "DROP ROLE backup", "CREATE DATABASE schemastack"]
    {
        postgres.execute(statement);
    }
    reading.until("The data is wrong").unwrap();
    assert_same(&text(&site.live()), whole, "the database is on a new server as it was");
    let refused = reading.again().expect_err("a server that has tables is not new").to_string();
    assert!(refused.contains("test -z"), "{refused}");

    site.live().execute("UPDATE orders SET freight = 0; DROP TABLE us_states; CREATE TABLE wrong (a int)");
    // A session is still connected, as in production.
    let mut psql = site.live().client("psql");
    let mut session = psql.args(["-X", "-c", "SELECT pg_sleep(600)"]).spawn().unwrap();
    site.live().wait_for(
        "the session",
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(600)'",
    );
    reading.until("A table is lost").unwrap();
    assert_same(&text(&site.live()), whole, "the database of before the damage has the name");
    assert_eq!(
        postgres.query("SELECT datallowconn FROM pg_database WHERE datname = 'schemastack_old'"),
        "f",
        "the old one is kept, and closed"
    );
    assert_ended(&mut session, "the session on the old one");

    site.live().execute("DELETE FROM orders WHERE order_id > 20000; DROP TABLE us_states");
    reading.until("After an error").unwrap();
    assert_same(&text(&site.live()), whole, "the rows and the table came back");
    assert!(!exists(site.production(), "schemastack_table"));
    assert!(exists(site.production(), "schemastack_old"));
    reading.until("Before the first restore").unwrap();
    assert_eq!(site.backups(), 2, "a round was made by hand");
    assert!(!exists(site.production(), "schemastack_old"));
    reading.until("Alerts").unwrap();
    places(reading);
}

/// Checks where the scripts find a database: operator.env overrides the compose file, and nothing is guessed.
fn places(reading: &mut Reading<'_>) {
    let mut url = |command: &str| reading.type_in(&format!(". ./operator.env; {command}")).unwrap();
    let set = |url: &str| format!("export PROD_METADATA='{url}'");
    let place = set("postgres://u@h:1/d");
    assert_eq!(url(&format!("{place}; docker/operator/url metadata")), "postgres://u@h:1/d\n");
    assert_eq!(url(&format!("{place}; docker/operator/url metadata other")), "postgres://u@h:1/other\n");
    for wrong in ["postgres://u@h:1/d?sslmode=require", "postgres://u@h:1", "host=h"] {
        let refused = url(&format!("{}; ! docker/operator/url metadata", set(wrong)));
        assert!(
            refused.starts_with("PROD_METADATA is not postgres://USER@HOST:PORT/DATABASE\nHINT: "),
            "{refused}"
        );
    }
    let unknown = url("! docker/operator/url shop");
    assert!(
        unknown.starts_with("BACKUP_SHOP_URL names no server and database: \"\"\nHINT: set it in "),
        "{unknown}"
    );
    let none = url("sed -i.full 's/^BACKUP_DEMO_URL=.*/BACKUP_DEMO_URL=postgres:\\/\\/backup@elsewhere:5432\\/demo/' docker/.env.production
        ! docker/operator/url demo; mv docker/.env.production.full docker/.env.production");
    assert!(none.contains("\"elsewhere\" is not running\nHINT: start it "), "{none}");
    let usage = url("! docker/operator/url; ! docker/operator/rows");
    assert_eq!(
        usage.lines().filter(|line| line.starts_with("usage: docker/operator/")).count(),
        2,
        "{usage}"
    );
}

fn alerts(site: &Site, reading: &mut Reading<'_>) {
    reading.until("backup_recovered").unwrap();
    waiting(site, reading);
    reading.until("drill_failed").unwrap();
    assert_eq!(reading.printed(), "the same rows in 14 tables\n", "of the oldest and the newest backup");
    let same = reading.type_in(
        ". ./operator.env; NEW=$(pg-backup list --json metadata | jq -r '.[-1].dump')
        docker/operator/rows \"$NEW\" \"$(docker/operator/url metadata)\"",
    );
    assert_eq!(same.unwrap(), "the same rows in 14 tables\n", "of a backup and its database");
    reading.until("Other restores").unwrap();
    assert_eq!(site.sink.count(HOOK, "test"), 2);
}

/// Checks that the wait for a round ends when the round fails, and at the timeout.
fn waiting(site: &Site, reading: &mut Reading<'_>) {
    let role = |may: &str| site.database("demo").execute(&format!("ALTER ROLE backup {may}"));
    role("NOLOGIN");
    let mut wait = |command: &str| {
        let commands = format!(". ./operator.env; docker compose {command}");
        reading.type_in(&commands.replace("WAIT", "docker/operator/wait-for-round")).unwrap()
    };
    let said = wait("restart pg-backup; ! WAIT");
    assert!(said.contains("[backup] demo: FAILED in ") && said.ends_with("no successful round\n"), "{said}");
    role("LOGIN");
    wait("restart pg-backup; WAIT");
    let said = wait("stop pg-backup; ! WAIT 0");
    assert!(said.contains("SIGTERM received") && said.ends_with("no successful round\n"), "{said}");
    wait("up -d --no-deps pg-backup; WAIT");
}

fn other_restores(site: &Site, reading: &mut Reading<'_>) {
    reading.until("Without pg-backup").unwrap();
    with_another_newest(site, || reading.until("Drop the copies").unwrap());
    let copies = ["metadata_look", "metadata_replica", "metadata_by_hand"];
    assert!(copies.iter().all(|name| exists(&site.sandbox, name)));
    let rows =
        |name: &str| site.sandbox.existing(name).query("SELECT count(*) FROM orders WHERE state = 'open'");
    assert!(copies.iter().all(|name| rows(name) == site.live().query("SELECT count(*) FROM orders")));
    reading.until("Locks").unwrap();
    assert!(!copies.iter().any(|name| exists(&site.sandbox, name)));
}

fn moving(site: &Site, reading: &mut Reading<'_>) {
    // The old shell loop left a plain dump whose name looks like today's, without a manifest or a table of
    // contents.
    let dump = run(&mut packed(site)).expect_success().stdout;
    assert!(gunzip(&dump).starts_with(b"--\n-- PostgreSQL database dump\n"));
    let key = format!("{PREFIX}/metadata/2026-04-26/metadata-2026-04-26T16-29-58Z.sql.gz");
    site.moto.bucket(BUCKET).put(&key, dump);
    reading.until("Rotating keys").unwrap();
    assert_eq!(
        site.sandbox.existing("postgres").query("SELECT count(*) FROM pg_database"),
        "3",
        "nothing of a drill or a copy is left"
    );
}

/// Runs `read` while the newest backup has another compression and encryption than the earlier ones, and the
/// bucket holds an unfinished dump.
fn with_another_newest(site: &Site, read: impl FnOnce()) {
    let before = site.keys();
    let identity = site.path("checkout/identity.txt");
    run(Command::new("age-keygen").arg("-o").arg(&identity)).expect_success();
    let recipient = run(Command::new("age-keygen").arg("-y").arg(&identity)).expect_success().stdout_text();
    let (id, secret) = site.key();
    let store = environment("BACKUP_", &site.moto.http(), (BUCKET, PREFIX), (&id, &secret));
    let sidecar = Sidecar::with_store(store)
        .database_at("metadata", &site.url("metadata"), &site.setting("BACKUP_METADATA_PASSWORD"))
        .set("BACKUP_COMPRESSION", "zstd")
        .set("BACKUP_AGE_RECIPIENTS", recipient.trim_end());
    sidecar.run(&["run"]).expect_success();
    assert!(site.keys().iter().any(|key| key.ends_with(".sql.zst.age")));
    let unfinished = format!("{PREFIX}/metadata/2999-01-01/metadata-2999-01-01T00-00-00Z.sql.gz");
    site.moto.bucket(BUCKET).put(&unfinished, b"cut".to_vec());
    read();
    for key in site.keys().iter().filter(|key| !before.contains(key)) {
        site.moto.bucket(BUCKET).delete(key);
    }
    fs::remove_file(identity).unwrap();
}

/// Returns a command for `pg_dump | gzip`.
fn packed(site: &Site) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-c", "set -o pipefail; \"$0\" -d \"$1\" | gzip"])
        .arg(format!("{BIN}/pg_dump"))
        .arg(site.live().url());
    command
}

/// Checks drills, and the log of a healthy sidecar.
fn routine(site: &Site, reading: &mut Reading<'_>) {
    reading.until("What a healthy run looks like").unwrap();
    // A new container has an empty log.
    let start = "docker compose up -d --no-deps pg-backup; docker/operator/wait-for-round";
    reading.type_in(". ./operator.env; docker compose stop pg-backup").unwrap();
    fs::remove_file(site.path("state/environment.json")).unwrap();
    reading.type_in(&format!(". ./operator.env; {start}")).unwrap();
    reading.until("Key rotation").unwrap();
}

fn rotation(site: &Site, reading: &mut Reading<'_>) {
    reading.until("The sidecar's S3 key").unwrap();
    let old = site.key();
    site.try_key(&old).0.expect("the old key is good before");
    reading.until("A database password").unwrap();
    let refused = site.try_key(&old).0.expect_err("the old key is refused");
    assert!(refused.contains("InvalidAccessKeyId"), "{refused}");
    site.try_key(&site.key()).0.expect("the new key is good");

    let old = site.setting("BACKUP_DEMO_PASSWORD");
    for server in &site.servers {
        log_in(server, &old).expect_success();
    }
    reading.until("Alert secrets").unwrap();
    for server in &site.servers {
        let refused = log_in(server, &old);
        assert!(refused.stderr.contains("password authentication failed"), "{refused}");
        log_in(server, &site.setting("BACKUP_DEMO_PASSWORD")).expect_success();
    }

    reading.until("Encryption keys").unwrap();
    let new = site.setting("BACKUP_ALERT_WEBHOOK_SECRET");
    assert_ne!(new, ALERT_SECRET);
    let received = site.sink.at(HOOK);
    let last = received.iter().rfind(|event| event.json()["kind"] == "test").expect("a test was sent");
    assert_eq!(last.headers["x-pg-backup-signature"], signature(&new, &last.body));
}

/// Checks that the newest backup is encrypted.
fn encrypted(site: &Site) {
    let keys = site.keys();
    let newest = keys.iter().rfind(|key| key.contains("/metadata/") && key.ends_with(".manifest.json"));
    let newest = newest.expect("there are backups").replace(".manifest.json", ".sql.gz.age");
    let sealed = site.moto.bucket(BUCKET).get(&newest);
    assert!(sealed.starts_with(b"age-encryption.org/v1\n"), "{newest}");
}

/// Checks that, of two migrations that wait for locks, the one that waits for the dump can be terminated, and
/// the other cannot.
fn locks(site: &Site, reading: &mut Reading<'_>) {
    let session = |application: &str, statements: &str, waits_for: &str| {
        let mut psql = site.live().client("psql");
        let session = psql.args(["-X", "-c", statements]).env("PGAPPNAME", application).spawn().unwrap();
        site.live().wait_for(statements, &format!("SELECT count(*) > 0 FROM pg_locks WHERE {waits_for}"));
        session
    };
    let [(mut dump, mut migration), (mut stranger, mut other)] =
        [("pg-backup", "orders"), ("batch", "customers")].map(|(application, table)| {
            let holds = format!("BEGIN; LOCK TABLE {table} IN ACCESS SHARE MODE; SELECT pg_sleep(600)");
            let of_table = format!("relation = '{table}'::regclass AND mode = 'Access");
            let holder = session(application, &holds, &format!("{of_table}ShareLock' AND granted"));
            let alters = format!("ALTER TABLE {table} ADD COLUMN added text");
            (holder, session("migration", &alters, &format!("{of_table}ExclusiveLock' AND NOT granted")))
        });
    reading.until("Cancel what waits for a dump").unwrap();
    let shown: Vec<Vec<&str>> =
        reading.printed().lines().map(|line| line.split('|').map(str::trim).collect()).collect();
    let waiting = |of_dump: &str| shown.iter().filter(|row| row.get(3) == Some(&of_dump)).count();
    assert_eq!((waiting("t"), waiting("f")), (1, 1), "one of each is shown: {shown:?}");
    reading.until("Run the migration now").unwrap();
    assert!(reading.printed().contains("(1 row)"), "{}", reading.printed());
    assert_ended(&mut migration, "the migration");
    reading.until("Drills").unwrap();
    for session in [&mut dump, &mut stranger, &mut other] {
        assert!(session.try_wait().unwrap().is_none(), "and nobody else");
    }
    // The waiting session is ended first. It would run if the session that blocks it ended first.
    for (query, sessions) in [("ALTER TABLE customers%", vec![other]), ("BEGIN; LOCK%", vec![dump, stranger])]
    {
        site.live().execute(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE '{query}'"
        ));
        for mut session in sessions {
            assert_ended(&mut session, "a session of this test");
        }
    }
}

/// Checks that another session terminated this one.
#[track_caller]
fn assert_ended(session: &mut Child, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match session.try_wait().unwrap() {
            Some(status) => break assert!(!status.success(), "{what} was not ended: {status}"),
            None => assert!(Instant::now() < deadline, "{what} goes on"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Logs in as the role `backup`.
fn log_in(server: &Server, password: &str) -> Output {
    let mut psql = Command::new(format!("{BIN}/psql"));
    run(psql
        .args(["-X", "-c", "SELECT 1"])
        .arg(format!("postgres://backup@{}:{}/postgres", server.ip(), server.port()))
        .env("PGPASSWORD", password))
}

/// Computes a signature with the command of docs/alerts.md.
fn signature(secret: &str, body: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), body).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-r", "-hmac", secret]).arg(file.path());
    let printed = run(&mut openssl).expect_success().stdout_text();
    format!("sha256={}", printed.split(' ').next().unwrap_or_default())
}

/// The links of alerts lead to these sections: one for each kind in docs/alerts.md and for each Prometheus
/// rule.
#[test]
fn every_alert_has_its_section() {
    let anchors = Document::open("BACKUPS.md").unwrap().anchors();
    let alerts = fs::read_to_string(repository().join("docs/alerts.md")).unwrap();
    let kinds = alerts.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `"));
    let kinds: Vec<&str> = kinds
        .filter(|(_, rest)| ["firing", "resolved", "notice"].iter().any(|s| rest.starts_with(s)))
        .map(|(kind, _)| kind)
        .collect();
    assert!(kinds.len() >= 10 && kinds.contains(&"test"), "{kinds:?}");
    let rules = rules();
    for name in kinds.iter().map(|kind| (*kind).to_owned()).chain(rules) {
        assert!(anchors.contains(&name.to_lowercase()), "BACKUPS.md has no section \"{name}\"");
    }
}

/// Returns the names of the rules in docker/prometheus.
fn rules() -> Vec<String> {
    let text = fs::read_to_string(repository().join("docker/prometheus/rules.yml")).unwrap();
    let of_line = |line: &str| line.trim().strip_prefix("- alert: ").map(str::to_owned);
    let names: Vec<String> = text.lines().filter_map(of_line).collect();
    assert!(names.len() >= 10, "{names:?}");
    names
}

/// The stand-in rejects everything that it would not do as Docker does.
#[test]
fn the_stand_in_refuses_what_it_does_not_know() {
    let state = tempfile::tempdir().unwrap();
    for arguments in [
        &["compose", "down"][..],
        &["compose", "up", "pg-backup"],
        // Without `--no-deps`.
        &["compose", "up", "-d", "pg-backup"],
        &["compose", "up", "-d", "postgres", "pg-backup"],
        &["compose", "exec", "-T", "pg-backup", "sh"],
        &["compose", "exec", "-T", "postgres", "sh"],
        &["compose", "run", "--rm", "pg-backup", "check"],
        &["run", "pg-backup"],
    ] {
        let mut docker = Command::new(repository().join("tests/docker/docker.py"));
        let refused = run(docker.args(arguments).env("STATE", state.path())).expect_code(1);
        assert!(refused.stderr.contains("the stand-in for docker does not know"), "{refused}");
    }
}
