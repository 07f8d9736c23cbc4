//! Threads for what blocks: name resolution, files, password hashes.

use std::{sync::OnceLock, thread};

use futures_channel::oneshot;

/// Threads of the pool: waiting work, not computing work, so more than there are cores.
const THREAD_COUNT: usize = 4;

/// Jobs that may wait for a thread; beyond it [`run`] refuses.
const QUEUE_COUNT_MAX: usize = 1024;

/// Stack of a pool thread.
const STACK_SIZE: usize = 512 * 1024;

type Job = Box<dyn FnOnce() + Send>;

/// Why a blocking job gave no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many jobs wait already (answer 503).
    Full,
    /// The job panicked.
    Panicked,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refused::Full => "too much blocking work is waiting",
            Refused::Panicked => "the blocking job failed inside",
        })
    }
}

impl std::error::Error for Refused {}

/// Runs `job` on a thread of the pool and waits for its value without blocking the shard.
///
/// # Errors
///
/// [`Refused::Full`] when the queue's bound is met, [`Refused::Panicked`] when `job` panicked.
pub async fn run<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    let (sender, receiver) = oneshot::channel();
    let job: Job = Box::new(move || {
        let _ = sender.send(job());
    });
    queue().try_send(job).map_err(|_| Refused::Full)?;
    receiver.await.map_err(|_| Refused::Panicked)
}

fn queue() -> &'static async_channel::Sender<Job> {
    static QUEUE: OnceLock<async_channel::Sender<Job>> = OnceLock::new();
    QUEUE.get_or_init(|| {
        let (sender, receiver) = async_channel::bounded::<Job>(QUEUE_COUNT_MAX);
        for index in 0..THREAD_COUNT {
            let receiver = receiver.clone();
            let builder = thread::Builder::new().name(format!("blocking-{index}"));
            let spawned = builder.stack_size(STACK_SIZE).spawn(move || work(&receiver));
            // A pool with fewer threads still serves; with none, every job waits and is refused.
            drop(spawned);
        }
        sender
    })
}

fn work(jobs: &async_channel::Receiver<Job>) {
    while let Ok(job) = jobs.recv_blocking() {
        // A panic drops the job's sender, which its waiter sees; the thread goes on.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
    }
}
