//! A run as a table, as CSV, and in the page of the documentation.

use std::fmt::Write;

use crate::bars::Bar;
use crate::suite::{Results, Row};

/// The line of the page after which the measured table begins.
const BEGIN: &str = "<!-- bench:begin -->";
/// The line of the page before which it ends.
const END: &str = "<!-- bench:end -->";

/// Writes the run as Markdown tables, which a terminal shows as well.
pub fn markdown(results: &Results, bars: &[Bar], host: &str) -> String {
    let mut text = format!("{host}\n\n{}", table(&results.rows));
    text.push_str("\n| figure | server | value |\n|---|---|--:|\n");
    for figure in &results.figures {
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} {} |",
            figure.name, figure.server, figure.value, figure.unit
        );
    }
    text.push_str("\n```text\n");
    for line in &results.skipped {
        let _ = writeln!(text, "{line}");
    }
    for bar in bars {
        let _ = writeln!(text, "{bar}");
    }
    text.push_str("```\n");
    text
}

/// Writes the cases as a Markdown table.
pub fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| case | c | server | requests/s | p50 µs | p99 µs | errors | CPU µs/request | ratio \
         | peak RSS MiB | answer bytes |\n|---|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let sample = row.sample;
        let _ = writeln!(
            text,
            "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {} | {:.2} | {:.2} | {:.1} | {} |",
            row.case,
            row.concurrency,
            row.server,
            sample.rate,
            sample.p50_us,
            sample.p99_us,
            sample.error_count,
            sample.cpu_us,
            row.cpu_ratio,
            sample.rss_peak_mib,
            row.answer_size,
        );
    }
    text
}

/// Writes the run as CSV, one line for each case, concurrency and server, and for each figure.
pub fn csv(results: &Results) -> String {
    let mut text = String::from(
        "case,concurrency,server,requests_per_s,p50_us,p99_us,errors,cpu_us_per_request,\
         cpu_ratio,rss_peak_mib,answer_bytes,value,unit\n",
    );
    for row in &results.rows {
        let sample = row.sample;
        let _ = writeln!(
            text,
            "{},{},{},{:.1},{:.1},{:.1},{},{:.3},{:.4},{:.2},{},,",
            quoted(&row.case),
            row.concurrency,
            quoted(&row.server),
            sample.rate,
            sample.p50_us,
            sample.p99_us,
            sample.error_count,
            sample.cpu_us,
            row.cpu_ratio,
            sample.rss_peak_mib,
            row.answer_size,
        );
    }
    for figure in &results.figures {
        let _ = writeln!(
            text,
            "{},,{},,,,,,,,,{:.3},{}",
            quoted(figure.name),
            quoted(figure.server),
            figure.value,
            figure.unit
        );
    }
    text
}

fn quoted(text: &str) -> String {
    if text.contains(',') { format!("\"{text}\"") } else { text.to_owned() }
}

/// Puts the tables between the marks of a page; `None` when the page has no marks.
pub fn fill(page: &str, tables: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{tables}\n{END}{after}"))
}

/// Says on what the run was made: processor, cores, kernel.
pub fn host() -> String {
    let cpu_info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu_info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let core_count = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {core_count} cores, Linux {}.", kernel.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::{Figure, Sample};

    fn results() -> Results {
        let sample = Sample {
            rate: 1000.4,
            p50_us: 10.0,
            p99_us: 20.0,
            error_count: 0,
            cpu_us: 7.125,
            rss_peak_mib: 11.5,
        };
        let row = Row {
            case: "tools/call on /mcp, legacy".into(),
            server: "ringway".into(),
            concurrency: 32,
            answer_size: 180,
            sample,
            cpu_ratio: 0.5,
        };
        let figure =
            Figure { name: "idle RSS, 20 tools", server: "ringway", value: 9.5, unit: "MiB" };
        Results { rows: vec![row], figures: vec![figure], skipped: vec!["skipped: x".into()] }
    }

    #[test]
    fn every_line_of_the_csv_has_as_many_cells_as_its_header() {
        let text = csv(&results());
        let cells =
            |line: &str| line.split('"').step_by(2).map(|part| part.matches(',').count()).sum();
        let counts: Vec<usize> = text.lines().map(cells).collect();
        assert_eq!(counts, [12, 12, 12]);
        assert!(
            text.contains("\"tools/call on /mcp, legacy\",32,ringway,1000.4,10.0,20.0,0,7.125")
        );
    }

    #[test]
    fn the_table_has_the_numbers_and_the_verdicts() {
        let bar = Bar { name: "start".into(), measured: 40.0, limit: 100.0, unit: "ms" };
        let text = markdown(&results(), &[bar], "A host.");
        assert!(text.contains("| 32 | ringway | 1000 | 10 | 20 | 0 | 7.12 | 0.50 | 11.5 | 180 |"));
        assert!(text.contains("pass  start: 40.00 ms (at most 100 ms)"), "{text}");
        assert!(text.contains("```text\nskipped: x\n"), "{text}");
    }

    #[test]
    fn fills_a_page_between_its_marks_and_again_over_it() {
        let page = format!("above\n{BEGIN}\n{END}\nbelow\n");
        let once = fill(&page, "table").expect("has marks");
        assert_eq!(once, format!("above\n{BEGIN}\n\ntable\n{END}\nbelow\n"));
        assert_eq!(fill(&once, "table"), Some(once.clone()));
        assert_eq!(fill("no marks", "table"), None);
    }
}
