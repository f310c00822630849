//! The process and the disk that it writes to. A figure that this system does not give is left out.

use std::path::Path;

use super::Collected;

/// Adds what the system says.
pub(super) fn figures(data: &Path, all: &mut Collected) {
    if let Ok(disk) = rustix::fs::statvfs(data) {
        all.count(
            "countersign_disk_free_bytes",
            disk.f_bavail.saturating_mul(disk.f_frsize),
        );
        all.count(
            "countersign_disk_bytes",
            disk.f_blocks.saturating_mul(disk.f_frsize),
        );
    }
    if let Some(kibibytes) = resident() {
        let bytes = kibibytes.saturating_mul(1024);
        all.count("process_resident_memory_bytes", bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        all.count("process_open_fds", super::length(open.count()));
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(most) = limit.current {
        all.count("process_max_fds", most);
    }
}

/// The memory that is in use, in KiB.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}
