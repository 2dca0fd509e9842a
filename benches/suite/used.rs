//! What a process has used: wake-ups, time of the processor, memory.

use std::fs;

/// What a process has used so far.
pub(crate) struct Used {
    /// How often its threads have waited for something and gone on.
    pub(crate) wakes: f64,
    /// Hundredths of a second of the processor.
    pub(crate) ticks: f64,
    /// What is in memory of it now, its program's text and shared libraries included, in MB.
    pub(crate) memory: f64,
}

/// Of all threads of a process, if it lives.
pub(crate) fn used(pid: u32) -> Option<Used> {
    let mut wakes = 0.0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten() {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        wakes += field(&status, "voluntary_ctxt_switches:")?;
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks =
        fields.split_whitespace().skip(11).take(2).filter_map(|n| n.parse::<f64>().ok()).sum();
    Some(Used { wakes, ticks, memory: field(&status, "VmRSS:")? / 1024.0 })
}

fn field(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}
