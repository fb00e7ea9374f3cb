//! What this process costs: processor time and memory, for tests that bound them (security rows S1 to S3, S8, S34).

use std::time::Duration;

/// The time that the threads of this name have spent on a processor. Threads that are gone are not counted.
pub(crate) fn processor_time_of(thread: &str) -> Duration {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        // The system keeps the first 15 letters of a name.
        if read("comm").trim_end() == thread.get(..15).unwrap_or(thread) {
            let time = read("schedstat").split(' ').next().and_then(|time| time.parse::<u64>().ok());
            nanoseconds += time.unwrap_or(0);
        }
    }
    Duration::from_nanos(nanoseconds)
}

/// The memory of this process that is in use now, in bytes: of all servers and all tests that run.
pub fn resident_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_tells_is_understood() {
        assert!(resident_memory() > 100_000);
        let work = || {
            let before = processor_time_of("busy");
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_millis(50) {
                std::hint::black_box(before);
            }
            (before, processor_time_of("busy"))
        };
        let (before, after) = std::thread::Builder::new().name("busy".to_owned()).spawn(work).unwrap().join().unwrap();
        assert!(after > before, "{before:?} {after:?}");
    }
}
