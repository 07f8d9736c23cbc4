//! Which cores this process may use: its affinity mask, cut down to its cgroup CPU quota.

use std::fs;

/// Returns the ids of the cores in this process's affinity mask, ascending; at least one.
pub fn allowed() -> Vec<usize> {
    let mut set = empty_set();
    // SAFETY: `set` is a valid cpu_set_t that outlives the call, and the size passed is its size.
    let code = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    let mut cores = Vec::new();
    if code == 0 {
        for core in 0..libc::CPU_SETSIZE as usize {
            // SAFETY: `core` is below CPU_SETSIZE, the number of bits that `set` holds.
            if unsafe { libc::CPU_ISSET(core, &set) } {
                cores.push(core);
            }
        }
    }
    if cores.is_empty() {
        cores.push(0);
    }
    cores
}

/// Returns how many whole cores the cgroup CPU quota pays for, rounded up; `None` if unlimited.
pub fn quota() -> Option<usize> {
    let unified = fs::read_to_string("/sys/fs/cgroup/cpu.max").ok();
    if let Some(text) = unified {
        return parse_unified(&text);
    }
    let quota = read_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")?;
    let period = read_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us")?;
    whole_cores(quota, period)
}

/// Pins the calling thread to `core`. A refusal (a narrower container mask) is not an error: the
/// thread then floats, which costs speed and nothing else.
pub fn pin(core: usize) -> bool {
    let mut set = empty_set();
    if core >= libc::CPU_SETSIZE as usize {
        return false;
    }
    // SAFETY: `core` is below CPU_SETSIZE, checked above.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is a valid cpu_set_t that outlives the call; 0 names the calling thread.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0 }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is a plain array of integers, for which all zeroes is a valid value.
    unsafe { std::mem::zeroed() }
}

/// Reads cgroup v2's `cpu.max`: `max 100000` or `150000 100000`.
fn parse_unified(text: &str) -> Option<usize> {
    let mut words = text.split_whitespace();
    let quota: i64 = words.next()?.parse().ok()?;
    let period: i64 = words.next()?.parse().ok()?;
    whole_cores(quota, period)
}

fn whole_cores(quota: i64, period: i64) -> Option<usize> {
    if quota <= 0 || period <= 0 {
        return None;
    }
    Some(usize::try_from((quota + period - 1) / period).unwrap_or(1).max(1))
}

fn read_number(path: &str) -> Option<i64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_a_quota_up_to_whole_cores_and_reads_max_as_unlimited() {
        assert_eq!(parse_unified("max 100000\n"), None);
        assert_eq!(parse_unified("50000 100000\n"), Some(1));
        assert_eq!(parse_unified("150000 100000\n"), Some(2));
        assert_eq!(parse_unified("nonsense"), None);
        assert_eq!(whole_cores(-1, 100_000), None);
    }

    #[test]
    fn names_at_least_one_core_and_can_pin_to_it() {
        let core = allowed()[0];
        assert!(std::thread::spawn(move || pin(core)).join().expect("the thread returns"));
    }
}
