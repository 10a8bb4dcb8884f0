//! The registry of variables: every variable that the program reads stands in [`VARIABLES`] once.
//!
//! Unknown names are checked against it, `pg-backup config --list` prints it, and tests hold the program, the
//! documentation and `.env.production` to it. How a value is interpreted is not known here.

use std::fmt;

/// Prefix of all variables that are pg-backup's own.
pub const PREFIX: &str = "BACKUP_";
/// Suffix of a variable that names a file with the value.
pub(super) const FILE_SUFFIX: &str = "_FILE";
/// Names the TOML file. It can be neither in that file nor in a file of its own.
pub(super) const CONFIG: &str = "BACKUP_CONFIG";
/// In a pattern, the name of a database in capitals.
const DATABASE: &str = "<NAME>";

/// A variable, or a pattern of variables.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Name. `<NAME>` stands for the name of a database in capitals, `*` at the end for any end.
    pub name: &'static str,
    /// Syntax of the value.
    pub kind: ValueType,
    /// What applies if the variable is not set.
    pub default: DefaultValue,
    /// Whether the value, or a part of it, must not be shown.
    pub secret: bool,
    /// Description in one line.
    pub help: &'static str,
}

/// Syntax of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// A whole number from the first to the second, inclusive.
    Integer(u64, u64),
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// URL of a database, which may contain a password.
    DatabaseUrl,
    /// Another URL. If it is a secret, only its scheme, host and port may be shown.
    Url,
    /// Another syntax, which this describes.
    Other(&'static str),
}

/// What applies if a variable is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// Nothing: a round needs a value.
    Required,
    /// Nothing: what the variable configures is off.
    None,
    /// This value.
    Value(&'static str),
    /// What follows from something else, as described by this.
    Derived(&'static str),
}

use DefaultValue::{Derived, None as Unset, Required, Value};
use ValueType::{Boolean, Choice, DatabaseUrl, Integer, Other, Url};

const TEXT: ValueType = Other("text");
const LIST: ValueType = Other("list");
const PATH: ValueType = Other("path");
const SIZE: ValueType = Other("size");
const DURATION: ValueType = Other("duration");
const LIMIT: ValueType = Other("duration|off");
const SCHEDULE: ValueType = Other("schedule");
const CHECKSUMS: ValueType = Choice(&["when_supported", "when_required"]);
const SSE: ValueType = Choice(&["AES256", "aws:kms"]);
const LOCK_MODE: ValueType = Choice(&["GOVERNANCE", "COMPLIANCE"]);

const fn plain(name: &'static str, kind: ValueType, default: DefaultValue, help: &'static str) -> Variable {
    Variable { name, kind, default, secret: false, help }
}

const fn secret(name: &'static str, kind: ValueType, default: DefaultValue, help: &'static str) -> Variable {
    Variable { name, kind, default, secret: true, help }
}

/// All variables, in the order of the documentation.
#[rustfmt::skip]
pub const VARIABLES: &[Variable] = &[
    // Where backups go.
    plain("BACKUP_S3_BUCKET", TEXT, Required, "Name of the bucket"),
    plain("BACKUP_S3_PREFIX", TEXT, Unset, "Prefix of every key"),
    plain("BACKUP_AWS_REGION", TEXT, Value("eu-central-1"), "Region of the bucket"),
    plain("BACKUP_AWS_ACCESS_KEY_ID", TEXT, Unset, "ID of a static key, instead of the standard AWS chain"),
    secret("BACKUP_AWS_SECRET_ACCESS_KEY", TEXT, Unset, "Secret of that key"),
    plain("BACKUP_S3_ENDPOINT", Url, Derived("AWS"), "URL of another S3 service"),
    plain("BACKUP_S3_PATH_STYLE", Boolean, Derived("true with an endpoint, else false"),
        "Whether the bucket is in the path instead of the host name"),
    plain("BACKUP_S3_CA_FILE", PATH, Derived("the system's"), "PEM file of the CA certificates to trust for S3"),
    plain("BACKUP_S3_MAX_PARTS", Integer(1, 10_000), Value("10000"), "Parts that the store allows in one upload"),
    plain("BACKUP_S3_CHECKSUMS", CHECKSUMS, Value("when_supported"), "Whether requests contain integrity checksums"),
    plain("BACKUP_STORE", Other("file:///directory"), Unset, "Directory instead of a bucket, for trials"),

    // How objects are kept.
    plain("BACKUP_S3_SSE", SSE, Derived("the bucket's own"), "Encryption by the store"),
    plain("BACKUP_S3_SSE_KMS_KEY_ID", TEXT, Derived("the account's default key"), "Key for aws:kms"),
    plain("BACKUP_S3_STORAGE_CLASS", Other("S3 storage class"), Derived("STANDARD"), "Storage class of the objects"),
    plain("BACKUP_S3_OBJECT_LOCK_MODE", LOCK_MODE, Unset, "Mode of the object lock"),
    plain("BACKUP_S3_OBJECT_LOCK_DAYS", Integer(1, 36_500), Unset, "Days for which objects are locked"),
    plain("BACKUP_S3_TAGS", Other("key=value,..."), Unset, "Tags of the objects"),

    // The replica.
    plain("BACKUP_REPLICA_S3_BUCKET", TEXT, Unset, "Name of the replica's bucket"),
    plain("BACKUP_REPLICA_S3_PREFIX", TEXT, Derived("that of the primary"), "Prefix of every key; / for none"),
    plain("BACKUP_REPLICA_AWS_REGION", TEXT, Value("eu-central-1"), "Region of the replica's bucket"),
    plain("BACKUP_REPLICA_AWS_ACCESS_KEY_ID", TEXT, Unset, "ID of a static key for the replica"),
    secret("BACKUP_REPLICA_AWS_SECRET_ACCESS_KEY", TEXT, Unset, "Secret of that key"),
    plain("BACKUP_REPLICA_S3_ENDPOINT", Url, Derived("AWS"), "URL of the replica's S3 service"),
    plain("BACKUP_REPLICA_S3_PATH_STYLE", Boolean, Derived("true with an endpoint, else false"),
        "BACKUP_S3_PATH_STYLE of the replica"),
    plain("BACKUP_REPLICA_S3_CA_FILE", PATH, Derived("the system's"), "BACKUP_S3_CA_FILE of the replica"),
    plain("BACKUP_REPLICA_S3_MAX_PARTS", Integer(1, 10_000), Value("10000"), "BACKUP_S3_MAX_PARTS of the replica"),
    plain("BACKUP_REPLICA_S3_CHECKSUMS", CHECKSUMS, Value("when_supported"), "BACKUP_S3_CHECKSUMS of the replica"),
    plain("BACKUP_REPLICA_S3_SSE", SSE, Derived("the bucket's own"), "BACKUP_S3_SSE of the replica"),
    plain("BACKUP_REPLICA_S3_SSE_KMS_KEY_ID", TEXT, Derived("the account's default key"),
        "BACKUP_S3_SSE_KMS_KEY_ID of the replica"),
    plain("BACKUP_REPLICA_S3_STORAGE_CLASS", Other("S3 storage class"), Derived("STANDARD"),
        "BACKUP_S3_STORAGE_CLASS of the replica"),
    plain("BACKUP_REPLICA_S3_OBJECT_LOCK_MODE", LOCK_MODE, Unset, "BACKUP_S3_OBJECT_LOCK_MODE of the replica"),
    plain("BACKUP_REPLICA_S3_OBJECT_LOCK_DAYS", Integer(1, 36_500), Unset, "BACKUP_S3_OBJECT_LOCK_DAYS of the replica"),
    plain("BACKUP_REPLICA_S3_TAGS", Other("key=value,..."), Unset, "BACKUP_S3_TAGS of the replica"),
    plain("BACKUP_REPLICA_TIMEOUT", DURATION, Value("5m"), "Time without progress after which a copy is given up"),

    // How old backups go.
    plain("BACKUP_RETENTION_DAYS", Integer(1, 36_500), Value("7"), "Days after which the bucket removes a backup"),
    plain("BACKUP_LIFECYCLE_RULE_ID", TEXT, Derived("pg-backup-<days>d"), "ID of the lifecycle rule"),
    plain("BACKUP_LIFECYCLE_AWS_ACCESS_KEY_ID", TEXT, Derived("BACKUP_AWS_…"),
        "ID of a key that may change the bucket's rules"),
    secret("BACKUP_LIFECYCLE_AWS_SECRET_ACCESS_KEY", TEXT, Derived("BACKUP_AWS_…"), "Secret of that key"),

    // What is backed up.
    plain("BACKUP_DATABASES", LIST, Required, "Names of the databases, in the order of a round"),
    secret("BACKUP_<NAME>_URL", DatabaseUrl, Required, "URL of the database; <NAME> is its name in capitals"),
    secret("BACKUP_<NAME>_PASSWORD", TEXT, Unset, "Password, if the URL has none"),
    plain("BACKUP_GLOBALS", Choice(&["off", "on", "no-role-passwords"]), Value("off"),
        "Whether roles and tablespaces are also saved"),

    // When and how.
    plain("BACKUP_INTERVAL_SECONDS", Integer(1, 31_622_400), Value("21600"), "Seconds from start to start"),
    plain("BACKUP_SCHEDULE", SCHEDULE, Unset, "@every <duration> or a cron expression, instead of the interval"),
    plain("BACKUP_RETRIES", Integer(0, 100), Value("5"), "Retries of a database in one round"),
    plain("BACKUP_RETRY_WAIT", DURATION, Value("5s"), "Approximate wait before the first retry"),
    plain("BACKUP_TIMEOUT", LIMIT, Value("off"), "Maximum time for one database in a round"),
    plain("BACKUP_STALL_TIMEOUT", LIMIT, Value("10m"), "Time without data after which a connection is checked"),
    plain("BACKUP_LOCK_TIMEOUT", LIMIT, Value("off"), "Maximum time that a dump waits for each lock"),
    plain("BACKUP_ON_BLOCKED", Choice(&["warn", "abort", "ignore"]), Value("warn"),
        "Action if sessions wait for the locks of a dump"),
    plain("BACKUP_ON_BLOCKED_AFTER", DURATION, Value("30s"), "How long sessions wait before that action"),
    plain("BACKUP_COMPRESSION", Other("gzip[:1-12]|zstd[:1-19]|none"), Value("gzip"), "Compression of dumps"),
    plain("BACKUP_JOBS", Integer(1, 64), Value("2"), "Connections that read a database"),
    plain("BACKUP_MEMORY_LIMIT", SIZE, Value("64MiB"), "Memory that the program may use, 56MiB or more"),
    plain("BACKUP_CATALOG_LIMIT", SIZE, Value("4GiB"), "Size of the answers to catalog queries, 16MiB or more"),
    plain("BACKUP_AGE_RECIPIENTS", LIST, Unset, "Public keys to which backups are encrypted"),
    secret("BACKUP_AGE_IDENTITY", TEXT, Unset, "Secret key that decrypts backups"),

    // Drills.
    secret("BACKUP_DRILL_URL", DatabaseUrl, Unset, "URL of the sandbox server for drills"),
    secret("BACKUP_DRILL_PASSWORD", TEXT, Unset, "Password, if the URL has none"),
    plain("BACKUP_DRILL_SCHEDULE", SCHEDULE, Unset, "When serve runs drills, like BACKUP_SCHEDULE"),
    plain("BACKUP_DRILL_JOBS", Integer(1, 64), Derived("BACKUP_JOBS"), "Connections to the sandbox"),
    plain("BACKUP_DRILL_NO_OWNER", Boolean, Value("false"), "Drill without owners and privileges"),
    plain("BACKUP_DRILL_NO_PRIVILEGES", Boolean, Value("false"), "Drill without GRANT and REVOKE"),
    plain("BACKUP_DRILL_NO_TABLESPACES", Boolean, Value("false"), "Drill in the default tablespace"),
    plain("BACKUP_DRILL_NO_SECURITY_LABELS", Boolean, Value("false"), "Drill without security labels"),
    plain("BACKUP_DRILL_NO_PUBLICATIONS", Boolean, Value("false"), "Drill without publications"),
    plain("BACKUP_DRILL_NO_SUBSCRIPTIONS", Boolean, Value("false"), "Drill without subscriptions"),

    // Alerts.
    plain("BACKUP_ALERT_NAME", TEXT, Derived("the host's name"), "Name of this sidecar in messages"),
    secret("BACKUP_ALERT_WEBHOOK_URL", Url, Unset, "Webhook for alerts"),
    secret("BACKUP_ALERT_WEBHOOK_TOKEN", TEXT, Unset, "Bearer token of the webhook"),
    secret("BACKUP_ALERT_WEBHOOK_SECRET", TEXT, Unset, "Signature key of the webhook"),
    secret("BACKUP_ALERT_SLACK_URL", Url, Unset, "Webhook of Slack or a compatible service"),
    plain("BACKUP_ALERT_SMTP_HOST", Other("host[:port]"), Unset, "Mail server"),
    plain("BACKUP_ALERT_SMTP_TLS", Choice(&["starttls", "implicit", "off"]), Value("starttls"),
        "Encryption of the connection to the mail server"),
    plain("BACKUP_ALERT_SMTP_USER", TEXT, Unset, "User name at the mail server"),
    secret("BACKUP_ALERT_SMTP_PASSWORD", TEXT, Unset, "Password of that user"),
    plain("BACKUP_ALERT_MAIL_FROM", TEXT, Derived("required with a mail server"), "Sender of mails"),
    plain("BACKUP_ALERT_MAIL_TO", LIST, Derived("required with a mail server"), "Recipients of mails"),
    secret("BACKUP_PING_URL", Url, Unset, "URL that is pinged at the start and end of each round"),
    plain("BACKUP_ALERT_REMIND", LIMIT, Value("24h"), "How often an unresolved problem is reported again"),
    plain("BACKUP_ALERT_SHRINK", Other("1%-99%|off"), Value("50%"), "Decrease of size or rows that raises an alert"),
    plain("BACKUP_ALERT_CA_FILE", PATH, Derived("the system's"), "PEM file of the CA certificates to trust for alerts"),
    secret("BACKUP_PRE_ROUND_WEBHOOK", Url, Unset, "Webhook that is called before each round"),
    plain("BACKUP_PRE_ROUND_REQUIRED", Boolean, Value("false"), "Whether the round fails if that call fails"),
    secret("BACKUP_POST_ROUND_WEBHOOK", Url, Unset, "Webhook that is called after each round"),
    secret("BACKUP_ROUND_WEBHOOK_TOKEN", TEXT, Unset, "Bearer token of both calls"),
    secret("BACKUP_ROUND_WEBHOOK_SECRET", TEXT, Unset, "Signature key of both calls"),

    // Logs and pages.
    plain("BACKUP_LOG_FORMAT", Choice(&["text", "json"]), Value("text"), "Format of log lines"),
    plain("BACKUP_LOG", Other("level|target=level,..."), Value("info"), "Level of additional messages"),
    plain("BACKUP_HTTP_LISTEN", Other("address:port|off"), Value("0.0.0.0:9899"), "Address of the pages"),
    plain(CONFIG, PATH, Unset, "TOML file of settings"),

    // Variables of the system and of libraries, which are only in the environment.
    plain("TZ", Other("time zone"), Value("UTC"), "Time zone of schedules"),
    plain("RUST_LOG", Other("level"), Unset, "Like BACKUP_LOG, if that is not set"),
    plain("SSL_CERT_FILE", PATH, Derived("the system's"), "PEM file of CA certificates, instead of the system's"),
    secret("HTTPS_PROXY", Url, Unset, "Proxy for https:// endpoints of S3"),
    secret("HTTP_PROXY", Url, Unset, "Proxy for http:// endpoints of S3"),
    secret("ALL_PROXY", Url, Unset, "Proxy if neither of these is set"),
    plain("NO_PROXY", LIST, Unset, "Hosts without a proxy"),
    secret("AWS_*", TEXT, Unset, "The standard AWS chain, without BACKUP_AWS_ACCESS_KEY_ID"),
    secret("PG*", TEXT, Unset, "libpq's variables, for dump, dumpall and --to"),
    plain("SOURCE_DATE_EPOCH", Other("seconds"), Derived("today"), "Date of manual pages"),
];

impl Variable {
    /// Returns whether the name belongs to pg-backup, so that it can be in the TOML file.
    pub fn is_own(&self) -> bool {
        self.name.starts_with(PREFIX)
    }

    /// Returns whether `NAME_FILE` can name a file with the value.
    pub fn takes_file(&self) -> bool {
        self.is_own() && self.name != CONFIG
    }

    /// Returns the name for a database; `None` if it is not a pattern with `<NAME>`. `stem` is the database's
    /// name in capitals.
    pub fn for_database(&self, stem: &str) -> Option<String> {
        let (start, end) = self.name.split_once(DATABASE)?;
        Some(format!("{start}{stem}{end}"))
    }

    /// Returns whether this is a pattern for the names of databases.
    pub fn is_for_databases(&self) -> bool {
        self.name.contains(DATABASE)
    }

    /// Returns whether this is a pattern for any end of a name.
    pub fn is_family(&self) -> bool {
        self.name.ends_with('*')
    }

    fn matches(&self, name: &str) -> bool {
        if let Some(start) = self.name.strip_suffix('*') {
            return name.starts_with(start);
        }
        match self.name.split_once(DATABASE) {
            Some((start, end)) => name
                .strip_prefix(start)
                .and_then(|rest| rest.strip_suffix(end))
                .is_some_and(|n| !n.is_empty()),
            None => self.name == name,
        }
    }
}

/// Returns the variable of this name, or else the pattern that matches it.
pub fn find(name: &str) -> Option<&'static Variable> {
    VARIABLES.iter().find(|known| known.name == name).or_else(|| VARIABLES.iter().find(|it| it.matches(name)))
}

/// Returns all names of pg-backup's own variables, with their `NAME_FILE`, if there are databases with these
/// names in capitals.
pub(super) fn names(stems: &[String]) -> Vec<String> {
    let mut names = Vec::new();
    for variable in VARIABLES.iter().filter(|variable| variable.is_own()) {
        let of_databases: Vec<String> = stems.iter().filter_map(|stem| variable.for_database(stem)).collect();
        let own = if variable.is_for_databases() { of_databases } else { vec![variable.name.to_owned()] };
        for name in own {
            if variable.takes_file() {
                names.push(format!("{name}{FILE_SUFFIX}"));
            }
            names.push(name);
        }
    }
    names
}

/// The syntax in one word: `boolean`, `1..64`, `warn|abort|ignore`.
impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Integer(least, most) => write!(f, "{least}..{most}"),
            Boolean => f.write_str("boolean"),
            Choice(words) => f.write_str(&words.join("|")),
            DatabaseUrl | Url => f.write_str("URL"),
            Other(words) => f.write_str(words),
        }
    }
}

/// The value, or the description in parentheses.
impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Required => f.write_str("(required)"),
            Unset => f.write_str("-"),
            Value(text) => f.write_str(text),
            Derived(words) => write!(f, "({words})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_variable_stands_there_once_with_one_line_of_help() {
        let names: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
        assert_eq!(names.len(), VARIABLES.len());
        for variable in VARIABLES {
            let Variable { name, help, .. } = variable;
            assert!(
                (8..=70).contains(&help.len()) && !help.contains('\n') && !help.ends_with('.'),
                "{name}: {help}"
            );
            let is_credential =
                ["SECRET", "PASSWORD", "TOKEN", "IDENTITY"].iter().any(|word| name.contains(word));
            assert!(variable.secret || !is_credential, "{name} is a secret");
        }
    }

    #[test]
    fn names_are_found_by_themselves_and_by_their_pattern() {
        let found = |name: &str| find(name).map(|variable| variable.name);
        assert_eq!(found("BACKUP_JOBS"), Some("BACKUP_JOBS"));
        assert_eq!(found("BACKUP_WEB_SITE_URL"), Some("BACKUP_<NAME>_URL"));
        // The names of their own precede the pattern.
        assert_eq!(found("BACKUP_DRILL_URL"), Some("BACKUP_DRILL_URL"));
        assert_eq!(found("AWS_PROFILE"), Some("AWS_*"));
        for unknown in ["BACKUP_URL", "BACKUP__URL", "BACKUP_JOB", "HOME"] {
            assert_eq!(found(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn names_include_those_of_databases_and_of_files() {
        let all = names(&["DEMO".to_owned()]);
        for name in ["BACKUP_DEMO_URL", "BACKUP_DEMO_PASSWORD_FILE", "BACKUP_S3_CA_FILE", "BACKUP_CONFIG"] {
            assert!(all.iter().any(|known| known == name), "{name}");
        }
        for name in ["BACKUP_<NAME>_URL", "BACKUP_CONFIG_FILE", "TZ", "TZ_FILE", "BACKUP_OTHER_URL"] {
            assert!(!all.iter().any(|known| known == name), "{name}");
        }
    }
}
