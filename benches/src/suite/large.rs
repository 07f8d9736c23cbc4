//! A registry of 100,000 tools: memory, start, a page of the REST list, a list, a call.

use std::fs;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::idle::settled_rss;
use super::measure::{Contender, rounds};
use super::{Figure, Kind, Results, Settings, Stage, start_upstream};

/// The name of the figure that counts resident memory with all of them, before any request.
pub const LARGE_RSS: &str = "idle RSS, 100,000 tools";
/// The name of the figure that times a start with all of them.
pub const LARGE_FIRST_ANSWER: &str = "exec to first 200, 100,000 tools";

const NAME: &str = "100,000 tools";
const UPSTREAM_COUNT: usize = 5;
/// As many tools as one upstream may have.
const UPSTREAM_TOOL_COUNT: usize = 20_000;
/// A page of the list.
const PAGE: &str = "/tools?limit=50";
const PAGE_TOOL_COUNTS: [usize; 2] = [100, 20_000];
const CONCURRENCY: usize = 32;

/// Measures what a large registry costs.
///
/// # Errors
///
/// When a gateway does not start, or answers wrongly.
pub fn measure(settings: &Settings, folder: &Path, results: &mut Results) -> io::Result<()> {
    if settings.wants(PAGE) {
        measure_page(settings, folder, results)?;
    }
    if !settings.wants(NAME) {
        return Ok(());
    }
    let folder = folder.join("all");
    let stage = Stage::build(settings, &folder, UPSTREAM_TOOL_COUNT)?;
    let mut others = Vec::new();
    for number in 1..UPSTREAM_COUNT {
        let folder = folder.join(number.to_string());
        fs::create_dir_all(&folder)?;
        let (upstream, address) = start_upstream(settings, &folder, UPSTREAM_TOOL_COUNT)?;
        stage.gateway.register(&format!("bench {number}"), address)?;
        others.push(upstream);
    }
    let Stage { gateway, upstream_address, _upstream } = stage;
    let (gateway, first_answer_after) = gateway.restart("/health")?;
    let rss = settled_rss(&gateway.pids()?)? as f64 / f64::from(1 << 20);
    let start = first_answer_after.as_secs_f64() * 1000.0;
    results.figures.extend([
        Figure { name: LARGE_FIRST_ANSWER, server: "ringway", value: start, unit: "ms" },
        Figure { name: LARGE_RSS, server: "ringway", value: rss, unit: "MiB" },
    ]);
    let stage = Stage { gateway, upstream_address, _upstream };
    for kind in [Kind::ListRpc, Kind::CallRpc] {
        let case = format!("{}, {NAME}", kind.name());
        eprintln!("{case}, c={CONCURRENCY}");
        let contenders = [stage.contender(kind, format!("ringway, {NAME}"))?];
        results.rows.extend(rounds(settings.timing, &case, &contenders, 0, CONCURRENCY)?);
    }
    Ok(())
}

/// A page of the REST list must not cost more when there are more tools behind it.
fn measure_page(settings: &Settings, folder: &Path, results: &mut Results) -> io::Result<()> {
    let mut stages = Vec::new();
    for count in PAGE_TOOL_COUNTS {
        stages.push((count, Stage::build(settings, &folder.join(count.to_string()), count)?));
    }
    let mut contenders = Vec::new();
    for (count, stage) in &stages {
        let gateway = &stage.gateway;
        let request = gateway.plain("GET", PAGE);
        let (name, pids) = (format!("ringway, {count} tools"), gateway.pids()?);
        let address = gateway.address();
        contenders.push(Contender::checked(PAGE, name, address, request, pids, &refuse)?);
    }
    let case = format!("GET {PAGE}, many tools");
    eprintln!("{case}, c={CONCURRENCY}");
    results.rows.extend(rounds(settings.timing, &case, &contenders, 0, CONCURRENCY)?);
    Ok(())
}

fn refuse(body: &[u8]) -> Option<&'static str> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    (body.as_array().map(Vec::len) != Some(50)).then_some("is no full page")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_full_or_refused() {
        let page = Value::Array(vec![Value::Null; 50]).to_string();
        assert_eq!(refuse(page.as_bytes()), None);
        assert!(refuse(b"[]").is_some() && refuse(b"{}").is_some());
    }
}
