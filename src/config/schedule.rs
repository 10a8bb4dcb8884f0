//! Schedule of rounds: an interval, or a cron expression in a time zone.

use std::fmt;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::error::ConfigError;
use super::value::{number, parse_duration};
use super::vars::Vars;

/// A year; a larger value is probably in the wrong unit.
const MAX_SECONDS: u64 = 366 * 86_400;

/// Schedule of rounds. The first round always starts immediately.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// At this interval, from start to start.
    Every(Duration),
    /// At the times of a cron expression.
    Cron(Box<CronSchedule>),
}

/// A cron expression and its time zone.
#[derive(Clone, Debug)]
pub struct CronSchedule {
    expression: String,
    cron: Cron,
    zone: TimeZone,
}

impl Schedule {
    pub(super) fn read(vars: &Vars) -> Result<Schedule, ConfigError> {
        let (name, interval) = ("BACKUP_SCHEDULE", "BACKUP_INTERVAL_SECONDS");
        let Some(text) = vars.get(name)? else {
            let seconds = number(vars, interval)?.unwrap_or(MAX_SECONDS);
            return Ok(Schedule::Every(Duration::from_secs(seconds)));
        };
        if vars.spelling(interval).is_some() {
            return Err(ConfigError::new(name, format!("and {interval} are both set"), "remove one of them"));
        }
        Schedule::parse(name, &text, vars.time_zone())
    }

    /// Parses the value of the variable `name`.
    pub(crate) fn parse(name: &str, text: &str, zone: Option<&str>) -> Result<Schedule, ConfigError> {
        let text = text.trim();
        match text.strip_prefix("@every") {
            Some(every) => parse_interval(name, text, every),
            None => CronSchedule::read(name, text, zone).map(|schedule| Schedule::Cron(Box::new(schedule))),
        }
    }

    /// Returns the interval between the starts of two rounds, if it is fixed.
    pub fn interval(&self) -> Option<Duration> {
        match self {
            Schedule::Every(interval) => Some(*interval),
            Schedule::Cron(_) => None,
        }
    }

    /// Returns the start that follows the one at `started`. The interval counts from start to start, so a
    /// start that was missed during a round or while the machine was suspended is in the past, and is made up
    /// for once.
    pub fn next_after(&self, started: Timestamp) -> Timestamp {
        let after = |time: Duration| started.checked_add(time).unwrap_or(Timestamp::MAX);
        match self {
            Schedule::Every(interval) => after(*interval),
            // An expression without a match in the searched years never fires.
            Schedule::Cron(cron) => {
                cron.next_after(started).unwrap_or_else(|| after(Duration::from_secs(MAX_SECONDS)))
            }
        }
    }

    /// Returns the longest time between the starts of two rounds, as seen from `now`.
    pub fn longest_gap(&self, now: Timestamp) -> Duration {
        /// Sufficient for one week of an expression that fires every five minutes.
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
                // Fewer than two starts in a year count as once a year.
                gaps.max().unwrap_or(Duration::from_secs(MAX_SECONDS))
            }
        }
    }
}

/// The schedule as in the sidecar's first log line: `every 21600s`, `at "30 3 * * *" (UTC)`.
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

fn parse_interval(name: &str, text: &str, every: &str) -> Result<Schedule, ConfigError> {
    let interval = every.strip_prefix(char::is_whitespace).and_then(|every| parse_duration(every.trim()));
    match interval.filter(|interval| (1..=MAX_SECONDS).contains(&interval.as_secs())) {
        Some(interval) => Ok(Schedule::Every(interval)),
        None => Err(ConfigError::new(
            name,
            format!("is not an interval: \"{text}\""),
            "use e.g. @every 6h, @every 90m or @every 1h30m",
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
                "use minute, hour, day of month, month and day of week (30 3 * * *), @daily, or @every 6h",
            )
        })?;
        let zone = match zone {
            None => TimeZone::UTC,
            // POSIX permits a colon before the name.
            Some(zone) => TimeZone::get(zone.strip_prefix(':').unwrap_or(zone)).map_err(|_| {
                ConfigError::new(
                    "TZ",
                    format!("is not a time zone: \"{zone}\""),
                    "use a name like Europe/Berlin, or remove it for UTC",
                )
            })?,
        };
        let schedule = CronSchedule { expression: text.to_owned(), cron, zone };
        if schedule.next_after(Timestamp::UNIX_EPOCH).is_none() {
            return Err(ConfigError::new(
                name,
                format!("never matches a date: \"{text}\""),
                "check the day of the month: not every month has 30 or 31 days",
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
        assert_eq!(schedule.next_after(now), at("2026-04-26T16:30:58Z"));
        assert_eq!(schedule.longest_gap(now), Duration::from_secs(60));
        assert_eq!(schedule.next_after(Timestamp::MAX), Timestamp::MAX);
    }

    /// Returns the starts that follow a moment, each with its offset from UTC.
    fn starts(text: &str, zone: &str, from: &str, number: usize) -> Vec<String> {
        let schedule = cron(text, zone);
        let zone = TimeZone::get(zone).unwrap();
        let next = |moment: &Timestamp| Some(schedule.next_after(*moment));
        std::iter::successors(next(&at(from)), next)
            .take(number)
            .map(|start| start.to_zoned(zone.clone()).strftime("%d %H:%M%:z").to_string())
            .collect()
    }

    #[test]
    fn cron_starts_at_the_next_time_on_its_clock() {
        let schedule = cron("30 3 * * *", "Europe/Berlin");
        // 3:30 in Berlin is 1:30 UTC in summer.
        assert_eq!(schedule.next_after(at("2026-07-01T01:29:00Z")), at("2026-07-01T01:30:00Z"));
        // A round that starts exactly on time, or slightly later, is followed by one on the next day.
        for started in ["2026-07-01T01:30:00Z", "2026-07-01T01:30:00.003Z"] {
            assert_eq!(schedule.next_after(at(started)), at("2026-07-02T01:30:00Z"));
        }
        // Midnight is that of the time zone.
        assert_eq!(
            starts("@daily", "UTC", "2026-07-01T23:59:59.9Z", 2),
            ["02 00:00+00:00", "03 00:00+00:00"]
        );
        assert_eq!(starts("@daily", "Asia/Kolkata", "2026-07-01T18:29:59Z", 1), ["02 00:00+05:30"]);
    }

    #[test]
    fn a_time_that_the_clocks_jump_over_is_made_up_at_once() {
        // On 29 March 2026 the hour from 2:00 to 3:00 does not exist in Berlin.
        assert_eq!(
            starts("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["28 02:30+01:00", "29 03:00+02:00", "30 02:30+02:00"]
        );
        // A half-hourly schedule stays half-hourly.
        assert_eq!(
            starts("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:15:00Z", 3),
            ["29 01:30+01:00", "29 03:00+02:00", "29 03:30+02:00"]
        );
    }

    #[test]
    fn a_time_that_comes_twice_starts_one_round() {
        // On 25 October 2026 the hour from 2:00 to 3:00 occurs twice in Berlin.
        assert_eq!(
            starts("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["25 02:30+02:00", "26 02:30+01:00"]
        );
        // A round that ran in the first of the two hours does not run again in the second.
        assert_eq!(starts("30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:01Z", 1), ["26 02:30+01:00"]);
        // A half-hourly schedule fires in both hours.
        assert_eq!(
            starts("*/30 * * * *", "Europe/Berlin", "2026-10-25T00:15:00Z", 4),
            ["25 02:30+02:00", "25 02:00+01:00", "25 02:30+01:00", "25 03:00+01:00"]
        );
    }

    #[test]
    fn the_longest_gap_is_the_weekend() {
        let schedule = cron("0 3 * * MON-FRI", "UTC");
        assert_eq!(schedule.longest_gap(at("2026-04-26T00:00:00Z")), Duration::from_secs(3 * 86_400));
        assert_eq!(cron("@yearly", "UTC").longest_gap(at("2026-04-26T00:00:00Z")).as_secs(), MAX_SECONDS);
    }

    #[test]
    fn an_expression_without_a_match_is_refused() {
        let error = CronSchedule::read("BACKUP_SCHEDULE", "0 0 30 2 *", None).unwrap_err();
        assert_eq!(error.to_string(), "BACKUP_SCHEDULE never matches a date: \"0 0 30 2 *\"");
    }
}
