//! A line chart as SVG. The file is self-contained, and its background is light or dark, as the viewer's
//! screen is.

use std::fmt::Write;

use crate::markdown::count;

const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 308.0;
/// The edges of the plotted area inside a panel.
const LEFT: f64 = 58.0;
const RIGHT: f64 = 360.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 248.0;

const STYLE: &str = "
    .ground { fill: #ffffff }
    text { fill: #1f2328; font: 12px sans-serif }
    .title { font-weight: bold; font-size: 13px }
    .grid { stroke: #d1d9e0; stroke-width: 1 }
    polyline { fill: none; stroke-width: 2 }
    .ours { stroke: #0969da; fill: #0969da }
    .theirs { stroke: #bc4c00; fill: #bc4c00 }
    .law { stroke: #59636e; fill: none; stroke-dasharray: 4 4 }
    polyline.ours, polyline.theirs { fill: none }
    @media (prefers-color-scheme: dark) {
        .ground { fill: #0d1117 }
        text { fill: #f0f6fc }
        .grid { stroke: #3d444d }
        .ours { stroke: #4493f8; fill: #4493f8 }
        .theirs { stroke: #f0883e; fill: #f0883e }
        .law { stroke: #9198a1 }
    }
";

/// Two panels next to each other.
pub struct Figure {
    pub panels: [Panel; 2],
}

/// Seconds over a size.
pub struct Panel {
    pub title: String,
    pub sizes: Vec<f64>,
    pub series: Vec<Series>,
}

/// One line: a value for each of the panel's sizes.
pub struct Series {
    pub name: String,
    /// Its class in the style sheet.
    pub class: &'static str,
    pub values: Vec<f64>,
}

impl Figure {
    /// Returns the text of the file.
    pub fn svg(&self) -> String {
        let width = WIDTH * self.panels.len() as f64;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" width=\"{width}\" \
             height=\"{HEIGHT}\" role=\"img\">\n<title>Time over size</title>\n<style>{STYLE}</style>\n\
             <rect class=\"ground\" width=\"{width}\" height=\"{HEIGHT}\" rx=\"6\"/>\n"
        );
        for (index, panel) in self.panels.iter().enumerate() {
            let _ = writeln!(svg, "<g transform=\"translate({} 0)\">", WIDTH * index as f64);
            panel.draw(&mut svg);
            svg.push_str("</g>\n");
        }
        svg + "</svg>\n"
    }
}

impl Panel {
    fn draw(&self, svg: &mut String) {
        let values = self.series.iter().flat_map(|series| &series.values);
        let step = step(values.copied().fold(0.0, f64::max));
        let (most, widest) = (step * 5.0, self.sizes.iter().copied().fold(0.0, f64::max));
        let x = |size: f64| LEFT + (RIGHT - LEFT) * size / widest;
        let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / most;
        // Writing to a String cannot fail.
        let _ =
            writeln!(svg, "<text class=\"title\" x=\"{LEFT}\" y=\"24\">Seconds over {}</text>", self.title);
        for line in 0..=5 {
            let value = step * f64::from(line);
            let at = y(value);
            let label = format!("{value:.3}");
            let label = label.trim_end_matches('0').trim_end_matches('.');
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for size in &self.sizes {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                x(*size),
                BOTTOM + 18.0,
                count(*size as u64)
            );
        }
        for (index, series) in self.series.iter().enumerate() {
            series.draw(svg, &self.sizes, &x, &y);
            let at = LEFT + 108.0 * index as f64;
            let _ = writeln!(
                svg,
                "<polyline class=\"{}\" points=\"{at},286 {},286\"/><text x=\"{}\" y=\"290\">{}</text>",
                series.class,
                at + 22.0,
                at + 28.0,
                series.name
            );
        }
    }
}

impl Series {
    fn draw(&self, svg: &mut String, sizes: &[f64], x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) {
        let points: Vec<(f64, f64)> =
            sizes.iter().zip(&self.values).map(|(size, value)| (x(*size), y(*value))).collect();
        let line: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(svg, "<polyline class=\"{}\" points=\"{}\"/>", self.class, line.join(" "));
        if self.class != "law" {
            for (x, y) in points {
                let _ =
                    writeln!(svg, "<circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>", self.class);
            }
        }
    }
}

/// Returns a fifth of the axis: 1, 2 or 5 times a power of ten, so that five of them include `most`.
fn step(most: f64) -> f64 {
    let least = (most / 5.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= least)
        .unwrap_or(least)
}
