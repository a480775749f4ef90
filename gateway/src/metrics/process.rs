//! What the system says of this process, under the names that Prometheus' own clients give it
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>).

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustix::time::{ClockId, clock_gettime};

/// One reading. What the system does not tell is zero.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) open_fds: u64,
    pub(crate) max_fds: u64,
}

// === impl Process ===

impl Process {
    pub(crate) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = clock_gettime(ClockId::ProcessCPUTime);
        Self {
            cpu: Duration::try_from(cpu).unwrap_or_default(),
            resident_bytes: 1024 * field(&status, "VmRSS:"),
            virtual_bytes: 1024 * field(&status, "VmSize:"),
            threads: field(&status, "Threads:"),
            open_fds: open_fds(),
            max_fds: getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX),
        }
    }
}

/// The number after `name` in `/proc/self/status`; sizes are in kB there.
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Since Linux 6.2 the folder's size is the number; before, each descriptor has to be listed.
fn open_fds() -> u64 {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).map_or(0, |folder| folder.len()) {
        // Less the one that lists.
        0 => fs::read_dir(FOLDER).map_or(0, |entries| entries.count().saturating_sub(1) as u64),
        count => count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_all_of_it() {
        let Process { cpu, resident_bytes, virtual_bytes, threads, open_fds, max_fds } = Process::read();
        assert!(cpu > Duration::ZERO && threads >= 1);
        assert!(resident_bytes > 100_000 && virtual_bytes > resident_bytes);
        assert!((3..max_fds).contains(&open_fds), "{open_fds} of {max_fds}");
    }
}
