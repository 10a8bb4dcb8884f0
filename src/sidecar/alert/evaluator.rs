//! Decides which alerts to send, based on the sidecar's state. It has no clock, no queue and no network.
//!
//! An alert is sent when a condition begins and when the failed stage changes, then at every reminder
//! interval while the condition lasts, and once when it ends. A failed backup and an overdue one are the same
//! condition: it ends when the last attempt succeeded **and** the newest backup is recent enough. A shrunken
//! backup causes an alert when it falls below the threshold, and again only after a backup that did not.
//!
//! Memory: a few words per database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::event::{Event, Measure};
use crate::sidecar::freshness::allowed_age;
use crate::sidecar::state::{Attempt, Failure, History, StateSnapshot};

/// Number of successful backups from which the median is computed.
const MEDIAN_OF: usize = 10;
/// Minimum number of earlier backups for a comparison.
const LEAST: usize = 3;

/// An event to send, and whether it is a reminder.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Alert {
    pub(super) event: Event,
    pub(super) reminder: bool,
}

impl From<Event> for Alert {
    fn from(event: Event) -> Self {
        Alert { event, reminder: false }
    }
}

/// Compares the sidecar's state with the alerts already sent.
#[derive(Debug)]
pub(super) struct AlertEvaluator {
    begun: Timestamp,
    shrink: Option<u8>,
    remind: Option<Duration>,
    databases: BTreeMap<String, Reported>,
}

/// The alerts already sent for a database.
#[derive(Debug, Default)]
struct Reported {
    last_attempt: Option<Timestamp>,
    condition: Option<Condition>,
    small: BTreeSet<Measure>,
    last_drill: Option<Timestamp>,
    drill: Option<Firing<String>>,
    replica: Option<Firing<String>>,
    last_blocked: Option<Timestamp>,
}

/// Why a database has no good recent backup.
#[derive(Debug)]
struct Condition {
    since: Timestamp,
    failures: u64,
    failing: Option<Firing<Failure>>,
    overdue: Option<Firing<()>>,
    was_overdue: bool,
}

/// The last alert for a lasting condition.
#[derive(Debug)]
struct Firing<T> {
    what: T,
    at: Timestamp,
}

impl<T> Firing<T> {
    /// Returns whether a reminder is due; if so, the reminder counts as sent.
    fn is_due(&mut self, now: Timestamp, remind: Option<Duration>) -> bool {
        let passed = Duration::try_from(now.duration_since(self.at)).unwrap_or_default();
        let due = remind.is_some_and(|remind| passed >= remind);
        if due {
            self.at = now;
        }
        due
    }
}

impl Condition {
    fn at(since: Timestamp) -> Condition {
        Condition { since, failures: 0, failing: None, overdue: None, was_overdue: false }
    }

    fn failed(&self, database: &str, failure: &Failure) -> Event {
        Event::Failed {
            database: database.to_owned(),
            stage: failure.stage,
            cause: failure.cause.clone(),
            hints: failure.hints.clone(),
            since: self.since,
            failures: self.failures,
        }
    }
}

impl AlertEvaluator {
    /// Starts at the sidecar's start. `shrink` is the threshold in percent, `remind` the reminder interval.
    pub(super) fn new(begun: Timestamp, shrink: Option<u8>, remind: Option<Duration>) -> AlertEvaluator {
        AlertEvaluator { begun, shrink, remind, databases: BTreeMap::new() }
    }

    /// Returns the alerts to send now.
    pub(super) fn observe(&mut self, snapshot: &StateSnapshot, now: Timestamp) -> Vec<Alert> {
        let mut alerts = Vec::new();
        // Without an interval only one round runs, and no backup can be overdue.
        let allowed = (!snapshot.interval.is_zero()).then(|| allowed_age(snapshot.interval));
        for (database, history) in &snapshot.databases {
            let reported = self.databases.entry(database.clone()).or_default();
            alerts.extend(reported.attempts(database, history, now, self.shrink));
            if let Some(allowed) = allowed {
                alerts.extend(reported.overdue(database, history, self.begun, now, allowed));
            }
            alerts.extend(reported.recovered(database));
            alerts.extend(reported.drilled(database, history, now));
            alerts.extend(reported.replicated(database, history, now));
            alerts.extend(reported.blocked(database, history));
            alerts.extend(reported.reminders(database, history, self.begun, now, allowed, self.remind));
        }
        alerts
    }
}

impl Reported {
    /// Handles the attempts that ended since the last call.
    fn attempts(
        &mut self,
        database: &str,
        history: &History,
        now: Timestamp,
        shrink: Option<u8>,
    ) -> Vec<Alert> {
        let mut alerts = Vec::new();
        // Uses the position instead of the time, because the clock may have been set back.
        let seen =
            self.last_attempt.and_then(|seen| history.attempts.iter().rposition(|a| a.started == seen));
        let news = history.attempts.iter().enumerate().skip(seen.map_or(0, |seen| seen + 1));
        for (index, Attempt { started, outcome, .. }) in news {
            self.last_attempt = Some(*started);
            match outcome {
                Err(failure) => alerts.extend(self.failed(database, *started, failure, now)),
                Ok(_) => {
                    if let Some(condition) = &mut self.condition {
                        condition.failing = None;
                    }
                    if let Some(percent) = shrink {
                        alerts.extend(self.shrunk(database, history, index, percent));
                    }
                }
            }
        }
        alerts
    }

    fn failed(
        &mut self,
        database: &str,
        started: Timestamp,
        failure: &Failure,
        now: Timestamp,
    ) -> Option<Alert> {
        let condition = self.condition.get_or_insert_with(|| Condition::at(started));
        condition.failures += 1;
        let firing = condition.failing.as_ref().map(|firing| (firing.what.stage, firing.at));
        let news = firing.is_none_or(|(stage, _)| stage != failure.stage);
        let at = firing.filter(|_| !news).map_or(now, |(_, at)| at);
        condition.failing = Some(Firing { what: failure.clone(), at });
        news.then(|| condition.failed(database, failure).into())
    }

    fn shrunk(&mut self, database: &str, history: &History, index: usize, percent: u8) -> Vec<Alert> {
        let good = |attempt: &Attempt| attempt.outcome.as_ref().ok().copied();
        let before: Vec<_> =
            history.attempts.iter().take(index).rev().filter_map(good).take(MEDIAN_OF).collect();
        let Some(saved) = history.attempts.get(index).and_then(good) else { return Vec::new() };
        if before.len() < LEAST {
            return Vec::new();
        }
        let compare = |(measure, now, before): (Measure, u64, Vec<u64>)| {
            let median = median(before);
            let line = u128::from(median) * u128::from(100 - percent.min(100));
            if u128::from(now) * 100 >= line {
                self.small.remove(&measure);
                return None;
            }
            let news = self.small.insert(measure);
            news.then(|| {
                let database = database.to_owned();
                Event::Shrunk { database, measure, now, median, threshold: percent }.into()
            })
        };
        let sizes = before.iter().map(|saved| saved.size).collect();
        let rows = before.iter().map(|saved| saved.rows).collect();
        [(Measure::Size, saved.size, sizes), (Measure::Rows, saved.rows, rows)]
            .into_iter()
            .filter_map(compare)
            .collect()
    }

    fn overdue(
        &mut self,
        database: &str,
        history: &History,
        begun: Timestamp,
        now: Timestamp,
        allowed: Duration,
    ) -> Option<Alert> {
        let age = age(history, begun, now);
        if age <= allowed {
            if let Some(condition) = &mut self.condition {
                condition.overdue = None;
            }
            return None;
        }
        let condition = self.condition.get_or_insert_with(|| Condition::at(now));
        if condition.overdue.is_some() {
            return None;
        }
        condition.overdue = Some(Firing { what: (), at: now });
        condition.was_overdue = true;
        Some(overdue(database, history, age, allowed).into())
    }

    fn recovered(&mut self, database: &str) -> Option<Alert> {
        let is_over = |condition: &mut Condition| condition.failing.is_none() && condition.overdue.is_none();
        let Condition { since, failures, was_overdue, .. } = self.condition.take_if(is_over)?;
        let database = database.to_owned();
        Some(Event::Recovered { database, since, failures, overdue: was_overdue }.into())
    }

    fn drilled(&mut self, database: &str, history: &History, now: Timestamp) -> Option<Alert> {
        let drill = history.drill.as_ref()?;
        if self.last_drill.replace(drill.ended) == Some(drill.ended) {
            return None;
        }
        let (database, ended) = (database.to_owned(), drill.ended);
        let event = match news(&mut self.drill, drill.verdict.as_ref(), now)? {
            News::Begun(cause) => Event::DrillFailed { database, cause, ended },
            News::Over => Event::DrillRecovered { database, ended },
        };
        Some(event.into())
    }

    fn replicated(&mut self, database: &str, history: &History, now: Timestamp) -> Option<Alert> {
        let (database, replica) = (database.to_owned(), history.replica.as_ref()?);
        let event = match news(&mut self.replica, replica.failure.as_ref(), now)? {
            News::Begun(cause) => Event::ReplicaFailed { database, cause },
            News::Over => Event::ReplicaRecovered { database },
        };
        Some(event.into())
    }

    fn blocked(&mut self, database: &str, history: &History) -> Option<Alert> {
        let blocked = history.last_blocked.as_ref()?;
        if self.last_blocked.replace(blocked.moment) == Some(blocked.moment) {
            return None;
        }
        let (database, waiting) = (database.to_owned(), blocked.waiting.clone());
        Some(Event::Blocked { database, waiting, aborted: blocked.aborted }.into())
    }

    /// Returns the reminders that are due. An overdue backup gets no reminder while a failure is reported.
    fn reminders(
        &mut self,
        database: &str,
        history: &History,
        begun: Timestamp,
        now: Timestamp,
        allowed: Option<Duration>,
        remind: Option<Duration>,
    ) -> Vec<Alert> {
        let mut events = Vec::new();
        if let Some(condition) = &mut self.condition {
            let failing = condition.failing.as_mut().is_some_and(|firing| firing.is_due(now, remind));
            let late = condition.overdue.as_mut().is_some_and(|firing| firing.is_due(now, remind));
            match (&condition.failing, allowed) {
                (Some(firing), _) if failing => events.push(condition.failed(database, &firing.what)),
                (None, Some(allowed)) if late => {
                    events.push(overdue(database, history, age(history, begun, now), allowed));
                }
                _ => {}
            }
        }
        let owned = || database.to_owned();
        if let (Some(firing), Some(ended)) = (&mut self.drill, self.last_drill)
            && firing.is_due(now, remind)
        {
            events.push(Event::DrillFailed { database: owned(), cause: firing.what.clone(), ended });
        }
        if let Some(firing) = &mut self.replica
            && firing.is_due(now, remind)
        {
            events.push(Event::ReplicaFailed { database: owned(), cause: firing.what.clone() });
        }
        events.into_iter().map(|event| Alert { event, reminder: true }).collect()
    }
}

/// A change of a lasting condition.
enum News {
    /// It began, with this cause.
    Begun(String),
    /// It ended.
    Over,
}

/// Compares the last alert of a lasting condition with its current cause, which is `None` if the condition
/// ended. A changed cause is not a change of the condition; the next reminder reports it.
fn news(firing: &mut Option<Firing<String>>, cause: Option<&String>, now: Timestamp) -> Option<News> {
    let Some(cause) = cause else { return firing.take().map(|_| News::Over) };
    let at = firing.as_ref().map(|firing| firing.at);
    *firing = Some(Firing { what: cause.clone(), at: at.unwrap_or(now) });
    at.is_none().then(|| News::Begun(cause.clone()))
}

/// Returns the age of the newest backup, or the uptime of the sidecar if there is none.
fn age(history: &History, begun: Timestamp, now: Timestamp) -> Duration {
    let since = history.last_success.unwrap_or(begun);
    Duration::try_from(now.duration_since(since)).unwrap_or_default()
}

fn overdue(database: &str, history: &History, age: Duration, allowed: Duration) -> Event {
    Event::Overdue { database: database.to_owned(), newest: history.last_success, age, allowed }
}

fn median(mut numbers: Vec<u64>) -> u64 {
    numbers.sort_unstable();
    let at = |index: usize| numbers.get(index).copied().unwrap_or_default();
    let half = numbers.len() / 2;
    if numbers.len() % 2 == 1 { at(half) } else { at(half.saturating_sub(1)).midpoint(at(half)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sidecar::state::{BackupStats, Drill, FailureStage, SidecarState};

    const INTERVAL: Duration = Duration::from_secs(3600);
    const DAY: i64 = 86_400;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_777_000_000 + seconds).unwrap()
    }

    /// The state of one database and its evaluator.
    struct Fixture {
        state: SidecarState,
        evaluator: AlertEvaluator,
    }

    impl Fixture {
        fn new() -> Fixture {
            Fixture::with(Some(50), Some(Duration::from_secs(DAY as u64)))
        }

        fn with(shrink: Option<u8>, remind: Option<Duration>) -> Fixture {
            let state = SidecarState::of(["a".to_owned()], INTERVAL);
            Fixture { state, evaluator: AlertEvaluator::new(at(0), shrink, remind) }
        }

        fn attempt(&self, moment: i64, outcome: Result<BackupStats, Failure>) {
            self.state.begin("a", at(moment));
            self.state.end("a", Duration::from_secs(1), outcome);
        }

        fn save(&self, moment: i64, size: u64, rows: u64) {
            self.attempt(moment, Ok(BackupStats { size, raw_size: size, rows }));
        }

        fn fail(&self, moment: i64, stage: FailureStage, cause: &str) {
            let hints = vec!["look".to_owned()];
            self.attempt(moment, Err(Failure { stage, cause: cause.to_owned(), hints }));
        }

        fn drill(&self, moment: i64, verdict: Option<&str>) {
            let verdict = verdict.map(str::to_owned);
            self.state
                .drilled("a", Drill { ended: at(moment), restored_in: None, phases: Vec::new(), verdict });
        }

        /// Returns the kinds of the alerts at a moment, with `again` for a reminder.
        fn firing(&mut self, moment: i64) -> Vec<String> {
            let alerts = self.evaluator.observe(&self.state.read(), at(moment));
            let shown = |v: &Alert| format!("{}{}", v.event.kind(), if v.reminder { " again" } else { "" });
            alerts.iter().map(shown).collect()
        }

        fn only(&mut self, moment: i64) -> Event {
            let mut alerts = self.evaluator.observe(&self.state.read(), at(moment));
            assert_eq!(alerts.len(), 1, "{alerts:?}");
            alerts.remove(0).event
        }
    }

    const NOTHING: [&str; 0] = [];

    #[test]
    fn a_failure_and_its_end_are_each_reported_once() {
        let mut fixture = Fixture::new();
        fixture.save(0, 10, 1);
        assert_eq!(fixture.firing(1), NOTHING);
        fixture.fail(10, FailureStage::Store, "the bucket is gone");
        let expected = Event::Failed {
            database: "a".to_owned(),
            stage: FailureStage::Store,
            cause: "the bucket is gone".to_owned(),
            hints: vec!["look".to_owned()],
            since: at(10),
            failures: 1,
        };
        assert_eq!(fixture.only(11), expected);
        assert_eq!(fixture.firing(12), NOTHING);
        fixture.fail(20, FailureStage::Store, "the bucket is still gone");
        assert_eq!(fixture.firing(21), NOTHING);
        fixture.save(30, 10, 1);
        let (database, since) = ("a".to_owned(), at(10));
        assert_eq!(fixture.only(31), Event::Recovered { database, since, failures: 2, overdue: false });
        assert_eq!(fixture.firing(32), NOTHING);
        fixture.fail(40, FailureStage::Store, "gone");
        assert_eq!(fixture.firing(41), ["backup_failed"]);
    }

    #[test]
    fn a_clock_that_is_set_back_hides_no_failure() {
        let mut fixture = Fixture::new();
        fixture.save(100, 10, 1);
        assert_eq!(fixture.firing(101), NOTHING);
        fixture.fail(50, FailureStage::Store, "gone");
        assert_eq!(fixture.firing(51), ["backup_failed"]);
        fixture.fail(60, FailureStage::Store, "gone");
        assert_eq!(fixture.firing(61), NOTHING);
    }

    #[test]
    fn a_first_good_backup_is_no_recovery() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.firing(0), NOTHING);
        fixture.save(1, 10, 1);
        assert_eq!(fixture.firing(2), NOTHING);
    }

    #[test]
    fn a_failure_for_another_reason_is_reported_again() {
        let mut fixture = Fixture::new();
        fixture.fail(0, FailureStage::Connect, "refused");
        assert_eq!(fixture.firing(1), ["backup_failed"]);
        fixture.fail(10, FailureStage::Store, "gone");
        assert_eq!(fixture.firing(11), ["backup_failed"]);
        fixture.fail(20, FailureStage::Store, "gone");
        assert_eq!(fixture.firing(21), NOTHING);
    }

    #[test]
    fn a_failure_and_its_end_between_two_observations_are_both_reported() {
        let mut fixture = Fixture::new();
        fixture.fail(0, FailureStage::Connect, "refused");
        fixture.save(10, 10, 1);
        assert_eq!(fixture.firing(11), ["backup_failed", "backup_recovered"]);
    }

    #[test]
    fn a_lasting_problem_is_reported_again_once_a_day() {
        let mut fixture = Fixture::new();
        fixture.fail(0, FailureStage::Connect, "refused");
        assert_eq!(fixture.firing(0), ["backup_failed"]);
        fixture.fail(3600, FailureStage::Connect, "refused again");
        assert_eq!(fixture.firing(3600), NOTHING);
        assert_eq!(fixture.firing(5401), ["backup_overdue"]);
        assert_eq!(fixture.firing(DAY - 1), NOTHING);
        let Event::Failed { cause, failures, since, .. } = fixture.only(DAY) else { panic!("not a failure") };
        assert_eq!((cause.as_str(), failures, since), ("refused again", 2, at(0)));
        // While the failure is reported, the overdue backup is not reported in addition.
        assert_eq!(fixture.firing(DAY + 5401), NOTHING);
        assert_eq!(fixture.firing(2 * DAY), ["backup_failed again"]);
        let mut fixture = Fixture::with(None, None);
        fixture.fail(0, FailureStage::Connect, "refused");
        assert_eq!(fixture.firing(0), ["backup_failed"]);
        assert_eq!(fixture.firing(1), NOTHING);
        assert_eq!(fixture.firing(100 * DAY), ["backup_overdue"]);
        assert_eq!(fixture.firing(200 * DAY), NOTHING);
    }

    #[test]
    fn an_overdue_backup_is_reported_once_while_a_round_hangs() {
        let mut fixture = Fixture::new();
        fixture.save(0, 10, 1);
        fixture.state.begin("a", at(3600));
        assert_eq!(fixture.firing(5400), NOTHING);
        let (newest, [age, allowed]) = (Some(at(0)), [5401, 5400].map(Duration::from_secs));
        assert_eq!(fixture.only(5401), Event::Overdue { database: "a".to_owned(), newest, age, allowed });
        assert_eq!(fixture.firing(6000), NOTHING);
        // Its dump began too long ago to be recent, so the condition lasts.
        fixture.state.end("a", Duration::from_secs(1), Ok(BackupStats::default()));
        assert_eq!(fixture.firing(9001), NOTHING);
        fixture.save(9002, 10, 1);
        let (database, since) = ("a".to_owned(), at(5401));
        assert_eq!(fixture.only(9003), Event::Recovered { database, since, failures: 0, overdue: true });
        assert_eq!(fixture.firing(9002 + 5401), ["backup_overdue"]);
        assert_eq!(fixture.firing(9002 + 5401 + DAY), ["backup_overdue again"]);
    }

    #[test]
    fn without_a_backup_the_time_counts_from_the_start() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.firing(5400), NOTHING);
        let Event::Overdue { newest, .. } = fixture.only(5401) else { panic!("not overdue") };
        assert_eq!(newest, None);
    }

    #[test]
    fn one_round_alone_is_never_overdue() {
        let mut evaluator = AlertEvaluator::new(at(0), None, None);
        let state = SidecarState::default();
        state.begin("a", at(0));
        assert_eq!(evaluator.observe(&state.read(), at(1_000_000)), []);
    }

    #[test]
    fn a_failure_that_ends_late_is_over_when_it_is_recent_again() {
        let mut fixture = Fixture::new();
        fixture.save(0, 10, 1);
        fixture.fail(3600, FailureStage::Dump, "cancelled");
        assert_eq!(fixture.firing(3601), ["backup_failed"]);
        assert_eq!(fixture.firing(5401), ["backup_overdue"]);
        fixture.save(7200, 10, 1);
        let Event::Recovered { failures, overdue, since, .. } = fixture.only(7201) else { panic!("no end") };
        assert_eq!((failures, overdue, since), (1, true, at(3600)));
    }

    #[test]
    fn a_fall_below_the_median_is_reported_once() {
        let mut fixture = Fixture::new();
        for (moment, size) in [(0, 100), (1, 120), (2, 110)] {
            fixture.save(moment, size, 1000);
            assert_eq!(fixture.firing(moment), NOTHING);
        }
        fixture.save(3, 55, 500);
        assert_eq!(fixture.firing(3), NOTHING);
        // The median of 100, 120, 110 and 55 is 105, and a decrease by half ends at 52.5.
        fixture.save(4, 52, 400);
        let alerts = fixture.evaluator.observe(&fixture.state.read(), at(4));
        let shrunk = |measure, now, median| {
            Alert::from(Event::Shrunk { database: "a".to_owned(), measure, now, median, threshold: 50 })
        };
        assert_eq!(alerts, [shrunk(Measure::Size, 52, 105), shrunk(Measure::Rows, 400, 1000)]);
        fixture.save(5, 40, 1000);
        assert_eq!(fixture.firing(5), NOTHING);
        fixture.save(6, 100, 1000);
        fixture.save(7, 10, 1000);
        assert_eq!(fixture.firing(7), ["backup_shrunk"]);
    }

    #[test]
    fn two_backups_are_no_median_and_off_is_off() {
        let mut fixture = Fixture::new();
        fixture.save(0, 100, 10);
        fixture.save(1, 100, 10);
        fixture.save(2, 1, 0);
        assert_eq!(fixture.firing(3), NOTHING);
        let mut fixture = Fixture::with(None, None);
        for moment in 0..5 {
            fixture.save(moment, 100, 10);
        }
        fixture.save(5, 1, 0);
        assert_eq!(fixture.firing(6), NOTHING);
    }

    #[test]
    fn failures_and_old_backups_are_no_part_of_the_median() {
        let mut fixture = Fixture::new();
        for moment in 0..10 {
            fixture.save(moment, 1000, 1);
        }
        for moment in 10..20 {
            fixture.save(2 * moment, 600, 1);
            fixture.fail(2 * moment + 1, FailureStage::Dump, "x");
        }
        assert!(!fixture.firing(200).contains(&"backup_shrunk".to_owned()));
        fixture.save(201, 301, 1);
        assert_eq!(fixture.firing(201), ["backup_recovered"]);
        fixture.save(202, 299, 1);
        assert_eq!(fixture.firing(202), ["backup_shrunk"]);
    }

    #[test]
    fn a_failed_drill_and_its_end_are_reported_once() {
        let mut fixture = Fixture::new();
        fixture.save(0, 10, 1);
        fixture.drill(1, None);
        assert_eq!(fixture.firing(2), NOTHING);
        fixture.drill(3, Some("2 differences"));
        let (database, cause) = ("a".to_owned(), "2 differences".to_owned());
        assert_eq!(fixture.only(4), Event::DrillFailed { database, cause, ended: at(3) });
        fixture.drill(5, Some("3 differences"));
        assert_eq!(fixture.firing(6), NOTHING);
        fixture.save(DAY, 10, 1);
        let Event::DrillFailed { cause, ended, .. } = fixture.only(DAY + 4) else { panic!("no reminder") };
        assert_eq!((cause.as_str(), ended), ("3 differences", at(5)));
        fixture.drill(DAY + 5, None);
        assert_eq!(fixture.firing(DAY + 6), ["drill_recovered"]);
        assert_eq!(fixture.firing(DAY + 7), NOTHING);
    }

    #[test]
    fn a_replica_is_reported_once_and_blocked_sessions_each_time() {
        let mut fixture = Fixture::new();
        let failed = Event::ReplicaFailed { database: "a".to_owned(), cause: "away".to_owned() };
        let replicated = |fixture: &Fixture, moment: i64, outcome: Result<(), &str>| {
            fixture.state.replicated("a", at(moment), outcome.map_err(str::to_owned));
        };
        replicated(&fixture, 0, Ok(()));
        assert_eq!(fixture.firing(0), NOTHING);
        replicated(&fixture, 5, Err("away"));
        assert_eq!(fixture.only(6), failed);
        replicated(&fixture, 10, Err("still away"));
        assert_eq!(fixture.firing(11), NOTHING);
        fixture.save(DAY, 10, 1);
        assert_eq!(fixture.firing(DAY + 6), ["replica_failed again"]);
        replicated(&fixture, DAY + 7, Ok(()));
        assert_eq!(fixture.firing(DAY + 8), ["replica_recovered"]);
        assert_eq!(fixture.firing(DAY + 9), NOTHING);
        for aborted in [false, true] {
            fixture.state.blocked("a", "process 7 waits".to_owned(), aborted);
            let (database, waiting) = ("a".to_owned(), "process 7 waits".to_owned());
            assert_eq!(fixture.only(DAY + 10), Event::Blocked { database, waiting, aborted });
            assert_eq!(fixture.firing(DAY + 11), NOTHING);
        }
    }
}
