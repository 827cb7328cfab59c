//! Tells what becomes of a commit: from the rule that the primary obeys, and from who receives its
//! log.
//!
//! Never takes the rule alone for what is so.

use crate::names::InstanceName;
use crate::record::Pair;
use crate::seen::Sender;
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commits {
    /// Nobody has to confirm one.
    Alone,
    /// Somebody had to, and nobody is there: the primary goes on alone.
    Unconfirmed,
    /// As many as have to confirm it are there.
    Confirmed { needed: usize, there: usize },
    /// It waits: too few are there.
    Waiting { needed: usize, there: usize },
}

/// Under this rule, while those `are_there` that the primary sends its log to.
pub fn commits(rule: Option<&Pair>, is_there: impl Fn(&InstanceName) -> bool) -> Commits {
    let Some(Pair { voters, acks: needed }) = rule else { return Commits::Alone };
    let (needed, there) = (*needed, voters.iter().filter(|name| is_there(name)).count());
    match needed {
        0 => Commits::Unconfirmed,
        _ if there < needed => Commits::Waiting { needed, there },
        _ => Commits::Confirmed { needed, there },
    }
}

/// Whether the primary sends its log to this one as it comes.
pub fn streams(senders: &BTreeMap<InstanceName, Sender>, name: &InstanceName) -> bool {
    senders.get(name).is_some_and(|sender| sender.streaming)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{name, names};
    use crate::units::Lsn;

    #[test]
    fn a_commit_waits_while_too_few_stream() {
        let sender = |streaming| Sender { flushed: Lsn(1), streaming };
        let senders = [(name(2), sender(true)), (name(3), sender(false))].into();
        let told = |acks| {
            let rule = Pair { voters: names([2, 3]), acks };
            commits(Some(&rule), |name| streams(&senders, name))
        };
        assert_eq!(commits(None, |_| true), Commits::Alone);
        assert_eq!(told(0), Commits::Unconfirmed);
        assert_eq!(told(1), Commits::Confirmed { needed: 1, there: 1 });
        assert_eq!(told(2), Commits::Waiting { needed: 2, there: 1 });
        // Who is not a voter does not count.
        let rule = Pair { voters: names([3]), acks: 1 };
        let of_others = commits(Some(&rule), |name| streams(&senders, name));
        assert_eq!(of_others, Commits::Waiting { needed: 1, there: 0 });
    }
}
