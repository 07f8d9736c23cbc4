//! The numbers that the project promises, and whether a run kept them.

use std::fmt;

use crate::suite::{CONNECTION_RSS, FIRST_ANSWER, IDLE_RSS, Results, Row};

/// Concurrencies at which the ratios have to hold; at one the machine mostly sleeps and wakes.
const CONCURRENCIES: [usize; 2] = [32, 200];
/// tools/list against nginx serving the same bytes as a file.
const LIST_RATIO_MAX: f64 = 1.0;
/// tools/call against nginx as a proxy to the same upstream.
const CALL_RATIO_MAX: f64 = 0.8;
/// tools/call with the most tools against that with the fewest.
const SCALE_RATIO_MAX: f64 = 1.1;
/// Figures by name, with the most that each may be.
const FIGURE_MAX: [(&str, f64); 3] =
    [(IDLE_RSS, 20.0), (CONNECTION_RSS, 2.0), (FIRST_ANSWER, 100.0)];

/// One promise and what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What is promised.
    pub name: String,
    /// What was measured.
    pub measured: f64,
    /// The most it may be.
    pub limit: f64,
    /// Of what.
    pub unit: &'static str,
}

impl Bar {
    /// Whether the promise was kept.
    pub fn is_kept(&self) -> bool {
        self.measured <= self.limit
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_kept() { "pass" } else { "miss" };
        let Bar { name, measured, limit, unit } = self;
        write!(formatter, "{verdict}  {name}: {measured:.2} {unit} (at most {limit} {unit})")
    }
}

/// Compares a run with the promises; what was not measured gives no bar.
pub fn check(results: &Results) -> Vec<Bar> {
    let ratios = results.rows.iter().filter_map(ratio_bar);
    let errors = results.rows.iter().filter(|row| row.sample.error_count > 0).map(|row| Bar {
        name: format!("errors of {} in {}, c={}", row.server, row.case, row.concurrency),
        measured: row.sample.error_count as f64,
        limit: 0.0,
        unit: "",
    });
    let figures = results.figures.iter().filter(|figure| figure.server == "ringway");
    let figures = figures.filter_map(|figure| {
        let (_, limit) = FIGURE_MAX.iter().find(|(name, _)| *name == figure.name)?;
        let name = figure.name.to_owned();
        Some(Bar { name, measured: figure.value, limit: *limit, unit: figure.unit })
    });
    ratios.chain(figures).chain(errors).collect()
}

fn ratio_bar(row: &Row) -> Option<Bar> {
    if !CONCURRENCIES.contains(&row.concurrency) {
        return None;
    }
    let is_scale = row.case.ends_with("many tools");
    let (limit, base) = match row.server.as_str() {
        "ringway" if row.case.starts_with("tools/list") => (LIST_RATIO_MAX, "nginx static"),
        "ringway" if row.case.starts_with("tools/call") => (CALL_RATIO_MAX, "nginx proxy_pass"),
        "ringway, 20000 tools" if is_scale && row.case.starts_with("tools/call") => {
            (SCALE_RATIO_MAX, "10 tools")
        }
        _ => return None,
    };
    Some(Bar {
        name: format!("{}, c={}, {} to {base}", row.case, row.concurrency, row.server),
        measured: row.cpu_ratio,
        limit,
        unit: "x",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{Figure, Sample};

    fn row(case: &str, server: &str, concurrency: usize, cpu_ratio: f64) -> Row {
        let sample = Sample {
            rate: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            error_count: 0,
            cpu_us: 1.0,
            rss_peak_mib: 1.0,
        };
        let (case, server) = (case.to_owned(), server.to_owned());
        Row { case, server, concurrency, answer_size: 1, sample, cpu_ratio }
    }

    fn verdicts(results: &Results) -> Vec<String> {
        let first_words = |bar: &Bar| bar.to_string()[..4].to_owned();
        check(results).iter().map(first_words).collect()
    }

    #[test]
    fn a_ratio_is_promised_where_the_machine_is_busy() {
        let rows = vec![
            row("tools/list on /rpc", "ringway", 32, 1.0),
            row("tools/call on /rpc", "ringway", 200, 0.81),
            row("tools/call on /rpc", "ringway", 1, 9.0),
            row("tools/call on /rpc", "nginx", 32, 1.0),
            row("health", "ringway", 32, 9.0),
        ];
        let results = Results { rows, figures: Vec::new() };
        assert_eq!(verdicts(&results), ["pass", "miss"]);
    }

    #[test]
    fn the_call_with_most_tools_is_compared_with_the_one_with_fewest() {
        let case = "tools/call on /rpc, many tools";
        let rows = vec![
            row(case, "ringway, 10 tools", 32, 1.0),
            row(case, "ringway, 1000 tools", 32, 9.0),
            row(case, "ringway, 20000 tools", 32, 1.11),
        ];
        assert_eq!(verdicts(&Results { rows, figures: Vec::new() }), ["miss"]);
    }

    #[test]
    fn figures_are_promised_for_the_gateway_only() {
        let figure = |server, value| Figure { name: CONNECTION_RSS, server, value, unit: "KiB" };
        let figures = vec![figure("nginx", 9.0), figure("ringway", 0.7)];
        assert_eq!(verdicts(&Results { rows: Vec::new(), figures }), ["pass"]);
    }

    #[test]
    fn an_error_is_a_miss_of_its_own() {
        let mut broken = row("health", "nginx", 1, 1.0);
        broken.sample.error_count = 1;
        assert_eq!(verdicts(&Results { rows: vec![broken], figures: Vec::new() }), ["miss"]);
    }
}
