//! The time of each part of the path of a request: `cargo bench -p benches`.

#![forbid(unsafe_code)]

use benches::paths;
use criterion::{Criterion, criterion_group, criterion_main};

/// The gateway's allocator is part of its path.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn time_all(criterion: &mut Criterion) {
    for path in paths::ALL {
        let mut work = (path.prepare)();
        criterion.bench_function(path.name, |bencher| bencher.iter(&mut work));
    }
}

criterion_group!(all, time_all);
criterion_main!(all);
