//! A private PostgreSQL server, one per test that needs it: of the major 15, unless a test names another.
//!
//! The cluster is initialised once, in the target directory, and copied for each server. A copy takes a tenth
//! of the time of initdb. Local connections are trusted. Over TCP the superuser `postgres` needs
//! [`PASSWORD`], so every run of pg-backup authenticates with SCRAM.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::guard::{self, Dir, Guard, User};
use super::installation::{DEFAULT_MAJOR, Installation};
use super::port;
use super::program::{Output, kept_dir, run};

/// The superuser's password over TCP.
pub const PASSWORD: &str = "correct horse";

/// Settings of every test server. Durability is off because a server that crashes fails its test anyway.
const SETTINGS: &str = "
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
wal_level = logical
max_wal_senders = 4
max_connections = 50
max_locks_per_transaction = 1024
shared_buffers = 32MB
timezone = 'UTC'
log_timezone = 'UTC'
";

const INITDB: &[&str] = &[
    "--username=postgres",
    "--auth-local=trust",
    "--auth-host=scram-sha-256",
    "--encoding=UTF8",
    "--locale=C.UTF-8",
    "--wal-segsize=1",
    "--no-sync",
    "--no-instructions",
];

/// A running server.
pub struct Server {
    /// Guards the restarted process. It is dropped before `guard`, which removes the directory.
    again: Mutex<Option<Guard>>,
    guard: Guard,
    installation: Installation,
    command: Command,
    address: Ipv4Addr,
    port: u16,
    superuser: String,
    databases: AtomicU32,
}

/// A database of a [`Server`].
pub struct Database<'a> {
    server: &'a Server,
    name: String,
}

/// A session that holds a lock on a table until it is dropped.
pub struct Lock<'a> {
    database: &'a Database<'a>,
    session: Child,
    process: String,
}

impl Server {
    /// Starts a server in a new directory.
    pub fn start() -> Server {
        Server::start_with(&[])
    }

    /// Starts a server of a major in a new directory.
    pub fn start_major(major: u32) -> Server {
        Server::start_major_with(major, &[])
    }

    /// Starts a server with additional settings (`name=value`).
    pub fn start_with(settings: &[&str]) -> Server {
        Server::start_major_with(DEFAULT_MAJOR, settings)
    }

    /// Starts a server of a major with additional settings (`name=value`).
    pub fn start_major_with(major: u32, settings: &[&str]) -> Server {
        let installation = Installation::of(major);
        Server::start_on(&installation, settings, copied_template(&installation), port::shared)
    }

    /// Starts a server as the PostgreSQL image does in a container: the superuser has this name, a database
    /// has the same name, and no role is called `postgres`. The server has a loopback address of its own, so
    /// it uses the standard port.
    pub fn start_as_in_a_container(superuser: &str) -> Server {
        let installation = Installation::of(DEFAULT_MAJOR);
        let mut server = Server::start_on(&installation, &[], copied_template(&installation), port::own);
        // A session cannot rename its own role.
        server.existing("postgres").execute("CREATE ROLE renames SUPERUSER LOGIN");
        for (role, statement) in [
            ("renames", format!("ALTER ROLE postgres RENAME TO {superuser}")),
            (superuser, "DROP ROLE renames".to_owned()),
            (superuser, format!("CREATE DATABASE {superuser} TEMPLATE template0")),
        ] {
            role.clone_into(&mut server.superuser);
            server.existing("postgres").execute(&statement);
        }
        server
    }

    /// Starts a standby of this server with additional settings. It replicates over the server's socket.
    pub fn standby(&self, settings: &[&str]) -> Server {
        let copied = |data: &Path| {
            let mut backup = self.tool("pg_basebackup");
            backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-D"]).arg(data);
            run(guard::run_as(&mut backup, User::unprivileged())).expect_success();
        };
        Server::start_on(&self.installation, settings, copied, port::shared)
    }

    fn start_on(
        installation: &Installation,
        settings: &[&str],
        fill: impl Fn(&Path),
        place: fn() -> (Ipv4Addr, u16),
    ) -> Server {
        for attempt in 1.. {
            match Server::try_start(installation, settings, &fill, place()) {
                Ok(server) => return server,
                // Another process may take the port between the check and the bind.
                Err(log) if attempt < 5 && log.contains("Address already in use") => {}
                Err(log) => panic!("PostgreSQL did not start:\n{log}"),
            }
        }
        unreachable!("the loop above returns or panics")
    }

    fn try_start(
        installation: &Installation,
        settings: &[&str],
        fill: impl Fn(&Path),
        (address, port): (Ipv4Addr, u16),
    ) -> Result<Server, String> {
        let user = User::unprivileged();
        let dir = Dir::new(user);
        let data = dir.join("data");
        fill(&data);
        let mut command = installation.command("postgres");
        command.arg("-D").arg(&data).arg("-p").arg(port.to_string()).arg("-k").arg(&*dir);
        command.arg("-c").arg(format!("listen_addresses={address}"));
        for setting in settings {
            command.args(["-c", setting]);
        }
        let guard = Guard::start(dir, user, "QUIT", &command).expect("sh starts");
        let server = Server {
            again: Mutex::default(),
            guard,
            installation: installation.clone(),
            command,
            address,
            port,
            superuser: "postgres".to_owned(),
            databases: AtomicU32::new(0),
        };
        server.wait_until_ready()?;
        Ok(server)
    }

    /// Stops the server with a fast shutdown, which ends all sessions.
    pub fn stop(&self) {
        self.send("INT");
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.watched(Guard::has_ended) {
            assert!(Instant::now() < deadline, "PostgreSQL does not stop:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Restarts the server on the same port after [`Server::stop`].
    pub fn start_again(&self) {
        let user = User::unprivileged();
        let guard = Guard::start(Dir::new(user), user, "QUIT", &self.command).expect("sh starts");
        *self.again.lock().expect("no test panics with it") = Some(guard);
        self.wait_until_ready().unwrap_or_else(|log| panic!("PostgreSQL did not start again:\n{log}"));
    }

    /// Sends the postmaster a signal.
    fn send(&self, signal: &str) {
        let process = self.process_id().to_string();
        run(Command::new("sh").args(["-c", "kill -s $1 $2", "kill", signal, &process])).expect_success();
    }

    /// Waits until a standby has replayed the WAL of this server up to the current position.
    pub fn wait_for(&self, standby: &Server) {
        let position = self.existing("postgres").query("SELECT pg_current_wal_insert_lsn()");
        let query = format!("SELECT pg_last_wal_replay_lsn() >= '{position}'");
        let deadline = Instant::now() + Duration::from_secs(60);
        while standby.existing("postgres").query(&query) != "t" {
            assert!(Instant::now() < deadline, "the standby does not follow:\n{}", standby.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Applies `look` to the guard of the current process, or of the last one.
    fn watched<T>(&self, look: impl FnOnce(&Guard) -> T) -> T {
        let again = self.again.lock().expect("no test panics with it");
        look(again.as_ref().unwrap_or(&self.guard))
    }

    /// Waits until the last line of postmaster.pid is `ready`: the server then accepts connections.
    fn wait_until_ready(&self) -> Result<(), String> {
        let pid_file = self.guard.dir().join("data/postmaster.pid");
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline && !self.watched(Guard::has_ended) {
            if fs::read_to_string(&pid_file).is_ok_and(|text| text.trim_end().ends_with("ready")) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(self.log())
    }

    /// The IP address that the server listens on: 127.0.0.1 in most tests.
    pub fn ip(&self) -> Ipv4Addr {
        self.address
    }

    /// The TCP port that the server listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket.
    pub fn socket(&self) -> &Path {
        self.guard.dir()
    }

    /// The postmaster's process id.
    pub fn process_id(&self) -> u32 {
        self.watched(Guard::process_id)
    }

    /// Returns the log since the last start of the server.
    pub fn log(&self) -> String {
        self.watched(Guard::log)
    }

    /// Returns the log of the first start as bytes, because its lines can be in several encodings.
    pub fn log_bytes(&self) -> Vec<u8> {
        fs::read(self.guard.dir().join("log")).expect("a server that runs has a log")
    }

    /// Creates an empty database with a unique name.
    pub fn database(&self) -> Database<'_> {
        self.database_with("")
    }

    /// Creates an empty database.
    pub fn database_named(&self, name: &str) -> Database<'_> {
        let quoted = name.replace('"', "\"\"");
        self.existing("postgres").execute(&format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0"));
        self.existing(name)
    }

    /// Creates an empty database with these clauses and a unique name.
    pub fn database_with(&self, clauses: &str) -> Database<'_> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("db{number}");
        self.existing("postgres").execute(&format!("CREATE DATABASE {name} TEMPLATE template0 {clauses}"));
        self.existing(&name)
    }

    /// Creates a database with a unique name as a copy of `template`. No session may be connected to the
    /// template.
    pub fn database_from(&self, template: &Database<'_>) -> Database<'_> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("db{number}");
        self.existing("postgres").execute(&format!("CREATE DATABASE {name} TEMPLATE {}", template.name));
        self.existing(&name)
    }

    /// Returns an existing database.
    pub fn existing(&self, name: &str) -> Database<'_> {
        Database { server: self, name: name.to_owned() }
    }

    /// Returns `user@host:port` of the superuser over TCP.
    pub fn address(&self) -> String {
        format!("{}@{}:{}", self.superuser, self.address, self.port)
    }

    /// The major version.
    pub fn major(&self) -> u32 {
        self.installation.major()
    }

    /// Whether the server was built with ICU.
    pub fn has_icu(&self) -> bool {
        self.installation.has_icu()
    }

    /// Returns psql's options that set variables for the parts of fixtures that not every server can load:
    /// `\if :since_N` and `\if :icu`.
    pub fn psql_variables(&self) -> Vec<String> {
        let since = (14..=19).map(|since| format!("since_{since}={}", self.major() >= since));
        let icu = format!("icu={}", self.installation.has_icu());
        since.chain([icu]).flat_map(|variable| ["-v".to_owned(), variable]).collect()
    }

    /// Returns a command for a program of the server's version, without options.
    pub fn program(&self, name: &str) -> Command {
        self.installation.command(name)
    }

    /// Returns a command for a client program of the server's version, which connects over the socket.
    pub fn tool(&self, name: &str) -> Command {
        let mut command = self.installation.command(name);
        self.aim(&mut command);
        command
    }

    fn aim(&self, client: &mut Command) {
        client
            .arg("-h")
            .arg(self.socket())
            .arg("-p")
            .arg(self.port.to_string())
            .args(["-U", &self.superuser]);
    }
}

impl Database<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Drops the database. No session may be connected to it.
    pub fn drop(self) {
        self.server.existing("postgres").execute(&format!("DROP DATABASE \"{}\"", self.name));
    }

    /// Returns a connection URI over TCP, with the password.
    pub fn url(&self) -> String {
        let password = PASSWORD.replace(' ', "%20");
        let Server { address, port, superuser, .. } = self.server;
        format!("postgres://{superuser}:{password}@{address}:{port}/{}", self.name)
    }

    /// Returns a connection URI over TCP, without a password.
    pub fn url_without_password(&self) -> String {
        format!("postgres://{}/{}", self.server.address(), self.name)
    }

    /// Returns a psql command that stops at the first error.
    fn psql(&self) -> Command {
        let mut psql = self.psql_going_on();
        psql.args(["-v", "ON_ERROR_STOP=1"]);
        psql
    }

    /// Returns a psql command that continues after errors.
    fn psql_going_on(&self) -> Command {
        let mut psql = self.server.tool("psql");
        psql.args(["-X", "-q"]).args(["-d", &self.name]);
        psql.args(self.server.psql_variables());
        psql.env("PGOPTIONS", "-c client_min_messages=warning");
        psql
    }

    /// Runs one command string. Fails the test if the command fails.
    pub fn execute(&self, sql: &str) {
        run(self.psql().args(["-c", sql])).expect_success();
    }

    /// Runs one query and returns its rows in psql's unaligned format, one row per line.
    pub fn query(&self, sql: &str) -> String {
        let output = run(self.psql().args(["-A", "-t", "-c", sql])).expect_success();
        output.stdout_text().trim_end_matches('\n').to_owned()
    }

    /// Waits until a query returns `t`.
    #[track_caller]
    pub fn wait_for(&self, what: &str, query: &str) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.query(query) != "t" {
            assert!(Instant::now() < deadline, "{what} did not come about");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Locks a table in ACCESS EXCLUSIVE mode in a new session. The session holds the lock on return.
    pub fn lock(&self, table: &str) -> Lock<'_> {
        self.lock_in(table, "ACCESS EXCLUSIVE", "AccessExclusiveLock")
    }

    /// Locks a table in another mode: `mode` is its name in SQL, `shown` its name in pg_locks.
    pub fn lock_in(&self, table: &str, mode: &str, shown: &str) -> Lock<'_> {
        let hold = format!("BEGIN; LOCK TABLE {table} IN {mode} MODE; SELECT pg_sleep(3600)");
        let session = self.psql().args(["-c", &hold]).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut lock =
            Lock { database: self, session: session.expect("psql starts"), process: String::new() };
        let locked = format!(
            "SELECT pid FROM pg_locks WHERE relation = '{table}'::regclass AND mode = '{shown}' AND granted"
        );
        self.wait_for("the lock", &format!("SELECT count(*) = 1 FROM ({locked}) l"));
        lock.process = self.query(&locked);
        lock
    }

    /// Loads a script with psql, which stops at the first error.
    pub fn load(&self, script: &Path) -> Output {
        let input = File::open(script).unwrap_or_else(|e| panic!("{}: {e}", script.display()));
        run(self.psql().args(["-o", "/dev/null"]).stdin(input))
    }

    /// Loads a script from bytes.
    pub fn load_bytes(&self, script: &[u8]) -> Output {
        with_file(script, |path| self.load(path))
    }

    /// Loads a script from bytes with psql, which reports errors and continues.
    pub fn load_going_on(&self, script: &[u8]) -> Output {
        with_file(script, |path| {
            let input = File::open(path).expect("the temporary file is readable");
            run(self.psql_going_on().args(["-o", "/dev/null"]).stdin(input))
        })
    }

    /// Returns a command for a client program of the server's version, which connects to this database.
    pub fn client(&self, name: &str) -> Command {
        let mut command = self.server.tool(name);
        command.args(["-d", &self.name]);
        command
    }

    /// Runs the real pg_dump with these options.
    pub fn run_pg_dump(&self, options: &[&str]) -> Output {
        run(self.client("pg_dump").args(options))
    }

    /// Returns the output of the real pg_dump with these options.
    pub fn pg_dump(&self, options: &[&str]) -> Vec<u8> {
        self.run_pg_dump(options).expect_success().stdout
    }
}

impl Database<'_> {
    /// Returns a command for the real pg_dump of PostgreSQL 17, which has newer switches, on this database.
    /// `make prepare` installs it into the target directory.
    pub fn pg_dump_17(&self) -> Command {
        let mut command = Installation::of(17).command("pg_dump");
        self.server.aim(&mut command);
        command.args(["-d", &self.name]);
        command
    }
}

impl Lock<'_> {
    /// The process id of the session's backend.
    pub fn process(&self) -> &str {
        &self.process
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        // The end of psql would not end the statement that its backend runs.
        let end = format!("SELECT pg_terminate_backend({})", self.process);
        if !self.process.is_empty() && matches!(self.session.try_wait(), Ok(None)) {
            run(self.database.psql().args(["-o", "/dev/null", "-c", &end]));
        }
        let _ = self.session.kill();
        let _ = self.session.wait();
    }
}

fn with_file<T>(bytes: &[u8], use_it: impl FnOnce(&Path) -> T) -> T {
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    fs::write(file.path(), bytes).expect("the temporary file is writable");
    use_it(file.path())
}

/// Returns a function that fills a data directory with a copy of the initialised cluster.
fn copied_template(installation: &Installation) -> impl Fn(&Path) {
    let template = template(installation);
    move |data| {
        run(Command::new("cp").arg("-a").arg(&template).arg(data)).expect_success();
    }
}

/// Returns the initialised cluster that servers are copied from. The first test that needs it creates it.
fn template(installation: &Installation) -> PathBuf {
    let version = installation.version();
    // The settings are part of the key, so changed settings create a new template.
    let key = {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        (SETTINGS, INITDB, PASSWORD, guard::is_root()).hash(&mut hasher);
        hasher.finish()
    };
    let home = kept_dir();
    let template = home.join(format!("postgres-{version}-{key:x}"));
    let lock = File::create(home.join("postgres.lock")).expect("the target directory is writable");
    lock.lock().expect("the lock file can be locked");
    if !template.exists() {
        initialise(installation, &home, &template);
    }
    template
}

fn initialise(installation: &Installation, home: &Path, template: &Path) {
    let user = User::unprivileged();
    // The unprivileged user may have no access to the target directory, so initdb runs elsewhere and the
    // result is copied.
    let dir = Dir::new(user);
    let data = dir.join("data");
    fs::write(dir.join("password"), PASSWORD).expect("the temporary directory is writable");
    guard::give(&dir.join("password"), user);
    let mut initdb = installation.command("initdb");
    initdb.args(INITDB).arg("-D").arg(&data).arg("--pwfile").arg(dir.join("password")).current_dir(&dir);
    run(guard::run_as(&mut initdb, user)).expect_success();
    let conf = data.join("postgresql.conf");
    let text = fs::read_to_string(&conf).expect("initdb wrote postgresql.conf");
    fs::write(&conf, text + SETTINGS).expect("postgresql.conf is writable");
    let unfinished = home.join("postgres.new");
    let _ = fs::remove_dir_all(&unfinished);
    run(Command::new("cp").arg("-a").arg(&data).arg(&unfinished)).expect_success();
    fs::rename(&unfinished, template).expect("the template can be renamed");
}
