//! Calls per second against the number of replacements, as an SVG file.

use std::collections::BTreeMap;
use std::fmt::Write;

/// One line of the chart.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is called in the rows, and in the chart.
    pub variant: &'static str,
    label: &'static str,
    /// Its colour on a light ground and on a dark one.
    colours: [&'static str; 2],
    /// How the line is drawn, beside its colour.
    dashes: &'static str,
}

/// The lines that the chart knows, in the order of its legend.
pub const SERIES: [Series; 6] = [
    series("static-direct", "static direct call, never replaced", ["#6e7781", "#9198a1"], "2 4"),
    series("kiln", "Kiln", ["#bc4c00", "#ff8c4b"], ""),
    series("orc-redirect-free", "LLVM redirectable symbols", ["#0969da", "#58a6ff"], ""),
    series("orc-stubs-keep", "LLVM indirect stubs", ["#8250df", "#bc8cff"], "8 3"),
    series("orc-reopt-free", "LLVM ReOptimizeLayer", ["#1a7f37", "#3fb950"], "3 3"),
    series("chain-64", "chain of jumps", ["#cf222e", "#ff7b72"], "10 3 2 3"),
];

const fn series(
    variant: &'static str,
    label: &'static str,
    colours: [&'static str; 2],
    dashes: &'static str,
) -> Series {
    Series { variant, label, colours, dashes }
}

/// The best window of each variant after each number of replacements, in millions of calls per second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows(BTreeMap<String, BTreeMap<u64, f64>>);

impl Rows {
    /// Adds the rows of a run: variant, replacements and calls per second, then whatever else, separated by tabs. Other
    /// lines are skipped.
    pub fn read(&mut self, text: &str) {
        for line in text.lines() {
            let mut fields = line.split('\t');
            let (Some(variant), Some(n), Some(calls)) = (fields.next(), fields.next(), fields.next()) else { continue };
            let (Ok(n), Ok(calls)) = (n.parse(), calls.parse::<f64>()) else { continue };
            let best = self.0.entry(variant.to_owned()).or_default().entry(n).or_default();
            *best = best.max(calls);
        }
    }

    fn of(&self, series: &Series) -> Option<&BTreeMap<u64, f64>> {
        self.0.get(series.variant)
    }
}

/// The drawing's size, and the place of the axes in it.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 500.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 840.0;
const TOP: f64 = 92.0;
const BOTTOM: f64 = 436.0;
/// Where the axis begins: no replacement has no logarithm.
const ZERO: f64 = LEFT + 20.0;
const ONE: f64 = ZERO + 60.0;

/// Draws what `rows` hold of [`SERIES`]. `subtitle` says where they were measured.
pub fn draw(rows: &Rows, subtitle: &str) -> String {
    let drawn: Vec<&Series> = SERIES.iter().filter(|series| rows.of(series).is_some()).collect();
    let points = drawn.iter().flat_map(|series| rows.of(series).into_iter().flatten());
    let (most_n, most) = points.fold((10, 1.0f64), |(n, y), (m, z)| (n.max(*m), y.max(*z)));
    let decades = (most_n as f64).log10().ceil();
    let step = step(most);
    let top = (most / step).ceil() * step;
    let x = |n: u64| match n {
        0 => ZERO,
        _ => ONE + (RIGHT - 10.0 - ONE) * (n as f64).log10() / decades,
    };
    let y = |calls: f64| BOTTOM - (BOTTOM - TOP) * calls / top;

    let mut svg = head(&drawn);
    let _ = writeln!(
        svg,
        r#"<text x="{LEFT}" y="24" class="title">Calls per second of a function, by how often it was replaced</text>"#
    );
    let _ = writeln!(svg, r#"<text x="{LEFT}" y="43">{}</text>"#, escape(subtitle));
    for at in 0..=(top / step) as u32 {
        let calls = f64::from(at) * step;
        let y = y(calls);
        let _ = writeln!(svg, r#"<path class="grid" d="M{LEFT} {y:.1}H{RIGHT}"/>"#);
        let _ = writeln!(svg, r#"<text x="{:.1}" y="{:.1}" class="right">{calls}</text>"#, LEFT - 8.0, y + 4.0);
    }
    for n in std::iter::once(0).chain((0..=decades as u32).map(|decade| 10u64.pow(decade))) {
        let x = x(n);
        let _ = writeln!(svg, r#"<path class="axis" d="M{x:.1} {BOTTOM}v5"/>"#);
        let _ = writeln!(svg, r#"<text x="{x:.1}" y="{:.1}" class="middle">{}</text>"#, BOTTOM + 20.0, thousands(n));
    }
    let _ = writeln!(svg, r#"<path class="axis" d="M{LEFT} {BOTTOM}H{RIGHT}"/>"#);
    let middle = (LEFT + RIGHT) / 2.0;
    let _ = writeln!(
        svg,
        r#"<text x="{middle}" y="{}" class="middle">replacements before (logarithmic)</text>"#,
        BOTTOM + 44.0
    );
    let middle = (TOP + BOTTOM) / 2.0;
    let _ = writeln!(
        svg,
        r#"<text transform="translate(18 {middle}) rotate(-90)" class="middle">million calls per second</text>"#
    );
    for (number, series) in drawn.iter().enumerate() {
        let points = rows.of(series).expect("drawn series have rows");
        let mut path = String::new();
        for (n, calls) in points {
            let _ = write!(path, "{}{:.1} {:.1}", if path.is_empty() { "M" } else { "L" }, x(*n), y(*calls));
        }
        if points.len() == 1 {
            // Never replaced: as quick wherever one looks.
            let _ = write!(path, "H{RIGHT}");
        }
        let _ = writeln!(svg, r#"<path class="line s{number}" d="{path}"/>"#);
        for (n, calls) in points.iter().filter(|_| points.len() > 1) {
            let _ = writeln!(svg, r#"<circle class="s{number}" cx="{:.1}" cy="{:.1}" r="3"/>"#, x(*n), y(*calls));
        }
        let (column, line) = (number / 2, number % 2);
        let (at, down) = (LEFT + 262.0 * column as f64, 64.0 + 18.0 * line as f64);
        let _ = writeln!(svg, r#"<path class="line s{number}" d="M{at} {:.1}h26"/>"#, down - 4.0);
        let _ = writeln!(svg, r#"<text x="{:.1}" y="{down}">{}</text>"#, at + 32.0, escape(series.label));
    }
    svg + "</svg>\n"
}

/// The head of the file: colours for a light ground and, where the reader's system is dark, for a dark one.
fn head(drawn: &[&Series]) -> String {
    let colours = |which: usize| {
        let one = |(number, series): (usize, &&Series)| {
            format!(".s{number}{{stroke:{0}}}circle.s{number}{{fill:{0}}}", series.colours[which])
        };
        drawn.iter().enumerate().map(one).collect::<String>()
    };
    let dashes: String = drawn
        .iter()
        .enumerate()
        .filter(|(_, series)| !series.dashes.is_empty())
        .map(|(number, series)| format!("path.s{number}{{stroke-dasharray:{}}}", series.dashes))
        .collect();
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img">
<title>Calls per second of a function, by how often it was replaced</title>
<style>
rect{{fill:#fff}}text{{font:13px system-ui,sans-serif;fill:#1f2328}}.title{{font-size:16px;font-weight:600}}
.right{{text-anchor:end}}.middle{{text-anchor:middle}}.grid{{stroke:#d1d9e0}}.axis{{stroke:#59636e;fill:none}}
.line{{fill:none;stroke-width:2}}{}{dashes}
@media (prefers-color-scheme:dark){{rect{{fill:#0d1117}}text{{fill:#f0f6fc}}.grid{{stroke:#30363d}}.axis{{stroke:#9198a1}}{}}}
</style>
<rect width="100%" height="100%"/>
"#,
        colours(0),
        colours(1)
    )
}

/// The distance of the lines of the grid: 1, 2 or 5 times a power of ten, so that there are at least four.
fn step(most: f64) -> f64 {
    let power = 10f64.powf((most / 4.0).log10().floor());
    [5.0, 2.0, 1.0].map(|factor| factor * power).into_iter().find(|step| most / step >= 4.0).unwrap_or(power)
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_several_runs_is_drawn() {
        let mut rows = Rows::default();
        rows.read("kiln\t0\t100\t90\nkiln\t1000\t50.5\tx\nnothing\t1\nkiln\t1000\t120\t3\n| a | table |\n");
        assert_eq!(rows.of(&SERIES[1]), Some(&BTreeMap::from([(0, 100.0), (1000, 120.0)])));
        let svg = draw(&rows, "a <machine>");
        assert_eq!(svg.matches("<circle").count(), 2);
        assert!(svg.contains("a &lt;machine>") && svg.contains(">1,000<") && !svg.contains("LLVM"));
    }

    #[test]
    fn grids_have_round_numbers() {
        assert_eq!([step(470.0), step(3300.0), step(9.0), step(800.0)], [100.0, 500.0, 2.0, 200.0]);
        assert_eq!([thousands(1), thousands(1000), thousands(1_000_000)], ["1", "1,000", "1,000,000"]);
    }
}
