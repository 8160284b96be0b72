//! How much memory this process takes.

/// MiB in the machine's memory now, where the system says so (Linux).
pub fn resident_mib() -> Option<u64> {
    field("VmRSS:")
}

/// The most MiB that it ever was.
pub fn peak_mib() -> Option<u64> {
    field("VmHWM:")
}

fn field(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}
