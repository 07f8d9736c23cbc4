//! The numbers that the project promises, and whether a run kept them.

use std::fmt;

use crate::suite::{
    CALL_CROWD, CHECK_COST, CONNECTION_RSS, FIRST_ANSWER, Figure, IDLE_RSS, Kind, LIST_CROWD,
    LISTEN_RSS, OWN_MISSES, POLICY, READY_WITH_TOOLS, REST_CALL, Results, Row, SECOND_POD_P99,
    SSE_RSS, STORES, TOKEN_AGAIN, TOKEN_FIRST, TOOL_RSS,
};

/// Concurrencies at which the ratios have to hold; at one the machine mostly sleeps and wakes.
const CONCURRENCIES: [usize; 2] = [32, 200];
/// tools/list against nginx serving the same bytes as a file.
const LIST_RATIO_MAX: f64 = 1.0;
/// tools/call against nginx as a proxy to the same upstream.
const CALL_RATIO_MAX: f64 = 0.8;
/// tools/call where client and upstream speak the stateless revision, and nothing is translated.
const PASS_RATIO_MAX: f64 = 0.7;
/// tools/call with the most tools against that with the fewest.
const SCALE_RATIO_MAX: f64 = 1.1;
/// tools/list and tools/call on PostgreSQL and Redis against those on SQLite.
const STORES_RATIO_MAX: f64 = 1.03;
/// A call of a REST tool against nginx as a proxy to the same service.
const REST_RATIO_MAX: f64 = 1.2;
/// Figures by name, with the most that each may be.
const FIGURE_MAX: [(&str, f64); 15] = [
    (LIST_CROWD, 1.05),
    (CALL_CROWD, 1.05),
    (TOKEN_FIRST, 15.0),
    (TOKEN_AGAIN, 0.3),
    (POLICY, 2.0),
    (CHECK_COST, 2.0),
    (IDLE_RSS, 20.0),
    (CONNECTION_RSS, 2.0),
    (LISTEN_RSS, 6.0),
    (SSE_RSS, 6.0),
    (FIRST_ANSWER, 100.0),
    (OWN_MISSES, 0.0),
    (SECOND_POD_P99, 50.0),
    (TOOL_RSS, 4.0),
    (READY_WITH_TOOLS, 500.0),
];

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
    let figures = results.figures.iter().filter_map(figure_bar);
    ratios.chain(figures).chain(errors).collect()
}

/// What is promised of a figure; the gateway may have several, by its backends.
fn figure_bar(figure: &Figure) -> Option<Bar> {
    let backend = figure.server.strip_prefix("ringway")?;
    let (_, limit) = FIGURE_MAX.iter().find(|(name, _)| *name == figure.name)?;
    let name = format!("{}{backend}", figure.name);
    Some(Bar { name, measured: figure.value, limit: *limit, unit: figure.unit })
}

fn ratio_bar(row: &Row) -> Option<Bar> {
    if !CONCURRENCIES.contains(&row.concurrency) {
        return None;
    }
    let is_scale = row.case.ends_with("many tools");
    let (limit, base) = match row.server.as_str() {
        "ringway" if row.case.starts_with("tools/list") => (LIST_RATIO_MAX, "nginx static"),
        "ringway" if row.case == Kind::CallModern.name() => (PASS_RATIO_MAX, "nginx proxy_pass"),
        "ringway" if row.case.starts_with("tools/call") => (CALL_RATIO_MAX, "nginx proxy_pass"),
        "ringway" if row.case == REST_CALL => (REST_RATIO_MAX, "nginx proxy_pass"),
        "ringway, 20000 tools" if is_scale && row.case.starts_with("tools/call") => {
            (SCALE_RATIO_MAX, "10 tools")
        }
        "ringway, PostgreSQL + Redis" if is_path_on_stores(&row.case) => {
            (STORES_RATIO_MAX, "SQLite")
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

/// Whether a case compares the path of a request between backends.
fn is_path_on_stores(case: &str) -> bool {
    case.starts_with("tools/") && case.ends_with(STORES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::Sample;

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
        let results = Results { rows, ..Results::default() };
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
        assert_eq!(verdicts(&Results { rows, ..Results::default() }), ["miss"]);
    }

    #[test]
    fn figures_are_promised_for_the_gateway_only() {
        let figure = |server, value| Figure { name: CONNECTION_RSS, server, value, unit: "KiB" };
        let figures = vec![figure("nginx", 9.0), figure("ringway", 0.7)];
        assert_eq!(verdicts(&Results { figures, ..Results::default() }), ["pass"]);
    }

    #[test]
    fn the_path_costs_the_same_on_either_backend() {
        let redis = "ringway, PostgreSQL + Redis";
        let rows = vec![
            row("tools/call on /rpc, stores", "ringway, SQLite", 32, 1.0),
            row("tools/call on /rpc, stores", redis, 32, 1.04),
            row("tools/list on /mcp, stores", redis, 32, 1.02),
            row("GET /tools?limit=50, stores", redis, 8, 1.5),
        ];
        assert_eq!(verdicts(&Results { rows, ..Results::default() }), ["miss", "pass"]);
    }

    #[test]
    fn a_figure_is_promised_on_each_backend() {
        let figure = |name, server, value| Figure { name, server, value, unit: "ms" };
        let figures = vec![
            figure(SECOND_POD_P99, "ringway, PostgreSQL", 51.0),
            figure(SECOND_POD_P99, "ringway, PostgreSQL + Redis", 3.0),
            figure("commit to second pod, p50", "ringway, PostgreSQL", 99.0),
            figure(OWN_MISSES, "ringway, SQLite", 0.0),
        ];
        let bars = check(&Results { figures, ..Results::default() });
        let names: Vec<_> = bars.iter().map(|bar| bar.name.as_str()).collect();
        assert_eq!(names[0], "commit to second pod, p99, PostgreSQL");
        let verdicts: Vec<_> = bars.iter().map(Bar::is_kept).collect();
        assert_eq!(verdicts, [false, true, true]);
    }

    #[test]
    fn an_error_is_a_miss_of_its_own() {
        let mut broken = row("health", "nginx", 1, 1.0);
        broken.sample.error_count = 1;
        assert_eq!(verdicts(&Results { rows: vec![broken], ..Results::default() }), ["miss"]);
    }
}
