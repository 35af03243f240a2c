//! Ends all descendants of a process. Invariant: processes that left its process group or session are found, too, as
//! long as it adopts the orphans among its descendants.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Time limit of the search. Each pass stops what it finds, so that more than two passes are needed only if processes
/// are started faster than one pass takes.
const LONGEST: Duration = Duration::from_millis(500);

/// Ends all descendants of `root`, not `root` itself. Does nothing if the system does not list processes.
pub(super) fn end(root: Pid) {
    let begun = Instant::now();
    let mut stopped: Vec<Pid> = Vec::new();
    // A stopped process starts no others: once a pass finds nothing new, the list is complete.
    loop {
        let new = below(root).into_iter().filter(|pid| !stopped.contains(pid));
        let new: Vec<Pid> = new.collect();
        for pid in &new {
            // An error means that the process has ended already.
            let _ = kill_process(*pid, Signal::STOP);
        }
        stopped.extend(&new);
        if new.is_empty() || begun.elapsed() > LONGEST {
            break;
        }
    }
    for pid in stopped {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// Returns the descendants of `root` that have not ended.
fn below(root: Pid) -> Vec<Pid> {
    let mut children: HashMap<i32, Vec<(i32, bool)>> = HashMap::new();
    let listed = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in listed.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
        if let Some((parent, has_ended)) = stat.ok().as_deref().and_then(parent) {
            children.entry(parent).or_default().push((pid, has_ended));
        }
    }
    let mut found = Vec::new();
    let mut left = vec![root.as_raw_nonzero().get()];
    while let Some(process) = left.pop() {
        for (pid, has_ended) in children.remove(&process).unwrap_or_default() {
            left.push(pid);
            found.extend(Pid::from_raw(pid).filter(|_| !has_ended));
        }
    }
    found
}

/// Parses the parent from a line of `/proc/PID/stat`, and true if the process has ended and only waits to be reaped;
/// see proc_pid_stat(5). The name may contain any character, including parentheses.
fn parent(stat: &str) -> Option<(i32, bool)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    Some((fields.next()?.parse().ok()?, has_ended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_hides_no_parent() {
        assert_eq!(parent("7 (a) S (b)) R 3 7 7 0"), Some((3, false)));
        assert_eq!(parent("7 (sh) Z 12 7"), Some((12, true)));
        assert_eq!(parent("7"), None);
    }
}
