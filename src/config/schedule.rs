//! When rounds start: an interval, or a cron expression in a time zone.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::ConfigError;
use super::value::{number, parse_duration};
use super::vars::Vars;

const DEFAULT_SECONDS: u64 = 21_600;
/// A year; more is a mistake in the unit.
const MAX_SECONDS: u64 = 366 * 86_400;

/// When rounds start. The first one always starts at once.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// So long after the start of the one before.
    Every(Duration),
    /// At the times that a cron expression names.
    Cron(Box<CronSchedule>),
}

/// A cron expression and where its clock hangs.
#[derive(Clone, Debug)]
pub struct CronSchedule {
    expression: String,
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    pub(super) fn read(vars: &Vars) -> Result<Schedule, ConfigError> {
        let name = "BACKUP_SCHEDULE";
        let text = vars.get(name);
        let seconds = number(vars, "BACKUP_INTERVAL_SECONDS", 1..=MAX_SECONDS, DEFAULT_SECONDS)?;
        let Some(text) = text? else { return Ok(Schedule::Every(Duration::from_secs(seconds))) };
        if vars.get("BACKUP_INTERVAL_SECONDS")?.is_some() {
            return Err(ConfigError::new(
                name,
                "and BACKUP_INTERVAL_SECONDS are both set",
                "remove one of them",
            ));
        }
        Schedule::parse(name, &text, vars.time_zone.as_deref())
    }

    /// Reads the value of the variable `name`.
    pub(crate) fn parse(name: &str, text: &str, zone: Option<&str>) -> Result<Schedule, ConfigError> {
        let text = text.trim();
        match text.strip_prefix("@every") {
            Some(every) => every_so_often(name, text, every),
            None => CronSchedule::read(name, text, zone).map(|schedule| Schedule::Cron(Box::new(schedule))),
        }
    }

    /// The fixed time between the starts of two rounds, if there is one.
    pub fn interval(&self) -> Option<Duration> {
        match self {
            Schedule::Every(interval) => Some(*interval),
            Schedule::Cron(_) => None,
        }
    }

    /// How long to wait after a round that began at `started`, `elapsed` ago. It counts from start
    /// to start: a start that passed while the round ran is made up once, at once.
    pub fn wait_after(&self, started: Timestamp, elapsed: Duration) -> Duration {
        let until_next = match self {
            Schedule::Every(interval) => *interval,
            Schedule::Cron(cron) => cron.next_after(started).map_or(Duration::MAX, |next| {
                Duration::try_from(next.duration_since(started)).unwrap_or(Duration::ZERO)
            }),
        };
        until_next.saturating_sub(elapsed)
    }

    /// The longest time between the starts of two rounds, as seen from `now`.
    pub fn longest_gap(&self, now: Timestamp) -> Duration {
        /// Enough for the week of an expression that fires every five minutes.
        const STARTS: usize = 2_100;
        match self {
            Schedule::Every(interval) => *interval,
            Schedule::Cron(cron) => {
                let starts: Vec<Timestamp> =
                    std::iter::successors(cron.next_after(now), |last| cron.next_after(*last))
                        .take(STARTS)
                        .take_while(|start| start.duration_since(now).as_hours() < 366 * 24)
                        .collect();
                let gaps = starts.windows(2).filter_map(|pair| match pair {
                    [one, next] => Duration::try_from(next.duration_since(*one)).ok(),
                    _ => None,
                });
                // Less than two starts in a year: once a year, then.
                gaps.max().unwrap_or(Duration::from_secs(MAX_SECONDS))
            }
        }
    }
}

/// How the sidecar's first line goes on: `every 21600s`, `at "30 3 * * *" (UTC)`.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Every(interval) => write!(f, "every {}s", interval.as_secs()),
            Schedule::Cron(cron) => {
                let zone = cron.zone.iana_name().unwrap_or("local time");
                write!(f, "at \"{}\" ({zone})", cron.expression)
            }
        }
    }
}

fn every_so_often(name: &str, text: &str, every: &str) -> Result<Schedule, ConfigError> {
    let interval = every.strip_prefix(char::is_whitespace).and_then(|every| parse_duration(every.trim()));
    match interval.filter(|interval| (1..=MAX_SECONDS).contains(&interval.as_secs())) {
        Some(interval) => Ok(Schedule::Every(interval)),
        None => Err(ConfigError::new(
            name,
            format!("is not an interval: \"{text}\""),
            "write e.g. @every 6h, @every 90m or @every 1h30m",
        )),
    }
}

impl CronSchedule {
    fn read(name: &str, text: &str, zone: Option<&str>) -> Result<CronSchedule, ConfigError> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let cron = parser.parse(text).map_err(|_| {
            ConfigError::new(
                name,
                format!("is not a cron expression: \"{text}\""),
                "write minute, hour, day of month, month and day of week (30 3 * * *), @daily, or @every 6h",
            )
        })?;
        let zone = match zone {
            None => TimeZone::UTC,
            Some(zone) => TimeZone::get(zone).map_err(|_| {
                ConfigError::new(
                    "TZ",
                    format!("is not a time zone: \"{zone}\""),
                    "use a name like Europe/Berlin, or leave it out for UTC",
                )
            })?,
        };
        let schedule = CronSchedule { expression: text.to_owned(), cron, zone };
        if schedule.next_after(Timestamp::now()).is_none() {
            return Err(ConfigError::new(
                name,
                format!("names a time that never comes: \"{text}\""),
                "mind that not every month has 30 or 31 days",
            ));
        }
        Ok(schedule)
    }

    fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&moment.to_zoned(self.zone.clone()), false);
        next.ok().map(|next| next.timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(text: &str, zone: &str) -> Schedule {
        Schedule::Cron(Box::new(CronSchedule::read("BACKUP_SCHEDULE", text, Some(zone)).unwrap()))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn intervals_count_from_start_to_start() {
        let schedule = Schedule::Every(Duration::from_secs(60));
        let now = at("2026-04-26T16:29:58Z");
        assert_eq!(schedule.wait_after(now, Duration::from_secs(4)), Duration::from_secs(56));
        assert_eq!(schedule.wait_after(now, Duration::from_secs(61)), Duration::ZERO);
        assert_eq!(schedule.longest_gap(now), Duration::from_secs(60));
    }

    #[test]
    fn cron_waits_for_the_next_time_on_its_clock() {
        let schedule = cron("30 3 * * *", "Europe/Berlin");
        // 3:30 in Berlin is 1:30 UTC in summer.
        let started = at("2026-07-01T01:29:00Z");
        assert_eq!(schedule.wait_after(started, Duration::from_secs(10)), Duration::from_secs(50));
        // The round ran past its successor's start, which is made up at once.
        assert_eq!(schedule.wait_after(started, Duration::from_secs(90)), Duration::ZERO);
        // A round that starts on the dot waits for the next day.
        let wait = schedule.wait_after(at("2026-07-01T01:30:00Z"), Duration::ZERO);
        assert_eq!(wait, Duration::from_secs(86_400));
    }

    #[test]
    fn the_longest_gap_is_the_weekend() {
        let schedule = cron("0 3 * * MON-FRI", "UTC");
        assert_eq!(schedule.longest_gap(at("2026-04-26T00:00:00Z")), Duration::from_secs(3 * 86_400));
        assert_eq!(cron("@yearly", "UTC").longest_gap(at("2026-04-26T00:00:00Z")).as_secs(), MAX_SECONDS);
    }

    #[test]
    fn what_never_comes_is_refused() {
        let error = CronSchedule::read("BACKUP_SCHEDULE", "0 0 30 2 *", None).unwrap_err();
        assert_eq!(error.to_string(), "BACKUP_SCHEDULE names a time that never comes: \"0 0 30 2 *\"");
    }
}
