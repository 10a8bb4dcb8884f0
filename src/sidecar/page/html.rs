//! The markup of the page. The template escapes all inserted text, except the program's own style sheet.

use std::sync::LazyLock;

use aws_smithy_types::base64;
use hyper::header::HeaderValue;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::chart::{self, ChartMark, ChartSlot};
use super::relative_time::exact;
use super::{
    AttemptView, DatabaseView, DrillShown, DrillView, FailureShown, OverallStatus, RelativeTime, Tone, View,
};
use crate::quantity::{count, human, size, stopwatch};
use crate::sidecar::state::{Attempt, BackupStats};

/// Interval at which the page reloads itself. An open page must not show an outdated status, and its relative
/// times are correct only for a moment. Scripts are forbidden, so the whole page is reloaded; the scroll
/// position stays. No link has a fragment, because a browser would scroll to the fragment instead of
/// reloading.
const REFRESH_SECONDS: u32 = 30;

const STYLE: &str = include_str!("style.css");

/// The `Content-Security-Policy` of the page: it permits only the program's own style sheet and icon.
pub fn policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let hash = base64::encode(Sha256::digest(STYLE));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        HeaderValue::try_from(policy).expect("base64 is visible ASCII")
    });
    POLICY.clone()
}

/// Renders the page with all databases, or with the chosen one.
pub(super) fn page(view: &View, chosen: Option<&DatabaseView>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="refresh" content=(REFRESH_SECONDS);
                title { (view.verdict.headline) " · pg-backup" }
                link rel="icon" href=(icon(view.verdict.tone));
                style { (PreEscaped(STYLE)) }
            }
            body {
                (verdict(&view.verdict))
                (plan(view))
                main {
                    @if view.databases.is_empty() { p.empty { "No database is configured." } }
                    @if let Some(section) = chosen {
                        p { a href="?" { "All databases" } }
                        (database(section, true))
                    } @else {
                        @for section in &view.databases { (database(section, false)) }
                    }
                }
                (foot(view))
            }
        }
    }
}

fn verdict(verdict: &OverallStatus) -> Markup {
    html! {
        header.verdict.(class(verdict.tone)) {
            (mark(verdict.tone))
            div {
                h1 { (verdict.headline) }
                p.reason { bdi { (verdict.reason) } }
                @if let Some(notice) = &verdict.notice { p.reason.bad { bdi { (notice) } } }
            }
        }
    }
}

/// Renders the next round and drill.
fn plan(view: &View) -> Markup {
    let drill = view.next_drill.as_ref().map(time);
    html! {
        dl.facts.plan {
            (fact("Next round", view.next_run.as_ref().map_or_else(|| html! { "in progress" }, time)))
            (fact("Next drill", drill.unwrap_or_else(|| html! { span.soft { "none scheduled" } })))
            (fact("Overdue after", html! { (human(view.allowed_age)) }))
        }
    }
}

fn foot(view: &View) -> Markup {
    html! {
        footer {
            p {
                "pg-backup " (env!("CARGO_PKG_VERSION")) ", rendered "
                time datetime=(view.rendered.to_string()) { (exact(view.rendered)) }
                ". This page reloads every " (REFRESH_SECONDS) " seconds."
            }
            p {
                "This page covers the time since this process started; " code { "pg-backup list" } " shows the "
                "backups in the store. For programs: " a href="readyz" { "/readyz" } ", " a href="metrics" { "/metrics" } "."
            }
        }
    }
}

fn database(section: &DatabaseView, in_figures: bool) -> Markup {
    let name = format!("d{}", section.number);
    html! {
        section aria-labelledby=(name) {
            header.head {
                h2 id=(name) { bdi { (section.name) } }
                @if section.is_globals { span.soft { "roles and tablespaces" } }
                p.state {
                    @if let Some(time) = section.saving_for {
                        span.activity { (mark(Tone::Waiting)) "backup running for " (stopwatch(time)) }
                    }
                    span class=(class(section.tone)) { (mark(section.tone)) (section.state) }
                }
            }
            @if let Some(unhealthy) = &section.unhealthy { p.unhealthy { (sentence(unhealthy)) } }
            @if section.attempts.is_empty() {
                @let is_saving = section.saving_for.is_some();
                p.empty { (if is_saving { "The first backup is in progress." } else { "No backup has run yet." }) }
            } @else {
                div.charts { (sizes(section)) (durations(section)) }
                (facts(section))
            }
            @if !section.failures.is_empty() { (failures(section)) }
            @if let Some(shown) = &section.drill { (drill(shown)) }
            @if in_figures {
                (attempts(section))
            } @else if !section.attempts.is_empty() {
                p.more {
                    a href=(format!("?attempts={}", section.number)) {
                        "Table of " (several(section.attempts.len(), "attempt"))
                    }
                }
            }
        }
    }
}

/// Renders the chart of sizes, with the last size as a number.
fn sizes(section: &DatabaseView) -> Markup {
    let saved = || section.attempts.iter().filter_map(|shown| shown.attempt.outcome.as_ref().ok());
    let largest = saved().map(|saved| saved.size).max().unwrap_or_default();
    let places: Vec<ChartSlot> = section
        .attempts
        .iter()
        .map(|shown| {
            let (form, what) = match &shown.attempt.outcome {
                Ok(saved) => (ChartMark::Bar(share(saved.size as f64, largest as f64)), size(saved.size)),
                Err(_) => (ChartMark::Cross, "failed".to_owned()),
            };
            ChartSlot { form, title: format!("{what}, {}", shown.started.exact()) }
        })
        .collect();
    let range = saved().map(|saved| saved.size).min().map(|least| range(size(least), size(largest)));
    let last = saved().next_back().map_or_else(|| "no dump".to_owned(), |saved| size(saved.size));
    figure("Size", &last, range.flatten(), section, &places)
}

/// Renders the chart of durations, with the last duration as a number.
fn durations(section: &DatabaseView) -> Markup {
    let times = || section.attempts.iter().map(|shown| shown.attempt.duration);
    let longest = times().max().unwrap_or_default();
    let places: Vec<ChartSlot> = section
        .attempts
        .iter()
        .map(|shown| {
            let Attempt { duration, outcome, .. } = &shown.attempt;
            let share = share(duration.as_secs_f64(), longest.as_secs_f64());
            let (form, what) = match outcome {
                Ok(_) => (ChartMark::Bar(share), ""),
                Err(_) => (ChartMark::Hollow(share), "failed after "),
            };
            ChartSlot { form, title: format!("{what}{}, {}", stopwatch(*duration), shown.started.exact()) }
        })
        .collect();
    let range = times().min().and_then(|least| range(stopwatch(least), stopwatch(longest)));
    let last = times().next_back().map(stopwatch).unwrap_or_default();
    figure("Duration", &last, range, section, &places)
}

fn figure(
    what: &str,
    last: &str,
    range: Option<String>,
    section: &DatabaseView,
    places: &[ChartSlot],
) -> Markup {
    let failed = section.attempts.iter().filter(|shown| shown.attempt.outcome.is_err()).count();
    let label = format!(
        "{what} of {}: {last}{}{}",
        several(places.len(), "attempt"),
        range.as_ref().map(|range| format!(" in the last one, {range} overall")).unwrap_or_default(),
        if failed > 0 { format!("; {failed} failed") } else { String::new() },
    );
    let (oldest, newest) = (section.attempts.first(), section.attempts.last());
    html! {
        figure {
            figcaption {
                span.label { (what) }
                span.value { (last) }
                @if let Some(range) = &range { span.range { (range) } }
            }
            (chart::strip(places, &label))
            p.ends {
                @if let Some(oldest) = oldest.filter(|_| places.len() > 1) { (time(&oldest.started)) }
                @if let Some(newest) = newest { (time(&newest.started)) }
            }
        }
    }
}

fn facts(section: &DatabaseView) -> Markup {
    let saved = section.attempts.iter().rev().find_map(|shown| shown.attempt.outcome.as_ref().ok());
    html! {
        dl.facts {
            (fact("Last backup", section.last_success.as_ref().map_or_else(|| html! { "never" }, time)))
            @if let Some(BackupStats { size: packed, raw_size, rows }) = saved {
                (fact("Uncompressed", html! {
                    (size(*raw_size))
                    @if let Some(ratio) = ratio(*packed, *raw_size) { span.soft { " " (ratio) } }
                }))
                @if !section.is_globals { (fact("Rows", html! { (count(*rows)) })) }
            }
            (fact("Written since start", html! { (size(section.bytes_total)) }))
        }
    }
}

/// Returns the compression ratio of the dump.
fn ratio(packed: u64, raw: u64) -> Option<String> {
    (packed > 0 && raw > packed).then(|| format!("{:.1} : 1", raw as f64 / packed as f64))
}

fn failures(section: &DatabaseView) -> Markup {
    let is_over = section.tone == Tone::Good;
    html! {
        div.part {
            h3 { (if is_over { "Earlier failures" } else { "Failures" }) }
            span.soft { (count(section.failure_count)) " since start" }
            ul.failures { @for failure in &section.failures { (failed(failure)) } }
        }
    }
}

fn failed(failure: &FailureShown) -> Markup {
    html! {
        li {
            p {
                (mark(Tone::Bad)) strong { (failure.stage) } " "
                span.soft {
                    (failure.last.exact()) ", " (failure.last.words)
                    @if failure.times > 1 { ", " (failure.times) " times" }
                }
            }
            p.cause { bdi { (failure.cause) } }
        }
    }
}

fn drill(drill: &DrillShown) -> Markup {
    match drill {
        DrillShown::Awaited => html! {
            div.part { h3 { "Drill" } span.soft { "none since start" } }
        },
        DrillShown::Made(made) => drilled(made),
    }
}

fn drilled(drill: &DrillView) -> Markup {
    let DrillView { ended, restored_in, phases, verdict, last_good } = drill;
    let tone = if verdict.is_none() { Tone::Good } else { Tone::Bad };
    let times: Vec<String> =
        phases.iter().map(|(name, time)| format!("{name} {}", stopwatch(*time))).collect();
    html! {
        div.part {
            h3 { "Last drill" }
            span.soft {
                (time(ended))
                @if let Some(moment) = last_good { ", last success " (time(moment)) }
            }
            p.outcome {
                span class=(class(tone)) {
                    (mark(tone)) bdi { (verdict.as_deref().unwrap_or("the copy matches its backup")) }
                }
                @if let Some(time) = restored_in { span { "restored in " strong { (stopwatch(*time)) } } }
            }
            @if !phases.is_empty() {
                (chart::parts(phases, &format!("Time of each phase: {}", times.join(", "))))
                ul.phases {
                    @for (name, time) in phases { li { (name) " " span.number { (stopwatch(*time)) } } }
                }
            }
        }
    }
}

/// Renders a table of all attempts. The URL requests it, so that it stays open when the page reloads.
fn attempts(section: &DatabaseView) -> Markup {
    let number = section.attempts.len();
    html! {
        table {
            caption { (several(number, "attempt")) ", newest first" }
            thead {
                tr {
                    th scope="col" { "Started (UTC)" }
                    th.number scope="col" { "Duration" }
                    th.number scope="col" { "Size" }
                    th.number.wide scope="col" { "Uncompressed" }
                    th.number.wide scope="col" { "Rows" }
                    th scope="col" { "Result" }
                }
            }
            tbody { @for shown in section.attempts.iter().rev() { (row(shown)) } }
        }
    }
}

fn row(shown: &AttemptView) -> Markup {
    let Attempt { started, duration, outcome } = &shown.attempt;
    let saved = outcome.as_ref().ok();
    let cell = |value: Option<String>| value.unwrap_or_else(|| "–".to_owned());
    html! {
        tr {
            td {
                // The full time does not fit on the screen of a phone.
                time datetime=(shown.started.machine()) {
                    span.wide { (started.strftime("%Y-").to_string()) }
                    (started.strftime("%m-%d %H:%M").to_string())
                    span.wide { (started.strftime(":%S").to_string()) }
                }
            }
            td.number { (stopwatch(*duration)) }
            td.number { (cell(saved.map(|saved| size(saved.size)))) }
            td.number.wide { (cell(saved.map(|saved| size(saved.raw_size)))) }
            td.number.wide { (cell(saved.map(|saved| count(saved.rows)))) }
            td {
                @match outcome {
                    Ok(_) => "saved",
                    Err(failure) => span.bad { "failed: " (failure.stage.as_str()) },
                }
            }
        }
    }
}

fn fact(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

fn time(moment: &RelativeTime) -> Markup {
    html! { time datetime=(moment.machine()) title=(moment.exact()) { (moment.words) } }
}

fn several(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Formats a range; `None` if both ends have the same text.
fn range(least: String, most: String) -> Option<String> {
    (least != most).then(|| format!("{least} to {most}"))
}

fn share(value: f64, most: f64) -> f64 {
    if most > 0.0 { value / most } else { 0.0 }
}

/// Formats a message of the program as a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Waiting => "waiting",
        Tone::Bad => "bad",
    }
}

/// Returns the path of the symbol for a tone in a circle of 16 pixels: a tick, clock hands, or a cross.
fn lines(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "M4.8 8.3 7 10.5 11.2 5.8",
        Tone::Waiting => "M8 4.6V8.2L10.4 9.8",
        Tone::Bad => "M5.6 5.6 10.4 10.4M10.4 5.6 5.6 10.4",
    }
}

/// Renders a symbol with the same meaning as the word next to it.
fn mark(tone: Tone) -> Markup {
    html! {
        svg.mark viewBox="0 0 16 16" aria-hidden="true" {
            circle cx="8" cy="8" r="7" {}
            path d=(lines(tone)) {}
        }
    }
}

/// Returns the same symbol as the icon of the tab. An image cannot use the page's colors.
fn icon(tone: Tone) -> String {
    let colour = match tone {
        Tone::Good => "1f8a56",
        Tone::Waiting => "b07a1e",
        Tone::Bad => "cf3a2b",
    };
    format!(
        "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
         %3Ccircle cx='8' cy='8' r='8' fill='%23{colour}'/%3E\
         %3Cpath d='{}' fill='none' stroke='%23fff' stroke-width='1.8' stroke-linecap='round'/%3E%3C/svg%3E",
        lines(tone)
    )
}
