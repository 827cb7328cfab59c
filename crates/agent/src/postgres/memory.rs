//! Says how much memory a server here can have.

use pgherd_core::units::Bytes;

/// Where a container sees its own limit, in both versions of control groups.
const LIMITS: [&str; 2] =
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// The machine's memory, or the container's limit if that is less; none if nobody says.
pub fn limit() -> Option<Bytes> {
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram.checked_mul(machine.mem_unit.into());
    let limits = LIMITS.iter().filter_map(|file| read(&std::fs::read_to_string(file).ok()?));
    limits.chain(machine.map(Bytes)).min()
}

/// `max`, or a number of bytes.
fn read(said: &str) -> Option<Bytes> {
    said.trim().parse().ok().map(Bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_memory_and_a_limit_may_be_none() {
        assert!(limit().is_some_and(|bytes| bytes.0 > 1 << 20));
        assert_eq!(read("max\n"), None);
        assert_eq!(read("1048576\n"), Some(Bytes(1_048_576)));
    }
}
