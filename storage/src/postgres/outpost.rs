//! A thread with a loop of its own, for requests that come from threads without one.
//!
//! Shards never come here: they have their own connections. It is for what happens around them:
//! the start, the command line, tests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use shards::{Driver, mailbox, runtime, task, time};

use super::hub::Hub;
use crate::error::StoreError;

/// Requests that may wait to be started; starting one takes microseconds.
const JOB_COUNT_MAX: usize = 1024;

/// How often the end of the last requests is looked for.
const END_CHECK: Duration = Duration::from_millis(10);

/// What starts a task on the thread that it is run on.
pub(super) type Job = Box<dyn FnOnce() + Send>;

/// The way to the thread, which starts with the first job.
#[derive(Default)]
pub(super) struct Outpost(Mutex<Option<mailbox::Sender<Job>>>);

impl Outpost {
    /// Runs `job` on this shard, or on the thread if this is none.
    pub fn run(&self, hub: &Arc<Hub>, job: Job) -> Result<(), StoreError> {
        if task::is_running() {
            job();
            return Ok(());
        }
        let mut door = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let sender = match &*door {
            Some(sender) => sender.clone(),
            None => door.insert(start(hub.clone())?).clone(),
        };
        drop(door);
        sender.send(job).map_err(|error| match error {
            mailbox::SendError::Full(_) => StoreError::Busy { queue_count_max: JOB_COUNT_MAX },
            mailbox::SendError::Closed(_) => StoreError::Closed,
        })
    }
}

fn start(hub: Arc<Hub>) -> Result<mailbox::Sender<Job>, StoreError> {
    let (sender, jobs) = mailbox::channel(JOB_COUNT_MAX);
    let thread = std::thread::Builder::new().name("postgres".to_owned());
    let spawned = thread.spawn(move || runtime::block_on(Driver::Epoll, work(hub, jobs)));
    spawned.map_err(|error| StoreError::Database {
        doing: "starting a thread",
        reason: error.to_string(),
    })?;
    Ok(sender)
}

/// Starts what comes, until the handle is gone and what it asked for is done.
async fn work(hub: Arc<Hub>, mut jobs: mailbox::Receiver<Job>) {
    while let Some(job) = jobs.next().await {
        job();
    }
    // Each request is bounded, and so is this.
    while hub.is_busy() {
        time::sleep(END_CHECK).await;
    }
}
