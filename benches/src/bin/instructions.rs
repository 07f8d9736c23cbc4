//! Does the work of one part of the path again and again, to be counted by callgrind.
//!
//! `instructions` prints the names of the guarded parts, `instructions NAME COUNT` does the work
//! of one. No socket, no thread, no clock: the same binary gives the same count.

#![forbid(unsafe_code)]

use std::hint::black_box;
use std::process::ExitCode;

use benches::paths::{self, Path, Work};

/// The gateway's allocator is part of its path.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Requests before the counting begins: they fill caches and grow buffers.
const WARMUP_COUNT: usize = 100;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            for path in paths::ALL.iter().filter(|path| path.is_guarded) {
                println!("{}", path.name);
            }
            ExitCode::SUCCESS
        }
        [name, count] => {
            let path = paths::ALL.iter().find(|path| path.name == name);
            match (path, count.parse()) {
                (Some(path), Ok(count)) => count_path(path, count),
                _ => complain(),
            }
        }
        _ => complain(),
    }
}

fn complain() -> ExitCode {
    eprintln!("usage: instructions [NAME COUNT]");
    ExitCode::from(2)
}

fn count_path(path: &Path, count: usize) -> ExitCode {
    let mut work = (path.prepare)();
    for _ in 0..WARMUP_COUNT {
        black_box(work());
    }
    for _ in 0..count {
        counted_request(&mut work);
    }
    ExitCode::SUCCESS
}

/// The only function in which callgrind counts, found by its name; so it has to stay one.
#[inline(never)]
fn counted_request(work: &mut Work) {
    // Without the box this would end in a jump, and callgrind would not see the function end.
    black_box(work());
}
