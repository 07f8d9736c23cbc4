//! How many calls of a tool run at once, over all shards of a process.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shards::mailbox::oneshot;
use shards::time;

use crate::failure::Failure;
use crate::limits::TURN_WAIT_COUNT_MAX;

/// The turns of every tool that is being called.
pub struct Turns {
    count_max: usize,
    tools: Mutex<HashMap<Arc<str>, Tool>>,
}

#[derive(Default)]
struct Tool {
    running: usize,
    waiting: VecDeque<oneshot::Sender<Turn>>,
}

/// The right to call a tool now. Dropping it gives it to whoever waits the longest.
pub struct Turn {
    turns: Arc<Turns>,
    tool_id: Arc<str>,
}

impl Turns {
    /// Lets `count_max` calls of a tool run at once, at least one.
    pub fn new(count_max: usize) -> Turns {
        Turns { count_max: count_max.max(1), tools: Mutex::default() }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] if none came `within` the time, or too many wait already.
    pub async fn take(
        turns: &Arc<Turns>,
        tool_id: &str,
        within: Duration,
    ) -> Result<Turn, Failure> {
        let turn = match turns.begin(tool_id)? {
            Ok(tool_id) => return Ok(Turn { turns: turns.clone(), tool_id }),
            Err(turn) => turn,
        };
        match time::timeout(within, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(busy(turns.count_max)),
        }
    }

    /// Begins a call at once, or gets in line.
    #[allow(clippy::type_complexity)]
    fn begin(&self, tool_id: &str) -> Result<Result<Arc<str>, oneshot::Receiver<Turn>>, Failure> {
        let mut tools = self.lock();
        let Some((tool_id, _)) = tools.get_key_value(tool_id) else {
            let tool_id: Arc<str> = tool_id.into();
            tools.insert(tool_id.clone(), Tool { running: 1, waiting: VecDeque::new() });
            return Ok(Ok(tool_id));
        };
        let tool_id = tool_id.clone();
        let tool = tools.entry(tool_id.clone()).or_default();
        if tool.running < self.count_max {
            tool.running += 1;
            return Ok(Ok(tool_id));
        }
        tool.waiting.retain(|waiting| !waiting.is_canceled());
        if tool.waiting.len() >= TURN_WAIT_COUNT_MAX {
            return Err(busy(self.count_max));
        }
        let (sender, receiver) = oneshot::channel();
        tool.waiting.push_back(sender);
        Ok(Err(receiver))
    }

    /// Ends a call; gives who is next in line, whose call it then counts as.
    fn end(&self, tool_id: &str) -> Option<oneshot::Sender<Turn>> {
        let mut tools = self.lock();
        let tool = tools.get_mut(tool_id)?;
        if let Some(next) = tool.waiting.pop_front() {
            return Some(next);
        }
        tool.running -= 1;
        if tool.running == 0 {
            tools.remove(tool_id);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Tool>> {
        self.tools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        while let Some(next) = self.turns.end(&self.tool_id) {
            if !next.is_canceled() {
                let (turns, tool_id) = (self.turns.clone(), self.tool_id.clone());
                // Who goes at this very moment gives the turn back by dropping it.
                let _ = next.send(Turn { turns, tool_id });
                return;
            }
        }
    }
}

fn busy(count_max: usize) -> Failure {
    Failure::Busy(format!("{count_max} calls of this tool are running; try again"))
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn take(turns: &Arc<Turns>) -> Turn {
        Turns::take(turns, "t", LONG).now_or_never().expect("there is room").unwrap()
    }

    #[test]
    fn lets_as_many_run_as_may_and_the_next_when_one_ends() {
        let run = async {
            let turns = Arc::new(Turns::new(2));
            let (one, two) = (take(&turns), take(&turns));
            assert!(turns.begin("other").unwrap().is_ok());
            let mut third = Box::pin(Turns::take(&turns, "t", LONG));
            assert!(third.as_mut().now_or_never().is_none());
            drop(one);
            let third = third.await.unwrap();
            assert_eq!(turns.lock()["t"].running, 2);
            drop((two, third));
            assert!(!turns.lock().contains_key("t"));
        };
        shards::runtime::block_on(shards::Driver::Epoll, run).unwrap();
    }

    #[test]
    fn who_gave_up_holds_up_nobody() {
        let run = async {
            let turns = Arc::new(Turns::new(1));
            let one = take(&turns);
            let late = Turns::take(&turns, "t", Duration::from_millis(1)).await;
            assert_eq!(late.err().unwrap().status(), 503);
            let mut next = Box::pin(Turns::take(&turns, "t", LONG));
            assert!(next.as_mut().now_or_never().is_none());
            drop(one);
            drop(next.await.unwrap());
            assert!(turns.lock().is_empty());
        };
        shards::runtime::block_on(shards::Driver::Epoll, run).unwrap();
    }

    #[test]
    fn the_line_is_bounded() {
        let turns = Arc::new(Turns::new(1));
        let _one = take(&turns);
        let line: Vec<_> =
            (0..TURN_WAIT_COUNT_MAX).map(|_| turns.begin("t").unwrap().unwrap_err()).collect();
        assert!(turns.begin("t").is_err());
        drop(line);
        assert!(turns.begin("t").unwrap().is_err());
    }
}
