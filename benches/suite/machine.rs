//! What the figures were seen on, as far as it matters for them.

use serde_json::{Value, json};

/// The machine and the versions of what was measured.
pub(crate) fn facts() -> Value {
    let line = |path: &str, key: &str| -> String {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        found.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
    };
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "processor": line("/proc/cpuinfo", "model name"),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": kernel.split(['-', '\n']).next().unwrap_or_default(),
        "load": load.split(' ').next().unwrap_or_default(),
    })
}
