//! What a process costs: processor time and memory, as the kernel counts them in /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

/// The processor time of every thread of some processes at one moment.
///
/// Taken from `schedstat`, which counts nanoseconds where `stat` counts ticks of 10 ms. The work
/// that the kernel does for a thread, TCP included, is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuReading {
    thread_ns: BTreeMap<(u32, u32), u64>,
}

impl CpuReading {
    /// Reads the clock of every thread of the processes.
    ///
    /// # Errors
    ///
    /// When a process is gone or /proc is not mounted.
    pub fn take(pids: &[u32]) -> io::Result<CpuReading> {
        let mut reading = CpuReading::default();
        for pid in pids {
            for thread in numbers_in(Path::new(&format!("/proc/{pid}/task")))? {
                // A thread may end between the listing and the reading.
                let path = format!("/proc/{pid}/task/{thread}/schedstat");
                let Ok(text) = fs::read_to_string(path) else { continue };
                let run_ns = text.split_whitespace().next().and_then(|word| word.parse().ok());
                reading.thread_ns.insert((*pid, thread), run_ns.unwrap_or(0));
            }
        }
        Ok(reading)
    }

    /// The processor time spent since an earlier reading of the same processes.
    pub fn since(&self, earlier: &CpuReading) -> Duration {
        Duration::from_nanos(self.spent_ns(earlier).map(|(_, spent_ns)| spent_ns).sum())
    }

    /// The thread, as process and thread id, that worked most since an earlier reading; `None`
    /// when none did.
    pub fn busiest_since(&self, earlier: &CpuReading) -> Option<(u32, u32)> {
        let busiest = self.spent_ns(earlier).max_by_key(|(_, spent_ns)| *spent_ns);
        busiest.filter(|(_, spent_ns)| *spent_ns > 0).map(|(thread, _)| thread)
    }

    fn spent_ns(&self, earlier: &CpuReading) -> impl Iterator<Item = ((u32, u32), u64)> {
        self.thread_ns.iter().map(|(thread, now_ns)| {
            let before_ns = earlier.thread_ns.get(thread).copied().unwrap_or(0);
            (*thread, now_ns.saturating_sub(before_ns))
        })
    }
}

/// Memory of some processes, in bytes. Pages that they share are counted once for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// What is resident now.
    pub rss: u64,
    /// The most that was resident since [`forget_peak`].
    pub rss_peak: u64,
}

impl Memory {
    /// Reads the memory of the processes.
    ///
    /// # Errors
    ///
    /// When a process is gone.
    pub fn take(pids: &[u32]) -> io::Result<Memory> {
        let mut memory = Memory::default();
        for pid in pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            memory.rss += field_kib(&status, "VmRSS:") * 1024;
            memory.rss_peak += field_kib(&status, "VmHWM:") * 1024;
        }
        Ok(memory)
    }
}

fn field_kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Lets the peak of the processes begin again at what is resident now, where the kernel allows it.
pub fn forget_peak(pids: &[u32]) {
    for pid in pids {
        // A kernel without this keeps the older, higher peak: never a flattering one.
        let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
    }
}

/// Gives a process and all that it and its children started.
///
/// # Errors
///
/// When /proc is not mounted.
pub fn family(pid: u32) -> io::Result<Vec<u32>> {
    let parents: Vec<(u32, u32)> = numbers_in(Path::new("/proc"))?
        .into_iter()
        .filter_map(|other| Some((other, parent_of(other)?)))
        .collect();
    let mut members = BTreeSet::from([pid]);
    loop {
        let found: Vec<u32> = parents
            .iter()
            .filter(|(other, parent)| members.contains(parent) && !members.contains(other))
            .map(|(other, _)| *other)
            .collect();
        if found.is_empty() {
            return Ok(members.into_iter().collect());
        }
        members.extend(found);
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program stands in parentheses and may hold anything, parentheses too.
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

fn numbers_in(folder: &Path) -> io::Result<Vec<u32>> {
    let entries = fs::read_dir(folder)?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Instant;

    use super::*;

    #[test]
    fn counts_the_time_that_a_busy_thread_spends() {
        let me = [std::process::id()];
        let before = CpuReading::take(&me).expect("reads");
        let started_at = Instant::now();
        let spent = loop {
            let spent = CpuReading::take(&me).expect("reads").since(&before);
            if spent > Duration::ZERO || started_at.elapsed() > Duration::from_secs(20) {
                break spent;
            }
        };
        assert!(spent > Duration::ZERO);
        assert_eq!(before.since(&before), Duration::ZERO);
    }

    #[test]
    fn a_thread_that_came_later_counts_from_its_start() {
        let earlier = CpuReading { thread_ns: BTreeMap::from([((1, 1), 100)]) };
        let later = CpuReading { thread_ns: BTreeMap::from([((1, 1), 150), ((1, 2), 7)]) };
        assert_eq!(later.since(&earlier), Duration::from_nanos(57));
    }

    #[test]
    fn names_the_thread_that_worked_most() {
        let earlier = CpuReading { thread_ns: BTreeMap::from([((1, 1), 100), ((1, 2), 1)]) };
        let later = CpuReading { thread_ns: BTreeMap::from([((1, 1), 150), ((1, 2), 70)]) };
        assert_eq!(later.busiest_since(&earlier), Some((1, 2)));
        assert_eq!(later.busiest_since(&later), None);
    }

    #[test]
    fn knows_the_memory_of_a_process() {
        let memory = Memory::take(&[std::process::id()]).expect("reads");
        assert!(memory.rss > 0);
        assert!(memory.rss_peak >= memory.rss);
    }

    #[test]
    fn a_child_belongs_to_the_family() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("starts");
        let family = family(std::process::id()).expect("reads");
        child.kill().expect("ends");
        child.wait().expect("ended");
        assert!(family.contains(&child.id()));
        assert!(family.contains(&std::process::id()));
        assert!(!family.contains(&1));
    }
}
