//! Starting shards: one pinned thread per core, each building its own ring.

use std::{future::Future, io, thread};

use monoio::time::TimeDriver;

use crate::{
    cores,
    driver::{self, Driver},
    task,
};

/// Entries of a shard's submission queue.
const RING_ENTRIES: u32 = 1024;

/// Stack of a shard's thread: JSON recursion is bounded by the guard, not by this.
const STACK_SIZE: usize = 2 * 1024 * 1024;

/// The threads of the running shards.
pub struct Shards(Vec<thread::JoinHandle<io::Result<()>>>);

/// Starts one shard per entry of `cores`, each running `main(index)` to its end.
///
/// # Errors
///
/// What the system answered when a thread could not be started.
pub fn start<M, F>(cores: &[usize], driver: Driver, main: M) -> io::Result<Shards>
where
    M: Fn(usize) -> F + Send + Clone + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut threads = Vec::with_capacity(cores.len());
    for (index, core) in cores.iter().copied().enumerate() {
        let main = main.clone();
        let run = move || {
            cores::pin(core);
            block_on(driver, async move { main(index).await })
        };
        let name = format!("shard-{index}");
        threads.push(thread::Builder::new().name(name).stack_size(STACK_SIZE).spawn(run)?);
    }
    Ok(Shards(threads))
}

impl Shards {
    /// Waits for every shard to end.
    ///
    /// # Errors
    ///
    /// The first shard's error, or that it panicked.
    pub fn join(self) -> io::Result<()> {
        let mut outcome = Ok(());
        for thread in self.0 {
            let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a shard panicked")));
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// Runs `future` to its end on a ring of its own on the calling thread.
///
/// # Errors
///
/// What the kernel answered when the ring was opened.
pub fn block_on<F: Future + 'static>(driver: Driver, future: F) -> io::Result<F::Output> {
    let future = task::main(future);
    match driver {
        Driver::UringDeferred => uring(driver::deferred_flags(), future),
        Driver::UringPlain => uring(io_uring::IoUring::builder(), future),
        Driver::Epoll => {
            let builder = monoio::RuntimeBuilder::<TimeDriver<monoio::LegacyDriver>>::new();
            Ok(builder.build()?.block_on(future))
        }
    }
}

fn uring<F: Future + 'static>(flags: io_uring::Builder, future: F) -> io::Result<F::Output> {
    let builder = monoio::RuntimeBuilder::<TimeDriver<monoio::IoUringDriver>>::new();
    let mut runtime = builder.with_entries(RING_ENTRIES).uring_builder(flags).build()?;
    Ok(runtime.block_on(future))
}
