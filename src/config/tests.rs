//! Tests every rule of the configuration table with accepted and refused values.

use std::time::Duration;

use super::variables::{DefaultValue, VARIABLES, ValueType, Variable};
use super::*;
use crate::protocol::CATALOG_LIMIT;

const S3: &[(&str, &str)] = &[
    ("BACKUP_S3_BUCKET", "backups"),
    ("BACKUP_DATABASES", "metadata, website"),
    ("BACKUP_METADATA_URL", "postgres://u@h:5432/d"),
    ("BACKUP_METADATA_PASSWORD", "hunter2"),
    ("BACKUP_WEBSITE_URL", "postgresql://u:pass-in-url@h/d"),
    ("HOME", "/nowhere"),
];

/// Keys from the age crate's own tests.
const RECIPIENT: &str = "age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa";
const SECRET: &str = "AGE-SECRET-KEY-1GQ9778VQXMMJVE8SK7J6VT8UJ4HDQAJUVSFCWCM02D8GEWQ72PVQ2Y5J33";

fn load_for(purpose: Purpose, pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    // A later pair replaces an earlier one, and an empty value removes it.
    let mut map = std::collections::BTreeMap::new();
    map.extend(pairs.iter().copied());
    Config::from_environment(purpose, map.into_iter().map(|(k, v)| (k.into(), v.into())), None)
}

pub(super) fn load(extra: &[(&str, &str)]) -> Result<Config, ConfigError> {
    load_for(Purpose::Backup, &[S3, extra].concat())
}

#[track_caller]
pub(super) fn refused(extra: &[(&str, &str)]) -> String {
    let error = load(extra).expect_err("the configuration should be refused");
    assert!(error.to_string().starts_with(&format!("{} ", error.variable)), "{error}");
    assert!(error.variable.starts_with("BACKUP_") && !error.hint.is_empty());
    error.to_string()
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let config = load(&[]).unwrap();
    assert_eq!(config.prefix, "");
    assert_eq!(config.schedule.interval(), Some(Duration::from_secs(21_600)));
    assert_eq!(config.compression, Compression::DEFAULT_GZIP);
    assert_eq!((config.jobs.get(), config.memory), (2, 64 << 20));
    // Commands with a database or a key on the command line have the same defaults.
    assert_eq!((config.jobs, config.memory), (DEFAULT_JOBS, DEFAULT_MEMORY));
    let connection = format!("{:?}", config.databases[0].connection);
    assert!(connection.contains(&format!("catalog_limit: {CATALOG_LIMIT}")), "{connection}");
    assert_eq!(config.log_format, LogFormat::Text);
    assert_eq!(config.http_listen, Some("0.0.0.0:9899".parse().unwrap()));
    let names: Vec<&str> = config.databases.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["metadata", "website"]);
    let shown = config.databases[0].connection.as_ref().map(ToString::to_string);
    assert_eq!(shown.as_deref(), Some("u@h:5432/d"));
    let StoreLocation::S3 { bucket, access } = config.store else { panic!("not a bucket") };
    assert_eq!(bucket, "backups");
    assert_eq!(access.region, "eu-central-1");
    assert_eq!((access.path_style, access.max_parts), (false, 10_000));
    assert_eq!(access.checksums, Checksums::Crc64Nvme);
    assert!(access.credentials.is_none() && access.endpoint.is_none() && access.ca_file.is_none());
}

#[test]
fn all_settings_arrive() {
    let config = load(&[
        ("BACKUP_S3_PREFIX", "/hetzner-prod/"),
        ("BACKUP_AWS_REGION", "us-east-1"),
        ("BACKUP_AWS_ACCESS_KEY_ID", "AKIA"),
        ("BACKUP_AWS_SECRET_ACCESS_KEY", "topsecret"),
        ("BACKUP_S3_ENDPOINT", "http://127.0.0.1:8333/"),
        ("BACKUP_S3_MAX_PARTS", "1000"),
        ("BACKUP_S3_CHECKSUMS", "when_required"),
        ("BACKUP_S3_CA_FILE", "/dev/null"),
        ("BACKUP_INTERVAL_SECONDS", "60"),
        ("BACKUP_COMPRESSION", "zstd:3"),
        ("BACKUP_JOBS", "4"),
        ("BACKUP_MEMORY_LIMIT", "1GiB"),
        ("BACKUP_CATALOG_LIMIT", "512MiB"),
        ("BACKUP_LOG_FORMAT", "json"),
        ("BACKUP_LOG", "debug"),
        ("BACKUP_HTTP_LISTEN", "off"),
    ])
    .unwrap();
    assert_eq!(config.prefix, "hetzner-prod");
    assert_eq!(config.schedule.interval(), Some(Duration::from_secs(60)));
    assert_eq!(config.compression, Compression::Zstd { level: 3 });
    assert_eq!((config.jobs.get(), config.log_format, config.http_listen), (4, LogFormat::Json, None));
    assert_eq!(config.memory, 1 << 30);
    let connection = format!("{:?}", config.databases[0].connection);
    assert!(connection.contains(&format!("catalog_limit: {}", 512 << 20)), "{connection}");
    let StoreLocation::S3 { access, .. } = config.store else { panic!("not a bucket") };
    assert_eq!(access.endpoint.as_deref(), Some("http://127.0.0.1:8333"));
    assert_eq!((access.path_style, access.max_parts), (true, 1000));
    assert_eq!(access.checksums, Checksums::WhenRequired);
    assert_eq!(access.credentials.unwrap().secret_access_key.expose(), "topsecret");
}

/// Returns the registry's own variables with the names that they have for the database `metadata`.
fn registry() -> impl Iterator<Item = (String, &'static Variable)> {
    let own = VARIABLES.iter().filter(|variable| variable.takes_file());
    own.map(|it| (it.for_database("METADATA").unwrap_or_else(|| it.name.to_owned()), it))
}

/// Without it, the other variables of a replica are refused.
const REPLICA: (&str, &str) = ("BACKUP_REPLICA_S3_BUCKET", "far");

#[test]
fn each_variable_of_the_registry_is_read() {
    for (name, _) in registry() {
        let error = load(&[REPLICA, (&name, "CHANGE_ME")]).expect_err(&name);
        assert_eq!(error.to_string(), format!("{name} still contains the template's CHANGE_ME"));
    }
}

#[test]
fn setting_a_default_changes_nothing() {
    let unset = format!("{:?}", load(&[REPLICA]).unwrap());
    for (name, variable) in registry() {
        if let DefaultValue::Value(default) = variable.default {
            let set = format!("{:?}", load(&[REPLICA, (&name, default)]).unwrap());
            assert_eq!(set, unset, "{name}={default}");
        }
    }
}

#[test]
fn words_and_ranges_are_those_of_the_registry() {
    for (name, variable) in registry() {
        let refused = |value: &str| load(&[REPLICA, (&name, value)]).expect_err(&name);
        match variable.kind {
            ValueType::Integer(least, most) => {
                let problem =
                    format!("{name} is not a whole number from {least} to {most}: \"{}\"", most + 1);
                assert_eq!(refused(&(most + 1).to_string()).to_string(), problem);
            }
            ValueType::Boolean => assert!(refused("maybe").problem.contains("neither true nor false")),
            ValueType::Choice(words) => {
                let hint = refused("other").hint;
                let offered: Vec<&str> = hint.trim_start_matches("use ").split(", ").collect();
                let offered: Vec<&str> = offered.into_iter().flat_map(|part| part.split(" or ")).collect();
                assert_eq!(offered, words, "{name}: {hint}");
            }
            _ => {}
        }
    }
}

#[test]
fn no_secret_is_in_debug_output() {
    let config =
        load(&[("BACKUP_AWS_ACCESS_KEY_ID", "AKIA"), ("BACKUP_AWS_SECRET_ACCESS_KEY", "topsecret")]).unwrap();
    let shown = format!("{config:#?}");
    for secret in ["topsecret", "hunter2", "pass-in-url"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
}

#[test]
fn a_missing_value_is_named() {
    assert_eq!(refused(&[("BACKUP_S3_BUCKET", "")]), "BACKUP_S3_BUCKET is not set");
    assert_eq!(
        refused(&[("BACKUP_METADATA_URL", "")]),
        "BACKUP_METADATA_URL is not set, but BACKUP_DATABASES lists metadata"
    );
    let error = load_for(Purpose::Backup, &[("BACKUP_STORE", "file:///b")]).unwrap_err();
    assert_eq!(error.to_string(), "BACKUP_DATABASES is not set");
    assert_eq!(
        refused(&[("BACKUP_AWS_ACCESS_KEY_ID", "AKIA")]),
        "BACKUP_AWS_SECRET_ACCESS_KEY is not set, but BACKUP_AWS_ACCESS_KEY_ID is"
    );
    assert_eq!(
        refused(&[("BACKUP_AWS_SECRET_ACCESS_KEY", "s")]),
        "BACKUP_AWS_ACCESS_KEY_ID is not set, but BACKUP_AWS_SECRET_ACCESS_KEY is"
    );
}

#[test]
fn a_misspelled_name_is_reported_before_the_value_that_it_leaves_missing() {
    let message = refused(&[("BACKUP_S3_BUCKET", ""), ("BACKUP_S3_BUKCET", "b")]);
    assert_eq!(message, "BACKUP_S3_BUKCET is not a variable of pg-backup");
}

#[test]
fn readers_of_the_store_need_no_databases() {
    let config = load_for(Purpose::ReadStore, &[("BACKUP_STORE", "file:///var/backups")]).unwrap();
    assert!(config.databases.is_empty());
    let StoreLocation::Directory(path) = config.store else { panic!("not a directory") };
    assert_eq!(path, Path::new("/var/backups"));
    let config =
        load_for(Purpose::ReadStore, &[("BACKUP_STORE", "file:///b"), ("BACKUP_DATABASES", "demo")]).unwrap();
    assert!(config.databases[0].connection.is_none());
}

#[test]
fn malformed_values_are_refused() {
    for (name, value) in [
        ("BACKUP_S3_BUCKET", "s3://bucket"),
        ("BACKUP_S3_PREFIX", "a//b"),
        ("BACKUP_S3_PREFIX", "a\\b"),
        ("BACKUP_S3_PREFIX", "../up"),
        ("BACKUP_S3_ENDPOINT", "127.0.0.1:8333"),
        ("BACKUP_S3_ENDPOINT", "https://key:secret@host"),
        ("BACKUP_S3_ENDPOINT", "https://host/bucket"),
        ("BACKUP_S3_PATH_STYLE", "maybe"),
        ("BACKUP_MEMORY_LIMIT", "55MiB"),
        ("BACKUP_MEMORY_LIMIT", "64"),
        ("BACKUP_CATALOG_LIMIT", "15MiB"),
        ("BACKUP_CATALOG_LIMIT", "off"),
        ("BACKUP_S3_MAX_PARTS", "0"),
        ("BACKUP_S3_MAX_PARTS", "10001"),
        ("BACKUP_S3_CHECKSUMS", "never"),
        ("BACKUP_S3_CA_FILE", "/nonexistent/ca.pem"),
        ("BACKUP_INTERVAL_SECONDS", "0"),
        ("BACKUP_INTERVAL_SECONDS", "6h"),
        ("BACKUP_INTERVAL_SECONDS", "-1"),
        ("BACKUP_SCHEDULE", "0 25 * * *"),
        ("BACKUP_SCHEDULE", "0 0 3 * * *"),
        ("BACKUP_SCHEDULE", "@reboot"),
        ("BACKUP_SCHEDULE", "@every 6"),
        ("BACKUP_SCHEDULE", "@every 0s"),
        ("BACKUP_COMPRESSION", "lz4"),
        ("BACKUP_JOBS", "0"),
        ("BACKUP_LOG_FORMAT", "xml"),
        ("BACKUP_LOG", "loud"),
        ("BACKUP_HTTP_LISTEN", "9899"),
        ("BACKUP_METADATA_URL", "host=db"),
        ("BACKUP_METADATA_URL", "mysql://h/d"),
        ("BACKUP_METADATA_URL", "postgres://h/d"),
        ("BACKUP_METADATA_URL", "postgres://u@/d"),
        ("BACKUP_METADATA_URL", "postgres://u@h"),
        ("BACKUP_METADATA_URL", "postgres://u@h:99999/d"),
        ("BACKUP_METADATA_URL", "postgres://u@h/d?sslmode=always"),
        ("BACKUP_METADATA_URL", "postgres://u@h/d?nonsense=1"),
        ("BACKUP_DATABASES", "a/b"),
        ("BACKUP_DATABASES", "../b"),
    ] {
        // The databases of the base set stay listed, so that only the tested value is wrong.
        let value =
            if name == "BACKUP_DATABASES" { format!("metadata,website,{value}") } else { value.into() };
        assert!(refused(&[(name, &value)]).starts_with(name), "{name}={value}");
    }
}

#[test]
fn contradictions_are_refused() {
    assert!(refused(&[("BACKUP_STORE", "file:///b")]).contains("and BACKUP_S3_BUCKET are both set"));
    assert!(refused(&[("BACKUP_SCHEDULE", "@every 6h"), ("BACKUP_INTERVAL_SECONDS", "60")]).contains("both"));
    let message = refused(&[("BACKUP_WEBSITE_PASSWORD", "x")]);
    assert_eq!(message, "BACKUP_WEBSITE_URL contains a password, but BACKUP_WEBSITE_PASSWORD is also set");
    assert_eq!(
        refused(&[("BACKUP_DATABASES", "metadata,website,metadata")]),
        "BACKUP_DATABASES lists metadata twice"
    );
    assert_eq!(
        refused(&[
            ("BACKUP_DATABASES", "metadata,website,web-site,web_site"),
            ("BACKUP_WEB_SITE_URL", "postgres://u@h/d")
        ]),
        "BACKUP_DATABASES lists web-site and web_site, which would both be configured by BACKUP_WEB_SITE_URL"
    );
}

#[test]
fn another_url_than_that_of_a_directory_is_refused() {
    for url in ["/var/backups", "file://relative", "s3://bucket"] {
        let pairs = [("BACKUP_STORE", url)];
        let error = load_for(Purpose::ReadStore, &pairs).unwrap_err();
        assert_eq!(error.variable, "BACKUP_STORE", "{url}");
    }
}

#[test]
fn the_template_is_complete_and_valid() {
    let template = include_str!("../../.env.production");
    let settings = |text: &str| -> Vec<(String, String)> {
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.lines().filter(|line| line.starts_with("BACKUP_")).filter_map(pair).collect()
    };
    let load = |pairs: &[(String, String)]| {
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        load_for(Purpose::Backup, &pairs)
    };
    let error = load(&settings(template)).unwrap_err();
    assert!(error.problem.ends_with("still contains the template's CHANGE_ME"), "{error}");

    let filled = template.replace("CHANGE_ME", "x");
    assert_eq!(load(&settings(&filled)).unwrap().databases.len(), 3);

    // With every example enabled, all names are known. Two pairs of examples exclude each other, four name
    // files, and one is a key.
    let identity = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(identity.path(), SECRET).unwrap();
    let all = filled.replace("#BACKUP_", "BACKUP_").replace("/etc/ssl/my-ca.pem", "/dev/null");
    let all = all.replace("BACKUP_INTERVAL_SECONDS=21600", "").replace("BACKUP_STORE=", "");
    let all = all.replace("/etc/pg-backup.toml", "/dev/null");
    let all = all.replace("BACKUP_AGE_RECIPIENTS=x", &format!("BACKUP_AGE_RECIPIENTS={RECIPIENT}"));
    let all = all.replace("/run/secrets/age-identity", identity.path().to_str().unwrap());
    let config = load(&settings(&all)).unwrap();
    assert_eq!(config.prefix, "hetzner-prod");
    assert!(matches!(config.schedule, Schedule::Cron(_)));
}

#[test]
fn placeholders_of_the_template_are_refused() {
    assert_eq!(
        refused(&[("BACKUP_METADATA_PASSWORD", "CHANGE_ME")]),
        "BACKUP_METADATA_PASSWORD still contains the template's CHANGE_ME"
    );
}

#[test]
fn at_every_is_an_interval() {
    let config = load(&[("BACKUP_SCHEDULE", "@every 1h30m")]).unwrap();
    assert_eq!(config.schedule.interval(), Some(Duration::from_secs(5_400)));
}

#[test]
fn a_cron_expression_is_a_schedule() {
    let config = load(&[("BACKUP_SCHEDULE", "30 3 * * MON-FRI")]).unwrap();
    assert_eq!(config.schedule.to_string(), "at \"30 3 * * MON-FRI\" (UTC)");
    let config = load(&[("BACKUP_SCHEDULE", "@daily"), ("TZ", "Europe/Berlin")]).unwrap();
    assert_eq!(config.schedule.to_string(), "at \"@daily\" (Europe/Berlin)");
    let config = load(&[("BACKUP_SCHEDULE", "@daily"), ("TZ", ":Europe/Berlin")]).unwrap();
    assert_eq!(config.schedule.to_string(), "at \"@daily\" (Europe/Berlin)");
    let error = load(&[("BACKUP_SCHEDULE", "@daily"), ("TZ", "Mars/Olympus")]).unwrap_err();
    assert_eq!(error.to_string(), "TZ is not a time zone: \"Mars/Olympus\"");
}

#[test]
fn a_malformed_url_is_not_shown() {
    let error = load(&[("BACKUP_METADATA_URL", "u:hunter2@h")]).unwrap_err();
    assert!(!error.to_string().contains("hunter2") && !error.hint.contains("hunter2"));
}

fn globals(extra: &[(&str, &str)]) -> Vec<(String, String, bool)> {
    let config = load(&[&[("BACKUP_GLOBALS", "on")], extra].concat()).unwrap();
    let shown = |g: &GlobalsConfig| (g.name.clone(), g.connection.to_string(), g.no_role_passwords);
    config.globals.iter().map(shown).collect()
}

#[test]
fn globals_are_saved_once_for_each_server() {
    assert!(load(&[]).unwrap().globals.is_empty());
    assert!(load(&[("BACKUP_GLOBALS", "off")]).unwrap().globals.is_empty());
    let one = ("globals".to_owned(), "u@h:5432/d".to_owned(), false);
    assert_eq!(globals(&[]), [one]);
    let without = ("globals".to_owned(), "u@h:5432/d".to_owned(), true);
    assert_eq!(globals(&[("BACKUP_GLOBALS", "no-role-passwords")]), [without]);
    let names: Vec<String> =
        globals(&[("BACKUP_WEBSITE_URL", "postgres://w@h:5433/x")]).into_iter().map(|g| g.0).collect();
    assert_eq!(names, ["globals-h-5432", "globals-h-5433"]);
    // A database named `globals` does not conflict while the globals have other names.
    let named = [("BACKUP_DATABASES", "metadata,website,globals")];
    let two = [&named[..], &[("BACKUP_GLOBALS_URL", "postgres://u@other/d")]].concat();
    assert_eq!(globals(&two).len(), 2);
    let error = refused(
        &[&named[..], &[("BACKUP_GLOBALS_URL", "postgres://u@h/d"), ("BACKUP_GLOBALS", "on")]].concat(),
    );
    assert_eq!(
        error,
        "BACKUP_GLOBALS saves roles and tablespaces as globals, but BACKUP_DATABASES lists a database globals"
    );
    assert!(refused(&[("BACKUP_GLOBALS", "maybe")]).contains("\"maybe\""));
}

#[test]
fn without_the_urls_of_all_databases_no_globals_are_expected() {
    let pairs = [S3, &[("BACKUP_GLOBALS", "on"), ("BACKUP_WEBSITE_URL", "")]].concat();
    assert!(load_for(Purpose::ReadStore, &pairs).unwrap().globals.is_empty());
    let all = [S3, &[("BACKUP_GLOBALS", "on")]].concat();
    assert_eq!(load_for(Purpose::ReadStore, &all).unwrap().globals.len(), 1);
}

#[test]
fn drills_have_a_server_and_a_schedule() {
    let drill = |extra: &[(&str, &str)]| load(extra).unwrap().drill;
    let none = drill(&[("BACKUP_JOBS", "3")]);
    assert!(none.sandbox.is_none() && none.schedule.is_none());
    assert_eq!((none.jobs.get(), none.without), (3, Without::default()));
    assert_eq!(none.require_sandbox().unwrap_err().to_string(), "BACKUP_DRILL_URL is not set");
    let all = drill(&[
        ("BACKUP_DRILL_URL", "postgres://u@sandbox/postgres"),
        ("BACKUP_DRILL_PASSWORD", "hunter2"),
        ("BACKUP_DRILL_SCHEDULE", "0 5 * * SUN"),
        ("BACKUP_DRILL_JOBS", "4"),
        ("BACKUP_DRILL_NO_OWNER", "true"),
    ]);
    assert_eq!(all.sandbox.unwrap().to_string(), "u@sandbox:5432/postgres");
    assert_eq!(all.schedule.unwrap().to_string(), "at \"0 5 * * SUN\" (UTC)");
    assert_eq!((all.jobs.get(), all.without), (4, Without { owner: true, ..Without::default() }));

    let weekly = [("BACKUP_DRILL_SCHEDULE", "@every 7d")];
    assert_eq!(refused(&weekly), "BACKUP_DRILL_URL is not set, but BACKUP_DRILL_SCHEDULE is");
    let url = ("BACKUP_DRILL_URL", "postgres://u@sandbox/postgres");
    assert_eq!(
        refused(&[url, ("BACKUP_DRILL_SCHEDULE", "sometimes")]),
        "BACKUP_DRILL_SCHEDULE is not a cron expression: \"sometimes\""
    );
    assert_eq!(
        refused(&[("BACKUP_DATABASES", "metadata, website, drill"), url]),
        "BACKUP_DATABASES lists drill, but BACKUP_DRILL_URL is not a variable of a database"
    );
    assert!(refused(&[("BACKUP_DRILL_NO_OWNER", "maybe")]).contains("neither true nor false"));
}

#[test]
fn the_round_policy_is_configurable() {
    assert_eq!(load(&[]).unwrap().round_policy, RoundPolicy::default());
    let all = load(&[
        ("BACKUP_RETRIES", "0"),
        ("BACKUP_RETRY_WAIT", "1m"),
        ("BACKUP_TIMEOUT", "1h30m"),
        ("BACKUP_STALL_TIMEOUT", "90s"),
        ("BACKUP_LOCK_TIMEOUT", "10m"),
        ("BACKUP_ON_BLOCKED", "abort"),
        ("BACKUP_ON_BLOCKED_AFTER", "5s"),
    ]);
    let seconds = Duration::from_secs;
    assert_eq!(
        all.unwrap().round_policy,
        RoundPolicy {
            retries: 0,
            retry_wait: seconds(60),
            timeout: Some(seconds(5400)),
            stall_timeout: Some(seconds(90)),
            lock_timeout: Some(seconds(600)),
            on_blocked: OnBlocked::Abort,
            blocked_after: seconds(5),
        }
    );
    let off =
        load(&[("BACKUP_TIMEOUT", "off"), ("BACKUP_LOCK_TIMEOUT", "off"), ("BACKUP_ON_BLOCKED", "warn")]);
    assert_eq!(off.unwrap().round_policy, RoundPolicy::default());
    assert_eq!(RoundPolicy::default().stall_timeout, Some(seconds(600)), "it is on by default");
    for off in ["off", "0"] {
        assert_eq!(load(&[("BACKUP_STALL_TIMEOUT", off)]).unwrap().round_policy.stall_timeout, None);
    }
    assert_eq!(load(&[("BACKUP_ON_BLOCKED", "ignore")]).unwrap().round_policy.on_blocked, OnBlocked::Ignore);
    for (name, value) in [
        ("BACKUP_RETRIES", "-1"),
        ("BACKUP_RETRIES", "101"),
        ("BACKUP_RETRIES", "many"),
        ("BACKUP_RETRY_WAIT", "5"),
        ("BACKUP_RETRY_WAIT", "off"),
        ("BACKUP_TIMEOUT", "0s"),
        ("BACKUP_TIMEOUT", "90"),
        ("BACKUP_TIMEOUT", "400d"),
        ("BACKUP_STALL_TIMEOUT", "10"),
        ("BACKUP_LOCK_TIMEOUT", "soon"),
        ("BACKUP_ON_BLOCKED", "kill"),
        ("BACKUP_ON_BLOCKED_AFTER", "0s"),
        ("BACKUP_ON_BLOCKED_AFTER", "off"),
    ] {
        assert!(refused(&[(name, value)]).starts_with(&format!("{name} ")), "{name}={value}");
    }
}

#[test]
fn encryption_needs_recipients_and_scheduled_drills_an_identity() {
    let none = load(&[]).unwrap().encryption;
    assert!(none.recipients.is_none() && none.identities.is_none());
    let recipients = ("BACKUP_AGE_RECIPIENTS", RECIPIENT);
    let config = load(&[recipients]).unwrap();
    assert_eq!(config.encryption.recipients.as_ref().unwrap().number(), 1);
    // Rounds do not need an identity; scheduled drills do.
    let drills = [
        recipients,
        ("BACKUP_DRILL_URL", "postgres://u@sandbox/postgres"),
        ("BACKUP_DRILL_SCHEDULE", "@every 7d"),
    ];
    assert_eq!(
        refused(&drills),
        "BACKUP_AGE_IDENTITY is not set, but BACKUP_DRILL_SCHEDULE and BACKUP_AGE_RECIPIENTS are"
    );
    load_for(Purpose::ReadStore, &[S3, &drills].concat()).unwrap();
    let config = load(&[&drills[..], &[("BACKUP_AGE_IDENTITY", SECRET)]].concat()).unwrap();
    assert!(config.encryption.identities.is_some());
    assert!(!format!("{config:?}").contains("SECRET-KEY"));

    assert_eq!(
        refused(&[("BACKUP_AGE_RECIPIENTS", "age1nonsense")]),
        "BACKUP_AGE_RECIPIENTS has something that is no recipient as entry 1"
    );
    let two = format!("{RECIPIENT}, {SECRET}");
    assert_eq!(
        refused(&[("BACKUP_AGE_RECIPIENTS", &two)]),
        "BACKUP_AGE_RECIPIENTS has a secret key as entry 2"
    );
    assert_eq!(
        refused(&[("BACKUP_AGE_IDENTITY", RECIPIENT)]),
        "BACKUP_AGE_IDENTITY holds a recipient in line 1, which cannot decrypt"
    );
    assert_eq!(refused(&[("BACKUP_AGE_RECIPIENTS", "# nobody")]), "BACKUP_AGE_RECIPIENTS holds no recipient");
}
