//! Reads a timeline's history file.
//!
//! Never follows it further than to the timeline's own beginning.

use pgherd_core::backup::window::Fork;
use pgherd_core::units::{Lsn, Timeline};

/// How the timeline came about: the last line says where it left the one before. Nothing when no
/// line says so.
pub(super) fn fork(text: &str) -> Option<Fork> {
    text.lines().rev().find_map(line)
}

/// Where each earlier timeline was left, in the order of the lines.
pub(crate) fn forks(text: &str) -> Vec<Fork> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<Fork> {
    let mut words = line.split_whitespace();
    let parent = words.next()?.parse().ok()?;
    let at = Lsn::parse(words.next()?).ok()?;
    Some(Fork { parent: Timeline(parent), at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_counts() {
        let text = "# by hand\n1\t0/3000148\tno recovery target specified\n\n2\t0/5000000\tbefore 2026-11-22\n";
        let both = [(1, 0x300_0148), (2, 0x500_0000)];
        let both = both.map(|(parent, at)| Fork { parent: Timeline(parent), at: Lsn(at) });
        assert_eq!((fork(text), forks(text)), (Some(both[1]), both.to_vec()));
        for bad in ["", "\n", "#1\t0/1\n", "x\t0/1\n", "1\n", "1\t5\n"] {
            assert_eq!(fork(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn fuzzed() {
        let samples = [
            "1\t0/3000148\tno recovery target specified\n",
            "# by hand\n1\t0/3000148\tx\n\n2\tFF/5000000\tbefore 2026-11-22\n",
        ];
        let feed = |bytes: &[u8]| {
            let Some(Fork { parent, at }) = fork(&String::from_utf8_lossy(bytes)) else {
                return "none".to_owned();
            };
            assert_eq!(fork(&format!("{parent}\t{at}\tx\n")), Some(Fork { parent, at }));
            "one".to_owned()
        };
        crate::fuzz::fuzz(5000, samples.map(Vec::from).to_vec(), feed);
    }
}
