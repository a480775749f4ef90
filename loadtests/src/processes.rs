//! What a server's processes cost, read from the kernel: processor time, and memory.

use std::{fs, path::PathBuf};

use crate::Error;

/// The process `pid` and all that descend from it and still run.
pub fn family(pid: u32) -> Result<Vec<u32>, Error> {
    let mut family = vec![pid];
    let mut nth = 0;
    while let Some(parent) = family.get(nth) {
        // Each thread has the children that it forked (proc(5); CONFIG_PROC_CHILDREN). One may end meanwhile.
        let path = PathBuf::from(format!("/proc/{parent}/task"));
        let threads = fs::read_dir(&path).map_err(|source| Error::File { path, source })?;
        for thread in threads.flatten() {
            let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            family.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        nth += 1;
    }
    Ok(family)
}

/// Processor time of the processes and of their children that have ended, in seconds. Ten milliseconds are the least
/// that it tells apart.
pub fn cpu_seconds(pids: &[u32]) -> Result<f64, Error> {
    let ticks = pids.iter().map(|pid| cpu_ticks(*pid)).sum::<Result<u64, Error>>()?;
    Ok(number(ticks) / number(rustix::param::clock_ticks_per_second()))
}

/// Proportional set size of the processes, in bytes: what they share is counted once.
///
/// The kernel walks the page tables for it, some milliseconds for each gigabyte.
pub fn memory_bytes(pids: &[u32]) -> Result<u64, Error> {
    pids.iter().map(|pid| proportional_set(*pid)).sum()
}

fn cpu_ticks(pid: u32) -> Result<u64, Error> {
    let (path, text) = read(pid, "stat")?;
    // utime, stime, cutime and cstime are the fields 14 to 17; the second may contain anything, in parentheses.
    let rest = text.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
    let ticks: Option<Vec<u64>> = rest.split(' ').skip(11).take(4).map(|field| field.parse().ok()).collect();
    let ticks = ticks.filter(|ticks| ticks.len() == 4).ok_or_else(|| unexpected(&path, &text))?;
    Ok(ticks.iter().sum())
}

fn proportional_set(pid: u32) -> Result<u64, Error> {
    let (path, text) = read(pid, "smaps_rollup")?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| unexpected(&path, &text))
}

fn read(pid: u32, file: &str) -> Result<(PathBuf, String), Error> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    let text = fs::read_to_string(&path).map_err(|source| Error::File { path: path.clone(), source })?;
    Ok((path, text))
}

fn unexpected(path: &std::path::Path, answer: &str) -> Error {
    Error::UnexpectedAnswer { request: path.display().to_string(), answer: answer.to_owned() }
}

#[expect(clippy::cast_precision_loss, reason = "ticks are far below 2^53")]
fn number(ticks: u64) -> f64 {
    ticks as f64
}

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead as _, BufReader},
        process::{Command, Stdio},
    };

    use super::*;

    #[test]
    fn a_family_has_its_children_and_what_they_did() {
        // A shell whose child, a shell with a child too, works for a second of processor time at most and says so.
        let work = "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo worked; exec sleep 60";
        let mut shell = Command::new("sh")
            .args(["-c", &format!("sh -c '{work}' & wait")])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(shell.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let family = family(shell.id()).unwrap();
        let cpu = cpu_seconds(&family).unwrap();
        let (memory, parent_memory) = (memory_bytes(&family).unwrap(), memory_bytes(&family[..1]).unwrap());
        let parent_cpu = cpu_seconds(&family[..1]).unwrap();
        for pid in family.iter().rev() {
            let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        shell.wait().unwrap();
        assert_eq!(family.len(), 2, "{family:?}");
        assert!(cpu >= 0.01 && parent_cpu < cpu, "{parent_cpu} of {cpu}");
        assert!(parent_memory > 0 && memory > parent_memory, "{parent_memory} of {memory}");
    }
}
