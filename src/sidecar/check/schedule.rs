//! Reports the next starts of rounds and drills.

use jiff::Timestamp;

use super::{Finding, Findings};
use crate::config::{Config, Schedule};

/// Number of starts to show.
const SHOWN: usize = 3;

pub(super) fn check(config: &Config, now: Timestamp) -> Vec<Finding> {
    let mut findings = Findings::about("schedule");
    let starts = starts(&config.schedule, now);
    findings.ok(format!("rounds {}: immediately, then {starts}", config.schedule));
    match (&config.drill.schedule, &config.drill.sandbox) {
        (Some(schedule), _) => findings.ok(format!("drills {schedule}: {}", self::starts(schedule, now))),
        (None, Some(_)) => findings
            .warn("no drills are scheduled", "set BACKUP_DRILL_SCHEDULE, or run `pg-backup drill` regularly"),
        (None, None) => findings.warn(
            "restores are never tested",
            "set BACKUP_DRILL_URL to a sandbox server and BACKUP_DRILL_SCHEDULE",
        ),
    }
    findings.found
}

/// Formats the next starts, to the second, in UTC.
fn starts(schedule: &Schedule, now: Timestamp) -> String {
    let next = |last: &Timestamp| Some(schedule.next_after(*last));
    let starts = std::iter::successors(next(&now), next).take(SHOWN);
    starts.map(|start| start.strftime("%FT%TZ").to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_starts_are_shown() {
        let now: Timestamp = "2026-04-26T16:29:58Z".parse().unwrap();
        let daily = Schedule::parse("BACKUP_SCHEDULE", "30 3 * * *", Some("Europe/Berlin")).unwrap();
        assert_eq!(starts(&daily, now), "2026-04-27T01:30:00Z, 2026-04-28T01:30:00Z, 2026-04-29T01:30:00Z");
        let hourly = Schedule::Every(std::time::Duration::from_secs(3600));
        assert_eq!(starts(&hourly, now), "2026-04-26T17:29:58Z, 2026-04-26T18:29:58Z, 2026-04-26T19:29:58Z");
    }
}
