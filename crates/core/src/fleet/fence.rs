//! Tells what would be lost while instances are fenced.
//!
//! Never refuses by itself: whoever asks may insist.

use crate::intent::Durability;
use crate::names::InstanceName;
use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// No instance would serve any more.
    Service,
    /// Fewer standbys than have to would confirm a commit: it waits.
    Commits { needed: usize, left: usize },
}

/// Of those that are `healthy` and not fenced yet, only those would be left that `stays` says.
pub fn harm(
    healthy: &BTreeSet<InstanceName>,
    (primary, durability): (Option<&InstanceName>, Option<Durability>),
    stays: impl Fn(&InstanceName) -> bool,
) -> Option<Harm> {
    if !healthy.is_empty() && !healthy.iter().any(&stays) {
        return Some(Harm::Service);
    }
    let needed = match durability {
        Some(Durability::Required { acks }) => acks,
        Some(Durability::Preferred { .. } | Durability::Asynchronous { .. }) | None => 0,
    };
    let confirming = || healthy.iter().filter(|name| Some(*name) != primary);
    let left = confirming().filter(|name| stays(name)).count();
    // Where too few are there anyway, this one makes no difference.
    (left < needed && confirming().count() >= needed).then_some(Harm::Commits { needed, left })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::name;

    #[test]
    fn the_last_one_and_who_has_to_confirm_are_missed() {
        let required = |acks| Some(Durability::Required { acks });
        let of = |healthy: &[u32], durability, fenced: u32| {
            let healthy = healthy.iter().map(|serial| name(*serial)).collect();
            harm(&healthy, (Some(&name(1)), durability), |it| *it != name(fenced))
        };
        assert_eq!(of(&[2], None, 2), Some(Harm::Service));
        assert_eq!(of(&[], required(1), 2), None, "nothing serves anyway");
        assert_eq!(of(&[1, 2, 3], required(1), 3), None);
        assert_eq!(of(&[1, 2], required(1), 2), Some(Harm::Commits { needed: 1, left: 0 }));
        assert_eq!(of(&[1, 2], Some(Durability::Preferred { acks: 1 }), 2), None);
        assert_eq!(of(&[1, 2, 3], required(2), 3), Some(Harm::Commits { needed: 2, left: 1 }));
        // Its commits wait already.
        assert_eq!(of(&[1, 2], required(2), 2), None);
        // Who is not healthy confirms nothing, and the primary does not either.
        assert_eq!(of(&[1, 2], required(1), 3), None);
        assert_eq!(of(&[1, 2], required(1), 1), None);
    }
}
