//! What stored tools cost: memory in a process that serves them, and time at its start.

use std::io;
use std::path::Path;

use super::backend::{self, Backend, Stores};
use super::{READY_WITH_TOOLS, SHARD_COUNT, TOOL_RSS, figure};
use crate::suite::idle::settled_rss;
use crate::suite::measure::median;
use crate::suite::{Results, Settings, Stage};

const BACKENDS: [Backend; 2] = [Backend::Sqlite, Backend::Postgres];
const TOOL_COUNT_FEW: usize = 20;
const TOOL_COUNT_MANY: usize = 20_000;

/// Starts the gateway again and again with few tools stored and with many.
pub fn measure(
    settings: &Settings,
    stores: &Stores,
    folder: &Path,
    results: &mut Results,
) -> io::Result<()> {
    for backend in stores.available(&BACKENDS) {
        eprintln!("memory and start, stores, {}", backend.server());
        let folder = folder.join(backend.folder_name());
        let few = start_with(settings, stores, backend, &folder, TOOL_COUNT_FEW)?;
        let many = start_with(settings, stores, backend, &folder, TOOL_COUNT_MANY)?;
        let per_tool_kib = bytes_per_tool(few.rss, many.rss) / 1024.0;
        results.figures.extend([
            figure(TOOL_RSS, backend, per_tool_kib, "KiB"),
            figure("exec to ready, 20 tools", backend, few.ready_ms, "ms"),
            figure(READY_WITH_TOOLS, backend, many.ready_ms, "ms"),
        ]);
    }
    Ok(())
}

/// A start on stored data.
struct Started {
    /// From exec to the first 200 on /ready, in the median.
    ready_ms: f64,
    /// What was resident after the last start, before any request.
    rss: u64,
}

fn start_with(
    settings: &Settings,
    stores: &Stores,
    backend: Backend,
    folder: &Path,
    tool_count: usize,
) -> io::Result<Started> {
    let folder = folder.join(tool_count.to_string());
    let mut program = stores.program(&settings.program, backend, &folder)?;
    program.set("SHARDS", SHARD_COUNT);
    let stage = Stage::build_with(settings, &program, &folder, tool_count)?;
    let Stage { mut gateway, _upstream, .. } = stage;
    backend::require(&mut gateway, backend)?;
    let mut times_ms = Vec::new();
    for _ in 0..settings.timing.round_count.max(1) {
        let ready_after;
        (gateway, ready_after) = gateway.restart("/ready")?;
        times_ms.push(ready_after.as_secs_f64() * 1000.0);
    }
    let rss = settled_rss(&gateway.pids()?)?;
    // After the memory was read, since it renders a list.
    gateway.first_tool()?;
    Ok(Started { ready_ms: median(&mut times_ms), rss })
}

/// The memory of a tool, from that of a process with few and of one with many.
fn bytes_per_tool(rss_few: u64, rss_many: u64) -> f64 {
    (rss_many as f64 - rss_few as f64) / (TOOL_COUNT_MANY - TOOL_COUNT_FEW) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_takes_its_share_of_what_the_process_grew_by() {
        let grown_by = 4096 * (TOOL_COUNT_MANY - TOOL_COUNT_FEW) as u64;
        assert_eq!(bytes_per_tool(10 << 20, (10 << 20) + grown_by), 4096.0);
        assert_eq!(bytes_per_tool(10 << 20, 10 << 20), 0.0);
    }
}
