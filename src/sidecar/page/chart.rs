//! The charts of the page as inline SVG: a strip of bars, newest at the right, and the parts of a whole.
//!
//! Widths are percentages and heights are pixels, without a `viewBox`, so that a strip fills any width and
//! lines and crosses are not stretched. Failures differ in shape, not only in color. Each strip has one label
//! that describes all of it; the titles of single marks are tooltips.

use std::time::Duration;

use maud::{Markup, html};

/// Height of a strip in pixels.
const HEIGHT: f64 = 56.0;

/// Minimum number of slots of a strip, so that a few bars do not become too wide.
const FEWEST: usize = 28;

/// Share of a slot's width that a bar takes.
const FILLED: f64 = 0.72;

/// The mark in one slot of a strip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum ChartMark {
    /// A bar, with its share of the full height.
    Bar(f64),
    /// A bar of a failure.
    Hollow(f64),
    /// A failure without a bar.
    Cross,
}

/// One slot of a strip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ChartSlot {
    pub(super) form: ChartMark,
    /// Text of the tooltip.
    pub(super) title: String,
}

/// Renders a strip.
pub(super) fn strip(places: &[ChartSlot], label: &str) -> Markup {
    let width = 100.0 / places.len().max(FEWEST) as f64;
    let first = 100.0 - width * places.len() as f64;
    let last = places.len().saturating_sub(1);
    html! {
        svg.strip role="img" aria-label=(label) height=(HEIGHT) {
            @for (index, place) in places.iter().enumerate() {
                @let x = first + width * index as f64;
                g class=[(index == last).then_some("last")] {
                    title { (place.title) }
                    // The tooltip covers the whole slot.
                    rect.place x=(percent(x)) width=(percent(width)) height=(HEIGHT) {}
                    (form(place.form, x, width))
                }
            }
            line.axis x1="0" x2="100%" y1=(HEIGHT - 0.5) y2=(HEIGHT - 0.5) {}
        }
    }
}

fn form(form: ChartMark, x: f64, width: f64) -> Markup {
    let (class, share) = match form {
        ChartMark::Bar(share) => ("bar", share),
        ChartMark::Hollow(share) => ("hollow", share),
        ChartMark::Cross => {
            return html! {
                // A nested coordinate system, because paths do not support percentages.
                svg.cross x=(percent(x + width / 2.0)) y=(HEIGHT - 9.0) width="1" height="1" {
                    path d="M-3-3 3 3M3-3-3 3" {}
                }
            };
        }
    };
    // A bar is always at least 2 pixels high, so that it is visible.
    let height = (share.clamp(0.0, 1.0) * (HEIGHT - 2.0)).max(2.0);
    let x = x + width * (1.0 - FILLED) / 2.0;
    html! {
        rect class=(class) x=(percent(x)) y=(format!("{:.1}", HEIGHT - 1.0 - height))
            width=(percent(width * FILLED)) height=(format!("{height:.1}")) rx="1" {}
    }
}

/// Renders the parts of a whole as segments in one row.
pub(super) fn parts(parts: &[(String, Duration)], label: &str) -> Markup {
    let whole: f64 = parts.iter().map(|(_, time)| time.as_secs_f64()).sum();
    // Left edge and width of each segment, in percent.
    let edges = parts.iter().scan(0.0, |x, (_, time)| {
        let width = if whole > 0.0 { time.as_secs_f64() / whole * 100.0 } else { 0.0 };
        let left = *x;
        *x += width;
        Some((left, width))
    });
    html! {
        svg.parts role="img" aria-label=(label) height="10" {
            @for (x, width) in edges {
                rect x=(percent(x)) width=(percent(width)) height="10" {}
            }
        }
    }
}

fn percent(value: f64) -> String {
    format!("{value:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(forms: &[ChartMark]) -> String {
        let places: Vec<ChartSlot> =
            forms.iter().map(|form| ChartSlot { form: *form, title: "<title>".to_owned() }).collect();
        strip(&places, "\"all\" of it").into_string()
    }

    #[test]
    fn the_newest_bar_stands_at_the_right_and_none_is_broad() {
        let svg = drawn(&[ChartMark::Bar(0.5), ChartMark::Bar(1.0)]);
        // Two of 28 slots of 3.571 %; a bar begins at 14 % of its slot.
        assert!(
            svg.contains(r#"<rect class="bar" x="93.36%" y="28.0" width="2.57%" height="27.0""#),
            "{svg}"
        );
        assert!(svg.contains(r#"<rect class="bar" x="96.93%" y="1.0" width="2.57%" height="54.0""#), "{svg}");
        assert_eq!(svg.matches(r#"<g class="last">"#).count(), 1, "{svg}");
        assert!(svg.find("<g>").unwrap() < svg.find(r#"<g class="last">"#).unwrap(), "{svg}");
        assert!(drawn(&[ChartMark::Bar(1.0); 56]).contains(r#"x="0.25%""#));
    }

    #[test]
    fn failures_have_a_shape_of_their_own_and_labels_are_escaped() {
        let svg = drawn(&[ChartMark::Cross, ChartMark::Hollow(0.0), ChartMark::Bar(2.0)]);
        assert_eq!(svg.matches(r#"<svg class="cross""#).count(), 1, "{svg}");
        // A bar of zero height is visible, and no bar exceeds the strip.
        assert!(svg.contains(r#"class="hollow" x="93.36%" y="53.0" width="2.57%" height="2.0""#), "{svg}");
        assert!(svg.contains(r#"height="54.0""#), "{svg}");
        assert!(svg.contains(r#"aria-label="&quot;all&quot; of it""#), "{svg}");
        assert!(svg.contains("<title>&lt;title&gt;</title>"), "{svg}");
        assert!(!drawn(&[]).contains("<g"));
    }

    #[test]
    fn parts_fill_the_width() {
        let part = |seconds: u64| ("x".to_owned(), Duration::from_secs(seconds));
        let svg = parts(&[part(1), part(3)], "l").into_string();
        assert!(svg.contains(r#"<rect x="0.00%" width="25.00%""#), "{svg}");
        assert!(svg.contains(r#"<rect x="25.00%" width="75.00%""#), "{svg}");
        assert!(!parts(&[part(0)], "l").into_string().contains("NaN"));
    }
}
