//! The gateway's side of the filters of jq: one worker for each shard, started when it is first
//! needed, ended when a program takes too long, and started anew after that.

use std::{cell::RefCell, ffi::OsString, pin::pin, process::Command, rc::Rc, time::Duration};

use shards::{
    child::{self, Child, Input, Output},
    local::Turns,
    mailbox::oneshot,
    task, time,
};

use super::jq::{Job, READY};

/// Most calls of a shard that wait for its worker.
const WAITING_COUNT_MAX: usize = 256;

/// How long the start of a worker may take.
const START_WITHIN: Duration = Duration::from_secs(5);

/// Most bytes that may come before a worker says that it is ready.
const PREAMBLE_SIZE_MAX: usize = 4096;

/// How a program is run, and for how long.
#[derive(Clone, Debug)]
pub struct FilterLimits {
    /// The program of the worker and its arguments: the gateway itself.
    pub worker: Vec<OsString>,
    /// How long a program may run.
    pub within: Duration,
}

impl FilterLimits {
    /// Programs of at most `within`, run by this very program.
    pub fn new(within: Duration) -> FilterLimits {
        // Not by its name: the file may have been replaced since the gateway started.
        FilterLimits { worker: vec!["/proc/self/exe".into(), "filter-worker".into()], within }
    }
}

/// The filters of one shard.
pub(super) struct Filters {
    limits: FilterLimits,
    turns: Rc<Turns>,
    idle: Rc<RefCell<Option<Worker>>>,
}

/// Why a program gave no output.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FilterError {
    /// Too many wait for their turn.
    Full,
    /// What is wrong with the program, its input or its output.
    Failed(String),
}

struct Worker {
    child: Child,
    input: Input,
    output: Output,
}

impl Filters {
    pub(super) fn new(limits: FilterLimits) -> Filters {
        Filters { limits, turns: Rc::new(Turns::new(1)), idle: Rc::default() }
    }

    /// Returns what `program` makes of `input`, raw JSON; for an empty input it only looks whether
    /// there is anything wrong with the program.
    ///
    /// # Errors
    ///
    /// [`FilterError`]; the worker is ended if time is over.
    pub(super) async fn run(
        &self,
        program: &str,
        input: &str,
        size_max: usize,
        within: Duration,
    ) -> Result<String, FilterError> {
        if self.turns.waiting_count() >= WAITING_COUNT_MAX {
            return Err(FilterError::Full);
        }
        let turn = time::timeout(within, self.turns.take_owned()).await;
        let turn = turn.map_err(|_| FilterError::Full)?;
        let output_size_max = u32::try_from(size_max).unwrap_or(u32::MAX);
        let job = Job { program: program.into(), input: input.into(), output_size_max };
        let (idle, limits) = (self.idle.clone(), self.limits.clone());
        let (sender, receiver) = oneshot::channel();
        // In a task of its own: what was written must be read to its end, also when the caller has
        // gone.
        task::spawn(async move {
            let outcome = hand_over(&idle, &limits, &job, within).await;
            let _ = sender.send(outcome);
            drop(turn);
        });
        let outcome = receiver.await;
        outcome.unwrap_or_else(|_| Err(FilterError::Failed("it failed inside".to_owned())))
    }

    /// Ends the worker.
    pub(super) fn close(&self) {
        self.idle.take();
    }
}

/// Gives a job to the worker that is idle, or to a new one, which is idle after that unless it
/// failed.
async fn hand_over(
    idle: &RefCell<Option<Worker>>,
    limits: &FilterLimits,
    job: &Job,
    within: Duration,
) -> Result<String, FilterError> {
    let kept = idle.take();
    let mut worker = match kept {
        Some(worker) => worker,
        None => Worker::start(limits).await.map_err(FilterError::Failed)?,
    };
    let within = within.min(limits.within);
    let Worker { input, output, child } = &mut worker;
    let outcome = to_its_end(child, within, exchange(input, output, job)).await;
    match outcome {
        Ok((mark, text)) => {
            idle.replace(Some(worker));
            if mark == 0 { Ok(text) } else { Err(FilterError::Failed(text)) }
        }
        Err(error) => Err(FilterError::Failed(error)),
    }
}

/// Awaits what reads and writes the streams of a child, which must not be dropped: when time is
/// over, the child is ended, and they end with it.
async fn to_its_end<T>(
    child: &mut Child,
    within: Duration,
    future: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    let mut future = pin!(future);
    match time::timeout(within, future.as_mut()).await {
        Ok(outcome) => outcome,
        Err(_) => {
            child.kill();
            let _ = future.await;
            Err(format!("it was not done within {within:?}"))
        }
    }
}

impl Worker {
    async fn start(limits: &FilterLimits) -> Result<Worker, String> {
        let (program, arguments) = limits.worker.split_first().ok_or("there is no worker")?;
        let mut command = Command::new(program);
        // A program of jq can read the environment, and ours has secrets.
        command.args(arguments).env_clear().current_dir("/");
        let spawned = child::spawn(command).map_err(|error| format!("no worker: {error}"))?;
        let child::Spawned { mut child, input, mut output, .. } = spawned;
        to_its_end(&mut child, START_WITHIN, wait_until_ready(&mut output)).await?;
        Ok(Worker { child, input, output })
    }
}

async fn wait_until_ready(output: &mut Output) -> Result<(), String> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(READY) {
        let count;
        (count, bytes) = output.read(bytes).await;
        if !matches!(count, Ok(1..)) || bytes.len() > PREAMBLE_SIZE_MAX {
            return Err("its worker did not start".to_owned());
        }
    }
    Ok(())
}

/// Writes a job and reads its answer: its mark and its text.
async fn exchange(
    input: &mut Input,
    output: &mut Output,
    job: &Job,
) -> Result<(u8, String), String> {
    let died = || "it took more memory or stack than it may".to_owned();
    let (written, _) = input.write_all(job.encode()).await;
    written.map_err(|_| died())?;
    let mut bytes = Vec::new();
    loop {
        if let Some((head, text)) = bytes.split_at_checked(5) {
            let size = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if text.len() >= size {
                let text = String::from_utf8(text[..size].to_vec());
                let text = text.map_err(|_| "its output is no text".to_owned())?;
                return Ok((bytes[0], text));
            }
        }
        let count;
        (count, bytes) = output.read(bytes).await;
        if !matches!(count, Ok(1..)) {
            return Err(died());
        }
    }
}
