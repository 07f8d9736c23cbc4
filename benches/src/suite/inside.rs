//! What parts of the path cost, measured inside this process: no socket, no other thread.

use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

use super::measure::median;
use super::{Figure, Results, Settings};
use crate::account::CpuReading;
use crate::paths::{self, Work};

/// A list with many users against the same with one.
pub const LIST_CROWD: &str = "tools/list, 10,000 users to 1";
/// A call with many users against the same with one.
pub const CALL_CROWD: &str = "tools/call, 10,000 users to 1";
/// A token that was not seen before.
pub const TOKEN_FIRST: &str = "HS256 token at first sight";
/// A token that was.
pub const TOKEN_AGAIN: &str = "HS256 token seen before";
/// A policy of typical size.
pub const POLICY: &str = "policy of typical size";

/// The figures that are a cost, with the part that each is of.
const COSTS: [(&str, &str); 3] =
    [(TOKEN_FIRST, paths::TOKEN_FIRST), (TOKEN_AGAIN, paths::TOKEN_AGAIN), (POLICY, paths::POLICY)];

/// The figures that are a ratio, with the parts that are compared, the base last.
const RATIOS: [(&str, [&str; 2]); 2] = [
    (LIST_CROWD, [paths::LIST_CROWDED, paths::LIST_ALONE]),
    (CALL_CROWD, [paths::CALL_CROWDED, paths::CALL_ALONE]),
];

/// Requests between two looks at the clock.
const BATCH_COUNT: usize = 64;

/// Measures every figure that is wanted.
///
/// # Errors
///
/// When the kernel does not tell the processor time of this process.
pub fn measure(settings: &Settings, results: &mut Results) -> io::Result<()> {
    for (name, part) in COSTS.into_iter().filter(|(name, _)| settings.wants(name)) {
        eprintln!("{name}");
        let [value] = costs(settings, [prepare(part)])?;
        results.figures.push(Figure { name, server: "ringway", value, unit: "µs" });
    }
    for (name, parts) in RATIOS.into_iter().filter(|(name, _)| settings.wants(name)) {
        eprintln!("{name}");
        let [crowded, alone] = costs(settings, parts.map(prepare))?;
        let value = crowded / alone;
        results.figures.push(Figure { name, server: "ringway", value, unit: "x" });
    }
    Ok(())
}

fn prepare(part: &str) -> Work {
    let path = paths::ALL.iter().find(|path| path.name == part);
    (path.expect("every figure is of a part that there is").prepare)()
}

/// The processor time of one request of each work in µs: the median of rounds in which they take
/// turns.
fn costs<const N: usize>(settings: &Settings, mut works: [Work; N]) -> io::Result<[f64; N]> {
    let timing = settings.timing;
    let mut rounds = [const { Vec::new() }; N];
    for _ in 0..timing.round_count {
        for (work, costs_us) in works.iter_mut().zip(&mut rounds) {
            repeat(work, timing.warmup);
            let before = CpuReading::take(&[std::process::id()])?;
            let count = repeat(work, timing.window);
            let spent = CpuReading::take(&[std::process::id()])?.since(&before);
            costs_us.push(spent.as_secs_f64() * 1e6 / count as f64);
        }
    }
    Ok(rounds.map(|mut costs_us| median(&mut costs_us)))
}

/// Does the work for this long, and at least once; gives how often.
fn repeat(work: &mut Work, window: Duration) -> usize {
    let (start, mut count) = (Instant::now(), 0);
    loop {
        for _ in 0..BATCH_COUNT {
            black_box(work());
        }
        count += BATCH_COUNT;
        if start.elapsed() >= window {
            return count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_is_of_a_part_that_there_is() {
        let parts = RATIOS.iter().flat_map(|(_, parts)| parts);
        for part in COSTS.iter().map(|(_, part)| part).chain(parts) {
            assert!(paths::ALL.iter().any(|path| path.name == *part), "{part}");
        }
    }

    #[test]
    fn what_is_measured_of_a_part_is_a_time() {
        let mut results = Results::default();
        let only = vec![TOKEN_AGAIN.to_owned()];
        measure(&Settings { only, ..Settings::for_tests() }, &mut results).expect("/proc is there");
        let [figure] = results.figures.as_slice() else { panic!("{:?}", results.figures) };
        assert!(figure.name == TOKEN_AGAIN && figure.value > 0.0, "{figure:?}");
    }
}
