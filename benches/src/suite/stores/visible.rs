//! How soon a write is seen: on every shard of the pod that answered it, and on another pod.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::backend::{self, Backend, Stores};
use super::{OWN_MISSES, SECOND_POD_P99, SHARD_COUNT, figure};
use crate::account::CpuReading;
use crate::gateway::Gateway;
use crate::histogram::Histogram;
use crate::http::{self, Wire};
use crate::suite::{Results, Settings};

/// How long a change may take to be seen, or an answer to come.
const SEEN_WAIT_MAX: Duration = Duration::from_secs(30);
/// What tells a connection's shard: so many answers cost its thread more than anything else costs
/// another one meanwhile.
const PROBE_COUNT: usize = 200;
/// The kernel chooses the shard of a connection, so several are tried until each has one. After 64
/// for each shard, the chance that a certain one has none is that of 64 misses in a row: e⁻⁶⁴.
const CONNECTIONS_PER_SHARD_MAX: usize = 64;
/// So long that only a notice can be why a change was seen.
const NEVER: &str = "86400";
/// How often the change feed is read where nobody gives a notice, in seconds.
const POLL_INTERVAL: &str = "0.1";
/// The same as a span.
const POLL_SPAN: Duration = Duration::from_millis(100);
/// Multiples of the golden ratio, less their whole part, fall evenly between 0 and 1.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_895;

/// One way in which a second pod learns of a change.
struct Way {
    backend: Backend,
    /// What the address of the database has in addition.
    url_suffix: &'static str,
    poll_interval: &'static str,
    /// The span over which the pauses before the writes spread.
    pause_max: Duration,
    /// The names of the median, of the 99th percentile and of the longest.
    names: [&'static str; 3],
}

const NOTICED: [&str; 3] =
    ["commit to second pod, p50", SECOND_POD_P99, "commit to second pod, max"];

const WAYS: [Way; 3] = [
    Way {
        backend: Backend::Sqlite,
        url_suffix: "",
        poll_interval: POLL_INTERVAL,
        // Else every write would come right after a look.
        pause_max: POLL_SPAN,
        names: [
            "commit to second pod, a look every 100 ms, p50",
            "commit to second pod, a look every 100 ms, p99",
            "commit to second pod, a look every 100 ms, max",
        ],
    },
    Way {
        backend: Backend::Postgres,
        url_suffix: "",
        poll_interval: NEVER,
        pause_max: Duration::ZERO,
        names: NOTICED,
    },
    Way {
        backend: Backend::PostgresRedis,
        // Behind a pooler there is no LISTEN, so that only Redis tells.
        url_suffix: "&pooler=transaction",
        poll_interval: NEVER,
        pause_max: Duration::ZERO,
        names: NOTICED,
    },
];

/// Measures every way whose servers are there.
pub fn measure(
    settings: &Settings,
    stores: &Stores,
    folder: &Path,
    results: &mut Results,
) -> io::Result<()> {
    for way in WAYS {
        if stores.available(&[way.backend]).is_empty() {
            continue;
        }
        eprintln!("commit to visible, stores, {}", way.backend.server());
        measure_way(settings, stores, folder, &way, results)?;
    }
    Ok(())
}

fn measure_way(
    settings: &Settings,
    stores: &Stores,
    folder: &Path,
    way: &Way,
    results: &mut Results,
) -> io::Result<()> {
    let folder = folder.join(way.backend.folder_name());
    let mut program = stores.program(&settings.program, way.backend, &folder)?;
    program.set("SHARDS", SHARD_COUNT);
    program.set("CHANGE_POLL_INTERVAL", way.poll_interval);
    program.extend("DATABASE_URL", way.url_suffix);
    let mut writer = Gateway::start(&program, &folder.join("writer"))?;
    let mut second = Gateway::start(&program, &folder.join("second"))?;
    for gateway in [&mut writer, &mut second] {
        backend::require(gateway, way.backend)?;
    }
    let count = settings.sample_count;
    let own = watch(&writer, &writer, "own", count, Duration::ZERO)?;
    results.figures.push(figure(OWN_MISSES, way.backend, own.miss_count as f64, "writes"));
    let other = watch(&writer, &second, "second", count, way.pause_max)?;
    for (name, quantile) in way.names.into_iter().zip([0.5, 0.99, 1.0]) {
        let value = other.delays.quantile(quantile).as_secs_f64() * 1000.0;
        results.figures.push(figure(name, way.backend, value, "ms"));
    }
    Ok(())
}

/// What some writes found.
#[derive(Default)]
struct Sightings {
    /// From the answer of the write to the answer that showed it on the last of the shards.
    delays: Histogram,
    /// Writes that at least one answer did not show.
    miss_count: usize,
}

/// Makes `count` virtual servers on one gateway, and asks for each on every shard of another
/// without a pause until all show it.
fn watch(
    writer: &Gateway,
    reader: &Gateway,
    name: &str,
    count: usize,
    pause_max: Duration,
) -> io::Result<Sightings> {
    let mut shards = on_every_shard(reader)?;
    let mut wire = Wire::open(writer.address(), SEEN_WAIT_MAX)?;
    let mut sightings = Sightings::default();
    for number in 0..count {
        std::thread::sleep(pause_before(number, pause_max));
        let body = json!({"server": {"name": format!("bench-{name}-{number}")}}).to_string();
        let written = wire.ask(&writer.message("/servers", &[], &body))?;
        let committed_at = Instant::now();
        let id = made_id(&written)?;
        let request = reader.plain("GET", &server_path(&id));
        let mut miss_count = 0;
        for shard in &mut shards {
            miss_count += misses_until_seen(shard, &request, committed_at)?;
        }
        sightings.delays.record(committed_at.elapsed());
        sightings.miss_count += usize::from(miss_count > 0);
    }
    Ok(sightings)
}

/// The pause before the write with a number.
fn pause_before(number: usize, pause_max: Duration) -> Duration {
    pause_max.mul_f64((number as f64 * GOLDEN_RATIO).fract())
}

/// Asks on one connection until the answer is 200; gives how many were 404 before.
fn misses_until_seen(wire: &mut Wire, request: &[u8], since: Instant) -> io::Result<usize> {
    let mut miss_count = 0;
    loop {
        match wire.ask(request)?.status {
            200 => return Ok(miss_count),
            404 if since.elapsed() < SEEN_WAIT_MAX => miss_count += 1,
            status => {
                let text =
                    format!("a write was not seen, but {status} after {:?}", since.elapsed());
                return Err(io::Error::other(text));
            }
        }
    }
}

fn made_id(answer: &http::Answer) -> io::Result<String> {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let id = body["id"].as_str().filter(|_| answer.status == 201);
    id.map(str::to_owned).ok_or_else(|| {
        io::Error::other(format!("POST /servers answered {}: {body}", answer.status))
    })
}

/// The path of a virtual server.
pub fn server_path(id: &str) -> String {
    format!("/servers/{id}")
}

/// Opens connections until there is one to every shard, and keeps those: the thread that worked
/// for a connection tells the shard that has it.
fn on_every_shard(gateway: &Gateway) -> io::Result<Vec<Wire>> {
    let about = gateway.get("/version")?;
    let shard_count = about["platform"]["shards"].as_u64().unwrap_or(0) as usize;
    let pids = gateway.pids()?;
    let probe = http::request("GET", "/health", gateway.address(), &[], "");
    let mut threads = BTreeSet::new();
    let mut wires = Vec::new();
    for _ in 0..shard_count * CONNECTIONS_PER_SHARD_MAX {
        let mut wire = Wire::open(gateway.address(), SEEN_WAIT_MAX)?;
        let before = CpuReading::take(&pids)?;
        for _ in 0..PROBE_COUNT {
            wire.ask(&probe)?;
        }
        let thread = CpuReading::take(&pids)?.busiest_since(&before);
        if thread.is_some_and(|thread| threads.insert(thread)) {
            wires.push(wire);
        }
        if wires.len() == shard_count {
            return Ok(wires);
        }
    }
    let text = format!("connections reached {} shards of {shard_count}", wires.len());
    Err(io::Error::other(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pauses_spread_over_the_whole_span() {
        let pauses = (0..200).map(|number| pause_before(number, POLL_SPAN).as_millis() / 10);
        let tenths: Vec<_> = pauses.collect();
        for tenth in 0..10 {
            let count = tenths.iter().filter(|other| **other == tenth).count();
            assert!((18..=22).contains(&count), "{count} in tenth {tenth}");
        }
        assert_eq!(pause_before(7, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn only_a_server_that_was_made_has_an_id() {
        let answer = |status, body: &str| http::Answer {
            status,
            head: Vec::new(),
            body: body.as_bytes().to_vec(),
        };
        assert_eq!(made_id(&answer(201, r#"{"id":"x"}"#)).expect("was made"), "x");
        let error = made_id(&answer(409, r#"{"detail":"taken"}"#)).expect_err("was not");
        assert!(error.to_string().contains("409: {\"detail\":\"taken\"}"), "{error}");
    }
}
