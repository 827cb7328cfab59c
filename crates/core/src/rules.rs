//! The rules of the protocol by name, so that each can be broken on purpose in the simulator.
//!
//! In the shipped build no rule can be broken: [`broken`] is a constant there.

/// One rule of the protocol; a mutant of the simulator is a world without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// R1, R2: stop before the promise ends, by drift and by the fencing budget.
    Margin,
    /// A grant counts from the sending of the heartbeat, not from its reply.
    CountFromSending,
    /// A confirmed write counts from its first sending.
    WriteCountsFromSending,
    /// R1: with grantors, enough of them must grant.
    GrantsNeeded,
    /// R2: without the record, *all* members must grant, not most.
    UnanimousWithoutRecord,
    /// Old and new G (and M) are obeyed while a change is in flight.
    ObeyBothSets,
    /// While a member's own grant runs it does not vote.
    OwnGrantBindsVote,
    /// While a member's own grant runs it does not claim.
    OwnGrantBindsClaim,
    /// After a restart, a grant that may have been given is waited for.
    WaitAfterBoot,
    /// Fast claims need |G| - q(G) + 1 revoked members of G.
    EnoughRevoked,
    /// Slow claims need a whole term without a change of the record.
    WholeTermUnchanged,
    /// Only members claim.
    OnlyMembersClaim,
    /// The promise is persisted before the vote is given.
    PersistPromise,
    /// Nobody grants to an epoch below its promise.
    PromiseBinds,
    /// A sealed server receives from no lower epoch.
    SealBinds,
    /// A position counts as a vote only once it is sealed.
    SealBeforeVote,
    /// Enough voters of each pair must be sealed.
    EnoughVoters,
    /// Of every pair, not only of the newest.
    EveryPair,
    /// The candidate's log is not behind any that answered.
    NotBehind,
    /// Logs are compared by timeline before LSN.
    TimelineFirst,
    /// A takeover keeps the old pairs until the new one is confirmed.
    KeepOldPairs,
    /// A quorum change is recorded before it is obeyed.
    RecordBeforeObey,
    /// The old pair goes only after the new one has confirmed everything.
    ConfirmBeforeNarrow,
    /// The rule for commits is in force before the first commit.
    ObeyBeforePromote,
    /// A claim is resent until its fate is known.
    ResendOutstanding,
    /// A live holder adopts an epoch that was promised in vain.
    EpochBump,
    /// Only the same volume may retake.
    RetakeOnlySameVolume,
    /// Released only after the tree is dead.
    ReleaseAfterReaping,
    /// The timeline is the reserved one.
    ReserveTimeline,
    /// A dead grantor is dropped before its silence fences the holder.
    DropDeadGrantor,
    /// A writable server that learns of a higher epoch is fenced.
    FenceOnHigherEpoch,
    /// A server whose proof is over is fenced.
    FenceOnExpiry,
    /// A half-rewound folder is never started.
    RewindMarker,
    /// A diverged log is rewound before it follows.
    RewindWhenDiverged,
    /// In required mode clients wait for the end of recovery to be confirmed.
    GateUntilConfirmed,
    /// A known epoch is never lowered by a record that was set back.
    NeverLowerEpoch,
    /// With no voters left nobody is elected without proof.
    SoloElectsNobody,
    /// Somebody too far behind is not promoted in asynchronous mode.
    MaxLag,
}

#[cfg(not(feature = "mutants"))]
pub(crate) const fn broken(_rule: Rule) -> bool {
    false
}

#[cfg(feature = "mutants")]
pub use mutants::{break_rule, broken};

#[cfg(feature = "mutants")]
mod mutants {
    use super::Rule;
    use std::cell::Cell;

    thread_local! {
        static BROKEN: Cell<Option<Rule>> = const { Cell::new(None) };
    }

    /// From now on this thread decides as if `rule` did not exist; `None` restores them all.
    pub fn break_rule(rule: Option<Rule>) {
        BROKEN.set(rule);
    }

    pub fn broken(rule: Rule) -> bool {
        BROKEN.get() == Some(rule)
    }
}
