//! The targets of the benchmarks, and the margin by which each was met or missed.

use crate::markdown::table;

/// A ratio that should not exceed a limit.
#[derive(Clone, Copy, Debug)]
pub struct Aim {
    pub what: &'static str,
    pub at_most: f64,
    pub measured: f64,
}

/// Returns a table of all targets of a part.
pub fn aims(aims: &[Aim]) -> String {
    let row = |aim: &Aim| {
        let left = aim.at_most - aim.measured;
        let verdict = if left >= 0.0 {
            format!("met, {left:.3} to spare")
        } else {
            format!("**missed by {:.3}** ({:.0} % too much)", -left, -left / aim.at_most * 100.0)
        };
        vec![aim.what.to_owned(), format!("{:.2}", aim.at_most), format!("{:.3}", aim.measured), verdict]
    };
    table(&["aim", "at most", "measured", "result"], &aims.iter().map(row).collect::<Vec<_>>())
}
