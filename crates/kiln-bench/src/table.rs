//! Samples and the Markdown rows made of them.

use std::time::Duration;

/// Wall times of one way to do something.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The shortest.
    pub fn min(&self) -> Option<Duration> {
        self.0.iter().min().copied()
    }

    /// The middle one, the later of two.
    pub fn median(&self) -> Option<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get(sorted.len() / 2).copied()
    }
}

/// Milliseconds with three significant digits.
pub fn ms(time: Option<Duration>) -> String {
    let Some(time) = time else { return "-".to_owned() };
    number(time.as_secs_f64() * 1e3)
}

/// A number with about three significant digits.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

/// One row of a Markdown table.
pub fn row(cells: &[impl AsRef<str>]) -> String {
    let mut line = String::from("|");
    for cell in cells {
        line += " ";
        line += cell.as_ref();
        line += " |";
    }
    line
}

/// The head of a Markdown table: the first column is text, the others are numbers.
pub fn head(cells: &[&str]) -> String {
    let mut rule = String::from("| --- |");
    for _ in 1..cells.len() {
        rule += " ---: |";
    }
    format!("{}\n{rule}", row(cells))
}

/// The processor this runs on, as `/proc/cpuinfo` names it, with the number of threads.
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{}, {threads} threads", model.map_or("unknown processor", |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_of_two_is_the_later() {
        let mut samples = Samples::default();
        samples.push(Duration::from_millis(1));
        samples.push(Duration::from_millis(3));
        assert_eq!(samples.min(), Some(Duration::from_millis(1)));
        assert_eq!(samples.median(), Some(Duration::from_millis(3)));
    }

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(number(1234.6), "1235");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(0.0123), "0.012");
    }

    #[test]
    fn head_and_rows_line_up() {
        assert_eq!(head(&["way", "ms"]), "| way | ms |\n| --- | ---: |");
        assert_eq!(row(&["a", "1"]), "| a | 1 |");
    }
}
