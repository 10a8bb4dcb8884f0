//! Tests of the page with states of every kind.

use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::sidecar::state::{BackupStats, FailureStage, MAX_ATTEMPTS, SidecarState};

const HOUR: i64 = 3_600;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_777_000_000 + seconds).unwrap()
}

fn state(names: &[&str]) -> SidecarState {
    SidecarState::of(names.iter().map(|name| (*name).to_owned()), Duration::from_secs(6 * 3_600))
}

fn save(state: &SidecarState, name: &str, moment: i64) {
    state.begin(name, at(moment));
    state.end(
        name,
        Duration::from_secs(192),
        Ok(BackupStats { size: 1_288_490_189, raw_size: 5 << 30, rows: 12_345 }),
    );
}

fn fail(state: &SidecarState, name: &str, moment: i64, stage: FailureStage, cause: &str) {
    state.begin(name, at(moment));
    state.end(
        name,
        Duration::from_millis(40),
        Err(Failure { stage, cause: cause.to_owned(), hints: Vec::new() }),
    );
}

fn view(state: &SidecarState, now: i64) -> View {
    View::of(&state.read(), at(now))
}

fn page(state: &SidecarState, now: i64) -> String {
    render(&state.read(), None, at(now))
}

/// Returns the page of one database, with a table of its attempts.
fn figures(state: &SidecarState, query: &str, now: i64) -> String {
    render(&state.read(), Some(query), at(now))
}

/// Fails unless the page contains each of these texts.
#[track_caller]
fn assert_shows(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "no {text:?} in\n{page}");
    }
}

#[test]
fn the_verdict_is_that_of_readyz() {
    let state = state(&["a", "b", "c"]);
    let verdict = |now: i64| view(&state, now).verdict;
    let first = verdict(0);
    assert_eq!((first.tone, first.headline), (Tone::Waiting, "Waiting for the first backups"));
    assert_eq!(first.reason, "a: no backup yet; 2 more are affected");
    save(&state, "a", 0);
    save(&state, "b", 0);
    save(&state, "c", 0);
    let good = verdict(HOUR);
    assert_eq!((good.tone, good.headline), (Tone::Good, "All backups are up to date"));
    let late = verdict(10 * HOUR);
    assert_eq!((late.tone, late.headline), (Tone::Bad, "Backups have failed or are overdue"));
    assert_eq!(late.reason, "a: the newest backup is 10h old; the limit is 9h; 2 more are affected");
    for name in ["a", "c"] {
        save(&state, name, 10 * HOUR);
    }
    fail(&state, "b", 10 * HOUR, FailureStage::Store, "the bucket is gone");
    assert_eq!(verdict(10 * HOUR).reason, "b: the last backup failed: the bucket is gone");
    assert_eq!(verdict(10 * HOUR).reason, state.read().unready_reason(at(10 * HOUR)).unwrap());
}

#[test]
fn databases_with_problems_come_first_under_the_same_url() {
    let state = state(&["a", "b", "c"]);
    save(&state, "a", 0);
    fail(&state, "c", 0, FailureStage::Connect, "refused");
    let places: Vec<(String, usize, &str)> =
        view(&state, 0).databases.into_iter().map(|d| (d.name, d.number, d.state)).collect();
    let expected = [("c", 2, "failed"), ("b", 1, "no backup yet"), ("a", 0, "saved")];
    assert_eq!(places, expected.map(|(name, number, state)| (name.to_owned(), number, state)));
    assert_shows(&page(&state, 0), &[r#"<h2 id="d2"><bdi>c</bdi>"#, r#"<a href="?attempts=2">"#]);
}

#[test]
fn before_and_in_the_first_round_there_is_nothing_to_show() {
    let state = state(&["main"]);
    assert_shows(&page(&state, 0), &["No backup has run yet.", "in progress", "none scheduled"]);
    state.begin("main", at(0));
    let page = page(&state, 192);
    assert_shows(&page, &["The first backup is in progress.", "backup running for 3m 12s", "no backup yet"]);
    assert!(!page.contains("<figure"), "{page}");
    let none = render(&StateSnapshot::default(), None, at(0));
    assert_shows(&none, &["No database is configured."]);
}

#[test]
fn a_saved_database_is_shown_in_figures() {
    let state = state(&["main"]);
    save(&state, "main", 0);
    save(&state, "main", 6 * HOUR);
    state.plan(at(12 * HOUR));
    let page = page(&state, 7 * HOUR + 2_880);
    assert_shows(
        &page,
        &[
            r#"<title>All backups are up to date · pg-backup</title>"#,
            r#"<dt>Next round</dt><dd><time datetime="2026-04-24T15:06:40Z" title="2026-04-24 15:06:40 UTC">in 4h 12m</time>"#,
            r#"<span class="value">1.2 GiB</span>"#,
            r#"<span class="value">3m 12s</span>"#,
            r#"aria-label="Size of 2 attempts: 1.2 GiB""#,
            r#"<dt>Last backup</dt><dd><time datetime="2026-04-24T09:06:40Z" title="2026-04-24 09:06:40 UTC">1h 48m ago</time>"#,
            r#"5.0 GiB<span class="soft"> 4.2 : 1</span>"#,
            "<dt>Rows</dt><dd>12,345</dd>",
            "<dt>Written since start</dt><dd>2.4 GiB</dd>",
            "<dt>Overdue after</dt><dd>9h</dd>",
            "Table of 2 attempts",
            r#"<meta http-equiv="refresh" content="30">"#,
            concat!("pg-backup ", env!("CARGO_PKG_VERSION"), ", rendered "),
        ],
    );
    assert!(!page.contains("ailures</h3>"), "{page}");
}

#[test]
fn repeated_failures_are_shown_once_with_their_number() {
    let state = state(&["main"]);
    for round in 0..6 {
        fail(&state, "main", round * HOUR, FailureStage::Connect, "the server refused");
    }
    for round in 6..12 {
        fail(&state, "main", round * HOUR, FailureStage::Store, &format!("put {round} failed"));
    }
    fail(&state, "main", 12 * HOUR, FailureStage::Connect, "the server refused");
    let shown = &view(&state, 13 * HOUR).databases[0];
    let title: Vec<(&str, usize, &str)> =
        shown.failures.iter().map(|failure| (failure.cause.as_str(), failure.times, failure.stage)).collect();
    let once = |cause| (cause, 1, "store");
    assert_eq!(
        title,
        [
            ("the server refused", 7, "connect"),
            once("put 11 failed"),
            once("put 10 failed"),
            once("put 9 failed")
        ]
    );
    assert_eq!((shown.failure_count, shown.failures[0].last.words.as_str()), (13, "1h ago"));
    let page = page(&state, 13 * HOUR);
    assert_shows(
        &page,
        &[
            "<h3>Failures</h3>",
            "13 since start",
            ", 7 times",
            "no dump",
            "<dt>Last backup</dt><dd>never</dd>",
            "; 13 failed",
        ],
    );
    assert_eq!(page.matches(r#"<svg class="cross""#).count(), 13, "{page}");
    assert_eq!(page.matches(r#"<rect class="hollow""#).count(), 13, "{page}");
    save(&state, "main", 13 * HOUR);
    assert_shows(
        &self::page(&state, 13 * HOUR),
        &["<h3>Earlier failures</h3>", "All backups are up to date"],
    );
}

#[test]
fn the_address_asks_for_the_attempts_of_one_database() {
    let state = state(&["a", "b", "c"]);
    save(&state, "b", 0);
    fail(&state, "b", HOUR, FailureStage::Connect, "the server refused");
    let of_b = figures(&state, "attempts=1", 2 * HOUR);
    assert_shows(
        &of_b,
        &[
            "2 attempts, newest first",
            "<td>saved</td>",
            r#"<span class="bad">failed: connect</span>"#,
            "All databases",
        ],
    );
    assert!(of_b.find("failed: connect").unwrap() < of_b.find("<td>saved</td>").unwrap(), "{of_b}");
    assert_eq!((of_b.matches("<section").count(), of_b.matches("<table").count()), (1, 1));
    assert_shows(&of_b, &["a: no backup yet"]);
    for unknown in ["attempts=3", "attempts=-1", "attempts=", "attempts=1&x", "x"] {
        assert_eq!(figures(&state, unknown, 0), page(&state, 0), "{unknown}");
    }
    // A fragment would prevent the page from reloading.
    assert!(!of_b.contains("href=\"#") && !page(&state, 0).contains("href=\"#"));
}

#[test]
fn an_overdue_database_says_by_how_much() {
    let state = state(&["main"]);
    save(&state, "main", 0);
    let page = page(&state, 10 * HOUR);
    assert_shows(&page, &["overdue", "The newest backup is 10h old; the limit is 9h."]);
}

#[test]
fn drills_are_shown_as_far_as_they_are_known() {
    let state = state(&["globals", "main"]);
    state.holds_globals("globals");
    save(&state, "main", 0);
    save(&state, "globals", 0);
    let drill_of = |name: &str| {
        let found = view(&state, HOUR).databases.into_iter().find(|section| section.name == name);
        found.unwrap().drill
    };
    assert_eq!((drill_of("main"), drill_of("globals")), (None, None));
    state.plan_drill(at(3 * 86_400));
    assert_eq!(drill_of("main"), Some(DrillShown::Awaited));
    let page_now = page(&state, HOUR);
    assert_shows(&page_now, &["roles and tablespaces", "none since start", ">in 2d 23h</time>"]);
    assert_eq!(page_now.matches("<dt>Rows</dt>").count(), 1, "{page_now}");

    let phases =
        vec![("describe".to_owned(), 0.081), ("data".to_owned(), 191.6), ("odd".to_owned(), f64::NAN)];
    let restored_in = Some(Duration::from_secs(243));
    state.drilled("main", Drill { ended: at(0), restored_in, phases, verdict: None });
    let good = page(&state, HOUR);
    assert_shows(
        &good,
        &[
            "the copy matches its backup",
            "restored in <strong>4m 3s</strong>",
            r#"<li>describe <span class="number">81ms</span></li>"#,
            r#"aria-label="Time of each phase: describe 81ms, data 3m 12s, odd 0ms""#,
        ],
    );
    assert!(!good.contains("The last drill failed"), "{good}");
    let verdict = Some("3 differences".to_owned());
    state.drilled("main", Drill { ended: at(HOUR), restored_in: None, phases: Vec::new(), verdict });
    let bad = page(&state, HOUR);
    assert_shows(
        &bad,
        &["3 differences", ", last success ", "All backups are up to date", "The last drill failed: main"],
    );
}

#[test]
fn what_comes_from_outside_is_only_text() {
    let hostile = "<script>alert(1)</script>\"'&\n\u{202e}txet\0";
    let long = "x".repeat(100_000);
    let state = state(&[hostile, &long]);
    fail(&state, hostile, 0, FailureStage::Dump, "</p><img src=x onerror=alert(1)>\nHINT: none");
    fail(&state, &long, 0, FailureStage::Dump, &long);
    let phases = vec![("<b>".to_owned(), 1.0)];
    state
        .drilled(hostile, Drill { ended: at(0), restored_in: None, phases, verdict: Some("<i>".to_owned()) });
    let page = page(&state, 0);
    for forbidden in ["<script", "<img", "<b>", "<i>", "\u{0}", "javascript:", "onerror=alert(1)>"] {
        assert!(!page.contains(forbidden), "{forbidden}\n{page}");
    }
    // Each text is in an element with its own direction.
    assert_shows(
        &page,
        &["<bdi>&lt;script&gt;alert(1)&lt;/script&gt;&quot;'&amp;\u{fffd}\u{fffd}txet\u{fffd}</bdi>"],
    );
    assert!(page.len() < 40_000, "{}", page.len());
    let cut = "x".repeat(LONGEST_TEXT) + "…";
    assert_shows(&page, &[&cut]);
    assert!(!page.contains(&(cut.clone() + "…")) && !page.contains(&"x".repeat(LONGEST_TEXT + 1)));
}

#[test]
fn the_page_is_bounded_by_what_the_record_keeps() {
    let names: Vec<String> = (0..10).map(|number| format!("database-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let state = state(&names);
    for name in &names {
        for round in 0..2 * MAX_ATTEMPTS as i64 {
            match round % 3 {
                0 => fail(
                    &state,
                    name,
                    round * HOUR,
                    FailureStage::Other,
                    &format!("{round}{}", "é".repeat(2_000)),
                ),
                _ => save(&state, name, round * HOUR),
            }
        }
    }
    let page = page(&state, 112 * HOUR);
    assert!(page.len() < 60 * 1024 * names.len(), "{}", page.len());
}

#[test]
fn the_policy_allows_this_style_and_no_script() {
    use aws_smithy_types::base64;
    use sha2::{Digest as _, Sha256};

    let page = page(&state(&["main"]), 0);
    let style = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap().0;
    let policy = policy();
    let policy = policy.to_str().unwrap();
    let hash = base64::encode(Sha256::digest(style));
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains(&format!("style-src 'sha256-{hash}';")), "{policy}");
    assert!(!policy.contains("script") && !policy.contains("unsafe"), "{policy}");
    // Content that the policy would block.
    for forbidden in [" style=", " src=", "url(", "@import", r#"href="http"#] {
        assert!(!page.contains(forbidden), "{forbidden}\n{page}");
    }
}
