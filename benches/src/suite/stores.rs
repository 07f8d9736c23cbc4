//! The measurements of the stores: the registry on each backend, how soon a change is seen, what
//! stored tools cost, and whether the path of a request knows which backend there is.

mod backend;
mod path;
mod registry;
mod stored;
mod visible;

use std::io;
use std::path::Path;

use super::{Figure, Results, Settings};
use backend::{Backend, Stores};

/// The name of the figure that counts writes which a shard of the same pod did not show at once.
pub const OWN_MISSES: &str = "not seen at once on every shard of the pod";
/// The name of the figure that times a change until a second pod shows it.
pub const SECOND_POD_P99: &str = "commit to second pod, p99";
/// The name of the figure that counts the memory of one stored tool.
pub const TOOL_RSS: &str = "RSS per stored tool, 2 shards";
/// The name of the figure that times a start with many tools stored.
pub const READY_WITH_TOOLS: &str = "exec to ready, 20,000 tools";
/// What the names of all cases here end with.
pub const CASE_SUFFIX: &str = ", stores";

type Measure = fn(&Settings, &Stores, &Path, &mut Results) -> io::Result<()>;

/// What is promised is promised for this many shards, however many cores there are.
const SHARD_COUNT: &str = "2";

/// Measures what of this is wanted. What needs a server that is not installed or does not start is
/// left out, and the results say so.
///
/// # Errors
///
/// When a gateway does not start, or answers wrongly.
pub fn measure(settings: &Settings, folder: &Path, results: &mut Results) -> io::Result<()> {
    let parts: [(bool, Measure); 4] = [
        (settings.wants("registry, stores"), registry::measure),
        (settings.wants("visible, stores"), visible::measure),
        (settings.wants("memory, start, stores"), stored::measure),
        (!path::wanted(settings).is_empty(), path::measure),
    ];
    let wanted: Vec<_> = parts.into_iter().filter(|(is_wanted, _)| *is_wanted).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (stores, skipped) = Stores::start(settings, folder);
    results.skipped.extend(skipped);
    for (index, (_, measure)) in wanted.into_iter().enumerate() {
        measure(settings, &stores, &folder.join(index.to_string()), results)?;
    }
    Ok(())
}

fn figure(name: &'static str, backend: Backend, value: f64, unit: &'static str) -> Figure {
    Figure { name, server: backend.server(), value, unit }
}
