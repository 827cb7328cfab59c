//! What the server says of itself in postmaster.pid.
//!
//! Never believes the file of another process.

use crate::postgres::site::Site;
use rustix::process::Pid;

/// How far a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It has said nothing yet.
    Silent,
    Starting,
    /// A standby that replays and is not consistent yet.
    Standby,
    /// It accepts connections.
    Ready,
    Stopping,
}

pub fn readiness(site: &Site, postmaster: Pid) -> Readiness {
    let content = std::fs::read_to_string(site.data.join("postmaster.pid"));
    content.map_or(Readiness::Silent, |content| parse(&content, postmaster.as_raw_pid()))
}

fn parse(content: &str, postmaster: i32) -> Readiness {
    let mut lines = content.lines();
    if lines.next().and_then(|line| line.trim().parse().ok()) != Some(postmaster) {
        return Readiness::Silent;
    }
    match lines.nth(6).map(str::trim) {
        Some("starting") => Readiness::Starting,
        Some("standby") => Readiness::Standby,
        Some("ready") => Readiness::Ready,
        Some("stopping") => Readiness::Stopping,
        Some(_) | None => Readiness::Silent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_file_counts() {
        let file = |status: &str| {
            format!("41\n/data\n1700000000\n5432\n/run\n127.0.0.1\n  1234   5678\n{status}\n")
        };
        assert_eq!(parse(&file("ready   "), 41), Readiness::Ready);
        assert_eq!(parse(&file("standby "), 41), Readiness::Standby);
        assert_eq!(parse(&file("stopping"), 41), Readiness::Stopping);
        assert_eq!(parse(&file("ready   "), 42), Readiness::Silent);
        assert_eq!(parse("41\n/data\n", 41), Readiness::Silent);
    }
}
