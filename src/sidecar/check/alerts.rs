//! Checks the alert channels.

use super::{Finding, Findings};
use crate::config::AlertConfig;
use crate::sidecar::alert::{Tested, send_test};

/// Checks the alert channels. `sends`: whether to send a test message to every channel.
pub(super) async fn check(config: &AlertConfig, sends: bool) -> Vec<Finding> {
    let mut findings = Findings::about("alerts");
    let channels = [
        ("webhook", config.webhook.is_some()),
        ("slack", config.slack.is_some()),
        ("smtp", config.mail.is_some()),
        ("ping", config.ping.is_some()),
    ];
    let configured: Vec<&str> = channels.iter().filter_map(|(name, is)| is.then_some(*name)).collect();
    if configured.is_empty() {
        findings.warn(
            "no alert channel is configured, so failures are only logged",
            "set BACKUP_ALERT_WEBHOOK_URL, BACKUP_ALERT_SLACK_URL, BACKUP_ALERT_SMTP_HOST or BACKUP_PING_URL",
        );
        return findings.found;
    }
    if config.ping.is_none() {
        findings.warn(
            "no alert is sent if the sidecar does not run at all",
            "set BACKUP_PING_URL to a service that alerts when pings stop, or add such an alert to Prometheus",
        );
    }
    if !sends {
        findings.ok(format!("{}: configured, not tested (--send-test tests them)", configured.join(", ")));
        return findings.found;
    }
    match send_test(config).await {
        Err(error) => findings.failed(&error),
        Ok(tested) => tested.into_iter().for_each(|tested| findings.tested(tested)),
    }
    findings.found
}

impl Findings {
    fn tested(&mut self, Tested { channel, place, outcome }: Tested) {
        match outcome {
            Ok(()) => self.ok(format!("{channel}: {place} accepted a test message")),
            Err(error) => self.failed_at(&format!("{channel}: {place}"), &error),
        }
    }
}
