//! `BACKUP_ALERT_*`, `BACKUP_PING_URL` and `BACKUP_*_ROUND_*`: the alert channels, pings and webhooks, and
//! the conditions of alerts.

use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::{WebhookConfig, WebhookEndpoint};
use super::error::ConfigError;
use super::vars::Vars;
use super::{Secret, store, value};

const NAME: &str = "BACKUP_ALERT_NAME";
const SHRINK: &str = "BACKUP_ALERT_SHRINK";
const REMIND: &str = "BACKUP_ALERT_REMIND";
const WEBHOOK: &str = "BACKUP_ALERT_WEBHOOK_URL";
const SMTP_HOST: &str = "BACKUP_ALERT_SMTP_HOST";
const SMTP_TLS: &str = "BACKUP_ALERT_SMTP_TLS";
const SMTP_USER: &str = "BACKUP_ALERT_SMTP_USER";
const SMTP_PASSWORD: &str = "BACKUP_ALERT_SMTP_PASSWORD";
const MAIL_FROM: &str = "BACKUP_ALERT_MAIL_FROM";
const MAIL_TO: &str = "BACKUP_ALERT_MAIL_TO";
const PRE_ROUND: &str = "BACKUP_PRE_ROUND_WEBHOOK";
const PRE_REQUIRED: &str = "BACKUP_PRE_ROUND_REQUIRED";
const POST_ROUND: &str = "BACKUP_POST_ROUND_WEBHOOK";
const ROUND_TOKEN: &str = "BACKUP_ROUND_WEBHOOK_TOKEN";
const ROUND_SECRET: &str = "BACKUP_ROUND_WEBHOOK_SECRET";

/// A year; a larger value is probably in the wrong unit.
const LONGEST_REMIND: Duration = Duration::from_secs(366 * 86_400);

/// Alert channels and the conditions of alerts.
#[derive(Clone, Debug)]
pub struct AlertConfig {
    /// Name of this sidecar in messages.
    pub name: String,
    /// The generic webhook.
    pub webhook: Option<WebhookConfig>,
    /// A webhook that accepts Slack's messages.
    pub slack: Option<WebhookEndpoint>,
    /// E-mail.
    pub mail: Option<MailConfig>,
    /// URL that is pinged at the start and end of each round.
    pub ping: Option<WebhookEndpoint>,
    /// PEM file of CA certificates, used instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Decrease of the size or number of rows, in percent, that causes an alert; `None` for no such alerts.
    pub shrink: Option<u8>,
    /// Time after which an alert for a persisting problem is repeated; `None` for no reminders.
    pub remind: Option<Duration>,
    /// The webhooks before and after rounds.
    pub rounds: RoundHooks,
}

/// The webhooks before and after rounds.
#[derive(Clone, Debug, Default)]
pub struct RoundHooks {
    /// Called before a round.
    pub before: Option<WebhookConfig>,
    /// Whether the round fails if the webhook before it fails.
    pub before_is_required: bool,
    /// Called after a round.
    pub after: Option<WebhookConfig>,
}

/// Settings of e-mail.
#[derive(Clone, Debug)]
pub struct MailConfig {
    /// Host name of the mail server.
    pub host: String,
    /// Port of the mail server.
    pub port: u16,
    /// Encryption of the connection.
    pub tls: MailTls,
    /// User name and password, if the server requires them.
    pub login: Option<(String, Secret)>,
    /// Sender.
    pub from: lettre::message::Mailbox,
    /// Recipients.
    pub to: Vec<lettre::message::Mailbox>,
}

/// Encryption of the connection to a mail server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MailTls {
    /// The connection starts unencrypted and must switch to TLS before any mail is sent.
    #[default]
    StartTls,
    /// The connection uses TLS from the start.
    Implicit,
    /// The connection is not encrypted.
    Off,
}

impl MailTls {
    /// Returns the usual port.
    fn port(self) -> u16 {
        match self {
            MailTls::StartTls => 587,
            MailTls::Implicit => 465,
            MailTls::Off => 25,
        }
    }
}

impl AlertConfig {
    pub(super) fn read(vars: &Vars) -> Result<AlertConfig, ConfigError> {
        Ok(AlertConfig {
            name: source_name(vars)?,
            webhook: webhook(vars)?,
            slack: WebhookEndpoint::read(vars, "BACKUP_ALERT_SLACK_URL")?,
            mail: MailConfig::read(vars)?,
            ping: WebhookEndpoint::read(vars, "BACKUP_PING_URL")?,
            ca_file: store::certificates(vars, "BACKUP_ALERT_CA_FILE")?,
            shrink: shrink(vars)?,
            remind: remind(vars)?,
            rounds: RoundHooks::read(vars)?,
        })
    }

    /// Returns whether any channel uses TLS.
    pub fn needs_certificates(&self) -> bool {
        let RoundHooks { before, after, .. } = &self.rounds;
        let webhooks = [&self.webhook, before, after].into_iter().flatten().map(|webhook| &webhook.url);
        let mut urls = webhooks.chain([&self.slack, &self.ping].into_iter().flatten());
        urls.any(WebhookEndpoint::is_https) || self.mail.as_ref().is_some_and(|mail| mail.tls != MailTls::Off)
    }
}

/// Reads `BACKUP_ALERT_NAME`, which appears in the subjects of mails.
fn source_name(vars: &Vars) -> Result<String, ConfigError> {
    match vars.get(NAME)?.map(|name| name.trim().to_owned()) {
        None => Ok(host_name()),
        Some(name) if name.is_empty() => {
            Err(ConfigError::new(NAME, "is blank", "use a name, e.g. hetzner-prod"))
        }
        Some(name) => Ok(name),
    }
}

/// Returns the host name; in a container without a configured name, this is its identifier.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "pg-backup".to_owned() } else { name.trim().to_owned() }
}

fn webhook(vars: &Vars) -> Result<Option<WebhookConfig>, ConfigError> {
    let url = WebhookEndpoint::read(vars, WEBHOOK)?;
    let credentials =
        WebhookCredentials::read(vars, "BACKUP_ALERT_WEBHOOK_TOKEN", "BACKUP_ALERT_WEBHOOK_SECRET")?;
    credentials.need(url.is_some(), WEBHOOK)?;
    Ok(url.map(|url| credentials.into_webhook(url)))
}

/// Credentials of a webhook's requests, and the names of their variables.
#[derive(Clone)]
struct WebhookCredentials {
    token: Option<Secret>,
    secret: Option<Secret>,
    names: [&'static str; 2],
}

impl WebhookCredentials {
    fn read(
        vars: &Vars,
        token: &'static str,
        secret: &'static str,
    ) -> Result<WebhookCredentials, ConfigError> {
        let names = [token, secret];
        let (token_value, secret_value) = (vars.get(token)?, vars.get(secret)?);
        // The token becomes the value of a header.
        if token_value.as_ref().is_some_and(|text| !text.chars().all(|c| c.is_ascii_graphic())) {
            return Err(ConfigError::new(
                token,
                "contains a character that is not allowed in a token",
                "set the bare token, without spaces and without the word Bearer",
            ));
        }
        Ok(WebhookCredentials {
            token: token_value.map(Secret::new),
            secret: secret_value.map(Secret::new),
            names,
        })
    }

    fn need(&self, there: bool, url: &str) -> Result<(), ConfigError> {
        let given =
            [&self.token, &self.secret].into_iter().zip(self.names).find(|(value, _)| value.is_some());
        match given {
            Some((_, name)) if !there => Err(incomplete(url, name)),
            _ => Ok(()),
        }
    }

    fn into_webhook(self, url: WebhookEndpoint) -> WebhookConfig {
        WebhookConfig { url, token: self.token, secret: self.secret }
    }
}

fn incomplete(missing: &str, present: &str) -> ConfigError {
    ConfigError::new(missing, format!("is not set, but {present} is"), format!("set it, or remove {present}"))
}

impl RoundHooks {
    fn read(vars: &Vars) -> Result<RoundHooks, ConfigError> {
        let before = WebhookEndpoint::read(vars, PRE_ROUND)?;
        let after = WebhookEndpoint::read(vars, POST_ROUND)?;
        let required = value::boolean(vars, PRE_REQUIRED)?.unwrap_or_default();
        let credentials = WebhookCredentials::read(vars, ROUND_TOKEN, ROUND_SECRET)?;
        credentials.need(before.is_some() || after.is_some(), PRE_ROUND)?;
        if required && before.is_none() {
            return Err(incomplete(PRE_ROUND, PRE_REQUIRED));
        }
        Ok(RoundHooks {
            before: before.map(|url| credentials.clone().into_webhook(url)),
            before_is_required: required,
            after: after.map(|url| credentials.into_webhook(url)),
        })
    }
}

impl MailConfig {
    fn read(vars: &Vars) -> Result<Option<MailConfig>, ConfigError> {
        let tls = value::choice(
            vars,
            SMTP_TLS,
            &[("starttls", MailTls::StartTls), ("implicit", MailTls::Implicit), ("off", MailTls::Off)],
        )?;
        let tls = tls.unwrap_or_default();
        let Some(text) = vars.get(SMTP_HOST)? else {
            for name in [SMTP_USER, SMTP_PASSWORD, MAIL_FROM, MAIL_TO] {
                if vars.get(name)?.is_some() {
                    return Err(incomplete(SMTP_HOST, name));
                }
            }
            return Ok(None);
        };
        let (host, port) = mail_host(&text, tls)?;
        let login = match (vars.get(SMTP_USER)?, vars.get(SMTP_PASSWORD)?) {
            (Some(user), Some(password)) => Some((user, Secret::new(password))),
            (None, None) => None,
            (Some(_), None) => return Err(incomplete(SMTP_PASSWORD, SMTP_USER)),
            (None, Some(_)) => return Err(incomplete(SMTP_USER, SMTP_PASSWORD)),
        };
        if login.is_some() && tls == MailTls::Off {
            return Err(ConfigError::new(
                SMTP_TLS,
                format!("is off, but {SMTP_PASSWORD} is set, which would be sent unencrypted"),
                "use starttls or implicit",
            ));
        }
        let from = vars.get(MAIL_FROM)?.ok_or_else(|| incomplete(MAIL_FROM, SMTP_HOST))?;
        let to = vars.get(MAIL_TO)?.ok_or_else(|| incomplete(MAIL_TO, SMTP_HOST))?;
        let to = to.split(',').map(|one| mailbox(MAIL_TO, one)).collect::<Result<_, _>>()?;
        Ok(Some(MailConfig { host, port, tls, login, from: mailbox(MAIL_FROM, &from)?, to }))
    }
}

/// Parses `mail.example.com` or `mail.example.com:587`.
fn mail_host(text: &str, tls: MailTls) -> Result<(String, u16), ConfigError> {
    let text = text.trim();
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (text, Some(tls.port())),
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    match port.filter(|port| *port != 0 && !host.is_empty() && host.chars().all(fits)) {
        Some(port) => Ok((host.to_owned(), port)),
        None => Err(ConfigError::new(
            SMTP_HOST,
            format!("is not a host with an optional port: \"{text}\""),
            format!("use e.g. mail.example.com or mail.example.com:587; {SMTP_TLS} sets the encryption"),
        )),
    }
}

fn mailbox(name: &str, text: &str) -> Result<lettre::message::Mailbox, ConfigError> {
    text.trim().parse().map_err(|_| {
        ConfigError::new(
            name,
            format!("is not an e-mail address: \"{}\"", text.trim()),
            "use e.g. ops@example.com or Backups <backups@example.com>; separate several with commas",
        )
    })
}

fn shrink(vars: &Vars) -> Result<Option<u8>, ConfigError> {
    let text = vars.get_or_default(SHRINK)?.unwrap_or_default();
    let text = text.trim();
    if text == "off" {
        return Ok(None);
    }
    match text.strip_suffix('%').unwrap_or(text).trim_end().parse::<u8>() {
        Ok(percent) if (1..=99).contains(&percent) => Ok(Some(percent)),
        _ => Err(ConfigError::new(
            SHRINK,
            format!("is not a percentage from 1% to 99%: \"{text}\""),
            "use e.g. 50%, the default, 30%, or off",
        )),
    }
}

fn remind(vars: &Vars) -> Result<Option<Duration>, ConfigError> {
    let text = vars.get_or_default(REMIND)?.unwrap_or_default();
    let text = text.trim();
    if text == "off" {
        return Ok(None);
    }
    let possible = Duration::from_secs(60)..=LONGEST_REMIND;
    match value::parse_duration(text).filter(|remind| possible.contains(remind)) {
        Some(remind) => Ok(Some(remind)),
        None => Err(ConfigError::new(
            REMIND,
            format!("is not a duration from a minute to a year: \"{text}\""),
            "use e.g. 24h, the default, 12h or 7d, or off",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIL: &[(&str, &str)] = &[
        ("BACKUP_ALERT_SMTP_HOST", "mail.example.com"),
        ("BACKUP_ALERT_MAIL_FROM", "Backups <backups@example.com>"),
        ("BACKUP_ALERT_MAIL_TO", "ops@example.com, Other <other@example.com>"),
    ];

    const HOOK: (&str, &str) = ("BACKUP_ALERT_WEBHOOK_URL", "https://hooks.example.com/s3cret");

    fn read(pairs: &[(&str, &str)]) -> Result<AlertConfig, ConfigError> {
        // A later pair replaces an earlier one, and an empty value removes it.
        let vars = Vars::load(pairs.iter().map(|(name, value)| (name.into(), value.into())), None)?;
        vars.refuse_unknown()?;
        AlertConfig::read(&vars)
    }

    #[track_caller]
    fn refused(pairs: &[(&str, &str)]) -> String {
        let error = read(pairs).expect_err("it should be refused");
        let told = format!("{error} {}", error.hint);
        assert!(!error.hint.is_empty() && !told.contains("s3cret"), "{told}");
        error.to_string()
    }

    #[test]
    fn by_default_no_channel_is_configured() {
        let config = read(&[]).unwrap();
        assert!(config.webhook.is_none() && config.slack.is_none() && config.mail.is_none());
        assert!(config.ping.is_none() && config.rounds.before.is_none() && config.rounds.after.is_none());
        assert_eq!((config.shrink, config.remind), (Some(50), Some(Duration::from_secs(86_400))));
        assert!(!config.name.is_empty() && !config.needs_certificates());
    }

    #[test]
    fn all_settings_arrive_and_no_secret_is_shown() {
        let config = read(
            &[
                MAIL,
                &[
                    HOOK,
                    ("BACKUP_ALERT_NAME", " prod "),
                    ("BACKUP_ALERT_WEBHOOK_TOKEN", "s3cret-token"),
                    ("BACKUP_ALERT_WEBHOOK_SECRET", "s3cret key"),
                    ("BACKUP_ALERT_SLACK_URL", "https://hooks.slack.com/services/s3cret"),
                    ("BACKUP_PING_URL", "http://hc/s3cret"),
                    ("BACKUP_ALERT_SMTP_USER", "backups"),
                    ("BACKUP_ALERT_SMTP_PASSWORD", "s3cret"),
                    ("BACKUP_ALERT_SHRINK", "30 %"),
                    ("BACKUP_ALERT_REMIND", "12h"),
                    ("BACKUP_ALERT_CA_FILE", "/dev/null"),
                    ("BACKUP_PRE_ROUND_WEBHOOK", "http://hooks/s3cret"),
                    ("BACKUP_PRE_ROUND_REQUIRED", "true"),
                    ("BACKUP_POST_ROUND_WEBHOOK", "http://hooks/s3cret"),
                    ("BACKUP_ROUND_WEBHOOK_TOKEN", "s3cret"),
                    ("BACKUP_ROUND_WEBHOOK_SECRET", "s3cret"),
                ],
            ]
            .concat(),
        )
        .unwrap();
        assert!(!format!("{config:#?}").contains("s3cret"), "{config:#?}");
        assert_eq!((config.name.as_str(), config.shrink), ("prod", Some(30)));
        assert_eq!(config.remind, Some(Duration::from_secs(43_200)));
        assert!(config.rounds.before_is_required && config.needs_certificates());
        assert_eq!(config.rounds.after.unwrap().token.unwrap().expose(), "s3cret");
        let webhook = config.webhook.unwrap();
        assert_eq!(webhook.token.unwrap().expose(), "s3cret-token");
        assert_eq!(webhook.secret.unwrap().expose(), "s3cret key");
        let mail = config.mail.unwrap();
        assert_eq!((mail.host.as_str(), mail.port, mail.tls), ("mail.example.com", 587, MailTls::StartTls));
        assert_eq!((mail.to.len(), mail.from.email.as_ref()), (2, "backups@example.com"));
        assert_eq!(mail.login.unwrap().1.expose(), "s3cret");
    }

    #[test]
    fn the_port_follows_the_encryption() {
        let port = |host: &str, tls: &str| {
            let pairs = [MAIL, &[("BACKUP_ALERT_SMTP_HOST", host), ("BACKUP_ALERT_SMTP_TLS", tls)]].concat();
            read(&pairs).unwrap().mail.unwrap().port
        };
        assert_eq!((port("m", "starttls"), port("m", "implicit"), port("m", "off")), (587, 465, 25));
        assert_eq!(port("m:2525", "starttls"), 2525);
    }

    #[test]
    fn off_is_off() {
        let config = read(&[("BACKUP_ALERT_SHRINK", "off"), ("BACKUP_ALERT_REMIND", "off")]).unwrap();
        assert_eq!((config.shrink, config.remind), (None, None));
    }

    #[test]
    fn malformed_values_are_refused() {
        for (name, value, problem) in [
            ("BACKUP_ALERT_NAME", "a\nb", "contains a line break (U+000A)"),
            ("BACKUP_ALERT_NAME", " ", "is blank"),
            ("BACKUP_ALERT_SHRINK", "0%", "is not a percentage from 1% to 99%: \"0%\""),
            ("BACKUP_ALERT_SHRINK", "100%", "is not a percentage from 1% to 99%: \"100%\""),
            ("BACKUP_ALERT_SHRINK", "half", "is not a percentage from 1% to 99%: \"half\""),
            ("BACKUP_ALERT_REMIND", "59s", "is not a duration from a minute to a year: \"59s\""),
            ("BACKUP_ALERT_REMIND", "daily", "is not a duration from a minute to a year: \"daily\""),
            ("BACKUP_ALERT_REMIND", "367d", "is not a duration from a minute to a year: \"367d\""),
            ("BACKUP_ALERT_WEBHOOK_URL", "hooks.example.com/s3cret", "is not a URL"),
            ("BACKUP_ALERT_SLACK_URL", "slack://s3cret", "is not an HTTP URL"),
            ("BACKUP_PING_URL", "https://u:s3cret@hc/", "contains a login"),
            ("BACKUP_PRE_ROUND_WEBHOOK", "/s3cret", "is not an HTTP URL"),
            ("BACKUP_POST_ROUND_WEBHOOK", "s3cret", "is not an HTTP URL"),
            (
                "BACKUP_ALERT_WEBHOOK_TOKEN",
                "Bearer s3cret",
                "contains a character that is not allowed in a token",
            ),
            ("BACKUP_ALERT_SMTP_HOST", "smtp://m", "is not a host with an optional port: \"smtp://m\""),
            ("BACKUP_ALERT_SMTP_HOST", "m:0", "is not a host with an optional port: \"m:0\""),
            ("BACKUP_ALERT_SMTP_TLS", "ssl", "has an unknown value: \"ssl\""),
            ("BACKUP_ALERT_MAIL_FROM", "backups", "is not an e-mail address: \"backups\""),
            ("BACKUP_ALERT_MAIL_TO", "a@b.example,,c", "is not an e-mail address: \"\""),
            ("BACKUP_PRE_ROUND_REQUIRED", "maybe", "is neither true nor false: \"maybe\""),
            ("BACKUP_ALERT_CA_FILE", "/nonexistent", "names a file that cannot be read: /nonexistent"),
        ] {
            let told = refused(&[MAIL, &[HOOK, (name, value)]].concat());
            assert_eq!(told, format!("{name} {problem}"), "{value}");
        }
    }

    #[test]
    fn incomplete_settings_are_refused() {
        let alone = |name: &str| refused(&[(name, "s3cret")]);
        let host = "BACKUP_ALERT_SMTP_HOST is not set, but";
        assert_eq!(alone("BACKUP_ALERT_SMTP_USER"), format!("{host} BACKUP_ALERT_SMTP_USER is"));
        assert_eq!(alone("BACKUP_ALERT_MAIL_TO"), format!("{host} BACKUP_ALERT_MAIL_TO is"));
        let url = "BACKUP_ALERT_WEBHOOK_URL is not set, but BACKUP_ALERT_WEBHOOK_SECRET is";
        assert_eq!(alone("BACKUP_ALERT_WEBHOOK_SECRET"), url);
        let hook = "BACKUP_PRE_ROUND_WEBHOOK is not set, but";
        assert_eq!(alone("BACKUP_ROUND_WEBHOOK_TOKEN"), format!("{hook} BACKUP_ROUND_WEBHOOK_TOKEN is"));
        assert_eq!(
            refused(&[("BACKUP_PRE_ROUND_REQUIRED", "true")]),
            format!("{hook} BACKUP_PRE_ROUND_REQUIRED is")
        );
        let with = |name: &str| refused(&[MAIL, &[(name, "s3cret")]].concat());
        let [user, password] = ["BACKUP_ALERT_SMTP_USER", "BACKUP_ALERT_SMTP_PASSWORD"];
        assert_eq!(with(user), format!("{password} is not set, but {user} is"));
        assert_eq!(with(password), format!("{user} is not set, but {password} is"));
        let login = [(user, "u"), (password, "s3cret"), ("BACKUP_ALERT_SMTP_TLS", "off")];
        assert_eq!(
            refused(&[MAIL, &login].concat()),
            format!("BACKUP_ALERT_SMTP_TLS is off, but {password} is set, which would be sent unencrypted")
        );
        for name in ["BACKUP_ALERT_MAIL_FROM", "BACKUP_ALERT_MAIL_TO"] {
            let told = refused(&[MAIL, &[(name, "")]].concat());
            assert_eq!(told, format!("{name} is not set, but BACKUP_ALERT_SMTP_HOST is"));
        }
    }
}
