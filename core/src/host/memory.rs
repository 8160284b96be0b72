//! How much memory this process takes.

/// MiB in the machine's memory now, where the system says so (Linux).
pub fn resident_mib() -> Option<u64> {
    field("VmRSS:").map(|mib| mib as u64)
}

/// The most MiB that it ever was.
pub fn peak_mib() -> Option<f64> {
    field("VmHWM:")
}

fn field(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}
